/* keyring.h: the data key of a group: wrapped for its readers and the site's, replaced when it is
 * an hour old, kept in memory only, and wiped when it has expired, whether or not another follows.
 */
#ifndef RELAIS_KEYRING_H
#define RELAIS_KEYRING_H

#include "config.h"
#include "datakey.h"
#include "fiber.h"
#include "io.h"

struct keyring {
    struct key_public readers[READERS_MAX];
    size_t count;
    struct datakey *current;
    uint64_t wiped;            /* keys so far: what seals under one of them ends soon */
    struct fiber_cond renewed; /* there is one where there was none */
};

/* Errors: CONFIG: no reader at all (nobody could ever restore), or more than READERS_MAX. */
int keyring_init(struct keyring *k, const struct config *config, const struct config_group *group,
                 struct err *e);
void keyring_done(struct keyring *k);
/* The key to seal the next delta with; stays the keyring's, until the next wait or call. */
const struct datakey *keyring_key(struct keyring *k, struct io *io);
/* Wipes the key: the next delta has a new one, and what is being sealed under it is full. */
void keyring_rotate(struct keyring *k);
/* Wipes the key each time it has expired, until the fiber is cancelled. (waits) */
void keyring_watch(struct keyring *k);

#endif
