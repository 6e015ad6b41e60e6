#include "ring.h"

#include "fiber.h"
#include "uring.h"

int ring_run(void (*fn)(void *arg), void *arg, struct err *e)
{
    struct io *io;
    int rc = uring_new(&io, 1, e);
    if (rc < 0)
        return rc;
    fiber_detach(fiber_spawn(io, "micro", fn, arg));
    uring_run(io);
    uring_free(io);
    return 0;
}
