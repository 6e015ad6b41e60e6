/* share.h: how groups share the link: who sends next, and how fast all of them together.
 *
 * Parts go out in pieces, and each piece is somebody's turn (start-time fair queueing): a group
 * that has something to ship gets the link by its weight, whatever the sizes of what others ship,
 * and what one does not use is the others'. So a delta of the records that is sealed while imaging
 * drains waits for a piece, not for a part of 4 MiB, and imaging still gets its share: none
 * starves. Buffers are given by the same order, and some are kept from the less urgent.
 *
 * A rate limits all pieces together. Pieces are as short as the link is slow, so that a limited
 * link carries an even stream, and an urgent piece waits about SHARE_PIECE_NS for the one before
 * it. */
#ifndef RELAIS_SHARE_H
#define RELAIS_SHARE_H

#include "bounds.h"
#include "fiber.h"

enum share_class { SHARE_LOW, SHARE_NORMAL, SHARE_HIGH, SHARE_CLASSES };

#define SHARE_PLACES    LINK_PARTS_OPEN /* parts on their way out, each with a buffer */
#define SHARE_FLOW_MAX  2u              /* of one group: one is sent, one is read meanwhile */
#define SHARE_PIECE_NS  (100 * IO_MS)
#define SHARE_PIECE_MIN ((uint32_t)(16 * KIB))
/* A part that was begun gets a piece at least so often, whatever its weight: at the other end it
 * keeps a buffer. Well below HUB_PARTIAL_NS. */
#define SHARE_STALE_NS (8 * IO_S)

/* One group's. Zero-initialised is ready. */
struct share_flow {
    enum share_class class;
    bool paused;     /* begins no more parts */
    unsigned rush;   /* not 0: as urgent as can be, not paused, and outside of the rate */
    uint64_t tag;    /* virtual time from which on it is due */
    unsigned places; /* it has */
    uint64_t sent;   /* bytes, whole life */
};

enum share_state { SHARE_IDLE, SHARE_WANTS_PLACE, SHARE_HAS_PLACE, SHARE_WANTS_PIECE, SHARE_SENDS };

/* A part that is to be sent: the sending fiber's, from share_begin to share_end. */
struct share_part {
    struct share_flow *flow;
    enum share_state state;
    bool begun;       /* a piece of it has gone out */
    uint64_t asked;   /* when it began to wait */
    uint64_t granted; /* when its piece began */
    struct fiber_cond woken;
    struct share_part *next;
};

struct share {
    unsigned width;           /* pieces that may be sent at once: one per connection */
    struct share_part *parts; /* all, oldest first */
    unsigned sending;
    uint64_t now; /* virtual time */
    /* The rate, bytes/s; 0: none. free_at: when the bytes sent so far will have been paid for. */
    uint64_t rate, free_at;
    /* What the link took lately, and in which time. */
    double seen_bytes, seen_ns;
    /* Time during which somebody wanted to send, whole life. */
    uint64_t busy_ns, busy_since;
    unsigned wanting;
};

void share_init(struct share *s);
/* Takes effect at once. */
void share_set_rate(struct share *s, uint64_t rate);
/* After flow->paused or flow->rush changed. */
void share_changed(struct share *s);

/* Waits for a place. 0, -ECANCELED, -EAGAIN: the group is paused. 0: share_end must follow. (waits)
 */
int share_begin(struct share *s, struct share_part *p, struct share_flow *flow);
/* How long the next piece should be. */
uint32_t share_piece(const struct share *s);
/* Waits for the turn to send a piece. 0: share_sent must follow, or -ECANCELED. (waits) */
int share_turn(struct share *s, struct share_part *p);
/* bytes: what the piece took on the wire; 0 when it failed. */
void share_sent(struct share *s, struct share_part *p, uint64_t bytes);
/* Gives the place back. In any state. */
void share_end(struct share *s, struct share_part *p);
/* Bytes that went out without a turn: small, or already on their way. */
void share_charge(struct share *s, uint64_t bytes);
uint64_t share_busy_ns(const struct share *s, uint64_t now);

#endif
