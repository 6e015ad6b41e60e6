#include "store_name.h"

#include "bounds.h"
#include "bytes.h"
#include "store.h"

#include <stdbool.h>
#include <string.h>

static bool is_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

/* Why s is no name, or NULL. A prefix may end in '/'. */
static const char *flaw(const char *s, bool prefix)
{
    unsigned depth = 1;
    bool starts = true;
    size_t n;
    for (n = 0; s[n]; n++) {
        if (n + 1 >= STORE_NAME_MAX)
            return "it is too long";
        if (s[n] == '/') {
            if (starts)
                return "it has an empty component";
            if (++depth > STORE_NAME_DEPTH)
                return "it has too many components";
        } else if (!is_char(s[n])) {
            return "only letters, digits, '.', '_', '-' and '/' are allowed";
        } else if (starts && s[n] == '.') {
            return "a component starts with '.'";
        }
        starts = s[n] == '/';
    }
    if (starts && !prefix)
        return n == 0 ? "it is empty" : "it ends in '/'";
    return NULL;
}

int store_name_site(const char *site, struct err *e)
{
    if (!bytes_is_name(site))
        return err_set(e, ERR_INPUT,
                       "store: '%.64s' is no site name: use up to %u of a-z, 0-9 and '-'", site,
                       NAME_MAX_LEN);
    return 0;
}

int store_name_lease(const char *name, struct err *e)
{
    if (!bytes_is_name(name))
        return err_set(e, ERR_INPUT,
                       "store: '%.64s' is no name of a lease: use up to %u of a-z, 0-9 and '-'",
                       name, NAME_MAX_LEN);
    return 0;
}

static bool is_log(const char *suffix)
{
    static const char *const logs[] = {STORE_READERS, STORE_POLICY, STORE_USAGE, STORE_SCRUB,
                                       STORE_AUDIT};
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++)
        if (strcmp(suffix, logs[i]) == 0)
            return true;
    return false;
}

int store_name_group(const char *site, const char *group, struct err *e)
{
    char name[NAME_MAX_LEN + 1];
    const char *log = strchr(group, '.');
    bool other = log && is_log(log);
    size_t len = other ? (size_t)(log - group) : strlen(group);
    int r = store_name_site(site, e);
    if (len <= NAME_MAX_LEN) {
        memcpy(name, group, len);
        name[len] = '\0';
    }
    if (r == 0 && (len > NAME_MAX_LEN || !bytes_is_name(name)))
        r = err_set(e, ERR_INPUT,
                    "store: '%.64s' is no group name: use up to %u of a-z, 0-9 and '-'", group,
                    NAME_MAX_LEN);
    return r;
}

static int check(const char *site, const char *name, bool prefix, struct err *e)
{
    const char *why;
    int r = store_name_site(site, e);
    if (r)
        return r;
    why = flaw(name, prefix);
    if (why)
        return err_set(e, ERR_INPUT, "store: '%.200s' is no object name: %s", name, why);
    return 0;
}

int store_name_object(const char *site, const char *name, struct err *e)
{
    return check(site, name, false, e);
}

int store_name_prefix(const char *site, const char *prefix, struct err *e)
{
    return check(site, prefix, true, e);
}
