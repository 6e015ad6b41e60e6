#include "pool.h"

#include "err.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define QUEUED args[9]

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct io_req *head, *tail;
    size_t queued;
    unsigned idle, started, max;
    bool stopping;
    size_t stack_size;
    void (*prepare)(void);
    void (*run)(void *ctx, struct io_req *req);
    void *ctx;
    pthread_t threads[];
};

static void unqueue(struct pool *p, struct io_req *req)
{
    if (req->prev)
        req->prev->next = req->next;
    else
        p->head = req->next;
    if (req->next)
        req->next->prev = req->prev;
    else
        p->tail = req->prev;
    req->next = req->prev = NULL;
    req->QUEUED = 0;
    p->queued--;
}

static void *thread_main(void *arg)
{
    struct pool *p = arg;
    if (p->prepare)
        p->prepare();
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct io_req *req = p->head;
        if (req) {
            unqueue(p, req);
            pthread_mutex_unlock(&p->lock);
            p->run(p->ctx, req);
            pthread_mutex_lock(&p->lock);
        } else if (p->stopping) {
            break;
        } else {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals are for the loop (signalfd); a thread that inherited an open mask would take them away.
 */
static int start_thread(struct pool *p)
{
    sigset_t all, before;
    pthread_attr_t attr;
    int res = pthread_attr_init(&attr);
    if (res)
        return -res;
    (void)pthread_attr_setstacksize(&attr, p->stack_size);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    res = pthread_create(&p->threads[p->started], &attr, thread_main, p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    if (res == 0)
        p->started++;
    return -res;
}

int pool_new(struct pool **out, unsigned max_threads, size_t stack_size, void (*prepare)(void),
             void (*run)(void *ctx, struct io_req *req), void *ctx)
{
    struct pool *p = err_calloc(1, sizeof *p + max_threads * sizeof(pthread_t));
    int res;
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->work, NULL);
    p->max = max_threads;
    p->stack_size = stack_size;
    p->prepare = prepare;
    p->run = run;
    p->ctx = ctx;
    res = start_thread(p);
    if (res < 0) {
        pool_free(p);
        p = NULL;
    }
    *out = p;
    return res;
}

void pool_submit(struct pool *p, struct io_req *req)
{
    bool more;
    pthread_mutex_lock(&p->lock);
    req->next = NULL;
    req->prev = p->tail;
    if (p->tail)
        p->tail->next = req;
    else
        p->head = req;
    p->tail = req;
    req->QUEUED = 1;
    p->queued++;
    more = p->queued > p->idle && p->started < p->max;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (more)
        (void)start_thread(p); /* when it fails, those that run will come to it */
}

bool pool_remove(struct pool *p, struct io_req *req)
{
    bool queued;
    pthread_mutex_lock(&p->lock);
    queued = req->QUEUED != 0;
    if (queued)
        unqueue(p, req);
    pthread_mutex_unlock(&p->lock);
    return queued;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    ASSERT(!p->head);
    p->stopping = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->started; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
