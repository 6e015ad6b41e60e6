/* check.h: the emulator's fidelity, measured from its two ends with UDP, and its ceiling, with TCP.
 *
 * Runs in a process of its own while the pump runs in another (wan_check_run forks). */
#ifndef RELAIS_WAN_CHECK_H
#define RELAIS_WAN_CHECK_H

#include "pump.h"

#define WAN_RATE_TOLERANCE  0.03
#define WAN_DELAY_TOLERANCE UINT64_C(1000000) /* ns */

struct wan_measured {
    double set, got, tolerance; /* absolute */
};
struct wan_fidelity {
    struct wan_measured rtt;            /* ns, of small packets on an idle link */
    struct wan_measured rate[WAN_WAYS]; /* bits a second that arrive when more is sent */
    struct wan_measured loss[WAN_WAYS]; /* share, below the link's rate */
};

/* Measures both ways, some ten seconds. The machine's own failings are in p's counts. Errors: OS,
 * IO, NET (a link that carries nothing). */
int wan_check_run(struct wan_fidelity *out, struct wan_pump *p, int signals, struct err *e);
bool wan_measured_holds(const struct wan_measured *m);
/* Bits a second of one TCP stream of the site's to the hub; p's links should have no limit. */
int wan_check_ceiling(double *bits_per_s, struct wan_pump *p, int signals, struct err *e);

#endif
