/* Input: batches of wraps for readers that came later, as a hub hands them out: each a length u16,
 * the reader's fingerprint and the entries. What is taken is found again under its id, and opens
 * with no key but one that fits. */
#include "fuzz.h"
#include "grants.h"

#include <string.h>

static void batch(struct grants *g, const uint8_t *reader, const uint8_t *p, uint32_t len)
{
    struct err e = ERR_INIT;
    size_t before = g->count;
    int rc = grants_add(g, reader, KEY_FP_LEN, p, len, &e);
    ASSERT((rc == 0) == (len > 0 && len % WRAPS_ENTRY_LEN == 0));
    ASSERT(g->count == before + (rc == 0 ? len / WRAPS_ENTRY_LEN : 0));
    ASSERT(rc == 0 || (e.code == ERR_PROTO && e.text[0]));
    ASSERT(grants_add(g, reader, KEY_FP_LEN - 1, p, WRAPS_ENTRY_LEN, &e) == -ERR_PROTO);
}

static void look(const struct grants *g, const struct key_secret *k)
{
    uint8_t key[SEAL_KEY_LEN];
    for (size_t i = 0; i < g->count; i++) {
        const struct grant *one = &g->list[i], *found = grants_find(g, one->id);
        ASSERT(i == 0 || memcmp(g->list[i - 1].id, one->id, DATAKEY_ID_LEN) <= 0);
        ASSERT(found && memcmp(found->id, one->id, DATAKEY_ID_LEN) == 0);
        ASSERT(grants_has(g, one->id, one->wrap.reader));
        ASSERT(datakey_open(key, one->id, &one->wrap, k) < 0); /* nobody has wrapped for it */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct key_secret *k;
    static const uint8_t seed[KEY_LEN] = {5};
    struct bytes_in b = bytes_in(data, size);
    struct grants g = {0};
    struct err e = ERR_INIT;
    if (!k) {
        ASSERT(key_init(&e) == 0);
        k = key_generate(KEY_RESTORE, seed);
    }
    while (bytes_left(&b) > 0) {
        uint16_t len = bytes_get_u16(&b);
        const uint8_t *reader = bytes_view(&b, KEY_FP_LEN), *p = bytes_view(&b, len);
        if (bytes_bad(&b))
            break;
        batch(&g, reader, p, len);
    }
    grants_sort(&g);
    look(&g, k);
    grants_free(&g);
    return 0;
}
