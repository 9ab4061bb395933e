/*
 * Iteration cadences. They have no uniqueness: a lost one is found by its title among those that no other op of this load has, and that
 * were not there before. All are made as ones that do not make iterations themselves; automation.c turns that on at the end.
 */
#include "libreplay/kinds/iterations.h"

#include "libgitlab/graphql.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/step.h"
#include "libreplay/kinds/twins.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE };

const char *const cadence_seen[] = {"title",  "description", "startDate",       "automatic",
                                    "active", "rollOver",    "durationInWeeks", "iterationsInAdvance", NULL};

/* ---- requests ---- */

void iterations_put_gid(struct gs_jw *w, const char *key, const char *kind, int64_t id)
{
    char gid[96];
    snprintf(gid, sizeof gid, "gid://gitlab/%s/%lld", kind, (long long)id);
    gs_jw_kstr(w, key, gid);
}

struct gl_request *iterations_mutation(struct run *r, const char *document, int (*fill)(struct run *r, struct gs_jw *w, struct gs_err *err),
                                       struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, (size_t)64 << 20);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "input");
    gs_jw_obj(&w);
    if (fill(r, &w, err))
        return NULL;
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? NULL : gl_graphql_request(gl_document(document), gs_buf_str(&vars), false);
}

struct gl_request *cadences_request(struct run *r, struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, 64 << 10);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", r->grp->dst_path);
    gs_jw_kstr(&w, "after", step_after(r));
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? NULL : gl_graphql_request(gl_document("group_cadences"), gs_buf_str(&vars), true);
}

static bool is_active(yyjson_val *rec)
{
    yyjson_val *v = step_get(rec, "active");
    return !v || yyjson_is_true(v);
}

static int fill_create(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    int64_t n = 0;
    const char *start = gs_json_str(r->rec, "start_date");
    gs_autofree char *title = step_strip(gs_json_str(r->rec, "title"));
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    gs_jw_kstr(w, "groupPath", r->grp->dst_path);
    gs_jw_kstr(w, "title", title);
    if (gs_json_str(r->rec, "description"))
        gs_jw_kstr(w, "description", gs_json_str(r->rec, "description"));
    gs_jw_kbool(w, "automatic", false);
    gs_jw_kbool(w, "active", is_active(r->rec));
    if (gs_json_true(r->rec, "automatic"))
        return 0; /* the rest belongs to the automation */
    gs_jw_kbool(w, "rollOver", gs_json_true(r->rec, "roll_over"));
    if (start)
        gs_jw_kstr(w, "startDate", start);
    if (gs_json_i64(r->rec, "duration_in_weeks", &n) && n > 0)
        gs_jw_ki64(w, "durationInWeeks", n);
    if (gs_json_i64(r->rec, "iterations_in_advance", &n) && n > 0)
        gs_jw_ki64(w, "iterationsInAdvance", n);
    return 0;
}

static int list(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, LIST, cadences_request(r, err), out_req, out, err);
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, CREATE, iterations_mutation(r, "iteration_cadence_create", fill_create, err), out_req, out, err);
}

/* ---- answers ---- */

/* What two cadences are equal in when a request was done twice. */
static const char *const equal[] = {"title", "description", "active", NULL};

/* What differs of what was sent, for people. A cadence that was there before may also make its iterations itself, or not. */
static int differences(struct run *r, yyjson_val *there, bool all, struct gs_buf *names, struct gs_err *err)
{
    gs_autofree char *title = step_strip(gs_json_str(r->rec, "title"));
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    bool automatic = gs_json_true(r->rec, "automatic");
    if ((!step_same_text(title, gs_json_str(there, "title")) && step_name(names, "title", err)) ||
        (!step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description")) && step_name(names, "description", err)) ||
        (is_active(r->rec) != gs_json_true(there, "active") && step_name(names, "active", err)))
        return -1;
    if (automatic && !all)
        return 0;
    if ((all && automatic != gs_json_true(there, "automatic") && step_name(names, "automatic", err)) ||
        (gs_json_true(r->rec, "roll_over") != gs_json_true(there, "rollOver") && step_name(names, "roll_over", err)) ||
        (!step_same_date(gs_json_str(r->rec, "start_date"), gs_json_str(there, "startDate")) && step_name(names, "start_date", err)))
        return -1;
    return 0;
}

static int take(struct run *r, yyjson_val *there, bool adopted, enum step_result *out, struct gs_err *err)
{
    gs_autobuf names;
    gs_buf_init(&names, 4096);
    r->op.target_id = step_gid(there);
    if (!r->op.target_id)
        return step_fail(err, GS_E_REMOTE, "the server's answer has no cadence");
    r->op.print = print_of(there, cadence_seen);
    if (differences(r, there, adopted, &names, err) ||
        (names.len && run_loss(r, adopted ? "exists-differs" : "cadence-changed", gs_buf_str(&names), err)))
        return -1;
    *out = STEP_DONE;
    return 0;
}

/* Is it the second one of another cadence of ours, made twice? Equal to one that an op stands for. */
static int is_second(struct run *r, yyjson_val *nodes, yyjson_val *one, bool *out, struct gs_err *err)
{
    int64_t print = print_of(one, equal);
    size_t i, max;
    yyjson_val *it;
    *out = false;
    yyjson_arr_foreach(nodes, i, max, it)
    {
        if (!*out && it != one && print_of(it, equal) == print && state_target_taken(r->state, &r->op, step_gid(it), out, err))
            return -1;
    }
    return 0;
}

/*
 * Titles may be there more than once. One that says all that was sent goes before one that does not; and where nobody else makes any, in a group of
 * our own making, the second one of another cadence is not taken for this one.
 */
static int look_through(struct run *r, yyjson_val *nodes, yyjson_val **out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    gs_autofree char *title = step_strip(gs_json_str(r->rec, "title"));
    size_t i, max;
    yyjson_val *it;
    bool whole = false;
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    yyjson_arr_foreach(nodes, i, max, it)
    {
        int64_t id = step_gid(it);
        bool taken = false, second = false;
        gs_autobuf names;
        gs_buf_init(&names, 4096);
        if (id > n->max_id)
            n->max_id = id;
        if (whole || !id || !step_same_text(title, gs_json_str(it, "title")))
            continue;
        if (state_target_taken(r->state, &r->op, id, &taken, err))
            return -1;
        if (taken)
            continue;
        if (differences(r, it, false, &names, err) || (names.len && !r->grp->existed && is_second(r, nodes, it, &second, err)))
            return -1;
        whole = names.len == 0;
        if (whole || (!*out && !second))
            *out = it;
    }
    return 0;
}

static int listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *found = NULL;
    bool absent = false, more = false, proven = true;
    struct gs_err why = {0};
    if (step_graphql(rsp, true, "iterationCadences", &doc, &connection, &absent, &why)) {
        if (absent)
            return step_lost(r, "iterations-not-available", why.text, out, err);
        *err = why;
        return gs_wrap(err, "looking for the cadence");
    }
    if (look_through(r, step_get(connection, "nodes"), &found, err) || step_next_after(r, connection, &more, err))
        return -1;
    if (found) {
        int64_t id = step_gid(found);
        step_seen(r);
        r->op.found = (r->unsure || r->maybe) && (!r->grp->existed || (r->lane->watermark >= 0 && id > r->lane->watermark));
        r->op.adopted = r->grp->existed && !r->op.found;
        return take(r, found, r->op.adopted, out, err);
    }
    if (more)
        return list(r, out_req, out, err);
    if (r->lane->watermark < 0) { /* nothing of ours has left yet: the first cadence of the lane looks before it is made */
        r->lane->watermark = n->max_id;
        if (state_lane_watermark(r->state, r->lane->id, n->max_id, err))
            return -1;
    }
    if ((r->unsure || r->maybe) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, out_req, out, err) : 0;
}

static int created(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    struct gs_err why = {0};
    if (step_graphql(rsp, false, "iterationCadenceCreate", &doc, &payload, &absent, &why) == 0)
        return take(r, step_get(payload, "iterationCadence"), false, out, err);
    if (absent)
        return step_lost(r, "iterations-not-available", why.text, out, err);
    *err = why;
    return gs_wrap(err, "creating the cadence");
}

static int cadence(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(r->rec, "title"))
        return step_fail(err, GS_E_RECORD, "the cadence has no title");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE, &a, err))
        return -1;
    if (a == ANS_LOST) {
        gs_buf_reset(&r->buf);
        return list(r, out_req, out, err);
    }
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, r->phase == CREATE ? "creating the cadence" : "looking for the cadence");
    switch (r->phase) {
    case START:
        return r->unsure || r->maybe || r->grp->existed ? list(r, out_req, out, err) : create(r, out_req, out, err);
    case LIST_AGAIN:
        return list(r, out_req, out, err);
    case LIST:
        return listed(r, rsp, out_req, out, err);
    case CREATE:
        return created(r, rsp, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "cadence in phase %d", r->phase);
    }
}

/*
 * ---- cadences that were made twice ----
 *
 * Looked for at the last one of a group, before there is any iteration. Not when that was begun before: a cadence goes with its iterations, and
 * by then somebody may have put some into one of his own with the same title.
 */

static int twins_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_array, bool *out_more, struct gs_err *err)
{
    yyjson_val *connection = NULL;
    bool absent = false;
    if (step_graphql(rsp, true, "iterationCadences", out_doc, &connection, &absent, err))
        return -1;
    *out_array = step_get(connection, "nodes");
    return step_next_after(r, connection, out_more, err);
}

static int fill_destroy(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    iterations_put_gid(w, "id", GID_CADENCE, r->n1);
    return 0;
}

static struct gl_request *twins_remove(struct run *r, int64_t id, struct gs_err *err)
{
    r->n1 = id;
    return iterations_mutation(r, "iteration_cadence_destroy", fill_destroy, err);
}

/* Ours begin like that. */
static bool is_manual(yyjson_val *there)
{
    return !gs_json_true(there, "automatic");
}

static const struct twins twins = {.equal = equal, .bare = is_manual, .list = cadences_request, .page = twins_page, .remove = twins_remove};

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (r->phase >= TWINS_PHASE)
        return twins_step(r, &twins, rsp, out_req, out, err);
    if (cadence(r, rsp, out_req, out, err))
        return -1;
    return r->again ? 0 : twins_look(r, &twins, out_req, out, err);
}

static const char *const texts[] = {"description", NULL};
const struct kind kind_cadences = {
    .name = "iterations_cadences", .relation = "iterations_cadences", .ordered = true, .step = step, .texts = texts, .seen = cadence_seen};

/* ---- planning ---- */

/* Order in the lane: cadences, iterations by iid, then the automation of cadences. */
#define MAJOR_CADENCE 0
#define MAJOR_NO_IID (INT64_MAX - 1)
#define MAJOR_AUTOMATION INT64_MAX

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t lane, next; /* next: the number that the next iteration would get */
    bool gaps, swept;
    struct made {
        int64_t minor, op;
    } *made; /* ops of cadences, in their order */
    size_t n, cap;
    uint64_t iterations;
};

static int64_t op_of(const struct emit *x, int64_t minor)
{
    size_t lo = 0, hi = x->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (x->made[mid].minor < minor)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < x->n && x->made[lo].minor == minor ? x->made[lo].op : 0;
}

static int emit_cadence(struct emit *x, const struct pending *e, struct op *op, struct gs_err *err)
{
    if (x->n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 16;
        struct made *v = realloc(x->made, cap * sizeof *v);
        if (!v) {
            op_release(op);
            return gs_fail(err, GS_E_NOMEM, "no memory for cadences");
        }
        x->made = v;
        x->cap = cap;
    }
    x->made[x->n].minor = e->minor;
    return pending_plan(x->p, op, &x->made[x->n++].op, err);
}

static int sweep(struct emit *x, struct gs_err *err)
{
    struct op op;
    if (x->swept)
        return 0;
    x->swept = true;
    return pending_new_op("iterations.sweep", "filler iterations", NULL, x->g->id, x->lane, NULL, &op, err) ||
                   pending_plan(x->p, &op, NULL, err)
               ? -1
               : 0;
}

static void count_gap(struct emit *x, int64_t iid)
{
    unsigned most = plan_opts(x->p)->max_fillers ? plan_opts(x->p)->max_fillers : ITERATIONS_MAX_FILLERS;
    x->iterations++;
    if (iid == MAJOR_NO_IID)
        return;
    if (iid > x->next && iid - x->next <= (int64_t)most) {
        if (!x->g->existed)
            plan_requests(x->p, (uint64_t)(iid - x->next) + !x->gaps);
        x->gaps = true;
    }
    if (iid >= x->next)
        x->next = iid + 1;
}

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    struct op op;
    if (e->major == MAJOR_AUTOMATION && sweep(x, err))
        return -1;
    if (pending_op(e, x->g->id, x->lane, &op, err))
        return -1;
    if (e->major == MAJOR_CADENCE)
        return emit_cadence(x, e, &op, err);
    op.needs = op_of(x, e->minor);
    if (e->major != MAJOR_AUTOMATION)
        count_gap(x, e->major);
    return pending_plan(x->p, &op, NULL, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records || plan_features(p)->iterations == 0)
        return 0;
    struct emit x = {.p = p, .g = g, .next = 1};
    plan_requests(p, !g->existed); /* the look for twins */
    int r = plan_lane(p, g->id, REL_PHASE_ITERATIONS, "iterations", true, &x.lane, err) || pending_each(p, emit, &x, err) || sweep(&x, err) ||
                    plan_loss(p, g->id, "iterations_cadences", NULL, "cadence-times", records, NULL, err) ||
                    plan_loss(p, g->id, "iterations", NULL, "iteration-times", x.iterations, NULL, err)
                ? -1
                : 0;
    free(x.made);
    return r;
}

static int plan_iteration(struct plan *p, const struct pending *cadence, yyjson_val *it, struct gs_err *err)
{
    gs_autobuf arg;
    gs_buf_init(&arg, (size_t)8 << 20);
    const char *title = gs_json_str(it, "title"), *start = gs_json_str(it, "start_date"), *due = gs_json_str(it, "due_date");
    gs_autofree char *key = gs_asprintf("%s / %s%s%.10s - %.10s", cadence->key, title ? title : "", title ? " " : "", start ? start : "?", due ? due : "?");
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (gs_json_write(it, &arg, err))
        return -1;
    struct pending e = {.kind = "iterations", .key = key, .arg = gs_buf_str(&arg), .minor = cadence->minor};
    e.major = step_iid(it) > 0 ? step_iid(it) : MAJOR_NO_IID;
    gs_json_i64(it, "id", &e.src_id);
    return pending_add(p, &e, err);
}

/* Everything of the cadence stays in the bundle. */
static int plan_nothing(struct plan *p, const struct grp *g, const char *title, uint64_t iterations, struct gs_err *err)
{
    return plan_loss(p, g->id, "iterations_cadences", title, "iterations-not-available", 1, NULL, err) ||
                   plan_loss(p, g->id, "iterations", title, "iterations-not-available", iterations, NULL, err)
               ? -1
               : 0;
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err)
{
    const char *title = NULL;
    yyjson_val *all = step_get(rec, "iterations"), *it;
    size_t i, max;
    if (gs_json_need_str(rec, "title", &title, err))
        return -1;
    if (plan_features(p)->iterations == 0)
        return plan_nothing(p, g, title, yyjson_arr_size(all), err);
    struct pending e = {.major = MAJOR_CADENCE, .kind = "iterations_cadences", .key = title, .ref = ref,
                        .minor = (int64_t)((uint64_t)ref->member << 40) + (int64_t)ref->off};
    gs_json_i64(rec, "id", &e.src_id);
    if (pending_add(p, &e, err))
        return -1;
    if (yyjson_is_arr(all)) {
        yyjson_arr_foreach(all, i, max, it)
        {
            if (plan_iteration(p, &e, it, err))
                return -1;
        }
    }
    if (!step_get(rec, "automatic"))
        return plan_loss(p, g->id, "iterations_cadences", title, "cadence-automation-unknown", 1, NULL, err);
    if (!gs_json_true(rec, "automatic"))
        return 0;
    e.kind = "iterations_cadences.automation";
    e.major = MAJOR_AUTOMATION;
    return pending_add(p, &e, err);
}

const struct relation_loader loader_cadences = {.relation = "iterations_cadences", .plan_group = plan_group, .plan_record = plan_record};
