#include "content.h"

#include <string.h>

#define UNIT  512u /* bytes that are made at a time */
#define SLICE (UINT64_C(512) * 1024)

/* SplitMix64. */
uint64_t content_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void noise(uint8_t *dst, size_t len, uint64_t *state)
{
    for (; len >= 8; len -= 8, dst += 8) {
        uint64_t v = content_random(state);
        memcpy(dst, &v, 8);
    }
    if (len > 0) {
        uint64_t v = content_random(state);
        memcpy(dst, &v, len);
    }
}

static void words(uint8_t *dst, size_t len)
{
    static const char text[] = "patient;sejour;unite=cardiologie;acte=consultation;statut=valide;";
    for (size_t at = 0; at < len; at += sizeof text - 1)
        memcpy(dst + at, text, len - at < sizeof text - 1 ? len - at : sizeof text - 1);
}

/* Air is -1024 in Hounsfield's units. */
static void air(uint8_t *dst, size_t len)
{
    for (size_t i = 0; i + 1 < len; i += 2) {
        dst[i] = 0x00;
        dst[i + 1] = 0xfc;
    }
    if (len % 2)
        dst[len - 1] = 0;
}

static void slice_header(uint8_t *dst, uint64_t seed, uint64_t number)
{
    static const char tags[] = "DICM\x02\0\0\0UL\x04\0CT\x20IMAGE\x20STORAGE\x08\0\x60\0CS\x02\0CT";
    uint64_t id = seed ^ number;
    memset(dst, 0, 128);
    memcpy(dst + 64, tags, sizeof tags - 1);
    noise(dst + 112, 16, &id);
}

void content_fill(void *buf, size_t len, enum content_kind kind, uint64_t seed, uint64_t off,
                  uint64_t version, double compressible)
{
    uint8_t *dst = buf;
    size_t plain = kind == CONTENT_CIPHER ? 0 : (size_t)(compressible * UNIT);
    for (; len >= UNIT; len -= UNIT, dst += UNIT, off += UNIT) {
        uint64_t state = seed * UINT64_C(0x2545f4914f6cdd1d) ^ (off / UNIT) ^ (version << 40);
        (void)content_random(&state);
        noise(dst, UNIT - plain, &state);
        if (kind == CONTENT_IMAGES)
            air(dst + UNIT - plain, plain);
        else
            words(dst + UNIT - plain, plain);
        if (kind == CONTENT_IMAGES && off % SLICE == 0)
            slice_header(dst, seed, off / SLICE);
    }
}
