#include "libserve/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PIECE ((size_t)64 << 10)
#define PIECES_MAX ((size_t)1 << 30) /* of one record with its escapes */

/* ---- text ---- */

struct text_stream {
    struct stream s;
    size_t at, len;
    char data[];
};

static int text_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct text_stream *t = (struct text_stream *)s;
    *out_n = t->len - t->at < len ? t->len - t->at : len;
    memcpy(buf, t->data + t->at, *out_n);
    t->at += *out_n;
    return 0;
}

static void plain_close(struct stream *s)
{
    free(s);
}

int stream_text(const char *data, size_t len, struct stream **out, struct gs_err *err)
{
    struct text_stream *t = malloc(sizeof *t + len);
    if (!t)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu bytes", len);
    *t = (struct text_stream){.s = {.read = text_read, .close = plain_close}, .len = len};
    if (len)
        memcpy(t->data, data, len);
    *out = &t->s;
    return 0;
}

/* ---- records ---- */

struct line_stream {
    struct stream s;
    struct bundle_cursor *cursor;
    struct native_lines lines;
    uint64_t skip, left;
    bool single, any, end;
    const char *none;
    struct gs_buf buf;
    size_t at;
};

static void line_close(struct stream *s)
{
    struct line_stream *l = (struct line_stream *)s;
    bundle_cursor_close(l->cursor);
    gs_buf_release(&l->buf);
    free(l);
}

/* The next line into the buffer, or the end. */
static int line_fill(struct line_stream *l, struct gs_err *err)
{
    const void *data = NULL;
    size_t len = 0;
    gs_buf_reset(&l->buf);
    l->at = 0;
    while (l->left > 0) {
        if (bundle_cursor_next(l->cursor, &data, &len, NULL, err))
            return -1;
        if (!data || l->skip == 0)
            break;
        l->skip--;
    }
    if (!data || l->left == 0) {
        l->end = true;
        return !l->any && l->none ? gs_buf_addstr(&l->buf, l->none, err) : 0;
    }
    l->left--;
    l->any = true;
    return native_line(&l->lines, data, len, &l->buf, err) || (!l->single && gs_buf_addc(&l->buf, '\n', err)) ? -1 : 0;
}

static int line_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct line_stream *l = (struct line_stream *)s;
    size_t done = 0;
    while (done < len) {
        if (l->at == l->buf.len) {
            if (l->end)
                break;
            if (line_fill(l, err))
                return -1;
            continue;
        }
        size_t n = l->buf.len - l->at < len - done ? l->buf.len - l->at : len - done;
        memcpy((char *)buf + done, l->buf.data + l->at, n);
        l->at += n;
        done += n;
    }
    *out_n = done;
    return 0;
}

static int line_open(struct native *n, struct bundle *b, int64_t group, const char *relation, struct line_stream **out,
                     struct gs_err *err)
{
    struct line_stream *l = calloc(1, sizeof *l);
    if (!l)
        return gs_fail(err, GS_E_NOMEM, "no memory to read '%s'", relation);
    l->s = (struct stream){.read = line_read, .close = line_close};
    gs_buf_init(&l->buf, PIECES_MAX);
    native_lines_init(&l->lines, n, relation);
    if (bundle_cursor_open(b, group, relation, &l->cursor, err)) {
        line_close(&l->s);
        return -1;
    }
    *out = l;
    return 0;
}

int stream_lines(struct native *n, struct bundle *b, int64_t group, const char *relation, uint64_t from, uint64_t count,
                 struct stream **out, struct gs_err *err)
{
    struct line_stream *l;
    if (line_open(n, b, group, relation, &l, err))
        return -1;
    l->skip = from;
    l->left = count;
    *out = &l->s;
    return 0;
}

int stream_single(struct native *n, struct bundle *b, int64_t group, const char *relation, const char *none, struct stream **out,
                  struct gs_err *err)
{
    struct line_stream *l;
    if (line_open(n, b, group, relation, &l, err))
        return -1;
    l->left = 1;
    l->single = true;
    l->none = none;
    *out = &l->s;
    return 0;
}

/* ---- files ---- */

struct file_stream {
    struct stream s;
    struct bundle_file *f;
};

static int file_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    return bundle_file_read(((struct file_stream *)s)->f, buf, len, out_n, err);
}

static void file_close(struct stream *s)
{
    bundle_file_close(((struct file_stream *)s)->f);
    free(s);
}

int stream_file(const struct bundle *b, const struct bundle_member *m, struct stream **out, struct gs_err *err)
{
    struct file_stream *f = calloc(1, sizeof *f);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "no memory to read '%s'", m->path);
    f->s = (struct stream){.read = file_read, .close = file_close};
    if (bundle_file_open(b, m, &f->f, err)) {
        free(f);
        return -1;
    }
    *out = &f->s;
    return 0;
}

/* ---- gzip ---- */

struct gzip_stream {
    struct stream s;
    struct stream *in;
    z_stream z;
    bool in_end, end;
    unsigned char piece[PIECE];
};

static void gzip_close(struct stream *s)
{
    struct gzip_stream *g = (struct gzip_stream *)s;
    deflateEnd(&g->z);
    stream_close(g->in);
    free(g);
}

static int gzip_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct gzip_stream *g = (struct gzip_stream *)s;
    uInt room = len > (1u << 30) ? 1u << 30 : (uInt)len;
    g->z.next_out = buf;
    g->z.avail_out = room;
    while (!g->end && g->z.avail_out > 0) {
        if (g->z.avail_in == 0 && !g->in_end) {
            size_t n = 0;
            if (stream_read(g->in, g->piece, sizeof g->piece, &n, err))
                return -1;
            g->in_end = n == 0;
            g->z.next_in = g->piece;
            g->z.avail_in = (uInt)n;
        }
        int r = deflate(&g->z, g->in_end ? Z_FINISH : Z_NO_FLUSH);
        if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
            return gs_fail(err, GS_E_INTERNAL, "deflate failed with %d", r);
        g->end = r == Z_STREAM_END;
    }
    *out_n = room - g->z.avail_out;
    return 0;
}

/* ---- gzip, fast ---- */

struct fast_stream {
    struct stream s;
    struct stream *in;
    struct isal_zstream z;
    bool end;
    uint8_t level[ISAL_DEF_LVL1_DEFAULT];
    uint8_t piece[PIECE];
};

static void fast_close(struct stream *s)
{
    struct fast_stream *g = (struct fast_stream *)s;
    stream_close(g->in);
    free(g);
}

static int fast_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct fast_stream *g = (struct fast_stream *)s;
    uint32_t room = len > (1u << 30) ? 1u << 30 : (uint32_t)len;
    g->z.next_out = buf;
    g->z.avail_out = room;
    while (!g->end && g->z.avail_out > 0) {
        if (g->z.avail_in == 0 && !g->z.end_of_stream) {
            size_t n = 0;
            if (stream_read(g->in, g->piece, sizeof g->piece, &n, err))
                return -1;
            g->z.end_of_stream = n == 0;
            g->z.next_in = g->piece;
            g->z.avail_in = (uint32_t)n;
        }
        int r = isal_deflate(&g->z);
        if (r != COMP_OK)
            return gs_fail(err, GS_E_INTERNAL, "isal_deflate failed with %d", r);
        g->end = g->z.internal_state.state == ZSTATE_END;
    }
    *out_n = room - g->z.avail_out;
    return 0;
}

int stream_gzip_fast(struct stream *in, struct stream **out, struct gs_err *err)
{
    struct fast_stream *g = malloc(sizeof *g);
    if (!g) {
        stream_close(in);
        return gs_fail(err, GS_E_NOMEM, "no memory to compress with");
    }
    g->s = (struct stream){.read = fast_read, .close = fast_close};
    g->in = in;
    g->end = false;
    isal_deflate_init(&g->z); /* leaves what belongs to the caller as it is */
    g->z.avail_in = 0;
    g->z.next_in = NULL;
    g->z.gzip_flag = IGZIP_GZIP;
    g->z.level = 1;
    g->z.level_buf = g->level;
    g->z.level_buf_size = sizeof g->level;
    *out = &g->s;
    return 0;
}

int stream_gzip(struct stream *in, int level, struct stream **out, struct gs_err *err)
{
    struct gzip_stream *g = calloc(1, sizeof *g);
    if (!g || deflateInit2(&g->z, level, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        stream_close(in);
        return gs_fail(err, GS_E_NOMEM, "no memory to compress with");
    }
    g->s = (struct stream){.read = gzip_read, .close = gzip_close};
    g->in = in;
    *out = &g->s;
    return 0;
}

/* ---- tar ---- */

struct tar_stream {
    struct stream s;
    tar_next next;
    void *cookie;
    void (*free_cookie)(void *cookie);
    int64_t mtime_s;
    struct archive *a;
    struct stream *data; /* of the member that is being written */
    uint64_t left;       /* of its announced bytes */
    char name[600];
    struct gs_buf buf;   /* what libarchive wrote */
    size_t at;
    bool end;
    struct gs_err err;
    char piece[PIECE];
};

static la_ssize_t tar_out(struct archive *a, void *cookie, const void *data, size_t len)
{
    struct tar_stream *t = cookie;
    if (gs_buf_add(&t->buf, data, len, &t->err)) {
        archive_set_error(a, ENOMEM, "%s", t->err.text);
        return -1;
    }
    return (la_ssize_t)len;
}

static int tar_failed(struct tar_stream *t, struct gs_err *err)
{
    const char *why = archive_error_string(t->a);
    return gs_fail(err, GS_E_INTERNAL, "packing '%s': %s", t->name, why ? why : "failed");
}

static void tar_close(struct stream *s)
{
    struct tar_stream *t = (struct tar_stream *)s;
    if (t->a)
        archive_write_free(t->a);
    stream_close(t->data);
    if (t->free_cookie)
        t->free_cookie(t->cookie);
    gs_buf_release(&t->buf);
    free(t);
}

static int tar_member(struct tar_stream *t, struct gs_err *err)
{
    struct tar_item item = {.name = ""};
    bool end = false;
    if (t->next(t->cookie, &item, &end, err))
        return -1;
    if (end) {
        t->end = true;
        return archive_write_close(t->a) == ARCHIVE_OK ? 0 : tar_failed(t, err);
    }
    t->data = item.data;
    t->left = item.folder ? 0 : item.size;
    snprintf(t->name, sizeof t->name, "%s", item.name);
    struct archive_entry *e = archive_entry_new();
    if (!e)
        return gs_fail(err, GS_E_NOMEM, "no memory for a tar");
    archive_entry_set_pathname(e, item.name);
    archive_entry_set_filetype(e, item.folder ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(e, item.folder ? 0755 : 0644);
    archive_entry_set_mtime(e, (time_t)t->mtime_s, 0);
    if (!item.folder)
        archive_entry_set_size(e, (la_int64_t)item.size);
    int r = archive_write_header(t->a, e);
    archive_entry_free(e);
    return r == ARCHIVE_OK ? 0 : tar_failed(t, err);
}

/* A piece of the member that is open, or its end. */
static int tar_data(struct tar_stream *t, struct gs_err *err)
{
    size_t n;
    if (stream_read(t->data, t->piece, sizeof t->piece, &n, err))
        return gs_wrap(err, "'%s'", t->name);
    if (n > t->left || (n == 0 && t->left > 0))
        return gs_fail(err, GS_E_INTERNAL, "'%s' has not the size that was measured", t->name);
    if (n == 0) {
        stream_close(gs_steal(&t->data));
        return archive_write_finish_entry(t->a) == ARCHIVE_OK ? 0 : tar_failed(t, err);
    }
    t->left -= n;
    return archive_write_data(t->a, t->piece, n) == (la_ssize_t)n ? 0 : tar_failed(t, err);
}

static int tar_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct tar_stream *t = (struct tar_stream *)s;
    *out_n = 0;
    while (t->at == t->buf.len) {
        gs_buf_reset(&t->buf);
        t->at = 0;
        if (t->end)
            return 0;
        if (t->data ? tar_data(t, err) : tar_member(t, err))
            return -1;
    }
    *out_n = t->buf.len - t->at < len ? t->buf.len - t->at : len;
    memcpy(buf, t->buf.data + t->at, *out_n);
    t->at += *out_n;
    return 0;
}

int stream_tar(tar_next next, void *cookie, void (*free_cookie)(void *cookie), int64_t mtime_s, struct stream **out, struct gs_err *err)
{
    struct tar_stream *t = calloc(1, sizeof *t);
    if (!t) {
        if (free_cookie)
            free_cookie(cookie);
        return gs_fail(err, GS_E_NOMEM, "no memory for a tar");
    }
    t->s = (struct stream){.read = tar_read, .close = tar_close};
    t->next = next;
    t->cookie = cookie;
    t->free_cookie = free_cookie;
    t->mtime_s = mtime_s;
    gs_buf_init(&t->buf, (size_t)16 << 20);
    t->a = archive_write_new();
    if (!t->a || archive_write_set_format_gnutar(t->a) != ARCHIVE_OK || archive_write_set_bytes_per_block(t->a, 0) != ARCHIVE_OK ||
        archive_write_open(t->a, t, NULL, tar_out, NULL) != ARCHIVE_OK) {
        tar_close(&t->s);
        return gs_fail(err, GS_E_NOMEM, "no memory for a tar");
    }
    *out = &t->s;
    return 0;
}

int stream_measure(struct stream *s, uint64_t *out_bytes, struct gs_err *err)
{
    GS_AUTO(stream) in = s;
    gs_autofree char *buf = malloc(PIECE);
    size_t n = 1;
    *out_bytes = 0;
    if (!buf)
        return gs_fail(err, GS_E_NOMEM, "no memory to measure with");
    while (n > 0) {
        if (stream_read(in, buf, PIECE, &n, err))
            return -1;
        *out_bytes += n;
    }
    return 0;
}
