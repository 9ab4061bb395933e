/* The lists of a state file as CSV. */
#include "cmd/csv.h"
#include "cmd/replay/show.h"
#include "libcommon/clock.h"
#include "libreplay/runinfo.h"

#include <string.h>

static const char *name_of(const char *relation)
{
    return strcmp(relation, "self") == 0 ? "groups" : relation;
}

static int group_row(void *cookie, const struct report_group *g, struct gs_err *err)
{
    return CSV_ROW(cookie, err, g->grp.src_path, g->grp.dst_path, g->grp.web_url, report_group_state(g), g->grp.existed ? "yes" : "no",
                   g->grp.visibility, csv_number(g->ops), csv_number(g->done), csv_number(g->failed), csv_number(g->skipped),
                   csv_number(g->decided), csv_number(g->open), g->grp.target_id ? csv_number((uint64_t)g->grp.target_id) : "");
}

static int relation_row(void *cookie, const struct report_relation *r, struct gs_err *err)
{
    return CSV_ROW(cookie, err, name_of(r->relation), csv_number(r->in_bundle), csv_number(r->loaded), csv_number(r->there), csv_number(r->lost),
                   csv_number(r->failed), csv_number(r->skipped), csv_number(r->decided), csv_number(r->open), csv_number(r->found));
}

static int loss_row(void *cookie, const struct report_loss *l, struct gs_err *err)
{
    return CSV_ROW(cookie, err, l->code, name_of(l->relation), csv_number(l->count), csv_number(l->groups), l->whole ? "yes" : "no", l->text,
                   l->detail);
}

static int person_row(void *cookie, const struct user_row *u, struct gs_err *err)
{
    return CSV_ROW(cookie, err, csv_number((uint64_t)u->src_id), u->username, u->public_email,
                   u->how && strncmp(u->how, "none:", 5) == 0 ? u->how + 5 : u->how);
}

static int run_row(void *cookie, const struct run_info *r, struct gs_err *err)
{
    char from[GS_TIME_LEN], until[GS_TIME_LEN] = "";
    int64_t waited = 0;
    gs_time_format(r->begun_ms, from);
    if (r->ended_ms)
        gs_time_format(r->ended_ms, until);
    for (unsigned i = 0; i < r->n_waits; i++)
        waited += r->waits[i].until_ms - r->waits[i].from_ms;
    return CSV_ROW(cookie, err, r->verb, from, until, csv_number(r->requests), csv_number(r->jobs), csv_number((uint64_t)waited), r->end_code,
                   r->end_text);
}

int show_csv(struct cli *cli, struct state *s, enum show_list which, struct gs_err *err)
{
    switch (which) {
    case SHOW_GROUPS:
        return CSV_ROW(cli, err, "group", "target_group", "url", "state", "existed", "visibility", "steps", "done", "failed", "skipped", "decided",
                       "open", "target_id") ||
                       report_groups(s, group_row, cli, err)
                   ? -1
                   : 0;
    case SHOW_RELATIONS:
        return CSV_ROW(cli, err, "relation", "in_bundle", "loaded", "there", "lost", "failed", "skipped", "decided", "open", "found") ||
                       report_relations(s, 0, relation_row, cli, err)
                   ? -1
                   : 0;
    case SHOW_LOSSES:
        return CSV_ROW(cli, err, "code", "relation", "count", "groups", "whole_record", "text", "example") || report_losses(s, loss_row, cli, err)
                   ? -1
                   : 0;
    case SHOW_PEOPLE:
        return CSV_ROW(cli, err, "source_id", "source_username", "public_email", "why") || report_nobody(s, person_row, cli, err) ? -1 : 0;
    case SHOW_RUNS:
        return CSV_ROW(cli, err, "command", "from", "until", "requests", "jobs", "waited_ms", "end_code", "end_text") ||
                       run_info_each(s, run_row, cli, err)
                   ? -1
                   : 0;
    case SHOW_NONE:
        break;
    }
    return 0;
}
