/*
 * The thread that writes, and the one that syncs.
 *
 * The writer takes everything that waits, stores it in one transaction, and says that it is stored. A commit of SQLite in WAL mode
 * with synchronous=NORMAL is a write without a sync: it survives the end of the process. The other thread makes it survive a
 * loss of power: a checkpoint (which syncs the log, then the database) a second after the first unsynced commit, or after 8 MiB.
 * It has a connection of its own, so that commits go on meanwhile.
 */
#include "libexport/staging_priv.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#define QUEUE_BYTES ((size_t)32 << 20) /* that may wait before the caller does */
#define SYNC_MS 1000
#define SYNC_BYTES ((uint64_t)8 << 20)
#define LOG_PAGES 16384 /* 64 MiB: then the log is emptied, for which commits wait a moment */

struct stg_writer {
    struct stg_db write, sync;
    pthread_t thread, sync_thread;
    bool has_thread, has_sync_thread;

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t work, done, unsynced;
    struct stg_job *first, *last;
    size_t bytes;
    unsigned pending; /* jobs handed over and not yet stored */
    bool stop, failed;
    struct gs_err err;
    struct gl_client *client;
    uint64_t unsynced_bytes;
    int64_t unsynced_since; /* 0: everything is synced */
};

struct stg_job *stg_job_new(int (*apply)(struct stg_db *, const struct stg_job *, struct gs_err *))
{
    struct stg_job *j = calloc(1, sizeof *j);
    if (j) {
        j->apply = apply;
        j->size = sizeof *j;
        j->fd = -1;
    }
    return j;
}

void stg_job_free(struct stg_job *j)
{
    if (!j)
        return;
    gl_response_release(&j->answer.rsp);
    free(j->name);
    free(j->relation);
    free(j->text);
    if (j->fd >= 0)
        close(j->fd);
    free(j);
}

static void free_all(struct stg_job *j)
{
    while (j) {
        struct stg_job *next = j->next;
        stg_job_free(j);
        j = next;
    }
}

/* Under the lock. */
static void fail(struct stg_writer *w, const struct gs_err *err)
{
    if (!w->failed) {
        w->failed = true;
        w->err = *err;
    }
    pthread_cond_broadcast(&w->done);
    if (w->client)
        gl_client_wake(w->client);
}

/* ---- writing ---- */

/* A file is safe before the row that speaks of it. */
static int sync_files(const struct stg_job *j, struct gs_err *err)
{
    for (; j; j = j->next)
        if (j->fd >= 0 && fsync(j->fd))
            return gs_fail_sys(err, GS_E_IO, errno, "syncing the file '%s'", j->name);
    return 0;
}

static int store(struct stg_writer *w, const struct stg_job *jobs, struct gs_err *err)
{
    if (sync_files(jobs, err) || stg_simple(&w->write, STG_Q_BEGIN, "beginning", err))
        return -1;
    int r = 0;
    for (const struct stg_job *j = jobs; j && r == 0; j = j->next)
        r = j->apply(&w->write, j, err);
    gs_fault("staging.keep.before");
    if (r == 0)
        r = stg_simple(&w->write, STG_Q_COMMIT, "committing", err);
    gs_fault("staging.keep.after");
    if (r && !sqlite3_get_autocommit(w->write.db)) {
        struct gs_err second = {0};
        GS_IGNORE(stg_simple(&w->write, STG_Q_ROLLBACK, "going back", &second), "the first error is told");
    }
    return r;
}

static void stored(struct stg_writer *w, unsigned n, size_t bytes)
{
    w->pending -= n;
    w->unsynced_bytes += bytes;
    if (!w->unsynced_since)
        w->unsynced_since = gs_mono_ms();
    pthread_cond_signal(&w->unsynced);
    pthread_cond_broadcast(&w->done);
    if (w->client)
        gl_client_wake(w->client);
}

static void *writing(void *arg)
{
    struct stg_writer *w = arg;
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->first && !w->stop)
            pthread_cond_wait(&w->work, &w->lock);
        if (!w->first || w->failed)
            break;
        struct stg_job *jobs = w->first;
        size_t bytes = w->bytes;
        unsigned n = w->pending;
        w->first = w->last = NULL;
        w->bytes = 0;
        pthread_cond_broadcast(&w->done); /* there is room again */
        pthread_mutex_unlock(&w->lock);
        struct gs_err err = {0};
        int r = store(w, jobs, &err);
        free_all(jobs);
        pthread_mutex_lock(&w->lock);
        if (r)
            fail(w, &err);
        else
            stored(w, n, bytes);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- syncing ---- */

static int checkpoint(struct stg_writer *w, struct gs_err *err)
{
    int in_log = 0, done = 0;
    int rc = sqlite3_wal_checkpoint_v2(w->sync.db, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, &done);
    if (rc == SQLITE_OK && in_log > LOG_PAGES)
        rc = sqlite3_wal_checkpoint_v2(w->sync.db, NULL, SQLITE_CHECKPOINT_RESTART, &in_log, &done);
    /* busy: somebody reads an older state; what could be done is done, and the log was synced first */
    return rc == SQLITE_OK || (rc & 0xff) == SQLITE_BUSY ? 0 : stg_db_fail(&w->sync, "syncing", err);
}

static void wait_until(struct stg_writer *w, int64_t mono_ms)
{
    struct timespec ts = {.tv_sec = mono_ms / 1000, .tv_nsec = mono_ms % 1000 * 1000000};
    pthread_cond_timedwait(&w->unsynced, &w->lock, &ts);
}

static void *syncing(void *arg)
{
    struct stg_writer *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->stop && !w->failed) { /* the end is the closing of the database, which syncs */
        if (!w->unsynced_since) {
            pthread_cond_wait(&w->unsynced, &w->lock);
            continue;
        }
        if (w->unsynced_bytes < SYNC_BYTES && gs_mono_ms() < w->unsynced_since + SYNC_MS) {
            wait_until(w, w->unsynced_since + SYNC_MS);
            continue;
        }
        w->unsynced_since = 0;
        w->unsynced_bytes = 0;
        pthread_mutex_unlock(&w->lock);
        struct gs_err err = {0};
        int r = checkpoint(w, &err);
        pthread_mutex_lock(&w->lock);
        if (r)
            fail(w, &err);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ---- life ---- */

static int start_threads(struct stg_writer *w, struct gs_err *err)
{
    /* signals are for the main thread */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(&w->thread, NULL, writing, w);
    w->has_thread = e == 0;
    if (e == 0) {
        e = pthread_create(&w->sync_thread, NULL, syncing, w);
        w->has_sync_thread = e == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e ? gs_fail_sys(err, GS_E_NOMEM, e, "starting a thread") : 0;
}

int stg_writer_new(const char *db_path, struct stg_writer **out, struct gs_err *err)
{
    struct stg_writer *w = calloc(1, sizeof *w);
    if (!w)
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->work, NULL);
    pthread_cond_init(&w->done, NULL);
    pthread_cond_init(&w->unsynced, &mono);
    pthread_condattr_destroy(&mono);
    if (stg_db_open(&w->write, db_path, STG_WRITE, err) || stg_db_open(&w->sync, db_path, STG_WRITE, err) ||
        start_threads(w, err)) {
        stg_writer_free(w);
        return -1;
    }
    *out = w;
    return 0;
}

void stg_writer_free(struct stg_writer *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->work);
    pthread_cond_broadcast(&w->unsynced);
    pthread_mutex_unlock(&w->lock);
    if (w->has_thread)
        pthread_join(w->thread, NULL);
    if (w->has_sync_thread)
        pthread_join(w->sync_thread, NULL);
    free_all(w->first);
    stg_db_close(&w->sync);
    stg_db_close(&w->write);
    pthread_cond_destroy(&w->work);
    pthread_cond_destroy(&w->done);
    pthread_cond_destroy(&w->unsynced);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* ---- the caller's side ---- */

int stg_writer_post(struct stg_writer *w, struct stg_job *j, struct gs_err *err)
{
    pthread_mutex_lock(&w->lock);
    while (w->bytes > QUEUE_BYTES && !w->failed)
        pthread_cond_wait(&w->done, &w->lock);
    if (w->failed) {
        *err = w->err;
        pthread_mutex_unlock(&w->lock);
        stg_job_free(j);
        return -1;
    }
    if (w->last)
        w->last->next = j;
    else
        w->first = j;
    w->last = j;
    w->bytes += j->size;
    w->pending++;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

int stg_writer_drain(struct stg_writer *w, struct gs_err *err)
{
    pthread_mutex_lock(&w->lock);
    while (w->pending > 0 && !w->failed)
        pthread_cond_wait(&w->done, &w->lock);
    int r = w->failed ? -1 : 0;
    if (r)
        *err = w->err;
    pthread_mutex_unlock(&w->lock);
    return r;
}

int stg_writer_unstored(struct stg_writer *w, unsigned *out, struct gs_err *err)
{
    pthread_mutex_lock(&w->lock);
    int r = w->failed ? -1 : 0;
    if (r)
        *err = w->err;
    *out = w->pending;
    pthread_mutex_unlock(&w->lock);
    return r;
}

void stg_writer_wakes(struct stg_writer *w, struct gl_client *client)
{
    pthread_mutex_lock(&w->lock);
    w->client = client;
    pthread_mutex_unlock(&w->lock);
}
