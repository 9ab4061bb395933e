/* One op on its way: its requests and their answers, in whose name it is sent, and how it ends. */
#include "libreplay/engine_priv.h"

#include "libcommon/clock.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <string.h>

#define STRANGE_MAX 8

int flight_load(struct engine *e, struct flight *f, struct gs_err *err)
{
    struct op *op = &f->run.op;
    if (op->ref_member >= 0) {
        struct bundle_ref ref = {.member = (uint32_t)op->ref_member, .off = op->ref_off, .len = op->ref_len};
        gs_autobuf raw;
        gs_buf_init(&raw, (size_t)op->ref_len + 1);
        if (bundle_read_ref(e->bundle, &ref, &raw, err) ||
            record_parse(bundle_encoding(e->bundle), raw.data, raw.len, NULL, &f->run.doc, err))
            return gs_wrap(err, "%s '%s'", f->kind->relation, op->key);
    } else if (op->arg) {
        if (gs_json_parse(op->arg, strlen(op->arg), NULL, &f->run.doc, err))
            return gs_wrap(err, "%s '%s'", f->kind->relation, op->key);
    }
    f->run.rec = f->run.doc ? yyjson_doc_get_root(f->run.doc) : NULL;
    return f->kind->texts ? texts_prepare(&f->run, f->kind, err) : 0;
}

struct flight *flight_new(struct engine *e, struct elane *l, struct op *op)
{
    struct flight *f = calloc(1, sizeof *f);
    if (!f) {
        op_release(op);
        return NULL;
    }
    f->lane = l;
    f->kind = kind_find(op->kind);
    f->was_sent = op->state == OP_SENT;
    f->run = (struct run){.engine = e, .state = e->state, .target = e->target, .op = *op, .lane = &l->l,
                          .unsure = f->was_sent, .again = f->was_sent, .lane_next = &l->counter, .since_ms = e->started_ms,
                          .was_id = op->target_id};
    f->run.op.target_id = 0;
    f->old_adopted = op->adopted;
    f->old_found = op->found;
    f->run.op.adopted = f->run.op.found = false;
    f->run.grp = engine_grp(e, op->grp);
    f->run.maybe = !f->was_sent && !l->sure && f->run.grp && f->run.grp->made_ms == 0;
    gs_buf_init(&f->run.buf, (size_t)64 << 20);
    f->link = e->flights;
    e->flights = f;
    e->n_flights++;
    l->in_flight++;
    return f;
}

static void own_free(struct run *r)
{
    if (r->own)
        r->free_own(r->own);
    r->own = NULL;
}

void flight_free(struct engine *e, struct flight *f)
{
    own_free(&f->run);
    for (struct flight **p = &e->flights; *p; p = &(*p)->link)
        if (*p == f) {
            *p = f->link;
            break;
        }
    e->n_flights--;
    e->n_waiting -= f->state == FLIGHT_WAIT;
    f->lane->in_flight--;
    if (f->has_rsp)
        gl_response_release(&f->rsp);
    if (f->checking)
        gl_response_release(&f->kept);
    gl_request_free(f->next);
    for (size_t i = 0; i < f->n_losses; i++) {
        free(f->losses[i].code);
        free(f->losses[i].detail);
    }
    free(f->losses);
    yyjson_doc_free(f->run.doc);
    gs_buf_release(&f->run.buf);
    free(f->run.text);
    op_release(&f->run.op);
    free(f);
}

void flight_turn(struct flight *f, enum flight_state s)
{
    struct engine *e = f->run.engine;
    e->n_waiting += (s == FLIGHT_WAIT) - (f->state == FLIGHT_WAIT);
    f->state = s;
}

/* A group has ended: what the others know of it. */
static int refresh_group(struct engine *e, const struct flight *f, struct gs_err *err)
{
    struct grp fresh, *g = engine_grp(e, f->run.op.grp);
    if (!g)
        return gs_fail(err, GS_E_STATE_DAMAGED, "group %lld is not in the state file", (long long)f->run.op.grp);
    if (state_grp(e->state, f->run.op.grp, &fresh, err))
        return -1;
    char *path = fresh.src_path; /* progress shows the one that is here */
    fresh.src_path = g->src_path;
    fresh.owner_ms = g->owner_ms;
    fresh.made_ms = f->acted && f->run.op.state == OP_DONE ? gs_mono_ms() : 0;
    g->src_path = path;
    grp_release(g);
    *g = fresh;
    return 0;
}

static int store_losses(struct engine *e, const struct flight *f, struct gs_err *err)
{
    const struct op *op = &f->run.op;
    for (size_t i = 0; i < f->n_losses; i++) {
        struct loss_row row = {.op = op->id, .grp = op->grp, .relation = f->kind->relation, .key = op->key,
                               .code = f->losses[i].code, .count = 1, .detail = f->losses[i].detail};
        if (state_add_loss(e->state, &row, err))
            return -1;
    }
    return 0;
}

/* What the newest object of a kind is. Written down at times only: it is a sample, and an older one is as good. */
static void note_newest(struct engine *e, const struct flight *f)
{
    if (!f->kind->at || f->run.op.adopted || f->run.op.target_id == 0)
        return;
    for (size_t i = 0; kinds[i] && i < MAX_KINDS; i++)
        if (kinds[i] == f->kind)
            e->newest[i] = f->run.op.id;
}

int flight_end(struct engine *e, struct flight *f, enum op_state state, struct gs_err *err)
{
    struct op *op = &f->run.op;
    struct elane *l = f->lane;
    op->state = state;
    op->tries = f->writes;
    if (f->run.was_id && state == OP_DONE && op->target_id == f->run.was_id && !f->acted) {
        /* as it was before: so are its losses */
        op->adopted = f->old_adopted;
        op->found = f->old_found;
    } else if (((f->run.was_id || f->kind->texts || f->kind->says_texts) && state_forget_losses(e->state, op->id, err)) || store_losses(e, f, err)) {
        /* those of an earlier time, and what the plan expected of its texts, are gone */
        return -1;
    }
    if (state_op_end(e->state, op, err))
        return -1;
    if (strcmp(op->kind, "groups") == 0 && refresh_group(e, f, err))
        return -1;
    switch (state) {
    case OP_DONE:
        e->p.done++;
        note_newest(e, f);
        break;
    case OP_FAILED: e->p.failed++; break;
    default: e->p.skipped++; break;
    }
    if (op->found)
        e->p.found++;
    l->open--;
    flight_free(e, f);
    if (l->open == 0)
        return lane_ended(e, l, err);
    lane_enqueue(e, l);
    return 0;
}

static char *copy(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

static int flight_fail(struct engine *e, struct flight *f, const struct gs_err *why, struct gs_err *err)
{
    struct op *op = &f->run.op;
    op->http = why->http;
    op->code = copy(gs_code_name(why->code));
    op->text = copy(why->text);
    op->request_id = copy(why->request_id);
    op->request = copy(f->asked);
    gs_logf(e->opts->log, GS_LOG_WARN, "%s '%s' of group '%s' failed: %s", f->kind->relation, op->key,
            f->run.grp ? f->run.grp->src_path : "?", why->text);
    return flight_end(e, f, OP_FAILED, err);
}

int flight_drop(struct engine *e, struct flight *f, struct gs_err *err)
{
    int r = 0;
    if (!f->was_sent && f->writes == 0)
        r = state_op_unsent(e->state, f->run.op.id, err);
    flight_free(e, f);
    return r;
}

void flight_on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct flight *f = cookie;
    (void)req;
    f->rsp = *rsp; /* body and link move over */
    rsp->body = (struct gs_buf){.max = rsp->body.max};
    rsp->link = NULL;
    f->has_rsp = true;
    if (f->rsp.date_ms > 0) {
        f->run.engine->server_ms = f->rsp.date_ms;
        f->run.engine->server_at_ms = gs_mono_ms();
    }
    flight_turn(f, FLIGHT_ANSWERED);
}

/* What must not reach a kind: answers that say something about the run as a whole. True: the op was dropped or the run cut. */
static bool concerns_run(const struct flight *f)
{
    const struct gl_response *r = &f->rsp;
    if (r->outcome == GL_NOT_SENT)
        return true;
    if (r->outcome == GL_UNKNOWN)
        return !f->is_write;
    if (f->checking && (r->status == 429 || r->status >= 500))
        return true; /* whether the group is there is not known, so neither is what the kept 404 means */
    return r->err.code == GS_E_TOKEN || r->err.code == GS_E_SCOPE;
}

/*
 * A 404 may mean that a replica does not know the group yet, that the group is gone, or just what it says. The group that
 * the request stands on; NULL when a 404 is an ordinary answer.
 */
static const struct grp *group_in_doubt(struct engine *e, const struct flight *f, int64_t *out_id)
{
    if (f->rsp.outcome != GL_ANSWERED || f->rsp.status != 404 || f->checked || f->kind->ends_access)
        return NULL;
    const struct grp *g = f->run.grp;
    *out_id = g->target_id;
    if (strcmp(f->kind->name, "groups") == 0) { /* looked for by its path, or made below its parent */
        if (!f->is_write)
            return NULL;
        *out_id = g->dst_parent;
        if (g->parent && (g = engine_grp(e, g->parent)))
            *out_id = g->target_id;
    }
    return g && *out_id ? g : NULL;
}

/* The same once more, after a while: what was refused with 404 has not acted, other writes of this op may have. */
static void begin_again(struct flight *f)
{
    if (f->has_rsp)
        gl_response_release(&f->rsp);
    f->has_rsp = false;
    f->run.phase = 0;
    f->run.n1 = f->run.n2 = f->run.op.target_id = 0;
    free(f->run.text);
    f->run.text = NULL;
    own_free(&f->run);
    gs_buf_reset(&f->run.buf);
    if (f->acted) {
        f->run.unsure = true;
        f->run.since_ms = gs_mono_ms();
    }
    f->wake_ms = gs_mono_ms() + 400;
    flight_turn(f, FLIGHT_WAIT);
}

/* ---- in somebody's name ---- */

static int self_key(const struct flight *f, char out[48])
{
    return snprintf(out, 48, "no_author/%lld", (long long)f->run.op.id);
}

/* Durable before anything else of the op leaves: a later run sends, and looks for, the same text. */
static int as_self(struct flight *f, const char *why, struct gs_err *err)
{
    char key[48];
    self_key(f, key);
    f->run.no_author = true;
    f->as = 0;
    return run_loss(&f->run, "author-no-right", why, err) || state_meta_set(f->run.state, key, why, err) ? -1 : 0;
}

int flight_was_self(struct engine *e, struct flight *f, struct gs_err *err)
{
    char key[48];
    gs_autofree char *v = NULL;
    self_key(f, key);
    if (e->personas && state_meta_get(e->state, key, &v, err))
        return -1;
    f->run.no_author = v != NULL;
    return v ? run_loss(&f->run, "author-no-right", v, err) : 0;
}

/* Was a write refused since its author may not do it? GraphQL says so in words. That an emoji is there, or unknown, is 404 too (API facts, section 0.3). */
static bool refused_author(const struct flight *f)
{
    const struct gl_response *r = &f->rsp;
    if (!f->as || !f->is_write || r->outcome != GL_ANSWERED)
        return false;
    return r->status == 403 || (r->status == 404 && !strstr(gs_buf_str(&r->body), "Award Emoji")) ||
           (r->status == 200 && strstr(gs_buf_str(&r->body), "does not exist or you don't have permission"));
}

int flight_author(struct engine *e, struct flight *f, bool *out_ready, struct gs_err *err)
{
    enum persona_state st;
    struct gs_err why = {0};
    *out_ready = true;
    f->held = false;
    if (!f->as)
        return 0;
    if (persona_ask(e->personas, f->as, f->next, &st, &why, err))
        return -1;
    *out_ready = st == PERSONA_READY;
    if (st == PERSONA_WAIT) {
        f->held = true;
        f->wake_ms = gs_mono_ms() + 50;
        flight_turn(f, FLIGHT_WAIT);
    } else if (st == PERSONA_REFUSED) {
        gl_request_free(gs_steal(&f->next));
        if (as_self(f, why.text, err))
            return -1;
        begin_again(f);
    }
    return 0;
}

/* True: the answer is being looked into, the kind does not get it now. */
static bool look_into_404(struct engine *e, struct flight *f)
{
    int64_t id = 0;
    const struct grp *g = group_in_doubt(e, f, &id);
    if (!g)
        return false;
    if (f->is_write)
        f->writes--; /* it found nothing to act on */
    if (g->made_ms && gs_mono_ms() - g->made_ms < e->lag_ms) {
        begin_again(f);
        return true;
    }
    f->next = run_request(GL_GET, NULL, "/groups/%lld?with_projects=false", (long long)id);
    if (!f->next)
        return false;
    f->kept = f->rsp;
    f->has_rsp = false;
    f->kept_write = f->is_write;
    f->checking = true;
    flight_turn(f, FLIGHT_STEP);
    return true;
}

/* The answer about the group: it is gone, and the run ends, or the 404 was meant. */
static bool looked_into(struct engine *e, struct flight *f)
{
    bool gone = f->rsp.outcome == GL_ANSWERED && f->rsp.status == 404;
    if (gone) {
        struct gs_err why = {0};
        GS_IGNORE(gs_fail(&why, GS_E_TARGET_MOVED, "group '%s' (id %lld on the target) is not there any more",
                          f->run.grp->dst_path, (long long)f->run.grp->target_id), "it is the reason now");
        engine_cut(e, &why);
        return false;
    }
    gl_response_release(&f->rsp);
    f->rsp = f->kept;
    f->is_write = f->kept_write;
    f->checking = false;
    f->checked = true;
    return true;
}

/*
 * A proxy that shows pages of its own in GitLab's place: each write would be looked up and sent again, for nothing. Not the first
 * one counts, since a single page may be an accident.
 */
static void watch_for_strangers(struct engine *e, const struct flight *f)
{
    const struct gl_response *r = &f->rsp;
    if (!f->is_write || f->checking)
        return;
    if (r->outcome != GL_UNKNOWN || r->status < 200 || r->status >= 300)
        e->strange = 0;
    else if (++e->strange == STRANGE_MAX + e->jobs)
        engine_cut(e, &r->err);
}

int flight_answered(struct engine *e, struct flight *f, struct gs_err *err)
{
    watch_for_strangers(e, f);
    if (refused_author(f)) {
        f->writes--; /* it did not act */
        if (as_self(f, f->rsp.err.code ? f->rsp.err.text : "the server says that he may not", err))
            return -1;
        begin_again(f);
        return 0;
    }
    if (f->checking && !concerns_run(f) && !looked_into(e, f))
        return flight_drop(e, f, err);
    if (!f->checking && look_into_404(e, f))
        return 0;
    f->checked = false;
    f->acted = f->acted || (f->is_write && f->rsp.outcome == GL_ANSWERED && f->rsp.err.code == GS_OK);
    if (f->is_write && f->rsp.outcome == GL_NOT_SENT)
        f->writes--;
    if (f->is_write && f->rsp.outcome == GL_ANSWERED && (f->rsp.err.code == GS_E_TOKEN || f->rsp.err.code == GS_E_SCOPE))
        f->writes--; /* refused at the door */
    if (concerns_run(f)) {
        if (f->rsp.err.code != GS_E_STOPPED) /* it was withdrawn: the reason is another */
            engine_cut(e, &f->rsp.err);
        return flight_drop(e, f, err);
    }
    if (f->is_write && f->rsp.outcome == GL_UNKNOWN) {
        f->run.unsure = true;
        f->run.since_ms = gs_mono_ms();
        gs_logf(e->opts->log, GS_LOG_INFO, "%s '%s': no answer (%s); looking whether it is there", f->kind->relation,
                f->run.op.key, f->rsp.err.text);
    }
    return flight_step(e, f, err);
}

bool flight_writes(const struct gl_request *req)
{
    return req->method != GL_GET && req->method != GL_HEAD && !req->read_only;
}

/* It wants to write, so that the look-up is over: something is there that is not finished, or nothing is. */
static int flight_looked(struct engine *e, struct flight *f, struct gs_err *err)
{
    struct op *op = &f->run.op;
    struct elane *l = f->lane;
    int r = op->target_id ? state_op_target(e->state, op->id, op->target_id, op->print, err) : state_op_unsent(e->state, op->id, err);
    flight_free(e, f);
    lane_enqueue(e, l); /* what stands behind it may have been sent too */
    return r;
}

int flight_step(struct engine *e, struct flight *f, struct gs_err *err)
{
    struct gl_request *req = NULL;
    enum step_result result = STEP_FAIL;
    struct gs_err why = {0};
    bool ready;
    f->run.as_user = 0;
    int r = f->kind->step(&f->run, f->has_rsp ? &f->rsp : NULL, &req, &result, &why);
    if (f->has_rsp) {
        if (r == 0 && f->kind->seen && f->run.op.target_id)
            print_answer(&f->rsp, f->run.op.target_id, f->kind->seen, &f->run.op.print);
        gl_response_release(&f->rsp);
        f->has_rsp = false;
    }
    if (r) {
        gl_request_free(req);
        if (why.scope == GS_SCOPE_ITEM)
            return flight_fail(e, f, &why, err);
        engine_cut(e, &why);
        return flight_drop(e, f, err);
    }
    switch (result) {
    case STEP_DONE: return flight_end(e, f, OP_DONE, err);
    case STEP_SKIP:
        if (!f->run.op.code)
            f->run.op.code = strdup("lost-by-rule");
        return flight_end(e, f, OP_SKIPPED, err);
    case STEP_FAIL:
        gl_request_free(req);
        if (why.code == GS_OK)
            GS_IGNORE(gs_fail(&why, GS_E_INTERNAL, "refused without a reason"), "it is the reason now");
        return flight_fail(e, f, &why, err);
    case STEP_AGAIN:
        flight_turn(f, FLIGHT_WAIT);
        f->wake_ms = gs_mono_ms() + f->run.wait_ms;
        return 0;
    case STEP_SEND: break;
    }
    if (!req) {
        GS_IGNORE(gs_fail(&why, GS_E_NOMEM, "no memory for a request"), "it is the reason now");
        engine_cut(e, &why);
        return flight_drop(e, f, err);
    }
    if (e->opts->look_only && flight_writes(req)) {
        gl_request_free(req);
        return flight_looked(e, f, err);
    }
    f->next = req;
    f->as = flight_writes(req) ? f->run.as_user : 0;
    flight_turn(f, FLIGHT_STEP);
    if (flight_author(e, f, &ready, err))
        return -1;
    if (f->lane->counter != f->lane->stored_counter) {
        f->lane->stored_counter = f->lane->counter;
        return state_lane_counter(e->state, f->lane->l.id, f->lane->counter, err);
    }
    return 0;
}
