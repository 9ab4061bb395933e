/* The texts of records: what they name is looked for in the state file, and in what this load has done so far. */
#include "libreplay/engine_priv.h"
#include "libreplay/text.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int db_fail(const struct run *r, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(r->state), sqlite3_errmsg(state_db(r->state)));
}

/* ---- one object ---- */

struct found {
    int64_t op, target;
    enum op_state state;
    char key[1024];
};

/* The op of this kind in the group for which `what` holds with the value; false: none. Above it, when `up`. */
static int find_op(const struct run *r, int64_t grp, bool up, const char *kind, const char *what, const char *text, int64_t number,
                   struct found *out, bool *there, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    gs_autofree char *sql = gs_asprintf("SELECT id, target_id, state, key FROM op WHERE grp = ?1 AND kind = ?2 AND %s = ?3 ORDER BY id LIMIT 1", what);
    if (!sql)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (sqlite3_prepare_v2(state_db(r->state), sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(r, err);
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
        const struct grp *g = up ? run_grp(r, grp) : NULL;
        grp = g ? g->parent : 0;
    }
    int res = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(r, err);
    sqlite3_finalize(st);
    return res;
}

/* Words of a loss that the op had; NULL: it had none. The caller frees. */
static int loss_of(const struct run *r, int64_t op, const char *like, char **out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    *out = NULL;
    if (sqlite3_prepare_v2(state_db(r->state), "SELECT coalesce(detail, '') FROM loss WHERE op = ?1 AND op > 0 AND code LIKE ?2", -1, &st, NULL) != SQLITE_OK)
        return db_fail(r, err);
    sqlite3_bind_int64(st, 1, op);
    sqlite3_bind_text(st, 2, like, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        *out = strdup((const char *)sqlite3_column_text(st, 0));
    int res = rc == SQLITE_DONE || *out ? 0 : rc == SQLITE_ROW ? gs_fail(err, GS_E_NOMEM, "out of memory") : db_fail(r, err);
    sqlite3_finalize(st);
    return res;
}

static enum text_found judge(const struct found *f, bool there)
{
    return !there ? TEXT_UNKNOWN : f->state == OP_FAILED || f->state == OP_SKIPPED ? TEXT_LOST : TEXT_CARRIED;
}

/* ---- by kind ---- */

static const struct grp *group_of(const struct run *r, const char *path)
{
    if (!path)
        return r->grp;
    for (size_t i = 0; i < r->engine->n_groups; i++)
        if (strcasecmp(r->engine->groups[i].src_path, path) == 0)
            return &r->engine->groups[i];
    return NULL;
}

static int find_group(const struct run *r, const char *path, struct text_target *out, struct gs_err *err)
{
    const struct grp *g = group_of(r, path);
    struct found f;
    bool there = false;
    if (!g)
        return 0;
    if (find_op(r, g->id, false, "groups", "1", NULL, 1, &f, &there, err))
        return -1;
    out->found = g->target_id || !there ? TEXT_CARRIED : judge(&f, there);
    if (out->found == TEXT_CARRIED && strcmp(path, g->dst_path) != 0 && !(out->name = strdup(g->dst_path)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

static int find_user(const struct run *r, const char *name, struct text_target *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(r->state), "SELECT target_id, target_username FROM user WHERE username = ?1 COLLATE NOCASE ORDER BY target_id = 0 LIMIT 1", -1,
                           &st, NULL) != SQLITE_OK)
        return db_fail(r, err);
    sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st), res = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(r, err);
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
static int milestone_title(const struct run *r, const struct found *f, char **out, struct gs_err *err)
{
    gs_autofree char *words = NULL;
    size_t key = strlen(f->key);
    *out = NULL;
    if (loss_of(r, f->op, "milestone-renamed", &words, err))
        return -1;
    size_t len = words ? strlen(words) : 0;
    if (!words)
        return 0;
    if (len < key + 14 || strncmp(words + 1, f->key, key) != 0 || !(*out = strndup(words + key + 7, len - key - 14)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

static int find_milestone(const struct run *r, const struct grp *g, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    gs_autofree char *changed = NULL;
    if (find_op(r, g->id, true, "milestones", ref->name ? "key" : "json_extract(arg, '$.iid')", ref->name, ref->number, &f, &there, err))
        return -1;
    out->found = judge(&f, there);
    out->number = ref->number;
    if (out->found != TEXT_CARRIED)
        return 0;
    if (milestone_title(r, &f, &out->name, err) || (!ref->name && loss_of(r, f.op, "milestone-iid-changed", &changed, err)))
        return -1;
    if (!ref->name && !changed) { /* the number is as good as it was */
        free(out->name);
        out->name = NULL;
    } else if (changed && !out->name && !(out->name = strdup(f.key))) {
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    return 0;
}

static int find_label(const struct run *r, const struct grp *g, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    if (find_op(r, g->id, true, "labels", ref->name ? "key" : "src_id", ref->name, ref->number, &f, &there, err))
        return -1;
    out->found = judge(&f, there);
    if (out->found == TEXT_CARRIED && !ref->name && !(out->name = strdup(f.key)))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return 0;
}

/* By a number that the load keeps, or that is in the op of what is there. */
static int find_numbered(const struct run *r, const struct grp *g, const char *kind, const char *what, bool iid, const struct text_ref *ref,
                         struct text_target *out, struct gs_err *err)
{
    struct found f;
    bool there = false;
    gs_autofree char *changed = NULL;
    if (find_op(r, g->id, !ref->group && !iid, kind, what, NULL, ref->number, &f, &there, err))
        return -1;
    out->found = judge(&f, there);
    out->number = iid ? ref->number : there ? f.target : 0;
    if (out->found != TEXT_CARRIED || !iid)
        return 0;
    if (loss_of(r, f.op, "%-iid-changed", &changed, err))
        return -1;
    if (changed) /* which one it got is not kept */
        out->found = TEXT_LOST;
    return 0;
}

static int find(void *cookie, const struct text_ref *ref, struct text_target *out, struct gs_err *err)
{
    const struct run *r = cookie;
    const struct grp *g = ref->kind == TEXT_USER || ref->kind == TEXT_GROUP ? NULL : group_of(r, ref->group);
    if (ref->kind == TEXT_USER)
        return find_user(r, ref->name, out, err);
    if (ref->kind == TEXT_GROUP)
        return find_group(r, ref->group, out, err);
    if (!g)
        return 0;
    switch (ref->kind) {
    case TEXT_MILESTONE: return find_milestone(r, g, ref, out, err);
    case TEXT_LABEL: return find_label(r, g, ref, out, err);
    case TEXT_EPIC: return find_numbered(r, g, "epics", "CAST(ltrim(key, '&') AS INTEGER)", true, ref, out, err);
    case TEXT_BOARD: return find_numbered(r, g, "boards", "src_id", false, ref, out, err);
    case TEXT_EPIC_BOARD: return find_numbered(r, g, "epic_boards", "src_id", false, ref, out, err);
    case TEXT_CADENCE: return find_numbered(r, g, "iterations_cadences", "src_id", false, ref, out, err);
    case TEXT_ITERATION: return find_numbered(r, g, "iterations", ref->group ? "json_extract(arg, '$.iid')" : "src_id", ref->group != NULL, ref, out, err);
    default: return 0;
    }
}

/* ---- all texts of a record ---- */

static int losses(struct run *r, const struct text_notes *n, struct gs_err *err)
{
    char count[24];
    snprintf(count, sizeof count, "%u", n->actions);
    if (n->actions && run_loss(r, "text-action-kept", count, err))
        return -1;
    snprintf(count, sizeof count, "%u", n->rewritten);
    if (n->rewritten && run_loss(r, "text-rewritten", count, err))
        return -1;
    return n->left && run_loss(r, "text-reference-left", gs_buf_str(&n->names), err) ? -1 : 0;
}

/* *out_changed: the text is not what it was. */
static int convert(struct run *r, const char *text, size_t len, bool actions, struct gs_buf *out, bool *out_changed, struct gs_err *err)
{
    struct text_env env = {.cookie = r,
                           .source_url = gs_json_str(yyjson_obj_get(bundle_manifest(r->engine->bundle), "source"), "url"),
                           .target_url = gl_client_url(r->engine->client),
                           .actions = actions,
                           .find = find};
    struct text_notes notes = {0};
    int rc = text_convert(&env, text, len, out, &notes, err) || losses(r, &notes, err) ? -1 : 0;
    *out_changed = notes.rewritten || notes.actions;
    gs_buf_release(&notes.names);
    return rc;
}

int run_text(struct run *r, const char *text, bool actions, struct gs_buf *out, struct gs_err *err)
{
    bool changed;
    return convert(r, text, strlen(text), actions, out, &changed, err);
}

/* Puts the text into a record of its own, which takes the place of the one that was read. */
static int put(struct run *r, const char *key, const struct gs_buf *text, struct gs_err *err)
{
    GS_AUTO(yyjson_mut_doc) mut = yyjson_doc_mut_copy(r->doc, NULL);
    yyjson_mut_val *root = mut ? yyjson_mut_doc_get_root(mut) : NULL;
    yyjson_mut_val *v = root ? yyjson_mut_strncpy(mut, gs_buf_str(text), text->len) : NULL;
    yyjson_mut_val *k = v ? yyjson_mut_strcpy(mut, key) : NULL;
    yyjson_doc *doc = k && yyjson_mut_obj_replace(root, k, v) ? yyjson_mut_doc_imut_copy(mut, NULL) : NULL;
    if (!doc)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    yyjson_doc_free(r->doc);
    r->doc = doc;
    r->rec = yyjson_doc_get_root(doc);
    return 0;
}

int texts_prepare(struct run *r, const struct kind *k, struct gs_err *err)
{
    for (const char *const *key = k->texts; *key; key++) {
        yyjson_val *v = yyjson_obj_get(r->rec, *key);
        gs_autobuf out;
        bool changed = false;
        gs_buf_init(&out, yyjson_get_len(v) * 8 + ((size_t)1 << 20));
        if (!yyjson_is_str(v) || yyjson_get_len(v) == 0)
            continue;
        if (convert(r, yyjson_get_str(v), yyjson_get_len(v), false, &out, &changed, err) || (changed && put(r, *key, &out, err)))
            return gs_wrap(err, "%s of %s '%s'", *key, r->op.kind, r->op.key);
    }
    return 0;
}
