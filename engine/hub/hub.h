/* hub.h: the hub role: listens, takes deltas in, serves them. Keeps no state outside
 * the store but who has enrolled: that is configuration, beside relais.conf (register.h). */
#ifndef RELAIS_HUB_H
#define RELAIS_HUB_H

#include "config.h"
#include "fio.h"
#include "link.h"
#include "relais.pb-c.h"
#include "store.h"

struct hub;

/* Starts the listener. config, store and tls are borrowed. Errors: NET (address in use: names it).
 * (waits) */
int hub_start(struct hub **out, const struct config *config, struct store *store, struct tls *tls,
              struct err *e);
/* Same as site_status, for the hub's part. territory: also all groups, read from the store. (waits)
 */
int hub_status(struct hub *h, bool territory, Relais__Status *out, struct err *e);

/* What people ask about the keeping of recovery points, on the control socket or over a link. */
struct hub_ask {
    uint8_t type;
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    uint64_t rp, after;
    int64_t now;
    bool flag; /* pass, unpin */
};
bool hub_ask_is(uint8_t type);
/* Errors: PROTO. */
int hub_ask_take(struct hub_ask *out, uint8_t type, const struct message *m, struct err *e);
/* Sends the reply; peer: who asks, NULL: the hub's operator. That the peer may ask is known.
 * An error that is not the link's is for the caller to refuse with. (waits) */
int hub_ask_answer(struct hub *h, const struct hub_ask *a, const char *peer, struct link *l,
                   uint32_t id, struct err *e);

/* Takes no new connections and asks those that there are to go elsewhere; returns when they have,
 * or after max_ns. What peers ask meanwhile is done. (waits) */
void hub_drain(struct hub *h, uint64_t max_ns);
/* Answers what the control socket asks of a hub: Invite, PeersGet, PeerSet, Compact. Errors: those
 * of the link; what is refused is told to it. (waits) */
int hub_answer(struct hub *h, struct link *l, const struct frame_header *f, const struct message *m,
               struct err *e);
/* Reads the register of members again: another hub's was copied here. Errors: those of the file;
 * then everything stays as it was. (waits) */
int hub_reload(struct hub *h, struct err *e);
/* The audit log, for the control socket: whoever may use that sees all of it. Same as audit_read.
 * (waits) */
struct audit_page;
int hub_audit(struct hub *h, uint64_t after, int64_t since, struct audit_page *out, struct err *e);
/* Breaks connections, waits for puts in flight, frees. (waits) */
void hub_stop(struct hub *h);

#endif
