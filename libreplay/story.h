/*
 * story: what a state file knows of one record: the steps that loaded it, and the losses that concern it.
 */
#ifndef RP_STORY_H
#define RP_STORY_H

#include "libreplay/state.h"

/* Which record is meant. Strings are owned by it. */
struct story_of {
    int64_t grp;      /* source group id */
    char *group;      /* its full path at the source */
    char *relation;   /* "labels"; "self": the group itself */
    char *key;        /* "" of a group */
    char *called;     /* the key of its steps and losses: of epics "&12", where reconcile and the bundle say "12" */
};
void story_of_release(struct story_of *o);

/*
 * "GROUP/RELATION/KEY": GROUP is the full path at the source or on the target, RELATION a name of a relation (groups: the group itself, whose
 * key may be left out), KEY what failures or reconcile call the record, slashes included. GS_E_USAGE: there is no such group.
 */
int story_find(struct state *s, const char *what, struct story_of *out, struct gs_err *err) GS_MUST_USE;

struct story_step {
    struct op op;     /* borrowed */
    int64_t ended_ms; /* by the clock of the machine that loaded; 0: not known */
    const char *at;   /* kind.h: where the object is asked for; NULL: nowhere */
};
int story_steps(struct state *s, const struct story_of *o, int (*row)(void *cookie, const struct story_step *x, struct gs_err *err), void *cookie,
                struct gs_err *err) GS_MUST_USE;
int story_losses(struct state *s, const struct story_of *o,
                 int (*row)(void *cookie, const char *code, const char *detail, struct gs_err *err), void *cookie, struct gs_err *err) GS_MUST_USE;

#endif
