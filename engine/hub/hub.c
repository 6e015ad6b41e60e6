#include "keeper.h"
#include "log.h"
#include "maintain.h"
#include "scrub.h"
#include "session.h"
#include "usage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Joins the fibers of connections that ended. */
static void reap(struct hub *h)
{
    for (struct session **at = &h->sessions; *at;) {
        struct session *s = *at;
        if (s->done) {
            *at = s->next;
            session_free(s);
        } else {
            at = &s->next;
        }
    }
}

static void accept_loop(void *arg)
{
    struct hub *h = arg;
    while (!fiber_cancelled()) {
        struct io_addr from = {0};
        int fd = fio_accept(h->listen_fd, &from);
        reap(h);
        kept_expire(h);
        roster_welcome(h);
        if (fd < 0) {
            if (fd == -ECANCELED)
                break;
            /* Out of descriptors, most likely: those that are connected go on. */
            log_warn("hub: accepting a connection: %s", strerror(-fd));
            (void)fiber_sleep(IO_S);
            continue;
        }
        door_make_room(h, &from);
        session_start(h, fd, &from);
    }
}

int hub_start(struct hub **out, const struct config *config, struct store *store, struct tls *tls,
              struct err *e)
{
    struct hub *h = err_calloc(1, sizeof *h);
    uint64_t parts = config->hub_memory / PART_SIZE;
    struct io_addr addr = {0};
    h->door = (struct strangers){.max = HUB_STRANGERS, .source = HUB_STRANGERS_SOURCE};
    h->io = fiber_io();
    h->config = config;
    h->store = store;
    h->tls = tls;
    h->protocol = (struct protocol){PROTOCOL_OLDEST, PROTOCOL_NEWEST};
    bufpool_init(&h->parts, PART_SIZE, parts < 1 ? 1 : parts > 4096 ? 4096 : (unsigned)parts);
    bufpool_init(&h->fetches, PAYLOAD_MAX, HUB_FETCHES_MAX);
    int rc = roster_open(h, e);
    if (rc < 0)
        goto fail;
    memcpy(addr.host, config->listen.host, sizeof addr.host);
    addr.port = config->listen.port;
    h->listen_fd = fio_listen(&addr, 0);
    if (h->listen_fd < 0) {
        (void)err_os(e, h->listen_fd, "hub: listening on %s:%u",
                     addr.host[0] ? addr.host : "any address", addr.port);
        e->code = ERR_NET;
        rc = -ERR_NET;
        goto fail;
    }
    h->audit = audit_start(h->io, store, config->name);
    audit_note(h->audit, TRAIL_START, NULL, "", ERR_OK, "relais %s, listening on %s:%u",
               RELAIS_VERSION, addr.host[0] ? addr.host : "any address", addr.port);
    h->usage = usage_new(store);
    h->keeper = keeper_start(h);
    h->scrub = scrub_start(h);
    h->acceptor = fiber_spawn(h->io, "hub-accept", accept_loop, h);
    maintain_start(h);
    log_notice("hub: listening on %s:%u", addr.host[0] ? addr.host : "any address", addr.port);
    *out = h;
    return 0;
fail:
    bufpool_free(&h->parts);
    bufpool_free(&h->fetches);
    roster_free(h);
    free(h);
    return rc;
}

int hub_status(struct hub *h, bool territory, Relais__Status *out, struct err *e)
{
    out->has_hub = true;
    out->hub_connections = h->members;
    out->hub_damaged = scrub_damaged(h->scrub);
    out->n_hub_groups = 0;
    if (!territory)
        return 0;
    struct territory t = {0};
    for (unsigned i = 0; i < h->peer_count; i++) {
        if (h->peers[i]->sign.kind != KEY_SIGN)
            continue;
        int rc = territory_add(&t, h, h->peers[i]->config.name, e);
        if (rc < 0) {
            territory_free(&t);
            return rc;
        }
    }
    territory_free(&h->status);
    h->status = t;
    out->n_hub_groups = t.count;
    out->hub_groups = t.groups;
    return 0;
}

int hub_audit(struct hub *h, uint64_t after, int64_t since, struct audit_page *out, struct err *e)
{
    return audit_read(h->audit, after, since, NULL, out, e);
}

/* So that whoever comes is sent to the next address by our kernel, at once. */
static void stop_listening(struct hub *h)
{
    if (h->listen_fd < 0)
        return;
    maintain_stop(h);
    fiber_cancel(h->acceptor);
    fiber_join(h->acceptor);
    fio_close_always(h->listen_fd);
    h->listen_fd = -1;
}

void hub_drain(struct hub *h, uint64_t max_ns)
{
    uint64_t end = io_now(h->io) + max_ns, now;
    stop_listening(h);
    h->leaving = true;
    if (h->members > 0)
        log_notice("hub: leaving; %u connection%s are asked to go elsewhere", h->members,
                   h->members == 1 ? "" : "s");
    for (struct session *s = h->sessions; s; s = s->next) {
        if (s->stranger && !s->done)
            session_break(s);
        fiber_wake_all(&s->pulse_end);
    }
    while (h->live > 0 && (now = io_now(h->io)) < end)
        if (fiber_wait(&h->session_ended, end - now) == -ECANCELED)
            break;
    if (h->live > 0)
        log_warn("hub: %u connection%s did not end by themselves", h->live,
                 h->live == 1 ? "" : "s");
}

void hub_stop(struct hub *h)
{
    if (!h)
        return;
    stop_listening(h);
    for (struct session *s = h->sessions; s; s = s->next)
        session_break(s);
    while (h->sessions) {
        struct session *s = h->sessions;
        h->sessions = s->next;
        session_free(s);
    }
    scrub_stop(h->scrub);
    keeper_stop(h->keeper);
    usage_free(h->usage);
    audit_note(h->audit, TRAIL_STOP, NULL, "", ERR_OK, "in good order");
    audit_stop(h->audit);
    territory_free(&h->status);
    kept_free(h);
    bufpool_free(&h->parts);
    bufpool_free(&h->fetches);
    roster_free(h);
    free(h);
}
