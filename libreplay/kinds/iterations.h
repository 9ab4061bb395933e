/*
 * iterations: what cadences.c, iterations.c and automation.c share. Facts about GitLab: API facts, section 6.
 *
 * The lane of a group has its cadences first, none of which makes iterations itself; then the iterations of all of them by their iid,
 * which the server counts per group; then the removal of fillers; then what turns the automation of cadences on.
 */
#ifndef RP_ITERATIONS_H
#define RP_ITERATIONS_H

#include "libreplay/kind.h"

#define ITERATIONS_MAX_FILLERS 1000 /* per gap, unless --max-fillers says otherwise */

/* Title of the cadence that the iterations which only use up numbers are made in; the beginning is that of a filler milestone. */
void iterations_filler_title(struct run *r, char *out, size_t cap);
/* Of a cadence as GraphQL shows it. */
extern const char *const cadence_seen[];
/* The page of the group's own cadences at step_after(). NULL: no memory. */
struct gl_request *cadences_request(struct run *r, struct gs_err *err);
/* A mutation with {"input": {...}}; `fill` writes the members. */
struct gl_request *iterations_mutation(struct run *r, const char *document, int (*fill)(struct run *r, struct gs_jw *w, struct gs_err *err),
                                       struct gs_err *err);
/* Writes key: "gid://gitlab/KIND/ID". */
void iterations_put_gid(struct gs_jw *w, const char *key, const char *kind, int64_t id);
#define GID_CADENCE "Iterations::Cadence"

/*
 * When a cadence may begin to make iterations itself: behind the last one that has begun, and so that it makes none that would be over
 * already (GitLab refuses others). `today` and dates are days since 1970. Where iterations lie ahead, it begins with the first of them, so that they stay where they are;
 * else at the cadence's own start, when that is allowed; else when the next one would begin in its rhythm.
 */
struct automation {
    int64_t start;
    bool moves;        /* iterations that lie ahead will not stay where they are */
    int64_t moves_iid; /* the first of them */
};
/* `cadence` is a record with duration_in_weeks. GS_E_RECORD when that or a date cannot be used. */
int automation_plan(yyjson_val *cadence, int64_t today, struct automation *out, struct gs_err *err) GS_MUST_USE;

#endif
