#include "secret.h"

#include "cleanup.h"
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>

#define MAX_SECRET 65536

int gs_secret_init(struct gs_err *err)
{
    if (sodium_init() < 0)
        return gs_fail(err, GS_E_INTERNAL, "libsodium could not be started");
    return 0;
}

int gs_secret_set(struct gs_secret *s, const char *data, size_t len, struct gs_err *err)
{
    char *p = sodium_malloc(len + 1);
    if (!p)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret");
    memcpy(p, data, len);
    p[len] = 0;
    gs_secret_release(s);
    s->data = p;
    s->len = len;
    return 0;
}

void gs_secret_release(struct gs_secret *s)
{
    sodium_free(s->data); /* wipes; NULL is fine */
    s->data = NULL;
    s->len = 0;
}

/* Reads up to the first line end of `fd`. `what` names the place for messages. */
static int first_line(struct gs_secret *s, int fd, const char *what, struct gs_err *err)
{
    char *tmp = sodium_malloc(MAX_SECRET);
    if (!tmp)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret");
    size_t n = 0;
    int r = -1;
    for (;;) {
        ssize_t k = read(fd, tmp + n, MAX_SECRET - n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0) {
            gs_fail_sys(err, GS_E_IO, errno, "reading %s", what);
            break;
        }
        n += (size_t)k;
        char *nl = memchr(tmp, '\n', n);
        if (k == 0 || nl) {
            size_t len = nl ? (size_t)(nl - tmp) : n;
            if (len > 0 && tmp[len - 1] == '\r')
                len--;
            if (len == 0)
                gs_fail(err, GS_E_USAGE, "%s holds nothing in its first line", what);
            else if (memchr(tmp, 0, len))
                gs_fail(err, GS_E_USAGE, "%s holds a NUL byte", what);
            else
                r = gs_secret_set(s, tmp, len, err);
            break;
        }
        if (n == MAX_SECRET) {
            gs_fail(err, GS_E_USAGE, "the first line of %s is too long for a secret", what);
            break;
        }
    }
    sodium_free(tmp);
    return r;
}

int gs_secret_from_file(struct gs_secret *s, const char *path, struct gs_err *err)
{
    char what[256];
    snprintf(what, sizeof what, "'%.200s'", path);
    gs_autofd int fd = -1;
    if (gs_open_read(path, &fd, err))
        return -1;
    return first_line(s, fd, what, err);
}

int gs_secret_read_file(struct gs_secret *s, const char *path, size_t max, struct gs_err *err)
{
    gs_autofd int fd = -1;
    if (gs_open_read(path, &fd, err))
        return -1;
    char *tmp = sodium_malloc(max + 1);
    if (!tmp)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret");
    size_t n = 0;
    ssize_t k = 1;
    while (n <= max && k != 0) {
        k = read(fd, tmp + n, max + 1 - n);
        if (k < 0 && errno != EINTR)
            break;
        n += k > 0 ? (size_t)k : 0;
    }
    int r = k < 0     ? gs_fail_sys(err, GS_E_IO, errno, "reading '%s'", path)
            : n > max ? gs_fail(err, GS_E_LIMIT, "'%s' is larger than %zu bytes", path, max)
                      : gs_secret_set(s, tmp, n, err);
    sodium_free(tmp);
    return r;
}

int gs_secret_from_command(struct gs_secret *s, const char *command, struct gs_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return gs_fail_sys(err, GS_E_IO, errno, "starting the token command");
    pid_t pid = fork();
    if (pid < 0) {
        int e = errno;
        close(fds[0]);
        close(fds[1]);
        return gs_fail_sys(err, GS_E_IO, e, "starting the token command");
    }
    if (pid == 0) {
        if (dup2(fds[1], STDOUT_FILENO) < 0)
            _exit(127);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    int r = first_line(s, fds[0], "the output of the command", err);
    close(fds[0]);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    /* a helper that is cut off behind its first line by SIGPIPE has still done its work */
    bool ok = (WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    if (!ok) {
        gs_secret_release(s);
        gs_err_clear(err);
        return gs_fail(err, GS_E_NO_TOKEN, "the command that should print the secret failed with status %d",
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    return r;
}

int gs_secret_from_env(struct gs_secret *s, const char *name, int *out_found, struct gs_err *err)
{
    char *v = getenv(name);
    *out_found = v && *v;
    if (!*out_found)
        return 0;
    int r = gs_secret_set(s, v, strlen(v), err);
    sodium_memzero(v, strlen(v)); /* also what /proc/PID/environ shows */
    unsetenv(name);
    return r;
}

int gs_secret_prompt(struct gs_secret *s, const char *prompt, struct gs_err *err)
{
    gs_autofd int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios old, raw;
    if (tty < 0 || tcgetattr(tty, &old))
        return gs_fail(err, GS_E_KEY_PASSPHRASE, "no terminal to ask for a passphrase");
    raw = old;
    raw.c_lflag &= ~(tcflag_t)ECHO;
    if (write(tty, prompt, strlen(prompt)) < 0 || tcsetattr(tty, TCSAFLUSH, &raw))
        return gs_fail(err, GS_E_KEY_PASSPHRASE, "the terminal cannot hide a passphrase");
    int r = first_line(s, tty, "the terminal", err);
    tcsetattr(tty, TCSAFLUSH, &old);
    GS_IGNORE(write(tty, "\n", 1) < 0, "only the looks of the terminal");
    return r;
}
