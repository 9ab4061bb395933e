/*
 * plan: the groups of a tree in the order in which they were found, and at the end in tree order.
 *
 * Groups are added while others are already being read; plan_order() puts them parents first (by depth, then id), so that
 * the same tree gives the same order however it was discovered. About 100 bytes per group.
 */
#ifndef EXPORT_PLAN_H
#define EXPORT_PLAN_H

#include "libcommon/err.h"
#include "libexport/idset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum plan_state { PLAN_FOUND = 0, PLAN_KEPT, PLAN_LOST };

struct plan_group {
    int64_t id, parent_id; /* parent 0: the root of the tree */
    char *full_path;
    unsigned depth;        /* slashes in full_path */
    enum plan_state state;
    enum { COUNTS_NONE = 0, COUNTS_ASKED, COUNTS_KNOWN } counts; /* what is only counted of it */
    uint64_t mark;         /* over what the list of groups showed of it; 0: none */
};

struct plan {
    struct plan_group *v;
    size_t n, cap;
    struct idset ids;
};

void plan_init(struct plan *p);
void plan_release(struct plan *p);
/* A group that is there already is left as it is, and *out_new is false. */
int plan_add(struct plan *p, int64_t id, int64_t parent_id, const char *full_path, bool *out_new,
             struct gs_err *err) GS_MUST_USE;
/* Sorts parents first. Positions change. */
void plan_order(struct plan *p);

#endif
