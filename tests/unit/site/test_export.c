/* export: what a client says reaches the volume, however the bytes are cut up on their way; a
 * client can hold up itself only; stopping answers what is in flight. */
#include "export.h"
#include "handshake.h"
#include "reply.h"
#include "site_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE     (96 * MIB)
#define STATIC   (64 * MIB) /* from here on the volume is only read */
#define TIMEOUT  (20 * IO_S)
#define REQUESTS 400

static struct fixture f;
static struct capture *capture;
static struct exports *exports;
static struct io_addr addr;
static uint8_t *model; /* what the volume must hold */

static uint64_t seed;
static uint64_t rnd(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

static void read_volume(uint8_t *p)
{
    int fd = open(f.volumes[0].path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, p, SIZE, 0), (ssize_t)SIZE);
    close(fd);
}

static void assert_volume_is_the_model(void)
{
    uint8_t *p = err_malloc(SIZE);
    read_volume(p);
    assert_memory_equal(p, model, SIZE);
    free(p);
}

/* ---- the server ---- */

static void serve(uint64_t memory)
{
    struct err e = ERR_INIT;
    struct export_volume v = {"records", &f.volumes[0], NULL};
    if (capture_open(&capture, &f.volumes[0], f.state_dir, "records", false, &e) < 0)
        fail_msg("%s", e.text);
    v.capture = capture;
    if (export_start(&exports, &v, 1, memory, &e) < 0)
        fail_msg("%s", e.text);
}

static void stop(void)
{
    export_stop(exports);
    capture_close(capture);
    exports = NULL;
    capture = NULL;
}

/* ---- a client ---- */

static void be(uint8_t *p, unsigned bytes, uint64_t v)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static void receive(int fd, void *p, size_t len)
{
    for (size_t got = 0; got < len;) {
        int n = fio_recv(fd, (uint8_t *)p + got, len - got, TIMEOUT);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

static void say(int fd, const void *p, size_t len)
{
    assert_int_equal(fio_send_all(fd, p, len, TIMEOUT), 0);
}

/* Connected, and in the transmission phase. */
static int client(bool structured)
{
    static const uint8_t option[] = "IHAVEOPT\0\0\0\x8\0\0\0\0";
    static const uint8_t go[] = "IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0";
    uint8_t p[64];
    int fd = fio_connect(&addr, TIMEOUT);
    assert_true(fd >= 0);
    receive(fd, p, NBD_GREETING_LEN);
    say(fd, "\0\0\0\3", 4);
    if (structured) {
        say(fd, option, 16);
        receive(fd, p, 20);
        assert_int_equal(get(p + 12, 4), 1);
    }
    say(fd, go, sizeof go - 1);
    receive(fd, p, 20 + 12); /* NBD_INFO_EXPORT */
    assert_true(get(p + 22, 8) == SIZE);
    receive(fd, p, 20);
    assert_int_equal(get(p + 12, 4), 1);
    return fd;
}

static size_t put_request(uint8_t *p, unsigned command, unsigned flags, uint64_t cookie,
                          uint64_t off, uint32_t len)
{
    be(p, 4, 0x25609513);
    be(p + 4, 2, flags);
    be(p + 6, 2, command);
    be(p + 8, 8, cookie);
    be(p + 16, 8, off);
    be(p + 24, 4, len);
    return NBD_REQUEST_LEN;
}

static void ask(int fd, unsigned command, uint64_t cookie, uint64_t off, uint32_t len)
{
    uint8_t p[NBD_REQUEST_LEN];
    say(fd, p, put_request(p, command, 0, cookie, off, len));
}

/* One simple reply; the error. */
static uint32_t simple(int fd, uint64_t cookie)
{
    uint8_t p[NBD_REPLY_SIMPLE_LEN];
    receive(fd, p, sizeof p);
    assert_int_equal(get(p, 4), 0x67446698);
    assert_true(get(p + 8, 8) == cookie);
    return (uint32_t)get(p + 4, 4);
}

static int setup(void **state)
{
    (void)state;
    fixture_init(&f);
    fixture_captured(&f, "data", SIZE);
    fixture_fill(&f, 0, STATIC, SIZE - STATIC, 7);
    for (uint64_t at = STATIC; at < SIZE; at += 4 * MIB) /* holes of parts of pieces and of many */
        fixture_punch(&f, 0, at + 100 * KIB, at % (8 * MIB) ? 200 * KIB : 2 * MIB);
    fixture_text(f.volumes[0].export_path, sizeof f.volumes[0].export_path, "%s/socket", f.root);
    f.volumes[0].export_mode = 0600;
    memset(&addr, 0, sizeof addr);
    fixture_text(addr.path, sizeof addr.path, "%s/socket", f.root);
    model = err_malloc(SIZE);
    read_volume(model);
    seed = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(model);
    fixture_done(&f);
    return 0;
}

/* ---- any way of cutting ---- */

/* A script of requests as one run of bytes: writes and zeroes to places of their own, reads of what
 * nobody writes. */
struct script {
    int fd;
    bool structured;
    struct bytes_out bytes;
    struct {
        uint8_t command;
        bool refused, done;
        uint64_t off;
        uint32_t len, got;
    } its[REQUESTS];
    bool sent;
};

/* Lengths around where the reader changes its mind. */
static uint32_t any_length(void)
{
    static const uint32_t edges[] = {
        0,      1,      511,    512,    4095,   4096,   4097,   32768,  65535,   65536,   131071,
        131072, 131073, 262143, 262144, 262145, 266239, 266240, 266241, 1048576, 1048577, 3000000};
    return rnd(3) ? (uint32_t)rnd(20000) : edges[rnd(sizeof edges / sizeof edges[0])];
}

static void write_script(struct script *s)
{
    uint64_t next = 0;
    s->bytes = bytes_out(256 * MIB);
    for (unsigned i = 0; i < REQUESTS; i++) {
        static const uint8_t commands[] = {NBD_CMD_WRITE, NBD_CMD_WRITE, NBD_CMD_WRITE,
                                           NBD_CMD_READ,  NBD_CMD_READ,  NBD_CMD_FLUSH,
                                           NBD_CMD_TRIM,  NBD_CMD_CACHE, NBD_CMD_WRITE_ZEROES};
        uint8_t p[NBD_REQUEST_LEN], command = commands[rnd(sizeof commands)];
        uint32_t len = command == NBD_CMD_FLUSH ? 0 : any_length();
        bool reads = command == NBD_CMD_READ || command == NBD_CMD_CACHE;
        uint64_t off = reads ? STATIC + rnd(SIZE - STATIC - len + 1) : next;
        bool fits = reads || command == NBD_CMD_FLUSH || off + len <= STATIC;
        if (command == NBD_CMD_FLUSH)
            off = 0;
        s->its[i].refused = !fits || rnd(20) == 0;
        if (s->its[i].refused)
            off = SIZE + 1;
        bytes_put(&s->bytes, p, put_request(p, command, rnd(4) == 0, i, off, len));
        s->its[i].command = command;
        s->its[i].off = off;
        s->its[i].len = len;
        if (!s->its[i].refused && !reads)
            next = off + len > next ? off + len + rnd(2) * rnd(9000) : next;
        if (command == NBD_CMD_WRITE) {
            size_t at = s->bytes.len;
            for (uint32_t k = 0; k < len; k++)
                bytes_put_u8(&s->bytes, (uint8_t)(i * 7 + k * 13 + (k >> 8)));
            if (!s->its[i].refused)
                memcpy(model + off, s->bytes.p + at, len);
        } else if (!s->its[i].refused && !reads) {
            memset(model + off, 0, len);
        }
    }
    assert_false(s->bytes.bad);
}

static void send_script(void *arg)
{
    static const uint32_t cuts[] = {1, 27, 28, 29, 4096, 50000, 266240, 1000000, UINT32_MAX};
    struct script *s = arg;
    for (size_t at = 0; at < s->bytes.len;) {
        size_t n = cuts[rnd(sizeof cuts / sizeof cuts[0])];
        n = n < s->bytes.len - at ? n : s->bytes.len - at;
        say(s->fd, s->bytes.p + at, n);
        at += n;
        if (rnd(4) == 0)
            (void)fiber_yield();
    }
    s->sent = true;
}

static void take_data(struct script *s, uint64_t cookie, uint64_t off, uint32_t len)
{
    uint8_t *p = err_malloc(len);
    receive(s->fd, p, len);
    assert_int_equal(s->its[cookie].command, NBD_CMD_READ);
    assert_true(off >= s->its[cookie].off && off + len <= s->its[cookie].off + s->its[cookie].len);
    assert_memory_equal(p, model + off, len);
    s->its[cookie].got += len;
    free(p);
}

static void take_end(struct script *s, uint64_t cookie, uint32_t error)
{
    assert_true(cookie < REQUESTS);
    assert_false(s->its[cookie].done);
    s->its[cookie].done = true;
    assert_int_equal(error != 0, s->its[cookie].refused);
    if (s->its[cookie].command == NBD_CMD_READ && !error)
        assert_int_equal(s->its[cookie].got, s->its[cookie].len);
}

static void take_simple(struct script *s)
{
    uint8_t p[12];
    uint64_t cookie;
    receive(s->fd, p, sizeof p);
    cookie = get(p + 4, 8);
    assert_true(cookie < REQUESTS);
    if (s->its[cookie].command == NBD_CMD_READ) {
        assert_false(s->structured);
        if (get(p, 4) == 0)
            take_data(s, cookie, s->its[cookie].off, s->its[cookie].len);
    }
    take_end(s, cookie, (uint32_t)get(p, 4));
}

/* True when it was the request's last. */
static bool take_chunk(struct script *s)
{
    uint8_t p[16], data[512];
    uint64_t cookie;
    uint32_t len, error = 0;
    receive(s->fd, p, sizeof p);
    cookie = get(p + 4, 8);
    len = (uint32_t)get(p + 12, 4);
    assert_true(cookie < REQUESTS);
    if (get(p + 2, 2) == 1) {
        receive(s->fd, data, 8);
        take_data(s, cookie, get(data, 8), len - 8);
    } else if (get(p + 2, 2) == 2) {
        receive(s->fd, data, 12);
        assert_true(bytes_zero(model + get(data, 8), get(data + 8, 4)));
        s->its[cookie].got += (uint32_t)get(data + 8, 4);
    } else if (len > 0) {
        assert_true(len <= sizeof data);
        receive(s->fd, data, len);
        error = (uint32_t)get(data, 4);
    }
    if (get(p, 2) & 1)
        take_end(s, cookie, error);
    return get(p, 2) & 1;
}

static void run_scripts(void *arg)
{
    bool structured = *(bool *)arg;
    struct script *s = err_calloc(1, sizeof *s);
    struct fiber *sender;
    serve(EXPORT_CONN_MEMORY);
    s->structured = structured;
    s->fd = client(structured);
    write_script(s);
    sender = fiber_spawn(fiber_io(), "client-sender", send_script, s);
    for (unsigned left = REQUESTS; left > 0;) {
        uint8_t magic[4];
        receive(s->fd, magic, 4);
        if (get(magic, 4) == 0x67446698) {
            take_simple(s);
            left--;
        } else {
            assert_true(structured && get(magic, 4) == 0x668e33ef);
            left -= take_chunk(s);
        }
    }
    fiber_join(sender);
    assert_true(s->sent);
    fio_close_always(s->fd);
    bytes_free(&s->bytes);
    free(s);
    stop();
    assert_volume_is_the_model();
}

static void requests_arrive_however_they_are_cut_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        bool structured = i % 2;
        seed = 100 + i;
        memset(model, 0, STATIC);
        fixture_punch(&f, 0, 0, STATIC);
        fixture_run(run_scripts, &structured);
    }
}

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
    serve(EXPORT_CONN_MEMORY);
    fd = client(false);
    disk_begin();
    for (unsigned i = 0; i < 3; i++) {
        ask(fd, NBD_CMD_WRITE, i, BAD, lengths[i]);
        say(fd, payload, lengths[i]);
        assert_int_equal(simple(fd, i), NBD_EIO);
    }
    ask(fd, NBD_CMD_READ, 9, STATIC, sizeof p); /* and it goes on */
    assert_int_equal(simple(fd, 9), 0);
    receive(fd, p, sizeof p);
    disk_end();
    fio_close_always(fd);
    stop();
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
    serve(EXPORT_CONN_MEMORY);
    fd = client(false);
    disk_begin();
    say(fd, p, put_request(p, NBD_CMD_WRITE, NBD_CMD_FLAG_FUA, 1, LATE, MIB));
    say(fd, payload, MIB);
    assert_int_equal(simple(fd, 1), 0);
    assert_true(disk.late_ended);
    assert_true(disk.synced_after);
    disk_end();
    fio_close_always(fd);
    stop();
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
    serve(2 * EXPORT_CONN_MEMORY);
    lazy = client(false);
    other = client(false);
    for (unsigned i = 0; i < 64; i++)
        ask(lazy, NBD_CMD_READ, i, STATIC, 200000);
    for (unsigned i = 0; i < 100; i++) {
        ask(other, NBD_CMD_READ, i, STATIC, sizeof p);
        assert_int_equal(simple(other, i), 0);
        receive(other, p, sizeof p);
        assert_memory_equal(p, model + STATIC, sizeof p);
    }
    assert_int_equal(export_connections(exports, capture), 2);
    fio_close_always(lazy);
    fio_close_always(other);
    stop();
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
    serve(3 * EXPORT_CONN_MEMORY + 1);
    for (unsigned i = 0; i < 3; i++)
        its[i] = client(true);
    more = fio_connect(&addr, TIMEOUT);
    assert_true(more >= 0);
    assert_true(fio_recv(more, p, 1, TIMEOUT) <= 0);
    fio_close_always(more);
    ask(its[0], NBD_CMD_DISC, 1, 0, 0);
    assert_int_equal(fio_recv(its[0], p, 1, TIMEOUT), 0);
    fio_close_always(its[0]);
    its[0] = client(true);
    for (unsigned i = 0; i < 3; i++)
        fio_close_always(its[i]);
    stop();
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
    serve(4 * EXPORT_CONN_MEMORY);
    good = client(false);
    bad = client(false);
    ask(bad, NBD_CMD_READ, 1, STATIC, 16);
    say(bad, p, sizeof p);
    assert_int_equal(simple(bad, 1), 0); /* what came before is answered */
    receive(bad, p, 16);
    assert_true(fio_recv(bad, p, 1, TIMEOUT) <= 0);
    fio_close_always(bad);
    bad = client(false);
    ask(bad, NBD_CMD_WRITE, 1, 0, NBD_PAYLOAD_MAX + 1);
    assert_true(fio_recv(bad, p, 1, TIMEOUT) <= 0);
    fio_close_always(bad);
    bad = client(false);
    ask(bad, NBD_CMD_WRITE, 1, 0, 100000); /* and goes without having sent it */
    fio_close_always(bad);
    ask(good, NBD_CMD_READ, 2, STATIC, 16);
    assert_int_equal(simple(good, 2), 0);
    receive(good, p, 16);
    fio_close_always(good);
    stop();
    assert_volume_is_the_model();
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
    stop();
    s->stopped = true;
}

static void stop_with_requests_in_flight(void *arg)
{
    struct stopper s = {0};
    uint8_t *payload = err_calloc(1, MIB), p[1];
    int fd;
    (void)arg;
    serve(EXPORT_CONN_MEMORY);
    fd = client(false);
    memset(payload, 0x5a, MIB);
    memset(model, 0x5a, MIB);
    ask(fd, NBD_CMD_WRITE, 1, 0, MIB);
    say(fd, payload, MIB);
    ask(fd, NBD_CMD_FLUSH, 2, 0, 0);
    while (export_connections(exports, capture) == 0)
        (void)fiber_sleep(IO_MS);
    (void)fiber_sleep(50 * IO_MS); /* both have been taken by now */
    s.fiber = fiber_spawn(fiber_io(), "stopper", stop_it, &s);
    assert_int_equal(simple(fd, 1), 0);
    assert_int_equal(simple(fd, 2), 0);
    assert_true(fio_recv(fd, p, 1, TIMEOUT) <= 0);
    fiber_join(s.fiber);
    assert_true(s.stopped);
    fio_close_always(fd);
    assert_int_equal(access(addr.path, F_OK), -1);
    free(payload);
    assert_volume_is_the_model();
}

static void stopping_answers_what_is_in_flight(void **state)
{
    (void)state;
    fixture_run(stop_with_requests_in_flight, NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_arrive_however_they_are_cut_up),
        T(a_write_that_fails_is_told_also_when_only_a_piece_of_it_did),
        T(a_fua_write_in_pieces_is_synced_after_the_last_of_them),
        T(a_client_that_does_not_read_holds_up_only_itself),
        T(there_are_as_many_connections_as_memory_for_them),
        T(rubbish_ends_its_connection_and_nothing_else),
        T(stopping_answers_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
