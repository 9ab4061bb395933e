/*
 * export_archive: a bundle as the file of GitLab's group export, for its file import.
 *
 *   ./VERSION ./GITLAB_VERSION ./GITLAB_REVISION ./tree/groups/_all.ndjson ./tree/groups/<id>.json ./tree/groups/<id>/<relation>.ndjson
 *
 * Avatars and uploads have no place in it.
 */
#ifndef SERVE_EXPORT_ARCHIVE_H
#define SERVE_EXPORT_ARCHIVE_H

#include "libserve/content.h"

struct export_archive_opts {
    int level;                /* of gzip, 0: 6 */
    const volatile int *stop; /* non-zero: ends soon with GS_E_STOPPED; NULL */
    void (*progress)(void *cookie, uint64_t groups, uint64_t records); /* NULL */
    void *cookie;
};

struct export_archive_result {
    uint64_t groups, records, bytes; /* of the file */
    uint64_t files_left_out;         /* avatars and uploads */
    uint64_t groups_without_record;  /* whose own record the bundle does not hold */
};

/*
 * Writes the file at `path`, whole or not at all; an existing one is GS_E_EXISTS. The same bundle gives the same bytes. Also what
 * reading the bundle gives: GS_E_DIGEST ..., and GS_E_IO, GS_E_DISK_FULL, GS_E_STOPPED.
 */
int export_archive_write(const struct content *c, const char *path, const struct export_archive_opts *o,
                         struct export_archive_result *out, struct gs_err *err) GS_MUST_USE;
/* The same into an open file, at its end; `name` is for messages. When it fails, some of it may be there. */
int export_archive_to(const struct content *c, int fd, const char *name, const struct export_archive_opts *o, struct export_archive_result *out,
                      struct gs_err *err) GS_MUST_USE;
/* Positions of the groups in the order in which the file import makes them: those above first. The caller frees *out. */
int export_archive_order(const struct content *c, size_t **out, struct gs_err *err) GS_MUST_USE;

#endif
