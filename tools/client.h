/* client.h: one conversation with a daemon: with the local one over its control socket, or with the
 * hub over TLS, on a loop of its own. */
#ifndef RELAIS_CLIENT_H
#define RELAIS_CLIENT_H

#include "call.h"
#include "config.h"

/* Runs fn(arg, e) as a fiber and returns what it returned. SIGINT and SIGTERM cancel the fiber; a
 * second one ends the process. */
int client_run(int (*fn)(void *arg, struct err *e), void *arg, struct err *e);

/* Errors: NET, saying that relaisd may not run. (waits) */
int client_control(struct caller **out, const char *path, struct err *e);

/* One request to the local daemon. take looks at the reply, of type `expect`, and tells it. */
struct client_request {
    uint8_t type, expect;
    const ProtobufCMessage *message;
    int (*take)(void *arg, const struct message *reply, struct err *e);
    void *arg;
};
/* Connects, asks, hands the reply to take. Errors: those of client_control, what the daemon refuses
 * with, take's. (waits) */
int client_ask(const char *control, const struct client_request *r, struct err *e);
/* The same on a loop of its own. */
int client_ask_alone(const char *control, const struct client_request *r, struct err *e);

/* The hub and the keys to talk to it, from the configuration. */
struct client_hub {
    struct key_secret *key;
    struct tls *tls;
    const struct config_peer *peer;
    unsigned at; /* the address to begin with */
};
/* Before client_run. Errors: CONFIG, AUTH, INPUT. */
int client_hub_open(struct client_hub *h, const struct config *c, struct err *e);
void client_hub_close(struct client_hub *h);
/* Tries the peer's addresses in order, at last the one that answered before. Errors: NET, AUTH,
 * PROTO. (waits) */
int client_hub_connect(struct caller **out, struct client_hub *h, struct err *e);

/* The key that signs what a site ships: word if not NULL, else this site's own key file, else the
 * [peer SITE] sign-key. Errors: CONFIG, saying what to add. */
int client_signer(struct key_public *out, const struct config *c, const char *site,
                  const char *word, struct err *e);

#endif
