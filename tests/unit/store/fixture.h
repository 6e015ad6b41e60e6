/* fixture.h: runs a specification in a fiber, with an open store.
 *
 * Which store: dir, on a directory of the test's own; or rados, when RELAIS_TEST_CEPH_CONF is set
 * (see tests/e2e/with-ceph), on a site of the test's own. */
#ifndef RELAIS_TEST_STORE_FIXTURE_H
#define RELAIS_TEST_STORE_FIXTURE_H

#include "store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct fixture {
    struct store *store; /* NULL in fixture_run_bare */
    char root[256];      /* of a dir store */
    char site[NAME_MAX_LEN + 1];
    bool rados;
};

void fixture_run(void (*spec)(struct fixture *f));
/* Nothing opened. */
void fixture_run_bare(void (*spec)(struct fixture *f));
/* Another handle on the same rados store; the same handle of a dir store (which allows one). */
struct store *fixture_second(struct fixture *f);
void fixture_close_second(struct fixture *f, struct store *second);
/* 0 expected; else fails with the error's text. */
void fixture_ok(int r, const struct err *e, const char *file, int line);
/* A catalog entry of this text. */
struct store_head fixture_entry(uint64_t rp, const char *text);
/* Fails unless this is the group's head. */
void fixture_head_is(struct fixture *f, const char *group, uint64_t rp, const char *text);

#define ok(call, e)       fixture_ok((call), (e), __FILE__, __LINE__)
#define fails(call, code) assert_string_equal(err_name((enum err_code)(-(call))), #code)

/* Declares a cmocka test `name` whose body, in a fiber, follows; f is the fixture. */
#define SPEC_WITH(run, name)                                                                       \
    static void name##_body(struct fixture *f);                                                    \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run(name##_body);                                                                          \
    }                                                                                              \
    static void name##_body(__attribute__((unused)) struct fixture *f)
#define SPEC(name)      SPEC_WITH(fixture_run, name)
#define SPEC_BARE(name) SPEC_WITH(fixture_run_bare, name)

#endif
