#include "inspect.h"

#include "delta.h"
#include "index.h"
#include "inspect_print.h"
#include "tables.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef unsigned long long ull;

/* Reads exactly len bytes at place. */
static int read_at(const struct inspection *it, uint64_t place, void *dst, size_t len,
                   struct err *e)
{
    uint8_t *p = dst;
    while (len > 0) {
        ssize_t n = pread(it->fd, p, len, (off_t)place);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_os(e, errno, "%s: cannot read %zu bytes at %llu", it->path, len, (ull)place);
        if (n == 0)
            return err_set(e, ERR_IO, "%s: it ends at byte %llu; did it shrink meanwhile?",
                           it->path, (ull)place);
        p += n;
        place += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* Header, trailer, manifest. Without them there is nothing to print. */
static int read_frame(struct inspection *it, struct err *e)
{
    uint8_t header[DELTA_HEADER_LEN], trailer[DELTA_TRAILER_LEN];
    uint64_t place;
    int rc;
    if (it->file_len < DELTA_HEADER_LEN + DELTA_TRAILER_LEN)
        return err_set(e, ERR_INPUT, "%s: %llu bytes are too few for a delta", it->path,
                       (ull)it->file_len);
    rc = read_at(it, 0, header, sizeof header, e);
    if (rc)
        return rc;
    if (delta_header_check(header, e) != 0)
        return err_prefix(e, "%s", it->path);
    rc = read_at(it, it->file_len - DELTA_TRAILER_LEN, trailer, sizeof trailer, e);
    if (rc)
        return rc;
    if (delta_trailer_parse(trailer, it->file_len, &place, &it->manifest_len, e) != 0)
        return err_prefix(e, "%s", it->path);
    it->manifest_bytes = err_malloc(it->manifest_len);
    rc = read_at(it, place, it->manifest_bytes, it->manifest_len, e);
    if (rc)
        return rc;
    if (manifest_decode(&it->m, it->manifest_bytes, it->manifest_len, e) != 0)
        return err_prefix(e, "%s", it->path);
    manifest_digest(&it->digest, it->manifest_bytes, it->manifest_len);
    if (delta_file_len(&it->m, it->manifest_len) != it->file_len)
        return err_set(e, ERR_INPUT, "%s: it has %llu bytes, but its manifest tells of %llu",
                       it->path, (ull)it->file_len, (ull)delta_file_len(&it->m, it->manifest_len));
    return 0;
}

static int check_tables(struct inspection *it, struct err *e)
{
    uint8_t *raw = err_malloc(it->m.tables_len > 0 ? it->m.tables_len : 1);
    int rc = read_at(it, manifest_tables_place(&it->m), raw, it->m.tables_len, e);
    if (rc == 0 && (rc = tables_decode(&it->m, raw, it->m.tables_len, e)) != 0)
        rc = err_prefix(e, "%s", it->path);
    free(raw);
    return rc;
}

static int check_signature(struct inspection *it, struct err *e)
{
    if (it->signer && manifest_verify(it->manifest_bytes, it->manifest_len, it->signer, e) != 0)
        return err_prefix(e, "%s", it->path);
    it->signature_ok = it->signer != NULL;
    return 0;
}

static int check_parts(struct inspection *it, struct err *e)
{
    uint8_t *part = err_malloc(PART_SIZE);
    int rc = 0;
    for (uint32_t i = 0; !rc && i < it->m.part_count; i++) {
        uint32_t len = manifest_part_len(&it->m, i);
        struct digest d;
        rc = read_at(it, i * PART_SIZE, part, len, e);
        if (rc)
            break;
        digest_of(&d, part, len);
        if (digest_equal(&d, &it->m.parts[i]))
            it->parts_ok++;
        else
            rc = err_set(e, ERR_CORRUPT,
                         "%s: part %u (%u bytes at %llu) differs from its digest in the manifest",
                         it->path, i, len, (ull)(i * PART_SIZE));
    }
    free(part);
    return rc;
}

static int read_index(struct inspection *it, struct err *e)
{
    struct digest d;
    int rc;
    it->index = err_malloc(it->m.index_len);
    rc = read_at(it, it->m.index_place, it->index, it->m.index_len, e);
    if (rc)
        return rc;
    digest_of(&d, it->index, it->m.index_len);
    if (!digest_equal(&d, &it->m.index_digest))
        return err_set(e, ERR_CORRUPT, "%s: the index differs from its digest in the manifest",
                       it->path);
    return 0;
}

static int count_entry(struct inspection *it, const struct index_entry *entry, struct err *e)
{
    const struct manifest_volume *v = &it->m.volumes[entry->volume];
    uint64_t end = ((uint64_t)entry->sector + entry->sectors) << SECTOR_SHIFT;
    uint64_t bytes = (uint64_t)entry->sectors << SECTOR_SHIFT;
    /* The last sector of a volume may be cut short. */
    if (end - SECTOR_SIZE >= v->size)
        return err_set(e, ERR_INPUT, "%s: an extent ends at byte %llu, but volume %s has %llu",
                       it->path, (ull)end, v->name, (ull)v->size);
    if (entry->kind == EXTENT_ZERO) {
        it->zero_extents++;
        it->zero_bytes += bytes;
        return 0;
    }
    it->data_extents++;
    it->plain_bytes += bytes;
    it->sealed_bytes += entry->sealed_len;
    it->frame_bytes += entry->sealed_len + (entry->codec == CODEC_ZSTD ? 4u : 0u);
    return 0;
}

static int check_index(struct inspection *it, struct err *e)
{
    struct index_reader r;
    struct index_entry entry;
    int rc = read_index(it, e);
    if (rc)
        return rc;
    inspect_reader(it, &r);
    while ((rc = index_next(&r, &entry, e)) == 1) {
        rc = count_entry(it, &entry, e);
        if (rc)
            return rc;
    }
    if (rc)
        return err_prefix(e, "%s", it->path);
    if (it->plain_bytes != it->m.plain_bytes || it->sealed_bytes != it->m.sealed_bytes ||
        it->frame_bytes != it->m.frame_bytes)
        return err_set(
            e, ERR_INPUT,
            "%s: the extents add up to %llu plain, %llu frame and %llu sealed bytes, but "
            "the manifest says %llu, %llu and %llu",
            it->path, (ull)it->plain_bytes, (ull)it->frame_bytes, (ull)it->sealed_bytes,
            (ull)it->m.plain_bytes, (ull)it->m.frame_bytes, (ull)it->m.sealed_bytes);
    it->index_ok = true;
    return 0;
}

void inspect_reader(const struct inspection *it, struct index_reader *r)
{
    index_reader_init(r, it->index, it->m.index_len, it->m.extents, it->m.volume_count,
                      it->m.source_count, DELTA_HEADER_LEN, it->m.index_place);
}

static int open_file(struct inspection *it, struct err *e)
{
    off_t len;
    it->fd = open(it->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (it->fd < 0)
        return err_os(e, errno, "cannot open %s", it->path);
    len = lseek(it->fd, 0, SEEK_END);
    if (len < 0)
        return err_os(e, errno, "%s: a delta must be a file (or copy it to one first)", it->path);
    it->file_len = (uint64_t)len;
    return 0;
}

int inspect_file(const char *path, const struct key_public *signer, bool json, bool all_extents,
                 FILE *out, struct err *e)
{
    struct inspection it = {.path = path, .fd = -1, .signer = signer};
    int rc = open_file(&it, e);
    if (!rc)
        rc = read_frame(&it, e);
    if (!rc) {
        rc = check_signature(&it, e);
        if (!rc)
            rc = check_parts(&it, e);
        if (!rc)
            rc = check_tables(&it, e);
        if (!rc)
            rc = check_index(&it, e);
        it.failure = rc ? e->text : NULL;
        if (json)
            inspect_print_json(&it, all_extents, out);
        else
            inspect_print_text(&it, all_extents, out);
        if (!rc && (fflush(out) != 0 || ferror(out)))
            rc = err_os(e, errno ? errno : EIO, "cannot write what was found in %s", path);
    }
    manifest_free(&it.m);
    free(it.manifest_bytes);
    free(it.index);
    if (it.fd >= 0)
        (void)close(it.fd);
    return rc;
}
