/* Input: a catalog entry as it may lie in a store that decayed, or was in somebody's hands. What is
 * accepted is exactly what would be written. */
#include "catalog.h"
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_head raw = {.rp = 0}, again;
    struct catalog_entry entry;
    struct err e = ERR_INIT;
    char name[STORE_NAME_MAX];
    if (size < 8 || size - 8 > STORE_ENTRY_MAX)
        return 0;
    memcpy(&raw.rp, data, 8);
    raw.len = (uint16_t)(size - 8);
    memcpy(raw.value, data + 8, raw.len);
    if (catalog_decode(&entry, &raw, &e) < 0) {
        ASSERT(e.code == ERR_CORRUPT && e.text[0]);
        return 0;
    }
    ASSERT(entry.rp_first > 0 && entry.rp_first <= entry.rp);
    ASSERT(entry.manifest_len <= MANIFEST_MAX && entry.file_len >= entry.manifest_len);
    ASSERT(catalog_encode(&again, &entry) == 0);
    ASSERT(again.rp == raw.rp && again.len == raw.len);
    ASSERT(memcmp(again.value, raw.value, raw.len) == 0);
    catalog_object_name(name, "records", entry.rp, entry.digest.b,
                        (uint32_t)(entry.file_len >> 22));
    return 0;
}
