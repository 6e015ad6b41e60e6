/* token.h: an invitation as its bearer holds it: one word that is pasted, typed or read over the
 * telephone.
 *
 *   lens@hub.arras.example:7440/0V3GK-8ZQ4M-...   SITE@ADDRESS[,ADDRESS...]/CODE
 *
 * The code is 30 bytes in three lines (typed.h), whose checks cover the plain words before it:
 *
 *   version (1) | secret (16) | the first 13 bytes of the SHA-256 of the hub's public link key
 *
 * The secret is never sent. It is the seed of an Ed25519 key of which the hub keeps the public
 * half, so that neither the hub's disk nor anybody between can use an invitation; its bearer signs
 * what it hands over together with what binds it to this very connection. Until when an invitation
 * holds is not in it: the hub's clock decides. Pure. */
#ifndef RELAIS_TOKEN_H
#define RELAIS_TOKEN_H

#include "config.h"
#include "key.h"

#define TOKEN_SECRET_LEN  16u
#define TOKEN_PIN_LEN     13u
#define TOKEN_TEXT_MAX    1400u
#define TOKEN_ID_LEN      KEY_FP_LEN
#define TOKEN_PROOF_LEN   64u
#define TOKEN_BINDING_LEN 32u

struct token {
    char site[NAME_MAX_LEN + 1];
    struct config_addr addrs[CONFIG_ADDRS_MAX];
    unsigned addr_count; /* at least 1 */
    uint8_t secret[TOKEN_SECRET_LEN];
    uint8_t pin[TOKEN_PIN_LEN];
};

/* A new one. site and addresses are the caller's; both are checked by token_print only. */
void token_draw(struct token *t, const struct key_public *hub_link);
/* Errors: LIMIT. The text holds the secret: the caller wipes it. */
int token_print(char dst[TOKEN_TEXT_MAX], const struct token *t, struct err *e);
/* Blanks in the code do not matter, nor do those between its groups. Errors: INPUT, saying where
 * the error is likely to be. */
int token_parse(struct token *out, const char *text, struct err *e);

/* The invitation's key, of kind sign. Its fingerprint is the invitation's id. */
struct key_secret *token_key(const struct token *t);

/* What a new member hands over. */
struct token_offer {
    char site[NAME_MAX_LEN + 1];
    struct key_public link, sign, restore;
};
/* Proves that who offers this over this connection (binding) to this hub bears the invitation. */
void token_prove(uint8_t proof[TOKEN_PROOF_LEN], const struct key_secret *key,
                 const struct token_offer *o, const struct key_public *hub_link,
                 const uint8_t binding[TOKEN_BINDING_LEN]);
/* Errors: AUTH. */
int token_check(const uint8_t proof[TOKEN_PROOF_LEN], const struct key_public *key,
                const struct token_offer *o, const struct key_public *hub_link,
                const uint8_t binding[TOKEN_BINDING_LEN], struct err *e);

/* What people compare over the telephone: 80 bits over link and signing key, "3f2a-91bc-...". */
#define TOKEN_FINGERPRINT 25
void token_fingerprint(char dst[TOKEN_FINGERPRINT], const struct key_public *link,
                       const struct key_public *sign);
/* Whether what somebody typed is that fingerprint; case, blanks and dashes do not matter. */
bool token_fingerprint_is(const char fingerprint[TOKEN_FINGERPRINT], const char *typed);

#endif
