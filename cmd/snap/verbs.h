/* verbs: one per file cmd_<verb>.c of this folder; listed in main.c. */
#ifndef SNAP_VERBS_H
#define SNAP_VERBS_H

#include "cmd/cli.h"

extern const struct cli_verb snap_verb_keygen, snap_verb_groups, snap_verb_preflight, snap_verb_create,
    snap_verb_import_archive, snap_verb_sign, snap_verb_seal, snap_verb_split, snap_verb_reissue, snap_verb_redact, snap_verb_diff, snap_verb_status, snap_verb_receipt_check, snap_verb_report;

#endif
