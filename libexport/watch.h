/*
 * watch: the look at the source after everything was read. What appeared, vanished or changed since is written into the books.
 *
 * One list of the whole tree, and for each group one GraphQL request (REST lists where GraphQL is refused) and one for its badges, all
 * of them live. Relations of more than WATCH_PAGES hundred records are compared by their number and their newest time only,
 * unless the look is to be thorough. formats/ledger.md says what cannot be seen.
 */
#ifndef EXPORT_WATCH_H
#define EXPORT_WATCH_H

#include "libexport/capture_priv.h"

#define WATCH_PAGES 5

/* Runs the client until the look is over. Failures are left with cap_fail(). Before the plan is put in order. */
void watch_run(struct capture *c);

#endif
