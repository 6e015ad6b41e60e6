#include "attest.h"

#include "delta.h"
#include "log.h"
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_NS (10 * IO_S) /* after a request that failed */

struct checking {
    struct shipper *shipper;
    struct caller *caller;
    const struct attest_request *request;
    struct run_delta *deltas;
    size_t count, cap;
    char group[NAME_MAX_LEN + 1];
};

/* ---- the run, as the hub lists it ---- */

static int add_delta(struct checking *c, const Relais__RecoveryPoint *p, struct err *e)
{
    uint64_t due = c->count > 0 ? c->deltas[c->count - 1].rp + 1 : c->request->rp_first;
    if (p->rp_first != due || p->rp < p->rp_first || p->rp > c->request->rp ||
        p->digest.len != DIGEST_LEN || c->count == RUN_MAX)
        return err_set(e, ERR_AGAIN,
                       "group %s: RP %" PRIu64 " to %" PRIu64 " are not what the hub asked to be "
                       "attested: its history changed meanwhile",
                       c->group, c->request->rp_first, c->request->rp);
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 64;
        c->deltas = err_realloc(c->deltas, c->cap * sizeof *c->deltas);
    }
    struct run_delta *d = &c->deltas[c->count++];
    *d = (struct run_delta){.rp_first = p->rp_first,
                            .rp = p->rp,
                            .file_len = p->file_len,
                            .manifest_len = p->manifest_len};
    memcpy(d->digest.b, p->digest.data, DIGEST_LEN);
    return 0;
}

static int list_page(struct checking *c, uint64_t after, struct err *e)
{
    struct call call = {.expect = FRAME_History};
    Relais__HistoryGet m;
    char site[NAME_MAX_LEN + 1];
    int rc;
    relais__history_get__init(&m);
    (void)snprintf(site, sizeof site, "%s", c->shipper->groups[0]->chain.site);
    m.site = site;
    m.group = c->group;
    m.after = after;
    rc = call_start(c->caller, &call, FRAME_HistoryGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    for (size_t i = 0; rc == 0 && i < call.reply.history->n_points; i++) {
        rc = add_delta(c, call.reply.history->points[i], e);
        if (rc == 0 && c->deltas[c->count - 1].rp == c->request->rp)
            break;
    }
    if (rc == 0 && call.reply.history->n_points == 0)
        rc = err_set(e, ERR_AGAIN, "group %s: the hub's history ends before RP %" PRIu64, c->group,
                     c->request->rp);
    call_end(&call);
    return rc;
}

static int list_run(struct checking *c, struct err *e)
{
    uint64_t at = c->request->rp_first - 1;
    int rc = 0;
    while (rc == 0 && at < c->request->rp) {
        rc = list_page(c, at, e);
        at = c->count > 0 ? c->deltas[c->count - 1].rp : at;
    }
    return rc;
}

static int read_hub(void *arg, size_t n, uint64_t off, void *buf, uint32_t len, struct err *e)
{
    const struct checking *c = arg;
    struct run_delta *d = &c->deltas[n];
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    uint8_t *at = buf;
    (void)snprintf(site, sizeof site, "%s", c->shipper->groups[0]->chain.site);
    (void)snprintf(group, sizeof group, "%s", c->group);
    while (len > 0) {
        uint32_t some = len < PAYLOAD_MAX ? len : (uint32_t)PAYLOAD_MAX;
        struct call call = {.expect = FRAME_Fetched, .payload = at, .payload_cap = some};
        Relais__Fetch m;
        relais__fetch__init(&m);
        m.site = site;
        m.group = group;
        m.rp = d->rp;
        m.digest = (ProtobufCBinaryData){DIGEST_LEN, d->digest.b};
        m.offset = off;
        m.length = some;
        int rc = call_start(c->caller, &call, FRAME_Fetch, &m.base, NULL, 0, e);
        if (rc < 0)
            return rc;
        rc = call_wait(&call, e);
        if (rc == 0 && call.payload_len != some)
            rc = err_set(e, ERR_PROTO, "asked for %" PRIu32 " bytes, %" PRIu32 " came", some,
                         call.payload_len);
        if (rc == -ERR_CONFLICT) /* replaced meanwhile */
            rc = -(int)(e->code = ERR_AGAIN);
        call_end(&call);
        if (rc < 0)
            return rc;
        at += some;
        off += some;
        len -= some;
    }
    return 0;
}

/* ---- comparing ---- */

/* The request as a manifest, for the digests of its parts; the signature that it lacks is zero. */
static int decode_request(const struct attest_request *q, struct manifest *out, struct err *e)
{
    uint8_t *raw;
    int rc;
    if (q->len + MANIFEST_SIG_LEN > MANIFEST_MAX)
        return err_set(e, ERR_LIMIT, "a manifest of %" PRIu32 " bytes is too long", q->len);
    raw = err_calloc(q->len + MANIFEST_SIG_LEN, 1);
    memcpy(raw, q->manifest, q->len);
    rc = manifest_decode(out, raw, q->len + MANIFEST_SIG_LEN, e);
    free(raw);
    return rc;
}

static int does_not_follow(const struct checking *c, const struct manifest *asked, struct err *e)
{
    return err_set(e, ERR_AUTH,
                   "group %s: what the hub wants to put in the place of RP %" PRIu64 " to %" PRIu64
                   " does not follow from what it holds of them: it is not signed",
                   c->group, asked->rp_first, asked->rp);
}

/* Builds the same and compares every byte. */
static int compare(struct checking *c, struct run *run, size_t output, const struct manifest *asked,
                   struct bytes_out *out, struct err *e)
{
    struct run_built built = {0};
    int rc = run_build(run, output, &built, e);
    if (rc == 0 && built.m.part_count != asked->part_count)
        rc = does_not_follow(c, asked, e);
    if (rc == 0) {
        built.m.parts = asked->parts;
        rc = manifest_encode_unsigned(out, &built.m, e);
    }
    if (rc == 0 &&
        (out->len != c->request->len || memcmp(out->p, c->request->manifest, out->len) != 0))
        rc = does_not_follow(c, asked, e);
    run_built_free(&built);
    return rc;
}

static int find_output(const struct checking *c, const struct run *run,
                       const struct manifest *asked, size_t *output, struct err *e)
{
    for (size_t i = 0; i < run->output_count; i++) {
        const struct fold_output *o = &run->outputs[i];
        if (o->rewrite && run->deltas[o->first].rp_first == asked->rp_first &&
            run->deltas[o->first + o->count - 1].rp == asked->rp) {
            *output = i;
            return 0;
        }
    }
    return does_not_follow(c, asked, e);
}

static int check_run(struct checking *c, struct run *run, const struct manifest *asked,
                     uint8_t signature[MANIFEST_SIG_LEN], struct err *e)
{
    struct bytes_out out = bytes_out(MANIFEST_MAX);
    size_t output = 0;
    int rc = run_open(run, e);
    if (rc == 0)
        rc = find_output(c, run, asked, &output, e);
    if (rc == 0)
        rc = compare(c, run, output, asked, &out, e);
    if (rc == 0) {
        manifest_sign(&out, c->shipper->sign);
        memcpy(signature, out.p + out.len - MANIFEST_SIG_LEN, MANIFEST_SIG_LEN);
    }
    bytes_free(&out);
    run_close(run);
    return rc;
}

static int check_known(const struct checking *c, struct err *e)
{
    const struct attest_request *q = c->request;
    for (size_t i = 0; i < c->shipper->count; i++) {
        const struct chain *chain = &c->shipper->groups[i]->chain;
        if (strcmp(chain->group, c->group) != 0)
            continue;
        if (q->rp_first == 0 || q->rp < q->rp_first || q->rp >= chain->committed.rp)
            return err_set(e, ERR_AUTH,
                           "group %s: RP %" PRIu64 " to %" PRIu64 " are not behind RP %" PRIu64
                           ", which is what is known here to be committed",
                           c->group, q->rp_first, q->rp, chain->committed.rp);
        return 0;
    }
    return err_set(e, ERR_NOENT, "there is no group \"%s\" here", c->group);
}

int attest_check(struct shipper *s, struct caller *caller, const struct attest_request *q,
                 uint8_t signature[MANIFEST_SIG_LEN], struct err *e)
{
    struct checking c = {.shipper = s, .caller = caller, .request = q};
    struct manifest asked = {0};
    struct run run;
    struct digest inputs;
    int rc;
    (void)snprintf(c.group, sizeof c.group, "%s", q->group);
    rc = check_known(&c, e);
    if (rc == 0)
        rc = decode_request(q, &asked, e);
    if (rc == 0)
        rc = list_run(&c, e);
    if (rc == 0) {
        run_digest(&inputs, c.deltas, c.count);
        if (!digest_equal(&inputs, &q->inputs))
            rc = err_set(e, ERR_AGAIN, "group %s: the hub's history changed meanwhile", c.group);
    }
    if (rc == 0) {
        run = (struct run){.site = s->groups[0]->chain.site,
                           .group = c.group,
                           .deltas = c.deltas,
                           .count = c.count,
                           .read = read_hub,
                           .arg = &c,
                           .signer = key_public(s->sign)};
        rc = check_run(&c, &run, &asked, signature, e);
    }
    manifest_free(&asked);
    free(c.deltas);
    return rc;
}

/* ---- the fiber ---- */

/* What came of the last request, for the next question. */
struct verdict {
    uint64_t number;
    bool is_signed;
    uint8_t signature[MANIFEST_SIG_LEN];
    struct err why;
};

static void consider(struct shipper *s, const Relais__Attest *m, const uint8_t *manifest,
                     uint32_t len, struct verdict *v)
{
    struct attest_request q = {
        .group = m->group, .rp_first = m->rp_first, .rp = m->rp, .manifest = manifest, .len = len};
    *v = (struct verdict){.number = m->number, .why = ERR_INIT};
    if (m->inputs.len != DIGEST_LEN) {
        (void)err_set(&v->why, ERR_PROTO, "a digest has %u bytes, not %zu", DIGEST_LEN,
                      m->inputs.len);
        return;
    }
    memcpy(q.inputs.b, m->inputs.data, DIGEST_LEN);
    v->is_signed = attest_check(s, s->caller, &q, v->signature, &v->why) == 0;
    if (v->is_signed)
        log_debug("group %s: attested what the hub made of RP %" PRIu64 " to %" PRIu64, q.group,
                  q.rp_first, q.rp);
    else if (v->why.code != ERR_CANCELED && v->why.code != ERR_AGAIN)
        log_warn("attesting for the hub: %s", v->why.text);
}

/* One question; the answer waits at the hub until there is work. */
static int ask(struct shipper *s, struct verdict *v, uint8_t *manifest, struct err *e)
{
    struct call call = {
        .expect = FRAME_Attest, .payload = manifest, .payload_cap = (uint32_t)MANIFEST_MAX};
    Relais__AttestGet m;
    char text[ERR_TEXT_MAX];
    int rc;
    relais__attest_get__init(&m);
    message_text(text, sizeof text, v->why.text);
    m.number = v->number;
    if (v->is_signed)
        m.signature = (ProtobufCBinaryData){MANIFEST_SIG_LEN, v->signature};
    m.code = v->why.code;
    m.text = text;
    rc = call_start(s->caller, &call, FRAME_AttestGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    *v = (struct verdict){.why = ERR_INIT};
    if (rc == 0 && call.reply.attest->number > 0)
        consider(s, call.reply.attest, manifest, call.payload_len, v);
    call_end(&call);
    return rc;
}

void attest_main(void *arg)
{
    struct shipper *s = arg;
    struct verdict v = {.why = ERR_INIT};
    uint8_t *manifest = err_malloc(MANIFEST_MAX);
    while (!fiber_cancelled()) {
        struct err e = ERR_INIT;
        if (ask(s, &v, manifest, &e) == 0)
            continue;
        if (caller_broken(s->caller, &e) < 0)
            fiber_wake_all(&s->news);
        if (fiber_sleep(RETRY_NS) < 0)
            break;
    }
    free(manifest);
}
