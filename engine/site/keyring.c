#include "keyring.h"

#include <sodium.h>
#include <string.h>

static int add(struct keyring *k, const char *word, const char *group, struct err *e)
{
    struct key_public key;
    int res = key_public_parse(&key, KEY_RESTORE, word, e);
    if (res < 0)
        return err_prefix(e, "reader of group %s", group);
    for (size_t i = 0; i < k->count; i++)
        if (memcmp(k->readers[i].b, key.b, KEY_LEN) == 0)
            return 0;
    if (k->count == READERS_MAX)
        return err_set(e, ERR_CONFIG, "group %s: more than %u readers, the site's included", group,
                       READERS_MAX);
    k->readers[k->count++] = key;
    return 0;
}

int keyring_init(struct keyring *k, const struct config *config, const struct config_group *group,
                 struct err *e)
{
    int res = 0;
    *k = (struct keyring){0};
    for (unsigned i = 0; i < config->reader_count && res == 0; i++)
        res = add(k, config->readers[i], group->name, e);
    for (unsigned i = 0; i < group->reader_count && res == 0; i++)
        res = add(k, group->readers[i], group->name, e);
    if (res == 0 && k->count == 0)
        res = err_set(e, ERR_CONFIG,
                      "group %s: no readers: nobody could restore it; name at least the "
                      "site's own restore key",
                      group->name);
    return res;
}

void keyring_rotate(struct keyring *k)
{
    k->wiped += k->current != NULL;
    datakey_free(k->current);
    k->current = NULL;
}

void keyring_done(struct keyring *k)
{
    keyring_rotate(k);
}

void keyring_watch(struct keyring *k)
{
    struct io *io = fiber_io();
    while (!fiber_cancelled()) {
        uint64_t now = io_now(io), wait = FIBER_FOREVER;
        if (k->current && datakey_expired(k->current, now))
            keyring_rotate(k);
        if (k->current)
            wait = datakey_expires(k->current) - now;
        (void)fiber_wait(&k->renewed, wait);
    }
}

const struct datakey *keyring_key(struct keyring *k, struct io *io)
{
    uint64_t now = io_now(io);
    if (!k->current || datakey_expired(k->current, now)) {
        uint8_t secret[SEAL_KEY_LEN];
        keyring_rotate(k);
        io_random(io, secret, sizeof secret);
        k->current = datakey_new(k->readers, k->count, now, secret);
        sodium_memzero(secret, sizeof secret);
        fiber_wake_all(&k->renewed);
    }
    return k->current;
}
