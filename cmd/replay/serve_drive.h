/*
 * serve_drive: the target's side of `serve --drive`: starts the import through the target's API and follows it to its end.
 *
 *   drive_start() -> drive_step() now and then, until it says that it is over -> drive_end() -> drive_free()
 */
#ifndef REPLAY_SERVE_DRIVE_H
#define REPLAY_SERVE_DRIVE_H

#include "cmd/cli.h"

struct drive_opts {
    const char *url, *cacert, *into;           /* of the target; `into`: full path of the group to import below, or NULL */
    bool allow_http;
    const char *source_url, *source_path, *slug;
    const struct gs_secret *source_token;
};

struct drive;

/* POST /api/v4/bulk_imports with the token in GITLAB_TOKEN. What the target refuses is the error; the source's token is not in its text. */
int drive_start(struct cli *cli, const struct drive_opts *o, struct drive **out, struct gs_err *err) GS_MUST_USE;
/* Asks at most every two seconds, and tells what has changed. *out_over: the import has ended, one way or the other. */
int drive_step(struct drive *d, bool *out_over, struct gs_err *err) GS_MUST_USE;
/* Lists what failed. *out_good: finished, and nothing did. */
int drive_end(struct drive *d, bool *out_good, struct gs_err *err) GS_MUST_USE;
/* Did the target say that the import is finished, with failures or without? Else it ended in another way. */
bool drive_finished(const struct drive *d);
/* That of the target; lives as long as `d`. */
struct gl_client *drive_client(const struct drive *d);
void drive_free(struct drive *d);
GS_DEFINE_AUTO(drive, drive_free);

#endif
