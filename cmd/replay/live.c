#include "cmd/replay/live.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- numbers ---- */

static uint64_t ended(const struct live *l)
{
    return l->t.ops - l->t.open;
}

static int add_undo(void *cookie, const struct undo_count *c, struct gs_err *err)
{
    struct undo_count *sum = cookie;
    (void)err;
    sum->all += c->all;
    sum->removed += c->removed;
    sum->gone += c->gone;
    sum->marked += c->marked;
    sum->kept += c->kept;
    sum->failed += c->failed;
    sum->open += c->open;
    return 0;
}

int live_read(struct state *s, struct live *out, struct gs_err *err)
{
    *out = (struct live){.eta_ms = -1};
    if (report_total(s, &out->t, err) || run_info_read(s, &out->run, &out->ever, err))
        return -1;
    if (undo_begun(s, &out->undone, err) || (out->undone && undo_counts(s, add_undo, &out->undo, err)))
        return -1;
    out->alive = out->ever && run_info_alive(&out->run);
    bool down = strcmp(out->run.wait, "unreachable") == 0 || strcmp(out->run.wait, "server-error") == 0;
    if (out->alive && !down && out->run.steps_per_s > 0.0005)
        out->eta_ms = (int64_t)((double)out->t.open * 1000 / out->run.steps_per_s);
    return 0;
}

const char *live_run_state(const struct live *l)
{
    return !l->ever           ? "none"
           : l->alive         ? "running"
           : !l->run.ended_ms ? "lost"
           : *l->run.end_code ? "stopped"
                              : "ended";
}

static bool by_undo(const struct live *l)
{
    return l->ever && strcmp(l->run.verb, "undo") == 0;
}

const char *live_undo_state(const struct live *l)
{
    bool cut = l->undo.open || (by_undo(l) && (!l->run.ended_ms || *l->run.end_code));
    return !l->undone                           ? "none"
           : l->alive && by_undo(l)             ? "running"
           : cut                                ? "cut-off"
           : l->undo.kept || l->undo.failed     ? "partial"
                                                : "complete";
}

bool live_differs(const struct live *a, const struct live *b)
{
    return ended(a) != ended(b) || a->t.ops != b->t.ops || a->t.failed != b->t.failed || a->t.skipped != b->t.skipped ||
           a->t.decided != b->t.decided || a->undo.open != b->undo.open || a->undo.kept != b->undo.kept ||
           a->undo.failed != b->undo.failed || strcmp(live_undo_state(a), live_undo_state(b)) != 0 || strcmp(live_run_state(a), live_run_state(b)) != 0 ||
           strcmp(a->run.wait, b->run.wait) != 0 || a->run.begun_ms != b->run.begun_ms;
}

/* ---- words ---- */

const char *live_wait_words(const char *wait)
{
    static const struct {
        const char *wait, *words;
    } all[] = {
        {"rate-limit", "the target's rate limit"},
        {"rate", "its own limit (--rate)"},
        {"window", "the time at which it may work (--window)"},
        {"unreachable", "the target, which cannot be reached"},
        {"server-error", "the target, which answers with errors"},
    };
    for (size_t i = 0; i < GS_COUNT(all); i++)
        if (strcmp(all[i].wait, wait) == 0)
            return all[i].words;
    return wait;
}

/* "2026-01-02 03:04:05 UTC" */
static const char *when(int64_t ms, char out[32])
{
    char t[GS_TIME_LEN];
    gs_time_format(ms, t);
    snprintf(out, 32, "%.10s %.8s UTC", t, t + 11);
    return out;
}

/* "12.3", with a digit behind the point where it is small. */
static const char *speed(double per_s, char out[32])
{
    if (per_s >= 100)
        snprintf(out, 32, "%s", cli_count((uint64_t)per_s));
    else
        snprintf(out, 32, "%.1f", per_s);
    return out;
}

static void run_words(const struct live *l, char *out, size_t cap)
{
    char a[32], b[32];
    const struct run_info *r = &l->run;
    if (!l->ever)
        snprintf(out, cap, "has not begun");
    else if (l->alive)
        snprintf(out, cap, "running since %s ('%s', process %lld on %s)", when(r->begun_ms, a), cli_safe(r->verb),
                 (long long)r->pid, cli_safe(r->host));
    else if (!r->ended_ms)
        snprintf(out, cap, "cut off without a word after %s (killed, no power, or no room on the disk)",
                 when(r->beat_ms, a));
    else if (*r->end_code)
        snprintf(out, cap, "stopped at %s: %s [%s]", when(r->ended_ms, a), cli_safe(r->end_text),
                 cli_safe(r->end_code));
    else
        snprintf(out, cap, "came to its end at %s, begun at %s", when(r->ended_ms, a), when(r->begun_ms, b));
}

static void undo_words(const struct live *l, char *out, size_t cap)
{
    static const struct {
        const char *state, *words;
    } all[] = {
        {"running", "is being taken back"},
        {"cut-off", "began to be taken back and was cut off; 'undo' with the same state file goes on"},
        {"partial", "was taken back in part; 'undo' with --dry-run says why the rest stays"},
        {"complete", "was taken back"},
    };
    const struct undo_count *u = &l->undo;
    const char *words = "";
    for (size_t i = 0; i < GS_COUNT(all); i++)
        if (strcmp(all[i].state, live_undo_state(l)) == 0)
            words = all[i].words;
    snprintf(out, cap, "%s: of %s made, %s removed, %s were gone, %s marked for deletion, %s stayed, %s failed, %s still to do", words,
             cli_count(u->all), cli_count(u->removed), cli_count(u->gone), cli_count(u->marked), cli_count(u->kept),
             cli_count(u->failed), cli_count(u->open));
}

void live_line(const struct live *l, char *out, size_t cap)
{
    char a[32];
    if (l->undone) {
        undo_words(l, out, cap);
        return;
    }
    int n = snprintf(out, cap, "%s of %s steps ended, %s failed", cli_count(ended(l)), cli_count(l->t.ops),
                     cli_count(l->t.failed));
    if (l->t.because_failed)
        n += snprintf(out + n, cap - (size_t)n, ", %s skipped because of that", cli_count(l->t.because_failed));
    if (l->alive && *l->run.wait)
        snprintf(out + n, cap - (size_t)n, "; waits for %s", live_wait_words(l->run.wait));
    else if (l->alive && l->eta_ms >= 0)
        snprintf(out + n, cap - (size_t)n, "; %s steps/s, about %s left", speed(l->run.steps_per_s, a),
                 cli_span(l->eta_ms));
    else if (!l->alive)
        snprintf(out + n, cap - (size_t)n, "; %s%s%s%s", strcmp(live_run_state(l), "lost") == 0 ? "cut off without a word" : live_run_state(l), *l->run.end_code ? " [" : "",
                 cli_safe(l->run.end_code), *l->run.end_code ? "]" : "");
}

static int pace(struct cli *cli, const struct live *l)
{
    char a[32];
    const struct run_info *r = &l->run;
    if (!l->alive)
        return 0;
    cli_out(cli, "speed       %s steps/s", speed(r->steps_per_s, a));
    if (l->eta_ms >= 0)
        cli_out(cli, ", about %s left", cli_span(l->eta_ms));
    cli_out(cli, "; %s requests sent, %s on the way, %s of %s at once allowed now\n", cli_count(r->requests),
            cli_count(r->in_flight), cli_count(r->window), cli_count(r->jobs));
    if (!*r->wait)
        return 0;
    int64_t left = r->wait_until_ms - gs_unix_ms();
    cli_out(cli, "waits for   %s", live_wait_words(r->wait));
    if (left > 0)
        cli_out(cli, ", %s more", cli_span(left));
    cli_out(cli, "\n");
    return 0;
}

int live_head(struct cli *cli, struct state *s, const struct live *l, struct gs_err *err)
{
    gs_autofree char *bundle = NULL, *url = NULL;
    const struct report_total *t = &l->t;
    char words[1200];
    if (state_meta_get(s, "bundle_path", &bundle, err) || state_meta_get(s, "target_url", &url, err))
        return -1;
    run_words(l, words, sizeof words);
    cli_out(cli, "bundle      %s\n", cli_safe(bundle ? bundle : "?"));
    cli_out(cli, "target      %s\n", cli_safe(url ? url : "?"));
    if (l->undone) {
        char undone[600];
        undo_words(l, undone, sizeof undone);
        cli_out(cli, "load        %s\n", undone);
    }
    cli_out(cli, "%-11s %s\n", by_undo(l) ? "undo" : l->undone ? "last run" : "load", words);
    if (!l->alive && l->ever && *l->run.end_code && gs_code_by_name(l->run.end_code) != GS_OK)
        cli_out(cli, "            what to do: %s\n", gs_code_hint(gs_code_by_name(l->run.end_code)));
    if (l->undone)
        cli_out(cli, "            what stands below is what the load had come to before\n");
    if (pace(cli, l))
        return -1;
    cli_out(cli, "steps       %s of %s ended: %s done, %s lost by a rule, %s failed, %s skipped because of that",
            cli_count(ended(l)), cli_count(t->ops), cli_count(t->done), cli_count(t->lost), cli_count(t->failed),
            cli_count(t->because_failed));
    if (t->decided)
        cli_out(cli, ", %s left out on purpose", cli_count(t->decided));
    cli_out(cli, "\n");
    if (t->found)
        cli_out(cli, "            %s were recognised on the target after an answer got lost\n", cli_count(t->found));
    cli_out(cli, "groups      %s of %s are there\n", cli_count(t->groups_loaded), cli_count(t->groups));
    return 0;
}

/* ---- groups ---- */

struct groups {
    struct cli *cli;
    struct state *s;
    unsigned n, max, left;
    bool busy; /* this round shows those that are worked on or lack something, the next one the others */
};

static int relation(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    struct cli *cli = cookie;
    (void)err;
    if (strcmp(r->relation, "self") == 0)
        return 0;
    cli_out(cli, "  %s %s/%s", cli_safe(r->relation), cli_count(r->in_bundle - r->open), cli_count(r->in_bundle));
    return 0;
}

static int group(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct groups *x = cookie;
    const char *state = report_group_state(g);
    bool busy = (g->open && g->open < g->ops) || g->failed || g->skipped;
    if (busy != x->busy)
        return 0;
    if (x->max && x->n >= x->max) {
        x->left++;
        return 0;
    }
    x->n++;
    cli_out(x->cli, "%-11s %s", state, cli_safe(g->grp.src_path));
    if (report_relations(x->s, g->grp.id, relation, x->cli, err))
        return -1;
    if (g->failed || g->skipped)
        cli_out(x->cli, "  %s failed, %s skipped", cli_count(g->failed), cli_count(g->skipped));
    if (g->decided)
        cli_out(x->cli, "  %s left out", cli_count(g->decided));
    if (g->grp.target_id)
        cli_out(x->cli, "  %s",
                g->grp.web_url && *g->grp.web_url ? cli_safe(g->grp.web_url) : cli_safe(g->grp.dst_path));
    cli_out(x->cli, "\n");
    return 0;
}

int live_groups(struct cli *cli, struct state *s, unsigned max, struct gs_err *err)
{
    struct groups x = {.cli = cli, .s = s, .max = max, .busy = true};
    if (report_groups(s, group, &x, err))
        return -1;
    x.busy = false;
    if (report_groups(s, group, &x, err))
        return -1;
    if (x.left)
        cli_out(cli, "... and %s more groups (--groups)\n", cli_count(x.left));
    return 0;
}

/* ---- JSON ---- */

static void time_json(struct gs_jw *w, const char *key, int64_t ms)
{
    char t[GS_TIME_LEN];
    if (ms)
        gs_time_format(ms, t);
    gs_jw_kstr(w, key, ms ? t : NULL);
}

void live_json(struct gs_jw *w, const struct live *l)
{
    const struct run_info *r = &l->run;
    enum gs_code code = gs_code_by_name(r->end_code);
    gs_jw_key(w, "run");
    gs_jw_obj(w);
    gs_jw_kstr(w, "state", live_run_state(l));
    if (l->ever) {
        gs_jw_kstr(w, "command", r->verb);
        gs_jw_ki64(w, "pid", r->pid);
        gs_jw_kstr(w, "host", cli_valid(r->host));
        time_json(w, "begun_at", r->begun_ms);
        time_json(w, "last_sign_at", r->beat_ms);
        time_json(w, "ended_at", r->ended_ms);
        gs_jw_ki64(w, "steps_at_begin", (int64_t)r->ended_at_begin);
        gs_jw_ki64(w, "requests", (int64_t)r->requests);
        gs_jw_ki64(w, "in_flight", (int64_t)r->in_flight);
        gs_jw_ki64(w, "window", (int64_t)r->window);
        gs_jw_ki64(w, "jobs", (int64_t)r->jobs);
        gs_jw_key(w, "steps_per_s");
        gs_jw_dbl(w, r->steps_per_s);
        gs_jw_key(w, "eta_ms");
        if (l->eta_ms >= 0)
            gs_jw_i64(w, l->eta_ms);
        else
            gs_jw_null(w);
        gs_jw_kstr(w, "waits_for", l->alive && *r->wait ? r->wait : NULL);
        time_json(w, "waits_until", l->alive ? r->wait_until_ms : 0);
        gs_jw_kstr(w, "end_code", *r->end_code ? r->end_code : NULL);
        gs_jw_kstr(w, "end_text", *r->end_text ? cli_valid(r->end_text) : NULL);
        gs_jw_kstr(w, "end_hint", code != GS_OK ? gs_code_hint(code) : NULL);
    }
    gs_jw_end(w);
    gs_jw_key(w, "undo");
    if (!l->undone) {
        gs_jw_null(w);
        return;
    }
    gs_jw_obj(w);
    gs_jw_kstr(w, "state", live_undo_state(l));
    gs_jw_ki64(w, "made", (int64_t)l->undo.all);
    gs_jw_ki64(w, "removed", (int64_t)l->undo.removed);
    gs_jw_ki64(w, "was_gone", (int64_t)l->undo.gone);
    gs_jw_ki64(w, "marked", (int64_t)l->undo.marked);
    gs_jw_ki64(w, "kept", (int64_t)l->undo.kept);
    gs_jw_ki64(w, "failed", (int64_t)l->undo.failed);
    gs_jw_ki64(w, "open", (int64_t)l->undo.open);
    gs_jw_end(w);
}

/* ---- SIGUSR1 ---- */

static int answer(struct cli *cli, struct state *s, struct gs_err *err)
{
    struct live l;
    if (live_read(s, &l, err) || live_head(cli, s, &l, err))
        return -1;
    return live_groups(cli, s, 40, err);
}

void live_answer(struct cli *cli, struct state *s)
{
    struct gs_err err = {0};
    if (!cli_asked)
        return;
    cli_asked = 0;
    gs_autobuf text;
    gs_buf_init(&text, (size_t)16 << 20);
    cli_out_into(cli, &text);
    int r = answer(cli, s, &err);
    cli_out_into(cli, NULL);
    if (r)
        cli_warn(cli, "no status: %s", err.text);
    else
        cli_err_text(cli, gs_buf_str(&text));
}
