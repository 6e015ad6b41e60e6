/* world.h: one virtual clock, one queue of events, one seed: what every simulated part shares.
 *
 * An event is embedded in whatever waits; the queue holds it until it fires or is forgotten. Events
 * of one instant fire in the order they were set, so that a seed replays exactly. All randomness of
 * the parts comes from rng streams of the seed. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "rng.h"

#include <stdio.h>

/* Every kind of fault, for chances, counting, and the table that a campaign prints. The ones marked
 * "drawn" happen with world.chance per opportunity; scenarios and crashes cause the others. */
#define FAULTS(X)                                                                                  \
    X(SHORT_READ, "short read")                /* drawn */                                         \
    X(SHORT_WRITE, "short write")              /* drawn */                                         \
    X(READ_ERROR, "read error")                /* drawn */                                         \
    X(WRITE_ERROR, "write error")              /* drawn */                                         \
    X(SYNC_ERROR, "sync failed, data dropped") /* drawn */                                         \
    X(NAME_ERROR, "name change failed")        /* drawn: open, rename, unlink, mkdir, sync_dir */  \
    X(SLOW_DISK, "disk stalled")               /* drawn */                                         \
    X(DISK_FULL, "disk full")                                                                      \
    X(WRITE_LOST, "unsynced write lost")                                                           \
    X(WRITE_TORN, "unsynced write torn")                                                           \
    X(NAME_LOST, "unsynced name lost")                                                             \
    X(CRASH, "crash")                                                                              \
    X(KILL, "process killed")                                                                      \
    X(BIT_ROT, "sector rotted")                                                                    \
    X(WIPED, "site lost its state")                                                                \
    X(REFUSED, "connect refused")           /* drawn */                                            \
    X(RESET, "connection reset")            /* drawn, per send */                                  \
    X(HALF_CLOSE, "connection half closed") /* drawn, per send */                                  \
    X(SPLIT, "receive split")               /* drawn */                                            \
    X(VANISHED, "peer vanished")                                                                   \
    X(PARTITION, "partition")                                                                      \
    X(ONE_WAY, "one-way loss")                                                                     \
    X(STALLED, "stream stalled by partition")                                                      \
    X(TIMED_OUT, "stream timed out")                                                               \
    X(WALL_JUMP, "wall clock jumped")                                                              \
    X(COMMAND_FAILED, "command failed")                   /* drawn */                              \
    X(STORE_SLOW, "store operation slow")                 /* drawn */                              \
    X(STORE_ERROR, "store operation failed, done or not") /* drawn */                              \
    X(STORE_TIMEOUT, "store operation without an answer") /* drawn */                              \
    X(STORE_LATE, "... which was done later")                                                      \
    X(STORE_DROPPED, "... which was never done")                                                   \
    X(STORE_AWAY, "hub cut off from the store")                                                    \
    X(STORE_FULL, "store full")                                                                    \
    X(PAUSED, "machine stood still")                                                               \
    X(LIE, "lie (self-test only)")

enum fault {
#define X(name, text) FAULT_##name,
    FAULTS(X)
#undef X
        FAULT_KINDS
};
const char *fault_text(enum fault f);

/* What was done and held against the models, for the table that a campaign prints. */
#define DEEDS(X)                                                                                   \
    X(WRITE, "guest writes")                                                                       \
    X(FUA, "... with FUA")                                                                         \
    X(ZERO, "guest zeroings")                                                                      \
    X(TRIM, "guest trims")                                                                         \
    X(FLUSH, "guest flushes")                                                                      \
    X(READ, "guest reads compared")                                                                \
    X(REFUSED, "guest requests that failed")                                                       \
    X(DARK, "power cuts compared")                                                                 \
    X(CUT, "scanned cuts")                                                                         \
    X(CAPTURED, "RPs of captured volumes compared")                                                \
    X(MARK, "marks committed")                                                                     \
    X(MERGED, "RPs that stand for several")                                                        \
    X(REPLACED, "histories that compaction changed, applied again")                                \
    X(GROWN, "volumes grown")                                                                      \
    X(GRANTED, "histories opened to a later reader")                                               \
    X(LATE_READER, "restores by that reader")                                                      \
    X(OVER, "times that sealing waited for the spool")                                             \
    X(MENDED, "volumes served again after a failed sync, without a power cut")                     \
    X(SECOND, "second connections of a site")                                                      \
    X(ROTATE, "data keys replaced on request")                                                     \
    X(RESTORE, "restores compared")                                                                \
    X(DELTA, "deltas seen in spools or at the hub")                                                \
    X(SEALED, "sealed extents with a nonce of their own")                                          \
    X(MOVE, "heads moved in the bare store")

enum deed {
#define X(name, text) DEED_##name,
    DEEDS(X)
#undef X
        DEED_KINDS
};
const char *deed_text(enum deed d);

/* For making a failing seed smaller: nothing but what is turned off here changes any draw. */
#define KNOBS_TROUBLES 512u
struct world_knobs {
    bool off[FAULT_KINDS];
    uint8_t skip[KNOBS_TROUBLES / 8]; /* a bit for each trouble that a scenario makes */
};

struct world_event {
    uint64_t at, order;
    size_t slot; /* place in the heap + 1; 0: not queued */
    void (*fire)(struct world_event *);
};

#define TRACE_LINES 4096u
#define TRACE_WIDTH 200u

struct net;
struct world {
    uint64_t seed, now, order, started;
    struct rng rng;
    struct world_event **heap;
    size_t heap_len, heap_cap;
    uint64_t events, instant_events;
    uint32_t chance[FAULT_KINDS]; /* per million opportunities */
    uint64_t count[FAULT_KINDS];
    uint64_t did[DEED_KINDS];
    struct world_knobs knobs;
    uint64_t troubles;                /* so far */
    uint64_t memory_peak, memory_max; /* bytes, of the process that came nearest to its bound */
    uint64_t checked,
        complete;    /* recovery points applied by the checkers, and compared with a cut */
    bool calm;       /* no drawn faults any more */
    bool verbose;    /* print the trace as it happens, every completion included */
    uint64_t digest; /* of everything that completed: two runs of a seed must agree */
    bool failed;
    char failure[512];
    struct net *net;
    char (*trace)[TRACE_WIDTH];
    uint64_t trace_lines;
};

struct world *world_new(uint64_t seed, bool verbose);
/* The queue must hold no events of live parts: free them first. */
void world_free(struct world *w);

void world_at(struct world *w, struct world_event *e, uint64_t at,
              void (*fire)(struct world_event *));
void world_forget(struct world *w, struct world_event *e);
/* Fires the next event; false when there is none or the world failed. */
bool world_step(struct world *w);
/* Runs all events up to that time, or until the world failed; then it is that time. */
void world_run_until(struct world *w, uint64_t at);

/* At most n events, none later than `at`. */
void world_run_events(struct world *w, uint64_t n, uint64_t at);

/* Whether this fault happens now; counts it when it does. */
bool world_fault(struct world *w, enum fault f);
/* Whether the next trouble of the scenario is to be made, and a stream of its own for it, so that
 * one that is left out changes no draw of the others. */
bool world_trouble(struct world *w, struct rng *r);
/* Mixes a completion into the digest. */
void world_note(struct world *w, uint64_t a, uint64_t b);

/* One line of what happened, in virtual time, kept for the last TRACE_LINES. */
void world_trace(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void world_print_trace(const struct world *w, FILE *to);
/* An invariant does not hold: the run ends with this text (the first one counts). */
void world_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

#endif
