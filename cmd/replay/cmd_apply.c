/* replay apply: loads a bundle, or goes on with a load that was cut off. */
#include "cmd/replay/session.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/clock.h"
#include "libreplay/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct session_args args;
    bool yes, dry_run;
};

static const struct cli_opt opts[] = {
    {.name = "yes", .letter = 'y', .type = CLI_FLAG, .offset = offsetof(struct opts, yes), .help = "do not ask"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, dry_run),
     .help = "show the plan only: nothing is written to the target, and no state file is kept"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0},
                                        {cli_opts_trust, offsetof(struct opts, trust)},
                                        {session_opts, offsetof(struct opts, args)},
                                        {0}};

static void on_progress(void *cookie, const struct engine_progress *p)
{
    struct cli *cli = cookie;
    uint64_t ended = p->done + p->failed + p->skipped;
    int64_t ms = p->elapsed_ms > 0 ? p->elapsed_ms : 1;
    if (p->paused_ms > 0)
        cli_progress(cli, "%s of %s done, %s requests; the server asks to wait: %s", cli_count(ended),
                     cli_count(p->ops), cli_count(p->requests), cli_span(p->paused_ms));
    else
        cli_progress(cli, "%s of %s done, %s failed, %s/s, %s requests, %s on the way: %s of %s", cli_count(ended),
                     cli_count(p->ops), cli_count(p->failed), cli_count(p->requests * 1000 / (uint64_t)ms),
                     cli_count(p->requests), cli_count(p->in_flight), p->relation ? p->relation : "",
                     cli_safe(p->group ? p->group : ""));
}

/* Is the user sure? Without a terminal he must have said so. */
static int confirm(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    if (o->yes)
        return 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return gs_fail(err, GS_E_NOT_CONFIRMED, "nothing was written to '%s': there is no terminal to ask on",
                       gl_client_url(s->client));
    fprintf(stderr, "load this into %s? [y/N] ", cli_safe(gl_client_url(s->client)));
    fflush(stderr);
    char answer[16] = "";
    if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return gs_fail(err, GS_E_NOT_CONFIRMED, "nothing was written to '%s'", gl_client_url(s->client));
    (void)cli;
    return 0;
}

static int dry_run(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    struct show_opts so = {.plan = true, .jobs = o->r.jobs};
    gs_autofree char *path = gs_asprintf("%s.dry-run.%ld", s->state_path, (long)getpid());
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (session_state(s, path, err) || session_plan(s, err))
        return -1;
    int rc;
    if (o->r.c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)1 << 30);
        cli_json_begin(&w, &buf, "plan", err);
        rc = show_json(&w, s->state, &so, err) ? -1 : cli_json_end(cli, &w);
    } else {
        rc = show_plan(cli, s->state, &so, err);
    }
    session_forget(s);
    if (!rc)
        cli_note(cli, "nothing was written to the target, and no state file is kept");
    return rc;
}

static int report(struct cli *cli, const struct opts *o, struct session *s, const struct engine_result *res,
                  struct gs_err *err)
{
    struct show_opts so = {0};
    if (o->r.c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)1 << 30);
        cli_json_begin(&w, &buf, "apply", err);
        if (show_json(&w, s->state, &so, err))
            return -1;
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

static int apply(struct cli *cli, const struct opts *o, struct session *s, bool *out_incomplete, struct gs_err *err)
{
    struct engine_opts eo = {.log = &cli->log, .stop = &cli_stop, .progress = on_progress, .cookie = cli};
    struct engine_result res = {0};
    struct report_total t;
    if (o->dry_run)
        return dry_run(cli, o, s, err);
    if (session_state(s, s->state_path, err))
        return -1;
    if (!s->planned) {
        struct show_opts so = {.plan = true, .jobs = o->r.jobs};
        if (session_plan(s, err))
            return -1;
        if (!o->yes && !o->r.c.json && show_plan(cli, s->state, &so, err))
            return -1;
    }
    struct state_tally tally;
    if (state_tally(s->state, &tally, err))
        return -1;
    if (tally.ops > tally.done + tally.failed + tally.skipped && confirm(cli, o, s, err))
        return -1;
    if (session_load_opts(s, &eo.load, err))
        return -1;
    int rc = engine_run(s->state, s->bundle, s->client, &s->target, &eo, &res, err);
    cli_progress_end(cli);
    if (rc) {
        cli_note(cli, "cut off: %s of %s done; the same command goes on from here",
                 cli_count(res.p.done + res.p.failed + res.p.skipped), cli_count(res.p.ops));
        return -1;
    }
    if (report_total(s->state, &t, err) || report(cli, o, s, &res, err))
        return -1;
    *out_incomplete = t.failed || t.because_failed;
    if (*out_incomplete)
        cli_warn(cli, "%s failed, %s skipped because of that: %s failures --state %s", cli_count(t.failed),
                 cli_count(t.because_failed), cli->tool, cli_safe(s->state_path));
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct session s;
    bool incomplete = false;
    int rc = session_open(&s, cli, &o->r, &o->trust, &o->args, argc ? argv[0] : NULL, o->dry_run, &err);
    if (!rc)
        rc = apply(cli, o, &s, &incomplete, &err);
    int code = rc ? cli_error(cli, &err) : incomplete ? 3 : 0;
    session_close(&s);
    return code;
}

const struct cli_verb replay_verb_apply = {
    .name = "apply",
    .args = "[FILE]",
    .min_args = 0,
    .max_args = 1,
    .summary = "Load a bundle, or go on with a load that was cut off",
    .text = "Works off the plan in the state file; when there is none yet, makes it first, shows it and asks. Each "
            "record is\n"
            "made exactly once: what was done is in the state file before anything builds on it, and a request whose\n"
            "answer did not come is looked up on the target before it is sent again. So the same command may be given\n"
            "again at any time, after an interruption, a crash or a full disk.\n"
            "\n"
            "A target that does not answer is waited for, with longer and longer pauses, for about two minutes; then the\n"
            "run ends with 10 or 75 and goes on with the same command.\n"
            "\n"
            "A record that the target refuses stops nothing but what stands on it. The exit code is then 3, and\n"
            "'%s failures' says what to do. FILE may be left out when --state names a state file.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
