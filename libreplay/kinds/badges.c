/*
 * Group badges: a multiset in order of creation. Nothing tells two equal badges apart, so equal ones are counted: one
 * that the target shows is taken for a record when no other record has taken it.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/step.h"
#include "libreplay/kinds/twins.h"

#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE };

static int list(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0) {
        n->page = 1;
        n->id = n->max_id = 0;
    }
    return step_send(r, LIST,
                     run_request(GL_GET, NULL, "/groups/%lld/badges?per_page=100&page=%lld",
                                 (long long)r->grp->target_id, (long long)n->page),
                     out_req, out, err);
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 1 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "link_url", gs_json_str(r->rec, "link_url"));
    gs_jw_kstr(&w, "image_url", gs_json_str(r->rec, "image_url"));
    if (gs_json_str(r->rec, "name"))
        gs_jw_kstr(&w, "name", gs_json_str(r->rec, "name"));
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    return step_send(r, CREATE, run_request(GL_POST, &body, "/groups/%lld/badges", (long long)r->grp->target_id),
                     out_req, out, err);
}

static bool same(struct run *r, yyjson_val *it)
{
    return step_same_text(gs_json_str(r->rec, "link_url"), gs_json_str(it, "link_url")) &&
           step_same_text(gs_json_str(r->rec, "image_url"), gs_json_str(it, "image_url")) &&
           step_same_text(gs_json_str(r->rec, "name"), gs_json_str(it, "name"));
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
        int64_t id = 0;
        bool taken = false;
        if (!gs_json_i64(it, "id", &id))
            continue;
        if (id > n->max_id)
            n->max_id = id;
        if (n->id || !same(r, it))
            continue;
        if (state_target_taken(r->state, &r->op, id, &taken, err))
            return -1;
        if (!taken)
            n->id = id;
    }
    if (step_next_page(n, rsp))
        return list(r, out_req, out, err);
    n->page = 0;
    if (r->lane->watermark < 0) {
        /* the first look into a group that was there before: what it shows was not made by this load */
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

static int badge(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(r->rec, "link_url") || !gs_json_str(r->rec, "image_url"))
        return step_fail(err, GS_E_RECORD, "the badge has no link_url or no image_url");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE, &a, err))
        return -1;
    if (a == ANS_LOST)
        return list(r, out_req, out, err);
    switch (r->phase) {
    case START:
        return r->unsure || r->maybe || r->grp->existed ? list(r, out_req, out, err) : create(r, out_req, out, err);
    case LIST_AGAIN:
        return list(r, out_req, out, err);
    case LIST:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "looking for the badge");
        return listed(r, rsp, out_req, out, err);
    case CREATE: {
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "creating the badge");
        GS_AUTO(yyjson_doc) doc = NULL;
        if (step_doc(rsp, &doc, err) || step_take_id(r, yyjson_doc_get_root(doc), err))
            return -1;
        if (!same(r, yyjson_doc_get_root(doc)) && run_loss(r, "badge-changed", NULL, err))
            return -1;
        int64_t before, behind = 0, maybe;
        if (r->again && state_lane_done(r->state, &r->op, &before, &behind, &maybe, err))
            return -1;
        if (behind && step_loss(r, err, "badge-order", "%lld stand before it", (long long)behind))
            return -1;
        *out = STEP_DONE;
        return 0;
    }
    default:
        return gs_fail(err, GS_E_INTERNAL, "badge in phase %d", r->phase);
    }
}

static const char *const seen[] = {"link_url", "image_url", "name", NULL};
static const struct twins twins = {.at = "badges", .equal = seen};

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    if (r->phase >= TWINS_PHASE)
        return twins_step(r, &twins, rsp, out_req, out, err);
    return badge(r, rsp, out_req, out, err) ? -1 : twins_look(r, &twins, out_req, out, err);
}

const struct kind kind_badges = {.name = "badges", .relation = "badges", .ordered = true, .step = step, .seen = seen, .at = "badges"};

/* ---- planning ---- */

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records)
        return 0;
    struct pending_into x = {.p = p, .grp = g->id};
    if (plan_lane(p, g->id, REL_PHASE_BADGES, "badges", true, &x.lane, err) || pending_each(p, pending_into_lane, &x, err))
        return -1;
    plan_requests(p, 1); /* the look for twins */
    return plan_loss(p, g->id, "badges", NULL, "badge-times", records, NULL, err);
}

/* Does a URL name the host that the bundle comes from? */
static bool names_source(struct plan *p, const char *url)
{
    const char *host = gs_json_str(step_get(bundle_manifest(plan_bundle(p)), "source"), "host");
    const char *at = url ? strstr(url, "://") : NULL;
    size_t len = host ? strlen(host) : 0;
    return at && len && strncmp(at + 3, host, len) == 0 && (strchr("/:?#", at[3 + len]) || !at[3 + len]);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    const char *name = gs_json_str(rec, "name"), *link = gs_json_str(rec, "link_url"),
               *image = gs_json_str(rec, "image_url");
    struct pending e = {.kind = "badges", .key = name && *name ? name : link ? link : "", .ref = ref};
    gs_json_i64(rec, "id", &e.src_id);
    e.major = e.src_id;
    if ((names_source(p, link) || names_source(p, image)) &&
        plan_loss(p, g->id, "badges", e.key, "badge-source-url", 1, link, err))
        return -1;
    return pending_add(p, &e, err);
}

const struct relation_loader loader_badges = {
    .relation = "badges", .plan_group = plan_group, .plan_record = plan_record};
