/* Input: count u32, volumes u16, sources u16, length of the sealed bytes u32, the index. What is
 * read must be in order, and written again must give the same bytes: one index, one form. */
#include "bounds.h"
#include "fuzz.h"
#include "index.h"

#include <string.h>

#define HEAD 12u

static void check_order(const struct index_entry *last, const struct index_entry *it, bool first)
{
    ASSERT(it->sectors > 0 && (uint64_t)it->sector + it->sectors <= VOLUME_MAX >> SECTOR_SHIFT);
    ASSERT(it->kind == EXTENT_ZERO || it->sectors <= EXTENT_SECTORS);
    ASSERT(it->sealed_len <= EXTENT_MAX);
    if (first)
        return;
    ASSERT(it->source >= last->source);
    if (it->source == last->source)
        ASSERT(it->volume > last->volume || (it->volume == last->volume &&
                                             it->sector >= (uint64_t)last->sector + last->sectors));
    ASSERT(it->place == last->place + last->sealed_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_in in = bytes_in(data, size);
    struct index_entry it, last = {0};
    struct index_reader r;
    struct index_writer w;
    struct err e = ERR_INIT;
    uint32_t count = bytes_get_u32(&in), sealed, seen = 0;
    uint16_t volumes = bytes_get_u16(&in), sources = bytes_get_u16(&in);
    int rc;
    sealed = bytes_get_u32(&in);
    if (size < HEAD || size > INDEX_MAX || count > EXTENTS_MAX || sources > SOURCES_MAX)
        return 0;
    index_reader_init(&r, data + HEAD, size - HEAD, count, volumes, sources, 16,
                      16 + (uint64_t)sealed);
    index_writer_init(&w, 16, sources);
    while ((rc = index_next(&r, &it, &e)) == 1) {
        struct index_entry copy = it;
        ASSERT(it.volume < volumes && it.source < sources);
        check_order(&last, &it, seen == 0);
        ASSERT(index_append(&w, &copy) && copy.place == it.place);
        last = it;
        seen++;
    }
    ASSERT(rc == 0 ? seen == count : (rc == -ERR_INPUT && e.text[0]));
    if (rc == 0 && w.count == count) /* else it held zero extents that the writer joins */
        ASSERT(w.out.len == size - HEAD &&
               (w.out.len == 0 || memcmp(w.out.p, data + HEAD, w.out.len) == 0));
    index_writer_free(&w);
    return 0;
}
