#include "libreplay/kinds/twins.h"
#include "libreplay/kinds/step.h"
#include "libreplay/print.h"

#include <string.h>

enum { LIST = TWINS_PHASE, REMOVE };

/* One object of the list, in r->own; its print, and whose it is. */
struct shown {
    int64_t id, print;
    enum { OURS, STRANGE, BARE } whose;
};

static void rows_free(void *own)
{
    gs_buf_release(own);
    free(own);
}

static int list(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct gl_request *q = t->at ? run_request(GL_GET, NULL, "/groups/%lld/%s?per_page=100&page=%lld", (long long)r->grp->target_id, t->at,
                                               (long long)step_notes(r)->page)
                                 : t->list(r, err);
    return !q && err->code ? -1 : step_send(r, LIST, q, out_req, out, err);
}

int twins_look(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    bool last;
    if (*out != STEP_DONE || r->grp->existed || !r->op.target_id)
        return 0;
    if (state_lane_last(r->state, &r->op, &last, err))
        return -1;
    if (!last)
        return 0;
    struct gs_buf *rows = malloc(sizeof *rows);
    if (!rows)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    gs_buf_init(rows, (size_t)64 << 20);
    if (r->own && r->free_own)
        r->free_own(r->own);
    r->own = rows;
    r->free_own = rows_free;
    gs_buf_reset(&r->buf);
    step_notes(r)->page = 1;
    return list(r, t, out_req, out, err);
}

static int take(struct run *r, const struct twins *t, yyjson_val *obj, struct gs_err *err)
{
    struct shown x = {.print = print_of(obj, t->equal), .whose = OURS};
    bool taken = true;
    if (!gs_json_i64(obj, "id", &x.id))
        x.id = step_gid(obj);
    if (!x.print || !x.id)
        return 0;
    if (x.id != r->op.target_id && state_target_taken(r->state, &r->op, x.id, &taken, err))
        return -1;
    if (!taken)
        x.whose = !t->bare || t->bare(obj) ? BARE : STRANGE;
    return gs_buf_add(r->own, &x, sizeof(x), err);
}

static size_t count(const struct run *r)
{
    return ((const struct gs_buf *)r->own)->len / sizeof(struct shown);
}

static struct shown at(const struct run *r, size_t i)
{
    struct shown x;
    memcpy(&x, ((const struct gs_buf *)r->own)->data + i * sizeof(x), sizeof(x));
    return x;
}

/* The next one to be removed, or done. */
static int remove_next(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    size_t n = count(r);
    for (size_t *i = &(size_t){(size_t)step_notes(r)->number}; *i < n; step_notes(r)->number = (int64_t)++*i) {
        struct shown x = at(r, *i);
        bool equal = false;
        for (size_t k = 0; k < n && x.whose == BARE && !equal; k++)
            equal = at(r, k).whose == OURS && at(r, k).print == x.print;
        if (!equal)
            continue;
        struct gl_request *q = t->at ? run_request(GL_DELETE, NULL, "/groups/%lld/%s/%lld", (long long)r->grp->target_id, t->at, (long long)x.id)
                                     : t->remove(r, x.id, err);
        return !q && err->code ? -1 : step_send_repeatable(r, REMOVE, q, out_req, out, err);
    }
    *out = STEP_DONE;
    return 0;
}

/* Is it gone? A mutation of GraphQL says otherwise in an answer of 200. */
static int removed(struct run *r, const struct twins *t, const struct gl_response *rsp, bool refused, struct gs_err *err)
{
    struct shown x = at(r, (size_t)step_notes(r)->number++);
    struct gs_err why = rsp->err;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    if (!refused && !t->at && rsp->body.len && gs_buf_str(&rsp->body)[0] == '{' && gl_graphql_answer(rsp, &doc, &data, NULL, &why))
        refused = !strstr(why.text, "does not exist");
    if (refused && rsp->status != 404)
        return step_loss(r, err, "made-twice", "%s %lld is one too many, and stays: %s", r->op.kind, (long long)x.id, why.text);
    return step_loss(r, err, "made-twice", "%s %lld, removed", r->op.kind, (long long)x.id);
}

static int page(struct run *r, const struct twins *t, const struct gl_response *rsp, yyjson_doc **doc, yyjson_val **array, bool *more, struct gs_err *err)
{
    if (!t->at)
        return t->page(r, rsp, doc, array, more, err);
    if (step_array(rsp, doc, err))
        return -1;
    *array = yyjson_doc_get_root(*doc);
    *more = step_next_page(step_notes(r), rsp);
    return 0;
}

int twins_step(struct run *r, const struct twins *t, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
               struct gs_err *err)
{
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == REMOVE, &a, err))
        return -1;
    if (r->phase == REMOVE) {
        if (a != ANS_LOST && removed(r, t, rsp, a == ANS_REFUSED, err))
            return -1;
        r->unsure = false; /* about the object that is there is no doubt */
        return remove_next(r, t, out_req, out, err);
    }
    *out = STEP_DONE;
    if (a == ANS_REFUSED) /* what cannot be seen cannot be removed */
        return 0;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *array = NULL, *it;
    bool more = false;
    if (page(r, t, rsp, &doc, &array, &more, err)) {
        if (err->code != GS_E_GRAPHQL || err->scope != GS_SCOPE_ITEM)
            return -1;
        gs_err_clear(err);
        return 0;
    }
    size_t i, max;
    yyjson_arr_foreach(array, i, max, it)
    {
        if (take(r, t, it, err))
            return -1;
    }
    if (more)
        return list(r, t, out_req, out, err);
    step_notes(r)->number = 0;
    return remove_next(r, t, out_req, out, err);
}
