#include "record.h"

#include "digest.h"
#include "fio.h"

#include <stdlib.h>
#include <string.h>

int record_save(const char *path, const char magic[RECORD_MAGIC_LEN], const struct bytes_out *body,
                struct err *e)
{
    struct bytes_out out = bytes_out(RECORD_MAX);
    struct digest sum;
    int res;
    bytes_put(&out, magic, RECORD_MAGIC_LEN);
    bytes_put(&out, body->p, body->len);
    digest_of(&sum, out.p, out.len);
    bytes_put(&out, sum.b, sizeof sum.b);
    ASSERT(!out.bad && !body->bad);
    res = fio_replace_file(path, out.p, out.len, 0600, e);
    bytes_free(&out);
    return res;
}

int record_load(const char *path, const char magic[RECORD_MAGIC_LEN], void **file,
                struct bytes_in *body, struct err *e)
{
    struct digest sum;
    size_t len, checked;
    int res = fio_load_file(path, RECORD_MAX, file, &len, e);
    if (res < 0)
        return res;
    checked = len - sizeof sum.b;
    if (len >= RECORD_MAGIC_LEN + sizeof sum.b && memcmp(*file, magic, RECORD_MAGIC_LEN) == 0) {
        const uint8_t *p = *file;
        digest_of(&sum, p, checked);
        if (memcmp(sum.b, p + checked, sizeof sum.b) == 0) {
            *body = bytes_in(p + RECORD_MAGIC_LEN, checked - RECORD_MAGIC_LEN);
            return 0;
        }
    }
    free(*file);
    *file = NULL;
    return err_set(e, ERR_CORRUPT,
                   "%s: %zu bytes that are no \"%.8s\" record or differ from its "
                   "checksum",
                   path, len, magic);
}
