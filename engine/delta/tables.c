#include "tables.h"

#include "manifest_check.h"

#include <stdlib.h>

/* Least bytes that an element takes encoded: a count times this must be left before anything is
 * allocated for it. */
#define SOURCE_LEN  (8 + SEAL_SALT_LEN + 2)
#define KEY_LEN_MIN (DATAKEY_ID_LEN + 2u)

int tables_encode(struct bytes_out *out, struct manifest *m, struct err *e)
{
    int rc = manifest_check_tables(m, e);
    ASSERT(out->len == 0);
    if (rc)
        return rc;
    for (uint16_t i = 0; i < m->source_count; i++) {
        bytes_put_u64(out, m->sources[i].rp);
        bytes_put(out, m->sources[i].salt, SEAL_SALT_LEN);
        bytes_put_u16(out, m->sources[i].key);
    }
    for (uint16_t i = 0; i < m->key_count; i++) {
        const struct datakey_wraps *k = &m->keys[i];
        bytes_put(out, k->id, DATAKEY_ID_LEN);
        bytes_put_u16(out, k->count);
        for (uint16_t j = 0; j < k->count; j++) {
            bytes_put(out, k->wraps[j].reader, KEY_FP_LEN);
            bytes_put(out, k->wraps[j].sealed, DATAKEY_WRAP_LEN);
        }
    }
    ASSERT(!out->bad); /* bounds.h */
    m->tables_len = (uint32_t)out->len;
    digest_of(&m->tables_digest, out->p, out->len);
    return 0;
}

static void get_key(struct datakey_wraps *k, struct bytes_in *in)
{
    bytes_get(in, k->id, DATAKEY_ID_LEN);
    k->count = bytes_get_u16(in);
    if (k->count > READERS_MAX)
        in->bad = true; /* there is no room for them, and nothing behind them can be read */
    for (uint16_t i = 0; !bytes_bad(in) && i < k->count; i++) {
        bytes_get(in, k->wraps[i].reader, KEY_FP_LEN);
        bytes_get(in, k->wraps[i].sealed, DATAKEY_WRAP_LEN);
    }
}

static int get_tables(struct manifest *m, struct bytes_in *in, struct err *e)
{
    for (uint16_t i = 0; i < m->source_count; i++) {
        m->sources[i].rp = bytes_get_u64(in);
        bytes_get(in, m->sources[i].salt, SEAL_SALT_LEN);
        m->sources[i].key = bytes_get_u16(in);
    }
    for (uint16_t i = 0; i < m->key_count && !bytes_bad(in); i++)
        get_key(&m->keys[i], in);
    if (bytes_bad(in) || bytes_left(in) > 0)
        return err_set(e, ERR_INPUT, "tables of sources and data keys: %s",
                       bytes_bad(in) ? "they end inside of an element" : "bytes are left over");
    return manifest_check_tables(m, e);
}

int tables_decode(struct manifest *m, const void *p, size_t len, struct err *e)
{
    struct bytes_in in = bytes_in(p, len);
    struct digest d;
    int rc;
    ASSERT(!m->sources && !m->keys);
    digest_of(&d, p, len);
    if (len != m->tables_len || !digest_equal(&d, &m->tables_digest))
        return err_set(e, ERR_CORRUPT,
                       "the tables of sources and data keys differ from their digest in the "
                       "manifest");
    if (len < (uint64_t)m->source_count * SOURCE_LEN + (uint64_t)m->key_count * KEY_LEN_MIN)
        return err_set(e, ERR_INPUT, "tables of %zu bytes cannot hold %u sources and %u data keys",
                       len, m->source_count, m->key_count);
    m->sources = err_calloc(m->source_count, sizeof *m->sources);
    m->keys = err_calloc(m->key_count, sizeof *m->keys);
    rc = get_tables(m, &in, e);
    if (rc) {
        free(m->sources);
        free(m->keys);
        m->sources = NULL;
        m->keys = NULL;
    }
    return rc;
}
