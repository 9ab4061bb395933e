#include "libreplay/kinds/twins.h"
#include "libreplay/kinds/step.h"
#include "libreplay/print.h"

#include <string.h>

enum { LIST = TWINS_PHASE, REMOVE };

/* One object of the list, in run->buf; its print, and whose it is. */
struct shown {
    int64_t id, print;
    enum { OURS, STRANGE, BARE } whose;
};

static int list(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, LIST,
                     run_request(GL_GET, NULL, "/groups/%lld/%s?per_page=100&page=%lld", (long long)r->grp->target_id, t->at,
                                 (long long)step_notes(r)->page),
                     out_req, out, err);
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
    gs_buf_reset(&r->buf);
    step_notes(r)->page = 1;
    return list(r, t, out_req, out, err);
}

static int take(struct run *r, const struct twins *t, yyjson_val *obj, struct gs_err *err)
{
    struct shown x = {.print = print_of(obj, t->equal), .whose = OURS};
    bool taken = true;
    if (!x.print || !gs_json_i64(obj, "id", &x.id))
        return 0;
    if (x.id != r->op.target_id && state_target_taken(r->state, &r->op, x.id, &taken, err))
        return -1;
    if (!taken)
        x.whose = !t->bare || t->bare(obj) ? BARE : STRANGE;
    return gs_buf_add(&r->buf, &x, sizeof(x), err);
}

static struct shown at(const struct run *r, size_t i)
{
    struct shown x;
    memcpy(&x, r->buf.data + i * sizeof(x), sizeof(x));
    return x;
}

/* The next one to be removed, or done. */
static int remove_next(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    size_t n = r->buf.len / sizeof(struct shown);
    for (size_t *i = &(size_t){(size_t)step_notes(r)->number}; *i < n; step_notes(r)->number = (int64_t)++*i) {
        struct shown x = at(r, *i);
        bool equal = false;
        for (size_t k = 0; k < n && x.whose == BARE && !equal; k++)
            equal = at(r, k).whose == OURS && at(r, k).print == x.print;
        if (!equal)
            continue;
        return step_send_repeatable(r, REMOVE,
                                    run_request(GL_DELETE, NULL, "/groups/%lld/%s/%lld", (long long)r->grp->target_id, t->at,
                                                (long long)x.id),
                                    out_req, out, err);
    }
    *out = STEP_DONE;
    return 0;
}

static int removed(struct run *r, const struct gl_response *rsp, bool refused, struct gs_err *err)
{
    struct shown x = at(r, (size_t)step_notes(r)->number++);
    if (refused && rsp->status != 404)
        return step_loss(r, err, "made-twice", "%s %lld is one too many, and stays: %s", r->op.kind, (long long)x.id, rsp->err.text);
    return step_loss(r, err, "made-twice", "%s %lld, removed", r->op.kind, (long long)x.id);
}

int twins_step(struct run *r, const struct twins *t, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
               struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == REMOVE, &a, err))
        return -1;
    if (r->phase == REMOVE) {
        if (a != ANS_LOST && removed(r, rsp, a == ANS_REFUSED, err))
            return -1;
        r->unsure = false; /* about the object that is there is no doubt */
        return remove_next(r, t, out_req, out, err);
    }
    if (a == ANS_REFUSED) {
        *out = STEP_DONE; /* what cannot be seen cannot be removed */
        return 0;
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        if (take(r, t, it, err))
            return -1;
    }
    if (step_next_page(n, rsp))
        return list(r, t, out_req, out, err);
    n->number = 0;
    return remove_next(r, t, out_req, out, err);
}
