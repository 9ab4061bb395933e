/*
 * reconcile: the books of a load, taken from what stands on the target. Every record of the bundle is equal there, lost by a rule,
 * refused by name, different or missing; what is there besides is extra. The books balance when nothing is different, missing, extra
 * or unread.
 *
 *   captured = equal + lost_part + lost_whole + refused + differs + missing + unread
 *
 * The comparison is libexport/diff.h's, by the table of relations; what the load knows is libbooks/known.h's.
 */
#ifndef BOOKS_RECONCILE_H
#define BOOKS_RECONCILE_H

#include "libbooks/early.h"
#include "libbooks/native.h"

struct books_row {
    const char *group, *target_group; /* full paths on either side; NULL: it is not there. In sums both are NULL */
    char relation[64];                /* "self": the group's own record */
    uint64_t captured;
    uint64_t equal;
    uint64_t lost_part;  /* there, but for what a rule names */
    uint64_t lost_whole; /* not there, by a rule */
    uint64_t refused;    /* not there, since the target refused it or what it stands on, which is known by name */
    uint64_t differs, missing;
    uint64_t unread;     /* the target was not asked for this kind of object, or did not show it */
    uint64_t extra;      /* on the target only */
    uint64_t beside;     /* of those on the target only, not counted as extra: there before, or kept by a rule */
    uint64_t set_aside;  /* attributes that only the server sets, or that one side does not show */
};
/* How many records stand on the target. */
uint64_t books_loaded(const struct books_row *r);
/* What is missing for the books to balance; 0: they do. */
uint64_t books_balance(const struct books_row *r);

struct reconcile_opts {
    struct state *state;
    bool loaded;              /* known_open() */
    struct native_import native; /* NATIVE_NONE: by this program, or by means that nobody knows */
    struct bundle *bundle, *target;
    struct early *early;      /* what was done while the target was read; NULL: nothing */
    const char *const *ignore; /* attributes that are not compared */
    size_t n_ignore;
    const volatile int *stop;
    /* Every difference, also those that a rule explains; of what lies in a group that is missing or extra as a whole only the group. */
    int (*item)(void *cookie, const struct diff_item *i, struct gs_err *err);
    /* Every relation of every group, after its items. */
    int (*row)(void *cookie, const struct books_row *r, struct gs_err *err);
    void *cookie;
};

struct reconcile_result {
    struct books_row *sums; /* per relation, in the order of their names */
    size_t n;
    struct books_row total;
    uint64_t findings; /* items that count */
    uint64_t placeholders; /* with `native`: placeholder users that the target's records mention */
};

int reconcile_run(const struct reconcile_opts *o, struct reconcile_result *out, struct gs_err *err) GS_MUST_USE;
void reconcile_release(struct reconcile_result *r);

#endif
