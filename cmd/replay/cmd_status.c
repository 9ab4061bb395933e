/* replay status: how far a load is, out of its state file alone; also while it runs. */
#include "cmd/replay/live.h"
#include "cmd/replay/show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

#define WATCH_MS 1000
#define GROUP_LINES 40

struct opts {
    struct cli_common c;
    const char *state;
    bool groups, watch;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "groups", .type = CLI_FLAG, .offset = offsetof(struct opts, groups), .help = "a line for every group"},
    {.name = "watch",
     .letter = 'w',
     .type = CLI_FLAG,
     .offset = offsetof(struct opts, watch),
     .help = "go on telling until the load has ended: in place on a terminal, elsewhere a line whenever something has "
             "changed"},
    {0},
};

/* What is read between open and close is of one moment. */
static int open_moment(const char *path, struct state **out, struct live *l, struct gs_err *err)
{
    if (state_open(path, STATE_READ, out, err))
        return -1;
    return report_begin(*out, err) || live_read(*out, l, err) ? -1 : 0;
}

static int print_json(struct cli *cli, struct state *s, const struct live *l, struct gs_err *err)
{
    struct show_opts so = {0};
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, (size_t)1 << 30);
    cli_json_begin(&w, &buf, "status", err);
    live_json(&w, l);
    return show_json(&w, s, &so, err) ? -1 : cli_json_end(cli, &w);
}

static int print(struct cli *cli, const struct opts *o, struct state *s, const struct live *l, struct gs_err *err)
{
    struct show_opts so = {.groups = o->groups};
    if (o->c.json)
        return print_json(cli, s, l, err);
    if (live_head(cli, s, l, err) || show_books(cli, s, &so, err))
        return -1;
    cli_out(cli, "\n");
    return live_groups(cli, s, o->groups ? 0 : GROUP_LINES, err);
}

static int once(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    GS_AUTO(state) s = NULL;
    struct live l;
    return open_moment(o->state, &s, &l, err) ? -1 : print(cli, o, s, &l, err);
}

/* ---- watching ---- */

/* Overwrites the `drawn` lines above with `text`, as much of it as the screen holds. Returns how many lines it has now.
 */
static unsigned draw(struct cli *cli, const char *text, unsigned drawn, unsigned rows, unsigned columns)
{
    unsigned n = 0;
    char raw[4096], line[4096];
    if (drawn)
        cli_out(cli, "\033[%uA", drawn);
    cli_out(cli, "\r\033[J");
    while (*text && n + 1 < rows) {
        size_t len = strcspn(text, "\n");
        snprintf(raw, sizeof raw, "%.*s", (int)(len < sizeof raw ? len : sizeof raw - 1), text);
        cli_screen_line(raw, columns, line, sizeof line);
        cli_out(cli, "%s\n", line);
        text += len + (text[len] == '\n');
        n++;
    }
    cli_out_flush(cli);
    return n;
}

static int draw_live(struct cli *cli, struct state *s, const struct live *l, unsigned *io_drawn, unsigned rows,
                     unsigned columns, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, (size_t)16 << 20);
    cli_out_into(cli, &text);
    int r = live_head(cli, s, l, err) || live_groups(cli, s, rows, err) ? -1 : 0;
    cli_out_into(cli, NULL);
    if (!r)
        *io_drawn = draw(cli, gs_buf_str(&text), *io_drawn, rows, columns);
    return r;
}

static int tell_line(struct cli *cli, const struct live *l)
{
    char t[GS_TIME_LEN], line[1024];
    gs_time_format(gs_unix_ms(), t);
    live_line(l, line, sizeof line);
    cli_out(cli, "%.19sZ %s\n", t, line);
    cli_out_flush(cli);
    return 0;
}

/* The file is opened for each look only, so that nobody who writes it ever waits for one who watches. */
static int watch(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    struct live before = {0};
    unsigned drawn = 0, rows, columns;
    bool first = true, screen = cli_out_screen(cli, &rows, &columns) && !o->c.json;
    for (;;) {
        GS_AUTO(state) s = NULL;
        struct live l;
        int64_t began = gs_mono_ms();
        int r = open_moment(o->state, &s, &l, err);
        if (r)
            return -1;
        bool last = !l.alive;
        if (screen && !last && cli_out_screen(cli, &rows, &columns))
            r = draw_live(cli, s, &l, &drawn, rows, columns, err);
        else if (o->c.json && (first || last || live_differs(&l, &before)))
            r = print_json(cli, s, &l, err);
        else if (!screen && !o->c.json && (first || live_differs(&l, &before)))
            r = tell_line(cli, &l);
        if (!r && last && screen) {
            draw(cli, "", drawn, rows, columns);
            r = print(cli, o, s, &l, err);
        }
        if (r || last || !cli_out_ok(cli))
            return r;
        cli_out_flush(cli);
        state_close(gs_steal(&s));
        first = false;
        before = l;
        /* a large state takes its time to be counted: no more than a tenth of a processor */
        int64_t took = gs_mono_ms() - began;
        gs_sleep_ms(took * 9 > WATCH_MS ? took * 9 : WATCH_MS);
    }
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    (void)argc;
    (void)argv;
    return (o->watch ? watch(cli, o, &err) : once(cli, o, &err)) ? cli_error(cli, &err) : 0;
}

const struct cli_verb replay_verb_status = {
    .name = "status",
    .args = "",
    .summary = "Say how far a load is, and what is not as at the source",
    .text =
        "Reads the state file only, also while a load is running, which it neither slows down nor stops. The first "
        "lines say whether a\n"
        "load works on it, how fast, what it waits for, and why the last one stopped. Below stands what has become of "
        "the records of\n"
        "every relation and of every group, with a link to each group that is there.\n"
        "\n"
        "With --watch it goes on telling, and ends when the load does, or at Ctrl-C, which does not touch the load. "
        "With --json it then\n"
        "prints one object per line. A load that is running says the same on its stderr when it gets the signal USR1.\n"
        "\n"
        "The exit code is 0 whenever the state could be told, also of a load that failed.",
    .opts = opts,
    .opts_size = sizeof(struct opts),
    .ends_at_once = true,
    .run = run,
};
