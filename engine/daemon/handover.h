/* handover.h: listening sockets that outlive this process, so that a client that comes while
 * relaisd is restarted waits in a queue instead of being refused.
 *
 * systemd gives sockets at the start: those of .socket units, and those that an earlier relaisd
 * left in the service's file descriptor store (FileDescriptorStoreMax=). They are matched with the
 * exports by their address. What is made anew is put into the store, if there is a service manager
 * that listens to us; whether it has room cannot be told (systemd 252): if not, the sockets end
 * with the process, as without one. */
#ifndef RELAIS_HANDOVER_H
#define RELAIS_HANDOVER_H

#include "export.h"

struct handover;

/* Takes what systemd gave this process. Once, at the start, before there are threads. */
void handover_init(struct handover **out);
/* keeper.arg is h. */
struct export_keeper handover_keeper(struct handover *h);
/* All exports have theirs: gives up what was given and not taken. */
void handover_rest(struct handover *h);
void handover_free(struct handover *h);

#endif
