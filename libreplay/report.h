/*
 * report: what a state file says about a load, as numbers and rows. Queries only; the verbs print.
 */
#ifndef RP_REPORT_H
#define RP_REPORT_H

#include "libreplay/state.h"

/* Of one relation, over all groups or in one. */
struct report_relation {
    const char *relation; /* "labels"; static text, or lives until the next row */
    uint64_t in_bundle;   /* records: ops, and those that were left out by a rule when planning */
    uint64_t loaded;      /* made by this load */
    uint64_t there;       /* were there before and were taken over */
    uint64_t lost;        /* not loaded by a rule */
    uint64_t failed;
    uint64_t skipped; /* because something that they stand on failed, or on purpose */
    uint64_t decided; /* of `skipped`: on purpose */
    uint64_t open;    /* still to do */
    uint64_t found;   /* of `loaded`: recognised after an answer got lost */
};

struct report_loss {
    const char *code, *relation, *text; /* text: the rule's sentence */
    uint64_t count, groups;
    const char *detail; /* of the first that has one, or NULL */
    bool whole;
};

struct report_failure {
    struct op op; /* borrowed */
    const char *group, *target_group, *relation;
    const char *hint; /* what to do, by the code */
    const char *reason, *by; /* of a decision to leave it out (decide.h); NULL: there is none */
    int64_t decided_ms;
};

/* Which records are meant; a NULL part means all. */
struct report_filter {
    const char *code;     /* of the error, "dependency-failed", "skipped-by-decision" */
    const char *relation; /* "labels"; groups are "groups" or "self" */
    const char *group;    /* full path at the source or on the target: the group and everything below it */
    const char *key;      /* the record's name, as failures shows it */
    bool only;            /* of `group`: not those below it, and its path at the source only */
};

struct report_group {
    struct grp grp; /* borrowed */
    uint64_t ops, done, failed, skipped, decided, open;
};
/* "planned", "loading", "loaded", "incomplete" (something failed, or was skipped because of that), "left-out", "not-loaded" */
const char *report_group_state(const struct report_group *g);

struct report_total {
    uint64_t ops, done, adopted, found, failed, skipped, lost, open, tries;
    uint64_t because_failed; /* of `skipped`: neither by a rule nor on purpose */
    uint64_t decided;        /* of `skipped`: on purpose */
    uint64_t groups, groups_loaded;
    uint64_t people, by_csv, by_email, by_username, nobody;
    uint64_t loss_records;
};

/* Everything that is read until the end is of one moment, while somebody writes. For readers. */
int report_begin(struct state *s, struct gs_err *err) GS_MUST_USE;
void report_end(struct state *s);

int report_total(struct state *s, struct report_total *out, struct gs_err *err) GS_MUST_USE;
/* Ops that were begun and have not ended. */
int report_sent(struct state *s, uint64_t *out, struct gs_err *err) GS_MUST_USE;
/* In the order of loading. `grp` 0: all groups. */
int report_relations(struct state *s, int64_t grp,
                     int (*row)(void *cookie, const struct report_relation *r, struct gs_err *err), void *cookie,
                     struct gs_err *err) GS_MUST_USE;
/* By code and relation, in the order of the table of rules. */
int report_losses(struct state *s, int (*row)(void *cookie, const struct report_loss *l, struct gs_err *err),
                  void *cookie, struct gs_err *err) GS_MUST_USE;
/*
 * Is this filter one that can mean something in this load? A group, relation or code that is not known is GS_E_USAGE, so that a
 * slip of the pen is not taken for "nothing failed".
 */
int report_filter_check(struct state *s, const struct report_filter *f, struct gs_err *err) GS_MUST_USE;
/* Does this one fit? Of the op, kind, key and code are looked at. */
bool report_filter_fits(const struct report_filter *f, const struct report_failure *x);
/*
 * Failed ops and those left out on purpose; with `skipped` also what was skipped because of failures. In order of groups. `f` may be
 * NULL; one that names the code "dependency-failed" shows those without `skipped` too.
 */
int report_failures(struct state *s, bool skipped, const struct report_filter *f,
                    int (*row)(void *cookie, const struct report_failure *f, struct gs_err *err), void *cookie,
                    struct gs_err *err) GS_MUST_USE;
/* Parents before children. */
int report_groups(struct state *s, int (*row)(void *cookie, const struct report_group *g, struct gs_err *err),
                  void *cookie, struct gs_err *err) GS_MUST_USE;
/* Users of the bundle that are nobody on the target, by reason. */
int report_nobody(struct state *s, int (*row)(void *cookie, const struct user_row *u, struct gs_err *err), void *cookie,
                  struct gs_err *err) GS_MUST_USE;
/* Everything that a plan holds, row by row: what is to be done, then what is lost. */
struct report_row {
    bool loss;
    const char *group, *target_group, *relation, *key, *detail;
    const char *what; /* kind of the op, or code of the loss */
    uint64_t count;
};
int report_rows(struct state *s, int (*row)(void *cookie, const struct report_row *r, struct gs_err *err), void *cookie,
                struct gs_err *err) GS_MUST_USE;
/* When the first and the last step ended, in milliseconds since 1970 by the clock of the machine that loaded; both 0: none has. */
int report_span(struct state *s, int64_t *out_from_ms, int64_t *out_until_ms, struct gs_err *err) GS_MUST_USE;
/* How many ended in each of `n` parts of equal length of a span. */
int report_timeline(struct state *s, int64_t from_ms, int64_t until_ms, uint64_t *columns, size_t n, struct gs_err *err) GS_MUST_USE;
/* A number out of the facts; 0 when absent. */
int report_fact(struct state *s, const char *key, int64_t *out, struct gs_err *err) GS_MUST_USE;

#endif
