/* net_fixture.h: what the tests of link and call share: a loop to run in, keys, connected sockets.
 */
#ifndef RELAIS_NET_FIXTURE_H
#define RELAIS_NET_FIXTURE_H

#include "link.h"

/* Runs fn(arg) as a fiber of a fresh io_uring loop until it and what it started have ended. */
void net_run(void (*fn)(void *arg), void *arg);

/* Who is who: each has a link key and pins all the others but the stranger. */
enum net_who { NET_ARRAS, NET_LENS, NET_DOUAI, NET_STRANGER, NET_WHO };
extern const char *const net_names[NET_WHO];
/* A peer that lens pins with two keys: those of arras and douai. */
#define NET_PAIR "pair"
/* Keys of everybody: set-up and tear-down of a group of tests. */
int net_keys_make(void **state);
int net_keys_free(void **state);
struct tls *net_tls(enum net_who who);
void net_fingerprint(char dst[2 * KEY_FP_LEN + 1], enum net_who who);

/* Two ends of a TCP connection over loopback. */
void net_socketpair(int fds[2]);

/* Both ends of a handshake and what each made of it. */
struct net_pair {
    struct link *client, *server;
    int client_rc, server_rc;
    struct err client_err, server_err;
};
/* then (may be NULL) is what the client does next, before the server's side is waited for: a server
 * that refuses lingers until the client has read why. */
void net_handshake(struct net_pair *p, enum net_who client, enum net_who server, const char *expect,
                   void (*then)(struct net_pair *p));
/* A handshake that succeeds, or two plain links. */
void net_connect(struct net_pair *p, bool plain);
void net_close(struct net_pair *p);

/* Bytes that tell where they belong: position and seed in every word. len is a multiple of 8. */
void net_pattern(void *dst, size_t len, uint64_t seed);
bool net_pattern_is(const void *p, size_t len, uint64_t seed);

#endif
