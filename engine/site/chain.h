/* chain.h: the history of a group as this site knows it: the newest RP that the hub committed, and
 * after it the sealed deltas in the spool, each the parent of the next.
 *
 * A delta leaves the spool when the hub has committed it (a durable record says so first) and the
 * hash indexes no longer need it (scanned.h). Everything here is recovered from the files at start;
 * calls that change it write first and change memory after. */
#ifndef RELAIS_CHAIN_H
#define RELAIS_CHAIN_H

#include "manifest.h"
#include "slots.h"
#include "spool.h"

struct chain_delta {
    uint64_t rp_first, rp;
    struct digest digest; /* of its manifest */
    struct digest link;   /* what the next one names as its parent (manifest.h) */
    struct digest parent;
    int64_t cut_time;
    uint32_t flags; /* MANIFEST_* */
    bool labelled;
    uint64_t file_len;
    uint32_t manifest_len;
};

/* How many deltas beyond the committed one may have been asked to be committed before an answer
 * came: what a daemon that starts must take for possible of the one before. */
#define CHAIN_AHEAD 4u

/* Damaged deltas are kept for a person to look at, but not at the cost of what is healthy: so many
 * of a group, and this share of the budget; the oldest go first. */
#define CHAIN_ASIDES      4u
#define CHAIN_ASIDE_SHARE 16u

struct chain_stray {
    uint64_t rp, cost;
};

struct chain_committed {
    uint64_t rp;        /* 0: none */
    struct digest link; /* of its manifest */
    int64_t cut_time;
    uint64_t complete_rp; /* newest complete RP among the committed; 0: none known */
    int64_t complete_cut;
};

struct chain {
    struct spool_share share;
    uint64_t sealed_bytes, shipped_bytes; /* of files, since start: appended, committed */
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    char dir[PATH_CAP], state_dir[PATH_CAP];
    const struct key_public *signer;
    struct chain_committed committed;
    struct chain_delta
        *deltas; /* ascending, contiguous; the first may be committed (see release) */
    size_t count, cap;
    uint64_t clean; /* deltas up to this RP may leave */
    uint64_t sent;  /* those up to this RP may have reached the hub: they stay as they are */
    struct {
        uint64_t first, last; /* RPs that are being merged; 0: none */
        bool give_way;        /* the shipper waits for them */
    } merging;
    struct chain_stray *strays; /* files of deltas that were merged, not removed yet */
    size_t stray_count;
    struct chain_stray asides[CHAIN_ASIDES]; /* by RP; they count in the spool */
    size_t aside_count;
    bool lost;                  /* recovery dropped something: the indexes are worth nothing */
    struct fiber_cond changed;  /* an RP was sealed or committed, or history was adopted */
    struct fiber_mutex writing; /* the committed record */
    struct slots record;        /* it */
};

/* Names and places only. budget: the group's own of the spool, 0 none. Does not wait. */
void chain_init(struct chain *c, struct spool *spool, uint64_t budget, const char *state_dir,
                const char *site, const char *group, const struct key_public *signer);
/* Recovers what chain_init named. Removes what a crash left unfinished; moves a damaged delta
 * aside, names it in the log, drops what came after it. After an error it may be tried again.
 * What cannot be read is not damaged: an error says so, and the files stay. Errors: IO, SPACE, OS,
 * NOENT (somebody removed one meanwhile). (waits) */
int chain_recover(struct chain *c, struct err *e);
void chain_close(struct chain *c);

uint64_t chain_tip_rp(const struct chain *c);
/* Link and cut time of the newest RP; zero without history. */
void chain_tip(const struct chain *c, struct digest *link, int64_t *cut_time);
/* The link of an RP. False when the RP is not known (any more, or was merged away). */
bool chain_link(const struct chain *c, uint64_t rp, struct digest *out);
/* The RP that stands for this one: itself, or the last of those that it was merged with. Known
 * until the hub has committed it. */
uint64_t chain_stands_for(const struct chain *c, uint64_t rp);
/* The sealed delta of this RP, or NULL. Invalid after the next wait. */
const struct chain_delta *chain_find(const struct chain *c, uint64_t rp);
/* Sealed bytes and RPs that the hub has not committed. */
void chain_lag(const struct chain *c, uint64_t *bytes, uint64_t *rps);
/* Newest complete RP, sealed or committed; 0 none. */
uint64_t chain_complete_rp(const struct chain *c);

/* The next delta to ship, from RP `next` on; 0: none yet. One that is being merged is asked back:
 * `changed` is woken when it can be had. */
uint64_t chain_to_ship(struct chain *c, uint64_t next);
/* This delta is on its way to the hub from now on, even when the way breaks off. */
void chain_sending(struct chain *c, uint64_t rp);

/* Adds a delta that is durable under its final name; settles its reservation. */
void chain_append(struct chain *c, const struct chain_delta *d, uint64_t reserved);
/* The hub has committed everything up to rp (which is known here): records it durably, then lets
 * deltas go. (waits) */
int chain_commit(struct chain *c, uint64_t rp, struct err *e);
/* Indexes are durable up to rp: lets deltas go. (waits) */
int chain_set_clean(struct chain *c, uint64_t rp, struct err *e);
/* The hub's history, proven ours by its signature, goes another way than ours or further: continues
 * from it; spooled deltas go. The caller has made the indexes invalid before. (waits) */
int chain_adopt(struct chain *c, const struct chain_committed *head, struct err *e);
/* A spooled delta is damaged: moves it aside, drops it and all that follow. The caller has made the
 * indexes invalid before. (waits) */
int chain_drop(struct chain *c, uint64_t rp, const char *why, struct err *e);

/* chain_merge.c: m takes the place of the deltas from m->rp_first to m->rp; its file, durable at
 * `from`, takes the name of the last of them, the others are removed once that is durable. Whatever
 * a crash leaves, recovery finds one or the other whole. Settles the reservation when it succeeds.
 * Errors: AGAIN (the chain is not what was merged any more: nothing was changed), IO. (waits) */
int chain_replace(struct chain *c, const struct chain_delta *m, const char *from, uint64_t reserved,
                  struct err *e);
/* Removes what chain_replace could not. Errors: IO. (waits) */
int chain_sweep(struct chain *c, struct err *e);

/* chain_aside.c: moves a damaged delta aside and tells of it, or removes it when it is too large to
 * be kept. Errors: IO. (waits) */
int chain_aside(struct chain *c, uint64_t rp, const char *why, struct err *e);
/* Recovery found one that was moved aside before. Errors: IO. (waits) */
int chain_aside_found(struct chain *c, uint64_t rp, struct err *e);

/* chain.c, for recovery: writes the committed record. It is rewritten where it stands (slots.h),
 * for while the disk is full nothing but a commit makes room. Errors: IO, SPACE. (waits) */
#define CHAIN_MAGIC "RELAISC2"
int chain_save_committed(struct chain *c, const struct chain_committed *n, struct err *e);

/* Reads and checks the manifest of the delta file at path: shape, signature, site, group. out is
 * the caller's to free, encoded too (bytes_free). Errors: CORRUPT, INPUT, AUTH, IO. (waits) */
int chain_read_manifest(const struct chain *c, const char *path, struct manifest *out,
                        struct bytes_out *encoded, struct chain_delta *facts, struct err *e);

#endif
