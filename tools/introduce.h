/* introduce.h: the new member's side of enrolment: it shows an invitation to the hub that it is of,
 * and hands over its keys. */
#ifndef RELAIS_INTRODUCE_H
#define RELAIS_INTRODUCE_H

#include "link.h"
#include "token.h"

struct introduction {
    const struct token *token;
    const struct key_secret *link;
    struct key_public sign, restore;
    /* What the hub answered; strings are its message's. */
    struct key_public hub;
    struct message reply;  /* Enrolled; message_free ends it */
    struct config_addr at; /* the address that answered */
};
/* Tries the token's addresses in order. Errors: NET, AUTH (another key answers; the hub refuses),
 * PROTO. Runs a loop of its own. */
int introduce(struct introduction *i, struct err *e);

#endif
