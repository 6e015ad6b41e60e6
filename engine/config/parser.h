/* parser.h: what parsing leaves for the checks: sections and options with their lines. Private to
 * engine/config. */
#ifndef RELAIS_PARSER_H
#define RELAIS_PARSER_H

#include "option.h"

#define OPTIONS_BOUND 128 /* rows of the table */

struct section {
    enum section_kind kind;
    char title[2 * NAME_MAX_LEN + 16];   /* "peer arras" */
    char argument[2 * NAME_MAX_LEN + 2]; /* "arras", "records/data", "" */
    int line;
    unsigned index;           /* in the parser's array of its kind */
    int lines[OPTIONS_BOUND]; /* where each row of the table is given; 0: it is not */
};

struct parser {
    struct config *config;
    const char *file;
    void (*report)(void *arg, int line, const char *text);
    void *arg;
    unsigned problems;
    struct err first; /* the first problem */

    struct section *sections;
    unsigned section_count;
    bool skipping; /* inside a section that was refused, its options are not looked at */
    int line;      /* of the line in hand */

    /* Volumes in file order, until every group is known. sections[...].index counts here. */
    struct config_volume *volumes;
    unsigned volume_count;
};

/* Tells one problem. section, o, value: NULL when it is not about one. */
void parser_problem(struct parser *p, int line, const struct section *section,
                    const struct option *o, const char *value, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* Tells what is wrong but need not keep a daemon from starting. */
void parser_warning(struct parser *p, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Line of the option in the section; that of the section when the option is not there. */
int parser_line(const struct section *s, const char *name);
const struct section *parser_section(const struct parser *p, enum section_kind kind,
                                     const char *argument);

/* Reads all lines, then moves the volumes into their groups. */
void parser_read(struct parser *p, const char *text, size_t len);
void parser_free(struct parser *p); /* not the config */

/* check.c: what a single line cannot show. Only reads the configuration. */
void check_whole(struct parser *p);
/* check_paths.c: what the file names, against this machine. */
void check_paths(struct parser *p);
/* check_tls.c: [site] export-tls, its certificates and key. */
void check_tls(struct parser *p, const struct section *site);

#endif
