#include "wire.h"

#include <stdlib.h>
#include <string.h>

void wire_init(struct wire *w)
{
    *w = (struct wire){.in = err_malloc(WIRE_IN), .out = err_malloc(WIRE_OUT)};
}

void wire_free(struct wire *w)
{
    free(w->in);
    free(w->out);
    *w = (struct wire){0};
}

size_t wire_take(struct wire *w, void *dst, size_t len)
{
    size_t n = w->in_end - w->in_at;
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(dst, w->in + w->in_at, n);
    w->in_at += n;
    return n;
}

size_t wire_put(struct wire *w, const void *src, size_t len)
{
    size_t n = WIRE_OUT - w->out_end;
    if (n > len)
        n = len;
    if (n > 0)
        memcpy(w->out + w->out_end, src, n);
    w->out_end += n;
    return n;
}

static int bio_read(BIO *bio, char *dst, int len)
{
    size_t n = len > 0 ? wire_take(BIO_get_data(bio), dst, (size_t)len) : 0;
    BIO_clear_retry_flags(bio);
    if (n == 0 && len > 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    return (int)n;
}

static int bio_write(BIO *bio, const char *src, int len)
{
    size_t n = len > 0 ? wire_put(BIO_get_data(bio), src, (size_t)len) : 0;
    BIO_clear_retry_flags(bio);
    if (n == 0 && len > 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    return (int)n;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

BIO *wire_bio(struct wire *w)
{
    static BIO_METHOD *method; /* one for all links, for the life of the program */
    BIO *bio;
    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "relais link");
        if (!method || !BIO_meth_set_read(method, bio_read) ||
            !BIO_meth_set_write(method, bio_write) || !BIO_meth_set_ctrl(method, bio_ctrl))
            err_panic(__FILE__, __LINE__, "OpenSSL refuses a BIO method");
    }
    bio = BIO_new(method);
    if (!bio)
        err_panic(__FILE__, __LINE__, "out of memory");
    BIO_set_data(bio, w);
    BIO_set_init(bio, 1);
    return bio;
}
