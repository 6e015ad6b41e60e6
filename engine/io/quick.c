#include "quick.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

void quick_turn(struct quick *q)
{
    q->left = QUICK_TURN;
}

bool quick_may(const struct quick *q, size_t len, uint64_t now)
{
    return len <= QUICK_MAX && len <= q->left && now >= q->resume;
}

void quick_judge(struct quick *q, uint64_t began, uint64_t ended)
{
    if (ended - began <= QUICK_SLOW_NS)
        return;
    if (q->pause == 0 || began - q->resume > q->pause)
        q->pause = QUICK_PAUSE; /* it had gone well for as long as the last pause */
    else if (q->pause < QUICK_PAUSE_MAX)
        q->pause *= 2;
    q->resume = ended + q->pause;
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

bool quick_write(struct quick *q, int fd, const void *buf, size_t len, uint64_t off, int *res)
{
    uint64_t began = clock_ns();
    ssize_t n;
    int flags;
    if (!quick_may(q, len, began))
        return false;
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & (O_DIRECT | O_SYNC | O_DSYNC)) != 0)
        return false;
    n = pwrite(fd, buf, len, (off_t)off);
    if (n < 0 && errno == EINTR)
        return false; /* the ring tries it again */
    *res = n < 0 ? -errno : (int)n;
    q->left -= len;
    quick_judge(q, began, clock_ns());
    return true;
}
