/*
 * decide: what a person orders about single records of a load: once more, or not at all.
 *
 * Both work inside a transaction of the caller, so that what would happen can be shown before it does, and rolled back.
 */
#ifndef RP_DECIDE_H
#define RP_DECIDE_H

#include "libreplay/report.h"

struct decide_result {
    uint64_t chosen; /* fit the filter */
    uint64_t follow; /* stand on those: what was skipped because of them, or will be */
    uint64_t mended; /* retry only: done without something that they lacked (boards without a label), to be put right */
    uint64_t open;   /* other steps that have not ended */
};

/*
 * Sets failed ops that fit back, with everything that was skipped or came short because of them. Every one that ever
 * sent something counts as `sent`, so that it is looked up before it is made. What had been left out on purpose comes
 * back only when the filter names its code. Losses that these ops had while loading are forgotten, since they will show
 * again.
 */
int decide_retry(struct state *s, const struct report_filter *f, struct decide_result *out,
                 struct gs_err *err) GS_MUST_USE;
/*
 * Leaves failed ops, and planned ones unless the filter names a code, out on purpose, with what stands on them. `user`
 * and `reason` are stored. The taking away of fillers and the ownership of groups are never left out as long as their
 * group is there.
 */
int decide_skip(struct state *s, const struct report_filter *f, const char *reason, const char *user,
                struct decide_result *out, struct gs_err *err) GS_MUST_USE;
/* What a decision in this transaction concerns, by relation; groups' second calls count with their group. */
int decide_each(struct state *s, int (*row)(void *cookie, const char *relation, uint64_t n, struct gs_err *err),
                void *cookie, struct gs_err *err) GS_MUST_USE;

#endif
