/*
 * Epic boards and their lists, over GraphQL: REST only reads them. Names of boards are not unique: one that the target shows is taken for
 * a record when it has the name and no other record has taken it. The order of epics on them: epic_places.c.
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/twins.h"
#include "libgitlab/graphql.h"

#include <stdio.h>
#include <string.h>

#define BOARD "Boards::EpicBoard"

/* ---- requests and answers ---- */

void gid_put(struct gs_jw *w, const char *key, const char *type, int64_t id)
{
    char gid[96];
    snprintf(gid, sizeof(gid), "gid://gitlab/%s/%lld", type, (long long)id);
    if (key)
        gs_jw_kstr(w, key, gid);
    else
        gs_jw_str(w, gid);
}

int64_t gid_of(yyjson_val *obj)
{
    const char *gid = gs_json_str(obj, "id");
    int64_t id = gid ? gl_gid(gid) : 0;
    return id > 0 ? id : 0;
}

/* Asks for the boards of the group, from a cursor in r->buf on. NULL: no memory. */
static struct gl_request *ask(struct run *r, struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, 1 << 16);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", r->grp->dst_path);
    gs_jw_kstr(&w, "after", r->buf.len ? gs_buf_str(&r->buf) : NULL);
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? NULL : gl_graphql_request(gl_document("epic_boards"), gs_buf_str(&vars), true);
}

int epic_boards_list(struct run *r, int phase, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct gl_request *q = ask(r, err);
    return !q && err->code ? -1 : step_send(r, phase, q, out_req, out, err);
}

int epic_boards_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_nodes,
                     bool *out_more, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    if (gl_graphql_answer(rsp, &doc, &data, &unknown, err))
        return -1;
    yyjson_val *boards = step_get(step_get(data, "group"), "epicBoards"), *page = step_get(boards, "pageInfo");
    const char *cursor = gs_json_str(page, "endCursor");
    *out_more = gs_json_true(page, "hasNextPage") && cursor && strcmp(cursor, gs_buf_str(&r->buf)) != 0;
    gs_buf_reset(&r->buf);
    if (*out_more && gs_buf_addstr(&r->buf, cursor, err))
        return -1;
    *out_nodes = step_get(boards, "nodes");
    *out_doc = gs_steal(&doc);
    return 0;
}

struct gl_request *epic_boards_mutation(const char *document, void (*put)(struct gs_jw *w, void *cookie), void *cookie,
                                        struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, 1 << 20);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "input");
    gs_jw_obj(&w);
    put(&w, cookie);
    gs_jw_end(&w);
    gs_jw_end(&w);
    const char *text = gl_document(document);
    return gs_jw_finish(&w) || !text ? NULL : gl_graphql_request(text, gs_buf_str(&vars), false);
}

int epic_boards_answer(const struct gl_response *rsp, const char *field, const char *object, yyjson_doc **out_doc,
                       yyjson_val **out, struct gs_err *err)
{
    yyjson_val *data = NULL;
    bool unknown = false;
    if (gl_graphql_answer(rsp, out_doc, &data, &unknown, err))
        return -1;
    *out = step_get(step_get(data, field), object);
    return *out ? 0 : step_fail(err, GS_E_REMOTE, "the server's answer has no %s", object);
}

int epic_board_of(struct run *r, int64_t *out_id, bool *out_adopted, struct gs_err *err)
{
    struct op board = {0};
    if (state_op(r->state, r->op.needs, &board, err))
        return -1;
    *out_id = board.target_id;
    *out_adopted = board.adopted;
    op_release(&board);
    return 0;
}

/* ---- the board ---- */

enum { START, LIST, LIST_AGAIN, CREATE };

static const char *board_name(const struct run *r)
{
    const char *name = gs_json_str(r->rec, "name");
    return name && *name ? name : "Development";
}

static int64_t home_of(yyjson_val *label)
{
    int64_t id = 0;
    gs_json_i64(label, "group_id", &id);
    return id;
}

struct new_board {
    struct run *r;
    struct gs_buf labels; /* target ids */
};

/* Hidden lists show no order: hiding comes when the epics stand where they should. */
static void put_board(struct gs_jw *w, void *cookie)
{
    const struct new_board *b = cookie;
    struct run *r = b->r;
    yyjson_val *colors = step_get(r->rec, "display_colors");
    gs_jw_kstr(w, "groupPath", r->grp->dst_path);
    gs_jw_kstr(w, "name", board_name(r));
    if (colors && gl_instance_at_least(r->target, 15, 1))
        gs_jw_kbool(w, "displayColors", yyjson_is_true(colors));
    if (b->labels.len == 0)
        return;
    gs_jw_key(w, "labelIds");
    gs_jw_arr(w);
    for (size_t i = 0; i < b->labels.len; i += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, b->labels.data + i, sizeof(id));
        gid_put(w, NULL, "GroupLabel", id);
    }
    gs_jw_end(w);
}

static int labels_of(struct run *r, struct gs_buf *out, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(r->rec, "labels"), i, max, it)
    {
        const char *title = gs_json_str(it, "title");
        int64_t id = 0;
        if (!title)
            continue;
        if (step_ref(r, "labels", home_of(it), title, &id, err) || (!id && run_loss(r, "epic-board-label", title, err)) ||
            (id && gs_buf_add(out, &id, sizeof(id), err)))
            return -1;
    }
    return 0;
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf labels;
    gs_buf_init(&labels, 1 << 20);
    if (labels_of(r, &labels, err))
        return -1;
    struct new_board b = {r, labels};
    return step_send(r, CREATE, epic_boards_mutation("epic_board_create", put_board, &b, err), out_req, out, err);
}

static int listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *boards = NULL, *it;
    bool more, first = r->buf.len == 0;
    size_t i, max;
    if (first)
        n->id = n->max_id = 0;
    if (epic_boards_page(r, rsp, &doc, &boards, &more, err))
        return err->code == GS_E_GRAPHQL ? step_lost(r, "epic-boards-not-available", err->text, out, &(struct gs_err){0}) : -1;
    yyjson_arr_foreach(boards, i, max, it)
    {
        int64_t id = gid_of(it);
        bool taken = true;
        if (id > n->max_id)
            n->max_id = id;
        if (n->id || !id || !step_same_text(gs_json_str(it, "name"), board_name(r)))
            continue;
        if (state_target_taken(r->state, &r->op, id, &taken, err))
            return -1;
        if (!taken)
            n->id = id;
    }
    if (more)
        return epic_boards_list(r, LIST, out_req, out, err);
    if (r->lane->watermark < 0) {
        r->lane->watermark = n->max_id;
        if (state_lane_watermark(r->state, r->lane->id, n->max_id, err))
            return -1;
    }
    if (n->id) {
        step_seen(r);
        r->op.target_id = n->id;
        r->op.found = n->id > r->lane->watermark || !r->grp->existed;
        r->op.adopted = !r->op.found;
        *out = STEP_DONE;
        return 0;
    }
    bool proven = true;
    if ((r->unsure || r->maybe) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, out_req, out, err) : 0;
}

static int created(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *board = NULL;
    struct gs_err why = {0};
    if (epic_boards_answer(rsp, "epicBoardCreate", "epicBoard", &doc, &board, &why)) {
        if (why.code == GS_E_GRAPHQL && why.scope == GS_SCOPE_ITEM) /* no licence, or epics are gone from GraphQL */
            return step_lost(r, "epic-boards-not-available", why.text, out, err);
        *err = why;
        return -1;
    }
    r->op.target_id = gid_of(board);
    *out = STEP_DONE;
    return r->op.target_id ? 0 : step_fail(err, GS_E_REMOTE, "the server's answer has no id");
}

static int board(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    enum step_answer a;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == CREATE, &a, err))
        return -1;
    if (a == ANS_LOST) {
        gs_buf_reset(&r->buf);
        return epic_boards_list(r, LIST, out_req, out, err);
    }
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, r->phase == CREATE ? "creating the epic board" : "looking for the epic board");
    switch (r->phase) {
    case START:
        return r->unsure || r->maybe || r->grp->existed ? epic_boards_list(r, LIST, out_req, out, err)
                                                        : create(r, out_req, out, err);
    case LIST_AGAIN:
        return epic_boards_list(r, LIST, out_req, out, err);
    case LIST:
        return listed(r, rsp, out_req, out, err);
    case CREATE:
        return created(r, rsp, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "epic board in phase %d", r->phase);
    }
}

/* ---- boards that were made twice ---- */

static void put_board_id(struct gs_jw *w, void *cookie)
{
    gid_put(w, "id", BOARD, *(int64_t *)cookie);
}

static struct gl_request *remove_board(struct run *r, int64_t id, struct gs_err *err)
{
    return epic_boards_mutation("epic_board_destroy", put_board_id, &id, err);
}

/* Lists come after a board is made, and go to the one that this load knows of. */
static bool bare(yyjson_val *there)
{
    size_t i, max;
    yyjson_val *l;
    yyjson_arr_foreach(step_get(step_get(there, "lists"), "nodes"), i, max, l)
    {
        if (step_get(l, "label"))
            return false;
    }
    return true;
}

static const char *const equal[] = {"name", NULL};
static const struct twins twins = {.equal = equal, .bare = bare, .list = ask, .page = epic_boards_page, .remove = remove_board};

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    if (r->phase >= TWINS_PHASE)
        return twins_step(r, &twins, rsp, out_req, out, err);
    return board(r, rsp, out_req, out, err) ? -1 : twins_look(r, &twins, out_req, out, err);
}

const struct kind kind_epic_boards = {.name = "epic_boards", .relation = "epic_boards", .ordered = true, .step = step};

/* ---- its lists, in order: the server appends ---- */

struct new_list {
    int64_t board, label;
};

static void put_list(struct gs_jw *w, void *cookie)
{
    const struct new_list *l = cookie;
    gid_put(w, "boardId", BOARD, l->board);
    gid_put(w, "labelId", "GroupLabel", l->label);
}

/* Is the list for this label on the board there? */
static int list_found(struct run *r, const struct new_list *want, const struct gl_response *rsp, bool *out_more,
                      struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *boards = NULL, *b, *l;
    size_t i, k, max, max_k;
    if (epic_boards_page(r, rsp, &doc, &boards, out_more, err))
        return -1;
    yyjson_arr_foreach(boards, i, max, b)
    {
        yyjson_val *lists = step_get(step_get(b, "lists"), "nodes");
        if (gid_of(b) != want->board)
            continue;
        yyjson_arr_foreach(lists, k, max_k, l)
        {
            if (step_get(l, "label") && gid_of(step_get(l, "label")) == want->label)
                r->op.target_id = gid_of(l);
        }
    }
    return 0;
}

static int list_create(struct run *r, struct new_list *want, struct gl_request **out_req, enum step_result *out,
                       struct gs_err *err)
{
    return step_send(r, CREATE, epic_boards_mutation("epic_board_list_create", put_list, want, err), out_req, out, err);
}

static int list_created(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                        struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *list = NULL;
    struct step_notes *n = step_notes(r);
    if (epic_boards_answer(rsp, "epicBoardListCreate", "list", &doc, &list, err)) {
        if (!strstr(err->text, "already been taken") || n->why)
            return -1;
        n->why = 1;
        step_hidden(r);
        gs_err_clear(err);
        return epic_boards_list(r, LIST, out_req, out, err);
    }
    r->op.target_id = gid_of(list);
    *out = STEP_DONE;
    return r->op.target_id ? 0 : step_fail(err, GS_E_REMOTE, "the server's answer has no id");
}

static int list_listed(struct run *r, struct new_list *want, const struct gl_response *rsp, struct gl_request **out_req,
                       enum step_result *out, struct gs_err *err)
{
    bool more, proven = true;
    if (list_found(r, want, rsp, &more, err))
        return -1;
    if (r->op.target_id) {
        step_seen(r);
        r->op.found = true;
        *out = STEP_DONE;
        return 0;
    }
    if (more)
        return epic_boards_list(r, LIST, out_req, out, err);
    if ((r->unsure || step_notes(r)->why) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? list_create(r, want, out_req, out, err) : 0;
}

static int list_step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                     struct gs_err *err)
{
    enum step_answer a;
    struct new_list want = {0};
    bool adopted;
    const char *title = gs_json_str(r->rec, "title");
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == CREATE, &a, err) || epic_board_of(r, &want.board, &adopted, err) ||
        step_ref(r, "labels", home_of(r->rec), title ? title : "", &want.label, err))
        return -1;
    if (!want.label)
        return step_lost(r, "epic-list-reference-missing", title, out, err);
    if (a == ANS_LOST || r->phase == LIST_AGAIN) {
        gs_buf_reset(&r->buf);
        return epic_boards_list(r, LIST, out_req, out, err);
    }
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, r->phase == CREATE ? "creating the list" : "looking for the list");
    if (r->phase == LIST)
        return list_listed(r, &want, rsp, out_req, out, err);
    if (r->phase == CREATE)
        return list_created(r, rsp, out_req, out, err);
    return r->unsure || r->maybe || r->grp->existed ? epic_boards_list(r, LIST, out_req, out, err)
                                                    : list_create(r, &want, out_req, out, err);
}

const struct kind kind_epic_lists = {.name = "epic_lists", .relation = "epic_lists", .ordered = true, .step = list_step};

/* ---- planning ---- */

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t lane, board, places;
};

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    struct op op;
    int64_t lane = x->lane;
    if (strcmp(e->kind, "epic_boards.order") == 0) {
        if (plan_lane(x->p, x->g->id, REL_PHASE_EPIC_PLACES, "order on epic boards", false, &lane, err))
            return -1;
    } else if (strcmp(e->kind, "epic_lists") == 0) {
        char name[48];
        snprintf(name, sizeof(name), "lists of %lld", (long long)x->board);
        if (plan_lane(x->p, x->g->id, REL_PHASE_EPIC_BOARDS, name, true, &lane, err))
            return -1;
    }
    if (pending_op(e, x->g->id, lane, &op, err))
        return -1;
    op.needs = e->minor < 0 ? 0 : x->board;
    return pending_plan(x->p, &op, e->minor < 0 ? &x->board : NULL, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records)
        return 0;
    if (plan_features(p)->epics == 0 || plan_epics_items(p))
        return plan_loss(p, g->id, "epic_boards", NULL, "epic-boards-not-available", records, NULL, err);
    struct emit x = {.p = p, .g = g};
    plan_requests(p, !g->existed); /* the look for twins */
    return plan_lane(p, g->id, REL_PHASE_EPIC_BOARDS, "epic boards", true, &x.lane, err) || pending_each(p, emit, &x, err) ||
                   plan_loss(p, g->id, "epic_boards", NULL, "epic-board-times", records, NULL, err)
               ? -1
               : 0;
}

static int plan_list(struct plan *p, const struct grp *g, const struct pending *board, yyjson_val *l, int64_t place,
                     struct gs_err *err)
{
    yyjson_val *label = step_get(l, "label");
    const char *title = gs_json_str(label, "title");
    int64_t position = place;
    if (!title)
        return 0; /* Open and Closed: every board has them by itself */
    gs_autofree char *key = gs_asprintf("%s / label %s", board->key, title);
    gs_autobuf arg;
    gs_buf_init(&arg, 1 << 16);
    struct gs_jw w;
    gs_jw_init(&w, &arg, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "title", title);
    gs_jw_ki64(&w, "group_id", home_of(label));
    gs_jw_end(&w);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (gs_jw_finish(&w) || labels_plan_implicit(p, g, label, err))
        return -1;
    gs_json_i64(l, "position", &position);
    struct pending e = {.kind = "epic_lists", .key = key, .arg = gs_buf_str(&arg), .major = board->major,
                        .minor = position < 0 ? 0 : position};
    gs_json_i64(l, "id", &e.src_id);
    return pending_add(p, &e, err);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    const char *name = gs_json_str(rec, "name");
    struct pending e = {.kind = "epic_boards", .key = name && *name ? name : "Development", .ref = ref, .minor = -1};
    size_t i, max, epics = 0, known = 0;
    yyjson_val *it;
    if (plan_features(p)->epics == 0 || plan_epics_items(p))
        return 0;
    gs_json_i64(rec, "id", &e.src_id);
    /* in order of creation; without ids in that of the bundle */
    e.major = e.src_id ? e.src_id : (int64_t)((uint64_t)ref->member << 40) + (int64_t)ref->off;
    if (pending_add(p, &e, err))
        return -1;
    yyjson_arr_foreach(step_get(rec, "labels"), i, max, it)
    {
        if (labels_plan_implicit(p, g, it, err))
            return -1;
    }
    yyjson_arr_foreach(step_get(rec, "epic_lists"), i, max, it)
    {
        known += step_get(it, "epics") != NULL;
        epics += yyjson_arr_size(step_get(it, "epics"));
        if (plan_list(p, g, &e, it, (int64_t)i, err))
            return -1;
    }
    plan_requests(p, epics);
    struct pending order = {.kind = "epic_boards.order", .key = e.key, .major = e.major, .minor = INT64_MAX, .ref = ref};
    return pending_add(p, &order, err) || (!known && plan_loss(p, g->id, "epic_boards", e.key, "epic-board-order", 1, NULL, err)) ? -1
                                                                                                                                  : 0;
}

const struct relation_loader loader_epic_boards = {
    .relation = "epic_boards", .plan_group = plan_group, .plan_record = plan_record};
