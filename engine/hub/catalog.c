#include "catalog.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CATALOG_VERSION 1u

void catalog_object_name(char dst[STORE_NAME_MAX], const char *group, uint64_t rp,
                         const uint8_t id[CATALOG_ID_LEN], uint32_t part)
{
    char hex[2 * CATALOG_ID_LEN + 1];
    bytes_hex(hex, id, CATALOG_ID_LEN);
    int n = snprintf(dst, STORE_NAME_MAX, "%s/%016" PRIx64 "/%s.%04" PRIx32, group, rp, hex, part);
    ASSERT(n > 0 && n < (int)STORE_NAME_MAX);
}

bool catalog_parse_name(const char *name, const char *group, uint64_t *rp,
                        uint8_t id[CATALOG_ID_LEN])
{
    char hex[17], again[STORE_NAME_MAX];
    size_t len = strlen(group);
    unsigned part = 0;
    if (strlen(name) != len + 1 + 16 + 1 + 16 + 1 + 4)
        return false;
    memcpy(hex, name + len + 1, 16);
    hex[16] = '\0';
    *rp = strtoull(hex, NULL, 16);
    memcpy(hex, name + len + 18, 16);
    if (bytes_unhex(id, CATALOG_ID_LEN, hex) < 0 || sscanf(name + len + 35, "%4x", &part) != 1)
        return false;
    catalog_object_name(again, group, *rp, id, part);
    return strcmp(again, name) == 0;
}

uint32_t catalog_objects(const struct catalog_entry *entry)
{
    return (uint32_t)((entry->file_len + PART_SIZE - 1) / PART_SIZE);
}

bool catalog_offers(const struct catalog_entry *entry, uint64_t *good_from)
{
    const struct manifest m = {
        .rp = entry->rp, .flags = entry->flags, .good_from = entry->good_from};
    return manifest_offers(&m, good_from);
}

int catalog_encode(struct store_head *out, const struct catalog_entry *entry)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    int rc = -1;
    bytes_put_u8(&o, CATALOG_VERSION);
    bytes_put_u64(&o, entry->rp_first);
    bytes_put(&o, entry->digest.b, DIGEST_LEN);
    bytes_put(&o, entry->parent.b, DIGEST_LEN);
    bytes_put(&o, entry->link.b, DIGEST_LEN);
    bytes_put_u64(&o, (uint64_t)entry->cut_time);
    bytes_put_u64(&o, (uint64_t)entry->committed_time);
    bytes_put_u64(&o, (uint64_t)entry->clock);
    bytes_put_u64(&o, entry->total_bytes);
    bytes_put_u64(&o, entry->total_objects);
    bytes_put_u64(&o, entry->total_rps);
    bytes_put_u32(&o, entry->flags);
    bytes_put_u64(&o, entry->file_len);
    bytes_put_u64(&o, entry->plain_bytes);
    bytes_put_u32(&o, entry->manifest_len);
    bytes_put_u64(&o, entry->good_from);
    bytes_put(&o, entry->id, CATALOG_ID_LEN);
    bytes_put_str(&o, entry->label);
    memset(out, 0, sizeof *out);
    if (!o.bad) {
        out->rp = entry->rp;
        out->len = (uint16_t)o.len;
        memcpy(out->value, o.p, o.len);
        rc = 0;
    }
    bytes_free(&o);
    return rc;
}

int catalog_decode(struct catalog_entry *out, const struct store_head *in, struct err *e)
{
    if (in->len > STORE_ENTRY_MAX)
        return err_set(e, ERR_CORRUPT, "catalog entry of RP %" PRIu64 ": %u bytes, at most %u",
                       in->rp, in->len, STORE_ENTRY_MAX);
    struct bytes_in b = bytes_in(in->value, in->len);
    uint8_t version = bytes_get_u8(&b);
    memset(out, 0, sizeof *out);
    out->rp = in->rp;
    out->rp_first = bytes_get_u64(&b);
    bytes_get(&b, out->digest.b, DIGEST_LEN);
    bytes_get(&b, out->parent.b, DIGEST_LEN);
    bytes_get(&b, out->link.b, DIGEST_LEN);
    out->cut_time = (int64_t)bytes_get_u64(&b);
    out->committed_time = (int64_t)bytes_get_u64(&b);
    out->clock = (int64_t)bytes_get_u64(&b);
    out->total_bytes = bytes_get_u64(&b);
    out->total_objects = bytes_get_u64(&b);
    out->total_rps = bytes_get_u64(&b);
    out->flags = bytes_get_u32(&b);
    out->file_len = bytes_get_u64(&b);
    out->plain_bytes = bytes_get_u64(&b);
    out->manifest_len = bytes_get_u32(&b);
    out->good_from = bytes_get_u64(&b);
    bytes_get(&b, out->id, CATALOG_ID_LEN);
    bytes_get_str(&b, out->label, sizeof out->label);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != CATALOG_VERSION)
        return err_set(e, ERR_CORRUPT,
                       "catalog entry of RP %" PRIu64 ": version %u, %u bytes: not an "
                       "entry that this version of relais wrote",
                       in->rp, version, in->len);
    if (out->rp_first == 0 || out->rp_first > out->rp || out->manifest_len > MANIFEST_MAX ||
        out->file_len > DELTA_MAX + MANIFEST_MAX + 16 ||
        out->file_len < (uint64_t)out->manifest_len + 32)
        return err_set(e, ERR_CORRUPT,
                       "catalog entry of RP %" PRIu64 ": RPs %" PRIu64 "-%" PRIu64
                       ", file of %" PRIu64 " bytes with a manifest of %" PRIu32 ": out of bounds",
                       in->rp, out->rp_first, out->rp, out->file_len, out->manifest_len);
    return 0;
}
