/* ask.c answers what people ask of a hub about its keeping: operators on its control socket, sites
 * and readers over their links. Copies of the questions, so that they outlive their message. */
#include "keeper.h"
#include "log.h"
#include "scrub.h"
#include "session.h"
#include "usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_PAGE 400u /* runs in one reply: fits MESSAGE_MAX and MESSAGE_ARENA */
#define PINS_PAGE 200u

/* ---- questions ---- */

static int take_names(struct hub_ask *a, const char *site, const char *group, struct err *e)
{
    int rc = session_check_name("site", site, e);
    if (rc == 0 && group)
        rc = session_check_name("group", group, e);
    if (rc < 0)
        return rc;
    (void)snprintf(a->site, sizeof a->site, "%s", site);
    (void)snprintf(a->group, sizeof a->group, "%s", group ? group : "");
    return 0;
}

bool hub_ask_is(uint8_t type)
{
    return type == FRAME_RetentionGet || type == FRAME_PinSet || type == FRAME_UsageGet ||
           type == FRAME_ScrubSet;
}

int hub_ask_take(struct hub_ask *out, uint8_t type, const struct message *m, struct err *e)
{
    memset(out, 0, sizeof *out);
    out->type = type;
    if (type == FRAME_RetentionGet) {
        out->after = m->retention_get->after;
        out->now = m->retention_get->now;
        out->flag = m->retention_get->pass;
        return take_names(out, m->retention_get->site, m->retention_get->group, e);
    }
    if (type == FRAME_PinSet) {
        out->rp = m->pin_set->rp;
        out->flag = m->pin_set->unpin;
        return take_names(out, m->pin_set->site, m->pin_set->group, e);
    }
    if (type == FRAME_ScrubSet) {
        out->flag = m->scrub_set->now;
        return 0;
    }
    ASSERT(type == FRAME_UsageGet);
    return *m->usage_get->site ? take_names(out, m->usage_get->site, NULL, e) : 0;
}

/* ---- retention ---- */

struct retention_reply {
    Relais__Retention m;
    Relais__RetentionRun runs[RUNS_PAGE], *run_list[RUNS_PAGE];
    Relais__RetentionPin pins[PINS_PAGE], *pin_list[PINS_PAGE];
    char keep[KEEP_TEXT], said[KEEP_TEXT];
};

static void fill_sums(Relais__Retention *m, const struct verdict *v)
{
    for (size_t i = 0; i < v->count; i++) {
        bool goes = v->why[i] == RETENTION_GOES;
        *(goes ? &m->go_rps : &m->stay_rps) += 1;
        *(goes ? &m->go_bytes : &m->stay_bytes) += v->more[i].file_len;
    }
}

static void fill_runs(struct retention_reply *r, const struct verdict *v, uint64_t after)
{
    Relais__RetentionRun *run = NULL;
    for (size_t i = 0; i < v->count; i++) {
        const struct retention_point *p = &v->points[i];
        if (p->rp <= after)
            continue;
        if (!run || run->why != v->why[i]) {
            if (r->m.n_runs == RUNS_PAGE) {
                r->m.more = true;
                break;
            }
            run = r->run_list[r->m.n_runs] = &r->runs[r->m.n_runs];
            r->m.n_runs++;
            relais__retention_run__init(run);
            run->first = p->rp;
            run->why = v->why[i];
            run->from = p->committed_time;
        }
        run->last = p->rp;
        run->to = p->committed_time;
        run->count++;
        run->complete += p->complete;
        run->bytes += v->more[i].file_len;
    }
    r->m.runs = r->run_list;
}

static void fill_pins(struct retention_reply *r, struct verdict *v)
{
    for (size_t i = 0; i < v->policy.pin_count && i < PINS_PAGE; i++) {
        struct policy_pin *p = &v->policy.pins[i];
        Relais__RetentionPin *to = r->pin_list[i] = &r->pins[i];
        relais__retention_pin__init(to);
        to->rp = p->rp;
        to->by = p->by;
        to->time = p->time;
        to->left_ns = p->until == INT64_MAX ? 0 : (uint64_t)(p->until - v->clock);
        r->m.n_pins++;
    }
    r->m.pins = r->pin_list;
}

static void fill(struct retention_reply *r, struct verdict *v, uint64_t after)
{
    relais__retention__init(&r->m);
    r->m.now = v->now;
    r->m.keep = keep_text(r->keep, &v->rules.keep);
    r->m.lock_ns = v->rules.lock_ns;
    r->m.said = keep_text(r->said, &v->config.keep);
    r->m.said_lock_ns = v->config.lock_ns;
    if (v->policy.until != INT64_MAX)
        r->m.until_ns = (uint64_t)(v->policy.until - v->clock);
    fill_sums(&r->m, v);
    fill_runs(r, v, after);
    if (after == 0)
        fill_pins(r, v);
}

static int retention(struct hub *h, const struct hub_ask *a, const char *peer, struct link *l,
                     uint32_t id, struct err *e)
{
    struct verdict v = {0};
    int rc;
    if (a->flag && peer)
        return err_set(e, ERR_AUTH, "passes are for the hub's operator to start");
    rc = a->flag ? keeper_group(h->keeper, a->site, a->group, &v, e)
                 : verdict_make(&v, h->store, h->config, a->site, a->group, a->now, e);
    if (a->flag) {
        char subject[TRAIL_SUBJECT_MAX + 1];
        (void)snprintf(subject, sizeof subject, "%s/%s", a->site, a->group);
        audit_note(h->audit, TRAIL_OPERATOR, NULL, subject, rc < 0 ? e->code : ERR_OK,
                   "a pass of retention");
    }
    if (rc < 0)
        return rc;
    struct retention_reply *r = err_calloc(1, sizeof *r);
    fill(r, &v, a->after);
    rc = link_send(l, FRAME_Retention, id, &r->m.base, NULL, 0, e);
    free(r);
    verdict_free(&v);
    return rc;
}

/* ---- pins ---- */

static int pin(struct hub *h, const struct hub_ask *a, const char *peer, struct link *l,
               uint32_t id, struct err *e)
{
    Relais__Pinned reply = RELAIS__PINNED__INIT;
    char subject[TRAIL_SUBJECT_MAX + 1];
    int rc = verdict_pin(h->store, h->config, a->site, a->group, a->rp, !a->flag, peer ? peer : "",
                         &reply.left_ns, e);
    (void)snprintf(subject, sizeof subject, "%s/%s@%" PRIu64, a->site, a->group, a->rp);
    audit_note(h->audit, TRAIL_RETENTION, peer, subject, rc < 0 ? e->code : ERR_OK, "%s",
               a->flag ? "unpin" : "pin");
    if (rc < 0)
        return rc;
    log_notice("hub: %s %s by %s", subject, a->flag ? "unpinned" : "pinned",
               peer ? peer : "the hub's operator");
    return link_send(l, FRAME_Pinned, id, &reply.base, NULL, 0, e);
}

/* ---- usage ---- */

struct usage_row {
    Relais__UsageSite m;
    char name[NAME_MAX_LEN + 1];
    struct usage_month months[USAGE_MONTHS];
    Relais__UsageMonth list[USAGE_MONTHS], *pointers[USAGE_MONTHS];
};

static int usage_fill(struct usage_row *row, struct hub *h, const char *site, struct err *e)
{
    struct usage_sum sum;
    unsigned n = 0;
    int rc = usage_site(h->usage, site, false, &sum, e);
    if (rc == 0)
        rc = usage_months(h->usage, site, io_wall(h->io), row->months, &n, e);
    if (rc < 0)
        return rc;
    relais__usage_site__init(&row->m);
    (void)snprintf(row->name, sizeof row->name, "%s", site);
    row->m.site = row->name;
    row->m.bytes = sum.bytes;
    row->m.objects = sum.objects;
    row->m.rps = sum.rps;
    const struct hub_peer *p = roster_find(h, site);
    row->m.quota = p ? p->config.quota : 0;
    for (unsigned i = 0; i < n; i++) {
        Relais__UsageMonth *to = row->pointers[i] = &row->list[i];
        relais__usage_month__init(to);
        to->month = row->months[i].month;
        to->bytes = row->months[i].shipped.bytes;
        to->objects = row->months[i].shipped.objects;
        to->rps = row->months[i].shipped.rps;
    }
    row->m.n_months = n;
    row->m.months = row->pointers;
    return 0;
}

static int usage(struct hub *h, const struct hub_ask *a, const char *peer, struct link *l,
                 uint32_t id, struct err *e)
{
    Relais__Usage reply = RELAIS__USAGE__INIT;
    char(*sites)[NAME_MAX_LEN + 1];
    unsigned count = keeper_sites(h, &sites);
    struct usage_row *rows = err_calloc(count + 1, sizeof *rows);
    Relais__UsageSite **list = err_calloc(count + 1, sizeof *list);
    const char *only = *a->site ? a->site : peer;
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        if (only && strcmp(only, sites[i]) != 0)
            continue;
        rc = usage_fill(&rows[reply.n_sites], h, sites[i], e);
        list[reply.n_sites] = &rows[reply.n_sites].m;
        reply.n_sites++;
    }
    if (rc == 0 && only && reply.n_sites == 0)
        rc = err_set(e, ERR_NOENT, "%s is no site of this hub", only);
    reply.sites = list;
    if (rc == 0)
        rc = link_send(l, FRAME_Usage, id, &reply.base, NULL, 0, e);
    free(sites);
    free(rows);
    free(list);
    return rc;
}

/* ---- answers ---- */

int hub_ask_answer(struct hub *h, const struct hub_ask *a, const char *peer, struct link *l,
                   uint32_t id, struct err *e)
{
    if (a->type == FRAME_RetentionGet)
        return retention(h, a, peer, l, id, e);
    if (a->type == FRAME_PinSet)
        return pin(h, a, peer, l, id, e);
    if (a->type == FRAME_UsageGet)
        return usage(h, a, peer, l, id, e);
    if (a->flag && peer)
        return err_set(e, ERR_AUTH, "scrubbing is for the hub's operator to start");
    if (a->flag) {
        audit_note(h->audit, TRAIL_OPERATOR, NULL, "", ERR_OK, "scrubbing, now");
        scrub_now(h->scrub);
    }
    return scrub_tell(h->scrub, peer, l, id, e);
}

static void ask_job(struct job *j)
{
    struct err e = ERR_INIT;
    if (hub_ask_answer(j->s->hub, &j->ask, j->s->peer, j->s->link, j->id, &e) < 0 &&
        session_refuse_about(j->s, j->id, j->ask.site, j->ask.group, &e) < 0)
        link_shutdown(j->s->link);
}

/* Whoever may read a group may see what of it stays; only its site pins, and sees its usage. */
static int check_may(const struct session *s, const struct hub_ask *a, struct err *e)
{
    if (a->type == FRAME_RetentionGet)
        return serve_check_target(s, a->site, a->group, e);
    if (*a->site && strcmp(a->site, s->peer) != 0)
        return err_set(e, ERR_AUTH, "%s is not %s: that is for the site itself, or at the hub",
                       s->peer, a->site);
    return a->type == FRAME_PinSet ? ingest_check_signer(s, e) : 0;
}

int ask_serve(struct session *s, const struct frame_header *f, struct err *e)
{
    struct job j = {.run = ask_job, .id = f->id};
    int rc = hub_ask_take(&j.ask, f->type, &s->msg, e);
    if (rc == 0)
        rc = check_may(s, &j.ask, e);
    return rc < 0 ? session_refuse_about(s, f->id, j.ask.site, j.ask.group, e)
                  : session_spawn(s, &j, e);
}
