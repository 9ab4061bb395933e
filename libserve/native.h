/*
 * native: the records of a bundle as the lines of GitLab's own export, for who imports what GitLab exports.
 *
 * What a capture added to a record (people's names beside their ids, settings that only REST tells, the order on a board) is left
 * out again, and what the API tells less of than the export does is filled in from the rest of the bundle: an epic's parent is a
 * whole epic. A line of an export that a capture kept as it was comes out byte for byte.
 *
 *   native_new(bundle) -> native_lines_init() for each relation that is read -> native_line() ... -> native_free()
 *
 * One struct native serves several threads; a struct native_lines belongs to one.
 */
#ifndef SERVE_NATIVE_H
#define SERVE_NATIVE_H

#include "formats/bundle.h"
#include "formats/relations.h"

struct native;

/* The bundle outlives it. */
int native_new(struct bundle *b, struct native **out, struct gs_err *err) GS_MUST_USE;
void native_free(struct native *n);
GS_DEFINE_AUTO(native, native_free);

/* The source's version, as it was captured ("17.8.1-ee") or "". */
const char *native_version(const struct native *n);

#define NATIVE_NEEDLES 96

/* What to look for in a record of this relation; nothing of it found means that it is a line of an export already. */
struct native_lines {
    struct native *n;
    const struct relation *relation; /* NULL: the table does not know it, and its records are what they are */
    bool as_is;
    bool all;         /* every record is looked at: there was no room for all keys */
    const char *needle[NATIVE_NEEDLES];
    size_t n_needles;
    uint64_t lengths; /* of them, a bit each */
    bool first[256];  /* how they begin */
};
void native_lines_init(struct native_lines *l, struct native *n, const char *relation);
/* Appends one stored record (as bundle_cursor_next() gives it) as a line without its end. GS_E_JSON*, GS_E_RECORD, GS_E_NOMEM ... */
int native_line(const struct native_lines *l, const void *record, size_t len, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* Is `version` ("17.8.1-ee", "17.8.0-pre", "") at least major.minor? Without a version: no. */
bool native_at_least(const char *version, unsigned major, unsigned minor);

#endif
