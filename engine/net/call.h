/* call.h: requests and replies over a link, many in flight: the client's side of the protocol.
 *
 * A caller owns its link and a fiber that receives replies and answers pings; it pings on its own
 * when nothing came for a while, and breaks the link when a pong stays out (half-dead links are
 * found in seconds). After a break every call, waiting or new, fails with the reason. */
#ifndef RELAIS_CALL_H
#define RELAIS_CALL_H

#include "link.h"

struct caller;

#define CALL_GREETING_NS (10 * IO_S) /* Welcome must come within */
/* A ping goes out after CALL_PING_NS of silence; after CALL_PONG_NS more the peer is taken for
 * gone, unless it still takes our bytes: then the line is slow, not dead. */
#define CALL_PING_NS (2 * IO_S)
#define CALL_PONG_NS (6 * IO_S)
#define CALL_LOOK_NS (1 * IO_S) /* between looks at what the peer has acknowledged */

/* Takes over the link (closed in any case), sends Hello and waits for Welcome. Errors: NET, PROTO,
 * AUTH. (waits) */
int caller_new(struct caller **out, struct link *l, struct err *e);
/* Breaks the link, fails what is waiting, frees. No fiber may be inside a call_*. (waits) */
void caller_free(struct caller *c);
/* 0 while it works; else the error that broke it. */
int caller_broken(const struct caller *c, struct err *e);
/* The peer is about to stop: begin nothing more here, and go to another address. */
bool caller_leaving(const struct caller *c);
/* Who answers: the pinned name, on a plain link the name from its Welcome. */
const char *caller_peer(const struct caller *c);
struct link *caller_link(struct caller *c);

struct call {
    uint8_t expect; /* type of the reply */
    void *payload;  /* where the reply's payload goes; NULL: none is accepted */
    uint32_t payload_cap;
    uint32_t payload_len; /* what came */
    struct message reply; /* valid after call_wait until call_end */
    /* call.c's */
    struct caller *caller;
    struct call *next;
    uint32_t id;
    int state;
    struct fiber_cond arrived;
    struct err err;
};

/* Sends the request; at most CALLS_MAX are in flight, the next waits its turn. 0: call_wait must
 * follow. (waits) */
int call_start(struct caller *c, struct call *call, uint8_t type, const ProtobufCMessage *any,
               const void *payload, uint32_t payload_len, struct err *e);
/* Sends a frame that gets no reply (pieces of a part but the last). A Refused that fits no call
 * breaks the link with what it says: the peer has no use for what would follow. (waits) */
int call_send(struct caller *c, uint8_t type, const ProtobufCMessage *any, const void *payload,
              uint32_t payload_len, struct err *e);
/* Waits for the reply. A Refused reply becomes the error it carries, its text behind the peer's
 * name. A fiber cancelled in here breaks the link: what comes for the call has nowhere to go any
 * more. Must be followed by call_end. (waits) */
int call_wait(struct call *call, struct err *e);
void call_end(struct call *call);

#endif
