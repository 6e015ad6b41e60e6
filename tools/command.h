/* command.h: the commands of relais(1): one table, one file each.
 *
 * A command prints results on stdout and returns 0, an exit status of its own (status), or a
 * negative code with the text in e, which main prints. */
#ifndef RELAIS_COMMAND_H
#define RELAIS_COMMAND_H

#include "config.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

struct command_context {
    const char *config_file; /* -c */
};

struct command {
    const char *name;
    int (*run)(struct command_context *ctx, int argc, char **argv, struct err *e);
    const char *summary;
    const char *usage; /* from the arguments on */
};
extern const struct command commands[];
extern const size_t command_count;

int cmd_audit(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_keygen(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_escrow(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_config(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_status(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_mark(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_drain(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_pause(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_rate(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_record(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_resize(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_list(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_restore(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_verify(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_readers(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_compact(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_rotate(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_territory(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_site(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_peers(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_retention(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_pin(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_scrub(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_usage(struct command_context *ctx, int argc, char **argv, struct err *e);
int cmd_inspect(struct command_context *ctx, int argc, char **argv, struct err *e);

/* argv[0] is the command's name. The next option's character, -1 after the last, '?' after one that
 * is wrong: then e is set and the command returns command_misuse(). -c is handled here for all. */
int command_option(struct command_context *ctx, int argc, char **argv, const char *letters,
                   const struct option *options, struct err *e);
/* USAGE, from "relais COMMAND: what" with the command's usage behind it. */
int command_misuse(const char *name, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Loads the configuration without looking at this machine's paths; tells all problems on stderr. */
int command_config(struct config **out, const struct command_context *ctx, struct err *e);

#endif
