#include "digest.h"

#include "bytes.h"
#include "err.h"

#include <pthread.h>
#include <string.h>

#include <openssl/evp.h>

/* Looking an algorithm up by name costs more than digesting a sector does: once is enough. It lives
 * as long as the program. */
static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void digest_of(struct digest *out, const void *p, size_t len)
{
    unsigned n = 0;
    ASSERT(pthread_once(&sha256_once, fetch) == 0 && sha256);
    ASSERT(EVP_Digest(len ? p : "", len, out->b, &n, sha256, NULL) == 1 && n == DIGEST_LEN);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

bool digest_is_zero(const struct digest *d)
{
    return bytes_zero(d->b, DIGEST_LEN);
}

void digest_hex(char dst[DIGEST_HEX], const struct digest *d)
{
    bytes_hex(dst, d->b, DIGEST_LEN);
}
