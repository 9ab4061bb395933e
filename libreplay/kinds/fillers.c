#include "libreplay/kinds/fillers.h"
#include "libreplay/kinds/pending.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

int64_t fillers_max(const struct load_opts *o)
{
    return o->max_fillers ? o->max_fillers : FILLERS_MAX;
}

int filler_prefix(struct run *r, char *out, size_t cap)
{
    return snprintf(out, cap, "groupsnap filler %.8s %lld-", bundle_set_id(run_bundle(r)), (long long)r->op.grp);
}

int filler_before(struct run *r, const struct numbered *k, int64_t want, bool *said, char title[96], bool *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    int64_t next = *r->lane_next;
    *out = false;
    if (want > next && want - next > fillers_max(run_opts(r)) - n->number) {
        if (!*said && step_loss(r, err, k->gap_loss, "iid %lld: %lld numbers would have to be filled", (long long)want,
                                (long long)(want - next)))
            return -1;
        *said = true;
        return 0;
    }
    if (want <= next)
        return 0;
    int len = filler_prefix(r, title, 96);
    snprintf(title + len, 96 - (size_t)len, "%lld", (long long)next);
    n->number++;
    *out = true;
    /* written down before it is sent, so that none is forgotten */
    return state_filler(r->state, r->lane->id, next, 0, err);
}

int filler_made(struct run *r, const struct numbered *k, yyjson_val *obj, int64_t iid, struct gs_err *err)
{
    int64_t address;
    if (iid < *r->lane_next)
        return step_fail(err, GS_E_REMOTE, "the server gave a filler no usable number");
    /* with a higher number than the next one: that has the same one once more, made by a request that was done twice; it stays written down
     * without an address, so that the sweep looks for it */
    if (!k->address(r, obj, &address) || state_filler(r->state, r->lane->id, iid, address, err))
        return -1;
    if (iid > *r->lane_next && !r->grp->existed && step_loss(r, err, "made-twice", "a filler %s, removed or used for the next record", k->what))
        return -1;
    *r->lane_next = iid + 1;
    return 0;
}

int filler_refused(struct run *r, struct gs_err *err)
{
    return state_filler_gone(r->state, r->lane->id, *r->lane_next, err);
}

/* ---- taking them away ---- */

/*
 * Those whose answer came are known by their addresses. For the others, and where an earlier run may have forgotten some, the
 * target is asked; that a replica lags behind is waited for when one is missing.
 */
enum { SWEEP_START, SWEEP_KNOWN, SWEEP_LIST, SWEEP_LIST_AGAIN, SWEEP_DELETE };

static int sweep_list(struct run *r, const struct numbered *k, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    char prefix[96];
    filler_prefix(r, prefix, sizeof(prefix));
    return step_send(r, SWEEP_LIST, k->search(r, prefix), out_req, out, err);
}

/* The next filler that is known; after the last one the unknown, if there can be any. */
static int sweep_known(struct run *r, const struct numbered *k, struct gl_request **out_req, enum step_result *out,
                       struct gs_err *err)
{
    int64_t id;
    if (state_filler_next(r->state, r->lane->id, &r->n1, &id, err))
        return -1;
    if (id)
        return step_send_repeatable(r, SWEEP_KNOWN, k->remove(r, id), out_req, out, err);
    *out = STEP_DONE;
    step_notes(r)->number = r->n1; /* one whose answer never came */
    return r->n1 || r->unsure || r->maybe || !run_made_group(r) ? sweep_list(r, k, out_req, out, err) : 0;
}

static int sweep_next(struct run *r, const struct numbered *k, struct gl_request **out_req, enum step_result *out,
                      struct gs_err *err)
{
    int64_t id;
    if ((size_t)r->n1 >= r->buf.len / sizeof(id)) {
        step_notes(r)->began_ms = 0;
        return sweep_list(r, k, out_req, out, err);
    }
    memcpy(&id, r->buf.data + (size_t)r->n1 * sizeof(id), sizeof(id));
    r->n1++;
    return step_send_repeatable(r, SWEEP_DELETE, k->remove(r, id), out_req, out, err);
}

static int sweep_listed(struct run *r, const struct numbered *k, const struct gl_response *rsp,
                        struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *items = NULL, *it;
    if (k->found(r, rsp, &doc, &items, err))
        return -1;
    char prefix[96];
    size_t len = (size_t)filler_prefix(r, prefix, sizeof(prefix));
    gs_buf_reset(&r->buf);
    r->n1 = 0;
    size_t i, max;
    yyjson_arr_foreach(items, i, max, it)
    {
        const char *title = gs_json_str(it, "title");
        int64_t id;
        if (title && strncmp(title, prefix, len) == 0 && k->address(r, it, &id) &&
            gs_buf_add(&r->buf, &id, sizeof(id), err))
            return -1;
    }
    /* what was deleted may still be shown: after some rounds it is good enough */
    if (r->buf.len && (++r->n2 <= 50 || rsp->next_page))
        return sweep_next(r, k, out_req, out, err);
    bool proven = true;
    if (n->number && step_absent(r, SWEEP_LIST_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    *out = STEP_DONE;
    return state_filler_gone(r->state, r->lane->id, -1, err);
}

int fillers_sweep(struct run *r, const struct numbered *k, const struct gl_response *rsp, struct gl_request **out_req,
                  enum step_result *out, struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    bool deletes = r->phase == SWEEP_DELETE || r->phase == SWEEP_KNOWN;
    if (step_judge(r, rsp, deletes, &a, err))
        return -1;
    if ((a == ANS_OK || a == ANS_REFUSED) && deletes && !k->removed(r, rsp))
        return step_refused(rsp, err, "deleting a filler %s", k->what);
    if (a == ANS_REFUSED && !deletes && !step_notes(r)->number && (rsp->status == 403 || rsp->status == 404)) {
        *out = STEP_DONE; /* a tier without such objects has none that are left over */
        return 0;
    }
    if (a == ANS_REFUSED && !deletes)
        return step_refused(rsp, err, "looking for filler %ss", k->what);
    switch (r->phase) {
    case SWEEP_START:
        /* the lane's last write was just before, if this run made any */
        r->since_ms = gs_mono_ms();
        return sweep_known(r, k, out_req, out, err);
    case SWEEP_KNOWN:
        if (a != ANS_LOST && state_filler_gone(r->state, r->lane->id, r->n1, err))
            return -1;
        return sweep_known(r, k, out_req, out, err);
    case SWEEP_LIST:
        return sweep_listed(r, k, rsp, out_req, out, err);
    case SWEEP_LIST_AGAIN:
        return sweep_list(r, k, out_req, out, err);
    case SWEEP_DELETE:
        return sweep_next(r, k, out_req, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "sweeping in phase %d", r->phase);
    }
}

/* ---- planning ---- */

int fillers_plan_sweep(struct plan *p, const struct grp *g, const char *kind, const char *what, int64_t lane,
                       struct gs_err *err)
{
    struct op op;
    return pending_new_op(kind, what, NULL, g->id, lane, NULL, &op, err) ? -1 : pending_plan(p, &op, NULL, err);
}

void fillers_plan_gap(struct plan *p, const struct grp *g, int64_t iid, int64_t *next)
{
    if (!g->existed && iid > *next && iid - *next <= fillers_max(plan_opts(p)))
        plan_requests(p, 2 * (uint64_t)(iid - *next));
    if (iid >= *next)
        *next = iid + 1;
}
