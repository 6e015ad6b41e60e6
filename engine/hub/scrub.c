#include "scrub.h"

#include "harm.h"
#include "keeper.h"
#include "lease.h"
#include "log.h"
#include "manifest.h"
#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW         64u
#define RECORD_VERSION 1u
#define TRIES          4u

enum record_kind {
    RECORD_DONE = 1,
    RECORD_DAMAGED = 2,
    RECORD_GONE = 3,
    RECORD_REACH = 4 /* how far damage that is known reaches */
};

struct record {
    enum record_kind kind;
    int64_t time;
    uint64_t rp; /* of the delta, with */
    struct digest digest;
    uint32_t part;
    uint64_t upto; /* the last RP that may need it; 0: not known, or every later one */
    char what[LABEL_MAX_LEN + 1];
};

/* What a group's log comes to. */
struct ledger {
    int64_t done; /* the end of the last pass; 0: none */
    struct record *damaged;
    size_t count;
};

struct scrub {
    struct hub *hub;
    struct fiber *fiber;
    struct fiber_cond woken;
    struct lease lease;
    bool running;
    uint64_t asked, begun; /* passes that somebody asked for */
    uint64_t passes, bytes, damaged;
    uint8_t *buf; /* PART_SIZE, while a pass runs */
};

/* ---- the log ---- */

static void encode(struct store_head *out, uint64_t number, const struct record *r)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    bytes_put_u8(&o, RECORD_VERSION);
    bytes_put_u8(&o, (uint8_t)r->kind);
    bytes_put_u64(&o, (uint64_t)r->time);
    bytes_put_u64(&o, r->rp);
    bytes_put(&o, r->digest.b, DIGEST_LEN);
    bytes_put_u32(&o, r->part);
    bytes_put_u64(&o, r->upto);
    bytes_put_str(&o, r->what);
    ASSERT(!o.bad);
    memset(out, 0, sizeof *out);
    out->rp = number;
    out->len = (uint16_t)o.len;
    memcpy(out->value, o.p, o.len);
    bytes_free(&o);
}

static int decode(struct record *r, const struct store_head *in, struct err *e)
{
    struct bytes_in b = bytes_in(in->value, in->len <= STORE_ENTRY_MAX ? in->len : 0);
    uint8_t version = bytes_get_u8(&b), kind = bytes_get_u8(&b);
    memset(r, 0, sizeof *r);
    r->kind = (enum record_kind)kind;
    r->time = (int64_t)bytes_get_u64(&b);
    r->rp = bytes_get_u64(&b);
    bytes_get(&b, r->digest.b, DIGEST_LEN);
    r->part = bytes_get_u32(&b);
    r->upto = bytes_get_u64(&b);
    bytes_get_str(&b, r->what, sizeof r->what);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != RECORD_VERSION || kind < RECORD_DONE ||
        kind > RECORD_REACH)
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRIu64 " of the log of scrubbing is not one that this version of "
                       "relais wrote",
                       in->rp);
    return 0;
}

static void log_name(char dst[STORE_NAME_MAX], const char *group)
{
    (void)snprintf(dst, STORE_NAME_MAX, "%s" STORE_SCRUB, group);
}

static struct record *ledger_find(struct ledger *l, const struct digest *digest, uint32_t part)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->damaged[i].part == part && digest_equal(&l->damaged[i].digest, digest))
            return &l->damaged[i];
    return NULL;
}

static void ledger_add(struct ledger *l, const struct record *r)
{
    struct record *known = ledger_find(l, &r->digest, r->part);
    if (r->kind == RECORD_DONE) {
        l->done = r->time;
    } else if (r->kind == RECORD_GONE && known) {
        *known = l->damaged[--l->count];
    } else if (r->kind == RECORD_REACH && known) {
        known->upto = r->upto;
    } else if (r->kind == RECORD_DAMAGED && !known) {
        l->damaged = err_realloc(l->damaged, (l->count + 1) * sizeof *l->damaged);
        l->damaged[l->count++] = *r;
    }
}

static int ledger_read(struct store *store, const char *site, const char *group, struct ledger *out,
                       struct err *e)
{
    char log[STORE_NAME_MAX];
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0;
    uint32_t n = WINDOW;
    int rc = 0;
    log_name(log, group);
    *out = (struct ledger){0};
    while (rc == 0 && n == WINDOW) {
        rc = store->ops->catalog(store, site, log, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            struct record r;
            rc = decode(&r, &raw[i], e);
            if (rc == 0)
                ledger_add(out, &r);
            after = raw[i].rp;
        }
    }
    free(raw);
    if (rc == 0)
        return 0;
    free(out->damaged);
    return err_prefix(e, "%s/%s", site, group);
}

static int append(struct store *store, const char *site, const char *group, const struct record *r,
                  struct err *e)
{
    char log[STORE_NAME_MAX];
    int rc = -ERR_CONFLICT;
    log_name(log, group);
    for (unsigned i = 0; i < TRIES && rc == -ERR_CONFLICT; i++) {
        struct store_head from = {0}, to;
        rc = store->ops->head(store, site, log, &from, e);
        if (rc < 0)
            break;
        encode(&to, from.rp + 1, r);
        rc = store->ops->move_head(store, site, log, &from, &to, e);
    }
    return rc;
}

/* ---- reading ---- */

struct pass {
    struct scrub *s;
    const char *site, *group;
    struct ledger ledger;
};

/* Whether the catalog still names this delta: a fold may have replaced it meanwhile. */
static bool is_current(struct pass *p, uint64_t rp, const struct digest *digest)
{
    struct store *store = p->s->hub->store;
    struct store_head raw;
    struct catalog_entry now;
    struct err ignored = ERR_INIT;
    uint32_t n = 0;
    if (store->ops->catalog(store, p->site, p->group, rp - 1, &raw, 1, &n, &ignored) < 0)
        return true;
    return n == 1 && raw.rp == rp && catalog_decode(&now, &raw, &ignored) == 0 &&
           digest_equal(&now.digest, digest);
}

/* One thing is as it should be, or not: what changed is told and remembered. */
static int note(struct pass *p, const struct catalog_entry *x, uint32_t part, const char *what,
                struct err *e)
{
    struct hub *h = p->s->hub;
    struct record r = {.kind = what ? RECORD_DAMAGED : RECORD_GONE,
                       .time = io_wall(h->io),
                       .rp = x->rp,
                       .digest = x->digest,
                       .part = part};
    char subject[TRAIL_SUBJECT_MAX + 1], name[32] = "the manifest";
    if ((what != NULL) == (ledger_find(&p->ledger, &x->digest, part) != NULL) ||
        (what && !is_current(p, x->rp, &x->digest)))
        return 0;
    (void)snprintf(r.what, sizeof r.what, "%s", what ? what : "");
    if (part != SCRUB_MANIFEST)
        (void)snprintf(name, sizeof name, "part %" PRIu32, part);
    (void)snprintf(subject, sizeof subject, "%s/%s@%" PRIu64, p->site, p->group, x->rp);
    if (what)
        log_error(
            "hub: scrub: %s: %s is %s: this RP and later ones that need it cannot be restored",
            subject, name, what);
    else
        log_notice("hub: scrub: %s: %s is as it should be again", subject, name);
    audit_note(h->audit, TRAIL_DAMAGE, NULL, subject, what ? ERR_CORRUPT : ERR_OK, "%s %s", name,
               what ? what : "mended");
    ledger_add(&p->ledger, &r);
    return append(h->store, p->site, p->group, &r, e);
}

/* Keeps the pace. */
static int pause_after(struct scrub *s, uint64_t bytes, struct err *e)
{
    uint64_t rate = s->hub->config->scrub_rate;
    s->bytes += bytes;
    if (rate > 0 && fiber_sleep(bytes * IO_S / rate) < 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    return lease_hold(&s->lease, e);
}

struct hashing {
    const uint8_t *buf;
    uint32_t len;
    struct digest digest;
};

static int hash(void *arg)
{
    struct hashing *w = arg;
    digest_of(&w->digest, w->buf, w->len);
    return 0;
}

static int check_part(struct pass *p, const struct catalog_entry *x, const struct manifest *m,
                      uint32_t part, struct err *e)
{
    struct scrub *s = p->s;
    struct hashing w = {.buf = s->buf, .len = manifest_part_len(m, part)};
    struct err why = ERR_INIT;
    const char *what = NULL;
    int rc =
        hub_read(s->hub, p->site, p->group, x, (uint64_t)part * PART_SIZE, s->buf, w.len, &why);
    if (rc < 0 && !(what = harm_name(&why))) {
        *e = why;
        return rc;
    }
    if (rc == 0 && fio_work(IO_WORK_CPU, hash, &w) < 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    if (rc == 0 && !digest_equal(&w.digest, &m->parts[part]))
        what = "damaged";
    rc = note(p, x, part, what, e);
    return rc < 0 ? rc : pause_after(s, w.len, e);
}

static int check_delta(struct pass *p, const struct catalog_entry *x, struct err *e)
{
    struct manifest m;
    struct err why = ERR_INIT;
    int rc = harm_manifest(p->s->hub, p->site, p->group, x, &m, &why);
    if (rc < 0 && !harm_name(&why)) {
        *e = why;
        return rc;
    }
    if (rc < 0)
        return note(p, x, SCRUB_MANIFEST, harm_name(&why), e);
    rc = note(p, x, SCRUB_MANIFEST, NULL, e);
    for (uint32_t i = 0; i < m.part_count && rc == 0; i++)
        rc = check_part(p, x, &m, i, e);
    manifest_free(&m);
    return rc;
}

/* Damage of deltas that a fold has replaced harms nobody any more. */
static int forget_replaced(struct pass *p, struct err *e)
{
    for (size_t i = p->ledger.count; i-- > 0;) {
        struct record r = p->ledger.damaged[i];
        if (is_current(p, r.rp, &r.digest))
            continue;
        r.kind = RECORD_GONE;
        r.time = io_wall(p->s->hub->io);
        ledger_add(&p->ledger, &r);
        int rc = append(p->s->hub->store, p->site, p->group, &r, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int keep_pace(void *arg, uint64_t bytes, struct err *e)
{
    return pause_after(arg, bytes, e);
}

static int entry_of(struct pass *p, uint64_t rp, struct catalog_entry *out, struct err *e)
{
    struct store *store = p->s->hub->store;
    struct store_head raw;
    uint32_t n = 0;
    int rc = store->ops->catalog(store, p->site, p->group, rp - 1, &raw, 1, &n, e);
    memset(out, 0, sizeof *out);
    return rc < 0 || n == 0 ? rc : catalog_decode(out, &raw, e);
}

/* How far damage reaches, once that is known: later RPs are not harmed. */
static int note_reach(struct pass *p, struct err *e)
{
    struct hub *h = p->s->hub;
    int rc = 0;
    for (size_t i = 0; i < p->ledger.count && rc == 0; i++) {
        struct record *r = &p->ledger.damaged[i];
        struct catalog_entry x;
        if (r->upto > 0 || r->part == SCRUB_MANIFEST)
            continue;
        rc = entry_of(p, r->rp, &x, e);
        if (rc < 0 || x.rp != r->rp || !digest_equal(&x.digest, &r->digest))
            continue; /* it was replaced this moment */
        rc = harm_reach(h, p->site, p->group, &x, r->part, keep_pace, p->s, &r->upto, e);
        if (rc < 0 || r->upto == 0)
            continue;
        struct record reach = *r;
        reach.kind = RECORD_REACH;
        reach.time = io_wall(h->io);
        rc = append(h->store, p->site, p->group, &reach, e);
        log_notice("hub: scrub: %s/%s@%" PRIu64 ": what part %" PRIu32
                   " held was sealed again: RPs "
                   "after %" PRIu64 " are whole",
                   p->site, p->group, r->rp, r->part, r->upto);
    }
    return rc;
}

static int check_group(struct scrub *s, const char *site, const char *group, struct err *e)
{
    struct store *store = s->hub->store;
    struct pass p = {.s = s, .site = site, .group = group};
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0;
    uint32_t n = WINDOW;
    int64_t now = io_wall(s->hub->io);
    int rc = ledger_read(store, site, group, &p.ledger, e);
    bool due = s->asked > s->begun || p.ledger.done == 0 || p.ledger.done > now ||
               (uint64_t)(now - p.ledger.done) >= s->hub->config->scrub_ns;
    while (rc == 0 && due && n == WINDOW) {
        rc = store->ops->catalog(store, site, group, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            struct catalog_entry x;
            after = raw[i].rp;
            rc = catalog_decode(&x, &raw[i], e);
            if (rc == 0)
                rc = check_delta(&p, &x, e);
        }
    }
    if (rc == 0 && due)
        rc = forget_replaced(&p, e);
    if (rc == 0 && due)
        rc = note_reach(&p, e);
    if (rc == 0 && due) {
        struct record done = {.kind = RECORD_DONE, .time = io_wall(s->hub->io)};
        rc = append(store, site, group, &done, e);
    }
    s->damaged += p.ledger.count;
    free(p.ledger.damaged);
    free(raw);
    return rc;
}

/* ---- passes ---- */

static void check_site(struct scrub *s, const char *site)
{
    struct store *store = s->hub->store;
    struct store_names names = {0};
    struct err e = ERR_INIT;
    int rc = store->ops->groups(store, site, &names, &e);
    for (uint32_t i = 0; i < names.count && rc == 0 && !fiber_cancelled(); i++) {
        rc = check_group(s, site, names.names[i], &e);
        if (rc == -ERR_CANCELED || rc == -ERR_CONFLICT)
            break;
        if (rc < 0)
            log_warn("hub: scrub: %s", e.text);
        rc = 0;
    }
    free(names.names);
}

static void look(struct scrub *s)
{
    struct err e = ERR_INIT;
    char(*sites)[NAME_MAX_LEN + 1];
    uint64_t asked = s->asked;
    int rc;
    while ((rc = lease_take(&s->lease, &e)) == -ERR_AGAIN && s->asked > s->begun)
        if (fiber_sleep(5 * IO_S) < 0)
            return;
    if (rc < 0)
        return; /* another hub's turn, or the store is away: the next look */
    unsigned count = keeper_sites(s->hub, &sites);
    s->running = true;
    s->bytes = s->damaged = 0;
    s->buf = err_malloc(PART_SIZE);
    for (unsigned i = 0; i < count && !fiber_cancelled(); i++)
        check_site(s, sites[i]);
    free(s->buf);
    free(sites);
    s->running = false;
    s->begun = asked;
    s->passes++;
    lease_release(&s->lease);
}

static void scrub_main(void *arg)
{
    struct scrub *s = arg;
    uint64_t wait = SCRUB_FIRST_NS;
    while (!fiber_cancelled()) {
        if (s->asked <= s->begun && fiber_wait(&s->woken, wait) == -ECANCELED)
            break;
        wait = SCRUB_LOOK_NS;
        if (s->asked > s->begun || s->hub->config->scrub_ns > 0)
            look(s);
    }
}

struct scrub *scrub_start(struct hub *h)
{
    struct scrub *s = err_calloc(1, sizeof *s);
    s->hub = h;
    lease_init(&s->lease, h->store, SCRUB_LEASE, h->config->name);
    s->fiber = fiber_spawn(h->io, "hub-scrub", scrub_main, s);
    return s;
}

void scrub_stop(struct scrub *s)
{
    if (!s)
        return;
    fiber_cancel(s->fiber);
    fiber_join(s->fiber);
    free(s);
}

void scrub_now(struct scrub *s)
{
    s->asked++;
    fiber_wake_all(&s->woken);
}

uint64_t scrub_damaged(const struct scrub *s)
{
    return s->damaged;
}

/* ---- telling ---- */

struct told {
    Relais__ScrubState m;
    Relais__ScrubDamage rows[SCRUB_TOLD], *list[SCRUB_TOLD];
    struct {
        char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1], what[LABEL_MAX_LEN + 1];
    } texts[SCRUB_TOLD];
};

static void tell_damage(struct told *t, const char *site, const char *group, const struct record *r)
{
    size_t i = t->m.n_damaged;
    t->m.damaged_total++;
    if (i == SCRUB_TOLD)
        return;
    (void)snprintf(t->texts[i].site, sizeof t->texts[i].site, "%s", site);
    (void)snprintf(t->texts[i].group, sizeof t->texts[i].group, "%s", group);
    (void)snprintf(t->texts[i].what, sizeof t->texts[i].what, "%s", r->what);
    relais__scrub_damage__init(&t->rows[i]);
    t->rows[i].site = t->texts[i].site;
    t->rows[i].group = t->texts[i].group;
    t->rows[i].what = t->texts[i].what;
    t->rows[i].rp = r->rp;
    t->rows[i].object = r->part;
    t->rows[i].upto = r->upto;
    t->rows[i].found = r->time;
    t->list[i] = &t->rows[i];
    t->m.n_damaged++;
}

static int tell_site(struct told *t, struct store *store, const char *site, bool *never,
                     struct err *e)
{
    struct store_names names = {0};
    int rc = store->ops->groups(store, site, &names, e);
    for (uint32_t i = 0; i < names.count && rc == 0; i++) {
        struct ledger l;
        rc = ledger_read(store, site, names.names[i], &l, e);
        if (rc < 0)
            break;
        for (size_t k = 0; k < l.count; k++)
            tell_damage(t, site, names.names[i], &l.damaged[k]);
        *never = *never || l.done == 0;
        if (t->m.last == 0 || l.done < t->m.last)
            t->m.last = l.done;
        free(l.damaged);
    }
    free(names.names);
    return rc;
}

int scrub_tell(struct scrub *s, const char *site, struct link *l, uint32_t id, struct err *e)
{
    struct told *t = err_calloc(1, sizeof *t);
    char(*sites)[NAME_MAX_LEN + 1];
    unsigned count = keeper_sites(s->hub, &sites);
    bool never = false;
    int rc = 0;
    relais__scrub_state__init(&t->m);
    for (unsigned i = 0; i < count && rc == 0; i++)
        if (!site || strcmp(site, sites[i]) == 0)
            rc = tell_site(t, s->hub->store, sites[i], &never, e);
    if (never)
        t->m.last = 0;
    t->m.running = s->running || s->asked > s->begun;
    t->m.bytes_done = s->bytes;
    t->m.pass_number = s->passes;
    t->m.damaged = t->list;
    if (rc == 0)
        rc = link_send(l, FRAME_ScrubState, id, &t->m.base, NULL, 0, e);
    free(t);
    free(sites);
    return rc;
}
