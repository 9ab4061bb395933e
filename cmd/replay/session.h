/*
 * session: what plan and apply have in common: bundle, target, state file, and the options that decide what is done.
 *
 * session_open() -> session_state() -> session_plan() when the state holds no plan yet -> session_close(), in any case.
 */
#ifndef REPLAY_SESSION_H
#define REPLAY_SESSION_H

#include "cmd/cli.h"
#include "cmd/replay/show.h"
#include "libreplay/decisions.h"
#include "libreplay/plan.h"
#include "libreplay/state.h"

struct session_args {
    const char *into, *user_map, *state;
    struct cli_list rename;
    const char *decisions;
    int on_existing; /* 0 fail, 1 merge */
    bool keep_owner, match_username, as_authors, no_attribution;
    int prefer; /* 0 author, 1 dates */
    unsigned max_fillers;
    int epics_api;
};
extern const struct cli_opt session_opts[];

struct session {
    struct cli *cli;
    const struct session_args *args;
    const struct cli_fresh *fresh; /* set by the verb before session_plan(); NULL: older bundles are not refused */
    struct sign_trust trust;
    struct bundle *bundle;
    struct gl_client *client;
    struct gl_instance target;
    struct state *state;
    struct decisions decisions;
    const char **rename; /* of the options and of the decisions together */
    size_t n_rename;
    char *bundle_path, *state_path, *url; /* bundle_path: absolute */
    uint64_t stop_after;                  /* steps of the run; 0: all */
    unsigned window_from, window_to;      /* minutes of the day; equal: always */
    bool borrowed;                        /* bundle and client are the caller's */
    bool planned;                         /* the state held a plan when it was opened */
    int64_t request_ms;                   /* measured time of one request */
    uint64_t retried;                     /* steps that were taken up again */
};

/*
 * Finds out which bundle, state file and URL are meant: `file` may be NULL when --state names a file that knows. Then
 * opens the bundle and asks the target what it is.
 */
int session_open(struct session *s, struct cli *cli, const struct cli_remote *r, const struct cli_trust *trust,
                 const struct session_args *args, const char *file, bool read_only, struct gs_err *err) GS_MUST_USE;
/* The same in two steps, for who has something to ask of the target that may travel with that. */
int session_files(struct session *s, struct cli *cli, const struct cli_remote *r, const struct cli_trust *trust,
                  const struct session_args *args, const char *file, struct gs_err *err) GS_MUST_USE;
/* Of a bundle that is open, without a state file; the caller sets `client` before session_probe(), and keeps both. */
int session_borrow(struct session *s, struct cli *cli, const struct session_args *args, struct bundle *bundle, const char *file,
                   struct gs_err *err) GS_MUST_USE;
int session_probe(struct session *s, bool read_only, struct gs_err *err) GS_MUST_USE;
/* Opens the state file for writing, or makes it. A plan that it holds is compared with bundle, target and options. */
int session_state(struct session *s, const char *path, struct gs_err *err) GS_MUST_USE;
/* Makes the plan; a state file that is then of no use is removed again. */
int session_plan(struct session *s, struct gs_err *err) GS_MUST_USE;
/* How a plan is shown that was just made: with what is known of the target's pace. */
struct show_opts session_shown(const struct session *s, const struct cli_remote *r);
/* What the plan was made with, out of the state: what the engine must do the same way. */
int session_load_opts(struct session *s, struct load_opts *out, struct gs_err *err) GS_MUST_USE;
/* Closes the state and removes the file with all that belongs to it. */
void session_forget(struct session *s);
void session_close(struct session *s);

#endif
