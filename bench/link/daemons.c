#include "daemons.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT     7707
#define WORD_MAX 128u
#define STOP_MS  15000u

static const char *const who[WAN_WAYS] = {"site", "hub"};

/* ---- the programs ---- */

static bool program(char *dst, const char *dir, const char *name)
{
    return snprintf(dst, STAGE_PATH, "%s/%s", dir, name) < (int)STAGE_PATH &&
           access(dst, X_OK) == 0;
}

static bool in_path(char *dst, const char *name)
{
    const char *path = getenv("PATH");
    char *all = err_strdup(path ? path : "/usr/bin"), *state = NULL;
    bool found = false;
    for (char *d = strtok_r(all, ":", &state); d && !found; d = strtok_r(NULL, ":", &state))
        found = program(dst, d, name);
    free(all);
    return found;
}

/* This program's directory, and from there to where a build has them. */
static bool beside(char *dst, const char *name, const char *in_build)
{
    char self[STAGE_PATH / 2], dir[STAGE_PATH];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    (void)snprintf(dir, sizeof dir, "%s/../%s", self, in_build);
    return program(dst, self, name) || program(dst, dir, name);
}

int daemons_find(struct daemons *d, const char *bin, struct err *e)
{
    static const struct {
        const char *name, *in_build;
    } wanted[] = {{"relaisd", "engine/daemon"}, {"relais", "tools"}};
    char *const dst[] = {d->relaisd, d->relais};
    for (size_t i = 0; i < 2; i++) {
        if (bin ? program(dst[i], bin, wanted[i].name)
                : beside(dst[i], wanted[i].name, wanted[i].in_build) ||
                      in_path(dst[i], wanted[i].name))
            continue;
        return err_set(e, ERR_NOENT, "%s is not in %s; give --bin DIRECTORY", wanted[i].name,
                       bin ? bin : "PATH, nor beside this program");
    }
    return 0;
}

/* ---- keys and configurations ---- */

static int make_keys(const struct daemons *d, enum wan_way w, struct err *e)
{
    char dir[STAGE_PATH], log[STAGE_PATH];
    char *argv[] = {(char *)(uintptr_t)d->relais, (char[]){"keygen"}, (char[]){"all"}, dir, NULL};
    const struct child_how how = {.netns = -1, .log = stage_path(d->stage, log, "log"), .out = -1};
    (void)stage_path(d->stage, dir, who[w]);
    return child_run(&how, argv, NULL, 0, e);
}

/* The public word of a key. */
static int word(const struct daemons *d, char *dst, enum wan_way w, const char *kind, struct err *e)
{
    char file[STAGE_PATH], name[64], log[STAGE_PATH];
    char *argv[] = {(char *)(uintptr_t)d->relais, (char[]){"keygen"}, (char[]){"--show"}, file,
                    NULL};
    const struct child_how how = {.netns = -1, .log = stage_path(d->stage, log, "log"), .out = -1};
    int rc;
    (void)snprintf(name, sizeof name, "%s/%s.key", who[w], kind);
    (void)stage_path(d->stage, file, name);
    rc = child_run(&how, argv, dst, WORD_MAX, e);
    dst[strcspn(dst, "\n")] = '\0';
    return rc;
}

static void write_site_head(FILE *f, const struct daemons *d, enum wan_way w)
{
    char dir[STAGE_PATH];
    (void)stage_path(d->stage, dir, who[w]);
    (void)fprintf(f,
                  "[site]\nname = %s\nstate = %s/state\nspool = %s/spool\ncontrol = %s/control\n"
                  "link-key = %s/link.key\nsign-key = %s/sign.key\nhash-key = %s/hash.key\n",
                  who[w], dir, dir, dir, dir, dir, dir);
}

static int write_site(const struct daemons *d, const struct scenario *sc, struct err *e)
{
    char restore[WORD_MAX], link[WORD_MAX], sign[WORD_MAX];
    FILE *f;
    int rc = word(d, restore, WAN_UPWARD, "restore", e);
    if (rc == 0)
        rc = word(d, link, WAN_DOWNWARD, "link", e);
    if (rc == 0)
        rc = word(d, sign, WAN_DOWNWARD, "sign", e);
    if (rc != 0)
        return rc;
    f = fopen(d->conf[WAN_UPWARD], "we");
    if (!f)
        return err_os(e, errno, "%s", d->conf[WAN_UPWARD]);
    write_site_head(f, d, WAN_UPWARD);
    (void)fprintf(f, "hub = hub\nreaders = %s\n%s", restore, sc->site);
    (void)fprintf(f, "[peer hub]\nlink-key = %s\nsign-key = %s\naddress = " WAN_HUB_ADDR ":%d\n",
                  link, sign, PORT);
    for (unsigned i = 0; i < sc->workload_count; i++) {
        const struct workload_spec *w = &sc->workloads[i];
        (void)fprintf(f, "[group %s]\ninterval = %llums\npriority = %s\n", w->name,
                      (unsigned long long)(w->interval / 1000000), w->priority);
        (void)fprintf(f, "[volume %s/%s]\npath = %s/%s.img\nsource = nbd\nexport = unix:%s\n",
                      w->name, w->name, d->stage->dir, w->name, d->nbd);
    }
    return fclose(f) == 0 ? 0 : err_os(e, errno, "%s", d->conf[WAN_UPWARD]);
}

static void write_store(FILE *f, const struct daemons *d, const struct daemons_how *how)
{
    if (!how->pool) {
        (void)fprintf(f, "store = dir:%s/store\n", d->stage->dir);
        return;
    }
    (void)fprintf(f, "store = rados:%s\n", how->pool);
    if (how->ceph_conf)
        (void)fprintf(f, "ceph-conf = %s\n", how->ceph_conf);
    if (how->ceph_user)
        (void)fprintf(f, "ceph-user = %s\n", how->ceph_user);
    if (how->ceph_keyring)
        (void)fprintf(f, "ceph-keyring = %s\n", how->ceph_keyring);
}

static int write_hub(const struct daemons *d, const struct scenario *sc,
                     const struct daemons_how *how, struct err *e)
{
    char link[WORD_MAX], sign[WORD_MAX];
    FILE *f;
    int rc = word(d, link, WAN_UPWARD, "link", e);
    if (rc == 0)
        rc = word(d, sign, WAN_UPWARD, "sign", e);
    if (rc != 0)
        return rc;
    f = fopen(d->conf[WAN_DOWNWARD], "we");
    if (!f)
        return err_os(e, errno, "%s", d->conf[WAN_DOWNWARD]);
    write_site_head(f, d, WAN_DOWNWARD);
    (void)fprintf(
        f, "[peer site]\nlink-key = %s\nsign-key = %s\n[hub]\nlisten = " WAN_HUB_ADDR ":%d\n%s",
        link, sign, PORT, sc->hub);
    write_store(f, d, how);
    return fclose(f) == 0 ? 0 : err_os(e, errno, "%s", d->conf[WAN_DOWNWARD]);
}

int daemons_prepare(struct daemons *d, struct stage *stage, const struct scenario *sc,
                    const struct daemons_how *how, struct err *e)
{
    char name[32];
    int rc;
    *d = (struct daemons){.stage = stage, .pid = {-1, -1}};
    rc = daemons_find(d, how->bin, e);
    for (unsigned w = 0; w < WAN_WAYS && rc == 0; w++) {
        (void)snprintf(name, sizeof name, "%s/relais.conf", who[w]);
        (void)stage_path(stage, d->conf[w], name);
        rc = make_keys(d, (enum wan_way)w, e);
    }
    (void)stage_path(stage, d->control, "site/control");
    (void)stage_path(stage, d->nbd, "nbd");
    if (rc == 0)
        rc = write_site(d, sc, e);
    if (rc == 0)
        rc = write_hub(d, sc, how, e);
    return rc;
}

/* ---- running ---- */

static int start(struct daemons *d, enum wan_way w, struct err *e)
{
    char log[STAGE_PATH], name[32];
    char *argv[] = {d->relaisd, (char[]){"-c"}, d->conf[w], NULL};
    struct child_how how;
    (void)snprintf(name, sizeof name, "%s/log", who[w]);
    how = stage_at(d->stage, w, stage_path(d->stage, log, name));
    d->pid[w] = child_start(&how, argv, e);
    return d->pid[w] < 0 ? -(int)e->code : 0;
}

int daemons_start(struct daemons *d, struct err *e)
{
    int rc = start(d, WAN_DOWNWARD, e);
    return rc == 0 ? start(d, WAN_UPWARD, e) : rc;
}

static void last_words(char *dst, size_t cap, const char *log)
{
    FILE *f = fopen(log, "re");
    char line[400];
    dst[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        (void)snprintf(dst, cap, "%s", line);
    }
    if (f)
        (void)fclose(f);
}

int daemons_alive(struct daemons *d, struct err *e)
{
    char log[STAGE_PATH], name[32], said[400];
    int status;
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        if (d->pid[w] <= 0 || !child_ended(d->pid[w], &status))
            continue;
        d->pid[w] = -1;
        (void)snprintf(name, sizeof name, "%s/log", who[w]);
        last_words(said, sizeof said, stage_path(d->stage, log, name));
        return err_set(e, ERR_IO, "the %s's relaisd ended with status %d: %s", who[w], status,
                       said);
    }
    return 0;
}

int daemons_relais(const struct daemons *d, char *const args[], char *out, size_t cap,
                   struct err *e)
{
    char log[STAGE_PATH];
    char *argv[CHILD_ARGS] = {(char *)(uintptr_t)d->relais, (char[]){"-c"},
                              (char *)(uintptr_t)d->conf[WAN_UPWARD]};
    const struct child_how how =
        stage_at(d->stage, WAN_UPWARD, stage_path(d->stage, log, "relais.log"));
    size_t n = 3;
    for (; *args; args++) {
        ASSERT(n < CHILD_ARGS - 1);
        argv[n++] = *args;
    }
    return child_run(&how, argv, out, cap, e);
}

void daemons_stop(struct daemons *d, bool gently)
{
    for (unsigned w = 0; w < WAN_WAYS; w++) {
        child_end(d->pid[w], gently ? STOP_MS : 0);
        d->pid[w] = -1;
    }
}
