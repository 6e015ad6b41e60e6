/* key.h: the long-lived keys, apart by purpose, and their files.
 *
 *   link     Ed25519   who a daemon is on the wire (TLS 1.3, pinned)
 *   sign     Ed25519   signs the manifests of a site (RFC 8032)
 *   restore  X25519    opens the data keys of what was shipped (crypto_box_seal)
 *   hash     32 bytes  keys the scan's sector hashes (SipHash); never leaves the site
 *
 * A public key is one word, "sign:BASE64"; a fingerprint is the first 8 bytes of the SHA-256 of its
 * 32 bytes, in hex. A key file is text: a first line "relais key 1", then "kind", "public",
 * "secret"; or, "relais key 2", with its secret sealed under a passphrase. Secrets live in
 * sodium_malloc'd memory: locked, guarded, not in core dumps. */
#ifndef RELAIS_KEY_H
#define RELAIS_KEY_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_kind { KEY_LINK, KEY_SIGN, KEY_RESTORE, KEY_HASH, KEY_KINDS };

#define KEY_LEN      32
#define KEY_WORD_MAX 64 /* "restore:" + base64 + NUL */
#define KEY_FP_LEN   8

struct key_public {
    enum key_kind kind;
    uint8_t b[KEY_LEN];
};

struct key_secret; /* kind, public half, secret half */

/* "link", "sign", "restore", "hash". key_kind_parse: -1 when unknown. */
const char *key_kind_name(enum key_kind kind);
int key_kind_parse(const char *word, enum key_kind *out);

/* Call once, first thing in main, before threads. */
int key_init(struct err *e);

/* seed: 32 random bytes (from io_random or randombytes); the caller wipes them. NULL: drawn here.
 */
struct key_secret *key_generate(enum key_kind kind, const uint8_t *seed);
void key_free(struct key_secret *k); /* wipes; NULL is fine */
enum key_kind key_kind(const struct key_secret *k);
/* Never for KEY_HASH (its public half is its fingerprint and reveals nothing). */
const struct key_public *key_public(const struct key_secret *k);
/* The 64-byte (link, sign) or 32-byte (restore, hash) secret; stays the key's. */
const uint8_t *key_secret_bytes(const struct key_secret *k);

void key_public_word(char dst[KEY_WORD_MAX], const struct key_public *k);
/* Errors: INPUT, naming what is wrong with the word. want: the kind it must have. */
int key_public_parse(struct key_public *out, enum key_kind want, const char *word, struct err *e);
void key_fingerprint(uint8_t dst[KEY_FP_LEN], const struct key_public *k);

/* A passphrase that seals the secret of a key file, and what trying one costs: Argon2id with so
 * many passes over so much memory; 0: the default. text: 1 to PASSPHRASE_MAX bytes; stays the
 * caller's. */
struct key_passphrase {
    const char *text;
    size_t len;
    uint32_t passes, kib;
};
/* Who knows it. ask puts at most cap bytes into dst (locked memory); what names the key file.
 * Returns 0 or an error of its own. */
struct key_asker {
    int (*ask)(void *arg, const char *what, char *dst, size_t cap, size_t *len, struct err *e);
    void *arg;
};

/* The text of a key file, and back. parse never trusts len; name is for messages. Errors: INPUT;
 * AUTH (the passphrase does not open it; it needs one and asker is NULL); OS (no memory for
 * Argon2id). key_file_text writes a NUL-terminated text of at most KEY_FILE_MAX into sodium-locked
 * or caller-wiped memory; pass NULL: the secret as it is, and then it cannot fail. Errors: OS,
 * LIMIT. Takes half a second with a passphrase. */
int key_file_text(char *dst, size_t cap, size_t *len, const struct key_secret *k,
                  const struct key_passphrase *pass, struct err *e);
int key_file_parse(struct key_secret **out, enum key_kind want, const char *name, const char *text,
                   size_t len, const struct key_asker *asker, struct err *e);

/* Synchronous file forms, for programs at start-up, before the loop runs. save never overwrites
 * (EXISTS); replace puts a file that is whole in the place of the old one. Both make it durable, of
 * mode 0600. load refuses files that others may read or that belong to neither root nor the caller
 * (AUTH, saying "chmod 600 ..."). */
int key_file_save(const char *path, const struct key_secret *k, const struct key_passphrase *pass,
                  struct err *e);
int key_file_replace(const char *path, const struct key_secret *k,
                     const struct key_passphrase *pass, struct err *e);
int key_file_load(struct key_secret **out, enum key_kind want, const char *path,
                  const struct key_asker *asker, struct err *e);

#endif
