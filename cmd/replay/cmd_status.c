/* replay status: how far a load is, out of its state file alone. */
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"

struct opts {
    struct cli_common c;
    const char *state;
    bool groups;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "groups", .type = CLI_FLAG, .offset = offsetof(struct opts, groups), .help = "a line for every group"},
    {0},
};

static int status(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    GS_AUTO(state) s = NULL;
    struct show_opts so = {.groups = o->groups};
    struct report_total t;
    if (state_open(o->state, STATE_READ, &s, err))
        return -1;
    if (o->c.json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, (size_t)1 << 30);
        cli_json_begin(&w, &buf, "status", err);
        return show_json(&w, s, &so, err) ? -1 : cli_json_end(cli, &w);
    }
    gs_autofree char *bundle = NULL, *url = NULL;
    if (report_total(s, &t, err) || state_meta_get(s, "bundle_path", &bundle, err) ||
        state_meta_get(s, "target_url", &url, err))
        return -1;
    cli_out(cli, "bundle      %s\n", cli_safe(bundle ? bundle : "?"));
    cli_out(cli, "target      %s\n", cli_safe(url ? url : "?"));
    cli_out(cli, "steps       %s of %s ended: %s done, %s lost by a rule, %s failed, %s skipped because of that\n",
            cli_count(t.ops - t.open), cli_count(t.ops), cli_count(t.done), cli_count(t.lost), cli_count(t.failed),
            cli_count(t.because_failed));
    if (t.found)
        cli_out(cli, "            %s were recognised on the target after an answer got lost\n", cli_count(t.found));
    cli_out(cli, "groups      %s of %s are there\n", cli_count(t.groups_loaded), cli_count(t.groups));
    return show_result(cli, s, &so, err);
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct gs_err err = {0};
    (void)argc;
    (void)argv;
    return status(cli, optv, &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_status = {
    .name = "status",
    .args = "",
    .summary = "Say how far a load is, and what is not as at the source",
    .text = "Reads the state file only, also while a load is running.",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
