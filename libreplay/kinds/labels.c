/*
 * Group labels. REST refuses a title that any group above has (409), although the group itself has none: then GraphQL,
 * which has no such rule. A label is never addressed by its title, since one called "42" could be taken for an id.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/step.h"
#include "libreplay/kinds/pending.h"
#include "libgitlab/graphql.h"

#include <string.h>

enum { START, LOOK, LOOK_AGAIN, CREATE, GRAPHQL, ARCHIVE };
enum { WHY_LOST, WHY_MERGE, WHY_TAKEN, WHY_TAKEN_TWICE }; /* what a look-up is for */
enum { BY_GRAPHQL = 1, UNFILTERED = 2, SEEN_ABSENT = 4 };

#define DEFAULT_COLOR "#6699cc"

static int look(struct run *r, int why, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    n->why = why;
    if (n->page == 0)
        n->page = 1;
    const char *title = gs_json_str(r->rec, "title");
    gs_autofree char *stripped = step_strip(title);
    gs_autofree char *enc = stripped ? gl_encode(stripped) : NULL;
    if (!enc)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    bool all = n->flags & UNFILTERED;
    return step_send(
        r, LOOK,
        run_request(
            GL_GET, NULL,
            "/groups/%lld/labels?include_ancestor_groups=false&only_group_labels=true&per_page=100&page=%lld%s%s",
            (long long)r->grp->target_id, (long long)n->page, all ? "" : "&search=", all ? "" : enc),
        out_req, out, err);
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    bool graphql = n->flags & BY_GRAPHQL;
    const char *color = gs_json_str(r->rec, "color");
    gs_autobuf body;
    gs_buf_init(&body, (size_t)64 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    if (graphql) {
        gs_jw_key(&w, "input");
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "groupPath", r->grp->dst_path);
    }
    gs_jw_kstr(&w, graphql ? "title" : "name", gs_json_str(r->rec, "title"));
    gs_jw_kstr(&w, "color", color && *color ? color : DEFAULT_COLOR);
    if (gs_json_str(r->rec, "description"))
        gs_jw_kstr(&w, "description", gs_json_str(r->rec, "description"));
    if (graphql)
        gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    if (graphql)
        return step_send(r, GRAPHQL, gl_graphql_request(gl_document("label_create"), gs_buf_str(&body), false), out_req,
                         out, err);
    return step_send(r, CREATE, run_request(GL_POST, &body, "/groups/%lld/labels", (long long)r->grp->target_id),
                     out_req, out, err);
}

/* The label is there with its id in the op: what is left to do for one that is ours. */
static int finish(struct run *r, bool archived, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (!gs_json_true(r->rec, "archived") || archived || r->op.adopted || !gl_instance_at_least(r->target, 18, 10)) {
        *out = STEP_DONE;
        return 0;
    }
    gs_autobuf body;
    gs_buf_init(&body, 64);
    if (gs_buf_addstr(&body, "{\"archived\":true}", err))
        return -1;
    struct gl_request *q = run_request(GL_PUT, &body, "/groups/%lld/labels/%lld", (long long)r->grp->target_id,
                                       (long long)r->op.target_id);
    return step_send_repeatable(r, ARCHIVE, q, out_req, out, err);
}

static int differences(struct run *r, yyjson_val *there, struct gs_err *err)
{
    gs_autobuf list;
    gs_buf_init(&list, 4096);
    if (!step_same_color(gs_json_str(r->rec, "color"), gs_json_str(there, "color")) && step_name(&list, "color", err))
        return -1;
    if (!step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description")) &&
        step_name(&list, "description", err))
        return -1;
    return list.len ? run_loss(r, "exists-differs", gs_buf_str(&list), err) : 0;
}

static bool same_values(struct run *r, yyjson_val *there)
{
    return step_same_color(gs_json_str(r->rec, "color"), gs_json_str(there, "color")) &&
           step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description"));
}

static int looked(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    gs_autofree char *title = step_strip(gs_json_str(r->rec, "title"));
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        const char *name = gs_json_str(it, "name");
        if (!name || strcmp(name, title) != 0)
            continue;
        bool ours;
        if (step_take_id(r, it, err) || step_whose(r, it, same_values(r, it), &ours, err))
            return -1;
        /* labels do not say when they were made: one that was not there before this run's own write is ours */
        r->op.found = ours || (r->unsure && n->flags & SEEN_ABSENT);
        r->op.adopted = !r->op.found;
        return differences(r, it, err) || finish(r, gs_json_true(it, "archived"), out_req, out, err) ? -1 : 0;
    }
    if (step_next_page(n, rsp))
        return look(r, n->why, out_req, out, err);
    bool proven = true;
    if ((n->why == WHY_LOST || n->why == WHY_TAKEN_TWICE) && step_absent(r, LOOK_AGAIN, &proven, out, err))
        return -1;
    n->page = 0;
    if (!proven)
        return 0;
    if (n->why == WHY_TAKEN_TWICE)
        return step_fail(err, GS_E_REFUSED, "the server says that the label exists, and does not show it in the group");
    if (n->why == WHY_TAKEN)
        n->flags |= BY_GRAPHQL;
    else
        n->flags |= SEEN_ABSENT;
    return create(r, out_req, out, err);
}

static int created(struct run *r, yyjson_val *label, const char *name_key, struct gl_request **out_req,
                   enum step_result *out, struct gs_err *err)
{
    gs_autofree char *title = step_strip(gs_json_str(r->rec, "title"));
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    const char *got = gs_json_str(label, name_key);
    if (!got)
        return step_fail(err, GS_E_REMOTE, "the server's answer has no title");
    if (strcmp(got, title) != 0 && step_loss(r, err, "label-changed", "title: sent '%s', got '%s'", title, got))
        return -1;
    if (!step_same_color(gs_json_str(r->rec, "color"), gs_json_str(label, "color")) &&
        step_loss(r, err, "label-changed", "color: sent '%s', got '%s'", gs_json_str(r->rec, "color"),
                  gs_json_str(label, "color")))
        return -1;
    return finish(r, gs_json_true(label, "archived"), out_req, out, err);
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(r->rec, "title"))
        return step_fail(err, GS_E_RECORD, "the label has no title");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == GRAPHQL || r->phase == ARCHIVE, &a, err))
        return -1;
    if (a == ANS_LOST)
        return look(r, WHY_LOST, out_req, out, err);
    GS_AUTO(yyjson_doc) doc = NULL;
    switch (r->phase) {
    case START:
        if (r->unsure)
            return look(r, WHY_LOST, out_req, out, err);
        /* POST tells an own duplicate from a new label, but only where nothing above has the title: look first when
         * merging */
        return r->grp->existed ? look(r, WHY_MERGE, out_req, out, err) : create(r, out_req, out, err);
    case LOOK_AGAIN:
        return look(r, n->why, out_req, out, err);
    case LOOK:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "looking for the label");
        return looked(r, rsp, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED) {
            if (gl_error_duplicate(rsp->status, gs_buf_str(&rsp->body), rsp->body.len) == GL_DUP_YES)
                return look(r, WHY_TAKEN, out_req, out, err);
            return step_refused(rsp, err, "creating the label");
        }
        if (step_doc(rsp, &doc, err) || step_take_id(r, yyjson_doc_get_root(doc), err))
            return -1;
        return created(r, yyjson_doc_get_root(doc), "name", out_req, out, err);
    case GRAPHQL: {
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "creating the label by GraphQL");
        yyjson_val *data = NULL;
        bool unknown = false;
        struct gs_err why = {0};
        if (gl_graphql_answer(rsp, &doc, &data, &unknown, &why)) {
            if (strstr(why.text, "already been taken") && !(n->flags & UNFILTERED)) {
                n->flags |= UNFILTERED;
                step_hidden(r);
                return look(r, WHY_TAKEN_TWICE, out_req, out, err);
            }
            *err = why;
            gs_wrap(err, "creating the label by GraphQL");
            return gs_scoped(err, GS_SCOPE_ITEM);
        }
        yyjson_val *label = step_get(step_get(data, "labelCreate"), "label");
        int64_t id = gl_gid(gs_json_str(label, "id") ? gs_json_str(label, "id") : "");
        if (id <= 0)
            return step_fail(err, GS_E_REMOTE, "the server's answer has no label");
        r->op.target_id = id;
        return created(r, label, "title", out_req, out, err);
    }
    case ARCHIVE:
        if (a == ANS_REFUSED && run_loss(r, "label-archived", rsp->err.text, err))
            return -1;
        *out = STEP_DONE;
        return 0;
    default:
        return gs_fail(err, GS_E_INTERNAL, "label in phase %d", r->phase);
    }
}

static const char *const seen[] = {"name", "color", "description", NULL};
static const char *const texts[] = {"description", NULL};
const struct kind kind_labels = {.name = "labels", .relation = "labels", .ordered = false, .step = step, .texts = texts, .seen = seen, .at = "labels"};

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first || !records)
        return 0;
    return plan_loss(p, g->id, "labels", NULL, "label-times", records, NULL, err);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    const char *title = NULL;
    if (gs_json_need_str(rec, "title", &title, err))
        return -1;
    int64_t lane, id = 0;
    if (plan_lane(p, g->id, REL_PHASE_LABELS, "labels", false, &lane, err))
        return -1;
    gs_json_i64(rec, "id", &id);
    struct op op;
    if (pending_new_op("labels", title, NULL, g->id, lane, ref, &op, err))
        return -1;
    op.src_id = id;
    if (pending_plan(p, &op, NULL, err))
        return -1;
    yyjson_val *pri = step_get(rec, "priorities");
    if (yyjson_is_arr(pri) && yyjson_arr_size(pri) &&
        plan_loss(p, g->id, "labels", title, "label-priorities", 1, NULL, err))
        return -1;
    if (gs_json_true(rec, "lock_on_merge") && plan_loss(p, g->id, "labels", title, "label-lock-on-merge", 1, NULL, err))
        return -1;
    if (gs_json_true(rec, "archived")) {
        plan_requests(p, 1);
        if (!gl_instance_at_least(plan_target(p), 18, 10) &&
            plan_loss(p, g->id, "labels", title, "label-archived", 1, NULL, err))
            return -1;
    }
    return 0;
}

const struct relation_loader loader_labels = {
    .relation = "labels", .plan_group = plan_group, .plan_record = plan_record};

int labels_plan_implicit(struct plan *p, const struct grp *g, yyjson_val *label, struct gs_err *err)
{
    const char *title = gs_json_str(label, "title");
    if (!title)
        return 0;
    int64_t of = 0;
    gs_json_i64(label, "group_id", &of);
    const struct grp *home = g;
    for (const struct grp *up = g; up; up = up->parent ? plan_grp(p, up->parent) : NULL) {
        struct op op = {0};
        bool found = false;
        if (state_find(plan_state(p), "labels", up->id, title, &op, &found, err))
            return -1;
        op_release(&op);
        if (found)
            return 0;
        if (up->id == of)
            home = up;
    }
    gs_autobuf arg;
    gs_buf_init(&arg, (size_t)8 << 20);
    if (gs_json_write(label, &arg, err))
        return -1;
    int64_t lane, id = 0;
    if (plan_lane(p, home->id, REL_PHASE_LABELS, "labels", false, &lane, err))
        return -1;
    gs_json_i64(label, "id", &id);
    struct op op;
    if (pending_new_op("labels", title, gs_buf_str(&arg), home->id, lane, NULL, &op, err))
        return -1;
    op.src_id = id;
    return pending_plan(p, &op, NULL, err);
}
