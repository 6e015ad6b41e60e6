#include "ship.h"

#include "log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int rolled_back(const struct group *g, const char *hub, uint64_t rp, struct err *e)
{
    uint64_t committed = g->chain.committed.rp;
    return err_set(e, ERR_CHAIN,
                   "hub %s serves RP %" PRIu64 " of %s/%s but committed RP %" PRIu64 ", %" PRIu64
                   " later, before: its history was rolled back. Nothing is shipped until "
                   "the hub's store has RP %" PRIu64 " again",
                   hub, rp, g->chain.site, g->chain.group, committed, committed - rp, committed);
}

/* The head's manifest must be ours: what we signed is what we once shipped. */
static int check_ours(const struct group *g, const struct call *call, uint64_t rp,
                      const struct digest *digest, struct chain_committed *out, struct err *e)
{
    struct digest found;
    struct manifest m;
    int res = manifest_verify(call->payload, call->payload_len, g->chain.signer, e);
    if (res < 0)
        return err_prefix(e, "the hub's head, RP %" PRIu64 " of %s/%s", rp, g->chain.site,
                          g->chain.group);
    res = manifest_decode(&m, call->payload, call->payload_len, e);
    if (res < 0)
        return res;
    manifest_digest(&found, call->payload, call->payload_len);
    if (m.rp != rp || !digest_equal(&found, digest) || strcmp(m.site, g->chain.site) != 0 ||
        strcmp(m.group, g->chain.group) != 0)
        res = err_set(e, ERR_CHAIN,
                      "the hub answers for RP %" PRIu64 " of %s/%s with the manifest of RP "
                      "%" PRIu64 " of %s/%s",
                      rp, g->chain.site, g->chain.group, m.rp, m.site, m.group);
    *out = (struct chain_committed){
        .rp = rp, .link = *manifest_link(&m, &found), .cut_time = m.cut_time};
    if (m.flags & MANIFEST_COMPLETE) {
        out->complete_rp = rp;
        out->complete_cut = m.cut_time;
    }
    manifest_free(&m);
    return res;
}

/* The hub has what we do not know: our state is older than the hub's (restored from a backup), or
 * lost. It is ours, so history goes on from there; what is sealed here but not there is sealed
 * again. */
static int adopt(struct group *g, const struct chain_committed *head, struct err *e)
{
    int res;
    log_warn("group %s: the hub has RP %" PRIu64 ", signed by this site, where RP %" PRIu64
             " is the "
             "newest committed here: this site's state is older than the hub's. Going on from the "
             "hub's RP; the next scan ships the volumes again",
             g->chain.group, head->rp, g->chain.committed.rp);
    res = group_adopt(g, head);
    return res < 0 ? err_set(e, ERR_CANCELED, "group %s: stopped", g->chain.group) : 0;
}

static int compare(struct caller *c, struct group *g, const struct call *call, struct err *e)
{
    const Relais__Head *head = call->reply.head;
    uint64_t committed = g->chain.committed.rp;
    struct chain_committed theirs;
    struct digest digest, known;
    int res;
    if (head->rp < committed)
        return rolled_back(g, caller_peer(c), head->rp, e);
    if (head->rp == 0)
        return 0;
    if (head->digest.len != DIGEST_LEN)
        return err_set(e, ERR_PROTO, "the hub's head, RP %" PRIu64 " of %s, has no digest",
                       head->rp, g->chain.group);
    memcpy(digest.b, head->digest.data, DIGEST_LEN);
    res = check_ours(g, call, head->rp, &digest, &theirs, e);
    if (res < 0)
        return res;
    if (chain_link(&g->chain, head->rp, &known) && digest_equal(&known, &theirs.link))
        return head->rp > committed ? chain_commit(&g->chain, head->rp, e) : 0;
    if (head->rp == committed)
        return err_set(e, ERR_CHAIN,
                       "hub %s serves another RP %" PRIu64 " of %s/%s than it committed: "
                       "its history was forked. Nothing is shipped until its store is put right",
                       caller_peer(c), head->rp, g->chain.site, g->chain.group);
    return adopt(g, &theirs, e);
}

int ship_reconcile(struct caller *c, struct group *g, struct err *e)
{
    struct call call = {.expect = FRAME_Head,
                        .payload = err_malloc(MANIFEST_MAX),
                        .payload_cap = (uint32_t)MANIFEST_MAX};
    Relais__HeadGet get;
    int res;
    relais__head_get__init(&get);
    get.group = g->chain.group;
    res = call_start(c, &call, FRAME_HeadGet, &get.base, NULL, 0, e);
    if (res == 0) {
        res = call_wait(&call, e);
        if (res == 0)
            res = compare(c, g, &call, e);
        call_end(&call);
    }
    free(call.payload);
    return res;
}
