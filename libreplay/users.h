/*
 * users: who is who on the target. First the CSV, then the rule of GitLab's own importer: the source's public email
 * equals a confirmed email of an active target user.
 *
 * CSV: header line, columns source_username or source_id or source_email, and target_username (or target_id); empty
 * target: leave this person out on purpose. Errors name line and column (GS_E_USER_MAP).
 */
#ifndef RP_USERS_H
#define RP_USERS_H

#include "formats/bundle.h"
#include "libgitlab/rest.h"
#include "libreplay/state.h"

struct users_coverage {
    uint64_t people, by_csv, by_email, nobody;
};

/* Matches every user of the bundle and stores the result in the state. Requests run in parallel. */
int users_match(struct state *s, struct bundle *b, struct gl_client *c, const struct gl_instance *target,
                const char *csv, struct users_coverage *out, struct gs_err *err) GS_MUST_USE;

#endif
