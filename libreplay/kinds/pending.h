/*
 * pending: records of one relation of one group, put aside while they are planned because they are needed in another
 * order than the bundle has them in (milestones by iid, badges and boards by id). A temporary table of the state's
 * database, so that memory stays constant.
 */
#ifndef RP_PENDING_H
#define RP_PENDING_H

#include "libreplay/kind.h"

struct pending {
    int64_t major, minor;         /* the order */
    const char *kind, *key, *arg; /* arg may be NULL */
    int64_t src_id;
    const struct bundle_ref *ref; /* NULL: none */
};

int pending_clear(struct plan *p, struct gs_err *err) GS_MUST_USE;
int pending_add(struct plan *p, const struct pending *e, struct gs_err *err) GS_MUST_USE;
/* Calls `fn` for each in order, then forgets them. */
int pending_each(struct plan *p, int (*fn)(void *cookie, const struct pending *e, struct gs_err *err), void *cookie,
                 struct gs_err *err) GS_MUST_USE;
/* For pending_each(): each becomes an op of the lane, as it is. */
struct pending_into {
    struct plan *p;
    int64_t grp, lane;
};
int pending_into_lane(void *cookie, const struct pending *e, struct gs_err *err) GS_MUST_USE;
/* Plans an op and releases it in any case; out_id may be NULL. */
int pending_plan(struct plan *p, struct op *op, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
/* Turns one into an op with the strings copied; pending_plan() or op_release() ends it. GS_E_NOMEM. */
int pending_op(const struct pending *e, int64_t grp, int64_t lane, struct op *out, struct gs_err *err) GS_MUST_USE;
/* An op that is filled by hand; strings are copied, `key` and `arg` may be NULL. */
int pending_new_op(const char *kind, const char *key, const char *arg, int64_t grp, int64_t lane,
                   const struct bundle_ref *ref, struct op *out, struct gs_err *err) GS_MUST_USE;

#endif
