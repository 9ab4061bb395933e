/* replay undo: takes back what a load made. */
#include "cmd/replay/load.h"
#include "cmd/replay/verbs.h"
#include "libcommon/clock.h"
#include "libreplay/engine.h"
#include "libreplay/plan.h"
#include "libreplay/report.h"
#include "libreplay/runinfo.h"
#include "libreplay/undo.h"

#include <stdio.h>
#include <string.h>

#define ROW_LINES 40

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    const char *state;
    bool yes, dry_run, leave_marked;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "yes", .letter = 'y', .type = CLI_FLAG, .offset = offsetof(struct opts, yes), .help = "do not ask"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, dry_run),
     .help = "look at everything and say what would be removed and what would stay; nothing is removed"},
    {.name = "leave-marked",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, leave_marked),
     .help = "where GitLab marks groups for deletion and removes them later, leave it at that, so that they can be "
             "restored"},
    {0},
};
static const struct cli_part parts[] = {
    {cli_opts_remote_known, 0}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct out {
    struct cli *cli;
    struct gs_jw *w;
    bool dry_run;
    unsigned n;
    uint64_t open, bad;
};

/* ---- what there is to do ---- */

static int count_text(void *cookie, const struct undo_count *c, struct gs_err *err)
{
    struct out *x = cookie;
    (void)err;
    x->open += c->all - c->removed - c->gone - c->marked;
    if (c->all > c->removed + c->gone + c->marked)
        cli_note(x->cli, "  %s %s", cli_count(c->all - c->removed - c->gone - c->marked), c->relation);
    return 0;
}

static int list_open(struct cli *cli, struct session *s, uint64_t *out_open, struct gs_err *err)
{
    struct out x = {.cli = cli};
    cli_note(cli,
             "made by this load, to be removed as far as nobody has changed it or put something of his own into it:");
    if (undo_counts(s->state, count_text, &x, err))
        return -1;
    if (!x.open)
        cli_note(cli, "  nothing");
    *out_open = x.open;
    return 0;
}

/* ---- what came of it ---- */

static int row_text(void *cookie, const struct undo_row *r, struct gs_err *err)
{
    struct out *x = cookie;
    (void)err;
    if (x->n++ >= ROW_LINES)
        return 0;
    cli_out(x->cli, "%s: %s '%s'%s%s: %s [%s]", cli_safe(r->target_group), r->relation, cli_safe(r->key ? r->key : ""),
            r->state == UNDO_DONE ? "" : " ", r->state == UNDO_DONE ? "" : undo_state_name(r->state), cli_safe(r->text ? r->text : ""),
            r->code ? r->code : "");
    if (r->request_id && *r->request_id)
        cli_out(x->cli, " request %s", cli_safe(r->request_id));
    cli_out(x->cli, "\n  what to do: %s\n", undo_hint(r->code ? r->code : ""));
    return 0;
}

static int marked_text(void *cookie, const struct undo_row *r, struct gs_err *err)
{
    return r->code && strcmp(r->code, "marked") == 0 ? row_text(cookie, r, err) : 0;
}

static int result_text(void *cookie, const struct undo_count *c, struct gs_err *err)
{
    struct out *x = cookie;
    (void)err;
    if (x->n++ == 0)
        cli_out(x->cli, "%-12s %10s %10s %10s %10s %10s %10s\n", "relation", "made", x->dry_run ? "would go" : "removed",
                x->dry_run ? "is gone" : "was gone", x->dry_run ? "is marked" : "marked", x->dry_run ? "would stay" : "kept", "failed");
    cli_out(x->cli, "%-12s %10s %10s %10s %10s %10s %10s\n", c->relation, cli_count(c->all), cli_count(c->removed),
            cli_count(c->gone), cli_count(c->marked), cli_count(c->kept), cli_count(c->failed));
    return 0;
}

static int add_bad(void *cookie, const struct undo_count *c, struct gs_err *err)
{
    (void)err;
    ((struct out *)cookie)->bad += c->kept + c->failed;
    return 0;
}

static int count_json(void *cookie, const struct undo_count *c, struct gs_err *err)
{
    struct gs_jw *w = ((struct out *)cookie)->w;
    (void)err;
    gs_jw_obj(w);
    gs_jw_kstr(w, "relation", c->relation);
    gs_jw_ki64(w, "made", (int64_t)c->all);
    gs_jw_ki64(w, "removed", (int64_t)c->removed);
    gs_jw_ki64(w, "was_gone", (int64_t)c->gone);
    gs_jw_ki64(w, "marked", (int64_t)c->marked);
    gs_jw_ki64(w, "kept", (int64_t)c->kept);
    gs_jw_ki64(w, "failed", (int64_t)c->failed);
    gs_jw_ki64(w, "open", (int64_t)c->open);
    gs_jw_end(w);
    return 0;
}

static int row_json(void *cookie, const struct undo_row *r, struct gs_err *err)
{
    struct gs_jw *w = ((struct out *)cookie)->w;
    (void)err;
    if (r->state == UNDO_DONE && !(r->code && strcmp(r->code, "marked") == 0))
        return 0;
    gs_jw_obj(w);
    gs_jw_kstr(w, "group", r->group);
    gs_jw_kstr(w, "target_group", r->target_group);
    gs_jw_kstr(w, "relation", r->relation);
    gs_jw_kstr(w, "key", r->key);
    gs_jw_ki64(w, "target_id", r->target_id);
    gs_jw_kstr(w, "state", undo_state_name(r->state));
    gs_jw_kstr(w, "code", r->code);
    gs_jw_kstr(w, "text", r->text);
    gs_jw_kstr(w, "hint", undo_hint(r->code ? r->code : ""));
    gs_jw_ki64(w, "http", r->http);
    gs_jw_kstr(w, "request", r->request);
    gs_jw_kstr(w, "request_id", r->request_id);
    gs_jw_end(w);
    return 0;
}

static int report_json(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    struct out x = {.cli = cli, .w = &w};
    cli_json_begin(&w, &buf, "undo", err);
    gs_jw_kbool(&w, "dry_run", o->dry_run);
    gs_jw_kstr(&w, "state", s->state_path);
    gs_jw_key(&w, "relations");
    gs_jw_arr(&w);
    if (undo_counts(s->state, count_json, &x, err))
        return -1;
    gs_jw_end(&w);
    gs_jw_key(&w, "left");
    gs_jw_arr(&w);
    if (undo_rows(s->state, 1 << UNDO_KEPT | 1 << UNDO_FAILED | 1 << UNDO_DONE, row_json, &x, err))
        return -1;
    gs_jw_end(&w);
    return cli_json_end(cli, &w);
}

static int report_text(struct cli *cli, const struct opts *o, struct session *s, struct gs_err *err)
{
    struct out x = {.cli = cli, .dry_run = o->dry_run};
    if (undo_counts(s->state, result_text, &x, err))
        return -1;
    x.n = 0;
    if (undo_rows(s->state, 1 << UNDO_KEPT | 1 << UNDO_FAILED, row_text, &x, err) ||
        undo_rows(s->state, 1 << UNDO_DONE, marked_text, &x, err))
        return -1;
    if (x.n > ROW_LINES)
        cli_out(cli, "... and %s more (--json names all)\n", cli_count(x.n - ROW_LINES));
    return 0;
}

/* ---- the run ---- */

static void on_progress(void *cookie, const char *group, uint64_t done, uint64_t all)
{
    if (cli_asked) {
        cli_asked = 0;
        cli_note(cookie, "taking the load back: %s of %s groups gone through, now %s", cli_count(done), cli_count(all), cli_safe(group));
    }
    cli_progress(cookie, "%s of %s groups gone through: %s", cli_count(done), cli_count(all), cli_safe(group));
}

/*
 * Steps that were on their way when the load was cut off: what may be there must be known before it can be removed. Only before:
 * an undo that goes on has done it, and what it removed since would be taken for a target that is not what it was.
 */
static int look_up_sent(struct cli *cli, struct session *s, struct gs_err *err)
{
    struct engine_opts eo = {.verb = "undo", .log = &cli->log, .stop = &cli_stop, .look_only = true};
    struct engine_result res = {0};
    uint64_t sent;
    bool begun;
    if (undo_begun(s->state, &begun, err) || report_sent(s->state, &sent, err))
        return -1;
    if (begun || !sent)
        return 0;
    cli_note(cli, "%s steps were on their way when the load was cut off: looking for them on the target",
             cli_count(sent));
    return session_load_opts(s, &eo.load, err) || engine_run(s->state, s->bundle, s->client, &s->target, &eo, &res, err)
               ? -1
               : 0;
}

static int open_state(struct session *s, struct gs_err *err)
{
    return state_open(s->state_path, STATE_WRITE, &s->state, err) ||
                   plan_check(s->state, s->bundle, gl_client_url(s->client), 0, NULL, err)
               ? -1
               : 0;
}

static int enter(const struct opts *o, struct session *s, struct gs_err *err)
{
    if (state_begin(s->state, err))
        return -1;
    if (undo_plan(s->state, o->leave_marked, err) || state_commit(s->state, err)) {
        state_rollback(s->state);
        return -1;
    }
    return 0;
}

/* What a status shows of the run while it works, and how it ended. */
static int say_run(struct session *s, struct run_info *i, struct gs_err *err)
{
    if (state_begin(s->state, err))
        return -1;
    if (run_info_write(s->state, i, err) || state_commit(s->state, err)) {
        state_rollback(s->state);
        return -1;
    }
    return 0;
}

static int say_begin(struct session *s, unsigned jobs, struct run_info *i, struct gs_err *err)
{
    *i = (struct run_info){.verb = "undo", .begun_ms = gs_unix_ms(), .jobs = jobs};
    i->beat_ms = i->begun_ms;
    run_info_self(i);
    return say_run(s, i, err);
}

/* A state file that cannot be written to says it by its silence. */
static void say_end(struct session *s, struct run_info *i, const struct gs_err *why)
{
    struct gs_err ignored = {0};
    i->ended_ms = i->beat_ms = gs_unix_ms();
    snprintf(i->end_code, sizeof i->end_code, "%s", why ? gs_code_name(why->code) : "");
    snprintf(i->end_text, sizeof i->end_text, "%s", why ? why->text : "");
    GS_IGNORE(say_run(s, i, &ignored), "the undo itself is stored");
}

static int undo(struct cli *cli, const struct opts *o, struct session *s, bool *out_left, struct gs_err *err)
{
    struct undo_opts uo = {.log = &cli->log,
                           .stop = &cli_stop,
                           .jobs = o->r.jobs,
                           .dry_run = o->dry_run,
                           .leave_marked = o->leave_marked,
                           .progress = on_progress,
                           .cookie = cli};
    struct out x = {.cli = cli};
    uint64_t open = 0;
    if (open_state(s, err) || look_up_sent(cli, s, err) || enter(o, s, err) || list_open(cli, s, &open, err))
        return -1;
    if (open && !o->dry_run && load_confirm(cli, o->yes, "remove these from", s, err))
        return -1;
    if (o->dry_run && state_begin(s->state, err))
        return -1;
    bool begun = false;
    int r = undo_begun(s->state, &begun, err);
    if (!r && (open || begun)) {
        struct run_info info;
        r = o->dry_run ? 0 : say_begin(s, o->r.jobs, &info, err);
        if (!r) {
            r = undo_run(s->state, s->client, &s->target, &uo, err);
            if (!o->dry_run)
                say_end(s, &info, r ? err : NULL);
        }
    }
    cli_progress_end(cli);
    if (r)
        cli_note(cli, "cut off; the same command goes on from here");
    if (!r && (o->r.c.json ? report_json(cli, o, s, err) : report_text(cli, o, s, err)))
        r = -1;
    if (!r)
        r = undo_counts(s->state, add_bad, &x, err);
    if (o->dry_run)
        state_rollback(s->state);
    *out_left = x.bad > 0;
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct session_args args = {.state = o->state};
    struct gs_err err = {0};
    struct session s;
    bool left = false;
    (void)argc;
    (void)argv;
    int rc = session_open(&s, cli, &o->r, &o->trust, &args, NULL, false, &err);
    if (!rc)
        rc = undo(cli, o, &s, &left, &err);
    int code = rc ? cli_error(cli, &err) : left ? 3 : 0;
    session_close(&s);
    return code;
}

const struct cli_verb replay_verb_undo = {
    .name = "undo",
    .args = "",
    .summary = "Take a load back: remove what it made, and nothing else",
    .text =
        "Removes from the target what this load made, after showing how much of which kind that is, and asking. What "
        "was there before\n"
        "or was taken over stays. So does what somebody else has changed since, what others have come to use, and "
        "every group that\n"
        "holds something which this load did not make: a project, a subgroup, a label, a member, an epic ... The "
        "reasons are named.\n"
        "Settings of groups that were there before were never changed, so that nothing of them has to be put back.\n"
        "\n"
        "Groups are gone through from the innermost outwards. One in which everything is as this load left it is "
        "deleted as a whole.\n"
        "GitLab deletes groups in the background. Where it only marks them for deletion, they are removed at once if "
        "the instance allows\n"
        "it (--leave-marked: never). Otherwise they stay marked, with all that is in them, until the delay set on the "
        "instance is over;\n"
        "the result says since when, and where they are found. The same command removes them once it is allowed. One "
        "that somebody has\n"
        "restored since stays.\n"
        "\n"
        "What the target does not let be read or removed has failed, and so has a group of which it is not known what "
        "it holds; the\n"
        "rest goes on. The same command tries them again. What is not shown counts as gone when it is not shown twice, "
        "three seconds\n"
        "or more after the beginning, since a database replica may lag behind.\n"
        "\n"
        "An undo that was cut off goes on with the same command. Any token will do whose user may delete the groups: "
        "after a complete\n"
        "load the user who loaded may have left them. A state file whose load was taken back cannot be loaded with "
        "again (30).\n"
        "\n"
        "The codes of what stays are changed, restored, foreign-content, in-use and last-owner, those of what is gone removed, "
        "with-group, was-gone,\n"
        "accepted (GitLab is at it), marked and marked-with-group; what failed has the code of its error. The exit code is 3 when "
        "something stays or failed.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
