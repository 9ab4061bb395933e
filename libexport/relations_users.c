/*
 * The users that records mention by id only: authors, closers, people who reacted. Their names and public e-mail addresses are asked
 * for once, at the end, many at a time over GraphQL, and one by one over REST where that is refused.
 */
#include "libexport/relations_priv.h"

#include <inttypes.h>
#include <stdlib.h>

#define AT_ONCE 50

struct crowd {
    struct capture *cap;
    int64_t *ids;
    size_t n, next;
    bool by_rest;
    uint64_t told, pages, bytes, retries;
    int64_t waited_ms;
    unsigned in_flight;
};

struct ask {
    struct crowd *crowd;
    size_t from, n;
    bool by_rest;
};

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Whom no answer has told of in full. */
static int collect(struct crowd *w, struct gs_err *err)
{
    struct capture *c = w->cap;
    const struct idset *m = &c->rel->mentioned;
    w->ids = malloc((m->n + 1) * sizeof *w->ids);
    if (!w->ids)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu users", m->n);
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i] && !idset_has(&c->users[1], m->slots[i]) && !idset_has(&c->users[2], m->slots[i]))
            w->ids[w->n++] = m->slots[i];
    qsort(w->ids, w->n, sizeof *w->ids, by_id); /* the same people, the same questions */
    return 0;
}

static int take(struct crowd *w, const struct ask *a, yyjson_val *v, struct gs_err *err)
{
    struct cap_user u = cap_user_graphql(v); /* REST differs in the name of one field */
    if (a->by_rest) {
        const char *email = gs_json_str(v, "public_email");
        u.public_email = email ? email : "";
    }
    w->told += u.id > 0;
    return cap_user(w->cap, &u, err);
}

static int answer(struct crowd *w, const struct ask *a, const struct gl_response *rsp, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL, *v;
    bool unknown = false;
    if (a->by_rest) {
        if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300)
            return gl_response_json(rsp, &doc, err) || take(w, a, yyjson_doc_get_root(doc), err) ? -1 : 0;
        *err = rsp->err;
        return -1;
    }
    if (gl_graphql_answer(rsp, &doc, &data, &unknown, err))
        return -1;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(yyjson_obj_get(data, "users"), "nodes"));
    while ((v = yyjson_arr_iter_next(&it)))
        if (take(w, a, v, err))
            return -1;
    return 0;
}

static void done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct ask *a = cookie;
    struct crowd *w = a->crowd;
    struct gs_err err = {0};
    w->in_flight--;
    w->pages++;
    w->bytes += rsp->body.len;
    w->retries += rsp->tries > 0 ? rsp->tries - 1 : 0;
    w->waited_ms += rsp->waited_ms;
    if (answer(w, a, rsp, &err)) {
        if (!cap_denied(&err))
            cap_fail(w->cap, &err);
        else if (!a->by_rest && a->from < w->next) {
            w->next = a->from; /* these and the following ones one by one */
            w->by_rest = true;
        }
    }
    free(a);
}

static struct gl_request *graphql_request(struct crowd *w, size_t n, struct gs_err *err)
{
    const char *document = gl_document("users_by_id");
    gs_autobuf vars;
    struct gs_jw j;
    gs_buf_init(&vars, 64 << 10);
    gs_jw_init(&j, &vars, 0, err);
    gs_jw_obj(&j);
    gs_jw_key(&j, "ids");
    gs_jw_arr(&j);
    for (size_t i = 0; i < n; i++) {
        char gid[64];
        snprintf(gid, sizeof gid, "gid://gitlab/User/%" PRId64, w->ids[w->next + i]);
        gs_jw_str(&j, gid);
    }
    gs_jw_end(&j);
    gs_jw_end(&j);
    if (gs_jw_finish(&j))
        return NULL;
    struct gl_request *r = document ? gl_graphql_request(document, gs_buf_str(&vars), true) : NULL;
    if (!r)
        gs_fail(err, GS_E_NOMEM, "no memory for a request");
    return r;
}

static int send_one(struct crowd *w, struct gs_err *err)
{
    size_t n = w->by_rest ? 1 : w->n - w->next < AT_ONCE ? w->n - w->next : AT_ONCE;
    struct ask *a = calloc(1, sizeof *a);
    struct gl_request *r = !a ? NULL : w->by_rest ? gl_request_new(GL_GET, "/users/%" PRId64, w->ids[w->next]) : graphql_request(w, n, err);
    if (!r) {
        free(a);
        return err->code ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *a = (struct ask){.crowd = w, .from = w->next, .n = n, .by_rest = w->by_rest};
    r->tag = (struct gl_tag){w->cap->root_id, "users"};
    r->done = done;
    r->cookie = a;
    if (gl_submit(w->cap->client, r, err)) {
        free(a);
        return -1;
    }
    w->in_flight++;
    w->next += n;
    return 0;
}

static int ask_all(struct crowd *w, struct gs_err *err)
{
    struct capture *c = w->cap;
    while (!c->failed && (w->next < w->n || w->in_flight > 0)) {
        if (c->o.stop && *c->o.stop) {
            gs_fail(err, GS_E_STOPPED, "stopped");
            cap_fail(c, err);
            break;
        }
        /* the first answer shows which way is open */
        unsigned most = w->pages == 0 ? 1 : c->o.jobs;
        while (!c->failed && w->next < w->n && w->in_flight < most)
            if (send_one(w, err)) {
                cap_fail(c, err);
                break;
            }
        if (!c->failed && gl_poll(c->client, 200, err))
            cap_fail(c, err);
    }
    while (gl_pending(c->client) > 0)
        if (gl_poll(c->client, 200, err))
            break;
    if (c->failed) {
        *err = c->err;
        return -1;
    }
    return 0;
}

int relations_users(struct capture *c, struct gs_err *err)
{
    struct crowd w = {.cap = c};
    struct cap_group root = {.cap = c, .id = c->root_id};
    if (collect(&w, err))
        return -1;
    int r = w.n > 0 ? ask_all(&w, err) : 0;
    struct gl_pages p = {.pages = w.pages, .records = w.told, .bytes = w.bytes, .retries = w.retries, .waited_ms = w.waited_ms,
                         .announced = -1};
    if (r == 0 && w.n > 0)
        r = cap_fetch(&root, "users", w.by_rest ? "rest:/users/:id" : "graphql:users", &p, err);
    if (r == 0 && w.told < w.n)
        r = book_lost(c->book, c->root_id, "users", "user-not-readable", NULL, w.n - w.told, NULL, err);
    free(w.ids);
    return r;
}
