/*
 * users: who is who on the target. First the CSV, then the rule of GitLab's own importer: the source's public email
 * equals a confirmed email of an active target user; then, only when asked for, an active user of the same name.
 *
 * CSV: header line, columns source_username or source_id or source_email, and target_username (or target_id); empty
 * target: leave this person out on purpose. Errors name line and column (GS_E_USER_MAP).
 */
#ifndef RP_USERS_H
#define RP_USERS_H

#include "formats/bundle.h"
#include "libgitlab/rest.h"
#include "libreplay/state.h"

struct users_opts {
    const char *csv;     /* NULL: none */
    bool match_username; /* who is not found otherwise is the user of the same name there, whoever that is */
    /* Called once per user of the bundle, in no particular order; the row is borrowed. */
    int (*each)(void *cookie, const struct user_row *u, struct gs_err *err);
    void *cookie;
};

struct users_coverage {
    uint64_t people, by_csv, by_email, by_username, nobody;
    char unused[300]; /* numbers of lines of the CSV that mean nobody of this bundle: one map may serve several bundles */
};

/* Matches every user of the bundle. Requests run in parallel. */
int users_match(struct bundle *b, struct gl_client *c, const struct gl_instance *target, const struct users_opts *o,
                struct users_coverage *out, struct gs_err *err) GS_MUST_USE;

#endif
