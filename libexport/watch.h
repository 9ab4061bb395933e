/*
 * watch: the look at the source after everything was read. What appeared, vanished or changed since is written into the books.
 *
 * One list of the whole tree, for each group one GraphQL request (REST lists where GraphQL is refused), and then one for its badges, all
 * of them live; planning records where there are some (watch_plans.h). Relations of more than WATCH_PAGES hundred records are compared by their number and their newest time only,
 * unless the look is to be thorough. formats/ledger.md says what cannot be seen.
 *
 * It begins when every list was answered, though a group whose lists are complete could be looked at while others are still read, and
 * its changes since would be seen as well. But then no moment would lie between all reading and all looking: one group might change
 * after its look and another before it was read, and the bundle would hold together what never was. As it is, all that the look finds
 * unmoved was true at one moment. What is only counted, and compared with nothing, may be asked for on either side.
 */
#ifndef EXPORT_WATCH_H
#define EXPORT_WATCH_H

#include "libexport/capture_priv.h"

#define WATCH_PAGES 5

/* How much of a relation the second look saw. */
enum seen { SEEN_NOT, SEEN_NUMBER, SEEN_IDS, SEEN_ALL };

/* Writes into the books what the second look at a relation of a group found: that nothing moved, or what. `before` is the book's mark. */
int watch_judge(struct capture *c, int64_t group, enum mark_kind k, const struct mark *before, const struct mark *now, enum seen seen,
                struct gs_err *err) GS_MUST_USE;
/* Runs the client until the look is over. Failures are left with cap_fail(). Before the plan is put in order. */
void watch_run(struct capture *c);

#endif
