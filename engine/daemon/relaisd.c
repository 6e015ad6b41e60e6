/* relaisd: the daemon: the site role, the hub role, or both. */
#include "control.h"
#include "daemon.h"
#include "fault.h"
#include "handover.h"
#include "log.h"
#include "pins.h"
#include "sandbox.h"
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

static const char usage[] =
    "usage: relaisd [-c FILE] [--log-level error|warning|notice|info|debug]\n"
    "\n"
    "Replicates the groups that FILE (default " CONFIG_DEFAULT_FILE ") names, serves as the\n"
    "territory's hub, or both. Runs in the foreground and logs to stderr; SIGTERM stops it.\n"
    "\n"
    "  -c, --config FILE    configuration, see relais.conf(5)\n"
    "      --log-level L    default: info\n"
    "      --version        print the version\n"
    "      --help           print this\n";

void daemon_stop(struct daemon *d, const struct err *why)
{
    if (why && d->fatal.code == ERR_OK)
        d->fatal = *why;
    d->stopping = true;
    fiber_wake_all(&d->changed);
}

static void on_signal(void *arg, int signo)
{
    struct daemon *d = arg;
    if (signo == SIGHUP) {
        log_notice(
            "SIGHUP: the configuration is read at the start only; restart to apply changes%s",
            d->hub ? ". Who has enrolled is read again" : "");
        d->reloading = true;
        fiber_wake_all(&d->changed);
        return;
    }
    if (d->stopping) {
        /* Whoever asks twice means now; a kill is safe at any moment. */
        log_warn("%s again: ending at once", strsignal(signo));
        _exit(128 + signo);
    }
    log_notice("%s: stopping", strsignal(signo));
    daemon_stop(d, NULL);
}

/* ---- one daemon per state directory ---- */

static int lock_state(const struct config *c, int *out, struct err *e)
{
    char path[CONFIG_PATH_MAX + 8], pid[32] = "";
    int res = fio_mkdirs(c->state_dir, 0700), fd;
    if (res < 0)
        return err_os(e, res, "state directory %s", c->state_dir);
    (void)snprintf(path, sizeof path, "%s/lock", c->state_dir);
    fd = fio_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_os(e, fd, "%s", path);
    res = fio_lock(fd);
    if (res < 0) {
        (void)fio_read(fd, pid, sizeof pid - 1, 0);
        fio_close_always(fd);
        pid[strcspn(pid, "\n")] = '\0';
        if (res != -EWOULDBLOCK)
            return err_os(e, res, "locking %s", path);
        return err_set(e, ERR_AGAIN,
                       "%s: another relaisd (process %s) uses this state directory; stop it first, "
                       "or give this one its own [site] state",
                       path, *pid ? pid : "unknown");
    }
    /* For the message above only, so not durable. */
    (void)snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    (void)fio_truncate(fd, 0);
    (void)fio_write_all(fd, pid, strlen(pid), 0);
    *out = fd;
    return 0;
}

/* ---- the main fiber ---- */

static void tell_systemd(const struct daemon *d)
{
    (void)sd_notifyf(0, "STATUS=%s%s%s%s%s", d->config->name,
                     d->config->group_count ? ", site" : "", *d->site_error ? " (down)" : "",
                     d->config->has_hub ? ", hub" : "",
                     *d->hub_error ? " (store out of reach)" : "");
}

/* A role counts as started once its first attempt has ended, well or not. */
static bool settled(const struct daemon *d)
{
    return (d->config->group_count == 0 || d->site || *d->site_error) &&
           (!d->config->has_hub || d->hub || *d->hub_error);
}

static void reload(struct daemon *d)
{
    struct err e = ERR_INIT;
    d->reloading = false;
    if (d->hub && hub_reload(d->hub, &e) != 0)
        log_error("hub: %s; nothing was changed", e.text);
}

static void run_until_stopped(struct daemon *d)
{
    bool ready = false;
    while (!d->stopping) {
        if (!ready && settled(d)) {
            ready = true;
            (void)sd_notify(0, "READY=1");
        }
        tell_systemd(d);
        if (d->reloading)
            reload(d);
        else if (fiber_wait(&d->changed, FIBER_FOREVER) == -ECANCELED)
            break;
    }
    (void)sd_notify(0, "STOPPING=1");
}

static void daemon_main(void *arg)
{
    struct daemon *d = arg;
    struct fiber *site = NULL, *hub = NULL;
    struct control *control = NULL;
    struct err e = ERR_INIT;
    int lock = -1;
    if (lock_state(d->config, &lock, &e) != 0 || control_start(&control, d, &e) != 0) {
        daemon_stop(d, &e);
    } else {
        log_notice("relaisd " RELAIS_VERSION " of %s, configuration %s", d->config->name,
                   d->config->file);
        if (d->config->has_hub)
            hub = fiber_spawn(d->io, "hub-role", roles_start_hub, d);
        if (d->config->group_count > 0)
            site = fiber_spawn(d->io, "site-role", roles_start_site, d);
        run_until_stopped(d);
    }
    control_stop(control);
    if (site) {
        fiber_cancel(site);
        fiber_join(site);
    }
    if (hub) {
        fiber_cancel(hub);
        fiber_join(hub);
    }
    roles_stop(d);
    if (lock >= 0)
        fio_close_always(lock);
    uring_stop(d->io);
}

/* ---- start ---- */

static void report(void *arg, int line, const char *text)
{
    const char *file = arg;
    if (line)
        (void)fprintf(stderr, "relaisd: %s:%d: %s\n", file, line, text);
    else
        (void)fprintf(stderr, "relaisd: %s: %s\n", file, text);
}

static int load_keys(struct daemon *d, struct err *e)
{
    const struct config *c = d->config;
    struct pins pins = {0};
    int res = key_file_load(&d->link_key, KEY_LINK, c->link_key_file, NULL, e);
    if (res == 0 && c->group_count > 0)
        res = key_file_load(&d->sign_key, KEY_SIGN, c->sign_key_file, NULL, e);
    if (res == 0 && c->group_count > 0)
        res = key_file_load(&d->hash_key, KEY_HASH, c->hash_key_file, NULL, e);
    for (unsigned i = 0; i < c->peer_count && res == 0; i++)
        res = pins_add(&pins, c, &c->peers[i], e);
    if (res == 0)
        res = tls_new(&d->tls, d->link_key, pins.peers, pins.count, e);
    pins_free(&pins);
    return res;
}

static int run(struct daemon *d, struct err *e)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    int res = uring_new(&d->io, d->config->workers, e);
    if (res != 0)
        return res;
    res = uring_signals(d->io, signals, sizeof signals / sizeof signals[0], on_signal, d, e);
    if (res == 0)
        res = sandbox_enter(d->config, e);
    if (res == 0) {
        d->started = io_now(d->io);
        d->main = fiber_spawn(d->io, "main", daemon_main, d);
        uring_run(d->io);
        fiber_join(d->main);
    }
    uring_free(d->io);
    return res;
}

static int parse_level(const char *word)
{
    static const struct {
        const char *word;
        enum log_level level;
    } levels[] = {{"error", LOG_L_ERROR},
                  {"warning", LOG_L_WARN},
                  {"notice", LOG_L_NOTICE},
                  {"info", LOG_L_INFO},
                  {"debug", LOG_L_DEBUG}};
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i].word, word) == 0) {
            log_set_level(levels[i].level);
            return 0;
        }
    (void)fprintf(stderr, "relaisd: --log-level %s: use error, warning, notice, info or debug\n",
                  word);
    return -1;
}

static int arm(const char *spec)
{
    if (fault_arm(spec) == 0) {
        log_warn("--die-at %s: this daemon kills itself there: for tests only", spec);
        return 0;
    }
    (void)fprintf(stderr, "relaisd: --die-at %s: use one of", spec);
    for (unsigned i = 0; fault_word(i); i++)
        (void)fprintf(stderr, " %s", fault_word(i));
    (void)fputs(", and :N for the N-th time\n", stderr);
    return -1;
}

/* 0 go on, 1 done, -1 wrong. */
static int parse_arguments(int argc, char **argv, const char **file)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"log-level", required_argument, NULL, 'l'},
        {"die-at", required_argument, NULL, 'd'}, {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        if (c == 'c') {
            *file = optarg;
        } else if (c == 'l') {
            if (parse_level(optarg) != 0)
                return -1;
        } else if (c == 'd') {
            if (arm(optarg) != 0)
                return -1;
        } else if (c == 'V' || c == 'h') {
            (void)fputs(c == 'V' ? "relaisd " RELAIS_VERSION "\n" : usage, stdout);
            return 1;
        } else {
            (void)fputs(usage, stderr);
            return -1;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "relaisd: \"%s\" is one argument too many\n%s", argv[optind], usage);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *file = CONFIG_DEFAULT_FILE;
    struct daemon d = {0};
    struct err e = ERR_INIT;
    int res = parse_arguments(argc, argv, &file);
    if (res != 0)
        return res > 0 ? 0 : err_exit_status(ERR_USAGE);
    if (sandbox_harden(&e) != 0 || key_init(&e) != 0) {
        (void)fprintf(stderr, "relaisd: %s\n", e.text);
        return err_exit_status(e.code);
    }
    if (config_load(&d.config, file, true, report, (void *)(uintptr_t)file, &e) != 0) {
        /* report has told every problem of what was read. */
        (void)fprintf(stderr, "relaisd: not started: %s\n", e.text);
        return err_exit_status(e.code);
    }
    handover_init(&d.handover);
    if (d.config->group_count == 0 && !d.config->has_hub)
        (void)err_set(
            &e, ERR_CONFIG,
            "%s: nothing to do for a daemon: add a [group NAME] to replicate, or [hub] to "
            "take in; relais(1) restores without one",
            file);
    else if (load_keys(&d, &e) == 0 && run(&d, &e) == 0)
        e = d.fatal;
    if (e.code != ERR_OK)
        log_error("%s", e.text);
    handover_free(d.handover);
    tls_free(d.tls);
    key_free(d.link_key);
    key_free(d.sign_key);
    key_free(d.hash_key);
    config_free(d.config);
    return e.code == ERR_OK ? 0 : err_exit_status(e.code);
}
