/* pins.h: the keys that [peer] sections pin, as tls_new takes them. Does not wait. */
#ifndef RELAIS_PINS_H
#define RELAIS_PINS_H

#include "config.h"
#include "link.h"

struct pins {
    struct tls_peer *peers; /* one for each key: a peer may have several */
    size_t count;
};

/* Adds all keys of a peer. Errors: INPUT and such, naming file and line. */
int pins_add(struct pins *p, const struct config *c, const struct config_peer *peer, struct err *e);
void pins_free(struct pins *p);

#endif
