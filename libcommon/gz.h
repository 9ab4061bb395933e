/*
 * gz: reads what gzip made, piece by piece, with every check that the format offers.
 *
 * gs_gz_open() -> gs_gz_read() until it gives 0 bytes -> gs_gz_close(). Several gzip members behind each other are one stream.
 * Each member's checksum and length are compared, a file that ends early is an error, and so is whatever stands behind the last
 * member. With `plain`, a file that does not begin like gzip is given out as it is.
 */
#ifndef GS_GZ_H
#define GS_GZ_H

#include "cleanup.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct gs_gz_limits {
    uint64_t max_out;    /* unpacked bytes; 0: 25 GiB, which is GitLab's own limit */
    unsigned max_ratio;  /* unpacked to packed, looked at beyond 64 MiB unpacked; 0: 500 */
};

struct gs_gz;

/* `fd` stays the caller's, is read from where it stands, and lives as long as the reader. `name` is for messages, copied. */
int gs_gz_open(int fd, const char *name, bool plain, const struct gs_gz_limits *lim, struct gs_gz **out,
               struct gs_err *err) GS_MUST_USE;
/* *out_n 0: the end, and everything was right. GS_E_GZIP (damaged, cut, no gzip), GS_E_BOMB, GS_E_IO, GS_E_NOMEM. */
int gs_gz_read(struct gs_gz *z, void *buf, size_t len, size_t *out_n, struct gs_err *err) GS_MUST_USE;
/* NULL is fine. */
void gs_gz_close(struct gs_gz *z);
GS_DEFINE_AUTO(gs_gz, gs_gz_close);

#endif
