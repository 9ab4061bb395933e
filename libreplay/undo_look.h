/* undo_look: one group of an undo as it is: what the load made in it, by the state file, and what the target shows of it and beside it. */
#ifndef RP_UNDO_LOOK_H
#define RP_UNDO_LOOK_H

#include "libcommon/json.h"
#include "libreplay/undo_priv.h"

#define FOREIGN_NAMES 4 /* of things of others that are named; the rest is counted */

enum verdict { V_NONE, V_GONE, V_REMOVE, V_WITH_PARENT, V_KEEP, V_UNKNOWN };

/* What could not be read, by what it is a list of; in UNDO_KINDS what this load never makes. */
enum { UNREAD_USES = UNDO_KINDS + 1, UNREADS };
struct unread {
    struct gs_err err;
    char request[160];
};

struct row {
    int64_t op, target, print, parent; /* parent: board of a list, cadence of an iteration, as the target shows it */
    int64_t iid;            /* of an epic, as the target shows it */
    enum undo_kind kind;
    enum undo_state state;
    char *key;
    bool there, differs, in_use;
    bool owner;             /* a member with that role */
    bool was_marked;        /* an earlier run left it marked for deletion */
    bool uses_unread;       /* of a milestone or iteration */
    unsigned foreign_parts; /* of a board or cadence */
    bool automatic;         /* of a cadence: the server makes iterations in it */
    enum verdict verdict;
    const char *code;
    const struct unread *why; /* of V_UNKNOWN */
    char text[300];
};

struct look {
    struct undo *u;
    const struct grp *g;
    bool made; /* the group is of our own making */
    struct row *rows;
    size_t n_rows;
    struct row *self; /* of the group, when it is made and not yet removed */
    unsigned foreign; /* things of others in it */
    char foreign_text[400];
    /* what boards of others stand on */
    int64_t *used_labels, *used_milestones, *used_iterations;
    size_t n_used_labels, n_used_milestones, n_used_iterations;
    int64_t *fillers, *filler_cadences, *epic_fillers; /* ids; numbers of epics */
    size_t n_fillers, n_filler_cadences, n_epic_fillers;
    bool has_iterations; /* of ours */
    int64_t date_ms; /* the server's clock when it was looked at */
    bool gone, again, accepted;
    char marked_on[16]; /* "2026-11-28" when it is marked for deletion */
    char full_path[1024];
    struct unread unread[UNREADS];
    struct gs_err err; /* of the whole run */
    /* what is not shown is gone when as much was not shown before, and no replica may lag behind any more */
    bool lagging, unsure;
    size_t absent, absent_before;
};

/* What this load made in the group, by the state file. */
int look_load(struct look *l, struct gs_err *err) GS_MUST_USE;
void look_release(struct look *l);
/* The row of a target id; NULL: it is not ours. */
struct row *look_row(struct look *l, enum undo_kind kind, int64_t target);
/* Reads the group itself, then its lists, then what is used by things outside of it. */
int look_self(struct look *l, struct gs_err *err) GS_MUST_USE;
int look_lists(struct look *l, struct gs_err *err) GS_MUST_USE;
int look_uses(struct look *l, struct gs_err *err) GS_MUST_USE;
/* Notes that the target shows the object of a row, and whether it is as it was left. */
void look_see(const struct undo *u, struct row *r, yyjson_val *it);
/* Is the id in the list? */
bool look_has(const int64_t *list, size_t n, int64_t v);
/* What kept a list from being read; NULL: it was. */
const struct unread *look_is_unread(const struct look *l, size_t slot);
const struct unread *look_any_unread(const struct look *l);

#endif
