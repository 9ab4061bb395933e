#include "libreplay/engine.h"

#include "libcommon/clock.h"
#include "libreplay/engine_priv.h"
#include "libreplay/print.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SKIPS_PER_TURN 2000
#define MAX_WAITING 256
#define NEWEST_EVERY_MS 1000
#define STRANGE_MAX 8
#define AHEAD_MAX 16 /* each may have to be looked up after a crash */

static int flight_step(struct engine *e, struct flight *f, struct gs_err *err);

/* Now, by the clock of the server. */
static int64_t server_now(const struct engine *e)
{
    return e->server_ms + (gs_mono_ms() - e->server_at_ms);
}

/* ---- flights ---- */

static void own_free(struct run *r)
{
    if (r->own)
        r->free_own(r->own);
    r->own = NULL;
}

static void flight_free(struct engine *e, struct flight *f)
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

/* Nothing new is begun from now on, and what stands ready does not leave; the first reason is kept. */
static void cut(struct engine *e, const struct gs_err *why)
{
    if (!e->cut)
        e->cut_err = *why;
    e->cut = true;
    gl_client_withdraw(e->client);
}

static bool stopped(const struct engine *e)
{
    return e->cut || (e->opts->stop && *e->opts->stop);
}

static void turn_to(struct flight *f, enum flight_state s)
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

static int store_newest(struct engine *e, struct gs_err *err)
{
    for (size_t i = 0; kinds[i] && i < MAX_KINDS; i++)
        if (e->newest[i] && state_newest(e->state, kinds[i]->name, e->newest[i], err))
            return -1;
    memset(e->newest, 0, sizeof e->newest);
    e->last_newest_ms = gs_mono_ms();
    return 0;
}

/* Ends the op for good, with its losses, in the transaction of this turn. */
static int flight_end(struct engine *e, struct flight *f, enum op_state state, struct gs_err *err)
{
    struct op *op = &f->run.op;
    struct elane *l = f->lane;
    op->state = state;
    op->tries = f->writes;
    if (f->run.was_id && state == OP_DONE && op->target_id == f->run.was_id && !f->acted) {
        /* as it was before: so are its losses */
        op->adopted = f->old_adopted;
        op->found = f->old_found;
    } else if ((f->run.was_id && state_forget_losses(e->state, op->id, err)) || store_losses(e, f, err)) {
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

/* Gives an op back without an end: planned again when nothing can have left, else it stays `sent` and is looked up next time. */
static int flight_drop(struct engine *e, struct flight *f, struct gs_err *err)
{
    int r = 0;
    if (!f->was_sent && f->writes == 0)
        r = state_op_unsent(e->state, f->run.op.id, err);
    flight_free(e, f);
    return r;
}

static void on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
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
    turn_to(f, FLIGHT_ANSWERED);
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
    turn_to(f, FLIGHT_WAIT);
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

static int was_self(struct engine *e, struct flight *f, struct gs_err *err)
{
    char key[48];
    gs_autofree char *v = NULL;
    self_key(f, key);
    if (e->personas && state_meta_get(e->state, key, &v, err))
        return -1;
    f->run.no_author = v != NULL;
    return v ? run_loss(&f->run, "author-no-right", v, err) : 0;
}

/* Was a write refused since its author may not do it? GraphQL says so in words. */
static bool refused_author(const struct flight *f)
{
    const struct gl_response *r = &f->rsp;
    if (!f->as || !f->is_write || r->outcome != GL_ANSWERED)
        return false;
    return r->status == 403 || r->status == 404 ||
           (r->status == 200 && strstr(gs_buf_str(&r->body), "does not exist or you don't have permission"));
}

/* Gives the request its author; *out_ready false: it waits, or the step begins again without one. */
static int give_author(struct engine *e, struct flight *f, bool *out_ready, struct gs_err *err)
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
        turn_to(f, FLIGHT_WAIT);
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
    turn_to(f, FLIGHT_STEP);
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
        cut(e, &why);
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
        cut(e, &r->err);
}

static int flight_answered(struct engine *e, struct flight *f, struct gs_err *err)
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
            cut(e, &f->rsp.err);
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

static bool writes(const struct gl_request *req)
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

static int flight_step(struct engine *e, struct flight *f, struct gs_err *err)
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
        cut(e, &why);
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
        turn_to(f, FLIGHT_WAIT);
        f->wake_ms = gs_mono_ms() + f->run.wait_ms;
        return 0;
    case STEP_SEND: break;
    }
    if (!req) {
        GS_IGNORE(gs_fail(&why, GS_E_NOMEM, "no memory for a request"), "it is the reason now");
        cut(e, &why);
        return flight_drop(e, f, err);
    }
    if (e->opts->look_only && writes(req)) {
        gl_request_free(req);
        return flight_looked(e, f, err);
    }
    f->next = req;
    f->as = writes(req) ? f->run.as_user : 0;
    turn_to(f, FLIGHT_STEP);
    if (give_author(e, f, &ready, err))
        return -1;
    if (f->lane->counter != f->lane->stored_counter) {
        f->lane->stored_counter = f->lane->counter;
        return state_lane_counter(e->state, f->lane->l.id, f->lane->counter, err);
    }
    return 0;
}

/* ---- taking ops ---- */

static int load_record(struct engine *e, struct flight *f, struct gs_err *err)
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

/* Is something that this op stands on missing? *out_why is then text for people. */
static int blocked(struct engine *e, const struct op *op, const struct grp *g, char *out_why, size_t cap, struct gs_err *err)
{
    out_why[0] = 0;
    bool creates = strcmp(op->kind, "groups") == 0;
    const struct grp *must = creates ? (g->parent ? engine_grp(e, g->parent) : NULL) : g;
    if (must && must->target_id == 0) {
        snprintf(out_why, cap, "group '%s' was not created", must->dst_path);
        return 0;
    }
    if (op->needs == 0)
        return 0;
    struct op need;
    if (state_op(e->state, op->needs, &need, err))
        return -1;
    if (need.state != OP_DONE)
        snprintf(out_why, cap, "%s '%s' was not loaded", need.kind, need.key);
    op_release(&need);
    return 0;
}

static struct flight *flight_new(struct engine *e, struct elane *l, struct op *op)
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

/* Begins one op of this lane, or skips it. */
static int begin_op(struct engine *e, struct elane *l, struct op *op, bool *out_skipped, struct gs_err *err)
{
    *out_skipped = false;
    struct flight *f = flight_new(e, l, op);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "no memory for an op");
    if (!f->kind || !f->run.grp)
        return gs_fail(err, GS_E_STATE_DAMAGED, "op %lld of the state file has an unknown kind or group",
                       (long long)f->run.op.id);
    char why[512];
    if (blocked(e, &f->run.op, f->run.grp, why, sizeof why, err))
        return -1;
    if (why[0]) {
        *out_skipped = true;
        f->run.op.code = strdup("dependency-failed");
        f->run.op.text = strdup(why);
        return flight_end(e, f, OP_SKIPPED, err);
    }
    e->begun++;
    if (was_self(e, f, err) || load_record(e, f, err))
        return -1;
    if (!f->was_sent) {
        int64_t now = server_now(e);
        if (state_op_sent(e->state, f->run.op.id, now, err))
            return -1;
        if (f->run.op.sent_at == 0)
            f->run.op.sent_at = now;
    }
    e->p.group = f->run.grp->src_path;
    e->p.relation = f->kind->relation;
    return flight_step(e, f, err);
}

/* Has the run taken up as many ops as it was asked to? */
static bool has_enough(const struct engine *e)
{
    return e->opts->stop_after && e->begun >= e->opts->stop_after;
}

/* Is there a place on the wire for one more, or soon? Those that wait for a replica need none, but are not without number. */
static bool has_room(const struct engine *e)
{
    return !e->closed && !has_enough(e) && e->n_flights - e->n_waiting < e->jobs + e->ahead && e->n_waiting < MAX_WAITING;
}

/*
 * Outside of its hours the run begins nothing; what is on the way ends as always. Asked once a second, by the wall clock, so that
 * it is right when that is set or the machine slept.
 */
static void look_at_window(struct engine *e, int64_t now)
{
    unsigned from = e->opts->window_from, to = e->opts->window_to;
    if (from == to || (e->last_window_ms && now - e->last_window_ms < 1000))
        return;
    e->last_window_ms = now;
    time_t t = time(NULL);
    struct tm tm;
    if (!localtime_r(&t, &tm))
        return;
    unsigned at = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
    bool open = from < to ? at >= from && at < to : at >= from || at < to;
    unsigned left = (from + 24 * 60 - at) % (24 * 60);
    e->p.closed_ms = open ? 0 : ((int64_t)left * 60 - tm.tm_sec) * 1000;
    if (open == e->closed)
        gs_logf(e->opts->log, GS_LOG_INFO, open ? "within the hours of --window: the load goes on"
                                                 : "outside the hours of --window: the load waits until %02u:%02u", from / 60, from % 60);
    e->closed = !open;
}

static int dispatch(struct engine *e, struct gs_err *err)
{
    unsigned skips = 0;
    while (e->queue_n > 0 && has_room(e) && !stopped(e) && skips < SKIPS_PER_TURN) {
        struct elane *l = lane_dequeue(e);
        if (l->l.ordered && l->in_flight > 0)
            continue; /* comes back when that op ends */
        struct op op;
        bool none, skipped;
        if (lane_take(e, l, &op, &none, err))
            return -1;
        if (none)
            continue;
        if (e->opts->look_only && op.state == OP_PLANNED) {
            op_release(&op);
            lane_enqueue(e, l);
            continue;
        }
        if (begin_op(e, l, &op, &skipped, err))
            return -1;
        skips += skipped;
        if (!l->l.ordered)
            lane_enqueue(e, l);
    }
    return 0;
}

/* ---- the loop ---- */

static bool turn_has_work(struct engine *e, int64_t now)
{
    if ((e->queue_n > 0 && has_room(e) && !stopped(e)) || personas_came(e->personas))
        return true;
    for (struct flight *f = e->flights; f; f = f->link)
        if (f->state == FLIGHT_ANSWERED || (f->state == FLIGHT_WAIT && (f->wake_ms <= now || stopped(e))) ||
            f->state == FLIGHT_STEP)
            return true;
    return false;
}

/* Everything that can be done without waiting, in one transaction. */
static int turn(struct engine *e, struct gs_err *err)
{
    int64_t now = gs_mono_ms();
    struct flight *f, *next;
    if (personas_turn(e->personas, err))
        return -1;
    for (f = e->flights; f; f = next) {
        next = f->link;
        if (f->state == FLIGHT_ANSWERED) {
            if (flight_answered(e, f, err))
                return -1;
        } else if (f->state == FLIGHT_WAIT && stopped(e)) {
            if (flight_drop(e, f, err))
                return -1;
        } else if (f->state == FLIGHT_WAIT && f->wake_ms <= now && f->held) {
            bool ready;
            if (give_author(e, f, &ready, err))
                return -1;
            if (ready)
                turn_to(f, FLIGHT_STEP);
        } else if (f->state == FLIGHT_WAIT && f->wake_ms <= now) {
            if (flight_step(e, f, err))
                return -1;
        }
    }
    if (dispatch(e, err))
        return -1;
    /* whoever still wants to send after a stop stays as it is in the state file, and goes on next time */
    for (f = e->flights; f; f = next) {
        next = f->link;
        if (f->state == FLIGHT_STEP && stopped(e) && flight_drop(e, f, err))
            return -1;
    }
    return gs_mono_ms() - e->last_newest_ms >= NEWEST_EVERY_MS ? store_newest(e, err) : 0;
}

static int submit(struct engine *e, struct gs_err *err)
{
    for (struct flight *f = e->flights; f; f = f->link) {
        if (f->state != FLIGHT_STEP || !f->next)
            continue;
        struct gl_request *req = gs_steal(&f->next);
        f->is_write = writes(req);
        f->writes += f->is_write;
        if (!f->checking) /* that is the engine's question; who reads of a failure looks for the one that was refused */
            snprintf(f->asked, sizeof f->asked, "%s %s", gl_method_name(req->method), req->path);
        req->done = on_answer;
        req->cookie = f;
        turn_to(f, FLIGHT_WIRE);
        e->p.requests++;
        if (gl_submit(e->client, req, err)) {
            f->writes -= f->is_write;
            turn_to(f, FLIGHT_STEP);
            return -1;
        }
    }
    return stopped(e) ? 0 : personas_submit(e->personas, err);
}

static void progress(struct engine *e, bool force)
{
    int64_t now = gs_mono_ms();
    if (!e->opts->progress || (!force && now - e->last_progress_ms < 100))
        return;
    e->last_progress_ms = now;
    struct gl_stats st;
    gl_client_stats(e->client, &st);
    e->p.elapsed_ms = now - e->started_ms;
    e->p.paused_ms = st.paused_ms;
    e->p.in_flight = st.in_flight;
    e->opts->progress(e->opts->cookie, &e->p);
}

/* ---- what others see of the run ---- */

/* What the run waits for, if nothing moves. */
static void say_wait(struct engine *e, const struct gl_stats *st, int64_t now)
{
    struct run_info *i = &e->info;
    const char *why = "";
    int64_t ms = 0;
    if (st->paused_ms > 0) {
        why = "rate-limit";
        ms = st->paused_ms;
    } else if (e->closed && e->n_flights == 0) {
        why = "window";
        ms = e->p.closed_ms;
    } else if (st->retrying > 0 && st->in_flight == 0) {
        why = st->retry_why == GS_E_UNREACHABLE || st->retry_why == GS_E_TLS || st->retry_why == GS_E_TIMEOUT ? "unreachable"
                                                                                                              : "server-error";
        ms = st->next_try_ms;
    }
    snprintf(i->wait, sizeof i->wait, "%s", why);
    i->wait_until_ms = ms > 0 ? now + ms : 0;
}

/* From here on others can see that there is a run. */
static void say_begin(struct engine *e)
{
    struct run_info *i = &e->info;
    run_info_self(i);
    i->begun_ms = gs_unix_ms();
    i->jobs = e->jobs;
    i->ended_at_begin = e->p.done + e->p.failed + e->p.skipped;
}

/* Writes a sign of life into the state, in the transaction that is open. */
static int beat(struct engine *e, struct gs_err *err)
{
    struct run_info *i = &e->info;
    int64_t mono = gs_mono_ms(), now = gs_unix_ms(), ms = mono - e->last_beat_ms;
    uint64_t ended = e->p.done + e->p.failed + e->p.skipped;
    struct gl_stats st;
    gl_client_stats(e->client, &st);
    if (e->last_beat_ms == 0) {
        if (run_info_keep(e->state, err))
            return -1;
        say_begin(e);
    } else if (ms > 0) {
        double each_s = (double)(ended - e->beat_ended) * 1000 / (double)ms;
        /* a mean over the last half minute or so, from the first second on */
        double weight = i->beats < 30 ? 1.0 / (double)++i->beats : 1.0 / 30;
        i->steps_per_s += (each_s - i->steps_per_s) * weight;
    }
    i->beat_ms = now;
    i->requests = e->p.requests;
    i->in_flight = st.in_flight;
    i->window = st.window;
    say_wait(e, &st, now);
    e->last_beat_ms = mono;
    e->beat_ended = ended;
    return run_info_write(e->state, i, err);
}

static bool beat_due(const struct engine *e)
{
    return e->last_beat_ms != 0 && gs_mono_ms() - e->last_beat_ms >= RUN_BEAT_MS;
}

/* How the run ended, for who asks later. A state file that cannot be written to says it by its silence. */
static void say_end(struct engine *e, int r, const struct gs_err *why)
{
    struct gs_err ignored = {0};
    struct run_info *i = &e->info;
    if (e->last_beat_ms == 0 && r == 0)
        return; /* there was nothing to do: what the last run said stays */
    if (e->last_beat_ms == 0)
        say_begin(e);
    i->ended_ms = gs_unix_ms();
    snprintf(i->end_code, sizeof i->end_code, "%s", r ? gs_code_name(why->code) : "");
    snprintf(i->end_text, sizeof i->end_text, "%s", r ? why->text : "");
    i->in_flight = 0;
    i->wait[0] = 0;
    i->wait_until_ms = 0;
    i->requests = e->p.requests;
    if (state_begin(e->state, &ignored))
        return;
    if (run_info_write(e->state, i, &ignored) || store_newest(e, &ignored) || state_commit(e->state, &ignored))
        state_rollback(e->state);
}

/* ---- commits beside the wire ---- */

/* In the thread of the committer. */
static void commit_job(void *arg)
{
    struct engine *e = arg;
    e->commit_r = state_commit(e->state, &e->commit_err);
    atomic_store(&e->commit_over, true);
    gl_client_wake(e->client);
}

/*
 * What this turn decided becomes durable, and leaves. A disk takes its time: answers that come meanwhile are received, and requests
 * that are durable already take their places on the wire. With a single job nothing can happen meanwhile.
 */
static int commit(struct engine *e, struct gs_err *err)
{
    if (!e->committer)
        return state_commit(e->state, err) || submit(e, err) ? -1 : 0;
    e->commit_err = (struct gs_err){0};
    atomic_store(&e->commit_over, false);
    e->committing = true;
    gs_work_submit(e->committer, commit_job, e);
    return 0;
}

/* Waits until the state file is free again. */
static int commit_end(struct engine *e, struct gs_err *err)
{
    while (!atomic_load(&e->commit_over)) {
        if (gl_wait(e->client, 200, err))
            return -1;
        progress(e, false);
    }
    gs_work_wait(e->committer);
    e->committing = false;
    if (e->commit_r) {
        *err = e->commit_err;
        return -1;
    }
    return submit(e, err);
}

/* One transaction with everything that is due. */
static int work_off(struct engine *e, struct gs_err *err)
{
    look_at_window(e, gs_mono_ms());
    bool work = turn_has_work(e, gs_mono_ms());
    bool first_wait = e->last_beat_ms == 0 && e->closed; /* who asks for the status must see that it waits */
    if (!work && !first_wait && !beat_due(e))
        return 0;
    if (state_begin(e->state, err))
        return -1;
    if (((e->last_beat_ms == 0 || beat_due(e)) && beat(e, err)) || (work && turn(e, err))) {
        state_rollback(e->state);
        return -1;
    }
    return commit(e, err);
}

/* How long the loop may wait for the network. */
static int64_t idle_ms(const struct engine *e)
{
    int64_t timeout = 200, now = gs_mono_ms();
    if (e->queue_n > 0 && has_room(e) && !stopped(e))
        return 0;
    for (const struct flight *f = e->flights; f; f = f->link)
        if (f->state == FLIGHT_WAIT && f->wake_ms - now < timeout)
            timeout = f->wake_ms > now ? f->wake_ms - now : 0;
    return timeout;
}

static int loop(struct engine *e, struct gs_err *err)
{
    for (;;) {
        if (work_off(e, err) || (e->committing && commit_end(e, err)))
            return -1;
        /* what was taken up is brought to its end first */
        if (e->n_flights == 0 && e->queue_n > 0 && has_enough(e)) {
            struct gs_err why = {0};
            GS_IGNORE(gs_fail(&why, GS_E_STOPPED, "stopped after %llu steps as asked", (unsigned long long)e->begun),
                      "it is the reason now");
            cut(e, &why);
        }
        if (e->n_flights == 0 && (stopped(e) || e->queue_n == 0))
            return 0;
        int64_t timeout = idle_ms(e);
        if (gl_pending(e->client) == 0) {
            if (timeout > 0)
                gs_sleep_ms(timeout);
        } else if (gl_poll(e->client, (int)timeout, err)) {
            return -1;
        }
        progress(e, false);
    }
}

/* After a failure of the engine itself: what is on the wire is waited for, so that no callback reaches freed memory. */
static void drain(struct engine *e)
{
    struct gs_err ignored = {0};
    gs_work_free(e->committer);
    e->committer = NULL;
    e->committing = false;
    while (gl_pending(e->client) > 0)
        if (gl_poll(e->client, 200, &ignored))
            break;
    while (e->flights)
        flight_free(e, e->flights);
}

/* Who others are for this run; what an earlier one that was killed left of that is taken away first. */
static int personas_begin(struct engine *e, struct gs_err *err)
{
    unsigned left;
    int64_t someone = 0;
    if (personas_revoke(e->state, e->client, e->opts->log, &left, err))
        return -1;
    if (!e->opts->load.as_authors || e->opts->look_only)
        return 0;
    return state_some_user(e->state, e->target->user_id, &someone, err) || personas_check(e->client, e->target, someone, err) ||
                   personas_new(e->state, e->client, e->target, bundle_set_id(e->bundle), e->opts->log, &e->personas, err)
               ? -1
               : 0;
}

/* Also after a stop: tokens of others are not left behind for the next run, which may never come. */
static int personas_end(struct engine *e, struct gs_err *err)
{
    unsigned left = 0, alive = 0;
    if (!e->personas)
        return 0;
    personas_free(e->personas);
    e->personas = NULL;
    if (e->opts->stop && *e->opts->stop)
        gl_client_last(e->client);
    int r = personas_alive(e->state, &alive, err) || (alive && personas_revoke(e->state, e->client, e->opts->log, &left, err)) ? -1 : 0;
    if (left)
        gs_logf(e->opts->log, GS_LOG_WARN, "%u impersonation tokens are still good: the next run revokes them, or do it by hand", left);
    return r;
}

int engine_run(struct state *s, struct bundle *b, struct gl_client *c, const struct gl_instance *target,
               const struct engine_opts *o, struct engine_result *out, struct gs_err *err)
{
    struct engine e = {.state = s, .bundle = b, .client = c, .target = target, .opts = o, .started_ms = gs_mono_ms()};
    snprintf(e.info.verb, sizeof e.info.verb, "%s", o->verb ? o->verb : "apply");
    e.jobs = gl_free_slots(c);
    if (e.jobs == 0)
        e.jobs = 1;
    e.lag_ms = LAG_MS;
    e.server_at_ms = e.last_newest_ms = e.started_ms;
    e.server_ms = gs_unix_ms() + target->clock_offset_ms;
    int r = 0;
    if (e.jobs > 1) {
        e.ahead = e.jobs < AHEAD_MAX ? e.jobs : AHEAD_MAX;
        r = gs_work_new(1, 1, &e.committer, err);
    }
    gs_autofree char *epics_api = NULL;
    if (r == 0)
        r = state_meta_get(s, "epics_api", &epics_api, err);
    e.epics_items = epics_api && strcmp(epics_api, "work-items") == 0;
    if (r == 0)
        r = personas_begin(&e, err) || lanes_load(&e, err) || moved_check(&e, err) ? -1 : 0;
    if (r == 0)
        r = loop(&e, err);
    drain(&e);
    if (personas_end(&e, r ? &(struct gs_err){0} : err))
        r = -1;
    progress(&e, true);
    *out = (struct engine_result){.p = e.p, .commits = state_commits(s)};
    out->p.group = out->p.relation = NULL;
    if (r == 0 && e.cut) {
        *err = e.cut_err;
        r = -1;
    } else if (r == 0 && o->stop && *o->stop) {
        r = gs_fail(err, GS_E_STOPPED, "stopped; %llu of %llu steps have ended",
                    (unsigned long long)(e.p.done + e.p.failed + e.p.skipped), (unsigned long long)e.p.ops);
    } else if (r == 0 && e.lanes_open > 0 && !o->look_only) {
        r = gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %zu lanes wait for each other", state_path(s), e.lanes_open);
    }
    say_end(&e, r, err);
    lanes_unload(&e);
    return r;
}
