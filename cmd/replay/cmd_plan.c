/* replay plan: says everything that a load would do, and writes nothing to the target. */
#include "cmd/replay/report_page.h"
#include "cmd/replay/session.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/io.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct cli_fresh fresh;
    struct session_args args;
    bool csv;
    const char *html;
};

static const struct cli_opt opts[] = {
    {.name = "csv",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, csv),
     .help = "one line per thing to do and per loss, as CSV, with two columns for --decisions"},
    {.name = "html",
     .type = CLI_STR,
     .offset = offsetof(struct opts, html),
     .arg = "OUT.html",
     .help = "the plan as one HTML file besides; an older file is replaced"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote, 0},
                                        {cli_opts_trust, offsetof(struct opts, trust)},
                                        {cli_opts_fresh, offsetof(struct opts, fresh)},
                                        {session_opts, offsetof(struct opts, args)},
                                        {0}};

/* A state file of an earlier plan, with which nothing was done yet, makes room for the new one. */
static int make_room(struct session *s, struct gs_err *err)
{
    struct report_total t;
    if (access(s->state_path, F_OK) != 0)
        return 0;
    if (state_open(s->state_path, STATE_WRITE, &s->state, err) || report_total(s->state, &t, err))
        return -1;
    uint64_t sent;
    if (report_sent(s->state, &sent, err))
        return -1;
    if (sent || t.done || t.failed || t.skipped)
        return gs_fail(
            err, GS_E_EXISTS,
            "state file '%s' belongs to a load that has begun, and is the only account of what it made: keep it; go on with "
            "'apply', or name another with --state",
            s->state_path);
    session_forget(s);
    return 0;
}

static int write_html(const struct opts *o, struct session *s, const struct show_opts *so, struct gs_err *err)
{
    const char *least = NULL;
    struct report_page x = {.state = s->state, .state_path = s->state_path, .bundle = s->bundle, .proven = true};
    int r = show_least(s->state, so, &least, err) || report_page_plan(&x, least, err) ||
            gs_write_file(o->html, gs_buf_str(&x.page.html), x.page.html.len, 0666, true, err);
    page_release(&x.page);
    return r ? -1 : 0;
}

static int print(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    struct show_opts so = session_shown(s, &o->r);
    if (o->html && write_html(o, s, &so, err))
        return -1;
    if (o->csv)
        return show_plan_csv(cli, s->state, err);
    if (o->r.c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)1 << 30);
        cli_json_begin(&w, &buf, "plan", err);
        return show_json(&w, s->state, &so, err) ? -1 : cli_json_end(cli, &w);
    }
    if (show_plan(cli, s->state, &so, err))
        return -1;
    bool named = o->trust.trust.n > 0; /* otherwise the keys are those of the store */
    cli_out(cli, "\nnothing was written to the target. To load:\n  %s apply %s%s%s --url %s --state %s\n", cli->tool,
            cli_safe(s->bundle_path), named ? " --trust " : "", named ? cli_safe(o->trust.trust.v[0]) : "",
            cli_safe(o->r.url), cli_safe(s->state_path));
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct session s;
    (void)argc;
    if (o->csv && o->r.c.json)
        return cli_usage(cli, "--csv and --json exclude each other");
    int rc = session_open(&s, cli, &o->r, &o->trust, &o->args, argv[0], true, &err);
    s.fresh = &o->fresh;
    if (!rc) {
        rc = make_room(&s, &err) || session_state(&s, s.state_path, &err) || session_plan(&s, &err);
        if (!rc)
            rc = print(cli, o, &s, &err);
    }
    int code = rc ? cli_error(cli, &err) : 0;
    session_close(&s);
    return code;
}

const struct cli_verb replay_verb_plan = {
    .name = "plan",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Say what a load of a bundle would do, and what it would lose",
    .text =
        "Reads the bundle and asks the target, and writes nothing there. The plan shows where each group goes, how "
        "many\n"
        "records of each kind will be loaded, who of the people in the bundle is whom on the target, what cannot be "
        "as\n"
        "it was at the source, and how many requests the load takes. It is kept in the state file, with which\n"
        "'%s apply' goes on.\n"
        "\n"
        "People are matched by their public email, which must be a confirmed address of an active user of the target,\n"
        "unless the user map says otherwise. A line of the map with an empty target leaves that person out.\n"
        "\n"
        "With --csv the plan is a table. Write 'skip', or for a group 'rename NEW', into its column decision, and plan again with the\n"
        "table as --decisions; a reason in the column beside it is kept, and 'failures' shows it. 'apply' refuses a plan (exit code 30) that\n"
        "was made for another bundle, for another version of the target, or before somebody took the place of the tree.\n"
        "\n"
        "The exit code is 30 when a group exists on the target already (see --rename, --into and --on-existing).",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
