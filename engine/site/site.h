/* site.h: the site role: scans volumes, seals what changed, spools it, ships it to the hub. */
#ifndef RELAIS_SITE_H
#define RELAIS_SITE_H

#include "config.h"
#include "fio.h"
#include "key.h"
#include "link.h"
#include "relais.pb-c.h"

struct site;
struct shipper;

struct export_keeper;

struct site_keys { /* borrowed; outlive the site */
    const struct key_secret *sign, *hash;
    struct tls *tls;
};

/* Puts the captured volumes into service, and nothing else: guests wait for no history, hub or
 * index. config is borrowed; keeper as export_start has it. Errors: IO, SPACE, NET, CONFIG. (waits)
 */
int site_open(struct site **out, const struct config *config, const struct site_keys *keys,
              const struct export_keeper *keeper, struct err *e);
/* Recovers spool and state, starts a fiber per group and the shipper. After an error it may be
 * tried again; meanwhile the volumes stay in service. Errors: IO, SPACE, CORRUPT (state that
 * recovery cannot explain; names the file and what to do). (waits) */
int site_start(struct site *s, struct err *e);
/* Whether guests depend on it. */
bool site_serves(const struct site *s);
/* Asks for a cut now, labelled (may be ""). Returns when it is sealed, or the hub has committed it;
 * to drain is to ship the group ahead of rates and pauses until then. *rp: the complete RP it
 * became, or was merged into while it waited for the hub. Errors: NOENT (no such group), AGAIN,
 * whatever made the cut fail. (waits) */
enum site_mark_end { SITE_SEALED, SITE_COMMITTED, SITE_DRAINED };
int site_mark(struct site *s, const char *group, const char *label, enum site_mark_end end,
              uint64_t *rp, bool *committed, struct err *e);
/* Stops shipping of a group or lets it go on; holds over restarts. *lag: sealed bytes that are not
 * committed. Errors: NOENT, IO, SPACE. (waits) */
int site_pause(struct site *s, const char *group, bool pause, uint64_t *lag, struct err *e);
/* Changes how fast all groups together may ship, until the next start: a rate, "off", "schedule"
 * (back to the configuration), "" (nothing); says what holds. The rule's text lives until the next
 * call. Errors: INPUT. */
int site_rate(struct site *s, const char *rate, Relais__RateState *out, struct err *e);
/* A new data key from the next delta on, of one group or ("") of all. Errors: NOENT. */
int site_rotate(struct site *s, const char *group, unsigned *count, struct err *e);
/* Takes the size that a volume has by now, and says what it is: of a captured one at once (see
 * capture_resize; clients that are connected keep the old one), of a scanned one with the next cut.
 * Errors: NOENT, and those of capture_resize. (waits) */
int site_resize(struct site *s, const char *group, const char *volume, Relais__Resized *out,
                struct err *e);
/* Records what is written to a captured volume: begins (token 0), goes on, or stops (tap.h). What
 * out holds lives until the next call for that volume. Errors: NOENT, CONFIG (not captured), AGAIN.
 */
int site_record(struct site *s, const Relais__Record *m, Relais__Recorded *out, struct err *e);
/* Fills the site's part of the status; strings and arrays live in `arena`-like storage of the site
 * and stay valid until the next call. */
void site_status(struct site *s, Relais__Status *out);
/* For tests. */
struct shipper *site_shipper(struct site *s);
/* Of one that was opened, started or not. Stops fibers, leaves spool and state as a crash would,
 * only tidier; frees. (waits) */
void site_stop(struct site *s);

#endif
