/* verbs: one per file cmd_<verb>.c of this folder; listed in main.c. */
#ifndef REPLAY_VERBS_H
#define REPLAY_VERBS_H

#include "cmd/cli.h"

extern const struct cli_verb replay_verb_plan, replay_verb_apply, replay_verb_status, replay_verb_failures, replay_verb_retry,
    replay_verb_skip, replay_verb_undo, replay_verb_users, replay_verb_reconcile, replay_verb_receipt, replay_verb_report, replay_verb_why,
    replay_verb_archive, replay_verb_serve;

#endif
