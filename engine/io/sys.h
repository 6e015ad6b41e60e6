/* sys.h: private to io: the verbs that have no io_uring operation, as plain system calls for a
 * thread that may block. Arguments are those of the verb in io.h, in its order; results too. */
#ifndef RELAIS_SYS_H
#define RELAIS_SYS_H

#include "io.h"

#include <sys/socket.h>

/* The calls' form, so that a request carries one: args as the verb's, each in one word. */
typedef int sys_call(const uint64_t *args);

/* sys_file.c */
sys_call sys_read, sys_copy, sys_truncate, sys_punch, sys_run, sys_fstat, sys_lock;
sys_call sys_stat, sys_sync_dir, sys_list, sys_space;
/* sys_net.c */
sys_call sys_listen;
/* args: const struct io_addr *, struct addrinfo ** (free with freeaddrinfo). */
sys_call sys_resolve;
/* sys_command.c */
sys_call sys_command;
/* args: int (*fn)(void *), void *arg */
sys_call sys_work;

/* As sys_resolve, but -EAGAIN at once when it is a name that must be looked up. */
int sys_resolve_literal(const uint64_t *args);
/* Makes the calling thread one of IO_WORK_LOW, of IO_WORK_IDLE. Where the kernel refuses, it stays
 * as it is: slower for others, but right. */
void sys_rank_low(void);
void sys_rank_idle(void);
/* The options that every connection gets: no delay, keepalive, BBR where there is. */
void sys_tune(int fd);
/* Bytes in the send queue of a socket, sent or not, that the peer has not acknowledged. */
uint64_t sys_unacked(int fd);
/* The other end of a connection, as text. */
void sys_peer(int fd, struct io_addr *peer);
/* A unix socket's address. 0 or -ENAMETOOLONG. */
struct sockaddr_un;
int sys_unix_addr(struct sockaddr_un *out, const char *path);

static inline void *sys_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}
static inline uint64_t sys_arg(const void *p)
{
    return (uint64_t)(uintptr_t)p;
}

#endif
