/* keyring.h: the data key of a group: wrapped for its readers and the site's, replaced when it is
 * an hour old, kept in memory only. */
#ifndef RELAIS_KEYRING_H
#define RELAIS_KEYRING_H

#include "config.h"
#include "datakey.h"
#include "io.h"

struct keyring {
    struct key_public readers[READERS_MAX];
    size_t count;
    struct datakey *current;
};

/* Errors: CONFIG: no reader at all (nobody could ever restore), or more than READERS_MAX. */
int keyring_init(struct keyring *k, const struct config *config, const struct config_group *group,
                 struct err *e);
void keyring_done(struct keyring *k);
/* The key to seal with now; stays the keyring's, until the next call. */
const struct datakey *keyring_key(struct keyring *k, struct io *io);

#endif
