/*
 * lines: the records of an ndjson file one by one, out of a stream, with a bound on the length of each.
 *
 * Lines end in LF or CR LF; the last one may have no end. Blank lines are passed over. What is in memory is one line and a block.
 */
#ifndef EXPORT_LINES_H
#define EXPORT_LINES_H

#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_MAX_LEN ((size_t)50 << 20) /* what GitLab's own reader takes */

struct line {
    const char *text;   /* without its end; valid during the call; not NUL-terminated */
    size_t len;
    uint64_t number;    /* from 1, blank ones counted */
    bool oversize;      /* longer than the bound: `text` is NULL, the line was passed over */
};

struct lines_opts {
    /* *out_n 0: the end. */
    int (*read)(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void *read_cookie;
    /* -1 ends the walk with that error. */
    int (*each)(void *cookie, const struct line *l, struct gs_err *err);
    void *cookie;
    size_t max_len;             /* 0: LINES_MAX_LEN */
    const volatile int *stop;   /* non-zero ends the walk with GS_E_STOPPED; may be NULL */
};

/* *out_bytes (may be NULL): what was read. Errors of `read` and `each` as they are, GS_E_NOMEM, GS_E_STOPPED. */
int lines_walk(const struct lines_opts *o, uint64_t *out_bytes, struct gs_err *err) GS_MUST_USE;

#endif
