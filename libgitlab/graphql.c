#include "rest.h"

#include <string.h>
#include <strings.h>

#define MAX_BODY ((size_t)64 << 20)

/* ---- asking ---- */

struct gl_request *gl_graphql_request(const char *document, const char *variables_json, bool read_only)
{
    struct gs_err e = {0};
    gs_autobuf b;
    gs_buf_init(&b, MAX_BODY);
    struct gl_request *r = gl_request_new(GL_POST, "/graphql");
    if (!r || gs_buf_addstr(&b, "{\"query\":", &e) || gs_json_quote(document, strlen(document), &b, &e) ||
        gs_buf_addf(&b, &e, ",\"variables\":%s}", variables_json ? variables_json : "{}")) {
        gl_request_free(r);
        return NULL;
    }
    r->graphql = true;
    r->read_only = read_only;
    r->document_len = strlen(document);
    r->body = gs_buf_steal(&b, &r->body_len);
    return r;
}

/* ---- judging ---- */

/* A field, argument or type that this version of GitLab does not have. */
static bool names_unknown(yyjson_val *errors)
{
    static const char *const codes[] = {"undefinedField",
                                        "undefinedType",
                                        "argumentNotAccepted",
                                        "undeclaredType",
                                        "variableRequiresValidType",
                                        "missingRequiredInputObjectAttribute"};
    static const char *const phrases[] = {
        "doesn't exist on type", "doesn't accept argument", "isn't a defined input type", "isn't a defined type",
        "No such type",          "Field is not defined on"};
    size_t i, max;
    yyjson_val *e;
    yyjson_arr_foreach(errors, i, max, e)
    {
        const char *code = gs_json_str(yyjson_obj_get(e, "extensions"), "code");
        for (size_t k = 0; code && k + 1 < GS_COUNT(codes); k++)
            if (strcmp(code, codes[k]) == 0)
                return true;
        const char *message = gs_json_str(e, "message");
        for (size_t k = 0; message && k < GS_COUNT(phrases); k++)
            if (strstr(message, phrases[k]))
                return true;
    }
    return false;
}

static bool payload_errors(yyjson_val *data)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach(data, i, max, k, v)
    {
        yyjson_val *errors = yyjson_is_obj(v) ? yyjson_obj_get(v, "errors") : NULL;
        if (yyjson_is_arr(errors) && yyjson_arr_size(errors) > 0)
            return true;
    }
    return false;
}

static int refuse(const struct gl_response *rsp, struct gs_err *err)
{
    char words[480];
    gl_error_text(rsp->status, rsp->content_type, rsp->body.data, rsp->body.len, words, sizeof words);
    gs_fail(err, GS_E_GRAPHQL, "GraphQL: %s", words);
    err->scope = strcasestr(words, "timed out") || strcasestr(words, "timeout") ? GS_SCOPE_RETRY : GS_SCOPE_ITEM;
    err->http = rsp->status;
    memcpy(err->request_id, rsp->request_id, sizeof err->request_id);
    return -1;
}

int gl_graphql_answer(const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_data,
                      bool *out_unknown_field, struct gs_err *err)
{
    if (out_unknown_field)
        *out_unknown_field = false;
    if (rsp->err.code) {
        *err = rsp->err;
        return -1;
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gl_response_json(rsp, &doc, err))
        return gs_wrap(err, "GraphQL");
    yyjson_val *root = yyjson_doc_get_root(doc), *errors = yyjson_obj_get(root, "errors"),
               *data = yyjson_obj_get(root, "data");
    if (yyjson_is_arr(errors) && yyjson_arr_size(errors) > 0) {
        if (out_unknown_field)
            *out_unknown_field = names_unknown(errors);
        return refuse(rsp, err);
    }
    if (!yyjson_is_obj(data))
        return gs_fail(err, GS_E_REMOTE, "GraphQL: the server's answer has no data");
    if (payload_errors(data))
        return refuse(rsp, err);
    *out_doc = gs_steal(&doc);
    *out_data = data;
    return 0;
}

/* The word behind "query" or "mutation" decides whether a document may be sent twice. */
static bool is_query(const char *document)
{
    for (const char *p = document; *p;) {
        p += strspn(p, " \t\r\n,");
        if (*p != '#')
            return strncmp(p, "mutation", 8) != 0;
        p += strcspn(p, "\n");
    }
    return true;
}

int gl_graphql(struct gl_client *c, const char *document, const char *variables_json, yyjson_doc **out_doc,
               yyjson_val **out_data, bool *out_unknown_field, struct gs_err *err)
{
    struct gl_request *r = gl_graphql_request(document, variables_json, is_query(document));
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    struct gl_response rsp;
    if (out_unknown_field)
        *out_unknown_field = false;
    int n = gl_perform(c, r, &rsp, err);
    if (n == 0)
        n = gl_graphql_answer(&rsp, out_doc, out_data, out_unknown_field, err);
    gl_response_release(&rsp);
    return n;
}

int64_t gl_gid(const char *gid)
{
    const char *p = gid && strncmp(gid, "gid://", 6) == 0 ? strrchr(gid, '/') : NULL;
    int64_t n = 0;
    if (!p || p < gid + 6 || !p[1])
        return -1;
    for (p++; *p; p++) {
        if (*p < '0' || *p > '9' || n > (INT64_MAX - 9) / 10)
            return -1;
        n = n * 10 + (*p - '0');
    }
    return n;
}

/* ---- connections ---- */

struct connection {
    struct gl_client *client;
    char *document, *full_path, *conn_path, *cursor, *variables;
    gl_page_fn page;
    gl_pages_done_fn done;
    void *cookie;
    struct gl_pages stats;
    struct gl_tag tag;
    bool live;
    char *mark; /* an earlier cursor: the one of the last page whose count is a power of two */
    bool ended;
};

static void connection_free(void *cookie)
{
    struct connection *n = cookie;
    free(n->document);
    free(n->full_path);
    free(n->conn_path);
    free(n->cursor);
    free(n->mark);
    free(n->variables);
    free(n);
}

static void on_nodes(void *cookie, struct gl_request *req, struct gl_response *rsp);

static int ask(struct connection *n, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, MAX_BODY);
    struct gs_jw w;
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", n->full_path);
    gs_jw_kstr(&w, "after", n->cursor);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    if (n->variables) {
        b.len--; /* the closing brace */
        if (gs_buf_addf(&b, err, ",%s}", n->variables))
            return -1;
    }
    struct gl_request *r = gl_graphql_request(n->document, gs_buf_str(&b), true);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = on_nodes;
    r->drop = connection_free;
    r->cookie = n;
    r->tag = n->tag;
    r->live = n->live;
    r->goes_on = n->cursor != NULL;
    return gl_submit(n->client, r, err);
}

/* The value of a name; of a list (widgets of work items) that of its first element that has it. */
static yyjson_val *member(yyjson_val *v, const char *name, size_t len)
{
    yyjson_val *found = yyjson_obj_getn(v, name, len), *element;
    size_t i, max;
    yyjson_arr_foreach(v, i, max, element)
    {
        if (!found)
            found = yyjson_obj_getn(element, name, len);
    }
    return found;
}

static int find_connection(const struct connection *n, yyjson_val *data, yyjson_val **out, struct gs_err *err)
{
    yyjson_val *v = data;
    for (const char *p = n->conn_path; *p; p += *p == '.') {
        size_t k = strcspn(p, ".");
        v = member(v, p, k);
        if (yyjson_is_null(v)) { /* GitLab's way to say: not there, or not for you */
            gs_fail(err, GS_E_GROUP_NOT_FOUND, "GraphQL: '%.200s' has no '%.*s' that the token's user may see",
                    n->full_path, (int)(p + k - n->conn_path), n->conn_path);
            return gs_scoped(err, GS_SCOPE_ITEM);
        }
        p += k;
    }
    if (!yyjson_is_arr(yyjson_obj_get(v, "nodes")))
        return gs_fail(err, GS_E_REMOTE, "GraphQL: the server's answer has no '%s.nodes'", n->conn_path);
    *out = v;
    return 0;
}

/* *out_more: there is a further page, and n->cursor leads to it. */
static int next_cursor(struct connection *n, yyjson_val *conn, bool *out_more, struct gs_err *err)
{
    yyjson_val *info = yyjson_obj_get(conn, "pageInfo");
    *out_more = gs_json_true(info, "hasNextPage");
    if (!*out_more)
        return 0;
    const char *cursor = gs_json_str(info, "endCursor");
    if (!cursor || !*cursor || (n->mark && strcmp(n->mark, cursor) == 0))
        return gs_fail(err, GS_E_REMOTE, "GraphQL: the pages of '%s' do not go on", n->conn_path);
    char *copy = strdup(cursor);
    if (!copy)
        return gs_fail(err, GS_E_NOMEM, "no memory for a cursor");
    if ((n->stats.pages & (n->stats.pages + 1)) ==
        0) { /* Brent: any circle is met sooner or later, in constant memory */
        free(n->mark);
        n->mark = n->cursor;
    } else {
        free(n->cursor);
    }
    n->cursor = copy;
    return 0;
}

static int give_nodes(struct connection *n, const struct gl_response *rsp, bool *out_asked, struct gs_err *err)
{
    bool more;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL, *conn = NULL;
    gs_autobuf text;
    gs_buf_init(&text, MAX_BODY);
    n->stats.retries += rsp->tries > 0 ? rsp->tries - 1 : 0;
    n->stats.waited_ms += rsp->waited_ms;
    if (gl_graphql_answer(rsp, &doc, &data, NULL, err) || find_connection(n, data, &conn, err) ||
        next_cursor(n, conn, &more, err))
        return -1;
    if (more && ask(n, err)) /* travels while this page is worked on */
        return -1;
    *out_asked = more;
    yyjson_val *nodes = yyjson_obj_get(conn, "nodes");
    int64_t count;
    if (n->stats.pages == 0 && gs_json_i64(conn, "count", &count) && count >= 0)
        n->stats.announced = count;
    n->stats.pages++;
    n->stats.records += yyjson_arr_size(nodes);
    n->stats.bytes += rsp->body.len;
    if (gs_json_write(nodes, &text, err))
        return -1;
    return n->page(n->cookie, nodes, gs_buf_str(&text), text.len, err);
}

static void on_nodes(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct connection *n = cookie;
    struct gs_err err = {0};
    bool asked = false;
    (void)req;
    if (!n->ended) {
        int r = give_nodes(n, rsp, &asked, &err);
        if (r || !asked) {
            n->ended = true;
            n->done(n->cookie, &n->stats, &err);
        }
    }
    if (!asked) /* else the request on its way owns it */
        connection_free(n);
}

int gl_graphql_list_with(struct gl_client *c, const char *document, const char *full_path, const char *conn_path,
                         const struct gl_list_opts *o, gl_page_fn page, gl_pages_done_fn done, void *cookie,
                         struct gs_err *err)
{
    struct connection *n = calloc(1, sizeof *n);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    *n = (struct connection){.client = c,
                             .document = strdup(document),
                             .full_path = strdup(full_path),
                             .conn_path = strdup(conn_path),
                             .page = page,
                             .done = done,
                             .cookie = cookie};
    n->stats.announced = -1;
    if (o) {
        n->tag = o->tag;
        n->live = o->live;
        n->variables = o->variables ? strdup(o->variables) : NULL;
    }
    bool whole = n->document && n->full_path && n->conn_path && (n->variables || !o || !o->variables);
    if (!whole || ask(n, err)) {
        if (whole) {
            connection_free(n);
            return -1;
        }
        connection_free(n);
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    }
    return 0;
}

int gl_graphql_list(struct gl_client *c, const char *document, const char *full_path, const char *conn_path,
                    gl_page_fn page, gl_pages_done_fn done, void *cookie, struct gs_err *err)
{
    return gl_graphql_list_with(c, document, full_path, conn_path, NULL, page, done, cookie, err);
}
