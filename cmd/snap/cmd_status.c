/* snap status: how far a capture is that runs or was stopped. */
#include "cmd/snap/capture_status.h"
#include "cmd/snap/verbs.h"

struct opts {
    struct cli_common c;
};

static void print_line(void *cookie, const char *text)
{
    cli_out(cookie, "%s\n", text);
}

static int status(struct cli *cli, const struct opts *o, const char *file, struct gs_err *err)
{
    struct staging_status st;
    gs_autofree char *dir = gs_asprintf("%s.work", file);
    if (!dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (staging_status_read(dir, &st, err))
        return -1;
    int r = 0;
    if (o->c.json)
        r = capture_status_json(cli, &st, file, err);
    else
        capture_status_lines(&st, file, print_line, cli);
    staging_status_release(&st);
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct gs_err err = {0};
    (void)argc;
    return status(cli, optv, argv[0], &err) ? cli_error(cli, &err) : 0;
}

const struct cli_verb snap_verb_status = {
    .name = "status",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Say how far a capture is that runs or was stopped",
    .text = "FILE is the bundle that 'create' was told to make. Shows whether the capture runs, what it has received and keeps\n"
            "in FILE.work, for each relation, how long the server asks it to wait, and why it stopped. Nothing is changed, and\n"
            "no network is used. The exit code is 10 when there is no such capture: not begun, or complete.\n"
            "\n"
            "A running 'create' shows the same on stderr when it gets SIGUSR1.",
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
