/* Helpers that the kinds use while an op is in flight (declared in kind.h). */
#include "libcommon/clock.h"
#include "libreplay/engine_priv.h"
#include "libreplay/attribution.h"
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

int64_t run_lag(const struct run *r)
{
    return r->engine->lag_ms;
}

void run_lagged(struct run *r)
{
    int64_t lag = 2 * (gs_mono_ms() - r->since_ms);
    if (lag > LAG_MAX_MS)
        lag = LAG_MAX_MS;
    if (lag > r->engine->lag_ms)
        r->engine->lag_ms = lag;
}

void run_proven_absent(struct run *r)
{
    struct flight *f = (struct flight *)r;
    f->lane->sure = true;
}

bool run_made_group(const struct run *r)
{
    return r->grp->made_ms != 0;
}

void run_gave_owner(struct run *r)
{
    struct grp *g = engine_grp(r->engine, r->op.grp);
    if (g)
        g->owner_ms = gs_mono_ms();
}

int run_elsewhere(struct run *r, const char *kind, const char *key, bool *out, struct gs_err *err)
{
    *out = false;
    for (size_t i = 0; i < r->engine->n_groups && !*out; i++) {
        struct op op = {0};
        bool found;
        if (r->engine->groups[i].id == r->op.grp)
            continue;
        if (state_find(r->state, kind, r->engine->groups[i].id, key, &op, &found, err))
            return -1;
        *out = found && (op.state == OP_DONE || op.state == OP_SENT);
        op_release(&op);
    }
    return 0;
}

const struct grp *run_grp(const struct run *r, int64_t id)
{
    return engine_grp(r->engine, id);
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

int run_as_author(struct run *r, int64_t src_user, struct gs_err *err)
{
    bool acts = false;
    int64_t user = 0;
    if (run_acts_as(r, src_user, &acts, err) || (acts && run_user(r, src_user, &user, err)))
        return -1;
    r->as_user = user == run_self(r) ? 0 : user;
    return 0;
}

int run_acts_as(struct run *r, int64_t src_user, bool *out, struct gs_err *err)
{
    int64_t user = 0;
    if (run_user(r, src_user, &user, err))
        return -1;
    /* GitLab takes the time of a record from Owners only, who its author mostly is not */
    bool others = r->engine->personas && !r->no_author && !run_opts(r)->prefer_dates;
    *out = user && (others || user == run_self(r));
    return 0;
}

int run_author_is(struct run *r, int64_t src_user, yyjson_val *author, struct gs_err *err)
{
    bool acts = false;
    int64_t user = 0;
    if (run_acts_as(r, src_user, &acts, err))
        return -1;
    if (!acts)
        return 0;
    return run_user(r, src_user, &user, err) || persona_is(user, author, err) ? -1 : 0;
}

int run_attribution(struct run *r, int64_t src_user, yyjson_val *author, const char *created_at, struct gs_buf *text, struct gs_err *err)
{
    return run_opts(r)->no_attribution ? 0 : attribution_of(r->state, src_user, author, created_at, text, err);
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

bool run_epics_items(const struct run *r)
{
    return r->engine->epics_items;
}

const struct load_opts *run_opts(const struct run *r)
{
    return &r->engine->opts->load;
}
