/* The certificates and the key of [site] export-tls: there, readable, safe, one pair, in their
 * time, and of use to a server. */
#include "parser.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* From here on people should be told; a certificate of a year is renewed before. */
#define EXPIRES_SOON_S (14 * 86400)

#define CA   "ca-cert.pem"
#define CERT "server-cert.pem"
#define KEY  "server-key.pem"

static void problem(struct parser *p, const struct section *s, const char *file, const char *what)
{
    parser_problem(p, parser_line(s, "export-tls"), s, option_find(SECTION_SITE, "export-tls"),
                   p->config->export_tls, "%s: %s", file, what);
}

static FILE *open_file(struct parser *p, const struct section *s, const char *file)
{
    char path[CONFIG_PATH_MAX + 32];
    FILE *f;
    (void)snprintf(path, sizeof path, "%s/%s", p->config->export_tls, file);
    f = fopen(path, "re");
    if (!f)
        problem(p, s, file, strerror(errno));
    return f;
}

static X509 *read_certificate(struct parser *p, const struct section *s, const char *file)
{
    FILE *f = open_file(p, s, file);
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    if (f && !cert)
        problem(p, s, file, "no certificate in PEM");
    if (f)
        (void)fclose(f);
    ERR_clear_error();
    return cert;
}

/* An encrypted key cannot be used by a daemon that nobody types to. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static EVP_PKEY *read_key(struct parser *p, const struct section *s)
{
    char text[160];
    struct stat st;
    FILE *f = open_file(p, s, KEY);
    EVP_PKEY *key = NULL;
    if (!f)
        return NULL;
    if (fstat(fileno(f), &st) == 0 && st.st_mode & 077) {
        (void)snprintf(text, sizeof text, "others may read it (mode %03o); run: chmod 600",
                       (unsigned)st.st_mode & 0777);
        problem(p, s, KEY, text);
    } else {
        key = PEM_read_PrivateKey(f, NULL, no_passphrase, NULL);
        if (!key)
            problem(p, s, KEY, "no private key in PEM, or one with a passphrase");
    }
    (void)fclose(f);
    ERR_clear_error();
    return key;
}

/* Dates are warned of only: a daemon that did not start would serve, and replicate, nothing at all.
 */
static void check_dates(struct parser *p, const struct section *s, const char *file,
                        const X509 *cert)
{
    const ASN1_TIME *from = X509_get0_notBefore(cert), *until = X509_get0_notAfter(cert);
    int days = 0, seconds = 0, line = parser_line(s, "export-tls");
    if (X509_cmp_current_time(from) > 0)
        parser_warning(p, line, "%s/%s is not valid yet; clients will refuse it",
                       p->config->export_tls, file);
    if (X509_cmp_current_time(until) < 0)
        parser_warning(p, line, "%s/%s has expired; clients over TCP are lost until it is renewed",
                       p->config->export_tls, file);
    else if (ASN1_TIME_diff(&days, &seconds, NULL, until) &&
             days * 86400 + seconds < EXPIRES_SOON_S)
        parser_warning(p, line, "%s/%s expires in %d days; renew it", p->config->export_tls, file,
                       days);
}

static void check_use(struct parser *p, const struct section *s, X509 *cert)
{
    uint32_t usage = X509_get_key_usage(cert), extended = X509_get_extended_key_usage(cert);
    if (X509_check_ca(cert))
        problem(p, s, CERT, "a CA's certificate; the server needs one that the CA has signed");
    if (usage != UINT32_MAX && !(usage & KU_DIGITAL_SIGNATURE))
        problem(p, s, CERT, "its key usage lacks digitalSignature, which TLS 1.3 needs");
    if (extended != UINT32_MAX && !(extended & (XKU_SSL_SERVER | XKU_ANYEKU)))
        problem(p, s, CERT, "its extended key usage lacks serverAuth: clients would refuse it");
}

void check_tls(struct parser *p, const struct section *site)
{
    X509 *ca, *cert;
    EVP_PKEY *key;
    if (!*p->config->export_tls)
        return;
    ca = read_certificate(p, site, CA);
    cert = read_certificate(p, site, CERT);
    key = read_key(p, site);
    if (ca && !X509_check_ca(ca))
        problem(p, site, CA, "not a CA's certificate (basicConstraints CA:TRUE)");
    if (ca)
        check_dates(p, site, CA, ca);
    if (cert) {
        check_use(p, site, cert);
        check_dates(p, site, CERT, cert);
    }
    if (cert && key && X509_check_private_key(cert, key) != 1)
        problem(p, site, KEY, "not the key of " CERT);
    ERR_clear_error();
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(key);
}
