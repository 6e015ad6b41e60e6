#include "hub_fixture.h"

#include "audit.h"

#include "log.h"
#include "uring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

int delta_keys_make(void);
void delta_keys_free(void);

static struct key_secret *link_keys[WHO];
static struct tls *tls[WHO];
static struct config_peer peers[WHO];

void hub_run(void (*fn)(void *arg), void *arg)
{
    struct io *io;
    struct err e = ERR_INIT;
    if (uring_new(&io, 2, &e) < 0)
        fail_msg("%s", e.text);
    fiber_detach(fiber_spawn(io, "test", fn, arg));
    uring_run(io);
    uring_free(io);
}

int hub_keys_make(void **state)
{
    struct err e = ERR_INIT;
    (void)state;
    log_set_level(LOG_L_ERROR);
    if (delta_keys_make() < 0)
        return -1;
    for (int i = 0; i < WHO; i++)
        link_keys[i] = key_generate(KEY_LINK, NULL);
    for (int i = 0; i < WHO; i++) {
        struct tls_peer pinned[WHO];
        size_t n = 0;
        for (int k = 0; k < WHO; k++) {
            if (k == i)
                continue;
            (void)snprintf(pinned[n].name, sizeof pinned[n].name, "%s", who_names[k]);
            pinned[n++].key = *key_public(link_keys[k]);
        }
        if (tls_new(&tls[i], link_keys[i], pinned, n, &e) < 0)
            return -1;
        memset(&peers[i], 0, sizeof peers[i]);
        (void)snprintf(peers[i].name, sizeof peers[i].name, "%s", who_names[i]);
        key_public_word(peers[i].link_keys[0], key_public(link_keys[i]));
        peers[i].link_key_count = 1;
        if (i == BETHUNE || i == LENS)
            key_public_word(peers[i].sign_key, key_public(sign_key((enum who)i)));
    }
    (void)snprintf(peers[LENS].reads[0], sizeof peers[LENS].reads[0], "bethune/records");
    peers[LENS].read_count = 1;
    return 0;
}

int hub_keys_free(void **state)
{
    (void)state;
    for (int i = 0; i < WHO; i++) {
        tls_free(tls[i]);
        key_free(link_keys[i]);
    }
    delta_keys_free();
    return 0;
}

/* ---- a store that fails on demand ---- */

struct faulty {
    struct store store;
    struct hub_fixture *f;
};

static struct store *real_of(struct store *s)
{
    return ((struct faulty *)s)->f->real;
}

/* The hub's audit log is written whenever it likes: tests that count or fail do not mean it. */
static bool is_audit(const char *name)
{
    return strncmp(name, AUDIT_OBJECTS, strlen(AUDIT_OBJECTS)) == 0 || strstr(name, STORE_AUDIT);
}

static int faulty_put(struct store *s, const char *site, const char *name, const void *data,
                      size_t len, struct err *e)
{
    struct hub_fixture *f = ((struct faulty *)s)->f;
    if (is_audit(name))
        return f->fail_audit ? err_set(e, ERR_SPACE, "the store is full")
                             : f->real->ops->put(f->real, site, name, data, len, e);
    f->puts++;
    if (f->fail_puts > 0) {
        f->fail_puts--;
        return err_set(e, ERR_SPACE, "the store is full");
    }
    return f->real->ops->put(f->real, site, name, data, len, e);
}

static int faulty_get(struct store *s, const char *site, const char *name, uint64_t off, void *buf,
                      size_t len, struct err *e)
{
    return real_of(s)->ops->get(real_of(s), site, name, off, buf, len, e);
}

static int faulty_size(struct store *s, const char *site, const char *name, uint64_t *out,
                       struct err *e)
{
    return real_of(s)->ops->size(real_of(s), site, name, out, e);
}

static int faulty_list(struct store *s, const char *site, const char *prefix, const char *after,
                       struct store_names *out, struct err *e)
{
    ((struct faulty *)s)->f->lists++;
    return real_of(s)->ops->list(real_of(s), site, prefix, after, out, e);
}

static int faulty_head(struct store *s, const char *site, const char *group, struct store_head *out,
                       struct err *e)
{
    struct hub_fixture *f = ((struct faulty *)s)->f;
    int rc = f->real->ops->head(f->real, site, group, out, e);
    if (f->slow_heads && !is_audit(group))
        (void)fiber_sleep(++f->heads * f->slow_heads);
    return rc;
}

static int faulty_move(struct store *s, const char *site, const char *group,
                       const struct store_head *from, const struct store_head *to, struct err *e)
{
    struct hub_fixture *f = ((struct faulty *)s)->f;
    if (!is_audit(group) && f->full_moves > 0) {
        f->full_moves--;
        return err_set(e, ERR_SPACE, "the store is full");
    }
    int rc = f->real->ops->move_head(f->real, site, group, from, to, e);
    if (rc == 0 && !is_audit(group) && f->lose_moves > 0) {
        f->lose_moves--;
        return err_set(e, ERR_AGAIN, "the store timed out");
    }
    return rc;
}

static int faulty_catalog(struct store *s, const char *site, const char *group, uint64_t after,
                          struct store_head *out, uint32_t max, uint32_t *count, struct err *e)
{
    return real_of(s)->ops->catalog(real_of(s), site, group, after, out, max, count, e);
}

static int faulty_groups(struct store *s, const char *site, struct store_names *out, struct err *e)
{
    return real_of(s)->ops->groups(real_of(s), site, out, e);
}

static int faulty_remove(struct store *s, const char *site, const char *name, struct err *e)
{
    return real_of(s)->ops->remove(real_of(s), site, name, e);
}

static int faulty_generation(struct store *s, const char *site, const char *group, uint64_t *out,
                             struct err *e)
{
    return real_of(s)->ops->generation(real_of(s), site, group, out, e);
}

static int faulty_splice(struct store *s, const char *site, const char *group, uint64_t from,
                         uint64_t first, uint64_t last, const struct store_head *to, uint32_t count,
                         struct err *e)
{
    return real_of(s)->ops->splice(real_of(s), site, group, from, first, last, to, count, e);
}

static int faulty_claim(struct store *s, const char *name, struct store_claim *out, struct err *e)
{
    return real_of(s)->ops->claim(real_of(s), name, out, e);
}

static int faulty_move_claim(struct store *s, const char *name, const struct store_claim *from,
                             const struct store_claim *to, struct err *e)
{
    return real_of(s)->ops->move_claim(real_of(s), name, from, to, e);
}

static const struct store_ops faulty_ops = {.put = faulty_put,
                                            .get = faulty_get,
                                            .size = faulty_size,
                                            .list = faulty_list,
                                            .head = faulty_head,
                                            .move_head = faulty_move,
                                            .catalog = faulty_catalog,
                                            .groups = faulty_groups,
                                            .remove = faulty_remove,
                                            .generation = faulty_generation,
                                            .splice = faulty_splice,
                                            .claim = faulty_claim,
                                            .move_claim = faulty_move_claim};

/* ---- hub ---- */

static uint16_t free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

void fixture_start(struct hub_fixture *f, uint64_t memory, unsigned connections)
{
    memset(f, 0, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(f->dir, sizeof f->dir, "%.40s/relais-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->config.name, sizeof f->config.name, "arras");
    (void)snprintf(f->config.listen.host, sizeof f->config.listen.host, "127.0.0.1");
    f->config.listen.port = free_port();
    f->config.has_hub = true;
    f->config.hub_memory = memory;
    f->config.connections_max = connections;
    f->config.peers = &peers[1];
    f->config.peer_count = WHO - 1;
    MUST(store_dir_open(&f->real, f->dir, err));
    struct faulty *faulty = err_calloc(1, sizeof *faulty);
    faulty->store.ops = &faulty_ops;
    faulty->f = f;
    f->store = &faulty->store;
    MUST(hub_start(&f->hub, &f->config, f->store, tls[ARRAS], err));
}

void fixture_restart(struct hub_fixture *f)
{
    hub_stop(f->hub);
    MUST(hub_start(&f->hub, &f->config, f->store, tls[ARRAS], err));
}

void fixture_stop(struct hub_fixture *f)
{
    char command[128];
    hub_stop(f->hub);
    f->real->ops->close(f->real);
    free(f->store);
    (void)snprintf(command, sizeof command, "rm -rf %s", f->dir);
    assert_int_equal(fio_command(command, 10 * IO_S), 0);
}

int try_client(struct hub_fixture *f, enum who who, struct caller **out, struct err *e)
{
    struct io_addr addr = {0};
    struct link *l = NULL;
    memcpy(addr.host, f->config.listen.host, sizeof addr.host);
    addr.port = f->config.listen.port;
    int fd = fio_connect(&addr, 5 * IO_S);
    assert_true(fd >= 0);
    int rc = link_tls_connect(&l, fd, tls[who], "arras", 5 * IO_S, e);
    return rc < 0 ? rc : caller_new(out, l, e);
}

struct caller *client(struct hub_fixture *f, enum who who)
{
    struct caller *c = NULL;
    MUST(try_client(f, who, &c, err));
    return c;
}

/* ---- requests ---- */

int send_offer(struct caller *c, const char *group, const struct test_delta *d, bool *committed,
               uint8_t *missing, struct err *e)
{
    struct call call = {.expect = FRAME_Need};
    char name[NAME_MAX_LEN + 1];
    Relais__Offer m;
    relais__offer__init(&m);
    (void)snprintf(name, sizeof name, "%s", group);
    m.group = name;
    int rc = call_start(c, &call, FRAME_Offer, &m.base, d->manifest, d->manifest_len, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0) {
        const Relais__Need *need = call.reply.need;
        if (committed)
            *committed = need->committed;
        if (missing)
            for (uint32_t i = 0; i < d->parts; i++)
                missing[i] =
                    i / 8 < need->missing.len && (need->missing.data[i / 8] >> (i % 8) & 1) != 0;
    }
    call_end(&call);
    return rc;
}

int send_part(struct caller *c, const struct test_delta *d, uint32_t part, bool flip, struct err *e)
{
    struct call call = {.expect = FRAME_PartStored};
    char group[] = "records";
    struct digest digest = d->digest;
    uint64_t at = part * PART_SIZE;
    uint32_t len = (uint32_t)(d->content_len - at < PART_SIZE ? d->content_len - at : PART_SIZE);
    uint8_t *copy = err_malloc(len);
    int rc = 0;
    memcpy(copy, d->file + at, len);
    if (flip)
        copy[len / 2] ^= 1;
    for (uint32_t off = 0; off < len && rc == 0; off += (uint32_t)PAYLOAD_MAX) {
        uint32_t n = len - off < PAYLOAD_MAX ? len - off : (uint32_t)PAYLOAD_MAX;
        Relais__Part m;
        relais__part__init(&m);
        m.group = group;
        m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
        m.part = part;
        m.offset = off;
        if (off + n < len) {
            rc = call_send(c, FRAME_Part, &m.base, copy + off, n, e);
            continue;
        }
        rc = call_start(c, &call, FRAME_Part, &m.base, copy + off, n, e);
        if (rc == 0) {
            rc = call_wait(&call, e);
            if (rc == 0)
                assert_int_equal(call.reply.part_stored->part, part);
            call_end(&call);
        }
    }
    free(copy);
    return rc;
}

int send_commit(struct caller *c, const struct test_delta *d, struct err *e)
{
    struct call call = {.expect = FRAME_Committed};
    char group[] = "records";
    struct digest digest = d->digest;
    Relais__Commit m;
    relais__commit__init(&m);
    m.group = group;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    int rc = call_start(c, &call, FRAME_Commit, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0)
        assert_int_equal(call.reply.committed->rp, d->rp);
    call_end(&call);
    return rc;
}

int send_all(struct caller *c, const struct test_delta *d, struct err *e)
{
    uint8_t missing[PARTS_MAX];
    bool committed = false;
    int rc = send_offer(c, "records", d, &committed, missing, e);
    if (rc < 0 || committed)
        return rc;
    for (uint32_t i = 0; i < d->parts && rc == 0; i++)
        if (missing[i])
            rc = send_part(c, d, i, false, e);
    return rc < 0 ? rc : send_commit(c, d, e);
}

int ask_head(struct caller *c, uint64_t *rp, uint8_t *buf, uint32_t *len, struct err *e)
{
    static uint8_t own[MANIFEST_MAX]; /* nobody looks: a fiber has no room for it */
    struct call call = {
        .expect = FRAME_Head, .payload = buf ? buf : own, .payload_cap = MANIFEST_MAX};
    char group[] = "records";
    Relais__HeadGet m;
    relais__head_get__init(&m);
    m.group = group;
    int rc = call_start(c, &call, FRAME_HeadGet, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0) {
        *rp = call.reply.head->rp;
        if (len)
            *len = call.payload_len;
    }
    call_end(&call);
    return rc;
}

int ask_range(struct caller *c, const char *site, const char *group, const struct test_delta *d,
              uint64_t off, void *buf, uint32_t len, struct err *e)
{
    struct call call = {.expect = FRAME_Fetched, .payload = buf, .payload_cap = len};
    char names[2][NAME_MAX_LEN + 1];
    struct digest digest = d->digest;
    Relais__Fetch m;
    relais__fetch__init(&m);
    (void)snprintf(names[0], sizeof names[0], "%s", site);
    (void)snprintf(names[1], sizeof names[1], "%s", group);
    m.site = names[0];
    m.group = names[1];
    m.rp = d->rp;
    m.digest = (ProtobufCBinaryData){DIGEST_LEN, digest.b};
    m.offset = off;
    m.length = len;
    int rc = call_start(c, &call, FRAME_Fetch, &m.base, NULL, 0, e);
    if (rc < 0)
        return rc;
    rc = call_wait(&call, e);
    if (rc == 0)
        assert_int_equal(call.payload_len, len);
    call_end(&call);
    return rc;
}
