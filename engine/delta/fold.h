/* fold.h: what a run of deltas comes to when only its end is wanted: fewer deltas, without the
 * extents that newer ones cover, and without any key (docs/FORMAT.md, "Merged deltas").
 *
 * The inputs follow one another in the chain. First all are weighed, the newest first: an extent of
 * which newer ones cover every sector is not kept; one that is covered in part is kept whole. Then
 * inputs are put together into outputs, each a run of neighbours whose kept extents are carried
 * over as they are, oldest first. Whoever has the signed indexes of the inputs computes the same
 * outputs, byte for byte but for the digests of parts: so a hub can do the work, and a site attest
 * it. Volumes are known by name; inputs whose volume tables differ are not put together, but what
 * covers, covers. Pure. */
#ifndef RELAIS_FOLD_H
#define RELAIS_FOLD_H

#include "index.h"
#include "manifest.h"

#include <roaring/roaring.h>

#define FOLD_NOWHERE UINT16_MAX
/* A delta is rewritten for its own sake when more than one part in so many is dead. */
#define FOLD_DEAD 5u
/* Neighbours are put together when all but the largest, and what is dead, come to one part in so
 * many of the largest: or a large one would be rewritten again and again for small ones. */
#define FOLD_RATIO 4u
/* Below it, always. */
#define FOLD_SMALL PART_SIZE

struct fold_input {
    struct manifest m;  /* the caller's: set before it is weighed, with tables */
    struct digest link; /* the caller's */
    bool weighed;
    uint8_t *kept;      /* a bit per extent, in the order of the index */
    uint32_t *of;       /* kept extents of each source */
    uint32_t extents;   /* kept; */
    uint64_t sealed;    /* their bytes, and */
    uint64_t index_max; /* of their entries in another index, at most */
    uint16_t *source;   /* fold_place: the number that each source gets, or FOLD_NOWHERE */
    uint16_t *key;      /* of each data key likewise */
};

struct fold_volume {
    char name[NAME_MAX_LEN + 1];
    roaring_bitmap_t *covered; /* sectors */
};

struct fold {
    struct fold_input *inputs; /* oldest first */
    size_t count;
    struct fold_volume *volumes;
    size_t volume_count;
};

/* One delta that is to be: inputs [first, first + count). */
struct fold_output {
    size_t first, count;
    bool rewrite;           /* false: the one input stays as it is */
    uint16_t sources, keys; /* fold_place */
    uint64_t out_max;       /* fold_place: bytes of the delta without manifest, at most */
};

void fold_init(struct fold *f, size_t count);
/* Frees the inputs, but their manifests only when `manifests`. */
void fold_free(struct fold *f, bool manifests);

/* Weighs input n; all newer ones must have been. index: its encoded index, checked against its
 * digest. Errors: INPUT (it was signed, and is no index). Callable from any thread. */
int fold_weigh(struct fold *f, size_t n, const void *index, struct err *e);

/* Whether two deltas tell of the same volumes, in number, name and size. */
bool fold_same_volumes(const struct manifest *a, const struct manifest *b);
/* Which inputs are put together: at most f->count outputs into out; returns how many. All are
 * weighed. */
size_t fold_plan(const struct fold *f, struct fold_output *out);
/* Numbers sources and data keys of an output, and tells what it comes to. False: it would break a
 * bound. All its inputs are weighed. */
bool fold_place(struct fold *f, struct fold_output *o);

/* Given each kept extent of an output in order, ready for its index; from: where its sealed bytes
 * lie in the input's file. */
typedef int fold_take(void *arg, struct index_entry *x, uint64_t from, struct err *e);
/* Takes input n's kept extents. index as for fold_weigh. After fold_place of its output. */
int fold_emit(const struct fold *f, size_t n, const void *index, fold_take *take, void *arg,
              struct err *e);

/* The output's manifest as far as it follows from its inputs: everything but what the index and the
 * bytes give (extents, lengths, digests, parts). sources and keys are the caller's to free, volumes
 * stay the input's. good_from: the RP whose state the run was folded for. */
void fold_manifest(const struct fold *f, const struct fold_output *o, uint64_t good_from,
                   struct manifest *out);
/* What an index entry adds to the sums of a manifest. */
void fold_count(struct manifest *m, const struct index_entry *x);
/* When all entries are in: the fields that follow from the index, and the encoded tables (tables:
 * empty, from bytes_out(TABLES_MAX)). Only the digests of the parts are missing then. */
int fold_close(struct manifest *m, const struct index_writer *w, struct bytes_out *tables,
               struct err *e);

#endif
