/* verdict.h: which recovery points of a stored group stay, and why: its catalog, its log of pins
 * and rules, and the configuration put together. What `relais retention` shows and what a pass acts
 * on is the same call. All but verdict_free and verdict_stays (wait). */
#ifndef RELAIS_VERDICT_H
#define RELAIS_VERDICT_H

#include "catalog.h"
#include "config.h"
#include "policy.h"

#define VERDICT_POINTS_MAX 2000000u /* of a group; some 150 MiB while one is weighed */
#define POLICY_ENTRIES_MAX 20000u   /* of a group's log; half of them for its site to write */

struct verdict_more {
    uint64_t rp_first, file_len;
    int64_t cut_time;
};

struct verdict {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    int64_t now;   /* by the hub's clock */
    int64_t clock; /* the group's */
    struct policy policy;
    struct retention_policy config, rules; /* what the configuration says, what was applied */
    struct retention_point *points;        /* ascending; the last is the head */
    struct verdict_more *more;             /* of each */
    uint16_t *why;                         /* retention.h */
    size_t count;
};

/* now: 0: the clock's. A group without RPs has no points. Errors: CORRUPT, LIMIT, the store's. */
int verdict_make(struct verdict *out, struct store *store, const struct config *config,
                 const char *site, const char *group, int64_t now, struct err *e);
void verdict_free(struct verdict *v);
/* Whether this RP stays; one that the verdict does not know does. */
bool verdict_stays(const struct verdict *v, uint64_t rp);

/* Writes into the group's log what the configuration says, if the log says otherwise: so that what
 * protects less takes effect later. *changed tells. A group without RPs has nothing to protect. */
int verdict_note_rules(struct store *store, const struct config *config, const char *site,
                       const char *group, bool *changed, struct err *e);

/* Pins an RP, or unpins it. by: the peer that asks, "" for the hub's operator. *left: how long it
 * stays pinned, by the group's clock; UINT64_MAX: until it is unpinned. Errors: NOENT (there is no
 * such complete RP; it is not pinned), LIMIT. */
int verdict_pin(struct store *store, const struct config *config, const char *site,
                const char *group, uint64_t rp, bool pinned, const char *by, uint64_t *left,
                struct err *e);

#endif
