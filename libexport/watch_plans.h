/*
 * watch_plans: the part of the look at the source that concerns planning records, of which few groups have any: epics, epic boards,
 * iterations and their cadences. Each is looked at where some were read, by the GraphQL list that tells its numbers and times, to the
 * end of it. Where there were none, it is asked whether there are some now, if that was not asked a moment ago: in the root, after
 * exports, and when a capture goes on that an earlier run began.
 *
 * They are read last, beside the look at everything else, so that these lists begin when that reading is over.
 */
#ifndef EXPORT_WATCH_PLANS_H
#define EXPORT_WATCH_PLANS_H

#include "libexport/capture_priv.h"

struct plans_watch;

int plans_watch_new(struct capture *c, struct plans_watch **out, struct gs_err *err) GS_MUST_USE;
/* What is pending must have ended: the client's callbacks reach into it. */
void plans_watch_free(struct plans_watch *w);
/* Sends what may be sent now. */
int plans_watch_fill(struct plans_watch *w, struct gs_err *err) GS_MUST_USE;
bool plans_watch_busy(const struct plans_watch *w);

#endif
