#include "attestation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool attestation_possible(const struct hub *h, const char *site)
{
    for (const struct session *s = h->sessions; s; s = s->next)
        if (s->attests && !s->ended && strcmp(s->peer, site) == 0)
            return true;
    return false;
}

static void wake_site(struct hub *h, const char *site)
{
    for (struct session *s = h->sessions; s; s = s->next)
        if (s->attests && strcmp(s->peer, site) == 0)
            fiber_wake_all(&s->attesting);
}

int attestation_ask(struct hub *h, struct proposal *p, struct err *e)
{
    uint64_t until = io_now(h->io) + ATTEST_WAIT_NS, now = io_now(h->io);
    int res = 0;
    ASSERT(!h->proposal);
    p->number = ++h->proposals;
    p->sent_to = NULL;
    p->done = p->is_signed = false;
    p->why = (struct err)ERR_INIT;
    h->proposal = p;
    wake_site(h, p->site);
    while (!p->done && now < until && res != -ECANCELED) {
        res = fiber_wait(&p->answered, IO_S);
        now = io_now(h->io);
        if (!attestation_possible(h, p->site))
            break;
    }
    h->proposal = NULL;
    if (p->is_signed)
        return 0;
    if (res == -ECANCELED)
        return err_set(e, ERR_CANCELED, "the hub is stopping");
    if (!p->done)
        return err_set(e, ERR_AGAIN,
                       "%s/%s: compacting waits for site %s, which has to sign what is put in the "
                       "place of its deltas",
                       p->site, p->group, p->site);
    *e = p->why;
    return err_prefix(e, "site %s", p->site);
}

static void take_answer(struct session *s, const Relais__AttestGet *m)
{
    struct proposal *p = s->hub->proposal;
    if (!p || p->number != m->number || p->sent_to != s)
        return;
    p->is_signed = m->signature.len == MANIFEST_SIG_LEN;
    if (p->is_signed)
        memcpy(p->signature, m->signature.data, MANIFEST_SIG_LEN);
    else
        (void)err_set(&p->why, m->code == ERR_AGAIN ? ERR_AGAIN : ERR_AUTH, "%.300s", m->text);
    p->done = true;
    fiber_wake_all(&p->answered);
}

static int send_proposal(struct session *s, uint32_t id, struct proposal *p, struct err *e)
{
    Relais__Attest reply;
    char group[NAME_MAX_LEN + 1];
    struct digest inputs;
    uint8_t *manifest;
    uint32_t len;
    relais__attest__init(&reply);
    if (!p)
        return session_reply(s, FRAME_Attest, id, &reply.base, e);
    /* While it is sent the proposal may end. */
    (void)snprintf(group, sizeof group, "%s", p->group);
    inputs = p->inputs;
    len = (uint32_t)p->len;
    manifest = err_malloc(len);
    memcpy(manifest, p->manifest, len);
    reply.number = p->number;
    reply.group = group;
    reply.rp_first = p->rp_first;
    reply.rp = p->rp;
    reply.inputs = (ProtobufCBinaryData){DIGEST_LEN, inputs.b};
    p->sent_to = s;
    int rc = link_send(s->link, FRAME_Attest, id, &reply.base, manifest, len, e);
    free(manifest);
    return rc;
}

static struct proposal *work_for(const struct session *s)
{
    struct proposal *p = s->hub->proposal;
    return p && !p->done && !p->sent_to && strcmp(p->site, s->peer) == 0 ? p : NULL;
}

static void attest_job(struct job *j)
{
    struct session *s = j->s;
    struct err e = ERR_INIT;
    uint64_t until = io_now(s->hub->io) + ATTEST_HOLD_NS, now;
    while (!s->ended && !work_for(s) && (now = io_now(s->hub->io)) < until)
        if (fiber_wait(&s->attesting, until - now) == -ECANCELED)
            break;
    if (!s->ended && send_proposal(s, j->id, work_for(s), &e) < 0)
        link_shutdown(s->link);
}

int attestation_serve(struct session *s, uint32_t id, const Relais__AttestGet *m, struct err *e)
{
    struct job j = {.run = attest_job, .id = id};
    int rc = ingest_check_signer(s, e);
    if (rc < 0)
        return session_refuse(s, id, e);
    take_answer(s, m);
    s->attests = true;
    return session_spawn(s, &j, e);
}

void attestation_leave(struct session *s)
{
    struct proposal *p = s->hub->proposal;
    if (p && p->sent_to == s && !p->done) {
        p->sent_to = NULL;
        wake_site(s->hub, p->site);
    }
    fiber_wake_all(&s->attesting);
}
