/* capture_own.h: private to capture: what capture.c (opening, reading), capture_write.c (the
 * guest's writes) and capture_cut.c (the sealer's side) share. capture.h has the rules. */
#ifndef RELAIS_CAPTURE_OWN_H
#define RELAIS_CAPTURE_OWN_H

#include "actlog.h"
#include "capture.h"
#include "dirty.h"
#include "paths.h"
#include "rounds.h"
#include "saved.h"
#include "spill.h"

/* A backing write that was issued and has not ended: sectors [first, end). */
struct flight {
    struct flight *next, *prev;
    uint64_t first, end;
    uint64_t cut; /* the capture's when it was issued */
};

struct capture {
    char name[2 * NAME_MAX_LEN + 2]; /* GROUP/VOLUME */
    char path[CONFIG_PATH_MAX];
    char rest[PATH_CAP]; /* the record of how it was left */
    int fd;
    uint64_t size, sectors;
    struct actlog *log;
    struct dirty *dirty, *pending, *sealing;
    struct saved *saved;
    struct spill spill; /* what does not fit there */
    uint64_t saves;     /* sectors saved so far */
    uint64_t cut;       /* cuts so far */
    bool cutting, exact, insists;
    struct err broken; /* OK: it is not */
    struct io_run run; /* of the backing volume, for capture_next; known since the cut settled */
    struct flight *flights;
    struct fiber_cond landed; /* one ended */
    struct rounds syncs;
    struct err failed;       /* of a sync; OK: none */
    char unsynced[PATH_CAP]; /* the mark that is left then (mend.h) */
    bool noted;              /* it is there */
    struct capture_watch *watch;
    struct tap *tap; /* NULL: nobody records what is written */
    /* A bit for each region: written to since the last cooling, and before. */
    uint8_t *recent, *before;
    uint64_t cooled; /* when, monotonic */
};

/* Whether writes to pending sectors must save them. */
static inline bool capture_saves(const struct capture *c)
{
    return c->cutting && c->exact && c->broken.code == ERR_OK;
}
static inline uint32_t capture_region(uint64_t sector)
{
    return (uint32_t)(sector / (REGION_SIZE >> SECTOR_SHIFT));
}
/* Reads whole sectors; zero behind the end of the volume. A negative errno. (waits) */
int capture_read_sectors(struct capture *c, void *dst, uint64_t first, uint32_t sectors);
int capture_read_sectors_as(struct capture *c, enum io_work_class class, void *dst, uint64_t first,
                            uint32_t sectors);
/* Ends exactness: `broken` says why, the cut will report it. */
void capture_break(struct capture *c);

#endif
