/* typed.h: secret bytes as lines that people print, read over the telephone and type: escrow sheets
 * and invitations.
 *
 * A line is 10 bytes: 16 digits of Crockford's base32 and 4 of a check of 20 bits over the domain,
 * the context and all bytes up to the line's end, so that an error is found in the line in which it
 * was made, and a line of something else does not fit. Pure; what held secrets is wiped. */
#ifndef RELAIS_TYPED_H
#define RELAIS_TYPED_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TYPED_LINE    10u /* bytes */
#define TYPED_SYMBOLS 20u /* characters, without what separates groups */
#define TYPED_GROUP   5u
#define TYPED_TEXT    24u /* four groups of five, three separators and a NUL */
#define TYPED_MAX     64u /* bytes of all lines */
#define TYPED_CONTEXT 2048u

struct typed {
    const char *domain;  /* what is typed: its checks fit nothing else; short */
    const char *context; /* text before the lines that the checks cover too; "": none */
    bool in_a_row;       /* errors count groups, not lines */
};

/* Line `line` (from 0) of data, its groups apart by `separator`. */
void typed_print(char dst[TYPED_TEXT], const struct typed *t, const uint8_t *data, unsigned line,
                 char separator);
/* Reads it into its place of data, which holds the lines before. Case, blanks and dashes do not
 * matter; O is read as 0, I and L as 1. Errors: INPUT, saying where the error is likely to be. */
int typed_read(uint8_t *data, const struct typed *t, unsigned line, const char *text,
               struct err *e);

#endif
