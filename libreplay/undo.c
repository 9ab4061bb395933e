#include "libreplay/undo.h"

#include "libcommon/clock.h"
#include "libreplay/kind.h"
#include "libreplay/persona.h"
#include "libreplay/undo_priv.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* In the order of removal; groups are the last. The order is that of enum undo_kind. */
const struct undo_kind_info undo_kinds[UNDO_KINDS] = {
    [U_LISTS] = {"lists"},           [U_BOARDS] = {"boards"},
    [U_BADGES] = {"badges"},         [U_EPIC_BOARDS] = {"epic_boards"},
    [U_EPICS] = {"epics"},           [U_ITERATIONS] = {"iterations"},
    [U_CADENCES] = {"iterations_cadences"}, [U_MILESTONES] = {"milestones"},
    [U_LABELS] = {"labels"},         [U_MEMBERS] = {"members"},
    [U_GROUPS] = {"groups"},
};

const char *undo_state_name(enum undo_state s)
{
    static const char *const names[] = {"planned", "sent", "done", "kept", "failed"};
    return (unsigned)s < GS_COUNT(names) ? names[s] : "unknown";
}

const char *undo_hint(const char *code)
{
    static const struct {
        const char *code, *hint;
    } all[] = {
        {"changed", "it is others' now: remove it there by hand if nobody wants it"},
        {"restored", "somebody wants it: delete it there by hand if that is not so"},
        {"foreign-content", "take out what is not wanted, then run the same command again"},
        {"in-use", "take it out of where it is used, then run the same command again"},
        {"last-owner", "make somebody else Owner of the group, then run the same command again"},
        {"marked", "wait, or let who may do it delete it at once; the same command tries that again"},
    };
    for (size_t i = 0; i < GS_COUNT(all); i++)
        if (strcmp(all[i].code, code) == 0)
            return all[i].hint;
    return gs_code_hint(gs_code_by_name(code));
}

int undo_db_fail(struct state *s, struct gs_err *err)
{
    int rc = sqlite3_errcode(state_db(s)) & 0xff;
    enum gs_code code = rc == SQLITE_FULL ? GS_E_DISK_FULL : rc == SQLITE_IOERR ? GS_E_IO : GS_E_STATE_DAMAGED;
    return gs_fail(err, code, "state file '%s': %s", state_path(s), sqlite3_errmsg(state_db(s)));
}

/* ---- the rows ---- */

int undo_begun(struct state *s, bool *out, struct gs_err *err)
{
    gs_autofree char *v = NULL;
    if (state_meta_get(s, "undo_begun_ms", &v, err))
        return -1;
    *out = v != NULL;
    return 0;
}

int undo_plan(struct state *s, bool leave_marked, struct gs_err *err)
{
    static const char sql[] =
        "INSERT INTO undo(op, grp, kind, target_id) SELECT id, grp, kind, target_id FROM op WHERE target_id > 0 AND"
        " adopted = 0 AND kind IN ('groups', 'labels', 'milestones', 'badges', 'boards', 'lists', 'epics', 'epic_boards', 'members', 'iterations', 'iterations_cadences')"
        " ON CONFLICT(op) DO UPDATE SET target_id = excluded.target_id WHERE state = 0";
    bool begun;
    if (undo_begun(s, &begun, err))
        return -1;
    /* what an undo saw that removed nothing is of no worth: the load may have gone on since */
    if (!begun && sqlite3_exec(state_db(s), "DELETE FROM undo", NULL, NULL, NULL) != SQLITE_OK)
        return undo_db_fail(s, err);
    if (!leave_marked &&
        sqlite3_exec(state_db(s), "UPDATE undo SET state = 0 WHERE state = 2 AND code IN (" UNDO_MARKED_CODES ")", NULL, NULL, NULL) != SQLITE_OK)
        return undo_db_fail(s, err);
    return sqlite3_exec(state_db(s), sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : undo_db_fail(s, err);
}

static const char *column(sqlite3_stmt *st, int i)
{
    return (const char *)sqlite3_column_text(st, i);
}

static uint64_t number(sqlite3_stmt *st, int i)
{
    return (uint64_t)sqlite3_column_int64(st, i);
}

int undo_counts(struct state *s, int (*row)(void *cookie, const struct undo_count *c, struct gs_err *err), void *cookie,
                struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(s),
            "SELECT count(*), total(state = 2 AND code NOT IN ('was-gone', " UNDO_MARKED_CODES ")),"
            " total(state = 2 AND code = 'was-gone'), total(state = 2 AND code IN (" UNDO_MARKED_CODES ")), total(state = 3), total(state = 4), total(state < 2) FROM undo"
            " WHERE kind = ?1",
            -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(s, err);
    int r = 0;
    for (int k = 0; k < UNDO_KINDS && !r; k++) {
        sqlite3_bind_text(st, 1, undo_kinds[k].kind, -1, SQLITE_STATIC);
        if (sqlite3_step(st) != SQLITE_ROW) {
            r = undo_db_fail(s, err);
            break;
        }
        struct undo_count c = {.relation = undo_kinds[k].kind,
                               .all = number(st, 0),
                               .removed = number(st, 1),
                               .gone = number(st, 2),
                               .marked = number(st, 3),
                               .kept = number(st, 4),
                               .failed = number(st, 5),
                               .open = number(st, 6)};
        sqlite3_reset(st);
        if (c.all)
            r = row(cookie, &c, err);
    }
    sqlite3_finalize(st);
    return r;
}

int undo_rows(struct state *s, unsigned states, int (*row)(void *cookie, const struct undo_row *r, struct gs_err *err),
              void *cookie, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(s),
            "SELECT u.op, u.target_id, u.kind, g.src_path, g.dst_path, o.key, u.state, u.code, u.text, u.request,"
            " u.request_id, u.http FROM undo u JOIN op o ON o.id = u.op JOIN grp g ON g.id = u.grp"
            " WHERE (?1 >> u.state) & 1 ORDER BY g.src_path, u.kind, u.op",
            -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(s, err);
    sqlite3_bind_int64(st, 1, states);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        struct undo_row x = {.op = sqlite3_column_int64(st, 0),
                             .target_id = sqlite3_column_int64(st, 1),
                             .relation = column(st, 2),
                             .group = column(st, 3),
                             .target_group = column(st, 4),
                             .key = column(st, 5),
                             .state = (enum undo_state)sqlite3_column_int(st, 6),
                             .code = column(st, 7),
                             .text = column(st, 8),
                             .request = column(st, 9),
                             .request_id = column(st, 10),
                             .http = sqlite3_column_int(st, 11)};
        r = rc == SQLITE_ROW ? row(cookie, &x, err) : undo_db_fail(s, err);
    }
    sqlite3_finalize(st);
    return r;
}

int undo_set(struct undo *u, int64_t op, enum undo_state state, const char *code, const char *text,
             const struct gs_err *why, const char *request, struct gs_err *err)
{
    sqlite3_stmt *st = u->set;
    if (!st &&
        sqlite3_prepare_v3(state_db(u->s),
                           "UPDATE undo SET state = ?2, code = ?3, text = ?4, http = ?5, request_id = ?6, request = ?7,"
                           " at_ms = ?8 WHERE op = ?1",
                           -1, SQLITE_PREPARE_PERSISTENT, &u->set, NULL) != SQLITE_OK)
        return undo_db_fail(u->s, err);
    st = u->set;
    sqlite3_bind_int64(st, 1, op);
    sqlite3_bind_int(st, 2, state);
    sqlite3_bind_text(st, 3, code, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, text, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 5, why ? why->http : 0);
    sqlite3_bind_text(st, 6, why && why->request_id[0] ? why->request_id : NULL, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 7, request, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 8, gs_unix_ms());
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_DONE ? 0 : undo_db_fail(u->s, err);
    sqlite3_reset(st);
    return r;
}

/* In the transaction that says of a deletion that it is sent: from then on the load is one that is taken back. */
int undo_mark_begun(struct undo *u, struct gs_err *err)
{
    char t[24];
    if (u->begun)
        return 0;
    snprintf(t, sizeof t, "%lld", (long long)gs_unix_ms());
    if (state_meta_set(u->s, "undo_begun_ms", t, err))
        return -1;
    u->begun = true;
    return 0;
}

/* A dry run is inside a transaction already, which will be rolled back. */
int undo_begin(struct undo *u, struct gs_err *err)
{
    return u->o->dry_run ? 0 : state_begin(u->s, err);
}

int undo_commit(struct undo *u, struct gs_err *err)
{
    return u->o->dry_run ? 0 : state_commit(u->s, err);
}

/* ---- groups, from the innermost outwards ---- */

static int load_groups(struct undo *u, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(u->s),
            "SELECT DISTINCT g.id FROM grp g JOIN undo x ON x.grp = g.id AND x.state <> 2 WHERE g.target_id > 0"
            " ORDER BY g.depth DESC, g.id DESC",
            -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(u->s, err);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (u->n_groups % 64 == 0) {
            int64_t *p = realloc(u->groups, (u->n_groups + 64) * sizeof *p);
            if (!p) {
                r = gs_fail(err, GS_E_NOMEM, "out of memory");
                break;
            }
            u->groups = p;
        }
        u->groups[u->n_groups++] = sqlite3_column_int64(st, 0);
    }
    if (!r && rc != SQLITE_DONE)
        r = undo_db_fail(u->s, err);
    sqlite3_finalize(st);
    return r;
}

static int facts(struct undo *u, struct gs_err *err)
{
    gs_autofree char *user = NULL, *set = NULL;
    if (state_meta_get(u->s, "target_user_id", &user, err) || state_meta_get(u->s, "set_id", &set, err))
        return -1;
    u->loader = user ? strtoll(user, NULL, 10) : 0;
    snprintf(u->set_id, sizeof u->set_id, "%.8s", set ? set : "");
    /* which epics hang below which, as this load has hung them */
    if (sqlite3_exec(state_db(u->s),
                     "CREATE TEMP TABLE IF NOT EXISTS epic_tree(parent INTEGER, child INTEGER, PRIMARY KEY(parent, child));"
                     "CREATE TEMP TABLE IF NOT EXISTS epic_held(op INTEGER PRIMARY KEY); DELETE FROM temp.epic_held;"
                     "DELETE FROM temp.epic_tree; INSERT OR IGNORE INTO temp.epic_tree SELECT e.id, p.needs FROM op p JOIN op e ON"
                     " e.grp = json_extract(p.arg, '$.grp') AND e.kind = 'epics' AND e.key = json_extract(p.arg, '$.key')"
                     " WHERE p.kind = 'epics.parent' AND p.state = 2",
                     NULL, NULL, NULL) != SQLITE_OK)
        return undo_db_fail(u->s, err);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(u->s), "SELECT max(sent_at) FROM op", -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(u->s, err);
    if (sqlite3_step(st) == SQLITE_ROW)
        u->last_ms = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    return 0;
}

/* Epics hang below epics of other groups, and go with them: what stays is known before the first one goes. */
static int look_at_epics(struct undo *u, struct gs_err *err)
{
    for (size_t i = 0; i < u->n_groups; i++) {
        struct grp g;
        sqlite3_stmt *st = NULL;
        if (sqlite3_prepare_v2(state_db(u->s), "SELECT 1 FROM undo WHERE grp = ?1 AND kind = 'epics' AND state <> 2 LIMIT 1", -1, &st,
                               NULL) != SQLITE_OK)
            return undo_db_fail(u->s, err);
        sqlite3_bind_int64(st, 1, u->groups[i]);
        bool any = sqlite3_step(st) == SQLITE_ROW;
        sqlite3_finalize(st);
        if (!any)
            continue;
        if (state_grp(u->s, u->groups[i], &g, err))
            return -1;
        int r = undo_look_at_epics(u, &g, err);
        grp_release(&g);
        if (r)
            return -1;
    }
    return sqlite3_exec(state_db(u->s),
                        "WITH RECURSIVE up(op) AS (SELECT op FROM temp.epic_held UNION SELECT t.parent FROM temp.epic_tree t JOIN up ON"
                        " up.op = t.child) INSERT OR IGNORE INTO temp.epic_held SELECT op FROM up",
                        NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : undo_db_fail(u->s, err);
}

static int all_groups(struct undo *u, struct gs_err *err)
{
    for (size_t i = 0; i < u->n_groups; i++) {
        struct grp g;
        if (undo_stopped(u))
            return gs_fail(err, GS_E_STOPPED, "stopped; %zu of %zu groups were gone through", i, u->n_groups);
        if (state_grp(u->s, u->groups[i], &g, err))
            return -1;
        if (u->o->progress)
            u->o->progress(u->o->cookie, g.dst_path, i, u->n_groups);
        int r = undo_group(u, &g, err);
        if (r)
            gs_wrap(err, "group '%s'", g.dst_path);
        grp_release(&g);
        if (r)
            return -1;
    }
    return undo_wait_gone(u, err);
}

bool undo_stopped(const struct undo *u)
{
    return u->o->stop && *u->o->stop;
}

int undo_sleep(const struct undo *u, int64_t ms, struct gs_err *err)
{
    for (int64_t until = gs_mono_ms() + ms; ms > 0 && !undo_stopped(u); ms = until - gs_mono_ms())
        gs_sleep_ms(ms < 100 ? ms : 100);
    return undo_stopped(u) ? gs_fail(err, GS_E_STOPPED, "stopped") : 0;
}

void undo_lagged(struct undo *u)
{
    int64_t lag = 2 * (gs_mono_ms() - u->since_ms);
    if (lag > u->lag_ms)
        u->lag_ms = lag < LAG_MAX_MS ? lag : LAG_MAX_MS;
}

int undo_run(struct state *s, struct gl_client *c, const struct gl_instance *target, const struct undo_opts *o,
             struct gs_err *err)
{
    struct undo u = {.s = s, .c = c, .target = target, .o = o, .jobs = o->jobs ? o->jobs : 8, .since_ms = gs_mono_ms(), .lag_ms = LAG_MS};
    unsigned tokens = 0;
    /* what a load that was killed left behind of those in whose name it acted */
    if (!o->dry_run && personas_revoke(s, c, o->log, &tokens, err))
        return -1;
    int r = facts(&u, err) || undo_begun(s, &u.begun, err) || load_groups(&u, err) || look_at_epics(&u, err) || all_groups(&u, err)
                ? -1
                : 0;
    if (r && !o->dry_run)
        state_rollback(s);
    sqlite3_finalize(u.set);
    free(u.groups);
    return r;
}
