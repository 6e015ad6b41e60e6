/* net.h: the simulated network between nodes: listeners, streams, paths.
 *
 * A path leads from one node to another, one way: latency, jitter, bandwidth, and whether it loses
 * everything. A stream is two endpoints; bytes for an endpoint lie in one bounded FIFO, first in
 * flight, then arrived, so that a sender whose peer does not read is held back. Bytes on a path
 * that loses stay in flight and are tried again, as TCP does, until the sender gives up with
 * -ETIMEDOUT. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "node_op.h"

#define NET_NODES 16u

struct net *net_new(struct world *w);
void net_free(struct net *w);
unsigned net_join(struct net *w, struct node *n);
/* True when it was the last one. */
bool net_leave(struct net *w, unsigned number);

struct net_path {
    uint64_t latency, jitter; /* ns */
    uint64_t rate;            /* bytes/s */
    bool lost;
    bool local;       /* within a machine: nothing is refused, reset or half closed by chance */
    uint64_t free_at; /* when the bytes sent before will have left */
};
/* From node to node; the caller may change it. */
struct net_path *net_path(struct net *w, const struct node *from, const struct node *to);
/* Makes a and b one machine, as a host and a guest on it: what a connects to by path is b's. */
void net_same_machine(struct net *w, const struct node *a, const struct node *b);
/* Cuts or heals both ways, and says so. */
void net_cut(struct net *w, const struct node *a, const struct node *b, bool lost);
/* Every path as it was made: nothing is lost. */
void net_heal(struct net *w);

/* All streams of a node vanish without a word: its peers learn it from silence, or when they send.
 */
void net_power_cut(struct net *w, unsigned number);

/* For node_net.c and node.c. Results as in io.h. */
int net_listen(struct net *w, struct node_io *io, const struct io_addr *addr,
               struct listener **out);
void net_unlisten(struct listener *l);
/* Takes a waiting connection, or parks the op and returns 0 with *out NULL. */
int net_accept(struct op *op, struct listener *l, struct endpoint **out, struct io_addr *peer);
/* One attempt. -EAGAIN: no answer (yet). */
int net_connect(struct net *w, struct node_io *io, const struct io_addr *addr,
                struct endpoint **out);
uint64_t net_round_trip(struct net *w, struct node_io *io, const struct io_addr *addr);
/* The result, or -EAGAIN after the op was parked. */
int net_recv(struct op *op, struct endpoint *e, void *buf, size_t len);
int net_send(struct op *op, struct endpoint *e, const void *buf, size_t len);
int net_shutdown(struct endpoint *e);
void net_close(struct endpoint *e);

#endif
