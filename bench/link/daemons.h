/* daemons.h: one site and one hub on a stage: real relaisd with real configuration files and keys,
 * over TLS. */
#ifndef RELAIS_BENCH_DAEMONS_H
#define RELAIS_BENCH_DAEMONS_H

#include "scenario.h"
#include "stage.h"

/* Where the programs are, and where the hub stores. A pool of Ceph must be reachable from the hub's
 * end of the link, which has no network but that link: relais-bench link therefore offers none yet.
 */
struct daemons_how {
    const char *bin;  /* directory of relaisd and relais; NULL: see daemons_find */
    const char *pool; /* of Ceph; NULL: a directory on the stage */
    const char *ceph_conf, *ceph_user, *ceph_keyring; /* NULL: Ceph's own defaults */
};

struct daemons {
    struct stage *stage;
    char relaisd[STAGE_PATH], relais[STAGE_PATH];
    char conf[WAN_WAYS][STAGE_PATH]; /* the site's, the hub's */
    char control[STAGE_PATH];        /* the site's socket */
    char nbd[STAGE_PATH];            /* socket of the site's exports, named NAME/NAME */
    pid_t pid[WAN_WAYS];             /* -1: not running */
};

/* Finds the programs: in how->bin, beside this program, in the build that this program is part of,
 * in PATH. Errors: NOENT. */
int daemons_find(struct daemons *d, const char *bin, struct err *e);
/* Makes keys and configurations for a group and a volume of each workload: DIR/NAME.img, which the
 * caller makes. Errors: NOENT, IO, OS. (waits) */
int daemons_prepare(struct daemons *d, struct stage *stage, const struct scenario *sc,
                    const struct daemons_how *how, struct err *e);
/* Starts the hub, then the site. Errors: OS. */
int daemons_start(struct daemons *d, struct err *e);
/* 0 while both run; else IO, with the last line of the log of the one that does not. */
int daemons_alive(struct daemons *d, struct err *e);
/* `relais -c CONF ARGUMENTS...` of the site, at the site's end; out as in child_run. Errors: as
 * child_run. (waits) */
int daemons_relais(const struct daemons *d, char *const args[], char *out, size_t cap,
                   struct err *e);
/* Gently: so that they end well, which may take seconds; else at once. Blocks. */
void daemons_stop(struct daemons *d, bool gently);

#endif
