/* keeping.h: who is asked about what a hub keeps: the local daemon when it is a hub, else the hub
 * over TLS, which tells a member of its own groups and of those it may read. */
#ifndef RELAIS_KEEPING_H
#define RELAIS_KEEPING_H

#include "client.h"
#include "command.h"

struct keeping {
    struct config *config;
    struct client_hub hub;
    struct caller *caller;
};

/* Loads the configuration. Before client_run; keeping_close after it, always. */
int keeping_prepare(struct keeping *k, struct command_context *ctx, struct err *e);
void keeping_close(struct keeping *k);
/* (wait) */
int keeping_connect(struct keeping *k, struct err *e);
void keeping_disconnect(struct keeping *k);
/* One request; on 0 call->reply is the reply until call_end. */
int keeping_ask(struct keeping *k, struct call *call, uint8_t type, uint8_t expect,
                const ProtobufCMessage *message, struct err *e);

/* A group and its site, as the hub lists them. */
struct keeping_group {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
};
/* The groups, of this site and with this name if not NULL; malloc'd. Errors: NOENT (none). */
int keeping_groups(struct keeping *k, const char *site, const char *group,
                   struct keeping_group **out, size_t *count, struct err *e);

#endif
