/*
 * early: what of a comparison can be done while the target is still being read. The records of the bundle are summed up by a thread of their own,
 * those of the target as they come (libexport/digests.h); relations that hold the same on both sides are not read again.
 *
 *   early_start() -> readback_run() with early_record() -> early_wait() -> reconcile_run() with opts.early -> early_close()
 *
 * From early_start() to early_wait() the state file and the bundle belong to that thread.
 */
#ifndef BOOKS_EARLY_H
#define BOOKS_EARLY_H

#include "libbooks/known.h"
#include "libexport/digests.h"

struct early;

int early_start(struct state *s, struct bundle *bundle, bool loaded, struct early **out, struct gs_err *err) GS_MUST_USE;
/* Ends the thread. NULL is fine. */
void early_close(struct early *e);
GS_DEFINE_AUTO(early, early_close);

/* For struct capture_opts; the cookie is a struct early. */
int early_record(void *cookie, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err);
/* Waits for the thread: from here on the state file and the bundle are free again. */
void early_wait(struct early *e);
/* The same. What it knows of the load is given away; the sums stay. -1: what failed there. */
int early_end(struct early *e, struct known **out_known, struct gs_err *err) GS_MUST_USE;
const struct digests *early_sums(const struct early *e, bool second);

#endif
