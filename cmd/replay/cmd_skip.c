/* replay skip: leaves records out on purpose, with a reason. */
#include "cmd/replay/filter.h"
#include "cmd/replay/verbs.h"
#include "libreplay/decide.h"
#include "libreplay/undo.h"

#include <stdio.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct filter_args which;
    const char *state, *reason;
    bool dry_run;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "reason",
     .type = CLI_STR,
     .offset = offsetof(struct opts, reason),
     .arg = "TEXT",
     .required = true,
     .help = "why; it is stored with your user name and the time"},
    {.name = "dry-run",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, dry_run),
     .help = "say what would be left out only"},
    {0},
};
static const struct cli_part parts[] = {{filter_opts, offsetof(struct opts, which)}, {0}};

static int relation_text(void *cookie, const char *name, uint64_t n, struct gs_err *err)
{
    (void)err;
    cli_out(cookie, "  %s %s\n", cli_count(n),
            strcmp(name, "self") == 0 ? "groups (creation, settings, ownership)" : name);
    return 0;
}

static int relation_json(void *cookie, const char *name, uint64_t n, struct gs_err *err)
{
    (void)err;
    gs_jw_ki64(cookie, name, (int64_t)n);
    return 0;
}

static int tell(struct cli *cli, const struct opts *o, struct state *s, const struct report_filter *f,
                const struct decide_result *d, const char *user, struct gs_err *err)
{
    char words[600];
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "skip", err);
        gs_jw_kbool(&w, "dry_run", o->dry_run);
        gs_jw_ki64(&w, "chosen", (int64_t)d->chosen);
        gs_jw_ki64(&w, "follow", (int64_t)d->follow);
        gs_jw_kstr(&w, "reason", o->reason);
        gs_jw_kstr(&w, "decided_by", user);
        gs_jw_key(&w, "relations");
        gs_jw_obj(&w);
        if (decide_each(s, relation_json, &w, err))
            return -1;
        gs_jw_end(&w);
        return cli_json_end(cli, &w);
    }
    cli_out(cli, "%s (%s): %s, and %s that stand on them\n", o->dry_run ? "would be left out" : "left out",
            filter_words(f, words, sizeof words), cli_count(d->chosen), cli_count(d->follow));
    return decide_each(s, relation_text, cli, err);
}

static int skip(struct cli *cli, const struct opts *o, const char *key, struct gs_err *err)
{
    GS_AUTO(state) s = NULL;
    struct report_filter f = filter_of(&o->which, key);
    struct decide_result d;
    char user[256], words[600];
    filter_user(user, sizeof user);
    if (state_open(o->state, STATE_WRITE, &s, err) || report_filter_check(s, &f, err) || state_begin(s, err))
        return -1;
    bool undone = false;
    int r = undo_begun(s, &undone, err);
    if (!r && undone)
        r = gs_fail(err, GS_E_UNDONE, "the load of state file '%s' was taken back, or has begun to be", o->state);
    if (!r)
        r = decide_skip(s, &f, o->reason, user, &d, err);
    if (!r && d.chosen == 0)
        r = gs_fail(err, GS_E_USAGE, "nothing that failed or is still to be done fits (%s)",
                    filter_words(&f, words, sizeof words));
    /* told only when it is stored; the numbers are of the transaction, so they are put into words before its end */
    gs_autobuf said;
    gs_buf_init(&said, (size_t)1 << 20);
    cli_out_into(cli, &said);
    if (!r)
        r = tell(cli, o, s, &f, &d, user, err);
    cli_out_into(cli, NULL);
    if (r || o->dry_run)
        state_rollback(s);
    else
        r = state_commit(s, err);
    if (!r)
        cli_out(cli, "%s", gs_buf_str(&said));
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    if (!argc && !o->which.code && !o->which.relation && !o->which.group)
        return cli_usage(cli, "say what: KEY, --code, --relation or --group");
    if (o->reason[strspn(o->reason, " \t\r\n")] == 0)
        return cli_usage(cli, "--reason is empty");
    return skip(cli, o, argc ? argv[0] : NULL, &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_skip = {
    .name = "skip",
    .args = "[KEY]",
    .min_args = 0,
    .max_args = 1,
    .summary = "Leave records out on purpose, with a reason",
    .text = "Marks failed records, and ones that are still to be loaded, as left out: those that fit KEY (the name "
            "that 'failures' shows),\n"
            "--code, --relation and --group together. What stands on them follows: the lists of a board, everything in "
            "a group and below it.\n"
            "Nothing is asked of the target.\n"
            "\n"
            "Reason, user and time are kept; 'status' and 'failures' show what was left out, and it no longer makes "
            "the exit code of 'apply'\n"
            "a 3. '%s retry --code skipped-by-decision' takes the decision back.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
