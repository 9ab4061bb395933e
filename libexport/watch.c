#include "libexport/watch.h"

#include "libcommon/clock.h"
#include "libexport/watch_plans.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LOOKS 64
#define NAMES_MAX 120 /* characters of paths in one line of the ledger */

/* Lists as the capture reads them; GraphQL has the first four. */
static const struct {
    const char *connection, *cursor, *path;
} lists[MARK_PLANS] = {
    [MARK_LABELS] = {"labels", "labels",
                     "/labels?include_ancestor_groups=false&include_descendant_groups=false&only_group_labels=true&with_counts=false"},
    [MARK_MILESTONES] = {"milestones", "milestones", "/milestones?state=all&include_ancestors=false"},
    [MARK_MEMBERS] = {"groupMembers", "members", "/members"},
    [MARK_BOARDS] = {"boards", "boards", "/boards"},
    [MARK_BADGES] = {NULL, NULL, "/badges"},
};

static const char *const seen_names[] = {"not", "number", "ids", "all"};

struct known_group {
    int64_t id;
    size_t at; /* in the plan */
    bool seen;
    bool shut; /* what could be read of it is answered by "404" now */
};

struct watch {
    struct capture *c;
    struct known_group *groups; /* by id */
    size_t n, next;             /* next: first group that was not looked at */
    size_t next_late;           /* first group whose badges were not asked for */
    size_t next_list;           /* first group whose children were not listed, where the tree is found level by level */
    unsigned open, listing, asking;
    bool tree_refused, tree_listed;
    int64_t tree_total;         /* announced now, -1 */
    uint64_t looked, new_groups, gone_groups;
    char new_names[NAMES_MAX], gone_names[NAMES_MAX];
    unsigned graphql_ok, graphql_refused;
    struct plans_watch *plans;
};

/* ---- one group ---- */

struct side {
    struct mark mark;
    enum seen seen;
    char *cursor;
    int64_t total; /* announced, -1 */
    bool complete; /* nothing more is asked for */
    bool by_rest;  /* GraphQL shows none of it to this user, REST may */
    bool denied;
    struct gs_err why;
};

struct look {
    struct watch *w;
    size_t at;
    int64_t id;
    const char *full_path;
    unsigned pending, pages;
    struct gl_pages graphql; /* its cost */
    struct side side[MARK_PLANS];
};

struct list_job {
    struct look *l;
    enum mark_kind k;
    bool broke;
};

static struct known_group *known(struct watch *w, int64_t id);
static void look_end(struct look *l);
static int rest_start(struct look *l, enum mark_kind k, struct gs_err *err);
static int graphql_start(struct look *l, struct gs_err *err);

static const struct mark *before(const struct look *l, enum mark_kind k)
{
    return marks_get(l->w->c->marks, l->id, k);
}

static int fetched(const struct look *l, const char *endpoint, const struct gl_pages *p, struct gs_err *err)
{
    struct cap_group g = {.cap = l->w->c, .id = l->id};
    return cap_fetch(&g, "watermarks", endpoint, p, err);
}

/* ---- what a look found ---- */

static const char *time_text(int64_t s, char out[GS_TIME_LEN])
{
    gs_time_format(s * 1000, out);
    if (s == 0)
        snprintf(out, GS_TIME_LEN, "unknown");
    return out;
}

static void describe(const struct mark *m, char *out, size_t cap)
{
    char t[GS_TIME_LEN];
    int n = snprintf(out, cap, "%" PRIu64 " records", m->n);
    if (m->newest_s && n > 0 && (size_t)n < cap)
        n += snprintf(out + n, cap - (size_t)n, ", newest %s", time_text(m->newest_s, t));
    if (m->highest && n > 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, ", highest id %" PRId64, m->highest);
}

/* What happened, as far as numbers and sums tell it. */
static const char *difference(const struct mark *b, const struct mark *a, enum seen seen)
{
    if (a->n > b->n)
        return "some are new";
    if (a->n < b->n)
        return "some are gone";
    if (seen >= SEEN_IDS && a->ids != b->ids)
        return "some are gone, and as many new";
    return a->highest > b->highest ? "some are new, and as many gone" : "some were edited";
}

static bool moved(const struct mark *b, const struct mark *a, enum seen seen)
{
    switch (seen) {
    case SEEN_ALL:
        return a->n != b->n || a->ids != b->ids || a->sum != b->sum;
    case SEEN_IDS:
        return a->n != b->n || a->ids != b->ids;
    case SEEN_NUMBER:
        if (b->lacking > 0)
            return a->n < b->n || a->n > b->n + b->lacking; /* the line may have been no record at all */
        return a->n != b->n || a->newest_s > b->newest_s || a->highest > b->highest;
    case SEEN_NOT:
        break;
    }
    return false;
}

/*
 * An export holds all boards of a group. Without a licence for several, the lists show one of them: what became of the others cannot
 * be seen.
 */
static bool hidden(const struct mark *b, const struct side *s, enum mark_kind k)
{
    return k == MARK_BOARDS && b->label_lists && b->n + b->lacking > 1 && s->seen != SEEN_NOT && s->mark.n == 1;
}

int watch_judge(struct capture *c, int64_t group, enum mark_kind k, const struct mark *before, const struct mark *now, enum seen seen,
                struct gs_err *err)
{
    char was[96], is[96], after[160];
    if (before->lacking > 0 && seen > SEEN_NUMBER) /* what was left out has no id that could be compared */
        seen = SEEN_NUMBER;
    if (!moved(before, now, seen))
        return book_watermark(c->book, group, mark_relation(k), before->n, before->highest, before->newest_s, seen_names[seen], err);
    describe(before, was, sizeof was);
    describe(now, is, sizeof is);
    snprintf(after, sizeof after, "%s: %s", is, difference(before, now, seen));
    return book_changed(c->book, group, mark_relation(k), was, after, err);
}

static int conclude_kind(struct look *l, enum mark_kind k, struct gs_err *err)
{
    struct book *book = l->w->c->book;
    const struct mark *b = before(l, k);
    const struct side *s = &l->side[k];
    char after[160];
    if (!b || (k == MARK_BADGES && !l->w->c->rel)) /* read just now, not looked at */
        return 0;
    if (hidden(b, s, k)) {
        snprintf(after, sizeof after, "the list shows one board of %" PRIu64 ", as without a licence for several", b->n);
        return book_lost(book, l->id, mark_relation(k), "watermark-not-readable", NULL, 0, after, err);
    }
    if (s->denied && s->why.http == 404) {
        known(l->w, l->id)->shut = true; /* the list of the tree tells more */
        return 0;
    }
    if (s->seen == SEEN_NOT)
        return book_lost(book, l->id, mark_relation(k), "watermark-not-readable", NULL, 0, s->why.text, err);
    return watch_judge(l->w->c, l->id, k, b, &s->mark, s->seen, err);
}

static void look_free(struct look *l)
{
    for (size_t k = 0; k < MARK_PLANS; k++)
        free(l->side[k].cursor);
    free(l);
}

static void look_end(struct look *l)
{
    struct watch *w = l->w;
    struct gs_err err = {0};
    if (--l->pending > 0)
        return;
    int r = 0;
    if (!w->c->failed && l->graphql.pages > 0)
        r = fetched(l, "graphql:group, numbers and times", &l->graphql, &err);
    for (size_t k = 0; k < MARK_PLANS && r == 0 && !w->c->failed; k++)
        r = conclude_kind(l, (enum mark_kind)k, &err);
    if (r)
        cap_fail(w->c, &err);
    w->open--;
    w->looked++;
    look_free(l);
}

/* ---- REST ---- */

static bool foreign(const struct look *l, enum mark_kind k, yyjson_val *v)
{
    int64_t owner = l->id;
    const char *kind = gs_json_str(v, "kind");
    if (k == MARK_MILESTONES && gs_json_i64(v, "group_id", &owner))
        return owner != l->id;
    return k == MARK_BADGES && kind && strcmp(kind, "group") != 0;
}

static int list_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct list_job *j = cookie;
    struct side *s = &j->l->side[j->k];
    if (j->l->w->c->failed) {
        j->broke = true;
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    }
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (!foreign(j->l, j->k, v))
            mark_rest(&s->mark, j->k, v, before(j->l, j->k));
    return 0;
}

static void list_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct list_job *j = cookie;
    struct look *l = j->l;
    struct side *s = &l->side[j->k];
    struct gs_err err = {0};
    int r = 0;
    s->complete = true;
    if (result->code == GS_OK) {
        s->seen = mark_rest_tells(j->k, before(l, j->k)) ? SEEN_ALL : SEEN_IDS;
        gs_autofree char *endpoint = gs_asprintf("rest:/groups/:id/%s", mark_relation(j->k));
        r = endpoint ? fetched(l, endpoint, p, &err) : gs_fail(&err, GS_E_NOMEM, "no memory for a name");
    } else if (!l->w->c->failed && !j->broke && cap_denied(result)) {
        s->denied = true;
        s->why = *result;
    } else {
        err = *result;
        r = -1;
    }
    if (r)
        cap_fail(l->w->c, &err);
    free(j);
    look_end(l);
}

/* The whole list of one relation. */
static int rest_start(struct look *l, enum mark_kind k, struct gs_err *err)
{
    if (!before(l, k))
        return 0;
    struct list_job *j = calloc(1, sizeof *j);
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "%s", l->id, lists[k].path);
    struct gl_list_opts o = {.live = true, .tag = {l->id, "watermarks"}};
    if (!j || !path) {
        free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    }
    *j = (struct list_job){.l = l, .k = k};
    l->side[k].mark = (struct mark){0};
    l->pending++;
    if (gl_list_with(l->w->c->client, path, &o, list_page, list_done, j, err) == 0)
        return 0;
    l->pending--;
    free(j);
    return -1;
}

static void number_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct list_job *j = cookie;
    struct look *l = j->l;
    struct side *s = &l->side[j->k];
    (void)req;
    if (rsp->err.code == GS_OK && rsp->total >= 0) {
        s->mark.n = (uint64_t)rsp->total;
        s->seen = SEEN_NUMBER;
    } else if (rsp->err.code == GS_OK || cap_denied(&rsp->err)) {
        s->denied = rsp->err.code != GS_OK;
        s->why = rsp->err;
        if (!s->denied)
            gs_fail(&s->why, GS_E_REMOTE, "the server announces no number");
    } else {
        cap_fail(l->w->c, &rsp->err);
    }
    free(j);
    look_end(l);
}

/* Asks how many there are: the page with the first of them says so. NULL: no memory. */
static struct gl_request *number_request(int64_t group, enum mark_kind k)
{
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "%s%cper_page=1", group, lists[k].path,
                                          strchr(lists[k].path, '?') ? '&' : '?');
    if (r) {
        r->live = true;
        r->tag = (struct gl_tag){group, "watermarks"};
    }
    return r;
}

/* Only how many there are. */
static int number_start(struct look *l, enum mark_kind k, struct gs_err *err)
{
    struct list_job *j = calloc(1, sizeof *j);
    struct gl_request *r = j ? number_request(l->id, k) : NULL;
    if (!r) {
        free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *j = (struct list_job){.l = l, .k = k};
    r->done = number_done;
    r->cookie = j;
    l->pending++;
    if (gl_submit(l->w->c->client, r, err) == 0)
        return 0;
    l->pending--;
    free(j);
    return -1;
}

/* ---- GraphQL ---- */

/* One connection of the answer. *out_more: it goes on, and is to be followed. */
static int take_connection(struct look *l, enum mark_kind k, yyjson_val *group, bool *out_more, struct gs_err *err)
{
    struct side *s = &l->side[k];
    yyjson_val *conn = yyjson_obj_get(group, lists[k].connection), *info = yyjson_obj_get(conn, "pageInfo");
    const struct mark *b = before(l, k);
    if (yyjson_is_null(conn)) { /* GitLab's way to say: not for you */
        s->complete = s->by_rest = true;
        return rest_start(l, k, err);
    }
    if (!yyjson_is_arr(yyjson_obj_get(conn, "nodes")))
        return gs_fail(err, GS_E_REMOTE, "GraphQL: the server's answer has no '%s.nodes'", lists[k].connection);
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(conn, "nodes"));
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        mark_node(&s->mark, k, v, b);
    if (!gs_json_i64(conn, "count", &s->total))
        s->total = -1;
    const char *cursor = gs_json_str(info, "endCursor");
    bool more = gs_json_true(info, "hasNextPage");
    if (more && (!cursor || (s->cursor && strcmp(cursor, s->cursor) == 0)))
        return gs_fail(err, GS_E_REMOTE, "GraphQL: the pages of '%s' do not go on", lists[k].connection);
    free(s->cursor);
    s->cursor = cursor ? strdup(cursor) : NULL;
    if (cursor && !s->cursor)
        return gs_fail(err, GS_E_NOMEM, "no memory for a cursor");
    s->complete = !more || (!l->w->c->o.thorough && l->pages >= WATCH_PAGES);
    if (!more)
        s->seen = b->by_content && k != MARK_MEMBERS ? SEEN_IDS : SEEN_ALL;
    *out_more |= !s->complete;
    return 0;
}

/* Relations that are too long to be followed: their number. */
static int count_rest(struct look *l, struct gs_err *err)
{
    for (size_t k = 0; k < MARK_BADGES; k++) {
        struct side *s = &l->side[k];
        if (s->seen != SEEN_NOT || !s->complete || s->by_rest || !before(l, (enum mark_kind)k))
            continue;
        if (s->total >= 0) {
            s->mark.n = (uint64_t)s->total;
            s->seen = SEEN_NUMBER;
        } else if (number_start(l, (enum mark_kind)k, err)) {
            return -1;
        }
    }
    return 0;
}

static int take_answer(struct look *l, yyjson_val *data, struct gs_err *err)
{
    yyjson_val *group = yyjson_obj_get(data, "group");
    bool more = false;
    l->pages++;
    for (size_t k = 0; k < MARK_BADGES; k++)
        if (!l->side[k].complete && before(l, (enum mark_kind)k) && take_connection(l, (enum mark_kind)k, group, &more, err))
            return -1;
    return more ? graphql_start(l, err) : count_rest(l, err);
}

static void graphql_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct look *l = cookie;
    struct watch *w = l->w;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    (void)req;
    int r = gl_graphql_answer(rsp, &doc, &data, &unknown, &err);
    bool there = r == 0 && yyjson_is_obj(yyjson_obj_get(data, "group"));
    if (there) {
        w->graphql_ok++;
        l->graphql.pages++;
        l->graphql.bytes += rsp->body.len;
        l->graphql.retries += rsp->tries > 0 ? rsp->tries - 1 : 0;
        l->graphql.waited_ms += rsp->waited_ms;
        r = take_answer(l, data, &err);
    } else if (r == 0 || cap_denied(&err)) { /* by REST then, which also tells whether the group is still there */
        w->graphql_refused += r != 0;
        r = 0;
        for (size_t k = 0; k < MARK_BADGES && r == 0; k++)
            r = l->side[k].by_rest ? 0 : rest_start(l, (enum mark_kind)k, &err);
    }
    if (r)
        cap_fail(w->c, &err);
    look_end(l);
}

static int graphql_start(struct look *l, struct gs_err *err)
{
    const char *document = gl_document("group_marks");
    gs_autobuf vars;
    struct gs_jw jw;
    gs_buf_init(&vars, 64 << 10);
    gs_jw_init(&jw, &vars, 0, err);
    gs_jw_obj(&jw);
    gs_jw_kstr(&jw, "fullPath", l->full_path);
    for (size_t k = 0; k < MARK_BADGES; k++)
        gs_jw_kstr(&jw, lists[k].cursor, l->side[k].cursor);
    gs_jw_end(&jw);
    if (gs_jw_finish(&jw))
        return -1;
    struct gl_request *r = document ? gl_graphql_request(document, gs_buf_str(&vars), true) : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = graphql_done;
    r->cookie = l;
    r->goes_on = l->pages > 0;
    r->live = true;
    r->tag = (struct gl_tag){l->id, "watermarks"};
    l->pending++;
    if (gl_submit(l->w->c->client, r, err) == 0)
        return 0;
    l->pending--;
    return -1;
}

static int look_start(struct watch *w, const struct plan_group *pg, size_t at, struct gs_err *err)
{
    struct look *l = calloc(1, sizeof *l);
    if (!l)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    *l = (struct look){.w = w, .at = at, .id = pg->id, .full_path = pg->full_path, .pending = 1};
    l->graphql.announced = -1;
    w->open++;
    int r = 0;
    if (w->graphql_ok > 0 || w->graphql_refused < 3)
        r = graphql_start(l, err);
    else
        for (size_t k = 0; k < MARK_BADGES && r == 0; k++)
            r = rest_start(l, (enum mark_kind)k, err);
    if (r == 0)
        r = w->c->rel ? rest_start(l, MARK_BADGES, err) : 0;
    if (r)
        cap_fail(w->c, err);
    look_end(l);
    return r;
}

/* ---- the tree ---- */

static struct known_group *known(struct watch *w, int64_t id)
{
    size_t lo = 0, hi = w->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (w->groups[mid].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < w->n && w->groups[lo].id == id ? &w->groups[lo] : NULL;
}

static void name(char names[NAMES_MAX], uint64_t n, const char *path)
{
    size_t len = strlen(names);
    if (n > 3 || !path)
        return;
    snprintf(names + len, NAMES_MAX - len, "%s%s", n > 1 ? ", " : "", path);
}

/* One group as a list, or its own request, shows it now. */
static int compare_group(struct watch *w, yyjson_val *v, struct gs_err *err)
{
    struct capture *c = w->c;
    int64_t id = 0;
    uint64_t mark;
    const char *path = gs_json_str(v, "full_path");
    if (gs_json_need_i64(v, "id", &id, err))
        return gs_wrap(err, "list of the groups below '%s'", c->root_path);
    struct known_group *k = known(w, id);
    if (!k) {
        name(w->new_names, ++w->new_groups, path);
        return 0;
    }
    if (k->seen)
        return 0;
    k->seen = true;
    const struct plan_group *pg = &c->plan.v[k->at];
    if (mark_value(v, &mark, err))
        return -1;
    if (mark == pg->mark || pg->mark == 0)
        return 0;
    char was[96], is[160];
    snprintf(was, sizeof was, "%s", pg->full_path);
    if (path && strcmp(path, pg->full_path) != 0)
        snprintf(is, sizeof is, "is now %s", path);
    else
        snprintf(is, sizeof is, "its name or settings were edited");
    return book_changed(c->book, id, "self", was, is, err);
}

static int tree_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct watch *w = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    if (w->c->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    while ((v = yyjson_arr_iter_next(&it)))
        if (compare_group(w, v, err))
            return -1;
    return 0;
}

static void tree_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct watch *w = cookie;
    struct capture *c = w->c;
    struct cap_group root = {.cap = c, .id = c->root_id};
    struct gs_err err = {0};
    w->listing--;
    if (result->code == GS_OK) {
        w->tree_listed = true;
        w->tree_total = w->tree_total < 0 || p->announced < 0 ? -1 : w->tree_total + p->announced;
        if (cap_fetch(&root, "watermarks", c->recursive ? "rest:/groups/:id/subgroups" : "rest:/groups/:id/descendant_groups", p, &err))
            cap_fail(c, &err);
    } else if (!c->failed && cap_denied(result)) {
        w->tree_refused |= result->http != 404 || !c->recursive; /* the children of a group that is gone are gone with it */
    } else {
        cap_fail(c, result);
    }
}

static int tree_start(struct watch *w, int64_t id, bool below, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/%s?all_available=true&order_by=id&sort=asc", id,
                                         below ? "subgroups" : "descendant_groups");
    struct gl_list_opts o = {.live = true, .tag = {id, "watermarks"}};
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    w->listing++;
    if (gl_list_with(w->c->client, path, &o, tree_page, tree_done, w, err) == 0)
        return 0;
    w->listing--;
    return -1;
}

static void root_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct watch *w = cookie;
    struct capture *c = w->c;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts raw = {.raw_numbers = true};
    int r = 0;
    (void)req;
    w->asking--;
    if (rsp->err.code == GS_OK)
        r = gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, &raw, &doc, &err) || compare_group(w, yyjson_doc_get_root(doc), &err);
    else if (cap_denied(&rsp->err))
        r = book_changed(c->book, c->root_id, "self", "could be read", "cannot be read any more", &err);
    else
        cap_fail(c, &rsp->err);
    if (r)
        cap_fail(c, &err);
}

static int root_start(struct watch *w, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "?with_projects=false", w->c->root_id);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = root_done;
    r->cookie = w;
    r->live = true;
    r->tag = (struct gl_tag){w->c->root_id, "watermarks"};
    w->asking++;
    if (gl_submit(w->c->client, r, err) == 0)
        return 0;
    w->asking--;
    return -1;
}

/* Groups that no list shows any more, and those that none showed before. */
static int conclude_tree(struct watch *w, struct gs_err *err)
{
    struct capture *c = w->c;
    bool listed = w->tree_listed && !w->tree_refused;
    char was[96], is[160];
    for (size_t i = 0; i < w->n; i++)
        if (w->groups[i].shut && (!listed || w->groups[i].seen || w->groups[i].id == c->root_id) &&
            book_changed(c->book, w->groups[i].id, "self", "could be read", "cannot be read any more", err))
            return -1;
    if (c->o.no_subgroups)
        return 0;
    if (!listed)
        return book_lost(c->book, c->root_id, "subgroups", "watermark-not-readable", NULL, 0, NULL, err);
    for (size_t i = 0; i < w->n; i++) {
        const struct plan_group *pg = &c->plan.v[w->groups[i].at];
        if (w->groups[i].seen || pg->id == c->root_id)
            continue;
        name(w->gone_names, ++w->gone_groups, pg->full_path);
        if (book_gone(c->book, pg->id, err) || book_changed(c->book, pg->id, "self", pg->full_path, "does not exist any more", err))
            return -1;
    }
    if (w->new_groups + w->gone_groups == 0)
        return 0;
    snprintf(was, sizeof was, "%zu groups", c->plan.n);
    snprintf(is, sizeof is, "%" PRIu64 " new%s%.55s%s, %" PRIu64 " gone%s%.55s%s", w->new_groups, w->new_groups ? " (" : "",
             w->new_names, w->new_groups ? ")" : "", w->gone_groups, w->gone_groups ? " (" : "", w->gone_names,
             w->gone_groups ? ")" : "");
    return book_changed(c->book, c->root_id, "subgroups", was, is, err);
}

/* What was read instead of being looked at. */
static int conclude_late(struct watch *w, struct gs_err *err)
{
    struct capture *c = w->c;
    for (size_t i = 0; i < c->plan.n && !c->rel; i++) {
        const struct mark *m = marks_get(c->marks, c->plan.v[i].id, MARK_BADGES);
        if (m && book_watermark(c->book, c->plan.v[i].id, mark_relation(MARK_BADGES), m->n, m->highest, m->newest_s,
                                seen_names[SEEN_ALL], err))
            return -1;
    }
    return 0;
}

/* ---- balances that do not add up: does the server still say so? ---- */

struct gap_job {
    struct watch *w;
    size_t gap;
    int64_t announced;
};

static void gap_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct gap_job *j = cookie;
    struct watch *w = j->w;
    struct book_gap *gaps;
    (void)req;
    w->asking--;
    if (rsp->err.code == GS_OK && j->gap < book_gaps(w->c->book, &gaps))
        gaps[j->gap].confirmed = rsp->total == j->announced;
    else if (rsp->err.code != GS_OK && !cap_denied(&rsp->err))
        cap_fail(w->c, &rsp->err);
    free(j);
}

static int gap_start(struct watch *w, size_t i, const struct book_gap *g, enum mark_kind k, struct gs_err *err)
{
    struct gap_job *j = calloc(1, sizeof *j);
    struct gl_request *r = j ? number_request(g->group_id, k) : NULL;
    if (!r) {
        free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *j = (struct gap_job){.w = w, .gap = i, .announced = g->announced};
    r->done = gap_done;
    r->cookie = j;
    w->asking++;
    if (gl_submit(w->c->client, r, err) == 0)
        return 0;
    w->asking--;
    free(j);
    return -1;
}

static int check_gaps(struct watch *w, struct gs_err *err)
{
    struct book_gap *gaps;
    size_t n = book_gaps(w->c->book, &gaps);
    for (size_t i = 0; i < n; i++) {
        enum mark_kind k = mark_kind_of(gaps[i].relation);
        if (book_has_changed(w->c->book, gaps[i].group_id, gaps[i].relation))
            continue;
        if (k >= MARK_PLANS) /* nobody can ask again: what was announced stands */
            gaps[i].confirmed = true;
        else if (gap_start(w, i, &gaps[i], k, err))
            return -1;
    }
    return 0;
}

/* ---- the course ---- */

static int by_id(const void *a, const void *b)
{
    const struct known_group *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int begin(struct watch *w, struct gs_err *err)
{
    struct capture *c = w->c;
    w->groups = calloc(c->plan.n + 1, sizeof *w->groups);
    if (!w->groups)
        return gs_fail(err, GS_E_NOMEM, "no memory for the tree");
    w->n = c->plan.n;
    for (size_t i = 0; i < w->n; i++)
        w->groups[i] = (struct known_group){.id = c->plan.v[i].id, .at = i};
    qsort(w->groups, w->n, sizeof *w->groups, by_id);
    if (root_start(w, err))
        return -1;
    if (plans_watch_new(c, &w->plans, err))
        return -1;
    w->next_list = c->recursive ? 0 : w->n;
    w->next_late = c->rel ? w->n : 0;
    return c->o.no_subgroups || c->recursive ? 0 : tree_start(w, c->root_id, false, err);
}

static int fill(struct watch *w, struct gs_err *err)
{
    struct capture *c = w->c;
    unsigned max = 2 * c->o.jobs < MAX_LOOKS ? 2 * c->o.jobs : MAX_LOOKS;
    while (!c->o.no_subgroups && w->next_list < w->n && w->listing < 2)
        if (tree_start(w, c->plan.v[w->next_list++].id, true, err))
            return -1;
    while (w->next < w->n && w->open < max && gl_room(c->client) > 0) {
        size_t at = w->next++;
        if (c->plan.v[at].state == PLAN_KEPT && look_start(w, &c->plan.v[at], at, err))
            return -1;
    }
    /* single requests last: they fill what the ends of longer lists leave free */
    while (w->next_late < w->n && gl_room(c->client) > 0) {
        size_t at = w->next_late++;
        if (c->plan.v[at].state == PLAN_KEPT && cap_group_late(c, at, err))
            return -1;
    }
    return cap_fill_aside(c, err) || plans_watch_fill(w->plans, err) ? -1 : 0;
}

static bool busy(const struct watch *w)
{
    return w->open > 0 || w->c->open > 0 || w->listing > 0 || w->asking > 0 || w->next < w->n ||
           w->next_late < w->n || cap_aside_left(w->c) || plans_watch_busy(w->plans) || (!w->c->o.no_subgroups && w->next_list < w->n);
}

void watch_run(struct capture *c)
{
    struct watch w = {.c = c};
    struct gs_err err = {0};
    if (begin(&w, &err))
        cap_fail(c, &err);
    while (!c->failed && busy(&w)) {
        if (cap_stopped(c))
            break;
        if (fill(&w, &err) || gl_poll(c->client, 200, &err))
            cap_fail(c, &err);
        c->looked = w.looked;
        cap_report(c);
    }
    if (!c->failed && (conclude_tree(&w, &err) || conclude_late(&w, &err) || check_gaps(&w, &err)))
        cap_fail(c, &err);
    while (gl_pending(c->client) > 0 && (c->failed || w.asking > 0))
        if (gl_poll(c->client, 200, &err))
            break;
    plans_watch_free(w.plans);
    free(w.groups);
}
