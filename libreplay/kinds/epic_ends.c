/*
 * What ends the load of an epic: closing it, when all its parts are there, and last of all its update time, which everything else
 * moves. GitLab takes that together with another attribute only (gitlab-api facts, section 4 b).
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/epics.h"
#include "libreplay/kinds/kinds.h"

#include <string.h>

enum { START, PUT };

static void put_close(struct gs_jw *w, void *cookie)
{
    gid_put(w, "id", "WorkItem", *(int64_t *)cookie);
    gs_jw_kstr(w, "stateEvent", "CLOSE");
}

static int put(struct run *r, const struct epic_at *e, struct gs_buf *body, struct gl_request **out_req,
               enum step_result *out, struct gs_err *err)
{
    int64_t id = e->id;
    if (run_epics_items(r)) /* of which only the state can be set later */
        return step_send_repeatable(r, PUT, items_request("work_item_update", false, put_close, &id, err), out_req, out, err);
    struct gl_request *q =
        run_request(GL_PUT, body, "/groups/%lld/epics/%lld", (long long)e->group, (long long)e->iid);
    return step_send_repeatable(r, PUT, q, out_req, out, err);
}

/* The course of both: one request that may be repeated. *out_there is the epic as it is then; NULL: the request is on its way, or there
 * is nothing to do. */
static int once(struct run *r, const struct gl_response *rsp, struct gs_buf *body, const char *doing, yyjson_doc **out_there,
                struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct epic_at e;
    enum step_answer a;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (step_judge(r, rsp, r->phase == PUT, &a, err) || epic_of(r, &e, err))
        return -1;
    *out = STEP_DONE;
    if (e.adopted)
        return 0;
    if (a == ANS_NONE || a == ANS_LOST)
        return put(r, &e, body, out_req, out, err);
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "%s", doing);
    bool more;
    if (run_epics_items(r) ? items_answer(r, rsp, "workItemUpdate", out_there, &more, err) : step_doc(rsp, out_there, err))
        return gs_wrap(err, "%s", doing);
    return epic_seen(r, &e, yyjson_doc_get_root(*out_there), err);
}

static int close_step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf body;
    gs_buf_init(&body, 64);
    if (gs_buf_addstr(&body, "{\"state_event\":\"close\"}", err) ||
        once(r, rsp, &body, "closing the epic", &doc, out_req, out, err))
        return -1;
    if (doc && !step_same_text(gs_json_str(yyjson_doc_get_root(doc), "state"), "closed"))
        return step_fail(err, GS_E_REMOTE, "the server did not close the epic");
    return 0;
}

const struct kind kind_epics_state = {.name = "epics.state", .relation = "epics", .step = close_step};

static int times_step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf body;
    gs_buf_init(&body, 1 << 16);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "title", gs_json_str(r->rec, "title"));
    gs_jw_kstr(&w, "updated_at", gs_json_str(r->rec, "updated_at"));
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || once(r, rsp, &body, "setting when the epic was updated", &doc, out_req, out, err))
        return -1;
    const char *there = doc ? gs_json_str(yyjson_doc_get_root(doc), "updated_at") : NULL;
    return there && !step_same_time(gs_json_str(r->rec, "updated_at"), there) ? run_loss(r, "epic-updated-at", NULL, err) : 0;
}

const struct kind kind_epics_times = {.name = "epics.times", .relation = "epics", .step = times_step};
