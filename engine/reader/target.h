/* target.h: where a restore goes: a file that appears when it is whole, a block device, or nowhere.
 *
 * A file is written as PATH.relais-part; PATH.relais-state tells which units of the plan it holds,
 * and is written only after what it tells of is durable. A state of another plan is ignored.
 * Private to the reader. */
#ifndef RELAIS_TARGET_H
#define RELAIS_TARGET_H

#include "digest.h"
#include "err.h"
#include "fio.h"

#define TARGET_PATH_MAX 4096u

struct target {
    char path[TARGET_PATH_MAX], part[TARGET_PATH_MAX + 16], state[TARGET_PATH_MAX + 16];
    bool nowhere, device;
    int fd;
    uint64_t size;
    struct digest identity; /* of the plan */
    size_t units;
    uint8_t *done; /* a bit per unit */
    bool changed;  /* since the state was saved */
};

/* Whether path may become a target. path NULL: nowhere. Errors: EXISTS, NOENT (no such directory),
 * INPUT. Touches nothing. (waits) */
int target_check(struct target *t, const char *path, bool force, struct err *e);
/* After target_check: opens or resumes. Errors: AGAIN (another restore is at it), SPACE, IO. A
 * failed one needs target_close, too. (waits) */
int target_open(struct target *t, uint64_t size, size_t units, const struct digest *identity,
                struct err *e);
bool target_is_done(const struct target *t, size_t unit);
void target_set_done(struct target *t, size_t unit);
/* Cuts at the size. (waits) */
int target_write(struct target *t, const void *buf, size_t len, uint64_t off, struct err *e);
/* Makes a range of a device read as zeroes; a fresh file does so already. (waits) */
int target_zero(struct target *t, uint64_t off, uint64_t len, struct err *e);
/* Makes what was written durable, then says so in the state. (waits) */
int target_save(struct target *t, struct err *e);
/* All units are done: the target appears under its name, durably. (waits) */
int target_finish(struct target *t, struct err *e);
void target_close(struct target *t);

#endif
