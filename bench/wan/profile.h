/* profile.h: what a link is like and what happens to it, as bench/scenarios/NAME.conf says it.
 *
 *   [link]  description = ..., mtu = 1500, seed = 1
 *   [up]    from the site to the hub      rate = 20mbit     queue = 64KiB | 100ms
 *   [down]  from the hub to the site      delay = 10ms      jitter = 2ms
 *   [both]                                loss = 0.5%       bursts = 0.01% 20% 100%
 *   [at 30s]  from the start on           outage = blackhole | reset | none, up.rate = 5mbit, ...
 *
 * bursts: the chance of a packet that a burst begins, that one ends, and that a packet in one is
 * lost (Gilbert and Elliott). The same keys (up.rate, outage) change a link that runs. */
#ifndef RELAIS_WAN_PROFILE_H
#define RELAIS_WAN_PROFILE_H

#include "err.h"
#include "link.h"

#define WAN_STEPS_MAX 1024u
#define WAN_TEXT_MAX  96u
#define WAN_RATE_MAX  UINT64_C(100000000000)
#define WAN_DELAY_MAX UINT64_C(60000000000)
#define WAN_MTU_MIN   576u
#define WAN_MTU_MAX   9000u

enum wan_outage { WAN_UP, WAN_BLACKHOLE, WAN_RESET };
enum wan_way { WAN_UPWARD, WAN_DOWNWARD, WAN_WAYS };

struct wan_step {
    uint64_t at; /* ns from the start */
    char key[WAN_TEXT_MAX], value[WAN_TEXT_MAX];
};

struct wan_profile {
    char description[WAN_TEXT_MAX];
    unsigned mtu;
    uint64_t seed;
    struct wan_path path[WAN_WAYS];
    uint64_t queue_ns[WAN_WAYS]; /* a queue given as time; 0: in bytes */
    enum wan_outage outage;
    struct wan_step *steps; /* in order of time */
    size_t step_count;
};

void wan_profile_init(struct wan_profile *p);
void wan_profile_free(struct wan_profile *p);
/* Passes over the sections that make a link a scenario. Errors: CONFIG, NOENT, IO; they name file
 * and line. */
int wan_profile_load(struct wan_profile *p, const char *file, struct err *e);
/* One line of a file. Pure. Errors: CONFIG, LIMIT. */
int wan_profile_line(struct wan_profile *p, const char *section, const char *name,
                     const char *value, struct err *e);
/* key: up.rate, down.delay, both.loss, outage. Errors: CONFIG; nothing is changed then. */
int wan_profile_set(struct wan_profile *p, const char *key, const char *value, struct err *e);
const char *wan_outage_name(enum wan_outage o);

#endif
