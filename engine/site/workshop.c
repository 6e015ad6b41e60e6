#include "workshop.h"

#include <stdlib.h>
#include <string.h>

/* A delta that fills keeps a buffer for as long as its scan goes on, and its next region may wait
 * for a slot that the delta of another cut keeps until it gets a buffer. One more than there can be
 * cuts always comes free, so that this never closes to a circle. */
#define PART_BUFFERS (CUTS_MAX + 1)

void workshop_init(struct workshop *w, struct spool *spool, const struct key_secret *sign,
                   int level, uint64_t delta_max, unsigned slots)
{
    *w = (struct workshop){
        .spool = spool, .sign = sign, .level = level, .delta_max = delta_max, .slot_count = slots};
    w->slots = err_calloc(w->slot_count, sizeof *w->slots);
    for (unsigned i = 0; i < w->slot_count; i++)
        workshop_give(w, &w->slots[i]);
    bufpool_init(&w->parts, PART_SIZE, PART_BUFFERS);
}

static void slot_free(struct slot *s)
{
    if (!s->plain)
        return;
    free(s->plain);
    free(s->known);
    free(s->region.out);
    free(s->region.fresh);
    free(s->region.extents);
    free(s->region.runs);
    seal_free(s->region.seal);
}

void workshop_done(struct workshop *w)
{
    ASSERT(w->cuts == 0);
    for (unsigned i = 0; i < w->slot_count; i++)
        slot_free(&w->slots[i]);
    free(w->slots);
    bufpool_free(&w->parts);
}

/* Buffers are made with the first use: a site whose volumes are quiet keeps one or two slots. */
static void slot_make(struct slot *s)
{
    struct region *r = &s->region;
    if (s->plain)
        return;
    s->plain = aligned_alloc(4096, REGION_SIZE);
    ASSERT(s->plain != NULL);
    s->known = err_calloc(REGION_SECTORS, sizeof *s->known);
    r->plain = s->plain;
    r->known = s->known;
    r->out = err_malloc(REGION_OUT);
    r->fresh = err_calloc(REGION_SECTORS, sizeof *r->fresh);
    r->extents = err_calloc(REGION_SECTORS, sizeof *r->extents);
    r->runs = err_calloc(REGION_SECTORS, sizeof *r->runs);
    r->seal = seal_new();
}

struct slot *workshop_take(struct workshop *w)
{
    struct slot *s;
    while (!w->free_slots)
        if (fiber_wait(&w->slot_freed, FIBER_FOREVER) < 0)
            return NULL;
    s = w->free_slots;
    w->free_slots = s->next;
    slot_make(s);
    return s;
}

void workshop_give(struct workshop *w, struct slot *s)
{
    /* The key of a delta that is done stays in no slot that happens not to be used for long. */
    if (s->region.seal)
        seal_forget(s->region.seal);
    s->next = w->free_slots;
    w->free_slots = s;
    fiber_wake_one(&w->slot_freed);
}

int workshop_enter(struct workshop *w)
{
    while (w->cuts == CUTS_MAX) {
        int res = fiber_wait(&w->cut_ended, FIBER_FOREVER);
        if (res < 0)
            return res;
    }
    w->cuts++;
    return 0;
}

void workshop_leave(struct workshop *w)
{
    w->cuts--;
    fiber_wake_one(&w->cut_ended);
}
