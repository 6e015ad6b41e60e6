#include "manifest.h"

#include "manifest_check.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define MANIFEST_VERSION 1u
#define SIGN_DOMAIN      "relais manifest v1" /* signed with its NUL */

/* Least bytes that an element takes encoded: a count times this must be left before anything is
 * allocated for it. */
#define VOLUME_LEN_MIN 10u /* length, 1 character, size */

static const char magic[8] = {'R', 'E', 'L', 'A', 'I', 'S', 'M', '1'};

static int cut_short(struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "manifest: it ends inside of its fields, or a text in it is "
                   "malformed");
}

static int get_scalars(struct manifest *m, struct bytes_in *in, struct err *e)
{
    uint32_t version;
    char start[8];
    bytes_get(in, start, sizeof start);
    if (bytes_bad(in) || memcmp(start, magic, sizeof magic) != 0)
        return err_set(e, ERR_INPUT, "not a manifest: it does not start with \"RELAISM1\"");
    version = bytes_get_u32(in);
    if (!bytes_bad(in) && version != MANIFEST_VERSION)
        return err_set(e, ERR_INPUT,
                       "the manifest is of version %u; this relais knows version %u: upgrade it",
                       version, MANIFEST_VERSION);
    m->flags = bytes_get_u32(in);
    bytes_get_str(in, m->site, sizeof m->site);
    bytes_get_str(in, m->group, sizeof m->group);
    bytes_get_str(in, m->label, sizeof m->label);
    m->rp_first = bytes_get_u64(in);
    m->rp = bytes_get_u64(in);
    bytes_get(in, m->parent.b, DIGEST_LEN);
    if (m->flags & MANIFEST_REPLACES) {
        bytes_get(in, m->stands_for.b, DIGEST_LEN);
        m->good_from = bytes_get_u64(in);
    }
    m->cut_time = (int64_t)bytes_get_u64(in);
    m->extents = bytes_get_u32(in);
    m->plain_bytes = bytes_get_u64(in);
    m->sealed_bytes = bytes_get_u64(in);
    m->frame_bytes = bytes_get_u64(in);
    m->index_place = bytes_get_u64(in);
    m->index_len = bytes_get_u32(in);
    bytes_get(in, m->index_digest.b, DIGEST_LEN);
    m->tables_len = bytes_get_u32(in);
    bytes_get(in, m->tables_digest.b, DIGEST_LEN);
    m->volume_count = bytes_get_u16(in);
    m->source_count = bytes_get_u16(in);
    m->key_count = bytes_get_u16(in);
    m->part_count = bytes_get_u32(in);
    return bytes_bad(in) ? cut_short(e) : manifest_check_scalars(m, e);
}

/* Allocates the arrays: the counts are within their bounds, and the bytes for them are there. */
static int allocate(struct manifest *m, const struct bytes_in *in, struct err *e)
{
    uint64_t need = (uint64_t)m->volume_count * VOLUME_LEN_MIN +
                    (uint64_t)m->part_count * DIGEST_LEN + MANIFEST_SIG_LEN;
    if (bytes_left(in) < need)
        return cut_short(e);
    m->volumes = err_calloc(m->volume_count, sizeof *m->volumes);
    m->parts = err_calloc(m->part_count, sizeof *m->parts);
    return 0;
}

static int get_lists(struct manifest *m, struct bytes_in *in, struct err *e)
{
    uint8_t signature[MANIFEST_SIG_LEN];
    for (uint16_t i = 0; i < m->volume_count; i++) {
        bytes_get_str(in, m->volumes[i].name, sizeof m->volumes[i].name);
        m->volumes[i].size = bytes_get_u64(in);
    }
    for (uint32_t i = 0; i < m->part_count; i++)
        bytes_get(in, m->parts[i].b, DIGEST_LEN);
    bytes_get(in, signature, sizeof signature);
    if (bytes_bad(in))
        return cut_short(e);
    if (bytes_left(in) > 0)
        return err_set(e, ERR_INPUT, "manifest: %zu bytes follow its signature", bytes_left(in));
    return manifest_check_volumes(m, e);
}

int manifest_decode(struct manifest *out, const void *p, size_t len, struct err *e)
{
    struct bytes_in in = bytes_in(p, len);
    struct manifest m = {0};
    int rc;
    if (len > MANIFEST_MAX)
        return err_set(e, ERR_LIMIT, "a manifest of %zu bytes is too long (at most %u)", len,
                       (unsigned)MANIFEST_MAX);
    rc = get_scalars(&m, &in, e);
    if (!rc)
        rc = manifest_check_counts(&m, e);
    if (!rc)
        rc = allocate(&m, &in, e);
    if (!rc)
        rc = get_lists(&m, &in, e);
    if (rc)
        manifest_free(&m);
    else
        *out = m;
    return rc;
}

void manifest_free(struct manifest *m)
{
    free(m->volumes);
    free(m->sources);
    free(m->keys);
    free(m->parts);
    *m = (struct manifest){0};
}

static void put_scalars(struct bytes_out *out, const struct manifest *m)
{
    bytes_put(out, magic, sizeof magic);
    bytes_put_u32(out, MANIFEST_VERSION);
    bytes_put_u32(out, m->flags);
    bytes_put_str(out, m->site);
    bytes_put_str(out, m->group);
    bytes_put_str(out, m->label);
    bytes_put_u64(out, m->rp_first);
    bytes_put_u64(out, m->rp);
    bytes_put(out, m->parent.b, DIGEST_LEN);
    if (m->flags & MANIFEST_REPLACES) {
        bytes_put(out, m->stands_for.b, DIGEST_LEN);
        bytes_put_u64(out, m->good_from);
    }
    bytes_put_u64(out, (uint64_t)m->cut_time);
    bytes_put_u32(out, m->extents);
    bytes_put_u64(out, m->plain_bytes);
    bytes_put_u64(out, m->sealed_bytes);
    bytes_put_u64(out, m->frame_bytes);
    bytes_put_u64(out, m->index_place);
    bytes_put_u32(out, m->index_len);
    bytes_put(out, m->index_digest.b, DIGEST_LEN);
    bytes_put_u32(out, m->tables_len);
    bytes_put(out, m->tables_digest.b, DIGEST_LEN);
    bytes_put_u16(out, m->volume_count);
    bytes_put_u16(out, m->source_count);
    bytes_put_u16(out, m->key_count);
    bytes_put_u32(out, m->part_count);
}

static void put_lists(struct bytes_out *out, const struct manifest *m)
{
    for (uint16_t i = 0; i < m->volume_count; i++) {
        bytes_put_str(out, m->volumes[i].name);
        bytes_put_u64(out, m->volumes[i].size);
    }
    for (uint32_t i = 0; i < m->part_count; i++)
        bytes_put(out, m->parts[i].b, DIGEST_LEN);
}

/* What is signed: the domain with its NUL, then the manifest before its signature. */
static uint8_t *signed_text(const void *p, size_t len, size_t *total)
{
    uint8_t *text = err_malloc(sizeof SIGN_DOMAIN + len);
    memcpy(text, SIGN_DOMAIN, sizeof SIGN_DOMAIN);
    memcpy(text + sizeof SIGN_DOMAIN, p, len);
    *total = sizeof SIGN_DOMAIN + len;
    return text;
}

int manifest_encode_unsigned(struct bytes_out *out, const struct manifest *m, struct err *e)
{
    int rc;
    ASSERT(out->len == 0);
    if ((rc = manifest_check_scalars(m, e)) || (rc = manifest_check_counts(m, e)) ||
        (rc = manifest_check_volumes(m, e)))
        return rc;
    put_scalars(out, m);
    put_lists(out, m);
    ASSERT(!out->bad && out->len + MANIFEST_SIG_LEN <= MANIFEST_MAX); /* bounds.h */
    return 0;
}

void manifest_sign(struct bytes_out *out, const struct key_secret *sign)
{
    uint8_t signature[MANIFEST_SIG_LEN], *text;
    size_t len;
    ASSERT(key_kind(sign) == KEY_SIGN);
    text = signed_text(out->p, out->len, &len);
    ASSERT(crypto_sign_detached(signature, NULL, text, len, key_secret_bytes(sign)) == 0);
    free(text);
    bytes_put(out, signature, sizeof signature);
    ASSERT(!out->bad);
}

int manifest_encode(struct bytes_out *out, const struct manifest *m, const struct key_secret *sign,
                    struct err *e)
{
    int rc = manifest_encode_unsigned(out, m, e);
    if (rc == 0)
        manifest_sign(out, sign);
    return rc;
}

int manifest_verify(const void *p, size_t len, const struct key_public *signer, struct err *e)
{
    const uint8_t *bytes = p;
    char word[KEY_WORD_MAX];
    uint8_t *text;
    size_t total;
    int rc;
    ASSERT(signer->kind == KEY_SIGN);
    key_public_word(word, signer);
    if (len <= MANIFEST_SIG_LEN || len > MANIFEST_MAX)
        return err_set(e, ERR_AUTH, "a manifest of %zu bytes cannot be signed by %s", len, word);
    text = signed_text(bytes, len - MANIFEST_SIG_LEN, &total);
    rc = crypto_sign_verify_detached(bytes + len - MANIFEST_SIG_LEN, text, total, signer->b);
    free(text);
    if (rc != 0)
        return err_set(e, ERR_AUTH,
                       "the manifest is not signed by %s: it was changed, or another key signed it",
                       word);
    return 0;
}

void manifest_digest(struct digest *out, const void *p, size_t len)
{
    digest_of(out, p, len);
}

const struct digest *manifest_link(const struct manifest *m, const struct digest *own)
{
    return digest_is_zero(&m->stands_for) ? own : &m->stands_for;
}

uint64_t manifest_tables_place(const struct manifest *m)
{
    return m->index_place + m->index_len;
}

uint64_t manifest_place(const struct manifest *m)
{
    return manifest_tables_place(m) + m->tables_len;
}

bool manifest_offers(const struct manifest *m, uint64_t *good_from)
{
    if (m->good_from > *good_from)
        *good_from = m->good_from;
    return (m->flags & MANIFEST_COMPLETE) && m->rp >= *good_from;
}

uint32_t manifest_parts_of(uint64_t len)
{
    ASSERT(len <= DELTA_MAX);
    return (uint32_t)((len + PART_SIZE - 1) / PART_SIZE);
}

uint32_t manifest_part_len(const struct manifest *m, uint32_t n)
{
    uint64_t end = manifest_place(m), from = n * PART_SIZE;
    ASSERT(n < m->part_count);
    return (uint32_t)(end - from < PART_SIZE ? end - from : PART_SIZE);
}
