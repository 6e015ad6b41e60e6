/* tun.h: the two ends of an emulated link: network namespaces that only this process holds, each
 * with a TUN device `wan0`. They go when the process goes, however it goes: nothing is mounted,
 * nothing persists. Other processes enter with nsenter --net=/proc/PID/fd/N. Needs CAP_SYS_ADMIN
 * and CAP_NET_ADMIN. */
#ifndef RELAIS_WAN_TUN_H
#define RELAIS_WAN_TUN_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

#define WAN_SITE_ADDR "10.77.0.1"
#define WAN_HUB_ADDR  "10.77.0.2"

struct wan_end {
    int netns, tun; /* -1: not open */
};

/* offload: packets of many segments. Errors: AUTH (not root), OS, IO. */
int wan_end_open(struct wan_end *end, const char *addr, unsigned mtu, bool offload, struct err *e);
void wan_end_close(struct wan_end *end);
/* Makes this thread's network that of the end: in a child that is to live there. */
int wan_end_enter(const struct wan_end *end, struct err *e);
/* A socket there; the thread stays where it is. -1: e. */
int wan_end_socket(const struct wan_end *end, int type, struct err *e);
/* Sends a signal to every process that lives there; returns their number. */
unsigned wan_end_kill(const struct wan_end *end, int signal);
/* Packets that the kernel dropped because they were not read in time. */
uint64_t wan_end_drops(const struct wan_end *end);

#endif
