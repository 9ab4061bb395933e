/*
 * digests: what a relation of a group holds, as a number of records and a sum over the digests of their content, in whatever order they come.
 * Two sides on which both are the same hold the same records, and need not be read again to be compared (struct diff_opts).
 *
 * Records are taken in as they pass by: of the target while it is read, of the bundle meanwhile, by another thread. Both sides must be brought into the
 * same form by the hooks of the comparison. One of these belongs to one thread at a time.
 */
#ifndef EXPORT_DIGESTS_H
#define EXPORT_DIGESTS_H

#include "libexport/diff.h"

struct digests;

/* `hooks` as for the comparison, `second`: of the second bundle. */
int digests_new(const struct diff_hooks *hooks, bool second, struct digests **out, struct gs_err *err) GS_MUST_USE;
void digests_free(struct digests *d);
GS_DEFINE_AUTO(digests, digests_free);

/* Is this relation compared by content alone, so that it can be summed up? Few records, or hooks that know more than one record, can not. */
bool digests_wanted(const char *relation);
/* A record as JSON. */
int digests_add(struct digests *d, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* All records of a bundle that are wanted; ended early, without an error, by `stop`. */
int digests_add_bundle(struct digests *d, struct bundle *b, const volatile int *stop, struct gs_err *err) GS_MUST_USE;

/* Do both hold the same, of these groups? *out_n: how many records. */
bool digests_same(const struct digests *a, int64_t group_a, const struct digests *b, int64_t group_b, const char *relation, uint64_t *out_n);

#endif
