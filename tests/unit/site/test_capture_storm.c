/* capture: many clients, cuts and crashes: every RP is one cut of what clients were told, and
 * nothing is forgotten. */
#include "capture_fixture.h"
#include "lossy_disk.h"
#include "oracle.h"
#include "slow_disk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <time.h>

#include <cmocka.h>

#define CAPACITY (96 * MIB)

/* -- Many clients, cuts and crashes -- */

#define CLIENTS 12
#define VOLUMES 2
#define OP_MAX  (512 * KIB)
#define ROUNDS  6
#define CUTS    5
#define NO_SCAN 2 /* number of the scanned volume: "old" sorts after "data", "logs" */

struct storm {
    struct fixture *f;
    struct bench b;
    struct oracle oracle;
    struct replay replay;
    struct slow_disk disk;
    uint64_t saves;
    unsigned complete, failed;
};

struct client {
    struct storm *s;
    unsigned seed;
};

static uint32_t pick_len(unsigned *seed, uint64_t most)
{
    unsigned kind = (unsigned)rand_r(seed) % 16;
    uint64_t len = kind < 8    ? 4096 * (1 + (uint64_t)rand_r(seed) % 4)
                   : kind < 15 ? 512 * (1 + (uint64_t)rand_r(seed) % 20)
                               : 512 * (1 + (uint64_t)rand_r(seed) % (OP_MAX / 512));
    return (uint32_t)(len < most ? len : most);
}

static int act(struct storm *s, unsigned *seed, uint8_t *buf)
{
    unsigned volume = (unsigned)rand_r(seed) % VOLUMES, kind = (unsigned)rand_r(seed) % 20;
    struct capture *c = bench_capture(&s->b, (uint16_t)volume);
    uint64_t off = (uint64_t)rand_r(seed) % (capture_size(c) / 512) * 512;
    uint32_t len;
    size_t op;
    int res;
    if (rand_r(seed) % 4 == 0)
        off %= 128 * KIB; /* where they meet */
    if (rand_r(seed) % 2)
        off = off / 4096 * 4096;
    len = pick_len(seed, capture_size(c) - off);
    if (kind == 0)
        return capture_flush(c);
    op = oracle_issue(&s->oracle, volume, off, len, kind < 4 ? NULL : buf);
    if (kind == 1)
        res = capture_trim(c, len, off, 0);
    else if (kind < 4)
        res = capture_zero(c, len, off, kind == 2 ? CAPTURE_NO_HOLE : 0);
    else
        res = capture_write(c, buf, len, off, kind == 4 ? CAPTURE_FUA : 0);
    if (res == 0)
        oracle_ack(&s->oracle, op);
    else
        oracle_lost(&s->oracle, op);
    return res;
}

static void client_fiber(void *arg)
{
    struct client *me = arg;
    uint8_t *buf = err_malloc(OP_MAX);
    for (;;) {
        int res = act(me->s, &me->seed, buf);
        if (res == -ECANCELED)
            break;
        if (res < 0)
            fail_msg("%s", strerror(-res));
        if (rand_r(&me->seed) % 8 == 0 && fiber_sleep((uint64_t)rand_r(&me->seed) % IO_MS) < 0)
            break;
    }
    free(buf);
}

static void check_storm(struct storm *s, uint64_t from)
{
    struct oracle_image images[VOLUMES];
    uint64_t to = oracle_now(&s->oracle);
    char text[ORACLE_TEXT];
    assert_true(replay_upto(&s->replay, s->f, s->b.result.rp));
    for (unsigned i = 0; i < VOLUMES; i++)
        images[i] = (struct oracle_image){s->replay.images[i].bytes, s->replay.images[i].size};
    if (!oracle_check(&s->oracle, images, VOLUMES, from, to, text))
        fail_msg("%s", text);
    assert_true(replay_equals(&s->replay, s->f, NO_SCAN, NO_SCAN));
}

struct quitter {
    struct storm *s;
    uint64_t after;
};

static void quitter_fiber(void *arg)
{
    const struct quitter *q = arg;
    (void)fiber_sleep(q->after);
    q->s->b.give_up = true;
}

/* A cut that is given up in the middle, most times: all that was in it is in the next. */
static void quit_cut(struct storm *s, unsigned *seed)
{
    struct quitter q = {s, (uint64_t)rand_r(seed) % (10 * IO_MS)};
    struct fiber *fiber = fiber_spawn(fiber_io(), "quitter", quitter_fiber, &q);
    s->failed += bench_cut(&s->b, "") < 0;
    fiber_join(fiber);
    s->b.give_up = false;
}

static void one_cut(struct storm *s, unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 6;
    uint64_t from;
    if (kind % 2)
        (void)fiber_sleep((uint64_t)rand_r(seed) % (20 * IO_MS));
    if (kind == 0) {
        s->b.catching_up = true;
        bench_cut_ok(&s->b);
        s->b.catching_up = false;
    } else if (kind < 3) {
        quit_cut(s, seed);
    }
    fixture_fill(s->f, NO_SCAN, (uint64_t)rand_r(seed) % (3 * MIB), 5000, *seed);
    from = oracle_now(&s->oracle);
    bench_cut_ok(&s->b);
    s->complete++;
    check_storm(s, from);
}

static void failing_cut(void *arg)
{
    struct storm *s = arg;
    (void)bench_cut(&s->b, "");
}

/* The daemon dies in the middle of everything: requests in flight get no answer, a cut is half
 * done. What memory knew is gone. */
static void crash(struct storm *s, struct fiber *clients[CLIENTS], unsigned *seed)
{
    struct fiber *cut = fiber_spawn(fiber_io(), "cut", failing_cut, s);
    (void)fiber_sleep((uint64_t)rand_r(seed) % (8 * IO_MS));
    fiber_cancel(cut);
    for (unsigned i = 0; i < CLIENTS; i++)
        fiber_cancel(clients[i]);
    fiber_join(cut);
    for (unsigned i = 0; i < CLIENTS; i++)
        fiber_join(clients[i]);
    for (uint16_t i = 0; i < VOLUMES; i++)
        s->saves += bench_capture(&s->b, i)->saves;
    if (rand_r(seed) % 2) {
        bench_cool(&s->b, 0);
        bench_cool(&s->b, 0);
    }
    bench_close(&s->b);
    bench_open(&s->b, s->f);
}

static bool is_captured(void *arg, int fd)
{
    struct storm *s = arg;
    for (uint16_t i = 0; i < VOLUMES; i++) {
        const struct capture *c =
            s->b.indexes.count > VOLUMES ? s->b.indexes.volumes[i].capture : NULL;
        if (c && c->fd == fd)
            return true;
    }
    return false;
}

/* Memory for old content: all it may want, or little or none, so that it goes to the spool. */
static void give_memory(struct storm *s, unsigned *seed)
{
    s->b.insist = true;
    for (uint16_t i = 0; i < VOLUMES && rand_r(seed) % 2; i++) {
        struct capture *c = bench_capture(&s->b, i);
        saved_free(c->saved);
        c->saved = saved_new((uint64_t)rand_r(seed) % 64 * SECTOR_SIZE);
    }
}

static void storm(void *arg)
{
    struct fixture *f = arg;
    struct storm s = {.f = f, .disk = {.usual_ns = IO_MS, .rare_ns = 20 * IO_MS}};
    struct client clients[CLIENTS];
    struct fiber *fibers[CLIENTS];
    const char *env = getenv("RELAIS_SEED");
    unsigned seed = env ? (unsigned)strtoul(env, NULL, 10) : (unsigned)time(NULL);
    print_message("RELAIS_SEED=%u\n", seed);
    fixture_captured(f, "data", 10 * MIB + 1536);
    fixture_captured(f, "logs", 5 * MIB);
    fixture_volume(f, "old", 4 * MIB);
    f->config.spool_budget = 4 * GIB;
    replay_init(&s.replay, CAPACITY);
    s.disk.seed = seed;
    s.disk.is_short = is_captured;
    s.disk.arg = &s;
    slow_disk_begin(&s.disk, fiber_io());
    bench_open(&s.b, f);
    for (unsigned round = 0; round < ROUNDS; round++) {
        give_memory(&s, &seed);
        for (unsigned i = 0; i < CLIENTS; i++) {
            clients[i] = (struct client){&s, (unsigned)rand_r(&seed)};
            fibers[i] = fiber_spawn(fiber_io(), "client", client_fiber, &clients[i]);
        }
        for (unsigned i = 0; i < CUTS; i++)
            one_cut(&s, &seed);
        crash(&s, fibers, &seed);
    }
    bench_cut_ok(&s.b);
    check_storm(&s, oracle_now(&s.oracle));
    for (unsigned i = 0; i < VOLUMES; i++)
        assert_true(replay_equals(&s.replay, f, i, i));
    assert_true(s.saves > 0); /* else nothing of the copies was tested */
    assert_int_equal(s.disk.overlaps, 0);
    print_message(
        "%zu operations, %llu RPs, %u of them complete, %u given up, %llu sectors saved\n",
        s.oracle.count, (unsigned long long)s.replay.rps, s.complete, s.failed,
        (unsigned long long)s.saves);
    bench_close(&s.b);
    slow_disk_end(&s.disk);
    replay_done(&s.replay);
    oracle_free(&s.oracle);
}

static void every_rp_is_a_cut_of_what_clients_were_told(void **state)
{
    (void)state;
    fixture_with(storm);
}

/* -- Power cuts -- */

#define OUTAGES 25

struct outage {
    struct bench b;
    struct lossy_disk disk;
    bool stop;
    uint64_t window; /* where clients write, so that there are cold regions elsewhere */
    bool open;
    unsigned cold;
};

static bool is_lossy(void *arg, int fd)
{
    const struct outage *o = arg;
    const struct capture *c = o->open ? o->b.indexes.volumes[0].capture : NULL;
    return c && (fd == c->fd || fd == actlog_fd(c->log));
}

static void outage_client(void *arg)
{
    struct outage *o = arg;
    unsigned seed = (unsigned)o->disk.writes + 1;
    uint8_t p[16384];
    while (!o->stop) {
        struct capture *c = bench_capture(&o->b, 0);
        uint32_t len = 512 * (1 + (uint32_t)rand_r(&seed) % 32);
        uint64_t off = o->window + (uint64_t)rand_r(&seed) % (6 * MIB / 512) * 512;
        unsigned kind = (unsigned)rand_r(&seed) % 32;
        int res;
        fixture_bytes(p, len, (unsigned)rand_r(&seed));
        if (kind == 0)
            res = capture_flush(c);
        else if (kind < 4)
            res = capture_trim(c, len, off, 0);
        else
            res = capture_write(c, p, len, off, 0);
        if (res == -ECANCELED || fiber_sleep(200 * 1000) < 0)
            break;
        assert_int_equal(res, 0);
    }
}

static void outage_round(struct outage *o, unsigned *seed)
{
    struct fiber *clients[4];
    unsigned cuts = 1 + (unsigned)rand_r(seed) % 3;
    o->stop = false;
    o->window = (uint64_t)rand_r(seed) % 32 * MIB;
    for (unsigned i = 0; i < 4; i++)
        clients[i] = fiber_spawn(fiber_io(), "client", outage_client, o);
    for (unsigned i = 0; i < cuts; i++) {
        (void)fiber_sleep((uint64_t)rand_r(seed) % (10 * IO_MS));
        bench_cut_ok(&o->b);
        bench_cool(&o->b, 0);
    }
    if (rand_r(seed) % 2) { /* most regions go cold before the lights go out */
        o->stop = true;
        for (unsigned i = 0; i < 4; i++)
            fiber_join(clients[i]);
        bench_cut_ok(&o->b);
        bench_cool(&o->b, 0);
        bench_cool(&o->b, 0);
        o->cold += capture_hot_regions(bench_capture(&o->b, 0)) == 0;
    } else {
        for (unsigned i = 0; i < 4; i++)
            fiber_cancel(clients[i]);
        for (unsigned i = 0; i < 4; i++)
            fiber_join(clients[i]);
    }
}

/* After it, the next RP is what the volume holds: what the power cut took back of the volume was in
 * hot regions. */
static void outages(void *arg)
{
    struct fixture *f = arg;
    struct outage o = {.stop = false};
    struct replay r;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    fixture_captured(f, "data", 40 * MIB);
    fixture_fill(f, 0, 0, 20 * MIB, 1);
    replay_init(&r, CAPACITY);
    o.disk.seed = seed;
    o.disk.is_lossy = is_lossy;
    o.disk.arg = &o;
    lossy_disk_begin(&o.disk, fiber_io());
    bench_open(&o.b, f);
    o.open = true;
    for (unsigned round = 0; round < OUTAGES; round++) {
        outage_round(&o, &seed);
        lossy_disk_cut_power(&o.disk);
        o.open = false;
        bench_close(&o.b);
        bench_open(&o.b, f);
        o.open = true;
        bench_cut_ok(&o.b);
        replay_upto(&r, f, o.b.result.rp);
        if (!replay_equals(&r, f, 0, 0))
            fail_msg("round %u: RP %llu is not what the volume holds", round,
                     (unsigned long long)o.b.result.rp);
    }
    print_message("%llu of the grains written were lost, %u times all was cold\n",
                  (unsigned long long)o.disk.lost, o.cold);
    assert_true(o.disk.lost > 0 && o.cold > 0);
    bench_close(&o.b);
    lossy_disk_end(&o.disk);
    replay_done(&r);
}

static void what_a_power_cut_takes_back_is_known_as_changed(void **state)
{
    (void)state;
    fixture_with(outages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rp_is_a_cut_of_what_clients_were_told),
        cmocka_unit_test(what_a_power_cut_takes_back_is_known_as_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
