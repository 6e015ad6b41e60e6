/* escrow.h: a restore key on paper: sheets that people can type back, the whole key or shares of
 * it.
 *
 * A sheet is 50 bytes in five lines of 10 (typed.h):
 *
 *   version (1) | threshold | sheets | number | fingerprint of the key (8) | deal (6) | share (32)
 *
 * Of one sheet the share is the key. Of several any `threshold` give it back (Shamir's scheme over
 * GF(2^8), by libgfshare), and fewer tell nothing. The scheme itself would make a key out of any
 * shares: the fingerprint says whether it is the right one. Pure. */
#ifndef RELAIS_ESCROW_H
#define RELAIS_ESCROW_H

#include "key.h"
#include "typed.h"

#define ESCROW_SHEETS_MAX 16u
#define ESCROW_LINES      5u
#define ESCROW_LINE_DATA  TYPED_LINE
#define ESCROW_LINE_TEXT  TYPED_TEXT
#define ESCROW_SHEET_LEN  (ESCROW_LINES * ESCROW_LINE_DATA)
#define ESCROW_DEAL_LEN   6u

struct escrow_sheet {
    uint8_t threshold, count, number; /* 1 <= number <= count; threshold 1 only with count 1 */
    uint8_t fingerprint[KEY_FP_LEN];
    uint8_t deal[ESCROW_DEAL_LEN]; /* random: sheets that were made together */
    uint8_t share[KEY_LEN];
};

/* Splits a restore key into count sheets; the caller wipes them. */
void escrow_split(struct escrow_sheet *out, unsigned threshold, unsigned count,
                  const struct key_secret *k);

/* The bytes of a sheet, and back. Errors: INPUT; INPUT with "upgrade" for another version. */
void escrow_encode(uint8_t dst[ESCROW_SHEET_LEN], const struct escrow_sheet *s);
int escrow_decode(struct escrow_sheet *out, const uint8_t src[ESCROW_SHEET_LEN], struct err *e);

/* Line `line` (from 0) as it is printed. */
void escrow_line_print(char dst[ESCROW_LINE_TEXT], const uint8_t sheet[ESCROW_SHEET_LEN],
                       unsigned line);
/* Reads it into its place of sheet, which holds the lines before. Errors: those of typed_read. */
int escrow_line_read(uint8_t sheet[ESCROW_SHEET_LEN], unsigned line, const char *text,
                     struct err *e);

/* The key of enough sheets of one deal. Errors: INPUT (too few, one twice, of different keys or
 * deals: names the sheet), CORRUPT (what comes out is not the key). */
int escrow_combine(struct key_secret **out, const struct escrow_sheet *sheets, size_t count,
                   struct err *e);

#endif
