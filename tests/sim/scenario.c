#include "scenario.h"

struct drawn {
    enum fault kind;
    uint32_t rare, often; /* per million */
};

static void draw(struct world *w, const struct drawn *drawn, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t mood = rng_below(&w->rng, 4);
        w->chance[drawn[i].kind] = mood < 2 ? 0 : mood == 2 ? drawn[i].rare : drawn[i].often;
    }
}

void scenario_draw_faults(struct world *w)
{
    static const struct drawn drawn[] = {
        {FAULT_SHORT_READ, 1000, 200000}, {FAULT_SHORT_WRITE, 1000, 200000},
        {FAULT_READ_ERROR, 20, 3000},     {FAULT_WRITE_ERROR, 20, 3000},
        {FAULT_SYNC_ERROR, 100, 10000},   {FAULT_NAME_ERROR, 20, 3000},
        {FAULT_SLOW_DISK, 20, 2000},      {FAULT_REFUSED, 1000, 200000},
        {FAULT_RESET, 10, 2000},          {FAULT_HALF_CLOSE, 5, 1000},
        {FAULT_SPLIT, 1000, 300000},      {FAULT_COMMAND_FAILED, 1000, 100000},
    };
    draw(w, drawn, sizeof drawn / sizeof drawn[0]);
}

void scenario_draw_pool_faults(struct world *w)
{
    static const struct drawn drawn[] = {
        {FAULT_STORE_SLOW, 1000, 30000},
        {FAULT_STORE_ERROR, 500, 30000},
        {FAULT_STORE_TIMEOUT, 500, 30000},
    };
    draw(w, drawn, sizeof drawn / sizeof drawn[0]);
}

void scenario_plant(struct disk *d, enum plant plant)
{
    disk_set_lies(d, (struct disk_lies){.sync = plant == PLANT_SYNC_LIES,
                                        .sync_dir = plant == PLANT_SYNC_DIR_LIES,
                                        .rename = plant == PLANT_RENAME_TEARS});
}
