/* policy.h: what protects the recovery points of a group: rules and lock as the configuration says,
 * and pins; and that none of it can be taken away at once. Pure.
 *
 * A group has a log ("GROUP.policy", store.h), of which everything here follows. An entry is
 * written when the hub first sees other rules in its configuration, and for each pin and unpin.
 * What protects less than before takes effect later, by as much as the lock was then: until that,
 * the earlier rules hold beside the new ones, each RP stays that one of them keeps, the lock is the
 * longest, and what was unpinned is pinned still. What protects more takes effect at once. So
 * whoever can write the hub's configuration for an hour, or asks in a site's name, makes nothing go
 * that somebody could not still save who looks once in a lock's time.
 *
 * Time is the group's own clock (retention.h): it stands still while nothing is committed, and a
 * jump of the hub's clock moves it by a day at most. */
#ifndef RELAIS_POLICY_H
#define RELAIS_POLICY_H

#include "retention.h"
#include "store.h"

enum policy_kind { POLICY_RULES = 1, POLICY_PIN = 2, POLICY_UNPIN = 3 };

struct policy_entry {
    uint64_t number; /* in the log, from 1 */
    enum policy_kind kind;
    int64_t time;               /* by the hub's clock, for people */
    int64_t clock;              /* the group's */
    char by[NAME_MAX_LEN + 1];  /* the peer that asked; "": at the hub */
    struct retention_policy to; /* POLICY_RULES */
    uint64_t rp;                /* POLICY_PIN, POLICY_UNPIN */
};

void policy_encode(struct store_head *out, const struct policy_entry *in);
/* Errors: CORRUPT. */
int policy_decode(struct policy_entry *out, const struct store_head *in, struct err *e);

struct policy_pin {
    uint64_t rp;
    int64_t until; /* the group's clock; INT64_MAX: until it is unpinned */
    int64_t time;
    char by[NAME_MAX_LEN + 1];
};

struct policy {
    bool known;                       /* there are rules in the log */
    struct retention_policy said;     /* the newest of them: the configuration's */
    struct retention_policy in_force; /* and what holds beside them */
    int64_t until;                    /* when less is in force next; INT64_MAX: never */
    struct policy_pin *pins;          /* ascending */
    size_t pin_count;
};

/* What holds at `clock`, from all entries of the log, ascending. policy_free afterwards. */
void policy_of(struct policy *out, const struct policy_entry *entries, size_t n, int64_t clock);
void policy_free(struct policy *p);
const struct policy_pin *policy_pin(const struct policy *p, uint64_t rp);
bool policy_same(const struct retention_policy *a, const struct retention_policy *b);

#endif
