/* guest.h: a guest's side of an export: one NBD connection that reads and writes a captured volume
 * for as long as it lives, and tells the ledger.
 *
 * It speaks the protocol with code of its own. Several requests go out with one send, and their
 * replies come in any order. When the connection breaks, what was in flight counts as never
 * answered, and it connects again. Several clients may share a volume. */
#ifndef SIM_GUEST_H
#define SIM_GUEST_H

#include "ledger.h"

struct guest {
    struct world *w;
    struct ledger *ledger;
    const char *name; /* for what is told */
    const char *socket, *export_name;
    unsigned volume;             /* its number in the ledger */
    const uint64_t *size, *told; /* of the volume; what its server was told: it says one of them,
                                    or any between */
    bool careless;               /* makes nothing durable: a power cut takes back all it can */
    bool restless;               /* hardly ever waits */
    const bool *quiet;           /* while it is true, nothing new is asked for */
    unsigned *busy;              /* how many guests wait for answers */
};

/* The main function of a fiber; ends when the fiber is cancelled or its machine is off. */
void guest_run(void *arg);

#endif
