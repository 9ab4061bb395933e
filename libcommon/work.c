#include "work.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

struct job {
    void (*fn)(void *);
    void *arg;
};

struct gs_work {
    pthread_mutex_t lock;
    pthread_cond_t more; /* a job came in, or the end */
    pthread_cond_t less; /* a job left the queue, or ended */
    struct job *ring;
    unsigned cap, head, n, running, threads;
    bool stop;
    pthread_t tid[];
};

static void *worker(void *cookie)
{
    struct gs_work *w = cookie;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (w->n == 0 && !w->stop)
            pthread_cond_wait(&w->more, &w->lock);
        if (w->n == 0)
            break;
        struct job j = w->ring[w->head];
        w->head = (w->head + 1) % w->cap;
        w->n--;
        w->running++;
        pthread_cond_broadcast(&w->less);
        pthread_mutex_unlock(&w->lock);
        j.fn(j.arg);
        pthread_mutex_lock(&w->lock);
        w->running--;
        pthread_cond_broadcast(&w->less);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int gs_work_new(unsigned threads, unsigned queue, struct gs_work **out, struct gs_err *err)
{
    if (threads == 0) {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        threads = n < 1 ? 1 : n > 8 ? 8 : (unsigned)n;
    }
    if (queue == 0)
        queue = 1;
    struct gs_work *w = calloc(1, sizeof *w + threads * sizeof w->tid[0]);
    if (!w)
        return gs_fail(err, GS_E_NOMEM, "no memory for worker threads");
    w->ring = calloc(queue, sizeof *w->ring);
    if (!w->ring) {
        free(w);
        return gs_fail(err, GS_E_NOMEM, "no memory for worker threads");
    }
    w->cap = queue;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    pthread_cond_init(&w->less, NULL);
    /* signals are for the main thread */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (w->threads < threads) {
        int e = pthread_create(&w->tid[w->threads], NULL, worker, w);
        if (e) {
            pthread_sigmask(SIG_SETMASK, &old, NULL);
            gs_work_free(w);
            return gs_fail_sys(err, GS_E_NOMEM, e, "starting a worker thread");
        }
        w->threads++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    *out = w;
    return 0;
}

unsigned gs_work_threads(const struct gs_work *w)
{
    return w->threads;
}

void gs_work_submit(struct gs_work *w, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&w->lock);
    while (w->n == w->cap)
        pthread_cond_wait(&w->less, &w->lock);
    w->ring[(w->head + w->n) % w->cap] = (struct job){.fn = fn, .arg = arg};
    w->n++;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void gs_work_wait(struct gs_work *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->n > 0 || w->running > 0)
        pthread_cond_wait(&w->less, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void gs_work_free(struct gs_work *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->threads; i++)
        pthread_join(w->tid[i], NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->more);
    pthread_cond_destroy(&w->less);
    free(w->ring);
    free(w);
}
