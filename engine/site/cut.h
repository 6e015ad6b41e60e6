/* cut.h: one cut of a group: freeze, scan all its volumes, thaw; the changes become one RP, or,
 * when they are many, several incomplete ones and a complete last. Captured volumes are cut at one
 * instant within the freeze, and sealed while they are written to; a group that has no other is
 * thawed right after that instant.
 *
 * A pass without a cut (catching up) does the same without freezing and ends incomplete: it ships
 * what would hold the freeze too long, and may wait for the spool in the middle. */
#ifndef RELAIS_CUT_H
#define RELAIS_CUT_H

#include "stretch.h"

struct cut_spec {
    struct workshop *shop;
    struct chain *chain;
    struct indexes *indexes;
    struct keyring *keyring;
    const struct config_group *config;
    const char *label;
    bool catching_up;
    bool insist;         /* guests may be slower for it (capture_insist) */
    bool asked;          /* somebody waits for it */
    struct pace *pace;   /* of the group, or NULL; the shop's applies too */
    const bool *give_up; /* becomes true: ends as failed, soon */
};

enum cut_end {
    CUT_COMPLETE, /* an RP */
    CUT_SEALED,   /* a stretch: the whole volumes were looked at, or it ran out of time or space */
    CUT_FAILED    /* nothing of the last stretch is left */
};

/* What status shows of the one under way. */
struct cut_progress {
    uint64_t done, total; /* bytes of the volumes looked at */
    uint64_t began;       /* to look at them, monotonic */
    bool frozen, waiting_for_space;
    struct err no_space; /* why it waits for space */
};

struct cut_result {
    enum cut_end end;
    uint64_t rp; /* newest it sealed; 0 none */
    uint64_t plain_bytes, frame_bytes;
    bool frozen_too_long, no_space;
    bool overrun; /* captured volumes changed faster than they were sealed */
};

/* Returns 0 when end is not CUT_FAILED and it was not ended early; else the reason. Thaws in any
 * case, a cancelled fiber's too. (waits) */
int cut_run(const struct cut_spec *spec, struct cut_progress *progress, struct cut_result *result,
            struct err *e);

#endif
