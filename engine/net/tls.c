#include "tls.h"

#include "bytes.h"
#include "digest.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#define FP_HEX (2 * KEY_FP_LEN + 1)
/* A certificate of ours has some 230 bytes; a stranger's chain is not worth more memory than this.
 */
#define CERT_LIST_MAX 4096

/* Links point at the peer they are with, so entries stay where they are, and stay. */
struct pinned {
    struct tls_peer peer;
    bool gone;
};

struct tls {
    SSL_CTX *ctx;
    struct key_public key; /* ours */
    struct pinned **peers;
    size_t count;
    bool guests; /* welcome */
};

static const unsigned char guest_protocol[] = "\x0e"
                                              "relais-enrol/1";
#define GUEST_PROTOCOL_LEN (sizeof guest_protocol - 1)

static void fingerprint(char dst[FP_HEX], const struct key_public *key)
{
    uint8_t fp[KEY_FP_LEN];
    key_fingerprint(fp, key);
    bytes_hex(dst, fp, sizeof fp);
}

const struct tls_peer *tls_peer(const struct tls *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (!t->peers[i]->gone && strcmp(t->peers[i]->peer.name, name) == 0)
            return &t->peers[i]->peer;
    return NULL;
}

/* Of one name, which may have several keys; any without an `expect`. */
static bool is_expected(const struct tls_peer *expect, const struct tls_peer *peer)
{
    return !expect || strcmp(expect->name, peer->name) == 0;
}

/* Whose key it is; `expect` first, should two names share a key. */
static const struct tls_peer *owner_of(const struct tls *t, const struct tls_peer *expect,
                                       const struct key_public *key)
{
    const struct tls_peer *other = NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct pinned *p = t->peers[i];
        if (p->gone || memcmp(p->peer.key.b, key->b, KEY_LEN) != 0)
            continue;
        if (is_expected(expect, &p->peer))
            return &p->peer;
        if (!other)
            other = &p->peer;
    }
    return other;
}

static bool leaf_key(X509_STORE_CTX *store, struct key_public *out)
{
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *key = leaf ? X509_get0_pubkey(leaf) : NULL;
    size_t len = KEY_LEN;
    out->kind = KEY_LINK;
    return key && EVP_PKEY_id(key) == EVP_PKEY_ED25519 &&
           EVP_PKEY_get_raw_public_key(key, out->b, &len) == 1 && len == KEY_LEN;
}

static bool is_pinned(const struct tls_verdict *v)
{
    struct digest d;
    digest_of(&d, v->key.b, KEY_LEN);
    ASSERT(v->pin_len > 0 && v->pin_len <= DIGEST_LEN);
    return memcmp(d.b, v->pin, v->pin_len) == 0;
}

/* Who showed this key; NULL: nobody that is let in. */
static const struct tls_peer *judge(const struct tls *t, struct tls_verdict *v)
{
    if (!v->shown)
        return NULL;
    if (!v->pin && !v->guest)
        return owner_of(t, v->expect, &v->key);
    v->visitor.key = v->key;
    return !v->pin || is_pinned(v) ? &v->visitor : NULL;
}

/* Takes the place of OpenSSL's chain building: the certificate is only the carrier of a key, and
 * that the peer holds its secret half is proven by the handshake's signature right after this. */
static int check_peer(X509_STORE_CTX *store, void *arg)
{
    const struct tls *t = arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_verdict *v = SSL_get_app_data(ssl);
    v->shown = leaf_key(store, &v->key);
    v->peer = judge(t, v);
    v->refused = !v->peer || !is_expected(v->expect, v->peer);
    if (v->refused) {
        /* The alert that follows from this code, unknown_ca, is how the other end learns why. */
        X509_STORE_CTX_set_error(store, X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* A client that offers a protocol by name asks to come in as a guest; peers offer none. Where no
 * guest is expected the handshake ends here, before anything is computed for it. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    const struct tls *t = arg;
    struct tls_verdict *v = SSL_get_app_data(ssl);
    unsigned char *chosen = NULL;
    if (!t->guests || SSL_select_next_proto(&chosen, out_len, guest_protocol, GUEST_PROTOCOL_LEN,
                                            in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    v->guest = true;
    return SSL_TLSEXT_ERR_OK;
}

static bool has_aes(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & HWCAP_AES) != 0;
#else
    return false;
#endif
}

/* The certificate says nothing but the key: fixed times, since nobody looks at them and a wrong
 * clock must not stop a hospital from replicating. */
static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    if (!cert)
        return NULL;
    X509_NAME *name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) &&
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
        ASN1_TIME_set_string_X509(X509_getm_notBefore(cert), "20000101000000Z") &&
        ASN1_TIME_set_string_X509(X509_getm_notAfter(cert), "99991231235959Z") &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"relais", -1,
                                   -1, 0) &&
        X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
        X509_sign(cert, key, NULL))
        return cert;
    X509_free(cert);
    return NULL;
}

static bool use_key(SSL_CTX *ctx, const struct key_secret *link_key)
{
    /* libsodium's Ed25519 secret is the 32-byte seed, then the public key. */
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key_secret_bytes(link_key), KEY_LEN);
    X509 *cert = key ? make_certificate(key) : NULL;
    bool ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok;
}

static bool configure(SSL_CTX *ctx)
{
    static const unsigned char id[] = "relais";
    static char groups[] = "X25519", sigalgs[] = "ed25519"; /* OpenSSL's macros cast const away */
    const char *ciphers = has_aes() ? "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
                                    : "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_security_level(ctx, 3); /* 128 bits */
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, ciphers) == 1 &&
           SSL_CTX_set1_groups_list(ctx, groups) == 1 &&
           SSL_CTX_set1_sigalgs_list(ctx, sigalgs) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1 &&
           SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) == 1;
}

/* The newest reason in OpenSSL's queue; clears it. */
static const char *queue_reason(int *reason)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);
    *reason = ERR_GET_REASON(code);
    ERR_clear_error();
    return text ? text : "no reason given";
}

static void add_peer(struct tls *t, const struct tls_peer *peer)
{
    ASSERT(peer->key.kind == KEY_LINK);
    t->peers = err_realloc(t->peers, (t->count + 1) * sizeof(*t->peers));
    t->peers[t->count] = err_calloc(1, sizeof(**t->peers));
    t->peers[t->count++]->peer = *peer;
}

void tls_pin(struct tls *t, const struct tls_peer *peer)
{
    tls_unpin(t, peer->name);
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->peers[i]->peer.name, peer->name) == 0 &&
            memcmp(t->peers[i]->peer.key.b, peer->key.b, KEY_LEN) == 0) {
            t->peers[i]->gone = false;
            return;
        }
    add_peer(t, peer);
}

void tls_unpin(struct tls *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->peers[i]->peer.name, name) == 0)
            t->peers[i]->gone = true;
}

void tls_welcome_guests(struct tls *t, bool welcome)
{
    t->guests = welcome;
}

const struct key_public *tls_key(const struct tls *t)
{
    return &t->key;
}

int tls_new(struct tls **out, const struct key_secret *link_key, const struct tls_peer *peers,
            size_t count, struct err *e)
{
    struct tls *t = err_calloc(1, sizeof *t);
    int reason;
    ASSERT(key_kind(link_key) == KEY_LINK);
    ASSERT(count <= PEERS_MAX);
    t->key = *key_public(link_key);
    for (size_t i = 0; i < count; i++)
        add_peer(t, &peers[i]);
    t->ctx = SSL_CTX_new(TLS_method());
    if (!t->ctx || !configure(t->ctx) || !use_key(t->ctx, link_key)) {
        (void)err_set(e, ERR_INTERNAL, "OpenSSL refuses to set up TLS 1.3: %s",
                      queue_reason(&reason));
        tls_free(t);
        return -(int)e->code;
    }
    SSL_CTX_set_cert_verify_callback(t->ctx, check_peer, t);
    SSL_CTX_set_alpn_select_cb(t->ctx, choose_protocol, t);
    *out = t;
    return 0;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    for (size_t i = 0; i < t->count; i++)
        free(t->peers[i]);
    free(t->peers);
    free(t);
}

int tls_open(SSL **out, struct tls *t, bool server, BIO *bio, struct tls_verdict *v, struct err *e)
{
    int reason;
    SSL *ssl = SSL_new(t->ctx);
    /* SSL_set_alpn_protos tells success by 0. */
    if (!ssl || !SSL_set_app_data(ssl, v) ||
        (v->pin && SSL_set_alpn_protos(ssl, guest_protocol, GUEST_PROTOCOL_LEN) != 0)) {
        SSL_free(ssl);
        BIO_free(bio);
        return err_set(e, ERR_INTERNAL, "OpenSSL refuses a connection: %s", queue_reason(&reason));
    }
    SSL_set_bio(ssl, bio, bio);
    if (server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    *out = ssl;
    return 0;
}

static int refused_here(const struct tls_verdict *v, bool server, struct err *e)
{
    char fp[FP_HEX];
    if (!v->shown)
        return err_set(e, ERR_AUTH,
                       "the peer shows a certificate without an Ed25519 key: it is "
                       "no relaisd, or not one of this version");
    fingerprint(fp, &v->key);
    if (server)
        return err_set(e, ERR_AUTH,
                       "the client shows key %s, which is pinned for no peer; if it is one of "
                       "ours, put its public key into its [peer NAME] section",
                       fp);
    if (v->pin) {
        char pin[2 * DIGEST_LEN + 1];
        bytes_hex(pin, v->pin, v->pin_len);
        return err_set(e, ERR_AUTH,
                       "whoever answers there shows key %s, but the invitation is of the hub with "
                       "key %.16s: another machine answers in its place, or the hub has a new key; "
                       "nothing was told to it",
                       fp, pin);
    }
    if (v->peer)
        return err_set(e, ERR_AUTH,
                       "the peer shows key %s of %s where %s was expected; check the addresses "
                       "of [peer %s]",
                       fp, v->peer->name, v->expect->name, v->expect->name);
    return err_set(e, ERR_AUTH,
                   "the peer shows key %s, which is not pinned for %s; compare with `relais "
                   "keygen --show` there",
                   fp, v->expect ? v->expect->name : "any peer");
}

int tls_error(const struct tls *t, const struct tls_verdict *v, bool server, struct err *e)
{
    char fp[FP_HEX];
    int reason;
    const char *text = queue_reason(&reason);
    if (v->refused)
        return refused_here(v, server, e);
    switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
        fingerprint(fp, &t->key);
        return err_set(e, ERR_AUTH,
                       "the peer refuses our key %s; its configuration must pin it for us", fp);
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
        return err_set(e, ERR_AUTH,
                       "the hub expects nobody: the invitation was used, withdrawn, or has "
                       "expired; ask for a new one");
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return err_set(e, ERR_AUTH, "a guest came, and no invitation is open");
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return err_set(e, ERR_AUTH, "the client shows no key; it is no relaisd");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
    case SSL_R_HTTP_REQUEST:
        return err_set(e, ERR_PROTO, "the peer does not speak TLS 1.3 (%s); is it relaisd?", text);
    default:
        return err_set(e, ERR_PROTO, "TLS with the peer failed: %s", text);
    }
}
