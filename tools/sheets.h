/* sheets.h: escrow sheets on stdout, to be printed. */
#ifndef RELAIS_SHEETS_H
#define RELAIS_SHEETS_H

#include "key.h"

/* Prints a restore key on so many sheets, through memory that is locked and wiped. Errors: IO. */
int sheets_print(const struct key_secret *k, unsigned threshold, unsigned count, struct err *e);
/* "2/3": any two of three. Errors: USAGE, saying what would be right. */
int sheets_parse(unsigned *threshold, unsigned *count, const char *text, struct err *e);

#endif
