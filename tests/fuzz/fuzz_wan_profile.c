/* Input: a profile of a link, line by line. Whatever is accepted is within the bounds of profile.h.
 */
#include "bounds.h"
#include "fuzz.h"
#include "profile.h"

#include <stdlib.h>
#include <string.h>

/* Section, name and value, a tab between. */
static void line(struct wan_profile *p, char *text)
{
    struct err e = ERR_INIT;
    char *section = strsep(&text, "\t"), *name = text ? strsep(&text, "\t") : NULL;
    if (!name || !text)
        return;
    if (wan_profile_line(p, section, name, text, &e) < 0)
        ASSERT((e.code == ERR_CONFIG || e.code == ERR_LIMIT) && e.text[0]);
    (void)wan_profile_set(p, name, text, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wan_profile p;
    char *text = err_malloc(size + 1), *at = text;
    memcpy(text, data, size);
    text[size] = '\0';
    wan_profile_init(&p);
    while (at)
        line(&p, strsep(&at, "\n"));
    ASSERT(p.mtu >= WAN_MTU_MIN && p.mtu <= WAN_MTU_MAX);
    ASSERT(p.step_count <= WAN_STEPS_MAX);
    for (size_t i = 1; i < p.step_count; i++)
        ASSERT(p.steps[i].at >= p.steps[i - 1].at);
    wan_profile_free(&p);
    free(text);
    return 0;
}
