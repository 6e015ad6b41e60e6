#include "escrow.h"

#include "bytes.h"

#include <string.h>

#include <libgfshare.h>
#include <sodium.h>

#define VERSION 1u
_Static_assert(4 + KEY_FP_LEN + ESCROW_DEAL_LEN + KEY_LEN == ESCROW_SHEET_LEN, "a sheet's fields");

static const struct typed form = {"relais escrow line", "", false};

/* ---- shares ---- */

static void fill_random(unsigned char *dst, unsigned int len)
{
    randombytes_buf(dst, len);
}

static void split(struct escrow_sheet *out, unsigned threshold, unsigned count, uint8_t *secret)
{
    unsigned char numbers[ESCROW_SHEETS_MAX];
    for (unsigned i = 0; i < count; i++)
        numbers[i] = (unsigned char)(i + 1);
    gfshare_fill_rand = fill_random;
    gfshare_ctx *g = gfshare_ctx_init_enc(numbers, count, (unsigned char)threshold, KEY_LEN);
    ASSERT(g);
    gfshare_ctx_enc_setsecret(g, secret);
    for (unsigned i = 0; i < count; i++)
        gfshare_ctx_enc_getshare(g, (unsigned char)i, out[i].share);
    gfshare_ctx_free(g);
}

void escrow_split(struct escrow_sheet *out, unsigned threshold, unsigned count,
                  const struct key_secret *k)
{
    uint8_t secret[KEY_LEN];
    ASSERT(key_kind(k) == KEY_RESTORE && threshold >= 1 && threshold <= count);
    ASSERT(count <= ESCROW_SHEETS_MAX && (threshold > 1 || count == 1));
    memset(out, 0, count * sizeof *out);
    for (unsigned i = 0; i < count; i++) {
        out[i].threshold = (uint8_t)threshold;
        out[i].count = (uint8_t)count;
        out[i].number = (uint8_t)(i + 1);
        key_fingerprint(out[i].fingerprint, key_public(k));
    }
    randombytes_buf(out[0].deal, ESCROW_DEAL_LEN);
    for (unsigned i = 1; i < count; i++)
        memcpy(out[i].deal, out[0].deal, ESCROW_DEAL_LEN);
    memcpy(secret, key_secret_bytes(k), KEY_LEN);
    if (count == 1)
        memcpy(out[0].share, secret, KEY_LEN);
    else
        split(out, threshold, count, secret);
    sodium_memzero(secret, sizeof secret);
}

static int check_together(const struct escrow_sheet *sheets, size_t count, struct err *e)
{
    const struct escrow_sheet *first = &sheets[0];
    for (size_t i = 1; i < count; i++) {
        const struct escrow_sheet *s = &sheets[i];
        if (memcmp(s->fingerprint, first->fingerprint, KEY_FP_LEN) != 0)
            return err_set(e, ERR_INPUT, "sheets %u and %u are of two different keys",
                           first->number, s->number);
        if (memcmp(s->deal, first->deal, ESCROW_DEAL_LEN) != 0 ||
            s->threshold != first->threshold || s->count != first->count)
            return err_set(e, ERR_INPUT,
                           "sheets %u and %u were not made together: shares of one key that was "
                           "split twice do not mix",
                           first->number, s->number);
        for (size_t j = 0; j < i; j++)
            if (sheets[j].number == s->number)
                return err_set(e, ERR_INPUT, "sheet %u came twice", s->number);
    }
    if (count < first->threshold)
        return err_set(e, ERR_INPUT, "%zu of the %u sheets came, but %u are needed", count,
                       first->count, first->threshold);
    return 0;
}

static void join(uint8_t secret[KEY_LEN], const struct escrow_sheet *sheets, unsigned count)
{
    unsigned char numbers[ESCROW_SHEETS_MAX];
    uint8_t share[KEY_LEN];
    for (unsigned i = 0; i < count; i++)
        numbers[i] = sheets[i].number;
    gfshare_fill_rand = fill_random; /* it wipes with it */
    gfshare_ctx *g = gfshare_ctx_init_dec(numbers, count, KEY_LEN);
    ASSERT(g);
    for (unsigned i = 0; i < count; i++) {
        memcpy(share, sheets[i].share, KEY_LEN);
        gfshare_ctx_dec_giveshare(g, (unsigned char)i, share);
    }
    gfshare_ctx_dec_extract(g, secret);
    gfshare_ctx_free(g);
    sodium_memzero(share, sizeof share);
}

int escrow_combine(struct key_secret **out, const struct escrow_sheet *sheets, size_t count,
                   struct err *e)
{
    uint8_t secret[KEY_LEN], fingerprint[KEY_FP_LEN];
    struct key_secret *k;
    if (count == 0 || count > ESCROW_SHEETS_MAX)
        return err_set(e, ERR_INPUT, "%zu sheets: 1 to %u can be combined", count,
                       ESCROW_SHEETS_MAX);
    int rc = check_together(sheets, count, e);
    if (rc)
        return rc;
    if (sheets[0].count == 1)
        memcpy(secret, sheets[0].share, KEY_LEN);
    else
        join(secret, sheets, sheets[0].threshold);
    k = key_generate(KEY_RESTORE, secret);
    sodium_memzero(secret, sizeof secret);
    key_fingerprint(fingerprint, key_public(k));
    if (memcmp(fingerprint, sheets[0].fingerprint, KEY_FP_LEN) != 0) {
        key_free(k);
        return err_set(e, ERR_CORRUPT,
                       "the sheets fit together, but what they give is not the key that they "
                       "name: one of them is not what was printed");
    }
    *out = k;
    return 0;
}

/* ---- sheets ---- */

void escrow_encode(uint8_t dst[ESCROW_SHEET_LEN], const struct escrow_sheet *s)
{
    uint8_t *at = dst;
    *at++ = VERSION;
    *at++ = s->threshold;
    *at++ = s->count;
    *at++ = s->number;
    memcpy(at, s->fingerprint, KEY_FP_LEN);
    at += KEY_FP_LEN;
    memcpy(at, s->deal, ESCROW_DEAL_LEN);
    at += ESCROW_DEAL_LEN;
    memcpy(at, s->share, KEY_LEN);
}

int escrow_decode(struct escrow_sheet *out, const uint8_t src[ESCROW_SHEET_LEN], struct err *e)
{
    struct bytes_in in = bytes_in(src, ESCROW_SHEET_LEN);
    uint8_t version = bytes_get_u8(&in);
    if (version != VERSION)
        return err_set(e, ERR_INPUT,
                       "this is a sheet of version %u, and this relais reads version %u: use a "
                       "newer one",
                       version, VERSION);
    out->threshold = bytes_get_u8(&in);
    out->count = bytes_get_u8(&in);
    out->number = bytes_get_u8(&in);
    bytes_get(&in, out->fingerprint, KEY_FP_LEN);
    bytes_get(&in, out->deal, ESCROW_DEAL_LEN);
    bytes_get(&in, out->share, KEY_LEN);
    if (out->threshold < 1 || out->threshold > out->count || out->count > ESCROW_SHEETS_MAX ||
        (out->threshold == 1) != (out->count == 1) || out->number < 1 || out->number > out->count)
        return err_set(e, ERR_INPUT,
                       "a sheet %u of %u, of which %u are needed: there is no such sheet",
                       out->number, out->count, out->threshold);
    return 0;
}

/* ---- lines ---- */

void escrow_line_print(char dst[ESCROW_LINE_TEXT], const uint8_t sheet[ESCROW_SHEET_LEN],
                       unsigned line)
{
    ASSERT(line < ESCROW_LINES);
    typed_print(dst, &form, sheet, line, ' ');
}

int escrow_line_read(uint8_t sheet[ESCROW_SHEET_LEN], unsigned line, const char *text,
                     struct err *e)
{
    ASSERT(line < ESCROW_LINES);
    return typed_read(sheet, &form, line, text, e);
}
