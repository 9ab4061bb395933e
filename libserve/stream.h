/*
 * stream: bytes that are made while they are read, in constant memory, whatever is behind them.
 *
 * A constructor gives a struct stream, which the caller reads to its end and closes. stream_read() gives 0 bytes at the end only,
 * and then everything was right; an error is final. One stream belongs to one thread; several read one bundle at once.
 */
#ifndef SERVE_STREAM_H
#define SERVE_STREAM_H

#include "formats/bundle.h"
#include "libserve/native.h"

struct stream {
    int (*read)(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void (*close)(struct stream *s); /* frees it */
};

static inline int stream_read(struct stream *s, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    return s->read(s, buf, len, out_n, err);
}
/* NULL is fine. */
static inline void stream_close(struct stream *s)
{
    if (s)
        s->close(s);
}
GS_DEFINE_AUTO(stream, stream_close);

/* A copy of `len` bytes. */
int stream_text(const char *data, size_t len, struct stream **out, struct gs_err *err) GS_MUST_USE;

/* Records [from, from + count) of a relation, one line each. */
int stream_lines(struct native *n, struct bundle *b, int64_t group, const char *relation, uint64_t from, uint64_t count,
                 struct stream **out, struct gs_err *err) GS_MUST_USE;
/* The one record of a relation that has one, without a line end; `none` where the bundle has no record of it. */
int stream_single(struct native *n, struct bundle *b, int64_t group, const char *relation, const char *none, struct stream **out,
                  struct gs_err *err) GS_MUST_USE;
/* A plain file of the bundle; its digest is compared at the end. */
int stream_file(const struct bundle *b, const struct bundle_member *m, struct stream **out, struct gs_err *err) GS_MUST_USE;
/* Packed as gzip does it, always the same bytes for the same content. Takes `in`, also when it fails. */
int stream_gzip(struct stream *in, int level, struct stream **out, struct gs_err *err) GS_MUST_USE;
/* For files that are sent over a network inside the gap: a third of the work, for some more bytes. */
int stream_gzip_fast(struct stream *in, struct stream **out, struct gs_err *err) GS_MUST_USE;

/* ---- tar ---- */

struct tar_item {
    char name[600];
    bool folder;
    uint64_t size;
    struct stream *data; /* of a file; taken */
};
/* Fills `out` with the next member; *out_end: there is none. */
typedef int (*tar_next)(void *cookie, struct tar_item *out, bool *out_end, struct gs_err *err);
/* A tar of what `next` gives, all of it of owner 0 and of one time. `free_cookie` is called with the stream's end, also when this fails. */
int stream_tar(tar_next next, void *cookie, void (*free_cookie)(void *cookie), int64_t mtime_s, struct stream **out,
               struct gs_err *err) GS_MUST_USE;

/* Reads a stream to its end and counts the bytes; closes it. */
int stream_measure(struct stream *s, uint64_t *out_bytes, struct gs_err *err) GS_MUST_USE;

#endif
