#include "selector.h"

#include "bytes.h"

#include <stdio.h>
#include <string.h>

static int copy_name(char dst[NAME_MAX_LEN + 1], const char *src, size_t len)
{
    if (len > NAME_MAX_LEN)
        return -1;
    memcpy(dst, src, len);
    dst[len] = '\0';
    return bytes_is_name(dst) ? 0 : -1;
}

/* reader_find tells numbers from times by the @. */
static int take_point(struct selector *out, const char *at, struct err *e)
{
    if (strlen(at) + 2 > sizeof out->point)
        return err_set(e, ERR_USAGE, "\"%.50s...\" is no recovery point", at);
    if (!*at)
        return err_set(e, ERR_USAGE, "a number, a time or \"latest\" follows the @");
    bool word = strcmp(at, "latest") == 0 || at[strspn(at, "0123456789")] == '\0';
    (void)snprintf(out->point, sizeof out->point, word ? "%s" : "@%s", at);
    return 0;
}

int selector_parse(struct selector *out, const char *text, const char *site_option, const char *own,
                   struct err *e)
{
    const char *at = strchr(text, '@'), *end = at ? at : text + strlen(text);
    const char *slash = memchr(text, '/', (size_t)(end - text));
    const char *site = site_option ? site_option : own, *group = slash ? slash + 1 : text;
    *out = (struct selector){.has_point = at != NULL};
    if (slash && site_option)
        return err_set(e, ERR_USAGE, "the site is given twice: \"%.50s\" and --site", text);
    if (slash ? copy_name(out->site, text, (size_t)(slash - text))
              : copy_name(out->site, site, strlen(site)))
        return err_set(e, ERR_USAGE, "\"%.50s\" names no site", slash ? text : site);
    if (copy_name(out->group, group, (size_t)(end - group)) != 0)
        return err_set(e, ERR_USAGE, "\"%.50s\" is no [SITE/]GROUP[@POINT]", text);
    return at ? take_point(out, at + 1, e) : 0;
}
