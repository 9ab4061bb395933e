#include "libexport/watch_plans.h"

#include "libexport/watch.h"

#include <stdlib.h>
#include <string.h>

/* The lists of each kind; iterations are a list of their own beside their cadences. */
enum list_of { EPICS, WORK_ITEMS, EPIC_BOARDS, CADENCES, ITERATIONS };
static const struct {
    const char *document, *connection, *endpoint;
} lists[] = {
    [EPICS] = {"epic_marks", "group.epics", "graphql:group.epics, numbers and times"},
    [WORK_ITEMS] = {"work_items_list", "group.workItems", "graphql:group.workItems, numbers and times"},
    [EPIC_BOARDS] = {"epic_board_marks", "group.epicBoards", "graphql:group.epicBoards, names"},
    [CADENCES] = {"group_cadences", "group.iterationCadences", "graphql:group.iterationCadences"},
    [ITERATIONS] = {"group_iterations", "group.iterations", "graphql:group.iterations"},
};

/* Does a group have some now? */
static const struct {
    const char *document, *connections[MARK_KINDS - MARK_PLANS];
} some[] = {
    {"group_plans", {"epics", "epicBoards", "iterationCadences"}},
    {"work_items_now", {"workItems", NULL, "iterationCadences"}},
};

struct plans_watch {
    struct capture *c;
    size_t next;
    unsigned open;
    bool items; /* epics are work items on this server, and nothing else */
};

/* One kind of one group. */
struct plan_look {
    struct plans_watch *w;
    size_t at;
    enum mark_kind k;
    enum list_of list;
    struct mark mark;
};

static const struct plan_group *group_of(const struct plans_watch *w, size_t at)
{
    return &w->c->plan.v[at];
}

/* ---- a list ---- */

static int list_start(struct plan_look *l, struct gs_err *err);

static int list_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct plan_look *l = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    if (l->w->c->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    while ((v = yyjson_arr_iter_next(&it)))
        if (l->list == ITERATIONS)
            mark_iteration(&l->mark, v);
        else
            mark_node(&l->mark, l->k, v, &l->mark);
    return 0;
}

/* The list is complete; *out_goes_on: another one belongs to it. */
static int list_ended(struct plan_look *l, const struct gl_pages *p, bool *out_goes_on, struct gs_err *err)
{
    struct capture *c = l->w->c;
    const struct plan_group *pg = group_of(l->w, l->at);
    struct cap_group g = {.cap = c, .id = pg->id};
    const struct mark *before = marks_get(c->marks, pg->id, l->k);
    if (cap_fetch(&g, "watermarks", lists[l->list].endpoint, p, err))
        return -1;
    if (l->list == CADENCES) {
        l->list = ITERATIONS;
        *out_goes_on = true;
        return list_start(l, err);
    }
    if (c->rel && l->mark.n == 0) /* an export holds what the lists do not show without a licence: what became of it cannot be seen */
        return 0;
    return watch_judge(c, pg->id, l->k, before, &l->mark, before->by_content ? SEEN_IDS : SEEN_ALL, err);
}

/* The server refuses the list: as work items then, or it is said. */
static int list_refused(struct plan_look *l, const struct gs_err *why, bool *out_goes_on, struct gs_err *err)
{
    struct capture *c = l->w->c;
    if (l->list == EPICS && why->code == GS_E_GRAPHQL && (!c->o.instance || gl_instance_at_least(c->o.instance, 17, 2))) {
        l->w->items = true;
        l->list = WORK_ITEMS;
        l->mark = (struct mark){0};
        *out_goes_on = true;
        return list_start(l, err);
    }
    return book_lost(c->book, group_of(l->w, l->at)->id, mark_relation(l->k), "watermark-not-readable", NULL, 0, why->text, err);
}

static void list_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct plan_look *l = cookie;
    struct plans_watch *w = l->w;
    struct gs_err err = {0};
    bool goes_on = false;
    int r = 0;
    if (!w->c->failed && result->code == GS_OK) {
        r = list_ended(l, p, &goes_on, &err);
    } else if (!w->c->failed && cap_denied(result)) {
        r = list_refused(l, result, &goes_on, &err);
    } else if (!w->c->failed) {
        err = *result;
        r = -1;
    }
    if (r)
        cap_fail(w->c, &err);
    if (goes_on && r == 0)
        return;
    w->open--;
    free(l);
}

static int list_start(struct plan_look *l, struct gs_err *err)
{
    const struct plan_group *pg = group_of(l->w, l->at);
    const char *document = gl_document(lists[l->list].document);
    struct gl_list_opts o = {.live = true, .tag = {pg->id, "watermarks"}};
    if (!document)
        return gs_fail(err, GS_E_NOMEM, "no memory for a document");
    return gl_graphql_list_with(l->w->c->client, document, pg->full_path, lists[l->list].connection, &o, list_page, list_done, l, err);
}

static int look(struct plans_watch *w, size_t at, enum mark_kind k, struct gs_err *err)
{
    static const enum list_of first[] = {EPICS, EPIC_BOARDS, CADENCES};
    struct plan_look *l = calloc(1, sizeof *l);
    if (!l)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    *l = (struct plan_look){.w = w, .at = at, .k = k, .list = first[k - MARK_PLANS]};
    if (k == MARK_EPICS && w->items)
        l->list = WORK_ITEMS;
    w->open++;
    if (list_start(l, err) == 0)
        return 0;
    w->open--;
    free(l);
    return -1;
}

/* ---- were there none? ---- */

struct some_job {
    struct plans_watch *w;
    size_t at;
    unsigned way;
    bool silent; /* the books tell of it only when there are some */
};

static int ask_some(struct some_job *j, struct gs_err *err);

/* None were read, and none are to be seen: as it was. */
static int judge_some(const struct some_job *j, yyjson_val *data, struct gs_err *err)
{
    struct capture *c = j->w->c;
    int64_t id = group_of(j->w, j->at)->id;
    for (unsigned i = 0; i < MARK_KINDS - MARK_PLANS; i++) {
        enum mark_kind k = (enum mark_kind)(MARK_PLANS + i);
        const struct mark *b = marks_get(c->marks, id, k);
        const char *connection = some[j->way].connections[i];
        if (!b || b->n > 0 || !connection)
            continue;
        /* how many is not asked: one is enough to differ from none */
        struct mark now = {.n = yyjson_arr_size(yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(data, "group"), connection), "nodes"))};
        if ((now.n || !j->silent) && watch_judge(c, id, k, b, &now, now.n ? SEEN_NUMBER : SEEN_ALL, err))
            return -1;
    }
    return 0;
}

static void some_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct some_job *j = cookie;
    struct plans_watch *w = j->w;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false, goes_on = false;
    (void)req;
    int r = gl_graphql_answer(rsp, &doc, &data, &unknown, &err);
    if (r == 0) {
        struct cap_group g = {.cap = w->c, .id = group_of(w, j->at)->id};
        r = w->c->failed ? 0 : (!j->silent && cap_fetch_one(&g, "watermarks", "graphql:group, whether it has some", rsp, 0, &err)) || judge_some(j, data, &err);
    } else if (unknown && j->way == 0) {
        gs_err_clear(&err);
        j->way = 1;
        goes_on = true;
        r = w->c->failed ? -1 : ask_some(j, &err);
    } else if (cap_denied(&err)) { /* it told none before, or was never asked: nothing can be said */
        gs_err_clear(&err);
        r = 0;
    }
    if (r)
        cap_fail(w->c, &err);
    if (goes_on && r == 0)
        return;
    w->open--;
    free(j);
}

static int ask_some(struct some_job *j, struct gs_err *err)
{
    const struct plan_group *pg = group_of(j->w, j->at);
    gs_autobuf vars;
    struct gs_jw jw;
    gs_buf_init(&vars, 64 << 10);
    gs_jw_init(&jw, &vars, 0, err);
    gs_jw_obj(&jw);
    gs_jw_kstr(&jw, "fullPath", pg->full_path);
    gs_jw_end(&jw);
    if (gs_jw_finish(&jw))
        return -1;
    const char *document = gl_document(some[j->way].document);
    struct gl_request *r = document ? gl_graphql_request(document, gs_buf_str(&vars), true) : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = some_done;
    r->cookie = j;
    r->live = true;
    r->tag = (struct gl_tag){pg->id, "watermarks"};
    return gl_submit(j->w->c->client, r, err);
}

static int look_whether(struct plans_watch *w, size_t at, bool silent, struct gs_err *err)
{
    struct some_job *j = calloc(1, sizeof *j);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    *j = (struct some_job){.w = w, .at = at, .way = w->items, .silent = silent};
    w->open++;
    if (ask_some(j, err) == 0)
        return 0;
    w->open--;
    free(j);
    return -1;
}

/* ---- the course ---- */

static int begin_group(struct plans_watch *w, size_t at, struct gs_err *err)
{
    struct capture *c = w->c;
    bool none = false;
    if (group_of(w, at)->state != PLAN_KEPT)
        return 0;
    for (enum mark_kind k = MARK_PLANS; k < MARK_KINDS; k++) {
        const struct mark *m = marks_get(c->marks, group_of(w, at)->id, k);
        if (m && m->n + m->lacking > 0 && look(w, at, k, err))
            return -1;
        none |= m && m->n + m->lacking == 0;
    }
    if (!none)
        return 0;
    /* of others the answer that there are none came a moment ago; where an earlier run had it, the books stay as if it had come now */
    bool always = at == 0 || c->rel || c->o.pass > 1;
    bool earlier = c->o.staging && staging_run(c->o.staging) > 1;
    return always || earlier ? look_whether(w, at, !always, err) : 0;
}

int plans_watch_new(struct capture *c, struct plans_watch **out, struct gs_err *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return gs_fail(err, GS_E_NOMEM, "no memory for a look");
    (*out)->c = c;
    return 0;
}

void plans_watch_free(struct plans_watch *w)
{
    free(w);
}

int plans_watch_fill(struct plans_watch *w, struct gs_err *err)
{
    struct capture *c = w->c;
    /* the root's were read at once, at the beginning */
    while (w->next < c->plan.n && (w->next == 0 || !cap_aside_left(c)) && gl_room(c->client) > 0)
        if (begin_group(w, w->next++, err))
            return -1;
    return 0;
}

bool plans_watch_busy(const struct plans_watch *w)
{
    return w->open > 0 || w->next < w->c->plan.n;
}
