/* index.h: the list of a delta's extents, in order, 20-odd bytes each.
 *
 * Entries are strictly ascending by (source, volume, sector), and those of one source do not
 * overlap; both sides enforce it. Only a merged delta has several sources, the oldest first: where
 * two of them overlap, the later one is what the volume holds. The sealed bytes lie in the delta in
 * entry order, back to back, so an entry's place is the sum of the lengths before it. Encoding in
 * FORMAT.md. Pure. */
#ifndef RELAIS_INDEX_H
#define RELAIS_INDEX_H

#include "bytes.h"
#include "err.h"
#include "seal.h"

struct index_entry {
    uint16_t volume; /* number in the manifest's volume table */
    uint16_t
        source; /* number in the manifest's source table: RP, salt and key it was sealed with */
    uint32_t sector;
    uint32_t sectors; /* data: <= EXTENT_SECTORS; zero: any */
    uint8_t kind, codec;
    uint32_t sealed_len;       /* 0 for EXTENT_ZERO */
    uint64_t place;            /* of the sealed bytes, from the start of the delta file */
    uint64_t base_rp;          /* EXTENT_PATCH: the RP it is encoded against; else 0 */
    uint8_t tag[SEAL_TAG_LEN]; /* zero extents have none */
};

struct index_writer {
    struct bytes_out out;    /* the encoded index: whole after every append */
    struct index_entry last; /* as it is encoded, joined */
    uint32_t count;          /* of entries in `out` */
    /* index.c's */
    uint16_t sources;
    uint64_t last_from; /* where on its volume the entry before the last ended */
    size_t last_at;     /* where in `out` the last entry starts */
    bool last_opens;    /* the last entry is the first of its source and volume */
};
/* data_start: place of the first sealed byte. sources: how many the manifest will list (an entry
 * names its source only when there are several). Nothing is allocated before the first append. */
void index_writer_init(struct index_writer *w, uint64_t data_start, uint16_t sources);
void index_writer_free(struct index_writer *w);
/* Sets entry->place from the running sum. Adjacent zero extents of one source are joined (count
 * then stays). False when EXTENTS_MAX or INDEX_MAX is reached: nothing was added. Out of order, or
 * an entry that index_next would refuse, is a defect (ASSERT). The bound of the whole delta
 * (DELTA_MAX) is the caller's. */
bool index_append(struct index_writer *w, struct index_entry *entry);

struct index_reader {
    struct bytes_in in;
    struct index_entry last;
    uint32_t seen, count;
    uint16_t volumes, sources;
    uint64_t data_end;
};
/* Reads `count` entries from memory that stays the caller's; place runs from data_start and must
 * not pass data_end; volume and source numbers stay below `volumes` and `sources`. */
void index_reader_init(struct index_reader *r, const void *p, size_t len, uint32_t count,
                       uint16_t volumes, uint16_t sources, uint64_t data_start, uint64_t data_end);
/* 1 and an entry, 0 at the (checked) end, or a negative code (INPUT, with the entry's number). */
int index_next(struct index_reader *r, struct index_entry *out, struct err *e);
/* Reads a whole index from its start and returns a reader for each source that has entries, oldest
 * first, placed before the first of them: for whoever must see the newest first. Each reads on into
 * the next source. *starts is the caller's to free. Errors: as index_next. */
int index_split(const struct index_reader *start, struct index_reader **starts, uint16_t *count,
                struct err *e);

#endif
