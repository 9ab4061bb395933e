/*
 * archive_users: the users that the records of an export mention, for the bundle's list of users.
 *
 * A membership tells name and public e-mail address; author_id and the like tell an id only. The writer merges what is known.
 */
#ifndef EXPORT_ARCHIVE_USERS_H
#define EXPORT_ARCHIVE_USERS_H

#include "formats/bundle.h"
#include "libexport/idset.h"

struct archive_users;

int archive_users_new(struct bundle_writer *w, struct archive_users **out, struct gs_err *err) GS_MUST_USE;
void archive_users_free(struct archive_users *u);
/* Ids of all users that were mentioned so far, by name or not. Lives as long as `u`. */
const struct idset *archive_users_seen(const struct archive_users *u);
/* Every user that one record mentions, at any depth. */
int archive_users_walk(struct archive_users *u, const char *relation, yyjson_val *record, struct gs_err *err) GS_MUST_USE;
/*
 * The same for a record that a quick look can deal with: one valid object within the limits, without secrets, which mentions
 * users by id only. *out_done false: nothing was done.
 */
int archive_users_quick(struct archive_users *u, const char *relation, const char *json, size_t len,
                        const struct record_limits *lim, bool *out_done, struct gs_err *err) GS_MUST_USE;

#endif
