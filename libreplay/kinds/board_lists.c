/* Lists of group boards, in the order of their positions: the server appends. An op of a list has its few facts in
 * op.arg. */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/step.h"
#include "libgitlab/graphql.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE, MOVE, LIMITS };

/* Target ids that the run found out, in n1 (board) and n2 (what the list stands for). */
static const char *ref_key(yyjson_val *rec)
{
    const char *type = gs_json_str(rec, "list_type");
    if (!type)
        return NULL;
    return strcmp(type, "label") == 0       ? "label_id"
           : strcmp(type, "milestone") == 0 ? "milestone_id"
           : strcmp(type, "assignee") == 0  ? "assignee_id"
           : strcmp(type, "iteration") == 0 ? "iteration_id"
                                            : NULL;
}

static const char *ref_object(yyjson_val *rec)
{
    const char *key = ref_key(rec);
    return !key                               ? NULL
           : strcmp(key, "label_id") == 0     ? "label"
           : strcmp(key, "milestone_id") == 0 ? "milestone"
           : strcmp(key, "iteration_id") == 0 ? "iteration"
                                              : "assignee";
}

static int resolve(struct run *r, struct gs_err *err)
{
    struct op board;
    if (state_op(r->state, r->op.needs, &board, err))
        return -1;
    r->n1 = board.target_id;
    op_release(&board);
    const char *kind = ref_object(r->rec), *title = gs_json_str(r->rec, "title");
    if (!kind || !r->n1)
        return step_fail(err, GS_E_INTERNAL, "list without a board or a type");
    if (strcmp(kind, "assignee") == 0) {
        int64_t user = 0;
        gs_json_i64(r->rec, "user_id", &user);
        return run_user(r, user, &r->n2, err);
    }
    int64_t home = 0;
    if (strcmp(kind, "iteration") == 0) {
        gs_json_i64(r->rec, "iteration_id", &home);
        return step_ref_id(r, "iterations", home, &r->n2, err);
    }
    gs_json_i64(r->rec, "group_id", &home);
    return step_ref(r, strcmp(kind, "label") == 0 ? "labels" : "milestones", home, title ? title : "", &r->n2, err);
}

static int list(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0)
        n->page = 1;
    return step_send(r, LIST,
                     run_request(GL_GET, NULL, "/groups/%lld/boards/%lld/lists?per_page=100&page=%lld",
                                 (long long)r->grp->target_id, (long long)r->n1, (long long)n->page),
                     out_req, out, err);
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 256);
    if (gs_buf_addf(&body, err, "{\"%s\":%lld}", ref_key(r->rec), (long long)r->n2))
        return -1;
    return step_send(
        r, CREATE,
        run_request(GL_POST, &body, "/groups/%lld/boards/%lld/lists", (long long)r->grp->target_id, (long long)r->n1),
        out_req, out, err);
}

static bool stands_for(struct run *r, yyjson_val *it)
{
    int64_t id;
    return gs_json_i64(step_get(it, ref_object(r->rec)), "id", &id) && id == r->n2;
}

static int64_t number(yyjson_val *obj, const char *key)
{
    int64_t v = 0;
    gs_json_i64(obj, key, &v);
    return v;
}

static bool limits_differ(struct run *r, yyjson_val *there)
{
    const char *want = gs_json_str(r->rec, "limit_metric"), *got = gs_json_str(there, "limit_metric");
    return number(r->rec, "max_issue_count") != number(there, "max_issue_count") ||
           number(r->rec, "max_issue_weight") != number(there, "max_issue_weight") ||
           (want && !step_same_text(want, got));
}

static bool has_limits(yyjson_val *rec)
{
    return number(rec, "max_issue_count") || number(rec, "max_issue_weight");
}

/* The list is there: what is left are its limits. */
static int finish(struct run *r, yyjson_val *there, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    *out = STEP_DONE;
    if (!has_limits(r->rec) || !limits_differ(r, there))
        return 0;
    if (r->op.adopted)
        return run_loss(r, "exists-differs", "limits", err);
    if (r->target->enterprise == 0)
        return run_loss(r, "board-list-limits", NULL, err);
    gs_autobuf body;
    gs_buf_init(&body, 1024);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "input");
    gs_jw_obj(&w);
    char gid[64];
    snprintf(gid, sizeof(gid), "gid://gitlab/List/%lld", (long long)r->op.target_id);
    gs_jw_kstr(&w, "listId", gid);
    const char *metric = gs_json_str(r->rec, "limit_metric");
    if (metric && *metric)
        gs_jw_kstr(&w, "limitMetric", metric);
    gs_jw_ki64(&w, "maxIssueCount", number(r->rec, "max_issue_count"));
    gs_jw_ki64(&w, "maxIssueWeight", number(r->rec, "max_issue_weight"));
    gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q = gl_graphql_request(gl_document("board_list_limits"), gs_buf_str(&body), false);
    return step_send_repeatable(r, LIMITS, q, out_req, out, err);
}

/* The server appends: one that is loaded again later is moved to where it belongs. */
static int place(struct run *r, yyjson_val *there, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    int64_t before = 0, behind = 0, maybe = 0;
    if (r->again && !r->op.adopted && state_lane_done(r->state, &r->op, &before, &behind, &maybe, err))
        return -1;
    if (r->phase == CREATE) /* it was just made, behind those that are there */
        behind += maybe;
    if (behind == 0 || number(there, "position") == before)
        return finish(r, there, out_req, out, err);
    gs_autobuf body;
    gs_buf_init(&body, 64);
    if (gs_buf_addf(&body, err, "{\"position\":%lld}", (long long)before))
        return -1;
    struct gl_request *q = run_request(GL_PUT, &body, "/groups/%lld/boards/%lld/lists/%lld", (long long)r->grp->target_id,
                                       (long long)r->n1, (long long)r->op.target_id);
    return step_send_repeatable(r, MOVE, q, out_req, out, err);
}

static int moved(struct run *r, const struct gl_response *rsp, bool refused, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (refused && run_loss(r, "list-order", rsp->err.text, err))
        return -1;
    if (!refused && step_doc(rsp, &doc, err))
        return -1;
    return finish(r, yyjson_doc_get_root(doc), out_req, out, err);
}

static int listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        if (!stands_for(r, it))
            continue;
        if (step_take_id(r, it, err))
            return -1;
        step_seen(r);
        struct op board;
        if (state_op(r->state, r->op.needs, &board, err))
            return -1;
        r->op.adopted = board.adopted;
        r->op.found = !board.adopted;
        op_release(&board);
        return place(r, it, out_req, out, err);
    }
    if (step_next_page(n, rsp))
        return list(r, out_req, out, err);
    n->page = 0;
    bool proven = true;
    if ((r->unsure || n->why) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    if (n->why)
        return step_fail(err, GS_E_REFUSED, "the server says that the list exists, and does not show it");
    return create(r, out_req, out, err);
}

static int refused(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                   struct gs_err *err)
{
    const char *body = gs_buf_str(&rsp->body);
    if (strstr(body, "already been taken")) {
        step_notes(r)->why = 1;
        step_hidden(r);
        return list(r, out_req, out, err);
    }
    if (rsp->status == 403 || strstr(body, "license"))
        return step_lost(r, "list-not-available", rsp->err.text, out, err);
    if (rsp->status == 400 && strstr(body, "not found") && strcmp(ref_object(r->rec), "assignee") != 0)
        return step_fail(err, GS_E_REF_GONE, "the %s (id %lld on the target) that the list stands for is not there any more",
                         ref_object(r->rec), (long long)r->n2);
    if (rsp->status == 400 && strstr(body, "not found"))
        return step_lost(r, "list-reference-missing", rsp->err.text, out, err);
    return step_refused(rsp, err, "creating the list");
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == MOVE || r->phase == LIMITS, &a, err))
        return -1;
    if (a == ANS_LOST)
        return list(r, out_req, out, err);
    GS_AUTO(yyjson_doc) doc = NULL;
    switch (r->phase) {
    case START: {
        if (resolve(r, err))
            return -1;
        if (!r->n2)
            return step_lost(r, "list-reference-missing", r->op.key, out, err);
        return r->unsure || r->grp->existed ? list(r, out_req, out, err) : create(r, out_req, out, err);
    }
    case LIST_AGAIN:
        return list(r, out_req, out, err);
    case LIST:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "looking for the list");
        return listed(r, rsp, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED)
            return refused(r, rsp, out_req, out, err);
        if (step_doc(rsp, &doc, err) || step_take_id(r, yyjson_doc_get_root(doc), err))
            return -1;
        if (!stands_for(r, yyjson_doc_get_root(doc)))
            return step_fail(err, GS_E_REMOTE, "the server made a list that stands for something else");
        return place(r, yyjson_doc_get_root(doc), out_req, out, err);
    case MOVE:
        return moved(r, rsp, a == ANS_REFUSED, out_req, out, err);
    case LIMITS: {
        yyjson_val *data = NULL;
        bool unknown = false;
        struct gs_err why = {0};
        if (a == ANS_REFUSED || gl_graphql_answer(rsp, &doc, &data, &unknown, &why)) {
            if (run_loss(r, "board-list-limits", a == ANS_REFUSED ? rsp->err.text : why.text, err))
                return -1;
        } else {
            yyjson_val *got = step_get(step_get(data, "boardListUpdateLimitMetrics"), "list");
            if ((number(got, "maxIssueCount") != number(r->rec, "max_issue_count") ||
                 number(got, "maxIssueWeight") != number(r->rec, "max_issue_weight")) &&
                run_loss(r, "board-list-limits", "the server took other values", err))
                return -1;
        }
        *out = STEP_DONE;
        return 0;
    }
    default:
        return gs_fail(err, GS_E_INTERNAL, "list in phase %d", r->phase);
    }
}

static const char *const seen[] = {"id", "label.id", "milestone.id", "assignee.id", "iteration.id", NULL};
const struct kind kind_lists = {.name = "lists", .relation = "lists", .ordered = true, .step = step, .seen = seen};

/* ---- planning ---- */

int lists_plan(struct plan *p, const struct grp *g, const struct pending *board, yyjson_val *l, struct gs_err *err)
{
    const char *type = gs_json_str(l, "list_type");
    yyjson_val *label = step_get(l, "label"), *milestone = step_get(l, "milestone"), *iteration = step_get(l, "iteration");
    int64_t user = 0, position = 0, id = 0, iteration_id = 0;
    if (!type)
        type = label ? "label" : milestone ? "milestone" : gs_json_i64(l, "user_id", &user) && user ? "assignee" : "";
    if (strcmp(type, "backlog") == 0 || strcmp(type, "closed") == 0 || !*type)
        return 0; /* every board has them by itself */
    gs_json_i64(l, "position", &position);
    gs_json_i64(l, "user_id", &user);
    gs_json_i64(l, "id", &id);
    if (!gs_json_i64(l, "iteration_id", &iteration_id))
        gs_json_i64(iteration, "id", &iteration_id);
    const char *title = gs_json_str(strcmp(type, "label") == 0 ? label : strcmp(type, "iteration") == 0 ? iteration : milestone, "title");
    if (!title && iteration)
        title = gs_json_str(iteration, "start_date");
    gs_autofree char *key = strcmp(type, "assignee") == 0
                                ? gs_asprintf("%s / assignee %lld", board->key, (long long)user)
                                : gs_asprintf("%s / %s %s", board->key, type, title ? title : "?");
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    bool of_iteration = strcmp(type, "iteration") == 0;
    if (!of_iteration && strcmp(type, "label") != 0 && strcmp(type, "milestone") != 0 && strcmp(type, "assignee") != 0)
        return plan_loss(p, g->id, "lists", key, "list-not-available", 1, type, err);
    if (of_iteration && plan_features(p)->iterations == 0)
        return plan_loss(p, g->id, "lists", key, "list-iteration", 1, NULL, err);
    if (strcmp(type, "label") != 0 && (plan_target(p)->enterprise == 0 || plan_features(p)->scoped_boards == 0))
        return plan_loss(p, g->id, "lists", key, "list-not-available", 1, type, err);
    if (of_iteration ? iteration_id <= 0 : strcmp(type, "assignee") != 0 && !title)
        return plan_loss(p, g->id, "lists", key, "list-reference-missing", 1, NULL, err);
    if (label && labels_plan_implicit(p, g, label, err))
        return -1;
    gs_autobuf arg;
    gs_buf_init(&arg, 1 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &arg, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "list_type", type);
    if (title)
        gs_jw_kstr(&w, "title", title);
    int64_t home = 0;
    if (gs_json_i64(label ? label : milestone, "group_id", &home) && home)
        gs_jw_ki64(&w, "group_id", home);
    if (user)
        gs_jw_ki64(&w, "user_id", user);
    if (of_iteration)
        gs_jw_ki64(&w, "iteration_id", iteration_id);
    if (has_limits(l)) {
        gs_jw_ki64(&w, "max_issue_count", number(l, "max_issue_count"));
        gs_jw_ki64(&w, "max_issue_weight", number(l, "max_issue_weight"));
        if (gs_json_str(l, "limit_metric"))
            gs_jw_kstr(&w, "limit_metric", gs_json_str(l, "limit_metric"));
        plan_requests(p, 1);
    }
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct pending e = {.major = board->major,
                        .minor = position < 0 ? 0 : position,
                        .kind = "lists",
                        .key = key,
                        .arg = gs_buf_str(&arg),
                        .src_id = id};
    return pending_add(p, &e, err);
}
