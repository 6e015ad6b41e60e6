#include "chain.h"

#include "delta.h"
#include "fio.h"
#include "log.h"
#include "scanned.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load_committed(struct chain *c, struct err *e)
{
    char path[PATH_CAP];
    struct bytes_in in;
    void *file;
    int res;
    path_format(path, "%s/committed", c->state_dir);
    res = slots_load(&c->record, path, CHAIN_MAGIC, &file, &in, e);
    if (res == -ERR_NOENT)
        return 0;
    if (res == -ERR_CORRUPT) {
        log_error("%s; group %s goes on from what the spool and the hub know", e->text, c->group);
        c->lost = true;
        return 0;
    }
    if (res < 0)
        return res;
    c->committed.rp = bytes_get_u64(&in);
    bytes_get(&in, c->committed.link.b, DIGEST_LEN);
    c->committed.cut_time = (int64_t)bytes_get_u64(&in);
    c->committed.complete_rp = bytes_get_u64(&in);
    c->committed.complete_cut = (int64_t)bytes_get_u64(&in);
    if (bytes_bad(&in) || bytes_left(&in) > 0) {
        log_error(
            "%s: the record has another length than this version writes; group %s goes on from "
            "what the spool and the hub know",
            path, c->group);
        c->committed = (struct chain_committed){0};
        c->lost = true;
    }
    if (c->record.decayed) {
        log_error("%s: half of it decayed, and may have held a newer RP than %" PRIu64
                  "; group %s goes on from what the spool and the hub know",
                  path, c->committed.rp, c->group);
        c->lost = true;
    }
    free(file);
    return 0;
}

static int read_encoded(int fd, const char *path, struct bytes_out *encoded, uint64_t *file_len,
                        struct err *e)
{
    uint8_t head[DELTA_HEADER_LEN], tail[DELTA_TRAILER_LEN];
    struct io_stat st;
    uint64_t place;
    uint32_t len;
    uint8_t *p;
    int res = fio_fstat(fd, &st);
    if (res < 0)
        return err_os(e, res, "%s", path);
    if (st.size < sizeof head + sizeof tail)
        return err_set(e, ERR_CORRUPT, "%s: %" PRIu64 " bytes are too few for a delta", path,
                       st.size);
    res = fio_read_all(fd, head, sizeof head, 0);
    if (res == 0)
        res = fio_read_all(fd, tail, sizeof tail, st.size - sizeof tail);
    if (res < 0)
        return err_os(e, res, "%s: reading", path);
    res = delta_header_check(head, e);
    if (res == 0)
        res = delta_trailer_parse(tail, st.size, &place, &len, e);
    if (res < 0)
        return err_prefix(e, "%s", path);
    p = err_malloc(len); /* delta_trailer_parse bounds it */
    res = fio_read_all(fd, p, len, place);
    if (res == 0)
        bytes_put(encoded, p, len);
    free(p);
    *file_len = st.size;
    return res < 0 ? err_os(e, res, "%s: reading its manifest", path) : 0;
}

static int check_manifest(const struct chain *c, const char *path, const struct manifest *m,
                          const struct bytes_out *encoded, uint64_t file_len, struct err *e)
{
    int res = manifest_verify(encoded->p, encoded->len, c->signer, e);
    if (res < 0)
        return err_prefix(e, "%s", path);
    if (strcmp(m->site, c->site) != 0 || strcmp(m->group, c->group) != 0)
        return err_set(e, ERR_CORRUPT, "%s: it is of site %s, group %s, not of %s, %s", path,
                       m->site, m->group, c->site, c->group);
    if (delta_file_len(m, (uint32_t)encoded->len) != file_len)
        return err_set(e, ERR_CORRUPT, "%s: %" PRIu64 " bytes, its manifest says %" PRIu64, path,
                       file_len, delta_file_len(m, (uint32_t)encoded->len));
    return 0;
}

int chain_read_manifest(const struct chain *c, const char *path, struct manifest *out,
                        struct bytes_out *encoded, struct chain_delta *facts, struct err *e)
{
    uint64_t file_len = 0;
    int fd = fio_open(path, O_RDONLY | O_CLOEXEC, 0);
    int res;
    *encoded = bytes_out(MANIFEST_MAX);
    if (fd < 0)
        return err_os(e, fd, "%s", path);
    res = read_encoded(fd, path, encoded, &file_len, e);
    fio_close_always(fd);
    if (res == 0)
        res = manifest_decode(out, encoded->p, encoded->len, e);
    if (res < 0)
        goto no_manifest;
    res = check_manifest(c, path, out, encoded, file_len, e);
    if (res < 0)
        goto bad_manifest;
    *facts = (struct chain_delta){.rp_first = out->rp_first,
                                  .rp = out->rp,
                                  .parent = out->parent,
                                  .cut_time = out->cut_time,
                                  .flags = out->flags,
                                  .labelled = out->label[0] != '\0',
                                  .file_len = file_len,
                                  .manifest_len = (uint32_t)encoded->len};
    manifest_digest(&facts->digest, encoded->p, encoded->len);
    facts->link = *manifest_link(out, &facts->digest);
    return 0;
bad_manifest:
    manifest_free(out);
no_manifest:
    bytes_free(encoded);
    return res;
}

/* What recovery found under the name of an RP. */
struct found {
    uint64_t rp;
    bool good;
    struct chain_delta facts;
    char why[ERR_TEXT_MAX];
};

/* "0000000000000007.delta" gives 7; 0 when it is not such a name. */
static uint64_t name_rp(const char *name)
{
    uint64_t rp;
    int end = 0;
    if (strlen(name) != 22 || strspn(name, "0123456789abcdef") != 16)
        return 0;
    if (sscanf(name, "%16" SCNx64 ".delta%n", &rp, &end) != 1 || end != 22)
        return 0;
    return rp;
}

/* That of a delta that was moved aside. */
static uint64_t aside_rp(const char *name)
{
    static const char start[] = "damaged-";
    size_t len = sizeof start - 1;
    return strncmp(name, start, len) == 0 ? name_rp(name + len) : 0;
}

static int remove_unfinished(const struct chain *c, const char *name, struct err *e)
{
    char path[PATH_CAP];
    int res;
    path_format(path, "%s/%.40s", c->dir, name);
    log_info("%s: removing what was being written when relaisd stopped", path);
    res = fio_unlink(path);
    return res < 0 ? err_os(e, res, "%s: removing", path) : 0;
}

/* A delta that cannot be read may be whole: the disk may come back, or somebody mends the rights.
 */
static bool is_unreadable(int res)
{
    return res == -ERR_CANCELED || res == -ERR_OS || res == -ERR_IO || res == -ERR_NOENT ||
           res == -ERR_SPACE;
}

/* Damage is a finding, not an error; an error is that the disk or the fiber cannot go on. */
static int look_at(struct chain *c, uint64_t rp, struct found *f, struct err *e)
{
    struct manifest m;
    struct bytes_out encoded;
    char path[PATH_CAP];
    int res;
    *f = (struct found){.rp = rp};
    path_delta(path, c->dir, rp);
    res = chain_read_manifest(c, path, &m, &encoded, &f->facts, e);
    if (res == -ERR_IO)
        return err_prefix(e,
                          "group %s: a delta cannot be read; make it readable, or give it up by "
                          "removing the file (the next scan finds what it held)",
                          c->group);
    if (is_unreadable(res))
        return res;
    f->good = res == 0 && f->facts.rp == rp;
    if (f->good)
        f->why[0] = '\0';
    else
        (void)snprintf(f->why, sizeof f->why, "%s",
                       res == 0 ? "its manifest has another RP than its name" : e->text);
    if (res == 0) {
        manifest_free(&m);
        bytes_free(&encoded);
    }
    return 0;
}

static int remove_file(const struct chain *c, uint64_t rp, struct err *e)
{
    char path[PATH_CAP];
    int res;
    path_delta(path, c->dir, rp);
    res = fio_unlink(path);
    return res < 0 && res != -ENOENT ? err_os(e, res, "%s: removing", path) : 0;
}

/* No committed record, or one that may be old, but deltas that follow some RP: a delta leaves the
 * spool only once committed, so that our signature in the first one vouches for its parent. */
static void base_from_first(struct chain *c, const struct found *f)
{
    if ((c->committed.rp > 0 && !c->record.decayed) || f->facts.rp_first <= c->committed.rp + 1)
        return;
    log_error("group %s: the record of what is committed is lost; RP %" PRIu64 " is, because the "
              "spool begins with RP %" PRIu64,
              c->group, f->facts.rp_first - 1, f->facts.rp_first);
    c->committed.rp = f->facts.rp_first - 1;
    c->committed.link = f->facts.parent;
    c->lost = true;
}

static void add(struct chain *c, const struct chain_delta *d)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->deltas = err_realloc(c->deltas, c->cap * sizeof *c->deltas);
    }
    c->deltas[c->count++] = *d;
    spool_settle(&c->share, 0, spool_cost(d->file_len));
}

/* Whether f continues the chain; *why_not says what is wrong. */
static bool continues(const struct chain *c, const struct found *f, char why_not[ERR_TEXT_MAX])
{
    uint64_t expected = c->count ? c->deltas[c->count - 1].rp + 1 : f->facts.rp_first;
    struct digest parent;
    if (!f->good) {
        (void)snprintf(why_not, ERR_TEXT_MAX, "%s", f->why);
        return false;
    }
    /* The first may be older than the committed RP (not released yet), never newer by a gap. */
    if (c->count == 0 && f->facts.rp_first > c->committed.rp + 1)
        expected = c->committed.rp + 1;
    if (f->facts.rp_first <= c->committed.rp && f->facts.rp > c->committed.rp) {
        (void)snprintf(why_not, ERR_TEXT_MAX,
                       "it merges RP %" PRIu64 ", which is committed, with later ones",
                       c->committed.rp);
        return false;
    }
    if (f->facts.rp_first != expected) {
        (void)snprintf(why_not, ERR_TEXT_MAX,
                       "it begins with RP %" PRIu64 " where RP %" PRIu64 " should follow",
                       f->facts.rp_first, expected);
        return false;
    }
    if (c->count > 0)
        parent = c->deltas[c->count - 1].link;
    else if (f->facts.rp_first == c->committed.rp + 1)
        parent = c->committed.link;
    else
        parent = f->facts.parent;
    if (!digest_equal(&parent, &f->facts.parent) ||
        (f->facts.rp == c->committed.rp && !digest_equal(&f->facts.link, &c->committed.link))) {
        (void)snprintf(why_not, ERR_TEXT_MAX, "its parent is another than RP %" PRIu64 " here",
                       f->facts.rp_first - 1);
        return false;
    }
    return true;
}

/* The number of the first delta that matters. Committed ones matter only when they lead up to the
 * committed RP without a gap; others are leftovers whose removal a crash undid. */
static size_t first_needed(const struct chain *c, const struct found *found, size_t n)
{
    uint64_t rp = c->committed.rp;
    struct digest link = c->committed.link;
    size_t i = 0;
    while (i < n && found[i].rp <= c->committed.rp)
        i++;
    while (i > 0 && found[i - 1].good && found[i - 1].rp == rp &&
           digest_equal(&found[i - 1].facts.link, &link)) {
        i--;
        rp = found[i].facts.rp_first - 1;
        link = found[i].facts.parent;
    }
    return i;
}

/* Names ascend, so RPs do. The first delta that does not fit is number *bad; it and all later ones
 * go. What they change is found again, because `lost` makes the indexes start over. */
static void link_found(struct chain *c, struct found *found, size_t first, size_t n, size_t *bad)
{
    char why[ERR_TEXT_MAX];
    for (*bad = first; *bad < n; ++*bad) {
        struct found *f = &found[*bad];
        if (c->count == 0 && f->good)
            base_from_first(c, f);
        if (!continues(c, f, why)) {
            (void)snprintf(f->why, sizeof f->why, "%s", why);
            c->lost = true;
            return;
        }
        add(c, &f->facts);
    }
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}

/* A merged delta wins over those that it merged, whose removal a crash cut short. */
static int remove_merged(const struct chain *c, struct found *found, size_t *n, struct err *e)
{
    uint64_t begins = UINT64_MAX; /* what is from here on is in a later one */
    size_t kept = *n;
    int res = 0;
    for (size_t i = *n; i-- > 0 && res == 0;) {
        if (found[i].rp >= begins) {
            res = remove_file(c, found[i].rp, e);
            continue;
        }
        found[--kept] = found[i];
        if (found[i].good)
            begins = found[i].facts.rp_first;
    }
    memmove(found, found + kept, (*n - kept) * sizeof *found);
    *n -= kept;
    return res;
}

static int recover(struct chain *c, const struct io_names *names, struct err *e)
{
    struct found *found = err_calloc(names->count, sizeof *found);
    size_t n = 0, first, bad = 0;
    int res = 0;
    for (size_t i = 0; i < names->count && res == 0; i++) {
        const char *name = names->names[i];
        size_t len = strlen(name);
        uint64_t rp = name_rp(name);
        if (len <= 40 && (ends_with(name, ".tmp") || ends_with(name, ".merged")))
            res = remove_unfinished(c, name, e);
        else if (aside_rp(name) > 0)
            res = chain_aside_found(c, aside_rp(name), e);
        else if (rp > 0)
            res = look_at(c, rp, &found[n++], e);
    }
    if (res == 0)
        res = remove_merged(c, found, &n, e);
    first = res == 0 ? first_needed(c, found, n) : 0;
    for (size_t i = 0; i < first && res == 0; i++)
        res = remove_file(c, found[i].rp, e);
    if (res == 0)
        link_found(c, found, first, n, &bad);
    if (res == 0 && c->lost)
        res = scanned_forget(c, e);
    for (size_t i = n; i > bad + 1 && res == 0; i--)
        res = remove_file(c, found[i - 1].rp, e);
    if (bad < n && res == 0)
        res = chain_aside(c, found[bad].rp, found[bad].why, e);
    if (res == 0 && names->count > 0) {
        res = fio_sync_dir(c->dir);
        if (res < 0)
            res = err_os(e, res, "%s: syncing", c->dir);
    }
    free(found);
    return res;
}

/* The daemon before may have sent more commits than it saw answered. */
static void mark_sent(struct chain *c)
{
    unsigned n = 0;
    for (size_t i = 0; i < c->count && n < CHAIN_AHEAD; i++)
        if (c->deltas[i].rp > c->committed.rp) {
            chain_sending(c, c->deltas[i].rp);
            n++;
        }
}

void chain_init(struct chain *c, struct spool *spool, uint64_t budget, const char *state_dir,
                const char *site, const char *group, const struct key_public *signer)
{
    *c = (struct chain){.signer = signer};
    spool_share_init(&c->share, spool, budget);
    (void)snprintf(c->site, sizeof c->site, "%s", site);
    (void)snprintf(c->group, sizeof c->group, "%s", group);
    path_format(c->dir, "%s/%s", spool->dir, group);
    path_format(c->state_dir, "%s/%s", state_dir, group);
}

/* As if it had never been tried; the spool counts its files no more. */
static void forget(struct chain *c)
{
    for (size_t i = 0; i < c->count; i++)
        spool_gone(&c->share, spool_cost(c->deltas[i].file_len));
    chain_close(c);
    for (; c->aside_count > 0; c->aside_count--)
        spool_gone(&c->share, c->asides[c->aside_count - 1].cost);
    c->committed = (struct chain_committed){0};
    c->clean = c->sent = 0;
}

/* What is found here may be in the kernel's memory only. A power cut must not take back the record,
 * or a merged delta, for which others are removed now. */
static int sync_dirs(const struct chain *c, struct err *e)
{
    int res = fio_sync_dir(c->dir);
    if (res < 0)
        return err_os(e, res, "%s: syncing", c->dir);
    res = fio_sync_dir(c->state_dir);
    return res < 0 ? err_os(e, res, "%s: syncing", c->state_dir) : 0;
}

/* While there is room for it, before a commit is all that can make room. A slot that decayed gets a
 * record again: else the next start would take it for damage anew. */
static int make_record(struct chain *c, struct err *e)
{
    int res = 0;
    if (c->record.number > 0 && !c->record.decayed)
        return 0;
    res = chain_save_committed(c, &c->committed, e);
    if (res == 0)
        c->record.decayed = false;
    if (res != -ERR_SPACE)
        return res;
    log_warn("group %s: %s; what the hub commits is recorded when there is room", c->group,
             e->text);
    *e = (struct err)ERR_INIT;
    return 0;
}

int chain_recover(struct chain *c, struct err *e)
{
    struct io_names names;
    int res = fio_mkdirs(c->dir, 0700);
    if (res < 0)
        return err_os(e, res, "%s: making the spool directory of group %s", c->dir, c->group);
    res = fio_mkdirs(c->state_dir, 0700);
    if (res < 0)
        return err_os(e, res, "%s: making the state directory of group %s", c->state_dir, c->group);
    res = load_committed(c, e);
    if (res == 0)
        res = sync_dirs(c, e);
    if (res == 0) {
        res = fio_list(c->dir, &names);
        if (res < 0)
            res = err_os(e, res, "%s: listing", c->dir);
    }
    if (res == 0) {
        res = recover(c, &names, e);
        io_names_free(&names);
    }
    if (res == 0)
        res = make_record(c, e);
    if (res < 0)
        forget(c);
    else
        mark_sent(c);
    return res;
}
