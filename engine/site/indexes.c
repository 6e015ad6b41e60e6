#include "indexes.h"

#include "delta.h"
#include "fio.h"
#include "index.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Captured ones come first in a delta, and so in the way through a cut: while a long scan went on,
 * their old content would have to be kept. */
static int by_kind_and_name(const void *a, const void *b)
{
    const struct volume *x = a, *y = b;
    if (x->config->source != y->config->source)
        return x->config->source == CONFIG_NBD ? -1 : 1;
    return strcmp(x->config->name, y->config->name);
}

void indexes_init(struct indexes *x, struct chain *chain, const struct config_group *config,
                  const struct key_secret *hash_key)
{
    *x = (struct indexes){.chain = chain, .count = (uint16_t)config->volume_count};
    ASSERT(config->volume_count <= VOLUMES_MAX);
    x->volumes = err_calloc(x->count, sizeof *x->volumes);
    for (unsigned i = 0; i < x->count; i++)
        x->volumes[i].config = &config->volumes[i];
    qsort(x->volumes, x->count, sizeof *x->volumes, by_kind_and_name);
    seal_group_id(x->group_id, chain->site, chain->group);
    for (uint16_t i = 0; i < x->count; i++) {
        struct volume *v = &x->volumes[i];
        v->number = i;
        *(v->config->source == CONFIG_NBD ? &x->captures : &x->scans) = true;
        v->dirty = dirty_new();
        v->index.fd = -1;
        seal_volume_id(v->id, chain->site, chain->group, v->config->name);
        hashindex_key(v->index.key, hash_key, chain->site, chain->group, v->config->name);
    }
}

static void close_all(struct indexes *x)
{
    for (uint16_t i = 0; i < x->count; i++) {
        fio_close_always(x->volumes[i].index.fd);
        x->volumes[i].index.fd = -1;
    }
}

void indexes_done(struct indexes *x)
{
    for (uint16_t i = 0; i < x->count; i++) {
        capture_close(x->volumes[i].capture);
        hashindex_close(&x->volumes[i].index);
        dirty_free(x->volumes[i].dirty);
    }
    free(x->volumes);
    *x = (struct indexes){0};
}

static void index_path(const struct indexes *x, const char *volume, char path[PATH_CAP])
{
    path_format(path, "%s/%s.index", x->chain->state_dir, volume);
}

static struct volume *find(struct indexes *x, const char *name)
{
    for (uint16_t i = 0; i < x->count; i++)
        if (strcmp(x->volumes[i].config->name, name) == 0)
            return &x->volumes[i];
    return NULL;
}

/* Whether the file belongs to a volume as it is configured now; other files are not asked about. */
static bool in_use(struct indexes *x, const char *file)
{
    const char *dot = strrchr(file, '.');
    char name[NAME_MAX_LEN + 1];
    const struct volume *v;
    bool log = dot && (strcmp(dot, ".log") == 0 || strcmp(dot, ".rest") == 0 ||
                       strcmp(dot, ".unsynced") == 0);
    if (!log && !(dot && strcmp(dot, ".index") == 0))
        return true;
    if ((size_t)(dot - file) > NAME_MAX_LEN)
        return false;
    memcpy(name, file, (size_t)(dot - file));
    name[dot - file] = '\0';
    v = find(x, name);
    return v && (v->config->source == CONFIG_NBD) == log;
}

static int remove_strays(struct indexes *x, struct err *e)
{
    struct io_names names;
    int res = fio_list(x->chain->state_dir, &names);
    if (res < 0)
        return err_os(e, res, "%s: listing", x->chain->state_dir);
    for (size_t i = 0; i < names.count && res == 0; i++) {
        char path[PATH_CAP];
        if (in_use(x, names.names[i]))
            continue;
        path_format(path, "%s/%.60s", x->chain->state_dir, names.names[i]);
        log_notice("%s: of a volume that is not configured so any more; removing it", path);
        res = fio_unlink(path);
        if (res < 0)
            res = err_os(e, res, "%s: removing", path);
    }
    io_names_free(&names);
    if (res == 0 && (res = fio_sync_dir(x->chain->state_dir)) < 0)
        res = err_os(e, res, "%s: syncing", x->chain->state_dir);
    return res;
}

int indexes_open_captures(struct indexes *x, struct err *e)
{
    char state_dir[PATH_CAP];
    int res = fio_mkdirs(x->chain->state_dir, 0700);
    res = res < 0 ? err_os(e, res, "%s: making the state directory", x->chain->state_dir)
                  : remove_strays(x, e);
    path_format(state_dir, "%s", x->chain->state_dir);
    *strrchr(state_dir, '/') = '\0'; /* the group's, in the site's */
    for (uint16_t i = 0; i < x->count && res == 0; i++) {
        struct volume *v = &x->volumes[i];
        if (v->config->source == CONFIG_NBD)
            res = capture_open(&v->capture, v->config, state_dir, x->chain->group, &x->chain->share,
                               false, e);
    }
    return res;
}

uint64_t indexes_captured_dirty(const struct indexes *x)
{
    uint64_t bytes = 0;
    for (uint16_t i = 0; i < x->count; i++)
        if (x->volumes[i].capture)
            bytes += capture_dirty_bytes(x->volumes[i].capture);
    return bytes;
}

static int open_all(struct indexes *x, bool fresh, struct err *e)
{
    for (uint16_t i = 0; i < x->count; i++) {
        struct volume *v = &x->volumes[i];
        uint8_t key[HASHINDEX_KEY_LEN];
        char path[PATH_CAP];
        bool made;
        int res;
        if (v->capture)
            continue;
        index_path(x, v->config->name, path);
        memcpy(key, v->index.key, sizeof key);
        res = hashindex_open(&v->index, path, key, fresh, &made, e);
        if (res < 0)
            return res;
        x->seeding |= made;
    }
    return 0;
}

/* Marks what one delta changed. Of volumes that its manifest names and that are not configured any
 * more, remove_strays has left no index. */
static int forget_delta(struct indexes *x, const struct manifest *m, const uint8_t *raw,
                        struct err *e)
{
    struct index_reader r;
    struct index_entry entry;
    int res;
    index_reader_init(&r, raw, m->index_len, m->extents, m->volume_count, m->source_count,
                      DELTA_HEADER_LEN, m->index_place);
    while ((res = index_next(&r, &entry, e)) > 0) {
        struct volume *v = find(x, m->volumes[entry.volume].name);
        if (v && !v->capture)
            res = hashindex_forget(&v->index, entry.sector, entry.sectors, e);
        if (res < 0)
            break;
    }
    return res;
}

static int read_index(const char *path, const struct manifest *m, uint8_t *raw, struct err *e)
{
    struct digest found;
    int fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
    int res = fd < 0 ? fd : fio_read_all(fd, raw, m->index_len, m->index_place);
    fio_close_always(fd);
    if (res < 0)
        return err_os(e, res, "%s: reading its index", path);
    digest_of(&found, raw, m->index_len);
    if (!digest_equal(&found, &m->index_digest))
        return err_set(e, ERR_CORRUPT, "%s: its index differs from its digest", path);
    return 0;
}

/* Whether the spool has all deltas in (clean, tip]. One that is committed may be there no more,
 * although it was not clean: the spool was lost. */
static bool doubtful_are_there(const struct indexes *x)
{
    const struct chain *c = x->chain;
    size_t i = 0;
    while (i < c->count && c->deltas[i].rp <= x->scanned.clean)
        i++;
    return i < c->count && c->deltas[i].rp_first <= x->scanned.clean + 1;
}

/* The deltas in (clean, tip] may have entries written in part: those sectors are unknown. */
static int mark_doubtful(struct indexes *x, struct err *e)
{
    int res = 0;
    if (!doubtful_are_there(x))
        return err_set(e, ERR_CORRUPT,
                       "of the deltas after RP %" PRIu64 " that its indexes need some are gone",
                       x->scanned.clean);
    for (size_t i = 0; i < x->chain->count && res >= 0; i++) {
        struct bytes_out encoded;
        struct chain_delta facts;
        struct manifest m;
        char path[PATH_CAP];
        uint8_t *raw;
        if (x->chain->deltas[i].rp <= x->scanned.clean)
            continue;
        path_delta(path, x->chain->dir, x->chain->deltas[i].rp);
        res = chain_read_manifest(x->chain, path, &m, &encoded, &facts, e);
        if (res < 0)
            break;
        raw = err_malloc(m.index_len); /* manifest_decode bounds it */
        res = read_index(path, &m, raw, e);
        if (res == 0)
            res = forget_delta(x, &m, raw, e);
        free(raw);
        bytes_free(&encoded);
        manifest_free(&m);
    }
    return res;
}

static int save_clean(struct indexes *x, struct err *e)
{
    struct digest tip;
    int64_t cut;
    int res;
    chain_tip(x->chain, &tip, &cut);
    x->scanned = (struct scanned){chain_tip_rp(x->chain), chain_tip_rp(x->chain), tip, tip};
    res = scanned_save(&x->scanned, x->chain, e);
    return res < 0 ? res : chain_set_clean(x->chain, x->scanned.clean, e);
}

static int start_over(struct indexes *x, bool fresh, struct err *e)
{
    int res;
    if (!fresh)
        log_warn(
            "group %s: the hash indexes do not fit the history known here; they start over, and "
            "the next scan ships the volumes again",
            x->chain->group);
    for (uint16_t i = 0; i < x->count; i++) {
        struct volume *v = &x->volumes[i];
        res = v->capture ? capture_all_dirty(v->capture, e) : hashindex_reset(&v->index, fresh, e);
        if (res < 0)
            return res;
        dirty_clear(v->dirty);
    }
    x->seeding = true;
    return 0;
}

/* Without history nothing can be clean, whatever a log says that outlived it. */
static int without_history(struct indexes *x, struct err *e)
{
    int res = 0;
    for (uint16_t i = 0; i < x->count && res == 0; i++)
        if (x->volumes[i].capture)
            res = capture_all_dirty(x->volumes[i].capture, e);
    x->seeding |= x->captures;
    return res;
}

int indexes_recover(struct indexes *x, struct err *e)
{
    bool fresh = chain_tip_rp(x->chain) == 0, valid;
    int res;
    x->trusted = false;
    close_all(x);
    res = scanned_load(&x->scanned, x->chain, &valid, e);
    if (res == 0)
        res = open_all(x, fresh, e);
    if (res < 0)
        return res;
    if (valid && x->scanned.clean < chain_tip_rp(x->chain)) {
        res = mark_doubtful(x, e);
        if (res == -ERR_CANCELED)
            return res;
        if (res < 0) {
            log_warn("group %s: %s", x->chain->group, e->text);
            valid = false;
        }
    }
    res = valid ? 0 : start_over(x, fresh, e);
    if (res == 0 && valid && fresh)
        res = without_history(x, e);
    for (uint16_t i = 0; i < x->count && res == 0; i++)
        if (!x->volumes[i].capture)
            res = hashindex_sync(&x->volumes[i].index, e);
    if (res == 0)
        res = save_clean(x, e);
    x->trusted = res == 0;
    return res;
}

static bool touches(const struct hashes *h, uint16_t volume)
{
    for (size_t i = 0; i < h->run_count; i++)
        if (h->runs[i].volume == volume)
            return true;
    return false;
}

/* Those written to their volumes long ago cool, now that the record names the deltas they are in.
 * An error costs nothing but that they stay hot. */
static void cool(struct indexes *x)
{
    for (uint16_t i = 0; i < x->count; i++) {
        struct err e = ERR_INIT;
        if (x->volumes[i].capture && capture_cool(x->volumes[i].capture, false, &e) < 0)
            log_warn("%s", e.text);
    }
}

static void settle_run(struct indexes *x, const struct hashes_run *run)
{
    struct volume *v = &x->volumes[run->volume];
    if (v->capture)
        capture_sealed(v->capture, run->sector, run->sectors);
    else
        dirty_remove(v->dirty, run->sector, run->sectors);
}

int indexes_seal(struct indexes *x, const struct hashes *h, struct err *e)
{
    int64_t cut;
    int res;
    ASSERT(x->trusted);
    x->trusted = false;
    x->scanned.tip = chain_tip_rp(x->chain);
    chain_tip(x->chain, &x->scanned.tip_digest, &cut);
    res = scanned_save(&x->scanned, x->chain, e);
    for (uint16_t i = 0; i < x->count && res == 0; i++) {
        if (x->volumes[i].capture || !touches(h, i))
            continue;
        res = hashindex_apply(&x->volumes[i].index, h, i, e);
        if (res == 0)
            res = hashindex_sync(&x->volumes[i].index, e);
    }
    if (res == 0)
        res = save_clean(x, e);
    for (size_t i = 0; i < h->run_count && res == 0; i++)
        settle_run(x, &h->runs[i]);
    x->trusted = res == 0;
    if (res == 0)
        cool(x);
    return res;
}

void indexes_rest(struct indexes *x)
{
    for (uint16_t i = 0; i < x->count && x->trusted; i++) {
        struct err e = ERR_INIT;
        if (x->volumes[i].capture && capture_rest(x->volumes[i].capture, &e) < 0)
            log_warn("%s", e.text);
    }
}

int indexes_forget(struct indexes *x, struct err *e)
{
    x->trusted = false;
    return scanned_forget(x->chain, e);
}
