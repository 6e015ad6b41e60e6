#include "inspect_print.h"

#include "bytes.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

typedef unsigned long long ull;

static const char *kind_name(uint8_t kind)
{
    return kind == EXTENT_ZERO ? "zero" : kind == EXTENT_PATCH ? "patch" : "data";
}

static const char *codec_name(const struct index_entry *entry)
{
    return entry->kind == EXTENT_ZERO ? "-" : entry->codec == CODEC_ZSTD ? "zstd" : "stored";
}

/* What the format adds to the bare frames, in percent; negative when there are none to compare
 * with. */
static double overhead(const struct inspection *it)
{
    if (it->m.frame_bytes == 0)
        return -1;
    return 100.0 * ((double)it->file_len / (double)it->m.frame_bytes - 1);
}

static void text_identity(const struct inspection *it, FILE *out)
{
    const struct manifest *m = &it->m;
    char hex[DIGEST_HEX], when[UNITS_TEXT];
    fprintf(out, "delta       %s\n", it->path);
    fprintf(out, "site        %s\ngroup       %s\n", m->site, m->group);
    if (m->rp_first == m->rp)
        fprintf(out, "RP          %llu", (ull)m->rp);
    else
        fprintf(out, "RP          %llu, merged from %llu on", (ull)m->rp, (ull)m->rp_first);
    fprintf(out, "%s\n",
            m->flags & MANIFEST_COMPLETE ? "" : " (a stretch of a longer change: not restorable)");
    if (m->label[0])
        fprintf(out, "label       %s\n", m->label);
    fprintf(out, "cut         %s\n", units_time(when, m->cut_time));
    digest_hex(hex, &it->digest);
    fprintf(out, "digest      %s\n", hex);
    digest_hex(hex, &m->parent);
    fprintf(out, "parent      %s\n", m->rp_first == 1 ? "none: this is the first" : hex);
    digest_hex(hex, &m->stands_for);
    if (m->flags & MANIFEST_REPLACES)
        fprintf(out, "stands for  %s\ngood from   RP %llu\n", hex, (ull)m->good_from);
}

static void text_tables(const struct manifest *m, FILE *out)
{
    char size[UNITS_TEXT], hex[2 * DATAKEY_ID_LEN + 1];
    for (uint16_t i = 0; i < m->volume_count; i++)
        fprintf(out, "volume %-4u %s, %s (%llu bytes)\n", i, m->volumes[i].name,
                units_size(size, m->volumes[i].size), (ull)m->volumes[i].size);
    for (uint16_t i = 0; m->sources && i < m->source_count; i++) {
        bytes_hex(hex, m->sources[i].salt, SEAL_SALT_LEN);
        fprintf(out, "source %-4u RP %llu, salt %s, data key %u\n", i, (ull)m->sources[i].rp, hex,
                m->sources[i].key);
    }
    for (uint16_t i = 0; m->keys && i < m->key_count; i++) {
        bytes_hex(hex, m->keys[i].id, DATAKEY_ID_LEN);
        fprintf(out, "data key %-2u %s, opened by restore keys", i, hex);
        for (uint16_t j = 0; j < m->keys[i].count; j++) {
            bytes_hex(hex, m->keys[i].wraps[j].reader, KEY_FP_LEN);
            fprintf(out, " %s", hex);
        }
        fprintf(out, "\n");
    }
}

static void text_sizes(const struct inspection *it, FILE *out)
{
    const struct manifest *m = &it->m;
    char a[UNITS_TEXT];
    if (it->index_ok)
        fprintf(out, "extents     %u: %u with data, %u zero (%s)\n", m->extents, it->data_extents,
                it->zero_extents, units_size(a, it->zero_bytes));
    else
        fprintf(out, "extents     %u\n", m->extents);
    fprintf(out, "plain       %llu bytes (%s)\n", (ull)m->plain_bytes,
            units_size(a, m->plain_bytes));
    fprintf(out, "frames      %llu bytes (%s)\n", (ull)m->frame_bytes,
            units_size(a, m->frame_bytes));
    fprintf(out, "sealed      %llu bytes (%s)\n", (ull)m->sealed_bytes,
            units_size(a, m->sealed_bytes));
    fprintf(out, "index       %u bytes\nmanifest    %u bytes\n", m->index_len, it->manifest_len);
    fprintf(out, "file        %llu bytes (%s)\n", (ull)it->file_len, units_size(a, it->file_len));
    if (m->plain_bytes > 0)
        fprintf(out, "ratio       %.2f\n", (double)m->plain_bytes / (double)it->file_len);
    if (overhead(it) >= 0)
        fprintf(out, "overhead over the zstd frames: %.2f %%\n", overhead(it));
}

static void text_checks(const struct inspection *it, FILE *out)
{
    char word[KEY_WORD_MAX] = "";
    if (it->signer)
        key_public_word(word, it->signer);
    if (!it->signer)
        fprintf(out, "signature   NOT CHECKED: no signing key was given\n");
    else
        fprintf(out, "signature   %s by %s\n", it->signature_ok ? "good," : "BAD: not", word);
    fprintf(out, "parts       %u of %u match their digests\n", it->parts_ok, it->m.part_count);
    fprintf(out, "index       %s\n",
            it->index_ok ? "sound, and adds up" : "NOT SOUND or not reached");
    fprintf(out, "%s\n",
            it->failure  ? "This delta is BROKEN."
            : it->signer ? "This delta is whole and genuine."
                         : "This delta is whole; who made it was not checked.");
}

static void text_extents(const struct inspection *it, FILE *out)
{
    struct index_reader r;
    struct index_entry x;
    struct err ignored = ERR_INIT;
    fprintf(out, "\n%-16s %10s %10s %-5s %-6s %8s %12s %6s\n", "VOLUME", "SECTOR", "SECTORS",
            "KIND", "CODEC", "SEALED", "PLACE", "SOURCE");
    inspect_reader(it, &r);
    while (index_next(&r, &x, &ignored) == 1)
        fprintf(out, "%-16s %10u %10u %-5s %-6s %8u %12llu %6u\n", it->m.volumes[x.volume].name,
                x.sector, x.sectors, kind_name(x.kind), codec_name(&x), x.sealed_len, (ull)x.place,
                x.source);
}

void inspect_print_text(const struct inspection *it, bool all_extents, FILE *out)
{
    text_identity(it, out);
    text_tables(&it->m, out);
    text_sizes(it, out);
    text_checks(it, out);
    if (all_extents && it->index_ok)
        text_extents(it, out);
}

static void set(json_t *o, const char *key, json_t *value)
{
    ASSERT(json_object_set_new(o, key, value) == 0);
}

static json_t *number(uint64_t v)
{
    return json_integer((json_int_t)v);
}

static json_t *hex_string(const void *p, size_t len)
{
    char hex[2 * DIGEST_LEN + 1];
    ASSERT(len <= DIGEST_LEN);
    bytes_hex(hex, p, len);
    return json_string(hex);
}

static json_t *json_volumes(const struct manifest *m)
{
    json_t *list = json_array();
    for (uint16_t i = 0; i < m->volume_count; i++) {
        json_t *v = json_object();
        set(v, "name", json_string(m->volumes[i].name));
        set(v, "size", number(m->volumes[i].size));
        ASSERT(json_array_append_new(list, v) == 0);
    }
    return list;
}

static json_t *json_sources(const struct manifest *m)
{
    json_t *list = json_array();
    for (uint16_t i = 0; m->sources && i < m->source_count; i++) {
        json_t *s = json_object();
        set(s, "rp", number(m->sources[i].rp));
        set(s, "salt", hex_string(m->sources[i].salt, SEAL_SALT_LEN));
        set(s, "key", number(m->sources[i].key));
        ASSERT(json_array_append_new(list, s) == 0);
    }
    return list;
}

static json_t *json_keys(const struct manifest *m)
{
    json_t *list = json_array();
    for (uint16_t i = 0; m->keys && i < m->key_count; i++) {
        json_t *k = json_object(), *readers = json_array();
        for (uint16_t j = 0; j < m->keys[i].count; j++)
            ASSERT(json_array_append_new(readers,
                                         hex_string(m->keys[i].wraps[j].reader, KEY_FP_LEN)) == 0);
        set(k, "id", hex_string(m->keys[i].id, DATAKEY_ID_LEN));
        set(k, "readers", readers);
        ASSERT(json_array_append_new(list, k) == 0);
    }
    return list;
}

static json_t *json_parts(const struct manifest *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->part_count; i++)
        ASSERT(json_array_append_new(list, hex_string(m->parts[i].b, DIGEST_LEN)) == 0);
    return list;
}

static json_t *json_summary(const struct inspection *it)
{
    const struct manifest *m = &it->m;
    json_t *o = json_object();
    set(o, "site", json_string(m->site));
    set(o, "group", json_string(m->group));
    set(o, "label", json_string(m->label));
    set(o, "rp_first", number(m->rp_first));
    set(o, "rp", number(m->rp));
    set(o, "complete", json_boolean(m->flags & MANIFEST_COMPLETE));
    set(o, "cut_time_ns", json_integer(m->cut_time));
    set(o, "digest", hex_string(it->digest.b, DIGEST_LEN));
    set(o, "parent", m->rp_first == 1 ? json_null() : hex_string(m->parent.b, DIGEST_LEN));
    set(o, "stands_for",
        m->flags & MANIFEST_REPLACES ? hex_string(m->stands_for.b, DIGEST_LEN) : json_null());
    set(o, "good_from", m->flags & MANIFEST_REPLACES ? number(m->good_from) : json_null());
    set(o, "volumes", json_volumes(m));
    set(o, "sources", json_sources(m));
    set(o, "data_keys", json_keys(m));
    set(o, "extent_count", number(m->extents));
    set(o, "zero_bytes", it->index_ok ? number(it->zero_bytes) : json_null());
    set(o, "plain_bytes", number(m->plain_bytes));
    set(o, "frame_bytes", number(m->frame_bytes));
    set(o, "sealed_bytes", number(m->sealed_bytes));
    set(o, "index_bytes", number(m->index_len));
    set(o, "tables_bytes", number(m->tables_len));
    set(o, "manifest_bytes", number(it->manifest_len));
    set(o, "file_bytes", number(it->file_len));
    set(o, "overhead_percent", overhead(it) >= 0 ? json_real(overhead(it)) : json_null());
    set(o, "signature",
        json_string(!it->signer        ? "not checked"
                    : it->signature_ok ? "good"
                                       : "bad"));
    set(o, "index_digest", hex_string(m->index_digest.b, DIGEST_LEN));
    set(o, "part_digests", json_parts(m));
    set(o, "parts_good", number(it->parts_ok));
    set(o, "index_good", json_boolean(it->index_ok));
    set(o, "failure", it->failure ? json_string(it->failure) : json_null());
    return o;
}

/* One at a time: half a million of them as one tree would take hundreds of MiB. */
static void json_extents(const struct inspection *it, FILE *out)
{
    struct index_reader r;
    struct index_entry x;
    struct err ignored = ERR_INIT;
    const char *between = "\n";
    inspect_reader(it, &r);
    while (index_next(&r, &x, &ignored) == 1) {
        json_t *o = json_object();
        set(o, "volume", json_string(it->m.volumes[x.volume].name));
        set(o, "sector", number(x.sector));
        set(o, "sectors", number(x.sectors));
        set(o, "kind", json_string(kind_name(x.kind)));
        set(o, "codec", x.kind == EXTENT_ZERO ? json_null() : json_string(codec_name(&x)));
        set(o, "sealed_bytes", number(x.sealed_len));
        set(o, "place", number(x.place));
        set(o, "source", number(x.source));
        fputs(between, out);
        (void)json_dumpf(o, out, JSON_COMPACT); /* a full disk shows in ferror, asked at the end */
        json_decref(o);
        between = ",\n";
    }
}

void inspect_print_json(const struct inspection *it, bool all_extents, FILE *out)
{
    json_t *o = json_summary(it);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(o);
    ASSERT(text);
    if (all_extents && it->index_ok) {
        *strrchr(text, '\n') = '\0'; /* open the object again */
        fprintf(out, "%s,\n  \"extents\": [", text);
        json_extents(it, out);
        fputs("\n  ]\n}\n", out);
    } else {
        fprintf(out, "%s\n", text);
    }
    free(text);
}
