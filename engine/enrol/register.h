/* register.h: who belongs to the territory by enrolment: members, open invitations, keys that were
 * revoked. What a hub keeps beside relais.conf, in one file of its state directory.
 *
 *   invited ──enrols──▶ pending ──approved──▶ active ──revoked──▶ revoked ──invited, enrols──▶ ...
 *                          └────────────────────revoked───────────────▲
 *
 * A revoked key stays refused for ever, whoever names it, relais.conf too. A member that was
 * revoked and enrols again has a new link key and its old name; whether its signing key may be
 * another one is not this module's business. Times are UTC seconds. Pure. */
#ifndef RELAIS_REGISTER_H
#define RELAIS_REGISTER_H

#include "bounds.h"
#include "token.h"

#define REGISTER_FILE        "enrolled.json" /* in the state directory */
#define REGISTER_FILE_MAX    (4 * MIB)
#define REGISTER_INVITED_MAX 256u
#define REGISTER_REVOKED_MAX 4096u
#define REGISTER_REASON_MAX  128u
/* An invitation is remembered for so long after it has ended, so that its bearer is told why. */
#define REGISTER_REMEMBER_S INT64_C(604800)
#define REGISTER_VALID_MIN  INT64_C(1)
#define REGISTER_VALID_MAX  INT64_C(2592000)

struct register_reads {
    unsigned count;
    char grants[CONFIG_READS_MAX][2 * NAME_MAX_LEN + 2]; /* as `reads` of relais.conf */
};

struct register_invitation {
    char site[NAME_MAX_LEN + 1];
    struct key_public key; /* token_key's public half */
    int64_t made, until;
    bool approved; /* who enrols with it needs no approval */
    bool withdrawn;
    int64_t used;              /* 0: not yet */
    struct key_public used_by; /* the link key */
    struct register_reads reads;
};

enum register_state { MEMBER_PENDING, MEMBER_ACTIVE, MEMBER_REVOKED };

struct register_member {
    char name[NAME_MAX_LEN + 1];
    enum register_state state;
    struct key_public link, sign, restore;
    int64_t since; /* it has its state */
    struct register_reads reads;
};

struct register_revoked {
    char name[NAME_MAX_LEN + 1];
    struct key_public link;
    int64_t since;
    char reason[REGISTER_REASON_MAX];
};

struct enrolled { /* "register" is a word of C */
    struct register_invitation *invitations;
    struct register_member *members;
    struct register_revoked *revoked;
    unsigned invitation_count, member_count, revoked_count;
};
void register_free(struct enrolled *r); /* what it holds */
/* out is overwritten. */
void register_copy(struct enrolled *out, const struct enrolled *r);

/* The file's text, malloc'd, and back; parse never trusts len. Errors: LIMIT; CONFIG, naming what
 * is wrong with which entry. register_json.c. */
int register_text(char **out, size_t *len, const struct enrolled *r, struct err *e);
int register_parse(struct enrolled *out, const char *text, size_t len, struct err *e);

const char *register_state_name(enum register_state s); /* "pending" ... */
struct register_member *register_member(const struct enrolled *r, const char *name);
const struct register_revoked *register_revoked(const struct enrolled *r,
                                                const struct key_public *link);
/* Whether anybody may enrol now. */
bool register_open(const struct enrolled *r, int64_t now);
/* Drops what ended long ago. */
void register_expire(struct enrolled *r, int64_t now);

/* Adds it. The one before for the same site, if still open, is withdrawn. reads NULL: those that
 * the site had, if it was a member. Errors: EXISTS (it is a member), LIMIT. */
int register_invite(struct enrolled *r, const char *site, const struct key_public *key,
                    const struct register_reads *reads, bool approved, int64_t now, int64_t until,
                    struct err *e);
/* 0 also when there is none to withdraw: *was tells. */
void register_withdraw(struct enrolled *r, const char *site, int64_t now, bool *was);
/* NULL: nobody was invited so. */
struct register_invitation *register_invitation(const struct enrolled *r,
                                                const uint8_t id[TOKEN_ID_LEN]);
/* The bearer of inv is a member. 0 also when it is one already, by the same invitation and keys: a
 * reply may have been lost. Errors: AUTH (used by another, withdrawn, expired, of another site, a
 * revoked key), EXISTS, CONFLICT (the key is another member's), LIMIT. */
int register_enrol(struct enrolled *r, struct register_invitation *inv, const struct token_offer *o,
                   int64_t now, struct register_member **out, struct err *e);
/* Errors: NOENT (nobody of this name), EXISTS (active already), AUTH (the fingerprint is not the
 * member's; revoked). */
int register_approve(struct enrolled *r, const char *name, const char *fingerprint, int64_t now,
                     struct err *e);
/* Refuses the key from now on; the member of that name and key is revoked. Errors: EXISTS (it is
 * revoked), LIMIT. */
int register_revoke(struct enrolled *r, const char *name, const struct key_public *link,
                    const char *reason, int64_t now, struct err *e);

#endif
