/* What texts name is looked for in the state file: in what is planned, and what has been done so far. */
#include "libreplay/names.h"

#include "libreplay/state_priv.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int db_fail(const struct names *n, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(n->state), sqlite3_errmsg(state_db(n->state)));
}

/* ---- one object ---- */

struct found {
    int64_t op, target;
    enum op_state state;
    char key[1024];
};

static const struct grp *group_by_id(const struct names *n, int64_t id)
{
    if (n->by_id)
        return n->by_id(n->cookie, id);
    size_t lo = 0, hi = n->n_groups;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (n->groups[mid].id == id)
            return &n->groups[mid];
        *(n->groups[mid].id < id ? &lo : &hi) = n->groups[mid].id < id ? mid + 1 : mid;
    }
    return NULL;
}

/* The op of this kind in the group for which `what` holds with the value; false: none. Above it, when `up`. */
static int find_op(const struct names *n, int64_t grp, bool up, const char *kind, const char *what, const char *text, int64_t number,
                   struct found *out, bool *there, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    gs_autofree char *sql = gs_asprintf("SELECT id, target_id, state, key FROM op WHERE grp = ?1 AND kind = ?2 AND %s = ?3 ORDER BY id LIMIT 1", what);
    if (!sql)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (sqlite3_prepare_v2(state_db(n->state), sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(n, err);
    int rc = SQLITE_DONE;
    *there = false;
    while (grp != 0 && !*there) {
        sqlite3_bind_int64(st, 1, grp);
        sqlite3_bind_text(st, 2, kind, -1, SQLITE_STATIC);
        if (text)
            sqlite3_bind_text(st, 3, text, -1, SQLITE_STATIC);
        else
            sqlite3_bind_int64(st, 3, number);
        rc = sqlite3_step(st);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
            break;
        *there = rc == SQLITE_ROW;
        if (*there) {
            const char *key = (const char *)sqlite3_column_text(st, 3);
            *out = (struct found){.op = sqlite3_column_int64(st, 0), .target = sqlite3_column_int64(st, 1), .state = (enum op_state)sqlite3_column_int(st, 2)};
            snprintf(out->key, sizeof out->key, "%s", key ? key : "");
        }
        sqlite3_reset(st);
        const struct grp *g = up ? group_by_id(n, grp) : NULL;
        grp = g ? g->parent : 0;
    }
    int res = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(n, err);
    sqlite3_finalize(st);
    return res;
}

/* Words of a loss that the op had; NULL: it had none. The caller frees. */
static int loss_of(const struct names *n, int64_t op, const char *like, char **out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    *out = NULL;
    if (sqlite3_prepare_v2(state_db(n->state), "SELECT coalesce(detail, '') FROM loss WHERE op = ?1 AND op > 0 AND code LIKE ?2", -1, &st, NULL) != SQLITE_OK)
        return db_fail(n, err);
    sqlite3_bind_int64(st, 1, op);
    sqlite3_bind_text(st, 2, like, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = strdup((const char *)sqlite3_column_text(st, 0));
    int res = rc == SQLITE_DONE || *out ? 0 : rc == SQLITE_ROW ? gs_fail(err, GS_E_NOMEM, "out of memory") : db_fail(n, err);
    sqlite3_finalize(st);
    return res;
}

static enum text_found judge(const struct names *n, const struct found *f, bool there)
{
    bool lost = !n->afterwards && (f->state == OP_FAILED || f->state == OP_SKIPPED);
    return !there ? TEXT_UNKNOWN : lost ? TEXT_LOST : TEXT_CARRIED;
}

/* ---- by kind ---- */

static const struct grp *group_of(const struct names *n, const char *path)
{
    if (!path)
        return n->grp;
    for (size_t i = 0; i < n->n_groups; i++)
        if (strcasecmp(n->groups[i].src_path, path) == 0)
            return &n->groups[i];
    return NULL;
}

static int find_group(const struct names *n, const char *path, struct text_target *out, struct gs_err *err)
{
    const struct grp *g = group_of(n, path);
    struct found f;
    bool there = false;
    if (!g)
        return 0;
    if (find_op(n, g->id, false, "groups", "1", NULL, 1, &f, &there, err))
        return -1;
    out->found = g->target_id || !there ? TEXT_CARRIED : judge(n, &f, there);
    if (out->found == TEXT_CARRIED && strcmp(path, g->dst_path) != 0 && !(out->name = strdup(g->dst_path)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

static int find_user(const struct names *n, const char *name, struct text_target *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(n->state), "SELECT target_id, target_username FROM user WHERE username = ?1 COLLATE NOCASE ORDER BY target_id = 0 LIMIT 1", -1,
                           &st, NULL) != SQLITE_OK)
        return db_fail(n, err);
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st), res = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(n, err);
    if (rc == SQLITE_ROW) {
        const char *there = (const char *)sqlite3_column_text(st, 1);
        out->found = sqlite3_column_int64(st, 0) && there ? TEXT_CARRIED : TEXT_LOST;
        if (out->found == TEXT_CARRIED && strcmp(there, name) != 0 && !(out->name = strdup(there)))
            res = gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    sqlite3_finalize(st);
    return res;
}

/* The title that a milestone got: the words of the loss are "'OLD' is 'NEW' there". */
static int milestone_title(const struct names *n, const struct found *f, char **out, struct gs_err *err)
{
    gs_autofree char *words = NULL;
    size_t key = strlen(f->key);
    *out = NULL;
    if (loss_of(n, f->op, "milestone-renamed", &words, err))
        return -1;
    size_t len = words ? strlen(words) : 0;
    if (!words)
        return 0;
    if (len < key + 14 || strncmp(words + 1, f->key, key) != 0 || !(*out = strndup(words + key + 7, len - key - 14)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

static int find_milestone(const struct names *n, const struct grp *g, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    gs_autofree char *changed = NULL;
    if (find_op(n, g->id, true, "milestones", ref->name ? "key" : "json_extract(arg, '$.iid')", ref->name, ref->number, &f, &there, err))
        return -1;
    out->found = judge(n, &f, there);
    out->number = ref->number;
    if (out->found != TEXT_CARRIED)
        return 0;
    if (milestone_title(n, &f, &out->name, err) || (!ref->name && loss_of(n, f.op, "milestone-iid-changed", &changed, err)))
        return -1;
    if (!ref->name && !changed) { /* the number is as good as it was */
        free(out->name);
        out->name = NULL;
    } else if (changed && !out->name && !(out->name = strdup(f.key))) {
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    return 0;
}

static int find_label(const struct names *n, const struct grp *g, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    if (find_op(n, g->id, true, "labels", ref->name ? "key" : "src_id", ref->name, ref->number, &f, &there, err))
        return -1;
    out->found = judge(n, &f, there);
    if (out->found == TEXT_CARRIED && !ref->name && !(out->name = strdup(f.key)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

/* By a number that the load keeps, or that is in the op of what is there. */
static int find_numbered(const struct names *n, const struct grp *g, const char *kind, const char *what, bool iid, const struct text_ref *ref,
                         struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    gs_autofree char *changed = NULL;
    if (find_op(n, g->id, !ref->group && !iid, kind, what, NULL, ref->number, &f, &there, err))
        return -1;
    out->found = judge(n, &f, there);
    out->number = iid ? ref->number : there ? f.target : 0;
    if (out->found != TEXT_CARRIED || !iid)
        return 0;
    if (loss_of(n, f.op, "%-iid-changed", &changed, err))
        return -1;
    if (changed && !n->afterwards) /* which one it got is not kept */
        out->found = TEXT_LOST;
    return 0;
}

int names_find(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    const struct names *n = cookie;
    const struct grp *g = ref->kind == TEXT_USER || ref->kind == TEXT_GROUP ? NULL : group_of(n, ref->group);
    if (ref->kind == TEXT_USER)
        return find_user(n, ref->name, out, err);
    if (ref->kind == TEXT_GROUP)
        return find_group(n, ref->group, out, err);
    if (!g)
        return 0;
    switch (ref->kind) {
    case TEXT_MILESTONE: return find_milestone(n, g, ref, out, err);
    case TEXT_LABEL: return find_label(n, g, ref, out, err);
    case TEXT_EPIC: return find_numbered(n, g, "epics", "CAST(ltrim(key, '&') AS INTEGER)", true, ref, out, err);
    case TEXT_BOARD: return find_numbered(n, g, "boards", "src_id", false, ref, out, err);
    case TEXT_EPIC_BOARD: return find_numbered(n, g, "epic_boards", "src_id", false, ref, out, err);
    case TEXT_CADENCE: return find_numbered(n, g, "iterations_cadences", "src_id", false, ref, out, err);
    case TEXT_ITERATION: return find_numbered(n, g, "iterations", ref->group ? "json_extract(arg, '$.iid')" : "src_id", ref->group != NULL, ref, out, err);
    default: return 0;
    }
}

int names_convert(const struct names *n, const char *text, size_t len, bool actions, struct gs_buf *out, struct text_notes *notes, struct gs_err *err)
{
    struct text_env env = {.cookie = (void *)(uintptr_t)n, .source_url = n->source_url, .target_url = n->target_url, .actions = actions, .find = names_find};
    return text_convert(&env, text, len, out, notes, err);
}
