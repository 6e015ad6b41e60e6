/* Lines to sections and options.
 *
 * inih splits "name = value", trims and knows comments. What it would do silently is refused before
 * it sees the line: cut long lines, truncate section names at 49 bytes, join indented lines to the
 * value before, take ":" for "=". Debian's build passes no line numbers and does not announce empty
 * sections; the line source below knows both. */
#include "parser.h"

#include "bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

void parser_problem(struct parser *p, int line, const struct section *section,
                    const struct option *o, const char *value, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX], text[2 * ERR_TEXT_MAX], where[128] = "";
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (section)
        (void)snprintf(where, sizeof where, "[%s]", section->title);
    if (section && o && value)
        (void)snprintf(text, sizeof text, "%s %s = %.120s%s: %s", where, o->name, value,
                       strlen(value) > 120 ? "..." : "", what);
    else if (section && o)
        (void)snprintf(text, sizeof text, "%s %s: %s", where, o->name, what);
    else
        (void)snprintf(text, sizeof text, "%s%s%s", where, section ? ": " : "", what);
    if (p->problems++ == 0) {
        if (line)
            (void)err_set(&p->first, ERR_CONFIG, "%s:%d: %s", p->file, line, text);
        else
            (void)err_set(&p->first, ERR_CONFIG, "%s: %s", p->file, text);
    }
    if (p->report)
        p->report(p->arg, line, text);
}

void parser_warning(struct parser *p, int line, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX] = "warning: ";
    size_t n = strlen(text);
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text + n, sizeof text - n, fmt, ap);
    va_end(ap);
    if (p->report)
        p->report(p->arg, line, text);
}

const struct section *parser_section(const struct parser *p, enum section_kind kind,
                                     const char *argument)
{
    for (unsigned i = 0; i < p->section_count; i++)
        if (p->sections[i].kind == kind && strcmp(p->sections[i].argument, argument) == 0)
            return &p->sections[i];
    return NULL;
}

int parser_line(const struct section *s, const char *name)
{
    const struct option *o = option_find(s->kind, name);
    ASSERT(o);
    return s->lines[o - options] ? s->lines[o - options] : s->line;
}

/* ---- sections ---- */

static bool kind_of(const char *word, size_t len, enum section_kind *out)
{
    for (int k = 0; k < SECTION_KINDS; k++)
        if (strlen(section_infos[k].word) == len && memcmp(section_infos[k].word, word, len) == 0) {
            *out = (enum section_kind)k;
            return true;
        }
    return false;
}

static bool argument_ok(enum section_kind kind, const char *arg)
{
    char group[NAME_MAX_LEN + 1];
    const char *slash = strchr(arg, '/');
    if (!section_infos[kind].argument)
        return !*arg;
    if (kind != SECTION_VOLUME)
        return bytes_is_name(arg);
    if (!slash || (size_t)(slash - arg) >= sizeof group)
        return false;
    memcpy(group, arg, (size_t)(slash - arg));
    group[slash - arg] = '\0';
    return bytes_is_name(group) && bytes_is_name(slash + 1);
}

/* The struct that the section's options are set in. Moves when another of its kind is added. */
static void *section_base(struct parser *p, const struct section *s)
{
    switch (s->kind) {
    case SECTION_PEER:
        return &p->config->peers[s->index];
    case SECTION_GROUP:
        return &p->config->groups[s->index];
    case SECTION_VOLUME:
        return &p->volumes[s->index];
    default:
        return p->config;
    }
}

/* Room for one more, zeroed. */
static void *grow(void *array, unsigned *count, size_t size)
{
    if ((*count & (*count - 1)) == 0) /* at powers of two, and at 0 */
        array = err_realloc(array, size * (*count ? 2 * (size_t)*count : 1));
    memset((char *)array + size * *count, 0, size);
    ++*count;
    return array;
}

/* Adds the section's struct; -1 past its bound. Names are known to fit. */
static int section_add_base(struct parser *p, struct section *s)
{
    struct config *c = p->config;
    if (s->kind == SECTION_HUB) {
        c->has_hub = true;
    } else if (s->kind == SECTION_PEER) {
        if (c->peer_count == PEERS_MAX)
            return -1;
        c->peers = grow(c->peers, &c->peer_count, sizeof *c->peers);
        s->index = c->peer_count - 1;
        memcpy(c->peers[s->index].name, s->argument, NAME_MAX_LEN + 1);
        c->peers[s->index].line = s->line;
    } else if (s->kind == SECTION_GROUP) {
        if (c->group_count == GROUPS_MAX)
            return -1;
        c->groups = grow(c->groups, &c->group_count, sizeof *c->groups);
        s->index = c->group_count - 1;
        memcpy(c->groups[s->index].name, s->argument, NAME_MAX_LEN + 1);
        c->groups[s->index].line = s->line;
    } else if (s->kind == SECTION_VOLUME) {
        if (p->volume_count == GROUPS_MAX * VOLUMES_MAX)
            return -1;
        p->volumes = grow(p->volumes, &p->volume_count, sizeof *p->volumes);
        s->index = p->volume_count - 1;
        memcpy(p->volumes[s->index].name, strchr(s->argument, '/') + 1,
               strlen(strchr(s->argument, '/') + 1) + 1);
        p->volumes[s->index].line = s->line;
    }
    option_set_defaults(s->kind, section_base(p, s));
    return 0;
}

static void section_unknown(struct parser *p, const char *title, size_t word)
{
    char name[32];
    const char *near;
    (void)snprintf(name, sizeof name, "%.*s", (int)(word < 31 ? word : 31), title);
    near = section_nearest(name);
    if (near)
        parser_problem(p, p->line, NULL, NULL, NULL,
                       "[%.100s]: no such section; did you mean [%s%s%s]?", title, near,
                       strcmp(near, "site") && strcmp(near, "hub") ? " " : "",
                       title[word] ? title + word + 1 : "");
    else
        parser_problem(p, p->line, NULL, NULL, NULL,
                       "[%.100s]: no such section; there are [site], [hub], [peer NAME], [group "
                       "NAME] and [volume GROUP/NAME]",
                       title);
}

/* text: what stands between the brackets. */
static void section_open(struct parser *p, const char *text)
{
    size_t word = strcspn(text, " \t"), arg = word + strspn(text + word, " \t");
    struct section s = {.line = p->line};
    const struct section *before;
    p->skipping = true;
    if (!kind_of(text, word, &s.kind)) {
        section_unknown(p, text, word);
        return;
    }
    if (!argument_ok(s.kind, text + arg)) {
        const char *want = section_infos[s.kind].argument;
        parser_problem(p, p->line, NULL, NULL, NULL,
                       want ? "[%.150s]: write [%s %s]; a name is a-z, 0-9 and -, at most 48"
                            : "[%.150s]: write [%s]%s",
                       text, section_infos[s.kind].word, want ? want : ", there is only one");
        return;
    }
    (void)snprintf(s.argument, sizeof s.argument, "%s", text + arg);
    (void)snprintf(s.title, sizeof s.title, "%s%s%s", section_infos[s.kind].word,
                   *s.argument ? " " : "", s.argument);
    before = parser_section(p, s.kind, s.argument);
    if (before) {
        parser_problem(p, p->line, &s, NULL, NULL,
                       "this section is on line %d already; put all its options there",
                       before->line);
        return;
    }
    if (section_add_base(p, &s) != 0) {
        parser_problem(p, p->line, &s, NULL, NULL, "too many; at most %u are allowed",
                       s.kind == SECTION_PEER    ? PEERS_MAX
                       : s.kind == SECTION_GROUP ? GROUPS_MAX
                                                 : GROUPS_MAX * VOLUMES_MAX);
        return;
    }
    p->sections = grow(p->sections, &p->section_count, sizeof *p->sections);
    p->sections[p->section_count - 1] = s;
    p->skipping = false;
}

/* ---- options ---- */

static void option_unknown(struct parser *p, const struct section *s, const char *name)
{
    const char *near = option_nearest(s->kind, name);
    for (int k = 0; k < SECTION_KINDS; k++)
        if (option_find((enum section_kind)k, name)) {
            parser_problem(p, p->line, s, NULL, NULL,
                           "no option \"%.60s\" here; it belongs in [%s%s%s]", name,
                           section_infos[k].word, section_infos[k].argument ? " " : "",
                           section_infos[k].argument ? section_infos[k].argument : "");
            return;
        }
    if (near) {
        parser_problem(p, p->line, s, NULL, NULL, "no option \"%.60s\"; did you mean %s?", name,
                       near);
        return;
    }
    parser_problem(p, p->line, s, NULL, NULL,
                   "no option \"%.60s\"; relais config reference lists them", name);
}

/* inih's handler. Returns nonzero: problems are counted here. */
static int on_option(void *arg, const char *section, const char *name, const char *value)
{
    struct parser *p = arg;
    struct section *s = &p->sections[p->section_count - 1];
    struct err e = ERR_INIT;
    const struct option *o = option_find(s->kind, name);
    (void)section;
    if (!o) {
        option_unknown(p, s, name);
        return 1;
    }
    if (s->lines[o - options] && o->type != OPTION_RATES && o->type != OPTION_KEEPS) {
        parser_problem(p, p->line, s, o, value, "given on line %d already; keep one of them",
                       s->lines[o - options]);
        return 1;
    }
    s->lines[o - options] = p->line;
    if (!*value)
        parser_problem(p, p->line, s, o, value, "empty; write a value, or remove the line");
    else if (option_set(o, section_base(p, s), value, &e) != 0)
        parser_problem(p, p->line, s, o, value, "%s", e.text);
    return 1;
}

/* ---- lines ---- */

struct lines {
    struct parser *parser;
    const char *at, *end;
};

/* Whether the (trimmed, terminated) line is for inih; says what is wrong otherwise. */
static bool line_is_option(struct parser *p, char *line)
{
    const struct section *s = p->section_count ? &p->sections[p->section_count - 1] : NULL;
    size_t name = strcspn(line, "=");
    if (p->skipping)
        return false;
    if (!line[name]) {
        parser_problem(p, p->line, s, NULL, NULL, "\"%.80s\" has no \"=\"; write option = value",
                       line);
        return false;
    }
    if (!s) {
        parser_problem(p, p->line, NULL, NULL, NULL,
                       "\"%.80s\" stands before any section; start with [site]", line);
        return false;
    }
    while (name > 0 && (line[name - 1] == ' ' || line[name - 1] == '\t'))
        name--;
    if (name == 0 || strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789-") < name) {
        parser_problem(p, p->line, s, NULL, NULL,
                       "\"%.*s\" is not an option's name; those are a-z and -",
                       (int)(name < 80 ? name : 80), line);
        return false;
    }
    return true;
}

static void line_is_section(struct parser *p, char *line)
{
    size_t n = strlen(line);
    if (line[n - 1] != ']') {
        p->skipping = true;
        parser_problem(
            p, p->line, NULL, NULL, NULL,
            "\"%.80s\": a section's line ends with ]; put comments on a line of their own", line);
        return;
    }
    line[n - 1] = '\0';
    section_open(p, line + 1);
}

/* True when the raw line may be looked at further. */
static bool line_is_sound(struct parser *p, const char *raw, size_t len)
{
    const struct section *s = p->section_count ? &p->sections[p->section_count - 1] : NULL;
    if (len > CONFIG_LINE_MAX) {
        parser_problem(p, p->line, s, NULL, NULL,
                       "the line is %zu bytes long; at most %u are allowed", len, CONFIG_LINE_MAX);
        return false;
    }
    for (size_t i = 0; i < len; i++)
        if (((unsigned char)raw[i] < 0x20 && raw[i] != '\t') || raw[i] == 0x7f) {
            parser_problem(p, p->line, s, NULL, NULL,
                           "the line holds the control byte 0x%02x; the file is plain text",
                           (unsigned char)raw[i]);
            return false;
        }
    return true;
}

/* inih's line source: puts the next line that it may see into dst, "" for all others. */
static char *next_line(char *dst, int cap, void *stream)
{
    struct lines *l = stream;
    struct parser *p = l->parser;
    const char *raw = l->at, *eol;
    size_t len;
    if (raw == l->end)
        return NULL;
    ASSERT(cap >= (int)CONFIG_LINE_MAX + 3);
    eol = memchr(raw, '\n', (size_t)(l->end - raw));
    len = (size_t)((eol ? eol : l->end) - raw);
    l->at = eol ? eol + 1 : l->end;
    p->line++;
    if (len && raw[len - 1] == '\r')
        len--;
    dst[0] = '\0';
    if (!line_is_sound(p, raw, len))
        return dst;
    while (len && (raw[len - 1] == ' ' || raw[len - 1] == '\t'))
        len--;
    memcpy(dst, raw, len);
    dst[len] = '\0';
    if (strchr(";#", dst[strspn(dst, " \t")])) { /* a comment, or (the NUL) nothing */
        dst[0] = '\0';
    } else if (dst[0] == ' ' || dst[0] == '\t') {
        if (!p->skipping)
            parser_problem(p, p->line, p->section_count ? &p->sections[p->section_count - 1] : NULL,
                           NULL, NULL,
                           "the line starts with a space; values do not go on over lines: write it "
                           "all on one, at the margin");
        dst[0] = '\0';
    } else if (dst[0] == '[') {
        line_is_section(p, dst);
        dst[0] = '\0';
    } else if (!line_is_option(p, dst)) {
        dst[0] = '\0';
    }
    return dst;
}

static void volumes_into_groups(struct parser *p)
{
    for (unsigned i = 0; i < p->section_count; i++) {
        const struct section *s = &p->sections[i];
        char name[NAME_MAX_LEN + 1];
        struct config_group *g;
        if (s->kind != SECTION_VOLUME)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(s->argument, "/"), s->argument);
        g = (struct config_group *)(uintptr_t)config_group(p->config, name);
        if (!g)
            parser_problem(p, s->line, s, NULL, NULL,
                           "there is no [group %s]; add it, or correct the name", name);
        else if (g->volume_count == VOLUMES_MAX)
            parser_problem(p, s->line, s, NULL, NULL,
                           "too many volumes in %s; at most %u are allowed", name, VOLUMES_MAX);
        else {
            g->volumes = grow(g->volumes, &g->volume_count, sizeof *g->volumes);
            g->volumes[g->volume_count - 1] = p->volumes[s->index];
        }
    }
}

void parser_read(struct parser *p, const char *text, size_t len)
{
    struct lines l = {p, text, text + len};
    ASSERT(option_count <= OPTIONS_BOUND);
    if (len > CONFIG_FILE_MAX) {
        parser_problem(p, 0, NULL, NULL, NULL, "%zu bytes long; at most %llu are allowed", len,
                       (unsigned long long)CONFIG_FILE_MAX);
        return;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        l.at += 3; /* the mark that some editors put at the start of UTF-8 */
    option_set_defaults(SECTION_SITE, p->config);
    option_set_defaults(SECTION_HUB, p->config);
    ini_max_line = (int)CONFIG_LINE_MAX + 3;
    ini_allow_multiline = false;
    /* A ";" in a freeze command is the shell's. */
    ini_allow_inline_comments = false;
    (void)ini_parse_stream(next_line, &l, on_option, p);
    volumes_into_groups(p);
}

void parser_free(struct parser *p)
{
    free(p->sections);
    free(p->volumes);
    p->sections = NULL;
    p->volumes = NULL;
}
