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
/* Takes no new connections and asks those that there are to go elsewhere; returns when they have,
 * or after max_ns. What peers ask meanwhile is done. (waits) */
void hub_drain(struct hub *h, uint64_t max_ns);
/* Answers what the control socket asks of a hub's peers: Invite, PeersGet, PeerSet. Errors: those
 * of the link; what is refused is told to it. (waits) */
int hub_answer(struct hub *h, struct link *l, const struct frame_header *f, const struct message *m,
               struct err *e);
/* Breaks connections, waits for puts in flight, frees. (waits) */
void hub_stop(struct hub *h);

#endif
