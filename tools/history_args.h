/* history_args.h: what list, restore and verify have in common: which group of which site at which
 * recovery point, who signed it, with which keys it is opened, and the way to the hub. */
#ifndef RELAIS_HISTORY_ARGS_H
#define RELAIS_HISTORY_ARGS_H

#include "client.h"
#include "command.h"
#include "progress.h"
#include "reader.h"
#include "selector.h"

#define HISTORY_KEYS_MAX 16

struct history_args {
    struct config *config;
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    char point[SELECTOR_POINT]; /* as reader_find takes it; "" when none was given */
    bool has_point;
    const char *site_option, *signer_word; /* --site, --signer */
    bool rolled_back;                      /* --rolled-back: what was known before does not count */
    const struct reader_damage *damage;    /* see reader_open_all */
    const char *passphrase_file;           /* --passphrase-file: of all keys that have one */
    const char *key_files[HISTORY_KEYS_MAX];
    size_t key_count;
    unsigned parallel;

    struct key_secret *keys[HISTORY_KEYS_MAX];
    struct key_public signer;
    struct client_hub hub;
    struct line line;
    struct reader *reader;
    struct progress progress;
    bool own_asked; /* the site's own relaisd has answered */
    uint64_t own_rp;
    struct digest own_link;
};

/* Option characters that history_option takes: 'k' --key, 'P' --passphrase-file, 'S' --site, 'g'
 * --signer, 'p' --parallel, 'B' --rolled-back. */
#define HISTORY_OPTIONS                                                                            \
    {"key", required_argument, NULL, 'k'}, {"rolled-back", no_argument, NULL, 'B'},                \
        {"passphrase-file", required_argument, NULL, 'P'}, {"site", required_argument, NULL, 'S'}, \
        {"signer", required_argument, NULL, 'g'},                                                  \
    {                                                                                              \
        "parallel", required_argument, NULL, 'p'                                                   \
    }
/* 0, or a negative code from command_misuse. */
int history_option(struct history_args *h, const char *command, int option, const char *value,
                   struct err *e);

/* Parses [SITE/]GROUP[@POINT], loads configuration, keys and signer. Before client_run. */
int history_prepare(struct history_args *h, const char *command, struct command_context *ctx,
                    const char *what, struct err *e);
/* Connects and opens the history, its chain verified, and held against what is known of it: what
 * this user saw before, and, of the site's own groups, what its relaisd knows committed. (waits) */
int history_open(struct history_args *h, struct err *e);
void history_close(struct history_args *h); /* (waits) */
/* Calls once, which opens and closes the history, until no delta that it needs is replaced by
 * another under it (reader.h). (waits) */
int history_attempt(int (*once)(void *arg, struct err *e), void *arg, struct err *e);
/* After client_run. */
void history_free(struct history_args *h);

#endif
