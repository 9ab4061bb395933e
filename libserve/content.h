/*
 * content: what a bundle holds, as GitLab's export is divided: groups, and of each its relations and its files.
 *
 * The uploads of a group (its avatar and the files in its texts) are one relation for GitLab, a tar.
 */
#ifndef SERVE_CONTENT_H
#define SERVE_CONTENT_H

#include "formats/bundle.h"
#include "libserve/stream.h"

struct content_row {
    size_t group;         /* position in bundle_groups() */
    const char *relation; /* "uploads" for the files, whose number is `records` */
    uint64_t records, raw;
};

struct content {
    struct bundle *b;
    struct native *native;
    const struct bundle_group *groups;
    size_t n_groups;
    size_t *by_id;            /* positions of the groups, by id */
    struct content_row *rows; /* by group, then by name; relations without records are not among them */
    size_t n_rows;
    int64_t made_s;           /* when the bundle was made */
};

int content_load(struct bundle *b, struct content **out, struct gs_err *err) GS_MUST_USE;
void content_free(struct content *c);
GS_DEFINE_AUTO(content, content_free);

/* Position of the group with this id or full path; SIZE_MAX: the bundle has none. */
size_t content_group(const struct content *c, int64_t id);
size_t content_group_path(const struct content *c, const char *path, size_t len);
/* The rows [*from, *to) of one group. */
void content_rows(const struct content *c, size_t group, size_t *from, size_t *to);
/* NULL: no records. */
const struct content_row *content_row(const struct content *c, size_t group, const char *relation);
/* The last segment of its path. */
const char *content_slug(const struct content *c, size_t group);

/* The group's own record as a JSON object; a group whose record was not readable gets what its place in the tree tells. */
int content_self(const struct content *c, size_t group, struct stream **out, struct gs_err *err) GS_MUST_USE;
/* The tar of avatar and uploads, ./avatar/FILE and ./SECRET/FILE; without files an empty one. */
int content_uploads(const struct content *c, size_t group, struct stream **out, struct gs_err *err) GS_MUST_USE;

#endif
