/*
 * archive_walk: the files of a group export, from a .tar, a .tar.gz or the folder it unpacks to, one after the other.
 *
 * Only regular files and folders are let through: links and devices, absolute names, names with '..', and names that come
 * twice are GS_E_ARCHIVE. Names are given out without a leading './'. What is unpacked is bounded (GS_E_BOMB).
 */
#ifndef EXPORT_ARCHIVE_WALK_H
#define EXPORT_ARCHIVE_WALK_H

#include "libcommon/err.h"

#include <stddef.h>
#include <stdint.h>

struct walk_limits {
    uint64_t max_total;   /* unpacked bytes of all files; 0: 25 GiB, GitLab's own limit */
    uint64_t max_entries; /* 0: 4,000,000 */
};

struct walk_file {
    const char *name;
    /* Reads on; *out_n 0 at the end. */
    int (*read)(struct walk_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void *cookie;
};

/* `each` is called for every regular file; what it does not read is passed over. */
typedef int (*walk_fn)(void *cookie, struct walk_file *f, struct gs_err *err);
int archive_walk(const char *path, const struct walk_limits *lim, walk_fn each, void *cookie,
                 struct gs_err *err) GS_MUST_USE;

#endif
