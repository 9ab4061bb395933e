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
    int csv;
};

static const struct cli_opt opts[] = {
    {.name = "state",
     .type = CLI_STR,
     .offset = offsetof(struct opts, state),
     .arg = "FILE",
     .required = true,
     .help = "the state file of the load"},
    {.name = "groups", .type = CLI_FLAG, .offset = offsetof(struct opts, groups), .help = "a line for every group"},
    {.name = "csv",
     .type = CLI_CHOICE,
     .offset = offsetof(struct opts, csv),
     .arg = "LIST",
     .choices = "none|groups|relations|losses|people|runs",
     .help = "one list as CSV (RFC 4180): the groups, the relations, the losses, the people who are nobody on the target, the runs"},
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
    if (o->csv)
        return show_csv(cli, s, (enum show_list)o->csv, err);
    if (o->c.json)
        return print_json(cli, s, l, err);
    if (live_head(cli, s, l, err) || show_books(cli, s, &so, err))
        return -1;
    cli_out(cli, "\n");
    return live_groups(cli, s, o->groups ? 0 : GROUP_LINES, err);
}

/*
 * What is to be said goes into `text`, and the file is closed before anybody sees it: who reads slowly (a pager, a terminal
 * that was halted) must not keep a load from beginning.
 */
static int once(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, (size_t)1 << 30);
    cli_out_into(cli, &text);
    struct state *s = NULL;
    struct live l;
    int r = open_moment(o->state, &s, &l, err) || print(cli, o, s, &l, err) ? -1 : 0;
    state_close(s);
    cli_out_into(cli, NULL);
    cli_out_buf(cli, &text);
    return r;
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

static void tell_line(struct cli *cli, const struct live *l)
{
    char t[GS_TIME_LEN], line[1024];
    gs_time_format(gs_unix_ms(), t);
    live_line(l, line, sizeof line);
    cli_out(cli, "%.19sZ %s\n", t, line);
}

struct watch {
    struct cli *cli;
    const struct opts *o;
    struct live now, before;
    bool first, last, screen;
    unsigned drawn, rows, columns;
};

static bool news(const struct watch *w)
{
    return w->first || w->last || live_differs(&w->now, &w->before);
}

static int look(struct watch *w, struct state **out, struct gs_err *err)
{
    if (open_moment(w->o->state, out, &w->now, err))
        return -1;
    w->last = !w->now.alive;
    if (w->screen && !w->last && cli_out_screen(w->cli, &w->rows, &w->columns))
        return live_head(w->cli, *out, &w->now, err) || live_groups(w->cli, *out, w->rows, err) ? -1 : 0;
    return (w->screen && w->last) || (w->o->c.json && news(w)) ? print(w->cli, w->o, *out, &w->now, err) : 0;
}

/* The file is opened for each look only, and what it says is shown when it is closed again, so that nobody who writes it
 * ever waits for one who watches. */
static int tell(struct watch *w, struct gs_err *err)
{
    struct state *s = NULL;
    gs_autobuf text;
    gs_buf_init(&text, (size_t)1 << 30);
    cli_out_into(w->cli, &text);
    int r = look(w, &s, err);
    state_close(s);
    cli_out_into(w->cli, NULL);
    if (r)
        return -1;
    if (w->screen)
        w->drawn = draw(w->cli, w->last ? "" : gs_buf_str(&text), w->drawn, w->rows, w->columns);
    if (!w->screen || w->last)
        cli_out_buf(w->cli, &text);
    if (!w->screen && !w->o->c.json && (w->first || live_differs(&w->now, &w->before)))
        tell_line(w->cli, &w->now);
    cli_out_flush(w->cli);
    return 0;
}

static int watch(struct cli *cli, const struct opts *o, struct gs_err *err)
{
    struct watch w = {.cli = cli, .o = o, .first = true};
    w.screen = cli_out_screen(cli, &w.rows, &w.columns) && !o->c.json;
    for (;;) {
        int64_t began = gs_mono_ms();
        if (tell(&w, err))
            return -1;
        if (w.last || !cli_out_ok(cli))
            return 0;
        w.first = false;
        w.before = w.now;
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
    if (o->csv && (o->c.json || o->watch))
        return cli_usage(cli, "--csv excludes --json and --watch");
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
        "every relation and of every group, with a link to each group that is there. Of a load that is or was taken back they say\n"
        "so first, with how much went and how much stayed (member \"undo\" of --json).\n"
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
