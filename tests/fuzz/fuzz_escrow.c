/* Input: what somebody types from paper: lines of up to three sheets. What is accepted is exactly
 * what would be printed, and whatever sheets are put together give a key of their fingerprint, or
 * none. */
#include "escrow.h"
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static bool read_sheet(struct escrow_sheet *s, char **at)
{
    uint8_t bytes[ESCROW_SHEET_LEN] = {0}, again[ESCROW_SHEET_LEN];
    char line[ESCROW_LINE_TEXT];
    struct err e = ERR_INIT;
    for (unsigned i = 0; i < ESCROW_LINES; i++) {
        char *text = strsep(at, "\n");
        if (!text)
            return false;
        if (escrow_line_read(bytes, i, text, &e) < 0) {
            ASSERT(e.text[0]);
            return false;
        }
        struct err none = ERR_INIT;
        escrow_line_print(line, bytes, i);
        ASSERT(escrow_line_read(bytes, i, line, &none) == 0);
    }
    if (escrow_decode(s, bytes, &e) < 0)
        return false;
    ASSERT(s->number >= 1 && s->number <= s->count && s->threshold <= s->count);
    escrow_encode(again, s);
    ASSERT(memcmp(again, bytes, sizeof bytes) == 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct escrow_sheet sheets[3];
    struct key_secret *k = NULL;
    struct err e = ERR_INIT;
    char *text = err_malloc(size + 1), *at = text;
    size_t n = 0;
    static bool ready;
    if (!ready)
        ASSERT(key_init(&e) == 0);
    ready = true;
    memcpy(text, data, size);
    text[size] = '\0';
    while (n < 3 && at && read_sheet(&sheets[n], &at))
        n++;
    if (n > 0 && escrow_combine(&k, sheets, n, &e) == 0) {
        uint8_t fp[KEY_FP_LEN];
        key_fingerprint(fp, key_public(k));
        ASSERT(memcmp(fp, sheets[0].fingerprint, KEY_FP_LEN) == 0);
    } else {
        ASSERT(!k);
    }
    key_free(k);
    free(text);
    return 0;
}
