/* The course of a load: which op is taken when, what becomes durable before what leaves, and how a run begins and ends. */
#include "libreplay/engine.h"

#include "libcommon/clock.h"
#include "libreplay/engine_priv.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SKIPS_PER_TURN 2000
#define MAX_WAITING 256
#define NEWEST_EVERY_MS 1000
#define AHEAD_MAX 16 /* each may have to be looked up after a crash */

/* Now, by the clock of the server. */
static int64_t server_now(const struct engine *e)
{
    return e->server_ms + (gs_mono_ms() - e->server_at_ms);
}

void engine_cut(struct engine *e, const struct gs_err *why)
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

int engine_store_newest(struct engine *e, struct gs_err *err)
{
    for (size_t i = 0; kinds[i] && i < MAX_KINDS; i++)
        if (e->newest[i] && state_newest(e->state, kinds[i]->name, e->newest[i], err))
            return -1;
    memset(e->newest, 0, sizeof e->newest);
    e->last_newest_ms = gs_mono_ms();
    return 0;
}

/* ---- taking ops ---- */

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
    if (flight_was_self(e, f, err) || flight_load(e, f, err))
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
            if (flight_author(e, f, &ready, err))
                return -1;
            if (ready)
                flight_turn(f, FLIGHT_STEP);
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
    return gs_mono_ms() - e->last_newest_ms >= NEWEST_EVERY_MS ? engine_store_newest(e, err) : 0;
}

static int submit(struct engine *e, struct gs_err *err)
{
    for (struct flight *f = e->flights; f; f = f->link) {
        if (f->state != FLIGHT_STEP || !f->next)
            continue;
        struct gl_request *req = gs_steal(&f->next);
        f->is_write = flight_writes(req);
        f->writes += f->is_write;
        if (!f->checking) /* that is the engine's question; who reads of a failure looks for the one that was refused */
            snprintf(f->asked, sizeof f->asked, "%s %s", gl_method_name(req->method), req->path);
        req->done = flight_on_answer;
        req->cookie = f;
        flight_turn(f, FLIGHT_WIRE);
        e->p.requests++;
        if (gl_submit(e->client, req, err)) {
            f->writes -= f->is_write;
            flight_turn(f, FLIGHT_STEP);
            return -1;
        }
    }
    return stopped(e) ? 0 : personas_submit(e->personas, err);
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
        engine_report(e, false);
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
    if (!work && !first_wait && !engine_beat_due(e))
        return 0;
    if (state_begin(e->state, err))
        return -1;
    if (((e->last_beat_ms == 0 || engine_beat_due(e)) && engine_beat(e, err)) || (work && turn(e, err))) {
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
            engine_cut(e, &why);
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
        engine_report(e, false);
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
    engine_report(&e, true);
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
    engine_say_end(&e, r, err);
    lanes_unload(&e);
    return r;
}
