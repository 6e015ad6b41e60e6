#include "fixture.h"

#include "uring.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run {
    struct fixture f;
    void (*spec)(struct fixture *f);
    bool bare;
};

void fixture_ok(int r, const struct err *e, const char *file, int line)
{
    if (r)
        print_error("%s:%d: %s: %s\n", file, line, err_name(e->code), e->text);
    assert_int_equal(r, 0);
}

static void open_store(struct fixture *f, struct store **out)
{
    struct err e = ERR_INIT;
    if (f->rados)
        ok(store_rados_open(out, getenv("RELAIS_TEST_CEPH_CONF"), getenv("RELAIS_TEST_CEPH_USER"),
                            getenv("RELAIS_TEST_CEPH_KEYRING"), getenv("RELAIS_TEST_CEPH_POOL"),
                            &e),
           &e);
    else
        ok(store_dir_open(out, f->root, &e), &e);
}

struct store *fixture_second(struct fixture *f)
{
    struct store *second = f->store;
    if (f->rados)
        open_store(f, &second);
    return second;
}

void fixture_close_second(struct fixture *f, struct store *second)
{
    if (second != f->store)
        second->ops->close(second);
}

static void in_fiber(void *arg)
{
    struct run *run = arg;
    if (!run->bare)
        open_store(&run->f, &run->f.store);
    run->spec(&run->f);
    if (!run->bare)
        run->f.store->ops->close(run->f.store);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void run_one(struct run *run)
{
    static unsigned serial;
    const char *tmp = getenv("TMPDIR");
    struct err e = ERR_INIT;
    struct fiber *fiber;
    struct io *io;
    run->f.rados = getenv("RELAIS_TEST_CEPH_CONF") != NULL;
    (void)snprintf(run->f.site, sizeof run->f.site, "site-%d-%u", (int)getpid(), serial++);
    (void)snprintf(run->f.root, sizeof run->f.root, "%s/relais-store.XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(run->f.root));
    ok(uring_new(&io, 1, &e), &e);
    fiber = fiber_spawn(io, "test", in_fiber, run);
    uring_run(io);
    assert_true(fiber_finished(fiber));
    fiber_detach(fiber);
    uring_free(io);
    (void)nftw(run->f.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void fixture_run(void (*spec)(struct fixture *f))
{
    struct run run = {.spec = spec};
    run_one(&run);
}

void fixture_run_bare(void (*spec)(struct fixture *f))
{
    struct run run = {.spec = spec, .bare = true};
    run_one(&run);
}

struct store_head fixture_entry(uint64_t rp, const char *text)
{
    struct store_head h = {.rp = rp, .len = (uint16_t)strlen(text)};
    memcpy(h.value, text, h.len);
    return h;
}

void fixture_head_is(struct fixture *f, const char *group, uint64_t rp, const char *text)
{
    struct err e = ERR_INIT;
    struct store_head h;
    ok(f->store->ops->head(f->store, f->site, group, &h, &e), &e);
    assert_int_equal(h.rp, rp);
    assert_int_equal(h.len, strlen(text));
    assert_memory_equal(h.value, text, h.len);
}
