/* packet.h: a packet as the TUN devices give and take it, and what may be done to one. Pure.
 *
 * With segmentation offload the kernel hands over up to 64 KiB of one TCP stream as one packet: so
 * many segments of the path's MTU. The link counts, delays and loses segments, so a packet can be
 * cut between two of them; whole runs are passed on as they came, which is what makes 1 Gbit/s
 * possible.
 *
 *   data:  virtio_net_hdr (WAN_VNET) | IPv4 or IPv6 header | TCP ... */
#ifndef RELAIS_WAN_PACKET_H
#define RELAIS_WAN_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WAN_VNET       10u /* struct virtio_net_hdr, as TUN has it by default */
#define WAN_PACKET_MAX (WAN_VNET + 65535u)
#define WAN_RESET_LEN  (WAN_VNET + 80u) /* what wan_packet_reset may need */

struct wan_packet {
    struct wan_packet *next;
    uint64_t arrived, due; /* ns of the model's clock */
    uint32_t segs;         /* segments on the wire; >= 1 */
    uint32_t wire;         /* bytes on the wire, headers of all segments included */
    uint32_t len;          /* of data */
    uint8_t data[];
};

/* Copies what a TUN device gave. NULL when it is no packet that could be passed on. */
struct wan_packet *wan_packet_new(const uint8_t *data, size_t len);
/* The bytes that segments [first, first + count) take on the wire. */
uint32_t wan_packet_wire(const struct wan_packet *p, uint32_t first, uint32_t count);
/* A packet of these segments of p, with p's times; all of them: a copy. */
struct wan_packet *wan_packet_cut(const struct wan_packet *p, uint32_t first, uint32_t count);
/* What a firewall says that resets: written to dst (WAN_RESET_LEN), the length is returned, 0: no
 * answer to this one. to_sender: the RST that answers p, or for what is not TCP an ICMP message
 * that its destination is unreachable; else the RST that tells p's receiver, in p's sender's name.
 */
size_t wan_packet_reset(uint8_t *dst, const struct wan_packet *p, bool to_sender);

#endif
