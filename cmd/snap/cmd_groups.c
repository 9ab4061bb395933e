/* snap groups: the groups that a token can capture. */
#include "cmd/snap/verbs.h"

struct opts {
    struct cli_remote r;
    bool all;
};

static const struct cli_opt opts[] = {
    {.name = "all", .type = CLI_FLAG, .offset = offsetof(struct opts, all),
     .help = "every group that the token's user may see, not only those he owns"},
    {0},
};

static const struct cli_part parts[] = {{cli_opts_remote, 0}, {0}};

struct printer {
    struct cli *cli;
    uint64_t n;
};

static int print_json(struct cli *cli, yyjson_val *v, struct gs_err *err)
{
    static const char *const keys[] = {"id", "full_path", "name", "visibility", "parent_id", "web_url"};
    gs_autobuf buf;
    struct gs_jw w;
    gs_buf_init(&buf, 1 << 20);
    cli_json_begin(&w, &buf, "group", err);
    for (size_t i = 0; i < GS_COUNT(keys); i++) {
        yyjson_val *e = yyjson_obj_get(v, keys[i]);
        gs_jw_key(&w, keys[i]);
        if (e)
            gs_jw_val(&w, e);
        else
            gs_jw_null(&w);
    }
    return cli_json_end(cli, &w);
}

static int page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct printer *p = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it))) {
        int64_t id;
        const char *path, *name = gs_json_str(v, "name"), *visibility = gs_json_str(v, "visibility");
        if (gs_json_need_i64(v, "id", &id, err) || gs_json_need_str(v, "full_path", &path, err))
            return gs_wrap(err, "list of groups");
        p->n++;
        if (p->cli->common->json) {
            if (print_json(p->cli, v, err))
                return -1;
        } else {
            cli_out(p->cli, "%10lld  %-8s  %s  (%s)\n", (long long)id, visibility ? cli_safe(visibility) : "?", cli_safe(path),
                    cli_safe(name ? name : ""));
        }
    }
    if (!cli_out_ok(p->cli))
        return gs_fail(err, GS_E_IO, "writing the list");
    return 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    GS_AUTO(gl_client) client = NULL;
    struct gl_instance instance;
    struct printer p = {.cli = cli};
    struct gl_pages pages;
    if (cli_client(cli, &o->r, true, &client, &err) || gl_instance_probe(client, true, &instance, &err))
        return cli_error(cli, &err);
    const char *path = o->all ? "/groups?all_available=true&order_by=id&sort=asc"
                              : "/groups?min_access_level=50&order_by=id&sort=asc";
    if (!cli->common->json)
        cli_out(cli, "%10s  %-8s  %s\n", "id", "visible", "full path (name)");
    if (gl_list_all(client, path, page, &p, &pages, &err))
        return cli_error(cli, &err);
    if (p.n == 0)
        cli_note(cli, "%s owns no group on %s%s", instance.username, gl_client_host(client),
                 o->all ? "" : "; --all shows every group that he may see");
    return 0;
}

const struct cli_verb snap_verb_groups = {
    .name = "groups",
    .args = "",
    .summary = "List the groups that the token's user owns",
    .text = "One line per group: id, visibility, full path and name. A subgroup is owned when a group above it is.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
