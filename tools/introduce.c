#include "introduce.h"

#include "bytes.h"
#include "client.h"

#include <string.h>

#define CONNECT_NS UINT64_C(10000000000)
#define ANSWER_NS  UINT64_C(30000000000)
#define PROTOCOL   1u

static int ask(struct introduction *i, struct link *l, struct err *e)
{
    char software[] = "relais " RELAIS_VERSION;
    char sign[KEY_WORD_MAX], restore[KEY_WORD_MAX];
    uint8_t id[KEY_FP_LEN], proof[TOKEN_PROOF_LEN], binding[TOKEN_BINDING_LEN];
    struct token_offer offer = {
        .link = *key_public(i->link), .sign = i->sign, .restore = i->restore};
    struct frame_header h;
    Relais__Enrol m;
    int res = link_binding(l, binding, e);
    if (res != 0)
        return res;
    struct key_secret *key = token_key(i->token);
    memcpy(offer.site, i->token->site, sizeof offer.site);
    i->hub = *link_key(l);
    token_prove(proof, key, &offer, &i->hub, binding);
    key_fingerprint(id, key_public(key));
    key_free(key);
    key_public_word(sign, &i->sign);
    key_public_word(restore, &i->restore);
    relais__enrol__init(&m);
    m.version = PROTOCOL;
    m.software = software;
    m.invitation = (ProtobufCBinaryData){sizeof id, id};
    m.site = offer.site;
    m.sign_key = sign;
    m.restore_key = restore;
    m.proof = (ProtobufCBinaryData){sizeof proof, proof};
    res = link_send(l, FRAME_Enrol, 1, &m.base, NULL, 0, e);
    if (res == 0)
        res = link_recv(l, &h, &i->reply, ANSWER_NS, e);
    if (res != 0)
        return res;
    if (h.type == FRAME_Refused) {
        const Relais__Refused *r = i->reply.refused;
        bool known = r->code == ERR_AUTH || r->code == ERR_EXISTS || r->code == ERR_CONFLICT ||
                     r->code == ERR_LIMIT || r->code == ERR_AGAIN;
        return err_set(e, known ? (enum err_code)r->code : ERR_PROTO, "%s", r->text);
    }
    return h.type == FRAME_Enrolled
               ? 0
               : err_set(e, ERR_PROTO, "the hub answers with %s", frame_type_name(h.type));
}

static int try_one(struct introduction *i, struct tls *tls, const struct config_addr *at,
                   struct err *e)
{
    struct io_addr addr = {.port = at->port};
    char text[CONFIG_ADDR_TEXT];
    struct link *l = NULL;
    int fd, res;
    config_addr_text(text, at);
    memcpy(addr.host, at->host, sizeof addr.host);
    fd = fio_connect(&addr, CONNECT_NS);
    if (fd < 0) {
        res = err_os(e, fd, "the hub at %s", text);
        if (e->code != ERR_CANCELED)
            e->code = ERR_NET;
        return res < 0 ? -(int)e->code : res;
    }
    res = link_tls_connect_guest(&l, fd, tls, i->token->pin, TOKEN_PIN_LEN, CONNECT_NS, e);
    if (res == 0)
        res = ask(i, l, e);
    link_close(l);
    return res != 0 ? err_prefix(e, "the hub at %s", text) : 0;
}

struct run {
    struct introduction *i;
    struct tls *tls;
};

static int run(void *arg, struct err *e)
{
    const struct run *r = arg;
    int res = 0;
    for (unsigned k = 0; k < r->i->token->addr_count; k++) {
        r->i->at = r->i->token->addrs[k];
        res = try_one(r->i, r->tls, &r->i->at, e);
        if (res == 0 || e->code == ERR_CANCELED)
            break;
    }
    return res;
}

/* What the hub says of itself goes into a configuration. */
static int check_answer(const Relais__Enrolled *m, struct err *e)
{
    struct key_public key;
    int res = bytes_is_name(m->hub) ? 0
                                    : err_set(e, ERR_PROTO,
                                              "the hub calls itself \"%.60s\", which "
                                              "is no name",
                                              m->hub);
    if (res == 0 && *m->sign_key)
        res = key_public_parse(&key, KEY_SIGN, m->sign_key, e);
    if (res == 0 && *m->escrow)
        res = key_public_parse(&key, KEY_RESTORE, m->escrow, e);
    for (size_t k = 0; k < m->n_link_keys && res == 0; k++)
        res = key_public_parse(&key, KEY_LINK, m->link_keys[k], e);
    for (size_t k = 0; k < m->n_members && res == 0; k++) {
        const Relais__Member *o = m->members[k];
        if (!bytes_is_name(o->name))
            res = err_set(e, ERR_PROTO, "a member is called \"%.60s\", which is no name", o->name);
        if (res == 0 && *o->sign_key)
            res = key_public_parse(&key, KEY_SIGN, o->sign_key, e);
        if (res == 0 && *o->restore_key)
            res = key_public_parse(&key, KEY_RESTORE, o->restore_key, e);
    }
    for (size_t k = 0; k < m->n_reads && res == 0; k++)
        res = config_read_check(m->reads[k], e);
    return res != 0 ? err_prefix(e, "the hub's answer") : 0;
}

int introduce(struct introduction *i, struct err *e)
{
    struct run r = {.i = i};
    int res = tls_new(&r.tls, i->link, NULL, 0, e);
    if (res != 0)
        return res;
    message_init(&i->reply);
    res = client_run(run, &r, e);
    tls_free(r.tls);
    return res == 0 ? check_answer(i->reply.enrolled, e) : res;
}
