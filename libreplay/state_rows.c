/* What stands in a state file: groups, lanes, ops, people, losses, and what is asked of them. */
#include "libreplay/state_priv.h"

#include "libcommon/clock.h"

#include <string.h>

#define OP_COLUMNS                                                                                                     \
    "id, lane, pos, grp, kind, key, src_id, needs, ref_member, ref_off, ref_len, arg, state, target_id, tries, http,"  \
    " code, text, request_id, adopted, found, request, print, sent_at"

static const char *const queries[Q_COUNT] = {
    [Q_META_SET] = "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
    [Q_META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [Q_ADD_GRP] =
        "INSERT INTO grp(id, parent, depth, src_path, dst_path, name, visibility, dst_parent, target_id, web_url,"
        " existed) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [Q_GRP] = "SELECT id, parent, depth, src_path, dst_path, name, visibility, dst_parent, target_id, web_url, existed"
              " FROM grp WHERE id = ?1",
    [Q_GRP_LOADED] = "UPDATE grp SET target_id = ?2, web_url = ?3, existed = ?4 WHERE id = ?1",
    [Q_ADD_LANE] = "INSERT INTO lane(grp, phase, ordered, name, watermark) VALUES(?1, ?2, ?3, ?4, ?5)",
    [Q_LANE_NEED] = "INSERT OR IGNORE INTO lane_need(lane, needs) VALUES(?1, ?2)",
    [Q_LANE_POS] = "UPDATE lane SET last_pos = last_pos + 1, open = open + 1 WHERE id = ?1 RETURNING last_pos",
    [Q_ADD_OP] = "INSERT INTO op(lane, pos, grp, kind, key, src_id, needs, ref_member, ref_off, ref_len, arg)"
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    [Q_ADD_USER] = "INSERT OR REPLACE INTO user(src_id, username, public_email, target_id, target_username, how)"
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [Q_SOME_USER] = "SELECT target_id FROM user WHERE target_id > 0 AND target_id <> ?1 ORDER BY src_id LIMIT 1",
    [Q_USER] = "SELECT src_id, username, public_email, target_id, target_username, how FROM user WHERE src_id = ?1",
    [Q_ADD_LOSS] = "INSERT INTO loss(op, grp, relation, key, code, count, detail) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [Q_NEXT] = "SELECT " OP_COLUMNS " FROM op WHERE lane = ?1 AND pos > ?2 AND state < 2 ORDER BY pos LIMIT ?3",
    [Q_OP] = "SELECT " OP_COLUMNS " FROM op WHERE id = ?1",
    [Q_SENT] = "UPDATE op SET state = 1, sent_at = coalesce(sent_at, ?2) WHERE id = ?1",
    [Q_UNSENT] = "UPDATE op SET state = 0, sent_at = NULL WHERE id = ?1",
    [Q_END] = "UPDATE op SET state = ?2, target_id = ?3, tries = tries + ?4, http = ?5, code = ?6, text = ?7,"
              " request_id = ?8, adopted = ?9, found = ?10, ended_at = ?11, request = ?12, print = ?13 WHERE id = ?1",
    [Q_WATERMARK] = "UPDATE lane SET watermark = ?2 WHERE id = ?1",
    [Q_FIND_SRC] = "SELECT " OP_COLUMNS " FROM op WHERE grp = ?1 AND kind = ?2 AND src_id = ?3 ORDER BY id LIMIT 1",
    [Q_FIND] = "SELECT " OP_COLUMNS " FROM op WHERE grp = ?1 AND kind = ?2 AND key = ?3 ORDER BY id LIMIT 1",
    [Q_TAKEN] =
        "SELECT 1 FROM op WHERE grp = ?1 AND kind = ?2 AND target_id = ?3 AND id <> ?4 AND state IN (1, 2) LIMIT 1",
    [Q_TALLY] = "SELECT state, n FROM tally",
    [Q_LANE_DONE] =
        "SELECT total(state = 2 AND pos < ?2), total(state = 2 AND pos > ?2), total(state = 1 AND target_id > 0 AND"
        " pos > ?2) FROM op WHERE grp = ?3 AND kind = ?4 AND lane = ?1 AND state IN (1, 2)",
    [Q_LANE_LAST] = "SELECT 1 FROM op WHERE lane = ?1 AND pos > ?2 AND kind = ?3 AND state < 2 LIMIT 1",
    [Q_GRP_PATH] = "UPDATE grp SET dst_path = ?2 WHERE id = ?1",
    [Q_COUNTER] = "UPDATE lane SET counter = ?2 WHERE id = ?1",
    [Q_FILLER_SET] = "INSERT INTO filler(lane, number, target_id) VALUES(?1, ?2, ?3) ON CONFLICT(lane, number)"
                     " DO UPDATE SET target_id = max(target_id, ?3)",
    [Q_FILLERS] = "SELECT number, target_id FROM filler WHERE lane = ?1 ORDER BY target_id = 0, number LIMIT 1",
    [Q_FILLER_AT] = "SELECT target_id FROM filler WHERE lane = ?1 AND number = ?2",
    [Q_FILLER_DEL] = "DELETE FROM filler WHERE lane = ?1 AND (number = ?2 OR ?2 < 0)",
    [Q_NEWEST_SET] = "INSERT INTO newest(kind, op) VALUES(?1, ?2) ON CONFLICT(kind) DO UPDATE SET op = ?2",
    [Q_FORGET_LOSSES] = "DELETE FROM loss WHERE op = ?1 AND op > 0",
    [Q_TARGET] = "UPDATE op SET target_id = ?2, print = ?3 WHERE id = ?1",
    [Q_ADDRESS_SET] = "INSERT INTO address(op, text) VALUES(?1, ?2) ON CONFLICT(op) DO UPDATE SET text = ?2",
    [Q_ADDRESS] = "SELECT text FROM address WHERE op = ?1",
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
};

const char *op_state_name(enum op_state s)
{
    static const char *const names[] = {"planned", "sent", "done", "failed", "skipped"};
    return (unsigned)s < GS_COUNT(names) ? names[s] : "unknown";
}

void op_release(struct op *op)
{
    free(op->kind);
    free(op->key);
    free(op->arg);
    free(op->code);
    free(op->text);
    free(op->request_id);
    free(op->request);
    *op = (struct op){0};
}

void grp_release(struct grp *g)
{
    free(g->src_path);
    free(g->dst_path);
    free(g->name);
    free(g->visibility);
    free(g->web_url);
    *g = (struct grp){0};
}

void user_row_release(struct user_row *u)
{
    free(u->username);
    free(u->public_email);
    free(u->target_username);
    free(u->how);
    *u = (struct user_row){0};
}

sqlite3_stmt *state_stmt(struct state *s, enum query q, struct gs_err *err)
{
    if (!s->stmt[q] && sqlite3_prepare_v3(s->db, queries[q], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[q], NULL)) {
        state_db_fail(s, "preparing", err);
        return NULL;
    }
    sqlite3_reset(s->stmt[q]);
    return s->stmt[q];
}

/* NULL binds as NULL. The text must live until the statement has run, which it does: statements run at once. */
static void bind_text(sqlite3_stmt *st, int i, const char *v)
{
    if (v)
        sqlite3_bind_text(st, i, v, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, i);
}

int state_run_stmt(struct state *s, sqlite3_stmt *st, const char *what, struct gs_err *err)
{
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : state_db_fail(s, what, err);
    sqlite3_reset(st);
    return r;
}

static int column_text(sqlite3_stmt *st, int i, char **out, struct gs_err *err)
{
    const char *t = (const char *)sqlite3_column_text(st, i);
    *out = NULL;
    if (!t)
        return 0;
    *out = strdup(t);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a state row");
}

/* ---- rows ---- */

int state_meta_set(struct state *s, const char *key, const char *value, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_META_SET, err);
    if (!st)
        return -1;
    bind_text(st, 1, key);
    bind_text(st, 2, value);
    return state_run_stmt(s, st, "writing a fact", err);
}

int state_meta_get(struct state *s, const char *key, char **out, struct gs_err *err)
{
    *out = NULL;
    sqlite3_stmt *st = state_stmt(s, Q_META_GET, err);
    if (!st)
        return -1;
    bind_text(st, 1, key);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW)
        r = column_text(st, 0, out, err);
    else if (rc != SQLITE_DONE)
        r = state_db_fail(s, "reading a fact", err);
    sqlite3_reset(st);
    return r;
}

int state_add_grp(struct state *s, const struct grp *g, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_ADD_GRP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, g->id);
    sqlite3_bind_int64(st, 2, g->parent);
    sqlite3_bind_int(st, 3, g->depth);
    bind_text(st, 4, g->src_path);
    bind_text(st, 5, g->dst_path);
    bind_text(st, 6, g->name);
    bind_text(st, 7, g->visibility);
    sqlite3_bind_int64(st, 8, g->dst_parent);
    sqlite3_bind_int64(st, 9, g->target_id);
    bind_text(st, 10, g->web_url);
    sqlite3_bind_int(st, 11, g->existed);
    return state_run_stmt(s, st, "adding a group", err);
}

int state_grp(struct state *s, int64_t id, struct grp *out, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_GRP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st);
    if (rc != SQLITE_ROW) {
        int r = rc == SQLITE_DONE
                    ? gs_fail(err, GS_E_STATE_DAMAGED, "group %lld is not in the state file", (long long)id)
                    : state_db_fail(s, "reading a group", err);
        sqlite3_reset(st);
        return r;
    }
    struct grp g = {.id = sqlite3_column_int64(st, 0),
                    .parent = sqlite3_column_int64(st, 1),
                    .depth = sqlite3_column_int(st, 2),
                    .dst_parent = sqlite3_column_int64(st, 7),
                    .target_id = sqlite3_column_int64(st, 8),
                    .existed = sqlite3_column_int(st, 10)};
    int r = column_text(st, 3, &g.src_path, err) || column_text(st, 4, &g.dst_path, err) ||
            column_text(st, 5, &g.name, err) || column_text(st, 6, &g.visibility, err) ||
            column_text(st, 9, &g.web_url, err);
    sqlite3_reset(st);
    if (r) {
        grp_release(&g);
        return -1;
    }
    *out = g;
    return 0;
}

int state_grp_loaded(struct state *s, int64_t id, int64_t target_id, const char *web_url, bool existed,
                     struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_GRP_LOADED, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, target_id);
    bind_text(st, 3, web_url);
    sqlite3_bind_int(st, 4, existed);
    return state_run_stmt(s, st, "storing a group's id", err);
}

int state_add_lane(struct state *s, const struct lane *l, int64_t *out_id, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_ADD_LANE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, l->grp);
    sqlite3_bind_int(st, 2, l->phase);
    sqlite3_bind_int(st, 3, l->ordered);
    bind_text(st, 4, l->name);
    sqlite3_bind_int64(st, 5, l->watermark);
    if (state_run_stmt(s, st, "adding a lane", err))
        return -1;
    *out_id = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int state_add_lane_need(struct state *s, int64_t lane, int64_t needs, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_LANE_NEED, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, lane);
    sqlite3_bind_int64(st, 2, needs);
    return state_run_stmt(s, st, "adding a need", err);
}

int state_add_op(struct state *s, struct op *op, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_LANE_POS, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->lane);
    if (sqlite3_step(st) != SQLITE_ROW) {
        sqlite3_reset(st);
        return state_db_fail(s, "adding an op", err);
    }
    op->pos = sqlite3_column_int64(st, 0);
    /* an UPDATE ... RETURNING must be run to its end */
    sqlite3_step(st);
    sqlite3_reset(st);
    st = state_stmt(s, Q_ADD_OP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->lane);
    sqlite3_bind_int64(st, 2, op->pos);
    sqlite3_bind_int64(st, 3, op->grp);
    bind_text(st, 4, op->kind);
    bind_text(st, 5, op->key ? op->key : "");
    sqlite3_bind_int64(st, 6, op->src_id);
    sqlite3_bind_int64(st, 7, op->needs);
    sqlite3_bind_int64(st, 8, op->ref_member);
    sqlite3_bind_int64(st, 9, (int64_t)op->ref_off);
    sqlite3_bind_int64(st, 10, op->ref_len);
    bind_text(st, 11, op->arg);
    if (state_run_stmt(s, st, "adding an op", err))
        return -1;
    op->id = sqlite3_last_insert_rowid(s->db);
    return 0;
}

int state_add_user(struct state *s, const struct user_row *u, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_ADD_USER, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, u->src_id);
    bind_text(st, 2, u->username);
    bind_text(st, 3, u->public_email);
    sqlite3_bind_int64(st, 4, u->target_id);
    bind_text(st, 5, u->target_username);
    bind_text(st, 6, u->how);
    return state_run_stmt(s, st, "adding a user", err);
}

int state_some_user(struct state *s, int64_t but, int64_t *out, struct gs_err *err)
{
    *out = 0;
    sqlite3_stmt *st = state_stmt(s, Q_SOME_USER, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, but);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(st, 0);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "reading a user", err);
    sqlite3_reset(st);
    return r;
}

int state_user(struct state *s, int64_t src_id, struct user_row *out, bool *out_found, struct gs_err *err)
{
    *out_found = false;
    sqlite3_stmt *st = state_stmt(s, Q_USER, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, src_id);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        struct user_row u = {.src_id = sqlite3_column_int64(st, 0), .target_id = sqlite3_column_int64(st, 3)};
        r = column_text(st, 1, &u.username, err) || column_text(st, 2, &u.public_email, err) ||
            column_text(st, 4, &u.target_username, err) || column_text(st, 5, &u.how, err);
        if (r) {
            user_row_release(&u);
        } else {
            *out = u;
            *out_found = true;
        }
    } else if (rc != SQLITE_DONE) {
        r = state_db_fail(s, "reading a user", err);
    }
    sqlite3_reset(st);
    return r ? -1 : 0;
}

int state_add_loss(struct state *s, const struct loss_row *l, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_ADD_LOSS, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, l->op);
    sqlite3_bind_int64(st, 2, l->grp);
    bind_text(st, 3, l->relation);
    bind_text(st, 4, l->key);
    bind_text(st, 5, l->code);
    sqlite3_bind_int64(st, 6, (int64_t)l->count);
    bind_text(st, 7, l->detail);
    return state_run_stmt(s, st, "storing a loss", err);
}

static int read_op(sqlite3_stmt *st, struct op *out, struct gs_err *err)
{
    struct op o = {.id = sqlite3_column_int64(st, 0),
                   .lane = sqlite3_column_int64(st, 1),
                   .pos = sqlite3_column_int64(st, 2),
                   .grp = sqlite3_column_int64(st, 3),
                   .src_id = sqlite3_column_int64(st, 6),
                   .needs = sqlite3_column_int64(st, 7),
                   .ref_member = sqlite3_column_int64(st, 8),
                   .ref_off = (uint64_t)sqlite3_column_int64(st, 9),
                   .ref_len = (uint32_t)sqlite3_column_int64(st, 10),
                   .state = (enum op_state)sqlite3_column_int(st, 12),
                   .target_id = sqlite3_column_int64(st, 13),
                   .tries = (unsigned)sqlite3_column_int(st, 14),
                   .http = sqlite3_column_int(st, 15),
                   .adopted = sqlite3_column_int(st, 19),
                   .found = sqlite3_column_int(st, 20),
                   .sent_at = sqlite3_column_int64(st, 23),
                   .print = sqlite3_column_int64(st, 22)};
    if (column_text(st, 4, &o.kind, err) || column_text(st, 5, &o.key, err) || column_text(st, 11, &o.arg, err) ||
        column_text(st, 16, &o.code, err) || column_text(st, 17, &o.text, err) ||
        column_text(st, 18, &o.request_id, err) || column_text(st, 21, &o.request, err)) {
        op_release(&o);
        return -1;
    }
    *out = o;
    return 0;
}

int state_next_ops(struct state *s, int64_t lane, int64_t after_pos, struct op *out, size_t max, size_t *out_n,
                   struct gs_err *err)
{
    *out_n = 0;
    sqlite3_stmt *st = state_stmt(s, Q_NEXT, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, lane);
    sqlite3_bind_int64(st, 2, after_pos);
    sqlite3_bind_int64(st, 3, (int64_t)max);
    int rc, r = 0;
    while (r == 0 && *out_n < max && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW)
            r = state_db_fail(s, "reading ops", err);
        else if ((r = read_op(st, &out[*out_n], err)) == 0)
            (*out_n)++;
    }
    sqlite3_reset(st);
    if (r)
        while (*out_n > 0)
            op_release(&out[--*out_n]);
    return r;
}

int state_op(struct state *s, int64_t id, struct op *out, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_OP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_ROW    ? read_op(st, out, err)
            : rc == SQLITE_DONE ? gs_fail(err, GS_E_STATE_DAMAGED, "op %lld is not in the state file", (long long)id)
                                : state_db_fail(s, "reading an op", err);
    sqlite3_reset(st);
    return r;
}

int state_op_sent(struct state *s, int64_t id, int64_t server_ms, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_SENT, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, server_ms);
    return state_run_stmt(s, st, "marking an op as sent", err);
}

int state_op_unsent(struct state *s, int64_t id, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_UNSENT, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    return state_run_stmt(s, st, "marking an op as not sent", err);
}

int state_op_end(struct state *s, const struct op *op, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_END, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->id);
    sqlite3_bind_int(st, 2, op->state);
    sqlite3_bind_int64(st, 3, op->target_id);
    sqlite3_bind_int(st, 4, (int)op->tries);
    sqlite3_bind_int(st, 5, op->http);
    bind_text(st, 6, op->code);
    bind_text(st, 7, op->text);
    bind_text(st, 8, op->request_id);
    sqlite3_bind_int(st, 9, op->adopted);
    sqlite3_bind_int(st, 10, op->found);
    sqlite3_bind_int64(st, 11, gs_unix_ms());
    bind_text(st, 12, op->request);
    sqlite3_bind_int64(st, 13, op->print);
    return state_run_stmt(s, st, "ending an op", err);
}

int state_lane_watermark(struct state *s, int64_t lane, int64_t watermark, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_WATERMARK, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, lane);
    sqlite3_bind_int64(st, 2, watermark);
    return state_run_stmt(s, st, "storing a watermark", err);
}

/* Runs a statement that asks for one op, and resets it. */
static int one_op(struct state *s, sqlite3_stmt *st, struct op *out, bool *out_found, struct gs_err *err)
{
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        r = read_op(st, out, err);
        *out_found = r == 0;
    } else if (rc != SQLITE_DONE) {
        r = state_db_fail(s, "looking an op up", err);
    }
    sqlite3_reset(st);
    return r;
}

int state_find(struct state *s, const char *kind, int64_t grp, const char *key, struct op *out, bool *out_found,
               struct gs_err *err)
{
    *out_found = false;
    sqlite3_stmt *st = state_stmt(s, Q_FIND, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, grp);
    bind_text(st, 2, kind);
    bind_text(st, 3, key);
    return one_op(s, st, out, out_found, err);
}

int state_find_src(struct state *s, const char *kind, int64_t grp, int64_t src_id, struct op *out, bool *out_found, struct gs_err *err)
{
    *out_found = false;
    sqlite3_stmt *st = state_stmt(s, Q_FIND_SRC, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, grp);
    bind_text(st, 2, kind);
    sqlite3_bind_int64(st, 3, src_id);
    return one_op(s, st, out, out_found, err);
}

int state_tally(struct state *s, struct state_tally *out, struct gs_err *err)
{
    *out = (struct state_tally){0};
    sqlite3_stmt *st = state_stmt(s, Q_TALLY, err);
    if (!st)
        return -1;
    int rc;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        uint64_t n = (uint64_t)sqlite3_column_int64(st, 1);
        switch (sqlite3_column_int(st, 0)) {
        case -1:
            out->ops = n;
            break;
        case OP_DONE:
            out->done = n;
            break;
        case OP_FAILED:
            out->failed = n;
            break;
        case OP_SKIPPED:
            out->skipped = n;
            break;
        default:
            break;
        }
    }
    int r = rc == SQLITE_DONE ? 0 : state_db_fail(s, "reading the tally", err);
    sqlite3_reset(st);
    return r;
}

/* A statement with two or three numbers behind the lane or group. */
static int run_numbers(struct state *s, enum query q, const int64_t *v, int n, const char *what, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, q, err);
    if (!st)
        return -1;
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(st, i + 1, v[i]);
    return state_run_stmt(s, st, what, err);
}

int state_grp_path(struct state *s, int64_t id, const char *dst_path, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_GRP_PATH, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    bind_text(st, 2, dst_path);
    return state_run_stmt(s, st, "storing a group's path", err);
}

int state_lane_counter(struct state *s, int64_t lane, int64_t counter, struct gs_err *err)
{
    return run_numbers(s, Q_COUNTER, (const int64_t[]){lane, counter}, 2, "storing a counter", err);
}

int state_filler(struct state *s, int64_t lane, int64_t number, int64_t target_id, struct gs_err *err)
{
    return run_numbers(s, Q_FILLER_SET, (const int64_t[]){lane, number, target_id}, 3, "storing a filler", err);
}

int state_filler_gone(struct state *s, int64_t lane, int64_t number, struct gs_err *err)
{
    return run_numbers(s, Q_FILLER_DEL, (const int64_t[]){lane, number}, 2, "forgetting a filler", err);
}

int state_filler_next(struct state *s, int64_t lane, int64_t *out_number, int64_t *out_id, struct gs_err *err)
{
    *out_number = *out_id = 0;
    sqlite3_stmt *st = state_stmt(s, Q_FILLERS, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, lane);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out_number = sqlite3_column_int64(st, 0);
        *out_id = sqlite3_column_int64(st, 1);
    }
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "reading the fillers", err);
    sqlite3_reset(st);
    return r;
}

int state_filler_at(struct state *s, int64_t lane, int64_t number, int64_t *out_id, struct gs_err *err)
{
    *out_id = 0;
    sqlite3_stmt *st = state_stmt(s, Q_FILLER_AT, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, lane);
    sqlite3_bind_int64(st, 2, number);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out_id = sqlite3_column_int64(st, 0);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "reading the fillers", err);
    sqlite3_reset(st);
    return r;
}

int state_newest(struct state *s, const char *kind, int64_t op, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_NEWEST_SET, err);
    if (!st)
        return -1;
    bind_text(st, 1, kind);
    sqlite3_bind_int64(st, 2, op);
    return state_run_stmt(s, st, "noting the newest op", err);
}

int state_forget_losses(struct state *s, int64_t op, struct gs_err *err)
{
    return run_numbers(s, Q_FORGET_LOSSES, &op, 1, "forgetting losses", err);
}

/*
 * Done becomes sent: may be there. So do those that failed for want of something that the load had made. Target ids are
 * kept as what was there (and is taken by nobody else), except for fillers: an id that another object may have by now
 * must never be deleted.
 */
int state_rebase(struct state *s, struct gs_err *err)
{
    if (state_begin(s, err))
        return -1;
    if (state_exec(s,
                   "UPDATE op SET state = 1, ended_at = NULL WHERE state = 2;"
                   "UPDATE op SET state = 1, http = 0, code = NULL, text = NULL, request_id = NULL, request = NULL, "
                   "ended_at = NULL"
                   " WHERE state = 3 AND code = 'reference-gone'; UPDATE grp SET target_id = 0 WHERE existed = 0;"
                   "UPDATE lane SET counter = 0; UPDATE filler SET target_id = 0; DELETE FROM newest",
                   "rebasing", err)) {
        state_rollback(s);
        return -1;
    }
    return state_commit(s, err);
}

int state_target_taken(struct state *s, const struct op *op, int64_t target_id, bool *out, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_TAKEN, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->grp);
    bind_text(st, 2, op->kind);
    sqlite3_bind_int64(st, 3, target_id);
    sqlite3_bind_int64(st, 4, op->id);
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "looking a target id up", err);
    *out = rc == SQLITE_ROW;
    sqlite3_reset(st);
    return r;
}

int state_lane_done(struct state *s, const struct op *op, int64_t *out_before, int64_t *out_behind, int64_t *out_maybe,
                    struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_LANE_DONE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->lane);
    sqlite3_bind_int64(st, 2, op->pos);
    sqlite3_bind_int64(st, 3, op->grp);
    bind_text(st, 4, op->kind);
    int rc = sqlite3_step(st);
    *out_before = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    *out_behind = rc == SQLITE_ROW ? sqlite3_column_int64(st, 1) : 0;
    *out_maybe = rc == SQLITE_ROW ? sqlite3_column_int64(st, 2) : 0;
    int r = rc == SQLITE_ROW ? 0 : state_db_fail(s, "counting the steps of a lane", err);
    sqlite3_reset(st);
    return r;
}

int state_lane_last(struct state *s, const struct op *op, bool *out, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_LANE_LAST, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op->lane);
    sqlite3_bind_int64(st, 2, op->pos);
    bind_text(st, 3, op->kind);
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "looking for the end of a lane", err);
    *out = rc == SQLITE_DONE;
    sqlite3_reset(st);
    return r;
}

int state_op_target(struct state *s, int64_t id, int64_t target_id, int64_t print, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_TARGET, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_int64(st, 2, target_id);
    sqlite3_bind_int64(st, 3, print);
    return state_run_stmt(s, st, "storing a target id", err);
}

int state_address_set(struct state *s, int64_t op, const char *text, struct gs_err *err)
{
    sqlite3_stmt *st = state_stmt(s, Q_ADDRESS_SET, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op);
    bind_text(st, 2, text);
    return state_run_stmt(s, st, "storing an address", err);
}

int state_address(struct state *s, int64_t op, char **out, struct gs_err *err)
{
    *out = NULL;
    sqlite3_stmt *st = state_stmt(s, Q_ADDRESS, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, op);
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_ROW    ? column_text(st, 0, out, err)
            : rc == SQLITE_DONE ? 0
                                : state_db_fail(s, "reading an address", err);
    sqlite3_reset(st);
    return r;
}
