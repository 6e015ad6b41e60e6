/* Input: an encoded manifest. What is decoded encodes to the same bytes, but for the signature. */
#include "fuzz.h"
#include "manifest.h"

#include <string.h>

static struct key_secret *key(void)
{
    static struct key_secret *k;
    static const uint8_t seed[KEY_LEN] = {1};
    struct err e = ERR_INIT;
    if (!k) {
        ASSERT(key_init(&e) == 0);
        k = key_generate(KEY_SIGN, seed);
    }
    return k;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_out out = bytes_out(MANIFEST_MAX);
    struct manifest m;
    struct err e = ERR_INIT;
    int rc = manifest_decode(&m, data, size, &e);
    if (rc != 0) {
        ASSERT((rc == -ERR_INPUT || rc == -ERR_LIMIT) && e.text[0]);
        return 0;
    }
    ASSERT(manifest_encode(&out, &m, key(), &e) == 0);
    ASSERT(out.len == size && memcmp(out.p, data, size - MANIFEST_SIG_LEN) == 0);
    ASSERT(manifest_verify(out.p, out.len, key_public(key()), &e) == 0);
    bytes_free(&out);
    manifest_free(&m);
    return 0;
}
