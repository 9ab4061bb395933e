/*
 * buf: a growable byte buffer with a mandatory maximum.
 *
 * gs_buf_init(&b, max) ... gs_buf_add(&b, ...) ... gs_buf_release(&b). `data` is always followed by a NUL byte
 * that `len` does not count, so it may be read as a string when it holds no NUL itself. Appending beyond `max`
 * fails with GS_E_LIMIT, out of memory with GS_E_NOMEM; the buffer keeps what it had.
 */
#ifndef GS_BUF_H
#define GS_BUF_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct gs_buf {
    char *data; /* NULL while empty and never grown */
    size_t len;
    size_t cap;
    size_t max;
};

void gs_buf_init(struct gs_buf *b, size_t max);
void gs_buf_release(struct gs_buf *b);
/* Forgets the content and keeps the memory. */
void gs_buf_reset(struct gs_buf *b);

int gs_buf_add(struct gs_buf *b, const void *data, size_t len, struct gs_err *err) GS_MUST_USE;
int gs_buf_addstr(struct gs_buf *b, const char *s, struct gs_err *err) GS_MUST_USE;
int gs_buf_addc(struct gs_buf *b, char c, struct gs_err *err) GS_MUST_USE;
int gs_buf_addf(struct gs_buf *b, struct gs_err *err, const char *fmt, ...) GS_MUST_USE GS_PRINTF(3, 4);
/* Makes room for `more` bytes behind `len`; the caller writes them and adds to `len`. */
int gs_buf_reserve(struct gs_buf *b, size_t more, struct gs_err *err) GS_MUST_USE;
/* The content as a NUL-terminated string ("" when empty), owned by the buffer. */
const char *gs_buf_str(const struct gs_buf *b);
/* Moves the content out (never NULL on success, to be freed by the caller); the buffer is empty afterwards. */
char *gs_buf_steal(struct gs_buf *b, size_t *out_len);

/* printf into a new string; NULL when out of memory. */
char *gs_asprintf(const char *fmt, ...) GS_PRINTF(1, 2);

#define gs_autobuf __attribute__((cleanup(gs_buf_release))) struct gs_buf

/* Makes room for one more element behind the `n` of an array of `*cap`, which grows by doubling. The caller frees. GS_E_NOMEM. */
int gs_array_grow(void **array, size_t *cap, size_t n, size_t elem, struct gs_err *err) GS_MUST_USE;

#endif
