/* loop_test.h: a loop and a directory for a test, and verbs as calls.
 *
 * Requests are submitted with plain completions, as io.h has them; CALL turns one into a call, by
 * running the loop until nothing is pending. Include once in a test program, after cmocka.h. */
#ifndef RELAIS_LOOP_TEST_H
#define RELAIS_LOOP_TEST_H

#include "err.h"
#include "uring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct result {
    struct io_req req;
    int res, times;
    uint64_t when;
};

static struct io *io;
static char dir[64];

static void done(struct io_req *req, int res)
{
    struct result *r = req->owner;
    r->res = res;
    r->times++;
    r->when = io_now(io);
}

static struct io_req *req(struct result *r)
{
    memset(r, 0, sizeof *r);
    r->req.done = done;
    r->req.owner = r;
    return &r->req;
}

static int wait_for(struct result *r)
{
    assert_int_equal(r->times, 0); /* never from inside the submission */
    uring_run(io);
    assert_int_equal(r->times, 1);
    return r->res;
}

#define CALL(verb, ...)                                                                            \
    __extension__({                                                                                \
        struct result r_;                                                                          \
        io->ops->verb(io, req(&r_), __VA_ARGS__);                                                  \
        wait_for(&r_);                                                                             \
    })

static int setup(void **state)
{
    struct err e;
    (void)state;
    (void)snprintf(dir, sizeof dir, "relais-uring-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    return uring_new(&io, 3, &e);
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    uring_free(io);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static const char *path(const char *name)
{
    static char paths[4][128];
    static int next;
    char *p = paths[next++ % 4];
    (void)snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
