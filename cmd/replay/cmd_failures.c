/* replay failures: what was not loaded, with the server's words and what to do. */
#include "cmd/csv.h"
#include "cmd/replay/filter.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct filter_args which;
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
    {.name = "csv", .type = CLI_FLAG, .offset = offsetof(struct opts, csv), .help = "as CSV (RFC 4180) with a header"},
    {0},
};
static const struct cli_part parts[] = {{filter_opts, offsetof(struct opts, which)}, {0}};

/* So much is collected until the state file is closed, since who reads slowly must not keep a load from beginning. */
#define HELD_BYTES ((size_t)64 << 20)

struct out {
    struct cli *cli;
    const struct opts *o;
    struct gs_buf *held;
    uint64_t n;
};

/* New columns stand behind the old ones. */
static const char csv_head[] = "group,target_group,relation,key,state,http,text,request_id,code,hint,source_id,request,"
                               "reason,decided_by,decided_at\r\n";

static int csv(struct out *x, const struct report_failure *f, struct gs_err *err)
{
    char http[16], id[24], at[GS_TIME_LEN] = "";
    snprintf(http, sizeof(http), "%d", f->op.http);
    snprintf(id, sizeof(id), "%lld", (long long)f->op.src_id);
    if (f->reason)
        gs_time_format(f->decided_ms, at);
    const char *fields[] = {f->group,
                            f->target_group,
                            f->relation,
                            f->op.key,
                            op_state_name(f->op.state),
                            f->op.http ? http : "",
                            f->op.text,
                            f->op.request_id,
                            f->op.code,
                            f->hint,
                            f->op.src_id ? id : "",
                            f->op.request,
                            f->reason,
                            f->by,
                            at};
    return csv_row(x->cli, fields, GS_COUNT(fields), err);
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
    gs_jw_kstr(&w, "request", f->op.request);
    if (f->reason) {
        char at[GS_TIME_LEN];
        gs_time_format(f->decided_ms, at);
        gs_jw_kstr(&w, "reason", f->reason);
        gs_jw_kstr(&w, "decided_by", f->by);
        gs_jw_kstr(&w, "decided_at", at);
    }
    return cli_json_end(x->cli, &w);
}

static int text(struct out *x, const struct report_failure *f)
{
    const struct op *op = &f->op;
    cli_out(x->cli, "%s: %s '%s' %s", cli_safe(f->group ? f->group : "?"),
            strcmp(f->relation, "self") == 0 ? "groups" : cli_safe(f->relation), cli_safe(op->key ? op->key : ""),
            f->reason ? "left out on purpose" : op_state_name(op->state));
    if (op->request && *op->request && !(op->text && strstr(op->text, op->request)))
        cli_out(x->cli, ": %s", cli_safe(op->request));
    if (op->http)
        cli_out(x->cli, " (HTTP %d)", op->http);
    if (f->reason) {
        char at[GS_TIME_LEN];
        gs_time_format(f->decided_ms, at);
        cli_out(x->cli, ": %s (%s, %.10s) [%s]\n", cli_safe(f->reason), cli_safe(f->by), at, cli_safe(op->code));
        return 0;
    }
    cli_out(x->cli, ": %s [%s]", cli_safe(op->text ? op->text : ""), cli_safe(op->code ? op->code : ""));
    if (op->request_id && *op->request_id)
        cli_out(x->cli, " request %s", cli_safe(op->request_id));
    cli_out(x->cli, "\n  what to do: %s\n", f->hint);
    return 0;
}

static int row(void *cookie, const struct report_failure *f, struct gs_err *err)
{
    struct out *x = cookie;
    x->n++;
    if (x->held->len > HELD_BYTES) {
        cli_out_into(x->cli, NULL);
        cli_out_buf(x->cli, x->held);
        gs_buf_reset(x->held);
    }
    if (x->o->csv)
        return csv(x, f, err);
    if (x->o->c.json)
        return json(x, f, err);
    return text(x, f);
}

static int rows(struct out *x, struct gs_err *err)
{
    GS_AUTO(state) s = NULL;
    struct report_filter f = filter_of(&x->o->which, NULL);
    if (state_open(x->o->state, STATE_READ, &s, err) || report_filter_check(s, &f, err))
        return -1;
    if (x->o->csv)
        cli_out(x->cli, "%s", csv_head);
    return report_begin(s, err) || report_failures(s, x->o->skipped, &f, row, x, err) ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct opts *o = optv;
    struct gs_err err = {0};
    gs_autobuf held;
    gs_buf_init(&held, (size_t)1 << 30);
    struct out x = {.cli = cli, .o = o, .held = &held};
    (void)argc;
    (void)argv;
    if (o->csv && o->c.json)
        return cli_usage(cli, "--csv and --json exclude each other");
    cli_out_into(cli, &held);
    int r = rows(&x, &err);
    cli_out_into(cli, NULL);
    cli_out_buf(cli, &held);
    if (r)
        return cli_error(cli, &err);
    const struct filter_args *w = &o->which;
    if (!x.n)
        cli_note(cli, w->code || w->relation || w->group ? "nothing of that failed" : "nothing failed");
    return 0;
}

const struct cli_verb replay_verb_failures = {
    .name = "failures",
    .args = "",
    .summary = "Say which records were not loaded, why, and what to do",
    .text = "Each record with its group, relation and key, what was asked last, the HTTP status, the server's words, "
            "its request id\n"
            "for the server's log, a stable code, and what to do. What was left out on purpose ('%s skip') is there "
            "with the reason, and\n"
            "who gave it when. With --json one object per line.\n"
            "\n"
            "--code, --relation and --group together name what all of them fit. 'retry' and 'skip' take the same.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
