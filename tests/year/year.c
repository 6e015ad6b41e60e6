/* year: a year of recovery points of one group, time compressed: what retention and compaction make
 * of it, and how long opening what is left takes.
 *
 * A real hub over a dir store, in TMPDIR; its clock alone is not real. RPs come over TLS as a site
 * sends them, and a site attests what the hub folds, with the code that does so in the daemon. What
 * is counted at the end is held against what the RPs that stay need: for each of them one delta
 * with the sectors that were written since the one before, each once, which is computed from what
 * was written and from nothing that the hub did. */
#include "year.h"

#include "attest.h"
#include "compact.h"
#include "uring.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>

#define SECOND INT64_C(1000000000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)
#define FINE   (5 * SECOND)
/* 2025-01-01T00:00Z */
#define BEGINNING (INT64_C(1735689600) * SECOND)

static int64_t wall; /* what the hub takes for the time */

static int64_t year_wall(struct io *io)
{
    (void)io;
    return wall;
}

void year_fill(uint8_t *dst, size_t len, uint64_t rp, unsigned slot)
{
    fill_random(dst, len, rp * (YEAR_WRITES + YEAR_MIB) + slot);
}

/* ---- recovery points ---- */

static struct datakey *key_of_hour(const struct year *y, struct datakey *k, int64_t *born)
{
    uint8_t random[SEAL_KEY_LEN];
    if (k && y->now - *born < HOUR)
        return k;
    if (k)
        datakey_free(k);
    *born = y->now;
    randombytes_buf(random, sizeof random);
    return datakey_new(key_public(restore_key(BETHUNE)), 1, 0, random);
}

static void choose(uint32_t out[YEAR_WRITES])
{
    out[0] = randombytes_uniform(YEAR_HOT / 2);
    out[1] = YEAR_HOT / 2 + randombytes_uniform(YEAR_HOT / 2);
    out[2] = YEAR_HOT + randombytes_uniform(YEAR_SECTORS - YEAR_HOT);
}

static void seed_extents(struct spec_extent *x, uint8_t *plain)
{
    for (unsigned i = 0; i < YEAR_MIB; i++) {
        year_fill(plain + i * MIB, MIB, 1, YEAR_WRITES + i);
        x[i] = (struct spec_extent){0, i * EXTENT_SECTORS, EXTENT_SECTORS, plain + i * MIB};
    }
}

static void write_extents(const struct year *y, struct spec_extent *x, uint8_t *plain)
{
    for (unsigned i = 0; i < YEAR_WRITES; i++) {
        uint8_t *at = plain + i * SECTOR_SIZE;
        year_fill(at, SECTOR_SIZE, y->rp, i);
        x[i] = (struct spec_extent){0, y->writes[y->rp][i], 1, at};
    }
}

/* The next RP, cut and committed now. */
static void cut(struct year *y, struct digest *parent, const struct datakey *key)
{
    static const struct manifest_volume volume = {"data", YEAR_MIB * MIB};
    static uint8_t plain[YEAR_MIB * MIB];
    struct spec_extent x[YEAR_MIB];
    struct test_delta d;
    struct spec s = {.rp = ++y->rp,
                     .parent = *parent,
                     .cut_time = y->now,
                     .volumes = &volume,
                     .volume_count = 1,
                     .extents = x,
                     .extent_count = y->rp == 1 ? YEAR_MIB : YEAR_WRITES,
                     .key = key};
    if (y->rp == 1) {
        seed_extents(x, plain);
    } else {
        choose(y->writes[y->rp]);
        write_extents(y, x, plain);
    }
    delta_make(&d, &s);
    wall = y->now;
    MUST(send_all(y->site, &d, err));
    *parent = d.digest;
    y->overhead = d.tables_len + d.manifest_len;
    delta_free(&d);
}

/* ---- passes ---- */

static bool stays(void *arg, uint64_t rp)
{
    return verdict_stays(arg, rp);
}

/* As the hub's maintenance does. */
static void pass(struct year *y, struct compact_sums *sums)
{
    struct hub *h = y->f.hub;
    uint64_t generation;
    bool changed;
    verdict_free(&y->verdict);
    MUST(verdict_note_rules(h->store, h->config, "bethune", "records", &changed, err));
    MUST(h->store->ops->generation(h->store, "bethune", "records", &generation, err));
    MUST(verdict_make(&y->verdict, h->store, h->config, "bethune", "records", 0, err));
    MUST(compact_group(h, "bethune", "records", generation, stays, &y->verdict, sums, err));
    MUST(orphans_remove(h, "bethune", "records", &sums->orphans, err));
    if (sums->waiting > 0)
        fail_msg("%" PRIu64 " runs wait for the site", sums->waiting);
}

/* ---- the site, as far as it attests ---- */

struct attesting {
    struct shipper shipper;
    struct group group, *groups[1];
    struct fiber *fiber;
};

static void attesting_start(struct attesting *a, struct year *y)
{
    (void)snprintf(a->group.chain.site, sizeof a->group.chain.site, "bethune");
    (void)snprintf(a->group.chain.group, sizeof a->group.chain.group, "records");
    a->groups[0] = &a->group;
    a->shipper.groups = a->groups;
    a->shipper.count = 1;
    a->shipper.sign = sign_key(BETHUNE);
    a->shipper.caller = client(&y->f, BETHUNE);
    a->fiber = fiber_spawn(fiber_io(), "attest", attest_main, &a->shipper);
    (void)fiber_sleep(200 * IO_MS); /* the hub knows by then that somebody signs */
}

static void attesting_stop(struct attesting *a)
{
    fiber_cancel(a->fiber);
    fiber_join(a->fiber);
    caller_free(a->shipper.caller);
}

/* ---- what is there, what is needed ---- */

struct room {
    uint64_t objects, bytes;
};

static struct room stored(struct year *y)
{
    const struct store_ops *ops = y->f.real->ops;
    struct room r = {0};
    struct store_names names = {.count = 1};
    char after[STORE_NAME_MAX] = "";
    while (names.count > 0) {
        uint64_t size;
        MUST(ops->list(y->f.real, "bethune", "records/", after, &names, err));
        for (uint32_t i = 0; i < names.count; i++) {
            MUST(ops->size(y->f.real, "bethune", names.names[i], &size, err));
            r.objects++;
            r.bytes += size;
        }
        if (names.count > 0)
            memcpy(after, names.names[names.count - 1], sizeof after);
        free(names.names);
    }
    return r;
}

/* A delta with so many sectors that do not compress, as small as it can be: of one source and under
 * one key, 20 bytes of index for each extent. */
static void need(const struct year *y, struct room *r, uint64_t sectors, uint64_t extents)
{
    uint64_t len =
        DELTA_HEADER_LEN + sectors * SECTOR_SIZE + extents * 20 + y->overhead + DELTA_TRAILER_LEN;
    r->bytes += len;
    r->objects += (len + PART_SIZE - 1) / PART_SIZE;
}

static struct room needed(const struct year *y, size_t *kept)
{
    uint64_t *last = err_calloc(YEAR_SECTORS, sizeof *last), from = 1, n = 0;
    struct room r = {0};
    *kept = 0;
    for (uint64_t rp = 1; rp <= y->rp; rp++) {
        for (unsigned i = 0; rp > 1 && i < YEAR_WRITES; i++) {
            n += last[y->writes[rp][i]] < from;
            last[y->writes[rp][i]] = rp;
        }
        /* What the verdict does not know of was folded before: it came last of all. */
        const struct verdict *v = &y->verdict;
        bool known = false;
        for (size_t low = 0, high = v->count; low < high && !known;) {
            size_t mid = low + (high - low) / 2;
            known = v->points[mid].rp == rp && v->why[mid] != RETENTION_GOES;
            if (v->points[mid].rp < rp)
                low = mid + 1;
            else
                high = mid;
        }
        if (!known)
            continue;
        ++*kept;
        /* The first delta has all sectors, those of the seed in extents of a MiB, but for what was
         * written since. */
        if (*kept == 1)
            need(y, &r, YEAR_SECTORS, YEAR_MIB + n);
        else
            need(y, &r, n, n);
        from = rp + 1;
        n = 0;
    }
    free(last);
    return r;
}

static void tell(struct year *y, const struct compact_sums *sums)
{
    size_t kept;
    struct room is = stored(y), ideal = needed(y, &kept);
    printf("year: %u days, an RP every %u s, the last %u days every 5 s: %" PRIu64 " RPs\n",
           y->days, y->coarse, y->fine_days, y->rp);
    printf("rules: %s; %zu RPs stay\n", y->keep, kept);
    printf("compaction: %" PRIu64 " deltas of %" PRIu64 " MiB became %" PRIu64 " of %" PRIu64
           " MiB\n",
           sums->deltas_in, sums->bytes_in >> 20, sums->deltas_out, sums->bytes_out >> 20);
    printf("stored: %" PRIu64 " objects, %" PRIu64 " bytes\n", is.objects, is.bytes);
    printf("needed: %" PRIu64 " objects, %" PRIu64 " bytes\n", ideal.objects, ideal.bytes);
    printf("ratio: objects %.3f, bytes %.3f (limit 1.3)\n",
           (double)is.objects / (double)ideal.objects, (double)is.bytes / (double)ideal.bytes);
    (void)fflush(stdout);
    if ((double)is.objects > 1.3 * (double)ideal.objects ||
        (double)is.bytes > 1.3 * (double)ideal.bytes)
        fail_msg("more than 1.3 times what is needed");
}

/* ---- the year ---- */

static void live(struct year *y, struct attesting *a, struct compact_sums *sums)
{
    int64_t fine = y->end - y->fine_days * DAY, next_pass = y->now + DAY, born = 0;
    struct digest parent = {0};
    struct datakey *key = NULL;
    while (y->now < y->end) {
        key = key_of_hour(y, key, &born);
        cut(y, &parent, key);
        a->group.chain.committed.rp = y->rp;
        if (y->now >= next_pass) {
            pass(y, sums);
            next_pass = y->now + (y->now < fine ? DAY : 6 * HOUR);
        }
        y->now += y->now < fine ? y->coarse * SECOND : FINE;
    }
    datakey_free(key);
    pass(y, sums);
}

static void run(void *arg)
{
    struct year *y = arg;
    static struct io_ops ops; /* the loop goes on using them */
    struct attesting *a = err_calloc(1, sizeof *a);
    struct compact_sums sums = {0};
    uint64_t began = io_now(fiber_io());
    ops = *fiber_io()->ops;
    ops.wall = year_wall;
    fiber_io()->ops = &ops;
    y->now = wall = BEGINNING;
    y->end = BEGINNING + y->days * DAY;
    y->writes = err_calloc((size_t)(y->days * DAY / FINE) + 2, sizeof *y->writes);
    fixture_start(&y->f, 64 * MIB, 8);
    MUST(keep_parse(&y->f.config.keep, y->keep, err));
    y->site = client(&y->f, BETHUNE);
    attesting_start(a, y);
    live(y, a, &sums);
    printf("made in %.0f s\n", (double)(io_now(fiber_io()) - began) / 1e9);
    tell(y, &sums);
    year_open(y);
    verdict_free(&y->verdict);
    attesting_stop(a);
    caller_free(y->site);
    fixture_stop(&y->f);
    free(y->writes);
    free(a);
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || n < least || n > most) {
        fprintf(stderr, "year: \"%s\": a number from %u to %u\n", text, least, most);
        exit(2);
    }
    return (unsigned)n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"days", 1, NULL, 'd'},
                                            {"fine-days", 1, NULL, 'f'},
                                            {"coarse", 1, NULL, 'c'},
                                            {"keep", 1, NULL, 'k'},
                                            {0}};
    struct year y = {.days = 365,
                     .fine_days = 3,
                     .coarse = 900,
                     .keep = "all 48h, hourly 14d, daily 90d, monthly 36"};
    void *state = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
        if (c == 'd')
            y.days = number(optarg, 1, 3660);
        else if (c == 'f')
            y.fine_days = number(optarg, 0, 3660);
        else if (c == 'c')
            y.coarse = number(optarg, 5, 86400);
        else if (c == 'k')
            y.keep = optarg;
        else
            return 2;
    }
    if (y.fine_days > y.days)
        y.fine_days = y.days;
    if (hub_keys_make(&state) != 0)
        return 1;
    hub_run(run, &y);
    return hub_keys_free(&state);
}
