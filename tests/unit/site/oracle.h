/* oracle.h: what several clients did to volumes, and whether an image may be a cut of it.
 *
 * Every 512-byte block that is written carries the number of the operation that wrote it. Calls and
 * answers get numbers from one clock. An image is a crash-consistent cut when there is an instant
 * such that all that was acknowledged before it is in, and nothing that was issued after it; that
 * is, for any two operations: if B was issued after A was acknowledged, and B is in, A is in. */
#ifndef RELAIS_ORACLE_H
#define RELAIS_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ORACLE_BLOCK 512u
#define ORACLE_NEVER UINT64_MAX

struct oracle_op {
    unsigned volume;
    bool zero;
    uint64_t off;
    uint32_t len;
    uint64_t issued, acked; /* ORACLE_NEVER: was not, or failed */
};

struct oracle {
    uint64_t clock;
    struct oracle_op *ops;
    size_t count, cap;
};

void oracle_free(struct oracle *o);
uint64_t oracle_now(struct oracle *o);
/* Begins an operation: its number. Fills the payload of a write (buf not NULL). */
size_t oracle_issue(struct oracle *o, unsigned volume, uint64_t off, uint32_t len, void *buf);
void oracle_ack(struct oracle *o, size_t op);
/* Fails the test unless the images are one cut made between the two instants. */
void oracle_check(const struct oracle *o, uint8_t *const *images, const uint64_t *sizes,
                  unsigned volumes, uint64_t from, uint64_t to);

#endif
