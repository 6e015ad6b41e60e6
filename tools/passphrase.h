/* passphrase.h: passphrases from people (the terminal, without echo) and from scripts (a file or a
 * descriptor), never from the command line, where others could read them. Before the loop runs. */
#ifndef RELAIS_PASSPHRASE_H
#define RELAIS_PASSPHRASE_H

#include "key.h"

/* Where one comes from: a file whose first line it is ("/dev/fd/N" for a descriptor), or NULL: the
 * terminal. */
struct passphrase_source {
    const char *file;
    const char *use; /* what it is asked as: "passphrase", "new passphrase" */
};

/* An asker of key.h over a source, which it borrows. Errors: AUTH (the file may be read by others,
 * it is empty), LIMIT, NOENT, IO; USAGE when there is neither file nor terminal. */
struct key_asker passphrase_asker(struct passphrase_source *s);

/* A new one, in locked memory that sodium_free frees: asked for twice on a terminal; of
 * PASSPHRASE_MIN bytes at least. */
int passphrase_new(char **out, size_t *len, const struct passphrase_source *s, const char *what,
                   struct err *e);

#endif
