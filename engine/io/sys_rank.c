#include "sys.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every tenth of the processor or so, where others want all of it, and in short turns, so that who
 * wakes up does not wait for a long one to end (slices of one's own: Linux 6.12). */
#define LOW_NICE     10
#define LOW_SLICE_NS 100000u

/* struct sched_attr of sched_setattr(2), version 0; neither glibc 2.36 nor its headers have it. */
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void rank(const struct attr *attr)
{
    (void)syscall(SYS_sched_setattr, 0, attr, 0);
}

void sys_rank_low(void)
{
    int nice = getpriority(PRIO_PROCESS, 0) + LOW_NICE; /* of this thread */
    struct attr attr = {.size = sizeof attr,
                        .policy = SCHED_OTHER,
                        .nice = nice < 19 ? nice : 19,
                        .runtime = LOW_SLICE_NS};
    rank(&attr);
}

void sys_rank_idle(void)
{
    struct attr attr = {.size = sizeof attr, .policy = SCHED_IDLE, .nice = 19};
    rank(&attr);
}
