/* capture_status: what `snap status` and SIGUSR1 show of a capture that is not complete. */
#ifndef SNAP_CAPTURE_STATUS_H
#define SNAP_CAPTURE_STATUS_H

#include "cmd/cli.h"
#include "libexport/staging_status.h"

/* Text, line by line without line end; what comes from outside is made harmless. `file` is the bundle to be. */
void capture_status_lines(const struct staging_status *st, const char *file, void (*line)(void *cookie, const char *text),
                          void *cookie);
int capture_status_json(struct cli *cli, const struct staging_status *st, const char *file, struct gs_err *err) GS_MUST_USE;

#endif
