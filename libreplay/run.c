/* Helpers that the kinds use while an op is in flight (declared in kind.h). */
#include "libreplay/engine_priv.h"
#include "libreplay/loss.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int run_loss(struct run *r, const char *code, const char *detail, struct gs_err *err)
{
    struct flight *f = (struct flight *)r;
    if (!loss_find(code))
        return gs_fail(err, GS_E_INTERNAL, "no loss code '%s'", code);
    /* the same rule with the same words once: a step that is taken again after a wait must not count twice */
    for (size_t i = 0; i < f->n_losses; i++)
        if (strcmp(f->losses[i].code, code) == 0 && strcmp(f->losses[i].detail, detail ? detail : "") == 0)
            return 0;
    struct run_loss_row *p = realloc(f->losses, (f->n_losses + 1) * sizeof *p);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for a loss record");
    f->losses = p;
    p += f->n_losses;
    p->code = strdup(code);
    p->detail = strdup(detail ? detail : "");
    if (!p->code || !p->detail) {
        free(p->code);
        free(p->detail);
        return gs_fail(err, GS_E_NOMEM, "no memory for a loss record");
    }
    f->n_losses++;
    return 0;
}

int run_ref(struct run *r, const char *kind, int64_t grp, const char *key, bool ancestors, int64_t *out_id,
            struct gs_err *err)
{
    *out_id = 0;
    while (grp != 0) {
        struct op op = {0};
        bool found;
        if (state_find(r->state, kind, grp, key, &op, &found, err))
            return -1;
        if (found) {
            /* one that was not loaded is not replaced by a namesake further up */
            *out_id = op.state == OP_DONE ? op.target_id : 0;
            op_release(&op);
            return 0;
        }
        struct grp *g = ancestors ? engine_grp(r->engine, grp) : NULL;
        grp = g ? g->parent : 0;
    }
    return 0;
}

int run_user(struct run *r, int64_t src_user, int64_t *out_id, struct gs_err *err)
{
    struct user_row u;
    bool found;
    *out_id = 0;
    if (state_user(r->state, src_user, &u, &found, err))
        return -1;
    if (found) {
        *out_id = u.target_id;
        user_row_release(&u);
    }
    return 0;
}

struct gl_request *run_request(enum gl_method m, struct gs_buf *body, const char *path_fmt, ...)
{
    va_list ap;
    va_start(ap, path_fmt);
    int n = vsnprintf(NULL, 0, path_fmt, ap);
    va_end(ap);
    gs_autofree char *path = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!path)
        return NULL;
    va_start(ap, path_fmt);
    vsnprintf(path, (size_t)n + 1, path_fmt, ap);
    va_end(ap);
    struct gl_request *req = gl_request_new(m, "%s", path);
    if (req && body) {
        req->body = gs_buf_steal(body, &req->body_len);
        if (!req->body) {
            gl_request_free(req);
            return NULL;
        }
    }
    return req;
}

struct bundle *run_bundle(struct run *r)
{
    return r->engine->bundle;
}

int64_t run_self(const struct run *r)
{
    return r->target->user_id;
}

const struct load_opts *run_opts(const struct run *r)
{
    return &r->engine->opts->load;
}
