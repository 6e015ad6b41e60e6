/* group.h: a group of volumes and the fiber that makes its recovery points: at its interval, or
 * when somebody asks.
 *
 * State words, as status shows them; the first that applies:
 *
 *   disk-failed      a sync of a captured volume failed: flushes fail until a restart, see error
 *
 *   broken           the hub's history cannot be continued, or recovery needs a person: see error
 *
 *   spool-full       sealing waits for space
 *
 *   frozen-too-long  a cut was given up for holding the freeze; catching up, then trying again
 *
 *   seeding          no complete RP exists yet
 *
 *   scanning         a scan is under way
 *
 *   paused           relais pause: nothing is shipped; cuts go on
 *
 *   offline          the hub is not reachable
 *
 *   hub-full         the hub has no room for more, or the site's quota there is reached: see error
 *
 *   shipping         sealed RPs are on their way
 *
 *   sealed           sealed RPs wait for their turn on the link
 *
 *   idle             the hub has everything
 */
#ifndef RELAIS_GROUP_H
#define RELAIS_GROUP_H

#include "cut.h"
#include "meter.h"
#include "share.h"

#include "relais.pb-c.h"

struct group_mark;

struct group {
    const struct config_group *config;
    struct workshop *shop;
    struct chain chain;
    struct indexes indexes;
    struct keyring keyring;
    struct fiber *fiber, *keeper; /* the keeper wipes data keys when their time is over */
    struct fiber_cond wanted;     /* a mark, an adoption, or stop */
    struct group_mark *marks;     /* waiting for their cut, oldest first */
    unsigned visitors;            /* fibers of others inside group_mark and group_wait_committed */
    bool recovered, cutting, stopping, give_up;
    bool catch_up;                /* the next pass freezes nothing: much is to be shipped */
    unsigned too_long;            /* cuts in a row that held the freeze too long */
    unsigned overruns;            /* cuts in a row that captured volumes outran */
    struct io *io;                /* for the status, which is asked for outside of fibers too */
    struct pace pace;             /* seed-rate */
    struct capture_watch written; /* cut-bytes */
    uint64_t first_rp;            /* the group's first complete RP, when it was made since start */
    uint64_t cut_started, cut_took; /* the last one that ended took so long */
    struct cut_progress progress;
    struct cut_result last;
    struct err error;                  /* why the last cut failed; OK when it did not */
    uint64_t plain_bytes, frame_bytes; /* sealed since start */
    /* The merger's side. */
    bool merging;
    uint64_t merged_rps;   /* merged away since start */
    uint64_t merge_next;   /* RP from which on merging was not tried yet */
    double merge_tried;    /* how full the spool must be before it is tried again */
    uint64_t merge_waited; /* the tip when all was tried although little is freed */
    bool merge_did;        /* something was merged since merge_next was 0 */
    /* Over the last minutes. */
    struct meter sealed, shipped, spool;
    bool metered_up; /* link_up when it was last noted */
    /* The shipper's side. */
    struct fiber_mutex pausing; /* the file and flow.paused say the same */
    struct share_flow flow;     /* flow.rush: it is drained */
    bool link_up, shipping;
    struct err broken;           /* why nothing is shipped */
    struct err refused;          /* why shipping failed last; it is tried again */
    uint64_t refused_at;         /* what was committed then */
    struct chain_committed head; /* what to adopt */
    bool adopt, damaged;
    uint64_t damaged_rp;
    char why[ERR_TEXT_MAX];
    struct fiber_cond turned; /* an adoption or a drop has been done */
    uint64_t turns;           /* how many */
};

/* Puts the group's captured volumes into service, which needs nothing of its history. Errors: IO,
 * SPACE, CONFIG. (waits) */
int group_open(struct group *g, const struct config *config, const struct config_group *own,
               struct workshop *shop, const struct key_secret *hash_key, struct err *e);
/* Recovers its history; after an error it may be tried again. Errors: IO, SPACE, CORRUPT. (waits)
 */
int group_recover(struct group *g, struct err *e);
/* Starts its fiber; it has been recovered. */
void group_start(struct group *g);
/* Ends the fiber (a cut under way is given up), frees. Marks that wait fail. (waits) */
void group_stop(struct group *g);

/* Asks for a cut and waits until it is sealed, as site_mark. (waits) */
int group_mark(struct group *g, const char *label, uint64_t *rp, struct err *e);
/* Waits until *rp is committed, or the RP that it was merged into meanwhile: *rp is that one then.
 * Errors: CHAIN and so on when the group is broken; CANCELED. (waits) */
int group_wait_committed(struct group *g, uint64_t *rp, struct err *e);

/* Stops or resumes shipping, durably. The shipper is told by the caller. Errors: IO, SPACE. (waits)
 */
int group_pause(struct group *g, bool pause, struct err *e);
/* Whether it may not ship now. */
static inline bool group_held(const struct group *g)
{
    return g->flow.paused && g->flow.rush == 0;
}

/* Continues from the hub's history, or without a damaged delta: the group's fiber does it between
 * two cuts; a cut under way is given up. Returns when done: 0, or -ECANCELED. (waits) */
int group_adopt(struct group *g, const struct chain_committed *head);
int group_drop(struct group *g, uint64_t rp, const char *why);

/* A new data key from the next delta on. */
void group_rotate(struct group *g);

/* To be called every few seconds: what its rates are told from. */
void group_measure(struct group *g, uint64_t now);

/* rate: sealed bytes/s of the link, for the time until caught up. Strings stay the group's. */
void group_status(struct group *g, uint64_t rate, Relais__GroupStatus *out);

#endif
