#include "hashes.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

void hashes_free(struct hashes *h)
{
    free(h->runs);
    free(h->values);
    *h = (struct hashes){0};
}

void hashes_add(struct hashes *h, uint16_t volume, uint32_t sector, uint32_t sectors,
                const uint64_t *values)
{
    struct hashes_run run = {volume, sector, sectors, values ? h->value_count : HASHES_ALL_ZERO};
    if (h->run_count == h->run_cap) {
        h->run_cap = h->run_cap ? h->run_cap * 2 : 64;
        h->runs = err_realloc(h->runs, h->run_cap * sizeof *h->runs);
    }
    h->runs[h->run_count++] = run;
    if (!values)
        return;
    if (h->value_count + sectors > h->value_cap) {
        size_t cap = h->value_cap ? h->value_cap : 1024;
        while (cap < h->value_count + sectors)
            cap *= 2;
        h->value_cap = cap;
        h->values = err_realloc(h->values, cap * sizeof *h->values);
    }
    memcpy(h->values + h->value_count, values, sectors * sizeof *values);
    h->value_count += sectors;
}

size_t hashes_size(const struct hashes *h)
{
    return h->run_count * sizeof *h->runs + h->value_count * sizeof *h->values;
}
