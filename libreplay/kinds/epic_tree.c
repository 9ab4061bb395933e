/*
 * Epics in their tree: each child gets its parent, the last child of a parent first, since a new one stands in front of the others
 * where epics are made over REST; then the order is read and put right, wherever new ones stand. A child may be of another group.
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/epics.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* ---- one parent ---- */

enum { P_START, P_SET };

/* Address of an op whose parent the target passed over: nothing hangs there that could be put in order. */
#define NOT_TAKEN "none"

/* The epic that op.arg names: {"grp":7,"key":"&3"}. */
static int named(struct run *r, yyjson_val *arg, struct epic_at *out, bool *out_found, struct gs_err *err)
{
    int64_t grp = 0;
    const char *key = gs_json_str(arg, "key");
    gs_json_i64(arg, "grp", &grp);
    return epic_find(r, grp, key ? key : "", out, out_found, err);
}

struct hang {
    int64_t item, parent, beside; /* parent or beside: 0 */
    bool after;
};

static void put_hang(struct gs_jw *w, void *cookie)
{
    const struct hang *h = cookie;
    gid_put(w, "id", "WorkItem", h->item);
    gs_jw_key(w, "hierarchyWidget");
    gs_jw_obj(w);
    if (h->parent)
        gid_put(w, "parentId", "WorkItem", h->parent);
    if (h->beside) {
        gid_put(w, "adjacentWorkItemId", "WorkItem", h->beside);
        gs_jw_kstr(w, "relativePosition", h->after ? "AFTER" : "BEFORE");
    }
    gs_jw_end(w);
}

static int set_parent(struct run *r, const struct epic_at *child, const struct epic_at *parent, struct gl_request **out_req,
                      enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 64);
    struct hang h = {.item = child->id, .parent = parent->id};
    if (run_epics_items(r))
        return step_send_repeatable(r, P_SET, items_request("work_item_update", false, put_hang, &h, err), out_req, out, err);
    if (gs_buf_addf(&body, err, "{\"parent_id\":%lld}", (long long)parent->id))
        return -1;
    struct gl_request *q =
        run_request(GL_PUT, &body, "/groups/%lld/epics/%lld", (long long)child->group, (long long)child->iid);
    return step_send_repeatable(r, P_SET, q, out_req, out, err);
}

static int parent_step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                       struct gs_err *err)
{
    struct epic_at child, parent;
    bool is;
    enum step_answer a;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == P_SET, &a, err) || epic_of(r, &child, err) || named(r, r->rec, &parent, &is, err))
        return -1;
    if (!is)
        return epic_dependency(r, "its parent", out, err);
    *out = STEP_DONE;
    if (child.adopted)
        return 0;
    if (a == ANS_NONE || a == ANS_LOST)
        return set_parent(r, &child, &parent, out_req, out, err);
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "giving the epic its parent");
    bool more;
    if (run_epics_items(r) ? items_answer(r, rsp, "workItemUpdate", &doc, &more, err) : step_doc(rsp, &doc, err))
        return gs_wrap(err, "giving the epic its parent");
    int64_t got = 0;
    if (epic_seen(r, &child, yyjson_doc_get_root(doc), err))
        return -1;
    gs_json_i64(yyjson_doc_get_root(doc), "parent_id", &got);
    if (got == parent.id)
        return 0;
    return run_loss(r, "epic-parent", gs_json_str(r->rec, "key"), err) || state_address_set(r->state, r->op.id, NOT_TAKEN, err) ? -1 : 0;
}

const struct kind kind_epics_parent = {.name = "epics.parent", .relation = "epics", .ordered = true, .step = parent_step};

/* ---- the order of the children of one epic ---- */

enum { O_START, O_READ, O_MOVE, O_AGAIN };

static int read_children(struct run *r, const struct epic_at *e, struct gl_request **out_req, enum step_result *out,
                         struct gs_err *err)
{
    if (run_epics_items(r))
        return step_send(r, O_READ, items_read(r, "work_item_children", e->id, err), out_req, out, err);
    return step_send(r, O_READ,
                     run_request(GL_GET, NULL, "/groups/%lld/epics/%lld/epics", (long long)e->group, (long long)e->iid),
                     out_req, out, err);
}

static int64_t at(const struct gs_buf *ids, size_t i)
{
    int64_t id;
    memcpy(&id, ids->data + i * sizeof(id), sizeof(id));
    return id;
}

static size_t place_of(const struct gs_buf *ids, int64_t id)
{
    size_t i = 0, n = ids->len / sizeof(id);
    while (i < n && at(ids, i) != id)
        i++;
    return i;
}

/* Did the target pass over that this epic hangs below another one? */
static int passed_over(struct run *r, yyjson_val *child, bool *out, struct gs_err *err)
{
    struct op op = {0};
    gs_autofree char *text = NULL;
    int64_t grp = 0;
    gs_json_i64(child, "grp", &grp);
    *out = false;
    if (state_find(r->state, "epics.parent", grp, gs_json_str(child, "key"), &op, out, err))
        return -1;
    int rc = *out ? state_address(r->state, op.id, &text, err) : 0;
    op_release(&op);
    *out = text && strcmp(text, NOT_TAKEN) == 0;
    return rc;
}

/* Target ids of the children in their order at the source, as far as they were loaded and hang there. */
static int wanted(struct run *r, struct gs_buf *out, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(r->rec, "children"), i, max, it)
    {
        struct epic_at e;
        bool is, not_there;
        if (named(r, it, &e, &is, err) || passed_over(r, it, &not_there, err) || (is && !not_there && gs_buf_add(out, &e.id, sizeof(e.id), err)))
            return -1;
    }
    return 0;
}

/* The children that the answer shows, with those taken out that the other list does not have. */
static int shown(yyjson_val *children, const struct gs_buf *of, struct gs_buf *out, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(children, i, max, it)
    {
        int64_t id;
        if (gs_json_i64(it, "id", &id) && (!of || place_of(of, id) < of->len / sizeof(id)) &&
            gs_buf_add(out, &id, sizeof(id), err))
            return -1;
    }
    return 0;
}

/* Moves the first that does not stand where it should, or is done. */
static int put_right(struct run *r, const struct epic_at *parent, yyjson_val *children, struct gl_request **out_req,
                     enum step_result *out, struct gs_err *err)
{
    gs_autobuf all, want, have, body;
    gs_buf_init(&all, 1 << 24);
    gs_buf_init(&want, 1 << 24);
    gs_buf_init(&have, 1 << 24);
    gs_buf_init(&body, 128);
    if (wanted(r, &all, err))
        return -1;
    for (size_t i = 0; i < all.len / sizeof(int64_t); i++) {
        size_t k, max;
        yyjson_val *it;
        int64_t id;
        yyjson_arr_foreach(children, k, max, it)
        {
            if (gs_json_i64(it, "id", &id) && id == at(&all, i) && gs_buf_add(&want, &id, sizeof(id), err))
                return -1;
        }
    }
    if (shown(children, &want, &have, err))
        return -1;
    bool over = true;
    if (want.len < all.len && step_wait_shown(r, O_AGAIN, &over, out, err))
        return -1;
    if (!over)
        return 0;
    size_t n = want.len / sizeof(int64_t), i = 0;
    while (i < n && at(&want, i) == at(&have, i))
        i++;
    *out = STEP_DONE;
    if (i == n)
        return 0;
    if (r->n1++ > (int64_t)(2 * n)) /* each move puts one more right, unless somebody else moves them too */
        return run_loss(r, "epic-order", "others move them at the same time", err);
    struct hang h = {.item = at(&want, i), .beside = i ? at(&want, i - 1) : at(&have, 0), .after = i > 0};
    if (run_epics_items(r))
        return step_send_repeatable(r, O_MOVE, items_request("work_item_update", false, put_hang, &h, err), out_req, out, err);
    if (gs_buf_addf(&body, err, i ? "{\"move_before_id\":%lld}" : "{\"move_after_id\":%lld}",
                    (long long)(i ? at(&want, i - 1) : at(&have, 0))))
        return -1;
    struct gl_request *q = run_request(GL_PUT, &body, "/groups/%lld/epics/%lld/epics/%lld", (long long)parent->group,
                                       (long long)parent->iid, (long long)at(&want, i));
    return step_send_repeatable(r, O_MOVE, q, out_req, out, err);
}

static void children_free(void *own)
{
    gs_buf_release(own);
    free(own);
}

/* Pages of work items are put together in r->own. *out_more: another page is asked for. */
static int more_children(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, bool *out_more, struct gs_err *err)
{
    struct gs_buf *all = r->own;
    if (!all) {
        all = r->own = malloc(sizeof *all);
        r->free_own = children_free;
        if (!all)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        gs_buf_init(all, (size_t)64 << 20);
    }
    if (items_children(r, rsp, all, out_more, err))
        return -1;
    if (*out_more)
        return 0;
    if (gs_buf_addstr(all, all->len ? "]" : "[]", err) || gs_json_parse(gs_buf_str(all), all->len, NULL, out_doc, err))
        return -1;
    gs_buf_reset(all);
    return 0;
}

/* Was a move by GraphQL refused? That is a loss, like a refusal by REST. */
static int moved_item(struct run *r, const struct gl_response *rsp, bool *out_refused, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_err why = {0};
    bool more;
    *out_refused = items_answer(r, rsp, "workItemUpdate", &doc, &more, &why) != 0;
    if (*out_refused && why.scope != GS_SCOPE_ITEM) {
        *err = why;
        return -1;
    }
    return *out_refused ? run_loss(r, "epic-order", why.text, err) : 0;
}

static int order_step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    struct epic_at parent;
    enum step_answer a;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == O_MOVE, &a, err) || epic_of(r, &parent, err))
        return -1;
    *out = STEP_DONE;
    if (parent.adopted)
        return 0;
    if (a == ANS_REFUSED)
        return run_loss(r, "epic-order", rsp->err.text, err);
    bool refused = false, more = false;
    if (r->phase == O_MOVE && a == ANS_OK && run_epics_items(r) && moved_item(r, rsp, &refused, err))
        return -1;
    if (refused)
        return 0;
    /* what a move answers is not relied on: the list is read again */
    if (r->phase != O_READ)
        return read_children(r, &parent, out_req, out, err);
    if (run_epics_items(r) ? more_children(r, rsp, &doc, &more, err) : step_array(rsp, &doc, err))
        return -1;
    return more ? read_children(r, &parent, out_req, out, err) : put_right(r, &parent, yyjson_doc_get_root(doc), out_req, out, err);
}

const struct kind kind_epics_order = {.name = "epics.order", .relation = "epics", .step = order_step};

/* ---- planning ---- */

static int db_fail(struct plan *p, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file: %s", sqlite3_errmsg(state_db(plan_state(p))));
}

static int exec(struct plan *p, const char *sql, struct gs_err *err)
{
    return sqlite3_exec(state_db(plan_state(p)), sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(p, err);
}

int tree_plan_add(struct plan *p, const struct grp *g, yyjson_val *rec, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    int64_t iid = 0, id = 0, parent = 0, parent_grp = 0, parent_iid = 0, place = INT64_MAX;
    yyjson_val *up = step_get(rec, "parent");
    gs_json_i64(rec, "iid", &iid);
    gs_json_i64(rec, "id", &id);
    if (!gs_json_i64(rec, "parent_id", &parent))
        gs_json_i64(up, "id", &parent);
    gs_json_i64(up, "group_id", &parent_grp);
    gs_json_i64(up, "iid", &parent_iid);
    gs_json_i64(rec, "relative_position", &place);
    if (exec(p,
             "CREATE TEMP TABLE IF NOT EXISTS epic(grp INTEGER, iid INTEGER, src_id INTEGER, parent INTEGER, parent_grp"
             " INTEGER, parent_iid INTEGER, place INTEGER, PRIMARY KEY(grp, iid)) WITHOUT ROWID",
             err))
        return -1;
    if (sqlite3_prepare_v2(state_db(plan_state(p)), "INSERT OR REPLACE INTO temp.epic VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)", -1,
                           &st, NULL) != SQLITE_OK)
        return db_fail(p, err);
    const int64_t v[] = {g->id, iid, id, parent, parent_grp, parent_iid, place};
    for (int i = 0; i < (int)GS_COUNT(v); i++)
        sqlite3_bind_int64(st, i + 1, v[i]);
    int r = sqlite3_step(st) == SQLITE_DONE ? 0 : db_fail(p, err);
    sqlite3_finalize(st);
    return r;
}

/* Calls `row` for each row of a query. */
static int each(struct plan *p, const char *sql, int (*row)(void *cookie, sqlite3_stmt *st, struct gs_err *err), void *cookie,
                struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(plan_state(p)), sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(p, err);
    int rc, r = 0;
    while (r == 0 && (rc = sqlite3_step(st)) != SQLITE_DONE)
        r = rc == SQLITE_ROW ? row(cookie, st, err) : db_fail(p, err);
    sqlite3_finalize(st);
    return r;
}

struct tree {
    struct plan *p;
    int64_t grp, iid; /* the parent whose children come */
    struct gs_buf children;
    size_t n;
};

static int plan_one(struct plan *p, const char *kind, const char *arg, int64_t of_grp, int64_t of_iid, int64_t lane_grp,
                    enum rel_phase phase, const char *lane_name, bool ordered, struct gs_err *err)
{
    struct op op = {0}, of = {0};
    bool found = false;
    int64_t lane;
    gs_autofree char *key = epic_key(of_iid);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (plan_lane(p, lane_grp, phase, lane_name, ordered, &lane, err) ||
        state_find(plan_state(p), "epics", of_grp, key, &of, &found, err))
        return -1;
    int64_t needs = of.id;
    op_release(&of);
    if (!found)
        return 0;
    if (pending_new_op(kind, key, arg, of_grp, lane, NULL, &op, err))
        return -1;
    op.needs = needs;
    return pending_plan(p, &op, NULL, err);
}

/* The children of one parent are complete: their order, when there is one. */
static int end_parent(struct tree *t, struct gs_err *err)
{
    int r = 0;
    if (t->n > 1) {
        gs_autofree char *arg = gs_asprintf("{\"children\":[%s]}", gs_buf_str(&t->children));
        if (!arg)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        r = plan_one(t->p, "epics.order", arg, t->grp, t->iid, t->grp, REL_PHASE_EPIC_STATES, "order of children", false, err);
    }
    gs_buf_reset(&t->children);
    t->n = 0;
    return r;
}

/* Children come in their order, by parent. */
static int on_child(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct tree *t = cookie;
    int64_t up_grp = sqlite3_column_int64(st, 0), up_iid = sqlite3_column_int64(st, 1), grp = sqlite3_column_int64(st, 2),
            iid = sqlite3_column_int64(st, 3);
    if ((up_grp != t->grp || up_iid != t->iid) && end_parent(t, err))
        return -1;
    t->grp = up_grp;
    t->iid = up_iid;
    return gs_buf_addf(&t->children, err, "%s{\"grp\":%lld,\"key\":\"&%lld\"}", t->n++ ? "," : "", (long long)grp,
                       (long long)iid);
}

/* The same, the last child first. */
static int on_parent(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct tree *t = cookie;
    int64_t up_grp = sqlite3_column_int64(st, 0), up_iid = sqlite3_column_int64(st, 1), grp = sqlite3_column_int64(st, 2),
            iid = sqlite3_column_int64(st, 3);
    char arg[96], name[64];
    snprintf(arg, sizeof(arg), "{\"grp\":%lld,\"key\":\"&%lld\"}", (long long)up_grp, (long long)up_iid);
    snprintf(name, sizeof(name), "children of %lld&%lld", (long long)up_grp, (long long)up_iid);
    return plan_one(t->p, "epics.parent", arg, grp, iid, grp, REL_PHASE_EPIC_PARTS, name, true, err);
}

static int on_orphan(void *cookie, sqlite3_stmt *st, struct gs_err *err)
{
    struct tree *t = cookie;
    gs_autofree char *key = epic_key(sqlite3_column_int64(st, 1));
    return key ? plan_loss(t->p, sqlite3_column_int64(st, 0), "epics", key, "epic-parent-missing", 1, NULL, err)
               : gs_fail(err, GS_E_NOMEM, "out of memory");
}

int tree_plan_end(struct plan *p, struct gs_err *err)
{
    struct tree t = {.p = p};
    if (plan_features(p)->epics == 0)
        return 0;
    gs_buf_init(&t.children, (size_t)256 << 20);
    /* where a new child of a work item stands behind the others, the first one is hung first */
    gs_autofree char *hang = gs_asprintf(
        "SELECT u.grp, u.iid, c.grp, c.iid FROM temp.epic c JOIN temp.epic u ON u.grp = c.parent_grp AND u.iid = c.parent_iid"
        " WHERE c.parent_iid > 0 ORDER BY u.grp, u.iid, c.place %s, c.src_id %s",
        plan_epics_items(p) ? "" : "DESC", plan_epics_items(p) ? "DESC" : "");
    if (!hang)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    /* by the id first: the nested record of a parent is missing where its group could not be read. Its number must be right, since the ids of epics
     * and of work items, which may stand side by side in a bundle, are counted apart */
    int r = exec(p,
                 "CREATE TEMP TABLE IF NOT EXISTS epic(grp, iid, src_id, parent, parent_grp, parent_iid, place);"
                 "CREATE INDEX temp.epic_src ON epic(src_id);"
                 "UPDATE temp.epic SET (parent_grp, parent_iid) = (SELECT u.grp, u.iid FROM temp.epic u WHERE u.src_id = epic.parent AND"
                 " epic.parent_iid IN (0, u.iid)) WHERE parent > 0 AND EXISTS (SELECT 1 FROM temp.epic u WHERE u.src_id = epic.parent AND"
                 " epic.parent_iid IN (0, u.iid))",
                 err) ||
            each(p, hang, on_parent, &t, err) ||
            each(p,
                 "SELECT u.grp, u.iid, c.grp, c.iid FROM temp.epic c JOIN temp.epic u ON u.grp = c.parent_grp AND u.iid = c.parent_iid"
                 " WHERE c.parent_iid > 0 ORDER BY u.grp, u.iid, c.place, c.src_id DESC",
                 on_child, &t, err) ||
            end_parent(&t, err) ||
            each(p,
                 "SELECT c.grp, c.iid FROM temp.epic c LEFT JOIN temp.epic u ON u.grp = c.parent_grp AND u.iid = c.parent_iid"
                 " WHERE (c.parent > 0 OR c.parent_iid > 0) AND u.iid IS NULL",
                 on_orphan, &t, err) ||
            exec(p, "DROP TABLE temp.epic", err);
    gs_buf_release(&t.children);
    return r ? -1 : 0;
}
