#include "wan_fixture.h"

#include "err.h"

#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

static uint32_t sum16(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void be(uint8_t *p, uint32_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

static uint32_t pseudo(const uint8_t *ip, uint32_t l4_len)
{
    return sum16(ip + 12, 8) + ip[9] + l4_len;
}

struct wan_packet *tcp_packet(uint32_t seq, uint32_t ack, uint8_t flags, uint32_t payload,
                              uint16_t size)
{
    static uint8_t data[WAN_PACKET_MAX];
    uint8_t *ip = data + WAN_VNET, *tcp = ip + 20;
    uint32_t l4 = 20 + payload;
    memset(data, 0, sizeof data);
    if (size > 0) {
        struct virtio_net_hdr v = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                                   .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                                   .hdr_len = TCP4_HEADERS,
                                   .gso_size = size,
                                   .csum_start = 20,
                                   .csum_offset = 16};
        memcpy(data, &v, sizeof v);
    }
    ip[0] = 0x45;
    be(ip + 2, 20 + l4, 2);
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, (const uint8_t[]){10, 77, 0, 1, 10, 77, 0, 2}, 8);
    be(ip + 10, (uint16_t)~fold(sum16(ip, 20)), 2);
    be(tcp, 40000, 2);
    be(tcp + 2, 7420, 2);
    be(tcp + 4, seq, 4);
    be(tcp + 8, ack, 4);
    tcp[12] = 0x50;
    tcp[13] = flags;
    for (uint32_t i = 0; i < payload; i++)
        tcp[20 + i] = (uint8_t)(seq + i);
    be(tcp + 16, size ? fold(pseudo(ip, l4)) : (uint16_t)~fold(pseudo(ip, l4) + sum16(tcp, l4)), 2);
    return wan_packet_new(data, WAN_VNET + 20 + l4);
}

struct wan_packet *udp_packet(uint32_t wire)
{
    uint8_t *data = err_calloc(1, WAN_VNET + wire), *ip = data + WAN_VNET;
    struct wan_packet *p;
    ip[0] = 0x45;
    be(ip + 2, wire, 2);
    ip[9] = 17;
    memcpy(ip + 12, (const uint8_t[]){10, 77, 0, 1, 10, 77, 0, 2}, 8);
    p = wan_packet_new(data, WAN_VNET + wire);
    free(data);
    return p;
}

uint32_t seq_of(const uint8_t *data)
{
    const uint8_t *p = data + WAN_VNET + 24;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool sums_fit(const uint8_t *data, size_t len)
{
    const uint8_t *ip = data + WAN_VNET, *tcp = ip + 20;
    uint32_t l4 = (uint32_t)(len - WAN_VNET - 20);
    if (((uint32_t)ip[2] << 8 | ip[3]) != len - WAN_VNET || fold(sum16(ip, 20)) != 0xffff)
        return false;
    if (data[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM)
        return fold(pseudo(ip, l4)) == (uint16_t)(tcp[16] << 8 | tcp[17]);
    return fold(pseudo(ip, l4) + sum16(tcp, l4)) == 0xffff;
}
