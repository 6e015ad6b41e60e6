/* config.h: relais.conf, checked and typed. One file serves the daemon and the tools.
 *
 *   [site]      name, state directory, spool directory and budget, control socket, memory, workers,
 *               keys (files), compression level, readers
 *   [hub]       listen address, store ("dir:/path" or "rados:POOL", with ceph conf, user, keyring)
 *   [peer NAME] link and sign public keys, addresses: the hub for a site, the sites for a hub
 *   [group NAME]          interval / schedule, readers, freeze, thaw
 *   [volume GROUP/NAME]   path, source (scan or nbd), export
 *
 * The table of options in config.c is the one list that parsing, "did you mean", relais.conf(5) and
 * `relais config check` share. Pure but for config_load, which reads the file and is for start-up.
 */
#ifndef RELAIS_CONFIG_H
#define RELAIS_CONFIG_H

#include "bounds.h"
#include "err.h"
#include "keep.h"
#include "rates.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_WORD_MAX      128 /* public keys, users, pools */
#define CONFIG_PATH_MAX      1024
#define CONFIG_ADDRS_MAX     4u
#define CONFIG_LINK_KEYS_MAX 4u         /* of one peer */
#define CONFIG_READS_MAX     64u        /* grants of one peer */
#define CONFIG_KEEPS_MAX     32u        /* groups of a peer with rules of their own, and its own */
#define CONFIG_AUTO          UINT64_MAX /* "auto", while parsing: config_parse settles it */
#define CONFIG_CLIENTS_MAX   16u        /* certificate names of one export */

struct config_addr {
    char host[256];
    uint16_t port;
};

/* How changes of a volume become known. */
enum config_source {
    CONFIG_SCAN, /* others write it: it is compared */
    CONFIG_NBD   /* it is served, and what is written is seen */
};

#define CONFIG_LEVEL_AUTO (-1) /* of compression: follows the link */

/* How urgent it is that a group is shipped, in rising order. */
enum config_priority { CONFIG_LOW, CONFIG_NORMAL, CONFIG_HIGH };

#define CONFIG_SOCKET_MAX 108 /* a unix socket's path and its NUL */

/* Where a volume is served. */
struct config_export {
    char path[CONFIG_SOCKET_MAX]; /* a unix socket; "": TCP, if anything */
    struct config_addr tcp;       /* port 0: none */
};
/* Whose a unix socket is to be. The ids are known after config_load with check_paths. */
struct config_owner {
    char user[CONFIG_WORD_MAX], group[CONFIG_WORD_MAX]; /* "": as it is */
    uint32_t uid, gid;
};

struct config_volume {
    char name[NAME_MAX_LEN + 1];
    char path[CONFIG_PATH_MAX];
    enum config_source source;
    struct config_export export;      /* CONFIG_NBD; volumes may share one */
    unsigned export_mode;             /* of a unix socket */
    struct config_owner export_owner; /* likewise */
    /* Names of client certificates that may use it; none: all that the CA has signed. */
    char clients[CONFIG_CLIENTS_MAX][CONFIG_WORD_MAX];
    unsigned client_count;
    int line; /* where the section starts, for messages */
};

struct config_group {
    char name[NAME_MAX_LEN + 1];
    uint64_t interval_ns;  /* 0: on demand only */
    uint64_t cut_bytes;    /* dirty bytes of captured volumes that start a cut; 0: never */
    uint64_t seed_rate;    /* bytes read a second where nobody waits for it; 0: no limit */
    uint64_t spool_budget; /* of the site's, that the group may use; 0: all of it */
    enum config_priority priority;
    char freeze[CONFIG_PATH_MAX]; /* "" none; run before a cut, thaw after it, always */
    char thaw[CONFIG_PATH_MAX];
    uint64_t freeze_timeout_ns; /* of each command */
    uint64_t freeze_max_ns;     /* a cut that holds the freeze longer is given up and repeated */
    char readers[READERS_MAX]
                [CONFIG_WORD_MAX]; /* restore public keys, besides the site's readers */
    unsigned reader_count;
    struct config_volume *volumes;
    unsigned volume_count;
    int line;
};

struct config_peer {
    char name[NAME_MAX_LEN + 1];
    /* Public words. More than one: a hub of several daemons, or a key that is being replaced. */
    char link_keys[CONFIG_LINK_KEYS_MAX][CONFIG_WORD_MAX];
    unsigned link_key_count;
    char sign_key[CONFIG_WORD_MAX]; /* "" when the peer signs nothing */
    struct config_addr addrs[CONFIG_ADDRS_MAX];
    unsigned addr_count; /* 0: the peer connects to us */
    /* What it may restore besides what is its own: "SITE/GROUP", or "SITE/" and a star for all. */
    char reads[CONFIG_READS_MAX][2 * NAME_MAX_LEN + 2];
    unsigned read_count;
    /* On a hub: which of its recovery points are kept; none: as [hub] says. */
    struct keep_of keeps[CONFIG_KEEPS_MAX];
    unsigned keep_count;
    uint64_t lock_ns; /* CONFIG_AUTO: as [hub] says */
    uint64_t quota;   /* bytes that it may have stored; 0: any */
    int line;
};

struct config {
    char file[CONFIG_PATH_MAX];
    /* [site] */
    char name[NAME_MAX_LEN + 1];
    char state_dir[CONFIG_PATH_MAX], spool_dir[CONFIG_PATH_MAX], control[CONFIG_PATH_MAX];
    char link_key_file[CONFIG_PATH_MAX], sign_key_file[CONFIG_PATH_MAX],
        hash_key_file[CONFIG_PATH_MAX];
    uint64_t spool_budget, spool_reserve, delta_max;
    uint64_t export_memory;           /* bytes of requests in flight */
    char export_tls[CONFIG_PATH_MAX]; /* directory of certificates; "": none */
    uint64_t seed_rate;               /* of all groups together; as the group's */
    unsigned lanes_max;               /* connections to the hub */
    unsigned workers;                 /* 0: as many as processors */
    int compression;                  /* zstd level, 0 stores; CONFIG_LEVEL_AUTO */
    char hub[NAME_MAX_LEN + 1]; /* the peer that groups ship to; "" when there are no groups */
    char readers[READERS_MAX][CONFIG_WORD_MAX];
    unsigned reader_count;
    struct rates rates; /* of all that is shipped */
    /* [hub]; has_hub false when the section is absent */
    bool has_hub;
    struct config_addr listen;
    struct config_addr hub_addrs[CONFIG_ADDRS_MAX]; /* where sites reach it; 0: not told */
    unsigned hub_addr_count;
    char escrow[CONFIG_WORD_MAX]; /* public restore key, for who enrols; "": none */
    char store[CONFIG_PATH_MAX];  /* "dir:/path" or "rados:POOL" */
    char ceph_conf[CONFIG_PATH_MAX], ceph_user[CONFIG_WORD_MAX], ceph_keyring[CONFIG_PATH_MAX];
    uint64_t hub_memory;                     /* bytes of parts in flight */
    uint64_t compact_rate, compact_interval; /* bytes/s, 0: no limit; ns */
    unsigned connections_max;
    struct keep keep;
    uint64_t lock_ns;              /* nothing younger goes */
    uint64_t scrub_ns, scrub_rate; /* 0: never; 0: no limit */

    struct config_peer *peers;
    unsigned peer_count;
    struct config_group *groups;
    unsigned group_count;
};

/* Every problem found is told to report(arg, line, text): text names section, option, value and
 * what would be right (what need not keep a daemon from starting begins with "warning: "); line 0
 * is the file as a whole. Returns 0, or ERR_CONFIG with the first problem as "FILE:LINE: ..." and
 * their number. On success free with config_free. */
int config_parse(struct config **out, const char *file, const char *text, size_t len,
                 void (*report)(void *arg, int line, const char *text), void *arg, struct err *e);
/* Reads and parses, refusing a file that others may write; then checks what it names: key files
 * (readable, safe, of the right kind), volumes (exist, size within bounds), directories (exist or
 * can be made). check_paths false: only parses, for tools that run on another machine. */
int config_load(struct config **out, const char *file, bool check_paths,
                void (*report)(void *arg, int line, const char *text), void *arg, struct err *e);
void config_free(struct config *c);

const struct config_group *config_group(const struct config *c, const char *name);
const struct config_peer *config_peer(const struct config *c, const char *name);
/* What a hub keeps of a site's group: the group's rules, else the peer's, else those of [hub]. */
void config_keep(const struct config *c, const char *site, const char *group, struct keep *keep,
                 uint64_t *lock_ns);

/* "host:port", "[2001:db8::1]:port", and back. Errors: CONFIG, saying what would be right. */
#define CONFIG_ADDR_TEXT 272
int config_addr_parse(struct config_addr *out, const char *text, struct err *e);
void config_addr_text(char dst[CONFIG_ADDR_TEXT], const struct config_addr *a);
/* Whether text may stand in `reads`: "SITE/GROUP", or "SITE/" and a star. Errors: CONFIG. */
int config_read_check(const char *text, struct err *e);

/* Writes the reference of all options (name, type, default, bounds, help) in scdoc form to stdout:
 * the body of relais.conf(5). */
void config_print_reference(void);

#define CONFIG_DEFAULT_FILE "/etc/relais/relais.conf"

#endif
