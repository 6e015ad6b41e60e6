#include "pins.h"

#include <stdlib.h>
#include <string.h>

int pins_add(struct pins *p, const struct config *c, const struct config_peer *peer, struct err *e)
{
    p->peers = err_realloc(p->peers, (p->count + peer->link_key_count) * sizeof *p->peers);
    for (unsigned i = 0; i < peer->link_key_count; i++) {
        struct tls_peer *pin = &p->peers[p->count];
        memset(pin, 0, sizeof *pin);
        memcpy(pin->name, peer->name, sizeof pin->name);
        if (key_public_parse(&pin->key, KEY_LINK, peer->link_keys[i], e) != 0)
            return err_prefix(e, "%s:%d: [peer %s] link-key", c->file, peer->line, peer->name);
        p->count++;
    }
    return 0;
}

void pins_free(struct pins *p)
{
    free(p->peers);
    *p = (struct pins){0};
}
