#include "libreplay/kinds/pending.h"

#include <sqlite3.h>
#include <string.h>

static int db_fail(sqlite3 *db, struct gs_err *err)
{
    return gs_fail(err, sqlite3_errcode(db) == SQLITE_FULL ? GS_E_DISK_FULL : GS_E_IO, "state file: %s",
                   sqlite3_errmsg(db));
}

static int run_sql(struct plan *p, const char *sql, struct gs_err *err)
{
    sqlite3 *db = state_db(plan_state(p));
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(db, err);
}

int pending_clear(struct plan *p, struct gs_err *err)
{
    return run_sql(
        p,
        "CREATE TEMP TABLE IF NOT EXISTS pending(major INTEGER, minor INTEGER, kind TEXT, key TEXT, arg TEXT,"
        " src_id INTEGER, member INTEGER, off INTEGER, len INTEGER); DELETE FROM pending",
        err);
}

int pending_add(struct plan *p, const struct pending *e, struct gs_err *err)
{
    sqlite3 *db = state_db(plan_state(p));
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db, "INSERT INTO temp.pending VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", -1, &st, NULL) !=
        SQLITE_OK)
        return db_fail(db, err);
    sqlite3_bind_int64(st, 1, e->major);
    sqlite3_bind_int64(st, 2, e->minor);
    sqlite3_bind_text(st, 3, e->kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, e->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 5, e->arg, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 6, e->src_id);
    sqlite3_bind_int64(st, 7, e->ref ? (int64_t)e->ref->member : -1);
    sqlite3_bind_int64(st, 8, e->ref ? (int64_t)e->ref->off : 0);
    sqlite3_bind_int64(st, 9, e->ref ? (int64_t)e->ref->len : 0);
    int rc = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(db, err);
    sqlite3_finalize(st);
    return rc;
}

int pending_each(struct plan *p, int (*fn)(void *cookie, const struct pending *e, struct gs_err *err), void *cookie,
                 struct gs_err *err)
{
    sqlite3 *db = state_db(plan_state(p));
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(db,
                           "SELECT major, minor, kind, key, arg, src_id, member, off, len FROM temp.pending"
                           " ORDER BY major, minor, rowid",
                           -1, &st, NULL) != SQLITE_OK)
        return db_fail(db, err);
    int rc = 0, got;
    while (!rc && (got = sqlite3_step(st)) != SQLITE_DONE) {
        if (got != SQLITE_ROW) {
            rc = db_fail(db, err);
            break;
        }
        struct bundle_ref ref = {.member = (uint32_t)sqlite3_column_int64(st, 6),
                                 .off = (uint64_t)sqlite3_column_int64(st, 7),
                                 .len = (uint32_t)sqlite3_column_int64(st, 8)};
        struct pending e = {
            .major = sqlite3_column_int64(st, 0),
            .minor = sqlite3_column_int64(st, 1),
            .kind = (const char *)sqlite3_column_text(st, 2),
            .key = (const char *)sqlite3_column_text(st, 3),
            .arg = (const char *)sqlite3_column_text(st, 4),
            .src_id = sqlite3_column_int64(st, 5),
            .ref = sqlite3_column_int64(st, 6) < 0 ? NULL : &ref,
        };
        if (!e.kind || !e.key)
            rc = gs_fail(err, GS_E_NOMEM, "out of memory");
        else
            rc = fn(cookie, &e, err);
    }
    sqlite3_finalize(st);
    return rc ? -1 : run_sql(p, "DELETE FROM temp.pending", err);
}

int pending_new_op(const char *kind, const char *key, const char *arg, int64_t grp, int64_t lane,
                   const struct bundle_ref *ref, struct op *out, struct gs_err *err)
{
    *out = (struct op){.grp = grp,
                       .lane = lane,
                       .ref_member = ref ? (int64_t)ref->member : -1,
                       .ref_off = ref ? ref->off : 0,
                       .ref_len = ref ? ref->len : 0};
    out->kind = strdup(kind);
    out->key = strdup(key ? key : "");
    out->arg = arg ? strdup(arg) : NULL;
    if (out->kind && out->key && (out->arg || !arg))
        return 0;
    op_release(out);
    return gs_fail(err, GS_E_NOMEM, "out of memory");
}

int pending_op(const struct pending *e, int64_t grp, int64_t lane, struct op *out, struct gs_err *err)
{
    if (pending_new_op(e->kind, e->key, e->arg, grp, lane, e->ref, out, err))
        return -1;
    out->src_id = e->src_id;
    return 0;
}

int pending_plan(struct plan *p, struct op *op, int64_t *out_id, struct gs_err *err)
{
    int rc = plan_op(p, op, err);
    if (out_id)
        *out_id = op->id;
    op_release(op);
    return rc;
}

int pending_into_lane(void *cookie, const struct pending *e, struct gs_err *err)
{
    const struct pending_into *x = cookie;
    struct op op;
    return pending_op(e, x->grp, x->lane, &op, err) ? -1 : pending_plan(x->p, &op, NULL, err);
}
