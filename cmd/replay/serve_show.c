#include "cmd/replay/serve_show.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <string.h>

static const char *root_path(const struct serve_plan *p)
{
    return p->c->n_groups ? p->c->groups[0].full_path : "";
}

/* The body of POST /api/v4/bulk_imports, but for the token, which stands in a file. */
static void put_body(const struct serve_plan *p, struct gs_jw *w)
{
    gs_autofree char *token = gs_asprintf("<the line in %s>", p->token_file);
    gs_jw_obj(w);
    gs_jw_key(w, "configuration");
    gs_jw_obj(w);
    gs_jw_kstr(w, "url", p->url);
    gs_jw_kstr(w, "access_token", token ? cli_valid(token) : "");
    gs_jw_end(w);
    gs_jw_key(w, "entities");
    gs_jw_arr(w);
    gs_jw_obj(w);
    gs_jw_kstr(w, "source_type", "group_entity");
    gs_jw_kstr(w, "source_full_path", root_path(p));
    gs_jw_kstr(w, "destination_slug", p->c->n_groups ? content_slug(p->c, 0) : "");
    gs_jw_kstr(w, "destination_namespace", "");
    gs_jw_kbool(w, "migrate_projects", false);
    gs_jw_end(w);
    gs_jw_end(w);
    gs_jw_end(w);
}

static int plan_text(struct cli *cli, const struct serve_plan *p, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf body;
    gs_buf_init(&body, 1 << 20);
    gs_jw_init(&w, &body, 2, err);
    put_body(p, &w);
    if (gs_jw_finish(&w))
        return -1;
    cli_out(cli, "bundle      '%s', %s groups below '%s', GitLab %s\n", cli_safe(p->bundle), cli_count(p->c->n_groups), cli_safe(root_path(p)),
            cli_safe(source_version(p->source)));
    cli_out(cli, "serves as   %s\n", cli_safe(p->url));
    cli_out(cli, "token       '%s'%s\n\n", cli_safe(p->token_file), p->made_token ? ", made now" : "");
    cli_out(cli, "On the target, an administrator sees to it that\n\n");
    cli_out(cli, "1. groups may be migrated by direct transfer (Admin > Settings > General > Import and export settings),\n"
                 "   and this address may be asked (Admin > Settings > Network > Outbound requests):\n\n"
                 "     PUT /api/v4/application/settings\n"
                 "     {\"bulk_import_enabled\": true, \"outbound_local_requests_allowlist_raw\": \"%s\"}\n"
                 "     (what is in that list already must stay in it)\n\n",
            cli_safe(p->host));
    cli_out(cli, "2. every node of the target finds '%s' at this machine, by DNS or /etc/hosts%s\n\n", cli_safe(p->host),
            p->tls ? ",\n   and trusts the certificate: its CA goes to /etc/gitlab/trusted-certs/" : "");
    cli_out(cli, "3. the import is started by who shall own the group: New group > Import group, or\n\n"
                 "     POST /api/v4/bulk_imports\n");
    for (const char *s = gs_buf_str(&body); *s;) {
        size_t n = strcspn(s, "\n");
        cli_out(cli, "     %.*s\n", (int)n, s);
        s += n + (s[n] == '\n');
    }
    cli_out(cli, "\n");
    return 0;
}

int serve_show_plan(struct cli *cli, const struct serve_plan *p, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 20);
    if (!cli->common->json)
        return plan_text(cli, p, err);
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", "plan");
    gs_jw_kstr(&w, "bundle", cli_valid(p->bundle));
    gs_jw_kstr(&w, "url", p->url);
    gs_jw_kstr(&w, "version", source_version(p->source));
    gs_jw_kbool(&w, "enterprise", source_enterprise(p->source));
    gs_jw_ki64(&w, "groups", (int64_t)p->c->n_groups);
    gs_jw_kstr(&w, "token_file", cli_valid(p->token_file));
    gs_jw_key(&w, "settings");
    gs_jw_obj(&w);
    gs_jw_kbool(&w, "bulk_import_enabled", true);
    gs_jw_kstr(&w, "outbound_local_requests_allowlist_raw", p->host);
    gs_jw_end(&w);
    gs_jw_key(&w, "body");
    put_body(p, &w);
    if (cli_json_end(cli, &w))
        return -1;
    cli_out_flush(cli);
    return 0;
}

int serve_show_listening(struct cli *cli, const struct serve_plan *p, unsigned port, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 16);
    if (!cli->common->json) {
        cli_out(cli, "listening   on port %u until Ctrl-C\n", port);
        cli_out_flush(cli);
        return 0;
    }
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", "listening");
    gs_jw_ki64(&w, "port", port);
    gs_jw_kbool(&w, "tls", p->tls);
    if (cli_json_end(cli, &w))
        return -1;
    cli_out_flush(cli);
    return 0;
}

/* ---- events ---- */

static const char *const names[] = {
    [TALLY_STARTED] = "export",  [TALLY_ASKED] = "status",    [TALLY_DOWNLOAD] = "download", [TALLY_CUT] = "download-cut", [TALLY_FAILED] = "failed",
    [TALLY_ANSWERED] = "answer", [TALLY_REFUSED] = "refused", [TALLY_UNKNOWN] = "unknown",   [TALLY_SLOWED] = "slowed",
};

static int event_json(struct cli *cli, const struct serve_plan *p, const struct tally_event *e, struct gs_err *err)
{
    struct gs_jw w;
    char t[GS_TIME_LEN];
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 16);
    gs_time_format(e->unix_ms, t);
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", names[e->what]);
    gs_jw_kstr(&w, "time", t);
    if (e->group < p->c->n_groups)
        gs_jw_kstr(&w, "group", p->c->groups[e->group].full_path);
    if (e->part)
        gs_jw_kstr(&w, "relation", e->part);
    if (e->batch)
        gs_jw_ki64(&w, "batch", e->batch);
    gs_jw_ki64(&w, "bytes", (int64_t)e->bytes);
    if (e->what == TALLY_DOWNLOAD || e->what == TALLY_CUT)
        gs_jw_ki64(&w, "ms", e->ms);
    if (e->detail[0])
        gs_jw_kstr(&w, "detail", cli_valid(e->detail));
    return cli_json_end(cli, &w);
}

static void event_text(struct cli *cli, const struct serve_plan *p, const struct tally_event *e)
{
    const char *group = e->group < p->c->n_groups ? cli_safe(p->c->groups[e->group].full_path) : "";
    char t[GS_TIME_LEN];
    gs_time_format(e->unix_ms, t);
    switch (e->what) {
    case TALLY_STARTED: cli_out(cli, "%.19sZ  %s: the export was begun\n", t, group); break;
    case TALLY_DOWNLOAD: cli_out(cli, "%.19sZ  %s: %s, %s\n", t, group, e->part, cli_bytes(e->bytes)); break;
    case TALLY_CUT: cli_out(cli, "%.19sZ  %s: %s was cut off after %s\n", t, group, e->part, cli_bytes(e->bytes)); break;
    case TALLY_FAILED: cli_out(cli, "%.19sZ  %s: %s FAILED\n", t, group, e->part ? e->part : "an answer"); break;
    case TALLY_REFUSED: cli_out(cli, "%.19sZ  a request without the right token\n", t); break;
    case TALLY_UNKNOWN: cli_out(cli, "%.19sZ  a request that is not answered: %s\n", t, cli_safe(e->detail)); break;
    default: break;
    }
}

int serve_show_events(struct cli *cli, const struct serve_plan *p, bool quiet, struct gs_err *err)
{
    struct tally *t = source_tally(p->source);
    struct tally_event e;
    bool any = false;
    while (tally_next(t, &e)) {
        any = true;
        if (cli->common->json) {
            if (event_json(cli, p, &e, err))
                return -1;
        } else if (!quiet) {
            event_text(cli, p, &e);
        }
    }
    if (any && !quiet)
        cli_out_flush(cli);
    return 0;
}

/* ---- the table ---- */

static bool worth_a_line(struct tally *t, size_t group, size_t part, const struct tally_cell *cell)
{
    return cell->asked || cell->downloads || cell->active || cell->cut || tally_matters(t, group, part);
}

/* A relation counts as fetched when a file of it left whole; what is no relation, when it was asked for. */
static bool missing(struct tally *t, size_t group, size_t part)
{
    struct tally_cell c;
    tally_cell(t, group, part, &c);
    return tally_matters(t, group, part) && c.downloads == 0 && !(c.asked && (relation_find(tally_part(t, part)) == NULL && strcmp(tally_part(t, part), "uploads") != 0));
}

/* Where a group stands: 0 the importer is at it, 1 it has not come there, 2 everything was fetched. */
static unsigned stage(struct tally *t, size_t group)
{
    bool any = false, lacks = false;
    for (size_t i = 0; i < tally_parts(t); i++) {
        struct tally_cell c;
        tally_cell(t, group, i, &c);
        any |= c.asked || c.downloads || c.active;
        lacks |= c.active || missing(t, group, i);
    }
    return !lacks ? 2 : any ? 0 : 1;
}

/* The lines of one group, as long as there are `*left`; how many more there would be. */
static uint64_t group_lines(struct cli *cli, const struct serve_plan *p, size_t g, bool limited, unsigned *left)
{
    struct tally *t = source_tally(p->source);
    uint64_t more = 0;
    bool first = true;
    for (size_t i = 0; i < tally_parts(t); i++) {
        struct tally_cell c;
        char fetched[32];
        tally_cell(t, g, i, &c);
        if (!worth_a_line(t, g, i, &c))
            continue;
        if (limited && *left == 0) {
            more++;
            continue;
        }
        *left -= limited ? 1 : 0;
        snprintf(fetched, sizeof fetched, "%" PRIu64 "%s%s", c.downloads, c.active ? "+" : "", c.cut ? "!" : "");
        const char *path = first ? cli_safe(p->c->groups[g].full_path) : "";
        size_t len = strlen(path);
        cli_out(cli, "%-36s %-20s %10s %6s %9s %10s\n", len > 36 ? path + len - 36 : path, tally_part(t, i), cli_count(tally_records(t, g, i)),
                cli_count(c.asked), fetched, c.bytes ? cli_bytes(c.bytes) : "");
        first = false;
    }
    return more;
}

void serve_show_table(struct cli *cli, const struct serve_plan *p, unsigned rows)
{
    struct tally *t = source_tally(p->source);
    struct tally_total sum;
    unsigned left = rows > 4 ? rows - 4 : 0;
    uint64_t more = 0;
    tally_total(t, &sum);
    cli_out(cli, "%-36s %-20s %10s %6s %9s %10s\n", "group", "relation", "records", "asked", "fetched", "bytes");
    for (unsigned pass = 0; pass < (rows ? 3u : 1u); pass++) /* on a screen those first at which the importer is */
        for (size_t g = 0; g < p->c->n_groups; g++)
            if (!rows || stage(t, g) == pass)
                more += group_lines(cli, p, g, rows > 0, &left);
    if (more)
        cli_out(cli, "... and %s more lines\n", cli_count(more));
    cli_out(cli, "%s requests, %s, %u on their way%s\n", cli_count(sum.requests), cli_bytes(sum.bytes), sum.active, sum.refused ? ", some refused" : "");
}

/* ---- the end ---- */

static void end_text(struct cli *cli, const struct serve_plan *p, uint64_t n)
{
    struct tally *t = source_tally(p->source);
    cli_out(cli, "\n");
    serve_show_table(cli, p, 0);
    if (n == 0) {
        cli_out(cli, "\nEverything that an importer takes was fetched.\n");
        return;
    }
    cli_out(cli, "\nNever fetched:\n");
    for (size_t g = 0; g < p->c->n_groups; g++)
        for (size_t i = 0; i < tally_parts(t); i++)
            if (missing(t, g, i))
                cli_out(cli, "  %s: %s (%s records)\n", cli_safe(p->c->groups[g].full_path), tally_part(t, i), cli_count(tally_records(t, g, i)));
}

static void put_missing(const struct serve_plan *p, struct gs_jw *w)
{
    struct tally *t = source_tally(p->source);
    gs_jw_key(w, "never_fetched");
    gs_jw_arr(w);
    for (size_t g = 0; g < p->c->n_groups; g++)
        for (size_t i = 0; i < tally_parts(t); i++)
            if (missing(t, g, i)) {
                gs_jw_obj(w);
                gs_jw_kstr(w, "group", p->c->groups[g].full_path);
                gs_jw_kstr(w, "relation", tally_part(t, i));
                gs_jw_ki64(w, "records", (int64_t)tally_records(t, g, i));
                gs_jw_end(w);
            }
    gs_jw_end(w);
}

static int end_json(struct cli *cli, const struct serve_plan *p, struct gs_err *err)
{
    struct tally *t = source_tally(p->source);
    struct tally_total sum;
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    tally_total(t, &sum);
    cli_json_begin(&w, &buf, "serve", err);
    gs_jw_kstr(&w, "event", "end");
    gs_jw_ki64(&w, "requests", (int64_t)sum.requests);
    gs_jw_ki64(&w, "bytes", (int64_t)sum.bytes);
    gs_jw_ki64(&w, "refused", (int64_t)sum.refused);
    gs_jw_ki64(&w, "unknown", (int64_t)sum.unknown);
    gs_jw_ki64(&w, "slowed", (int64_t)sum.slowed);
    gs_jw_ki64(&w, "failed", (int64_t)sum.failed);
    gs_jw_ki64(&w, "events_dropped", (int64_t)tally_dropped(t));
    gs_jw_key(&w, "relations");
    gs_jw_arr(&w);
    for (size_t g = 0; g < p->c->n_groups; g++)
        for (size_t i = 0; i < tally_parts(t); i++) {
            struct tally_cell c;
            tally_cell(t, g, i, &c);
            if (!worth_a_line(t, g, i, &c))
                continue;
            gs_jw_obj(&w);
            gs_jw_kstr(&w, "group", p->c->groups[g].full_path);
            gs_jw_kstr(&w, "relation", tally_part(t, i));
            gs_jw_ki64(&w, "records", (int64_t)tally_records(t, g, i));
            gs_jw_ki64(&w, "asked", (int64_t)c.asked);
            gs_jw_kbool(&w, "exported", tally_group_started(t, g));
            gs_jw_ki64(&w, "fetched", (int64_t)c.downloads);
            gs_jw_ki64(&w, "cut", (int64_t)c.cut);
            gs_jw_ki64(&w, "bytes", (int64_t)c.bytes);
            gs_jw_end(&w);
        }
    gs_jw_end(&w);
    put_missing(p, &w);
    return cli_json_end(cli, &w);
}

int serve_show_end(struct cli *cli, const struct serve_plan *p, uint64_t *out_missing, struct gs_err *err)
{
    struct tally *t = source_tally(p->source);
    *out_missing = 0;
    for (size_t g = 0; g < p->c->n_groups; g++)
        for (size_t i = 0; i < tally_parts(t); i++)
            *out_missing += missing(t, g, i);
    if (cli->common->json)
        return end_json(cli, p, err);
    end_text(cli, p, *out_missing);
    return 0;
}
