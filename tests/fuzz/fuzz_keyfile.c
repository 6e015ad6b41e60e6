/* Input: a byte for the kind, then the text of a key file, or a public key as a word. What is
 * accepted is exactly what would be written. */
#include "bounds.h"
#include "fuzz.h"
#include "key.h"

#include <stdlib.h>
#include <string.h>

static void file(enum key_kind kind, const char *text, size_t len)
{
    static char again[KEY_FILE_MAX];
    struct key_secret *k = NULL;
    struct err e = ERR_INIT;
    int rc = key_file_parse(&k, kind, "fuzz", text, len, NULL, &e);
    /* AUTH: it is sealed and nobody knows the passphrase; LIMIT: opening it would cost too much. */
    ASSERT(rc == 0 || !k);
    ASSERT(rc == 0 || ((rc == -ERR_INPUT || rc == -ERR_AUTH || rc == -ERR_LIMIT) && e.text[0]));
    if (rc == 0) {
        size_t n = 0;
        ASSERT(key_file_text(again, sizeof again, &n, k, NULL, &e) == 0);
        ASSERT(n == len && memcmp(again, text, len) == 0);
        key_free(k);
    }
}

static void word(enum key_kind kind, const char *text, size_t len)
{
    char *copy = err_malloc(len + 1), again[KEY_WORD_MAX];
    struct key_public k;
    struct err e = ERR_INIT;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (key_public_parse(&k, kind, copy, &e) == 0) {
        key_public_word(again, &k);
        ASSERT(strcmp(again, copy) == 0);
    } else {
        ASSERT(e.code == ERR_INPUT && e.text[0]);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = ERR_INIT;
    ASSERT(key_init(&e) == 0);
    if (size == 0)
        return 0;
    file((enum key_kind)(data[0] % KEY_KINDS), (const char *)data + 1, size - 1);
    word((enum key_kind)(data[0] % KEY_KINDS), (const char *)data + 1, size - 1);
    return 0;
}
