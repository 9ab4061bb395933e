#include "cmd/replay/load.h"

#include "cmd/replay/live.h"
#include "cmd/replay/show.h"
#include "libreplay/engine.h"

#include <stdio.h>
#include <unistd.h>

struct load {
    struct cli *cli;
    struct session *s;
};

static void on_progress(void *cookie, const struct engine_progress *p)
{
    const struct load *l = cookie;
    struct cli *cli = l->cli;
    live_answer(cli, l->s->state);
    uint64_t ended = p->done + p->failed + p->skipped;
    int64_t ms = p->elapsed_ms > 0 ? p->elapsed_ms : 1;
    if (p->closed_ms > 0 && p->in_flight == 0)
        cli_progress(cli, "%s of %s done; waiting %s for the hours of --window", cli_count(ended), cli_count(p->ops),
                     cli_span(p->closed_ms));
    else if (p->paused_ms > 0)
        cli_progress(cli, "%s of %s done, %s requests; the server asks to wait: %s", cli_count(ended),
                     cli_count(p->ops), cli_count(p->requests), cli_span(p->paused_ms));
    else
        cli_progress(cli, "%s of %s done, %s failed, %s/s, %s requests, %s on the way: %s of %s", cli_count(ended),
                     cli_count(p->ops), cli_count(p->failed), cli_count(p->requests * 1000 / (uint64_t)ms),
                     cli_count(p->requests), cli_count(p->in_flight), p->relation ? p->relation : "",
                     cli_safe(p->group ? p->group : ""));
}

int load_confirm(struct cli *cli, bool yes, const char *question, struct session *s, struct gs_err *err)
{
    const char *url = gl_client_url(s->client);
    bool agreed;
    if (yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return gs_fail(err, GS_E_NOT_CONFIRMED, "nothing was written to '%s': there is no terminal to ask on", url);
    if (cli_ask_yes(cli, question, url, &agreed, err))
        return -1;
    if (!agreed)
        return gs_fail(err, GS_E_NOT_CONFIRMED, "nothing was written to '%s'", url);
    return 0;
}

static int report(struct cli *cli, struct session *s, const char *verb, bool json, const struct engine_result *res,
                  struct gs_err *err)
{
    struct show_opts so = {0};
    if (json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)1 << 30);
        cli_json_begin(&w, &buf, verb, err);
        if (show_json(&w, s->state, &so, err))
            return -1;
        if (s->retried)
            gs_jw_ki64(&w, "retried", (int64_t)s->retried);
        gs_jw_ki64(&w, "requests_sent", (int64_t)res->p.requests);
        gs_jw_ki64(&w, "elapsed_ms", res->p.elapsed_ms);
        gs_jw_ki64(&w, "commits", (int64_t)res->commits);
        return cli_json_end(cli, &w);
    }
    if (show_result(cli, s->state, &so, err))
        return -1;
    cli_out(cli, "\n%s requests in %s\n", cli_count(res->p.requests), cli_span(res->p.elapsed_ms));
    return 0;
}

int load_run(struct cli *cli, struct session *s, const char *verb, bool json, bool *out_incomplete, struct gs_err *err)
{
    struct load l = {cli, s};
    struct engine_opts eo = {.verb = verb, .log = &cli->log, .stop = &cli_stop, .progress = on_progress, .cookie = &l,
                             .stop_after = s->stop_after,
                             .window_from = s->window_from,
                             .window_to = s->window_to};
    struct engine_result res = {0};
    struct report_total t;
    if (session_load_opts(s, &eo.load, err))
        return -1;
    int rc = engine_run(s->state, s->bundle, s->client, &s->target, &eo, &res, err);
    cli_progress_end(cli);
    if (rc) {
        if (err->code != GS_E_TARGET_MOVED)
            cli_note(cli, "cut off: %s of %s done; '%s apply' goes on from here",
                     cli_count(res.p.done + res.p.failed + res.p.skipped), cli_count(res.p.ops), cli->tool);
        return -1;
    }
    if (report_total(s->state, &t, err) || report(cli, s, verb, json, &res, err))
        return -1;
    *out_incomplete = t.failed || t.because_failed;
    if (*out_incomplete)
        cli_warn(cli, "%s failed, %s skipped because of that: %s failures --state %s", cli_count(t.failed),
                 cli_count(t.because_failed), cli->tool, cli_safe(s->state_path));
    return 0;
}
