#include "sheets.h"

#include "escrow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

static void print_sheet(const struct escrow_sheet *s, const struct key_public *pub)
{
    uint8_t bytes[ESCROW_SHEET_LEN];
    char word[KEY_WORD_MAX], line[ESCROW_LINE_TEXT], day[32] = "";
    time_t now = time(NULL);
    struct tm tm;
    key_public_word(word, pub);
    if (gmtime_r(&now, &tm))
        (void)strftime(day, sizeof day, "%Y-%m-%d", &tm);
    if (s->count == 1)
        (void)printf("RELAIS ESCROW KEY\n\nThis sheet opens what is sealed for\n");
    else
        (void)printf("RELAIS ESCROW KEY: SHEET %u OF %u\n\nAny %u of the sheets open what is "
                     "sealed for\n",
                     s->number, s->count, s->threshold);
    (void)printf("\n    %s\n\nMade %s. To be kept where no computer reads it, %s.\n\n", word, day,
                 s->count == 1 ? "under lock and key" : "and apart from the others");
    escrow_encode(bytes, s);
    for (unsigned i = 0; i < ESCROW_LINES; i++) {
        escrow_line_print(line, bytes, i);
        (void)printf("    %u  %s\n", i + 1, line);
    }
    (void)printf("\nTo use it: relais escrow combine KEYFILE, and type these five lines. The last\n"
                 "four characters of each tell whether it was typed right.\n");
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(line, sizeof line);
}

/* Sheets pass through stdout's buffer: one that is locked and wiped. */
int sheets_print(const struct key_secret *k, unsigned threshold, unsigned count, struct err *e)
{
    struct escrow_sheet *sheets = sodium_malloc(ESCROW_SHEETS_MAX * sizeof *sheets);
    char *buffer = sodium_malloc(BUFSIZ);
    int res = 0;
    ASSERT(sheets && buffer);
    (void)setvbuf(stdout, buffer, _IOFBF, BUFSIZ);
    escrow_split(sheets, threshold, count, k);
    for (unsigned i = 0; i < count; i++) {
        print_sheet(&sheets[i], key_public(k));
        if (i + 1 < count)
            (void)puts("\f");
    }
    if (fflush(stdout) != 0)
        res = err_os(e, errno, "printing the sheets");
    (void)setvbuf(stdout, NULL, _IONBF, 0);
    sodium_free(buffer);
    sodium_free(sheets);
    return res;
}

int sheets_parse(unsigned *threshold, unsigned *count, const char *text, struct err *e)
{
    char *end = NULL;
    unsigned long k = strtoul(text, &end, 10), n = 0;
    if (*end == '/')
        n = strtoul(end + 1, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || k < 2 || n < k || n > ESCROW_SHEETS_MAX)
        return err_set(e, ERR_USAGE, "like 2/3, any 2 of 3 sheets; 2 to %u sheets",
                       ESCROW_SHEETS_MAX);
    *threshold = (unsigned)k;
    *count = (unsigned)n;
    return 0;
}
