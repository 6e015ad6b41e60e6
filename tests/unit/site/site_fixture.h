/* site_fixture.h: a site in a directory of its own: keys, a configuration, volumes, and the other
 * side of the format: what a reader that has the restore key makes of the spool. */
#ifndef RELAIS_SITE_FIXTURE_H
#define RELAIS_SITE_FIXTURE_H

#include "cut.h"
#include "fio.h"

#define FIXTURE_VOLUMES 3

struct fixture {
    char root[64], spool_dir[96], state_dir[96];
    struct key_secret *sign, *hash, *restore;
    struct config config;
    struct config_group group;
    struct config_volume volumes[FIXTURE_VOLUMES];
};

/* A temporary directory, keys, group "records" without volumes. */
void fixture_init(struct fixture *f);
void fixture_done(struct fixture *f);
/* Adds a volume, a file of `size` bytes, all hole. */
void fixture_volume(struct fixture *f, const char *name, uint64_t size);
/* Same, one that is captured instead of scanned. */
void fixture_captured(struct fixture *f, const char *name, uint64_t size);

/* snprintf that fails the test when the text does not fit. */
void fixture_text(char *dst, size_t cap, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Runs fn(arg) as a fiber of a real loop with two workers, until it has returned. */
void fixture_run(void (*fn)(void *arg), void *arg);

/* Plain file access to a volume, as its owner would. */
void fixture_write(const struct fixture *f, unsigned volume, uint64_t off, const void *p,
                   size_t len);
void fixture_fill(const struct fixture *f, unsigned volume, uint64_t off, size_t len,
                  unsigned seed);
void fixture_resize(const struct fixture *f, unsigned volume, uint64_t size);
void fixture_punch(const struct fixture *f, unsigned volume, uint64_t off, uint64_t len);

/* The machinery of one group, as group.c assembles it. Inside of a fiber. */
struct bench {
    struct fixture *f;
    struct spool spool;
    struct workshop shop;
    struct chain chain;
    struct indexes indexes;
    struct keyring keyring;
    struct cut_progress progress;
    struct cut_result result;
    struct err err;
    bool give_up, catching_up, insist;
};
void bench_open(struct bench *b, struct fixture *f);
/* Leaves everything as it is, as a daemon that is killed does (but frees memory). */
void bench_close(struct bench *b);
int bench_cut(struct bench *b, const char *label);

/* The volumes as the deltas in the spool make them, from RP 1 to the newest; every digest,
 * signature, tag and link of the chain is checked on the way. */
struct image {
    uint8_t *bytes;
    uint64_t size;
};
struct replay {
    struct image images[FIXTURE_VOLUMES]; /* by number in the manifest's table */
    uint64_t rps;                         /* the newest that was applied, when they came in order */
    uint64_t deltas, complete_rps, extents, zero_extents, frame_bytes, file_bytes;
    uint64_t last_extents; /* of the newest RP */
    char last_label[LABEL_MAX_LEN + 1];
    uint64_t last_rp;
    struct digest last_link;
};
void replay_init(struct replay *r, uint64_t capacity);
/* Applies the delta of one RP. */
void replay_apply(struct replay *r, const struct fixture *f, uint64_t rp);
/* Applies those up to rp that were not applied yet, merged ones too, and checks their links.
 * Returns whether the last was a complete RP. */
bool replay_upto(struct replay *r, const struct fixture *f, uint64_t rp);
/* Whether a volume's file is what the replay made. number: by name. */
bool replay_equals(const struct replay *r, const struct fixture *f, unsigned volume,
                   unsigned number);
void replay_done(struct replay *r);

#endif
