#include "tap.h"

#include "bytes.h"
#include "capture_own.h"

#include <stdlib.h>

struct entry {
    uint64_t at, off;
    uint32_t len, verb;
};

struct tap {
    struct entry *ring;           /* NULL: it is off */
    uint64_t first, next;         /* of all that were noted */
    uint64_t token, began, taken; /* monotonic ns */
    uint64_t dropped;
    uint8_t out[TAP_TAKE * TAP_ENTRY_LEN];
};

static void turn_off(struct tap *t)
{
    free(t->ring);
    t->ring = NULL;
    t->first = t->next = 0;
}

static void add(struct tap *t, enum tap_verb verb, uint64_t off, uint32_t len)
{
    uint64_t now = io_now(fiber_io());
    if (t->next - t->first == TAP_ENTRIES) {
        t->dropped++;
        if (now - t->taken > TAP_IDLE_NS)
            turn_off(t);
        return;
    }
    t->ring[t->next++ % TAP_ENTRIES] = (struct entry){now - t->began, off, len, verb};
}

void capture_note(struct capture *c, enum tap_verb verb, uint64_t off, uint32_t len)
{
    if (__builtin_expect(c->tap != NULL, 0) && c->tap->ring)
        add(c->tap, verb, off, len);
}

int tap_start(struct capture *c, uint64_t *token, struct err *e)
{
    uint64_t now = io_now(fiber_io());
    struct tap *t = c->tap;
    if (t && t->ring && now - t->taken <= TAP_IDLE_NS)
        return err_set(e, ERR_AGAIN, "volume %s is being recorded already", c->name);
    if (!t)
        t = c->tap = err_calloc(1, sizeof *t);
    turn_off(t);
    t->ring = err_calloc(TAP_ENTRIES, sizeof *t->ring);
    t->dropped = 0;
    t->began = t->taken = now;
    *token = ++t->token;
    return 0;
}

int tap_take(struct capture *c, uint64_t token, struct tap_taken *out, struct err *e)
{
    struct tap *t = c->tap;
    size_t n = 0;
    if (!t || !t->ring || t->token != token)
        return err_set(e, ERR_NOENT, "the record of volume %s was given up: nobody took from it",
                       c->name);
    for (; t->first < t->next && n < TAP_TAKE; n++) {
        const struct entry *from = &t->ring[t->first++ % TAP_ENTRIES];
        uint8_t *to = t->out + n * TAP_ENTRY_LEN;
        bytes_set_le64(to, from->at);
        bytes_set_le64(to + 8, from->off);
        bytes_set_le32(to + 16, from->len);
        bytes_set_le32(to + 20, from->verb);
    }
    t->taken = io_now(fiber_io());
    *out = (struct tap_taken){t->out, n * TAP_ENTRY_LEN, t->dropped, t->first < t->next};
    return 0;
}

void tap_stop(struct capture *c, uint64_t token)
{
    if (c->tap && c->tap->token == token)
        turn_off(c->tap);
}

void tap_free(struct capture *c)
{
    if (!c->tap)
        return;
    turn_off(c->tap);
    free(c->tap);
    c->tap = NULL;
}
