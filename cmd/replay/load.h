/*
 * load: the run of the engine as apply and retry have it: question, progress, answers to SIGUSR1, and what came of it.
 */
#ifndef REPLAY_LOAD_H
#define REPLAY_LOAD_H

#include "cmd/replay/session.h"

/* Is the user sure? "<question> <url>? [y/N]" on the terminal; without one GS_E_NOT_CONFIRMED. `yes`: not asked. */
int load_confirm(struct cli *cli, bool yes, const char *question, struct session *s, struct gs_err *err) GS_MUST_USE;
/* Works off the state and prints what came of it. *out_incomplete: records failed, or were skipped because of that
 * (exit code 3). */
int load_run(struct cli *cli, struct session *s, const char *verb, bool json, bool *out_incomplete,
             struct gs_err *err) GS_MUST_USE;

#endif
