/* clients.h: NBD clients that write at random, and come again when the server dies. Each is a
 * thread with a connection of its own, several requests in flight; all keep one log. */
#ifndef RELAIS_CLIENTS_H
#define RELAIS_CLIENTS_H

#include "oracle.h"

#include <pthread.h>

#define CLIENTS_MAX  64u
#define CLIENT_DEPTH 6u
#define CLIENT_BYTES (64u * 1024)

struct clients {
    pthread_mutex_t lock; /* of all below */
    struct oracle oracle;
    uint64_t flushes, connects, lost;
    bool stop;
    char failure[ORACLE_TEXT]; /* "": none; what no server may do */
};

struct client;

struct flying { /* a request under way */
    struct client *client;
    bool used, logged;
    size_t op; /* logged: its number */
    int64_t cookie;
    uint8_t *payload;
};

struct client {
    struct clients *all;
    const char *uri;
    unsigned volume, seed;
    pthread_t thread;
    uint64_t size;
    struct flying flying[CLIENT_DEPTH];
};

/* Runs until all->stop; arg is a struct client. */
void *client_run(void *arg);

#endif
