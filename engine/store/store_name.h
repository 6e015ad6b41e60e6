/* store_name.h: what may name a site, a group and an object in a store. Private to engine/store.
 *
 * Names come from peers: each is checked before it becomes part of a path or of a request to Ceph.
 * An object's name is 1 to STORE_NAME_DEPTH components of [A-Za-z0-9._-] joined by '/', none of
 * which starts with '.', and shorter than STORE_NAME_MAX. All errors: INPUT. Pure. */
#ifndef RELAIS_STORE_NAME_H
#define RELAIS_STORE_NAME_H

#include "err.h"

#define STORE_NAME_DEPTH 8u

int store_name_site(const char *site, struct err *e);
int store_name_lease(const char *name, struct err *e);
int store_name_group(const char *site, const char *group, struct err *e);
int store_name_object(const char *site, const char *name, struct err *e);
/* Like an object's name, but it may be empty and may end anywhere. */
int store_name_prefix(const char *site, const char *prefix, struct err *e);

#endif
