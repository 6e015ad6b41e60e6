#include "packet.h"

#include "err.h"

#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

/* Where the parts of a packet lie. */
struct layout {
    struct virtio_net_hdr vnet;
    bool v6, tcp;
    uint32_t ip;      /* offset of the IP header: WAN_VNET */
    uint32_t l4;      /* of what follows it */
    uint32_t payload; /* of the TCP payload */
};

_Static_assert(sizeof(struct virtio_net_hdr) == WAN_VNET, "the header that TUN uses by default");

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

/* False: not IP, or shorter than it says. */
static bool find_layout(struct layout *l, const uint8_t *data, size_t len)
{
    const uint8_t *ip = data + WAN_VNET;
    size_t left = len - WAN_VNET, tcp_len;
    uint8_t next;
    memcpy(&l->vnet, data, WAN_VNET);
    l->ip = WAN_VNET;
    l->v6 = ip[0] >> 4 == 6;
    if (l->v6) {
        if (left < sizeof(struct ip6_hdr))
            return false;
        next = ip[6];
        l->l4 = WAN_VNET + (uint32_t)sizeof(struct ip6_hdr);
    } else {
        if (ip[0] >> 4 != 4 || left < sizeof(struct iphdr) || (ip[0] & 15) < 5 ||
            left < (size_t)(ip[0] & 15) * 4)
            return false;
        /* A fragment behind the first has no TCP header. */
        next = get16(ip + 6) & 0x1fff ? 0 : ip[9];
        l->l4 = WAN_VNET + (uint32_t)(ip[0] & 15) * 4;
    }
    l->tcp = next == IPPROTO_TCP && len >= l->l4 + sizeof(struct tcphdr);
    l->payload = (uint32_t)len;
    if (!l->tcp)
        return true;
    tcp_len = (size_t)(data[l->l4 + 12] >> 4) * 4;
    l->payload = l->l4 + (uint32_t)tcp_len;
    return tcp_len >= sizeof(struct tcphdr) && l->payload <= len;
}

struct wan_packet *wan_packet_new(const uint8_t *data, size_t len)
{
    struct wan_packet *p;
    struct layout l;
    uint32_t headers, payload;
    if (len < WAN_VNET + sizeof(struct iphdr) || len > WAN_PACKET_MAX ||
        !find_layout(&l, data, len))
        return NULL;
    if (l.vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE && (!l.tcp || l.vnet.gso_size == 0))
        return NULL;
    p = err_malloc(sizeof *p + len);
    *p = (struct wan_packet){.segs = 1, .len = (uint32_t)len};
    headers = l.payload - WAN_VNET;
    payload = (uint32_t)len - l.payload;
    if (l.vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE && payload > l.vnet.gso_size)
        p->segs = (payload + l.vnet.gso_size - 1) / l.vnet.gso_size;
    p->wire = payload + headers * p->segs;
    memcpy(p->data, data, len);
    return p;
}

uint32_t wan_packet_wire(const struct wan_packet *p, uint32_t first, uint32_t count)
{
    struct layout l;
    uint32_t headers, payload, size, from, to;
    if (p->segs == 1)
        return p->wire;
    ASSERT(find_layout(&l, p->data, p->len));
    headers = l.payload - WAN_VNET;
    payload = p->len - l.payload;
    size = l.vnet.gso_size;
    from = first * size;
    to = (first + count) * size < payload ? (first + count) * size : payload;
    return to - from + count * headers;
}

/* Adds to the ones' complement sum behind a checksum field. */
static void sum_add(uint8_t *field, uint32_t from, uint32_t to)
{
    uint32_t sum = get16(field) + (0xffffu - (from & 0xffff)) + (to & 0xffff);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    put16(field, sum);
}

static uint16_t checksum(const uint8_t *p, size_t len, uint32_t sum)
{
    for (size_t i = 0; i + 1 < len; i += 2)
        sum += get16(p + i);
    if (len & 1)
        sum += (uint32_t)p[len - 1] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The headers of a run of segments: its lengths, sequence number, flags and sums. */
static void fix_headers(struct wan_packet *c, const struct wan_packet *p, const struct layout *l,
                        uint32_t skipped, bool last)
{
    uint8_t *ip = c->data + l->ip, *tcp = c->data + l->l4;
    uint32_t old_len = p->len - l->l4, new_len = c->len - l->l4;
    if (l->v6) {
        put16(ip + 4, new_len);
    } else {
        put16(ip + 2, c->len - l->ip);
        put16(ip + 10, 0);
        put16(ip + 10, checksum(ip, l->l4 - l->ip, 0));
    }
    put32(tcp + 4, get32(tcp + 4) + skipped);
    if (!last)
        tcp[13] &= (uint8_t) ~(TH_FIN | TH_PUSH);
    if (skipped > 0)
        tcp[13] &= 0x7f; /* CWR: of the first segment */
    /* A packet of many segments comes with its sum partial: that of the pseudo header. */
    sum_add(tcp + 16, old_len, new_len);
}

struct wan_packet *wan_packet_cut(const struct wan_packet *p, uint32_t first, uint32_t count)
{
    struct wan_packet *c;
    struct layout l;
    uint32_t payload, size, from, to;
    ASSERT(count > 0 && first + count <= p->segs);
    if (count == p->segs) {
        c = err_malloc(sizeof *c + p->len);
        memcpy(c, p, sizeof *p + p->len);
        c->next = NULL;
        return c;
    }
    ASSERT(find_layout(&l, p->data, p->len));
    size = l.vnet.gso_size;
    payload = p->len - l.payload;
    from = first * size;
    to = (first + count) * size < payload ? (first + count) * size : payload;
    c = err_malloc(sizeof *c + l.payload + (to - from));
    *c = (struct wan_packet){.arrived = p->arrived, .due = p->due, .segs = count};
    c->len = l.payload + (to - from);
    c->wire = wan_packet_wire(p, first, count);
    memcpy(c->data, p->data, l.payload);
    memcpy(c->data + l.payload, p->data + l.payload + from, to - from);
    fix_headers(c, p, &l, from, first + count == p->segs);
    if (count == 1) {
        struct virtio_net_hdr one = l.vnet;
        one.gso_type = VIRTIO_NET_HDR_GSO_NONE;
        one.gso_size = 0;
        memcpy(c->data, &one, WAN_VNET);
    }
    return c;
}

/* ---- resets ---- */

/* The sum of TCP or ICMPv6 with its pseudo header. */
static uint16_t l4_checksum(const uint8_t *ip, bool v6, const uint8_t *l4, size_t len,
                            uint8_t protocol)
{
    const uint8_t *addrs = ip + (v6 ? 8 : 12);
    uint32_t sum = (uint32_t)len + protocol;
    for (unsigned i = 0; i < (v6 ? 32u : 8u); i += 2)
        sum += get16(addrs + i);
    return checksum(l4, len, sum);
}

/* An IP header from p's, turned round or not. Returns its length. */
static size_t put_ip(uint8_t *ip, const uint8_t *of, bool v6, bool turn, uint8_t protocol,
                     size_t l4_len)
{
    size_t addr = v6 ? 16 : 4, at = v6 ? 8 : 12, len = v6 ? 40 : 20;
    memset(ip, 0, len);
    ip[0] = v6 ? 0x60 : 0x45;
    if (v6) {
        put16(ip + 4, (uint32_t)l4_len);
        ip[6] = protocol;
        ip[7] = 64;
    } else {
        put16(ip + 2, (uint32_t)(len + l4_len));
        ip[8] = 64;
        ip[9] = protocol;
    }
    memcpy(ip + at, of + at + (turn ? addr : 0), addr);
    memcpy(ip + at + addr, of + at + (turn ? 0 : addr), addr);
    if (!v6)
        put16(ip + 10, checksum(ip, len, 0));
    return len;
}

/* RFC 9293, 3.10.7.1: what acknowledges is reset at what it acknowledges, else by acknowledging
 * it. */
static size_t reset_tcp(uint8_t *dst, const struct wan_packet *p, const struct layout *l, bool turn)
{
    const uint8_t *tcp = p->data + l->l4;
    uint8_t *ip = dst + WAN_VNET, *out;
    uint32_t seq_len =
        p->len - l->payload + (tcp[13] & TH_SYN ? 1 : 0) + (tcp[13] & TH_FIN ? 1 : 0);
    if (tcp[13] & TH_RST)
        return 0;
    out = ip + put_ip(ip, p->data + l->ip, l->v6, turn, IPPROTO_TCP, sizeof(struct tcphdr));
    memset(out, 0, sizeof(struct tcphdr));
    memcpy(out, tcp + (turn ? 2 : 0), 2);
    memcpy(out + 2, tcp + (turn ? 0 : 2), 2);
    out[12] = sizeof(struct tcphdr) / 4 << 4;
    out[13] = TH_RST;
    if (!turn) {
        put32(out + 4, get32(tcp + 4));
    } else if (tcp[13] & TH_ACK) {
        put32(out + 4, get32(tcp + 8));
    } else {
        put32(out + 8, get32(tcp + 4) + seq_len);
        out[13] |= TH_ACK;
    }
    put16(out + 16, l4_checksum(ip, l->v6, out, sizeof(struct tcphdr), IPPROTO_TCP));
    return (size_t)(out - dst) + sizeof(struct tcphdr);
}

/* Host unreachable, with the head of what could not be sent. */
static size_t unreachable(uint8_t *dst, const struct wan_packet *p, const struct layout *l)
{
    uint8_t *ip = dst + WAN_VNET, *out;
    size_t quoted = l->l4 - l->ip + 8;
    const size_t room = WAN_RESET_LEN - WAN_VNET - (l->v6 ? 40 : 20) - 8;
    uint8_t protocol = l->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    if (quoted > p->len - WAN_VNET)
        quoted = p->len - WAN_VNET;
    if (quoted > room)
        quoted = room;
    out = ip + put_ip(ip, p->data + l->ip, l->v6, true, protocol, 8 + quoted);
    memset(out, 0, 8);
    out[0] = l->v6 ? ICMP6_DST_UNREACH : ICMP_DEST_UNREACH;
    out[1] = l->v6 ? ICMP6_DST_UNREACH_ADDR : ICMP_HOST_UNREACH;
    memcpy(out + 8, p->data + l->ip, quoted);
    put16(out + 2,
          l->v6 ? l4_checksum(ip, true, out, 8 + quoted, protocol) : checksum(out, 8 + quoted, 0));
    return (size_t)(out - dst) + 8 + quoted;
}

size_t wan_packet_reset(uint8_t *dst, const struct wan_packet *p, bool to_sender)
{
    struct layout l;
    uint8_t protocol;
    ASSERT(find_layout(&l, p->data, p->len));
    memset(dst, 0, WAN_VNET);
    if (l.tcp)
        return reset_tcp(dst, p, &l, to_sender);
    protocol = p->data[l.ip + (l.v6 ? 6 : 9)];
    /* Never an error about an error. */
    return to_sender && protocol == IPPROTO_UDP ? unreachable(dst, p, &l) : 0;
}
