/*
 * http_driver: runs the GitLab client by command line, for tests/e2e/test_http_*.py.
 *
 *   http_driver URL [OPTION=VALUE...] COMMAND...
 *
 * Commands, all submitted before the first is waited for, unless `wait` stands between them:
 *   get:PATH  post:PATH[ BODY]  put:PATH[ BODY]  delete:PATH   with the flags set by then
 *   list:PATH  seqlist:PATH  nodes:FULLPATH (group.labels)  gql:DOCUMENT  form:PATH  probe  wait
 * Options: token cacert jobs rate tries deadline stall retry http stop (ms from now) seed, and for the commands behind them:
 *   n (how often), idempotent, max, any, sink, sudo, chain (submit one more request in each callback, so often), think
 * (ms) One JSON object per answer on stdout; the last line holds the counters.
 */
#include "libcommon/clock.h"
#include "libgitlab/rest.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

struct flags {
    long n, max, chain, think;
    bool idempotent, any, sink;
    const char *sudo;
};

static struct flags flags = {.n = 1};
static struct gl_client *client;
static volatile int stop_flag;
static unsigned done_count;
static int64_t next_id;
static bool in_order;
static uint64_t sunk;
static unsigned restarts;
static const struct gl_part part = {
    .name = "avatar", .filename = "a.png", .content_type = "image/png", .data = "PNG!", .len = 4};

static void print_text(const char *key, const char *s, size_t n)
{
    struct gs_err e = {0};
    gs_autobuf b;
    gs_buf_init(&b, 1 << 20);
    if (gs_json_quote(s, n, &b, &e))
        printf(",\"%s\":null", key);
    else
        printf(",\"%s\":%s", key, gs_buf_str(&b));
}

static void print_err(const struct gs_err *e)
{
    static const char *const scopes[] = {"fatal", "item", "retry"};
    printf(",\"code\":\"%s\",\"scope\":\"%s\",\"http\":%d", gs_code_name(e->code), scopes[e->scope], e->http);
    print_text("text", e->text, strlen(e->text));
}

static int submit(enum gl_method m, const char *spec, int chain, struct gs_err *err);

struct job {
    int chain;
    char *spec;
    enum gl_method method;
};

static void on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    static const char *const outcomes[] = {"answered", "not-sent", "unknown"};
    struct job *j = cookie;
    printf("{\"method\":\"%s\"", gl_method_name(req->method));
    print_text("path", req->path, strlen(req->path));
    printf(",\"outcome\":\"%s\",\"status\":%d,\"tries\":%u,\"waited_ms\":%" PRId64 ",\"len\":%zu,\"total\":%" PRId64
           ",\"sunk\":%" PRIu64 ",\"restarts\":%u",
           outcomes[rsp->outcome], rsp->status, rsp->tries, rsp->waited_ms, rsp->body.len, rsp->total, sunk, restarts);
    print_text("request_id", rsp->request_id, strlen(rsp->request_id));
    print_text("body", gs_buf_str(&rsp->body), rsp->body.len < 200 ? rsp->body.len : 200);
    print_err(&rsp->err);
    printf("}\n");
    if (flags.think)
        gs_sleep_ms(flags.think);
    done_count++;
    struct gs_err e = {0};
    if (gl_poll(client, 0, &e) == 0)
        printf("{\"fault\":\"the engine ran in a callback\"}\n");
    struct gs_err e2 = {0};
    if (j->chain > 0 && submit(j->method, j->spec, j->chain - 1, &e2))
        printf("{\"fault\":\"no submit in a callback\"}\n");
    free(j->spec);
    free(j);
}

static void on_drop(void *cookie)
{
    struct job *j = cookie;
    free(j->spec);
    free(j);
}

static int on_sink(void *cookie, const void *data, size_t len, struct gs_err *err)
{
    sunk += len;
    return 0;
}

static int on_restart(void *cookie, struct gs_err *err)
{
    sunk = 0;
    restarts++;
    return 0;
}

/* "PATH BODY" or "PATH" */
static int submit(enum gl_method m, const char *spec, int chain, struct gs_err *err)
{
    size_t n = strcspn(spec, " ");
    struct gl_request *r = gl_request_new(m, "%.*s", (int)n, spec);
    struct job *j = calloc(1, sizeof *j);
    if (!r || !j)
        return gs_fail(err, GS_E_NOMEM, "no memory");
    j->chain = chain;
    j->spec = strdup(spec);
    j->method = m;
    if (spec[n]) {
        r->body = strdup(spec + n + 1);
        r->body_len = strlen(r->body);
    }
    r->idempotent = flags.idempotent;
    r->max_body = (size_t)flags.max;
    r->accept_type = flags.any ? "any" : NULL;
    r->sudo = flags.sudo ? strdup(flags.sudo) : NULL;
    if (flags.sink) {
        r->sink = on_sink;
        r->sink_restart = on_restart;
    }
    r->done = on_answer;
    r->drop = on_drop;
    r->cookie = j;
    if (gl_submit(client, r, err)) {
        on_drop(j);
        return -1;
    }
    return 0;
}

static int on_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach(array, i, max, v)
    {
        int64_t id = -1;
        gs_json_i64(v, "id", &id);
        in_order &= id == next_id;
        next_id++;
    }
    if (flags.think)
        gs_sleep_ms(flags.think);
    if (flags.max && next_id > flags.max)
        return gs_fail(err, GS_E_RECORD, "the caller has enough");
    return 0;
}

static void on_list(void *cookie, const struct gl_pages *p, const struct gs_err *err)
{
    printf("{\"list\":%" PRIu64 ",\"records\":%" PRIu64 ",\"announced\":%" PRId64
           ",\"in_order\":%s,\"retries\":%" PRIu64,
           p->pages, p->records, p->announced, in_order ? "true" : "false", p->retries);
    print_err(err);
    printf("}\n");
    done_count++;
}

static const char *value(const char *arg, const char *name, char sep)
{
    size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 && arg[n] == sep ? arg + n + 1 : NULL;
}

static int wait_all(struct gs_err *err)
{
    while (gl_pending(client) > 0)
        if (gl_poll(client, 500, err))
            return -1;
    return 0;
}

static void *stopper(void *arg)
{
    gs_sleep_ms(*(const long *)arg);
    stop_flag = 1;
    return NULL;
}

static int graphql(const char *document, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    struct gs_err e = {0};
    int r = gl_graphql(client, document, NULL, &doc, &data, &unknown, &e);
    printf("{\"gql\":%d,\"unknown_field\":%s", r, unknown ? "true" : "false");
    print_err(&e);
    printf("}\n");
    return 0;
}

static int probe(bool read_only)
{
    struct gl_instance i;
    struct gs_err e = {0};
    int r = gl_instance_probe(client, read_only, &i, &e);
    printf("{\"probe\":%d,\"version\":\"%s\",\"major\":%d,\"minor\":%d,\"enterprise\":%d,\"user_id\":%" PRId64
           ",\"username\":\"%s\",\"is_admin\":%d,\"api\":%d,\"read_api\":%d,\"sudo\":%d,\"expires\":\"%s\",\"offset\":"
           "%" PRId64,
           r, i.version, i.major, i.minor, i.enterprise, i.user_id, i.username, i.is_admin, i.scope_api,
           i.scope_read_api, i.scope_sudo, i.token_expires_at, i.clock_offset_ms);
    print_err(&e);
    printf("}\n");
    return 0;
}

static int form(const char *path, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_PUT, "%s", path);
    struct gl_response rsp;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory");
    r->parts = &part;
    r->n_parts = 1;
    struct gs_err e = {0};
    int n = gl_perform(client, r, &rsp, &e);
    printf("{\"form\":%d,\"status\":%d", n, rsp.status);
    print_err(&e);
    printf("}\n");
    gl_response_release(&rsp);
    return 0;
}

static int command(const char *a, struct gs_err *err)
{
    static const char *const verbs[] = {"get", "post", "put", "delete", "head"};
    const char *v;
    for (size_t i = 0; i < GS_COUNT(verbs); i++)
        if ((v = value(a, verbs[i], ':'))) {
            for (long k = 0; k < flags.n; k++)
                if (submit((enum gl_method)i, v, (int)flags.chain, err))
                    return -1;
            return 0;
        }
    next_id = 1;
    in_order = true;
    if ((v = value(a, "list", ':')))
        return gl_list(client, v, on_page, on_list, NULL, err);
    if ((v = value(a, "seqlist", ':')))
        return gl_list_with(client, v, &(struct gl_list_opts){.sequential = true}, on_page, on_list, NULL, err);
    if ((v = value(a, "nodes", ':')))
        return gl_graphql_list(client,
                               "query($fullPath: ID!, $after: String) { group(fullPath: $fullPath) { labels(first: 2, "
                               "after: $after) { nodes { id title } pageInfo { hasNextPage endCursor } } } }",
                               v, "group.labels", on_page, on_list, NULL, err);
    if ((v = value(a, "gql", ':')))
        return graphql(v, err);
    if ((v = value(a, "form", ':')))
        return form(v, err);
    if (strcmp(a, "probe") == 0 || strcmp(a, "probe-read") == 0)
        return probe(a[5] != 0);
    if (strcmp(a, "wait") == 0)
        return wait_all(err);
    if (strcmp(a, "leave") == 0)
        return 0;
    return gs_fail(err, GS_E_USAGE, "unknown command '%s'", a);
}

static bool set_flag(const char *a)
{
    const char *v;
    if ((v = value(a, "n", '=')))
        flags.n = strtol(v, NULL, 10);
    else if ((v = value(a, "max", '=')))
        flags.max = strtol(v, NULL, 10);
    else if ((v = value(a, "chain", '=')))
        flags.chain = strtol(v, NULL, 10);
    else if ((v = value(a, "think", '=')))
        flags.think = strtol(v, NULL, 10);
    else if ((v = value(a, "idempotent", '=')))
        flags.idempotent = *v == '1';
    else if ((v = value(a, "any", '=')))
        flags.any = *v == '1';
    else if ((v = value(a, "sink", '=')))
        flags.sink = *v == '1';
    else if ((v = value(a, "sudo", '=')))
        flags.sudo = v;
    else
        return false;
    return true;
}

static int set_option(struct gl_client_opts *o, struct gs_secret *token, long *stop_ms, const char *a,
                      struct gs_err *err)
{
    const char *v;
    if ((v = value(a, "token", '=')))
        return gs_secret_set(token, v, strlen(v), err);
    if ((v = value(a, "cacert", '=')))
        o->cacert = v;
    else if ((v = value(a, "jobs", '=')))
        o->jobs = (unsigned)strtoul(v, NULL, 10);
    else if ((v = value(a, "rate", '=')))
        o->rate_per_min = (unsigned)strtoul(v, NULL, 10);
    else if ((v = value(a, "tries", '=')))
        o->max_tries = (unsigned)strtoul(v, NULL, 10);
    else if ((v = value(a, "deadline", '=')))
        o->deadline_ms = strtol(v, NULL, 10);
    else if ((v = value(a, "stall", '=')))
        o->stall_ms = strtol(v, NULL, 10);
    else if ((v = value(a, "retry", '=')))
        o->max_retry_ms = strtol(v, NULL, 10);
    else if ((v = value(a, "seed", '=')))
        o->jitter_seed = strtoul(v, NULL, 10);
    else if ((v = value(a, "http", '=')))
        o->allow_http = *v == '1';
    else if ((v = value(a, "stop", '=')))
        *stop_ms = strtol(v, NULL, 10);
    else
        return 1;
    return 0;
}

static void log_line(void *cookie, enum gs_level level, const char *text)
{
    fprintf(stderr, "%d %s\n", (int)level, text);
}

static int run(int argc, char **argv, struct gs_err *err)
{
    struct gs_log log = {.level = GS_LOG_DEBUG, .line = log_line};
    struct gs_secret token = {0};
    struct gl_client_opts o = {.url = argc > 1 ? argv[1] : "", .log = &log, .stop = &stop_flag};
    long stop_ms = -1;
    pthread_t th;
    if (gs_secret_init(err))
        return -1;
    for (int i = 2; i < argc; i++)
        if (set_option(&o, &token, &stop_ms, argv[i], err) < 0)
            return -1;
    o.token = token.data ? &token : NULL;
    int r = gl_client_new(&o, &client, err);
    gs_secret_release(&token);
    if (r)
        return -1;
    if (stop_ms >= 0 && pthread_create(&th, NULL, stopper, &stop_ms) == 0)
        pthread_detach(th);
    bool leave = false;
    struct gs_secret ignored = {0};
    for (int i = 2; i < argc && r == 0; i++) {
        leave = strcmp(argv[i], "leave") == 0;
        if (!set_flag(argv[i]) && set_option(&o, &ignored, &stop_ms, argv[i], err) == 1)
            r = command(argv[i], err);
    }
    gs_secret_release(&ignored);
    if (r == 0 && !leave)
        r = wait_all(err);
    struct gl_stats s;
    gl_client_stats(client, &s);
    printf("{\"stats\":true,\"requests\":%" PRIu64 ",\"retries\":%" PRIu64 ",\"bytes_in\":%" PRIu64
           ",\"done\":%u,\"tls\":\"%s\","
           "\"window\":%u,\"rate_per_min\":%" PRId64 ",\"url\":\"%s\",\"host\":\"%s\"}\n",
           s.requests, s.retries, s.bytes_in, done_count, gl_client_tls_sha256(client), s.window,
           s.rate_per_min, gl_client_url(client),
           gl_client_host(client));
    gl_client_free(client);
    return r;
}

int main(int argc, char **argv)
{
    struct gs_err err = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (run(argc, argv, &err) == 0)
        return 0;
    printf("{\"failed\":true");
    print_err(&err);
    printf("}\n");
    return 1;
}
