/* export: failures are told, a client can hold up itself only, and stopping answers what is in
 * flight. */
#include "export_fixture.h"
#include "reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a disk that fails, and one that is late ---- */

#define BAD  (8 * MIB)  /* writes to here fail */
#define LATE (16 * MIB) /* and to here begin after a while */

/* Stands before the loop's write and sync. */
static struct {
    struct io *io;
    const struct io_ops *real;
    struct io_ops ops;
    struct io_req *late;
    void (*late_done)(struct io_req *req, int res);
    bool late_ended, synced_after;
} disk;

struct late_write {
    struct io_req *req;
    int fd;
    const void *buf;
    size_t len;
    uint64_t off;
};

static void on_late(struct io_req *req, int res)
{
    disk.late_ended = true;
    req->done = disk.late_done;
    req->done(req, res);
}

static void write_late(void *arg)
{
    struct late_write *w = arg;
    (void)fiber_sleep(50 * IO_MS);
    disk.late_done = w->req->done;
    w->req->done = on_late;
    disk.real->write(disk.io, w->req, w->fd, w->buf, w->len, w->off);
    free(w);
}

static void disk_write(struct io *io, struct io_req *req, int fd, const void *buf, size_t len,
                       uint64_t off)
{
    if (len > 0 && off >= LATE && off < LATE + EXPORT_PIECE) {
        struct late_write *w = err_malloc(sizeof *w);
        *w = (struct late_write){req, fd, buf, len, off};
        fiber_detach(fiber_spawn(io, "late", write_late, w));
        return;
    }
    if (off >= BAD && off < BAD + MIB)
        fd = -1;
    disk.real->write(io, req, fd, buf, len, off);
}

static void disk_sync(struct io *io, struct io_req *req, int fd, bool data_only)
{
    disk.synced_after = disk.synced_after || disk.late_ended;
    disk.real->sync(io, req, fd, data_only);
}

static void disk_begin(void)
{
    memset(&disk, 0, sizeof disk);
    disk.io = fiber_io();
    disk.real = disk.io->ops;
    disk.ops = *disk.real;
    disk.ops.write = disk_write;
    disk.ops.sync = disk_sync;
    disk.io->ops = &disk.ops;
}

static void disk_end(void)
{
    disk.io->ops = disk.real;
}

static void write_to_a_bad_disk(void *arg)
{
    static const uint32_t lengths[] = {4096, MIB, 3 * MIB};
    uint8_t *payload = err_calloc(1, 4 * MIB), p[16];
    int fd;
    (void)arg;
    export_serve(EXPORT_CONN_MEMORY);
    fd = client_new(false);
    disk_begin();
    for (unsigned i = 0; i < 3; i++) {
        client_ask(fd, NBD_CMD_WRITE, i, BAD, lengths[i]);
        client_say(fd, payload, lengths[i]);
        assert_int_equal(client_simple(fd, i), NBD_EIO);
    }
    client_ask(fd, NBD_CMD_READ, 9, STATIC, sizeof p); /* and it goes on */
    assert_int_equal(client_simple(fd, 9), 0);
    client_receive(fd, p, sizeof p);
    disk_end();
    fio_close_always(fd);
    export_unserve();
    free(payload);
}

static void a_write_that_fails_is_told_also_when_only_a_piece_of_it_did(void **state)
{
    (void)state;
    fixture_run(write_to_a_bad_disk, NULL);
}

static void write_fua(void *arg)
{
    uint8_t *payload = err_calloc(1, MIB), p[NBD_REQUEST_LEN];
    int fd;
    (void)arg;
    export_serve(EXPORT_CONN_MEMORY);
    fd = client_new(false);
    disk_begin();
    client_say(fd, p, client_request(p, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1, LATE, MIB));
    client_say(fd, payload, MIB);
    assert_int_equal(client_simple(fd, 1), 0);
    assert_true(disk.late_ended);
    assert_true(disk.synced_after);
    disk_end();
    fio_close_always(fd);
    export_unserve();
    free(payload);
}

static void a_fua_write_in_pieces_is_synced_after_the_last_of_them(void **state)
{
    (void)state;
    fixture_run(write_fua, NULL);
}

/* ---- who holds up whom ---- */

static void ask_and_read_nothing(void *arg)
{
    int lazy, other;
    uint8_t p[512];
    (void)arg;
    export_serve(2 * EXPORT_CONN_MEMORY);
    lazy = client_new(false);
    other = client_new(false);
    for (unsigned i = 0; i < 64; i++)
        client_ask(lazy, NBD_CMD_READ, i, STATIC, 200000);
    for (unsigned i = 0; i < 100; i++) {
        client_ask(other, NBD_CMD_READ, i, STATIC, sizeof p);
        assert_int_equal(client_simple(other, i), 0);
        client_receive(other, p, sizeof p);
        assert_memory_equal(p, served.model + STATIC, sizeof p);
    }
    assert_int_equal(export_connections(served.exports, served.capture), 2);
    fio_close_always(lazy);
    fio_close_always(other);
    export_unserve();
}

static void a_client_that_does_not_read_holds_up_only_itself(void **state)
{
    (void)state;
    fixture_run(ask_and_read_nothing, NULL);
}

static void connect_too_often(void *arg)
{
    int its[3], more;
    uint8_t p[1];
    (void)arg;
    export_serve(3 * EXPORT_CONN_MEMORY + 1);
    for (unsigned i = 0; i < 3; i++)
        its[i] = client_new(true);
    more = fio_connect(&served.addr, TIMEOUT);
    assert_true(more >= 0);
    assert_true(fio_recv(more, p, 1, TIMEOUT) <= 0);
    fio_close_always(more);
    client_ask(its[0], NBD_CMD_DISC, 1, 0, 0);
    assert_int_equal(fio_recv(its[0], p, 1, TIMEOUT), 0);
    fio_close_always(its[0]);
    its[0] = client_new(true);
    for (unsigned i = 0; i < 3; i++)
        fio_close_always(its[i]);
    export_unserve();
}

static void there_are_as_many_connections_as_memory_for_them(void **state)
{
    (void)state;
    fixture_run(connect_too_often, NULL);
}

/* ---- rubbish ---- */

static void talk_rubbish(void *arg)
{
    uint8_t p[64] = {0};
    int bad, good;
    (void)arg;
    export_serve(4 * EXPORT_CONN_MEMORY);
    good = client_new(false);
    bad = client_new(false);
    client_ask(bad, NBD_CMD_READ, 1, STATIC, 16);
    client_say(bad, p, sizeof p);
    assert_int_equal(client_simple(bad, 1), 0); /* what came before is answered */
    client_receive(bad, p, 16);
    assert_true(fio_recv(bad, p, 1, TIMEOUT) <= 0);
    fio_close_always(bad);
    bad = client_new(false);
    client_ask(bad, NBD_CMD_WRITE, 1, 0, NBD_PAYLOAD_MAX + 1);
    assert_true(fio_recv(bad, p, 1, TIMEOUT) <= 0);
    fio_close_always(bad);
    bad = client_new(false);
    client_ask(bad, NBD_CMD_WRITE, 1, 0, 100000); /* and goes without having sent it */
    fio_close_always(bad);
    client_ask(good, NBD_CMD_READ, 2, STATIC, 16);
    assert_int_equal(client_simple(good, 2), 0);
    client_receive(good, p, 16);
    fio_close_always(good);
    export_unserve();
    assert_volume_is_model();
}

static void rubbish_ends_its_connection_and_nothing_else(void **state)
{
    (void)state;
    fixture_run(talk_rubbish, NULL);
}

/* ---- stopping ---- */

struct stopper {
    struct fiber *fiber;
    bool stopped;
};

static void stop_it(void *arg)
{
    struct stopper *s = arg;
    export_unserve();
    s->stopped = true;
}

static void stop_with_requests_in_flight(void *arg)
{
    struct stopper s = {0};
    uint8_t *payload = err_calloc(1, MIB), p[1];
    int fd;
    (void)arg;
    export_serve(EXPORT_CONN_MEMORY);
    fd = client_new(false);
    memset(payload, 0x5a, MIB);
    memset(served.model, 0x5a, MIB);
    client_ask(fd, NBD_CMD_WRITE, 1, 0, MIB);
    client_say(fd, payload, MIB);
    client_ask(fd, NBD_CMD_FLUSH, 2, 0, 0);
    while (export_connections(served.exports, served.capture) == 0)
        (void)fiber_sleep(IO_MS);
    (void)fiber_sleep(50 * IO_MS); /* both have been taken by now */
    s.fiber = fiber_spawn(fiber_io(), "stopper", stop_it, &s);
    assert_int_equal(client_simple(fd, 1), 0);
    assert_int_equal(client_simple(fd, 2), 0);
    assert_true(fio_recv(fd, p, 1, TIMEOUT) <= 0);
    fiber_join(s.fiber);
    assert_true(s.stopped);
    fio_close_always(fd);
    assert_int_equal(access(served.addr.path, F_OK), -1);
    free(payload);
    assert_volume_is_model();
}

static void stopping_answers_what_is_in_flight(void **state)
{
    (void)state;
    fixture_run(stop_with_requests_in_flight, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, export_setup, export_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_write_that_fails_is_told_also_when_only_a_piece_of_it_did),
        T(a_fua_write_in_pieces_is_synced_after_the_last_of_them),
        T(a_client_that_does_not_read_holds_up_only_itself),
        T(there_are_as_many_connections_as_memory_for_them),
        T(rubbish_ends_its_connection_and_nothing_else),
        T(stopping_answers_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
