/* year.h: a year of a group's recovery points in minutes: what year.c makes and year_open.c opens.
 * The volume is YEAR_MIB of random bytes; each RP rewrites YEAR_WRITES sectors, most of them in a
 * place that is hot. */
#ifndef RELAIS_YEAR_H
#define RELAIS_YEAR_H

#include "hub_fixture.h"
#include "verdict.h"

#define YEAR_MIB     16u
#define YEAR_SECTORS (YEAR_MIB * EXTENT_SECTORS)
#define YEAR_HOT     128u /* sectors */
#define YEAR_WRITES  3u   /* of each RP; one of them anywhere */

struct year {
    /* What was asked for. */
    unsigned days, fine_days; /* in all; of them at the end, at 5 s */
    unsigned coarse;          /* seconds between RPs before that */
    const char *keep;

    struct hub_fixture f;
    struct caller *site; /* ships */
    int64_t now, end;    /* ns UTC */
    uint64_t rp;
    uint32_t (*writes)[YEAR_WRITES]; /* sectors that each RP wrote, ascending; of RP 1: none */
    struct verdict verdict;          /* of the last pass */
    uint32_t overhead;               /* of a delta of one source: tables and manifest */
};

/* What the RP wrote to one of its sectors, or, slot YEAR_WRITES, the seed to this MiB. */
void year_fill(uint8_t *dst, size_t len, uint64_t rp, unsigned slot);

/* Opens the history as `relais verify` does, several of the RPs that stay, verifies all of their
 * bytes, and holds some against what was written. Prints the seconds. */
void year_open(struct year *y);

#endif
