/* door: whoever may connect can keep no peer out, and no peer another; what it costs is bounded. */
#include "hub_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)
#define MANY   200u

/* A connection from 127.0.0.`host` that says nothing. */
static int stranger(const struct hub_fixture *f, unsigned host)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000000 + host)}};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(f->config.listen.port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)fiber_sleep(IO_S / 1000); /* the hub's turn */
    return fd;
}

static bool is_open(int fd)
{
    char c;
    return recv(fd, &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static unsigned count_open(const int *fds, unsigned n)
{
    unsigned open = 0;
    (void)fiber_sleep(IO_S / 5);
    for (unsigned i = 0; i < n; i++)
        open += is_open(fds[i]);
    return open;
}

static void close_all(const int *fds, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(fds[i]);
}

static void assert_connections(struct hub_fixture *f, unsigned want)
{
    Relais__Status st;
    relais__status__init(&st);
    MUST(hub_status(f->hub, false, &st, err));
    assert_int_equal(st.hub_connections, want);
}

static void flooded(void *arg)
{
    struct hub_fixture f;
    struct test_delta d;
    int fds[MANY];
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    delta_random(&d, 1, NULL, 1);
    for (unsigned i = 0; i < MANY; i++)
        fds[i] = stranger(&f, 1);
    struct caller *c = client(&f, BETHUNE); /* from the same address, too */
    MUST(send_all(c, &d, err));
    assert_connections(&f, 1);
    caller_free(c);
    close_all(fds, MANY);
    fixture_stop(&f);
    delta_free(&d);
}
static void any_number_of_silent_strangers_keeps_no_peer_out(void **state)
{
    (void)state;
    hub_run(flooded, NULL);
}

static void alone(void *arg)
{
    struct hub_fixture f;
    int fds[MANY], first;
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    first = stranger(&f, 2);
    for (unsigned i = 0; i < MANY; i++)
        fds[i] = stranger(&f, 3);
    assert_int_equal(count_open(fds, MANY), HUB_STRANGERS_SOURCE);
    assert_true(is_open(fds[MANY - 1]));
    assert_true(is_open(first));
    close_all(fds, MANY);
    close(first);
    fixture_stop(&f);
}
static void an_address_has_its_share_of_places_and_its_oldest_make_room(void **state)
{
    (void)state;
    hub_run(alone, NULL);
}

static void all_sides(void *arg)
{
    struct hub_fixture f;
    int fds[MANY], first;
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    first = stranger(&f, 100);
    for (unsigned i = 0; i < MANY; i++)
        fds[i] = stranger(&f, 3 + i % 8);
    assert_int_equal(count_open(fds, MANY), HUB_STRANGERS - 1);
    assert_true(is_open(first));
    close_all(fds, MANY);
    close(first);
    fixture_stop(&f);
}
static void many_addresses_share_all_places_and_those_with_most_make_room(void **state)
{
    (void)state;
    hub_run(all_sides, NULL);
}

static void dumb(void *arg)
{
    struct hub_fixture f;
    int fd;
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    fd = stranger(&f, 1);
    (void)fiber_sleep(11 * IO_S);
    assert_false(is_open(fd));
    close(fd);
    fixture_stop(&f);
}
static void a_stranger_has_ten_seconds_to_say_who_he_is(void **state)
{
    (void)state;
    hub_run(dumb, NULL);
}

/* Three peers, four places. */
static void greedy(void *arg)
{
    struct hub_fixture f;
    struct caller *c[5];
    (void)arg;
    fixture_start(&f, MEMORY, 4);
    c[0] = client(&f, BETHUNE);
    c[1] = client(&f, BETHUNE);
    REFUSED(ERR_AGAIN, "2 connections are open and 2 kept", try_client(&f, BETHUNE, &c[2], err));
    c[2] = client(&f, LENS);
    REFUSED(ERR_AGAIN, "3 connections are open and 1 kept", try_client(&f, LENS, &c[3], err));
    c[3] = client(&f, DOUAI);
    REFUSED(ERR_AGAIN, "4 connections are open and 0 kept", try_client(&f, DOUAI, &c[4], err));
    assert_connections(&f, 4);
    for (unsigned i = 0; i < 4; i++)
        caller_free(c[i]);
    fixture_stop(&f);
}
static void no_peer_takes_the_last_place_of_another(void **state)
{
    (void)state;
    hub_run(greedy, NULL);
}

/* One place for three peers: who comes first has it. */
static void narrow(void *arg)
{
    struct hub_fixture f;
    struct caller *c, *late;
    (void)arg;
    fixture_start(&f, MEMORY, 1);
    c = client(&f, LENS);
    REFUSED(ERR_AGAIN, "1 connections are open", try_client(&f, BETHUNE, &late, err));
    caller_free(c);
    (void)fiber_sleep(IO_S / 10);
    c = client(&f, BETHUNE);
    caller_free(c);
    fixture_stop(&f);
}
static void fewer_places_than_peers_are_given_as_they_come(void **state)
{
    (void)state;
    hub_run(narrow, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_silent_strangers_keeps_no_peer_out),
        cmocka_unit_test(an_address_has_its_share_of_places_and_its_oldest_make_room),
        cmocka_unit_test(many_addresses_share_all_places_and_those_with_most_make_room),
        cmocka_unit_test(a_stranger_has_ten_seconds_to_say_who_he_is),
        cmocka_unit_test(no_peer_takes_the_last_place_of_another),
        cmocka_unit_test(fewer_places_than_peers_are_given_as_they_come),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
