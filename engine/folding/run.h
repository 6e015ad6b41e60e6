/* run.h: a run of deltas of a stored group, read and folded (engine/delta/fold.h): what a hub that
 * compacts and a site that attests it do alike. Where the bytes come from is the owner's.
 *
 * Everything is checked before it counts: digests, signatures, the chain of the manifests, the
 * digests of tables and indexes. So whoever signs what comes out needs to trust nobody. All but
 * run_close (wait). Memory: the manifests, RUN_HOLD of indexes and one more, a bit per extent, and
 * which sectors are covered. Work is done on low threads. */
#ifndef RELAIS_RUN_H
#define RELAIS_RUN_H

#include "fold.h"
#include "key.h"

#define RUN_MAX  8192u      /* deltas of one run */
#define RUN_HOLD (64 * MIB) /* bytes of indexes that are kept; others are read again */

struct run_delta {
    uint64_t rp_first, rp, file_len;
    uint32_t manifest_len;
    struct digest digest; /* of the manifest */
};

/* Reads [off, off + len) of the file of delta n. Errors pass through. (waits) */
typedef int run_read(void *arg, size_t n, uint64_t off, void *buf, uint32_t len, struct err *e);

struct run {
    const char *site, *group; /* the caller's */
    struct run_delta *deltas; /* oldest first; the caller's */
    size_t count;
    run_read *read;
    void *arg;
    const struct key_public *signer;
    struct digest
        inputs; /* of the digests of all, so that two can tell whether they mean one run */
    struct fold fold;
    struct fold_output *outputs;
    size_t output_count;
    uint8_t **indexes;
    uint64_t held;
};

/* Sets nothing but `inputs`: does not wait. */
void run_digest(struct digest *out, const struct run_delta *deltas, size_t count);
/* Fields above `inputs` are the caller's to set. Reads, checks, weighs and plans: outputs then says
 * what is to be done. Errors: CORRUPT, AUTH, CHAIN, INPUT, LIMIT (more than RUN_MAX), CANCELED, and
 * those of read. run_close in any case. */
int run_open(struct run *r, struct err *e);
void run_close(struct run *r);

/* An output as far as it follows from the inputs. */
struct run_built {
    struct manifest m; /* but for the digests of its parts; volumes are the run's */
    struct index_writer index;
    struct bytes_out tables;
};
/* Good for RPs from the run's last on. Free with run_built_free in any case. */
int run_build(struct run *r, size_t output, struct run_built *out, struct err *e);
void run_built_free(struct run_built *b);
/* The kept extents of an output in their order, for whoever copies the bytes: take may wait. After
 * run_build. */
int run_extents(struct run *r, size_t output,
                int (*take)(void *arg, size_t input, uint64_t from, uint32_t len, struct err *e),
                void *arg, struct err *e);

#endif
