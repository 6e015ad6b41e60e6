/* Input: a byte for the form, then a body, a batch, or entries as they are sent. What is accepted
 * is exactly what would be written, and a chain that was followed is one that can be followed
 * again. */
#include "fuzz.h"
#include "trail.h"

#include <string.h>

static void body(const uint8_t *p, size_t len)
{
    struct trail_entry t;
    struct err e = ERR_INIT;
    uint8_t again[TRAIL_BODY_MAX];
    if (trail_decode(&t, p, len, &e) == 0) {
        ASSERT(trail_encode(again, &t) == len && memcmp(again, p, len) == 0);
        ASSERT(trail_kind_parse(trail_kind_word(t.kind)) == t.kind);
        for (const char *c = t.detail; *c; c++)
            ASSERT(*c >= 0x20 && *c < 0x7f);
    } else {
        ASSERT(e.code == ERR_CORRUPT && e.text[0]);
    }
}

static void batch(const uint8_t *p, size_t len)
{
    struct bytes_in b;
    struct trail_record r;
    struct err e = ERR_INIT;
    int rc = trail_batch_open(&b, p, len, &e);
    while (rc == 0 && (rc = trail_batch_next(&r, &b, &e)) > 0) {
        ASSERT(r.len > 0 && r.len <= TRAIL_BODY_MAX && r.body >= p && r.body + r.len <= p + len);
        body(r.body, r.len);
        rc = 0;
    }
    ASSERT(rc == 0 || e.code == ERR_CORRUPT);
}

static int count(void *arg, const struct trail_entry *t)
{
    ASSERT(t->seq > 0);
    ++*(unsigned *)arg;
    return 0;
}

static void sent(const uint8_t *p, size_t len)
{
    unsigned seen = 0;
    struct err e = ERR_INIT;
    struct trail_walk w = {.visit = count, .arg = &seen}, again = {.visit = NULL};
    if (trail_follow(&w, p, len, &e) == 0) {
        ASSERT(seen <= w.end.seq);
        again.known = &w.end;
        ASSERT(trail_follow(&again, p, len, &e) == 0);
        ASSERT(trail_check_end(&again.end, &w.end, &e) == 0);
    } else {
        ASSERT((e.code == ERR_CHAIN || e.code == ERR_PROTO) && e.text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] % 3 == 0)
        body(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        batch(data + 1, size - 1);
    else
        sent(data + 1, size - 1);
    return 0;
}
