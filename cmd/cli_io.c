/* The two output streams and the terminal: one status line that is out of the way whenever something else is written.
 */
#include "cmd/cli_priv.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>

#define ERASE "\r\033[K"
#define PROGRESS_MS 100

static struct {
    pthread_mutex_t lock;
    int64_t last_ms; /* when the status line was written last */
    bool written;    /* ever */
    int out_errno;   /* of the first failed write on stdout */
    bool out_tty;
    struct gs_buf *into; /* what would go to stdout is collected there; NULL: it goes there */
} io = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What the signal handler looks at. */
static volatile sig_atomic_t line_shown, prompting, err_tty;
static struct termios prompt_termios;

/* A closed stdin, stdout or stderr must not become the number of a file that is opened later. Writing then fails. */
static void fill_standard_fds(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        int got = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY); /* the lowest free number: this one */
        if (got >= 0 && got != fd)
            close(got);
    }
}

const char *cli_colour(const struct cli *cli, const char *seq)
{
    return cli->colour ? seq : "";
}

void cli_io_start(struct cli *cli)
{
    fill_standard_fds();
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    cli->tty = isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
    cli->colour = cli->tty && !(no_color && *no_color);
    io.out_tty = isatty(STDOUT_FILENO);
    err_tty = cli->tty;
    if (!io.out_tty)
        setvbuf(stdout, NULL, _IOFBF, 1 << 16);
}

/* ---- stderr ---- */

static void write_err(const char *s, size_t len)
{
    struct gs_err err = {0};
    GS_IGNORE(gs_write_all(STDERR_FILENO, s, len, "stderr", &err), "there is nowhere left to complain");
}

static void erase_locked(void)
{
    if (line_shown)
        write_err(ERASE, sizeof ERASE - 1);
    line_shown = 0;
}

void cli_io_line(struct cli *cli, const char *head, const char *text)
{
    char safe[8192], line[8704];
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    cli_safe_into(text, len, safe, sizeof safe);
    int n = snprintf(line, sizeof line, "%.400s%s\n", head, safe);
    pthread_mutex_lock(&io.lock);
    if (io.out_tty)
        fflush(stdout);
    erase_locked();
    write_err(line, (size_t)n);
    pthread_mutex_unlock(&io.lock);
}

void cli_err_text(struct cli *cli, const char *text)
{
    (void)cli;
    pthread_mutex_lock(&io.lock);
    if (io.out_tty)
        fflush(stdout);
    erase_locked();
    write_err(text, strlen(text));
    pthread_mutex_unlock(&io.lock);
}

void cli_note(struct cli *cli, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    if (cli->common && cli->common->quiet)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cli_io_line(cli, "", text);
}

void cli_warn(struct cli *cli, const char *fmt, ...)
{
    char text[4096], head[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    snprintf(head, sizeof head, "%.100s%s%.100s: %swarning:%s ", cli->tool, cli->verb ? " " : "",
             cli->verb ? cli->verb->name : "", cli_colour(cli, CLI_YELLOW), cli_colour(cli, CLI_PLAIN));
    cli_io_line(cli, head, text);
}

static unsigned columns(void)
{
    struct winsize ws;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0 ? ws.ws_col : 80;
}

/* Cuts UTF-8 text so that it takes at most `cells` columns. */
static void cut(char *s, unsigned cells)
{
    size_t len = strlen(s), i = 0;
    unsigned used = 0;
    while (i < len) {
        uint32_t cp;
        size_t n = cli_utf8((unsigned char *)s + i, len - i, &cp);
        unsigned w = n ? cli_cells(cp) : 1;
        if (used + w > cells)
            break;
        used += w;
        i += n ? n : 1;
    }
    s[i] = 0;
}

void cli_progress(struct cli *cli, const char *fmt, ...)
{
    if (!cli->tty || (cli->common && cli->common->quiet) || cli_stop)
        return;
    int64_t now = gs_mono_ms();
    pthread_mutex_lock(&io.lock);
    bool due = !io.written || now - io.last_ms >= PROGRESS_MS;
    if (due) {
        io.written = true;
        io.last_ms = now;
    }
    pthread_mutex_unlock(&io.lock);
    if (!due)
        return;
    char text[1024], safe[2048], line[2200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cli_safe_into(text, strlen(text), safe, sizeof safe);
    cut(safe, columns() - 1); /* a line that fills the last column would wrap, and could not be erased */
    int n = snprintf(line, sizeof line, "\r%s\033[K", safe);
    pthread_mutex_lock(&io.lock);
    line_shown = 1;
    write_err(line, (size_t)n);
    pthread_mutex_unlock(&io.lock);
}

void cli_progress_end(struct cli *cli)
{
    pthread_mutex_lock(&io.lock);
    erase_locked();
    io.written = false; /* the next status line is shown at once */
    pthread_mutex_unlock(&io.lock);
}

/* ---- in a signal handler ---- */

void cli_io_signal_safe_say(const char *text)
{
    char line[256] = ERASE;
    size_t n = line_shown ? sizeof ERASE - 1 : 0, len = strlen(text);
    if (!err_tty || n + len > sizeof line)
        return;
    memcpy(line + n, text, len);
    line_shown = 0;
    GS_IGNORE(write(STDERR_FILENO, line, n + len) < 0, "only talk");
}

void cli_io_signal_safe_restore(void)
{
    if (prompting) {
        int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
        if (tty >= 0) {
            tcsetattr(tty, TCSAFLUSH, &prompt_termios);
            GS_IGNORE(write(tty, "\n", 1) < 0, "only the looks of the terminal");
        }
    }
    if (line_shown)
        GS_IGNORE(write(STDERR_FILENO, ERASE, sizeof ERASE - 1) < 0, "only the looks of the terminal");
}

void cli_io_prompting(const struct termios *saved)
{
    if (saved)
        prompt_termios = *saved;
    prompting = saved != NULL;
}

bool cli_io_is_prompting(void)
{
    return prompting;
}

/* ---- stdout ---- */

static void before_out(void)
{
    if (!io.out_tty)
        return;
    pthread_mutex_lock(&io.lock);
    erase_locked();
    pthread_mutex_unlock(&io.lock);
}

static GS_PRINTF(1, 0) void out_into(const char *fmt, va_list ap)
{
    struct gs_err ignored = {0};
    char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0 || gs_buf_addstr(io.into, text, &ignored))
        io.out_errno = ENOMEM;
    free(text);
}

void cli_out(struct cli *cli, const char *fmt, ...)
{
    if (io.out_errno)
        return;
    va_list ap;
    va_start(ap, fmt);
    if (io.into) {
        out_into(fmt, ap);
        va_end(ap);
        return;
    }
    before_out();
    if (vfprintf(stdout, fmt, ap) < 0)
        io.out_errno = errno ? errno : EIO;
    va_end(ap);
}

void cli_out_buf(struct cli *cli, const struct gs_buf *b)
{
    struct gs_err ignored = {0};
    if (io.out_errno || b->len == 0)
        return;
    if (io.into) {
        if (gs_buf_add(io.into, b->data, b->len, &ignored))
            io.out_errno = ENOMEM;
        return;
    }
    before_out();
    if (fwrite(b->data, 1, b->len, stdout) != b->len)
        io.out_errno = errno ? errno : EIO;
}

int cli_out_json(struct cli *cli, const struct gs_buf *b, struct gs_err *err)
{
    if (!io.out_tty) {
        cli_out_buf(cli, b);
        return 0;
    }
    gs_autobuf shown;
    gs_buf_init(&shown, SIZE_MAX / 2);
    for (size_t i = 0; i < b->len;) {
        uint32_t cp;
        size_t n = cli_utf8((const unsigned char *)b->data + i, b->len - i, &cp);
        int r;
        if (n == 0)
            r = gs_buf_addstr(&shown, "\\ufffd", err);
        else if (!cli_harmful(cp) || cp == '\n')
            r = gs_buf_add(&shown, b->data + i, n, err);
        else if (cp < 0x10000)
            r = gs_buf_addf(&shown, err, "\\u%04x", cp);
        else
            r = gs_buf_addf(&shown, err, "\\u%04x\\u%04x", 0xd7c0 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
        if (r)
            return -1;
        i += n ? n : 1;
    }
    cli_out_buf(cli, &shown);
    return 0;
}

void cli_out_into(struct cli *cli, struct gs_buf *to)
{
    (void)cli;
    io.into = to;
}

void cli_out_flush(struct cli *cli)
{
    (void)cli;
    if (fflush(stdout) && io.out_errno == 0)
        io.out_errno = errno ? errno : EIO;
}

bool cli_out_screen(const struct cli *cli, unsigned *out_rows, unsigned *out_columns)
{
    struct winsize ws;
    const char *term = getenv("TERM");
    (void)cli;
    if (!io.out_tty || !term || !*term || strcmp(term, "dumb") == 0)
        return false;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 && ws.ws_col > 0;
    *out_rows = known ? ws.ws_row : 24;
    *out_columns = known ? ws.ws_col : 80;
    return true;
}

void cli_screen_line(const char *line, unsigned columns, char *out, size_t cap)
{
    snprintf(out, cap, "%s", line);
    cut(out, columns - 1);
}

bool cli_out_ok(const struct cli *cli)
{
    return io.out_errno == 0;
}

int cli_io_finish(struct cli *cli, int rc)
{
    cli_progress_end(cli);
    if (fclose(stdout) && io.out_errno == 0)
        io.out_errno = errno ? errno : EIO;
    if (io.out_errno == 0)
        return rc;
    if (io.out_errno == EPIPE)
        return rc ? rc : 128 + SIGPIPE; /* the reader had enough: said to the shell, not to the user */
    char head[300], text[200], why[128];
    snprintf(head, sizeof head, "%s%.100s%s%.100s:%s ", cli_colour(cli, CLI_RED), cli->tool, cli->verb ? " " : "",
             cli->verb ? cli->verb->name : "", cli_colour(cli, CLI_PLAIN));
    snprintf(text, sizeof text, "writing the result to stdout: %s [%s]", strerror_r(io.out_errno, why, sizeof why),
             gs_code_name(GS_E_IO));
    cli_io_line(cli, head, text);
    cli_io_line(cli, "  what to do: ", "look at where stdout leads, then run the command again");
    return rc ? rc : 1;
}
