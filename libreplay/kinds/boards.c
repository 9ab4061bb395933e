/*
 * Group issue boards and their lists.
 *
 * Names of boards are not unique: one that the target shows is taken for a record when it has the name and no other
 * record has taken it. The board "Development", which GitLab makes when somebody opens the page, is used for the first
 * board of a group that this load has made. Without Premium a group has one board only, and no REST endpoint makes it:
 * GraphQL does.
 */
#include "libreplay/kinds/iterations.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/step.h"
#include "libreplay/kinds/twins.h"
#include "libgitlab/graphql.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE, GRAPHQL, SCOPE, LABELS, ITERATION };
enum { REUSE = 1, ONE_ONLY = 2, SEEN_ANY = 4, SEND_NAME = 8 };

static const char *board_name(struct run *r)
{
    const char *name = gs_json_str(r->rec, "name");
    return name && *name ? name : "Development";
}

static int list(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0) {
        n->page = 1;
        n->id = n->max_id = 0;
        n->flags &= ~(REUSE | SEEN_ANY);
    }
    return step_send(r, LIST,
                     run_request(GL_GET, NULL, "/groups/%lld/boards?per_page=100&page=%lld",
                                 (long long)r->grp->target_id, (long long)n->page),
                     out_req, out, err);
}

static int create(struct run *r, bool graphql, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 1 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    if (graphql) {
        gs_jw_key(&w, "input");
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "groupPath", r->grp->dst_path);
        gs_jw_kbool(&w, "hideBacklogList", gs_json_true(r->rec, "hide_backlog_list"));
        gs_jw_kbool(&w, "hideClosedList", gs_json_true(r->rec, "hide_closed_list"));
    }
    gs_jw_kstr(&w, "name", board_name(r));
    if (graphql)
        gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    if (graphql)
        return step_send(r, GRAPHQL, gl_graphql_request(gl_document("board_create"), gs_buf_str(&body), false), out_req,
                         out, err);
    return step_send(r, CREATE, run_request(GL_POST, &body, "/groups/%lld/boards", (long long)r->grp->target_id),
                     out_req, out, err);
}

/* ---- scope ---- */

struct scope {
    bool hide_backlog, hide_closed, has_milestone, has_weight;
    int64_t milestone, assignee, weight;
    struct gs_buf labels; /* titles, comma separated */
    struct gs_buf ids;    /* of the labels, as int64_t */
    unsigned n_labels;
};

static int scope_milestone(struct run *r, struct scope *s, struct gs_err *err)
{
    int64_t id = 0;
    yyjson_val *m = step_get(r->rec, "milestone");
    const char *title = gs_json_str(m, "title");
    if (gs_json_i64(r->rec, "milestone_id", &id) && id <= 0) {
        s->has_milestone = true; /* 0 none, -1 any, -2 upcoming, -3 started */
        s->milestone = id;
        return 0;
    }
    if (!title)
        return id ? run_loss(r, "board-scope-milestone", NULL, err) : 0;
    int64_t home = 0;
    gs_json_i64(m, "group_id", &home);
    if (step_ref(r, "milestones", home, title, &s->milestone, err))
        return -1;
    s->has_milestone = s->milestone != 0;
    return s->has_milestone ? 0 : run_loss(r, "board-scope-milestone", title, err);
}

static int scope_assignee(struct run *r, struct scope *s, struct gs_err *err)
{
    yyjson_val *a = step_get(r->rec, "board_assignee");
    if (!a)
        a = step_get(r->rec, "assignee");
    int64_t id = 0;
    if (!gs_json_i64(a, "assignee_id", &id) && !gs_json_i64(a, "id", &id) && !gs_json_i64(r->rec, "assignee_id", &id))
        return 0;
    if (id <= 0)
        return 0;
    if (run_user(r, id, &s->assignee, err))
        return -1;
    return s->assignee ? 0 : step_loss(r, err, "board-scope-assignee", "source user %lld", (long long)id);
}

static int scope_labels(struct run *r, struct scope *s, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it, *labels = step_get(r->rec, "labels");
    if (!yyjson_is_arr(labels))
        return 0;
    yyjson_arr_foreach(labels, i, max, it)
    {
        const char *title = gs_json_str(it, "title");
        int64_t id = 0, home = 0;
        if (!title)
            continue;
        gs_json_i64(it, "group_id", &home);
        if (step_ref(r, "labels", home, title, &id, err))
            return -1;
        /* the server would make a label of a title that it does not know */
        if (!id) {
            if (run_loss(r, "board-scope-label", title, err))
                return -1;
            continue;
        }
        if (gs_buf_addf(&s->labels, err, "%s%s", s->n_labels ? "," : "", title) ||
            gs_buf_add(&s->ids, &id, sizeof(id), err))
            return -1;
        s->n_labels++;
    }
    return 0;
}

static int scope_read(struct run *r, struct scope *s, struct gs_err *err)
{
    s->hide_backlog = gs_json_true(r->rec, "hide_backlog_list");
    s->hide_closed = gs_json_true(r->rec, "hide_closed_list");
    s->has_weight = gs_json_i64(r->rec, "weight", &s->weight) && s->weight >= 0;
    return scope_milestone(r, s, err) || scope_assignee(r, s, err) || scope_labels(r, s, err) ? -1 : 0;
}

static bool scope_any(const struct scope *s)
{
    return s->has_milestone || s->has_weight || s->assignee || s->n_labels;
}

static void scope_init(struct scope *s)
{
    gs_buf_init(&s->labels, 1 << 20);
    gs_buf_init(&s->ids, 1 << 20);
}

static void scope_release(struct scope *s)
{
    gs_buf_release(&s->labels);
    gs_buf_release(&s->ids);
}

static int64_t source_id(struct run *r, const char *key, const char *object)
{
    int64_t id = 0;
    if (!gs_json_i64(r->rec, key, &id))
        gs_json_i64(step_get(r->rec, object), "id", &id);
    return id;
}

/* The last call: its iteration or cadence, which REST does not take; done when there is none. */
static int scope_iteration(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    int64_t iteration = source_id(r, "iteration_id", "iteration"), cadence = source_id(r, "iteration_cadence_id", "iteration_cadence");
    int64_t it = 0, of = 0;
    *out = STEP_DONE;
    if (r->op.adopted || (iteration <= 0 && cadence <= 0)) /* "current" and the like were named when planning */
        return 0;
    if (step_ref_id(r, "iterations", iteration, &it, err) || step_ref_id(r, "iterations_cadences", cadence, &of, err))
        return -1;
    if ((iteration > 0 && !it) || (cadence > 0 && !of))
        return run_loss(r, "board-scope-iteration", NULL, err);
    gs_autobuf vars;
    gs_buf_init(&vars, 4096);
    struct gs_jw w;
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "input");
    gs_jw_obj(&w);
    iterations_put_gid(&w, "id", "Board", r->op.target_id);
    if (it)
        iterations_put_gid(&w, "iterationId", "Iteration", it);
    if (of)
        iterations_put_gid(&w, "iterationCadenceId", GID_CADENCE, of);
    gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q = gl_graphql_request(gl_document("board_scope_iteration"), gs_buf_str(&vars), false);
    return step_send_repeatable(r, ITERATION, q, out_req, out, err);
}

static int check_iteration(struct run *r, const struct gl_response *rsp, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    struct gs_err why = {0};
    if (step_graphql(rsp, false, "updateBoard", &doc, &payload, &absent, &why))
        return run_loss(r, "board-scope-iteration", why.text, err);
    yyjson_val *board = step_get(payload, "board");
    bool took = source_id(r, "iteration_id", "iteration") <= 0 || step_gid(step_get(board, "iteration"));
    return took ? 0 : run_loss(r, "board-scope-iteration", "the server did not take it", err);
}

/* The second call that gives a board of ours its scope; done when there is nothing to say. */
static int finish(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    struct scope s __attribute__((cleanup(scope_release))) = {0};
    scope_init(&s);
    *out = STEP_DONE;
    if (r->op.adopted)
        return 0;
    if (scope_read(r, &s, err))
        return -1;
    if (!s.hide_backlog && !s.hide_closed && !(n->flags & SEND_NAME) && !scope_any(&s))
        return scope_iteration(r, out_req, out, err);
    gs_autobuf body;
    gs_buf_init(&body, 2 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    if (n->flags & SEND_NAME)
        gs_jw_kstr(&w, "name", board_name(r));
    gs_jw_kbool(&w, "hide_backlog_list", s.hide_backlog);
    gs_jw_kbool(&w, "hide_closed_list", s.hide_closed);
    if (s.has_milestone)
        gs_jw_ki64(&w, "milestone_id", s.milestone);
    if (s.assignee)
        gs_jw_ki64(&w, "assignee_id", s.assignee);
    if (s.has_weight)
        gs_jw_ki64(&w, "weight", s.weight);
    if (s.n_labels)
        gs_jw_kstr(&w, "labels", gs_buf_str(&s.labels));
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q = run_request(GL_PUT, &body, "/groups/%lld/boards/%lld", (long long)r->grp->target_id,
                                       (long long)r->op.target_id);
    return step_send_repeatable(r, SCOPE, q, out_req, out, err);
}

static bool object_has_id(yyjson_val *obj, const char *key, int64_t want)
{
    int64_t id;
    return gs_json_i64(step_get(obj, key), "id", &id) && id == want;
}

/* Does the answer (REST: array of objects with numbers, GraphQL: with global ids) show exactly these labels? */
static bool labels_fit(const struct scope *s, yyjson_val *labels)
{
    if (yyjson_arr_size(labels) != s->n_labels)
        return false;
    for (unsigned k = 0; k < s->n_labels; k++) {
        int64_t want, id;
        bool there = false;
        size_t i, max;
        yyjson_val *it;
        memcpy(&want, s->ids.data + k * sizeof(want), sizeof(want));
        yyjson_arr_foreach(labels, i, max, it)
        {
            if (!gs_json_i64(it, "id", &id))
                id = gs_json_str(it, "id") ? gl_gid(gs_json_str(it, "id")) : -1;
            there = there || id == want;
        }
        if (!there)
            return false;
    }
    return true;
}

/*
 * REST takes labels by title only, and where a group above has the same title the server may take that one: then the
 * ids are said by GraphQL.
 */
static int exact_labels(struct run *r, const struct scope *s, struct gl_request **out_req, enum step_result *out,
                        struct gs_err *err)
{
    gs_autobuf vars;
    gs_buf_init(&vars, 1 << 20);
    struct gs_jw w;
    char gid[64];
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "input");
    gs_jw_obj(&w);
    snprintf(gid, sizeof(gid), "gid://gitlab/Board/%lld", (long long)r->op.target_id);
    gs_jw_kstr(&w, "id", gid);
    gs_jw_key(&w, "labelIds");
    gs_jw_arr(&w);
    for (unsigned k = 0; k < s->n_labels; k++) {
        int64_t id;
        memcpy(&id, s->ids.data + k * sizeof(id), sizeof(id));
        snprintf(gid, sizeof(gid), "gid://gitlab/GroupLabel/%lld", (long long)id);
        gs_jw_str(&w, gid);
    }
    gs_jw_end(&w);
    gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q = gl_graphql_request(gl_document("board_update"), gs_buf_str(&vars), false);
    return step_send_repeatable(r, LABELS, q, out_req, out, err);
}

/* What did not take, of what was sent. */
static int check_scope(struct run *r, yyjson_val *there, struct gl_request **out_req, enum step_result *out,
                       struct gs_err *err)
{
    struct scope s __attribute__((cleanup(scope_release))) = {0};
    scope_init(&s);
    gs_autobuf lost;
    gs_buf_init(&lost, 4096);
    int64_t weight = -1;
    if (scope_read(r, &s, err))
        return -1;
    yyjson_val *labels = step_get(there, "labels");
    if (gs_json_true(there, "hide_backlog_list") != s.hide_backlog && step_name(&lost, "hide_backlog_list", err))
        return -1;
    if (gs_json_true(there, "hide_closed_list") != s.hide_closed && step_name(&lost, "hide_closed_list", err))
        return -1;
    if (s.has_milestone && !object_has_id(there, "milestone", s.milestone) && step_name(&lost, "milestone", err))
        return -1;
    if (s.assignee && !object_has_id(there, "assignee", s.assignee) && step_name(&lost, "assignee", err))
        return -1;
    if (s.has_weight && !(gs_json_i64(there, "weight", &weight) && weight == s.weight) &&
        step_name(&lost, "weight", err))
        return -1;
    if (s.n_labels && !labels && step_name(&lost, "labels", err))
        return -1;
    if (lost.len && run_loss(r, "board-scope-not-applied", gs_buf_str(&lost), err))
        return -1;
    return s.n_labels && labels && !labels_fit(&s, labels) ? exact_labels(r, &s, out_req, out, err)
                                                           : scope_iteration(r, out_req, out, err);
}

static int check_labels(struct run *r, const struct gl_response *rsp, bool refused, struct gs_err *err)
{
    struct scope s __attribute__((cleanup(scope_release))) = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    struct gs_err why = {0};
    scope_init(&s);
    r->op.print = 0; /* the answer shows the board in another form */
    if (refused || gl_graphql_answer(rsp, &doc, &data, &unknown, &why))
        return run_loss(r, "board-scope-label", refused ? rsp->err.text : why.text, err);
    yyjson_val *board = step_get(step_get(data, "updateBoard"), "board");
    if (scope_read(r, &s, err))
        return -1;
    return labels_fit(&s, step_get(step_get(board, "labels"), "nodes"))
               ? 0
               : run_loss(r, "board-scope-label", "the server took others", err);
}

/* ---- the board itself ---- */

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
        int64_t id = 0;
        bool taken = false;
        const char *name = gs_json_str(it, "name");
        if (!gs_json_i64(it, "id", &id) || !name)
            continue;
        n->flags |= SEEN_ANY;
        if (id > n->max_id)
            n->max_id = id;
        bool same = strcmp(name, board_name(r)) == 0;
        bool spare = r->op.pos == 1 && !r->grp->existed && strcmp(name, "Development") == 0;
        if ((n->id && !(n->flags & REUSE)) || !(same || (spare && !n->id)))
            continue;
        if (state_target_taken(r->state, &r->op, id, &taken, err))
            return -1;
        if (taken)
            continue;
        n->id = id;
        n->flags = same ? n->flags & ~REUSE : n->flags | REUSE;
    }
    if (step_next_page(n, rsp))
        return list(r, out_req, out, err);
    n->page = 0;
    if (r->lane->watermark < 0) {
        r->lane->watermark = n->max_id;
        if (state_lane_watermark(r->state, r->lane->id, n->max_id, err))
            return -1;
    }
    if (n->id) {
        step_seen(r);
        r->op.target_id = n->id;
        r->op.found = (r->unsure || r->maybe) && (n->id > r->lane->watermark || !r->grp->existed) && !(n->flags & REUSE);
        r->op.adopted = r->grp->existed && !r->op.found;
        if (n->flags & REUSE)
            n->flags |= SEND_NAME;
        return finish(r, out_req, out, err);
    }
    bool proven = true;
    if ((r->unsure || r->maybe) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    if (n->flags & ONE_ONLY)
        return n->flags & SEEN_ANY ? step_lost(r, "boards-not-available", NULL, out, err)
                                   : create(r, true, out_req, out, err);
    return create(r, false, out_req, out, err);
}

static int created(struct run *r, yyjson_val *board, struct gl_request **out_req, enum step_result *out,
                   struct gs_err *err)
{
    const char *got = gs_json_str(board, "name");
    if (!step_same_text(got, board_name(r)))
        step_notes(r)->flags |= SEND_NAME;
    return finish(r, out_req, out, err);
}

static int board(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == GRAPHQL || r->phase == SCOPE || r->phase == LABELS || r->phase == ITERATION, &a,
                   err))
        return -1;
    if (a == ANS_LOST) {
        if ((r->phase == SCOPE || r->phase == LABELS || r->phase == ITERATION) && r->op.target_id)
            return finish(r, out_req, out, err); /* says what is to be, so it may be said again */
        return list(r, out_req, out, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    switch (r->phase) {
    case START:
        /* a group of our own making shows a board of its own at most before the first of ours */
        return r->unsure || r->maybe || r->grp->existed || r->op.pos == 1 ? list(r, out_req, out, err)
                                                              : create(r, false, out_req, out, err);
    case LIST_AGAIN:
        return list(r, out_req, out, err);
    case LIST:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "looking for the board");
        return listed(r, rsp, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED) {
            if (rsp->status != 403 && rsp->status != 404)
                return step_refused(rsp, err, "creating the board");
            n->flags |= ONE_ONLY;
            return list(r, out_req, out, err);
        }
        if (step_doc(rsp, &doc, err) || step_take_id(r, yyjson_doc_get_root(doc), err))
            return -1;
        return created(r, yyjson_doc_get_root(doc), out_req, out, err);
    case GRAPHQL: {
        yyjson_val *data = NULL;
        bool unknown = false;
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "creating the board by GraphQL");
        struct gs_err why = {0};
        if (gl_graphql_answer(rsp, &doc, &data, &unknown, &why))
            return step_lost(r, "boards-not-available", why.text, out, err);
        yyjson_val *board = step_get(step_get(data, "createBoard"), "board");
        int64_t id = gl_gid(gs_json_str(board, "id") ? gs_json_str(board, "id") : "");
        if (id <= 0)
            return step_fail(err, GS_E_REMOTE, "the server's answer has no board");
        r->op.target_id = id;
        return created(r, board, out_req, out, err);
    }
    case SCOPE:
        if (a == ANS_REFUSED) {
            if (n->flags & SEND_NAME)
                return step_refused(rsp, err, "naming the board");
            return run_loss(r, "board-scope-not-applied", rsp->err.text, err) || scope_iteration(r, out_req, out, err) ? -1 : 0;
        }
        return step_doc(rsp, &doc, err) ? -1 : check_scope(r, yyjson_doc_get_root(doc), out_req, out, err);
    case LABELS:
        return check_labels(r, rsp, a == ANS_REFUSED, err) || scope_iteration(r, out_req, out, err) ? -1 : 0;
    case ITERATION:
        *out = STEP_DONE;
        return a == ANS_REFUSED ? run_loss(r, "board-scope-iteration", rsp->err.text, err) : check_iteration(r, rsp, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "board in phase %d", r->phase);
    }
}

static const char *const seen[] = {"name", "hide_backlog_list", "hide_closed_list", "milestone.id", "assignee.id", "weight", "labels[].id", NULL};

/* Lists and scope come after a board is made, and go to the one that this load knows of. */
static bool bare(yyjson_val *b)
{
    return !yyjson_arr_size(step_get(b, "lists")) && !yyjson_arr_size(step_get(b, "labels")) && !step_get(b, "milestone") &&
           !step_get(b, "assignee");
}

static const char *const name_only[] = {"name", NULL};
static const struct twins twins = {.at = "boards", .equal = name_only, .bare = bare};

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    if (r->phase >= TWINS_PHASE)
        return twins_step(r, &twins, rsp, out_req, out, err);
    return board(r, rsp, out_req, out, err) ? -1 : twins_look(r, &twins, out_req, out, err);
}

const struct kind kind_boards = {.name = "boards", .relation = "boards", .ordered = true, .step = step, .seen = seen, .at = "boards"};

/* ---- planning ---- */

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t lane;
    int64_t board_op, list_lane;
    int64_t boards; /* so far */
    bool left_out;  /* the board whose lists follow is not planned */
};

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    struct op op;
    bool is_list = strcmp(e->kind, "lists") == 0;
    if (!is_list) {
        x->left_out = x->boards++ > 0 && plan_features(x->p)->multiple_boards == 0;
        if (x->left_out)
            return plan_loss(x->p, x->g->id, "boards", e->key, "boards-not-available", 1, NULL, err);
    } else if (x->left_out) {
        return plan_loss(x->p, x->g->id, "lists", e->key, "list-without-board", 1, NULL, err);
    }
    if (is_list && x->list_lane == 0) {
        char name[48];
        snprintf(name, sizeof(name), "lists of %lld", (long long)x->board_op);
        if (plan_lane(x->p, x->g->id, REL_PHASE_BOARDS, name, true, &x->list_lane, err))
            return -1;
    }
    if (pending_op(e, x->g->id, is_list ? x->list_lane : x->lane, &op, err))
        return -1;
    op.needs = is_list ? x->board_op : 0;
    if (!is_list)
        x->list_lane = 0;
    return pending_plan(x->p, &op, is_list ? NULL : &x->board_op, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records)
        return 0;
    struct emit x = {.p = p, .g = g};
    if (plan_lane(p, g->id, REL_PHASE_BOARDS, "boards", true, &x.lane, err) || pending_each(p, emit, &x, err))
        return -1;
    plan_requests(p, 1); /* the look for twins */
    return plan_loss(p, g->id, "boards", NULL, "board-times", records, NULL, err);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    const char *name = gs_json_str(rec, "name");
    struct pending e = {.kind = "boards", .key = name && *name ? name : "Development", .ref = ref, .minor = -1};
    int64_t it_id = 0, filter = 1;
    gs_json_i64(rec, "milestone_id", &filter);
    gs_json_i64(rec, "id", &e.src_id);
    /* in order of creation; without ids in that of the bundle */
    e.major = e.src_id ? e.src_id : (int64_t)((uint64_t)ref->member << 40) + (int64_t)ref->off;
    if (pending_add(p, &e, err))
        return -1;
    bool scoped = gs_json_i64(rec, "iteration_id", &it_id) && it_id, current = scoped && it_id < 0;
    scoped = (gs_json_i64(rec, "iteration_cadence_id", &it_id) && it_id) || scoped;
    if (scoped && (current || plan_features(p)->iterations == 0)) {
        if (plan_loss(p, g->id, "boards", e.key, "board-scope-iteration", 1, current ? "an iteration by its state" : NULL, err))
            return -1;
    } else if (scoped) {
        plan_requests(p, 1);
    }
    if (gs_json_true(rec, "hide_backlog_list") || gs_json_true(rec, "hide_closed_list") || step_get(rec, "milestone") ||
        filter <= 0 || step_get(rec, "weight") || step_get(rec, "board_assignee") || yyjson_arr_size(step_get(rec, "labels")))
        plan_requests(p, 1);
    size_t i, max;
    yyjson_val *it, *labels = step_get(rec, "labels"), *lists = step_get(rec, "lists");
    if (yyjson_is_arr(labels)) {
        yyjson_arr_foreach(labels, i, max, it)
        {
            if (labels_plan_implicit(p, g, it, err))
                return -1;
        }
    }
    if (yyjson_is_arr(lists)) {
        yyjson_arr_foreach(lists, i, max, it)
        {
            if (lists_plan(p, g, &e, it, err))
                return -1;
        }
    }
    return 0;
}

const struct relation_loader loader_boards = {
    .relation = "boards", .plan_group = plan_group, .plan_record = plan_record};
