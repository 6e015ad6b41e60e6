#include "session.h"

#include "attestation.h"
#include "log.h"
#include "units.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int session_reply(struct session *s, uint8_t type, uint32_t id, const ProtobufCMessage *any,
                  struct err *e)
{
    return link_send(s->link, type, id, any, NULL, 0, e);
}

int session_refuse(struct session *s, uint32_t id, struct err *e)
{
    return session_refuse_about(s, id, s->peer, "", e);
}

int session_refuse_about(struct session *s, uint32_t id, const char *site, const char *group,
                         struct err *e)
{
    struct err why = *e;
    char subject[TRAIL_SUBJECT_MAX + 1];
    /* A put or get that our own stopping interrupted is nothing the peer did. */
    if (why.code == ERR_CANCELED)
        (void)err_set(&why, ERR_AGAIN, "the hub is stopping; try again later");
    log_warn("hub: %s: refused (%s): %s", s->peer, err_name(why.code), why.text);
    (void)snprintf(subject, sizeof subject, "%s%s%s", site, *group ? "/" : "", group);
    audit_note(s->hub->audit, TRAIL_REFUSE, s->peer, subject, why.code, "%s", why.text);
    struct err sending = ERR_INIT;
    int rc = link_refuse(s->link, id, &why, &sending);
    if (e->code == ERR_PROTO || e->code == ERR_CANCELED)
        return -(int)e->code;
    if (rc < 0)
        *e = sending;
    return rc;
}

int session_wait(struct session *s, struct fiber_cond *c, struct err *e)
{
    int res = fiber_wait(c, HUB_PING_NS);
    if (res == -ECANCELED)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    if (res == -ETIMEDOUT) {
        Relais__Ping ping = RELAIS__PING__INIT;
        return session_reply(s, FRAME_Ping, 0, &ping.base, e);
    }
    return 0;
}

int session_check_name(const char *what, const char *name, struct err *e)
{
    if (bytes_is_name(name))
        return 0;
    return err_set(e, ERR_PROTO, "%s \"%.60s\" is not a name: a-z, 0-9 and -, at most %u long",
                   what, name, NAME_MAX_LEN);
}

int session_check_digest(struct digest *out, const ProtobufCBinaryData *in, struct err *e)
{
    if (in->len != DIGEST_LEN)
        return err_set(e, ERR_PROTO, "a digest has %u bytes, not %zu", DIGEST_LEN, in->len);
    memcpy(out->b, in->data, DIGEST_LEN);
    return 0;
}

/* ---- jobs ---- */

static void job_main(void *arg)
{
    struct job *j = arg;
    j->run(j);
    j->done = true;
    fiber_wake_all(&j->s->job_ended);
}

static void jobs_reap(struct session *s, bool all)
{
    for (struct job **at = &s->jobs; *at;) {
        struct job *j = *at;
        if (j->done || all) {
            fiber_join(j->fiber);
            *at = j->next;
            s->job_count--;
            free(j);
        } else {
            at = &j->next;
        }
    }
}

int session_spawn(struct session *s, const struct job *job, struct err *e)
{
    for (;;) {
        jobs_reap(s, false);
        if (s->job_count < HUB_JOBS_MAX)
            break;
        int rc = session_wait(s, &s->job_ended, e);
        if (rc < 0)
            return rc;
    }
    struct job *j = err_malloc(sizeof *j);
    *j = *job;
    j->s = s;
    j->done = false;
    j->next = s->jobs;
    s->jobs = j;
    s->job_count++;
    j->fiber = fiber_spawn(s->hub->io, "hub-job", job_main, j);
    return 0;
}

/* ---- the connection ---- */

/* Whose key it is, and whether it may come in. */
static int recognize(struct session *s, struct err *e)
{
    (void)snprintf(s->peer, sizeof s->peer, "%s", link_peer(s->link));
    struct hub_peer *p = roster_find(s->hub, s->peer);
    if (!p || p->standing == STANDING_REVOKED)
        return err_set(e, ERR_AUTH, "peer %s is not in the configuration", s->peer);
    s->known = p;
    s->config = &p->config;
    s->sign = p->sign.kind == KEY_SIGN ? &p->sign : NULL;
    return 0;
}

static int check_approved(const struct session *s, struct err *e)
{
    if (s->known->standing == STANDING_ACTIVE)
        return 0;
    return err_set(e, ERR_AUTH,
                   "%s has enrolled, but nobody has approved it yet: at the hub, relais peers "
                   "approve %s",
                   s->peer, s->peer);
}

/* On a version of the protocol. */
static int agree(struct session *s, const struct frame_header *f, struct err *e)
{
    const struct protocol *ours = &s->hub->protocol;
    const Relais__Hello *hello = s->msg.hello;
    if (f->type != FRAME_Hello)
        return err_set(e, ERR_PROTO, "%s came where Hello was due", frame_type_name(f->type));
    s->version = protocol_choose(ours, hello->version, hello->oldest);
    if (s->version)
        return 0;
    return err_set(e, ERR_PROTO,
                   "the peer (%.40s) speaks versions %" PRIu32 " to %" PRIu32
                   " of the protocol, this hub %" PRIu32 " to %" PRIu32
                   ": update the older of them",
                   hello->software, hello->oldest ? hello->oldest : hello->version, hello->version,
                   ours->oldest, ours->newest);
}

/* 1: it was a guest, and is gone. */
static int greet(struct session *s, struct err *e)
{
    struct hub *h = s->hub;
    struct frame_header f = {0};
    char name[NAME_MAX_LEN + 1], software[] = "relais " RELAIS_VERSION;
    uint64_t until = io_now(h->io) + HUB_HANDSHAKE_NS, now;
    int rc = link_tls_accept(&s->link, s->fd, h->tls, HUB_HANDSHAKE_NS, e);
    s->fd = -1;
    if (rc < 0)
        return rc;
    if (link_guest(s->link))
        return enrol_guest(s, until, e) < 0 ? -(int)e->code : 1;
    rc = recognize(s, e);
    if (rc < 0)
        return rc;
    now = io_now(h->io);
    rc = link_recv(s->link, &f, &s->msg, now < until ? until - now : 1, e);
    if (rc < 0)
        return rc;
    if (agree(s, &f, e) < 0)
        return session_refuse(s, f.id, e);
    rc = check_approved(s, e);
    if (rc == 0)
        rc = door_pass(s, e);
    if (rc < 0) {
        (void)session_refuse(s, f.id, e);
        return rc;
    }
    Relais__Welcome w;
    (void)snprintf(name, sizeof name, "%s", h->config->name);
    relais__welcome__init(&w);
    w.version = s->version;
    w.software = software;
    w.name = name;
    w.you = s->peer;
    return session_reply(s, FRAME_Welcome, f.id, &w.base, e);
}

static int dispatch(struct session *s, const struct frame_header *f, struct err *e)
{
    const struct message *m = &s->msg;
    switch (f->type) {
    case FRAME_Ping:
        return link_answer_ping(s->link, f, m, e);
    case FRAME_Pong:
        return 0;
    case FRAME_HeadGet:
        return ingest_head_get(s, f->id, m->head_get, e);
    case FRAME_Offer:
        return ingest_offer(s, f, m->offer, e);
    case FRAME_Part:
        return ingest_part(s, f, m->part, e);
    case FRAME_Join:
        return ingest_join(s, m->join, e);
    case FRAME_Withdraw:
        return ingest_withdraw(s, m->withdraw, e);
    case FRAME_Commit:
        return commit_ask(s, f->id, m->commit, e);
    case FRAME_HistoryGet:
        return serve_history(s, f->id, m->history_get, e);
    case FRAME_Fetch:
        return serve_fetch(s, f->id, m->fetch, e);
    case FRAME_FetchMany:
        return serve_many(s, f->id, m->fetch_many, e);
    case FRAME_WrapsPut:
        return readers_put(s, f, m->wraps_put, e);
    case FRAME_WrapsGet:
        return readers_get(s, f->id, m->wraps_get, e);
    case FRAME_AuditGet:
        return serve_audit(s, f->id, m->audit_get, e);
    case FRAME_AttestGet:
        return attestation_serve(s, f->id, m->attest_get, e);
    case FRAME_TerritoryGet:
        return serve_territory(s, f->id, e);
    default:
        if (hub_ask_is(f->type))
            return ask_serve(s, f, e);
        (void)err_set(e, ERR_PROTO, "%s is nothing a peer asks of a hub", frame_type_name(f->type));
        return session_refuse(s, f->id, e);
    }
}

static void pulse_main(void *arg)
{
    struct session *s = arg;
    struct err e = ERR_INIT;
    int rc = 0;
    while (rc == 0 && !s->ended) {
        Relais__Ping ping = RELAIS__PING__INIT;
        if (s->hub->leaving && !s->told) {
            Relais__Leaving leaving;
            relais__leaving__init(&leaving);
            s->told = true;
            rc = session_reply(s, FRAME_Leaving, 0, &leaving.base, &e);
            continue;
        }
        (void)fiber_wait(&s->pulse_end, HUB_PULSE_NS);
        if (!s->ended && s->busy_since && io_now(s->hub->io) - s->busy_since >= HUB_PULSE_NS)
            rc = session_reply(s, FRAME_Ping, 0, &ping.base, &e); /* the reader finds out why not */
    }
}

static void pulse_stop(struct session *s)
{
    s->ended = true;
    if (!s->pulse)
        return;
    fiber_wake_all(&s->pulse_end);
    fiber_join(s->pulse);
    s->pulse = NULL;
}

/* One frame. */
static int turn(struct session *s, struct err *e)
{
    struct frame_header f = {0};
    int rc = link_recv(s->link, &f, &s->msg, HUB_IDLE_NS, e);
    if (rc < 0)
        return rc;
    if (partial_check_age(s, e) < 0)
        return session_refuse(s, f.id, e);
    s->busy_since = io_now(s->hub->io);
    rc = dispatch(s, &f, e);
    partial_excuse(s, io_now(s->hub->io) - s->busy_since);
    s->busy_since = 0;
    return rc;
}

static void session_main(void *arg)
{
    struct session *s = arg;
    struct err e = ERR_INIT;
    char duration[UNITS_TEXT], in[UNITS_TEXT], out[UNITS_TEXT];
    uint64_t since = io_now(s->hub->io);
    int rc = greet(s, &e);
    if (rc < 0) {
        door_tell(s, &e);
    } else if (rc == 0) {
        s->known->seen = io_wall(s->hub->io);
        s->known->seen_from = s->from;
        log_info("hub: %s connected from %s:%u", s->peer, s->from.host, s->from.port);
        audit_note(s->hub->audit, TRAIL_CONNECT, s->peer, s->peer, ERR_OK, "from %s:%u",
                   s->from.host, s->from.port);
        s->pulse = fiber_spawn(s->hub->io, "hub-pulse", pulse_main, s);
        while (rc == 0)
            rc = turn(s, &e);
    }
    if (s->link)
        link_shutdown(s->link);
    pulse_stop(s);
    attestation_leave(s);
    partial_keep_all(s);
    jobs_reap(s, true);
    ingest_drop(s);
    if (s->member) {
        reads_tell(s);
        audit_note(s->hub->audit, TRAIL_LEAVE, s->peer, s->peer,
                   link_ended(s->link) ? ERR_OK : e.code, "after %s%s%s",
                   units_duration(duration, io_now(s->hub->io) - since),
                   link_ended(s->link) ? "" : ": ", link_ended(s->link) ? "" : e.text);
    }
    if (s->link) {
        units_duration(duration, io_now(s->hub->io) - since);
        units_size(in, link_bytes_in(s->link));
        units_size(out, link_bytes_out(s->link));
        bool ended = link_ended(s->link);
        if (s->member)
            s->known->seen = io_wall(s->hub->io);
        if (s->config)
            log_info("hub: %s disconnected after %s, %s in, %s out%s%s", s->peer, duration, in, out,
                     ended ? "" : ": ", ended ? "" : e.text);
        link_close(s->link);
        s->link = NULL;
    } else {
        fio_close_always(s->fd);
    }
    door_leave(s);
    if (--s->hub->live == 0) { /* memory is kept for those who use it */
        bufpool_trim(&s->hub->parts);
        bufpool_trim(&s->hub->fetches);
    }
    s->done = true;
    fiber_wake_all(&s->hub->session_ended);
}

void session_start(struct hub *h, int fd, const struct io_addr *from)
{
    struct session *s = err_calloc(1, sizeof *s);
    s->hub = h;
    s->fd = fd;
    s->from = *from;
    message_init(&s->msg);
    s->next = h->sessions;
    h->sessions = s;
    h->live++;
    h->strangers++;
    s->stranger = true;
    strangers_add(&h->door, &s->waiting, &s->from, s);
    s->fiber = fiber_spawn(h->io, "hub-session", session_main, s);
}

void session_break(struct session *s)
{
    /* Not link_shutdown: that waits, and meanwhile the fiber may end and free the link. */
    fiber_cancel(s->fiber);
}

void session_free(struct session *s)
{
    fiber_join(s->fiber);
    message_free(&s->msg);
    free(s);
}
