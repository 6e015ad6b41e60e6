/* readers.c keeps data keys wrapped for readers that came later, beside the deltas: a log per group
 * that is only ever appended to, of batches that are objects.
 *
 * What is in a batch proves itself to its reader (datakey.h), and to nobody else; so all that
 * matters here is who may append and how much. Who may read a group may: it could tell anybody what
 * it reads anyway. */
#include "log.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_VERSION 1u
#define GET_WINDOW    64u /* entries looked at between two waits */
#define TRIES         8u  /* against others who append at the same moment */

struct batch {
    uint64_t number;
    uint8_t reader[KEY_FP_LEN];
    uint32_t len;
    struct digest digest;
    uint64_t total; /* bytes of all batches up to this one */
    int64_t time;
    char by[NAME_MAX_LEN + 1];
};

static void log_name(char dst[STORE_NAME_MAX], const char *group)
{
    (void)snprintf(dst, STORE_NAME_MAX, "%s" STORE_READERS, group);
}

static void object_name(char dst[STORE_NAME_MAX], const char *group, const struct digest *digest)
{
    char hex[DIGEST_HEX];
    digest_hex(hex, digest);
    (void)snprintf(dst, STORE_NAME_MAX, "%s/readers/%s", group, hex);
}

static void encode(struct store_head *out, const struct batch *b)
{
    struct bytes_out o = bytes_out(STORE_ENTRY_MAX);
    bytes_put_u8(&o, ENTRY_VERSION);
    bytes_put(&o, b->reader, KEY_FP_LEN);
    bytes_put_u32(&o, b->len);
    bytes_put(&o, b->digest.b, DIGEST_LEN);
    bytes_put_u64(&o, b->total);
    bytes_put_u64(&o, (uint64_t)b->time);
    bytes_put_str(&o, b->by);
    ASSERT(!o.bad);
    memset(out, 0, sizeof *out);
    out->rp = b->number;
    out->len = (uint16_t)o.len;
    memcpy(out->value, o.p, o.len);
    bytes_free(&o);
}

static int decode(struct batch *out, const struct store_head *in, struct err *e)
{
    struct bytes_in b = bytes_in(in->value, in->len);
    uint8_t version = bytes_get_u8(&b);
    memset(out, 0, sizeof *out);
    out->number = in->rp;
    bytes_get(&b, out->reader, KEY_FP_LEN);
    out->len = bytes_get_u32(&b);
    bytes_get(&b, out->digest.b, DIGEST_LEN);
    out->total = bytes_get_u64(&b);
    out->time = (int64_t)bytes_get_u64(&b);
    bytes_get_str(&b, out->by, sizeof out->by);
    if (bytes_bad(&b) || bytes_left(&b) != 0 || version != ENTRY_VERSION || out->len == 0 ||
        out->len > WRAPS_BATCH_MAX)
        return err_set(e, ERR_CORRUPT,
                       "entry %" PRIu64 " of the readers that came later is not one that this "
                       "version of relais wrote",
                       in->rp);
    return 0;
}

static int last_of(struct session *s, const char *site, const char *log, struct store_head *raw,
                   struct batch *out, struct err *e)
{
    int rc = s->hub->store->ops->head(s->hub->store, site, log, raw, e);
    memset(out, 0, sizeof *out);
    return rc < 0 || raw->rp == 0 ? rc : decode(out, raw, e);
}

/* The group must exist, or names would be made up without end. */
static int check_group(struct session *s, const char *site, const char *group, struct err *e)
{
    struct store_head raw;
    struct catalog_entry head;
    int rc = hub_head(s->hub, site, group, &raw, &head, e);
    if (rc == 0 && head.rp == 0)
        rc = err_set(e, ERR_NOENT, "%s/%s: no such group is stored here", site, group);
    return rc;
}

/* Half of the room is for the site alone: whoever may read its group could fill the rest. */
static int check_room(const struct session *s, const char *site, const char *group,
                      const struct batch *last, uint32_t len, struct err *e)
{
    unsigned part = strcmp(s->peer, site) == 0 ? 1 : 2;
    if (last->number < WRAPS_BATCHES / part && last->total + len <= WRAPS_TOTAL_MAX / part)
        return 0;
    return err_set(e, ERR_LIMIT,
                   "%s/%s: %" PRIu64 " batches of %" PRIu64 " bytes of wraps for readers that came "
                   "later are stored, as much as may be%s",
                   site, group, last->number, last->total,
                   part > 1 ? " from others than the site" : "");
}

/* The object first, then the entry that names it: what a crash leaves in between is repeated under
 * the same name. */
static int append(struct session *s, const char *site, const char *group, struct batch *b,
                  const uint8_t *payload, struct err *e)
{
    struct store *store = s->hub->store;
    char name[STORE_NAME_MAX], log[STORE_NAME_MAX];
    struct store_head from, to;
    struct batch last;
    int rc = 0;
    log_name(log, group);
    object_name(name, group, &b->digest);
    for (unsigned i = 0; i < TRIES; i++) {
        rc = last_of(s, site, log, &from, &last, e);
        if (rc == 0)
            rc = check_room(s, site, group, &last, b->len, e);
        if (rc == 0 && i == 0)
            rc = store->ops->put(store, site, name, payload, b->len, e);
        if (rc < 0)
            return rc;
        b->number = last.number + 1;
        b->total = last.total + b->len;
        encode(&to, b);
        rc = store->ops->move_head(store, site, log, &from, &to, e);
        if (rc != -ERR_CONFLICT)
            return rc;
    }
    return rc;
}

static int put(struct session *s, uint32_t id, const char *site, const char *group, struct batch *b,
               const uint8_t *payload, struct err *e)
{
    Relais__WrapsStored reply = RELAIS__WRAPS_STORED__INIT;
    char hex[2 * KEY_FP_LEN + 1], subject[TRAIL_SUBJECT_MAX + 1];
    int rc = check_group(s, site, group, e);
    digest_of(&b->digest, payload, b->len);
    b->time = io_wall(s->hub->io);
    memcpy(b->by, s->peer, sizeof b->by);
    if (rc == 0)
        rc = append(s, site, group, b, payload, e);
    if (rc < 0)
        return err_prefix(e, "%s/%s: wraps for one more reader", site, group);
    bytes_hex(hex, b->reader, KEY_FP_LEN);
    log_notice("hub: %s lets the restore key %s read %s/%s: %u data keys", s->peer, hex, site,
               group, (unsigned)(b->len / WRAPS_ENTRY_LEN));
    (void)snprintf(subject, sizeof subject, "%s/%s", site, group);
    audit_note(s->hub->audit, TRAIL_READERS, s->peer, subject, ERR_OK,
               "%u data keys for the restore key %s", (unsigned)(b->len / WRAPS_ENTRY_LEN), hex);
    reply.number = b->number;
    return session_reply(s, FRAME_WrapsStored, id, &reply.base, e);
}

int readers_put(struct session *s, const struct frame_header *h, const Relais__WrapsPut *m,
                struct err *e)
{
    struct batch b = {.len = h->payload_len};
    uint8_t *payload = err_malloc(b.len); /* at most PAYLOAD_MAX; taken whatever is said to it */
    int rc = link_recv_payload(s->link, payload, b.len, e);
    if (rc < 0) {
        free(payload);
        return rc;
    }
    rc = serve_check_target(s, m->site, m->group, e);
    if (rc == 0 && m->reader.len != KEY_FP_LEN)
        rc = err_set(e, ERR_PROTO, "a reader is named by %u bytes, not %zu", KEY_FP_LEN,
                     m->reader.len);
    if (rc == 0 && (b.len == 0 || b.len > WRAPS_BATCH_MAX || b.len % WRAPS_ENTRY_LEN != 0))
        rc = err_set(e, ERR_PROTO,
                     "a batch of wraps of %" PRIu32 " bytes: up to %u of %u bytes each", b.len,
                     WRAPS_BATCH_MAX / WRAPS_ENTRY_LEN, WRAPS_ENTRY_LEN);
    if (rc == 0) {
        memcpy(b.reader, m->reader.data, KEY_FP_LEN);
        rc = put(s, h->id, m->site, m->group, &b, payload, e);
    }
    free(payload);
    return rc < 0 ? session_refuse_about(s, h->id, m->site, m->group, e) : 0;
}

/* The first batch after `after` that is for the reader; number 0: none. (waits) */
static int find_batch(struct session *s, const char *site, const char *log, uint64_t after,
                      const uint8_t *reader, struct batch *out, struct err *e)
{
    struct store *store = s->hub->store;
    struct store_head *raw = err_calloc(GET_WINDOW, sizeof *raw);
    uint32_t n = GET_WINDOW;
    int rc = 0;
    bool found = false;
    while (rc == 0 && !found && n == GET_WINDOW) {
        rc = store->ops->catalog(store, site, log, after, raw, GET_WINDOW, &n, e);
        for (uint32_t i = 0; rc == 0 && i < n && !found; i++) {
            rc = decode(out, &raw[i], e);
            after = raw[i].rp;
            found = rc == 0 && (!reader || memcmp(out->reader, reader, KEY_FP_LEN) == 0);
        }
    }
    free(raw);
    if (!found)
        memset(out, 0, sizeof *out);
    return rc;
}

static int get(struct session *s, uint32_t id, const Relais__WrapsGet *m, struct err *e)
{
    struct store *store = s->hub->store;
    Relais__Wraps reply;
    char log[STORE_NAME_MAX], name[STORE_NAME_MAX];
    struct batch b;
    uint8_t *payload = NULL;
    relais__wraps__init(&reply);
    log_name(log, m->group);
    int rc = find_batch(s, m->site, log, m->after, m->reader.len ? m->reader.data : NULL, &b, e);
    if (rc == 0 && b.number > 0) {
        payload = err_malloc(b.len);
        object_name(name, m->group, &b.digest);
        rc = store->ops->get(store, m->site, name, 0, payload, b.len, e);
        reply.number = b.number;
        reply.reader = (ProtobufCBinaryData){KEY_FP_LEN, b.reader};
        reply.by = b.by;
        reply.time = b.time;
    }
    if (rc == 0)
        rc = link_send(s->link, FRAME_Wraps, id, &reply.base, payload, b.len, e);
    free(payload);
    return rc < 0 ? err_prefix(e, "%s/%s: wraps for readers that came later", m->site, m->group)
                  : 0;
}

int readers_get(struct session *s, uint32_t id, const Relais__WrapsGet *m, struct err *e)
{
    int rc = serve_check_target(s, m->site, m->group, e);
    if (rc == 0 && m->reader.len != 0 && m->reader.len != KEY_FP_LEN)
        rc = err_set(e, ERR_PROTO, "a reader is named by %u bytes, not %zu", KEY_FP_LEN,
                     m->reader.len);
    if (rc == 0)
        rc = get(s, id, m, e);
    return rc < 0 ? session_refuse_about(s, id, m->site, m->group, e) : 0;
}
