#include "tun.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "wan0"
/* Packets that wait to be read; room for a moment in which this process does not run. */
#define DEVICE_QUEUE 4096

static int here(void)
{
    return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
}

static void set_addr(struct ifreq *r, const char *addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    ASSERT(inet_pton(AF_INET, addr, &in.sin_addr) == 1);
    memcpy(&r->ifr_addr, &in, sizeof in);
}

static void bring_up(int s, struct ifreq *r, int *rc)
{
    if (*rc == 0)
        *rc = ioctl(s, SIOCGIFFLAGS, r);
    r->ifr_flags = (short)(r->ifr_flags | IFF_UP | IFF_RUNNING);
    if (*rc == 0)
        *rc = ioctl(s, SIOCSIFFLAGS, r);
}

/* Address, MTU and queue of the device; loopback too, which a fresh namespace has down. */
static int configure(const char *addr, unsigned mtu, struct err *e)
{
    struct ifreq r = {0}, lo = {0};
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = s < 0 ? -1 : 0;
    (void)snprintf(r.ifr_name, IFNAMSIZ, "%s", DEVICE);
    (void)snprintf(lo.ifr_name, IFNAMSIZ, "lo");
    bring_up(s, &lo, &rc);
    set_addr(&r, addr);
    if (rc == 0)
        rc = ioctl(s, SIOCSIFADDR, &r);
    set_addr(&r, "255.255.255.252");
    if (rc == 0)
        rc = ioctl(s, SIOCSIFNETMASK, &r);
    r.ifr_mtu = (int)mtu;
    if (rc == 0)
        rc = ioctl(s, SIOCSIFMTU, &r);
    r.ifr_qlen = DEVICE_QUEUE;
    if (rc == 0)
        rc = ioctl(s, SIOCSIFTXQLEN, &r);
    bring_up(s, &r, &rc);
    if (rc < 0)
        rc = err_os(e, errno, "setting up " DEVICE " with %s", addr);
    if (s >= 0)
        (void)close(s);
    return rc;
}

static int open_device(bool offload, struct err *e)
{
    struct ifreq r = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    (void)snprintf(r.ifr_name, IFNAMSIZ, "%s", DEVICE);
    if (fd < 0) {
        (void)err_os(e, errno, "/dev/net/tun (the kernel needs CONFIG_TUN)");
        return -1;
    }
    if (ioctl(fd, TUNSETIFF, &r) < 0 ||
        ioctl(fd, TUNSETOFFLOAD, offload ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0) < 0) {
        (void)err_os(e, errno, "making the TUN device " DEVICE);
        (void)close(fd);
        return -1;
    }
    return fd;
}

int wan_end_open(struct wan_end *end, const char *addr, unsigned mtu, bool offload, struct err *e)
{
    int home = here(), rc = 0;
    *end = (struct wan_end){-1, -1};
    if (home < 0)
        return err_os(e, errno, "/proc/thread-self/ns/net");
    if (unshare(CLONE_NEWNET) < 0) {
        rc = errno == EPERM ? err_set(e, ERR_AUTH, "network namespaces need root: run as root")
                            : err_os(e, errno, "making a network namespace");
        (void)close(home);
        return rc;
    }
    end->netns = here();
    end->tun = open_device(offload, e);
    rc = end->tun < 0 ? -(int)e->code : configure(addr, mtu, e);
    ASSERT(setns(home, CLONE_NEWNET) == 0);
    (void)close(home);
    if (rc < 0)
        wan_end_close(end);
    return rc;
}

void wan_end_close(struct wan_end *end)
{
    if (end->tun >= 0)
        (void)close(end->tun);
    if (end->netns >= 0)
        (void)close(end->netns);
    *end = (struct wan_end){-1, -1};
}

int wan_end_enter(const struct wan_end *end, struct err *e)
{
    return setns(end->netns, CLONE_NEWNET) < 0 ? err_os(e, errno, "entering a namespace") : 0;
}

int wan_end_socket(const struct wan_end *end, int type, struct err *e)
{
    int home = here(), fd = -1, os;
    if (home >= 0 && setns(end->netns, CLONE_NEWNET) == 0) {
        fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        os = errno;
        ASSERT(setns(home, CLONE_NEWNET) == 0);
        errno = os;
    }
    if (fd < 0)
        (void)err_os(e, errno, "a socket in a namespace");
    if (home >= 0)
        (void)close(home);
    return fd;
}

unsigned wan_end_kill(const struct wan_end *end, int sig)
{
    DIR *proc = opendir("/proc");
    const struct dirent *d;
    struct stat mine, its;
    unsigned n = 0;
    if (!proc)
        return 0;
    ASSERT(fstat(end->netns, &mine) == 0);
    while ((d = readdir(proc))) {
        char path[64];
        long pid = strtol(d->d_name, NULL, 10);
        if (pid <= 1 || pid == (long)getpid())
            continue;
        (void)snprintf(path, sizeof path, "/proc/%ld/ns/net", pid);
        if (stat(path, &its) == 0 && its.st_ino == mine.st_ino && its.st_dev == mine.st_dev &&
            kill((pid_t)pid, sig) == 0)
            n++;
    }
    (void)closedir(proc);
    return n;
}

uint64_t wan_end_drops(const struct wan_end *end)
{
    struct ifaddrs *list = NULL;
    uint64_t drops = 0;
    int home = here();
    if (home < 0 || setns(end->netns, CLONE_NEWNET) < 0) {
        if (home >= 0)
            (void)close(home);
        return 0;
    }
    if (getifaddrs(&list) == 0)
        for (const struct ifaddrs *i = list; i; i = i->ifa_next)
            if (i->ifa_addr && i->ifa_addr->sa_family == AF_PACKET && i->ifa_data &&
                strcmp(i->ifa_name, DEVICE) == 0)
                drops += ((const struct rtnl_link_stats *)i->ifa_data)->tx_dropped;
    freeifaddrs(list);
    ASSERT(setns(home, CLONE_NEWNET) == 0);
    (void)close(home);
    return drops;
}
