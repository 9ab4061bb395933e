/*
 * epic boards with their lists, and in each list its epics in the order of the board, which nothing but GraphQL shows. Read of groups that
 * have some (kinds/unread.c), and beside an export, which has neither the labels of a board nor the order. A hidden list shows none.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT_MAX ((size_t)1 << 30)

static const struct {
    unsigned number; /* of the luck */
    const char *document;
    int since;       /* major version */
} ways[] = {{15, "group_epic_boards_16", 16}, {16, "group_epic_boards", 0}};

/* A list with more epics than an answer shows: all of them, read apart. */
struct long_list {
    struct job *job;
    char *gid;
    struct gs_buf epics; /* elements of an array */
};

struct job {
    struct cap_group *group;
    unsigned way, open;
    struct gs_buf text;
    struct piece {
        int64_t id;
        size_t off, len;
    } *v;
    size_t n, cap;
    struct long_list **lists;
    size_t n_lists;
    struct idset seen;
    uint64_t twice;
    struct gl_pages pages;
    bool broke, failed;
};

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->n_lists; i++) {
        free(j->lists[i]->gid);
        gs_buf_release(&j->lists[i]->epics);
        free(j->lists[i]);
    }
    free(j->lists);
    free(j->v);
    gs_buf_release(&j->text);
    idset_release(&j->seen);
    free(j);
}

/* ---- records ---- */

static yyjson_val *nodes(yyjson_val *v, const char *connection)
{
    return yyjson_obj_get(yyjson_obj_get(v, connection), "nodes");
}

static void put_label(struct gs_jw *w, yyjson_val *label)
{
    if (!yyjson_is_obj(label))
        return;
    gs_jw_key(w, "label");
    cap_nested_label(w, label);
}

static void put_epic(struct gs_jw *w, yyjson_val *e)
{
    yyjson_val *g = yyjson_obj_get(e, "group");
    const char *iid = gs_json_str(e, "iid");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(e));
    gs_jw_ki64(w, "group_id", cap_id(g));
    gs_jw_ki64(w, "iid", iid ? strtoll(iid, NULL, 10) : 0);
    cap_copy(w, "title", e, "title");
    cap_copy(w, "group_path", g, "fullPath");
    gs_jw_end(w);
}

static struct long_list *long_list(const struct job *j, yyjson_val *list)
{
    const char *gid = gs_json_str(list, "id");
    for (size_t i = 0; gid && i < j->n_lists; i++)
        if (strcmp(j->lists[i]->gid, gid) == 0)
            return j->lists[i];
    return NULL;
}

static void put_list(const struct job *j, struct gs_jw *w, yyjson_val *l)
{
    yyjson_val *label = yyjson_obj_get(l, "label"), *e;
    const struct long_list *more = long_list(j, l);
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(l));
    cap_copy(w, "list_type", l, "listType");
    cap_copy(w, "position", l, "position");
    gs_jw_ki64(w, "group_id", j->group->id);
    if (yyjson_is_obj(label))
        gs_jw_ki64(w, "label_id", cap_id(label));
    put_label(w, label);
    gs_jw_key(w, "epics");
    gs_jw_arr(w);
    if (more && more->epics.len)
        gs_jw_raw(w, more->epics.data, more->epics.len);
    yyjson_arr_iter it = yyjson_arr_iter_with(more ? NULL : nodes(l, "epics"));
    while ((e = yyjson_arr_iter_next(&it)))
        put_epic(w, e);
    gs_jw_end(w);
    gs_jw_end(w);
}

static int put_board(const struct job *j, yyjson_val *b, struct gs_jw *w)
{
    yyjson_val *v;
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(b));
    cap_copy(w, "name", b, "name");
    gs_jw_ki64(w, "group_id", j->group->id);
    cap_copy(w, "hide_backlog_list", b, "hideBacklogList");
    cap_copy(w, "hide_closed_list", b, "hideClosedList");
    cap_copy_known(w, "display_colors", b, "displayColors");
    gs_jw_key(w, "labels");
    gs_jw_arr(w);
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes(b, "labels"));
    while ((v = yyjson_arr_iter_next(&it)))
        cap_nested_label(w, v);
    gs_jw_end(w);
    gs_jw_key(w, "epic_lists");
    gs_jw_arr(w);
    it = yyjson_arr_iter_with(nodes(b, "lists"));
    while ((v = yyjson_arr_iter_next(&it)))
        put_list(j, w, v);
    gs_jw_end(w);
    gs_jw_end(w);
    return gs_jw_finish(w);
}

static int by_id(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int store(struct job *j, struct sink *s, struct gs_err *err)
{
    struct capture *c = j->group->cap;
    qsort(j->v, j->n, sizeof *j->v, by_id);
    for (size_t i = 0; i < j->n; i++) {
        GS_AUTO(yyjson_doc) doc = NULL;
        struct gs_jw w;
        if (gs_json_parse(j->text.data + j->v[i].off, j->v[i].len, NULL, &doc, err))
            return -1;
        gs_buf_reset(&c->json);
        gs_jw_init(&w, &c->json, 0, err);
        if (put_board(j, yyjson_doc_get_root(doc), &w) || sink_add(s, gs_buf_str(&c->json), c->json.len, err))
            return -1;
    }
    return 0;
}

static int finish(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    struct sink *s;
    if (cap_fetch(g, "epic_boards", "graphql:group.epicBoards", &j->pages, err) ||
        cap_compare(g, "epic_boards", &j->pages, j->twice, err) || cap_sink(g, "epic_boards", &s, err))
        return -1;
    bool shelf = sink_is_shelf(s);
    if ((j->n > 0 && store(j, s, err)) ||
        (j->n > 0 && !shelf && book_lost(g->cap->book, g->id, "epic_boards", "timestamps-not-readable", NULL, j->n, NULL, err))) {
        sink_abandon(s);
        return gs_wrap(err, "epic boards of group '%s'", g->full_path);
    }
    return sink_close(s, -1, 0, err);
}

/* Ends the job when nothing of it is pending; `j` may be gone afterwards. */
static void settle(struct job *j, int r, struct gs_err *err)
{
    struct cap_group *g = j->group;
    if (r && !j->failed) {
        j->failed = true;
        cap_fail(g->cap, err);
    }
    if (j->open > 0)
        return;
    if (!j->failed && !g->cap->failed && finish(j, err))
        cap_fail(g->cap, err);
    job_free(j);
    cap_end(g);
}

/* ---- long lists ---- */

static int on_epics(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct long_list *l = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *e;
    while ((e = yyjson_arr_iter_next(&it))) {
        struct gs_jw w;
        if (l->epics.len && gs_buf_addc(&l->epics, ',', err))
            return -1;
        gs_jw_init(&w, &l->epics, 0, err);
        put_epic(&w, e);
        if (gs_jw_finish(&w))
            return -1;
    }
    return 0;
}

static void on_epics_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct job *j = ((struct long_list *)cookie)->job;
    struct gs_err err = *result;
    int r = result->code == GS_OK ? 0 : -1;
    j->pages.bytes += p->bytes;
    j->pages.retries += p->retries;
    if (r && cap_denied(result)) {
        gs_err_clear(&err);
        r = book_lost(j->group->cap->book, j->group->id, "epic_boards", "truncated-by-server", "epics", 1, result->text, &err);
    }
    j->open--;
    settle(j, r, &err);
}

static int ask_long(struct job *j, yyjson_val *list, struct gs_err *err)
{
    struct cap_group *g = j->group;
    const char *gid = gs_json_str(list, "id"), *doc = gl_document("epic_list_epics");
    struct long_list *l = calloc(1, sizeof *l), **p = realloc(j->lists, (j->n_lists + 1) * sizeof *p);
    if (p)
        j->lists = p;
    gs_autofree char *vars = gid ? gs_asprintf("\"list\":\"%s\"", gid) : NULL;
    if (!l || !p || !vars || !doc || !(l->gid = strdup(gid))) {
        free(l);
        return gs_fail(err, GS_E_NOMEM, "no memory for the lists of epic boards");
    }
    l->job = j;
    gs_buf_init(&l->epics, COLLECT_MAX);
    j->lists[j->n_lists++] = l;
    struct gl_list_opts tagged = {.tag = {g->id, "epic_boards"}, .live = g->late, .variables = vars};
    j->open++;
    if (gl_graphql_list_with(g->cap->client, doc, g->full_path, "epicBoardList.epics", &tagged, on_epics, on_epics_done, l, err) == 0)
        return 0;
    j->open--;
    return -1;
}

/* ---- the boards ---- */

static int add(struct job *j, yyjson_val *v, struct gs_err *err)
{
    bool is_new;
    int64_t id = cap_id(v);
    if (!yyjson_is_obj(v) || id <= 0)
        return gs_fail(err, GS_E_REMOTE, "an element of the list of epic boards has no id");
    if (idset_add(&j->seen, id, &is_new, err))
        return -1;
    if (!is_new) {
        j->twice++;
        return 0;
    }
    if (j->n == j->cap) {
        size_t cap = j->cap ? 2 * j->cap : 8;
        struct piece *p = realloc(j->v, cap * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "no memory for epic boards");
        j->v = p;
        j->cap = cap;
    }
    size_t off = j->text.len;
    if (gs_json_write(v, &j->text, err))
        return -1;
    j->v[j->n++] = (struct piece){.id = id, .off = off, .len = j->text.len - off};
    yyjson_arr_iter it = yyjson_arr_iter_with(nodes(v, "lists"));
    yyjson_val *l;
    while ((l = yyjson_arr_iter_next(&it)))
        if (gs_json_true(yyjson_obj_get(yyjson_obj_get(l, "epics"), "pageInfo"), "hasNextPage") && ask_long(j, l, err))
            return -1;
    return 0;
}

static int page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct job *j = cookie;
    if (j->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (add(j, v, err)) {
            j->broke = true;
            return gs_wrap(err, "epic boards of group '%s'", j->group->full_path);
        }
    return 0;
}

static int send(struct job *j, struct gs_err *err);

static bool next_way(struct job *j)
{
    const struct capture *c = j->group->cap;
    while (++j->way < GS_COUNT(ways))
        if (cap_try(c, ways[j->way].number) && gl_instance_at_least(c->o.instance, ways[j->way].since, 0))
            return true;
    return false;
}

static void done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct job *j = cookie;
    struct cap_group *g = j->group;
    struct gs_err err = *result;
    int r = result->code == GS_OK ? 0 : -1;
    j->pages.pages += p->pages;
    j->pages.records += p->records;
    j->pages.bytes += p->bytes;
    j->pages.retries += p->retries;
    j->open--;
    if (r == 0) {
        g->cap->luck[ways[j->way].number].ok++;
    } else if (!g->cap->failed && !j->broke && j->n == 0 && cap_denied(result)) {
        const char *from = ways[j->way].document;
        cap_refused(g->cap, ways[j->way].number, result);
        gs_err_clear(&err);
        if (next_way(j)) {
            r = book_fallback(g->cap->book, g->id, "epic_boards", from, ways[j->way].document, result->text, &err) || send(j, &err)
                    ? -1
                    : 0;
        } else if (cap_missing(g, "epic_boards", result, &err) == 0) {
            job_free(j);
            cap_end(g);
            return;
        }
    }
    settle(j, r, &err);
}

static int send(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    const char *doc = gl_document(ways[j->way].document);
    struct gl_list_opts tagged = {.tag = {g->id, "epic_boards"}, .live = g->late};
    j->open++;
    if (doc && gl_graphql_list_with(g->cap->client, doc, g->full_path, "group.epicBoards", &tagged, page, done, j, err) == 0)
        return 0;
    j->open--;
    return doc ? -1 : gs_fail(err, GS_E_INTERNAL, "no GraphQL document '%s'", ways[j->way].document);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for epic boards");
    j->group = g;
    j->way = (unsigned)-1;
    j->pages.announced = -1;
    gs_buf_init(&j->text, COLLECT_MAX);
    idset_init(&j->seen);
    cap_begin(g);
    bool any = next_way(j);
    struct gs_err why = {0};
    if (!any)
        gs_fail(&why, GS_E_GRAPHQL, "%s", g->cap->luck[ways[0].number].why);
    int r = any ? send(j, err) : cap_missing(g, "epic_boards", &why, err);
    if (any && r == 0)
        return 0;
    job_free(j);
    cap_end(g);
    return r;
}

const struct cap_kind cap_kind_epic_boards = {.relation = "epic_boards", .start = start};
