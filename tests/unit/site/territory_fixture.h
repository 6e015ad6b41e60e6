/* territory_fixture.h: site bethune and hub arras on one loop, over real sockets and TLS, for the
 * tests of what a site ships. */
#ifndef RELAIS_TERRITORY_FIXTURE_H
#define RELAIS_TERRITORY_FIXTURE_H

#include "hub.h"
#include "site.h"
#include "site_fixture.h"
#include "store.h"

#define PATIENCE (20 * IO_S)

#define MUST(call, e)                                                                              \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, (e)->text);                                                  \
    } while (0)

struct territory_fixture {
    struct fixture f;
    struct key_secret *site_link, *hub_link;
    struct tls *site_tls, *hub_tls;
    struct config hub_config;
    struct config_peer site_peer, hub_peer;
    char store_dir[96];
    struct store *store;
    struct hub *hub;
    struct site *site;
    struct err e;
};

void hub_up(struct territory_fixture *t);
void hub_down(struct territory_fixture *t);
void site_up(struct territory_fixture *t);
/* A cut of the group "records"; returns its RP. */
uint64_t mark(struct territory_fixture *t, const char *label, bool wait);
/* The status of the one group. */
Relais__GroupStatus *group_of(struct territory_fixture *t);
/* Waits until the group's state is this word. */
void await_state(struct territory_fixture *t, const char *word);
uint64_t store_head(struct territory_fixture *t);
size_t spooled(struct territory_fixture *t);
/* A delta leaves just after it is committed. */
void await_empty_spool(struct territory_fixture *t);
/* Runs fn as a fiber, with one volume of 24 MiB in the group "records". */
void with_territory(void (*fn)(void *arg));

#endif
