/* fuzz.h: what libFuzzer calls. A property that does not hold ends in abort (ASSERT). */
#ifndef RELAIS_FUZZ_H
#define RELAIS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
