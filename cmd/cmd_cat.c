/* cat: the records of a bundle as JSON lines. */
#include "cmd/cli.h"
#include "cmd/contents.h"
#include "formats/relations.h"

#include <string.h>

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    bool with_key;
};

static const struct cli_opt opts[] = {
    {.name = "with-key",
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, with_key),
     .help = "print {\"group\":...,\"relation\":...,\"record\":...} around each record"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct cat {
    struct cli *cli;
    struct bundle *b;
    const struct opts *o;
    struct gs_buf line;
};

static int begin_line(struct cat *c, const char *group, const char *relation, struct gs_err *err)
{
    gs_buf_reset(&c->line);
    if (!c->o->with_key)
        return 0;
    if (gs_buf_addstr(&c->line, "{\"group\":", err))
        return -1;
    int r = group ? gs_json_quote(group, strlen(group), &c->line, err) : gs_buf_addstr(&c->line, "null", err);
    if (r || gs_buf_addstr(&c->line, ",\"relation\":", err) ||
        gs_json_quote(relation, strlen(relation), &c->line, err) || gs_buf_addstr(&c->line, ",\"record\":", err))
        return -1;
    return 0;
}

static int print_line(struct cat *c, struct gs_err *err)
{
    if (gs_buf_addstr(&c->line, c->o->with_key ? "}\n" : "\n", err))
        return -1;
    return cli_out_json(c->cli, &c->line, err);
}

/* `group` NULL: users, ledger or index, which are the bundle's own and always ndjson. */
static int cat_relation(struct cat *c, const struct bundle_group *group, const char *relation, struct gs_err *err)
{
    enum record_encoding enc = group ? bundle_encoding(c->b) : RECORD_NDJSON;
    struct record_limits lim = {.max_bytes = c->o->trust.max_record, .max_depth = c->o->trust.max_depth};
    GS_AUTO(bundle_cursor) cur = NULL;
    if (bundle_cursor_open(c->b, group ? group->id : 0, relation, &cur, err))
        return -1;
    while (cli_out_ok(c->cli)) {
        const void *data;
        size_t len;
        if (bundle_cursor_next(cur, &data, &len, NULL, err))
            return -1;
        if (!data)
            break;
        if (begin_line(c, group ? group->full_path : NULL, relation, err) ||
            record_to_json(enc, data, len, &lim, &c->line, err) || print_line(c, err))
            return -1;
    }
    return 0;
}

static bool bundle_wide(const char *relation)
{
    return strcmp(relation, "users") == 0 || strcmp(relation, "ledger") == 0 || strcmp(relation, "index") == 0;
}

/* Every relation of one group, or of all. */
static int cat_groups(struct cat *c, const struct bundle_group *only, struct gs_err *err)
{
    struct contents all;
    int r = contents_load(c->b, &all, err);
    for (size_t i = 0; r == 0 && i < all.n_rows && cli_out_ok(c->cli); i++)
        if (!only || all.rows[i].group == only)
            r = cat_relation(c, all.rows[i].group, all.rows[i].relation, err);
    contents_release(&all);
    return r;
}

static bool has_relation(const struct bundle *b, const char *relation)
{
    const struct bundle_member *m;
    size_t n = bundle_members(b, &m);
    for (size_t i = 0; i < n; i++)
        if (!m[i].is_file && m[i].relation && strcmp(m[i].relation, relation) == 0)
            return true;
    return false;
}

static int cat_path(struct cat *c, const char *path, struct gs_err *err)
{
    const char *slash = strrchr(path, '/');
    const struct bundle_group *g = contents_group(c->b, path, strlen(path));
    if (g) /* the longest group wins */
        return cat_groups(c, g, err);
    if (!slash || slash == path) {
        const char *relation = slash ? slash + 1 : path;
        if (bundle_wide(relation))
            return cat_relation(c, NULL, relation, err);
        return gs_fail(err, GS_E_GROUP_NOT_FOUND, "the bundle holds no group '%s'", path);
    }
    g = contents_group(c->b, path, (size_t)(slash - path));
    if (!g)
        return gs_fail(err, GS_E_GROUP_NOT_FOUND, "the bundle holds no group '%s', nor '%.*s'", path,
                       (int)(slash - path), path);
    if (bundle_wide(slash + 1))
        return gs_fail(err, GS_E_NOT_FOUND, "'%s' belongs to the whole bundle: write '/%s'", slash + 1, slash + 1);
    /* a known relation without records is no error: it prints nothing */
    if (!relation_find(slash + 1) && !has_relation(c->b, slash + 1))
        return gs_fail(err, GS_E_NOT_FOUND, "'%s' is neither a group nor a relation of '%s'", path, g->full_path);
    return cat_relation(c, g, slash + 1, err);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    GS_AUTO(bundle) b = NULL;
    int r = cli_trust_load(&o->trust, false, &trust, &err);
    if (r == 0)
        r = cli_bundle_open(cli, &o->trust, &trust, argv[0], &b, &err);
    if (r == 0) {
        if (!bundle_proven(b))
            cli_warn(cli, trust.n ? "no key that is trusted here signed it: nothing proves where '%s' comes from"
                                  : "no --trust is given: nothing proves where '%s' comes from", argv[0]);
        struct cat c = {.cli = cli, .b = b, .o = o};
        gs_buf_init(&c.line, (size_t)2 << 30);
        r = argc > 1 ? cat_path(&c, argv[1], &err) : cat_groups(&c, NULL, &err);
        gs_buf_release(&c.line);
        if (r)
            cli_wrap_file(&err, argv[0]);
    }
    bundle_close(gs_steal(&b)); /* before the keys that it refers to */
    sign_trust_release(&trust);
    return r ? cli_error(cli, &err) : 0;
}

const struct cli_verb cli_verb_cat = {
    .name = "cat",
    .args = "FILE [GROUP[/RELATION]]",
    .min_args = 1,
    .max_args = 2,
    .summary = "Print records of a bundle as JSON, one per line",
    .text = "GROUP is a full path or an id as on the source; RELATION is a name that 'inspect' shows, such as labels,\n"
            "epics, or self for the group itself. Without RELATION everything of the group is printed (without its\n"
            "subgroups), without GROUP everything there is: groups from the root down, relations by name. When the\n"
            "whole text is a group's path, that group is meant, even if its last part is called like a relation.\n\n"
            "The names /users, /ledger and /index stand for what belongs to the whole bundle; the slash may be left\n"
            "out unless a group is called like that.\n\n"
            "The bytes do not depend on the bundle's encoding. Only on a terminal characters that could play tricks\n"
            "on it are written as \\uXXXX, which is the same value.\n\n"
            "  %s cat team.gsnap team/backend/labels --trust key.pub | jq -r .title",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
