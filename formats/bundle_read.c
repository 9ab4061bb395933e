/* Reading members of an open bundle: in a row (cursor), one record again (ref), plain files. */
#include "bundle_priv.h"

#include <stdio.h>
#include <string.h>

#define PIECE ((size_t)64 << 10) /* still in the processor's own memory when it is hashed */

const struct bundle_member *bundle_member_at(const struct bundle *b, uint32_t member)
{
    if (member < b->n_members)
        return &b->members[member];
    uint32_t book = UINT32_MAX - member;
    return book < GS_COUNT(b->books) ? &b->books[book] : NULL;
}

int bundle_read_stored(const struct bundle *b, const struct bundle_member *m, const struct bundle_frame *f, void *out,
                       crypto_generichash_state *member, struct gs_err *err)
{
    uint8_t digest[BUNDLE_DIGEST_LEN];
    bool begins = f->off == 0 && member; /* up to here both digests are of the same bytes */
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, BUNDLE_DIGEST_LEN);
    for (uint32_t at = 0, n; at < f->stored; at += n) {
        uint8_t *piece = (uint8_t *)out + at;
        n = f->stored - at < PIECE ? f->stored - at : (uint32_t)PIECE;
        if (gs_source_read(&b->src, m->offset + f->off + at, piece, n, err))
            return gs_wrap(err, "'%s'", m->path);
        crypto_generichash_update(&h, piece, n);
        if (member && !begins)
            crypto_generichash_update(member, piece, n);
    }
    if (begins)
        *member = h;
    crypto_generichash_final(&h, digest, sizeof digest);
    if (memcmp(digest, f->digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "'%s' at byte %llu is not what the index says", m->path,
                       (unsigned long long)f->off);
    return 0;
}

/* ---- which members ---- */

/* First member whose path is not below `path` in the order of bytes. */
static size_t lower_bound(const struct bundle *b, const char *path)
{
    size_t lo = 0, hi = b->n_members;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (strcmp(b->members[mid].path, path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The members [*from, *to) that hold a relation of a group. `tail` is "." for records, "/" for files. */
static void find_range(const struct bundle *b, int64_t group_id, const char *relation, const char *tail, size_t *from,
                       size_t *to)
{
    char prefix[128];
    int n = snprintf(prefix, sizeof prefix, "groups/%lld/%s%s", (long long)group_id, relation, tail);
    *from = *to = 0;
    if (n < 0 || (size_t)n >= sizeof prefix)
        return;
    *from = *to = lower_bound(b, prefix);
    while (*to < b->n_members && strncmp(b->members[*to].path, prefix, (size_t)n) == 0)
        (*to)++;
}

uint64_t bundle_count(const struct bundle *b, int64_t group_id, const char *relation)
{
    size_t from, to;
    uint64_t n = 0;
    find_range(b, group_id, relation, ".", &from, &to);
    for (; from < to; from++)
        n += b->members[from].records;
    return n;
}

uint64_t bundle_count_files(const struct bundle *b, int64_t group_id)
{
    size_t from, to, n = 0;
    find_range(b, group_id, "avatar", "/", &from, &to);
    n += to - from;
    find_range(b, group_id, "uploads", "/", &from, &to);
    return n + (to - from);
}

const struct bundle_member *bundle_find_file(const struct bundle *b, int64_t group_id, const char *kind)
{
    size_t from, to;
    find_range(b, group_id, kind, "/", &from, &to);
    return from < to ? &b->members[from] : NULL;
}

/* ---- cursor ---- */

struct bundle_cursor {
    const struct bundle *b;
    ZSTD_DCtx *d;
    uint32_t member, end; /* being read, and behind the last */
    uint32_t frame;       /* next frame of this member to read */
    uint64_t records;     /* of this member so far */
    uint64_t off;         /* raw offset of buf[0] in the member */
    struct gs_buf stored, buf;
    size_t pos; /* in buf */
};

int bundle_cursor_open(const struct bundle *b, int64_t group_id, const char *relation, struct bundle_cursor **out,
                       struct gs_err *err)
{
    static const char *const books[] = {"index", "ledger", "users"};
    struct bundle_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    c->b = b;
    c->d = ZSTD_createDCtx();
    gs_buf_init(&c->stored, SIZE_MAX / 2);
    gs_buf_init(&c->buf, SIZE_MAX / 2);
    if (!c->d) {
        bundle_cursor_close(c);
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    }
    if (group_id == 0) {
        for (uint32_t i = 0; i < GS_COUNT(books); i++)
            if (strcmp(relation, books[i]) == 0) {
                c->member = UINT32_MAX - i;
                c->end = c->member + 1; /* wraps to 0 for the first: only compared for equality */
            }
    } else {
        size_t from, to;
        find_range(b, group_id, relation, ".", &from, &to);
        c->member = (uint32_t)from;
        c->end = (uint32_t)to;
    }
    *out = c;
    return 0;
}

void bundle_cursor_close(struct bundle_cursor *c)
{
    if (!c)
        return;
    ZSTD_freeDCtx(c->d);
    gs_buf_release(&c->stored);
    gs_buf_release(&c->buf);
    free(c);
}

/* Appends the next frame of the member to what is left in the buffer. */
static int next_frame(struct bundle_cursor *c, const struct bundle_member *m, struct gs_err *err)
{
    const struct bundle_frame *f = &c->b->frames[m->first_frame + c->frame];
    size_t rest = c->buf.len - c->pos;
    if (rest)
        memmove(c->buf.data, c->buf.data + c->pos, rest);
    c->off += c->pos;
    c->pos = 0;
    c->buf.len = rest;
    gs_buf_reset(&c->stored);
    if (gs_buf_reserve(&c->stored, f->stored, err) || gs_buf_reserve(&c->buf, f->raw, err) ||
        bundle_read_stored(c->b, m, f, c->stored.data, NULL, err))
        return -1;
    if (frame_decode(c->d, c->stored.data, f->stored, c->buf.data + rest, f->raw, c->b->lim.max_window_log, err))
        return gs_wrap(err, "'%s'", m->path);
    c->buf.len += f->raw;
    c->frame++;
    return 0;
}

static int next_member(struct bundle_cursor *c, const struct bundle_member *m, struct gs_err *err)
{
    if (c->records != m->records)
        return gs_fail(err, GS_E_COUNT_MISMATCH, "'%s' holds %llu records, the index says %llu", m->path,
                       (unsigned long long)c->records, (unsigned long long)m->records);
    c->member++;
    c->frame = 0;
    c->records = 0;
    c->off = 0;
    c->pos = c->buf.len = 0;
    return 0;
}

int bundle_cursor_next(struct bundle_cursor *c, const void **out_data, size_t *out_len, struct bundle_ref *ref,
                       struct gs_err *err)
{
    while (c->member != c->end) {
        const struct bundle_member *m = bundle_member_at(c->b, c->member);
        bool last = c->frame == m->n_frames;
        size_t n = 0;
        if (c->pos == c->buf.len && last) {
            if (next_member(c, m, err))
                return -1;
            continue;
        }
        if (c->pos < c->buf.len && record_next(bundle_member_encoding(c->b, m), c->buf.data + c->pos,
                                               c->buf.len - c->pos, last, &c->b->lim.record, &n, err))
            return gs_wrap(err, "record %llu of '%s'", (unsigned long long)c->records + 1, m->path);
        if (n == 0) {
            if (next_frame(c, m, err))
                return -1;
            continue;
        }
        *out_data = c->buf.data + c->pos;
        *out_len = n;
        if (ref)
            *ref = (struct bundle_ref){.member = c->member, .off = c->off + c->pos, .len = (uint32_t)n};
        c->pos += n;
        c->records++;
        return 0;
    }
    *out_data = NULL;
    *out_len = 0;
    return 0;
}

/* ---- one record again ---- */

/* The frame of the member that holds raw byte `off`. */
static uint32_t frame_of(const struct bundle *b, const struct bundle_member *m, uint64_t off)
{
    uint32_t lo = m->first_frame, hi = m->first_frame + m->n_frames;
    while (hi - lo > 1) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (b->frames[mid].raw_off <= off)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The decompressed frame, from the cache or read into the slot that was not used for longest. With the lock. */
static int cached_frame(struct bundle *b, const struct bundle_member *m, uint32_t frame, const char **out,
                        struct gs_err *err)
{
    const struct bundle_frame *f = &b->frames[frame];
    struct bundle_cache_slot *s = &b->cache[0];
    for (size_t i = 0; i < BUNDLE_CACHE; i++) {
        if (b->cache[i].frame == frame) {
            b->cache[i].used = ++b->tick;
            *out = b->cache[i].data;
            return 0;
        }
        if (b->cache[i].used < s->used)
            s = &b->cache[i];
    }
    free(s->data);
    *s = (struct bundle_cache_slot){.frame = UINT32_MAX};
    gs_autofree char *stored = malloc(f->stored), *raw = malloc((size_t)f->raw + 1);
    if (!b->dctx)
        b->dctx = ZSTD_createDCtx();
    if (!stored || !raw || !b->dctx)
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    if (bundle_read_stored(b, m, f, stored, NULL, err))
        return -1;
    if (frame_decode(b->dctx, stored, f->stored, raw, f->raw, b->lim.max_window_log, err))
        return gs_wrap(err, "'%s'", m->path);
    *out = raw;
    *s = (struct bundle_cache_slot){.frame = frame, .used = ++b->tick, .data = gs_steal(&raw)};
    return 0;
}

int bundle_each(const struct bundle *b, int64_t group_id, const char *relation, bundle_record_fn *fn, void *cookie, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    enum record_encoding encoding = group_id ? bundle_encoding(b) : RECORD_NDJSON; /* books always are */
    if (bundle_cursor_open(b, group_id, relation, &c, err))
        return -1;
    for (;;) {
        GS_AUTO(yyjson_doc) doc = NULL;
        struct bundle_ref ref;
        const void *data;
        size_t len;
        if (bundle_cursor_next(c, &data, &len, &ref, err))
            return -1;
        if (!data)
            return 0;
        if (record_parse(encoding, data, len, NULL, &doc, err) || fn(cookie, yyjson_doc_get_root(doc), &ref, err))
            return -1;
    }
}

int bundle_read_ref(struct bundle *b, const struct bundle_ref *ref, struct gs_buf *out, struct gs_err *err)
{
    const struct bundle_member *m = bundle_member_at(b, ref->member);
    if (!m || m->is_file || ref->off > m->raw || ref->len > m->raw - ref->off)
        return gs_fail(err, GS_E_INDEX, "no record lies at byte %llu of member %u", (unsigned long long)ref->off,
                       ref->member);
    uint64_t off = ref->off;
    size_t left = ref->len, from = out->len;
    int r = 0;
    pthread_mutex_lock(&b->lock);
    while (left > 0 && r == 0) {
        uint32_t i = frame_of(b, m, off);
        const char *raw = NULL;
        r = cached_frame(b, m, i, &raw, err);
        if (r)
            break;
        size_t at = (size_t)(off - b->frames[i].raw_off), n = b->frames[i].raw - at;
        if (n > left)
            n = left;
        r = gs_buf_add(out, raw + at, n, err);
        off += n;
        left -= n;
    }
    pthread_mutex_unlock(&b->lock);
    if (r)
        out->len = from;
    return r;
}

/* ---- plain files ---- */

int bundle_read_file(const struct bundle *b, const char *path, size_t max, struct gs_buf *out, struct gs_err *err)
{
    uint8_t digest[BUNDLE_DIGEST_LEN];
    size_t i = lower_bound(b, path);
    const struct bundle_member *m = i < b->n_members ? &b->members[i] : NULL;
    if (!m || !m->is_file || strcmp(m->path, path) != 0)
        return gs_fail(err, GS_E_MEMBER_MISSING, "the bundle holds no file '%.200s'", path);
    if (m->stored > max)
        return gs_fail(err, GS_E_LIMIT, "'%s' has %llu bytes, limit %zu", path, (unsigned long long)m->stored, max);
    if (gs_buf_reserve(out, (size_t)m->stored, err) ||
        gs_source_read(&b->src, m->offset, out->data + out->len, (size_t)m->stored, err))
        return gs_wrap(err, "'%s'", path);
    bundle_hash(out->data + out->len, (size_t)m->stored, digest);
    if (memcmp(digest, m->digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "'%s' is not what SUMS says", path);
    out->len += (size_t)m->stored;
    out->data[out->len] = 0;
    return 0;
}

struct bundle_file {
    const struct bundle *b;
    const struct bundle_member *m;
    uint64_t off;
    crypto_generichash_state hash;
};

int bundle_file_open(const struct bundle *b, const struct bundle_member *m, struct bundle_file **out, struct gs_err *err)
{
    struct bundle_file *f = calloc(1, sizeof *f);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    f->b = b;
    f->m = m;
    crypto_generichash_init(&f->hash, NULL, 0, BUNDLE_DIGEST_LEN);
    *out = f;
    return 0;
}

int bundle_file_read(struct bundle_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    uint8_t digest[BUNDLE_DIGEST_LEN];
    uint64_t left = f->m->stored - f->off;
    size_t n = left < len ? (size_t)left : len;
    *out_n = 0;
    if (left == 0) {
        crypto_generichash_state last = f->hash; /* the end may be asked for again */
        crypto_generichash_final(&last, digest, sizeof digest);
        return memcmp(digest, f->m->digest, sizeof digest) == 0
                   ? 0
                   : gs_fail(err, GS_E_DIGEST, "'%s' is not what SUMS says", f->m->path);
    }
    if (gs_source_read(&f->b->src, f->m->offset + f->off, buf, n, err))
        return gs_wrap(err, "'%s'", f->m->path);
    crypto_generichash_update(&f->hash, buf, n);
    f->off += n;
    *out_n = n;
    return 0;
}

void bundle_file_close(struct bundle_file *f)
{
    free(f);
}
