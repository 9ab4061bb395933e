/* kinds: the single kinds and loaders, listed in kinds.c. */
#ifndef RP_KINDS_H
#define RP_KINDS_H

#include "libreplay/kind.h"

extern const struct kind kind_groups, kind_groups_settings, kind_groups_locks, kind_groups_avatar, kind_groups_owner;
extern const struct kind kind_labels, kind_milestones, kind_milestones_sweep, kind_badges, kind_boards, kind_lists,
    kind_members, kind_cadences, kind_cadences_automation, kind_iterations, kind_iterations_sweep;
extern const struct kind kind_epics, kind_epics_sweep, kind_epics_parent, kind_epics_order, kind_epics_state, kind_epics_times,
    kind_notes, kind_award_emoji, kind_epic_boards, kind_epic_lists, kind_epic_boards_order;
extern const struct relation_loader loader_self, loader_namespace_settings, loader_labels, loader_milestones,
    loader_cadences, loader_badges, loader_boards, loader_epics, loader_epic_boards, loader_members;

/* A label that a board names and that no labels record of the group or a group above has: planned as if there were one.
 */
int labels_plan_implicit(struct plan *p, const struct grp *g, yyjson_val *label, struct gs_err *err) GS_MUST_USE;
struct pending;
/* One list of the board that `board` stands for: put aside behind it, or named as a loss. */
int lists_plan(struct plan *p, const struct grp *g, const struct pending *board, yyjson_val *list,
               struct gs_err *err) GS_MUST_USE;

#endif
