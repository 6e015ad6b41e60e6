/* merge_own.h: what the planning and the writing of a merge share. */
#ifndef RELAIS_MERGE_OWN_H
#define RELAIS_MERGE_OWN_H

#include "merge.h"

/* Reads and checks the index of input n; *raw is the caller's. (waits) */
int merge_load_index(struct merge *m, size_t n, uint8_t **raw, struct err *e);
/* The error of a verb on a delta's file; AGAIN when it is gone, for then the chain went on. */
int merge_file_error(struct err *e, int res, const char *path);
/* AGAIN when the shipper waits for what is being merged. */
int merge_give_way(const struct merge *m, struct err *e);

#endif
