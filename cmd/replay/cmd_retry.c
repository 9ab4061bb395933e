/* replay retry: tries failed records once more. */
#include "cmd/replay/filter.h"
#include "cmd/replay/live.h"
#include "cmd/replay/load.h"
#include "cmd/replay/verbs.h"
#include "libreplay/decide.h"

#include <string.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct filter_args which;
    const char *state;
    bool yes, dry_run;
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
     .help = "say what would be tried again only"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0},
                                        {cli_opts_trust, offsetof(struct opts, trust)},
                                        {filter_opts, offsetof(struct opts, which)},
                                        {0}};

static int relation(void *cookie, const char *name, uint64_t n, struct gs_err *err)
{
    (void)err;
    cli_note(cookie, "  %s %s", cli_count(n),
             strcmp(name, "self") == 0 ? "groups (creation, settings, ownership)" : name);
    return 0;
}

static int json(struct cli *cli, const struct decide_result *d, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 20);
    cli_json_begin(&w, &buf, "retry-choice", err);
    gs_jw_ki64(&w, "chosen", (int64_t)d->chosen);
    gs_jw_ki64(&w, "follow", (int64_t)d->follow);
    gs_jw_ki64(&w, "mended", (int64_t)d->mended);
    gs_jw_ki64(&w, "open", (int64_t)d->open);
    return cli_json_end(cli, &w);
}

/* Chooses within a transaction; asks; commits. */
static int choose(struct cli *cli, const struct opts *o, struct session *s, bool *out_none, struct gs_err *err)
{
    struct report_filter f = filter_of(&o->which, NULL);
    struct decide_result d;
    char words[600];
    if (decide_retry(s->state, &f, &d, err))
        return -1;
    *out_none = d.chosen == 0;
    s->retried = d.chosen + d.follow + d.mended;
    if (o->r.c.json && (*out_none || o->dry_run) && json(cli, &d, err))
        return -1;
    if (*out_none) {
        cli_note(cli, "nothing that failed fits (%s)", filter_words(&f, words, sizeof words));
        return 0;
    }
    cli_note(cli, "to be tried again (%s): %s that failed, %s skipped because of them, %s to be completed by them",
             filter_words(&f, words, sizeof words), cli_count(d.chosen), cli_count(d.follow), cli_count(d.mended));
    if (decide_each(s->state, relation, cli, err))
        return -1;
    if (d.open)
        cli_note(cli, "%s other steps of the load have not ended yet and run as well", cli_count(d.open));
    return o->dry_run ? 0 : load_confirm(cli, o->yes, "try these again on", s, err);
}

static int retry(struct cli *cli, const struct opts *o, struct session *s, bool *out_incomplete, struct gs_err *err)
{
    struct report_filter f = filter_of(&o->which, NULL);
    struct report_total t;
    bool none = true;
    if (session_state(s, s->state_path, err))
        return -1;
    if (!s->planned)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' holds no finished plan", s->state_path);
    if (report_filter_check(s->state, &f, err) || state_begin(s->state, err))
        return -1;
    int r = choose(cli, o, s, &none, err);
    if (r || none || o->dry_run) {
        state_rollback(s->state);
        if (r || report_total(s->state, &t, err))
            return -1;
        *out_incomplete = t.failed || t.because_failed;
        return 0;
    }
    return state_commit(s->state, err) ? -1 : load_run(cli, s, "retry", o->r.c.json, out_incomplete, err);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct session_args args = {.state = o->state};
    struct gs_err err = {0};
    struct session s;
    bool incomplete = false;
    (void)argc;
    (void)argv;
    int rc = session_open(&s, cli, &o->r, &o->trust, &args, NULL, false, &err);
    if (!rc)
        rc = retry(cli, o, &s, &incomplete, &err);
    int code = rc ? cli_error(cli, &err) : incomplete ? 3 : 0;
    session_close(&s);
    return code;
}

const struct cli_verb replay_verb_retry = {
    .name = "retry",
    .args = "",
    .summary = "Try records once more that failed",
    .text = "Takes up the failed records that fit --code, --relation and --group (all of them without), and what was "
            "skipped because of\n"
            "them, says which, asks, and loads them. Bundle and target are those of the state file; the token is "
            "needed as for 'apply', and\n"
            "must be of the same user. Everything that may have reached the target before is looked up there first.\n"
            "\n"
            "What cannot be as it would have been then is a named loss: a milestone whose number went to others gets "
            "the next one, a badge\n"
            "stands behind those that came meanwhile. Lists of boards are moved to their place, and boards get the "
            "labels and milestones\n"
            "that they lacked. What was left out on purpose comes back with '--code skipped-by-decision' only.\n"
            "\n"
            "Exit codes are those of 'apply': 3 when something failed again, or is still failed.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
