/* reader.h: opens any recovery point of a group and proves it.
 *
 * Talks to a hub through a caller, or through a line, which outlives a hub of a pair. Trusts
 * nothing it says: every manifest is checked against the site's signing key and chained to its
 * parent down to RP 1, every index against its manifest, every extent against its tag. All calls
 * (wait).
 *
 * A hub folds deltas that nobody keeps into others while they are read. Then whatever needs one of
 * them ends with CONFLICT, in good time: the history is to be opened again, which has the same
 * recovery points but for those that were let go. */
#ifndef RELAIS_READER_H
#define RELAIS_READER_H

#include "line.h"
#include "manifest.h"

struct reader;

struct reader_point {
    uint64_t rp_first, rp;
    int64_t cut_time, committed_time;
    bool complete;
    char label[LABEL_MAX_LEN + 1];
    uint64_t file_len, plain_bytes;
};

/* Lists the group's history and verifies the chain of its manifests from RP 1 to the head. progress
 * may be NULL. Errors: NOENT (no such group), AUTH (signature), CHAIN (gap, fork, wrong parent:
 * names the RP), NET. */
int reader_open(struct reader **out, struct caller *c, const char *site, const char *group,
                const struct key_public *signer,
                void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                struct err *e);
/* Same, for whoever wants to know all that is wrong: tell is called for each manifest that is
 * missing, damaged or out of its place, and the rest is looked at all the same. When anything was
 * told the history is good for nothing else: CHAIN, with the number. */
struct reader_damage {
    void (*tell)(void *arg, const struct err *what);
    void *arg;
};
int reader_open_all(struct reader **out, struct line *l, const char *site, const char *group,
                    const struct key_public *signer, const struct reader_damage *damage,
                    void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                    struct err *e);
void reader_close(struct reader *r);
/* What the child of an RP names as its parent. False: it is no RP of its own here. */
bool reader_link(const struct reader *r, uint64_t rp, struct digest *out);
/* Whether the RP is inside of a delta that the site signed in the place of others: its own link is
 * not to be had any more. */
bool reader_folded(const struct reader *r, uint64_t rp);
const struct reader_point *reader_points(const struct reader *r, size_t *count);
/* "12", "@2026-11-22T12:00Z" (the newest complete RP cut at or before), "" or "latest". Only
 * complete RPs. Errors: NOENT, naming what there is. */
int reader_find(const struct reader *r, const char *what, int64_t now, uint64_t *rp, struct err *e);
/* The manifest of an RP; the reader's. */
const struct manifest *reader_manifest(const struct reader *r, uint64_t rp);

struct restore_progress {
    uint64_t bytes_done, bytes_total; /* of the volume's content to write */
    uint64_t fetched;                 /* sealed bytes that came over the link */
    uint64_t found;  /* of bytes_done: an earlier attempt had written them, and they still held */
    uint64_t redone; /* of bytes_done: an earlier attempt had, but they had changed since */
    bool checking;   /* all is written, now it is read back */
    uint64_t bytes_checked;
};
struct restore_options {
    struct key_secret *const *keys; /* restore keys */
    size_t key_count;
    unsigned parallel; /* fetches in flight; 0: default */
    bool force;        /* overwrite an existing target */
    bool check;        /* at the end read everything back, from the disk where that can be had */
    const char *state; /* where the state is kept; NULL: see below */
    /* With target NULL: each extent that cannot be had or opened is told and passed over, and at
     * the end the error is CORRUPT with their number. Not called from another thread. */
    const struct reader_damage *damage;
    void (*progress)(void *arg, const struct restore_progress *p);
    void *arg;
};
/* Restores a volume. A file target is written as TARGET.relais-part, synced, then renamed to
 * TARGET; a block device is written in place (force needed). What is done so far stands in a state
 * file, so that the same call goes on where one that failed stopped: NULL is TARGET.relais-state
 * for a file, and none for a device. What it says is done is read back first, and what does not
 * hold any more is done again. target NULL: fetches and verifies everything and writes nothing.
 * Errors: EXISTS, NOENT, AUTH (no key fits; a tag does not), CORRUPT (also: what is read back is
 * not what was written), SPACE, IO, NET. On an error a file target is as it was before. */
int reader_restore(struct reader *r, uint64_t rp, const char *volume, const char *target,
                   const struct restore_options *options, struct restore_progress *done,
                   struct err *e);

#endif
