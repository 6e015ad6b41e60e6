/* Input: what people type for a recovery point: "lens/records@12", "records@2026-11-22 12:00". What
 * is read are names and a word that fits its place; what is found is a complete point. */
#include "fuzz.h"
#include "history.h"
#include "selector.h"

#include <stdlib.h>
#include <string.h>

#define NOW    INT64_C(1795348800000000000) /* 2026-11-22 */
#define POINTS 9u

static void find(const char *point)
{
    struct reader_point points[POINTS];
    struct reader r = {.site = "lens", .group = "records", .points = points, .count = POINTS};
    struct err e = ERR_INIT;
    uint64_t rp = 0;
    memset(points, 0, sizeof points);
    for (unsigned i = 0; i < POINTS; i++) {
        points[i].rp = points[i].rp_first = 10 + i;
        points[i].cut_time = NOW - (int64_t)(POINTS - i) * 60000000000 + (i == 4) * 90000000000;
        points[i].complete = i % 3 != 2;
    }
    int rc = reader_find(&r, point, NOW, &rp, &e);
    ASSERT(rc == 0 || e.code == ERR_USAGE || e.code == ERR_NOENT);
    ASSERT(rc == 0 ? rp >= 10 && rp < 10 + POINTS && points[rp - 10].complete : e.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = err_malloc(size + 1);
    struct selector s;
    struct err e = ERR_INIT;
    memcpy(text, data, size);
    text[size] = '\0';
    for (int option = 0; option < 2; option++) {
        if (selector_parse(&s, text, option ? "arras" : NULL, "bethune", &e) < 0) {
            ASSERT(e.code == ERR_USAGE && e.text[0]);
            continue;
        }
        ASSERT(bytes_is_name(s.site) && bytes_is_name(s.group));
        ASSERT(!option || strcmp(s.site, "arras") == 0);
        ASSERT(s.has_point == (strchr(text, '@') != NULL));
        ASSERT(!s.has_point || s.point[0]);
        find(s.point);
    }
    find(text);
    free(text);
    return 0;
}
