/*
 * preflight: what a capture would take, cost and lose, without making one.
 *
 * preflight_run() asks for the tree and for the number of objects of each kind, in a sample of the groups when there are many.
 */
#ifndef EXPORT_PREFLIGHT_H
#define EXPORT_PREFLIGHT_H

#include "libgitlab/rest.h"

#define PREFLIGHT_SAMPLE 200 /* groups that are counted; the numbers of bigger trees are estimates */

enum preflight_kind { PREFLIGHT_LABELS, PREFLIGHT_MILESTONES, PREFLIGHT_BADGES, PREFLIGHT_BOARDS, PREFLIGHT_MEMBERS,
                      PREFLIGHT_ITERATIONS, PREFLIGHT_EPICS, PREFLIGHT_KINDS };

struct preflight_opts {
    struct gl_client *client;
    const struct gl_instance *instance;
    const char *group;
    unsigned jobs; /* 0: 8 */
    bool no_subgroups;
    volatile int *stop;
    void (*progress)(void *cookie, uint64_t groups, uint64_t counted);
    void *cookie;
};

struct preflight {
    int64_t root_id;
    char root_path[1024];
    const char *role;       /* "owner" ...; NULL: not known */
    const char *tier;       /* "free", "premium or ultimate", "community edition"; NULL: not known */
    bool epics_are_items;   /* epics are work items, and gone from REST */
    bool by_export;         /* --via auto would read the relation exports */
    char why[240];          /* why it would not */
    uint64_t groups, counted; /* groups of the tree; groups that were counted */
    uint64_t avatars;       /* groups with one */
    struct {
        const char *name;
        uint64_t count;     /* extrapolated when not all groups were counted */
        bool known;         /* false: refused, or the server gave no number */
    } kinds[PREFLIGHT_KINDS];
    int64_t latency_ms;     /* of one request alone */
    uint64_t requests, records, bytes;
    int64_t duration_ms;
};

int preflight_run(const struct preflight_opts *o, struct preflight *out, struct gs_err *err) GS_MUST_USE;

#endif
