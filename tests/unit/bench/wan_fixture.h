/* wan_fixture.h: packets for the tests of the emulated link. */
#ifndef RELAIS_WAN_FIXTURE_H
#define RELAIS_WAN_FIXTURE_H

#include "packet.h"

#define TCP4_HEADERS 40u

/* IPv4 TCP with this payload, its bytes counting up from the sequence number's; size > 0: as one
 * packet of segments of that many bytes, its checksum partial as the kernel leaves it. flags: of
 * TCP. */
struct wan_packet *tcp_packet(uint32_t seq, uint32_t ack, uint8_t flags, uint32_t payload,
                              uint16_t size);
/* IPv4 UDP, so many bytes on the wire. */
struct wan_packet *udp_packet(uint32_t wire);
uint32_t seq_of(const uint8_t *data);
/* Whether IP and TCP checksums fit (a partial one: the pseudo header's). */
bool sums_fit(const uint8_t *data, size_t len);

#endif
