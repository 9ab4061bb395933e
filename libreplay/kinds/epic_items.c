#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/epic_boards.h"
#include "libgitlab/graphql.h"

#include <string.h>

/* ---- requests ---- */

struct gl_request *items_request(const char *document, bool read_only, void (*put)(struct gs_jw *w, void *cookie), void *cookie,
                                 struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    gs_buf_init(&vars, (size_t)64 << 20);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    if (!read_only) {
        gs_jw_key(&w, "input");
        gs_jw_obj(&w);
    }
    put(&w, cookie);
    if (!read_only)
        gs_jw_end(&w);
    gs_jw_end(&w);
    const char *text = gl_document(document);
    return gs_jw_finish(&w) || !text ? NULL : gl_graphql_request(text, gs_buf_str(&vars), read_only);
}

struct list {
    struct run *r;
    const char *search;
};

static void put_list(struct gs_jw *w, void *cookie)
{
    const struct list *l = cookie;
    gs_jw_kstr(w, "fullPath", l->r->grp->dst_path);
    gs_jw_kstr(w, "after", l->r->buf.len && !l->search ? gs_buf_str(&l->r->buf) : NULL);
    gs_jw_kstr(w, "search", l->search);
}

struct gl_request *items_list(struct run *r, const char *search, struct gs_err *err)
{
    struct list l = {r, search};
    return items_request("work_items_list", true, put_list, &l, err);
}

int items_type(struct run *r, char **out, struct gs_err *err)
{
    return state_meta_get(r->state, "epic_type", out, err);
}

static void put_path(struct gs_jw *w, void *cookie)
{
    const struct run *r = cookie;
    gs_jw_kstr(w, "fullPath", r->grp->dst_path);
}

struct gl_request *items_ask_type(struct run *r, struct gs_err *err)
{
    return items_request("work_item_type_epic", true, put_path, r, err);
}

int items_got_type(struct run *r, const struct gl_response *rsp, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    if (gl_graphql_answer(rsp, &doc, &data, NULL, err))
        return -1;
    yyjson_val *types = step_get(step_get(step_get(data, "group"), "workItemTypes"), "nodes");
    const char *id = gs_json_str(yyjson_arr_get_first(types), "id");
    if (id)
        return state_meta_set(r->state, "epic_type", id, err);
    gs_fail(err, GS_E_GRAPHQL, "the group may have no epics");
    return gs_scoped(err, GS_SCOPE_ITEM);
}

static void put_id(struct gs_jw *w, void *cookie)
{
    gid_put(w, "id", "WorkItem", *(int64_t *)cookie);
}

struct gl_request *items_delete(int64_t id, struct gs_err *err)
{
    return items_request("work_item_delete", false, put_id, &id, err);
}

struct read {
    struct run *r;
    int64_t id;
};

static void put_read(struct gs_jw *w, void *cookie)
{
    const struct read *x = cookie;
    gid_put(w, "id", "WorkItem", x->id);
    gs_jw_kstr(w, "after", x->r->buf.len ? gs_buf_str(&x->r->buf) : NULL);
}

struct gl_request *items_read(struct run *r, const char *document, int64_t id, struct gs_err *err)
{
    struct read x = {r, id};
    return items_request(document, true, put_read, &x, err);
}

/* ---- answers ---- */

/* The widget of an item that has this key. */
static yyjson_val *widget(yyjson_val *item, const char *key)
{
    size_t i, max;
    yyjson_val *w;
    yyjson_arr_foreach(step_get(item, "widgets"), i, max, w)
    {
        if (yyjson_obj_get(w, key))
            return w;
    }
    return NULL;
}

static void put_item(struct gs_jw *w, yyjson_val *v)
{
    const char *iid = gs_json_str(v, "iid"), *state = gs_json_str(v, "state");
    yyjson_val *dates = widget(v, "isFixed"), *up = step_get(widget(v, "parent"), "parent"), *l;
    bool fixed = gs_json_true(dates, "isFixed");
    size_t i, max;
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", gid_of(v));
    gs_jw_ki64(w, "iid", iid ? strtoll(iid, NULL, 10) : 0);
    gs_jw_kstr(w, "title", gs_json_str(v, "title"));
    gs_jw_kstr(w, "description", gs_json_str(widget(v, "description"), "description"));
    gs_jw_kstr(w, "state", state && strcmp(state, "CLOSED") == 0 ? "closed" : "opened");
    gs_jw_kbool(w, "confidential", gs_json_true(v, "confidential"));
    gs_jw_kstr(w, "created_at", gs_json_str(v, "createdAt"));
    gs_jw_kstr(w, "updated_at", gs_json_str(v, "updatedAt"));
    gs_jw_kstr(w, "color", gs_json_str(widget(v, "color"), "color"));
    gs_jw_kbool(w, "start_date_is_fixed", fixed);
    gs_jw_kbool(w, "due_date_is_fixed", fixed);
    gs_jw_kstr(w, "start_date_fixed", fixed ? gs_json_str(dates, "startDate") : NULL);
    gs_jw_kstr(w, "due_date_fixed", fixed ? gs_json_str(dates, "dueDate") : NULL);
    if (up)
        gs_jw_ki64(w, "parent_id", gid_of(up));
    gs_jw_key(w, "labels");
    gs_jw_arr(w);
    yyjson_arr_foreach(step_get(step_get(widget(v, "labels"), "labels"), "nodes"), i, max, l)
        gs_jw_str(w, gs_json_str(l, "title"));
    gs_jw_end(w);
    gs_jw_key(w, "label_ids");
    gs_jw_arr(w);
    yyjson_arr_foreach(step_get(step_get(widget(v, "labels"), "labels"), "nodes"), i, max, l)
        gs_jw_i64(w, gid_of(l));
    gs_jw_end(w);
    gs_jw_end(w);
}

static int reparse(struct gs_jw *w, const struct gs_buf *text, yyjson_doc **out, struct gs_err *err)
{
    return gs_jw_finish(w) ? -1 : gs_json_parse(gs_buf_str(text), text->len, NULL, out, err);
}

/* Where the next page of a connection begins, into r->buf. */
static int next_page(struct run *r, yyjson_val *connection, bool *out_more, struct gs_err *err)
{
    yyjson_val *page = step_get(connection, "pageInfo");
    const char *cursor = gs_json_str(page, "endCursor");
    *out_more = gs_json_true(page, "hasNextPage") && cursor && strcmp(cursor, gs_buf_str(&r->buf)) != 0;
    gs_buf_reset(&r->buf);
    return *out_more ? gs_buf_addstr(&r->buf, cursor, err) : 0;
}

int items_answer(struct run *r, const struct gl_response *rsp, const char *field, yyjson_doc **out, bool *out_more,
                 struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL, *it;
    gs_autobuf text;
    struct gs_jw w;
    gs_buf_init(&text, (size_t)64 << 20);
    if (gl_graphql_answer(rsp, &doc, &data, NULL, err))
        return -1;
    gs_jw_init(&w, &text, 0, err);
    if (field) {
        it = step_get(step_get(data, field), "workItem");
        if (!it)
            return step_fail(err, GS_E_REMOTE, "the server's answer has no work item");
        put_item(&w, it);
        return reparse(&w, &text, out, err);
    }
    yyjson_val *items = step_get(step_get(data, "group"), "workItems");
    size_t i, max;
    gs_jw_arr(&w);
    yyjson_arr_foreach(step_get(items, "nodes"), i, max, it)
        put_item(&w, it);
    gs_jw_end(&w);
    return reparse(&w, &text, out, err) || next_page(r, items, out_more, err) ? -1 : 0;
}

static int widget_connection(const struct gl_response *rsp, const char *key, yyjson_doc **out_doc, yyjson_val **out,
                             struct gs_err *err)
{
    yyjson_val *data = NULL;
    if (gl_graphql_answer(rsp, out_doc, &data, NULL, err))
        return -1;
    *out = step_get(widget(step_get(data, "workItem"), key), key);
    return *out ? 0 : step_fail(err, GS_E_REMOTE, "the server's answer has no %s", key);
}

int items_discussions(struct run *r, const struct gl_response *rsp, yyjson_doc **out, bool *out_more, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *all = NULL, *d, *n;
    gs_autobuf text;
    struct gs_jw w;
    size_t i, k, max, max_k;
    gs_buf_init(&text, (size_t)256 << 20);
    if (widget_connection(rsp, "discussions", &doc, &all, err))
        return -1;
    gs_jw_init(&w, &text, 0, err);
    gs_jw_arr(&w);
    yyjson_arr_foreach(step_get(all, "nodes"), i, max, d)
    {
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "id", gs_json_str(d, "id"));
        gs_jw_key(&w, "notes");
        gs_jw_arr(&w);
        yyjson_arr_foreach(step_get(step_get(d, "notes"), "nodes"), k, max_k, n)
        {
            gs_jw_obj(&w);
            gs_jw_ki64(&w, "id", gid_of(n));
            gs_jw_kstr(&w, "body", gs_json_str(n, "body"));
            gs_jw_kstr(&w, "created_at", gs_json_str(n, "createdAt"));
            gs_jw_kbool(&w, "system", gs_json_true(n, "system"));
            gs_jw_kbool(&w, "internal", gs_json_true(n, "internal"));
            gs_jw_key(&w, "author");
            gs_jw_obj(&w);
            gs_jw_ki64(&w, "id", gid_of(step_get(n, "author")));
            gs_jw_end(&w);
            gs_jw_end(&w);
        }
        gs_jw_end(&w);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return reparse(&w, &text, out, err) || next_page(r, all, out_more, err) ? -1 : 0;
}

int items_children(struct run *r, const struct gl_response *rsp, struct gs_buf *all, bool *out_more, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *children = NULL, *c;
    size_t i, max;
    if (widget_connection(rsp, "children", &doc, &children, err))
        return -1;
    yyjson_arr_foreach(step_get(children, "nodes"), i, max, c)
    {
        if (gs_buf_addf(all, err, "%s{\"id\":%lld}", all->len ? "," : "[", (long long)gid_of(c)))
            return -1;
    }
    return next_page(r, children, out_more, err);
}
