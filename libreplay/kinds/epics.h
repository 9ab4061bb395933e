/*
 * epics: what the kinds that deal with epics share: one epic on the target, and the requests about it.
 *
 * An op of an epic has the key "&12": the number in its group. Facts: gitlab-api, section 4.
 */
#ifndef RP_EPICS_H
#define RP_EPICS_H

#include "libreplay/kinds/step.h"

/* An epic of the bundle that was loaded, as the target knows it. */
struct epic_at {
    int64_t op;
    int64_t group;  /* target id of its group */
    int64_t id;     /* its id there */
    int64_t iid;    /* its number there */
    bool adopted;   /* it was there before this load, and is left as it is */
};
/* The epic with this key in this source group; *out_found false: it is not in the bundle, or was not loaded. */
int epic_find(struct run *r, int64_t grp, const char *key, struct epic_at *out, bool *out_found,
              struct gs_err *err) GS_MUST_USE;
/* The epic whose op this one needs: a part of it is loaded. */
int epic_of(struct run *r, struct epic_at *out, struct gs_err *err) GS_MUST_USE;
/* What the target shows of the epic after a second call of ours: by that a later change by somebody else is noticed. */
int epic_seen(struct run *r, const struct epic_at *e, yyjson_val *there, struct gs_err *err) GS_MUST_USE;
/* Ends an op that stands on something that was not loaded, like those that the engine does not begin. */
int epic_dependency(struct run *r, const char *what, enum step_result *out, struct gs_err *err) GS_MUST_USE;

/* The key of an epic; NULL: no memory. */
char *epic_key(int64_t iid);
/* Plans what hangs on an epic: comments and reactions, put aside behind the epic itself (minor 0). */
struct pending;
int notes_plan(struct plan *p, const struct grp *g, const struct pending *epic, yyjson_val *rec,
               struct gs_err *err) GS_MUST_USE;
int awards_plan(struct plan *p, const struct grp *g, const struct pending *epic, yyjson_val *rec, int64_t *minor,
                struct gs_err *err) GS_MUST_USE;
/* Places in the tree: what was put aside of all groups, when all epics are planned. */
int tree_plan_add(struct plan *p, const struct grp *g, yyjson_val *rec, struct gs_err *err) GS_MUST_USE;
int tree_plan_end(struct plan *p, struct gs_err *err) GS_MUST_USE;
/* Is what this person of the source made entered under his name: is he the user whose token loads, or is he acted as (--as-authors)? */
int author_is_self(struct plan *p, int64_t src_user, bool *out, struct gs_err *err) GS_MUST_USE;

#endif
