/* replay reconcile: reads everything back from the target and says of every record of the bundle what became of it. */
#include "cmd/replay/books_run.h"
#include "cmd/replay/verbs.h"

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    struct session_args args;
    struct cli_list ignore;
    const char *books, *work;
    int csv, importer;
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
    {.name = "importer", .type = CLI_CHOICE, .offset = offsetof(struct opts, importer), .arg = "WHICH", .choices = "none|transfer|file",
     .help = "the load was done by GitLab's own importer, by direct transfer or from an export file: what it is known not to carry is named as lost; "
             "no state file is looked at"},
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

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct opts *o = optv;
    struct gs_err err = {0};
    struct books b;
    int code = 0;
    if (o->csv && o->r.c.json)
        return cli_usage(cli, "--csv and --json exclude each other");
    if (o->importer && o->args.state)
        return cli_usage(cli, "--importer and --state exclude each other: GitLab's own importers keep no state file");
    o->args.on_existing = 1; /* a plan without a state file is of groups that are there */
    struct books_opts bo = {.remote = &o->r, .trust = &o->trust, .args = &o->args, .file = argc ? argv[0] : NULL,
                            .no_state = o->no_state || o->importer, .native = {.by = (enum native_importer)o->importer}, .books = o->books,
                            .work = o->work, .csv = (enum books_csv)o->csv, .all = o->all, .ignore = o->ignore};
    if (books_open(&b, cli, &bo, &err) || books_run(&b, NULL, &code, &err))
        code = cli_out_ok(cli) ? cli_error(cli, &err) : 0;
    books_close(&b);
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
        "things that only a server sets do not count; the order of lists, comments, an epic's children and the epics on its boards does. A text\n"
        "is compared with what the load makes of it (references rewritten, its author at its end). What the target does not show is counted as\n"
        "unread, since nothing can be said of it.\n"
        "\n"
        "It reads the target and not what the load noted there, so that what somebody changed since is found. From the state file it\n"
        "takes which group became which, who is whom, and what the load itself said was lost or refused. Without one (a load by GitLab's own\n"
        "importer, or by hand) it finds that out as 'plan' does, and --importer says what else is to be expected ('serve --drive' and 'archive\n"
        "--upload' end with that). The token may be anybody's who sees all of the groups.\n"
        "\n"
        "While it runs, STATE.reconcile keeps what the target answered, not encrypted (mode 0700).\n"
        "\n"
        "The exit code is 0 when the books balance: nothing differs, is missing, extra or unread. Else it is 3.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
