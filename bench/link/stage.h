/* stage.h: where a run takes place: a directory, and an emulated link with its two ends, which a
 * process of its own moves packets for. Whoever runs something at an end (the daemons, a peer to be
 * compared with) starts it with child.h and the end's netns. */
#ifndef RELAIS_BENCH_STAGE_H
#define RELAIS_BENCH_STAGE_H

#include "child.h"
#include "pump.h"

#define STAGE_PATH 512u

struct stage {
    char dir[STAGE_PATH];
    bool keep;           /* the directory stays when the stage closes */
    int netns[WAN_WAYS]; /* the site's end, the hub's */
    pid_t pump;
    int control; /* connected to it */
};

/* Makes a directory in parent and the link, open (without limits) until stage_tell "begin".
 * profile: borrowed until it returns. Before any thread is started. Errors: AUTH (not root), OS,
 * IO. */
int stage_open(struct stage *s, const char *parent, struct wan_profile *profile, struct err *e);
/* Ends all that lives at the ends, the link, and, unless kept, the directory. Blocks. */
void stage_close(struct stage *s);
/* One request to the link, as wan_pump_tell has them. Errors: NET (its process is gone), CONFIG. */
int stage_tell(const struct stage *s, const char *request, char *reply, size_t cap, struct err *e);
/* DIR/NAME. dst of STAGE_PATH; returns dst. */
char *stage_path(const struct stage *s, char *dst, const char *name);
struct child_how stage_at(const struct stage *s, enum wan_way end, const char *log);
void stage_remove(const char *path); /* a file, or a directory with all that is in it */

#endif
