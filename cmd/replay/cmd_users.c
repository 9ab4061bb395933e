/* replay users: says who of the people in a bundle is whom on the target, and writes the user map to fill in. */
#include "cmd/csv.h"
#include "cmd/replay/session.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/io.h"
#include "libreplay/users.h"

#include <stdlib.h>
#include <string.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    const char *user_map, *output;
    bool match_username;
};

static const struct cli_opt opts[] = {
    {.name = "output",
     .letter = 'o',
     .type = CLI_STR,
     .offset = offsetof(struct opts, output),
     .arg = "FILE.csv",
     .help = "write a user map with a line per person, in which what was found is filled in"},
    {.name = "user-map",
     .type = CLI_STR,
     .offset = offsetof(struct opts, user_map),
     .arg = "FILE.csv",
     .help = "a user map that is there already: columns source_username (or source_id, source_email) and target_username (or target_id)"},
    {.name = "match-username",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, match_username),
     .help = "who is found neither in the user map nor by email is the active user of the same name there, whoever that is"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote, 0}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct people {
    struct user_row *v;
    size_t n, cap;
};

static char *copy(const char *s)
{
    return s ? strdup(s) : NULL;
}

static int each(void *cookie, const struct user_row *u, struct gs_err *err)
{
    struct people *p = cookie;
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct user_row *v = realloc(p->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for people");
        p->v = v;
        p->cap = cap;
    }
    struct user_row *to = &p->v[p->n++];
    *to = (struct user_row){.src_id = u->src_id, .username = copy(u->username), .public_email = copy(u->public_email), .target_id = u->target_id,
                            .target_username = copy(u->target_username), .how = copy(u->how)};
    bool whole = (to->username || !u->username) && (to->public_email || !u->public_email) && (to->target_username || !u->target_username) && to->how;
    return whole ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for people");
}

static int by_name(const void *a, const void *b)
{
    const struct user_row *x = a, *y = b;
    int c = strcmp(x->username ? x->username : "", y->username ? y->username : "");
    return c ? c : (x->src_id > y->src_id) - (x->src_id < y->src_id);
}

static int write_map(const char *path, const struct people *p, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, (size_t)1 << 30);
    if (gs_buf_addstr(&text, "source_id,source_username,source_email,target_username\r\n", err))
        return -1;
    for (size_t i = 0; i < p->n; i++) {
        const struct user_row *u = &p->v[i];
        char id[24];
        snprintf(id, sizeof id, "%lld", (long long)u->src_id);
        const char *row[] = {id, u->username, u->public_email, u->target_id ? u->target_username : NULL};
        if (csv_line(&text, row, GS_COUNT(row), err))
            return -1;
    }
    return gs_write_file(path, gs_buf_str(&text), text.len, 0600, false, err);
}

static void print_text(struct cli *cli, const struct opts *o, const struct people *p, const struct users_coverage *c)
{
    cli_out(cli, "people      %s: %s by public email, %s by the user map, ", cli_count(c->people), cli_count(c->by_email), cli_count(c->by_csv));
    if (o->match_username)
        cli_out(cli, "%s by username, ", cli_count(c->by_username));
    cli_out(cli, "%s are nobody there\n", cli_count(c->nobody));
    for (size_t i = 0; i < p->n; i++) {
        const struct user_row *u = &p->v[i];
        const char *name = u->username && *u->username ? u->username : "?";
        if (u->target_id)
            cli_out(cli, "  %-24s %-24s %s\n", cli_safe(name), cli_safe(u->target_username), u->how);
        else
            cli_out(cli, "  %-24s %-24s %s\n", cli_safe(name), "-", show_why_nobody(u->how));
    }
    if (o->output)
        cli_out(cli, "\nfill in what is empty in %s (who stays empty is left out), then load with --user-map %s\n", cli_safe(o->output),
                cli_safe(o->output));
}

static int print_json(struct cli *cli, const struct opts *o, const struct people *p, const struct users_coverage *c, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    cli_json_begin(&w, &buf, "users", err);
    gs_jw_ki64(&w, "all", (int64_t)c->people);
    gs_jw_ki64(&w, "by_email", (int64_t)c->by_email);
    gs_jw_ki64(&w, "by_map", (int64_t)c->by_csv);
    gs_jw_ki64(&w, "by_username", (int64_t)c->by_username);
    gs_jw_ki64(&w, "nobody", (int64_t)c->nobody);
    gs_jw_kstr(&w, "output", o->output);
    gs_jw_key(&w, "people");
    gs_jw_arr(&w);
    for (size_t i = 0; i < p->n; i++) {
        const struct user_row *u = &p->v[i];
        gs_jw_obj(&w);
        gs_jw_ki64(&w, "source_id", u->src_id);
        gs_jw_kstr(&w, "source_username", u->username);
        gs_jw_kstr(&w, "source_email", u->public_email);
        gs_jw_kstr(&w, "target_username", u->target_username);
        gs_jw_key(&w, "target_id");
        if (u->target_id)
            gs_jw_i64(&w, u->target_id);
        else
            gs_jw_null(&w);
        gs_jw_kstr(&w, "how", u->how);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return cli_json_end(cli, &w);
}

static int work(struct cli *cli, const struct opts *o, const char *file, struct session *s, struct people *p, struct gs_err *err)
{
    static const struct session_args none;
    struct users_coverage c;
    struct users_opts u = {.csv = o->user_map, .match_username = o->match_username, .each = each, .cookie = p};
    if (session_open(s, cli, &o->r, &o->trust, &none, file, true, err) || users_match(s->bundle, s->client, &s->target, &u, &c, err))
        return -1;
    if (p->n)
        qsort(p->v, p->n, sizeof *p->v, by_name);
    if (c.unused[0])
        cli_warn(cli, "lines of the user map that mean nobody of this bundle: %s", c.unused);
    if (o->output && write_map(o->output, p, err))
        return -1;
    if (o->r.c.json)
        return print_json(cli, o, p, &c, err);
    print_text(cli, o, p, &c);
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct session s = {0};
    struct people p = {0};
    (void)argc;
    int code = work(cli, o, argv[0], &s, &p, &err) ? cli_error(cli, &err) : 0;
    for (size_t i = 0; i < p.n; i++)
        user_row_release(&p.v[i]);
    free(p.v);
    session_close(&s);
    return code;
}

const struct cli_verb replay_verb_users = {
    .name = "users",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Say who of the people in a bundle is whom on the target",
    .text =
        "Looks for everybody whom a record of the bundle mentions among the users of the target, and writes nothing there.\n"
        "People are matched as '%s plan' does it: by the user map, by a public email that is a confirmed address of an\n"
        "active user there, and with --match-username by name.\n"
        "\n"
        "With --output a user map is written that has a line for each of them. Fill in what is missing and give it to\n"
        "plan and apply with --user-map. A line whose target is empty leaves that person out. The file names people and\n"
        "addresses, so that only its owner may read it; one that is there already is not overwritten.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
