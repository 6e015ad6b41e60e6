/* summary.h: what a result says, in words and as a table: for the terminal and for the head of the
 * report. */
#ifndef RELAIS_BENCH_SUMMARY_H
#define RELAIS_BENCH_SUMMARY_H

#include <jansson.h>
#include <stdio.h>

#define SUMMARY_LINES 12u
#define SUMMARY_TEXT  400u

/* One thing that a person wants to know: a short name, the figure, and what it means. */
struct summary_line {
    char name[64], figure[80], meaning[SUMMARY_TEXT];
};

/* Fills lines, returns their number. A result that lacks fields gives fewer lines. */
unsigned summary_lines(struct summary_line lines[SUMMARY_LINES], const json_t *result);
void summary_print(FILE *out, const json_t *result);

/* A number at a path like "rpo.p50_s"; NAN when there is none. */
double summary_number(const json_t *root, const char *path);
const char *summary_text(const json_t *root, const char *path); /* "" when there is none */

/* "850 us", "42 s", "3 min 5 s"; "1.4 MiB"; "97.3 Mbit/s". dst of 48; returns dst. */
char *summary_time(char *dst, double seconds);
char *summary_bytes(char *dst, double bytes);
char *summary_bits(char *dst, double bits_per_s);

#endif
