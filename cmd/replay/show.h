/*
 * show: what a state file says, for people and as JSON. Used by plan, apply and status.
 */
#ifndef REPLAY_SHOW_H
#define REPLAY_SHOW_H

#include "cmd/cli.h"
#include "libreplay/report.h"

struct show_opts {
    bool groups;      /* a line per group */
    bool plan;        /* before the load: what will be done */
    unsigned jobs;    /* for the least time; 0: 8 */
    int64_t round_ms; /* measured time of a request; 0: not known */
    int64_t rate_per_min; /* what the target allows, or --rate; 0: no limit is known */
    int64_t own_rate;     /* --rate; 0: none */
    int64_t rate_left;    /* what the target's window still allows; -1: not known */
};

/* Source, target, tree, counts, people, losses, and what comes next. */
int show_plan(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err) GS_MUST_USE;
/* The table per relation, the losses, the groups with their URLs. */
int show_result(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err) GS_MUST_USE;
/* What show_result() says of the groups is left out: the table per relation and the losses. */
int show_books(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err) GS_MUST_USE;
/* The same as members of an object that is open in `w`. */
int show_json(struct gs_jw *w, struct state *s, const struct show_opts *o, struct gs_err *err) GS_MUST_USE;
/* Why a person of the bundle is nobody on the target, in words: of user_row.how. */
const char *show_why_nobody(const char *how);
/* One list as CSV. */
enum show_list { SHOW_NONE, SHOW_GROUPS, SHOW_RELATIONS, SHOW_LOSSES, SHOW_PEOPLE, SHOW_RUNS };
int show_csv(struct cli *cli, struct state *s, enum show_list which, struct gs_err *err) GS_MUST_USE;
/* How long the load takes at least, as far as that is known: "3m 20s"; NULL: it is not. */
int show_least(struct state *s, const struct show_opts *o, const char **out, struct gs_err *err) GS_MUST_USE;
/* One line per thing to do and per loss. */
int show_plan_csv(struct cli *cli, struct state *s, struct gs_err *err) GS_MUST_USE;

#endif
