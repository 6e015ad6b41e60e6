/* bytes.h: bounded reading and writing of little-endian bytes.
 *
 * `struct bytes_in` is a cursor over memory that somebody else owns. A read past the end sets
 * `bad`, and from then on every read gives zeroes: a parser reads a whole record and asks bytes_bad
 * once. `struct bytes_out` grows up to a maximum that its owner sets; past it, `bad` is set and
 * further writes are dropped. Pure; no allocation on the reading side. */
#ifndef RELAIS_BYTES_H
#define RELAIS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes_in {
    const uint8_t *at, *end;
    bool bad;
};

struct bytes_in bytes_in(const void *p, size_t len);
uint8_t bytes_get_u8(struct bytes_in *b);
uint16_t bytes_get_u16(struct bytes_in *b);
uint32_t bytes_get_u32(struct bytes_in *b);
uint64_t bytes_get_u64(struct bytes_in *b);
/* LEB128, at most 10 bytes, shortest form only (a padded encoding is bad: one value, one form). */
uint64_t bytes_get_varint(struct bytes_in *b);
/* Copies len bytes to dst (zeroes when bad). */
void bytes_get(struct bytes_in *b, void *dst, size_t len);
/* A view of the next len bytes, or NULL when bad. */
const uint8_t *bytes_view(struct bytes_in *b, size_t len);
/* u8 length then text without NUL; copies at most cap-1 bytes and terminates; longer text is bad.
 */
void bytes_get_str(struct bytes_in *b, char *dst, size_t cap);
size_t bytes_left(const struct bytes_in *b);
static inline bool bytes_bad(const struct bytes_in *b)
{
    return b->bad;
}

struct bytes_out {
    uint8_t *p;
    size_t len, cap, max;
    bool bad;
};

/* Nothing is allocated until the first write. Free with bytes_free. */
struct bytes_out bytes_out(size_t max);
void bytes_free(struct bytes_out *b);
void bytes_put(struct bytes_out *b, const void *src, size_t len);
void bytes_put_u8(struct bytes_out *b, uint8_t v);
void bytes_put_u16(struct bytes_out *b, uint16_t v);
void bytes_put_u32(struct bytes_out *b, uint32_t v);
void bytes_put_u64(struct bytes_out *b, uint64_t v);
void bytes_put_varint(struct bytes_out *b, uint64_t v);
/* u8 length then text; text of more than 255 bytes sets bad. */
void bytes_put_str(struct bytes_out *b, const char *s);

static inline uint32_t bytes_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t bytes_le64(const uint8_t *p)
{
    return (uint64_t)bytes_le32(p) | (uint64_t)bytes_le32(p + 4) << 32;
}
void bytes_set_le32(uint8_t *p, uint32_t v);
void bytes_set_le64(uint8_t *p, uint64_t v);

/* True when all len bytes are zero. */
bool bytes_zero(const void *p, size_t len);

/* Lower-case hexadecimal; dst holds 2*len+1. */
void bytes_hex(char *dst, const void *src, size_t len);
/* Returns 0 when exactly len bytes were read from 2*len digits and a NUL, else -1. */
int bytes_unhex(void *dst, size_t len, const char *hex);

/* True for a valid name (bounds.h). */
bool bytes_is_name(const char *s);

#endif
