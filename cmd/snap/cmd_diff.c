/* snap diff: what differs between two bundles. */
#include "cmd/csv.h"
#include "cmd/snap/verbs.h"
#include "libexport/diff.h"

#include <stdlib.h>
#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    struct cli_list ignore;
    bool summary, csv;
};

static const struct cli_opt opts[] = {
    {.name = "ignore", .type = CLI_LIST, .offset = offsetof(struct opts, ignore), .arg = "WHAT",
     .help = "'times' (those that the server sets), or an attribute: 'color', 'labels.color'"},
    {.name = "summary", .type = CLI_FLAG, .offset = offsetof(struct opts, summary), .help = "the table only"},
    {.name = "csv", .type = CLI_FLAG, .offset = offsetof(struct opts, csv), .help = "every difference as CSV (RFC 4180) with a header, without the table"},
    {0},
};

static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct screen {
    struct cli *cli;
    bool summary, csv;
};

static const char *const kinds[] = {"missing", "extra", "differs"};
static const char *const classes[] = {"value", "instance", "server", "computed", "unsaid"};

static const char *shown(const char *json)
{
    return json ? cli_safe(json) : "(not there)";
}

static int print_json(struct cli *cli, const struct diff_item *i, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    cli_json_begin(&w, &buf, "diff", err);
    gs_jw_kstr(&w, "kind", kinds[i->kind]);
    gs_jw_kstr(&w, "group", i->group);
    gs_jw_kstr(&w, "relation", i->relation);
    gs_jw_kstr(&w, "key", i->key);
    if (i->kind != DIFF_DIFFERS)
        gs_jw_kstr(&w, "class", i->unread ? "unread" : "value");
    if (i->kind == DIFF_DIFFERS) {
        gs_jw_kstr(&w, "attribute", i->attr);
        gs_jw_kstr(&w, "class", classes[i->cls]);
        gs_jw_key(&w, "a");
        gs_jw_raw(&w, i->a ? i->a : "null", i->a ? strlen(i->a) : 4);
        gs_jw_key(&w, "b");
        gs_jw_raw(&w, i->b ? i->b : "null", i->b ? strlen(i->b) : 4);
    }
    return cli_json_end(cli, &w);
}

static int item(void *cookie, const struct diff_item *i, struct gs_err *err)
{
    struct screen *s = cookie;
    struct cli *cli = s->cli;
    if (s->summary)
        return 0;
    if (cli->common->json)
        return print_json(cli, i, err);
    if (s->csv)
        return CSV_ROW(cli, err, kinds[i->kind], i->kind == DIFF_DIFFERS ? classes[i->cls] : i->unread ? "unread" : "value", i->group, i->relation, i->key,
                       i->kind == DIFF_DIFFERS ? i->attr : NULL, i->a, i->b);
    const char *group = *i->group ? cli_safe(i->group) : ".";
    if (i->kind != DIFF_DIFFERS)
        cli_out(cli, "%-8s %s %s '%s'%s\n", i->unread ? "aside" : kinds[i->kind], group, i->relation, cli_safe(i->key),
                !i->unread ? "" : i->kind == DIFF_MISSING ? " (not read for B)" : " (not read for A)");
    else
        cli_out(cli, "%-8s %s %s '%s' %s%s%s: %s -> %s\n", i->cls == REL_VALUE ? "differs" : "aside", group, i->relation,
                cli_safe(i->key), cli_safe(i->attr), i->cls == REL_VALUE ? "" : " ", i->cls == REL_VALUE ? "" : classes[i->cls],
                shown(i->a), shown(i->b));
    return cli_out_ok(cli) ? 0 : gs_fail(err, GS_E_IO, "writing the differences");
}

static int report_json(struct cli *cli, const struct diff_result *r, int rc, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 16 << 20);
    cli_json_begin(&w, &buf, "diff-summary", err);
    gs_jw_key(&w, "relations");
    gs_jw_obj(&w);
    for (size_t i = 0; i < r->n; i++) {
        const struct diff_relation *s = &r->relations[i];
        gs_jw_key(&w, s->relation);
        gs_jw_obj(&w);
        gs_jw_ki64(&w, "a", (int64_t)s->a);
        gs_jw_ki64(&w, "b", (int64_t)s->b);
        gs_jw_ki64(&w, "equal", (int64_t)s->equal);
        gs_jw_ki64(&w, "differs", (int64_t)s->differs);
        gs_jw_ki64(&w, "missing", (int64_t)s->missing);
        gs_jw_ki64(&w, "extra", (int64_t)s->extra);
        gs_jw_ki64(&w, "set_aside", (int64_t)s->set_aside);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_ki64(&w, "differs", (int64_t)r->differs);
    gs_jw_ki64(&w, "missing", (int64_t)r->missing);
    gs_jw_ki64(&w, "extra", (int64_t)r->extra);
    gs_jw_ki64(&w, "set_aside", (int64_t)r->set_aside);
    gs_jw_kbool(&w, "same", rc == 0);
    gs_jw_ki64(&w, "exit", rc);
    return cli_json_end(cli, &w);
}

static void report_text(struct cli *cli, const struct diff_result *r, int rc)
{
    cli_out(cli, "%-22s %10s %10s %10s %9s %9s %9s %9s\n", "relation", "in A", "in B", "equal", "differ", "missing", "extra",
            "set aside");
    for (size_t i = 0; i < r->n; i++) {
        const struct diff_relation *s = &r->relations[i];
        cli_out(cli, "%-22s %10s %10s %10s %9s %9s %9s %9s\n", s->relation, cli_count(s->a), cli_count(s->b),
                cli_count(s->equal), cli_count(s->differs), cli_count(s->missing), cli_count(s->extra),
                cli_count(s->set_aside));
    }
    cli_out(cli, "%s\n", rc == 0 ? "The bundles hold the same." : "The bundles differ.");
}

static int compare(struct cli *cli, const struct opts *o, char **argv, const struct sign_trust *trust,
                   const struct diff_opts *d, struct diff_result *r, struct gs_err *err)
{
    GS_AUTO(bundle) a = NULL;
    GS_AUTO(bundle) b = NULL;
    if (cli_bundle_open(cli, &o->trust, trust, argv[0], &a, err) || cli_bundle_open(cli, &o->trust, trust, argv[1], &b, err))
        return cli_error(cli, err);
    if (diff_run(a, b, d, r, err))
        return cli_out_ok(cli) ? cli_error(cli, err) : 0; /* stdout is told of at the end, for every verb alike */
    int rc = r->differs || r->missing || r->extra ? 3 : 0;
    if (cli->common->json)
        return report_json(cli, r, rc, err) ? cli_error(cli, err) : rc;
    if (!o->csv)
        report_text(cli, r, rc);
    return rc;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    struct diff_result result = {0};
    struct screen screen = {.cli = cli, .summary = o->summary, .csv = o->csv};
    struct diff_opts d = {.ignore = o->ignore.v, .n_ignore = o->ignore.n, .stop = &cli_stop, .item = item, .cookie = &screen};
    if (o->csv && (o->c.json || o->summary))
        return cli_usage(cli, "--csv and --json or --summary exclude each other");
    if (o->csv && CSV_ROW(cli, &err, "finding", "class", "group", "relation", "key", "attribute", "a", "b"))
        return cli_error(cli, &err);
    for (size_t i = 0; i < o->ignore.n; i++)
        d.ignore_times |= strcmp(o->ignore.v[i], "times") == 0;
    int rc = cli_trust_load(&o->trust, false, &trust, &err) ? cli_error(cli, &err)
                                                             : compare(cli, o, argv, &trust, &d, &result, &err);
    if ((rc == 0 || rc == 3) && (trust.n == 0 || trust.lenient))
        cli_note(cli, "signatures were not checked: no --trust was given");
    diff_result_release(&result);
    sign_trust_release(&trust);
    return rc;
}

const struct cli_verb snap_verb_diff = {
    .name = "diff",
    .args = "A B",
    .min_args = 2,
    .max_args = 2,
    .summary = "Compare the records of two bundles",
    .text = "Groups are matched by their path below the root, records by what identifies them (a label by its title).\n"
            "Ids do not count. What only the server sets (times) or computes is named as 'aside', and does not make the\n"
            "bundles different; neither do records of a relation that the other capture did not read at all, as its ledger\n"
            "says ('unread': uploads of a capture over the API, for example). The exit code is 0 when\n"
            "they hold the same, else 3.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
