/* What others see of a run: the caller's progress, and the signs of life in the state file. */
#include "libreplay/engine_priv.h"

#include "libcommon/clock.h"

#include <stdio.h>

void engine_report(struct engine *e, bool force)
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

int engine_beat(struct engine *e, struct gs_err *err)
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

bool engine_beat_due(const struct engine *e)
{
    return e->last_beat_ms != 0 && gs_mono_ms() - e->last_beat_ms >= RUN_BEAT_MS;
}

void engine_say_end(struct engine *e, int r, const struct gs_err *why)
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
    if (run_info_write(e->state, i, &ignored) || engine_store_newest(e, &ignored) || state_commit(e->state, &ignored))
        state_rollback(e->state);
}
