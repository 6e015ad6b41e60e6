/* export.h: volumes as clients see them: each an NBD export named GROUP/VOLUME, on unix sockets or,
 * in TLS, on TCP.
 *
 *     client ──recv──▶ reader ──pieces──▶ crew of the volume ──▶ capture
 *        ▲                                      │
 *        └──────send── sender ◀──ready replies──┘
 *
 * Each connection has two fibers: the reader takes requests from the socket, many with one receive
 * when there are many, and hands them over; the sender sends what is ready, many replies with one
 * send when they lie side by side. In between, requests run concurrently, in fibers of the volume's
 * crew, and are answered as they end. A payload stays where the socket put it, or where the
 * volume's bytes were read to; larger ones are moved in pieces of EXPORT_PIECE, which run at once.
 *
 * Bounded: a connection has EXPORT_BUFS buffers and EXPORT_REQUESTS requests in flight, and stops
 * reading when they are used up, so a client that sends without reading, or is slow, holds up
 * itself only. A client that breaks the protocol is told, if the protocol knows how, or cut off.
 *
 * A volume may be served to several connections at once (multi-conn); they share its capture. */
#ifndef RELAIS_EXPORT_H
#define RELAIS_EXPORT_H

#include "capture.h"

struct exports;

/* A volume that is to be served; all borrowed until export_stop. config->export says where;
 * volumes that name the same address share it. */
struct export_volume {
    const char *group;
    const struct config_volume *config;
    struct capture *capture;
};

/* Keeps listening sockets over a restart: while nobody accepts, clients that come wait in their
 * queues. */
struct export_keeper {
    void *arg;
    /* A socket that listens at this address already, from now on the caller's; -1: there is none.
     * *ours: it was made by an earlier relaisd, not by somebody who gave it its mode and owner. */
    int (*take)(void *arg, const struct config_volume *at, bool *ours);
    /* Keeps one that was made; name: of at most 200 bytes. False: it cannot. */
    bool (*keep)(void *arg, const char *name, int fd);
};

/* Listens on all sockets. config->export_memory is for all connections together; who comes when it
 * is used up is turned away, and over TCP, of those who have not shown a certificate yet, the
 * oldest goes. config and keeper (NULL: none) are borrowed. Errors: NET, IO, OS, with the address;
 * CONFIG (certificates). (waits) */
int export_start(struct exports **out, const struct export_volume *volumes, size_t count,
                 const struct config *config, const struct export_keeper *keeper, struct err *e);
/* Takes no more requests, answers those in flight (giving clients a few seconds to read), closes
 * the connections, removes the sockets, frees. Captures may be closed afterwards. (waits) */
void export_stop(struct exports *x);

/* Of one volume, as status shows them; 0 when it is not served. */
unsigned export_connections(const struct exports *x, const struct capture *capture);

#endif
