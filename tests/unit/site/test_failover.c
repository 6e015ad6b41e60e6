/* failover: a site whose hub is two daemons over one store ships on whatever becomes of one. */
#include "session.h"
#include "shipper.h"
#include "territory_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* The second daemon, with a link key of its own, on the first one's store. */
struct pair {
    struct territory_fixture *t;
    struct key_secret *link;
    struct tls *tls, *site_tls;
    struct config config;
    struct hub *hub;
};

static void pair_init(struct pair *p, struct territory_fixture *t)
{
    struct tls_peer hubs[2] = {0}, site = {.key = *key_public(t->site_link)};
    p->t = t;
    p->link = key_generate(KEY_LINK, NULL);
    hubs[0].key = *key_public(t->hub_link);
    hubs[1].key = *key_public(p->link);
    for (unsigned i = 0; i < 2; i++)
        fixture_text(hubs[i].name, sizeof hubs[i].name, "arras");
    fixture_text(site.name, sizeof site.name, "bethune");
    MUST(tls_new(&p->tls, p->link, &site, 1, &t->e), &t->e);
    MUST(tls_new(&p->site_tls, t->site_link, hubs, 2, &t->e), &t->e);
    p->config = t->hub_config;
    fixture_text(p->config.listen.host, sizeof p->config.listen.host, "127.0.0.2");
    t->hub_peer.addrs[1] = p->config.listen;
    t->hub_peer.addr_count = 2;
}

static void pair_done(struct pair *p)
{
    tls_free(p->tls);
    tls_free(p->site_tls);
    key_free(p->link);
}

static void second_up(struct pair *p)
{
    MUST(hub_start(&p->hub, &p->config, p->t->store, p->tls, &p->t->e), &p->t->e);
}

static void first_up(struct pair *p)
{
    struct territory_fixture *t = p->t;
    MUST(hub_start(&t->hub, &t->hub_config, t->store, t->hub_tls, &t->e), &t->e);
}

static void site_up_for(struct pair *p)
{
    struct territory_fixture *t = p->t;
    struct site_keys keys = {.sign = t->f.sign, .hash = t->f.hash, .tls = p->site_tls};
    MUST(site_open(&t->site, &t->f.config, &keys, NULL, &t->e), &t->e);
    MUST(site_start(t->site, &t->e), &t->e);
}

static unsigned connections(struct hub *h)
{
    Relais__Status st;
    struct err e = ERR_INIT;
    relais__status__init(&st);
    MUST(hub_status(h, false, &st, &e), &e);
    return st.hub_connections;
}

static void change(struct pair *p, unsigned seed)
{
    fixture_fill(&p->t->f, 0, (uint64_t)seed % 5 * MIB, MIB, seed);
}

/* ---- */

static void next_address(void *arg)
{
    struct territory_fixture *t = arg;
    struct pair p;
    uint64_t began;
    pair_init(&p, t);
    hub_up(t);
    second_up(&p);
    site_up_for(&p);
    assert_int_equal(mark(t, "", true), 1);
    assert_int_equal(connections(p.hub), 0);
    hub_stop(t->hub);
    t->hub = NULL;
    change(&p, 2);
    began = io_now(fiber_io());
    assert_int_equal(mark(t, "", true), 2);
    assert_true(io_now(fiber_io()) - began < 2 * IO_S);
    assert_int_equal(store_head(t), 2);
    assert_int_equal(connections(p.hub), 1);
    first_up(&p); /* and back, when that fails in turn */
    hub_stop(p.hub);
    change(&p, 3);
    assert_int_equal(mark(t, "", true), 3);
    site_stop(t->site);
    hub_down(t);
    pair_done(&p);
}

static void when_a_hub_ends_the_other_goes_on_within_two_seconds(void **state)
{
    (void)state;
    with_territory(next_address);
}

static void drained(void *arg)
{
    struct territory_fixture *t = arg;
    struct pair p;
    uint64_t began, rp;
    pair_init(&p, t);
    hub_up(t);
    second_up(&p);
    site_up_for(&p);
    assert_int_equal(mark(t, "", true), 1);
    for (unsigned i = 0; i < 3; i++) /* something to be under way */
        change(&p, 10 + i);
    rp = mark(t, "", false);
    began = io_now(fiber_io());
    hub_drain(t->hub, 10 * IO_S);
    assert_true(io_now(fiber_io()) - began < 5 * IO_S);
    assert_int_equal(connections(t->hub), 0);
    change(&p, 4);
    assert_int_equal(mark(t, "", true), rp + 1);
    assert_int_equal(store_head(t), rp + 1);
    assert_int_equal(connections(p.hub), 1);
    site_stop(t->site);
    hub_stop(p.hub);
    hub_down(t);
    pair_done(&p);
}

static void a_hub_that_is_drained_is_left_in_good_order(void **state)
{
    (void)state;
    with_territory(drained);
}

/* A clock that runs fast, so that a minute passes in three seconds. */
#define FAST 20u
static const struct io_ops *real_ops;
static struct io_ops fast_ops;
static uint64_t fast_from;

static uint64_t fast_now(struct io *io)
{
    return fast_from + (real_ops->now(io) - fast_from) * FAST;
}

static void fast_timer(struct io *io, struct io_req *req, uint64_t ns)
{
    real_ops->timer(io, req, ns / FAST);
}

static void time_flies(void)
{
    struct io *io = fiber_io();
    real_ops = io->ops;
    fast_ops = *real_ops;
    fast_ops.now = fast_now;
    fast_ops.timer = fast_timer;
    fast_from = io_now(io);
    io->ops = &fast_ops;
}

static void homeward(void *arg)
{
    struct territory_fixture *t = arg;
    struct pair p;
    uint64_t end, back;
    time_flies();
    pair_init(&p, t);
    hub_up(t);
    second_up(&p);
    hub_stop(t->hub);
    t->hub = NULL;
    site_up_for(&p);
    assert_int_equal(mark(t, "", true), 1);
    assert_int_equal(connections(p.hub), 1);
    first_up(&p);
    back = io_now(fiber_io());
    end = back + 300 * IO_S;
    while (connections(p.hub) > 0 || connections(t->hub) == 0) {
        if (io_now(fiber_io()) > end)
            fail_msg("the site stays where it is");
        (void)fiber_sleep(2 * IO_S);
    }
    assert_true(io_now(fiber_io()) - back >= (SHIPPER_HOME_TIMES - 1) * SHIPPER_HOME_NS);
    change(&p, 2);
    assert_int_equal(mark(t, "", true), 2);
    site_stop(t->site);
    hub_stop(p.hub);
    hub_down(t);
    pair_done(&p);
}

static void a_site_goes_back_to_the_first_when_that_has_answered_for_a_while(void **state)
{
    (void)state;
    with_territory(homeward);
}

static void next_release(void *arg)
{
    struct territory_fixture *t = arg;
    uint64_t end;
    hub_up(t);
    t->hub->protocol = (struct protocol){PROTOCOL_OLDEST, PROTOCOL_NEWEST + 1};
    site_up(t);
    assert_int_equal(mark(t, "", true), 1);
    hub_stop(t->hub);
    MUST(hub_start(&t->hub, &t->hub_config, t->store, t->hub_tls, &t->e), &t->e);
    t->hub->protocol = (struct protocol){PROTOCOL_NEWEST + 1, PROTOCOL_NEWEST + 2};
    end = io_now(fiber_io()) + PATIENCE;
    for (;;) {
        Relais__Status st;
        relais__status__init(&st);
        site_status(t->site, &st);
        if (st.link_error && strstr(st.link_error, "update the older of them"))
            break;
        if (io_now(fiber_io()) > end)
            fail_msg("the status says nothing of versions: %s", st.link_error);
        (void)fiber_sleep(20 * IO_MS);
    }
    site_stop(t->site);
    hub_down(t);
}

static void a_hub_of_the_next_release_serves_this_one_and_says_when_it_no_longer_can(void **state)
{
    (void)state;
    with_territory(next_release);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_a_hub_ends_the_other_goes_on_within_two_seconds),
        cmocka_unit_test(a_hub_that_is_drained_is_left_in_good_order),
        cmocka_unit_test(a_hub_of_the_next_release_serves_this_one_and_says_when_it_no_longer_can),
        cmocka_unit_test(a_site_goes_back_to_the_first_when_that_has_answered_for_a_while),
    };
    return cmocka_run_group_tests_name("failover", tests, NULL, NULL);
}
