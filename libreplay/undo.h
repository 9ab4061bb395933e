/*
 * undo: takes a load back. Only what this load made is removed, never what was there before or was taken over, and
 * nothing that somebody else changed since or that holds something of somebody else.
 *
 * Groups are gone through from the innermost outwards. Of each everything is read first: a group of our own making in
 * which nothing is foreign and nothing was changed is deleted as a whole; otherwise what is ours in it and as it was is
 * deleted object by object: lists, boards, badges, epic boards, epics, iterations, cadences, milestones, labels, members, the newest
 * first. Comments and emoji go with their epic, lists with their epic board. What an object looked
 * like when it was made is in the state (print.h).
 *
 * An object's row in the state is `sent` before its request leaves. An undo that was cut off goes on with the same
 * call: everything is read again, and what is gone is done. From the moment before its first deletion leaves, the state
 * is no longer loaded with: `undo_begun`.
 */
#ifndef RP_UNDO_H
#define RP_UNDO_H

#include "libcommon/log.h"
#include "libgitlab/rest.h"
#include "libreplay/state.h"

/* Stored: do not renumber. */
enum undo_state { UNDO_PLANNED = 0, UNDO_SENT = 1, UNDO_DONE = 2, UNDO_KEPT = 3, UNDO_FAILED = 4 };
const char *undo_state_name(enum undo_state s);

/*
 * Stable codes of rows. Done: "removed", "with-group" (deleted with its group), "was-gone", "accepted" (GitLab is at it), "marked"
 * (GitLab deletes it later), "marked-with-group". Kept: "changed", "restored", "foreign-content", "in-use", "last-owner". Failed:
 * those of errors.
 */
struct undo_row {
    int64_t op, target_id;
    const char *relation, *group, *target_group, *key; /* borrowed */
    enum undo_state state;
    const char *code, *text, *request, *request_id;
    int http;
};
/* What to do about one that is not gone, by its code. */
const char *undo_hint(const char *code);

struct undo_count {
    const char *relation;
    uint64_t all, removed, gone, marked, kept, failed, open;
};

struct undo_opts {
    const struct gs_log *log;
    const volatile int *stop;
    unsigned jobs;     /* requests at once; 0: 8 */
    bool dry_run;      /* only looked: the rows say what would become of them. Inside a transaction of the caller, to be
                          rolled back */
    bool leave_marked; /* where GitLab marks a group for deletion, that is enough */
    void (*progress)(void *cookie, const char *group, uint64_t done, uint64_t all);
    void *cookie;
};

/* Has an undo of this state sent a deletion, or was it about to? */
int undo_begun(struct state *s, bool *out, struct gs_err *err) GS_MUST_USE;
/*
 * Enters what the load made, as far as it is not entered yet, and afresh when no deletion was sent so far; groups that an earlier run
 * left marked are taken up again unless `leave_marked`. In a transaction of the caller.
 */
int undo_plan(struct state *s, bool leave_marked, struct gs_err *err) GS_MUST_USE;
/* What is to be removed, or has been, by relation in the order of removal. */
int undo_counts(struct state *s, int (*row)(void *cookie, const struct undo_count *c, struct gs_err *err), void *cookie,
                struct gs_err *err) GS_MUST_USE;
/* Every object that is in one of the states whose bits are set (1 << UNDO_KEPT ...). */
int undo_rows(struct state *s, unsigned states, int (*row)(void *cookie, const struct undo_row *r, struct gs_err *err),
              void *cookie, struct gs_err *err) GS_MUST_USE;
/*
 * Removes. -1: cut short (GS_E_STOPPED, GS_E_UNREACHABLE, GS_E_TOKEN ...), to be gone on with. What single objects came
 * to is in the rows. Kept and failed ones of an earlier run are looked at again.
 */
int undo_run(struct state *s, struct gl_client *c, const struct gl_instance *target, const struct undo_opts *o,
             struct gs_err *err) GS_MUST_USE;

#endif
