/* replay failures: what was not loaded, with the server's words and what to do. */
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"

#include <stdio.h>

struct opts {
    struct cli_common c;
    const char *state;
    bool csv, skipped;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "skipped",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, skipped),
     .help = "also what was skipped because of them"},
    {.name = "csv", .type = CLI_FLAG, .offset = offsetof(struct opts, csv), .help = "as CSV"},
    {0},
};

struct out {
    struct cli *cli;
    const struct opts *o;
    struct gs_buf *line;
    uint64_t n;
};

static int csv(struct out *x, const struct report_failure *f, struct gs_err *err)
{
    char http[16];
    snprintf(http, sizeof(http), "%d", f->op.http);
    gs_buf_reset(x->line);
    const char *fields[] = {
        f->group,   f->target_group,  f->relation, f->op.key, op_state_name(f->op.state), f->op.http ? http : "",
        f->op.text, f->op.request_id, f->op.code,  f->hint};
    for (size_t i = 0; i < GS_COUNT(fields); i++)
        if (show_csv(x->line, fields[i] ? fields[i] : "", err))
            return -1;
    if (gs_buf_addc(x->line, '\n', err))
        return -1;
    cli_out_buf(x->cli, x->line);
    return 0;
}

static int json(struct out *x, const struct report_failure *f, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)64 << 20);
    cli_json_begin(&w, &buf, "failure", err);
    gs_jw_ki64(&w, "op", f->op.id);
    gs_jw_kstr(&w, "group", f->group);
    gs_jw_kstr(&w, "target_group", f->target_group);
    gs_jw_kstr(&w, "relation", f->relation);
    gs_jw_kstr(&w, "kind", f->op.kind);
    gs_jw_kstr(&w, "key", f->op.key);
    gs_jw_ki64(&w, "source_id", f->op.src_id);
    gs_jw_kstr(&w, "state", op_state_name(f->op.state));
    gs_jw_ki64(&w, "writes", f->op.tries);
    gs_jw_ki64(&w, "http", f->op.http);
    gs_jw_kstr(&w, "text", f->op.text);
    gs_jw_kstr(&w, "request_id", f->op.request_id);
    gs_jw_kstr(&w, "code", f->op.code);
    gs_jw_kstr(&w, "hint", f->hint);
    return cli_json_end(x->cli, &w);
}

static int row(void *cookie, const struct report_failure *f, struct gs_err *err)
{
    struct out *x = cookie;
    x->n++;
    if (x->o->csv)
        return csv(x, f, err);
    if (x->o->c.json)
        return json(x, f, err);
    cli_out(x->cli, "%s: %s '%s' %s", cli_safe(f->group ? f->group : "?"), f->relation,
            cli_safe(f->op.key ? f->op.key : ""), op_state_name(f->op.state));
    if (f->op.http)
        cli_out(x->cli, " (HTTP %d)", f->op.http);
    cli_out(x->cli, ": %s [%s]", cli_safe(f->op.text ? f->op.text : ""), cli_safe(f->op.code ? f->op.code : ""));
    if (f->op.request_id && *f->op.request_id)
        cli_out(x->cli, " request %s", cli_safe(f->op.request_id));
    cli_out(x->cli, "\n  what to do: %s\n", f->hint);
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct opts *o = optv;
    struct gs_err err = {0};
    GS_AUTO(state) s = NULL;
    gs_autobuf line;
    gs_buf_init(&line, (size_t)64 << 20);
    struct out x = {.cli = cli, .o = o, .line = &line};
    (void)argc;
    (void)argv;
    if (o->csv && o->c.json)
        return cli_usage(cli, "--csv and --json exclude each other");
    if (state_open(o->state, STATE_READ, &s, &err))
        return cli_error(cli, &err);
    if (o->csv)
        cli_out(cli, "group,target_group,relation,key,state,http,text,request_id,code,hint\n");
    if (report_failures(s, o->skipped, row, &x, &err))
        return cli_error(cli, &err);
    if (!x.n)
        cli_note(cli, "nothing failed");
    return 0;
}

const struct cli_verb replay_verb_failures = {
    .name = "failures",
    .args = "",
    .summary = "Say which records were not loaded, why, and what to do",
    .text =
        "One record each: group, relation, key, HTTP status, the server's words, its request id for the server's log,\n"
        "a stable code, and what to do. With --json one object per line.",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
