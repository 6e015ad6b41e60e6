/* daemon.h: relaisd put together: the roles, what they share, and in which order they come and go.
 *
 * The roles are independent: a site comes up when the store of the hub role, in the same process,
 * is out of reach, and the other way round. Each is started by a fiber of its own that tries again.
 */
#ifndef RELAIS_DAEMON_H
#define RELAIS_DAEMON_H

#include "config.h"
#include "hub.h"
#include "site.h"
#include "store.h"

struct daemon {
    struct io *io;
    struct config *config;
    struct key_secret *link_key, *sign_key, *hash_key; /* the last two: NULL without groups */
    struct tls *tls;
    uint64_t started; /* monotonic */

    struct site *serving; /* NULL until its volumes are in service */
    struct site *site;    /* the same, once its history is recovered */
    struct handover *handover;
    struct hub *hub;
    struct store *store;
    char site_error[ERR_TEXT_MAX],
        hub_error[ERR_TEXT_MAX]; /* why not; "" while it is tried first */

    struct fiber *main;
    struct fiber_cond changed; /* a role came up, or failed; or stopping was asked for */
    bool stopping;
    bool reloading;   /* the register of members is to be read again */
    struct err fatal; /* why the daemon ends by itself */
};

/* Ends the daemon: why NULL when it was asked to. Callable from fibers and completions. */
void daemon_stop(struct daemon *d, const struct err *why);

/* roles.c: fibers that bring the roles up; and down again, in a fiber that is not cancelled. (wait)
 */
void roles_start_site(void *daemon);
void roles_start_hub(void *daemon);
void roles_stop(struct daemon *d);

#endif
