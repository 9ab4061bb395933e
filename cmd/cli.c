/* The life of a tool: signals, dispatch, errors, exit code. */
#include "cmd/cli_priv.h"
#include "libcommon/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>

volatile int cli_stop;
volatile sig_atomic_t cli_signal;
volatile sig_atomic_t cli_asked;

static volatile sig_atomic_t ends_at_once = 1;
static volatile int64_t first_signal_ms;

/* timeout(1) and terminals may deliver one wish twice: a second signal this early is the same one. */
#define SAME_SIGNAL_MS 300

static void on_signal(int sig)
{
    int saved_errno = errno;
    int64_t now = gs_mono_ms();
    bool first = cli_signal == 0;
    if (first) {
        cli_signal = sig;
        first_signal_ms = now;
    } else if (now - first_signal_ms < SAME_SIGNAL_MS && !ends_at_once && !cli_io_is_prompting()) {
        errno = saved_errno;
        return;
    }
    if (!first || ends_at_once || cli_io_is_prompting()) {
        cli_io_signal_safe_restore();
        _exit(128 + sig);
    }
    cli_stop = 1;
    cli_io_signal_safe_say("stopping after what is under way; again to stop at once\n");
    errno = saved_errno;
}

/* A signal that the starter of this process ignores (nohup, a job in the background) stays ignored. */
static void catch_signal(int sig)
{
    struct sigaction old, sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&sa.sa_mask);
    sigaddset(&sa.sa_mask, SIGINT);
    sigaddset(&sa.sa_mask, SIGTERM);
    sigaddset(&sa.sa_mask, SIGHUP);
    if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(sig, &sa, NULL);
}

static void on_asking(int sig)
{
    (void)sig;
    cli_asked = 1;
}

static void catch_asking(void)
{
    struct sigaction sa = {.sa_handler = on_asking, .sa_flags = SA_RESTART};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGUSR1, &sa, NULL);
}

static void log_line(void *cookie, enum gs_level level, const char *text)
{
    struct cli *cli = cookie;
    if (level <= GS_LOG_WARN)
        cli_warn(cli, "%s", text);
    else
        cli_io_line(cli, level == GS_LOG_DEBUG ? "debug: " : "", text);
}

/* ---- errors ---- */

void cli_json_begin(struct gs_jw *w, struct gs_buf *buf, const char *what, struct gs_err *err)
{
    char schema[64];
    snprintf(schema, sizeof schema, "groupsnap.%.40s/1", what);
    gs_jw_init(w, buf, 0, err);
    gs_jw_obj(w);
    gs_jw_kstr(w, "schema", schema);
}

int cli_json_end(struct cli *cli, struct gs_jw *w)
{
    gs_jw_end(w);
    if (gs_jw_finish(w) || gs_buf_addc(w->out, '\n', w->err))
        return -1;
    return cli_out_json(cli, w->out, w->err);
}

void cli_json_error(struct cli *cli, const char *code, const char *text, const char *hint, int exit_code,
                    const struct gs_err *err)
{
    struct gs_err fail = {0};
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 1 << 20);
    gs_jw_init(&w, &buf, 0, &fail);
    gs_jw_obj(&w);
    gs_jw_key(&w, "error");
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "code", code);
    gs_jw_kstr(&w, "text", cli_valid(text));
    gs_jw_kstr(&w, "hint", cli_valid(hint));
    gs_jw_ki64(&w, "exit", exit_code);
    if (err && err->http)
        gs_jw_ki64(&w, "http", err->http);
    if (err && err->request_id[0])
        gs_jw_kstr(&w, "request_id", cli_valid(err->request_id));
    gs_jw_end(&w);
    GS_IGNORE(cli_json_end(cli, &w), "out of memory: the text on stderr has to do");
}

int cli_error(struct cli *cli, const struct gs_err *err)
{
    int rc = err->code == GS_E_STOPPED && cli_signal ? 128 + (int)cli_signal : gs_code_exit(err->code);
    const char *verb = cli->verb ? cli->verb->name : "";
    char head[300], text[1400], hint[400];
    if (err->code == GS_E_USAGE)
        snprintf(hint, sizeof hint, "see '%.100s %.100s --help'", cli->tool, verb);
    else
        snprintf(hint, sizeof hint, "%s", gs_code_hint(err->code));
    snprintf(head, sizeof head, "%s%.100s%s%.100s:%s ", cli_colour(cli, CLI_RED), cli->tool, *verb ? " " : "", verb,
             cli_colour(cli, CLI_PLAIN));
    snprintf(text, sizeof text, "%s [%s]", err->text, gs_code_name(err->code));
    cli_io_line(cli, head, text);
    if (err->request_id[0])
        cli_io_line(cli, "  request id: ", err->request_id);
    if (*hint)
        cli_io_line(cli, "  what to do: ", hint);
    if (cli->common && cli->common->json)
        cli_json_error(cli, gs_code_name(err->code), err->text, hint, rc, err);
    return rc;
}

/* ---- dispatch ---- */

static const struct cli_verb *find_verb(const struct cli_tool *t, const char *name)
{
    for (const struct cli_verb *const *v = t->verbs; *v; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

static int unknown_verb(struct cli *cli, const char *name)
{
    const char *names[CLI_MAX_OPTS], *near;
    size_t n = 0;
    for (const struct cli_verb *const *v = cli->about->verbs; *v && n < GS_COUNT(names); v++)
        names[n++] = (*v)->name;
    near = cli_nearest(name, names, n);
    char hint[128] = "";
    if (near)
        snprintf(hint, sizeof hint, "did you mean '%s %s'?", cli->tool, near);
    return cli_wrong_use(cli, near ? hint : NULL, "'%s' is no command", name);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run_verb(struct cli *cli, const struct cli_verb *v, int argc, char **argv)
{
    cli->verb = v;
    if (asks_for_help(argc, argv)) {
        cli_help_verb(cli, v);
        return 0;
    }
    struct cli_parsed p;
    int rc = 2;
    if (cli_parse(cli, argc, argv, &p) == 0) {
        cli->common = p.opts;
        cli->log = (struct gs_log){
            .level = cli->common->quiet     ? GS_LOG_WARN
                     : cli->common->verbose ? GS_LOG_DEBUG
                                            : GS_LOG_INFO,
            .cookie = cli,
            .line = log_line,
        };
        ends_at_once = v->ends_at_once;
        rc = v->run(cli, p.opts, p.n_args, p.args);
        ends_at_once = 1;
        cli_progress_end(cli);
        cli->common = NULL;
    }
    cli_parsed_release(v, &p);
    return rc;
}

static int dispatch(struct cli *cli, int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word)
        return cli_wrong_use(cli, NULL, "a command is needed");
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        cli_help_tool(cli);
        return 0;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        cli_out(cli, "%s (groupsnap) %s\n", cli->about->name, GS_VERSION);
        return 0;
    }
    if (strcmp(word, "help") == 0) {
        const struct cli_verb *v = argc > 2 ? find_verb(cli->about, argv[2]) : NULL;
        if (argc > 3)
            return cli_wrong_use(cli, NULL, "'help' takes one command");
        if (argc > 2 && !v && strcmp(argv[2], "--help") != 0)
            return unknown_verb(cli, argv[2]);
        if (v)
            cli_help_verb(cli, v);
        else
            cli_help_tool(cli);
        return 0;
    }
    if (strcmp(word, "__man") == 0)
        return cli_man(cli, argc > 2 ? argv[2] : cli->tool);
    if (strcmp(word, "__complete") == 0)
        return cli_complete(cli, argc > 2 ? argv[2] : "", argc > 3 ? argv[3] : cli->tool);
    const struct cli_verb *v = find_verb(cli->about, word);
    if (v)
        return run_verb(cli, v, argc - 2, argv + 2);
    if (word[0] == '-')
        return cli_wrong_use(cli, "options stand behind the command", "unknown option '%s'", word);
    return unknown_verb(cli, word);
}

int cli_main(const struct cli_tool *about, int argc, char **argv)
{
    struct cli cli = {.about = about, .tool = about->name};
    struct gs_err err = {0};
    const char *base = argc > 0 ? strrchr(argv[0], '/') : NULL;
    base = base ? base + 1 : argc > 0 ? argv[0] : "";
    if (*base)
        cli.tool = base;
    /* pages and records come and go by the megabyte: the heap's top is kept for the next one instead of being given back */
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    mallopt(M_TOP_PAD, 1 << 20);
    cli_io_start(&cli);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error like a full disk */
    catch_asking(); /* who asks a verb that has no answer must not end it by that */
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
    catch_signal(SIGHUP);
    int rc = gs_secret_init(&err) ? cli_error(&cli, &err) : dispatch(&cli, argc, argv);
    return cli_io_finish(&cli, rc);
}
