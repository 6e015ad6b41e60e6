#include "territory_fixture.h"

#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

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

static struct tls *pin(const struct key_secret *own, const char *name,
                       const struct key_secret *peer)
{
    struct tls_peer p = {.key = *key_public(peer)};
    struct err e = ERR_INIT;
    struct tls *t;
    fixture_text(p.name, sizeof p.name, "%s", name);
    MUST(tls_new(&t, own, &p, 1, &e), &e);
    return t;
}

static void territory_init(struct territory_fixture *t)
{
    uint16_t port = free_port();
    memset(t, 0, sizeof *t);
    fixture_init(&t->f);
    t->site_link = key_generate(KEY_LINK, NULL);
    t->hub_link = key_generate(KEY_LINK, NULL);
    t->site_tls = pin(t->site_link, "arras", t->hub_link);
    t->hub_tls = pin(t->hub_link, "bethune", t->site_link);
    fixture_text(t->store_dir, sizeof t->store_dir, "%s/store", t->f.root);
    fixture_text(t->hub_config.name, sizeof t->hub_config.name, "arras");
    fixture_text(t->hub_config.listen.host, sizeof t->hub_config.listen.host, "127.0.0.1");
    t->hub_config.listen.port = port;
    t->hub_config.has_hub = true;
    t->hub_config.hub_memory = 32 * MIB;
    t->hub_config.connections_max = 4;
    t->hub_config.peers = &t->site_peer;
    t->hub_config.peer_count = 1;
    fixture_text(t->site_peer.name, sizeof t->site_peer.name, "bethune");
    key_public_word(t->site_peer.link_keys[0], key_public(t->site_link));
    t->site_peer.link_key_count = 1;
    key_public_word(t->site_peer.sign_key, key_public(t->f.sign));
    fixture_text(t->hub_peer.name, sizeof t->hub_peer.name, "arras");
    t->hub_peer.addrs[0] = t->hub_config.listen;
    t->hub_peer.addr_count = 1;
    t->f.config.peers = &t->hub_peer;
    t->f.config.peer_count = 1;
    fixture_text(t->f.config.hub, sizeof t->f.config.hub, "arras");
    fixture_volume(&t->f, "data", 24 * MIB);
    fixture_fill(&t->f, 0, 0, 10 * MIB, 1);
}

static void territory_done(struct territory_fixture *t)
{
    tls_free(t->site_tls);
    tls_free(t->hub_tls);
    key_free(t->site_link);
    key_free(t->hub_link);
    fixture_done(&t->f);
}

void hub_up(struct territory_fixture *t)
{
    MUST(store_dir_open(&t->store, t->store_dir, &t->e), &t->e);
    MUST(hub_start(&t->hub, &t->hub_config, t->store, t->hub_tls, &t->e), &t->e);
}

void hub_down(struct territory_fixture *t)
{
    hub_stop(t->hub);
    t->store->ops->close(t->store);
}

void site_up(struct territory_fixture *t)
{
    struct site_keys keys = {.sign = t->f.sign, .hash = t->f.hash, .tls = t->site_tls};
    MUST(site_open(&t->site, &t->f.config, &keys, NULL, &t->e), &t->e);
    MUST(site_start(t->site, &t->e), &t->e);
}

uint64_t mark(struct territory_fixture *t, const char *label, bool wait)
{
    bool committed;
    uint64_t rp;
    MUST(site_mark(t->site, "records", label, wait, &rp, &committed, &t->e), &t->e);
    assert_true(committed || !wait);
    return rp;
}

Relais__GroupStatus *group_of(struct territory_fixture *t)
{
    static Relais__Status status;
    relais__status__init(&status);
    site_status(t->site, &status);
    assert_int_equal(status.n_groups, 1);
    return status.groups[0];
}

void await_state(struct territory_fixture *t, const char *word)
{
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    while (strcmp(group_of(t)->state, word) != 0) {
        if (io_now(fiber_io()) > end)
            fail_msg("state %s (%s), not %s", group_of(t)->state, group_of(t)->error, word);
        (void)fiber_sleep(20 * IO_MS);
    }
}

uint64_t store_head(struct territory_fixture *t)
{
    struct store_head head;
    MUST(t->store->ops->head(t->store, "bethune", "records", &head, &t->e), &t->e);
    return head.rp;
}

size_t spooled(struct territory_fixture *t)
{
    char dir[PATH_CAP];
    struct io_names names;
    size_t n;
    path_format(dir, "%s/records", t->f.spool_dir);
    assert_int_equal(fio_list(dir, &names), 0);
    n = names.count;
    io_names_free(&names);
    return n;
}

void await_empty_spool(struct territory_fixture *t)
{
    uint64_t end = io_now(fiber_io()) + PATIENCE;
    while (spooled(t) > 0) {
        if (io_now(fiber_io()) > end)
            fail_msg("%zu files stay in the spool", spooled(t));
        (void)fiber_sleep(20 * IO_MS);
    }
}

void with_territory(void (*fn)(void *arg))
{
    struct territory_fixture t;
    log_set_level(LOG_L_ERROR);
    territory_init(&t);
    fixture_run(fn, &t);
    territory_done(&t);
}
