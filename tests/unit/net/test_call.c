/* call: every request gets its reply, its refusal, or the reason why there will be none. */
#include "call.h"
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void contains(const char *text, const char *word)
{
    if (!strstr(text, word))
        fail_msg("\"%s\" is not in \"%s\"", word, text);
}

/* ---- a hub of our own, which answers as it is told ---- */

enum manners {
    ANSWER,     /* each request at once */
    REVERSE,    /* in batches, last first */
    REFUSE,     /* with ERR_SPACE */
    MUTE,       /* reads and says nothing */
    LEAVE,      /* hangs up at the first request */
    WRONG_ID,   /* answers what was not asked */
    WRONG_TYPE, /* with Committed */
    TOO_MUCH,   /* more payload than there is room for */
    BAD_CODE,   /* refuses with a code that does not exist */
    STOP,       /* refuses with ERR_CANCELED */
    WRONG_PONG, /* answers a ping that was not sent */
};

enum { BATCH = CALLS_MAX };

struct hub {
    struct link *l;
    enum manners manners;
    uint32_t version;    /* in Welcome; 0: PROTOCOL_NEWEST */
    const char *refusal; /* instead of Welcome */
    unsigned requests, pings, most_open;
    unsigned open; /* REVERSE: requests held */
    uint32_t ids[BATCH];
    uint64_t offsets[BATCH];
    bool pinged_back;
    uint64_t pong_token;
};

static uint8_t blob[4096];

static int reply(struct hub *hub, uint32_t id, uint64_t offset, uint32_t len, struct err *e)
{
    Relais__Fetched fetched;
    relais__fetched__init(&fetched);
    net_pattern(blob, len, offset);
    return link_send(hub->l, FRAME_Fetched, id, &fetched.base, blob, len, e);
}

static int reply_batch(struct hub *hub, struct err *e)
{
    int rc = 0;
    while (rc == 0 && hub->open > 0) {
        hub->open--;
        rc = reply(hub, hub->ids[hub->open], hub->offsets[hub->open], 1024, e);
    }
    return rc;
}

static int misbehave(struct hub *hub, uint32_t id, struct err *e)
{
    Relais__Committed committed;
    Relais__Refused refused;
    Relais__Pong pong;
    struct err why = {ERR_SPACE, "the pool is full"};
    char text[] = "x";
    switch (hub->manners) {
    case REFUSE:
        return link_refuse(hub->l, id, &why, e);
    case STOP:
        why.code = ERR_CANCELED;
        return link_refuse(hub->l, id, &why, e);
    case BAD_CODE:
        relais__refused__init(&refused);
        refused.code = 4711;
        refused.text = text;
        return link_send(hub->l, FRAME_Refused, id, &refused.base, NULL, 0, e);
    case WRONG_ID:
        return reply(hub, id + 1000, 0, 8, e);
    case WRONG_TYPE:
        relais__committed__init(&committed);
        return link_send(hub->l, FRAME_Committed, id, &committed.base, NULL, 0, e);
    case TOO_MUCH:
        return reply(hub, id, 0, 2048, e);
    case WRONG_PONG:
        relais__pong__init(&pong);
        pong.token = 99;
        return link_send(hub->l, FRAME_Pong, 0, &pong.base, NULL, 0, e);
    case LEAVE:
        return err_set(e, ERR_NET, "leaving");
    default:
        return 0;
    }
}

static int on_fetch(struct hub *hub, const struct frame_header *h, const struct message *m,
                    struct err *e)
{
    hub->requests++;
    if (hub->manners == ANSWER)
        return reply(hub, h->id, m->fetch->offset, m->fetch->length, e);
    if (hub->manners != REVERSE)
        return misbehave(hub, h->id, e);
    hub->ids[hub->open] = h->id;
    hub->offsets[hub->open++] = m->fetch->offset;
    if (hub->open > hub->most_open)
        hub->most_open = hub->open;
    return hub->open == BATCH ? reply_batch(hub, e) : 0;
}

static int welcome(struct hub *hub, struct err *e)
{
    struct frame_header h;
    struct message m;
    Relais__Welcome w;
    struct err why = ERR_INIT;
    char name[] = "arras";
    int rc;
    message_init(&m);
    rc = link_recv(hub->l, &h, &m, 5 * IO_S, e);
    if (rc == 0) {
        assert_int_equal(h.type, FRAME_Hello);
        assert_int_equal(m.hello->version, PROTOCOL_NEWEST);
        contains(m.hello->software, "relais");
    }
    message_free(&m);
    if (rc < 0)
        return rc;
    if (hub->refusal) {
        (void)err_set(&why, ERR_AGAIN, "%s", hub->refusal);
        return link_refuse(hub->l, h.id, &why, e);
    }
    relais__welcome__init(&w);
    w.version = hub->version ? hub->version : PROTOCOL_NEWEST;
    w.name = name;
    return link_send(hub->l, FRAME_Welcome, h.id, &w.base, NULL, 0, e);
}

static void hub_run(void *arg)
{
    struct hub *hub = arg;
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    uint8_t skipped[4096];
    int rc = welcome(hub, &e);
    message_init(&m);
    while (rc == 0) {
        rc = link_recv(hub->l, &h, &m, 60 * IO_S, &e);
        if (rc < 0)
            break;
        if (h.payload_len)
            rc = link_recv_payload(hub->l, skipped, h.payload_len, &e);
        if (h.type == FRAME_Ping) {
            hub->pings++;
            if (hub->manners != MUTE)
                rc = link_answer_ping(hub->l, &h, &m, &e);
        } else if (h.type == FRAME_Pong) {
            hub->pinged_back = true;
            hub->pong_token = m.pong->token;
        } else if (h.type == FRAME_Fetch) {
            rc = on_fetch(hub, &h, &m, &e);
        }
    }
    if (rc < 0)
        link_shutdown(hub->l);
    message_free(&m);
}

/* ---- a caller connected to it ---- */

struct stage {
    struct hub hub;
    struct net_pair pair;
    struct fiber *f;
    struct caller *c;
    bool trickling;
    int rc;
    struct err e;
};

static void stage_start(struct stage *s, enum manners manners, bool plain)
{
    s->hub.manners = manners;
    net_connect(&s->pair, plain);
    s->hub.l = s->pair.server;
    s->f = fiber_spawn(fiber_io(), "hub", hub_run, &s->hub);
    s->rc = caller_new(&s->c, s->pair.client, &s->e);
}

static void stage_end(struct stage *s)
{
    if (s->rc == 0)
        caller_free(s->c);
    link_shutdown(s->pair.server);
    fiber_join(s->f);
    link_close(s->pair.server);
}

static int start(struct stage *s, struct call *call, void *payload, uint32_t cap, uint64_t offset,
                 struct err *e)
{
    Relais__Fetch fetch;
    relais__fetch__init(&fetch);
    fetch.offset = offset;
    fetch.length = 1024;
    *call = (struct call){.expect = FRAME_Fetched, .payload = payload, .payload_cap = cap};
    return call_start(s->c, call, FRAME_Fetch, &fetch.base, NULL, 0, e);
}

/* One call to its end. */
static int fetch(struct stage *s, struct err *e)
{
    struct call call;
    uint8_t got[1024];
    int rc = start(s, &call, got, sizeof got, 5, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0) {
        assert_int_equal(call.reply.type, FRAME_Fetched);
        assert_int_equal(call.payload_len, sizeof got);
        assert_true(net_pattern_is(got, sizeof got, 5));
    }
    call_end(&call);
    return rc;
}

static void fetch_ok(struct stage *s)
{
    struct err e = ERR_INIT;
    if (fetch(s, &e) < 0)
        fail_msg("%s", e.text);
}

static void a_call_is_answered(void *arg)
{
    struct stage s = {0};
    struct err e = ERR_INIT;
    (void)arg;
    stage_start(&s, ANSWER, false);
    assert_int_equal(s.rc, 0);
    assert_string_equal(caller_peer(s.c), "arras");
    for (int i = 0; i < 3; i++)
        fetch_ok(&s);
    assert_int_equal(caller_broken(s.c, &e), 0);
    stage_end(&s);
}

static void a_plain_link_is_named_by_its_welcome(void *arg)
{
    struct stage s = {0};
    (void)arg;
    stage_start(&s, ANSWER, true);
    assert_int_equal(s.rc, 0);
    assert_string_equal(caller_peer(s.c), "arras");
    fetch_ok(&s);
    stage_end(&s);
}

static void another_version_is_named_in_the_greeting(void *arg)
{
    struct stage s = {.hub.version = 2};
    (void)arg;
    stage_start(&s, ANSWER, false);
    assert_int_equal(s.rc, -ERR_PROTO);
    contains(s.e.text, "version 2");
    stage_end(&s);
}

static void a_refused_greeting_carries_its_reason(void *arg)
{
    struct stage s = {.hub.refusal = "the hub is starting"};
    (void)arg;
    stage_start(&s, ANSWER, false);
    assert_int_equal(s.rc, -ERR_AGAIN);
    assert_string_equal(s.e.text, "arras: the hub is starting");
    stage_end(&s);
}

/* ---- many ---- */

struct one {
    struct stage *s;
    uint64_t offset;
    int rc;
    struct err e;
};

static void fetch_one(void *arg)
{
    struct one *o = arg;
    struct call call;
    uint8_t got[1024];
    o->rc = start(o->s, &call, got, sizeof got, o->offset, &o->e);
    if (o->rc < 0)
        return;
    o->rc = call_wait(&call, &o->e);
    if (o->rc == 0 && !net_pattern_is(got, sizeof got, o->offset))
        o->rc = err_set(&o->e, ERR_CORRUPT, "somebody else's reply");
    call_end(&call);
}

enum { MANY = 5 * CALLS_MAX };

static void fetch_many(struct stage *s, struct one *ones, enum err_code code)
{
    static struct fiber *f[MANY];
    for (int i = 0; i < MANY; i++) {
        ones[i] = (struct one){.s = s, .offset = 100 + (uint64_t)i};
        f[i] = fiber_spawn(fiber_io(), "one", fetch_one, &ones[i]);
    }
    for (int i = 0; i < MANY; i++) {
        fiber_join(f[i]);
        if (ones[i].rc != -(int)code)
            fail_msg("call %d: %d %s", i, ones[i].rc, ones[i].e.text);
    }
}

static void replies_in_any_order_reach_their_calls_and_the_number_in_flight_is_bounded(void *arg)
{
    static struct one ones[MANY];
    struct stage s = {0};
    (void)arg;
    stage_start(&s, REVERSE, false);
    /* The hub answers only when CALLS_MAX requests are there, and would overrun with one more. */
    fetch_many(&s, ones, ERR_OK);
    assert_int_equal(s.hub.requests, MANY);
    assert_int_equal(s.hub.most_open, CALLS_MAX);
    stage_end(&s);
}

static void one_fiber_may_start_more_calls_than_may_be_in_flight(void *arg)
{
    enum { N = 2 * CALLS_MAX };
    static struct call calls[N];
    static uint8_t got[N][1024];
    struct stage s = {0};
    struct err e = ERR_INIT;
    (void)arg;
    stage_start(&s, ANSWER, false);
    for (uint64_t i = 0; i < N; i++)
        if (start(&s, &calls[i], got[i], sizeof got[i], i, &e) < 0)
            fail_msg("%s", e.text);
    for (uint64_t i = 0; i < N; i++) {
        assert_int_equal(call_wait(&calls[i], &e), 0);
        assert_true(net_pattern_is(got[i], sizeof got[i], i));
        call_end(&calls[i]);
    }
    stage_end(&s);
}

static void a_frame_without_reply_goes_between(void *arg)
{
    struct stage s = {0};
    struct err e = ERR_INIT;
    Relais__Part part;
    (void)arg;
    relais__part__init(&part);
    stage_start(&s, ANSWER, false);
    assert_int_equal(call_send(s.c, FRAME_Part, &part.base, blob, sizeof blob, &e), 0);
    fetch_ok(&s);
    stage_end(&s);
}

/* ---- refusals and breaches ---- */

static void a_refusal_is_the_calls_error_and_not_the_links(void *arg)
{
    struct stage s = {0};
    struct err e = ERR_INIT;
    (void)arg;
    stage_start(&s, REFUSE, false);
    assert_int_equal(fetch(&s, &e), -ERR_SPACE);
    assert_string_equal(e.text, "arras: the pool is full");
    assert_int_equal(caller_broken(s.c, &e), 0);
    s.hub.manners = ANSWER;
    fetch_ok(&s);
    s.hub.manners = STOP; /* what was cancelled over there was not cancelled here */
    assert_int_equal(fetch(&s, &e), -ERR_AGAIN);
    stage_end(&s);
}

static void breaks(enum manners manners, enum err_code code, const char *word)
{
    struct stage s = {0};
    struct err e = ERR_INIT;
    stage_start(&s, manners, false);
    assert_int_equal(s.rc, 0);
    if (fetch(&s, &e) != -(int)code)
        fail_msg("%s: %s", err_name(e.code), e.text);
    contains(e.text, word);
    /* For good, and with the same reason. */
    assert_int_equal(caller_broken(s.c, &e), -(int)code);
    contains(e.text, word);
    assert_int_equal(fetch(&s, &e), -(int)code);
    contains(e.text, word);
    stage_end(&s);
}

static void a_peer_that_breaks_the_protocol_breaks_the_link(void *arg)
{
    (void)arg;
    breaks(WRONG_ID, ERR_PROTO, "which is not open");
    breaks(WRONG_TYPE, ERR_PROTO, "Committed where Fetched was expected");
    breaks(TOO_MUCH, ERR_PROTO, "2048 bytes");
    breaks(BAD_CODE, ERR_PROTO, "4711");
    breaks(WRONG_PONG, ERR_PROTO, "not sent");
    breaks(LEAVE, ERR_NET, "arras closed the connection");
}

/* Waits until the hub has read so many requests; what is to follow happens then. */
static void await_requests(const struct hub *hub, unsigned n)
{
    for (int i = 0; i < 5000 && hub->requests < n; i++)
        (void)fiber_sleep(IO_MS);
    assert_int_equal(hub->requests, n);
}

static void hang_up(void *arg)
{
    struct hub *hub = arg;
    await_requests(hub, CALLS_MAX);
    (void)fiber_sleep(10 * IO_MS); /* for one too many to come */
    link_shutdown(hub->l);
}

static void a_break_fails_all_that_wait_and_all_that_queue(void *arg)
{
    static struct one ones[MANY];
    struct stage s = {0};
    struct fiber *f;
    (void)arg;
    stage_start(&s, MUTE, false);
    f = fiber_spawn(fiber_io(), "hang-up", hang_up, &s.hub);
    fetch_many(&s, ones, ERR_NET);
    for (int i = 0; i < MANY; i++)
        contains(ones[i].e.text, "arras closed the connection");
    fiber_join(f);
    assert_int_equal(s.hub.requests, CALLS_MAX);
    stage_end(&s);
}

static void a_cancelled_call_leaves_its_memory_to_nobody(void *arg)
{
    struct stage s = {0};
    struct one o = {.s = &s, .offset = 1};
    struct fiber *f;
    struct err e = ERR_INIT;
    (void)arg;
    stage_start(&s, MUTE, false);
    f = fiber_spawn(fiber_io(), "one", fetch_one, &o);
    await_requests(&s.hub, 1);
    fiber_cancel(f);
    fiber_join(f);
    assert_int_equal(o.rc, -ERR_CANCELED);
    assert_int_equal(caller_broken(s.c, &e), -ERR_NET);
    contains(e.text, "given up here");
    stage_end(&s);
}

/* ---- alive or not ---- */

static void a_caller_answers_pings(void *arg)
{
    struct stage s = {0};
    struct err e = ERR_INIT;
    Relais__Ping ping;
    (void)arg;
    stage_start(&s, ANSWER, false);
    relais__ping__init(&ping);
    ping.token = 0x1234;
    assert_int_equal(link_send(s.pair.server, FRAME_Ping, 0, &ping.base, NULL, 0, &e), 0);
    for (int i = 0; i < 5000 && !s.hub.pinged_back; i++)
        (void)fiber_sleep(IO_MS);
    assert_true(s.hub.pinged_back);
    assert_true(s.hub.pong_token == 0x1234);
    stage_end(&s);
}

/* A slow line in effect: the peer takes our bytes, and its pong is not here yet. */
static void trickle(void *arg)
{
    struct stage *s = arg;
    struct err e = ERR_INIT;
    Relais__Part part;
    relais__part__init(&part);
    while (s->trickling && call_send(s->c, FRAME_Part, &part.base, blob, sizeof blob, &e) == 0)
        (void)fiber_sleep(100 * IO_MS);
}

/* One test for what takes its time, so that it is taken once. */
static void pings_keep_a_silent_link_and_a_missing_pong_ends_a_dead_but_not_a_slow_one(void *arg)
{
    struct stage quiet = {0}, dead = {0}, slow = {.trickling = true};
    struct fiber *f;
    struct err e = ERR_INIT;
    uint64_t began = io_now(fiber_io());
    (void)arg;
    stage_start(&quiet, ANSWER, false);
    stage_start(&dead, MUTE, false);
    stage_start(&slow, MUTE, false);
    f = fiber_spawn(fiber_io(), "trickle", trickle, &slow);
    assert_int_equal(fetch(&dead, &e), -ERR_NET); /* waits until the caller gives the hub up */
    contains(e.text, "arras does not answer any more");
    assert_true(io_now(fiber_io()) - began >= CALL_PING_NS + CALL_PONG_NS);
    assert_true(io_now(fiber_io()) - began < CALL_PING_NS + CALL_PONG_NS + 5 * IO_S);
    assert_int_equal(dead.hub.pings, 1);
    (void)fiber_sleep(IO_S);
    assert_int_equal(slow.hub.pings, 1);
    assert_int_equal(caller_broken(slow.c, &e), 0);
    slow.trickling = false;
    fiber_join(f);
    assert_true(quiet.hub.pings >= 2);
    assert_int_equal(caller_broken(quiet.c, &e), 0);
    fetch_ok(&quiet);
    stage_end(&slow);
    stage_end(&dead);
    stage_end(&quiet);
}

/* ---- */

#define IN_LOOP(name)                                                                              \
    static void name##_(void **state)                                                              \
    {                                                                                              \
        (void)state;                                                                               \
        net_run(name, NULL);                                                                       \
    }
#define TESTS(X)                                                                                   \
    X(a_call_is_answered)                                                                          \
    X(a_plain_link_is_named_by_its_welcome)                                                        \
    X(another_version_is_named_in_the_greeting)                                                    \
    X(a_refused_greeting_carries_its_reason)                                                       \
    X(replies_in_any_order_reach_their_calls_and_the_number_in_flight_is_bounded)                  \
    X(one_fiber_may_start_more_calls_than_may_be_in_flight)                                        \
    X(a_frame_without_reply_goes_between)                                                          \
    X(a_refusal_is_the_calls_error_and_not_the_links)                                              \
    X(a_peer_that_breaks_the_protocol_breaks_the_link)                                             \
    X(a_break_fails_all_that_wait_and_all_that_queue)                                              \
    X(a_cancelled_call_leaves_its_memory_to_nobody)                                                \
    X(a_caller_answers_pings)                                                                      \
    X(pings_keep_a_silent_link_and_a_missing_pong_ends_a_dead_but_not_a_slow_one)
TESTS(IN_LOOP)

int main(void)
{
#define ENTRY(name) {#name, name##_, NULL, NULL, NULL},
    const struct CMUnitTest tests[] = {TESTS(ENTRY)};
    return cmocka_run_group_tests(tests, net_keys_make, net_keys_free);
}
