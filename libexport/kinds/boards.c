/*
 * boards with their lists: REST and GraphQL, put together by id. REST hides the Open and Closed lists, the times and the
 * iteration; GraphQL of the Community Edition knows no scope. Both are small, so they are kept until both are there.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT_MAX ((size_t)256 << 20) /* bytes of all boards of one group, per source */
#define GRAPHQL_LISTS 100                /* of a board in one answer; REST tells the rest */

/* Elements of a list, kept as text. */
struct collected {
    struct gs_buf text;
    struct piece {
        int64_t id;
        size_t off, len;
    } *v;
    size_t n, cap;
    uint64_t twice;
    bool ok, broke;
    struct gs_err why;
};

struct boards {
    struct cap_group *group;
    struct collected rest, graphql;
    unsigned document; /* index in documents[] */
    unsigned left;     /* requests whose answer is not complete */
    int64_t announced;
};

static const struct {
    unsigned number;
    const char *name;
    bool enterprise;
} documents[] = {{5, "group_boards", true}, {6, "group_boards_ce", false}};

#define LUCK_REST 4

/* ---- collecting ---- */

static int collect(struct boards *b, struct collected *c, yyjson_val *array, struct gs_err *err)
{
    if (b->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it))) {
        int64_t id = cap_id(v);
        bool twice = false;
        for (size_t i = 0; i < c->n && !twice; i++)
            twice = c->v[i].id == id;
        if (twice) {
            c->twice++;
            continue;
        }
        if (c->n == c->cap) {
            size_t cap = c->cap ? c->cap * 2 : 8;
            struct piece *p = realloc(c->v, cap * sizeof *p);
            if (!p)
                return gs_fail(err, GS_E_NOMEM, "no memory for boards");
            c->v = p;
            c->cap = cap;
        }
        size_t off = c->text.len;
        if (gs_json_write(v, &c->text, err))
            return -1;
        c->v[c->n++] = (struct piece){.id = id, .off = off, .len = c->text.len - off};
    }
    return 0;
}

static void collected_release(struct collected *c)
{
    gs_buf_release(&c->text);
    free(c->v);
    c->v = NULL;
    c->n = c->cap = 0;
}

static void boards_free(struct boards *b)
{
    collected_release(&b->rest);
    collected_release(&b->graphql);
    free(b);
}

static int parse_piece(const struct collected *c, int64_t id, yyjson_doc **out, struct gs_err *err)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->v[i].id == id)
            return gs_json_parse(c->text.data + c->v[i].off, c->v[i].len, NULL, out, err);
    *out = NULL;
    return 0;
}

/* ---- records ---- */

/* The value that both may know, under its GraphQL and its REST name. */
static yyjson_val *either(yyjson_val *g, const char *gname, yyjson_val *r, const char *rname)
{
    yyjson_val *v = yyjson_obj_get(g, gname);
    if (!v || yyjson_is_null(v)) {
        yyjson_val *other = yyjson_obj_get(r, rname);
        v = other ? other : v;
    }
    return v;
}

static void put(struct gs_jw *w, const char *key, yyjson_val *v)
{
    gs_jw_key(w, key);
    if (v)
        gs_jw_val(w, v);
    else
        gs_jw_null(w);
}

/* The id column of an object that may be there; null when not. Special milestones (any, none, upcoming) have ids below 1. */
static void put_id(struct gs_jw *w, const char *key, yyjson_val *v)
{
    int64_t id = 0;
    const char *gid = gs_json_str(v, "id");
    gs_jw_key(w, key);
    if (gid) {
        const char *slash = strrchr(gid, '/');
        gs_jw_i64(w, strtoll(slash ? slash + 1 : gid, NULL, 10));
    } else if (gs_json_i64(v, "id", &id)) {
        gs_jw_i64(w, id);
    } else {
        gs_jw_null(w);
    }
}

/* Any, none, upcoming ...: filters that look like objects. The id column says which; the export shows no object either. */
static bool wildcard(yyjson_val *v)
{
    int64_t id = 0;
    const char *gid = gs_json_str(v, "id"), *slash = gid ? strrchr(gid, '/') : NULL;
    if (gid)
        return strtoll(slash ? slash + 1 : gid, NULL, 10) <= 0;
    return gs_json_i64(v, "id", &id) && id <= 0;
}

static void put_milestone(struct gs_jw *w, yyjson_val *m)
{
    int64_t iid;
    const char *iid_text = gs_json_str(m, "iid");
    gs_jw_key(w, "milestone");
    if (!yyjson_is_obj(m) || wildcard(m)) {
        gs_jw_null(w);
        return;
    }
    gs_jw_obj(w);
    put_id(w, "id", m);
    cap_copy(w, "title", m, "title");
    if (iid_text)
        gs_jw_ki64(w, "iid", strtoll(iid_text, NULL, 10));
    else if (gs_json_i64(m, "iid", &iid))
        gs_jw_ki64(w, "iid", iid);
    cap_copy_known(w, "group_id", m, "group_id");
    cap_copy_known(w, "description", m, "description");
    cap_copy_known(w, "state", m, "state");
    cap_copy_date(w, "due_date", m, yyjson_obj_get(m, "dueDate") ? "dueDate" : "due_date");
    cap_copy_date(w, "start_date", m, yyjson_obj_get(m, "startDate") ? "startDate" : "start_date");
    gs_jw_end(w);
}

static void put_iteration(struct gs_jw *w, yyjson_val *it)
{
    if (!yyjson_is_obj(it) || wildcard(it))
        return;
    gs_jw_key(w, "iteration");
    gs_jw_obj(w);
    put_id(w, "id", it);
    const char *iid = gs_json_str(it, "iid");
    if (iid)
        gs_jw_ki64(w, "iid", strtoll(iid, NULL, 10));
    cap_copy_known(w, "title", it, "title");
    cap_copy_date(w, "start_date", it, yyjson_obj_get(it, "startDate") ? "startDate" : "start_date");
    cap_copy_date(w, "due_date", it, yyjson_obj_get(it, "dueDate") ? "dueDate" : "due_date");
    gs_jw_end(w);
}

static int put_user(struct capture *c, struct gs_jw *w, const char *key, yyjson_val *u, struct gs_err *err)
{
    if (!yyjson_is_obj(u))
        return 0;
    struct cap_user user = cap_user_graphql(u);
    gs_jw_key(w, key);
    gs_jw_obj(w);
    put_id(w, "id", u);
    cap_copy_known(w, "public_email", u, "publicEmail");
    cap_copy(w, "username", u, "username");
    cap_copy_known(w, "name", u, "name");
    gs_jw_end(w);
    return cap_user(c, &user, err);
}

struct board_list {
    yyjson_val *g, *r; /* one may be NULL */
    int64_t id, position; /* INT64_MAX: none */
    int rank;
};

static const char *list_type(const struct board_list *l)
{
    const char *t = gs_json_str(l->g, "listType");
    if (t)
        return t;
    return yyjson_is_obj(yyjson_obj_get(l->r, "assignee"))    ? "assignee"
           : yyjson_is_obj(yyjson_obj_get(l->r, "milestone")) ? "milestone"
           : yyjson_is_obj(yyjson_obj_get(l->r, "iteration")) ? "iteration"
                                                              : "label";
}

static int by_position(const void *a, const void *b)
{
    const struct board_list *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank - y->rank;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int put_list(struct capture *c, struct gs_jw *w, int64_t board_id, const struct board_list *l, struct gs_err *err)
{
    yyjson_val *label = either(l->g, "label", l->r, "label");
    yyjson_val *user = either(l->g, "assignee", l->r, "assignee");
    yyjson_val *milestone = either(l->g, "milestone", l->r, "milestone");
    yyjson_val *iteration = either(l->g, "iteration", l->r, "iteration");
    const char *type = list_type(l);
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", l->id);
    gs_jw_ki64(w, "board_id", board_id);
    put_id(w, "label_id", label);
    gs_jw_kstr(w, "list_type", type);
    gs_jw_key(w, "position");
    if (l->position == INT64_MAX)
        gs_jw_null(w);
    else
        gs_jw_i64(w, l->position);
    put_id(w, "user_id", user);
    put_id(w, "milestone_id", milestone);
    put_id(w, "iteration_id", iteration);
    put(w, "max_issue_count", either(l->g, "maxIssueCount", l->r, "max_issue_count"));
    put(w, "max_issue_weight", either(l->g, "maxIssueWeight", l->r, "max_issue_weight"));
    put(w, "limit_metric", either(l->g, "limitMetric", l->r, "limit_metric"));
    if (yyjson_is_obj(label)) {
        gs_jw_key(w, "label");
        cap_nested_label(w, label);
    }
    if (yyjson_is_obj(milestone))
        put_milestone(w, milestone);
    put_iteration(w, iteration);
    if (put_user(c, w, "user", user, err))
        return -1;
    gs_jw_end(w);
    return 0;
}

static int add_lists(struct board_list **v, size_t *n, yyjson_val *array, bool graphql, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *e;
    while ((e = yyjson_arr_iter_next(&it))) {
        int64_t id = cap_id(e);
        size_t i = 0;
        while (i < *n && (*v)[i].id != id)
            i++;
        if (i == *n) {
            struct board_list *bigger = realloc(*v, (*n + 1) * sizeof *bigger);
            if (!bigger)
                return gs_fail(err, GS_E_NOMEM, "no memory for the lists of a board");
            *v = bigger;
            (*v)[(*n)++] = (struct board_list){.id = id, .position = INT64_MAX};
        }
        struct board_list *l = &(*v)[i];
        if (graphql)
            l->g = e;
        else
            l->r = e;
        int64_t position;
        if (gs_json_i64(e, "position", &position))
            l->position = position;
    }
    return 0;
}

static int put_lists(struct capture *c, struct gs_jw *w, int64_t board_id, yyjson_val *g, yyjson_val *r,
                     struct gs_err *err)
{
    struct board_list *v = NULL;
    size_t n = 0;
    int ret = add_lists(&v, &n, yyjson_obj_get(yyjson_obj_get(g, "lists"), "nodes"), true, err);
    if (ret == 0)
        ret = add_lists(&v, &n, yyjson_obj_get(r, "lists"), false, err);
    for (size_t i = 0; i < n; i++) {
        const char *t = list_type(&v[i]);
        v[i].rank = strcmp(t, "backlog") == 0 ? 0 : strcmp(t, "closed") == 0 ? 2 : 1;
        if (v[i].rank != 1)
            v[i].position = INT64_MAX;
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_position);
    gs_jw_key(w, "lists");
    gs_jw_arr(w);
    for (size_t i = 0; i < n && ret == 0; i++)
        ret = put_list(c, w, board_id, &v[i], err);
    gs_jw_end(w);
    free(v);
    return ret;
}

static int put_board(struct boards *b, struct gs_jw *w, int64_t id, yyjson_val *g, yyjson_val *r, struct gs_err *err)
{
    yyjson_val *milestone = either(g, "milestone", r, "milestone");
    yyjson_val *assignee = either(g, "assignee", r, "assignee");
    yyjson_val *iteration = yyjson_obj_get(g, "iteration"), *cadence = yyjson_obj_get(g, "iterationCadence");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", id);
    gs_jw_kstr(w, "project_id", NULL);
    gs_jw_ki64(w, "group_id", b->group->id);
    put(w, "name", either(g, "name", r, "name"));
    put_id(w, "milestone_id", milestone);
    put_id(w, "iteration_id", iteration);
    put_id(w, "iteration_cadence_id", cadence);
    put(w, "weight", either(g, "weight", r, "weight"));
    put(w, "hide_backlog_list", either(g, "hideBacklogList", r, "hide_backlog_list"));
    put(w, "hide_closed_list", either(g, "hideClosedList", r, "hide_closed_list"));
    cap_copy_known(w, "created_at", g, "createdAt");
    cap_copy_known(w, "updated_at", g, "updatedAt");
    if (yyjson_is_obj(assignee)) {
        gs_jw_key(w, "board_assignee");
        gs_jw_obj(w);
        gs_jw_ki64(w, "board_id", id);
        put_id(w, "assignee_id", assignee);
        if (put_user(b->group->cap, w, "assignee", assignee, err))
            return -1;
        gs_jw_end(w);
    }
    put_milestone(w, milestone);
    put_iteration(w, iteration);
    if (yyjson_is_obj(cadence)) {
        gs_jw_key(w, "iteration_cadence");
        gs_jw_obj(w);
        put_id(w, "id", cadence);
        cap_copy(w, "title", cadence, "title");
        gs_jw_end(w);
    }
    yyjson_val *labels = yyjson_obj_get(yyjson_obj_get(g, "labels"), "nodes");
    if (!labels)
        labels = yyjson_obj_get(r, "labels");
    gs_jw_key(w, "labels");
    gs_jw_arr(w);
    yyjson_arr_iter it = yyjson_arr_iter_with(labels);
    yyjson_val *l;
    while ((l = yyjson_arr_iter_next(&it)))
        cap_nested_label(w, l);
    gs_jw_end(w);
    if (put_lists(b->group->cap, w, id, g, r, err))
        return -1;
    gs_jw_end(w);
    return gs_jw_finish(w);
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int store(struct boards *b, int64_t id, struct sink *s, struct gs_err *err)
{
    struct capture *c = b->group->cap;
    GS_AUTO(yyjson_doc) g = NULL;
    GS_AUTO(yyjson_doc) r = NULL;
    struct gs_jw w;
    if (parse_piece(&b->graphql, id, &g, err) || parse_piece(&b->rest, id, &r, err))
        return -1;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    yyjson_val *gv = g ? yyjson_doc_get_root(g) : NULL, *rv = r ? yyjson_doc_get_root(r) : NULL;
    if (put_board(b, &w, id, gv, rv, err) || sink_add(s, gs_buf_str(&c->json), c->json.len, err))
        return -1;
    size_t shown = yyjson_arr_size(yyjson_obj_get(yyjson_obj_get(gv, "lists"), "nodes"));
    if (!rv && shown >= GRAPHQL_LISTS)
        return book_lost(c->book, b->group->id, "boards", "truncated-by-server", NULL, 1,
                         "a board with more lists than one answer shows", err);
    return 0;
}

/* From what one API showed, not from the record, which holds what both know: the look at the end asks that API again. */
static int put_mark(struct boards *b, struct gs_err *err)
{
    struct mark m = {.by_content = !b->graphql.ok};
    const struct collected *c = b->graphql.ok ? &b->graphql : &b->rest;
    for (size_t i = 0; i < c->n; i++) {
        GS_AUTO(yyjson_doc) doc = NULL;
        if (parse_piece(c, c->v[i].id, &doc, err))
            return -1;
        if (b->graphql.ok)
            mark_node(&m, MARK_BOARDS, yyjson_doc_get_root(doc), &m);
        else
            mark_rest(&m, MARK_BOARDS, yyjson_doc_get_root(doc), &m);
    }
    return marks_put(b->group->cap->marks, b->group->id, MARK_BOARDS, &m, err);
}

/*
 * A GitLab without a licence for several boards shows one of them, whichever there are. The same licence gives boards a scope, of
 * which REST shows the weight, empty or not.
 */
static bool may_hide(const struct boards *b)
{
    const struct collected *c = b->rest.ok ? &b->rest : &b->graphql;
    const struct gl_instance *i = b->group->cap->o.instance;
    if (c->n != 1)
        return false;
    if (!b->rest.ok)
        return !i || i->enterprise != 1;
    return !memmem(c->text.data + c->v[0].off, c->v[0].len, "\"weight\":", 9);
}

static int finish(struct boards *b, struct gs_err *err)
{
    struct cap_group *g = b->group;
    struct capture *c = g->cap;
    if (!b->rest.ok && !b->graphql.ok)
        return cap_missing(g, "boards", &b->rest.why, err);
    if (!b->rest.ok && book_fallback(c->book, g->id, "boards", "rest", "graphql", b->rest.why.text, err))
        return -1;
    if (b->graphql.ok && b->document > 0 && c->o.instance && c->o.instance->enterprise == 1 &&
        (book_fallback(c->book, g->id, "boards", "graphql:group_boards", documents[b->document].name,
                       "the full document was refused", err) ||
         (b->graphql.n > 0 &&
          book_lost(c->book, g->id, "boards", "board-scope-not-readable", NULL, b->graphql.n, NULL, err))))
        return -1;
    if (!b->graphql.ok &&
        (book_fallback(c->book, g->id, "boards", "graphql", "rest", b->graphql.why.text, err) ||
         (b->rest.n > 0 && (book_lost(c->book, g->id, "boards", "board-times-not-readable", NULL, b->rest.n, NULL, err) ||
                            book_lost(c->book, g->id, "boards", "board-lists-hidden", NULL, b->rest.n, NULL, err)))))
        return -1;
    size_t n = 0;
    gs_autofree int64_t *ids = malloc((b->rest.n + b->graphql.n + 1) * sizeof *ids);
    struct sink *s;
    if (!ids)
        return gs_fail(err, GS_E_NOMEM, "no memory for boards");
    for (size_t i = 0; i < b->rest.n; i++)
        ids[n++] = b->rest.v[i].id;
    for (size_t i = 0; i < b->graphql.n; i++)
        ids[n++] = b->graphql.v[i].id;
    qsort(ids, n, sizeof *ids, by_number);
    if (b->rest.ok && b->graphql.ok && b->rest.n != b->graphql.n) {
        char before[48], after[48];
        snprintf(before, sizeof before, "%zu boards over REST", b->rest.n);
        snprintf(after, sizeof after, "%zu boards over GraphQL", b->graphql.n);
        if (book_changed(c->book, g->id, "boards", before, after, err))
            return -1;
    }
    if (cap_sink(g, "boards", &s, err))
        return -1;
    if (!sink_is_shelf(s) && may_hide(b) &&
        book_left_out(c->book, g->id, "boards", "boards-hidden", NULL, 0, "how many is not shown", err)) {
        sink_abandon(s);
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        if ((i == 0 || ids[i] != ids[i - 1]) && store(b, ids[i], s, err)) {
            sink_abandon(s);
            return gs_wrap(err, "boards of group '%s'", g->full_path);
        }
    return sink_close(s, b->announced, 0, err) || put_mark(b, err) ? -1 : 0;
}

/* ---- requests ---- */

static void part_done(struct boards *b)
{
    struct cap_group *g = b->group;
    struct gs_err err = {0};
    if (--b->left > 0)
        return;
    if (!g->cap->failed && finish(b, &err))
        cap_fail(g->cap, &err);
    boards_free(b);
    cap_end(g);
}

static int rest_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct boards *b = cookie;
    b->rest.broke = collect(b, &b->rest, array, err) != 0;
    return b->rest.broke ? -1 : 0;
}

static int graphql_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct boards *b = cookie;
    b->graphql.broke = collect(b, &b->graphql, array, err) != 0;
    return b->graphql.broke ? -1 : 0;
}

/* True when the list came; a refusal is kept in `why`, anything else fails the capture. */
static bool ended(struct boards *b, struct collected *c, unsigned number, const char *endpoint, const struct gl_pages *p,
                  const struct gs_err *result)
{
    struct capture *cap = b->group->cap;
    struct gs_err err = {0};
    if (result->code == GS_OK) {
        cap->luck[number].ok++;
        c->ok = cap_fetch(b->group, "boards", endpoint, p, &err) == 0 &&
                cap_compare(b->group, "boards", p, c->twice, &err) == 0;
        if (!c->ok)
            cap_fail(cap, &err);
        return true;
    }
    c->why = *result;
    if (c->broke || !cap_denied(result))
        cap_fail(cap, result);
    else
        cap_refused(cap, number, result);
    return false;
}

static void rest_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct boards *b = cookie;
    if (ended(b, &b->rest, LUCK_REST, "rest:/groups/:id/boards", p, result))
        b->announced = p->announced;
    part_done(b);
}

static int graphql_send(struct boards *b, struct gs_err *err);

static void graphql_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct boards *b = cookie;
    struct capture *c = b->group->cap;
    struct gs_err err = {0};
    if (!ended(b, &b->graphql, documents[b->document].number, "graphql:group.boards", p, result) && !c->failed &&
        ++b->document < GS_COUNT(documents)) {
        struct gs_err why = b->graphql.why;
        collected_release(&b->graphql);
        b->graphql = (struct collected){.why = why};
        gs_buf_init(&b->graphql.text, COLLECT_MAX);
        if (graphql_send(b, &err) == 0)
            return;
        cap_fail(c, &err);
    }
    part_done(b);
}

static int graphql_send(struct boards *b, struct gs_err *err)
{
    struct cap_group *g = b->group;
    const char *doc = gl_document(documents[b->document].name);
    if (!doc)
        return gs_fail(err, GS_E_INTERNAL, "no GraphQL document '%s'", documents[b->document].name);
    struct gl_list_opts tagged = {.tag = {g->id, "boards"}};
    return gl_graphql_list_with(g->cap->client, doc, g->full_path, "group.boards", &tagged, graphql_page, graphql_done, b, err);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct boards *b = calloc(1, sizeof *b);
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/boards", g->id);
    if (!b || !path) {
        free(b);
        return gs_fail(err, GS_E_NOMEM, "no memory for boards");
    }
    b->group = g;
    b->announced = -1;
    b->left = 1;
    gs_buf_init(&b->rest.text, COLLECT_MAX);
    gs_buf_init(&b->graphql.text, COLLECT_MAX);
    cap_begin(g);
    struct gl_list_opts tagged = {.tag = {g->id, "boards"}};
    if (gl_list_with(g->cap->client, path, &tagged, rest_page, rest_done, b, err)) {
        boards_free(b);
        cap_end(g);
        return -1;
    }
    /* the first document that was not refused all the time; a Community Edition knows only the last */
    bool enterprise = !g->cap->o.instance || g->cap->o.instance->enterprise != 0;
    while (b->document < GS_COUNT(documents) &&
           (!cap_try(g->cap, documents[b->document].number) || (documents[b->document].enterprise && !enterprise)))
        b->document++;
    if (b->document == GS_COUNT(documents)) {
        gs_fail(&b->graphql.why, GS_E_GRAPHQL, "%s", g->cap->luck[documents[GS_COUNT(documents) - 1].number].why);
        return 0;
    }
    if (graphql_send(b, err))
        return -1; /* the other request ends the job */
    b->left = 2;
    return 0;
}

const struct cap_kind cap_kind_boards = {.relation = "boards", .start = start};
