/* undo_priv: what undo.c (rows, order), undo_look.c (one group as it is) and undo_group.c (judge, remove) share. */
#ifndef RP_UNDO_PRIV_H
#define RP_UNDO_PRIV_H

#include "libreplay/undo.h"

struct sqlite3_stmt;

enum undo_kind { U_LISTS, U_BOARDS, U_BADGES, U_EPIC_BOARDS, U_EPICS, U_ITERATIONS, U_CADENCES, U_MILESTONES, U_LABELS, U_MEMBERS, U_GROUPS, UNDO_KINDS };
struct undo_kind_info {
    const char *kind; /* of the ops */
};
extern const struct undo_kind_info undo_kinds[UNDO_KINDS];

struct undo {
    struct state *s;
    struct gl_client *c;
    const struct gl_instance *target;
    const struct undo_opts *o;
    unsigned jobs;
    int64_t loader;  /* id of the user who loaded: his membership is that of who makes a group */
    char set_id[12]; /* the beginning of it, as it stands in the titles of fillers */
    int64_t last_ms; /* when the load took up its last step, by the clock of the server; 0: not known */
    int64_t *groups;
    size_t n_groups;
    struct sqlite3_stmt *set;
    bool begun;      /* the state says that the load is being taken back */
    int64_t since_ms, lag_ms; /* what was made before this run may be hidden by a lagging replica until since + lag */
};
/* Rows of state UNDO_DONE that the target still holds. */
#define UNDO_MARKED_CODES "'marked', 'marked-with-group'"

int undo_db_fail(struct state *s, struct gs_err *err);
int undo_begin(struct undo *u, struct gs_err *err) GS_MUST_USE;
int undo_commit(struct undo *u, struct gs_err *err) GS_MUST_USE;
/* Once, before the first deletion leaves. In a transaction of the caller. */
int undo_mark_begun(struct undo *u, struct gs_err *err) GS_MUST_USE;
bool undo_stopped(const struct undo *u);
/* GS_E_STOPPED when the run is to end. */
int undo_sleep(const struct undo *u, int64_t ms, struct gs_err *err) GS_MUST_USE;
/* What a read did not show at first is there: lags of this length happen here. */
void undo_lagged(struct undo *u);
/* `why` may be NULL: HTTP status and request id out of it. */
int undo_set(struct undo *u, int64_t op, enum undo_state state, const char *code, const char *text,
             const struct gs_err *why, const char *request, struct gs_err *err) GS_MUST_USE;

/* Which epics of this group were changed by others, into temp.epic_held. */
int undo_look_at_epics(struct undo *u, const struct grp *g, struct gs_err *err) GS_MUST_USE;
/* One group and all that is ours in it. */
int undo_group(struct undo *u, const struct grp *g, struct gs_err *err) GS_MUST_USE;
/* Waits, for a while, until the groups are gone whose deletion the server does in the background. */
int undo_wait_gone(struct undo *u, struct gs_err *err) GS_MUST_USE;

#endif
