/*
 * Direct members of groups. The token's own user is not loaded here: he became Owner of every group by creating it, and
 * that is put right at the very end (groups.owner). Nobody in a group that was there before is given another role.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/step.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

enum { START, LOOK, LOOK_AGAIN, CREATE, CHANGE };

static int look(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(
        r, LOOK, run_request(GL_GET, NULL, "/groups/%lld/members/%lld", (long long)r->grp->target_id, (long long)r->n1),
        out_req, out, err);
}

static int write_body(struct run *r, bool with_user, struct gs_buf *body, struct gs_err *err)
{
    int64_t level = 0;
    const char *expires = gs_json_str(r->rec, "expires_at");
    gs_json_i64(r->rec, "access_level", &level);
    struct gs_jw w;
    gs_jw_init(&w, body, 0, err);
    gs_jw_obj(&w);
    if (with_user)
        gs_jw_ki64(&w, "user_id", r->n1);
    gs_jw_ki64(&w, "access_level", level);
    if (expires && *expires) {
        gs_jw_key(&w, "expires_at");
        gs_jw_strn(&w, expires, strlen(expires) > 10 ? 10 : strlen(expires));
    } else if (!with_user) {
        gs_jw_key(&w, "expires_at");
        gs_jw_null(&w);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 1024);
    if (write_body(r, true, &body, err))
        return -1;
    return step_send(r, CREATE, run_request(GL_POST, &body, "/groups/%lld/members", (long long)r->grp->target_id),
                     out_req, out, err);
}

static bool as_wanted(struct run *r, yyjson_val *there)
{
    int64_t want = 0, got = 0;
    gs_json_i64(r->rec, "access_level", &want);
    gs_json_i64(there, "access_level", &got);
    return want == got && step_same_date(gs_json_str(r->rec, "expires_at"), gs_json_str(there, "expires_at"));
}

/* Whoever looks for other Owners must not overlook this one behind a replica. */
static void note_owner(struct run *r)
{
    int64_t level = 0;
    if (gs_json_i64(r->rec, "access_level", &level) && level == 50)
        run_gave_owner(r);
}

static int found(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *it = yyjson_doc_get_root(doc);
    bool ours;
    if (step_take_id(r, it, err) || step_whose(r, it, as_wanted(r, it), &ours, err))
        return -1;
    r->op.found = ours;
    r->op.adopted = !ours;
    *out = STEP_DONE;
    if (as_wanted(r, it)) {
        note_owner(r);
        return 0;
    }
    if (!ours) {
        int64_t level = 0;
        gs_json_i64(it, "access_level", &level);
        return step_loss(r, err, "exists-differs", "role %lld there", (long long)level);
    }
    gs_autobuf body;
    gs_buf_init(&body, 1024);
    if (write_body(r, false, &body, err))
        return -1;
    struct gl_request *q =
        run_request(GL_PUT, &body, "/groups/%lld/members/%lld", (long long)r->grp->target_id, (long long)r->n1);
    return step_send_repeatable(r, CHANGE, q, out_req, out, err);
}

static int made(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_obj_get(root, "id")) {
        char words[400];
        gl_error_text(rsp->status, rsp->content_type, gs_buf_str(&rsp->body), rsp->body.len, words, sizeof(words));
        if (strstr(words, "approval") || strstr(words, "queued"))
            return step_lost(r, "member-awaits-approval", words, out, err);
        return step_fail(err, GS_E_REMOTE, "the server's answer is no member: %s", words);
    }
    if (step_take_id(r, root, err))
        return -1;
    if (r->op.target_id != r->n1)
        return step_fail(err, GS_E_REMOTE, "the server made another user a member");
    if (!as_wanted(r, root)) {
        int64_t level = 0;
        gs_json_i64(root, "access_level", &level);
        if (step_loss(r, err, "member-changed", "role %lld, expires %s there", (long long)level,
                      gs_json_str(root, "expires_at") ? gs_json_str(root, "expires_at") : "never"))
            return -1;
    }
    note_owner(r);
    *out = STEP_DONE;
    return 0;
}

static int refused(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                   struct gs_err *err)
{
    const char *body = gs_buf_str(&rsp->body);
    struct step_notes *n = step_notes(r);
    if (rsp->status == 409 && r->phase == CREATE) {
        step_hidden(r);
        n->why++;
        return look(r, out_req, out, err);
    }
    if (rsp->status == 405)
        return step_lost(r, "member-locked", rsp->err.text, out, err);
    if (rsp->status == 400 && strstr(body, "inherited membership"))
        return step_lost(r, "member-inherits-more", rsp->err.text, out, err);
    if (rsp->status == 400 && gl_error_names(body, rsp->body.len, "expires_at"))
        return step_lost(r, "member-expired", rsp->err.text, out, err);
    return step_refused(rsp, err, r->phase == CREATE ? "adding the member" : "setting the member's role");
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    bool proven;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == CHANGE, &a, err))
        return -1;
    if (a == ANS_LOST)
        return look(r, out_req, out, err);
    switch (r->phase) {
    case START: {
        int64_t user = 0;
        if (!gs_json_i64(r->rec, "user_id", &user) || !user)
            gs_json_i64(step_get(r->rec, "user"), "id", &user);
        if (run_user(r, user, &r->n1, err))
            return -1;
        if (!r->n1)
            return step_lost(r, "member-no-user", NULL, out, err);
        return r->unsure ? look(r, out_req, out, err) : create(r, out_req, out, err);
    }
    case LOOK_AGAIN:
        return look(r, out_req, out, err);
    case LOOK:
        if (a == ANS_OK)
            return found(r, rsp, out_req, out, err);
        if (rsp->status != 404)
            return step_refused(rsp, err, "looking for the member");
        if (step_absent(r, LOOK_AGAIN, &proven, out, err))
            return -1;
        if (!proven)
            return 0;
        if (n->why)
            return step_fail(err, GS_E_REFUSED, "the server says that the member exists, and does not show it");
        return create(r, out_req, out, err);
    case CREATE:
        return a == ANS_REFUSED ? refused(r, rsp, out_req, out, err) : made(r, rsp, out, err);
    case CHANGE:
        return a == ANS_REFUSED ? refused(r, rsp, out_req, out, err) : made(r, rsp, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "member in phase %d", r->phase);
    }
}

static const char *const seen[] = {"access_level", "expires_at", NULL};
const struct kind kind_members = {.name = "members", .relation = "members", .ordered = false, .step = step, .seen = seen, .at = "members"};

/* ---- planning ---- */

static const char *level_name(int64_t level)
{
    switch (level) {
    case 5:
        return "Minimal Access";
    case 10:
        return "Guest";
    case 15:
        return "Planner";
    case 20:
        return "Reporter";
    case 30:
        return "Developer";
    case 40:
        return "Maintainer";
    case 50:
        return "Owner";
    default:
        return NULL;
    }
}

/* The token's own user: what he is to be at the end. */
static int plan_self(struct plan *p, yyjson_val *rec, int64_t level, struct pending *e, struct gs_err *err)
{
    gs_autobuf arg;
    gs_buf_init(&arg, 1024);
    struct gs_jw w;
    gs_jw_init(&w, &arg, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "access_level", level);
    if (gs_json_str(rec, "expires_at"))
        gs_jw_kstr(&w, "expires_at", gs_json_str(rec, "expires_at"));
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    e->kind = "groups.owner";
    e->arg = gs_buf_str(&arg);
    e->ref = NULL;
    return pending_add(p, e, err);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    int64_t user = 0, level = 0, role = 0;
    gs_json_i64(rec, "user_id", &user);
    if (!user)
        gs_json_i64(step_get(rec, "user"), "id", &user);
    gs_json_i64(rec, "access_level", &level);
    const char *name = gs_json_str(step_get(rec, "user"), "username");
    gs_autofree char *key = name ? strdup(name) : gs_asprintf("user %lld", (long long)user);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!user)
        return plan_loss(p, g->id, "members", gs_json_str(rec, "invite_email"), "member-invitation", 1, NULL, err);
    if (step_get(rec, "requested_at"))
        return plan_loss(p, g->id, "members", key, "member-request", 1, NULL, err);
    struct user_row u = {0};
    bool known = false;
    if (state_user(plan_state(p), user, &u, &known, err))
        return -1;
    int64_t target = known ? u.target_id : 0;
    char how[64] = "not among the bundle's users";
    if (known && u.how)
        snprintf(how, sizeof(how), "%s", strncmp(u.how, "none:", 5) == 0 ? u.how + 5 : u.how);
    user_row_release(&u);
    if (!target)
        return plan_loss(p, g->id, "members", key, "member-no-user", 1, how, err);
    const char *expires = gs_json_str(rec, "expires_at");
    char today[GS_TIME_LEN];
    gs_time_format(gs_unix_ms(), today);
    if (expires && *expires && strncmp(expires, today, 10) <= 0)
        return plan_loss(p, g->id, "members", key, "member-expired", 1, expires, err);
    if (level == 5)
        return plan_loss(p, g->id, "members", key, "member-minimal-access", 1, NULL, err);
    if (!level_name(level) || (level == 15 && !gl_instance_at_least(plan_target(p), 17, 7))) {
        char words[32];
        snprintf(words, sizeof(words), "%s%lld", level == 15 ? "Planner, " : "", (long long)level);
        return plan_loss(p, g->id, "members", key, "member-role-unknown", 1, words, err);
    }
    if (((gs_json_i64(rec, "member_role_id", &role) && role) || step_get(rec, "member_role")) &&
        plan_loss(p, g->id, "members", key, "member-custom-role", 1, level_name(level), err))
        return -1;
    /* several people of the bundle may be one user of the target: by user, the highest and longest role first */
    struct pending e = {
        .major = target, .minor = -2 * level + (expires && *expires), .kind = "members", .key = key, .ref = ref};
    gs_json_i64(rec, "id", &e.src_id);
    return target == plan_target(p)->user_id ? plan_self(p, rec, level, &e, err) : pending_add(p, &e, err);
}

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t last; /* target user of the row before */
    bool owner;   /* the op about the token's user is there */
};

static int owner_op(struct emit *o, const char *arg, struct gs_err *err)
{
    int64_t lane;
    struct op op;
    o->owner = true;
    /* the locks of a group come before its ownership, also when it has none itself: they wait for the groups below */
    if (plan_lane(o->p, o->g->id, REL_PHASE_LOCKS, "locks", true, &lane, err) ||
        plan_lane(o->p, o->g->id, REL_PHASE_LOCKS, "owner", true, &lane, err) ||
        pending_new_op("groups.owner", "ownership of the token's user", arg, o->g->id, lane, NULL, &op, err))
        return -1;
    plan_requests(o->p, 2);
    return pending_plan(o->p, &op, NULL, err);
}

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    int64_t lane;
    struct op op;
    if (e->major == x->last)
        return plan_loss(x->p, x->g->id, "members", e->key, "member-same-user", 1, NULL, err);
    x->last = e->major;
    if (strcmp(e->kind, "groups.owner") == 0)
        return owner_op(x, e->arg, err);
    if (plan_lane(x->p, x->g->id, REL_PHASE_MEMBERS, "members", false, &lane, err) ||
        pending_op(e, x->g->id, lane, &op, err))
        return -1;
    return pending_plan(x->p, &op, NULL, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    struct emit x = {.p = p, .g = g};
    if (pending_each(p, emit, &x, err) || (!x.owner && owner_op(&x, "{\"access_level\":0}", err)))
        return -1;
    return records ? plan_loss(p, g->id, "members", NULL, "member-times", records, NULL, err) : 0;
}

const struct relation_loader loader_members = {
    .relation = "members", .plan_group = plan_group, .plan_record = plan_record};
