/*
 * books_run: a reconciliation from one end to the other, for the verb of that name and for those that let GitLab's own importers load a bundle.
 *
 *   books_open() [before anything is written: it takes the work folder] -> books_run() -> books_close(), in any case
 */
#ifndef REPLAY_BOOKS_RUN_H
#define REPLAY_BOOKS_RUN_H

#include "cmd/replay/books_out.h"
#include "cmd/replay/session.h"

/* Lives until books_close(). */
struct books_opts {
    const struct cli_remote *remote;
    const struct cli_trust *trust;
    const struct session_args *args; /* on_existing is 1: a plan without a state file is of groups that are there */
    const char *file;                /* the bundle; NULL: the state file says */
    /* A bundle that is open already: then no state file is looked at, and the client comes with books_run(). NULL: it is opened. */
    struct bundle *bundle;
    bool no_state;
    struct native_import native;
    const char *books, *work;        /* NULL: no file of books; STATE.reconcile */
    enum books_csv csv;
    bool all;
    struct cli_list ignore;
};

struct books {
    struct cli *cli;
    const struct books_opts *o;
    struct session s;
    struct readback read;
    struct books_out out;
    struct capture_ahead *ahead; /* freed after the client */
};

int books_open(struct books *b, struct cli *cli, const struct books_opts *o, struct gs_err *err) GS_MUST_USE;
/* `client` is the caller's, with opts.bundle; else NULL. *out_exit: 0 when the books balance, else 3. */
int books_run(struct books *b, struct gl_client *client, int *out_exit, struct gs_err *err) GS_MUST_USE;
void books_close(struct books *b);

#endif
