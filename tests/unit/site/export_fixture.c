#include "export_fixture.h"

#include "handshake.h"
#include "reply.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct served_volume served;

static void read_volume(uint8_t *p)
{
    int fd = open(served.f.volumes[0].path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, p, SIZE, 0), (ssize_t)SIZE);
    close(fd);
}

void assert_volume_is_model(void)
{
    uint8_t *p = err_malloc(SIZE);
    read_volume(p);
    assert_memory_equal(p, served.model, SIZE);
    free(p);
}

/* ---- the server ---- */

void export_serve(uint64_t memory)
{
    struct err e = ERR_INIT;
    struct export_volume v = {"records", &served.f.volumes[0], NULL};
    if (capture_open(&served.capture, &served.f.volumes[0], served.f.state_dir, "records", NULL,
                     false, &e) < 0)
        fail_msg("%s", e.text);
    v.capture = served.capture;
    served.f.config.export_memory = memory;
    if (export_start(&served.exports, &v, 1, &served.f.config, NULL, &e) < 0)
        fail_msg("%s", e.text);
}

void export_unserve(void)
{
    export_stop(served.exports);
    capture_close(served.capture);
    served.exports = NULL;
    served.capture = NULL;
}

/* ---- a client ---- */

void wire_be(uint8_t *p, unsigned bytes, uint64_t v)
{
    while (bytes-- > 0) {
        p[bytes] = (uint8_t)v;
        v >>= 8;
    }
}

uint64_t wire_get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

void client_receive(int fd, void *p, size_t len)
{
    for (size_t got = 0; got < len;) {
        int n = fio_recv(fd, (uint8_t *)p + got, len - got, TIMEOUT);
        assert_true(n > 0);
        got += (size_t)n;
    }
}

void client_say(int fd, const void *p, size_t len)
{
    assert_int_equal(fio_send_all(fd, p, len, TIMEOUT), 0);
}

/* Connected, and in the transmission phase. */
int client_new(bool structured)
{
    static const uint8_t option[] = "IHAVEOPT\0\0\0\x8\0\0\0\0";
    static const uint8_t go[] = "IHAVEOPT\0\0\0\7\0\0\0\6\0\0\0\0\0\0";
    uint8_t p[64];
    int fd = fio_connect(&served.addr, TIMEOUT);
    assert_true(fd >= 0);
    client_receive(fd, p, NBD_GREETING_LEN);
    client_say(fd, "\0\0\0\3", 4);
    if (structured) {
        client_say(fd, option, 16);
        client_receive(fd, p, 20);
        assert_int_equal(wire_get(p + 12, 4), 1);
    }
    client_say(fd, go, sizeof go - 1);
    client_receive(fd, p, 20 + 12); /* NBD_INFO_EXPORT */
    assert_true(wire_get(p + 22, 8) == SIZE);
    client_receive(fd, p, 20);
    assert_int_equal(wire_get(p + 12, 4), 1);
    return fd;
}

size_t client_request(uint8_t *p, unsigned command, unsigned flags, uint64_t cookie, uint64_t off,
                      uint32_t len)
{
    wire_be(p, 4, 0x25609513);
    wire_be(p + 4, 2, flags);
    wire_be(p + 6, 2, command);
    wire_be(p + 8, 8, cookie);
    wire_be(p + 16, 8, off);
    wire_be(p + 24, 4, len);
    return NBD_REQUEST_LEN;
}

void client_ask(int fd, unsigned command, uint64_t cookie, uint64_t off, uint32_t len)
{
    uint8_t p[NBD_REQUEST_LEN];
    client_say(fd, p, client_request(p, command, 0, cookie, off, len));
}

/* One simple reply; the error. */
uint32_t client_simple(int fd, uint64_t cookie)
{
    uint8_t p[NBD_REPLY_SIMPLE_LEN];
    client_receive(fd, p, sizeof p);
    assert_int_equal(wire_get(p, 4), 0x67446698);
    assert_true(wire_get(p + 8, 8) == cookie);
    return (uint32_t)wire_get(p + 4, 4);
}

int export_setup(void **state)
{
    (void)state;
    fixture_init(&served.f);
    fixture_captured(&served.f, "data", SIZE);
    fixture_fill(&served.f, 0, STATIC, SIZE - STATIC, 7);
    for (uint64_t at = STATIC; at < SIZE; at += 4 * MIB) /* holes of parts of pieces and of many */
        fixture_punch(&served.f, 0, at + 100 * KIB, at % (8 * MIB) ? 200 * KIB : 2 * MIB);
    fixture_text(served.f.volumes[0].export.path, sizeof served.f.volumes[0].export.path,
                 "%s/socket", served.f.root);
    served.f.volumes[0].export_mode = 0600;
    memset(&served.addr, 0, sizeof served.addr);
    fixture_text(served.addr.path, sizeof served.addr.path, "%s/socket", served.f.root);
    served.model = err_malloc(SIZE);
    read_volume(served.model);
    return 0;
}

int export_teardown(void **state)
{
    (void)state;
    free(served.model);
    fixture_done(&served.f);
    return 0;
}
