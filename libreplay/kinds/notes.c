/*
 * Comments on epics, in their threads. The endpoints name the epic by its id, unlike all others. Nothing about a comment is unique: one
 * whose answer was lost is known by its text and the creation time that was sent with it. What GitLab itself wrote (system notes)
 * cannot be made.
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/epics.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/text.h"
#include "libreplay/kinds/twins.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, CREATE };

/*
 * The counter of the lane, in which the parts of one epic follow one another: the target did not take the time of a comment (only Owners
 * may set it, and the author is none), so that it stands there with that of the load. GitLab shows comments in the order of their times: those that
 * come after it go without theirs as well, or they would stand before it.
 */
#define TIMES_LOST 1

static int64_t number(yyjson_val *obj, const char *key)
{
    int64_t v = 0;
    gs_json_i64(obj, key, &v);
    return v;
}

/* The comment of the record that an op is about: the record is the whole epic. */
static yyjson_val *note_of(const struct run *r)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(r->rec, "notes"), i, max, it)
    {
        if (number(it, "id") == r->op.src_id)
            return it;
    }
    return NULL;
}

static bool is_internal(yyjson_val *note)
{
    return gs_json_true(note, "internal") || gs_json_true(note, "confidential");
}

static const char *thread_of(yyjson_val *note)
{
    return step_get(note, "type") ? gs_json_str(note, "discussion_id") : NULL;
}

/* The first comment of the thread in the record; the comment itself when it is that, or stands alone. */
static yyjson_val *first_of(const struct run *r, yyjson_val *note)
{
    size_t i, max;
    yyjson_val *it, *first = note;
    const char *thread = thread_of(note);
    yyjson_arr_foreach(step_get(r->rec, "notes"), i, max, it)
    {
        const char *t = thread ? thread_of(it) : NULL;
        if (t && strcmp(t, thread) == 0 && !gs_json_true(it, "system") &&
            strcmp(gs_json_str(it, "created_at") ? gs_json_str(it, "created_at") : "",
                   gs_json_str(first, "created_at") ? gs_json_str(first, "created_at") : "") < 0)
            first = it;
    }
    return first;
}

static char *note_key(int64_t iid, int64_t id)
{
    return gs_asprintf("&%lld note %lld", (long long)iid, (long long)id);
}

/* The thread that a reply goes to, as the target knows it. *out NULL: its first comment was not loaded. */
static int target_thread(struct run *r, yyjson_val *first, char **out, struct gs_err *err)
{
    struct op op = {0};
    bool found = false;
    gs_autofree char *key = note_key(number(r->rec, "iid"), number(first, "id"));
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (state_find(r->state, "notes", r->op.grp, key, &op, &found, err))
        return -1;
    int64_t id = found && op.state == OP_DONE ? op.id : 0;
    op_release(&op);
    *out = NULL;
    return id ? state_address(r->state, id, out, err) : 0;
}

static int list(struct run *r, const struct epic_at *e, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0) {
        n->page = 1;
        gs_buf_reset(&r->buf);
    }
    if (run_epics_items(r))
        return step_send(r, LIST, items_read(r, "work_item_discussions", e->id, err), out_req, out, err);
    return step_send(r, LIST,
                     run_request(GL_GET, NULL, "/groups/%lld/epics/%lld/discussions?per_page=100&page=%lld",
                                 (long long)e->group, (long long)e->id, (long long)n->page),
                     out_req, out, err);
}

struct new_note {
    int64_t item;
    const char *text, *thread;
    bool internal;
};

/* As a work item's. A first comment cannot be made a thread of its own before somebody answers it. */
static void put_note(struct gs_jw *w, void *cookie)
{
    const struct new_note *n = cookie;
    gid_put(w, "noteableId", "WorkItem", n->item);
    gs_jw_kstr(w, "body", n->text);
    if (n->internal)
        gs_jw_kbool(w, "internal", true);
    if (n->thread)
        gs_jw_kstr(w, "discussionId", n->thread);
}

static int create(struct run *r, const struct epic_at *e, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    yyjson_val *note = note_of(r), *first = first_of(r, note);
    gs_autofree char *text = NULL, *thread = NULL;
    gs_autobuf body;
    gs_buf_init(&body, (size_t)64 << 20);
    if (text_to_send(r, gs_json_str(note, "note"), note, &text, err) ||
        (first != note && target_thread(r, first, &thread, err)))
        return -1;
    if (first != note && !thread)
        return epic_dependency(r, "the comment that it answers", out, err);
    if (run_as_author(r, number(note, "author_id"), err))
        return -1;
    struct new_note item = {e->id, text, thread, is_internal(note)};
    if (run_epics_items(r))
        return step_send(r, CREATE, items_request("note_create", false, put_note, &item, err), out_req, out, err);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "body", text);
    if (is_internal(note))
        gs_jw_kbool(&w, gl_instance_at_least(r->target, 15, 0) ? "internal" : "confidential", true);
    if (gs_json_str(note, "created_at") && *r->lane_next != TIMES_LOST)
        gs_jw_kstr(&w, "created_at", gs_json_str(note, "created_at"));
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *q;
    long long g = (long long)e->group, id = (long long)e->id;
    if (!thread_of(note))
        q = run_request(GL_POST, &body, "/groups/%lld/epics/%lld/notes", g, id);
    else if (first == note)
        q = run_request(GL_POST, &body, "/groups/%lld/epics/%lld/discussions", g, id);
    else
        q = run_request(GL_POST, &body, "/groups/%lld/epics/%lld/discussions/%s/notes", g, id, thread);
    return step_send(r, CREATE, q, out_req, out, err);
}

/* The comment is there; `thread`: its discussion, NULL when that is not told. */
static int take(struct run *r, yyjson_val *there, const char *thread, enum step_result *out, struct gs_err *err)
{
    yyjson_val *note = note_of(r);
    gs_autofree char *text = NULL;
    gs_autobuf lost;
    gs_buf_init(&lost, 4096);
    *out = STEP_DONE;
    if (step_take_id(r, there, err) || (thread && state_address_set(r->state, r->op.id, thread, err)) ||
        text_to_send(r, gs_json_str(note, "note"), note, &text, err))
        return -1;
    if ((step_get(there, "author") && run_author_is(r, number(note, "author_id"), step_get(there, "author"), err)) ||
        (!step_same_text(text, gs_json_str(there, "body")) && step_name(&lost, "text", err)))
        return -1;
    if (is_internal(note) != is_internal(there) && step_name(&lost, "internal", err))
        return -1;
    if (lost.len && run_loss(r, "note-changed", gs_buf_str(&lost), err))
        return -1;
    if (run_epics_items(r) || step_same_time(gs_json_str(note, "created_at"), gs_json_str(there, "created_at")))
        return 0;
    *r->lane_next = TIMES_LOST;
    return run_loss(r, "note-times", NULL, err);
}

static int fits(struct run *r, yyjson_val *it, const char *text, bool *out, struct gs_err *err)
{
    int64_t id = 0;
    bool taken = false, recent = false;
    *out = false;
    if (gs_json_true(it, "system") || !step_same_text(text, gs_json_str(it, "body")) || !gs_json_i64(it, "id", &id))
        return 0;
    if (!step_same_time(gs_json_str(note_of(r), "created_at"), gs_json_str(it, "created_at")) &&
        (step_made_by_us(r, it, &recent, err) || !recent))
        return err->code ? -1 : 0;
    if (state_target_taken(r->state, &r->op, id, &taken, err))
        return -1;
    *out = !taken;
    return 0;
}

static int listed(struct run *r, const struct epic_at *e, const struct gl_response *rsp, struct gl_request **out_req,
                  enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autofree char *text = NULL;
    bool more = false;
    if ((run_epics_items(r) ? items_discussions(r, rsp, &doc, &more, err) : step_array(rsp, &doc, err)) ||
        text_to_send(r, gs_json_str(note_of(r), "note"), note_of(r), &text, err))
        return -1;
    size_t i, k, max, max_k;
    yyjson_val *thread, *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, thread)
    {
        yyjson_arr_foreach(step_get(thread, "notes"), k, max_k, it)
        {
            bool fit;
            if (fits(r, it, text, &fit, err))
                return -1;
            if (!fit)
                continue;
            step_seen(r);
            r->op.found = true;
            return take(r, it, gs_json_str(thread, "id"), out, err);
        }
    }
    struct step_notes *n = step_notes(r);
    if (run_epics_items(r) ? more : step_next_page(n, rsp))
        return list(r, e, out_req, out, err);
    n->page = 0;
    bool proven = true;
    if (step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, e, out_req, out, err) : 0;
}

/* The answer of GraphQL. A note of commands only is none; older servers say so as an error. */
static int created_item(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    gs_autobuf text;
    GS_AUTO(yyjson_doc) there = NULL;
    gs_buf_init(&text, (size_t)64 << 20);
    if (gl_graphql_answer(rsp, &doc, &data, NULL, err)) {
        if (!strstr(err->text, "Commands only"))
            return gs_wrap(err, "writing the comment");
        gs_err_clear(err);
        return step_lost(r, "note-commands", NULL, out, err);
    }
    yyjson_val *note = step_get(step_get(data, "createNote"), "note");
    if (!note)
        return step_lost(r, "note-commands", NULL, out, err);
    struct gs_jw w;
    gs_jw_init(&w, &text, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", gid_of(note));
    gs_jw_kstr(&w, "body", gs_json_str(note, "body"));
    gs_jw_kbool(&w, "internal", gs_json_true(note, "internal"));
    gs_jw_end(&w);
    return gs_jw_finish(&w) || gs_json_parse(gs_buf_str(&text), text.len, NULL, &there, err) ||
                   take(r, yyjson_doc_get_root(there), gs_json_str(step_get(note, "discussion"), "id"), out, err)
               ? -1
               : 0;
}

static int created(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (run_epics_items(r))
        return created_item(r, rsp, out, err);
    if (step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc), *notes = step_get(root, "notes");
    if (rsp->status == 202) /* nothing but quick actions: they were carried out, and no comment was made */
        return step_lost(r, "note-commands", NULL, out, err);
    return notes ? take(r, yyjson_arr_get_first(notes), gs_json_str(root, "id"), out, err) : take(r, root, NULL, out, err);
}

static int note(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct epic_at e;
    enum step_answer a;
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(note_of(r), "note"))
        return step_fail(err, GS_E_RECORD, "the comment is not in the record of its epic, or has no text");
    if (step_judge(r, rsp, r->phase == CREATE, &a, err) || epic_of(r, &e, err))
        return -1;
    if (e.adopted)
        return step_lost(r, "exists-differs", "its epic was there before, and is left as it is", out, err);
    if (a == ANS_LOST)
        return list(r, &e, out_req, out, err);
    switch (r->phase) {
    case START:
        return r->unsure || r->maybe ? list(r, &e, out_req, out, err) : create(r, &e, out_req, out, err);
    case LIST_AGAIN:
        return list(r, &e, out_req, out, err);
    case LIST:
        return a == ANS_REFUSED ? step_refused(rsp, err, "looking for the comment") : listed(r, &e, rsp, out_req, out, err);
    case CREATE:
        return a == ANS_REFUSED ? step_refused(rsp, err, "writing the comment") : created(r, rsp, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "comment in phase %d", r->phase);
    }
}

/* ---- comments that were made twice ---- */

/* Below the id of the epic; NULL: `err` says why. */
static struct gl_request *twins_list(struct run *r, struct gs_err *err)
{
    struct epic_at e;
    if (epic_of(r, &e, err))
        return NULL;
    if (run_epics_items(r))
        return items_read(r, "work_item_discussions", e.id, err);
    return run_request(GL_GET, NULL, "/groups/%lld/epics/%lld/notes?sort=asc&per_page=100&page=%lld", (long long)e.group, (long long)e.id,
                       (long long)step_notes(r)->page);
}

/* The comments of all threads in a row. */
static int flatten(yyjson_val *threads, yyjson_doc **out, struct gs_err *err)
{
    gs_autobuf text;
    struct gs_jw w;
    size_t i, k, max, max_k;
    yyjson_val *thread, *it;
    gs_buf_init(&text, (size_t)256 << 20);
    gs_jw_init(&w, &text, 0, err);
    gs_jw_arr(&w);
    yyjson_arr_foreach(threads, i, max, thread)
    {
        yyjson_arr_foreach(step_get(thread, "notes"), k, max_k, it)
            gs_jw_val(&w, it);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : gs_json_parse(gs_buf_str(&text), text.len, NULL, out, err);
}

static int twins_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_array, bool *out_more, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) threads = NULL;
    if (!run_epics_items(r)) {
        if (step_array(rsp, out_doc, err))
            return -1;
        *out_more = step_next_page(step_notes(r), rsp);
    } else if (items_discussions(r, rsp, &threads, out_more, err) || flatten(yyjson_doc_get_root(threads), out_doc, err)) {
        return -1;
    }
    *out_array = yyjson_doc_get_root(*out_doc);
    return 0;
}

static void put_note_id(struct gs_jw *w, void *cookie)
{
    gid_put(w, "id", "Note", *(int64_t *)cookie);
}

static struct gl_request *twins_remove(struct run *r, int64_t id, struct gs_err *err)
{
    struct epic_at e;
    if (run_epics_items(r))
        return items_request("note_destroy", false, put_note_id, &id, err);
    return epic_of(r, &e, err) ? NULL
                               : run_request(GL_DELETE, NULL, "/groups/%lld/epics/%lld/notes/%lld", (long long)e.group, (long long)e.id, (long long)id);
}

static bool of_a_person(yyjson_val *there)
{
    return !gs_json_true(there, "system");
}

/* By its author too: somebody else may write the same words. Its time is told by an Owner only. */
static const char *const equal[] = {"body", "internal", "author.id", NULL};
static const struct twins twins = {.equal = equal, .bare = of_a_person, .list = twins_list, .page = twins_page, .remove = twins_remove};

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    if (r->phase >= TWINS_PHASE)
        return twins_step(r, &twins, rsp, out_req, out, err);
    return note(r, rsp, out_req, out, err) ? -1 : twins_look(r, &twins, out_req, out, err);
}

const struct kind kind_notes = {.name = "notes", .relation = "notes", .ordered = true, .step = step, .says_texts = true};

/* ---- planning ---- */

struct in_order {
    int64_t at_ms, id;
    yyjson_val *note;
};

static int by_time(const void *a, const void *b)
{
    const struct in_order *x = a, *y = b;
    return x->at_ms != y->at_ms ? (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms) : (x->id > y->id) - (x->id < y->id);
}

static int plan_losses(struct plan *p, const struct grp *g, const char *key, yyjson_val *note, struct gs_err *err)
{
    bool self;
    if (author_is_self(p, number(note, "author_id"), &self, err))
        return -1;
    if ((!self && plan_loss(p, g->id, "notes", key, "note-author", 1, NULL, err)) ||
        (plan_epics_items(p) && plan_loss(p, g->id, "notes", key, "note-times", 1, NULL, err)))
        return -1;
    return gs_json_str(note, "last_edited_at") ? plan_loss(p, g->id, "notes", key, "note-edited", 1, NULL, err) : 0;
}

int notes_plan(struct plan *p, const struct grp *g, const struct pending *epic, yyjson_val *rec, struct gs_err *err)
{
    size_t i, max, n = 0, system = 0, their_awards = 0;
    yyjson_val *it, *notes = step_get(rec, "notes");
    gs_autofree struct in_order *v = calloc(yyjson_arr_size(notes) + 1, sizeof *v);
    struct gs_err ignored = {0};
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    yyjson_arr_foreach(notes, i, max, it)
    {
        const char *at = gs_json_str(it, "created_at");
        if (gs_json_true(it, "system")) {
            system++;
            their_awards += yyjson_arr_size(step_get(it, "award_emoji"));
            continue;
        }
        v[n] = (struct in_order){.id = number(it, "id"), .note = it};
        if (at && gs_time_parse(at, &v[n].at_ms, &ignored))
            v[n].at_ms = 0;
        n++;
    }
    qsort(v, n, sizeof *v, by_time);
    for (i = 0; i < n; i++) {
        gs_autofree char *key = note_key(epic->major, v[i].id);
        if (!key)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        struct pending e = {.kind = "notes", .key = key, .major = epic->major, .minor = 1 + (int64_t)i, .src_id = v[i].id,
                            .ref = epic->ref};
        int64_t minor = (int64_t)1 << 32;
        if (pending_add(p, &e, err) || plan_losses(p, g, key, v[i].note, err) || awards_plan(p, g, &e, v[i].note, &minor, err))
            return -1;
    }
    plan_requests(p, n > 0 && !g->existed); /* the look for twins */
    return plan_loss(p, g->id, "notes", epic->key, "note-system", system, NULL, err) ||
                   plan_loss(p, g->id, "award_emoji", epic->key, "award-without-note", their_awards, NULL, err)
               ? -1
               : 0;
}
