/* workshop.h: what the cuts of all groups share, so that the site's memory does not grow with their
 * number: slots to scan with, buffers to write with, the spool's budget. */
#ifndef RELAIS_WORKSHOP_H
#define RELAIS_WORKSHOP_H

#include "bufpool.h"
#include "key.h"
#include "pace.h"
#include "region.h"
#include "spool.h"

#define CUTS_MAX 8u /* cuts under way at once */

/* One region under way. */
struct slot {
    uint8_t *plain;
    uint64_t *known;
    struct region region; /* its buffers are the slot's */
    struct slot *next;
};

struct workshop {
    struct spool *spool;
    const struct key_secret *sign;
    int level;        /* of zstd, for what is sealed from now on */
    uint64_t work_ns; /* of regions on workers, whole life */
    uint64_t delta_max;
    unsigned slot_count;
    struct slot *slots, *free_slots;
    struct fiber_cond slot_freed;
    struct bufpool parts;
    struct pace pace; /* of what nobody waits for */
    unsigned cuts;
    struct fiber_cond cut_ended;
};

/* slots: regions under way at once, of all cuts; two more than CPU threads let reading and writing
 * go on meanwhile. */
void workshop_init(struct workshop *w, struct spool *spool, const struct key_secret *sign,
                   int level, uint64_t delta_max, unsigned slots);
void workshop_done(struct workshop *w);
/* NULL when the fiber was cancelled. (waits) */
struct slot *workshop_take(struct workshop *w);
void workshop_give(struct workshop *w, struct slot *s);
/* 0, or -ECANCELED. (waits) */
int workshop_enter(struct workshop *w);
void workshop_leave(struct workshop *w);

#endif
