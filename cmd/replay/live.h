/*
 * live: how a load goes: the run that works on it (or the last one that did), and what has become of every group. For
 * status, and for a load that is asked by SIGUSR1.
 */
#ifndef REPLAY_LIVE_H
#define REPLAY_LIVE_H

#include "cmd/cli.h"
#include "libreplay/report.h"
#include "libreplay/runinfo.h"
#include "libreplay/undo.h"

struct live {
    struct report_total t;
    struct run_info run;
    bool ever, alive; /* something ran; it runs now */
    int64_t eta_ms;   /* -1: not known */
    /* An undo that has begun to delete: `undo.relation` is NULL, the numbers are of all relations together. */
    bool undone;
    struct undo_count undo;
};

/* Reads the numbers. */
int live_read(struct state *s, struct live *out, struct gs_err *err) GS_MUST_USE;
/* "running", "stopped" (for a reason that it gave), "ended", "lost" (it ended without a word), "none" */
const char *live_run_state(const struct live *l);
/* "none", "running", "cut-off" (to be gone on with), "partial" (something stayed), "complete" */
const char *live_undo_state(const struct live *l);
/* The head: bundle, target, run, speed, what it waits for, steps. Lines for people. */
int live_head(struct cli *cli, struct state *s, const struct live *l, struct gs_err *err) GS_MUST_USE;
/* A line per group, at most `max` of them (0: all), those first that are worked on or that lack something. */
int live_groups(struct cli *cli, struct state *s, unsigned max, struct gs_err *err) GS_MUST_USE;
/* One line that says it all, without a line end. */
void live_line(const struct live *l, char *out, size_t cap);
/* Is what they say different, the passing of time aside? */
bool live_differs(const struct live *a, const struct live *b);
/* Members "run" and "undo" of the object that is open in `w`. */
void live_json(struct gs_jw *w, const struct live *l);
/* The words of a wait: "the target's rate limit". */
const char *live_wait_words(const char *wait);

/* Prints head and groups on stderr when SIGUSR1 came since the last call. */
void live_answer(struct cli *cli, struct state *s);

#endif
