/* replay apply: loads a bundle, or goes on with a load that was cut off. */
#include "cmd/replay/live.h"
#include "cmd/replay/load.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"

#include <unistd.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct cli_fresh fresh;
    struct session_args args;
    bool yes, dry_run, rebase;
    unsigned stop_after;
    const char *window;
};

static const struct cli_opt opts[] = {
    {.name = "yes", .letter = 'y', .type = CLI_FLAG, .offset = offsetof(struct opts, yes), .help = "do not ask"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, dry_run),
     .help = "show the plan only: nothing is written to the target, and no state file is kept"},
    {.name = "rebase",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, rebase),
     .help = "the target is not what it was (a backup was restored): look up everything that was done, make what is missing"},
    {.name = "stop-after",
     .type = CLI_UINT,
     .offset = offsetof(struct opts, stop_after),
     .arg = "N",
     .min = 1,
     .max = 1000000000,
     .help = "take up N steps of the plan and stop (exit code 130); the same command goes on"},
    {.name = "window",
     .type = CLI_STR,
     .offset = offsetof(struct opts, window),
     .arg = "HH:MM-HH:MM",
     .help = "hours of the day, local time, in which steps are begun (22:00-06:00); outside of them the run waits"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0},
                                        {cli_opts_trust, offsetof(struct opts, trust)},
                                        {cli_opts_fresh, offsetof(struct opts, fresh)},
                                        {session_opts, offsetof(struct opts, args)},
                                        {0}};

static int dry_run(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s.dry-run.%ld", s->state_path, (long)getpid());
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (session_state(s, path, err) || session_plan(s, err))
        return -1;
    struct show_opts so = session_shown(s, &o->r);
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

/* "HH:MM" at `s`, with this character behind it, as minutes since midnight; -1: it is none. */
static int minutes(const char *s, char end)
{
    static const char form[] = "dd:dd";
    for (int i = 0; i < 5; i++)
        if (form[i] == ':' ? s[i] != ':' : s[i] < '0' || s[i] > '9')
            return -1;
    int h = (s[0] - '0') * 10 + s[1] - '0', m = (s[3] - '0') * 10 + s[4] - '0';
    return s[5] == end && h < 24 && m < 60 ? h * 60 + m : -1;
}

static int read_window(const struct opts *o, struct session *s, struct gs_err *err)
{
    if (!o->window)
        return 0;
    int from = minutes(o->window, '-'), to = from < 0 ? -1 : minutes(o->window + 6, 0);
    if (to < 0 || from == to)
        return gs_fail(err, GS_E_USAGE, "--window '%s': two different times HH:MM-HH:MM are needed, such as 22:00-06:00", o->window);
    s->window_from = (unsigned)from;
    s->window_to = (unsigned)to;
    return 0;
}

static int apply(struct cli *cli, const struct opts *o, struct session *s, bool *out_incomplete, struct gs_err *err)
{
    if (o->dry_run)
        return dry_run(cli, o, s, err);
    if (read_window(o, s, err))
        return -1;
    if (session_state(s, s->state_path, err))
        return -1;
    if (!s->planned) {
        if (session_plan(s, err))
            return -1;
        struct show_opts so = session_shown(s, &o->r);
        if (!o->yes && !o->r.c.json && show_plan(cli, s->state, &so, err))
            return -1;
    }
    struct state_tally tally;
    uint64_t sent;
    if (state_tally(s->state, &tally, err) || report_sent(s->state, &sent, err))
        return -1;
    if (s->planned && !sent && tally.done + tally.failed == 0 && plan_still(s->state, s->bundle, s->client, &s->target, err))
        return -1;
    if ((o->rebase || tally.ops > tally.done + tally.failed + tally.skipped) &&
        load_confirm(cli, o->yes, "load this into", s, err))
        return -1;
    if (o->rebase && tally.done) {
        if (state_rebase(s->state, err))
            return -1;
        cli_note(cli, "%s that were done are looked up again", cli_count(tally.done));
    }
    s->stop_after = o->stop_after;
    cli_fresh_note(cli, s->bundle);
    return load_run(cli, s, "apply", o->r.c.json, out_incomplete, err);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct session s = {0};
    bool incomplete = false;
    int rc = read_window(o, &s, &err) || session_open(&s, cli, &o->r, &o->trust, &o->args, argc ? argv[0] : NULL, o->dry_run, &err)
                 ? -1
                 : 0;
    s.fresh = &o->fresh;
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
            "A target that does not answer is waited for, with longer and longer pauses, for about two minutes or as long as --max-wait says; then the\n"
            "run ends with 10 or 75 and goes on with the same command.\n"
            "\n"
            "When the load goes on, and also when it is finished, every group that was made is asked for first, and a sample\n"
            "of the rest. If something is gone, stands below another parent or is marked for deletion, as after a backup of\n"
            "the target was put back, the run ends with 30 (target-moved) before anything is written; with --rebase it looks\n"
            "up every object that was done, keeps those that are there and makes the others again. A group with another\n"
            "path is followed, with a warning.\n"
            "\n"
            "A record that the target refuses stops nothing but what stands on it. The exit code is then 3, and\n"
            "'%s failures' says what to do. FILE may be left out when --state names a state file.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
