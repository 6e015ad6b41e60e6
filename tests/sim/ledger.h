/* ledger.h: what guests did to the captured volumes of one group, and what may be found of it.
 *
 * The judge's own model, which knows nothing of dirty maps or logs. Guests write down each
 * operation when they issue it and again when they are told that it is done. All instants are
 * numbers of one clock that never repeats. Every 512-byte block that a guest writes carries the
 * number of the operation, the volume and its own number, so that what is found in a block names
 * who wrote it.
 *
 * A group's life falls into eras: a power cut ends one, for it takes back what was not flushed.
 * What the volumes hold after it is the base of the next. Within an era, an image is a
 * crash-consistent cut at instant c when
 *
 *   - every block is of the base, or of an operation of the era that was issued before c;
 *   - no block is older than an operation on it that was acknowledged before c, where a block is
 *     older than X when whatever it holds was certainly there before X was issued.
 *
 * That is DESIGN's rule: if B was issued after A was acknowledged, and B is in, A is in. The same
 * rule judges what a read returns (c: when it was issued) and what a power cut leaves (c: the
 * newest flush that was acknowledged, and every operation with FUA). */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "world.h"

#define LEDGER_BLOCK   512u
#define LEDGER_VOLUMES 4u
#define LEDGER_NEVER   UINT64_MAX

struct ledger;

/* name: of the group, for failures. */
struct ledger *ledger_new(struct world *w, const char *name);
void ledger_free(struct ledger *l);
/* A volume of that many bytes, all zero; its number. Before the first operation. */
unsigned ledger_add(struct ledger *l, const char *name, uint64_t size);
/* The instant, a new one. */
uint64_t ledger_now(struct ledger *l);

/* A guest issues a write (buf: filled for it) or makes a range zero (buf NULL): its number. */
uint64_t ledger_issue(struct ledger *l, unsigned volume, uint64_t off, uint32_t len, void *buf);
/* It was told that the operation is done, and durable. */
void ledger_ack(struct ledger *l, uint64_t op, bool fua);
/* It was told that a flush is done which it had asked for at that instant. */
void ledger_flushed(struct ledger *l, unsigned volume, uint64_t asked);
/* A read that was issued at that instant returned this; fails the world if it may not. */
void ledger_read(struct ledger *l, unsigned volume, uint64_t off, uint32_t len, const void *buf,
                 uint64_t issued);

/* The power failed, and the disk holds this now; fails the world if it may not. No guest lives. */
void ledger_power_cut(struct ledger *l, const uint8_t *const contents[]);

/* The first instant >= from at which these images, of all volumes, may have been cut, or
 * LEDGER_NEVER: then why is set. */
uint64_t ledger_cut(struct ledger *l, const uint8_t *const images[], uint64_t from, char *why,
                    size_t cap);

#endif
