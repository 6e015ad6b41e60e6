#include "control.h"

#include "audit.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOFTWARE         "relais " RELAIS_VERSION
#define PROTOCOL_VERSION 1u

struct session {
    struct session *next;
    struct control *control;
    struct link *link;
    struct fiber *fiber, *marking;
    int fd;
    bool done, mark_done;
    /* The mark under way. */
    uint32_t mark_id;
    enum site_mark_end mark_end;
    char group[NAME_MAX_LEN + 1], label[LABEL_MAX_LEN + 1];
};

struct control {
    struct daemon *daemon;
    struct fiber *acceptor;
    int listen_fd;
    struct session *sessions;
    unsigned live;
    /* The roles keep one status each, until it is asked for again. */
    struct fiber_mutex status_turn;
};

/* ---- status ---- */

/* procfs is read through the loop as any file. 0 when it cannot be. */
static uint64_t resident(void)
{
    char text[128] = "";
    unsigned long long size = 0, pages = 0;
    int fd = fio_open("/proc/self/statm", O_RDONLY, 0);
    if (fd < 0)
        return 0;
    if (fio_read(fd, text, sizeof text - 1, 0) > 0 && sscanf(text, "%llu %llu", &size, &pages) != 2)
        pages = 0;
    fio_close_always(fd);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The groups of a site that is not up: their state says why. */
struct placeholder {
    Relais__GroupStatus *rows, **groups;
};

static void placeholders(struct placeholder *p, const struct daemon *d, Relais__Status *st)
{
    static char state_starting[] = "starting", state_broken[] = "broken";
    unsigned n = d->config->group_count;
    p->rows = err_calloc(n, sizeof *p->rows);
    p->groups = err_calloc(n, sizeof *p->groups);
    for (unsigned i = 0; i < n; i++) {
        Relais__GroupStatus *g = &p->rows[i];
        relais__group_status__init(g);
        g->group = d->config->groups[i].name;
        g->state = *d->site_error ? state_broken : state_starting;
        g->error = (char *)(uintptr_t)d->site_error;
        g->interval_ns = d->config->groups[i].interval_ns;
        p->groups[i] = g;
    }
    st->n_groups = n;
    st->groups = p->groups;
}

/* When everything is wrong at once the reasons do not all fit: the last ones are left to the log.
 * Without them GROUPS_MAX groups fit. */
static void fit_message(Relais__Status *st)
{
    static char elsewhere[] = "the log says why";
    for (size_t i = st->n_groups; i > 0 && message_packed_size(&st->base) > MESSAGE_MAX; i--)
        if (*st->groups[i - 1]->error)
            st->groups[i - 1]->error = elsewhere;
}

/* Fills, packs. The packed form is malloc'd: it outlives the roles' storage. Holds status_turn. */
static int status_pack(struct control *c, bool territory, uint8_t **packed, size_t *len,
                       struct err *e)
{
    struct daemon *d = c->daemon;
    struct placeholder p = {NULL, NULL};
    char software[] = SOFTWARE;
    Relais__Status st;
    int res = 0;
    relais__status__init(&st);
    st.memory = resident();
    if (territory && d->hub)
        res = hub_status(d->hub, true, &st, e);
    else if (territory && d->config->has_hub)
        res = err_set(e, ERR_AGAIN, "the hub does not serve yet: %s",
                      *d->hub_error ? d->hub_error : "it is starting");
    else if (territory)
        res = err_set(e, ERR_NOENT, "%s is not a hub: ask %s", d->config->name, d->config->hub);
    else if (d->hub)
        res = hub_status(d->hub, false, &st, e);
    if (res != 0)
        return res;
    /* Nothing waits from here on. */
    st.has_site = d->config->group_count > 0;
    st.has_hub = d->config->has_hub;
    if (d->site)
        site_status(d->site, &st);
    else if (st.has_site)
        placeholders(&p, d, &st);
    st.name = d->config->name;
    st.software = software;
    st.uptime_ns = io_now(d->io) - d->started;
    st.hub = d->config->hub;
    st.hub_error = d->hub_error;
    fit_message(&st);
    *len = message_packed_size(&st.base);
    if (*len > MESSAGE_MAX) {
        res = err_set(e, ERR_LIMIT, "the status takes %zu bytes, a message holds %llu", *len,
                      (unsigned long long)MESSAGE_MAX);
    } else {
        *packed = err_malloc(*len);
        message_pack(*packed, &st.base);
    }
    free(p.rows);
    free(p.groups);
    return res;
}

static int send_status(struct session *s, uint32_t id, bool territory, struct err *e)
{
    struct control *c = s->control;
    struct err why = ERR_INIT;
    struct message m;
    uint8_t *packed = NULL;
    size_t len = 0;
    int res;
    if (fiber_lock(&c->status_turn) != 0)
        return err_set(e, ERR_CANCELED, "stopping");
    res = status_pack(c, territory, &packed, &len, &why);
    fiber_unlock(&c->status_turn);
    if (res != 0)
        return link_refuse(s->link, id, &why, e);
    message_init(&m);
    res = message_unpack(&m, FRAME_Status, packed, len, e);
    if (res == 0)
        res = link_send(s->link, FRAME_Status, id, m.any, NULL, 0, e);
    message_free(&m);
    free(packed);
    return res;
}

/* ---- mark ---- */

static int site_is_up(const struct daemon *d, struct err *e)
{
    if (d->config->group_count == 0)
        return err_set(e, ERR_NOENT, "%s has no groups", d->config->name);
    if (!d->site)
        return err_set(e, ERR_AGAIN, "the site is not up: %s",
                       *d->site_error ? d->site_error : "it is starting");
    return 0;
}

static void mark_main(void *arg)
{
    struct session *s = arg;
    struct daemon *d = s->control->daemon;
    struct err e = ERR_INIT, sending = ERR_INIT;
    Relais__Marked m;
    uint64_t rp = 0;
    bool committed = false;
    int res = site_is_up(d, &e);
    relais__marked__init(&m);
    if (res == 0)
        res = site_mark(d->site, s->group, s->label, s->mark_end, &rp, &committed, &e);
    m.rp = rp;
    m.committed = committed;
    /* When the asker has gone, the answer has no one to fail for. */
    if (res != 0)
        (void)link_refuse(s->link, s->mark_id, &e, &sending);
    else
        (void)link_send(s->link, FRAME_Marked, s->mark_id, &m.base, NULL, 0, &sending);
    s->mark_done = true;
}

static int start_mark(struct session *s, uint32_t id, const Relais__MarkSet *m, struct err *e)
{
    struct err why = ERR_INIT;
    if (s->marking && s->mark_done) {
        fiber_join(s->marking);
        s->marking = NULL;
    }
    if (s->control->daemon->config->group_count == 0)
        (void)err_set(&why, ERR_NOENT, "%s has no groups", s->control->daemon->config->name);
    else if (s->marking)
        (void)err_set(&why, ERR_AGAIN, "a mark is under way on this connection");
    else if (!config_group(s->control->daemon->config, m->group))
        (void)err_set(&why, ERR_NOENT, "no group \"%.60s\" in %s", m->group,
                      s->control->daemon->config->file);
    else if (strlen(m->label) > LABEL_MAX_LEN)
        (void)err_set(&why, ERR_LIMIT, "the label is %zu bytes long; at most %u are allowed",
                      strlen(m->label), LABEL_MAX_LEN);
    if (why.code != ERR_OK)
        return link_refuse(s->link, id, &why, e);
    (void)snprintf(s->group, sizeof s->group, "%s", m->group);
    (void)snprintf(s->label, sizeof s->label, "%s", m->label);
    s->mark_id = id;
    s->mark_end = m->drain ? SITE_DRAINED : m->wait ? SITE_COMMITTED : SITE_SEALED;
    s->mark_done = false;
    s->marking = fiber_spawn(s->control->daemon->io, "control-mark", mark_main, s);
    return 0;
}

/* ---- what the site does at once ---- */

union reply {
    ProtobufCMessage base;
    Relais__RateState rate_state;
    Relais__PauseState pause_state;
    Relais__Rotated rotated;
    Relais__Resized resized;
    Relais__Recorded recorded;
};

static int set_rate(struct site *site, const struct message *m, union reply *r, struct err *e)
{
    return site_rate(site, m->rate_set->rate, &r->rate_state, e);
}

static int set_pause(struct site *site, const struct message *m, union reply *r, struct err *e)
{
    relais__pause_state__init(&r->pause_state);
    r->pause_state.paused = m->pause_set->pause;
    return site_pause(site, m->pause_set->group, m->pause_set->pause, &r->pause_state.lag_bytes, e);
}

static int rotate(struct site *site, const struct message *m, union reply *r, struct err *e)
{
    relais__rotated__init(&r->rotated);
    return site_rotate(site, m->rotate->group, &r->rotated.groups, e);
}

static int resize(struct site *site, const struct message *m, union reply *r, struct err *e)
{
    return site_resize(site, m->resize->group, m->resize->volume, &r->resized, e);
}

static int record(struct site *site, const struct message *m, union reply *r, struct err *e)
{
    return site_record(site, m->record, &r->recorded, e);
}

static const struct request {
    uint8_t type, reply;
    int (*answer)(struct site *, const struct message *, union reply *, struct err *);
} requests[] = {
    {FRAME_RateSet, FRAME_RateState, set_rate}, {FRAME_PauseSet, FRAME_PauseState, set_pause},
    {FRAME_Rotate, FRAME_Rotated, rotate},      {FRAME_Resize, FRAME_Resized, resize},
    {FRAME_Record, FRAME_Recorded, record},
};

static const struct request *find_request(uint8_t type)
{
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (requests[i].type == type)
            return &requests[i];
    return NULL;
}

static int answer(struct session *s, const struct request *q, uint32_t id, const struct message *m,
                  struct err *e)
{
    struct daemon *d = s->control->daemon;
    struct err why = ERR_INIT;
    union reply reply;
    int res = site_is_up(d, &why);
    if (res == 0)
        res = q->answer(d->site, m, &reply, &why);
    return res != 0 ? link_refuse(s->link, id, &why, e)
                    : link_send(s->link, q->reply, id, &reply.base, NULL, 0, e);
}

/* ---- what the hub does ---- */

static int ask_hub(struct session *s, const struct frame_header *h, const struct message *m,
                   struct err *e)
{
    struct daemon *d = s->control->daemon;
    struct err why = ERR_INIT;
    if (d->hub)
        return hub_answer(d->hub, s->link, h, m, e);
    if (d->config->has_hub)
        (void)err_set(&why, ERR_AGAIN, "the hub does not serve yet: %s",
                      *d->hub_error ? d->hub_error : "it is starting");
    else
        (void)err_set(&why, ERR_NOENT, "%s is not a hub; run this where the hub is%s%s",
                      d->config->name, *d->config->hub ? ": " : "", d->config->hub);
    return link_refuse(s->link, h->id, &why, e);
}

/* ---- the hub's audit log ---- */

static int read_audit(struct daemon *d, const Relais__AuditGet *m, struct audit_page *page,
                      struct err *e)
{
    if (!d->config->has_hub)
        return err_set(e, ERR_NOENT, "%s is not a hub: ask %s", d->config->name, d->config->hub);
    if (!d->hub)
        return err_set(e, ERR_AGAIN, "the hub does not serve yet: %s",
                       *d->hub_error ? d->hub_error : "it is starting");
    return hub_audit(d->hub, m->after, m->since, page, e);
}

static int send_audit(struct session *s, uint32_t id, const Relais__AuditGet *m, struct err *e)
{
    struct audit_page page = {.bytes = err_malloc(PAYLOAD_MAX)};
    struct err why = ERR_INIT;
    Relais__AuditEntries reply;
    int res = read_audit(s->control->daemon, m, &page, &why);
    relais__audit_entries__init(&reply);
    reply.first = page.first;
    reply.end = page.end.seq;
    reply.digest = (ProtobufCBinaryData){DIGEST_LEN, page.end.link.b};
    res = res != 0
              ? link_refuse(s->link, id, &why, e)
              : link_send(s->link, FRAME_AuditEntries, id, &reply.base, page.bytes, page.len, e);
    free(page.bytes);
    return res;
}

/* ---- connections ---- */

static int greet(struct session *s, struct message *m, struct err *e)
{
    struct frame_header h;
    struct err why = ERR_INIT;
    char software[] = SOFTWARE, you[] = "control";
    Relais__Welcome w;
    int res = link_recv(s->link, &h, m, 10 * IO_S, e);
    if (res != 0)
        return res;
    if (h.type != FRAME_Hello || m->hello->version != PROTOCOL_VERSION) {
        (void)err_set(&why, ERR_PROTO, "relaisd speaks version %u; use the relais of " SOFTWARE,
                      PROTOCOL_VERSION);
        (void)link_refuse(s->link, h.id, &why, e);
        *e = why;
        return -(int)e->code;
    }
    relais__welcome__init(&w);
    w.version = PROTOCOL_VERSION;
    w.software = software;
    w.name = s->control->daemon->config->name;
    w.you = you;
    return link_send(s->link, FRAME_Welcome, h.id, &w.base, NULL, 0, e);
}

static int serve(struct session *s, struct message *m, struct err *e)
{
    struct frame_header h;
    int res = greet(s, m, e);
    while (res == 0 && (res = link_recv(s->link, &h, m, 60 * IO_S, e)) == 0) {
        const struct request *q = find_request(h.type);
        if (q) {
            res = answer(s, q, h.id, m, e);
        } else if (hub_ask_is(h.type)) {
            res = ask_hub(s, &h, m, e);
        } else if (h.type == FRAME_Ping) {
            res = link_answer_ping(s->link, &h, m, e);
        } else if (h.type == FRAME_StatusGet) {
            res = send_status(s, h.id, m->status_get->territory, e);
        } else if (h.type == FRAME_AuditGet) {
            res = send_audit(s, h.id, m->audit_get, e);
        } else if (h.type == FRAME_MarkSet) {
            res = start_mark(s, h.id, m->mark_set, e);
        } else if (h.type == FRAME_Invite || h.type == FRAME_PeersGet || h.type == FRAME_PeerSet ||
                   h.type == FRAME_Compact) {
            res = ask_hub(s, &h, m, e);
        } else if (h.type != FRAME_Pong) {
            struct err why = ERR_INIT;
            (void)err_set(&why, ERR_PROTO, "%s does not belong on the control socket",
                          frame_type_name(h.type));
            res = link_refuse(s->link, h.id, &why, e);
            if (res == 0)
                res = err_set(e, ERR_PROTO, "%s", why.text);
        }
    }
    return res;
}

static void session_main(void *arg)
{
    struct session *s = arg;
    struct err e = ERR_INIT;
    struct message m;
    message_init(&m);
    if (link_plain(&s->link, s->fd, &e) == 0) {
        (void)serve(s, &m, &e);
        if (e.code == ERR_PROTO || e.code == ERR_LIMIT)
            log_warn("control: %s", e.text);
        if (s->marking) {
            /* The cut it asked for takes place all the same; only nobody waits for it. */
            fiber_cancel(s->marking);
            fiber_join(s->marking);
            s->marking = NULL;
        }
        link_close(s->link);
    }
    message_free(&m);
    s->control->live--;
    s->done = true;
}

static void reap(struct control *c, bool all)
{
    for (struct session **at = &c->sessions; *at;) {
        struct session *s = *at;
        if (!s->done && !all) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        fiber_join(s->fiber);
        free(s);
    }
}

static void accept_main(void *arg)
{
    struct control *c = arg;
    while (!fiber_cancelled()) {
        struct session *s;
        int fd = fio_accept(c->listen_fd, NULL);
        reap(c, false);
        if (fd < 0) {
            if (fd == -ECANCELED)
                break;
            log_warn("control: accepting a connection: %s", strerror(-fd));
            (void)fiber_sleep(IO_S);
            continue;
        }
        if (c->live >= CONTROL_MAX) {
            log_warn("control: connection refused: %u are open", c->live);
            fio_close_always(fd);
            continue;
        }
        s = err_calloc(1, sizeof *s);
        s->control = c;
        s->fd = fd;
        s->next = c->sessions;
        c->sessions = s;
        c->live++;
        s->fiber = fiber_spawn(c->daemon->io, "control-session", session_main, s);
    }
}

int control_start(struct control **out, struct daemon *d, struct err *e)
{
    struct control *c = err_calloc(1, sizeof *c);
    struct io_addr addr = {0};
    char dir[CONFIG_PATH_MAX], *slash;
    int res;
    c->daemon = d;
    ASSERT(strlen(d->config->control) < sizeof addr.path); /* config checks it */
    memcpy(addr.path, d->config->control, strlen(d->config->control) + 1);
    (void)snprintf(dir, sizeof dir, "%s", d->config->control);
    slash = strrchr(dir, '/');
    *slash = '\0';
    res = *dir ? fio_mkdirs(dir, 0755) : 0;
    c->listen_fd = res < 0 ? res : fio_listen(&addr, 0660);
    if (c->listen_fd < 0) {
        res = err_os(e, c->listen_fd, "control socket %s", addr.path);
        free(c);
        return res;
    }
    c->acceptor = fiber_spawn(d->io, "control-accept", accept_main, c);
    *out = c;
    return 0;
}

void control_stop(struct control *c)
{
    if (!c)
        return;
    fiber_cancel(c->acceptor);
    fiber_join(c->acceptor);
    for (struct session *s = c->sessions; s; s = s->next)
        fiber_cancel(s->fiber);
    reap(c, true);
    fio_close_always(c->listen_fd);
    (void)fio_unlink_always(c->daemon->config->control);
    free(c);
}
