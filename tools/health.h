/* health.h: whether replication is well: the rules behind the exit status of relais status. Pure.
 *
 *   well      every group has a recovery point at the hub that is no older than its schedule wants
 *   degraded  data is safe, protection is behind: seeding, link down, spool full, RPO over 3
 * intervals (and over 30 s), no recovery point yet broken    somebody must act: a group says
 * broken, a hub cannot reach its store unknown   the daemon does not answer
 *
 * For the territory, where the hub does not know the sites' intervals: degraded when the site is
 * not connected or its newest recovery point is older than an hour, broken when older than a day.
 */
#ifndef RELAIS_HEALTH_H
#define RELAIS_HEALTH_H

#include "relais.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

enum health { HEALTH_WELL, HEALTH_DEGRADED, HEALTH_BROKEN, HEALTH_UNKNOWN };

#define HEALTH_RPO_FLOOR_NS     (UINT64_C(30) * 1000000000u)
#define HEALTH_TERRITORY_OLD_NS (UINT64_C(3600) * 1000000000u)
#define HEALTH_TERRITORY_BAD_NS (UINT64_C(86400) * 1000000000u)

const char *health_word(enum health h);
enum health health_worse(enum health a, enum health b);

/* Now (wall clock, ns) less the cut time; 0 when there is no RP or the clock stands before it. */
uint64_t health_rpo(uint64_t rp, int64_t cut, int64_t now);

enum health health_group(const Relais__GroupStatus *g, int64_t now);
enum health health_hub_group(const Relais__HubGroup *g, int64_t now);
/* Nine parts in ten of the site's quota at the hub are taken, as the hub said when it last took a
 * delta: degraded, for nothing is behind yet, and somebody must act before something is. */
bool health_quota_low(const Relais__Status *st);
/* The daemon as a whole: its groups, its link, its hub role; territory groups when there are any.
 */
enum health health_status(const Relais__Status *st, int64_t now);

#endif
