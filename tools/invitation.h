/* invitation.h: an invitation that was made, for the one who hands it on. */
#ifndef RELAIS_INVITATION_H
#define RELAIS_INVITATION_H

#include "message.h"

/* A taker of client.h for Invited: the invitation alone on stdout, what to do with it on stderr.
 * asked: the Relais__Invite. */
int invitation_print(void *asked, const struct message *reply, struct err *e);

#endif
