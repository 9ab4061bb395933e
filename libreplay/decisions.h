/*
 * decisions: the plan as a table, given back with what is to be done otherwise.
 *
 * 'replay plan --csv' writes a row for everything that would be done and lost. In the columns decision and reason a person writes:
 *
 *   skip              leave this record out (of a group: with all in it and below it)
 *   rename NEW[:Name] of a row that makes a group: another path segment, and another name
 *
 * Rows without a decision, and columns that it does not know, are passed over; so is a row that says "loss" without a decision.
 */
#ifndef RP_DECISIONS_H
#define RP_DECISIONS_H

#include "libreplay/state.h"

struct decisions {
    char *name;    /* of the file */
    char digest[65]; /* BLAKE2b-256 of its content, kept as the fact "decisions" */
    char **rename; /* "OLD/FULL/PATH=NEW[:Name]" */
    size_t n_rename;
    struct decision_skip {
        unsigned line;
        char *group, *relation, *key, *reason;
    } *skip;
    size_t n_skip;
};

/* GS_E_DECISIONS, GS_E_NOT_FOUND, GS_E_IO. */
int decisions_load(const char *path, struct decisions *out, struct gs_err *err) GS_MUST_USE;
void decisions_release(struct decisions *d);
/* Is this the file that the plan in the state was made with? GS_E_STATE_OPTIONS. */
int decisions_check(struct state *s, const struct decisions *d, struct gs_err *err) GS_MUST_USE;
/* Leaves out of a plan that was just made what is to be left out; `user` decided. One transaction. GS_E_DECISIONS: a row means nothing in it. */
int decisions_apply(struct state *s, const struct decisions *d, const char *user, struct gs_err *err) GS_MUST_USE;

#endif
