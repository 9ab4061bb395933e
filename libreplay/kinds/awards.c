/*
 * Award emoji on epics and on comments of epics. They belong to whoever gives them: those of other people than the token's user
 * are a loss. GitLab keeps one of a name per user and object: a second one is answered 404 (gitlab-api facts, section 0.3).
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/epics.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE };

/* Where the emoji of this op are: below the epic, or below a comment of it (of work items the global id of that). *out NULL: the comment
 * was not loaded. */
static int collection(struct run *r, const struct epic_at *e, char **out, struct gs_err *err)
{
    struct op op = {0};
    bool found = false;
    const char *note = gs_json_str(r->rec, "note");
    if (note && state_find(r->state, "notes", r->op.grp, note, &op, &found, err))
        return -1;
    int64_t id = found && op.state == OP_DONE ? op.target_id : 0;
    op_release(&op);
    *out = NULL;
    if (note && !id)
        return 0;
    if (run_epics_items(r))
        *out = gs_asprintf("gid://gitlab/%s/%lld", note ? "Note" : "WorkItem", (long long)(note ? id : e->id));
    else
        *out = note ? gs_asprintf("/groups/%lld/epics/%lld/notes/%lld/award_emoji", (long long)e->group, (long long)e->iid,
                              (long long)id)
                : gs_asprintf("/groups/%lld/epics/%lld/award_emoji", (long long)e->group, (long long)e->iid);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

static int list(struct run *r, const char *at, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0)
        n->page = 1;
    return step_send(r, LIST, run_request(GL_GET, NULL, "%s?per_page=100&page=%lld", at, (long long)n->page), out_req, out,
                     err);
}

/* Who gave it at the source; 0 in older state files, which have only those of the token's user. */
static int64_t giver(struct run *r)
{
    int64_t user = 0;
    gs_json_i64(r->rec, "user_id", &user);
    return user;
}

struct new_award {
    const char *at, *name;
};

static void put_award(struct gs_jw *w, void *cookie)
{
    const struct new_award *a = cookie;
    gs_jw_kstr(w, "awardableId", a->at);
    gs_jw_kstr(w, "name", a->name);
}

/* Work items: a second one is refused by its name, so that nothing has to be looked up. */
static int given(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    *out = STEP_DONE;
    if (gl_graphql_answer(rsp, &doc, &data, NULL, err) == 0)
        return 0;
    bool there = strstr(err->text, "already been taken"), unknown = strstr(err->text, "not a valid emoji") || strstr(err->text, "is not included");
    struct gs_err why = *err;
    if (!there && !unknown)
        return gs_wrap(err, "giving the emoji");
    gs_err_clear(err);
    r->op.found = there && r->unsure;
    return there ? 0 : step_lost(r, "award-unknown", why.text, out, err);
}

static int create(struct run *r, const char *at, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, 4096);
    struct gs_jw w;
    struct new_award a = {at, gs_json_str(r->rec, "name")};
    bool told = giver(r) == 0;
    if (!told && (run_acts_as(r, giver(r), &told, err) || (told && run_as_author(r, giver(r), err))))
        return -1;
    if (!told) /* nobody gives it for him */
        return step_lost(r, "award-of-others", NULL, out, err);
    if (run_epics_items(r))
        return step_send_repeatable(r, CREATE, items_request("award_emoji_add", false, put_award, &a, err), out_req, out, err);
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "name", gs_json_str(r->rec, "name"));
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : step_send(r, CREATE, run_request(GL_POST, &body, "%s", at), out_req, out, err);
}

static bool fits(struct run *r, yyjson_val *it)
{
    int64_t user = 0, want = run_self(r);
    struct gs_err ignored = {0};
    gs_json_i64(step_get(it, "user"), "id", &user);
    if (giver(r))
        GS_IGNORE(run_user(r, giver(r), &want, &ignored), "then it is nobody's");
    return user == want && step_same_text(gs_json_str(r->rec, "name"), gs_json_str(it, "name"));
}

static int listed(struct run *r, const char *at, const struct gl_response *rsp, struct gl_request **out_req,
                  enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        if (!fits(r, it))
            continue;
        step_seen(r);
        r->op.found = true;
        *out = STEP_DONE;
        return step_take_id(r, it, err);
    }
    if (step_next_page(n, rsp))
        return list(r, at, out_req, out, err);
    n->page = 0;
    bool proven = true;
    if (step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    if (proven && n->why)
        return step_fail(err, GS_E_REFUSED, "the server says that the emoji was given, and does not show it");
    return proven ? create(r, at, out_req, out, err) : 0;
}

static int refused(struct run *r, const char *at, const struct gl_response *rsp, struct gl_request **out_req,
                   enum step_result *out, struct gs_err *err)
{
    const char *body = gs_buf_str(&rsp->body);
    if (strstr(body, "already been taken") || strstr(body, "already exists")) {
        step_notes(r)->why = 1;
        step_hidden(r);
        return list(r, at, out_req, out, err);
    }
    return rsp->status == 404 && strstr(body, "Award Emoji") ? step_lost(r, "award-unknown", rsp->err.text, out, err)
                                                             : step_refused(rsp, err, "giving the emoji");
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct epic_at e;
    enum step_answer a;
    gs_autofree char *at = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == CREATE, &a, err) || epic_of(r, &e, err) || collection(r, &e, &at, err))
        return -1;
    if (e.adopted)
        return step_lost(r, "exists-differs", "its epic was there before, and is left as it is", out, err);
    if (!at)
        return epic_dependency(r, "the comment that it is on", out, err);
    if (run_epics_items(r) && a != ANS_REFUSED)
        return a == ANS_OK ? given(r, rsp, out, err) : create(r, at, out_req, out, err);
    if (a == ANS_LOST)
        return list(r, at, out_req, out, err);
    switch (r->phase) {
    case START:
        return r->unsure ? list(r, at, out_req, out, err) : create(r, at, out_req, out, err);
    case LIST_AGAIN:
        return list(r, at, out_req, out, err);
    case LIST:
        return a == ANS_REFUSED ? step_refused(rsp, err, "looking for the emoji") : listed(r, at, rsp, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED)
            return refused(r, at, rsp, out_req, out, err);
        *out = STEP_DONE;
        return step_doc(rsp, &doc, err) || (giver(r) && run_author_is(r, giver(r), step_get(yyjson_doc_get_root(doc), "user"), err)) ||
                       step_take_id(r, yyjson_doc_get_root(doc), err)
                   ? -1
                   : 0;
    default:
        return gs_fail(err, GS_E_INTERNAL, "emoji in phase %d", r->phase);
    }
}

const struct kind kind_award_emoji = {.name = "award_emoji", .relation = "award_emoji", .ordered = true, .step = step};

/* ---- planning ---- */

static int plan_one(struct plan *p, const struct grp *g, const struct pending *holder, bool on_note, yyjson_val *award,
                    int64_t minor, struct gs_err *err)
{
    const char *name = gs_json_str(award, "name");
    int64_t user = 0;
    bool self;
    if (!name)
        return 0;
    gs_json_i64(award, "user_id", &user);
    gs_autofree char *key = gs_asprintf("%s :%s: of %lld", holder->key, name, (long long)user);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (author_is_self(p, user, &self, err))
        return -1;
    if (!self)
        return plan_loss(p, g->id, "award_emoji", key, "award-of-others", 1, NULL, err);
    gs_autobuf arg;
    gs_buf_init(&arg, 4096);
    struct gs_jw w;
    gs_jw_init(&w, &arg, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "name", name);
    gs_jw_ki64(&w, "user_id", user);
    if (on_note)
        gs_jw_kstr(&w, "note", holder->key);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct pending e = {.kind = "award_emoji", .key = key, .arg = gs_buf_str(&arg), .major = holder->major, .minor = minor};
    gs_json_i64(award, "id", &e.src_id);
    return pending_add(p, &e, err) || plan_loss(p, g->id, "award_emoji", key, "award-times", 1, NULL, err) ? -1 : 0;
}

int awards_plan(struct plan *p, const struct grp *g, const struct pending *holder, yyjson_val *rec, int64_t *minor,
                struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(rec, "award_emoji"), i, max, it)
    {
        if (plan_one(p, g, holder, holder->minor > 0, it, ((int64_t)1 << 32) + ++*minor, err))
            return -1;
    }
    return 0;
}
