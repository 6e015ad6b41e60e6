/* message.h: protobuf messages in and out, with a memory budget.
 *
 * Unpacking draws from a bump arena of MESSAGE_ARENA bytes inside the struct: a hostile message
 * ends in ERR_LIMIT, not in half a million allocations. The wire bytes are checked against the
 * type's descriptor before that: once unpacked, a string no longer tells that it held a NUL.
 * Unknown fields are skipped, so that a later version can add some. Pure. */
#ifndef RELAIS_MESSAGE_H
#define RELAIS_MESSAGE_H

#include "frame.h"
#include "relais.pb-c.h"

struct message {
    uint8_t type;
    union { /* valid until the next message_unpack into this struct */
        const ProtobufCMessage *any;
#define X(number, Type, snake, payload) const Relais__##Type *snake;
        FRAME_TYPES(X)
#undef X
    };
    size_t arena_used;
    uint8_t *arena; /* MESSAGE_ARENA bytes */
};
void message_init(struct message *m); /* the arena comes with the first unpack */
void message_free(struct message *m);

/* Unpacks and validates what holds for every message: strings are UTF-8 without control characters,
 * `bytes digest` fields are empty or 32 long. Errors: PROTO, LIMIT. */
int message_unpack(struct message *m, uint8_t type, const uint8_t *p, size_t len, struct err *e);
size_t message_packed_size(const ProtobufCMessage *any);
void message_pack(uint8_t *dst, const ProtobufCMessage *any);
/* The descriptor of a frame type's message; NULL when the type is unknown. */
const ProtobufCMessageDescriptor *message_descriptor(uint8_t type);

/* Copies src so that it may travel in a message: at most cap - 1 bytes, cut between characters,
 * with
 * '?' for what is not UTF-8 and for control characters. For texts that hold foreign words. */
void message_text(char *dst, size_t cap, const char *src);

#endif
