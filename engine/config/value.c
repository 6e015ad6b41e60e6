/* Values of options: text to member, each type with its own way to be wrong. */
#include "bytes.h"
#include "option.h"
#include "units.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int set_text(const struct option *o, char *dst, const char *value, struct err *e)
{
    size_t n = strlen(value);
    if (n >= o->size)
        return err_set(e, ERR_CONFIG, "%zu bytes long; at most %zu fit", n, o->size - 1);
    memcpy(dst, value, n + 1);
    return 0;
}

static int set_name(const struct option *o, char *dst, const char *value, struct err *e)
{
    if (!bytes_is_name(value))
        return err_set(e, ERR_CONFIG,
                       "not a name; use a-z, 0-9 and -, at most %u, not starting with -",
                       NAME_MAX_LEN);
    return set_text(o, dst, value, e);
}

static int set_word(const struct option *o, char *dst, const char *value, struct err *e)
{
    if (strpbrk(value, " \t"))
        return err_set(e, ERR_CONFIG, "holds a space; write one word");
    return set_text(o, dst, value, e);
}

static int set_path(const struct option *o, char *dst, const char *value, struct err *e)
{
    if (value[0] != '/')
        return err_set(e, ERR_CONFIG, "not an absolute path; start it with /");
    return set_text(o, dst, value, e);
}

static int set_size(const struct option *o, uint64_t *dst, const char *value, struct err *e)
{
    const char *none = o->type == OPTION_SIZE_NONE ? ", or none" : "";
    char lo[UNITS_TEXT], hi[UNITS_TEXT];
    uint64_t v;
    if (*none && strcmp(value, "none") == 0) {
        *dst = 0;
        return 0;
    }
    units_size(lo, o->min);
    units_size(hi, o->max);
    if (units_parse_size(&v, value) != 0)
        return err_set(e, ERR_CONFIG,
                       "not a size; write a number and KiB, MiB, GiB or TiB, from %s to %s%s", lo,
                       hi, none);
    if (v < o->min || v > o->max)
        return err_set(e, ERR_CONFIG, "out of bounds; %s to %s%s is allowed", lo, hi, none);
    *dst = v;
    return 0;
}

static int set_duration(const struct option *o, uint64_t *dst, const char *value, struct err *e)
{
    const char *never = o->type == OPTION_DURATION_NEVER ? ", or never" : "";
    char lo[UNITS_TEXT], hi[UNITS_TEXT];
    uint64_t v;
    if (*never && strcmp(value, "never") == 0) {
        *dst = 0;
        return 0;
    }
    units_duration(lo, o->min);
    units_duration(hi, o->max);
    if (units_parse_duration(&v, value) != 0)
        return err_set(e, ERR_CONFIG,
                       "not a duration; write a number and ms, s, min, h or d, from %s to %s%s", lo,
                       hi, never);
    if ((v < o->min && !(*never && v == 0)) || v > o->max)
        return err_set(e, ERR_CONFIG, "out of bounds; %s to %s%s is allowed", lo, hi, never);
    *dst = v;
    return 0;
}

static int set_number(const struct option *o, unsigned *dst, const char *value, struct err *e)
{
    uint64_t v = 0;
    size_t n = strspn(value, "0123456789");
    if (n == 0 || value[n])
        return err_set(e, ERR_CONFIG, "not a number; write %llu to %llu",
                       (unsigned long long)o->min, (unsigned long long)o->max);
    for (size_t i = 0; i < n && v <= o->max; i++)
        v = v * 10 + (uint64_t)(value[i] - '0');
    if (v < o->min || v > o->max)
        return err_set(e, ERR_CONFIG, "out of bounds; %llu to %llu is allowed",
                       (unsigned long long)o->min, (unsigned long long)o->max);
    *dst = (unsigned)v;
    return 0;
}

/* "host:port", "[2001:db8::1]:port"; ":port" where any host will do. */
static int set_addr(struct config_addr *dst, bool any_host, const char *value, struct err *e)
{
    const char *colon = strrchr(value, ':'), *host = value;
    size_t n, digits;
    unsigned long port;
    if (!colon)
        return err_set(e, ERR_CONFIG, "has no port; write %s:PORT, as in hub.example.org:7440",
                       value);
    digits = strspn(colon + 1, "0123456789");
    port = digits && digits <= 5 && !colon[1 + digits] ? strtoul(colon + 1, NULL, 10) : 0;
    if (port < 1 || port > 65535)
        return err_set(e, ERR_CONFIG, "\"%s\" is not a port; write 1 to 65535", colon + 1);
    n = (size_t)(colon - value);
    if (n >= 2 && value[0] == '[' && colon[-1] == ']') {
        host++;
        n -= 2;
    } else if (memchr(value, ':', n)) {
        return err_set(e, ERR_CONFIG, "an IPv6 address goes in brackets; write [%.*s]:%lu", (int)n,
                       value, port);
    }
    if (n >= sizeof dst->host)
        return err_set(e, ERR_CONFIG, "the host is %zu bytes long; at most %zu fit", n,
                       sizeof dst->host - 1);
    if (n == 0 && !any_host)
        return err_set(e, ERR_CONFIG, "has no host; write HOST%s", value);
    if (strcspn(host, " \t/[]@") < n)
        return err_set(e, ERR_CONFIG, "\"%.*s\" is not a host; write a name or an address", (int)n,
                       host);
    memcpy(dst->host, host, n);
    dst->host[n] = '\0';
    dst->port = (uint16_t)port;
    return 0;
}

int config_addr_parse(struct config_addr *out, const char *text, struct err *e)
{
    return set_addr(out, false, text, e);
}

void config_addr_text(char dst[CONFIG_ADDR_TEXT], const struct config_addr *a)
{
    bool v6 = strchr(a->host, ':') != NULL;
    (void)snprintf(dst, CONFIG_ADDR_TEXT, "%s%s%s:%u", v6 ? "[" : "", a->host, v6 ? "]" : "",
                   a->port);
}

/* A public key is "KIND:" and 32 bytes in base64. Whether it is a point on the curve is for those
 * who use it: this layer knows no cryptography. */
static int set_key(const struct option *o, char *dst, const char *value, struct err *e)
{
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t kind = strlen(o->kind), n;
    const char *body = strchr(value, ':');
    if (body && ((size_t)(body - value) != kind || memcmp(value, o->kind, kind) != 0))
        return err_set(e, ERR_CONFIG, "a key of kind %.*s; a key of kind %s is needed here",
                       (int)(body - value < 16 ? body - value : 16), value, o->kind);
    if (!body)
        return err_set(e, ERR_CONFIG,
                       "not a public key; write the word that relais keygen --show prints, %s:...",
                       o->kind);
    body++;
    n = strspn(body, base64);
    /* 32 bytes are 43 digits and one "=", and the last digit ends in two zero bits. */
    if (n != 43 || strcmp(body + n, "=") != 0 || !strchr("AEIMQUYcgkosw048", body[42]))
        return err_set(e, ERR_CONFIG,
                       "a damaged key (%zu of 44 characters are right); copy the whole word that "
                       "relais keygen --show prints",
                       n < 43 ? n : 43);
    return set_text(o, dst, value, e);
}

int config_read_check(const char *text, struct err *e)
{
    char site[2 * NAME_MAX_LEN + 2];
    const char *slash = strchr(text, '/');
    size_t n = slash ? (size_t)(slash - text) : 0;
    if (slash && n < sizeof site && strlen(text) < sizeof site) {
        memcpy(site, text, n);
        site[n] = '\0';
        if (bytes_is_name(site) && (strcmp(slash + 1, "*") == 0 || bytes_is_name(slash + 1)))
            return 0;
    }
    return err_set(e, ERR_CONFIG, "\"%.100s\" is not a grant; write SITE/GROUP, or SITE/* for all",
                   text);
}

static int set_reads(const struct option *o, char *dst, const char *value, struct err *e)
{
    int rc = config_read_check(value, e);
    return rc == 0 ? set_text(o, dst, value, e) : rc;
}

static int set_store(const struct option *o, char *dst, const char *value, struct err *e)
{
    if (strncmp(value, "dir:/", 5) != 0 &&
        (strncmp(value, "rados:", 6) != 0 || !value[6] || strpbrk(value + 6, " \t/:")))
        return err_set(e, ERR_CONFIG,
                       "not a store; write dir:/PATH, rados:POOL or rados:POOL+DATA");
    return set_text(o, dst, value, e);
}

static int set_level(const struct option *o, int *dst, const char *value, struct err *e)
{
    unsigned v = 0;
    int res = 0;
    if (strcmp(value, "auto") == 0)
        *dst = CONFIG_LEVEL_AUTO;
    else if ((res = set_number(o, &v, value, e)) == 0)
        *dst = (int)v;
    return res < 0 ? err_set(e, ERR_CONFIG, "not a level; write 0 to 19, or auto") : 0;
}

static int set_source(enum config_source *dst, const char *value, struct err *e)
{
    if (strcmp(value, "scan") != 0 && strcmp(value, "nbd") != 0)
        return err_set(e, ERR_CONFIG, "not a source; write scan or nbd");
    *dst = *value == 's' ? CONFIG_SCAN : CONFIG_NBD;
    return 0;
}

static int set_priority(enum config_priority *dst, const char *value, struct err *e)
{
    static const char *const words[] = {
        [CONFIG_LOW] = "low", [CONFIG_NORMAL] = "normal", [CONFIG_HIGH] = "high"};
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(value, words[i]) == 0) {
            *dst = (enum config_priority)i;
            return 0;
        }
    return err_set(e, ERR_CONFIG, "not a priority; write high, normal or low");
}

static int set_export(struct config_export *dst, const char *value, struct err *e)
{
    size_t n = strlen(value);
    if (strncmp(value, "tcp:", 4) == 0)
        return set_addr(&dst->tcp, true, value + 4, e);
    if (strncmp(value, "unix:/", 6) != 0)
        return err_set(e, ERR_CONFIG, "not an address; write unix:/PATH or tcp:HOST:PORT");
    if (value[n - 1] == '/')
        return err_set(e, ERR_CONFIG, "names a directory; write the path of the socket");
    n -= strlen("unix:");
    if (n >= sizeof dst->path)
        return err_set(e, ERR_CONFIG, "%zu bytes long; at most %zu fit", n, sizeof dst->path - 1);
    memcpy(dst->path, value + strlen("unix:"), n + 1);
    return 0;
}

/* The names are looked up by check_paths.c: they are this machine's. */
static int set_owner(struct config_owner *dst, const char *value, struct err *e)
{
    const char *colon = strchr(value, ':');
    size_t user = colon ? (size_t)(colon - value) : strlen(value);
    const char *group = colon ? colon + 1 : "";
    if ((user == 0 && !*group) || (colon && !*group) || strpbrk(value, " \t/") ||
        strchr(group, ':'))
        return err_set(e, ERR_CONFIG, "not an owner; write USER, USER:GROUP or :GROUP");
    if (user >= sizeof dst->user || strlen(group) >= sizeof dst->group)
        return err_set(e, ERR_CONFIG, "a name of more than %zu bytes", sizeof dst->user - 1);
    memcpy(dst->user, value, user);
    dst->user[user] = '\0';
    memcpy(dst->group, group, strlen(group) + 1);
    dst->uid = dst->gid = UINT32_MAX;
    return 0;
}

static int set_mode(const struct option *o, unsigned *dst, const char *value, struct err *e)
{
    size_t n = strspn(value, "01234567");
    unsigned long v = n > 0 && n <= 4 && !value[n] ? strtoul(value, NULL, 8) : ULONG_MAX;
    if (v < o->min || v > o->max)
        return err_set(e, ERR_CONFIG, "not a mode; write it in octal, as 0660");
    *dst = (unsigned)v;
    return 0;
}

/* One element of a list, into place i. */
static int set_element(const struct option *o, void *list, unsigned i, const char *word,
                       struct err *e)
{
    char *dst = (char *)list + i * o->size;
    const char *text = list;
    if (o->type == OPTION_ADDRS) {
        struct config_addr *addrs = list;
        return set_addr(&addrs[i], false, word, e);
    }
    for (unsigned k = 0; k < i; k++)
        if (strcmp(text + k * o->size, word) == 0)
            return err_set(e, ERR_CONFIG, "\"%.100s\" is in the list twice; write it once", word);
    if (o->type == OPTION_CLIENTS)
        return set_word(o, dst, word, e);
    return o->type == OPTION_KEYS ? set_key(o, dst, word, e) : set_reads(o, dst, word, e);
}

/* Words apart by commas, spaces, or both. */
static int set_list(const struct option *o, void *list, unsigned *count, const char *value,
                    struct err *e)
{
    static const char apart[] = ", \t";
    unsigned max = o->type == OPTION_ADDRS     ? CONFIG_ADDRS_MAX
                   : o->type == OPTION_KEYS    ? (o->max ? (unsigned)o->max : READERS_MAX)
                   : o->type == OPTION_CLIENTS ? CONFIG_CLIENTS_MAX
                                               : CONFIG_READS_MAX;
    char *copy = err_strdup(value), *rest = copy, *word;
    int res = 0;
    *count = 0;
    while (res == 0 && (word = strsep(&rest, apart))) {
        if (!*word)
            continue;
        if (*count == max)
            res = err_set(e, ERR_CONFIG, "more than %u in the list", max);
        else if ((res = set_element(o, list, *count, word, e)) == 0)
            ++*count;
    }
    if (res == 0 && *count == 0)
        res = err_set(e, ERR_CONFIG, "an empty list; name one, or remove the line");
    free(copy);
    return res;
}

/* One line more; a group's name, or none, once. */
static int set_keeps(struct keep_of *list, unsigned *count, const char *value, struct err *e)
{
    struct keep_of k;
    int res = keep_parse_of(&k, value, e);
    for (unsigned i = 0; res == 0 && i < *count; i++)
        if (strcmp(list[i].group, k.group) == 0)
            res = err_set(e, ERR_CONFIG, "rules for %s%s a second time; write them on one line",
                          *k.group ? "group " : "all groups", k.group);
    if (res == 0 && *count == CONFIG_KEEPS_MAX)
        res = err_set(e, ERR_CONFIG, "more than %u lines", CONFIG_KEEPS_MAX);
    if (res == 0)
        list[(*count)++] = k;
    return res;
}

int option_set(const struct option *o, void *base, const char *value, struct err *e)
{
    void *dst = (char *)base + o->offset;
    if (o->type != OPTION_LEVEL && option_has_auto(o) && strcmp(value, "auto") == 0) {
        ASSERT(o->size == sizeof(uint64_t));
        *(uint64_t *)dst = CONFIG_AUTO;
        return 0;
    }
    switch (o->type) {
    case OPTION_NAME:
        return set_name(o, dst, value, e);
    case OPTION_WORD:
        return set_word(o, dst, value, e);
    case OPTION_PATH:
        return set_path(o, dst, value, e);
    case OPTION_COMMAND:
        return set_text(o, dst, value, e);
    case OPTION_SIZE:
    case OPTION_SIZE_NONE:
        return set_size(o, dst, value, e);
    case OPTION_DURATION:
    case OPTION_DURATION_NEVER:
        return set_duration(o, dst, value, e);
    case OPTION_NUMBER:
        return set_number(o, dst, value, e);
    case OPTION_LISTEN:
        return set_addr(dst, true, value, e);
    case OPTION_KEY:
        return set_key(o, dst, value, e);
    case OPTION_STORE:
        return set_store(o, dst, value, e);
    case OPTION_SOURCE:
        return set_source(dst, value, e);
    case OPTION_PRIORITY:
        return set_priority(dst, value, e);
    case OPTION_EXPORT:
        return set_export(dst, value, e);
    case OPTION_OWNER:
        return set_owner(dst, value, e);
    case OPTION_RATES:
        return rates_add(dst, value, e);
    case OPTION_KEEP:
        return keep_parse(dst, value, e);
    case OPTION_KEEPS:
        return set_keeps(dst, (unsigned *)(void *)((char *)base + o->count), value, e);
    case OPTION_LEVEL:
        return set_level(o, dst, value, e);
    case OPTION_MODE:
        return set_mode(o, dst, value, e);
    case OPTION_ADDRS:
    case OPTION_KEYS:
    case OPTION_READS:
    case OPTION_CLIENTS:
        return set_list(o, dst, (unsigned *)(void *)((char *)base + o->count), value, e);
    }
    err_panic(__FILE__, __LINE__, "unknown option type");
}
