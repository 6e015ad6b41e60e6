/* command.h: the commands of relais-bench: one table, one file each. As in relais(1), a command
 * prints results on stdout and returns 0, an exit status of its own, or a negative code with the
 * text in e, which main prints. */
#ifndef RELAIS_BENCH_COMMAND_H
#define RELAIS_BENCH_COMMAND_H

#include "err.h"

#include <stdio.h>

#define BENCH_DIFFERS 1 /* exit status: what was measured is not what was wanted */
#define BENCH_SLOW    3 /* exit status: the machine could not keep up, nothing is said */

struct bench_command {
    const char *name;
    int (*run)(int argc, char **argv, struct err *e);
    const char *summary;
    const char *usage; /* from the arguments on */
};
extern const struct bench_command bench_commands[];
extern const size_t bench_command_count;

int cmd_wan(int argc, char **argv, struct err *e);
int cmd_link(int argc, char **argv, struct err *e);
int cmd_report(int argc, char **argv, struct err *e);
int cmd_compare(int argc, char **argv, struct err *e);
int cmd_plan(int argc, char **argv, struct err *e);
int cmd_micro(int argc, char **argv, struct err *e);

/* USAGE, with the command's usage behind what. */
int bench_misuse(const char *name, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
