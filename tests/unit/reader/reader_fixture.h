/* reader_fixture.h: what the tests of restores share: a hub that holds a group whose volume went
 * through all that a volume can, arrays that say what it was, damage to its store, loop devices. */
#ifndef RELAIS_READER_FIXTURE_H
#define RELAIS_READER_FIXTURE_H

#include "hub_fixture.h"
#include "reader.h"

#define SECTORS 3000u /* of the volume at most, in these tests */
#define POINTS  6u

/* The volume at each recovery point, as a plain array says it should be, and the deltas between. */
struct model {
    uint8_t *image[POINTS + 1]; /* SECTORS long each */
    uint64_t size[POINTS + 1];
    struct test_delta deltas[POINTS + 1];
    unsigned count;
};

struct world {
    struct hub_fixture f;
    struct model m;
    struct caller *c;
    struct reader *r;
    char target[128], part[160], state[160];
};

void world_start(struct world *w);
/* Opens the history. */
void world_open(struct world *w);
void world_stop(struct world *w);
/* Of "data", with the keys of Lens and Bethune. */
int restore(struct world *w, uint64_t rp, const char *target, bool force,
            struct restore_progress *done, struct err *e);
bool exists(const char *path);
/* The target is the volume at rp, and nothing is left beside it. */
void assert_restored(const struct world *w, uint64_t rp);

/* The file of a delta's object, wherever the store puts it. */
void object_path(struct world *w, unsigned rp, unsigned part, char *dst, size_t cap);
/* Of a delta in the store; a second flip undoes the first. */
void flip_byte(struct world *w, unsigned rp, uint64_t off);

/* A loop device full of ones, as if it had been used before. False where there is none to be had.
 */
bool device_make(struct world *w, unsigned mib, char *dst, size_t cap);
void device_free(const char *path);
/* It holds the volume at rp, and ones behind it. */
void assert_device(struct world *w, const char *path, unsigned rp, size_t device);

#endif
