/* bulk.h: a file that is written once in large pieces and read, if at all, in large pieces: a delta
 * in the spool, an object of the dir store.
 *
 * Whole blocks of aligned buffers go past the page cache (O_DIRECT): a copy less, and no page of
 * cache taken from the hospital's volumes for bytes that nobody reads soon. What is left over, and
 * all on file systems that cannot do it, goes through the cache; the kernel keeps both views of a
 * file coherent as long as no block is written both ways at once. All calls (wait). */
#ifndef RELAIS_BULK_H
#define RELAIS_BULK_H

#include "fio.h"

#define BULK_ALIGN 4096u /* of addresses, offsets and lengths that go past the cache */

struct bulk {
    int cached, direct; /* direct is -1 where the file system refuses it */
};
#define BULK_CLOSED                                                                                \
    (struct bulk)                                                                                  \
    {                                                                                              \
        -1, -1                                                                                     \
    }

/* flags as for open(2): of O_CREAT and O_TRUNC only once. 0, or a negative errno. */
int bulk_open(struct bulk *b, const char *path, int flags, mode_t mode);
/* As fio_write_all. */
int bulk_write_all(struct bulk *b, const void *buf, size_t len, uint64_t off);
/* As fio_read_all; past the cache when buf and off are aligned and room for len rounded up to
 * BULK_ALIGN is there (cap). */
int bulk_read_all(struct bulk *b, void *buf, size_t len, size_t cap, uint64_t off);
/* Makes the data durable, whichever way it went. */
int bulk_sync(struct bulk *b);
void bulk_close_always(struct bulk *b);

/* Aligned memory for such buffers; free() it. Never NULL. */
void *bulk_alloc(size_t size);

#endif
