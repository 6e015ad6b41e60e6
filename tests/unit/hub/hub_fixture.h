/* hub_fixture.h: what the tests of hub and reader share: deltas built in memory, signed and sealed
 * as a site does it; a hub on loopback over a dir store in a temporary directory; clients over TLS.
 */
#ifndef RELAIS_HUB_FIXTURE_H
#define RELAIS_HUB_FIXTURE_H

#include "call.h"
#include "catalog.h"
#include "delta.h"
#include "hub.h"
#include "index.h"

/* Runs fn(arg) as a fiber of a fresh io_uring loop until it and what it started have ended. */
void hub_run(void (*fn)(void *arg), void *arg);

/* ---- who is who ---- */

/* ARRAS is the hub. BETHUNE and LENS sign; LENS may read bethune/records. DOUAI has no sign key. */
enum who { ARRAS, BETHUNE, LENS, DOUAI, WHO };
extern const char *const who_names[WHO];
/* For cmocka's group setup and teardown: makes all keys. */
int hub_keys_make(void **state);
int hub_keys_free(void **state);
const struct key_secret *sign_key(enum who who);
struct key_secret *restore_key(enum who who);

/* ---- deltas ---- */

struct spec_extent {
    uint16_t volume;
    uint32_t sector, sectors;
    const uint8_t *plain; /* NULL: a zero extent */
};
struct spec {
    const char *site, *group;         /* NULL: bethune, records */
    uint64_t rp_first, rp;            /* rp_first 0: rp */
    struct digest parent, stands_for; /* stands_for: of one that replaces others */
    uint64_t good_from;               /* then; 0: rp */
    uint16_t sources;                 /* 0: 1; they are of the last so many RPs */
    int64_t cut_time;
    bool stretch;                          /* not complete */
    const struct manifest_volume *volumes; /* NULL: one, "data", of 64 MiB */
    uint16_t volume_count;
    const struct spec_extent *extents;
    size_t extent_count;
    const uint16_t *source_of;       /* each extent's, ascending; NULL: 0 */
    const struct key_secret *sign;   /* NULL: bethune's */
    const struct key_public *reader; /* NULL: bethune's restore key */
    const struct datakey *key;       /* what is sealed under; NULL: a new one */
};
struct test_delta {
    uint8_t *file; /* whole, with manifest and trailer */
    uint64_t len, content_len;
    uint32_t tables_len; /* before the manifest; the index ends where they begin */
    uint8_t key_id[DATAKEY_ID_LEN];
    uint8_t *manifest; /* in file */
    uint32_t manifest_len;
    struct digest digest;
    uint64_t rp;
    uint32_t parts;
};
void delta_make(struct test_delta *out, const struct spec *spec);
void delta_free(struct test_delta *d);
/* A delta of volume 0 of about mib MiB that do not compress; the same seed gives other sealed bytes
 * each time, as a site's second attempt does. parent NULL: RP 1. */
void delta_random(struct test_delta *out, uint64_t rp, const struct test_delta *parent,
                  unsigned mib);
/* Bytes that do not compress. */
void fill_random(uint8_t *p, size_t len, uint64_t seed);

/* ---- hub ---- */

struct hub_fixture {
    char dir[64]; /* in TMPDIR, where that is set */
    struct config config;
    struct store *store; /* what the hub uses: the dir store behind `faults` */
    struct store *real;
    struct hub *hub;
    /* The next so many puts fail with SPACE; moves of a head happen but report AGAIN. */
    unsigned fail_puts, lose_moves;
    unsigned full_moves;  /* the next so many moves of a head fail with SPACE */
    unsigned puts, lists; /* that came, without those of the audit log */
    bool fail_audit;      /* its puts fail with SPACE */
    /* Heads that are read arrive late: the n-th after n times this. */
    uint64_t slow_heads;
    unsigned heads;
};
/* memory: hub_memory. */
void fixture_start(struct hub_fixture *f, uint64_t memory, unsigned connections);
void fixture_stop(struct hub_fixture *f);
/* Stops the hub and starts another over the same store. */
void fixture_restart(struct hub_fixture *f);

struct caller *client(struct hub_fixture *f, enum who who);
/* One that may be refused. */
int try_client(struct hub_fixture *f, enum who who, struct caller **out, struct err *e);

/* The following return 0 or the error's negative code; e says more. */
int send_offer(struct caller *c, const char *group, const struct test_delta *d, bool *committed,
               uint8_t *missing, struct err *e);
/* Sends a part in pieces; flip: one of its bytes is changed. */
int send_part(struct caller *c, const struct test_delta *d, uint32_t part, bool flip,
              struct err *e);
int send_commit(struct caller *c, const struct test_delta *d, struct err *e);
/* Offer, what is missing, commit. */
int send_all(struct caller *c, const struct test_delta *d, struct err *e);
/* rp of the head; its manifest into buf (MANIFEST_MAX) when not NULL. */
int ask_head(struct caller *c, uint64_t *rp, uint8_t *buf, uint32_t *len, struct err *e);
int ask_range(struct caller *c, const char *site, const char *group, const struct test_delta *d,
              uint64_t off, void *buf, uint32_t len, struct err *e);

#define MUST(call)                                                                                 \
    do {                                                                                           \
        struct err e_ = ERR_INIT;                                                                  \
        struct err *err = &e_;                                                                     \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, e_.text);                                                    \
    } while (0)
/* The call fails with this code, and its text contains `words`. */
#define REFUSED(code_, words, call)                                                                \
    do {                                                                                           \
        struct err e_ = ERR_INIT;                                                                  \
        struct err *err = &e_;                                                                     \
        if ((call) == 0)                                                                           \
            fail_msg("%s was not refused", #call);                                                 \
        if (e_.code != (code_) || !strstr(e_.text, words))                                         \
            fail_msg("%s: %s (%s)", #call, e_.text, err_name(e_.code));                            \
    } while (0)

#endif
