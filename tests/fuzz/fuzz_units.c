/* Input: a byte for the kind, then what somebody typed: sizes, durations, rates, times. What is
 * printed of what was read can be read again where the two forms are one. */
#include "err.h"
#include "fuzz.h"
#include "units.h"

#include <stdlib.h>
#include <string.h>

#define NOW INT64_C(1795348800000000000) /* 2026-11-22 */

static void time_of(const char *text)
{
    int64_t t, again;
    char shown[UNITS_TEXT];
    if (units_parse_time(&t, text, NOW) != 0)
        return;
    units_time(shown, t);
    ASSERT(strlen(shown) < UNITS_TEXT);
    /* To the millisecond, in years of four digits. */
    if (t >= 0 && strlen(shown) == strlen("2026-11-22T12:00:00.123Z")) {
        ASSERT(units_parse_time(&again, shown, NOW) == 0);
        ASSERT(again / 1000000 == t / 1000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text, shown[UNITS_TEXT];
    uint64_t v = 0;
    if (size == 0)
        return 0;
    text = err_malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    switch (data[0] % 4) {
    case 0:
        if (units_parse_size(&v, text) == 0)
            ASSERT(strlen(units_size(shown, v)) < UNITS_TEXT);
        break;
    case 1:
        if (units_parse_duration(&v, text) == 0)
            ASSERT(strlen(units_duration(shown, v)) < UNITS_TEXT);
        break;
    case 2:
        if (units_parse_bitrate(&v, text) == 0)
            ASSERT(strlen(units_bitrate(shown, (double)v / 8)) < UNITS_TEXT);
        break;
    default:
        time_of(text);
    }
    free(text);
    return 0;
}
