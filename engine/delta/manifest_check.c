#include "manifest_check.h"

#include "delta.h"

#include <string.h>

typedef unsigned long long ull;

/* Length of the UTF-8 character at p that a terminal may be shown, 0 when it is none: malformed,
 * overlong, a surrogate, or a control character. */
static size_t printable(const uint8_t *p)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
    uint32_t c = n < 2 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (p[i] >> 6 != 2) /* the NUL at the end is none either */
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (n == 0 || c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0 : n;
}

static bool label_is_printable(const char *label)
{
    const uint8_t *p = (const uint8_t *)label;
    while (*p) {
        size_t n = printable(p);
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

/* What replaces others says what it stands for, and what it is good for. */
static int check_replacement(const struct manifest *m, struct err *e)
{
    bool replaces = (m->flags & MANIFEST_REPLACES) != 0;
    if (!replaces && m->rp_first < m->rp)
        return err_set(e, ERR_INPUT,
                       "manifest: RP %llu-%llu is merged, but does not say what it stands for",
                       (ull)m->rp_first, (ull)m->rp);
    if (replaces == digest_is_zero(&m->stands_for))
        return err_set(e, ERR_INPUT, "manifest: RP %llu %s", (ull)m->rp,
                       replaces ? "replaces others, but stands for none"
                                : "replaces none, but stands for another");
    if (replaces ? m->good_from < m->rp : m->good_from != 0)
        return err_set(e, ERR_INPUT, "manifest: RP %llu cannot be good from RP %llu on", (ull)m->rp,
                       (ull)m->good_from);
    return 0;
}

static int check_history(const struct manifest *m, struct err *e)
{
    if (m->rp_first == 0 || m->rp < m->rp_first)
        return err_set(e, ERR_INPUT, "manifest: it cannot lead from RP %llu-1 to RP %llu",
                       (ull)m->rp_first, (ull)m->rp);
    if ((m->rp_first == 1) != digest_is_zero(&m->parent))
        return err_set(e, ERR_INPUT,
                       m->rp_first == 1 ? "manifest: RP %llu is the first, but a parent is named"
                                        : "manifest: RP %llu is not the first, but has no parent",
                       (ull)m->rp_first);
    if (m->cut_time < 0)
        return err_set(e, ERR_INPUT, "manifest: the cut time %lld lies before 1970",
                       (long long)m->cut_time);
    if (m->flags & ~(uint32_t)(MANIFEST_COMPLETE | MANIFEST_REPLACES))
        return err_set(e, ERR_INPUT,
                       "manifest: flags 0x%x were set by a newer version of relais; upgrade this "
                       "one",
                       m->flags);
    return 0;
}

static int check_sizes(const struct manifest *m, struct err *e)
{
    if (m->extents > EXTENTS_MAX)
        return err_set(e, ERR_INPUT, "manifest: %u extents are too many (at most %u)", m->extents,
                       EXTENTS_MAX);
    if (m->index_len > INDEX_MAX)
        return err_set(e, ERR_INPUT, "manifest: an index of %u bytes is too long (at most %llu)",
                       m->index_len, (ull)INDEX_MAX);
    if (m->tables_len > TABLES_MAX)
        return err_set(e, ERR_INPUT, "manifest: tables of %u bytes are too long (at most %llu)",
                       m->tables_len, (ull)TABLES_MAX);
    if (m->index_place < DELTA_HEADER_LEN || m->index_place > DELTA_MAX ||
        manifest_place(m) > DELTA_MAX)
        return err_set(e, ERR_INPUT,
                       "manifest: the index cannot be %u bytes, and %u of tables, at %llu: a delta "
                       "has at most %llu",
                       m->index_len, m->tables_len, (ull)m->index_place, (ull)DELTA_MAX);
    if (m->sealed_bytes != m->index_place - DELTA_HEADER_LEN)
        return err_set(e, ERR_INPUT,
                       "manifest: %llu sealed bytes do not fill the delta up to its index at %llu",
                       (ull)m->sealed_bytes, (ull)m->index_place);
    if (m->frame_bytes < m->sealed_bytes ||
        m->frame_bytes - m->sealed_bytes > UINT64_C(4) * m->extents)
        return err_set(e, ERR_INPUT, "manifest: frames of %llu bytes cannot be sealed in %llu",
                       (ull)m->frame_bytes, (ull)m->sealed_bytes);
    if (m->plain_bytes > (uint64_t)m->extents * EXTENT_MAX || m->plain_bytes % SECTOR_SIZE != 0)
        return err_set(e, ERR_INPUT, "manifest: %u extents cannot hold %llu bytes", m->extents,
                       (ull)m->plain_bytes);
    return 0;
}

int manifest_check_scalars(const struct manifest *m, struct err *e)
{
    int rc;
    if (!bytes_is_name(m->site) || !bytes_is_name(m->group))
        return err_set(e, ERR_INPUT,
                       "manifest: \"%s\", \"%s\": site and group must be 1 to %u of a-z, 0-9 and -",
                       m->site, m->group, NAME_MAX_LEN);
    if (!label_is_printable(m->label))
        return err_set(e, ERR_INPUT, "manifest: the label of RP %llu is not printable UTF-8",
                       (ull)m->rp);
    rc = check_history(m, e);
    if (!rc)
        rc = check_replacement(m, e);
    return rc ? rc : check_sizes(m, e);
}

int manifest_check_counts(const struct manifest *m, struct err *e)
{
    if (m->volume_count == 0 || m->volume_count > VOLUMES_MAX)
        return err_set(e, ERR_INPUT, "manifest: %u volumes; 1 to %u are possible", m->volume_count,
                       VOLUMES_MAX);
    if (m->source_count > SOURCES_MAX || (m->source_count == 0 && m->extents > 0))
        return err_set(e, ERR_INPUT, "manifest: %u sources for %u extents; at most %u are possible",
                       m->source_count, m->extents, SOURCES_MAX);
    if (m->key_count > DATA_KEYS_MAX)
        return err_set(e, ERR_INPUT, "manifest: %u data keys are too many (at most %u)",
                       m->key_count, DATA_KEYS_MAX);
    if (m->part_count != manifest_parts_of(manifest_place(m)))
        return err_set(e, ERR_INPUT, "manifest: %u parts, but %llu bytes make %u", m->part_count,
                       (ull)manifest_place(m), manifest_parts_of(manifest_place(m)));
    return 0;
}

int manifest_check_volumes(const struct manifest *m, struct err *e)
{
    for (uint16_t i = 0; i < m->volume_count; i++) {
        const struct manifest_volume *v = &m->volumes[i];
        if (!bytes_is_name(v->name))
            return err_set(e, ERR_INPUT,
                           "manifest: volume %u, \"%s\": a name must be 1 to %u of a-z, 0-9 and -",
                           i, v->name, NAME_MAX_LEN);
        if (v->size > VOLUME_MAX)
            return err_set(e, ERR_INPUT,
                           "manifest: volume %s has %llu bytes; at most %llu are possible", v->name,
                           (ull)v->size, (ull)VOLUME_MAX);
        for (uint16_t j = 0; j < i; j++) {
            if (strcmp(v->name, m->volumes[j].name) == 0)
                return err_set(e, ERR_INPUT, "manifest: volume %s is listed twice", v->name);
        }
    }
    return 0;
}

int manifest_check_tables(const struct manifest *m, struct err *e)
{
    for (uint16_t i = 0; i < m->source_count; i++) {
        const struct manifest_source *s = &m->sources[i];
        if (s->rp == 0 || s->rp > m->rp)
            return err_set(e, ERR_INPUT, "manifest: source %u is of RP %llu, but this is RP %llu",
                           i, (ull)s->rp, (ull)m->rp);
        if (i > 0 && s->rp <= m->sources[i - 1].rp)
            return err_set(e, ERR_INPUT,
                           "manifest: source %u is of RP %llu, behind one of RP %llu: they ascend",
                           i, (ull)s->rp, (ull)m->sources[i - 1].rp);
        if (s->key >= m->key_count)
            return err_set(e, ERR_INPUT, "manifest: source %u names data key %u of %u", i, s->key,
                           m->key_count);
    }
    for (uint16_t i = 0; i < m->key_count; i++) {
        if (m->keys[i].count == 0 || m->keys[i].count > READERS_MAX)
            return err_set(e, ERR_INPUT,
                           "manifest: data key %u is wrapped for %u readers; 1 to %u are possible",
                           i, m->keys[i].count, READERS_MAX);
    }
    return 0;
}
