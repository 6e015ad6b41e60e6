#include "bytes.h"

#include "bounds.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

struct bytes_in bytes_in(const void *p, size_t len)
{
    const uint8_t *at = p;
    return (struct bytes_in){at, len ? at + len : at, false};
}

size_t bytes_left(const struct bytes_in *b)
{
    return b->bad ? 0 : (size_t)(b->end - b->at);
}

const uint8_t *bytes_view(struct bytes_in *b, size_t len)
{
    const uint8_t *p = b->at;
    if (b->bad || (size_t)(b->end - b->at) < len) {
        b->bad = true;
        return NULL;
    }
    b->at += len;
    return p;
}

void bytes_get(struct bytes_in *b, void *dst, size_t len)
{
    const uint8_t *p = bytes_view(b, len);
    if (p && len)
        memcpy(dst, p, len);
    else if (len)
        memset(dst, 0, len);
}

uint8_t bytes_get_u8(struct bytes_in *b)
{
    const uint8_t *p = bytes_view(b, 1);
    return p ? p[0] : 0;
}

uint16_t bytes_get_u16(struct bytes_in *b)
{
    const uint8_t *p = bytes_view(b, 2);
    return p ? (uint16_t)((unsigned)p[0] | (unsigned)p[1] << 8) : 0;
}

uint32_t bytes_get_u32(struct bytes_in *b)
{
    const uint8_t *p = bytes_view(b, 4);
    return p ? bytes_le32(p) : 0;
}

uint64_t bytes_get_u64(struct bytes_in *b)
{
    const uint8_t *p = bytes_view(b, 8);
    return p ? bytes_le64(p) : 0;
}

uint64_t bytes_get_varint(struct bytes_in *b)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = bytes_get_u8(b);
        if (b->bad)
            return 0;
        if (shift == 63 && byte > 1)
            break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            if (byte == 0 && shift > 0)
                break;
            return v;
        }
    }
    b->bad = true;
    return 0;
}

void bytes_get_str(struct bytes_in *b, char *dst, size_t cap)
{
    size_t len = bytes_get_u8(b);
    const uint8_t *p = bytes_view(b, len);
    dst[0] = '\0';
    if (!p)
        return;
    if (len >= cap || memchr(p, 0, len)) {
        b->bad = true;
        return;
    }
    memcpy(dst, p, len);
    dst[len] = '\0';
}

struct bytes_out bytes_out(size_t max)
{
    return (struct bytes_out){NULL, 0, 0, max, false};
}

void bytes_free(struct bytes_out *b)
{
    free(b->p);
    *b = bytes_out(b->max);
}

void bytes_put(struct bytes_out *b, const void *src, size_t len)
{
    if (b->bad || len > b->max - b->len) {
        b->bad = true;
        return;
    }
    if (len > b->cap - b->len) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < b->len + len)
            cap *= 2;
        b->cap = cap < b->max ? cap : b->max;
        b->p = err_realloc(b->p, b->cap);
    }
    if (len)
        memcpy(b->p + b->len, src, len);
    b->len += len;
}

void bytes_put_u8(struct bytes_out *b, uint8_t v)
{
    bytes_put(b, &v, 1);
}

void bytes_put_u16(struct bytes_out *b, uint16_t v)
{
    uint8_t p[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    bytes_put(b, p, sizeof p);
}

void bytes_put_u32(struct bytes_out *b, uint32_t v)
{
    uint8_t p[4];
    bytes_set_le32(p, v);
    bytes_put(b, p, sizeof p);
}

void bytes_put_u64(struct bytes_out *b, uint64_t v)
{
    uint8_t p[8];
    bytes_set_le64(p, v);
    bytes_put(b, p, sizeof p);
}

void bytes_put_varint(struct bytes_out *b, uint64_t v)
{
    uint8_t p[10];
    size_t n = 0;
    do {
        p[n] = (uint8_t)(v & 0x7f);
        v >>= 7;
        if (v)
            p[n] |= 0x80;
        n++;
    } while (v);
    bytes_put(b, p, n);
}

void bytes_put_str(struct bytes_out *b, const char *s)
{
    size_t n = strlen(s);
    if (n > 255) {
        b->bad = true;
        return;
    }
    bytes_put_u8(b, (uint8_t)n);
    bytes_put(b, s, n);
}

void bytes_set_le32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void bytes_set_le64(uint8_t *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

bool bytes_zero(const void *p, size_t len)
{
    /* memcmp against itself, shifted: the library's vector loop does the work. */
    const uint8_t *b = p;
    if (len == 0)
        return true;
    return b[0] == 0 && (len == 1 || memcmp(b, b + 1, len - 1) == 0);
}

void bytes_hex(char *dst, const void *src, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = src;
    for (size_t i = 0; i < len; i++) {
        dst[2 * i] = digits[p[i] >> 4];
        dst[2 * i + 1] = digits[p[i] & 15];
    }
    dst[2 * len] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int bytes_unhex(void *dst, size_t len, const char *hex)
{
    uint8_t *p = dst;
    if (strlen(hex) != 2 * len)
        return -1;
    for (size_t i = 0; i < len; i++) {
        int hi = hex_digit(hex[2 * i]), lo = hex_digit(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return -1;
        p[i] = (uint8_t)(hi << 4 | lo);
    }
    return 0;
}

bool bytes_is_name(const char *s)
{
    size_t n = 0;
    for (; s[n]; n++) {
        bool alnum = (s[n] >= 'a' && s[n] <= 'z') || (s[n] >= '0' && s[n] <= '9');
        if (!alnum && !(n > 0 && s[n] == '-'))
            return false;
        if (n >= NAME_MAX_LEN)
            return false;
    }
    return n > 0;
}
