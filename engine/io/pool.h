/* pool.h: private to io: threads that run requests. One loop's thread submits and removes.
 *
 * Threads are started as work arrives, up to a maximum, and stay. They block all signals. */
#ifndef RELAIS_POOL_H
#define RELAIS_POOL_H

#include "io.h"

struct pool;

/* prepare is called first on each new thread, unless NULL; run(ctx, req) is called on a pool thread
 * for each submitted request; it must say itself that req is done. 0 or a negative errno (not even
 * one thread can be started). */
int pool_new(struct pool **out, unsigned max_threads, size_t stack_size, void (*prepare)(void),
             void (*run)(void *ctx, struct io_req *req), void *ctx);
/* The pool uses req->next, prev, and args[9]. Requests are run in this order. */
void pool_submit(struct pool *p, struct io_req *req);
/* Takes req back: true when no thread has begun with it, and none will. */
bool pool_remove(struct pool *p, struct io_req *req);
/* Waits for the requests that run. None may be queued. NULL is fine. */
void pool_free(struct pool *p);

#endif
