/* session.h: what the files of the hub share: the hub, its connections, their jobs. Private.
 *
 * One fiber reads a connection and does what must stay in order (offers, pieces of parts); what may
 * take long or overtake runs in jobs, a bounded number of fibers per connection: parts that are
 * checked and stored, ranges that are fetched, commits. hub.c owns hubs, session.c connections and
 * jobs, door.c connections that are not known yet, ingest.c offers and parts, partial.c the parts
 * that are on their way in, commit.c moves heads, serve.c reads, reads.c
 * remembers what was read. */
#ifndef RELAIS_SESSION_H
#define RELAIS_SESSION_H

#include "audit.h"
#include "bufpool.h"
#include "catalog.h"
#include "delta.h"
#include "hub.h"
#include "register.h"
#include "strangers.h"

#include <inttypes.h>

#define HUB_PROTOCOL     PROTOCOL_NEWEST
#define HUB_HANDSHAKE_NS (10 * IO_S) /* TLS and Hello, together */
#define HUB_IDLE_NS      (10 * IO_S) /* a site pings after 2 s of silence */
#define HUB_PING_NS      (4 * IO_S)  /* a peer that waits for memory hears of us this often */
#define HUB_PULSE_NS     (2 * IO_S) /* and one whose frame takes so long; below CALL_PONG_NS by far */
#define HUB_PARTIAL_NS   (60 * IO_S)  /* a part of which nothing came for so long */
#define HUB_KEPT_NS      (600 * IO_S) /* the beginning of a part is kept so long */
#define HUB_BREAK_NS     (5 * IO_S)   /* an offer waits so long for the connection before to end */
#define HUB_JOBS_MAX     16u          /* of one connection */
#define HUB_OFFERS_MAX   16u          /* of one connection, open at once */
#define HUB_COMMITS_MAX  32u          /* of one connection, waiting */
#define HUB_FETCHES_MAX  64u          /* of all connections, with a buffer */
#define HUB_HISTORY_PAGE 200u         /* points in one reply: fits MESSAGE_MAX with full labels */
#define HUB_KNOWN        8u           /* catalog entries a connection remembers */
#define HUB_GUESS_NS                                                                               \
    (60 * IO_S)              /* of vain attempts to enrol so many are answered in this time:       \
                              */
#define HUB_GUESSES      60u /* in all */
#define HUB_GUESSES_FROM 5u  /* of one address */

#define HUB_READS 32u /* groups whose reads are counted apart, of a connection */

struct session;
struct job;

/* The groups of some sites, as messages, with the storage of their strings. */
struct territory_row {
    Relais__HubGroup group;
    char site_name[NAME_MAX_LEN + 1], group_name[NAME_MAX_LEN + 1];
};
struct territory {
    struct territory_row *rows;
    Relais__HubGroup **groups; /* one pointer per row, as protobuf-c wants them */
    size_t count;
};

/* Whom the hub knows: by relais.conf or by enrolment. Stays until the hub stops: sessions point at
 * it. */
enum hub_standing { STANDING_ACTIVE, STANDING_PENDING, STANDING_REVOKED };
struct hub_peer {
    struct config_peer config; /* name, grants, public words */
    struct key_public
        links[CONFIG_LINK_KEYS_MAX]; /* one; of several hubs of one name each its own */
    unsigned link_count;
    struct key_public sign; /* .kind is KEY_KINDS where the peer signs nothing */
    enum hub_standing standing;
    bool enrolled;    /* the register's, not relais.conf's */
    unsigned members; /* connections */
    int64_t seen;     /* UTC ns, a connection began or ended; 0: none since the hub came up */
    struct io_addr seen_from;
};

/* Vain attempts to enrol, of late. */
struct guess {
    struct io_addr from;
    uint64_t at; /* 0: none */
};

struct hub {
    struct io *io;
    const struct config *config;
    struct store *store;
    struct tls *tls;
    struct hub_peer **peers;
    unsigned peer_count;
    struct enrolled enrolled; /* as its file has it */
    struct fiber_mutex enrolling;
    struct guess guesses[HUB_GUESSES];
    int64_t since;            /* UTC ns, the hub came up */
    struct protocol protocol; /* what we speak */
    int listen_fd;            /* -1: drained */
    bool leaving;
    struct fiber *acceptor;
    struct session *sessions;
    unsigned live; /* sessions that have not ended: */
    unsigned strangers, members;
    struct strangers door; /* of them, those that were not sent away */
    struct bufpool parts, fetches;
    struct kept *kept;
    struct audit *audit;
    struct usage *usage;
    struct keeper *keeper;
    struct scrub *scrub;
    struct fiber_cond session_ended;
    struct proposal *proposal; /* attestation.h; NULL: nothing is to be signed */
    uint64_t proposals;        /* so far */
    struct maintenance *maintenance;
    struct digest *settled; /* inputs of runs that need nothing (compact.c) */
    size_t settled_count, settled_next;
    struct territory status;
};

/* A delta that the peer offered on this connection and that is not committed. */
struct offer {
    struct offer *next; /* in the order they came */
    unsigned refs;      /* the session's list, a partial part, jobs */
    struct manifest m;
    struct digest digest;
    uint8_t *raw; /* the manifest as it came */
    uint32_t raw_len;
    uint64_t file_len, bytes_in, since;
    uint64_t quota, quota_used; /* of the site, with this delta; 0: none */
    uint32_t objects, lacking;  /* objects of the file; parts not known to be stored */
    uint8_t *stored;            /* a byte per part */
};

/* A part that pieces arrive for. */
struct partial {
    struct offer *offer;
    uint8_t *buf; /* NULL: the place is free */
    uint32_t part, filled, len;
    uint64_t since; /* the last piece */
};

/* The beginning of a part whose connection broke: the site's next connection goes on from there, so
 * that a link that is cut again and again moves forward all the same. Kept while nobody needs the
 * buffer. */
struct kept {
    struct kept *next; /* oldest first */
    char site[NAME_MAX_LEN + 1];
    struct digest digest; /* of the delta's manifest */
    uint8_t *buf;
    uint32_t part, filled;
    uint64_t since;
};

struct commit_request {
    char group[NAME_MAX_LEN + 1];
    struct digest digest;
    uint32_t id;
};

/* What a connection read of a group. */
struct read_tally {
    char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
    uint64_t first, last, bytes; /* RPs whose deltas were fetched from */
};

struct session {
    struct hub *hub;
    struct session *next;
    struct fiber *fiber;
    struct link *link;
    struct message msg;
    int fd;
    struct io_addr from;
    char peer[NAME_MAX_LEN + 1];
    struct hub_peer *known;           /* NULL: not (yet) */
    const struct config_peer *config; /* known's */
    const struct key_public *sign;    /* NULL: the peer signs nothing */
    uint32_t version;                 /* of the protocol, agreed on */
    bool stranger; /* has not said Hello under a key that is pinned; otherwise a */
    bool member;
    struct stranger waiting;
    bool leaving; /* its key is no peer's any more */
    bool told;    /* a member who knows that the hub is leaving */
    bool done;

    /* The peer hears of us while a frame of its takes long, a slow store for one; otherwise it
     * would take us for dead. */
    struct fiber *pulse;
    struct fiber_cond pulse_end;
    bool ended;
    uint64_t busy_since; /* 0: it is the peer's turn */

    struct job *jobs;
    unsigned job_count;
    struct fiber_cond job_ended;

    bool attests; /* the peer asked for what is to be signed; */
    struct fiber_cond attesting;

    uint64_t voyage; /* of the peer's connections; 0: not known */
    struct offer *offers;
    unsigned offer_count;
    struct partial partials[LINK_PARTS_OPEN];
    unsigned partial_count;
    struct commit_request commits[HUB_COMMITS_MAX];
    unsigned commit_count;
    bool committing;

    struct { /* committed deltas that were fetched from lately */
        char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
        struct catalog_entry entry;
    } recent[HUB_KNOWN];
    unsigned recent_next;

    struct read_tally reads[HUB_READS];
    unsigned read_count;
};

struct many;

/* What a job works on; run in its own fiber, freed by the session. */
struct job {
    struct session *s;
    struct job *next;
    struct fiber *fiber;
    bool done;
    void (*run)(struct job *);
    uint32_t id; /* of the request */
    union {
        struct {
            struct offer *offer;
            uint8_t *buf;
            uint32_t part, len;
        } store;
        struct {
            char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
            uint64_t rp, offset;
            uint32_t length;
            struct digest digest;
        } fetch;
        struct many *many; /* the job's */
        struct {
            char site[NAME_MAX_LEN + 1], group[NAME_MAX_LEN + 1];
            uint64_t after;
        } history;
        struct hub_ask ask;
        struct {
            uint64_t after;
            int64_t since;
        } audit;
    };
};

/* ---- session.c ---- */

/* Starts the fiber of an accepted connection, which takes over fd. */
void session_start(struct hub *h, int fd, const struct io_addr *from);
/* Breaks the connection; the fiber ends soon. */
void session_break(struct session *s);
void session_free(struct session *s); /* (waits for its fiber) */
/* Sends Refused with what e says. Returns 0 when the connection can go on; PROTO ends it.
 */
int session_refuse(struct session *s, uint32_t id, struct err *e);
/* Same, of something that concerns this site's group. */
int session_refuse_about(struct session *s, uint32_t id, const char *site, const char *group,
                         struct err *e);
int session_reply(struct session *s, uint8_t type, uint32_t id, const ProtobufCMessage *any,
                  struct err *e);
/* Waits on a condition and lets the peer hear of us meanwhile. (waits) */
int session_wait(struct session *s, struct fiber_cond *c, struct err *e);
/* Runs a copy of job in a fiber, after waiting for one of HUB_JOBS_MAX places. (waits) */
int session_spawn(struct session *s, const struct job *job, struct err *e);
/* Checks a name that came over the link. */
int session_check_name(const char *what, const char *name, struct err *e);
int session_check_digest(struct digest *out, const ProtobufCBinaryData *in, struct err *e);

/* ---- roster.c: whom the hub knows ---- */

/* From relais.conf and the register's file. Errors: CONFIG, IO. (waits) */
int roster_open(struct hub *h, struct err *e);
void roster_free(struct hub *h);
struct hub_peer *roster_find(const struct hub *h, const char *name);
bool roster_has_key(const struct hub_peer *p, const struct key_public *link);
/* Changes of the register come one at a time: begin gives a copy to change; commit makes it durable
 * and lets it hold (pins, connections of those that are not active any more are broken), and
 * returns the number of those; either commit or abandon ends it. Errors: IO, SPACE, LIMIT,
 * CANCELED. (wait)
 */
int roster_begin(struct hub *h, struct enrolled *next, struct err *e);
int roster_commit(struct hub *h, struct enrolled *next, unsigned *broken, struct err *e);
void roster_abandon(struct hub *h, struct enrolled *next);
int64_t roster_now(const struct hub *h); /* UTC seconds */
/* Guests are welcome while an invitation is open. */
void roster_welcome(struct hub *h);

/* ---- enrol.c: guests ---- */

/* Serves the connection of a guest to its end. Errors: why it did not enrol. (waits) */
int enrol_guest(struct session *s, uint64_t until, struct err *e);
/* The newest manifest of each group that is stored under this name verifies under this key: who has
 * it may go on with them. *groups: how many there are. Errors: AUTH, those of the store. (waits) */
int enrol_check_history(struct hub *h, const char *site, const struct key_public *sign,
                        unsigned *groups, struct err *e);

/* ---- door.c ---- */

/* Before one more from this address is let in: sends others away where there are too many, and
 * waits for their memory. (waits) */
void door_make_room(struct hub *h, const struct io_addr *from);
/* The stranger is s->known, and has said Hello: a member from now on. AGAIN: no place is left
 * for this peer. */
int door_pass(struct session *s, struct err *e);
/* The session ends. */
void door_leave(struct session *s);
/* Logs why a stranger did not become a member, not more often than people want to read. */
void door_tell(struct session *s, const struct err *e);

/* ---- ingest.c: handlers return 0, or an error that ends the connection ---- */

int ingest_head_get(struct session *s, uint32_t id, const Relais__HeadGet *m, struct err *e);
int ingest_offer(struct session *s, const struct frame_header *h, const Relais__Offer *m,
                 struct err *e);
int ingest_part(struct session *s, const struct frame_header *h, const Relais__Part *m,
                struct err *e);
int ingest_join(struct session *s, const Relais__Join *m, struct err *e);
int ingest_withdraw(struct session *s, const Relais__Withdraw *m, struct err *e);
/* Ends what a connection left half done. */
void ingest_drop(struct session *s);
void offer_unref(struct offer *o);
/* What this connection offered, or another of its voyage. */
struct offer *offer_find(struct session *s, const char *group, const struct digest *digest);
/* Looks into the store which parts are there. (waits) */
int offer_survey(struct session *s, struct offer *o, struct err *e);
/* The peer must sign: AUTH otherwise. */
int ingest_check_signer(const struct session *s, struct err *e);
/* Reads the manifest of a head, malloc'd, and holds it against its digest. Errors: CORRUPT, those
 * of the store. (waits) */
int hub_head_manifest(struct hub *h, const char *site, const char *group,
                      const struct catalog_entry *head, uint8_t **out, struct err *e);
/* The newest committed entry; rp 0 when there is none. (waits) */
int hub_head(struct hub *h, const char *site, const char *group, struct store_head *raw,
             struct catalog_entry *out, struct err *e);

/* ---- partial.c ---- */

/* The part that this piece continues, NULL: it begins one. */
struct partial *partial_find(struct session *s, const struct offer *o, uint32_t part);
/* Takes a place and a buffer. Errors: PROTO (all places are taken), NET, CANCELED. (waits) */
int partial_begin(struct session *s, struct offer *o, uint32_t part, struct partial **out,
                  struct err *e);
/* Frees the place; buffer and reference pass to the caller. */
void partial_end(struct session *s, struct partial *p);
/* Whether a part waits for its pieces for too long; the error says which. */
int partial_check_age(struct session *s, struct err *e);
/* For so long the connection was not read: nothing could come. */
void partial_excuse(struct session *s, uint64_t ns);
/* Ends them all; keeps what came of them. */
void partial_keep_all(struct session *s);
/* What is kept of this offer's parts: at most LINK_PARTS_OPEN, into out. Returns their number. */
unsigned kept_list(const struct session *s, const struct offer *o, Relais__PartBegun *out);
/* Goes on with a part from `offset`. Errors: NOENT (without a text: not so much of it is kept, or
 * not any more), NET, CANCELED. (waits) */
int kept_resume(struct session *s, struct offer *o, uint32_t part, uint32_t offset, struct err *e);
/* Frees what is older than HUB_KEPT_NS. */
void kept_expire(struct hub *h);
void kept_free(struct hub *h);

/* ---- commit.c ---- */

int commit_ask(struct session *s, uint32_t id, const Relais__Commit *m, struct err *e);

/* ---- serve.c ---- */

int serve_history(struct session *s, uint32_t id, const Relais__HistoryGet *m, struct err *e);
int serve_fetch(struct session *s, uint32_t id, const Relais__Fetch *m, struct err *e);
int serve_territory(struct session *s, uint32_t id, struct err *e);
/* serve_many.c */
int serve_many(struct session *s, uint32_t id, const Relais__FetchMany *m, struct err *e);
int serve_audit(struct session *s, uint32_t id, const Relais__AuditGet *m, struct err *e);
/* Reads a range of a committed delta's file from its objects. (waits) */
int hub_read(struct hub *h, const char *site, const char *group, const struct catalog_entry *entry,
             uint64_t off, void *buf, uint32_t len, struct err *e);

/* Whether the peer may read this group, and whether these are names at all. */
int serve_check_target(const struct session *s, const char *site, const char *group, struct err *e);

/* ---- reads.c: the audit log's part of it ---- */

/* A group's history is looked at, or so many bytes of a delta were fetched. */
void reads_open(struct session *s, const char *site, const char *group);
void reads_fetched(struct session *s, const char *site, const char *group, uint64_t rp,
                   uint64_t bytes);
/* The connection has ended. */
void reads_tell(struct session *s);

/* ---- readers.c: wraps of data keys for readers that came later ---- */

int readers_put(struct session *s, const struct frame_header *h, const Relais__WrapsPut *m,
                struct err *e);
int readers_get(struct session *s, uint32_t id, const Relais__WrapsGet *m, struct err *e);

/* ---- ask.c ---- */

int ask_serve(struct session *s, const struct frame_header *f, struct err *e);

/* ---- territory.c ---- */

/* Adds all groups of a site. (waits) */
int territory_add(struct territory *t, struct hub *h, const char *site, struct err *e);
void territory_free(struct territory *t);

#endif
