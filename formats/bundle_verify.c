/*
 * Checking a whole bundle: every stored byte on worker threads, and if wanted every record and the arithmetic of the
 * books.
 *
 * A member of one frame, and a plain file, is the work of one thread; so is a larger one as long as enough others are
 * left to keep all threads busy, since then its bytes are read once. The frames of the last large ones are unpacked by
 * several at once, each as if it began and ended with a record, which is how they are written; another thread takes the
 * digest of the whole. When all of that fits together the member is sound. When anything does not - a record that reaches over two
 * frames, or damage - the member is read once more from the beginning by one thread, and what that finds is the answer. So
 * what is refused, and with which words, never depends on the number of threads.
 */
#include "bundle_priv.h"

#include "libcommon/clock.h"

#include <string.h>
#include <time.h>

#define CHUNK ((size_t)64 << 10)
#define BATCH_BYTES ((uint64_t)4 << 20) /* small members share one job, and small frames */
#define JOBS_PER_THREAD 4
#define PROGRESS_MS 100
#define STOPPED "stopped before everything was checked"

/* What a thread works with. */
struct tools {
    struct tools *next;
    ZSTD_DCtx *d;
    struct gs_buf stored, raw;
};

struct check {
    struct bundle *b;
    struct bundle_verify_opts o;
    uint64_t total, job_raw;
    pthread_mutex_t lock; /* everything below */
    pthread_cond_t moved; /* a job ended */
    unsigned running;
    struct tools *idle;
    struct gs_err err;
    size_t err_at; /* member that failed: the first in the file is reported, whatever thread was first */
    uint64_t done; /* bytes */
    struct bundle_verify_result sum;
};

/* A member whose frames are checked by several threads. */
struct shared {
    size_t at;
    const struct bundle_member *m;
    unsigned left; /* jobs that have not ended; all below under the lock */
    bool odd;
    uint64_t records;
};

struct job {
    struct check *c;
    struct shared *shared; /* NULL: members `from` to `to` */
    bool whole;            /* of `shared`: the digest of all its bytes; else frames `from` to `to` */
    size_t from, to;       /* books first, then b->members */
};

static const struct bundle_member *member_no(const struct bundle *b, size_t i)
{
    return i < 3 ? &b->books[i] : &b->members[i - 3];
}

/* ---- what a thread works with ---- */

static void tools_free(struct tools *t)
{
    if (!t)
        return;
    ZSTD_freeDCtx(t->d);
    gs_buf_release(&t->stored);
    gs_buf_release(&t->raw);
    free(t);
}

static struct tools *take_tools(struct check *c, struct gs_err *err)
{
    pthread_mutex_lock(&c->lock);
    struct tools *t = c->idle;
    if (t)
        c->idle = t->next;
    pthread_mutex_unlock(&c->lock);
    if (t)
        return t;
    t = calloc(1, sizeof *t);
    if (t) {
        gs_buf_init(&t->stored, SIZE_MAX / 2);
        gs_buf_init(&t->raw, SIZE_MAX / 2);
        t->d = ZSTD_createDCtx();
    }
    if (t && t->d)
        return t;
    tools_free(t);
    gs_fail(err, GS_E_NOMEM, "no memory to decompress with");
    return NULL;
}

/* Those of a long record are not kept. */
static void give_tools(struct check *c, struct tools *t)
{
    if (t->stored.cap > 4 * BATCH_BYTES)
        gs_buf_release(&t->stored);
    if (t->raw.cap > 4 * BATCH_BYTES)
        gs_buf_release(&t->raw);
    pthread_mutex_lock(&c->lock);
    t->next = c->idle;
    c->idle = t;
    pthread_mutex_unlock(&c->lock);
}

/* ---- how far it is ---- */

static bool stopped(const struct check *c)
{
    return c->o.stop && *c->o.stop;
}

/* Has a member before this one failed already? Then nobody asks what this one is like. */
static bool pointless(struct check *c, size_t at)
{
    pthread_mutex_lock(&c->lock);
    bool yes = c->err_at < at;
    pthread_mutex_unlock(&c->lock);
    return yes || stopped(c);
}

static void count_done(struct check *c, uint64_t bytes)
{
    pthread_mutex_lock(&c->lock);
    c->done += bytes;
    pthread_mutex_unlock(&c->lock);
}

/* ---- one member, by one thread ---- */

static int digest_matches(const struct bundle_member *m, crypto_generichash_state *h, struct gs_err *err)
{
    uint8_t digest[BUNDLE_DIGEST_LEN];
    crypto_generichash_final(h, digest, sizeof digest);
    if (memcmp(digest, m->digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "'%s' is not what SUMS says", m->path);
    return 0;
}

static int check_bytes(const struct bundle *b, const struct bundle_member *m, struct gs_buf *chunk, struct gs_err *err)
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, BUNDLE_DIGEST_LEN);
    if (gs_buf_reserve(chunk, CHUNK, err))
        return -1;
    for (uint64_t off = 0; off < m->stored;) {
        size_t n = m->stored - off < CHUNK ? (size_t)(m->stored - off) : CHUNK;
        if (gs_source_read(&b->src, m->offset + off, chunk->data, n, err))
            return gs_wrap(err, "'%s'", m->path);
        crypto_generichash_update(&h, (const uint8_t *)chunk->data, n);
        off += n;
    }
    return digest_matches(m, &h, err);
}

/* Whole records at the start of `raw` are checked and taken out of it. */
static int check_records(const struct bundle *b, const struct bundle_member *m, struct gs_buf *raw, bool at_end,
                         uint64_t *records, struct gs_err *err)
{
    enum record_encoding e = bundle_member_encoding(b, m);
    size_t pos = 0, n;
    while (pos < raw->len) {
        n = record_quick(e, raw->data + pos, raw->len - pos, &b->lim.record);
        if (n > 0) {
            pos += n;
            ++*records;
            continue;
        }
        if (record_next(e, raw->data + pos, raw->len - pos, at_end, &b->lim.record, &n, err) ||
            /* msgpack was checked by the walk that found the end */
            (n && e == RECORD_NDJSON && record_check(e, raw->data + pos, n, &b->lim.record, err)))
            return gs_wrap(err, "record %llu of '%s'", (unsigned long long)*records + 1, m->path);
        if (n == 0)
            break;
        pos += n;
        ++*records;
    }
    if (pos) {
        memmove(raw->data, raw->data + pos, raw->len - pos);
        raw->len -= pos;
    }
    return 0;
}

static int check_deep(struct check *c, size_t at, struct tools *w, uint64_t *out_records, struct gs_err *err)
{
    const struct bundle *b = c->b;
    const struct bundle_member *m = member_no(b, at);
    bool many = m->n_frames > 1; /* else the frame is the member, and one digest is both */
    uint64_t records = 0;
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, BUNDLE_DIGEST_LEN);
    gs_buf_reset(&w->raw);
    for (uint32_t i = 0; i < m->n_frames; i++) {
        const struct bundle_frame *f = &b->frames[m->first_frame + i];
        if (pointless(c, at))
            return gs_fail(err, GS_E_STOPPED, STOPPED);
        gs_buf_reset(&w->stored);
        if (gs_buf_reserve(&w->stored, f->stored, err) || gs_buf_reserve(&w->raw, f->raw, err) ||
            bundle_read_stored(b, m, f, w->stored.data, many ? &h : NULL, err))
            return -1;
        if (frame_decode(w->d, w->stored.data, f->stored, w->raw.data + w->raw.len, f->raw, b->lim.max_window_log, err))
            return gs_wrap(err, "'%s'", m->path);
        w->raw.len += f->raw;
        if (check_records(b, m, &w->raw, i + 1 == m->n_frames, &records, err))
            return -1;
        count_done(c, f->stored);
    }
    if (records != m->records)
        return gs_fail(err, GS_E_COUNT_MISMATCH, "'%s' holds %llu records, the index says %llu", m->path,
                       (unsigned long long)records, (unsigned long long)m->records);
    *out_records = records;
    if (many)
        return digest_matches(m, &h, err);
    if (memcmp(b->frames[m->first_frame].digest, m->digest, sizeof m->digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "SUMS and the index name different digests for '%s'", m->path);
    return 0;
}

/* ---- jobs ---- */

static void settle(struct check *c, size_t at, uint64_t records, const struct gs_err *err)
{
    const struct bundle_member *m = member_no(c->b, at);
    pthread_mutex_lock(&c->lock);
    if (err->code == GS_OK) {
        c->sum.members++;
        c->sum.bytes += m->stored;
        c->sum.raw_bytes += m->raw;
        c->sum.records += at < 3 ? 0 : records;
    } else if (at < c->err_at) {
        c->err_at = at;
        c->err = *err;
    }
    pthread_mutex_unlock(&c->lock);
}

static void check_member(struct check *c, size_t at, struct tools *t)
{
    const struct bundle_member *m = member_no(c->b, at);
    struct gs_err err = {0};
    uint64_t records = m->records;
    if (c->o.deep && !m->is_file)
        GS_IGNORE(check_deep(c, at, t, &records, &err), "err tells");
    else if (check_bytes(c->b, m, &t->stored, &err) == 0)
        count_done(c, m->stored);
    settle(c, at, records, &err);
}

static void run_members(struct job *j, struct tools *t)
{
    for (size_t i = j->from; i < j->to && !pointless(j->c, i); i++)
        check_member(j->c, i, t);
}

/* Counts the records of a frame that holds whole ones only; false when it does not, or one is not valid. */
static bool whole_records(const struct bundle *b, const struct bundle_member *m, const char *data, size_t len,
                          uint64_t *records)
{
    enum record_encoding e = bundle_member_encoding(b, m);
    struct gs_err ignored = {0};
    for (size_t n; len > 0; data += n, len -= n, ++*records) {
        n = record_quick(e, data, len, &b->lim.record);
        if (n == 0 && (record_next(e, data, len, true, &b->lim.record, &n, &ignored) || n == 0 ||
                       (e == RECORD_NDJSON && record_check(e, data, n, &b->lim.record, &ignored))))
            return false;
    }
    return true;
}

static bool check_frame(const struct bundle *b, const struct bundle_member *m, const struct bundle_frame *f,
                        struct tools *t, uint64_t *records)
{
    struct gs_err ignored = {0};
    gs_buf_reset(&t->stored);
    gs_buf_reset(&t->raw);
    return gs_buf_reserve(&t->stored, f->stored, &ignored) == 0 && gs_buf_reserve(&t->raw, f->raw, &ignored) == 0 &&
           bundle_read_stored(b, m, f, t->stored.data, NULL, &ignored) == 0 &&
           frame_decode(t->d, t->stored.data, f->stored, t->raw.data, f->raw, b->lim.max_window_log, &ignored) == 0 &&
           whole_records(b, m, t->raw.data, f->raw, records);
}

/* A part of a shared member. Whoever ends last says what the member is like. */
static void run_shared(struct job *j, struct tools *t)
{
    struct check *c = j->c;
    struct shared *s = j->shared;
    struct gs_err ignored = {0};
    bool skip = !t || pointless(c, s->at), good = true;
    uint64_t records = 0, bytes = 0;
    if (j->whole && !skip)
        good = check_bytes(c->b, s->m, &t->stored, &ignored) == 0;
    for (size_t i = j->from; i < j->to && good && !skip; i++) {
        const struct bundle_frame *f = &c->b->frames[s->m->first_frame + i];
        good = check_frame(c->b, s->m, f, t, &records);
        bytes += f->stored;
    }
    pthread_mutex_lock(&c->lock);
    c->done += bytes;
    s->records += records;
    s->odd |= !good;
    bool last = --s->left == 0, odd = s->odd || s->records != s->m->records;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    if (!skip && odd)
        check_member(c, s->at, t);
    else if (!skip)
        settle(c, s->at, s->records, &ignored);
    free(s);
}

static void run_job(struct job *j)
{
    struct check *c = j->c;
    struct gs_err err = {0};
    struct tools *t = take_tools(c, &err);
    if (!t)
        settle(c, 0, 0, &err);
    if (j->shared)
        run_shared(j, t);
    else if (t)
        run_members(j, t);
    if (t)
        give_tools(c, t);
    pthread_mutex_lock(&c->lock);
    c->running--;
    pthread_cond_signal(&c->moved); /* under the lock: the check may be gone as soon as it is released */
    pthread_mutex_unlock(&c->lock);
}

static void run(void *arg)
{
    struct job j = *(struct job *)arg;
    free(arg);
    run_job(&j);
}

/* ---- handing them out ---- */

/* Until fewer than `most` jobs run, with a sign of life now and then. */
static void wait_for(struct check *c, unsigned most)
{
    pthread_mutex_lock(&c->lock);
    while (c->running >= most) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        bool late = pthread_cond_timedwait(&c->moved, &c->lock, &until) != 0;
        uint64_t done = c->done;
        if (late && c->o.progress) {
            pthread_mutex_unlock(&c->lock);
            c->o.progress(c->o.cookie, done < c->total ? done : c->total, c->total);
            pthread_mutex_lock(&c->lock);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static void submit(struct check *c, struct gs_work *work, struct job job)
{
    wait_for(c, gs_work_threads(work) * JOBS_PER_THREAD);
    pthread_mutex_lock(&c->lock);
    c->running++;
    pthread_mutex_unlock(&c->lock);
    struct job *j = malloc(sizeof *j);
    if (!j) {
        run_job(&job);
        return;
    }
    *j = job;
    gs_work_submit(work, run, j);
}

/* The end of a run of frames from `from` on that is worth a job. */
static size_t frames_to(const struct check *c, const struct bundle_member *m, size_t from)
{
    uint64_t bytes = 0;
    size_t i = from;
    while (i < m->n_frames && (i == from || bytes + c->b->frames[m->first_frame + i].raw <= c->job_raw))
        bytes += c->b->frames[m->first_frame + i++].raw;
    return i;
}

static void submit_shared(struct check *c, struct gs_work *work, size_t at, struct shared *s)
{
    const struct bundle_member *m = member_no(c->b, at);
    *s = (struct shared){.at = at, .m = m, .left = 1};
    for (size_t i = 0; i < m->n_frames; i = frames_to(c, m, i))
        s->left++;
    submit(c, work, (struct job){.c = c, .shared = s, .whole = true});
    for (size_t i = 0, to; i < m->n_frames; i = to) {
        to = frames_to(c, m, i);
        submit(c, work, (struct job){.c = c, .shared = s, .from = i, .to = to});
    }
}

static void hand_out(struct check *c, struct gs_work *work)
{
    size_t n = c->b->n_members + 3;
    uint64_t left = 0; /* raw bytes that nobody has yet */
    for (size_t i = 0; i < n; i++)
        left += member_no(c->b, i)->raw;
    for (size_t i = 0; i < n && !pointless(c, i);) {
        const struct bundle_member *m = member_no(c->b, i);
        bool large = c->o.deep && !m->is_file && m->n_frames > 1 && m->raw > c->job_raw;
        bool share = large && left / m->raw <= gs_work_threads(work);
        struct shared *s = share ? malloc(sizeof *s) : NULL;
        if (s) {
            submit_shared(c, work, i++, s);
            left -= m->raw;
            continue;
        }
        uint64_t bytes = 0;
        size_t from = i;
        while (i < n && (i == from || bytes + member_no(c->b, i)->raw <= c->job_raw))
            bytes += member_no(c->b, i++)->raw;
        left -= bytes;
        submit(c, work, (struct job){.c = c, .from = from, .to = i});
    }
}

int bundle_verify_with(struct bundle *b, const struct bundle_verify_opts *o, struct bundle_verify_result *out,
                       struct gs_err *err)
{
    struct check c = {.b = b, .o = *o, .job_raw = o->job_raw ? o->job_raw : BATCH_BYTES, .err_at = SIZE_MAX};
    int64_t start = gs_mono_ms();
    pthread_condattr_t attr;
    GS_AUTO(gs_work) work = NULL;
    if (gs_work_new(b->threads, 256 * JOBS_PER_THREAD, &work, err))
        return -1;
    for (size_t i = 0; i < b->n_members + 3; i++)
        c.total += member_no(b, i)->stored;
    pthread_mutex_init(&c.lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c.moved, &attr);
    pthread_condattr_destroy(&attr);
    hand_out(&c, work);
    wait_for(&c, 1);
    gs_work_wait(work);
    pthread_cond_destroy(&c.moved);
    pthread_mutex_destroy(&c.lock);
    for (struct tools *t; (t = c.idle);) {
        c.idle = t->next;
        tools_free(t);
    }
    if (c.err_at != SIZE_MAX) {
        *err = c.err;
        return -1;
    }
    if (stopped(&c))
        return gs_fail(err, GS_E_STOPPED, STOPPED);
    if (o->deep && bundle_check_books(b, err))
        return -1;
    c.sum.seconds = (double)(gs_mono_ms() - start) / 1000;
    if (out)
        *out = c.sum;
    return 0;
}

int bundle_verify(struct bundle *b, bool deep, struct bundle_verify_result *out, struct gs_err *err)
{
    return bundle_verify_with(b, &(struct bundle_verify_opts){.deep = deep}, out, err);
}
