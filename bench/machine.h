/* machine.h: the machine that a figure was measured on, for reports. */
#ifndef RELAIS_MACHINE_H
#define RELAIS_MACHINE_H

#include <stdint.h>

struct machine {
    char processor[128]; /* as /proc/cpuinfo names its model */
    unsigned processors; /* online */
    uint64_t memory;     /* bytes */
    char kernel[160];
    char when[48]; /* RFC 3339, UTC */
};
void machine_look(struct machine *m);

#endif
