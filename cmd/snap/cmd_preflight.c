/* snap preflight: what a capture would take, cost and lose. */
#include "cmd/snap/verbs.h"
#include "formats/ledger.h"
#include "libexport/preflight.h"

#include <string.h>

struct opts {
    struct cli_remote r;
    bool no_subgroups;
};

static const struct cli_opt opts[] = {
    {.name = "no-subgroups", .type = CLI_FLAG, .offset = offsetof(struct opts, no_subgroups),
     .help = "only the group itself"},
    {0},
};

static const struct cli_part parts[] = {{cli_opts_remote, 0}, {0}};

/* Rules that a capture over the API meets, as far as the numbers tell. */
static const struct {
    const char *rule;
    int kind; /* whose count it is; -1: no number */
    bool items; /* only where epics are work items and nothing else */
} losses[] = {
    {"badge-times-not-readable", PREFLIGHT_BADGES, false},
    {"events-not-readable", PREFLIGHT_EPICS, false},
    {"attribute-not-readable", PREFLIGHT_EPICS, true}, /* of dates, of who closed it */
    {"relation-not-read", -1, true},                   /* boards of epics */
    {"secret-field", -1, false},
    {"pending-invitation", -1, false},
};

static void progress(void *cookie, uint64_t groups, uint64_t counted)
{
    cli_progress(cookie, "%s groups found, %s counted", cli_count(groups), cli_count(counted));
}

static bool applies(const struct preflight *p, size_t i, uint64_t *out_count)
{
    *out_count = losses[i].kind >= 0 ? p->kinds[losses[i].kind].count : 0;
    if ((losses[i].items && !p->epics_are_items) || (p->by_export && (losses[i].kind >= 0 || losses[i].items))) /* the export has them */
        return false;
    return losses[i].kind < 0 || *out_count > 0;
}

static const char *known(int v, const char *yes, const char *no)
{
    return v < 0 ? "not known" : v ? yes : no;
}

static int print_json(struct cli *cli, const struct gl_client *c, const struct gl_instance *i, const struct preflight *p,
                      bool owner, struct gs_err *err)
{
    gs_autobuf buf;
    struct gs_jw w;
    gs_buf_init(&buf, 1 << 20);
    cli_json_begin(&w, &buf, "preflight", err);
    gs_jw_kstr(&w, "url", gl_client_url(c));
    gs_jw_kstr(&w, "group", p->root_path);
    gs_jw_ki64(&w, "group_id", p->root_id);
    gs_jw_kstr(&w, "version", i->version);
    gs_jw_key(&w, "enterprise");
    if (i->enterprise < 0)
        gs_jw_null(&w);
    else
        gs_jw_bool(&w, i->enterprise);
    gs_jw_kstr(&w, "tier", p->tier);
    gs_jw_kstr(&w, "user", i->username);
    gs_jw_kstr(&w, "role", p->role);
    gs_jw_kbool(&w, "owner", owner);
    gs_jw_kstr(&w, "via", p->by_export ? "relations" : "api");
    if (!p->by_export)
        gs_jw_kstr(&w, "why", p->why);
    gs_jw_key(&w, "scopes");
    if (i->scopes_known) {
        gs_jw_obj(&w);
        gs_jw_kbool(&w, "api", i->scope_api);
        gs_jw_kbool(&w, "read_api", i->scope_read_api);
        gs_jw_kbool(&w, "read_repository", i->scope_read_repository);
        gs_jw_end(&w);
    } else {
        gs_jw_null(&w);
    }
    gs_jw_kstr(&w, "token_expires_at", i->token_expires_at[0] ? i->token_expires_at : NULL);
    gs_jw_ki64(&w, "groups", (int64_t)p->groups);
    gs_jw_ki64(&w, "groups_counted", (int64_t)p->counted);
    gs_jw_key(&w, "counts");
    gs_jw_obj(&w);
    for (unsigned k = 0; k < PREFLIGHT_KINDS; k++) {
        gs_jw_key(&w, p->kinds[k].name);
        if (p->kinds[k].known)
            gs_jw_u64(&w, p->kinds[k].count);
        else
            gs_jw_null(&w);
    }
    gs_jw_end(&w);
    gs_jw_ki64(&w, "records", (int64_t)p->records);
    gs_jw_ki64(&w, "latency_ms", p->latency_ms);
    gs_jw_ki64(&w, "requests", (int64_t)p->requests);
    gs_jw_ki64(&w, "duration_ms", p->duration_ms);
    gs_jw_ki64(&w, "bytes", (int64_t)p->bytes);
    gs_jw_key(&w, "losses");
    gs_jw_arr(&w);
    for (size_t n = 0; n < GS_COUNT(losses); n++) {
        uint64_t count;
        const struct ledger_rule *r = ledger_rule_find(losses[n].rule);
        if (!r || !applies(p, n, &count))
            continue;
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "rule", r->name);
        gs_jw_kstr(&w, "text", r->text);
        gs_jw_ki64(&w, "count", (int64_t)count);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return cli_json_end(cli, &w);
}

static void print_text(struct cli *cli, const struct gl_client *c, const struct gl_instance *i, const struct preflight *p,
                       unsigned jobs)
{
    const char *about = p->counted < p->groups ? "about " : "";
    cli_out(cli, "source     %s, GitLab %s (%s%s%s)\n", cli_safe(gl_client_url(c)), cli_safe(i->version),
            known(i->enterprise, "Enterprise Edition", "Community Edition"), p->tier && i->enterprise ? ", " : "",
            p->tier && i->enterprise ? p->tier : "");
    cli_out(cli, "token      user %s, role in the group: %s", cli_safe(i->username), p->role ? p->role : "not known");
    if (i->scopes_known)
        cli_out(cli, ", scopes:%s%s%s", i->scope_api ? " api" : "", i->scope_read_api ? " read_api" : "",
                i->scope_read_repository ? " read_repository" : "");
    cli_out(cli, ", expires: %s\n", i->token_expires_at[0] ? i->token_expires_at : "never, or not told");
    if (p->by_export)
        cli_out(cli, "way        --via auto reads GitLab's relation exports, and over the API what they do not have\n");
    else
        cli_out(cli, "way        --via auto reads everything over the API: %s\n", p->why);
    cli_out(cli, "group      %s (id %lld), %s groups in the tree", cli_safe(p->root_path), (long long)p->root_id,
            cli_count(p->groups));
    if (p->counted < p->groups)
        cli_out(cli, ", of which %s were counted: the numbers are estimates", cli_count(p->counted));
    cli_out(cli, "\n\n");
    for (unsigned k = 0; k < PREFLIGHT_KINDS; k++)
        cli_out(cli, "  %-12s %s%s\n", p->kinds[k].name, p->kinds[k].known ? about : "",
                p->kinds[k].known ? cli_count(p->kinds[k].count) : "not readable, or not there");
    cli_out(cli, "\nestimate   %s requests, %s at %lld ms each with %u jobs, %s on disk\n", cli_count(p->requests),
            cli_span(p->duration_ms), (long long)p->latency_ms, jobs, cli_bytes(p->bytes));
    cli_out(cli, "\nNot carried, or poorer than at the source:\n");
    for (size_t n = 0; n < GS_COUNT(losses); n++) {
        uint64_t count;
        const struct ledger_rule *r = ledger_rule_find(losses[n].rule);
        if (r && applies(p, n, &count))
            cli_out(cli, "  %9s  %s: %s\n", count ? cli_count(count) : "-", r->name, r->text);
    }
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    GS_AUTO(gl_client) client = NULL;
    struct gl_instance i;
    struct preflight p;
    if (!*argv[0])
        return cli_usage(cli, "GROUP is empty: give its full path or id");
    if (cli_client(cli, &o->r, true, &client, &err) || gl_instance_probe(client, true, &i, &err))
        return cli_error(cli, &err);
    struct preflight_opts po = {.client = client, .instance = &i, .group = argv[0], .jobs = o->r.jobs,
                                .no_subgroups = o->no_subgroups, .stop = &cli_stop, .progress = progress, .cookie = cli};
    if (preflight_run(&po, &p, &err))
        return cli_error(cli, &err);
    cli_progress_end(cli);
    bool owner = p.role && (strcmp(p.role, "owner") == 0 || strcmp(p.role, "admin") == 0);
    if (cli->common->json ? print_json(cli, client, &i, &p, owner, &err) : 0)
        return cli_error(cli, &err);
    if (!cli->common->json)
        print_text(cli, client, &i, &p, o->r.jobs ? o->r.jobs : 8);
    if (i.scopes_known && !i.scope_api)
        cli_warn(cli, "the token lacks the scope 'api': it can read, but it cannot start exports on the server");
    if (i.scopes_known && !i.scope_read_repository)
        cli_warn(cli, "the token lacks the scope 'read_repository', which wikis need");
    if (!owner)
        cli_warn(cli, "the token's user is not an Owner of the group: settings and members that only Owners see will be missing");
    return 0;
}

const struct cli_verb snap_verb_preflight = {
    .name = "preflight",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .summary = "Say what a capture would take, cost and lose",
    .text = "Looks at the token (scopes, expiry, role), the server (version, edition, tier) and the numbers of objects in\n"
            "the tree, and estimates requests, time and size. Trees of more than 200 groups are counted by a sample.\n"
            "The exit code is 12 when the token cannot do the job.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
