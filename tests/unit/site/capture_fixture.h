/* capture_fixture.h: what the tests of captured volumes share. */
#ifndef RELAIS_CAPTURE_FIXTURE_H
#define RELAIS_CAPTURE_FIXTURE_H

#include "capture_own.h"
#include "site_fixture.h"

/* A fixture, and a fiber that does the rest. */
void fixture_with(void (*fn)(void *arg));
/* Bytes without a zero among them. */
void fixture_bytes(uint8_t *p, size_t len, unsigned seed);
/* A cut, or a pass, that must succeed. */
void bench_cut_ok(struct bench *b);
struct capture *bench_capture(struct bench *b, uint16_t number);
/* Cools what may, now. */
void bench_cool(struct bench *b, uint16_t number);

#endif
