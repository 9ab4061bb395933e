/*
 * Records to frames. A part collects records until a frame is full and hands it to a worker thread, which compresses
 * and hashes it; whoever finishes the oldest frame of a part writes it and those behind it to the spool, so the order
 * of a part's frames never depends on the number of threads.
 */
#include "bundle_writer.h"

#include "formats/relations.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define INLINE_MAX ((size_t)32 << 10) /* smaller frames are not worth a thread */

struct frame_job {
    struct bundle_part *part;
    struct frame_job *next;
    size_t file; /* position in part->files */
    bool first;  /* of the file: its digest is that of the file so far */
    char *raw, *out;
    size_t raw_len, raw_cap, out_len, out_cap;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    bool done, token, failed;
    struct gs_err err;
};

struct bundle_part {
    struct bundle_writer *w;
    int64_t group_id;
    char *relation;
    char *book;
    enum record_encoding encoding;
    struct gs_buf rec, raw;
    uint64_t file_raw;
    bool flushed; /* a frame of the open file was handed on */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t moved;
    struct staged *files;
    size_t n_files, cap_files;
    struct frame_job *head, *tail;
    bool writing, failed;
    struct gs_err err;
    size_t hashing; /* the file that `hash` belongs to */
    crypto_generichash_state hash;
};

void staged_release(struct staged *s)
{
    if (!s->packed) {
        free(s->path);
        free(s->relation);
    }
    free(s->frames);
    *s = (struct staged){0};
}

/* ---- spool ---- */

int spool_write(struct bundle_writer *w, const void *data, size_t len, uint64_t *out_off, struct gs_err *err)
{
    pthread_mutex_lock(&w->lock);
    uint64_t off = w->spool_len;
    w->spool_len += len;
    pthread_mutex_unlock(&w->lock);
    *out_off = off;
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(w->spool, (const char *)data + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gs_fail_sys(err, GS_E_IO, errno, "writing to '%s'", w->dir);
        done += (size_t)n;
    }
    return 0;
}

int spool_read(struct bundle_writer *w, uint64_t off, void *buf, size_t len, struct gs_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(w->spool, (char *)buf + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return gs_fail_sys(err, GS_E_IO, n ? errno : EIO, "reading from '%s'", w->dir);
        done += (size_t)n;
    }
    return 0;
}

/* It is complete, and stays to the end: most have a single frame, of the eight that there is room for. */
static void pack_member(struct staged *s)
{
    size_t frames = s->n_frames * sizeof *s->frames, path = strlen(s->path) + 1, relation = strlen(s->relation) + 1;
    char *block = malloc(frames + path + relation);
    if (!block) /* it only takes more room then */
        return;
    struct staged old = *s;
    if (frames)
        memcpy(block, old.frames, frames);
    s->frames = (struct staged_frame *)(void *)block;
    s->cap_frames = s->n_frames;
    s->path = memcpy(block + frames, old.path, path);
    s->relation = memcpy(block + frames + path, old.relation, relation);
    s->packed = true;
    staged_release(&old);
}

int writer_take_member(struct bundle_writer *w, struct staged *s, struct gs_err *err)
{
    pack_member(s);
    pthread_mutex_lock(&w->lock);
    int r = gs_array_grow((void **)&w->members, &w->cap_members, w->n_members, sizeof *w->members, err);
    if (r == 0) {
        w->members[w->n_members++] = *s;
        *s = (struct staged){0};
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

/* ---- frames ---- */

/* The usual level, with tables that stay in the processor's cache: a tenth less time, and 1.5 % more bytes of frames of 4 MiB. */
#define LEVEL_OF_SMALL_TABLES 3

static ZSTD_CCtx *take_cctx(struct bundle_writer *w)
{
    pthread_mutex_lock(&w->lock);
    ZSTD_CCtx *c = w->n_cctx ? w->cctx[--w->n_cctx] : NULL;
    pthread_mutex_unlock(&w->lock);
    if (!c && (c = ZSTD_createCCtx()) != NULL) {
        ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, w->o.level);
        if (w->o.level == LEVEL_OF_SMALL_TABLES) {
            ZSTD_CCtx_setParameter(c, ZSTD_c_hashLog, 16);
            ZSTD_CCtx_setParameter(c, ZSTD_c_chainLog, 15);
        }
    }
    return c;
}

static void give_cctx(struct bundle_writer *w, ZSTD_CCtx *c)
{
    struct gs_err ignored = {0};
    pthread_mutex_lock(&w->lock);
    if (gs_array_grow((void **)&w->cctx, &w->cap_cctx, w->n_cctx, sizeof(ZSTD_CCtx *), &ignored) == 0) {
        w->cctx[w->n_cctx++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    ZSTD_freeCCtx(c);
}

/*
 * Memory of full frames goes round: fresh memory from the kernel costs more than all checks of the records in it. The two
 * pools are apart, since of a block for compressed bytes only the beginning is ever touched.
 */
static char *take_block(struct bundle_writer *w, struct block_pool *pool)
{
    pthread_mutex_lock(&w->lock);
    char *p = pool->n ? pool->block[--pool->n] : NULL;
    pthread_mutex_unlock(&w->lock);
    return p ? p : malloc(w->block);
}

static void give_block(struct bundle_writer *w, struct block_pool *pool, char *p, size_t cap)
{
    if (!p || cap != w->block) {
        free(p);
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (pool->n < GS_COUNT(pool->block) && pool->n < gs_work_threads(w->work) + 1) {
        pool->block[pool->n++] = p;
        p = NULL;
    }
    pthread_mutex_unlock(&w->lock);
    free(p);
}

static void take_token(struct bundle_writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->tokens == 0)
        pthread_cond_wait(&w->freed, &w->lock);
    w->tokens--;
    pthread_mutex_unlock(&w->lock);
}

static void free_job(struct frame_job *j)
{
    struct bundle_writer *w = j->part->w;
    bool token = j->token;
    give_block(w, &w->raw_blocks, j->raw, j->raw_cap);
    give_block(w, &w->out_blocks, j->out, j->out_cap);
    free(j);
    if (!token)
        return;
    pthread_mutex_lock(&w->lock);
    w->tokens++;
    pthread_cond_signal(&w->freed);
    pthread_mutex_unlock(&w->lock);
}

static int compress_job(struct frame_job *j, struct gs_err *err)
{
    struct bundle_writer *w = j->part->w;
    size_t bound = ZSTD_compressBound(j->raw_len);
    bool large = bound > w->block / 2 && bound <= w->block;
    ZSTD_CCtx *c = take_cctx(w);
    j->out_cap = large ? w->block : bound;
    j->out = large ? take_block(w, &w->out_blocks) : malloc(bound);
    if (!c || !j->out) {
        ZSTD_freeCCtx(c);
        return gs_fail(err, GS_E_NOMEM, "no memory to compress %zu bytes", j->raw_len);
    }
    size_t n = ZSTD_compress2(c, j->out, bound, j->raw, j->raw_len);
    give_cctx(w, c);
    if (ZSTD_isError(n))
        return gs_fail(err, GS_E_INTERNAL, "compressing: %s", ZSTD_getErrorName(n));
    j->out_len = n;
    if (!j->first)
        bundle_hash(j->out, n, j->digest);
    give_block(w, &w->raw_blocks, j->raw, j->raw_cap);
    j->raw = NULL;
    return 0;
}

/* Ends the hash of the file it belongs to. With the part's lock. */
static void end_hash(struct bundle_part *p)
{
    crypto_generichash_final(&p->hash, p->files[p->hashing].digest, BUNDLE_DIGEST_LEN);
}

/* The oldest frame of the part, taken out of the list by the one thread that is `writing`. */
static int write_job(struct bundle_part *p, struct frame_job *j, struct gs_err *err)
{
    uint64_t off;
    if (spool_write(p->w, j->out, j->out_len, &off, err))
        return -1;
    pthread_mutex_lock(&p->lock);
    if (j->file != p->hashing) {
        end_hash(p);
        crypto_generichash_init(&p->hash, NULL, 0, BUNDLE_DIGEST_LEN);
        p->hashing = j->file;
    }
    pthread_mutex_unlock(&p->lock);
    crypto_generichash_update(&p->hash, (const uint8_t *)j->out, j->out_len);
    if (j->first) {
        crypto_generichash_state h = p->hash;
        crypto_generichash_final(&h, j->digest, sizeof j->digest);
    }
    pthread_mutex_lock(&p->lock);
    struct staged *f = &p->files[j->file];
    int r = gs_array_grow((void **)&f->frames, &f->cap_frames, f->n_frames, sizeof *f->frames, err);
    if (r == 0) {
        struct staged_frame *sf = &f->frames[f->n_frames++];
        *sf = (struct staged_frame){.spool_off = off, .raw = (uint32_t)j->raw_len, .stored = (uint32_t)j->out_len};
        memcpy(sf->digest, j->digest, sizeof sf->digest);
        f->stored += j->out_len;
    }
    pthread_mutex_unlock(&p->lock);
    return r;
}

static void run_job(void *arg)
{
    struct frame_job *j = arg;
    struct bundle_part *p = j->part;
    j->failed = compress_job(j, &j->err) != 0;
    pthread_mutex_lock(&p->lock);
    j->done = true;
    while (!p->writing && p->head && p->head->done) {
        struct frame_job *h = p->head;
        struct gs_err err = {0};
        bool skip = p->failed;
        p->head = h->next;
        if (!p->head)
            p->tail = NULL;
        p->writing = true;
        pthread_mutex_unlock(&p->lock);
        int r = 0;
        if (h->failed)
            err = h->err, r = -1;
        else if (!skip)
            r = write_job(p, h, &err);
        free_job(h);
        pthread_mutex_lock(&p->lock);
        if (r && !p->failed) {
            p->failed = true;
            p->err = err;
        }
        p->writing = false;
    }
    pthread_cond_broadcast(&p->moved); /* under the lock: the part may be freed as soon as it is released */
    pthread_mutex_unlock(&p->lock);
}

static int part_error(struct bundle_part *p, struct gs_err *err)
{
    pthread_mutex_lock(&p->lock);
    bool failed = p->failed;
    if (failed)
        *err = p->err;
    pthread_mutex_unlock(&p->lock);
    return failed ? -1 : 0;
}

/*
 * Hands what was collected to a worker. A frame of a book is written at once and here: books come when all else is written, and a frame
 * for each thread, beside the one that is filled meanwhile, would be the peak of a large capture's memory.
 */
static int flush_frame(struct bundle_part *p, struct gs_err *err)
{
    struct frame_job *j = calloc(1, sizeof *j);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for a frame");
    *j = (struct frame_job){.part = p,
                            .file = p->n_files - 1,
                            .first = !p->flushed,
                            .raw = p->raw.data,
                            .raw_len = p->raw.len,
                            .raw_cap = p->raw.cap};
    p->flushed = true;
    j->token = !p->book && p->raw.len > INLINE_MAX;
    if (j->token)
        take_token(p->w);
    gs_buf_init(&p->raw, p->w->o.frame_raw_max);
    if (j->token && j->raw_len > p->w->o.frame_raw_max / 2 && p->w->o.frame_raw_max == BUNDLE_FRAME_RAW_MAX &&
        (p->raw.data = take_block(p->w, &p->w->raw_blocks))) { /* more of the same is to be expected */
        p->raw.cap = p->w->block;
        p->raw.data[0] = 0;
    }
    pthread_mutex_lock(&p->lock);
    if (p->tail)
        p->tail->next = j;
    else
        p->head = j;
    p->tail = j;
    pthread_mutex_unlock(&p->lock);
    if (j->token)
        gs_work_submit(p->w->work, run_job, j);
    else
        run_job(j);
    return 0;
}

static void drain(struct bundle_part *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->head || p->writing)
        pthread_cond_wait(&p->moved, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* ---- parts ---- */

static void part_free(struct bundle_part *p)
{
    for (size_t i = 0; i < p->n_files; i++)
        staged_release(&p->files[i]);
    free(p->files);
    free(p->relation);
    free(p->book);
    gs_buf_release(&p->rec);
    give_block(p->w, &p->w->raw_blocks, p->raw.data, p->raw.cap);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->moved);
    free(p);
}

static int begin_file(struct bundle_part *p, struct gs_err *err)
{
    if (p->n_files == BUNDLE_PARTS_MAX)
        return gs_fail(err, GS_E_LIMIT, "relation '%s' of group %lld needs more than %d parts", p->relation,
                       (long long)p->group_id, BUNDLE_PARTS_MAX);
    pthread_mutex_lock(&p->lock);
    int r = gs_array_grow((void **)&p->files, &p->cap_files, p->n_files, sizeof *p->files, err);
    if (r == 0) {
        p->files[p->n_files] = (struct staged){.group_id = p->group_id, .part = (unsigned)p->n_files};
        p->n_files++;
    }
    pthread_mutex_unlock(&p->lock);
    p->file_raw = 0;
    p->flushed = false;
    return r;
}

static int part_new(struct bundle_writer *w, int64_t group_id, const char *relation, const char *book,
                    struct bundle_part **out, struct gs_err *err)
{
    /* the hash state wants to be aligned to its own size */
    size_t size = (sizeof(struct bundle_part) + 63) / 64 * 64;
    struct bundle_part *p = aligned_alloc(64, size);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for a relation");
    memset(p, 0, size);
    p->w = w;
    p->group_id = group_id;
    p->encoding = book ? RECORD_NDJSON : w->o.encoding;
    gs_buf_init(&p->rec, SIZE_MAX / 4);
    gs_buf_init(&p->raw, w->o.frame_raw_max);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, NULL);
    crypto_generichash_init(&p->hash, NULL, 0, BUNDLE_DIGEST_LEN);
    p->relation = strdup(relation);
    p->book = book ? strdup(book) : NULL;
    if (!p->relation || (book && !p->book) || begin_file(p, err)) {
        part_free(p);
        return gs_fail(err, GS_E_NOMEM, "no memory for a relation");
    }
    *out = p;
    return 0;
}

int bundle_part_open(struct bundle_writer *w, int64_t group_id, const char *relation, struct bundle_part **out,
                     struct gs_err *err)
{
    if (group_id <= 0)
        return gs_fail(err, GS_E_MEMBER_NAME, "a group has the id %lld", (long long)group_id);
    if (!relation_name_ok(relation, strlen(relation)))
        return gs_fail(err, GS_E_MEMBER_NAME, "'%.80s' is no name for a relation", relation);
    return part_new(w, group_id, relation, NULL, out, err);
}

int part_open_book(struct bundle_writer *w, const char *path, const char *relation, struct bundle_part **out,
                   struct gs_err *err)
{
    return part_new(w, 0, relation, path, out, err);
}

static int add_bytes(struct bundle_part *p, const char *data, size_t len, struct gs_err *err)
{
    size_t max = p->w->o.frame_raw_max;
    if (p->raw.len > 0 && p->raw.len + len > max && flush_frame(p, err))
        return -1;
    while (len > 0) { /* more than once only for a record larger than a frame */
        size_t n = max - p->raw.len < len ? max - p->raw.len : len;
        if (gs_buf_add(&p->raw, data, n, err) || (n < len && flush_frame(p, err)))
            return -1;
        data += n;
        len -= n;
    }
    return 0;
}

/* A new file of the part when the record does not fit into the one that is open. */
static int make_room(struct bundle_part *p, size_t len, struct gs_err *err)
{
    if (p->book || p->file_raw == 0 || p->file_raw + len <= p->w->o.part_raw_max)
        return 0;
    return (p->raw.len > 0 && flush_frame(p, err)) || begin_file(p, err) ? -1 : 0;
}

static void count_record(struct bundle_part *p, size_t len)
{
    p->file_raw += len;
    pthread_mutex_lock(&p->lock);
    struct staged *f = &p->files[p->n_files - 1];
    f->records++;
    f->raw = p->file_raw;
    pthread_mutex_unlock(&p->lock);
}

int bundle_part_add(struct bundle_part *p, const char *json, size_t len, struct gs_err *err)
{
    if (part_error(p, err))
        return -1;
    gs_buf_reset(&p->rec);
    if (record_encode(p->encoding, json, len, &p->w->o.record, &p->rec, err))
        return gs_wrap(err, "relation '%s' of group %lld", p->relation, (long long)p->group_id);
    if (make_room(p, p->rec.len, err) || add_bytes(p, p->rec.data, p->rec.len, err))
        return -1;
    count_record(p, p->rec.len);
    if (p->rec.cap > (size_t)1 << 20)
        gs_buf_release(&p->rec);
    return 0;
}

int bundle_part_add_sound(struct bundle_part *p, const char *json, size_t len, struct gs_err *err)
{
    size_t max = p->w->o.frame_raw_max;
    if (p->encoding != RECORD_NDJSON || len >= max)
        return bundle_part_add(p, json, len, err);
    if (part_error(p, err) || make_room(p, len + 1, err) || (p->raw.len + len + 1 > max && flush_frame(p, err)) ||
        gs_buf_reserve(&p->raw, len + 1, err))
        return -1;
    GS_IGNORE(gs_buf_add(&p->raw, json, len, err) || gs_buf_addc(&p->raw, '\n', err), "there is room");
    count_record(p, len + 1);
    return 0;
}

void bundle_part_limits(const struct bundle_part *p, struct record_limits *out)
{
    *out = p->w->o.record;
    if (out->max_bytes == 0)
        out->max_bytes = RECORD_MAX_BYTES;
    if (out->max_depth == 0)
        out->max_depth = RECORD_MAX_DEPTH;
}

static int name_files(struct bundle_part *p, struct gs_err *err)
{
    for (size_t i = 0; i < p->n_files; i++) {
        struct staged *f = &p->files[i];
        char part[8] = "";
        if (p->n_files > 1)
            snprintf(part, sizeof part, ".%04u", f->part % BUNDLE_PARTS_MAX);
        f->path = p->book ? strdup(p->book)
                          : gs_asprintf("groups/%lld/%s%s.%s.zst", (long long)p->group_id, p->relation, part,
                                        record_encoding_ext(p->encoding));
        f->relation = strdup(p->relation);
        if (!f->path || !f->relation)
            return gs_fail(err, GS_E_NOMEM, "no memory for a relation");
    }
    return 0;
}

int bundle_part_close(struct bundle_part *p, struct gs_err *err)
{
    int r = 0;
    /* a relation without records leaves nothing, a book without records leaves one empty frame */
    if (p->raw.len > 0 || (p->book && p->file_raw == 0))
        r = flush_frame(p, err);
    drain(p);
    if (r == 0)
        r = part_error(p, err);
    if (r == 0) {
        end_hash(p);
        r = name_files(p, err);
    }
    for (size_t i = 0; i < p->n_files && r == 0; i++)
        if (p->files[i].records > 0 || p->book)
            r = writer_take_member(p->w, &p->files[i], err);
    part_free(p);
    return r;
}

void bundle_part_abandon(struct bundle_part *p)
{
    if (!p)
        return;
    drain(p);
    part_free(p);
}
