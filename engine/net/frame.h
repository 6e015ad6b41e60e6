/* frame.h: the unit of the link and of the control socket.
 *
 *   0       2     3      4             8                12              16
 *   | magic | type| zero | request id  | message length | payload length| message | payload |
 *
 * little-endian; magic 0x4c52; message (protobuf) <= MESSAGE_MAX, payload <= PAYLOAD_MAX. A reply
 * carries the id of its request; frames that get none (Ping, pieces of a part but the last) have id
 * 0, and a Refused with it says why the connection ends. Pure: bytes in, decision out. */
#ifndef RELAIS_FRAME_H
#define RELAIS_FRAME_H

#include "bounds.h"
#include "err.h"

#include <stdint.h>

#define FRAME_HEADER_LEN 16
#define FRAME_MAGIC      0x4c52u

/* Type number, protobuf-c type, whether a payload may follow. Numbers are the wire's. */
#define FRAME_TYPES(X)                                                                             \
    X(1, Hello, hello, 0)                                                                          \
    X(2, Welcome, welcome, 0)                                                                      \
    X(3, Leaving, leaving, 0)                                                                      \
    X(4, Refused, refused, 0)                                                                      \
    X(5, Ping, ping, 0)                                                                            \
    X(6, Pong, pong, 0)                                                                            \
    X(7, HeadGet, head_get, 0)                                                                     \
    X(8, Head, head, 1)                                                                            \
    X(9, Withdraw, withdraw, 0)                                                                    \
    X(10, Offer, offer, 1)                                                                         \
    X(11, Join, join, 0)                                                                           \
    X(12, Need, need, 0)                                                                           \
    X(13, Part, part, 1)                                                                           \
    X(14, PartStored, part_stored, 0)                                                              \
    X(15, Commit, commit, 0)                                                                       \
    X(16, Committed, committed, 0)                                                                 \
    X(17, AttestGet, attest_get, 0)                                                                \
    X(18, Attest, attest, 1)                                                                       \
    X(19, HistoryGet, history_get, 0)                                                              \
    X(20, History, history, 0)                                                                     \
    X(21, Fetch, fetch, 0)                                                                         \
    X(22, Fetched, fetched, 1)                                                                     \
    X(23, FetchMany, fetch_many, 0)                                                                \
    X(24, FetchedMany, fetched_many, 1)                                                            \
    X(25, TerritoryGet, territory_get, 0)                                                          \
    X(26, Territory, territory, 0)                                                                 \
    X(27, WrapsPut, wraps_put, 1)                                                                  \
    X(28, WrapsStored, wraps_stored, 0)                                                            \
    X(29, WrapsGet, wraps_get, 0)                                                                  \
    X(30, Wraps, wraps, 1)                                                                         \
    X(31, AuditGet, audit_get, 0)                                                                  \
    X(32, AuditEntries, audit_entries, 1)                                                          \
    X(33, Enrol, enrol, 0)                                                                         \
    X(34, Enrolled, enrolled, 0)                                                                   \
    X(35, StatusGet, status_get, 0)                                                                \
    X(36, Status, status, 0)                                                                       \
    X(37, MarkSet, mark_set, 0)                                                                    \
    X(38, Marked, marked, 0)                                                                       \
    X(39, RateSet, rate_set, 0)                                                                    \
    X(40, RateState, rate_state, 0)                                                                \
    X(41, PauseSet, pause_set, 0)                                                                  \
    X(42, PauseState, pause_state, 0)                                                              \
    X(43, Resize, resize, 0)                                                                       \
    X(44, Resized, resized, 0)                                                                     \
    X(45, Rotate, rotate, 0)                                                                       \
    X(46, Rotated, rotated, 0)                                                                     \
    X(47, Record, record, 0)                                                                       \
    X(48, Recorded, recorded, 0)                                                                   \
    X(49, Invite, invite, 0)                                                                       \
    X(50, Invited, invited, 0)                                                                     \
    X(51, PeersGet, peers_get, 0)                                                                  \
    X(52, Peers, peers, 0)                                                                         \
    X(53, PeerSet, peer_set, 0)                                                                    \
    X(54, PeerDone, peer_done, 0)                                                                  \
    X(55, Compact, compact, 0)                                                                     \
    X(56, Compacted, compacted, 0)                                                                 \
    X(57, RetentionGet, retention_get, 0)                                                          \
    X(58, Retention, retention, 0)                                                                 \
    X(59, PinSet, pin_set, 0)                                                                      \
    X(60, Pinned, pinned, 0)                                                                       \
    X(61, UsageGet, usage_get, 0)                                                                  \
    X(62, Usage, usage, 0)                                                                         \
    X(63, ScrubSet, scrub_set, 0)                                                                  \
    X(64, ScrubState, scrub_state, 0)

enum frame_type {
#define X(number, Type, snake, payload) FRAME_##Type = number,
    FRAME_TYPES(X)
#undef X
};

struct frame_header {
    uint8_t type;
    uint32_t id;
    uint32_t message_len, payload_len;
};

/* Versions of the protocol. A frame type, or a field without which a message means something else,
 * that came with a version is sent only where that was agreed on; what one side may leave out needs
 * no new version: fields that are not known are passed over. Hubs are upgraded before sites, so a
 * hub speaks what the release before spoke. */
struct protocol {
    uint32_t oldest, newest;
};
#define PROTOCOL_OLDEST 1u
#define PROTOCOL_NEWEST 1u
/* The newest version that we and a peer which says `newest` and `oldest` (0: newest only) speak; 0:
 * there is none. */
uint32_t protocol_choose(const struct protocol *ours, uint32_t newest, uint32_t oldest);

const char *frame_type_name(uint8_t type); /* "Offer"; "?" when unknown */
void frame_header_encode(uint8_t dst[FRAME_HEADER_LEN], const struct frame_header *h);
/* Errors: PROTO (magic, unknown type, payload where none may be), LIMIT (lengths). */
int frame_header_decode(struct frame_header *out, const uint8_t src[FRAME_HEADER_LEN],
                        struct err *e);

#endif
