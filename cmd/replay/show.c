#include "cmd/replay/show.h"

#include "cmd/csv.h"

#include <stdio.h>
#include <string.h>

struct ctx {
    struct cli *cli;
    struct gs_jw *w;
    struct state *s;
    unsigned n, width;
    const struct show_opts *o;
};

static int fact(struct cli *cli, struct state *s, const char *name, const char *key, struct gs_err *err)
{
    gs_autofree char *v = NULL;
    if (state_meta_get(s, key, &v, err))
        return -1;
    if (v)
        cli_out(cli, "%-11s %s\n", name, cli_safe(v));
    return 0;
}

/* ---- relations ---- */

static int relation_text(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ == 0)
        cli_out(x->cli, "\n%-20s %10s %10s %10s %10s %10s %10s%s\n", "relation", "in bundle", "loaded", "there", "lost",
                "failed", "skipped", x->o->plan ? "" : "       open");
    cli_out(x->cli, "%-20s %10s %10s %10s %10s %10s %10s", strcmp(r->relation, "self") == 0 ? "groups" : r->relation,
            cli_count(r->in_bundle), cli_count(r->loaded), cli_count(r->there), cli_count(r->lost),
            cli_count(r->failed), cli_count(r->skipped));
    if (!x->o->plan)
        cli_out(x->cli, " %10s", cli_count(r->open));
    cli_out(x->cli, "\n");
    return 0;
}

static int relation_plan_text(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ == 0)
        cli_out(x->cli, "\n%-20s %12s %12s %12s\n", "relation", "in bundle", "to do", "left out");
    cli_out(x->cli, "%-20s %12s %12s %12s\n", strcmp(r->relation, "self") == 0 ? "groups" : r->relation,
            cli_count(r->in_bundle), cli_count(r->open), cli_count(r->lost));
    return 0;
}

static int relation_json(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    struct gs_jw *w = ((struct ctx *)cookie)->w;
    (void)err;
    gs_jw_obj(w);
    gs_jw_kstr(w, "relation", r->relation);
    gs_jw_ki64(w, "in_bundle", (int64_t)r->in_bundle);
    gs_jw_ki64(w, "loaded", (int64_t)r->loaded);
    gs_jw_ki64(w, "there", (int64_t)r->there);
    gs_jw_ki64(w, "lost", (int64_t)r->lost);
    gs_jw_ki64(w, "failed", (int64_t)r->failed);
    gs_jw_ki64(w, "skipped", (int64_t)r->skipped);
    gs_jw_ki64(w, "decided", (int64_t)r->decided);
    gs_jw_ki64(w, "open", (int64_t)r->open);
    gs_jw_ki64(w, "found", (int64_t)r->found);
    gs_jw_end(w);
    return 0;
}

/* ---- losses ---- */

static int loss_text(void *cookie, const struct report_loss *l, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ == 0)
        cli_out(x->cli, "\nnot as at the source:\n");
    cli_out(x->cli, "  %8s  %s%s%s [%s]\n", cli_count(l->count),
            strcmp(l->relation, "self") == 0 ? "groups" : cli_safe(l->relation), ": ", l->text, l->code);
    if (l->detail)
        cli_out(x->cli, "            e.g. %s\n", cli_safe(l->detail));
    return 0;
}

static int loss_json(void *cookie, const struct report_loss *l, struct gs_err *err)
{
    struct gs_jw *w = ((struct ctx *)cookie)->w;
    (void)err;
    gs_jw_obj(w);
    gs_jw_kstr(w, "code", l->code);
    gs_jw_kstr(w, "relation", l->relation);
    gs_jw_ki64(w, "count", (int64_t)l->count);
    gs_jw_ki64(w, "groups", (int64_t)l->groups);
    gs_jw_kbool(w, "whole_record", l->whole);
    gs_jw_kstr(w, "text", l->text);
    gs_jw_kstr(w, "example", l->detail);
    gs_jw_end(w);
    return 0;
}

/* ---- groups ---- */

#define TREE_LINES 40

static int tree_text(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ < TREE_LINES || x->o->groups)
        cli_out(x->cli, "  %*s%s -> %s  (%s, %s%s)\n", 2 * g->grp.depth, "", cli_safe(g->grp.src_path),
                cli_safe(g->grp.dst_path), cli_safe(g->grp.name), g->grp.visibility,
                g->grp.existed ? ", there already" : "");
    return 0;
}

static int group_text(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ == 0)
        cli_out(x->cli, "\n");
    if (x->n > TREE_LINES && !x->o->groups)
        return 0;
    cli_out(x->cli, "%s  %s", cli_safe(g->grp.src_path),
            g->grp.web_url && *g->grp.web_url ? cli_safe(g->grp.web_url)
            : g->grp.target_id                ? cli_safe(g->grp.dst_path)
                                              : "not loaded");
    if (x->o->groups)
        cli_out(x->cli, "  %s of %s done", cli_count(g->done), cli_count(g->ops));
    if (g->failed || g->skipped)
        cli_out(x->cli, "  %s failed, %s skipped", cli_count(g->failed), cli_count(g->skipped));
    cli_out(x->cli, "\n");
    return 0;
}

static int group_json(void *cookie, const struct report_group *g, struct gs_err *err)
{
    struct ctx *x = cookie;
    struct gs_jw *w = x->w;
    gs_jw_obj(w);
    gs_jw_ki64(w, "source_id", g->grp.id);
    gs_jw_kstr(w, "source_path", g->grp.src_path);
    gs_jw_kstr(w, "target_path", g->grp.dst_path);
    gs_jw_kstr(w, "name", g->grp.name);
    gs_jw_kstr(w, "visibility", g->grp.visibility);
    gs_jw_kbool(w, "existed", g->grp.existed);
    gs_jw_key(w, "target_id");
    if (g->grp.target_id)
        gs_jw_i64(w, g->grp.target_id);
    else
        gs_jw_null(w);
    gs_jw_kstr(w, "web_url", g->grp.web_url && *g->grp.web_url ? g->grp.web_url : NULL);
    gs_jw_ki64(w, "ops", (int64_t)g->ops);
    gs_jw_ki64(w, "done", (int64_t)g->done);
    gs_jw_ki64(w, "failed", (int64_t)g->failed);
    gs_jw_ki64(w, "skipped", (int64_t)g->skipped);
    gs_jw_ki64(w, "decided", (int64_t)g->decided);
    gs_jw_ki64(w, "open", (int64_t)g->open);
    gs_jw_kstr(w, "state", report_group_state(g));
    gs_jw_key(w, "relations");
    gs_jw_arr(w);
    if (report_relations(x->s, g->grp.id, relation_json, x, err))
        return -1;
    gs_jw_end(w);
    gs_jw_end(w);
    return 0;
}

/* ---- people ---- */

const char *show_why_nobody(const char *how)
{
    static const struct {
        const char *how, *text;
    } words[] = {
        {"none:no-public-email", "no public email at the source"},
        {"none:not-found", "nobody there has the address"},
        {"none:not-confirmed", "the address is not confirmed there"},
        {"none:blocked", "blocked there"},
        {"none:csv", "left out by the user map"},
    };
    for (size_t i = 0; i < GS_COUNT(words); i++)
        if (strcmp(words[i].how, how ? how : "") == 0)
            return words[i].text;
    return how ? how : "";
}

static int nobody_text(void *cookie, const struct user_row *u, struct gs_err *err)
{
    struct ctx *x = cookie;
    (void)err;
    if (x->n++ < 20)
        cli_out(x->cli, "  %s: %s\n", cli_safe(u->username && *u->username ? u->username : "?"), show_why_nobody(u->how));
    return 0;
}

static int nobody_json(void *cookie, const struct user_row *u, struct gs_err *err)
{
    struct gs_jw *w = ((struct ctx *)cookie)->w;
    (void)err;
    gs_jw_obj(w);
    gs_jw_ki64(w, "source_id", u->src_id);
    gs_jw_kstr(w, "username", u->username);
    gs_jw_kstr(w, "why", u->how && strncmp(u->how, "none:", 5) == 0 ? u->how + 5 : u->how);
    gs_jw_end(w);
    return 0;
}

static int people_text(struct cli *cli, struct state *s, const struct report_total *t, struct gs_err *err)
{
    struct ctx x = {.cli = cli};
    gs_autofree char *unused = NULL;
    cli_out(cli, "\npeople      %s: %s by public email, %s by the user map, ", cli_count(t->people), cli_count(t->by_email), cli_count(t->by_csv));
    if (t->by_username)
        cli_out(cli, "%s by username, ", cli_count(t->by_username));
    cli_out(cli, "%s are nobody there\n", cli_count(t->nobody));
    if (t->nobody && report_nobody(s, nobody_text, &x, err))
        return -1;
    if (x.n > 20)
        cli_out(cli, "  ... and %s more (--json names all)\n", cli_count(x.n - 20));
    if (state_meta_get(s, "user_map_unused", &unused, err))
        return -1;
    if (unused)
        cli_warn(cli, "lines of the user map that mean nobody of this bundle: %s", unused);
    return 0;
}

/* ---- the whole ---- */

/* The least time that a load takes: by the number of requests at once, or by the rate that is allowed, whichever is longer. */
struct least {
    int64_t ms; /* 0: not known */
    const char *by;
    unsigned jobs;
};

/*
 * The own limit is spread evenly. The target's counts windows, of a minute unless more is left in one: at best the first one ends
 * and the last one begins with all that it allows at once.
 */
static int64_t by_rate(const struct show_opts *o, int64_t requests)
{
    if (o->rate_per_min <= 0)
        return 0;
    if (o->own_rate == o->rate_per_min)
        return requests * 60000 / o->own_rate;
    int64_t window = o->rate_left > o->rate_per_min ? o->rate_left : o->rate_per_min;
    int64_t between = (requests + window - 1) / window - 2;
    return between > 0 ? between * window * 60000 / o->rate_per_min : 0;
}

static void least_time(const struct show_opts *o, int64_t requests, struct least *out)
{
    *out = (struct least){.by = "latency", .jobs = o->jobs ? o->jobs : 8};
    out->ms = requests * o->round_ms / out->jobs;
    int64_t rate = by_rate(o, requests);
    if (rate > out->ms) {
        out->ms = rate;
        out->by = "rate-limit";
    }
}

int show_plan(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err)
{
    struct report_total t;
    struct show_opts as_plan = *o;
    as_plan.plan = true;
    struct ctx x = {.cli = cli, .o = &as_plan};
    int64_t requests;
    if (report_total(s, &t, err) || report_fact(s, "requests", &requests, err) ||
        fact(cli, s, "bundle", "bundle_path", err) || fact(cli, s, "set", "set_id", err) ||
        fact(cli, s, "target", "target_url", err) || fact(cli, s, "version", "target_version", err) ||
        fact(cli, s, "as user", "target_user", err))
        return -1;
    cli_out(cli, "groups      %s\n", cli_count(t.groups));
    if (report_groups(s, tree_text, &x, err))
        return -1;
    if (x.n > TREE_LINES && !o->groups)
        cli_out(cli, "  ... and %s more\n", cli_count(x.n - TREE_LINES));
    x.n = 0;
    if (report_relations(s, 0, relation_plan_text, &x, err) || people_text(cli, s, &t, err))
        return -1;
    x.n = 0;
    if (report_losses(s, loss_text, &x, err))
        return -1;
    struct least l;
    least_time(o, requests, &l);
    cli_out(cli, "\nrequests    about %s", cli_count((uint64_t)requests));
    if (l.ms > 0)
        cli_out(cli, ", at least %s: ", cli_span(l.ms));
    if (l.ms > 0 && strcmp(l.by, "latency") == 0)
        cli_out(cli, "%u at once, %s each%s", l.jobs, cli_span(o->round_ms), o->rate_per_min ? "; " : "");
    if (o->rate_per_min)
        cli_out(cli, "%sno more than %s a minute are allowed", l.ms > 0 ? "" : "; ", cli_count((uint64_t)o->rate_per_min));
    cli_out(cli, "\nstate       %s\n", cli_safe(state_path(s)));
    return 0;
}

int show_books(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err)
{
    struct ctx x = {.cli = cli, .o = o};
    if (report_relations(s, 0, relation_text, &x, err))
        return -1;
    x.n = 0;
    return report_losses(s, loss_text, &x, err);
}

int show_result(struct cli *cli, struct state *s, const struct show_opts *o, struct gs_err *err)
{
    struct ctx x = {.cli = cli, .o = o};
    if (show_books(cli, s, o, err))
        return -1;
    if (report_groups(s, group_text, &x, err))
        return -1;
    if (x.n > TREE_LINES && !o->groups)
        cli_out(cli, "... and %s more groups (--groups)\n", cli_count(x.n - TREE_LINES));
    return 0;
}

static int json_fact(struct gs_jw *w, struct state *s, const char *name, const char *key, struct gs_err *err)
{
    gs_autofree char *v = NULL;
    if (state_meta_get(s, key, &v, err))
        return -1;
    gs_jw_kstr(w, name, v);
    return 0;
}

int show_json(struct gs_jw *w, struct state *s, const struct show_opts *o, struct gs_err *err)
{
    struct report_total t;
    struct ctx x = {.w = w, .o = o, .s = s};
    int64_t requests;
    if (report_total(s, &t, err) || report_fact(s, "requests", &requests, err))
        return -1;
    gs_jw_kstr(w, "state", state_path(s));
    if (json_fact(w, s, "bundle", "bundle_path", err) || json_fact(w, s, "bundle_digest", "bundle_digest", err) ||
        json_fact(w, s, "set_id", "set_id", err) || json_fact(w, s, "target_url", "target_url", err) ||
        json_fact(w, s, "target_version", "target_version", err) || json_fact(w, s, "target_user", "target_user", err))
        return -1;
    gs_jw_ki64(w, "requests", requests);
    if (o->plan) {
        struct least l;
        least_time(o, requests, &l);
        gs_jw_ki64(w, "least_ms", l.ms);
        gs_jw_kstr(w, "least_by", l.ms > 0 ? l.by : NULL);
        gs_jw_ki64(w, "request_ms", o->round_ms);
        gs_jw_ki64(w, "rate_per_min", o->rate_per_min);
        gs_jw_ki64(w, "jobs", l.jobs);
    }
    gs_jw_key(w, "ops");
    gs_jw_obj(w);
    gs_jw_ki64(w, "all", (int64_t)t.ops);
    gs_jw_ki64(w, "done", (int64_t)t.done);
    gs_jw_ki64(w, "there", (int64_t)t.adopted);
    gs_jw_ki64(w, "found", (int64_t)t.found);
    gs_jw_ki64(w, "lost", (int64_t)t.lost);
    gs_jw_ki64(w, "failed", (int64_t)t.failed);
    gs_jw_ki64(w, "skipped", (int64_t)t.because_failed);
    gs_jw_ki64(w, "decided", (int64_t)t.decided);
    gs_jw_ki64(w, "open", (int64_t)t.open);
    gs_jw_ki64(w, "writes", (int64_t)t.tries);
    gs_jw_end(w);
    gs_jw_key(w, "relations");
    gs_jw_arr(w);
    if (report_relations(s, 0, relation_json, &x, err))
        return -1;
    gs_jw_end(w);
    gs_jw_key(w, "people");
    gs_jw_obj(w);
    gs_jw_ki64(w, "all", (int64_t)t.people);
    gs_jw_ki64(w, "by_email", (int64_t)t.by_email);
    gs_jw_ki64(w, "by_username", (int64_t)t.by_username);
    gs_jw_ki64(w, "by_map", (int64_t)t.by_csv);
    gs_jw_ki64(w, "nobody", (int64_t)t.nobody);
    gs_jw_key(w, "missing");
    gs_jw_arr(w);
    if (report_nobody(s, nobody_json, &x, err))
        return -1;
    gs_jw_end(w);
    gs_jw_end(w);
    gs_jw_key(w, "losses");
    gs_jw_arr(w);
    if (report_losses(s, loss_json, &x, err))
        return -1;
    gs_jw_end(w);
    gs_jw_key(w, "groups");
    gs_jw_arr(w);
    if (report_groups(s, group_json, &x, err))
        return -1;
    gs_jw_end(w);
    return 0;
}

/* ---- CSV ---- */

static int plan_row(void *cookie, const struct report_row *r, struct gs_err *err)
{
    struct ctx *x = cookie;
    return CSV_ROW(x->cli, err, r->loss ? "loss" : "do", r->group, r->target_group, r->relation, r->key, r->what,
                   csv_number(r->count), r->detail, NULL, NULL);
}

int show_plan_csv(struct cli *cli, struct state *s, struct gs_err *err)
{
    struct ctx x = {.cli = cli};
    if (CSV_ROW(cli, err, "row", "group", "target_group", "relation", "key", "what", "count", "detail", "decision", "reason"))
        return -1;
    return report_rows(s, plan_row, &x, err);
}

int show_least(struct state *s, const struct show_opts *o, const char **out, struct gs_err *err)
{
    int64_t requests;
    struct least l;
    if (report_fact(s, "requests", &requests, err))
        return -1;
    least_time(o, requests, &l);
    *out = l.ms > 0 ? cli_span(l.ms) : NULL;
    return 0;
}
