/* wan_packet: a packet of many segments may be cut between any two; a reset is one that TCP obeys.
 */
#include "wan_fixture.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TCP (WAN_VNET + 20)

static void segments_and_bytes_are_those_of_the_wire(void **state)
{
    struct wan_packet *p = tcp_packet(1, 1, TH_ACK, 3000, 1460),
                      *one = tcp_packet(1, 1, TH_ACK, 100, 0);
    (void)state;
    assert_int_equal(p->segs, 3);
    assert_int_equal(p->wire, 3000 + 3 * TCP4_HEADERS);
    assert_int_equal(wan_packet_wire(p, 0, 1), 1460 + TCP4_HEADERS);
    assert_int_equal(wan_packet_wire(p, 2, 1), 80 + TCP4_HEADERS);
    assert_int_equal(one->segs, 1);
    assert_int_equal(one->wire, 140);
    free(p);
    free(one);
}

static void cut_anywhere_the_pieces_are_the_stream(void **state)
{
    struct wan_packet *p = tcp_packet(1000, 1, TH_ACK | TH_PUSH | TH_FIN, 14600 + 7, 1460);
    (void)state;
    for (uint32_t first = 0; first < p->segs; first++)
        for (uint32_t count = 1; first + count <= p->segs; count++) {
            struct wan_packet *c = wan_packet_cut(p, first, count);
            uint32_t payload = c->len - WAN_VNET - TCP4_HEADERS;
            bool last = first + count == p->segs;
            assert_true(sums_fit(c->data, c->len));
            assert_int_equal(seq_of(c->data), 1000 + first * 1460);
            assert_int_equal(payload,
                             last ? p->len - WAN_VNET - TCP4_HEADERS - first * 1460 : count * 1460);
            assert_int_equal(c->wire, payload + count * TCP4_HEADERS);
            for (uint32_t i = 0; i < payload; i++)
                assert_int_equal(c->data[TCP + 20 + i], (uint8_t)(1000 + first * 1460 + i));
            /* What ends the stream goes with its last byte. */
            assert_int_equal(c->data[TCP + 13] & (TH_FIN | TH_PUSH), last ? TH_FIN | TH_PUSH : 0);
            assert_int_equal(c->data[1] != 0, count > 1); /* gso_type */
            free(c);
        }
    free(p);
}

static void what_is_no_packet_is_not_taken(void **state)
{
    uint8_t junk[100] = {0};
    struct wan_packet *p = tcp_packet(1, 1, TH_ACK, 100, 0);
    (void)state;
    assert_null(wan_packet_new(junk, sizeof junk));
    assert_null(wan_packet_new(p->data, WAN_VNET + 10));
    p->data[WAN_VNET] = 0x4f; /* a header of 60 bytes, in a packet that ends before */
    assert_null(wan_packet_new(p->data, WAN_VNET + 50));
    p->data[WAN_VNET] = 0x45;
    p->data[1] = 1; /* many segments, of no size */
    assert_null(wan_packet_new(p->data, p->len));
    free(p);
}

static void a_reset_is_where_each_side_expects_the_next_byte(void **state)
{
    struct wan_packet *p = tcp_packet(5000, 900, TH_ACK, 100, 0);
    uint8_t r[WAN_RESET_LEN];
    size_t len = wan_packet_reset(r, p, true);
    (void)state;
    assert_int_equal(len, WAN_VNET + TCP4_HEADERS);
    assert_true(sums_fit(r, len));
    assert_int_equal(r[TCP + 13], TH_RST);
    assert_int_equal(seq_of(r), 900);
    assert_memory_equal(r + WAN_VNET + 12, ((uint8_t[]){10, 77, 0, 2, 10, 77, 0, 1}), 8);
    assert_memory_equal(r + TCP, ((uint8_t[]){7420 >> 8, 7420 & 255, 40000 >> 8, 40000 & 255}), 4);
    len = wan_packet_reset(r, p, false);
    assert_true(sums_fit(r, len));
    assert_int_equal(seq_of(r), 5000);
    assert_memory_equal(r + WAN_VNET + 12, p->data + WAN_VNET + 12, 8);
    free(p);
}

static void a_connection_attempt_is_refused(void **state)
{
    struct wan_packet *p = tcp_packet(5000, 0, TH_SYN, 0, 0);
    uint8_t r[WAN_RESET_LEN];
    size_t len = wan_packet_reset(r, p, true);
    (void)state;
    assert_true(sums_fit(r, len));
    assert_int_equal(r[TCP + 13], TH_RST | TH_ACK);
    assert_memory_equal(r + TCP + 8, ((uint8_t[]){0, 0, 5001 >> 8, 5001 & 255}), 4);
    free(p);
}

static void a_reset_is_not_answered_and_udp_hears_that_nobody_is_there(void **state)
{
    struct wan_packet *rst = tcp_packet(1, 0, TH_RST, 0, 0), *udp = udp_packet(500);
    uint8_t r[WAN_RESET_LEN];
    (void)state;
    assert_int_equal(wan_packet_reset(r, rst, true), 0);
    assert_int_equal(wan_packet_reset(r, rst, false), 0);
    assert_int_equal(wan_packet_reset(r, udp, false), 0);
    assert_int_equal(wan_packet_reset(r, udp, true), WAN_VNET + 20 + 8 + 28);
    assert_int_equal(r[WAN_VNET + 20], 3);
    assert_memory_equal(r + WAN_VNET + 28, udp->data + WAN_VNET, 28);
    free(rst);
    free(udp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_and_bytes_are_those_of_the_wire),
        cmocka_unit_test(cut_anywhere_the_pieces_are_the_stream),
        cmocka_unit_test(what_is_no_packet_is_not_taken),
        cmocka_unit_test(a_reset_is_where_each_side_expects_the_next_byte),
        cmocka_unit_test(a_connection_attempt_is_refused),
        cmocka_unit_test(a_reset_is_not_answered_and_udp_hears_that_nobody_is_there),
    };
    return cmocka_run_group_tests_name("wan_packet", tests, NULL, NULL);
}
