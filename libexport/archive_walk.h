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
    uint64_t size; /* as announced */
    /* Reads on; *out_n 0 at the end. */
    int (*read)(struct walk_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void *cookie;
};

/* `each` is called for every regular file; what it does not read is passed over. */
typedef int (*walk_fn)(void *cookie, struct walk_file *f, struct gs_err *err);
/* GS_E_ARCHIVE, GS_E_BOMB, GS_E_LIMIT, GS_E_NOT_FOUND, GS_E_IO, and what `each` gives. */
int archive_walk(const char *path, const struct walk_limits *lim, walk_fn each, void *cookie,
                 struct gs_err *err) GS_MUST_USE;
/*
 * The same for a .tar.gz of uploads, where one odd entry must not cost the others: links, devices, pipes and names that are not
 * let through are told to `refused` with the reason ("a link", "no file", "its name"), and passed over. `name` is what messages call it:
 * they are carried, and say nothing of where this machine keeps its files.
 */
int archive_walk_uploads(const char *path, const char *name, walk_fn each,
                         int (*refused)(void *cookie, const char *name, const char *why, struct gs_err *err), void *cookie,
                         struct gs_err *err) GS_MUST_USE;

#endif
