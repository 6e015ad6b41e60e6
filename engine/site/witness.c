#include "witness.h"

#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[RECORD_MAGIC_LEN] = "RLSWITN1";

void witness_init(struct witness *w, const char *state_dir, const char *hub)
{
    *w = (struct witness){.error = ERR_INIT};
    (void)snprintf(w->hub, sizeof w->hub, "%s", hub);
    path_format(w->path, "%s/%s.audit", state_dir, hub);
}

/* What cannot be read is as if nothing was known: the log is followed from where it is now. */
static void load(struct witness *w)
{
    struct err e = ERR_INIT;
    struct bytes_in in;
    void *file;
    w->loaded = true;
    int rc = slots_load(&w->record, w->path, MAGIC, &file, &in, &e);
    if (rc == -ERR_NOENT)
        return;
    if (rc < 0) {
        log_warn("%s; the audit log of hub %s is followed from its end on", e.text, w->hub);
        return;
    }
    w->end.seq = bytes_get_u64(&in);
    bytes_get(&in, w->end.link.b, DIGEST_LEN);
    w->known = !bytes_bad(&in) && bytes_left(&in) == 0;
    free(file);
}

static void save(struct witness *w)
{
    struct err e = ERR_INIT;
    struct bytes_out o = bytes_out(SLOT_BODY_MAX);
    bytes_put_u64(&o, w->end.seq);
    bytes_put(&o, w->end.link.b, DIGEST_LEN);
    if (slots_save(&w->record, w->path, MAGIC, &o, &e) < 0)
        log_warn("%s: how far the audit log of hub %s was followed is not kept", e.text, w->hub);
    bytes_free(&o);
}

/* One page. */
static int ask(struct caller *c, struct call *call, uint64_t after, struct trail_end *said,
               struct err *e)
{
    Relais__AuditGet get;
    relais__audit_get__init(&get);
    get.after = after;
    int rc = call_start(c, call, FRAME_AuditGet, &get.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(call, e);
    if (rc == 0) {
        const Relais__AuditEntries *m = call->reply.audit_entries;
        *said = (struct trail_end){.seq = m->end};
        if (m->digest.len == DIGEST_LEN)
            memcpy(said->link.b, m->digest.data, DIGEST_LEN);
    }
    call_end(call);
    return rc;
}

static int follow(struct witness *w, struct caller *c, struct call *call, struct err *e)
{
    struct trail_walk walk = {.end = w->end};
    struct trail_end said = {0};
    int rc = 0;
    do {
        rc = ask(c, call, w->known ? walk.end.seq : UINT64_MAX, &said, e);
        if (rc == 0 && !w->known)
            walk.end = said;
        if (rc == 0)
            rc = trail_follow(&walk, call->payload, call->payload_len, e);
    } while (rc == 0 && call->payload_len > 0);
    if (rc == 0)
        rc = trail_check_end(&walk.end, &said, e);
    if (rc == 0 && (!w->known || walk.end.seq > w->end.seq)) {
        w->known = true;
        w->end = walk.end;
        save(w);
    }
    return rc;
}

int witness_look(struct witness *w, struct caller *c, struct err *e)
{
    struct call call = {.expect = FRAME_AuditEntries,
                        .payload = err_malloc(PAYLOAD_MAX),
                        .payload_cap = (uint32_t)PAYLOAD_MAX};
    if (!w->loaded)
        load(w);
    int rc = follow(w, c, &call, e);
    free(call.payload);
    if (rc < 0 && e->code == ERR_CHAIN)
        rc = err_prefix(e,
                        "hub %s: its audit log does not continue what this site was shown, up to "
                        "entry %" PRIu64,
                        w->hub, w->end.seq);
    return rc;
}

void witness_ride(struct witness *w, struct caller *c)
{
    uint64_t wait = WITNESS_SOON_NS;
    while (!fiber_cancelled()) {
        struct err e = ERR_INIT, broken = ERR_INIT;
        int rc = witness_look(w, c, &e);
        if (caller_broken(c, &broken) != 0)
            break;
        if (rc < 0 && strcmp(e.text, w->error.text) != 0)
            log_error("%s", e.text);
        if (rc == 0 || e.code == ERR_CHAIN)
            w->error = e;
        if (fiber_sleep(wait) < 0)
            break;
        wait = wait * 2 < WITNESS_NS ? wait * 2 : WITNESS_NS;
    }
}
