#include "capture_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

void fixture_with(void (*fn)(void *arg))
{
    struct fixture f;
    fixture_init(&f);
    fixture_run(fn, &f);
    fixture_done(&f);
}

void fixture_bytes(uint8_t *p, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++)
        p[i] = (uint8_t)(rand_r(&seed) >> 8 | 1);
}

void bench_cut_ok(struct bench *b)
{
    if (bench_cut(b, "") < 0)
        fail_msg("%s", b->err.text);
    assert_int_equal(b->result.end, b->catching_up ? CUT_SEALED : CUT_COMPLETE);
}

struct capture *bench_capture(struct bench *b, uint16_t number)
{
    assert_non_null(b->indexes.volumes[number].capture);
    return b->indexes.volumes[number].capture;
}

void bench_cool(struct bench *b, uint16_t number)
{
    if (capture_cool(bench_capture(b, number), true, &b->err) < 0)
        fail_msg("%s", b->err.text);
}
