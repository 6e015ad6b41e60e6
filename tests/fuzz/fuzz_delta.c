/* Input: a whole delta file, taken apart as a hub does it. Every place that the parsers give out
 * must lie inside of the file. */
#include "delta.h"
#include "fuzz.h"
#include "index.h"
#include "tables.h"

static void read_index(const struct manifest *m, const uint8_t *data)
{
    struct index_reader r;
    struct index_entry it;
    struct err e = ERR_INIT;
    volatile uint8_t touched;
    int rc;
    index_reader_init(&r, data + m->index_place, m->index_len, m->extents, m->volume_count,
                      m->source_count, DELTA_HEADER_LEN, m->index_place);
    while ((rc = index_next(&r, &it, &e)) == 1) {
        ASSERT(it.volume < m->volume_count && it.source < m->source_count);
        ASSERT(m->sources[it.source].key < m->key_count);
        if (it.sealed_len > 0)
            touched = data[it.place + it.sealed_len - 1];
    }
    (void)touched;
    ASSERT(rc == 0 || e.text[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct manifest m;
    struct err e = ERR_INIT;
    uint64_t place, sum = 0;
    uint32_t len;
    if (size < DELTA_HEADER_LEN + DELTA_TRAILER_LEN || delta_header_check(data, &e) != 0 ||
        delta_trailer_parse(data + size - DELTA_TRAILER_LEN, size, &place, &len, &e) != 0)
        return 0;
    ASSERT(place + len + DELTA_TRAILER_LEN == size && place >= DELTA_HEADER_LEN);
    if (manifest_decode(&m, data + place, len, &e) != 0)
        return 0;
    if (delta_file_len(&m, len) == size) {
        for (uint32_t i = 0; i < m.part_count; i++)
            sum += manifest_part_len(&m, i);
        ASSERT(sum == place);
        if (tables_decode(&m, data + manifest_tables_place(&m), m.tables_len, &e) == 0)
            read_index(&m, data);
    }
    manifest_free(&m);
    return 0;
}
