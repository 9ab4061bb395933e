/*
 * plan: from a verified bundle and a reachable target to a state file that says everything that will be done.
 * Nothing is written to the target.
 */
#ifndef RP_PLAN_H
#define RP_PLAN_H

#include "formats/bundle.h"
#include "libgitlab/rest.h"
#include "libreplay/kind.h"
#include "libreplay/state.h"

struct plan_opts {
    const char *into;            /* full path of the target group to load into; NULL: top level */
    const char *const *rename;   /* "OLD/FULL/PATH=newslug[:New name]" */
    size_t n_rename;
    const char *user_map;        /* CSV file; NULL */
    bool match_username;         /* see struct users_opts */
    struct load_opts load;
    const struct gs_log *log;
    void (*progress)(void *cookie, const char *what, uint64_t n);
    void *cookie;
};

/*
 * Fills `s` (opened with STATE_CREATE). GS_E_TARGET_TAKEN, GS_E_GROUP_NOT_FOUND (--into), GS_E_USER_MAP, GS_E_USAGE (a --rename
 * that fits nothing), GS_E_FORBIDDEN (no right to create groups there), and what bundle and client can give.
 */
int plan_make(struct state *s, struct bundle *b, struct gl_client *c, const struct gl_instance *target,
              const struct plan_opts *o, struct gs_err *err) GS_MUST_USE;
/*
 * Of a plan with which nothing was begun: is the target still as it was when it was made? GS_E_TARGET_MOVED: another version, or the place of
 * the root is taken, gone or another one's by now.
 */
int plan_still(struct state *s, const struct bundle *b, struct gl_client *c, const struct gl_instance *target, struct gs_err *err) GS_MUST_USE;
/*
 * Does the state belong to this bundle, target, user (id; who makes a group owns it until the end, and the plan counts on
 * that) and options? GS_E_STATE_OTHER says which differs. Target NULL, user 0, options NULL: not compared.
 */
int plan_check(struct state *s, struct bundle *b, const char *target_url, int64_t user, const struct plan_opts *o,
               struct gs_err *err) GS_MUST_USE;

#endif
