#include "delta.h"

#include <string.h>

static const char header_magic[8] = {'R', 'E', 'L', 'A', 'I', 'S', 'D', '1'};
static const char trailer_magic[8] = {'R', 'E', 'L', 'A', 'I', 'S', 'E', '1'};

void delta_header(uint8_t dst[DELTA_HEADER_LEN])
{
    memcpy(dst, header_magic, 8);
    bytes_set_le32(dst + 8, DELTA_VERSION);
    bytes_set_le32(dst + 12, 0);
}

int delta_header_check(const uint8_t src[DELTA_HEADER_LEN], struct err *e)
{
    if (memcmp(src, header_magic, 8) != 0)
        return err_set(e, ERR_INPUT, "not a delta: it does not start with \"RELAISD1\"");
    if (bytes_le32(src + 8) != DELTA_VERSION || bytes_le32(src + 12) != 0)
        return err_set(e, ERR_INPUT,
                       "the delta is of version %u (flags %u); this relais knows version %u: "
                       "upgrade it",
                       bytes_le32(src + 8), bytes_le32(src + 12), DELTA_VERSION);
    return 0;
}

void delta_trailer(uint8_t dst[DELTA_TRAILER_LEN], uint32_t manifest_len)
{
    bytes_set_le32(dst, manifest_len);
    bytes_set_le32(dst + 4, 0);
    memcpy(dst + 8, trailer_magic, 8);
}

int delta_trailer_parse(const uint8_t src[DELTA_TRAILER_LEN], uint64_t file_len, uint64_t *place,
                        uint32_t *len, struct err *e)
{
    uint32_t n = bytes_le32(src);
    if (memcmp(src + 8, trailer_magic, 8) != 0)
        return err_set(e, ERR_INPUT,
                       "not a whole delta: it does not end with \"RELAISE1\" (was it cut off?)");
    if (bytes_le32(src + 4) != 0)
        return err_set(e, ERR_INPUT, "the trailer of the delta has flags %u that are not known",
                       bytes_le32(src + 4));
    if (n == 0 || n > MANIFEST_MAX)
        return err_set(e, ERR_INPUT, "a manifest of %u bytes is not possible (at most %u)", n,
                       (unsigned)MANIFEST_MAX);
    if (file_len < DELTA_HEADER_LEN + DELTA_TRAILER_LEN + (uint64_t)n)
        return err_set(e, ERR_INPUT,
                       "the delta has %llu bytes, too few for its header, a manifest of %u and the "
                       "trailer",
                       (unsigned long long)file_len, n);
    if (file_len > DELTA_MAX + n + DELTA_TRAILER_LEN)
        return err_set(e, ERR_INPUT, "the delta has %llu bytes; at most %llu are possible",
                       (unsigned long long)file_len,
                       (unsigned long long)(DELTA_MAX + n + DELTA_TRAILER_LEN));
    *place = file_len - DELTA_TRAILER_LEN - n;
    *len = n;
    return 0;
}

uint64_t delta_file_len(const struct manifest *m, uint32_t manifest_len)
{
    return manifest_place(m) + manifest_len + DELTA_TRAILER_LEN;
}
