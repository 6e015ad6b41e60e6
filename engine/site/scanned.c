#include "scanned.h"

#include "log.h"
#include "record.h"

#include <stdlib.h>

#define MAGIC "RELAISX1"

int scanned_save(const struct scanned *s, const struct chain *c, struct err *e)
{
    struct bytes_out out = bytes_out(RECORD_MAX);
    char path[PATH_CAP];
    int res;
    path_format(path, "%s/scanned", c->state_dir);
    bytes_put_u64(&out, s->tip);
    bytes_put(&out, s->tip_digest.b, DIGEST_LEN);
    bytes_put_u64(&out, s->clean);
    bytes_put(&out, s->clean_digest.b, DIGEST_LEN);
    res = record_save(path, MAGIC, &out, e);
    bytes_free(&out);
    return res;
}

int scanned_forget(const struct chain *c, struct err *e)
{
    struct scanned none = {.tip = UINT64_MAX};
    return scanned_save(&none, c, e);
}

/* Whether the chain has this RP with this digest, or had it and committed it since. */
static bool fits(const struct chain *c, uint64_t rp, const struct digest *digest)
{
    struct digest known;
    if (rp == 0)
        return true;
    return chain_link(c, rp, &known) && digest_equal(&known, digest);
}

int scanned_load(struct scanned *out, const struct chain *c, bool *valid, struct err *e)
{
    char path[PATH_CAP];
    struct bytes_in in;
    void *file;
    int res;
    *out = (struct scanned){0};
    *valid = false;
    path_format(path, "%s/scanned", c->state_dir);
    res = record_load(path, MAGIC, &file, &in, e);
    if (res == -ERR_NOENT) {
        *valid = chain_tip_rp(c) == 0;
        return 0;
    }
    if (res == -ERR_CORRUPT) {
        log_warn("%s; the next scan ships the volumes of group %s again", e->text, c->group);
        return 0;
    }
    if (res < 0)
        return res;
    out->tip = bytes_get_u64(&in);
    bytes_get(&in, out->tip_digest.b, DIGEST_LEN);
    out->clean = bytes_get_u64(&in);
    bytes_get(&in, out->clean_digest.b, DIGEST_LEN);
    *valid = !bytes_bad(&in) && bytes_left(&in) == 0 && out->clean <= out->tip &&
             fits(c, out->tip, &out->tip_digest) && fits(c, out->clean, &out->clean_digest);
    free(file);
    return 0;
}
