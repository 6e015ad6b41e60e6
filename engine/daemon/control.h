/* control.h: the unix socket that relais(1) talks to: status and marks, in the frames of the link.
 *
 * Who may connect is the socket's mode (0660: root and the daemon's group). At most CONTROL_MAX
 * connections at a time, one mark under way on each. */
#ifndef RELAIS_CONTROL_H
#define RELAIS_CONTROL_H

#include "daemon.h"

#define CONTROL_MAX 16u

struct control;

/* Listens at the configuration's control path. d is borrowed. Errors: NET, IO. (waits) */
int control_start(struct control **out, struct daemon *d, struct err *e);
/* Breaks connections, waits for their fibers, removes the socket, frees. (waits) */
void control_stop(struct control *c);

#endif
