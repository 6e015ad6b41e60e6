/* memory.h: whose memory it is. What is allocated while a completion of a process runs is that
 * process's until it is freed, so that a process that holds more than its configuration implies, or
 * leaves something behind, is found out.
 *
 * Linked in by --wrap: it sees what the engine allocates itself; not what OpenSSL, zstd and
 * CRoaring do, nor the stacks of fibers. One thread. */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stdint.h>

#define MEMORY_NOBODY 0u

/* A new account. */
unsigned memory_open(void);
/* Who allocates from now on; returns who did. */
unsigned memory_enter(unsigned account);
/* Bytes of that account now, and at most so far. */
uint64_t memory_live(unsigned account);
uint64_t memory_peak(unsigned account);

#endif
