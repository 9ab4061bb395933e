/* Checking a whole bundle: every stored byte on worker threads, and if wanted every record and the arithmetic of the
 * books. */
#include "bundle_priv.h"

#include "libcommon/clock.h"

#include <sodium.h>
#include <string.h>

#define CHUNK ((size_t)512 << 10)
#define BATCH_BYTES ((uint64_t)4 << 20) /* small members share one job */

struct check {
    struct bundle *b;
    bool deep;
    pthread_mutex_t lock; /* everything below */
    struct gs_err err;
    size_t err_at; /* member that failed: the first in the file is reported, whatever thread was first */
    struct bundle_verify_result sum;
};

struct job {
    struct check *c;
    size_t from, to; /* books first, then b->members */
};

static const struct bundle_member *member_no(const struct bundle *b, size_t i)
{
    return i < 3 ? &b->books[i] : &b->members[i - 3];
}

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

struct deep {
    ZSTD_DCtx *d;
    struct gs_buf stored, raw;
};

/* Whole records at the start of `raw` are checked and taken out of it. */
static int check_records(const struct bundle *b, const struct bundle_member *m, struct gs_buf *raw, bool at_end,
                         uint64_t *records, struct gs_err *err)
{
    enum record_encoding e = bundle_member_encoding(b, m);
    size_t pos = 0, n;
    while (pos < raw->len) {
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

static int check_deep(const struct bundle *b, const struct bundle_member *m, struct deep *w, uint64_t *out_records,
                      struct gs_err *err)
{
    uint64_t records = 0;
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, BUNDLE_DIGEST_LEN);
    gs_buf_reset(&w->raw);
    for (uint32_t i = 0; i < m->n_frames; i++) {
        const struct bundle_frame *f = &b->frames[m->first_frame + i];
        gs_buf_reset(&w->stored);
        if (gs_buf_reserve(&w->stored, f->stored, err) || gs_buf_reserve(&w->raw, f->raw, err) ||
            bundle_read_stored(b, m, f, w->stored.data, err))
            return -1;
        if (m->n_frames > 1) /* else the frame is the member, and its digest was just checked */
            crypto_generichash_update(&h, (const uint8_t *)w->stored.data, f->stored);
        if (frame_decode(w->d, w->stored.data, f->stored, w->raw.data + w->raw.len, f->raw, b->lim.max_window_log, err))
            return gs_wrap(err, "'%s'", m->path);
        w->raw.len += f->raw;
        if (check_records(b, m, &w->raw, i + 1 == m->n_frames, &records, err))
            return -1;
    }
    if (records != m->records)
        return gs_fail(err, GS_E_COUNT_MISMATCH, "'%s' holds %llu records, the index says %llu", m->path,
                       (unsigned long long)records, (unsigned long long)m->records);
    *out_records = records;
    if (m->n_frames > 1)
        return digest_matches(m, &h, err);
    if (memcmp(b->frames[m->first_frame].digest, m->digest, sizeof m->digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "SUMS and the index name different digests for '%s'", m->path);
    return 0;
}

static void run(void *arg)
{
    struct job *j = arg;
    struct check *c = j->c;
    struct deep w = {0};
    struct gs_err err = {0};
    gs_buf_init(&w.stored, SIZE_MAX / 2);
    gs_buf_init(&w.raw, SIZE_MAX / 2);
    int r = 0;
    if (c->deep && !(w.d = ZSTD_createDCtx()))
        r = gs_fail(&err, GS_E_NOMEM, "no memory to decompress with");
    for (size_t i = j->from; i < j->to; i++) {
        const struct bundle_member *m = member_no(c->b, i);
        uint64_t records = m->records;
        if (r == 0)
            r = c->deep && !m->is_file ? check_deep(c->b, m, &w, &records, &err)
                                       : check_bytes(c->b, m, &w.stored, &err);
        pthread_mutex_lock(&c->lock);
        if (r == 0) {
            c->sum.members++;
            c->sum.bytes += m->stored;
            c->sum.raw_bytes += m->raw;
            c->sum.records += i < 3 ? 0 : records;
        } else if (i < c->err_at) {
            c->err_at = i;
            c->err = err;
        }
        bool stop = c->err_at != SIZE_MAX;
        pthread_mutex_unlock(&c->lock);
        if (r || stop)
            break;
    }
    ZSTD_freeDCtx(w.d);
    gs_buf_release(&w.stored);
    gs_buf_release(&w.raw);
    free(j);
}

int bundle_verify(struct bundle *b, bool deep, struct bundle_verify_result *out, struct gs_err *err)
{
    struct check c = {.b = b, .deep = deep, .err_at = SIZE_MAX};
    int64_t start = gs_mono_ms();
    size_t n = b->n_members + 3;
    int r = 0;
    GS_AUTO(gs_work) work = NULL;
    if (gs_work_new(b->threads, 16, &work, err))
        return -1;
    pthread_mutex_init(&c.lock, NULL);
    for (size_t i = 0; i < n && r == 0;) {
        struct job *j = malloc(sizeof *j);
        uint64_t bytes = 0;
        size_t from = i;
        if (!j) {
            r = gs_fail(err, GS_E_NOMEM, "no memory to verify with");
            break;
        }
        while (i < n && (i == from || bytes + member_no(b, i)->raw <= BATCH_BYTES))
            bytes += member_no(b, i++)->raw;
        *j = (struct job){&c, from, i};
        gs_work_submit(work, run, j);
        pthread_mutex_lock(&c.lock);
        bool stop = c.err_at != SIZE_MAX;
        pthread_mutex_unlock(&c.lock);
        if (stop)
            break;
    }
    gs_work_wait(work);
    pthread_mutex_destroy(&c.lock);
    if (r)
        return -1;
    if (c.err_at != SIZE_MAX) {
        *err = c.err;
        return -1;
    }
    if (deep && bundle_check_books(b, err))
        return -1;
    c.sum.seconds = (double)(gs_mono_ms() - start) / 1000;
    if (out)
        *out = c.sum;
    return 0;
}
