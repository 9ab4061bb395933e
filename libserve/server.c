#include "libserve/server.h"

#include "libcommon/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BLOCK ((size_t)64 << 10)
#define MEMORY ((size_t)32 << 10) /* of a connection: the head of a request fits in, or is refused */
#define HASH crypto_generichash_BYTES
#define DISCARD_MAX ((uint64_t)4 << 20) /* of a body that is too large: read to its end, so that its sender hears why */
#define SPARE 64          /* connections beyond the limit, in which those that are closed have time to end: they have threads of their own */
#define SLOWEST 1024      /* bytes per second that a client must take at least */
#define SLOW_AFTER_MS 30000
#define STRICT (MHD_VERSION >= 0x01000000) /* before, its own refusals leave with two heads; malformed() stands in */
#define CIPHERS "NORMAL:-VERS-TLS1.0:-VERS-TLS1.1"

struct server {
    struct source *source;
    struct server_opts o;
    struct MHD_Daemon *daemon;
    uint8_t token[HASH];
    pthread_mutex_t lock;
    struct wire *wires;   /* open connections */
    double tokens;        /* of the rate limit */
    int64_t refilled_ms;
};

/* One connection. */
struct wire {
    struct wire *next, **prev;
    int fd;
    int64_t since_ms;     /* it waits for a request since then, or answers since then */
    bool answering;
    uint64_t sent;        /* of the answer */
    const char *target;   /* of the request, as it came: where it lies, and how long it is */
    size_t target_len;
};

/* One request on its way. */
struct request {
    struct server *s;
    struct wire *wire;
    struct gs_buf body;
    bool too_large, malformed;
    bool no_length; /* a body of which nobody knows how long it is; no importer sends one */
    char *params[8];
    size_t n_params;
    struct MHD_Connection *c;
};

/* An answer that is made while it is sent. */
struct sending {
    struct server *s;
    struct wire *wire;
    struct stream *file;
    struct tally_event seen;
    int64_t begun_ms;
    bool ended;
};

/* ---- connections ---- */

static unsigned most(const struct server *s)
{
    return s->o.connections ? s->o.connections : 64;
}

/* Who holds connections without asking anything keeps nobody out: where there is no room, the one that waits longest is closed. */
static void make_room(struct server *s)
{
    struct wire *oldest = NULL;
    unsigned n = 0;
    for (struct wire *w = s->wires; w; w = w->next) {
        n += w->fd >= 0;
        if (w->fd >= 0 && !w->answering && (!oldest || w->since_ms <= oldest->since_ms))
            oldest = w;
    }
    if (n >= most(s) && oldest) {
        shutdown(oldest->fd, SHUT_RDWR); /* its thread finds the end, and closes it */
        oldest->fd = -1;
    }
}

static void on_connection(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_ConnectionNotificationCode code)
{
    struct server *s = cls;
    struct wire *w = *ctx;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        w = calloc(1, sizeof *w);
        if (!w)
            return;
        w->fd = info ? info->connect_fd : -1;
        w->since_ms = gs_mono_ms();
        pthread_mutex_lock(&s->lock);
        make_room(s);
        w->next = s->wires;
        w->prev = &s->wires;
        if (w->next)
            w->next->prev = &w->next;
        s->wires = w;
        pthread_mutex_unlock(&s->lock);
        *ctx = w;
    } else if (w) {
        pthread_mutex_lock(&s->lock);
        *w->prev = w->next;
        if (w->next)
            w->next->prev = w->prev;
        pthread_mutex_unlock(&s->lock);
        free(w);
        *ctx = NULL;
    }
}

static struct wire *wire_of(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void wire_state(struct server *s, struct wire *w, bool answering)
{
    if (!w)
        return;
    pthread_mutex_lock(&s->lock);
    w->answering = answering;
    w->since_ms = gs_mono_ms();
    w->sent = 0;
    pthread_mutex_unlock(&s->lock);
}

void server_tick(struct server *s)
{
    int64_t now = gs_mono_ms(), limit = s->o.request_ms ? s->o.request_ms : 20000;
    pthread_mutex_lock(&s->lock);
    for (struct wire *w = s->wires; w; w = w->next) {
        int64_t ms = now - w->since_ms;
        bool late = !w->answering && ms > limit;
        bool slow = w->answering && ms > SLOW_AFTER_MS && w->sent / SLOWEST < (uint64_t)(ms - SLOW_AFTER_MS) / 1000;
        if ((late || slow) && w->fd >= 0) {
            shutdown(w->fd, SHUT_RDWR);
            w->fd = -1;
        }
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- who may ask ---- */

static bool may_go_on(struct server *s)
{
    double rate = s->o.rate ? s->o.rate : 200;
    pthread_mutex_lock(&s->lock);
    int64_t now = gs_mono_ms();
    s->tokens += (double)(now - s->refilled_ms) / 1000 * rate;
    s->tokens = s->tokens > 2 * rate ? 2 * rate : s->tokens;
    s->refilled_ms = now;
    bool yes = s->tokens >= 1;
    s->tokens -= yes ? 1 : 0;
    pthread_mutex_unlock(&s->lock);
    return yes;
}

/* Compared by its hash, so that the time it takes tells nothing about how much of it is right. */
static bool right(const struct server *s, const char *token)
{
    uint8_t hash[HASH];
    if (!token)
        return false;
    crypto_generichash(hash, sizeof hash, (const unsigned char *)token, strlen(token), NULL, 0);
    return sodium_memcmp(hash, s->token, sizeof hash) == 0;
}

/* One parameter of the query, decoded; it lives as long as the request. */
static const char *param(void *cookie, const char *name)
{
    struct request *r = cookie;
    const char *raw = MHD_lookup_connection_value(r->c, MHD_GET_ARGUMENT_KIND, name);
    if (!raw || r->n_params == GS_COUNT(r->params))
        return NULL;
    char *v = strdup(raw);
    if (!v)
        return NULL;
    for (char *p = v; *p; p++)
        if (*p == '+')
            *p = ' ';
    MHD_http_unescape(v);
    r->params[r->n_params++] = v;
    return v;
}

static bool allowed(struct request *r)
{
    const struct server *s = r->s;
    const char *auth = MHD_lookup_connection_value(r->c, MHD_HEADER_KIND, "Authorization");
    const char *header = MHD_lookup_connection_value(r->c, MHD_HEADER_KIND, "PRIVATE-TOKEN");
    const char *query = param(r, "private_token");
    bool by_auth = auth && strncasecmp(auth, "Bearer ", 7) == 0 && right(s, auth + 7);
    bool by_header = right(s, header), by_query = right(s, query);
    return by_auth | by_header | by_query;
}

/* A path is shown to who watches, unless a client has put the token there. */
static bool shows_token(const struct server *s, const char *path)
{
    gs_autofree char *plain = strdup(path);
    if (!plain)
        return true;
    MHD_http_unescape(plain);
    bool yes = strstr(plain, s->o.token->data) != NULL;
    sodium_memzero(plain, strlen(plain));
    return yes;
}

/* ---- what is no request ---- */

/* The head of a request, part by part. */
struct look {
    const char *at;     /* where the part before ended; NULL: not known */
    unsigned hosts, lengths, codings, tokens, bearers;
    bool chunked, bad;
};

/* microhttpd before 1.0, which refuses them itself, cuts the head into C strings where it lies, and what stands behind a NUL byte in a part is not seen. Between two parts there
 * may be no more than blanks and the end of a line (CR and LF, which it overwrites). Parts that lie in another order were moved: they tell
 * nothing. */
static bool hides(const char *from, const char *to, unsigned line_ends)
{
    unsigned ends = 0;
    if (*MHD_get_version() != '0' || !from || (uintptr_t)to < (uintptr_t)from || (uintptr_t)to - (uintptr_t)from > MEMORY)
        return false;
    for (; from < to; from++) {
        if (*from == ' ' || *from == '\t')
            continue;
        if (*from != '\0' && *from != '\r' && *from != '\n')
            return true;
        ends++;
    }
    return ends > 2 * line_ends;
}

static bool printable(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < ' ' ? s[i] != '\t' : s[i] == 0x7f)
            return false;
    return true;
}

/* The target of a request, in which microhttpd put NUL bytes in place of separators. */
static bool word(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] == ' ' || (s[i] != '\0' && !printable(s + i, 1)) || s[i] == '\t')
            return false;
    return true;
}

static enum MHD_Result look_at_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len, const char *value, size_t value_len)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    struct look *k = cls;
    k->bad |= key_len == 0 || strspn(key, token) != key_len || !printable(value ? value : "", value ? value_len : 0) || hides(k->at, key, 1);
    k->at = value ? value + value_len : NULL;
    k->hosts += strcasecmp(key, "Host") == 0;
    k->lengths += strcasecmp(key, "Content-Length") == 0;
    k->tokens += strcasecmp(key, "PRIVATE-TOKEN") == 0;
    k->bearers += strcasecmp(key, "Authorization") == 0;
    if (strcasecmp(key, "Transfer-Encoding") == 0) {
        k->codings++;
        k->chunked = value && strcasecmp(value, "chunked") == 0;
    }
    return MHD_YES;
}

/* Escapes that are none, and those of a NUL byte. */
static bool escapes_well(const char *s)
{
    for (; (s = strchr(s, '%')) != NULL; s++)
        if (strspn(s + 1, "0123456789abcdefABCDEF") < 2 || (s[1] == '0' && s[2] == '0'))
            return false;
    return true;
}

static enum MHD_Result look_at_param(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct look *k = cls;
    k->bad |= !escapes_well(key) || (value && !escapes_well(value));
    return MHD_YES;
}

/* What cannot be understood in one way only is not answered: two lengths of a body, two tokens, bytes that are no text. */
static bool malformed(struct request *q, const char *url, const char *method, const char *version)
{
    struct look k = {.at = version + strlen(version)};
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(q->c, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    bool known = q->wire && q->wire->target == url;
    if (!*method || hides(method + strlen(method) + 1, url, 0) || (known && hides(url + q->wire->target_len + 1, version, 0)))
        return true;
    k.bad = known && !word(url, q->wire->target_len);
    MHD_get_connection_values_n(q->c, MHD_HEADER_KIND, look_at_header, &k);
    MHD_get_connection_values(q->c, MHD_GET_ARGUMENT_KIND, look_at_param, &k);
    bool old = strcmp(version, "HTTP/1.0") == 0;
    q->no_length = k.codings > 0;
    return k.bad || k.hosts > 1 || (k.hosts == 0 && !old) || k.tokens > 1 || k.bearers > 1 || k.lengths + k.codings > 1 ||
           (k.codings && (old || !k.chunked)) || (size && hides(k.at, method + size->header_size, 2));
}

static uint64_t announced(const struct request *q)
{
    const char *text = MHD_lookup_connection_value(q->c, MHD_HEADER_KIND, "Content-Length");
    return text ? strtoull(text, NULL, 10) : 0;
}

static void *on_target(void *cls, const char *target, struct MHD_Connection *c)
{
    struct wire *w = wire_of(c);
    if (w) {
        w->target = target;
        w->target_len = strlen(target);
    }
    return NULL;
}

/* ---- answers ---- */

static ssize_t send_more(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct sending *x = cls;
    struct gs_err err = {0};
    size_t n = 0;
    if (stream_read(x->file, buf, max, &n, &err)) {
        x->seen.what = TALLY_FAILED;
        x->ended = true;
        gs_logf(x->s->o.log, GS_LOG_ERROR, "%s: %s [%s]", x->seen.part, err.text, gs_code_name(err.code));
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    x->seen.bytes += n;
    pthread_mutex_lock(&x->s->lock);
    if (x->wire)
        x->wire->sent += n;
    pthread_mutex_unlock(&x->s->lock);
    if (n > 0)
        return (ssize_t)n;
    x->ended = true;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static void sent(void *cls)
{
    struct sending *x = cls;
    struct tally *t = source_tally(x->s->source);
    if (!x->ended)
        x->seen.what = TALLY_CUT;
    x->seen.ms = gs_mono_ms() - x->begun_ms;
    tally_active(t, x->seen.group, x->seen.part, -1);
    tally_add(t, &x->seen);
    stream_close(x->file);
    free(x);
}

static void add_paging(struct MHD_Response *m, const struct reply *r)
{
    char text[24];
    uint64_t pages = (r->total + r->per_page - 1) / r->per_page;
    const struct {
        const char *name;
        uint64_t value;
        bool there;
    } h[] = {{"X-Page", r->page, true},   {"X-Per-Page", r->per_page, true}, {"X-Total", r->total, true}, {"X-Total-Pages", pages ? pages : 1, true},
             {"X-Next-Page", (uint64_t)r->page + 1, r->page < pages}, {"X-Prev-Page", (uint64_t)r->page - 1, r->page > 1}};
    for (size_t i = 0; i < GS_COUNT(h); i++) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)h[i].value);
        MHD_add_response_header(m, h[i].name, h[i].there ? text : "");
    }
}

/* Clients that follow links rather than numbers. */
static void add_link(struct MHD_Response *m, const struct request *q, const char *path, const struct reply *r)
{
    if ((uint64_t)r->page * r->per_page >= r->total)
        return;
    gs_autofree char *link = gs_asprintf("<%s%s?page=%u&per_page=%u>; rel=\"next\"", source_url(q->s->source), path, r->page + 1, r->per_page);
    if (link)
        MHD_add_response_header(m, "Link", link);
}

static enum MHD_Result give(struct request *q, struct reply *r, const char *path, bool head)
{
    struct MHD_Response *m;
    if (r->file && head) { /* a look at the headers is no download */
        stream_close(gs_steal(&r->file));
        r->seen.what = TALLY_ANSWERED;
        r->seen.part = NULL;
    }
    if (r->file) {
        struct sending *x = calloc(1, sizeof *x);
        if (!x)
            return MHD_NO;
        *x = (struct sending){.s = q->s, .wire = q->wire, .file = gs_steal(&r->file), .seen = r->seen, .begun_ms = gs_mono_ms()};
        tally_active(source_tally(q->s->source), x->seen.group, x->seen.part, 1);
        m = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, send_more, x, sent);
        if (!m)
            sent(x);
    } else {
        m = MHD_create_response_from_buffer(r->body.len, (void *)gs_buf_str(&r->body), MHD_RESPMEM_MUST_COPY);
        r->seen.bytes = r->body.len;
        tally_add(source_tally(q->s->source), &r->seen);
    }
    if (!m)
        return MHD_NO;
    MHD_add_response_header(m, "Content-Type", r->type);
    MHD_add_response_header(m, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(m, "Cache-Control", "no-store");
    if (r->paged) {
        add_paging(m, r);
        add_link(m, q, path, r);
    }
    if (q->malformed || q->no_length || q->too_large) /* where the next request begins is not sure */
        MHD_add_response_header(m, "Connection", "close");
    if (r->status == 401)
        MHD_add_response_header(m, "WWW-Authenticate", "Bearer realm=\"GitLab\"");
    if (r->status == 429)
        MHD_add_response_header(m, "Retry-After", "1");
    if (r->status == 405)
        MHD_add_response_header(m, "Allow", "GET, HEAD, POST");
    enum MHD_Result ok = MHD_queue_response(q->c, r->status, m);
    MHD_destroy_response(m);
    return ok;
}

static int plain(struct reply *r, unsigned status, const char *key, const char *text, enum tally_what what, struct gs_err *err)
{
    *r = (struct reply){.seen = {.what = what, .group = SIZE_MAX}};
    gs_buf_init(&r->body, 1 << 16);
    return reply_message(r, status, key, text, err);
}

static enum MHD_Result answer(struct request *q, const char *method, const char *url)
{
    struct source_request rq = {.method = method, .path = url, .param = param, .cookie = q, .body = gs_buf_str(&q->body), .body_len = q->body.len};
    struct reply r = {.status = 0};
    struct gs_err err = {0};
    int ret;
    if (!may_go_on(q->s))
        ret = plain(&r, 429, "message", "Too many requests", TALLY_SLOWED, &err);
    else if (q->malformed)
        ret = plain(&r, 400, "message", "400 Bad request", TALLY_UNKNOWN, &err);
    else if (!allowed(q))
        ret = plain(&r, 401, "message", "401 Unauthorized", TALLY_REFUSED, &err);
    else if (q->no_length)
        ret = plain(&r, 411, "error", "411 Length Required", TALLY_UNKNOWN, &err);
    else if (q->too_large)
        ret = plain(&r, 413, "error", "Request Entity Too Large", TALLY_UNKNOWN, &err);
    else
        ret = source_answer(q->s->source, &rq, &r, &err);
    if (ret) {
        gs_logf(q->s->o.log, GS_LOG_ERROR, "answering: %s [%s]", err.text, gs_code_name(err.code));
        reply_release(&r);
        gs_err_clear(&err);
        ret = plain(&r, 500, "message", "500 Internal Server Error", TALLY_FAILED, &err);
    }
    if (q->malformed)
        snprintf(r.seen.detail, sizeof r.seen.detail, "a malformed request");
    else if (r.seen.what == TALLY_UNKNOWN && shows_token(q->s, url))
        snprintf(r.seen.detail, sizeof r.seen.detail, "%.10s, with the token in the path", method);
    enum MHD_Result ok = ret ? MHD_NO : give(q, &r, url, strcmp(method, "HEAD") == 0);
    reply_release(&r);
    return ok;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version, const char *data,
                                  size_t *size, void **ctx)
{
    struct server *s = cls;
    struct request *q = *ctx;
    struct gs_err err = {0};
    if (!q) {
        q = calloc(1, sizeof *q);
        if (!q)
            return MHD_NO;
        q->s = s;
        q->c = c;
        q->wire = wire_of(c);
        gs_buf_init(&q->body, SERVER_MAX_BODY);
        *ctx = q;
        q->malformed = malformed(q, url, method, version);
        q->too_large = announced(q) > DISCARD_MAX;
        if (!q->malformed && !q->too_large && !q->no_length)
            return MHD_YES;
        wire_state(s, q->wire, true); /* its body is not waited for */
        return answer(q, method, url);
    }
    if (*size > 0) {
        if (!q->too_large && gs_buf_add(&q->body, data, *size, &err))
            q->too_large = true;
        *size = 0;
        return MHD_YES;
    }
    wire_state(s, q->wire, true);
    return answer(q, method, url);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **ctx, enum MHD_RequestTerminationCode code)
{
    struct server *s = cls;
    struct request *q = *ctx;
    if (!q)
        return;
    wire_state(s, q->wire, false);
    for (size_t i = 0; i < q->n_params; i++) {
        sodium_memzero(q->params[i], strlen(q->params[i])); /* one of them may be the token */
        free(q->params[i]);
    }
    gs_buf_release(&q->body);
    free(q);
    *ctx = NULL;
}

/* Addresses stay as they were sent: an encoded slash is part of a name, and no separator. */
static size_t no_unescape(void *cls, struct MHD_Connection *c, char *s)
{
    return strlen(s);
}

static void GS_PRINTF(2, 0) on_log(void *cls, const char *fmt, va_list args)
{
    struct server *s = cls;
    char text[300];
    vsnprintf(text, sizeof text, fmt, args);
    text[strcspn(text, "\n")] = '\0';
    if (strcasestr(text, "token")) /* it quotes a request */
        return;
    gs_logf(s->o.log, GS_LOG_DEBUG, "%s", text);
}

/* ---- life ---- */

static int find_address(const char *host, unsigned port, struct sockaddr_storage *out, socklen_t *out_len, struct gs_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list = NULL;
    char text[16];
    snprintf(text, sizeof text, "%u", port);
    int r = getaddrinfo(*host ? host : NULL, text, &hints, &list);
    if (r || !list)
        return gs_fail(err, GS_E_NOT_FOUND, "--listen: '%s' is no address of this machine: %s", host, gai_strerror(r));
    memcpy(out, list->ai_addr, list->ai_addrlen);
    *out_len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

int server_bind(const char *host, unsigned port, int *out_fd, unsigned *out_port, struct gs_err *err)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int on = 1;
    if (find_address(host, port, &addr, &len, err))
        return -1;
    gs_autofd int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) || bind(fd, (struct sockaddr *)&addr, len) ||
        getsockname(fd, (struct sockaddr *)&addr, &len))
        return gs_fail_sys(err, GS_E_IO, errno, "listening on %s:%u", *host ? host : "*", port);
    *out_port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port : ((struct sockaddr_in *)&addr)->sin_port);
    *out_fd = gs_steal_fd(&fd);
    return 0;
}

int server_start(struct source *source, const struct server_opts *o, struct server **out, struct gs_err *err)
{
    gs_autofree struct server *s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for a server");
    s->source = source;
    s->o = *o;
    s->tokens = o->rate ? o->rate : 200;
    s->refilled_ms = gs_mono_ms();
    pthread_mutex_init(&s->lock, NULL);
    crypto_generichash(s->token, sizeof s->token, (const unsigned char *)o->token->data, o->token->len, NULL, 0);
    if (listen(o->fd, 64))
        return gs_fail_sys(err, GS_E_IO, errno, "listening");
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG | (o->cert ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)o->cert}, {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)o->key},
                                   {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)CIPHERS}, {MHD_OPTION_END, 0, NULL}};
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_LISTEN_SOCKET, o->fd,
                                 MHD_OPTION_CONNECTION_LIMIT, most(s) + SPARE, MHD_OPTION_CONNECTION_TIMEOUT,
                                 (o->idle_ms ? o->idle_ms : 60000) / 1000, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY,
                                 MHD_OPTION_THREAD_STACK_SIZE, (size_t)512 << 10, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
                                 MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, s,
                                 MHD_OPTION_STRICT_FOR_CLIENT, STRICT,
                                 MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
                                 MHD_OPTION_ARRAY, o->cert ? tls : tls + 3, MHD_OPTION_END);
    if (!s->daemon)
        return o->cert ? gs_fail(err, GS_E_TLS, "the server does not start: certificate and key are not PEM, or do not belong together")
                       : gs_fail(err, GS_E_IO, "the server does not start");
    *out = gs_steal(&s);
    return 0;
}

static bool busy(struct server *s)
{
    bool r = false;
    pthread_mutex_lock(&s->lock);
    for (struct wire *w = s->wires; w; w = w->next)
        r |= w->answering;
    pthread_mutex_unlock(&s->lock);
    return r;
}

void server_stop(struct server *s, unsigned grace_ms)
{
    if (!s)
        return;
    int64_t until = gs_mono_ms() + grace_ms;
    int fd = MHD_quiesce_daemon(s->daemon);
    while (gs_mono_ms() < until && busy(s))
        gs_sleep_ms(20);
    MHD_stop_daemon(s->daemon);
    if (fd >= 0)
        close(fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
