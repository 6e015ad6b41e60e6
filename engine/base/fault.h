/* fault.h: named steps at which a daemon can be told to kill itself, so that tests cut the power
 * between any two of them and not where luck has it.
 *
 * Armed by relaisd --die-at STEP[:N] and by nothing else, no environment and no configuration, and
 * said in the log: nobody does that by accident. A step that nobody armed costs a comparison. */
#ifndef RELAIS_FAULT_H
#define RELAIS_FAULT_H

/* What has just been done. */
#define FAULT_STEPS(X)                                                                             \
    X(COMPACT_OPENED, "compact:opened")     /* a run was read and planned */                       \
    X(COMPACT_PART, "compact:part")         /* a full slice of an output was put */                \
    X(COMPACT_PARTS, "compact:parts")       /* all but its end; the site is asked next */          \
    X(COMPACT_SIGNED, "compact:signed")     /* the site signed it */                               \
    X(COMPACT_WRITTEN, "compact:written")   /* all objects of a switch; it comes next */           \
    X(SPLICE_WRITTEN, "splice:written")     /* dir store: the new catalog, that no head names */   \
    X(SPLICE_MOVED, "splice:moved")         /* dir store: the head; the old catalog is there */    \
    X(COMPACT_SWITCHED, "compact:switched") /* no object was removed yet */                        \
    X(COMPACT_REMOVED, "compact:removed")   /* an object */                                        \
    X(ORPHANS_FOUND, "orphans:found")       /* the generation moves on next */                     \
    X(ORPHANS_MOVED, "orphans:moved")       /* it has; nothing was removed yet */                  \
    X(ORPHANS_REMOVED, "orphans:removed")   /* an object */

enum fault_step {
#define X(name, word) FAULT_##name,
    FAULT_STEPS(X)
#undef X
        FAULT_STEP_COUNT
};

/* spec: a step, and ":N" for the N-th time that it is reached (1). -1: there is no such step. */
int fault_arm(const char *spec);
/* The words of all steps, one after the other; NULL behind the last. For --help. */
const char *fault_word(unsigned number);
/* Kills the process (SIGKILL) if this step is the armed one and it is the time. */
void fault_reached(enum fault_step step);

#endif
