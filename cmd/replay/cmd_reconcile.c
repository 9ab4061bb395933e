/* replay reconcile: reads everything back from the target and says of every record of the bundle what became of it. */
#include "cmd/replay/books_out.h"
#include "cmd/replay/session.h"
#include "cmd/replay/verbs.h"
#include "libreplay/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct session_args args;
    struct cli_list ignore;
    const char *books, *work;
    int csv;
    bool no_state, all;
};

static const struct cli_opt opts[] = {
    {.name = "state", .type = CLI_STR, .offset = offsetof(struct opts, args.state), .arg = "FILE",
     .help = "the state file of the load (FILE.state beside the bundle, where that is there)"},
    {.name = "no-state", .type = CLI_FLAG, .offset = offsetof(struct opts, no_state),
     .help = "leave the state file alone, as for a load that another program did; --into, --rename and --user-map say what it was"},
    {.name = "into", .type = CLI_STR, .offset = offsetof(struct opts, args.into), .arg = "GROUP",
     .help = "without a state file: full path of the target's group below which the tree stands"},
    {.name = "rename", .type = CLI_LIST, .offset = offsetof(struct opts, args.rename), .arg = "OLD=NEW",
     .help = "without a state file: the group whose full path at the source is OLD has the path segment NEW (or NEW:Name) there"},
    {.name = "user-map", .type = CLI_STR, .offset = offsetof(struct opts, args.user_map), .arg = "FILE.csv",
     .help = "without a state file: who is who: columns source_username (or source_id, source_email) and target_username (or target_id)"},
    {.name = "books", .type = CLI_STR, .offset = offsetof(struct opts, books), .arg = "FILE",
     .help = "write the full books there, which '%s receipt' signs; an older file is replaced"},
    {.name = "csv", .type = CLI_CHOICE, .offset = offsetof(struct opts, csv), .arg = "LIST", .choices = "none|books|findings",
     .help = "as CSV: the numbers of every relation of every group (books), or every difference with what explains it (findings)"},
    {.name = "all", .type = CLI_FLAG, .offset = offsetof(struct opts, all),
     .help = "name also the differences that a rule explains, and those that only the server decides"},
    {.name = "ignore", .type = CLI_LIST, .offset = offsetof(struct opts, ignore), .arg = "WHAT",
     .help = "an attribute that is not compared: 'color', 'labels.color'"},
    {.name = "work", .type = CLI_STR, .offset = offsetof(struct opts, work), .arg = "FOLDER", .hidden = true,
     .help = "where the target's records are kept meanwhile (STATE.reconcile); it is made, and removed again"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

static void progress(void *cookie, const struct capture_progress *p)
{
    cli_progress(cookie, "reading the target: %s of %s%s groups, %s records, %s requests", cli_count(p->groups_done),
                 cli_count(p->groups_found), p->discovering ? "+" : "", cli_count(p->records), cli_count(p->http.requests));
}

/* The state of the load, or a plan of one, made only to know which group is which and who is whom. *out_loaded: it loaded something. */
static int find_state(struct session *s, const struct opts *o, const char *work, bool *out_used, bool *out_loaded, struct gs_err *err)
{
    struct state_tally t;
    *out_loaded = false;
    *out_used = !o->no_state && access(s->state_path, F_OK) == 0;
    if (*out_used) {
        if (state_open(s->state_path, STATE_READ, &s->state, err) ||
            plan_check(s->state, s->bundle, gl_client_url(s->client), 0, NULL, err) || state_tally(s->state, &t, err))
            return -1;
        *out_loaded = t.done > 0;
        return 0;
    }
    if (o->args.state && !o->no_state)
        return gs_fail(err, GS_E_NOT_FOUND, "state file '%s' is not there", o->args.state);
    gs_autofree char *path = gs_asprintf("%s/" READBACK_PLAN, work);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return session_state(s, path, err) || session_plan(s, err) ? -1 : 0;
}

/* By its id the root is found also where somebody renamed it. */
static int find_root(struct session *s, char **out, struct gs_err *err)
{
    GS_AUTO(known) k = NULL;
    int64_t id;
    if (known_open(s->state, s->bundle, NULL, false, &k, err))
        return -1;
    const char *path = known_root(k, &id);
    *out = id ? gs_asprintf("%lld", (long long)id) : path ? strdup(path) : NULL;
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
}

static int reconcile(struct cli *cli, const struct opts *o, struct session *s, struct readback *read, struct books_out *out, int *out_exit,
                     struct gs_err *err)
{
    bool used, loaded;
    gs_autofree char *root = NULL;
    struct reconcile_result res = {0};
    if (find_state(s, o, read->dir, &used, &loaded, err) || find_root(s, &root, err))
        return -1;
    struct readback_opts ro = {.client = s->client, .instance = &s->target, .group = root, .jobs = o->r.jobs, .log = &cli->log,
                               .stop = &cli_stop, .progress = progress, .cookie = cli};
    int r = readback_run(read, &ro, err);
    cli_progress_end(cli);
    if (r && err->code == GS_E_GROUP_NOT_FOUND)
        return gs_wrap(err, "reading back what was loaded (who loaded leaves the groups at the end: give a token of one who sees them)");
    if (r)
        return gs_wrap(err, "reading back group '%s'", root);
    struct books_head h = {.bundle = s->bundle, .bundle_path = s->bundle_path, .state_path = used ? s->state_path : NULL,
                           .target_url = gl_client_url(s->client), .target = &s->target, .read = read};
    struct reconcile_opts co = {.state = s->state, .loaded = loaded, .bundle = s->bundle, .target = read->target,
                                .ignore = o->ignore.v, .n_ignore = o->ignore.n, .stop = &cli_stop,
                                .item = books_out_item, .row = books_out_row, .cookie = out};
    r = books_out_head(out, &h, err) || report_begin(s->state, err); /* reading the target may have taken its time */
    if (!r) {
        r = reconcile_run(&co, &res, err);
        report_end(s->state);
    }
    *out_exit = books_balance(&res.total) ? 3 : 0;
    if (!r)
        r = books_out_end(out, &h, &res, *out_exit, err);
    reconcile_release(&res);
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct opts *o = optv;
    struct gs_err err = {0};
    struct session s;
    struct readback read = {.lock = -1};
    struct books_out out = {.stage = {.fd = -1}};
    int code = 0;
    if (o->csv && o->r.c.json)
        return cli_usage(cli, "--csv and --json exclude each other");
    o->args.on_existing = 1; /* a plan without a state file is of groups that are there */
    gs_autofree char *work = NULL;
    int r = session_open(&s, cli, &o->r, &o->trust, &o->args, argc ? argv[0] : NULL, true, &err);
    if (!r) {
        work = o->work ? strdup(o->work) : gs_asprintf("%s.reconcile", s.state_path);
        r = !work ? gs_fail(&err, GS_E_NOMEM, "no memory for a path")
                  : readback_open(work, &read, &err) || books_out_open(&out, cli, o->books, (enum books_csv)o->csv, o->all, &err) ||
                        reconcile(cli, o, &s, &read, &out, &code, &err);
    }
    if (r)
        code = cli_out_ok(cli) ? cli_error(cli, &err) : 0;
    books_out_close(&out);
    session_close(&s);
    readback_close(&read);
    return code;
}

const struct cli_verb replay_verb_reconcile = {
    .name = "reconcile",
    .args = "[FILE]",
    .max_args = 1,
    .summary = "Read everything back from the target, and account for every record of the bundle",
    .text =
        "Reads the loaded groups from the target as a capture would, brings both sides into the same form, and compares them record by\n"
        "record. Of every relation of every group it says how many records were captured, how many are on the target, how many of\n"
        "those are equal, equal but for what a rule names (part), or differ; and how many are not there: left out by a rule (lost),\n"
        "refused by the target and named in 'failures' (refused), or missing. What is there only is extra.\n"
        "\n"
        "Every record that differs is named with the attribute and both values, every missing and extra one by its name. Times and other\n"
        "things that only a server sets do not count. What the target does not show is counted as unread, since nothing can be said of it.\n"
        "\n"
        "It reads the target and not what the load noted there, so that what somebody changed since is found. From the state file it\n"
        "takes which group became which, who is whom, and what the load itself said was lost or refused. Without one (a load by GitLab's own\n"
        "importer, or by hand) it finds that out as 'plan' does. The token may be anybody's who sees all of the groups.\n"
        "\n"
        "While it runs, STATE.reconcile keeps what the target answered, not encrypted (mode 0700).\n"
        "\n"
        "The exit code is 0 when the books balance: nothing differs, is missing, extra or unread. Else it is 3.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
