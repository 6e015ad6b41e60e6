/* pump.h: moves packets between the two ends as the profile says, on one thread, until told to
 * stop; answers on a control socket meanwhile.
 *
 * The model (link.h) says when each packet is due; the pump is late when the machine is: it counts
 * by how much, so that nobody takes the machine's limits for the link's. */
#ifndef RELAIS_WAN_PUMP_H
#define RELAIS_WAN_PUMP_H

#include "profile.h"
#include "tun.h"

#define WAN_LATE_NS UINT64_C(1000000) /* later than this is told of */
#define WAN_CLIENTS 8u

struct wan_pump {
    struct wan_profile *profile;
    struct wan_end ends[WAN_WAYS];   /* the site's, the hub's */
    struct wan_link links[WAN_WAYS]; /* what enters at an end takes the link of its index */
    size_t step;                     /* next of the profile's */
    uint64_t started;                /* ns, monotonic */
    bool realtime;                   /* the kernel gives us the processor at once */
    /* May be set before run: as if the link had no limits; no steps yet. Until it is told
     * otherwise. */
    bool open, hold;
    bool stop;
    int control;              /* listening socket, -1 */
    int clients[WAN_CLIENTS]; /* -1: free */
    char path[108];           /* of the control socket */
    uint8_t *scratch;
    /* Whether the machine kept up. */
    uint64_t delivered, late, late_max; /* packets; ns */
    uint64_t refused;                   /* packets that a kernel did not take */
    uint64_t resets;                    /* sent */
};

/* Opens both ends. p borrows the profile and changes it at its steps. Errors: AUTH, OS, IO. */
int wan_pump_open(struct wan_pump *p, struct wan_profile *profile, bool offload, struct err *e);
void wan_pump_close(struct wan_pump *p);
/* Listens on a socket (SOCK_SEQPACKET) for what wan_pump_tell takes. */
int wan_pump_listen(struct wan_pump *p, const char *path, struct err *e);
/* Runs until `stop` is told, a signal for which signals (a signalfd) is readable, or until until_fd
 * is readable. Errors: IO. */
int wan_pump_run(struct wan_pump *p, int signals, int until_fd, struct err *e);
/* One request: "set KEY VALUE", "stats", "stop"; "open" (no limits), "shape" (what the profile
 * says, before its steps), "begin" (and its steps, which count from now on), "counts" (bytes that
 * came out, up and down, and the outage). The answer is text in dst: "ok", JSON, or what is wrong
 * behind "error: ". */
void wan_pump_tell(struct wan_pump *p, const char *request, char *dst, size_t cap);
/* The counts as one line of JSON. */
void wan_pump_stats(const struct wan_pump *p, char *dst, size_t cap);
/* Whether more than a hundredth of the packets came late, or some were dropped unread; then why,
 * in dst. */
bool wan_pump_strained(const struct wan_pump *p, char *dst, size_t cap);

#define WAN_ANSWER_MAX 4096u

#endif
