/* setup.h: what relais territory init and relais site enrol have in common: they make keys and
 * relais.conf, on a machine that has none. Nothing that is there is ever overwritten: a key that is
 * there is used, so that whoever was interrupted just tries again. */
#ifndef RELAIS_SETUP_H
#define RELAIS_SETUP_H

#include "config.h"
#include "key.h"

#define SETUP_TEXT_MAX 65536u

struct setup {
    const char *config_file;
    char dir[CONFIG_PATH_MAX];   /* its directory: keys go there */
    const char *state, *control; /* NULL: the defaults */
    bool dry;                    /* says what would be done */
    char *text;                  /* of relais.conf, as it grows; SETUP_TEXT_MAX bytes */
    size_t len;
};

int setup_begin(struct setup *s, const char *config_file, struct err *e);
void setup_end(struct setup *s);
/* EXISTS when relais.conf is there. */
int setup_check_new(const struct setup *s, struct err *e);
/* The key of DIR/KIND.key, made if it is missing; with dry a key that nobody keeps. pass: of a
 * restore key. Tells on stderr what it did. Errors: those of key_file_load and key_file_save. */
int setup_key(struct key_secret **out, const struct setup *s, enum key_kind kind,
              const char *passphrase_file, struct err *e);
/* Adds to the text. */
void setup_add(struct setup *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* [site] name and what is not as by default. */
void setup_add_site(struct setup *s, const char *name);
/* Checks the text as relaisd would, and writes it; with dry prints it. Errors: EXISTS, IO, INTERNAL
 * (what was made is not sound). */
int setup_write(struct setup *s, struct err *e);

/* A whole file of at most max bytes, malloc'd. Errors: NOENT, LIMIT, IO. */
int setup_slurp(char **out, size_t *len, const char *path, size_t max, struct err *e);
/* Asks on the terminal; "" for an empty line. false: there is none. */
bool setup_ask(char *dst, size_t cap, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Asks yes or no; no without a terminal. */
bool setup_confirm(const char *question);

#endif
