/* The encoding is drawn in docs/FORMAT.md, "Index". Positions are stored as gaps, so order and the
 * absence of overlaps within a source and volume need no check: what is not so cannot be written
 * down. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

/* Fields of an entry's first number: kind, codec, "volume and source follow", gap. */
#define HEAD_KIND_MASK   3u
#define HEAD_CODEC_SHIFT 2
#define HEAD_CODEC_MASK  3u
#define HEAD_OPENS       16u
#define HEAD_GAP_SHIFT   5

#define VOLUME_SECTORS (VOLUME_MAX >> SECTOR_SHIFT)
#define ENTRY_LEN_MAX  64u /* 6 head, 3 volume, 5 sectors, 5 length, 3 source, 10 base, 16 tag */

static uint64_t end_of(const struct index_entry *entry)
{
    return (uint64_t)entry->sector + entry->sectors;
}

/* Why an entry cannot be; NULL when it can. What both the reader and the writer enforce. */
static const char *impossible(const struct index_entry *entry)
{
    if (entry->kind > EXTENT_PATCH || entry->codec > CODEC_ZSTD)
        return "its kind or codec was written by a newer version of relais; upgrade this one";
    if (entry->sectors == 0 || end_of(entry) > VOLUME_SECTORS)
        return "it lies beyond the largest volume";
    if (entry->kind == EXTENT_ZERO)
        return entry->codec == 0 && entry->sealed_len == 0 ? NULL : "a zero extent has no bytes";
    if (entry->sectors > EXTENT_SECTORS)
        return "it is longer than an extent may be";
    if (entry->sealed_len == 0 || entry->sealed_len > seal_bound(entry->sectors))
        return "its sealed length does not fit its sectors";
    if (entry->kind == EXTENT_PATCH)
        return entry->base_rp > 0 ? NULL : "a patch needs the recovery point it is made against";
    if ((entry->codec == CODEC_STORED) != (entry->sealed_len == seal_bound(entry->sectors)))
        return "its sealed length does not fit its codec";
    return NULL;
}

void index_writer_init(struct index_writer *w, uint64_t data_start, uint16_t sources)
{
    *w = (struct index_writer){.out = bytes_out(INDEX_MAX), .sources = sources};
    w->last.place = data_start;
}

void index_writer_free(struct index_writer *w)
{
    bytes_free(&w->out);
}

static void encode(struct index_writer *w, const struct index_entry *entry)
{
    uint64_t gap = w->last_opens ? entry->sector : entry->sector - w->last_from;
    bytes_put_varint(&w->out, gap << HEAD_GAP_SHIFT | (w->last_opens ? HEAD_OPENS : 0) |
                                  (uint64_t)entry->codec << HEAD_CODEC_SHIFT | entry->kind);
    if (w->last_opens)
        bytes_put_varint(&w->out, entry->volume);
    if (w->last_opens && w->sources > 1)
        bytes_put_varint(&w->out, entry->source);
    bytes_put_varint(&w->out, entry->sectors - 1);
    if (entry->kind == EXTENT_ZERO)
        return;
    bytes_put_varint(&w->out, entry->sealed_len);
    if (entry->kind == EXTENT_PATCH)
        bytes_put_varint(&w->out, entry->base_rp);
    bytes_put(&w->out, entry->tag, SEAL_TAG_LEN);
}

/* Whether a run of entries by gaps begins: of another source or volume, which come in order. */
static bool opens(const struct index_entry *last, uint64_t volume, uint64_t source)
{
    return source > last->source || (source == last->source && volume > last->volume);
}

static bool joins(const struct index_entry *last, const struct index_entry *entry)
{
    return last->kind == EXTENT_ZERO && entry->kind == EXTENT_ZERO &&
           last->volume == entry->volume && last->source == entry->source &&
           end_of(last) == entry->sector && end_of(entry) - last->sector <= UINT32_MAX;
}

bool index_append(struct index_writer *w, struct index_entry *entry)
{
    bool first = w->count == 0;
    ASSERT(!impossible(entry) && entry->source < w->sources);
    ASSERT(first || opens(&w->last, entry->volume, entry->source) ||
           (entry->source == w->last.source && entry->volume == w->last.volume &&
            entry->sector >= end_of(&w->last)));
    entry->place = w->last.place + w->last.sealed_len;
    if (!first && joins(&w->last, entry)) {
        /* Room is always there: the new form of the last entry is ENTRY_LEN_MAX at most. */
        w->out.len = w->last_at;
        w->last.sectors += entry->sectors;
        encode(w, &w->last);
        ASSERT(!w->out.bad);
        return true;
    }
    /* Two, so that the last entry can still grow by joining. */
    if (w->count == EXTENTS_MAX || w->out.len + 2 * ENTRY_LEN_MAX > INDEX_MAX)
        return false;
    w->last_opens = first || opens(&w->last, entry->volume, entry->source);
    w->last_from = w->last_opens ? 0 : end_of(&w->last);
    w->last_at = w->out.len;
    w->last = *entry;
    w->count++;
    encode(w, entry);
    ASSERT(!w->out.bad);
    return true;
}

void index_reader_init(struct index_reader *r, const void *p, size_t len, uint32_t count,
                       uint16_t volumes, uint16_t sources, uint64_t data_start, uint64_t data_end)
{
    *r = (struct index_reader){.in = bytes_in(p, len),
                               .count = count,
                               .volumes = volumes,
                               .sources = sources,
                               .data_end = data_end};
    r->last.place = data_start;
}

static int refuse(const struct index_reader *r, const char *why, struct err *e)
{
    return err_set(e, ERR_INPUT, "index entry %u of %u: %s", r->seen + 1, r->count, why);
}

/* Volume and source of an entry that opens. NULL, or what is wrong. */
static const char *decode_opening(struct index_reader *r, struct index_entry *out)
{
    uint64_t volume = bytes_get_varint(&r->in);
    uint64_t source = r->sources > 1 ? bytes_get_varint(&r->in) : 0;
    if (volume >= r->volumes)
        return "its volume is not in the manifest";
    if (source >= r->sources)
        return "its source is not in the manifest";
    if (r->seen > 0 && !opens(&r->last, volume, source))
        return "its volume or source is out of order";
    out->volume = (uint16_t)volume;
    out->source = (uint16_t)source;
    return NULL;
}

/* Source, volume, sector and sectors: where the extent lies. NULL, or what is wrong. */
static const char *decode_where(struct index_reader *r, uint64_t head, struct index_entry *out)
{
    uint64_t gap = head >> HEAD_GAP_SHIFT, from = 0, sectors;
    if (head & HEAD_OPENS) {
        const char *why = decode_opening(r, out);
        if (why)
            return why;
    } else {
        if (r->seen == 0)
            return "the first one must name its volume";
        out->volume = r->last.volume;
        out->source = r->last.source;
        from = end_of(&r->last);
    }
    sectors = bytes_get_varint(&r->in);
    /* Each is checked before the sum, which then cannot overflow. */
    if (gap >= VOLUME_SECTORS || sectors >= UINT32_MAX || from + gap + sectors + 1 > VOLUME_SECTORS)
        return "it lies beyond the largest volume";
    out->sector = (uint32_t)(from + gap);
    out->sectors = (uint32_t)sectors + 1;
    return NULL;
}

/* The rest: sealed length, base, tag. */
static const char *decode_what(struct index_reader *r, struct index_entry *out)
{
    uint64_t len;
    if (out->kind == EXTENT_ZERO)
        return NULL;
    len = bytes_get_varint(&r->in);
    if (len > seal_bound(EXTENT_SECTORS))
        return "its sealed length does not fit its sectors";
    out->sealed_len = (uint32_t)len;
    if (out->kind == EXTENT_PATCH)
        out->base_rp = bytes_get_varint(&r->in);
    bytes_get(&r->in, out->tag, SEAL_TAG_LEN);
    return NULL;
}

static int at_end(struct index_reader *r, struct err *e)
{
    if (bytes_bad(&r->in) || bytes_left(&r->in) > 0)
        return err_set(e, ERR_INPUT, "index: %zu bytes are left after its last entry (number %u)",
                       bytes_left(&r->in), r->count);
    if (r->last.place + r->last.sealed_len != r->data_end)
        return err_set(e, ERR_INPUT,
                       "index: its extents end at byte %llu of the delta, but the sealed bytes "
                       "end at %llu",
                       (unsigned long long)(r->last.place + r->last.sealed_len),
                       (unsigned long long)r->data_end);
    return 0;
}

int index_next(struct index_reader *r, struct index_entry *out, struct err *e)
{
    const char *why;
    uint64_t head;
    if (r->seen == r->count)
        return at_end(r, e);
    *out = (struct index_entry){.place = r->last.place + r->last.sealed_len};
    head = bytes_get_varint(&r->in);
    out->kind = (uint8_t)(head & HEAD_KIND_MASK);
    out->codec = (uint8_t)(head >> HEAD_CODEC_SHIFT & HEAD_CODEC_MASK);
    /* What a newer kind or codec is made of is unknown, so nothing after its head can be read. */
    why = out->kind > EXTENT_PATCH || out->codec > CODEC_ZSTD ? impossible(out) : NULL;
    if (!why)
        why = decode_where(r, head, out);
    if (!why)
        why = decode_what(r, out);
    if (bytes_bad(&r->in))
        why = "the index ends inside of it, or a number in it is malformed";
    if (!why)
        why = impossible(out);
    if (!why && (out->place > r->data_end || r->data_end - out->place < out->sealed_len))
        why = "its bytes would lie beyond the sealed bytes of the delta";
    if (why)
        return refuse(r, why, e);
    r->last = *out;
    r->seen++;
    return 1;
}

int index_split(const struct index_reader *start, struct index_reader **starts, uint16_t *count,
                struct err *e)
{
    struct index_reader r = *start, before = r;
    struct index_reader *found = err_calloc(start->sources, sizeof *found);
    struct index_entry entry;
    uint16_t n = 0, source = 0;
    int res;
    ASSERT(start->seen == 0);
    while ((res = index_next(&r, &entry, e)) > 0) {
        if (n == 0 || entry.source != source)
            found[n++] = before; /* sources ascend: never more than there are */
        source = entry.source;
        before = r;
    }
    if (res < 0) {
        free(found);
        return res;
    }
    *starts = found;
    *count = n;
    return 0;
}
