/* random.h: makes the randomness of libsodium and OpenSSL follow the seed too, so that what they
 * draw (ephemeral keys, session tickets, serial numbers of certificates) changes no size and no
 * order between two runs of a seed. For the simulator's process only. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdint.h>

/* Installs itself on the first call. */
void sim_random_seed(uint64_t seed);

#endif
