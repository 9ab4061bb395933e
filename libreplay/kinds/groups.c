/*
 * Creating the groups, parents first. A group is known by its full path; one that is there already is ours only when
 * this load may have sent it, it was made after the load began, and the token's user is its direct Owner, whom the
 * server makes of who creates a group: somebody else may have taken the path meanwhile.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/settings.h"
#include "libreplay/kinds/step.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { START, LOOK_ID, LOOK, LOOK_AGAIN, OWNER, OWNER_AGAIN, CREATE };
enum { CUT = 1, PRIVATE = 2, TAKEN = 4 };

#define DESCRIPTION_CUT 255

static const char *const seen[] = {"path", "name", "description", "visibility", "parent_id", NULL};

static const char *slug(const struct run *r)
{
    const char *slash = strrchr(r->grp->dst_path, '/');
    return slash ? slash + 1 : r->grp->dst_path;
}

/* The path of the group on the target: that of its parent may be another by now than was planned. NULL: no memory. */
static char *own_path(const struct run *r)
{
    const struct grp *up = r->grp->parent ? run_grp(r, r->grp->parent) : NULL;
    return up ? gs_asprintf("%s/%s", up->dst_path, slug(r)) : strdup(r->grp->dst_path);
}

static int look(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autofree char *path = own_path(r);
    gs_autofree char *enc = path ? gl_encode(path) : NULL;
    if (!enc)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return step_send(r, LOOK, run_request(GL_GET, NULL, "/groups/%s?with_projects=false", enc), out_req, out, err);
}

/* Id of the parent on the target; 0: top level. */
static int parent_id(struct run *r, int64_t *out, struct gs_err *err)
{
    *out = r->grp->dst_parent;
    if (!r->grp->parent)
        return 0;
    struct grp up;
    if (state_grp(r->state, r->grp->parent, &up, err))
        return -1;
    *out = up.target_id;
    grp_release(&up);
    return *out ? 0 : step_fail(err, GS_E_INTERNAL, "the parent group has no id yet");
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    int64_t parent;
    if (parent_id(r, &parent, err))
        return -1;
    gs_autobuf body;
    gs_buf_init(&body, 4 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "name", r->grp->name);
    gs_jw_kstr(&w, "path", slug(r));
    if (parent)
        gs_jw_ki64(&w, "parent_id", parent);
    gs_jw_kstr(&w, "visibility", n->flags & PRIVATE ? "private" : r->grp->visibility);
    const char *d = gs_json_str(r->rec, "description");
    if (d && *d) {
        gs_jw_key(&w, "description");
        gs_jw_strn(&w, d, n->flags & CUT ? step_cut(d, DESCRIPTION_CUT) : strlen(d));
    }
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    return step_send(r, CREATE, run_request(GL_POST, &body, "/groups"), out_req, out, err);
}

/* Does the answer show the group at the place that was meant? */
static int at_place(struct run *r, yyjson_val *g, bool *out, struct gs_err *err)
{
    int64_t want, got = 0;
    const char *path = gs_json_str(g, "full_path"), *last = path ? strrchr(path, '/') : NULL;
    if (parent_id(r, &want, err))
        return -1;
    gs_json_i64(g, "parent_id", &got);
    /* below its parent and under its name: where that parent stands by now does not matter */
    *out = want == got && path && strcasecmp(last ? last + 1 : path, slug(r)) == 0;
    return 0;
}

static int take(struct run *r, yyjson_val *g, bool existed, enum step_result *out, struct gs_err *err)
{
    if (step_take_id(r, g, err))
        return -1;
    r->op.adopted = existed;
    *out = STEP_DONE;
    const char *path = gs_json_str(g, "full_path");
    if (path && strcasecmp(path, r->grp->dst_path) != 0 && state_grp_path(r->state, r->op.grp, path, err))
        return -1;
    return state_grp_loaded(r->state, r->op.grp, r->op.target_id,
                            gs_json_str(g, "web_url") ? gs_json_str(g, "web_url") : "", existed, err);
}

static int differences(struct run *r, yyjson_val *g, struct gs_err *err)
{
    gs_autobuf names;
    gs_buf_init(&names, 4096);
    const char *description = gs_json_str(r->rec, "description");
    if (!step_same_text(r->grp->name, gs_json_str(g, "name")) && step_name(&names, "name", err))
        return -1;
    if (r->rec && !step_same_text(description, gs_json_str(g, "description")) && step_name(&names, "description", err))
        return -1;
    return names.len ? run_loss(r, "exists-differs", gs_buf_str(&names), err) : 0;
}

/* What the server made of the group that was sent, be it that it said so at once or that the group was found later. */
static int compare(struct run *r, yyjson_val *g, struct gs_err *err)
{
    const char *sent = gs_json_str(r->rec, "description"), *kept = gs_json_str(g, "description");
    size_t cut = sent ? step_cut(sent, DESCRIPTION_CUT) : 0;
    if (sent && sent[cut] && kept && strlen(kept) == cut && strncmp(sent, kept, cut) == 0 &&
        run_loss(r, "group-description-cut", NULL, err))
        return -1;
    const char *want = r->grp->visibility, *got = gs_json_str(g, "visibility");
    if (got && strcmp(want, got) != 0 &&
        (strcmp(got, "private") == 0
             ? step_loss(r, err, "visibility-lowered", "%s -> private", want)
             : step_loss(r, err, "group-setting-not-applied", "visibility: wanted %s, got %s", want, got)))
        return -1;
    if (!step_same_text(gs_json_str(g, "name"), r->grp->name) &&
        step_loss(r, err, "group-setting-not-applied", "name: wanted '%s', got '%s'", r->grp->name,
                  gs_json_str(g, "name") ? gs_json_str(g, "name") : ""))
        return -1;
    return 0;
}

static int taken(struct run *r, struct gs_err *err)
{
    return step_fail(err, GS_E_TARGET_TAKEN, "group '%s' is there and was not made by this load", r->grp->dst_path);
}

/* Whoever made it: nothing is put into a group that GitLab is about to remove, and its path is not free before that. */
static int marked(struct run *r, const char *since, struct gs_err *err)
{
    return step_fail(err, GS_E_TARGET_TAKEN,
                     "group '%s' is marked for deletion (since %.20s): restore it in GitLab, or remove it there for good; then "
                     "'replay retry' loads it",
                     r->grp->dst_path, since);
}

static int ask_owner(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(
        r, OWNER,
        run_request(GL_GET, NULL, "/groups/%lld/members/%lld", (long long)step_notes(r)->id, (long long)run_self(r)),
        out_req, out, err);
}

/* Who owns the group that was found: it stands in r->buf. */
static int owned(struct run *r, const struct gl_response *rsp, bool refused, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t level = 0;
    bool proven = true;
    if (refused && rsp->status == 404 && step_absent(r, OWNER_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    if (refused)
        return rsp->status == 404 || rsp->status == 403 ? taken(r, err)
                                                        : step_refused(rsp, err, "reading the own membership");
    if (step_doc(rsp, &doc, err))
        return -1;
    if (!gs_json_i64(yyjson_doc_get_root(doc), "access_level", &level) || level != 50)
        return taken(r, err);
    GS_AUTO(yyjson_doc) found = NULL;
    if (gs_json_parse(gs_buf_str(&r->buf), r->buf.len, NULL, &found, err))
        return -1;
    r->op.found = true;
    r->op.print = print_of(yyjson_doc_get_root(found), seen);
    return compare(r, yyjson_doc_get_root(found), err) || take(r, yyjson_doc_get_root(found), false, out, err) ? -1 : 0;
}

static int looked(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *g = yyjson_doc_get_root(doc);
    bool placed, ours = false;
    if (at_place(r, g, &placed, err) || step_made_by_us(r, g, &ours, err))
        return -1;
    if (!placed)
        return step_fail(err, GS_E_TARGET_MOVED, "the target shows group '%s' below another parent", r->grp->dst_path);
    if (gs_json_str(g, "marked_for_deletion_on"))
        return marked(r, gs_json_str(g, "marked_for_deletion_on"), err);
    if (r->grp->existed) {
        int64_t id = 0;
        gs_json_i64(g, "id", &id);
        if (r->grp->target_id && id != r->grp->target_id)
            return step_fail(err, GS_E_TARGET_MOVED, "group '%s' is another one than when the plan was made",
                             r->grp->dst_path);
        return differences(r, g, err) || take(r, g, true, out, err) ? -1 : 0;
    }
    if (!ours)
        return taken(r, err);
    struct step_notes *n = step_notes(r);
    step_seen(r);
    n->looks = 0;
    n->began_ms = 0;
    gs_buf_reset(&r->buf);
    if (!gs_json_i64(g, "id", &n->id))
        return step_fail(err, GS_E_REMOTE, "the server's answer has no id");
    return gs_buf_add(&r->buf, rsp->body.data, rsp->body.len, err) ? -1 : ask_owner(r, out_req, out, err);
}

/*
 * Everything is looked up again, and the id that the group had shows a group: it is ours when it is old enough, wherever
 * somebody may have moved it. After a backup was put back the id may be anybody's.
 */
static int looked_by_id(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                        struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *g = yyjson_doc_get_root(doc);
    const char *path = gs_json_str(g, "full_path"), *last = path ? strrchr(path, '/') : NULL;
    int64_t want, up = 0;
    bool ours;
    if (step_made_by_us(r, g, &ours, err) || parent_id(r, &want, err))
        return -1;
    gs_json_i64(g, "parent_id", &up);
    bool same = want == up || (path && strcasecmp(last ? last + 1 : path, slug(r)) == 0);
    if (!ours || !same || gs_json_str(g, "marked_for_deletion_on"))
        return look(r, out_req, out, err);
    r->op.found = true;
    return take(r, g, false, out, err);
}

static int made(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *g = yyjson_doc_get_root(doc);
    bool placed;
    if (at_place(r, g, &placed, err))
        return -1;
    if (!placed) {
        int64_t id = 0;
        gs_json_i64(g, "id", &id);
        return step_fail(err, GS_E_REMOTE, "the server made group %lld at '%s' instead of '%s': remove it there",
                         (long long)id, gs_json_str(g, "full_path") ? gs_json_str(g, "full_path") : "?",
                         r->grp->dst_path);
    }
    return compare(r, g, err) ? -1 : take(r, g, false, out, err);
}

static int refused(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                   struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    const char *body = gs_buf_str(&rsp->body);
    if (rsp->status == 400) {
        const char *d = gs_json_str(r->rec, "description");
        if (gl_error_names(body, rsp->body.len, "description") && d && d[step_cut(d, DESCRIPTION_CUT)] &&
            !(n->flags & CUT)) {
            n->flags |= CUT;
            return create(r, out_req, out, err);
        }
        if (gl_error_names(body, rsp->body.len, "visibility_level") && !(n->flags & PRIVATE) &&
            strcmp(r->grp->visibility, "private") != 0) {
            n->flags |= PRIVATE;
            return create(r, out_req, out, err);
        }
        if (gl_error_duplicate(rsp->status, body, rsp->body.len) == GL_DUP_YES &&
            gl_error_names(body, rsp->body.len, "path") && !(n->flags & TAKEN)) {
            n->flags |= TAKEN; /* by ours, which a replica has hidden so far or a newer copy of the state file knows, or not */
            step_hidden(r);
            return look(r, out_req, out, err);
        }
        if (gl_error_names(body, rsp->body.len, "path") || gl_error_names(body, rsp->body.len, "name"))
            return step_refused(rsp, err,
                                "group '%s' (name '%s'): choose another path or name with --rename '%s=PATH:NAME'",
                                r->grp->dst_path, r->grp->name, r->grp->src_path);
    }
    return step_refused(rsp, err, "creating group '%s'", r->grp->dst_path);
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    bool proven;
    if (step_judge(r, rsp, r->phase == CREATE, &a, err))
        return -1;
    if (a == ANS_LOST)
        return look(r, out_req, out, err);
    switch (r->phase) {
    case START:
        if (r->was_id && !r->grp->existed)
            return step_send(r, LOOK_ID,
                             run_request(GL_GET, NULL, "/groups/%lld?with_projects=false", (long long)r->was_id), out_req,
                             out, err);
        return r->unsure || r->grp->existed ? look(r, out_req, out, err) : create(r, out_req, out, err);
    case LOOK_ID:
        return a == ANS_OK ? looked_by_id(r, rsp, out_req, out, err) : look(r, out_req, out, err);
    case LOOK_AGAIN:
        return look(r, out_req, out, err);
    case LOOK:
        if (a == ANS_OK)
            return looked(r, rsp, out_req, out, err);
        if (rsp->status != 404)
            return step_refused(rsp, err, "looking for group '%s'", r->grp->dst_path);
        if (r->grp->existed)
            return step_fail(err, GS_E_TARGET_MOVED, "group '%s' was there when the plan was made and is gone",
                             r->grp->dst_path);
        if (step_absent(r, LOOK_AGAIN, &proven, out, err))
            return -1;
        if (!proven)
            return 0;
        if (n->flags & TAKEN && r->was_id) /* it was ours: no reason to give everything below it up */
            return gs_fail(err, GS_E_FORBIDDEN, "group '%s' is there, and the token's user may not see it (any more)",
                           r->grp->dst_path);
        if (n->flags & TAKEN)
            return step_fail(err, GS_E_TARGET_TAKEN,
                             "the server says that '%s' is taken, and does not show it: choose another path with --rename '%s=PATH'",
                             r->grp->dst_path, r->grp->src_path);
        return create(r, out_req, out, err);
    case OWNER_AGAIN:
        return ask_owner(r, out_req, out, err);
    case OWNER:
        return owned(r, rsp, a == ANS_REFUSED, out, err);
    case CREATE:
        return a == ANS_REFUSED ? refused(r, rsp, out_req, out, err) : made(r, rsp, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "group in phase %d", r->phase);
    }
}

static const char *const texts[] = {"description", NULL};
const struct kind kind_groups = {.name = "groups", .relation = "self", .ordered = false, .step = step, .texts = texts, .seen = seen, .at = ""};

/* ---- planning ---- */

static int add(struct plan *p, const struct grp *g, enum rel_phase phase, const char *lane_name, bool ordered,
               const char *kind, const char *arg, const struct bundle_ref *ref, int64_t needs, int64_t *out_id,
               struct gs_err *err)
{
    int64_t lane;
    struct op op;
    if (plan_lane(p, g->id, phase, lane_name, ordered, &lane, err) ||
        pending_new_op(kind, g->src_path, arg, g->id, lane, ref, &op, err))
        return -1;
    op.needs = needs;
    op.src_id = g->id;
    return pending_plan(p, &op, out_id, err);
}

static int plan_avatar(struct plan *p, const struct grp *g, int64_t needs, struct gs_err *err)
{
    const struct bundle_member *m = bundle_find_file(plan_bundle(p), g->id, "avatar");
    if (!m)
        return 0;
    if (m->raw > AVATAR_MAX) {
        char words[48];
        snprintf(words, sizeof(words), "%llu bytes", (unsigned long long)m->raw);
        return plan_loss(p, g->id, "self", g->src_path, "group-avatar-not-loaded", 1, words, err);
    }
    gs_autobuf arg;
    gs_buf_init(&arg, 8192);
    struct gs_jw w;
    gs_jw_init(&w, &arg, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "file", m->path);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    return add(p, g, REL_PHASE_GROUP, "settings", true, "groups.avatar", gs_buf_str(&arg), NULL, needs, NULL, err);
}

static int plan_all(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                    struct gs_err *err)
{
    int64_t id;
    if (add(p, g, REL_PHASE_GROUP, "create", false, "groups", NULL, ref, 0, &id, err) || plan_avatar(p, g, id, err))
        return -1;
    if (rec && settings_any(rec, false) &&
        add(p, g, REL_PHASE_GROUP, "settings", true, "groups.settings", NULL, ref, id, NULL, err))
        return -1;
    if (rec && settings_any(rec, true) &&
        add(p, g, REL_PHASE_LOCKS, "locks", true, "groups.locks", NULL, ref, id, NULL, err))
        return -1;
    const char *ranges = gs_json_str(rec, "ip_restriction_ranges");
    if (ranges && *ranges &&
        plan_loss(p, g->id, "self", g->src_path, "group-ip-restriction-not-applied", 1, ranges, err))
        return -1;
    return plan_loss(p, g->id, "self", g->src_path, "group-times", 1, NULL, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    /* a bundle may know no more of a group than its path */
    return first && records == 0 ? plan_all(p, g, NULL, NULL, err) : 0;
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    return plan_all(p, g, rec, ref, err);
}

const struct relation_loader loader_self = {.relation = "self", .plan_group = plan_group, .plan_record = plan_record};

static int plan_namespace(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                          struct gs_err *err)
{
    (void)ref;
    if (!gs_json_true(rec, "prevent_sharing_groups_outside_hierarchy"))
        return 0;
    if (g->parent || g->dst_parent)
        return g->parent ? 0
                         : plan_loss(p, g->id, "self", g->src_path, "group-setting-not-applied", 1,
                                     "prevent_sharing_groups_outside_hierarchy: for top-level groups only", err);
    struct op create;
    bool found = false;
    if (state_find(plan_state(p), "groups", g->id, g->src_path, &create, &found, err))
        return -1;
    if (!found)
        return 0;
    int64_t id = create.id;
    op_release(&create);
    return add(p, g, REL_PHASE_GROUP, "settings", true, "groups.settings",
               "{\"prevent_sharing_groups_outside_hierarchy\":true}", NULL, id, NULL, err);
}

const struct relation_loader loader_namespace_settings = {.relation = "namespace_settings",
                                                          .plan_record = plan_namespace};
