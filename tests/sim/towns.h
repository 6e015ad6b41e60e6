/* towns.h: a small territory in a simulated world: a hub with a dir store, or two that share a
 * pool, sites with groups of volumes that somebody writes or that guests write through exports, and
 * a check per group. Trouble is the scenario's. */
#ifndef SIM_TOWNS_H
#define SIM_TOWNS_H

#include "call.h"
#include "check.h"
#include "config.h"
#include "link.h"
#include "proc.h"
#include "scenario.h"
#include "site.h"

#define TOWNS_SITES  2u
#define TOWNS_HUBS   2u /* at most */
#define TOWNS_GROUPS 2u /* of a site, at most */

#define STORE_ROOT      "/srv/relais/store"
#define TOWNS_STATE     "/var/lib/relais"
#define TOWNS_SPOOL     "/var/spool/relais"
#define TOWNS_NBD       "/run/relais/nbd"
#define TOWNS_SPOOL_MAX (UINT64_C(44) << 20) /* the budget, see towns.c */

struct place_volume {
    char name[16], path[64];
    uint64_t size, max; /* it may grow up to max */
    uint64_t told;      /* the size that its site was told of */
    bool captured;
    uint8_t *content;     /* what the disk holds, up to max; NULL of a captured one */
    char export_name[40]; /* of a captured one */
    unsigned number;      /* its number in the ledger */
};

struct place_group {
    char name[16];
    struct place_volume volumes[CHECK_VOLUMES];
    unsigned volume_count;
    bool frozen, changed;
    uint64_t cut;    /* the last one's number */
    uint64_t sealed; /* the newest RP that its site was heard to have */
    struct check *check;
    struct ledger *ledger; /* of its captured volumes; NULL: it has none */
    bool over;             /* it was heard to wait for the spool */
    uint64_t granted;      /* the newest RP that the later reader can open */
    bool scans;            /* it has volumes that are scanned */
    bool paused;           /* perhaps */
    bool finished;         /* the last state is committed, as far as the site was told */
};

struct place { /* a machine and its daemon */
    struct towns *t;
    struct node *node;
    char name[16];
    struct key_secret *link, *sign, *hash;
    char *config_text;
    uint64_t start_at; /* when it is down */
    uint64_t restored; /* volumes, by the reader */
    /* of a site */
    struct place_group groups[TOWNS_GROUPS];
    unsigned group_count;
    struct site *site; /* of the living process, once it has started */
    /* its guests: machines on this machine, which lose power with it */
    struct node *guests;
    uint64_t guests_at;
    unsigned busy; /* connections with requests under way */
};

struct towns {
    struct world *w;
    struct procs *procs;
    enum plant plant;
    struct key_secret *restore, *newcomer; /* newcomer: of a reader whom no configuration names */
    struct nonces *nonces;
    struct place hubs[TOWNS_HUBS], sites[TOWNS_SITES], reader;
    unsigned hub_count;
    struct check_rots rots;   /* in it: only of the first group of the first site */
    struct check_store store; /* what the hubs keep, for the judge */
    struct pool *pool;        /* of two hubs; NULL: the first one's disk has a dir store */
    bool heavy;    /* volumes larger than the spool likes, outages longer than it lasts */
    uint64_t keep; /* ns: how long hubs keep RPs; 0: for ever */
    bool night;    /* groups are cut seldom */
    bool quiet;    /* nobody writes volumes any more */
    bool finale;   /* sites mark their last state */
    bool late;     /* it is over, and not all is done: sites say how they stand */
    uint64_t check_at;
    uint64_t cuts; /* in all groups */
};

enum towns_kind {
    TOWNS_DAY,
    TOWNS_NIGHT,
    TOWNS_TWINS /* two hubs */,
    TOWNS_OUTAGE /* longer than spools last */
};
struct towns *towns_new(struct world *w, enum plant plant, enum towns_kind kind);
void towns_free(struct towns *t);
/* Lets virtual time pass: daemons that are down start when their time has come, volumes are
 * written, checks run. */
void towns_spend(struct towns *t, uint64_t ns);
/* The same until a cut has begun, at most for that long, and then a few events more: most of what
 * can go wrong goes wrong near a cut, which is a small part of the time. */
void towns_spend_until_cut(struct towns *t, uint64_t ns);
/* Checks all groups against what the hub's disk holds now. */
void towns_check(struct towns *t);
bool towns_is_hub(const struct towns *t, const struct place *p);
/* Ends a daemon, which starts again after `pause`. When the power fails, guests fail with it. A
 * machine whose disk lost what could not be synced, and whose daemon has not noted it yet, is not
 * trusted any more: its power is cut, whatever was asked. */
void towns_end(struct towns *t, struct place *p, enum proc_end how, uint64_t pause);

/* Ends the guests of a site alone, as if they crashed. */
void towns_end_guests(struct towns *t, struct place *p, uint64_t pause);
/* Whether no guest waits for an answer. */
bool towns_guests_idle(const struct towns *t);

/* Makes a volume larger, unless it is at rest or as large as it may be; its site is told later. */
void towns_grow(struct towns *t, struct place *p, struct place_group *g, unsigned volume);

/* The main of their processes (towns_proc.c). */
void towns_hub_main(void *arg, struct proc *p);
void towns_site_main(void *arg, struct proc *p);
void towns_reader_main(void *arg, struct proc *p); /* towns_reader.c */
/* To any hub, from the calling fiber's process. Errors as link_tls_connect. (waits) */
int towns_connect(struct towns *t, struct tls *tls, struct caller **out, struct err *e);
/* Lets the later reader read a group, over the site's own connection. (waits) */
void towns_grant(struct place *site, struct place_group *g, struct tls *tls);

/* towns_spool.c: looks through the spool: nonces, budget. */
void towns_check_spool(struct towns *t, const struct place *site);

/* towns_guests.c. A captured volume: its place in configuration, ledger and check; and what was on
 * it when it came into service. */
void towns_make_captured(struct place *p, struct place_group *g, struct place_volume *v);
void towns_fill_captured(struct place *p, struct place_group *g);
void towns_guests_main(void *arg, struct proc *p);
/* The power of the site failed: what its disk holds now, for the ledgers. */
void towns_guests_dark(struct place *p);
/* Its daemon starts: counts what it has to mend. */
void towns_guests_start(const struct place *p);
bool towns_guests_stale(const struct place *p);

#endif
