/* nbd_wire.h: big-endian numbers. Private to engine/nbd. */
#ifndef RELAIS_NBD_WIRE_H
#define RELAIS_NBD_WIRE_H

#include <stdint.h>
#include <string.h>

static inline uint16_t wire_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t wire_get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t wire_get64(const uint8_t *p)
{
    return (uint64_t)wire_get32(p) << 32 | wire_get32(p + 4);
}

/* Each returns where the next number goes. */
static inline uint8_t *wire_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return p + 2;
}

static inline uint8_t *wire_put32(uint8_t *p, uint32_t v)
{
    p = wire_put16(p, (uint16_t)(v >> 16));
    return wire_put16(p, (uint16_t)v);
}

static inline uint8_t *wire_put64(uint8_t *p, uint64_t v)
{
    p = wire_put32(p, (uint32_t)(v >> 32));
    return wire_put32(p, (uint32_t)v);
}

#endif
