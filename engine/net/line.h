/* line.h: requests to a hub that has several addresses: when the connection breaks, or the hub is
 * about to stop, they go on over another one. For requests that may be asked twice.
 *
 * What fails is tried again for LINE_PATIENCE_NS after something last went well; so a reader gets
 * over the end of one hub of a pair, and over a store that does not answer for a minute. */
#ifndef RELAIS_LINE_H
#define RELAIS_LINE_H

#include "call.h"

#define LINE_PATIENCE_NS (120 * IO_S)

struct line_hop; /* one connection */
struct line {
    int (*connect)(void *arg, struct caller **out, struct err *e); /* NULL: one connection, once */
    void *arg;
    struct line_hop *now;
    uint64_t lost_since; /* io_now; 0: all is well */
    struct fiber_mutex mending;
};
struct line_call {
    struct call call; /* expect and payload are set by the asker */
    struct line_hop *hop;
};

/* Begins with a connection that exists: borrowed when connect is NULL, else the line's from now on.
 * connect (waits) and tries all addresses. */
void line_init(struct line *l, struct caller *first,
               int (*connect)(void *arg, struct caller **out, struct err *e), void *arg);
/* No call may be open. (waits) */
void line_close(struct line *l);

/* As call_start, over a connection that works; makes one if there is none. (waits) */
int line_start(struct line *l, struct line_call *c, uint8_t type, const ProtobufCMessage *any,
               const void *payload, uint32_t payload_len, struct err *e);
/* As call_wait. line_end must follow. (waits) */
int line_wait(struct line *l, struct line_call *c, struct err *e);
void line_end(struct line *l, struct line_call *c);
/* After line_wait returned rc and before line_end: whether to ask anew. (waits a moment) */
bool line_again(struct line *l, const struct line_call *c, int rc);
/* All of that; 0: the reply is there and line_end must follow. (waits) */
int line_ask(struct line *l, struct line_call *c, uint8_t type, const ProtobufCMessage *any,
             const void *payload, uint32_t payload_len, struct err *e);

#endif
