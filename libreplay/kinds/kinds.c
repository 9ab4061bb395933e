/* The list of what the loader knows. */
#include "libreplay/kinds/kinds.h"

#include <string.h>

const struct kind *const kinds[] = {
    &kind_groups, &kind_groups_settings, &kind_groups_avatar, &kind_labels,  &kind_milestones,   &kind_milestones_sweep,
    &kind_cadences, &kind_iterations,    &kind_iterations_sweep, &kind_cadences_automation,
    &kind_badges, &kind_boards,          &kind_lists,         &kind_epics,   &kind_epics_sweep,  &kind_epics_parent,
    &kind_epics_order, &kind_epics_state, &kind_epics_times,  &kind_notes,   &kind_award_emoji,  &kind_epic_boards,
    &kind_epic_lists, &kind_epic_boards_order, &kind_members,
    &kind_groups_locks, &kind_groups_owner, NULL,
};

const struct kind *kind_find(const char *name)
{
    for (size_t i = 0; kinds[i]; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

const struct relation_loader *const relation_loaders[] = {
    &loader_self,    &loader_namespace_settings,
    &loader_labels,  &loader_milestones,
    &loader_cadences, &loader_badges,  &loader_boards,
    &loader_epics,   &loader_epic_boards, &loader_members, NULL,
};
