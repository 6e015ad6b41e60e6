/* scenario.h: what the judge runs: a world from a seed, driven until it fails or has converged. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "disk.h"
#include "world.h"

/* Deliberate defects, planted below the engine, that the judge must notice (self-test). */
#define PLANTS(X)                                                                                  \
    X(NONE, "none")                                                                                \
    X(SYNC_LIES, "sync-lies")         /* files are never synced */                                 \
    X(SYNC_DIR_LIES, "sync-dir-lies") /* names are never synced */                                 \
    X(RENAME_TEARS, "rename-tears")   /* renames are never synced, and tear */                     \
    X(BIT_ROT, "bit-rot")             /* a bit of a stored object flips */                         \
    X(FREEZE_LEAKS, "freeze-leaks")   /* volumes are written while they are frozen */

enum plant {
#define X(name, text) PLANT_##name,
    PLANTS(X)
#undef X
        PLANT_KINDS
};

struct scenario {
    const char *name;
    /* Drives w to its end; a broken invariant is a world_fail. */
    void (*run)(struct world *w, enum plant plant);
    uint64_t every;  /* of so many seeds of a campaign one is of this */
    uint32_t plants; /* bit per plant that it can be asked to notice */
};

extern const struct scenario scenario_store, scenario_territory, scenario_twins, scenario_outage,
    scenario_night;

/* Chances for the run: each kind of drawn fault is off, rare or frequent, as the seed says, so that
 * every combination of few and many faults comes up. */
void scenario_draw_faults(struct world *w);
void scenario_draw_pool_faults(struct world *w);
void scenario_plant(struct disk *d, enum plant plant);

#endif
