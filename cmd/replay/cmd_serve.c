/* replay serve: the bundle poses as the source GitLab, so that the target's own direct transfer pulls from it. */
#include "cmd/replay/books_run.h"
#include "cmd/replay/serve_drive.h"
#include "cmd/replay/serve_show.h"
#include "cmd/replay/verbs.h"
#include "libcommon/clock.h"
#include "libserve/server.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 200
#define DRAW_MS 1000
#define GRACE_MS 10000
#define PEM_MAX ((size_t)1 << 20)

struct opts {
    struct cli_common c;
    struct cli_trust trust;
    const char *listen, *cert, *key, *host_name, *token_file, *version;
    const char *url, *into, *cacert;
    unsigned batch, connections, rate, request_seconds;
    bool allow_http, drive, no_reconcile;
};

static const struct cli_opt opts[] = {
    {.name = "listen", .type = CLI_STR, .offset = offsetof(struct opts, listen), .arg = "ADDR:PORT", .required = true,
     .help = "where to listen: 10.0.0.5:443, [::1]:8443, :443 for every address; port 0 takes a free one"},
    {.name = "tls-cert", .type = CLI_STR, .offset = offsetof(struct opts, cert), .arg = "PEM",
     .help = "certificate for HTTPS, with the chain up to the CA that the target trusts"},
    {.name = "tls-key", .type = CLI_STR, .offset = offsetof(struct opts, key), .arg = "PEM", .help = "its private key"},
    {.name = "allow-http", .type = CLI_FLAG, .offset = offsetof(struct opts, allow_http),
     .help = "without a certificate: also where other machines can ask"},
    {.name = "host-name", .type = CLI_STR, .offset = offsetof(struct opts, host_name), .arg = "SOURCE-HOST",
     .help = "the name under which the target asks (the source's own, as the bundle tells it)"},
    {.name = "token-file", .type = CLI_STR, .offset = offsetof(struct opts, token_file), .arg = "FILE",
     .help = "file whose first line is the token that the target has to show (BUNDLE.token); made when it is not there"},
    {.name = "drive", .type = CLI_FLAG, .offset = offsetof(struct opts, drive),
     .help = "start the import on the target, follow it to its end, list what failed, reconcile, and end; the target's token is in GITLAB_TOKEN"},
    {.name = "url", .type = CLI_STR, .offset = offsetof(struct opts, url), .arg = "URL", .help = "with --drive: the target"},
    {.name = "into", .type = CLI_STR, .offset = offsetof(struct opts, into), .arg = "GROUP",
     .help = "with --drive: full path of the target's group to import below (top level)"},
    {.name = "cacert", .type = CLI_STR, .offset = offsetof(struct opts, cacert), .arg = "PEM", .help = "with --drive: the CA of the target"},
    {.name = "no-reconcile", .type = CLI_FLAG, .offset = offsetof(struct opts, no_reconcile),
     .help = "with --drive: do not read back afterwards what was imported"},
    {.name = "source-version", .type = CLI_STR, .offset = offsetof(struct opts, version), .arg = "VERSION",
     .help = "pose as this version of GitLab (17.8.1-ee) instead of the captured one"},
    {.name = "batch-size", .type = CLI_UINT, .offset = offsetof(struct opts, batch), .arg = "N", .min = 1, .hidden = true,
     .help = "records in a batch, where batches are asked for; 1000 unless told otherwise"},
    {.name = "connections", .type = CLI_UINT, .offset = offsetof(struct opts, connections), .arg = "N", .min = 1, .max = 1000, .hidden = true,
     .help = "connections at once, 64 unless told otherwise"},
    {.name = "rate", .type = CLI_UINT, .offset = offsetof(struct opts, rate), .arg = "N", .min = 1, .hidden = true,
     .help = "requests per second, 200 unless told otherwise"},
    {.name = "request-seconds", .type = CLI_UINT, .offset = offsetof(struct opts, request_seconds), .arg = "N", .min = 1, .max = 3600, .hidden = true,
     .help = "how long a request may take to arrive, 20 unless told otherwise"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_trust, offsetof(struct opts, trust)}, {0}};

struct serve {
    struct cli *cli;
    const struct opts *o;
    char host[256];        /* to listen on */
    unsigned port;
    int fd;                /* of the address, until the server has it; -1: none */
    struct bundle *bundle;
    struct content *content;
    struct source *source;
    struct gs_secret token;
    struct gs_buf cert, key;
    char *token_file, *url, *name;
    bool made_token;
};

/* "10.0.0.5:443", "[::1]:8443", ":443" */
static int parse_listen(struct serve *s, struct gs_err *err)
{
    const char *text = s->o->listen, *colon = strrchr(text, ':'), *from = text;
    char *end = NULL;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 99999;
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (len > 1 && text[0] == '[' && text[len - 1] == ']') {
        from++;
        len -= 2;
    } else if (colon && memchr(text, ':', len)) {
        port = 99999; /* an address of IPv6 without brackets */
    }
    if (!colon || !end || *end || port > 65535 || len >= sizeof s->host)
        return gs_fail(err, GS_E_USAGE, "--listen: '%.100s' is no ADDR:PORT, such as 10.0.0.5:443 or [::1]:8443", text);
    snprintf(s->host, sizeof s->host, "%.*s", (int)len, from);
    s->port = (unsigned)port;
    return 0;
}

static bool loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 || strcmp(host, "localhost") == 0;
}

static int check(struct serve *s, struct gs_err *err)
{
    const struct opts *o = s->o;
    if (parse_listen(s, err))
        return -1;
    if (!o->cert != !o->key)
        return gs_fail(err, GS_E_USAGE, "--tls-cert and --tls-key belong together");
    if (o->drive ? !o->url : o->url || o->into || o->cacert || o->no_reconcile)
        return gs_fail(err, GS_E_USAGE, "--drive needs --url, and --url, --into, --cacert and --no-reconcile are for --drive");
    if (!o->cert && !o->allow_http && !loopback(s->host))
        return gs_fail(err, GS_E_HTTP_PLAIN, "without --tls-cert the token would cross the network in the open");
    return 0;
}

/* The token is in a file of the user's alone, never on the screen. */
static int load_token(struct serve *s, const char *bundle, struct gs_err *err)
{
    s->token_file = s->o->token_file ? strdup(s->o->token_file) : gs_asprintf("%s.token", bundle);
    if (!s->token_file)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (access(s->token_file, F_OK)) {
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        char text[48] = "gsnap-";
        for (size_t i = 6; i < 46; i++)
            text[i] = digits[randombytes_uniform(sizeof digits - 1)];
        text[46] = '\n';
        int r = gs_write_file(s->token_file, text, 47, 0600, false, err);
        sodium_memzero(text, sizeof text);
        if (r)
            return gs_wrap(err, "--token-file");
        s->made_token = true;
    }
    if (gs_secret_from_file(&s->token, s->token_file, err))
        return gs_wrap(err, "--token-file");
    return s->token.len >= 20 && s->token.len <= 255
               ? 0
               : gs_fail(err, GS_E_USAGE, "the token in '%s' has %zu characters: between 20 and 255 are wanted", s->token_file, s->token.len);
}

static int make_url(struct serve *s, struct gs_err *err)
{
    const char *known = gs_json_str(yyjson_obj_get(bundle_manifest(s->bundle), "source"), "host");
    char host[256];
    if (s->o->host_name) {
        snprintf(host, sizeof host, "%s", s->o->host_name);
    } else if (known && *known) { /* the source's port is not ours */
        snprintf(host, sizeof host, "%s", known);
        host[*host == '[' && strchr(host, ']') ? strcspn(host, "]") + 1 : strcspn(host, ":")] = '\0';
    } else {
        bool v6 = strchr(s->host, ':') != NULL;
        snprintf(host, sizeof host, "%s%s%s", v6 ? "[" : "", *s->host ? s->host : "localhost", v6 ? "]" : "");
    }
    if (!*host || strpbrk(host, "/@ \t?#\"\\"))
        return gs_fail(err, GS_E_USAGE, "--host-name: '%.100s' is no name of a host", host);
    s->name = strdup(host);
    s->url = s->port == (s->o->cert ? 443u : 80u) ? gs_asprintf("%s://%s", s->o->cert ? "https" : "http", host)
                                               : gs_asprintf("%s://%s:%u", s->o->cert ? "https" : "http", host, s->port);
    return s->url && s->name ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a URL");
}

static void verifying(void *cookie, uint64_t done, uint64_t total)
{
    cli_progress(cookie, "checking the bundle: %s of %s", cli_bytes(done), cli_bytes(total));
}

static int open_all(struct serve *s, const struct sign_trust *trust, const char *path, struct gs_err *err)
{
    struct bundle_verify_result v;
    struct bundle_verify_opts vo = {.stop = &cli_stop, .progress = verifying, .cookie = s->cli};
    gs_buf_init(&s->cert, PEM_MAX);
    gs_buf_init(&s->key, PEM_MAX);
    if (cli_bundle_open(s->cli, &s->o->trust, trust, path, &s->bundle, err))
        return -1;
    if (bundle_verify_with(s->bundle, &vo, &v, err))
        return cli_wrap_file(err, path);
    cli_progress_end(s->cli);
    if (s->o->cert && (gs_read_file(s->o->cert, PEM_MAX, &s->cert, err) || gs_read_file(s->o->key, PEM_MAX, &s->key, err)))
        return -1;
    /* nobody can connect yet: that comes when everything is ready */
    if (server_bind(s->host, s->port, &s->fd, &s->port, err) || make_url(s, err) || load_token(s, path, err) || content_load(s->bundle, &s->content, err))
        return -1;
    struct source_opts so = {.version = s->o->version, .url = s->url, .batch = s->o->batch};
    return source_new(s->content, &so, &s->source, err);
}

static void close_all(struct serve *s)
{
    source_free(s->source);
    content_free(s->content);
    bundle_close(s->bundle);
    if (s->fd >= 0)
        close(s->fd);
    gs_secret_release(&s->token);
    if (s->key.data)
        sodium_memzero(s->key.data, s->key.len);
    gs_buf_release(&s->cert);
    gs_buf_release(&s->key);
    free(s->token_file);
    free(s->url);
    free(s->name);
}

/* ---- while it runs ---- */

struct screen {
    unsigned drawn, rows, columns;
    int64_t drawn_ms;
};

/* The table in place of the one before. */
static void draw(struct cli *cli, const struct serve_plan *p, struct screen *sc)
{
    gs_autobuf text;
    char raw[1024], line[1024];
    int64_t now = gs_mono_ms();
    gs_buf_init(&text, (size_t)64 << 20);
    if (now - sc->drawn_ms < DRAW_MS || !cli_out_screen(cli, &sc->rows, &sc->columns))
        return;
    sc->drawn_ms = now;
    cli_out_into(cli, &text);
    serve_show_table(cli, p, sc->rows);
    cli_out_into(cli, NULL);
    if (sc->drawn)
        cli_out(cli, "\033[%uA", sc->drawn);
    cli_out(cli, "\r\033[J");
    sc->drawn = 0;
    for (const char *s = gs_buf_str(&text); *s && sc->drawn + 1 < sc->rows; sc->drawn++) {
        size_t len = strcspn(s, "\n");
        snprintf(raw, sizeof raw, "%.*s", (int)(len < sizeof raw ? len : sizeof raw - 1), s);
        cli_screen_line(raw, sc->columns, line, sizeof line);
        cli_out(cli, "%s\n", line);
        s += len + (s[len] == '\n');
    }
    cli_out_flush(cli);
}

static int watch(struct serve *s, struct server *server, const struct serve_plan *p, struct drive *d, struct gs_err *err)
{
    bool over = false;
    struct screen sc = {.drawn = 0};
    bool screen = !s->cli->common->json && cli_out_screen(s->cli, &sc.rows, &sc.columns);
    while (!cli_stop && !over && cli_out_ok(s->cli)) {
        server_tick(server);
        if (d && drive_step(d, &over, err))
            return -1;
        if (serve_show_events(s->cli, p, screen, err))
            return -1;
        if (screen)
            draw(s->cli, p, &sc);
        if (cli_asked) {
            cli_asked = 0;
            gs_autobuf text;
            gs_buf_init(&text, (size_t)64 << 20);
            cli_out_into(s->cli, &text);
            serve_show_table(s->cli, p, 0);
            cli_out_into(s->cli, NULL);
            cli_err_text(s->cli, gs_buf_str(&text));
            sc.drawn = 0;
        }
        gs_sleep_ms(TICK_MS);
    }
    return 0;
}

/* What came of the import, read back from the target. *out_exit: 3 when the books do not balance. */
static int reconcile(struct serve *s, struct books *b, const struct drive *d, int *out_exit, struct gs_err *err)
{
    if (!s->cli->common->json)
        cli_out(s->cli, "\n");
    if (books_run(b, drive_client(d), out_exit, err) == 0)
        return 0;
    if (err->code != GS_E_GROUP_NOT_FOUND || drive_finished(d))
        return -1;
    cli_note(s->cli, "there is nothing to reconcile: the import has not made the group");
    *err = (struct gs_err){0};
    *out_exit = 3;
    return 0;
}

static int serve(struct serve *s, struct books *b, const char *path, uint64_t *out_missing, bool *out_good, int *out_exit, struct gs_err *err)
{
    struct serve_plan p = {.c = s->content, .source = s->source, .bundle = path, .url = s->url, .host = s->name, .token_file = s->token_file,
                           .made_token = s->made_token, .tls = s->o->cert != NULL};
    struct server_opts so = {.fd = s->fd, .cert = s->o->cert ? gs_buf_str(&s->cert) : NULL,
                             .key = s->o->key ? gs_buf_str(&s->key) : NULL, .token = &s->token, .connections = s->o->connections,
                             .rate = s->o->rate, .request_ms = s->o->request_seconds * 1000, .log = &s->cli->log};
    struct server *server = NULL;
    if (serve_show_plan(s->cli, &p, err) || server_start(s->source, &so, &server, err))
        return -1;
    s->fd = -1;
    GS_AUTO(drive) d = NULL;
    struct drive_opts dro = {.url = s->o->url, .cacert = s->o->cacert, .into = s->o->into, .allow_http = s->o->allow_http, .source_url = s->url,
                             .source_path = s->content->groups[0].full_path, .slug = content_slug(s->content, 0), .source_token = &s->token};
    int r = serve_show_listening(s->cli, &p, s->port, err) || (s->o->drive && drive_start(s->cli, &dro, &d, err)) || watch(s, server, &p, d, err);
    server_stop(server, GRACE_MS);
    if (!r && d && !cli_stop)
        r = drive_end(d, out_good, err);
    if (r || serve_show_events(s->cli, &p, false, err) || serve_show_end(s->cli, &p, out_missing, err))
        return -1;
    if (d && cli_stop) { /* before the end of the import was seen */
        cli_warn(s->cli, "the import was not followed to its end: it goes on as far as it has everything, and '%s reconcile --importer transfer' "
                 "tells later what came of it", s->cli->tool);
        *out_good = false;
    }
    return b && d && !cli_stop ? reconcile(s, b, d, out_exit, err) : 0;
}

/* With --drive: takes the folder for what is read back before anything is written, and then serves. */
static int run_all(struct serve *s, const char *path, int *out_exit, struct gs_err *err)
{
    const struct opts *o = s->o;
    struct books b;
    struct cli_remote remote = {.jobs = 0};
    struct session_args args = {.into = o->into, .on_existing = 1};
    struct books_opts bo = {.remote = &remote, .args = &args, .file = path, .bundle = s->bundle,
                            .native = {.by = NATIVE_TRANSFER, .source_version = source_version(s->source)}};
    bool books = o->drive && !o->no_reconcile, good = true;
    uint64_t missing = 0;
    int exit_code = 0;
    int r = (books && books_open(&b, s->cli, &bo, err)) || serve(s, books ? &b : NULL, path, &missing, &good, &exit_code, err);
    if (books)
        books_close(&b);
    *out_exit = missing || !good ? 3 : exit_code;
    return r;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    struct serve s = {.cli = cli, .o = o, .fd = -1};
    int code = 0;
    int r = check(&s, &err) || cli_trust_load(&o->trust, true, &trust, &err) || open_all(&s, &trust, argv[0], &err) ||
            run_all(&s, argv[0], &code, &err);
    close_all(&s);
    sign_trust_release(&trust);
    return r ? cli_error(cli, &err) : code;
}

const struct cli_verb replay_verb_serve = {
    .name = "serve",
    .args = "BUNDLE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Pose as the source GitLab, so that the target's own importer pulls the bundle",
    .text =
        "GitLab's migration by direct transfer sets what the API cannot: authors, times, events, numbers. It wants to read from a\n"
        "source over the network, which on this side of the gap is not there. 'serve' answers in its place, from the bundle: version,\n"
        "groups, members, badges, users over REST and GraphQL, and the relation exports with avatar and uploads. It answers nothing else,\n"
        "and changes nothing. The bundle is verified, every byte of it, before the port is opened.\n\n"
        "It prints what an administrator of the target has to switch on and the call that starts the import, and then shows what the\n"
        "importer fetches, by group and relation: in place on a terminal, elsewhere a line for each file, with --json an object for each\n"
        "request. It serves until Ctrl-C or SIGTERM, then lets files that are on their way go out, and names what was never fetched: the\n"
        "exit code is 0 when everything that an importer takes was, else 3. Nothing is kept between two runs, so that it can be stopped\n"
        "and started again during an import, whose retries then go on. SIGUSR1 prints the table.\n\n"
        "With --drive it makes that call itself, at --url with the token in GITLAB_TOKEN, follows the import to its end, lists what the\n"
        "target says failed, and then reads everything back as 'reconcile --importer transfer' does; the exit code is 3 as well when\n"
        "something failed or the books do not balance. What this importer is known not to carry is named as lost.\n\n"
        "The target must ask for the name of the source's own host (--host-name), by DNS or /etc/hosts, since it keeps for whom it made\n"
        "placeholder users under that name. HTTPS needs --tls-cert and --tls-key of a CA that the target trusts; plain HTTP is served on a\n"
        "loopback address only, unless --allow-http is given. Whoever asks must show the token of --token-file, as a Bearer or\n"
        "PRIVATE-TOKEN header or as the parameter private_token; it is never shown or logged.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
