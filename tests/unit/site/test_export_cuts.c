/* export: what a client says reaches the volume, and it gets its answers, however the bytes are cut
 * up on their way. */
#include "export_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUESTS 400

static uint64_t seed;
static uint64_t rnd(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

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
        bytes_put(&s->bytes, p, client_request(p, command, rnd(4) == 0, i, off, len));
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
                memcpy(served.model + off, s->bytes.p + at, len);
        } else if (!s->its[i].refused && !reads) {
            memset(served.model + off, 0, len);
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
        client_say(s->fd, s->bytes.p + at, n);
        at += n;
        if (rnd(4) == 0)
            (void)fiber_yield();
    }
    s->sent = true;
}

static void take_data(struct script *s, uint64_t cookie, uint64_t off, uint32_t len)
{
    uint8_t *p = err_malloc(len);
    client_receive(s->fd, p, len);
    assert_int_equal(s->its[cookie].command, NBD_CMD_READ);
    assert_true(off >= s->its[cookie].off && off + len <= s->its[cookie].off + s->its[cookie].len);
    assert_memory_equal(p, served.model + off, len);
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
    client_receive(s->fd, p, sizeof p);
    cookie = wire_get(p + 4, 8);
    assert_true(cookie < REQUESTS);
    if (s->its[cookie].command == NBD_CMD_READ) {
        assert_false(s->structured);
        if (wire_get(p, 4) == 0)
            take_data(s, cookie, s->its[cookie].off, s->its[cookie].len);
    }
    take_end(s, cookie, (uint32_t)wire_get(p, 4));
}

/* True when it was the request's last. */
static bool take_chunk(struct script *s)
{
    uint8_t p[16], data[512];
    uint64_t cookie;
    uint32_t len, error = 0;
    client_receive(s->fd, p, sizeof p);
    cookie = wire_get(p + 4, 8);
    len = (uint32_t)wire_get(p + 12, 4);
    assert_true(cookie < REQUESTS);
    if (wire_get(p + 2, 2) == 1) {
        client_receive(s->fd, data, 8);
        take_data(s, cookie, wire_get(data, 8), len - 8);
    } else if (wire_get(p + 2, 2) == 2) {
        client_receive(s->fd, data, 12);
        assert_true(bytes_zero(served.model + wire_get(data, 8), wire_get(data + 8, 4)));
        s->its[cookie].got += (uint32_t)wire_get(data + 8, 4);
    } else if (len > 0) {
        assert_true(len <= sizeof data);
        client_receive(s->fd, data, len);
        error = (uint32_t)wire_get(data, 4);
    }
    if (wire_get(p, 2) & 1)
        take_end(s, cookie, error);
    return wire_get(p, 2) & 1;
}

static void run_scripts(void *arg)
{
    bool structured = *(bool *)arg;
    struct script *s = err_calloc(1, sizeof *s);
    struct fiber *sender;
    export_serve(EXPORT_CONN_MEMORY);
    s->structured = structured;
    s->fd = client_new(structured);
    write_script(s);
    sender = fiber_spawn(fiber_io(), "client-sender", send_script, s);
    for (unsigned left = REQUESTS; left > 0;) {
        uint8_t magic[4];
        client_receive(s->fd, magic, 4);
        if (wire_get(magic, 4) == 0x67446698) {
            take_simple(s);
            left--;
        } else {
            assert_true(structured && wire_get(magic, 4) == 0x668e33ef);
            left -= take_chunk(s);
        }
    }
    fiber_join(sender);
    assert_true(s->sent);
    fio_close_always(s->fd);
    bytes_free(&s->bytes);
    free(s);
    export_unserve();
    assert_volume_is_model();
}

static void requests_arrive_however_they_are_cut_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        bool structured = i % 2;
        seed = 100 + i;
        memset(served.model, 0, STATIC);
        fixture_punch(&served.f, 0, 0, STATIC);
        fixture_run(run_scripts, &structured);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, export_setup, export_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(requests_arrive_however_they_are_cut_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
