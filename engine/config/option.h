/* option.h: the table of all options, and their values as text. Private to engine/config.
 *
 * One row per option: parsing, defaults, bounds, suggestions and the manual page come from it, so
 * none of them can know an option that the others do not. Pure. */
#ifndef RELAIS_OPTION_H
#define RELAIS_OPTION_H

#include "config.h"

#include <stddef.h>

enum section_kind {
    SECTION_SITE,
    SECTION_HUB,
    SECTION_PEER,
    SECTION_GROUP,
    SECTION_VOLUME,
    SECTION_KINDS
};

struct section_info {
    const char *word;     /* "peer" */
    const char *argument; /* what follows it: "NAME"; NULL when nothing does */
    const char *help;
};
extern const struct section_info section_infos[SECTION_KINDS];

enum option_type {
    OPTION_NAME,
    OPTION_WORD,           /* no spaces */
    OPTION_PATH,           /* absolute */
    OPTION_COMMAND,        /* for /bin/sh -c */
    OPTION_SIZE,           /* uint64_t */
    OPTION_SIZE_NONE,      /* same, or "none": 0 */
    OPTION_DURATION,       /* uint64_t, ns */
    OPTION_DURATION_NEVER, /* same, or "never": 0 */
    OPTION_NUMBER,         /* unsigned, or an int that is never negative */
    OPTION_LISTEN,         /* struct config_addr; host may be empty */
    OPTION_ADDRS,          /* struct config_addr[CONFIG_ADDRS_MAX] */
    OPTION_KEY,            /* public key word */
    OPTION_KEYS,           /* char[][CONFIG_WORD_MAX]; max, or READERS_MAX */
    OPTION_READS,          /* char[CONFIG_READS_MAX][] */
    OPTION_STORE,          /* dir:/path, rados:POOL */
    OPTION_SOURCE,         /* enum config_source */
    OPTION_PRIORITY,       /* enum config_priority */
    OPTION_EXPORT,         /* unix:/path, tcp:host:port; struct config_export */
    OPTION_OWNER,          /* user, user:group, :group; struct config_owner */
    OPTION_CLIENTS,        /* char[CONFIG_CLIENTS_MAX][CONFIG_WORD_MAX] */
    OPTION_RATES,          /* struct rates; may be given more than once */
    OPTION_KEEP,           /* struct keep */
    OPTION_KEEPS,          /* struct keep_of[CONFIG_KEEPS_MAX]; may be given more than once */
    OPTION_LEVEL,          /* int, or auto: CONFIG_LEVEL_AUTO */
    OPTION_MODE,           /* octal, unsigned */
};

struct option {
    enum section_kind section;
    const char *name;
    enum option_type type;
    size_t offset;     /* in the section's struct */
    size_t size;       /* of that member, or of one element of a list */
    size_t count;      /* lists: offset of the unsigned that counts */
    uint64_t min, max; /* numbers, sizes, durations */
    const char *value; /* default; NULL: none; "auto": may be written too, gives CONFIG_AUTO */
    bool required;
    const char *kind; /* OPTION_KEY, OPTION_KEYS: "link", "sign", "restore" */
    const char *help;
};
extern const struct option options[];
extern const size_t option_count;

bool option_has_auto(const struct option *o);
/* NULL when the section has no such option. */
const struct option *option_find(enum section_kind section, const char *name);
/* The word's nearest by edit distance, or NULL when none is near. */
const char *option_nearest(enum section_kind section, const char *name);
const char *section_nearest(const char *word);

/* Sets the option's member of the section's struct at base. Errors: CONFIG, with a text that says
 * what is wrong with the value and what would be right (not which option: the caller knows). */
int option_set(const struct option *o, void *base, const char *value, struct err *e);
/* Sets every option of the section that has a default. */
void option_set_defaults(enum section_kind section, void *base);

#endif
