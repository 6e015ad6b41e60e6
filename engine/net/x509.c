#include "x509.h"

#include "log.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIR_MAX 1024
/* A chain of some RSA certificates; a stranger's is not worth more memory than this. */
#define CERT_LIST_MAX (32 * KIB)

enum { CA, CERT, KEY, CRL, FILES };
static const char *const names[FILES] = {"ca-cert.pem", "server-cert.pem", "server-key.pem",
                                         "ca-crl.pem"};

struct x509 {
    char dir[DIR_MAX];
    SSL_CTX *ctx;
    struct io_stat seen[FILES]; /* as the files were when they were read last */
};

/* One reading of the files, on a thread. */
struct reading {
    const char *dir;
    bool crl;
    SSL_CTX *ctx;
    struct err err;
};

/* ---- reading ---- */

static void path_of(char path[DIR_MAX + 32], const char *dir, unsigned file)
{
    (void)snprintf(path, DIR_MAX + 32, "%s/%s", dir, names[file]);
}

static int refused(struct reading *r, unsigned file, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_GET_LIB(code) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(code))
                                                        : ERR_reason_error_string(code);
    ERR_clear_error();
    return err_set(&r->err, ERR_CONFIG, "%s/%s: %s: %s", r->dir, names[file], what,
                   text ? text : "no reason given");
}

static int read_crl(struct reading *r)
{
    char path[DIR_MAX + 32];
    X509_STORE *store = SSL_CTX_get_cert_store(r->ctx);
    path_of(path, r->dir, CRL);
    if (X509_STORE_load_file(store, path) != 1)
        return refused(r, CRL, "no list of revoked certificates");
    (void)X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return 0;
}

static int read_files(struct reading *r)
{
    char path[DIR_MAX + 32];
    path_of(path, r->dir, CA);
    if (SSL_CTX_load_verify_file(r->ctx, path) != 1)
        return refused(r, CA, "no CA's certificate");
    SSL_CTX_set_client_CA_list(r->ctx, SSL_load_client_CA_file(path));
    path_of(path, r->dir, CERT);
    if (SSL_CTX_use_certificate_chain_file(r->ctx, path) != 1)
        return refused(r, CERT, "no certificate");
    path_of(path, r->dir, KEY);
    if (SSL_CTX_use_PrivateKey_file(r->ctx, path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(r->ctx) != 1)
        return refused(r, KEY, "not the key of server-cert.pem");
    return r->crl ? read_crl(r) : 0;
}

static int configure(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
                   SSL_CTX_set_num_tickets(ctx, 0) == 1
               ? 0
               : -1;
}

static int read_all(void *arg)
{
    struct reading *r = arg;
    ERR_clear_error();
    r->ctx = SSL_CTX_new(TLS_server_method());
    if (!r->ctx || configure(r->ctx) < 0)
        (void)err_set(&r->err, ERR_INTERNAL, "OpenSSL refuses to set up TLS 1.3");
    else
        (void)read_files(r);
    if (r->err.code == ERR_OK)
        return 0;
    SSL_CTX_free(r->ctx);
    r->ctx = NULL;
    return 0;
}

static bool same_files(const struct io_stat *a, const struct io_stat *b)
{
    for (unsigned i = 0; i < FILES; i++)
        if (a[i].mtime_ns != b[i].mtime_ns || a[i].size != b[i].size ||
            a[i].is_file != b[i].is_file)
            return false;
    return true;
}

/* Reads the files if they are not those that were read last. */
static int renew(struct x509 *x, struct err *e)
{
    struct reading r = {.dir = x->dir, .err = ERR_INIT};
    struct io_stat now[FILES] = {0};
    int res;
    for (unsigned i = 0; i < FILES; i++) {
        char path[DIR_MAX + 32];
        path_of(path, x->dir, i);
        res = fio_stat(path, &now[i]);
        if (res < 0 && res != -ENOENT)
            return err_os(e, res, "%s", path);
        if (res < 0)
            now[i] = (struct io_stat){0};
    }
    if (x->ctx && same_files(now, x->seen))
        return 0;
    memcpy(x->seen, now, sizeof now);
    r.crl = now[CRL].is_file;
    res = fio_work(IO_WORK_BLOCKING, read_all, &r);
    if (res < 0)
        return err_os(e, res, "%s", x->dir);
    if (r.err.code != ERR_OK) {
        *e = r.err;
        return -(int)e->code;
    }
    if (x->ctx)
        log_notice("%s: the certificates were renewed", x->dir);
    SSL_CTX_free(x->ctx); /* connections keep theirs */
    x->ctx = r.ctx;
    return 0;
}

int x509_open(struct x509 **out, const char *dir, struct err *e)
{
    struct x509 *x = err_calloc(1, sizeof *x);
    int res;
    (void)snprintf(x->dir, sizeof x->dir, "%s", dir);
    res = renew(x, e);
    if (res < 0)
        x509_free(x);
    else
        *out = x;
    return res;
}

void x509_free(struct x509 *x)
{
    if (!x)
        return;
    SSL_CTX_free(x->ctx);
    free(x);
}

/* ---- the handshake ---- */

/* What OpenSSL's queue, and its look at the client's certificate, say. Clears the queue. */
static int explain(SSL *ssl, struct err *e)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code);
    long verified = SSL_get_verify_result(ssl);
    int reason = ERR_GET_REASON(code);
    ERR_clear_error();
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return err_set(e, ERR_AUTH,
                       "the client shows no certificate; give it one that ca-cert.pem has signed");
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return err_set(e, ERR_AUTH, "the client's certificate is refused: %s",
                       X509_verify_cert_error_string(verified));
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
        return err_set(e, ERR_AUTH, "the client refuses our certificate: %s",
                       text ? text : "no reason given");
    default:
        return err_set(e, ERR_PROTO, "TLS with the client failed: %s",
                       text ? text : "no reason given");
    }
}

int x509_accept(struct x509 *x, struct stream *s, uint64_t timeout_ns, struct err *e)
{
    uint64_t deadline = io_now(fiber_io()) + timeout_ns;
    SSL *ssl;
    BIO *bio;
    int res = renew(x, e);
    if (res == -ERR_CANCELED)
        return res;
    if (res < 0) {
        log_warn("%s; what was read before goes on", e->text);
        *e = (struct err)ERR_INIT;
    }
    ssl = SSL_new(x->ctx);
    if (!ssl)
        return err_set(e, ERR_INTERNAL, "OpenSSL refuses a connection");
    bio = wire_bio(&s->wire);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    res = stream_handshake(s, ssl, deadline);
    if (res == -EPROTO) {
        res = explain(ssl, e);
        stream_linger(s); /* with the alert that tells the client why */
        return res;
    }
    if (res == -ECONNRESET)
        return err_set(e, ERR_NET, "the client closed during the TLS handshake");
    if (res == -ETIMEDOUT)
        return err_set(e, ERR_NET, "no TLS handshake in time");
    return res < 0 ? err_os(e, res, "TLS handshake") : 0;
}

/* ---- who it is ---- */

bool x509_is(const struct stream *s, const char *name)
{
    X509 *cert = SSL_get0_peer_certificate(s->ssl);
    return cert && X509_check_host(cert, name, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1;
}

static int first_dns_name(const X509 *cert, char *dst, size_t cap)
{
    GENERAL_NAMES *its = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int n = -1;
    for (int i = 0; i < sk_GENERAL_NAME_num(its) && n < 0; i++) {
        const GENERAL_NAME *it = sk_GENERAL_NAME_value(its, i);
        if (it->type == GEN_DNS)
            n = snprintf(dst, cap, "%.*s", ASN1_STRING_length(it->d.dNSName),
                         (const char *)ASN1_STRING_get0_data(it->d.dNSName));
    }
    GENERAL_NAMES_free(its);
    return n;
}

void x509_name(const struct stream *s, char dst[X509_NAME_TEXT])
{
    X509 *cert = SSL_get0_peer_certificate(s->ssl);
    dst[0] = '\0';
    if (cert && X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, dst,
                                          X509_NAME_TEXT) <= 0)
        (void)first_dns_name(cert, dst, X509_NAME_TEXT);
    for (char *p = dst; *p; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
    if (!*dst)
        (void)snprintf(dst, X509_NAME_TEXT, "(a client without a name)");
}
