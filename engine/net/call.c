#include "call.h"

#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum call_state { CALL_IDLE, CALL_WAITING, CALL_DONE };

struct caller {
    struct link *link;
    char peer[NAME_MAX_LEN + 1];
    bool broken, stopping, leaving;
    struct err why; /* when broken */

    struct call *waiting; /* sent, no reply yet */
    unsigned in_flight;   /* their number, and those about to be sent */
    struct fiber_mutex turn;
    struct fiber_cond slot; /* in_flight went down; the holder of turn waits */
    struct call *receiving; /* whose payload is on its way in */
    uint32_t next_id;       /* 0 is for pings */

    struct fiber *receiver, *keeper;
    struct message incoming;
    struct fiber_cond keeper_wake;
    bool ping_out, pong_due;
    uint64_t ping_token, ping_at;
    uint32_t pong_id;
    uint64_t pong_token;
};

/* Takes the call out of the table; its turn goes to the next. */
static void unlist(struct caller *c, struct call *call)
{
    struct call **at = &c->waiting;
    while (*at && *at != call)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = call->next;
    call->next = NULL;
    c->in_flight--;
    fiber_wake_one(&c->slot);
}

static void finish(struct caller *c, struct call *call)
{
    unlist(c, call);
    call->state = CALL_DONE;
    fiber_wake_all(&call->arrived);
}

static void caller_break(struct caller *c, const struct err *why)
{
    if (!c->broken) {
        c->broken = true;
        c->why = *why;
        while (c->waiting) {
            c->waiting->err = *why;
            finish(c, c->waiting);
        }
        fiber_wake_all(&c->slot);
        fiber_wake_all(&c->keeper_wake);
    }
    link_shutdown(c->link);
}

int caller_broken(const struct caller *c, struct err *e)
{
    if (!c->broken)
        return 0;
    *e = c->why;
    return -(int)e->code;
}

bool caller_leaving(const struct caller *c)
{
    return c->leaving;
}

struct link *caller_link(struct caller *c)
{
    return c->link;
}

const char *caller_peer(const struct caller *c)
{
    return c->peer;
}

/* ---- receiving ---- */

/* What the peer refused, as our error: its code, its words behind its name. A code that we do not
 * know is a breach of the protocol. */
static bool refusal(const char *peer, const Relais__Refused *r, struct err *e)
{
    enum err_code code = (enum err_code)r->code;
    if (r->code <= ERR_OK || r->code > ERR_CANCELED) {
        (void)err_set(e, ERR_PROTO, "%s refuses with the unknown code %u: %s", peer, r->code,
                      r->text);
        return false;
    }
    /* Over there somebody stopped something; it is not this fiber that was cancelled. */
    if (code == ERR_CANCELED)
        code = ERR_AGAIN;
    (void)err_set(e, code, "%s: %s", peer, r->text);
    return true;
}

static struct call *find(struct caller *c, uint32_t id)
{
    struct call *call = c->waiting;
    while (call && call->id != id)
        call = call->next;
    return call;
}

static int on_reply(struct caller *c, const struct frame_header *h, struct err *e)
{
    struct call *call = find(c, h->id);
    if (!call && h->type == FRAME_Refused) { /* of a frame that gets no reply: the last word */
        (void)refusal(c->peer, c->incoming.refused, e);
        return -(int)e->code;
    }
    if (!call)
        return err_set(e, ERR_PROTO, "%s answers with %s to request %u, which is not open", c->peer,
                       frame_type_name(h->type), h->id);
    if (h->type == FRAME_Refused) {
        struct err said = ERR_INIT;
        if (!refusal(c->peer, c->incoming.refused, &said)) {
            *e = said;
            return -(int)e->code;
        }
        call->err = said;
        finish(c, call);
        return 0;
    }
    if (h->type != call->expect)
        return err_set(e, ERR_PROTO, "%s answers with %s where %s was expected", c->peer,
                       frame_type_name(h->type), frame_type_name(call->expect));
    if (h->payload_len > (call->payload ? call->payload_cap : 0))
        return err_set(e, ERR_PROTO, "%s sends %u bytes with %s where at most %u are wanted",
                       c->peer, h->payload_len, frame_type_name(h->type),
                       call->payload ? call->payload_cap : 0);
    if (h->payload_len > 0) {
        /* A call given up meanwhile breaks the link, and this fails: call may be gone then. */
        int rc;
        c->receiving = call;
        rc = link_recv_payload(c->link, call->payload, h->payload_len, e);
        c->receiving = NULL;
        if (rc < 0)
            return rc;
    }
    call->payload_len = h->payload_len;
    call->reply = c->incoming;
    message_init(&c->incoming);
    finish(c, call);
    return 0;
}

static int on_frame(struct caller *c, const struct frame_header *h, struct err *e)
{
    switch (h->type) {
    case FRAME_Ping:
        /* The keeper answers: a reader that waits for its turn to write could wait for ever. */
        c->pong_due = true;
        c->pong_id = h->id;
        c->pong_token = c->incoming.ping->token;
        fiber_wake_all(&c->keeper_wake);
        return 0;
    case FRAME_Pong:
        if (!c->ping_out || c->incoming.pong->token != c->ping_token)
            return err_set(e, ERR_PROTO, "%s answers a ping that was not sent", c->peer);
        c->ping_out = false;
        fiber_wake_all(&c->keeper_wake);
        return 0;
    case FRAME_Leaving:
        c->leaving = true;
        return 0;
    default:
        return on_reply(c, h, e);
    }
}

static void receive(void *arg)
{
    struct caller *c = arg;
    struct frame_header h;
    struct err e = ERR_INIT;
    int rc = 0;
    while (rc == 0) {
        rc = link_recv(c->link, &h, &c->incoming, FIBER_FOREVER, &e);
        if (rc == 0)
            rc = on_frame(c, &h, &e);
    }
    caller_break(c, &e);
}

/* ---- keeping alive ---- */

static int send_ping(struct caller *c, struct err *e)
{
    Relais__Ping ping;
    relais__ping__init(&ping);
    ping.token = ++c->ping_token;
    c->ping_out = true;
    c->ping_at = io_now(fiber_io());
    return link_send(c->link, FRAME_Ping, 0, &ping.base, NULL, 0, e);
}

static int send_pong(struct caller *c, struct err *e)
{
    Relais__Pong pong;
    relais__pong__init(&pong);
    pong.token = c->pong_token;
    c->pong_due = false;
    return link_send(c->link, FRAME_Pong, c->pong_id, &pong.base, NULL, 0, e);
}

/* When it is time to ping, or with a ping out, to give the peer up. */
static uint64_t next_deadline(struct caller *c)
{
    uint64_t at = link_last_in(c->link), out = link_last_out(c->link);
    if (!c->ping_out)
        return at + CALL_PING_NS;
    if (out > at)
        at = out;
    if (c->ping_at > at)
        at = c->ping_at;
    return at + CALL_PONG_NS;
}

static void keep(void *arg)
{
    struct caller *c = arg;
    struct err e = ERR_INIT;
    int rc = 0;
    while (rc == 0 && !c->broken && !c->stopping) {
        uint64_t now = io_now(fiber_io()), at = next_deadline(c);
        if (c->pong_due)
            rc = send_pong(c, &e);
        else if (now < at)
            (void)fiber_wait(&c->keeper_wake, at - now < CALL_LOOK_NS ? at - now : CALL_LOOK_NS);
        else if (!c->ping_out && !link_sending(c->link))
            rc = send_ping(c, &e);
        else if (!c->ping_out && now < link_last_out(c->link) + CALL_PONG_NS)
            /* A ping would queue behind the frame under way, which tells as much. */
            (void)fiber_wait(&c->keeper_wake, CALL_LOOK_NS);
        else
            rc = err_set(&e, ERR_NET, "%s does not answer any more (no sign of life for %llu s)",
                         c->peer, (unsigned long long)((now - link_last_in(c->link)) / IO_S));
    }
    if (rc < 0)
        caller_break(c, &e);
}

/* ---- calls ---- */

static int cancelled(struct err *e, const char *what)
{
    return err_set(e, ERR_CANCELED, "%s was cancelled", what);
}

/* Waits until the call may be in flight, first come, first served. */
static int take_turn(struct caller *c, struct err *e)
{
    int rc = 0;
    if (fiber_lock(&c->turn) < 0)
        return cancelled(e, "a request");
    while (rc == 0 && !c->broken && c->in_flight >= CALLS_MAX)
        rc = fiber_wait(&c->slot, FIBER_FOREVER);
    if (c->broken)
        rc = caller_broken(c, e);
    else if (rc < 0)
        rc = cancelled(e, "a request");
    else
        c->in_flight++;
    fiber_unlock(&c->turn);
    return rc;
}

int call_start(struct caller *c, struct call *call, uint8_t type, const ProtobufCMessage *any,
               const void *payload, uint32_t payload_len, struct err *e)
{
    int rc;
    call->caller = c;
    call->state = CALL_IDLE;
    call->payload_len = 0;
    call->arrived = (struct fiber_cond){0};
    call->err = (struct err)ERR_INIT;
    message_init(&call->reply);
    rc = take_turn(c, e);
    if (rc < 0)
        return rc;
    do /* after 2^32 calls an old one may be open still */
        c->next_id = c->next_id == UINT32_MAX ? 1 : c->next_id + 1;
    while (find(c, c->next_id));
    call->id = c->next_id;
    call->state = CALL_WAITING;
    call->next = c->waiting;
    c->waiting = call;
    rc = link_send(c->link, type, call->id, any, payload, payload_len, e);
    if (rc < 0) {
        /* A frame that did not begin to go out leaves the link whole; if it did, the receiver finds
         * the link broken and says so to the others. */
        unlist(c, call);
        if (c->receiving == call) /* a peer that answers what it was not asked yet */
            caller_break(c, e);
        message_free(&call->reply);
        call->state = CALL_IDLE;
    }
    return rc;
}

int call_send(struct caller *c, uint8_t type, const ProtobufCMessage *any, const void *payload,
              uint32_t payload_len, struct err *e)
{
    if (c->broken)
        return caller_broken(c, e);
    return link_send(c->link, type, 0, any, payload, payload_len, e);
}

int call_wait(struct call *call, struct err *e)
{
    struct caller *c = call->caller;
    ASSERT(call->state != CALL_IDLE);
    while (call->state == CALL_WAITING) {
        if (fiber_wait(&call->arrived, FIBER_FOREVER) == -ECANCELED &&
            call->state == CALL_WAITING) {
            struct err why = ERR_INIT;
            (void)err_set(&why, ERR_NET, "the connection to %s was given up here", c->peer);
            caller_break(c, &why);
            return cancelled(e, "waiting for a reply");
        }
    }
    if (call->err.code == ERR_OK)
        return 0;
    *e = call->err;
    return -(int)e->code;
}

void call_end(struct call *call)
{
    ASSERT(call->state == CALL_DONE);
    message_free(&call->reply);
    call->state = CALL_IDLE;
}

/* ---- beginning and end ---- */

static int greet(struct caller *c, struct err *e)
{
    static char software[] = "relais " RELAIS_VERSION;
    Relais__Hello hello;
    struct frame_header h;
    int rc;
    relais__hello__init(&hello);
    hello.version = PROTOCOL_NEWEST;
    hello.oldest = PROTOCOL_OLDEST;
    hello.software = software;
    rc = link_send(c->link, FRAME_Hello, 0, &hello.base, NULL, 0, e);
    if (rc == 0)
        rc = link_recv(c->link, &h, &c->incoming, CALL_GREETING_NS, e);
    if (rc < 0)
        return rc;
    if (h.type == FRAME_Refused) {
        (void)refusal(c->peer, c->incoming.refused, e);
        return -(int)e->code;
    }
    if (h.type != FRAME_Welcome || h.payload_len > 0)
        return err_set(e, ERR_PROTO, "%s greets with %s instead of Welcome", c->peer,
                       frame_type_name(h.type));
    const Relais__Welcome *w = c->incoming.welcome;
    if (w->version < PROTOCOL_OLDEST || w->version > PROTOCOL_NEWEST)
        return err_set(e, ERR_PROTO,
                       "%s speaks version %u of the protocol (%s), we speak %u to %u; upgrade the "
                       "older of the two",
                       c->peer, w->version, w->software, PROTOCOL_OLDEST, PROTOCOL_NEWEST);
    if (!bytes_is_name(w->name))
        return err_set(e, ERR_PROTO, "%s calls itself \"%.60s\", which is no name", c->peer,
                       w->name);
    if (link_peer(c->link)[0] == '\0')
        memcpy(c->peer, w->name, strlen(w->name) + 1);
    return 0;
}

int caller_new(struct caller **out, struct link *l, struct err *e)
{
    struct caller *c = err_calloc(1, sizeof *c);
    const char *name = link_peer(l)[0] ? link_peer(l) : "relaisd";
    int rc;
    c->link = l;
    message_init(&c->incoming);
    memcpy(c->peer, name, strlen(name) + 1);
    rc = greet(c, e);
    if (rc < 0) {
        link_close(l);
        message_free(&c->incoming);
        free(c);
        return rc;
    }
    c->receiver = fiber_spawn(fiber_io(), "call-receive", receive, c);
    c->keeper = fiber_spawn(fiber_io(), "call-keep", keep, c);
    *out = c;
    return 0;
}

void caller_free(struct caller *c)
{
    struct err why = ERR_INIT;
    if (!c)
        return;
    (void)err_set(&why, ERR_CANCELED, "the connection to %s is being closed", c->peer);
    c->stopping = true;
    caller_break(c, &why);
    fiber_join(c->receiver);
    fiber_join(c->keeper);
    ASSERT(!c->waiting && c->in_flight == 0);
    link_close(c->link);
    message_free(&c->incoming);
    free(c);
}
