/* oracle.h: what several clients did to volumes, and whether images may be a cut of it.
 *
 * Every 512-byte block that is written carries the number of the operation that wrote it. Calls and
 * answers get instants of one clock. Images are a crash-consistent cut when there is an instant
 * such that all that was acknowledged before it is in, and nothing that was issued after it; that
 * is, for any two operations: if B was issued after A was acknowledged, and B is in, A is in.
 *
 * An operation that got no answer may be in by any of its blocks, but only if it could take effect
 * by then: until its server is known to be dead, that is for ever. */
#ifndef RELAIS_ORACLE_H
#define RELAIS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORACLE_BLOCK 512u
#define ORACLE_NEVER UINT64_MAX
#define ORACLE_TEXT  400u

struct oracle_op {
    unsigned volume;
    bool zero;
    uint64_t off;
    uint32_t len;
    uint64_t issued, acked; /* ORACLE_NEVER: was not, or failed */
    uint64_t ended;         /* it takes no effect after this */
};

struct oracle {
    uint64_t (*clock)(void); /* instants that ascend; NULL: one is counted */
    uint64_t ticks;
    struct oracle_op *ops;
    size_t count, cap;
};

struct oracle_image {
    const uint8_t *bytes;
    uint64_t size; /* whole blocks */
};

void oracle_free(struct oracle *o);
uint64_t oracle_now(struct oracle *o);
/* Begins an operation: its number. Fills the payload of a write (buf not NULL). */
size_t oracle_issue(struct oracle *o, unsigned volume, uint64_t off, uint32_t len, void *buf);
void oracle_ack(struct oracle *o, size_t op);
/* Without an answer; and it can take no effect any more. */
void oracle_lost(struct oracle *o, size_t op);
/* Whether the images, by number of volume, are one cut made between the two instants; text says why
 * not. */
bool oracle_check(const struct oracle *o, const struct oracle_image *images, unsigned volumes,
                  uint64_t from, uint64_t to, char text[ORACLE_TEXT]);

#endif
