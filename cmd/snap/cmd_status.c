/* snap status: how far a capture is that runs or was stopped. */
#include "cmd/snap/capture_status.h"
#include "cmd/snap/verbs.h"

#include <unistd.h>

struct opts {
    struct cli_common c;
};

static void print_line(void *cookie, const char *text)
{
    cli_out(cookie, "%s\n", text);
}

/* No work folder, but the file: a capture that came to its end leaves nothing else. */
static int complete(struct cli *cli, const struct opts *o, const char *file, struct gs_err *err)
{
    gs_err_clear(err);
    if (!o->c.json) {
        cli_out(cli, "state       complete: '%s' is there, no capture of it is under way\n", cli_safe(file));
        return 0;
    }
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 64 << 10);
    cli_json_begin(&w, &buf, "capture-status", err);
    gs_jw_kstr(&w, "file", file);
    gs_jw_kstr(&w, "state", "complete");
    return cli_json_end(cli, &w);
}

static int status(struct cli *cli, const struct opts *o, const char *file, struct gs_err *err)
{
    struct staging_status st;
    gs_autofree char *dir = gs_asprintf("%s.work", file);
    if (!dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (staging_status_read(dir, &st, err))
        return err->code == GS_E_NOT_FOUND && access(file, F_OK) == 0 ? complete(cli, o, file, err) : -1;
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
            "in FILE.work, for each relation, how long the server asks it to wait, why it stopped, and what it read another way\n"
            "than first tried or not at all so far. Nothing is changed, and no network is used. Where FILE is there and no work folder beside it, the state is 'complete'. The exit code is 10 when\n"
            "there is neither.\n"
            "\n"
            "A running 'create' shows the same on stderr when it gets SIGUSR1.",
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
