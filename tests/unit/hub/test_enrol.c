/* enrol: a guest becomes a member by proving an invitation, over the connection that it is on and
 * with the key that it shows; what else a guest tries is refused, counted, and changes nothing. */
#include "hub_fixture.h"
#include "session.h"
#include "token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MEMORY (16 * PART_SIZE)

struct guest {
    struct key_secret *link, *sign, *restore;
    struct tls *tls;
    struct token token;
};

static void guest_make(struct guest *g, struct hub_fixture *f, const char *site)
{
    struct err e = ERR_INIT;
    g->link = key_generate(KEY_LINK, NULL);
    g->sign = key_generate(KEY_SIGN, NULL);
    g->restore = key_generate(KEY_RESTORE, NULL);
    g->token = (struct token){.addr_count = 1};
    (void)snprintf(g->token.site, sizeof g->token.site, "%s", site);
    token_draw(&g->token, tls_key(f->hub->tls));
    assert_int_equal(tls_new(&g->tls, g->link, NULL, 0, &e), 0);
}

static void guest_free(struct guest *g)
{
    tls_free(g->tls);
    key_free(g->link);
    key_free(g->sign);
    key_free(g->restore);
}

static void invite(struct hub_fixture *f, const struct token *t, bool approved)
{
    struct key_secret *k = token_key(t);
    struct enrolled next;
    unsigned broken;
    int64_t now = roster_now(f->hub);
    MUST(roster_begin(f->hub, &next, err));
    MUST(register_invite(&next, t->site, key_public(k), NULL, approved, now, now + 60, err));
    MUST(roster_commit(f->hub, &next, &broken, err));
    key_free(k);
}

static int dial(struct link **out, const struct hub_fixture *f, const struct guest *g,
                struct err *e)
{
    struct io_addr addr = {.port = f->config.listen.port};
    memcpy(addr.host, f->config.listen.host, sizeof addr.host);
    int fd = fio_connect(&addr, 5 * IO_S);
    assert_true(fd >= 0);
    return link_tls_connect_guest(out, fd, g->tls, g->token.pin, TOKEN_PIN_LEN, 5 * IO_S, e);
}

/* What goes wrong in the proof. */
enum trick { HONEST, OTHER_INVITATION, OTHER_CONNECTION, OTHER_SIGN_KEY };

static int ask(struct link *l, const struct guest *g, enum trick trick, struct err *e)
{
    char site[NAME_MAX_LEN + 1], sign[KEY_WORD_MAX], restore[KEY_WORD_MAX];
    uint8_t id[KEY_FP_LEN], proof[TOKEN_PROOF_LEN], binding[LINK_BINDING_LEN];
    struct token_offer o = {.link = *key_public(g->link),
                            .sign = *key_public(g->sign),
                            .restore = *key_public(g->restore)};
    struct token other = g->token;
    struct frame_header h;
    struct message m;
    Relais__Enrol req;
    MUST(link_binding(l, binding, err));
    other.secret[0] ^= 1;
    struct key_secret *k = token_key(&g->token), *wrong = token_key(&other);
    (void)snprintf(o.site, sizeof o.site, "%s", g->token.site);
    binding[0] ^= trick == OTHER_CONNECTION;
    token_prove(proof, trick == OTHER_INVITATION ? wrong : k, &o, link_key(l), binding);
    key_fingerprint(id, key_public(k));
    key_public_word(sign, key_public(g->sign));
    if (trick == OTHER_SIGN_KEY)
        key_public_word(sign, key_public(sign_key(LENS)));
    key_public_word(restore, key_public(g->restore));
    (void)snprintf(site, sizeof site, "%s", g->token.site);
    key_free(k);
    key_free(wrong);
    relais__enrol__init(&req);
    req.version = HUB_PROTOCOL;
    req.invitation = (ProtobufCBinaryData){sizeof id, id};
    req.site = site;
    req.sign_key = sign;
    req.restore_key = restore;
    req.proof = (ProtobufCBinaryData){sizeof proof, proof};
    message_init(&m);
    int rc = link_send(l, FRAME_Enrol, 1, &req.base, NULL, 0, e);
    if (rc == 0)
        rc = link_recv(l, &h, &m, 5 * IO_S, e);
    if (rc == 0 && h.type == FRAME_Refused)
        rc = err_set(e, (enum err_code)m.refused->code, "%s", m.refused->text);
    message_free(&m);
    return rc;
}

static int enrol(struct hub_fixture *f, const struct guest *g, enum trick trick, struct err *e)
{
    struct link *l = NULL;
    int rc = dial(&l, f, g, e);
    if (rc == 0)
        rc = ask(l, g, trick, e);
    link_close(l);
    return rc;
}

/* A member's connection, as its daemon makes it. */
static int connect_member(struct hub_fixture *f, const struct guest *g, struct caller **out,
                          struct err *e)
{
    struct io_addr addr = {.port = f->config.listen.port};
    struct tls_peer hub = {.name = "arras", .key = *tls_key(f->hub->tls)};
    struct link *l = NULL;
    tls_pin(g->tls, &hub);
    memcpy(addr.host, f->config.listen.host, sizeof addr.host);
    int fd = fio_connect(&addr, 5 * IO_S);
    assert_true(fd >= 0);
    int rc = link_tls_connect(&l, fd, g->tls, "arras", 5 * IO_S, e);
    return rc < 0 ? rc : caller_new(out, l, e);
}

static void start(struct hub_fixture *f)
{
    fixture_start(f, MEMORY, 16);
    (void)snprintf(f->config.state_dir, sizeof f->config.state_dir, "%s/state", f->dir);
    assert_int_equal(mkdir(f->config.state_dir, 0700), 0);
}

static void nobody_is_let_in_while_nobody_is_invited(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    REFUSED(ERR_AUTH, "expects nobody", enrol(&f, &g, HONEST, err));
    assert_null(roster_find(f.hub, "paris"));
    guest_free(&g);
    fixture_stop(&f);
}

static void a_member_serves_at_once_and_after_a_restart(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    struct caller *c = NULL;
    uint64_t rp;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, true);
    MUST(enrol(&f, &g, HONEST, err));
    MUST(connect_member(&f, &g, &c, err));
    MUST(ask_head(c, &rp, NULL, NULL, err));
    caller_free(c);
    fixture_restart(&f);
    MUST(connect_member(&f, &g, &c, err));
    caller_free(c);
    guest_free(&g);
    fixture_stop(&f);
}

static void who_waits_for_approval_is_told_so(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    struct caller *c = NULL;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, false);
    MUST(enrol(&f, &g, HONEST, err));
    REFUSED(ERR_AUTH, "nobody has approved it yet", connect_member(&f, &g, &c, err));
    guest_free(&g);
    fixture_stop(&f);
}

static void a_proof_fits_one_invitation_one_connection_and_one_set_of_keys(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, true);
    REFUSED(ERR_AUTH, "does not prove", enrol(&f, &g, OTHER_INVITATION, err));
    REFUSED(ERR_AUTH, "does not prove", enrol(&f, &g, OTHER_CONNECTION, err));
    REFUSED(ERR_AUTH, "does not prove", enrol(&f, &g, OTHER_SIGN_KEY, err));
    assert_null(roster_find(f.hub, "paris"));
    MUST(enrol(&f, &g, HONEST, err)); /* it still holds */
    guest_free(&g);
    fixture_stop(&f);
}

static void attempts_in_vain_are_limited_by_address(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, true);
    for (unsigned i = 0; i < HUB_GUESSES_FROM; i++)
        REFUSED(ERR_AUTH, "does not prove", enrol(&f, &g, OTHER_INVITATION, err));
    REFUSED(ERR_AGAIN, "try again in a minute", enrol(&f, &g, HONEST, err));
    /* A minute later. */
    for (unsigned i = 0; i < HUB_GUESSES; i++)
        f.hub->guesses[i].at = f.hub->guesses[i].at ? 1 : 0;
    MUST(enrol(&f, &g, HONEST, err));
    guest_free(&g);
    fixture_stop(&f);
}

static void a_guest_gets_at_nothing_else(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    struct link *l = NULL;
    struct frame_header h;
    struct message m;
    struct err e = ERR_INIT;
    char group[] = "records";
    Relais__HeadGet get;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, true);
    MUST(dial(&l, &f, &g, err));
    relais__head_get__init(&get);
    get.group = group;
    MUST(link_send(l, FRAME_HeadGet, 1, &get.base, NULL, 0, err));
    message_init(&m);
    assert_int_equal(link_recv(l, &h, &m, 5 * IO_S, &e), 0);
    assert_int_equal(h.type, FRAME_Refused);
    assert_int_equal(m.refused->code, ERR_PROTO);
    assert_true(link_recv(l, &h, &m, 5 * IO_S, &e) < 0);
    message_free(&m);
    link_close(l);
    guest_free(&g);
    fixture_stop(&f);
}

static void revoking_breaks_its_connections_and_no_others(void *arg)
{
    struct hub_fixture f = {0};
    struct guest g;
    struct caller *c = NULL, *lens = NULL;
    struct enrolled next;
    unsigned broken = 0;
    uint64_t rp;
    struct err e = ERR_INIT;
    (void)arg;
    start(&f);
    guest_make(&g, &f, "paris");
    invite(&f, &g.token, true);
    MUST(enrol(&f, &g, HONEST, err));
    MUST(connect_member(&f, &g, &c, err));
    lens = client(&f, LENS);
    MUST(roster_begin(f.hub, &next, err));
    MUST(register_revoke(&next, "paris", key_public(g.link), "", roster_now(f.hub), err));
    MUST(roster_commit(f.hub, &next, &broken, err));
    assert_int_equal(broken, 1);
    assert_true(ask_head(c, &rp, NULL, NULL, &e) < 0);
    caller_free(c);
    c = NULL;
    REFUSED(ERR_AUTH, "refuses our key", connect_member(&f, &g, &c, err));
    MUST(ask_head(lens, &rp, NULL, NULL, err));
    caller_free(lens);
    /* A peer of relais.conf is revoked by its key as well, and stays so. */
    MUST(roster_begin(f.hub, &next, err));
    MUST(register_revoke(&next, "lens", &roster_find(f.hub, "lens")->links[0], "",
                         roster_now(f.hub), err));
    MUST(roster_commit(f.hub, &next, &broken, err));
    REFUSED(ERR_AUTH, "refuses our key", try_client(&f, LENS, &lens, err));
    guest_free(&g);
    fixture_stop(&f);
}

#define IN_LOOP(name)                                                                              \
    static void name##_test(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        hub_run(name, NULL);                                                                       \
    }
IN_LOOP(nobody_is_let_in_while_nobody_is_invited)
IN_LOOP(a_member_serves_at_once_and_after_a_restart)
IN_LOOP(who_waits_for_approval_is_told_so)
IN_LOOP(a_proof_fits_one_invitation_one_connection_and_one_set_of_keys)
IN_LOOP(attempts_in_vain_are_limited_by_address)
IN_LOOP(a_guest_gets_at_nothing_else)
IN_LOOP(revoking_breaks_its_connections_and_no_others)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_is_let_in_while_nobody_is_invited_test),
        cmocka_unit_test(a_member_serves_at_once_and_after_a_restart_test),
        cmocka_unit_test(who_waits_for_approval_is_told_so_test),
        cmocka_unit_test(a_proof_fits_one_invitation_one_connection_and_one_set_of_keys_test),
        cmocka_unit_test(attempts_in_vain_are_limited_by_address_test),
        cmocka_unit_test(a_guest_gets_at_nothing_else_test),
        cmocka_unit_test(revoking_breaks_its_connections_and_no_others_test),
    };
    return cmocka_run_group_tests(tests, hub_keys_make, hub_keys_free);
}
