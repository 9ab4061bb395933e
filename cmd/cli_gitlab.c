/* Options of verbs that talk to a GitLab, and the client made from them. */
#include "cmd/cli_priv.h"

#include <sys/stat.h>

#define REMOTE_ROWS(need_url)                                                                                          \
    {.name = "url", .type = CLI_STR, .offset = offsetof(struct cli_remote, url), .arg = "URL", .required = need_url,   \
     .help = "base URL of the GitLab, such as https://gitlab.example.com"},                                            \
    {.name = "token-file", .type = CLI_STR, .offset = offsetof(struct cli_remote, token_file), .arg = "FILE",          \
     .help = "file whose first line is the access token (otherwise GITLAB_TOKEN)"},                                    \
    {.name = "token-command", .type = CLI_STR, .offset = offsetof(struct cli_remote, token_command), .arg = "COMMAND", \
     .help = "shell command that prints the access token"},                                                            \
    {.name = "cacert", .type = CLI_STR, .offset = offsetof(struct cli_remote, cacert), .arg = "FILE|DIR",              \
     .help = "certificates of a private CA (PEM), in addition to the system's"},                                       \
    {.name = "allow-http", .type = CLI_FLAG, .offset = offsetof(struct cli_remote, allow_http),                        \
     .help = "allow http:// to another host than this one: token and data go unprotected"},                            \
    {.name = "jobs", .letter = 'j', .type = CLI_UINT, .offset = offsetof(struct cli_remote, jobs), .arg = "N",         \
     .min = 1, .max = 256, .help = "requests on the wire at once (8)"},                                                \
    {.name = "max-wait", .type = CLI_UINT, .offset = offsetof(struct cli_remote, max_wait), .arg = "SECONDS", .min = 1,     \
     .max = 604800, .help = "how long a server that fails is waited for, for one request (about two minutes)"},          \
    {.name = "rate", .type = CLI_UINT, .offset = offsetof(struct cli_remote, rate), .arg = "N", .min = 1,              \
     .max = 1000000, .help = "at most N requests a minute, below the limits that the server announces"},               \
    {0},

const struct cli_opt cli_opts_remote[] = {REMOTE_ROWS(true)};
const struct cli_opt cli_opts_remote_known[] = {REMOTE_ROWS(false)};

static void warn_readable(struct cli *cli, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        cli_warn(cli, "others may read the token in '%s': chmod 600 it", path);
}

static int load_token(struct cli *cli, const struct cli_remote *r, struct gs_secret *token, int *out_found,
                      struct gs_err *err)
{
    if (r->token_file && r->token_command)
        return gs_fail(err, GS_E_USAGE, "--token-file and --token-command exclude each other");
    /* taken out of the environment in any case, so that no child process gets it */
    if (gs_secret_from_env(token, "GITLAB_TOKEN", out_found, err))
        return -1;
    if (!r->token_file && !r->token_command)
        return 0;
    gs_secret_release(token);
    *out_found = 1;
    if (r->token_command)
        return gs_secret_from_command(token, r->token_command, err);
    warn_readable(cli, r->token_file);
    return gs_secret_from_file(token, r->token_file, err);
}

int cli_client(struct cli *cli, const struct cli_remote *r, bool need_token, struct gl_client **out, struct gs_err *err)
{
    struct gs_secret token = {0};
    int found = 0;
    if (!r->url)
        return gs_fail(err, GS_E_USAGE, "--url URL is needed");
    if (load_token(cli, r, &token, &found, err)) {
        gs_secret_release(&token);
        return -1;
    }
    if (need_token && !found)
        return gs_fail(err, GS_E_NO_TOKEN, "no access token for '%s'", r->url);
    struct gl_client_opts o = {
        .url = r->url,
        .token = found ? &token : NULL,
        .cacert = r->cacert,
        .allow_http = r->allow_http,
        .jobs = r->jobs,
        .rate_per_min = r->rate,
        .max_tries = r->max_wait ? 100000 : 0, /* then the time alone decides */
        .max_retry_ms = (int64_t)r->max_wait * 1000,
        .log = &cli->log,
        .stop = &cli_stop,
    };
    int rc = gl_client_new(&o, out, err);
    gs_secret_release(&token);
    return rc;
}
