#include "usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WINDOW         512u
#define RECORD_VERSION 1u

struct group {
    struct group *next;
    char site[NAME_MAX_LEN + 1], name[NAME_MAX_LEN + 1];
    struct usage_sum stored, total; /* total: of the head, when stored was right */
    uint64_t at;                    /* monotonic */
};

struct usage {
    struct store *store;
    struct group *groups;
    struct fiber_mutex turn;
};

struct usage *usage_new(struct store *store)
{
    struct usage *u = err_calloc(1, sizeof *u);
    u->store = store;
    return u;
}

void usage_free(struct usage *u)
{
    while (u && u->groups) {
        struct group *g = u->groups;
        u->groups = g->next;
        free(g);
    }
    free(u);
}

static struct usage_sum totals(const struct catalog_entry *x)
{
    return (struct usage_sum){x->total_bytes, x->total_objects, x->total_rps};
}

static void add(struct usage_sum *to, const struct usage_sum *more, const struct usage_sum *less)
{
    to->bytes += more->bytes - less->bytes;
    to->objects += more->objects - less->objects;
    to->rps += more->rps - less->rps;
}

static const struct usage_sum nothing;

/* ---- what is stored ---- */

static int head_of(struct store *store, const char *site, const char *group,
                   struct catalog_entry *out, struct err *e)
{
    struct store_head raw;
    int rc = store->ops->head(store, site, group, &raw, e);
    memset(out, 0, sizeof *out);
    return rc < 0 || raw.rp == 0 ? rc : catalog_decode(out, &raw, e);
}

/* Calls each with all entries of a group, ascending, until it returns nonzero. */
static int walk(struct store *store, const char *site, const char *group,
                bool (*each)(void *arg, const struct catalog_entry *x), void *arg, struct err *e)
{
    struct store_head *raw = err_calloc(WINDOW, sizeof *raw);
    uint64_t after = 0;
    uint32_t n = WINDOW;
    bool enough = false;
    int rc = 0;
    while (rc == 0 && n == WINDOW && !enough) {
        rc = store->ops->catalog(store, site, group, after, raw, WINDOW, &n, e);
        for (uint32_t i = 0; i < n && rc == 0 && !enough; i++) {
            struct catalog_entry x;
            rc = catalog_decode(&x, &raw[i], e);
            if (rc == 0)
                enough = each(arg, &x);
            after = raw[i].rp;
        }
    }
    free(raw);
    return rc < 0 ? err_prefix(e, "%s/%s", site, group) : 0;
}

static bool sum_up(void *arg, const struct catalog_entry *x)
{
    struct group *g = arg;
    g->stored.bytes += x->file_len;
    g->stored.objects += catalog_objects(x);
    g->stored.rps++;
    g->total = totals(x); /* of the last one, which is the head */
    return false;
}

static struct group *find(struct usage *u, const char *site, const char *name)
{
    for (struct group *g = u->groups; g; g = g->next)
        if (strcmp(g->site, site) == 0 && strcmp(g->name, name) == 0)
            return g;
    return NULL;
}

/* Has the turn. */
static int refresh(struct usage *u, const char *site, const char *name, bool again,
                   struct group **out, struct err *e)
{
    struct group *g = find(u, site, name), fresh = {0};
    struct catalog_entry head;
    uint64_t now = io_now(fiber_io());
    int rc = 0;
    if (g && !again) {
        if (now - g->at > USAGE_FRESH_NS && (rc = head_of(u->store, site, name, &head, e)) == 0) {
            struct usage_sum total = totals(&head);
            add(&g->stored, &total, &g->total);
            g->total = total;
            g->at = now;
        }
        *out = g;
        return rc;
    }
    rc = walk(u->store, site, name, sum_up, &fresh, e);
    if (rc < 0)
        return rc;
    if (!g) {
        g = err_calloc(1, sizeof *g);
        (void)snprintf(g->site, sizeof g->site, "%s", site);
        (void)snprintf(g->name, sizeof g->name, "%s", name);
        g->next = u->groups;
        u->groups = g;
    }
    g->stored = fresh.stored;
    g->total = fresh.total;
    g->at = now;
    *out = g;
    return 0;
}

int usage_site(struct usage *u, const char *site, bool again, struct usage_sum *out, struct err *e)
{
    struct store_names names = {0};
    memset(out, 0, sizeof *out);
    if (fiber_lock(&u->turn) != 0)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    int rc = u->store->ops->groups(u->store, site, &names, e);
    for (uint32_t i = 0; i < names.count && rc == 0; i++) {
        struct group *g = NULL;
        rc = refresh(u, site, names.names[i], again, &g, e);
        if (rc == 0)
            add(out, &g->stored, &nothing);
    }
    fiber_unlock(&u->turn);
    free(names.names);
    return rc;
}

void usage_committed(struct usage *u, const char *site, const char *group, uint64_t bytes,
                     uint64_t objects)
{
    struct group *g = find(u, site, group);
    struct usage_sum more = {bytes, objects, 1};
    if (!g)
        return; /* it is summed when it is asked for */
    add(&g->stored, &more, &nothing);
    add(&g->total, &more, &nothing);
}

/* ---- months ---- */

unsigned usage_month(int64_t ns)
{
    time_t t = (time_t)(ns / INT64_C(1000000000));
    struct tm tm = {0};
    ASSERT(gmtime_r(&t, &tm));
    return (unsigned)(tm.tm_year + 1900) * 12 + (unsigned)tm.tm_mon;
}

static void log_name(char dst[STORE_NAME_MAX], const char *group)
{
    (void)snprintf(dst, STORE_NAME_MAX, "%s" STORE_USAGE, group);
}

static void encode(struct store_head *out, unsigned month, const struct usage_sum *sum)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    bytes_put_u8(&o, RECORD_VERSION);
    bytes_put_u64(&o, sum->bytes);
    bytes_put_u64(&o, sum->objects);
    bytes_put_u64(&o, sum->rps);
    ASSERT(!o.bad);
    memset(out, 0, sizeof *out);
    out->rp = month;
    out->len = (uint16_t)o.len;
    memcpy(out->value, o.p, o.len);
    bytes_free(&o);
}

static int decode(struct usage_sum *out, const struct store_head *in, struct err *e)
{
    struct bytes_in b = bytes_in(in->value, in->len <= STORE_ENTRY_MAX ? in->len : 0);
    uint8_t version = bytes_get_u8(&b);
    out->bytes = bytes_get_u64(&b);
    out->objects = bytes_get_u64(&b);
    out->rps = bytes_get_u64(&b);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != RECORD_VERSION)
        return err_set(e, ERR_CORRUPT,
                       "the record of month %" PRIu64 " is not one that this version of relais "
                       "wrote",
                       in->rp);
    return 0;
}

struct ends {
    unsigned before; /* this month */
    unsigned month;  /* the newest one before it that has an RP; 0: none */
    struct usage_sum total;
};

static bool find_end(void *arg, const struct catalog_entry *x)
{
    struct ends *s = arg;
    unsigned month = usage_month(x->committed_time);
    if (month < s->before && month >= s->month) {
        s->month = month;
        s->total = totals(x);
    }
    return false;
}

int usage_record(struct usage *u, const char *site, const char *group, int64_t now, struct err *e)
{
    char log[STORE_NAME_MAX];
    struct store_head last = {0}, to;
    struct ends s = {.before = usage_month(now)};
    log_name(log, group);
    int rc = u->store->ops->head(u->store, site, log, &last, e);
    if (rc < 0 || last.rp + 1 >= s.before)
        return rc; /* once a month it goes on */
    rc = walk(u->store, site, group, find_end, &s, e);
    if (rc < 0 || s.month <= last.rp)
        return rc;
    encode(&to, s.month, &s.total);
    rc = u->store->ops->move_head(u->store, site, log, &last, &to, e);
    return rc == -ERR_CONFLICT ? 0 : rc;
}

/* Adds what a group shipped in each month to out, which holds the newest USAGE_MONTHS up to `now`.
 */
static int add_months(struct usage *u, const char *site, const char *group, unsigned now,
                      struct usage_month out[USAGE_MONTHS], struct err *e)
{
    struct store_head raw[USAGE_MONTHS + 1];
    char log[STORE_NAME_MAX];
    struct catalog_entry head;
    struct usage_sum before = {0};
    uint32_t n = 0;
    unsigned first = now - USAGE_MONTHS + 1;
    log_name(log, group);
    int rc = head_of(u->store, site, group, &head, e);
    /* The record before the first month tells where that one began. Months without an RP have
     * none, so a few are read too many. */
    uint64_t after = 0;
    do {
        if (rc == 0)
            rc = u->store->ops->catalog(u->store, site, log, after, raw, USAGE_MONTHS + 1, &n, e);
        for (uint32_t i = 0; i < n && rc == 0; i++) {
            struct usage_sum at;
            after = raw[i].rp;
            rc = decode(&at, &raw[i], e);
            if (rc == 0 && raw[i].rp >= first && raw[i].rp < now)
                add(&out[raw[i].rp - first].shipped, &at, &before);
            before = at;
        }
    } while (rc == 0 && n == USAGE_MONTHS + 1);
    if (rc < 0)
        return err_prefix(e, "%s/%s", site, group);
    struct usage_sum total = totals(&head);
    add(&out[USAGE_MONTHS - 1].shipped, &total, &before);
    return 0;
}

int usage_months(struct usage *u, const char *site, int64_t now,
                 struct usage_month out[USAGE_MONTHS], unsigned *count, struct err *e)
{
    struct store_names names = {0};
    unsigned month = usage_month(now), skip = 0;
    for (unsigned i = 0; i < USAGE_MONTHS; i++)
        out[i] = (struct usage_month){.month = month - USAGE_MONTHS + 1 + i};
    int rc = u->store->ops->groups(u->store, site, &names, e);
    for (uint32_t i = 0; i < names.count && rc == 0; i++)
        rc = add_months(u, site, names.names[i], month, out, e);
    free(names.names);
    while (skip + 1 < USAGE_MONTHS && out[skip].shipped.rps == 0)
        skip++;
    *count = USAGE_MONTHS - skip;
    memmove(out, out + skip, *count * sizeof *out);
    return rc;
}
