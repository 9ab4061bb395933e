/* What came back: headers, outcome, error, and whether the request is tried again. */
#include "http_priv.h"
#include "rest.h"

#include "libcommon/clock.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

bool gl_request_writes(const struct gl_request *r)
{
    return r->method != GL_GET && r->method != GL_HEAD && !r->read_only;
}

bool gl_request_repeatable(const struct gl_request *r)
{
    return !gl_request_writes(r) || ((r->method == GL_PUT || r->method == GL_DELETE) && r->idempotent);
}

bool gl_request_keepable(const struct gl_request *r)
{
    return !r->live && !r->sink && !gl_request_writes(r);
}

/* ---- headers ---- */

void gl_answer_reset(struct gl_transfer *t)
{
    struct gl_response *rsp = &t->rsp;
    unsigned tries = rsp->tries;
    int64_t waited = rsp->waited_ms;
    gs_buf_release(&rsp->body);
    free(rsp->link);
    *rsp = (struct gl_response){
        .total = -1, .total_pages = -1, .ratelimit_remaining = -1, .tries = tries, .waited_ms = waited};
    gs_buf_init(&rsp->body, GL_MAX_ERROR_BODY);
    free(t->location);
    t->location = NULL;
    t->sends = 0;
    t->resent = t->head_done = false;
    t->body_bytes = 0;
    t->length = 0;
    t->retry_after_s = -1;
    t->retry_at_ms = t->reset_at_ms = 0;
    t->limit_per_min = t->limit_observed = -1;
    t->limit_name[0] = 0;
    t->cb_err = (struct gs_err){0};
    t->errbuf[0] = 0;
}

/* Decimal digits only, up to 15 of them; everything else leaves *out as it is. */
static void number(const char *v, int64_t *out)
{
    int64_t n = 0;
    size_t i = 0;
    for (; isdigit((unsigned char)v[i]) && i < 15; i++)
        n = n * 10 + (v[i] - '0');
    if (i > 0 && v[i] == 0)
        *out = n;
}

static int64_t date(const char *v)
{
    time_t t = curl_getdate(v, NULL);
    return t == (time_t)-1 ? 0 : (int64_t)t * 1000;
}

/* Copies what is printable ASCII. */
static void token_text(const char *v, char *out, size_t cap)
{
    size_t n = 0;
    for (; *v && n + 1 < cap; v++)
        if (*v > 32 && *v < 127)
            out[n++] = *v;
    out[n] = 0;
}

static void add_link(struct gl_response *rsp, const char *v)
{
    size_t have = rsp->link ? strlen(rsp->link) : 0;
    if (have + strlen(v) > GL_MAX_LINK)
        return;
    char *s = have ? gs_asprintf("%s, %s", rsp->link, v) : strdup(v);
    if (!s)
        return;
    free(rsp->link);
    rsp->link = s;
}

static void header_value(struct gl_transfer *t, const char *name, const char *v)
{
    struct gl_response *rsp = &t->rsp;
    if (strcasecmp(name, "Content-Type") == 0)
        snprintf(rsp->content_type, sizeof rsp->content_type, "%s", v);
    else if (strcasecmp(name, "X-Request-Id") == 0)
        token_text(v, rsp->request_id, sizeof rsp->request_id);
    else if (strcasecmp(name, "Link") == 0)
        add_link(rsp, v);
    else if (strcasecmp(name, "X-Total") == 0)
        number(v, &rsp->total);
    else if (strcasecmp(name, "X-Total-Pages") == 0)
        number(v, &rsp->total_pages);
    else if (strcasecmp(name, "X-Next-Page") == 0)
        number(v, &rsp->next_page);
    else if (strcasecmp(name, "RateLimit-Remaining") == 0)
        number(v, &rsp->ratelimit_remaining);
    else if (strcasecmp(name, "RateLimit-Limit") == 0)
        number(v, &t->limit_per_min);
    else if (strcasecmp(name, "RateLimit-Observed") == 0)
        number(v, &t->limit_observed);
    else if (strcasecmp(name, "RateLimit-Name") == 0)
        token_text(v, t->limit_name, sizeof t->limit_name);
    else if (strcasecmp(name, "Content-Length") == 0) {
        int64_t n = 0;
        number(v, &n);
        t->length = (size_t)n;
    } else if (strcasecmp(name, "RateLimit-Reset") == 0) {
        int64_t s = 0;
        number(v, &s);
        t->reset_at_ms = s * 1000;
    } else if (strcasecmp(name, "Retry-After") == 0) {
        number(v, &t->retry_after_s);
        if (t->retry_after_s < 0)
            t->retry_at_ms = date(v);
    } else if (strcasecmp(name, "Date") == 0) {
        rsp->date_ms = date(v);
        t->head_ms = gs_mono_ms();
    } else if (strcasecmp(name, "Location") == 0 && !t->location)
        t->location = strdup(v);
}

void gl_answer_header(struct gl_transfer *t, const char *line, size_t len)
{
    t->last_byte_ms = gs_mono_ms();
    if (t->head_done) /* trailers */
        return;
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) { /* a new answer begins, maybe after a 100 */
        unsigned sends = t->sends;
        gl_answer_reset(t);
        t->sends = sends;
        const char *sp = memchr(line, ' ', len);
        for (size_t i = 0; sp && i < 3 && sp + 1 + i < line + len && isdigit((unsigned char)sp[1 + i]); i++)
            t->rsp.status = t->rsp.status * 10 + (sp[1 + i] - '0');
        bool ok = t->rsp.status >= 200 && t->rsp.status < 300;
        t->rsp.body.max = ok ? (t->req->max_body ? t->req->max_body : GL_MAX_BODY) : GL_MAX_ERROR_BODY;
        return;
    }
    const char *colon = memchr(line, ':', len);
    if (len == 0) {
        if (t->rsp.status >= 200)
            t->head_done = true;
        return;
    }
    char name[32];
    if (!colon || (size_t)(colon - line) >= sizeof name)
        return;
    memcpy(name, line, (size_t)(colon - line));
    name[colon - line] = 0;
    const char *v = colon + 1, *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    gs_autofree char *value = strndup(v, (size_t)(end - v)); /* stops at a NUL byte */
    if (value)
        header_value(t, name, value);
}

/* ---- our own token in the server's words ---- */

static void blank(const struct gl_transfer *t, char *text, size_t len)
{
    const struct gl_client *c = t->client;
    if (c->token_header.data && text)
        gl_blank(c->token_header.data + c->token_at, c->token_header.len - c->token_at, text, len);
    if (t->req->token && text)
        gl_blank(t->req->token->data, t->req->token->len, text, len);
}

static void blankz(const struct gl_transfer *t, char *text)
{
    blank(t, text, text ? strlen(text) : 0);
}

/* Records are left as they are, byte for byte; whatever is read as words of the server's is not. */
static bool is_words(const struct gl_transfer *t)
{
    const struct gl_response *rsp = &t->rsp;
    if (rsp->status < 200 || rsp->status > 299)
        return true;
    return t->req->graphql ? memmem(gs_buf_str(&rsp->body), rsp->body.len, "\"errors\"", 8) != NULL
                           : strstr(t->req->path, "/export_relations") != NULL;
}

/*
 * A proxy or a server may repeat what it was sent. Here, before anything is made of the answer, so that no message, state
 * file, ledger or store of answers ever holds the token.
 */
static void blank_answer(struct gl_transfer *t)
{
    struct gl_response *rsp = &t->rsp;
    blankz(t, rsp->content_type);
    blankz(t, rsp->request_id);
    blankz(t, t->limit_name);
    blankz(t, t->errbuf);
    if (!t->req->sink && rsp->body.data && is_words(t))
        blank(t, rsp->body.data, rsp->body.len);
}

/* ---- outcome ---- */

/* What the server asks for, in milliseconds from now; measured by the server's own clock when it shows it. */
static int64_t asked_wait(const struct gl_transfer *t)
{
    int64_t now = t->rsp.date_ms ? t->rsp.date_ms : gs_unix_ms();
    int64_t at = t->retry_at_ms ? t->retry_at_ms : t->reset_at_ms;
    if (t->retry_after_s >= 0)
        return t->retry_after_s * 1000;
    if (at == 0 || (t->rsp.status != 429 && !t->retry_at_ms))
        return -1;
    return at > now ? at - now : 0;
}

/* A pause that is longer than anybody waits here: whoever comes again should know when. */
static void tell_when(struct gs_err *err, int64_t wait_ms)
{
    char at[GS_TIME_LEN];
    size_t n = strlen(err->text);
    gs_time_format(gs_unix_ms() + wait_ms, at);
    snprintf(err->text + n, sizeof err->text - n, "; the server asks not to come again before %s", at);
}

/* How far the try came, with the error that says so. */
static enum gl_wire wire_failure(struct gl_transfer *t, CURLcode rc, bool stalled, bool *out_unlikely)
{
    const struct gl_client *c = t->client;
    struct gs_err *err = &t->rsp.err;
    const char *why = t->errbuf[0] ? t->errbuf : curl_easy_strerror(rc);
    long connect_code = 0;
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &connect_code);

    if (stalled) {
        gs_fail(err, GS_E_TIMEOUT, "no byte of the answer came for %lld s", (long long)(c->stall_ms / 1000));
        gs_scoped(err, GS_SCOPE_RETRY);
        return GL_WIRE_TIMEOUT;
    }
    if (t->cb_err.code) {
        *err = t->cb_err;
        return GL_WIRE_FINAL;
    }
    if (t->resent) {
        gs_fail(err, GS_E_SERVER, "the connection closed before an answer came");
        gs_scoped(err, GS_SCOPE_RETRY);
        return GL_WIRE_BROKEN;
    }
    switch (rc) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_INVALIDCERTSTATUS:
        if (t->sends == 0) {
            gs_fail(err, GS_E_TLS, "the certificate of '%s' is refused: %s", c->origin.host, why);
            return GL_WIRE_FINAL;
        }
        break;
    case CURLE_OUT_OF_MEMORY:
        gs_fail(err, GS_E_NOMEM, "no memory for a transfer");
        return GL_WIRE_FINAL;
    case CURLE_URL_MALFORMAT:
        gs_fail(err, GS_E_URL, "%s", why);
        return GL_WIRE_FINAL;
    case CURLE_UNSUPPORTED_PROTOCOL: /* also an answer that does not begin like HTTP */
    case CURLE_WEIRD_SERVER_REPLY:
        gs_fail(err, GS_E_REMOTE, "what '%s' answers is not HTTP: %s", c->origin.host, why);
        return GL_WIRE_FINAL;
    case CURLE_BAD_CONTENT_ENCODING:
        gs_fail(err, GS_E_REMOTE, "the compressed answer is damaged: %s", why);
        return GL_WIRE_BROKEN;
    default:
        break;
    }
    if (t->sends == 0) { /* proof: curl was never about to send the request */
        if (rc == CURLE_SSL_CONNECT_ERROR && strstr(why, "wrong version number")) { /* OpenSSL's words for another protocol */
            gs_fail(err, GS_E_TLS, "'%s' port %u does not speak TLS; is it an http:// address?", c->origin.host, c->origin.port);
            return GL_WIRE_FINAL;
        }
        if (rc == CURLE_SSL_CONNECT_ERROR) {
            gs_fail(err, GS_E_TLS, "no TLS connection to '%s': %s", c->origin.host, why);
            *out_unlikely = true;
        } else {
            gs_fail(err, GS_E_UNREACHABLE, "no connection to '%s': %s", c->origin.host, why);
            *out_unlikely =
                rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_RESOLVE_PROXY || connect_code >= 400;
            gs_scoped(err, GS_SCOPE_RETRY);
        }
        return GL_WIRE_NO_CONNECT;
    }
    if (rc == CURLE_OPERATION_TIMEDOUT) {
        gs_fail(err, GS_E_TIMEOUT, "%s", why);
        gs_scoped(err, GS_SCOPE_RETRY);
        return GL_WIRE_TIMEOUT;
    }
    gs_fail(err, GS_E_SERVER, "the connection broke: %s", why);
    gs_scoped(err, GS_SCOPE_RETRY);
    return GL_WIRE_BROKEN;
}

static bool json_type(const char *content_type)
{
    size_t n = strcspn(content_type, ";");
    for (size_t i = 0; i + 4 <= n; i++)
        if (strncasecmp(content_type + i, "json", 4) == 0)
            return true;
    return false;
}

/* A 2xx whose body is not what GitLab sends: a login page of a proxy, for example. */
static bool not_gitlab(struct gl_transfer *t, struct gs_err *err)
{
    const struct gl_request *r = t->req;
    struct gl_response *rsp = &t->rsp;
    if (r->accept_type || r->sink || r->method == GL_HEAD || rsp->body.len == 0)
        return false;
    const char *p = gs_buf_str(&rsp->body);
    p += strspn(p, " \t\r\n");
    bool shape = *p && strchr("{[\"-0123456789tfn", *p);
    if (shape && (rsp->content_type[0] == 0 || json_type(rsp->content_type))) {
        if (!gl_request_writes(r))
            return false; /* whoever reads it parses it anyway */
        yyjson_doc *doc = yyjson_read(rsp->body.data, rsp->body.len, YYJSON_READ_BIGNUM_AS_RAW);
        yyjson_doc_free(doc);
        if (doc)
            return false;
        gs_fail(err, GS_E_REMOTE, "the server answered %d with broken JSON", rsp->status);
        return true;
    }
    blank(t, rsp->body.data, rsp->body.len);
    char words[200];
    gl_error_text(rsp->status, rsp->content_type, rsp->body.data, rsp->body.len, words, sizeof words);
    gs_fail(err, GS_E_REMOTE, "the server answered %d with something else than JSON (%.60s): %s", rsp->status,
            rsp->content_type[0] ? rsp->content_type : "no content type", words);
    return true;
}

/* Once per client, since libcurl tells certificates only for connections it makes anew. */
static void note_certificate(struct gl_client *c, struct gl_transfer *t)
{
    struct curl_certinfo *info = NULL;
    if (c->tls_sha256[0] || !t->with_token || curl_easy_getinfo(t->easy, CURLINFO_CERTINFO, &info) || !info ||
        info->num_of_certs < 1)
        return;
    for (struct curl_slist *s = info->certinfo[0]; s; s = s->next)
        if (strncmp(s->data, "Cert:", 5) == 0 && gl_pem_sha256(s->data + 5, c->tls_sha256))
            return;
}

static void count(struct gl_client *c, CURL *easy)
{
    curl_off_t in = 0, out = 0;
    long head_in = 0, head_out = 0;
    curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &in);
    curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &out);
    curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &head_in);
    curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &head_out);
    c->stats.bytes_in += (uint64_t)in + (uint64_t)head_in;
    c->stats.bytes_out += (uint64_t)out + (uint64_t)head_out;
    curl_off_t sent = 0, ended = 0;
    if (curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &sent) == CURLE_OK && sent > 0 &&
        curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &ended) == CURLE_OK && ended >= sent) {
        c->stats.wire_us += (uint64_t)(ended - sent);
        c->stats.tries_on_wire++;
    }
}

/* GET only: a write that was redirected did not happen, and repeating it elsewhere is not ours to decide. */
static enum gl_next redirect(struct gl_transfer *t)
{
    struct gl_client *c = t->client;
    struct gs_err *err = &t->rsp.err;
    struct gl_origin from = c->origin, to;
    char *url = NULL;
    gs_autofree char *current = t->url ? strdup(t->url) : gs_asprintf("%s/api/v4%s", c->base, t->req->path);
    if (!current) {
        gs_fail(err, GS_E_NOMEM, "no memory for a URL");
        return GL_NEXT_DONE;
    }
    if (t->redirects >= GL_MAX_REDIRECTS) {
        gs_fail(err, GS_E_REMOTE, "the server redirects more than %d times", GL_MAX_REDIRECTS);
        return GL_NEXT_DONE;
    }
    if (gl_url_resolve(current, current, &url, &from, err))
        return GL_NEXT_DONE;
    free(url);
    if (gl_url_resolve(current, t->location, &url, &to, err))
        return GL_NEXT_DONE;
    gs_autofree char *target = url;
    if (from.https && !to.https) {
        gs_fail(err, GS_E_REMOTE, "the server redirects from https to http, which is refused");
        return GL_NEXT_DONE;
    }
    if (!to.https && !to.loopback && !c->allow_http) {
        gs_fail(err, GS_E_HTTP_PLAIN, "the server redirects to '%.100s' without TLS", to.host);
        return GL_NEXT_DONE;
    }
    gs_logf(&c->log, GS_LOG_DEBUG, "%s redirects to '%s'%s", t->req->path, to.host,
            gl_origin_equal(&to, &c->origin) ? "" : ", which gets no token");
    free(t->url);
    t->url = gs_steal(&target);
    t->redirects++;
    return GL_NEXT_REDIRECT;
}

static bool is_redirect(const struct gl_transfer *t)
{
    int s = t->rsp.status;
    return (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) && t->location;
}

static void judge_answer(struct gl_transfer *t)
{
    struct gl_client *c = t->client;
    struct gl_response *rsp = &t->rsp;
    bool writes = gl_request_writes(t->req);
    rsp->outcome = GL_ANSWERED;
    if (rsp->status >= 200 && rsp->status < 300) {
        if (not_gitlab(t, &rsp->err)) {
            rsp->err.http = rsp->status;
            rsp->outcome = writes ? GL_UNKNOWN : GL_ANSWERED;
        }
        return;
    }
    if (is_redirect(t)) {
        blankz(t, t->location);
        gs_fail(&rsp->err, GS_E_REMOTE, "the server redirects to '%.200s': give the address of the GitLab itself",
                t->location);
        rsp->err.http = rsp->status;
        return;
    }
    gl_error_fill(rsp, &rsp->err);
    if (rsp->status == 401 && !t->with_token) { /* some store of files: it says nothing about our token */
        rsp->err.code = GS_E_REFUSED;
        rsp->err.scope = GS_SCOPE_ITEM;
    } else if (rsp->status == 401 && !c->token_header.data) {
        rsp->err.code = GS_E_NO_TOKEN;
    }
    if (rsp->status == 429)
        rsp->outcome = GL_NOT_SENT;
    else if (rsp->status >= 500 && writes)
        rsp->outcome = GL_UNKNOWN;
}

enum gl_next gl_transfer_judge(struct gl_transfer *t, CURLcode rc, bool stalled, struct gl_decision *out)
{
    struct gl_client *c = t->client;
    struct gl_response *rsp = &t->rsp;
    count(c, t->easy);
    note_certificate(c, t);
    blank_answer(t);

    struct gl_try try = {.repeatable = gl_request_repeatable(t->req),
                         .retry_after_ms = -1,
                         .tries = rsp->tries,
                         .waited_ms = rsp->waited_ms,
                         .max_tries = c->max_tries,
                         .max_wait_ms = c->max_retry_ms,
                         .answered_before = c->answered_before};
    /* an error's body that was cut off at its bound by ourselves is still an answer */
    bool flooded = rc == CURLE_WRITE_ERROR && !t->cb_err.code && rsp->status >= 300;
    /* curl takes a head that breaks off for a whole one */
    if (!stalled && (rc == CURLE_OK || flooded) && t->head_done) {
        try.wire = GL_WIRE_ANSWERED;
        try.status = rsp->status;
        c->answered_before = true;
        if (is_redirect(t) && t->req->method == GL_GET) {
            enum gl_next n = redirect(t);
            if (n == GL_NEXT_DONE) {
                rsp->err.http = rsp->status;
                blankz(t, rsp->err.text);
            }
            return n;
        }
        judge_answer(t);
        try.retry_after_ms = asked_wait(t);
        try.resource_lock =
            rsp->status == 409 && gl_error_duplicate(409, gs_buf_str(&rsp->body), rsp->body.len) == GL_DUP_LOCK;
    } else {
        try.wire = wire_failure(t, rc, stalled, &try.unlikely);
        rsp->outcome = t->sends == 0 ? GL_NOT_SENT : GL_UNKNOWN;
        rsp->err.http = rsp->status;
        memcpy(rsp->err.request_id, rsp->request_id, sizeof rsp->request_id);
    }
    if (rsp->err.code == GS_OK)
        return GL_NEXT_DONE;
    blankz(t, rsp->err.text); /* dropped control characters may have joined it anew */
    try.random = (uint32_t)(c->random >> 32);
    c->random = c->random * 6364136223846793005u + 1442695040888963407u;
    *out = gl_retry(&try);
    if (out->verdict == GL_STOP && try.retry_after_ms > 0)
        tell_when(&rsp->err, try.retry_after_ms);
    return out->verdict == GL_AGAIN ? GL_NEXT_AGAIN : GL_NEXT_DONE;
}

/* ---- answers of an earlier run ---- */

/* A document that the server was too slow for may well be answered the next time. */
static bool graphql_for_now(const struct gl_response *rsp)
{
    struct gs_err e = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data;
    if (!memmem(gs_buf_str(&rsp->body), rsp->body.len, "\"errors\"", 8))
        return false;
    return gl_graphql_answer(rsp, &doc, &data, NULL, &e) && e.scope == GS_SCOPE_RETRY;
}

bool gl_answer_keepable(const struct gl_transfer *t)
{
    const struct gl_response *rsp = &t->rsp;
    if (rsp->outcome != GL_ANSWERED)
        return false;
    if (rsp->status >= 200 && rsp->status < 300)
        return rsp->err.code == GS_OK && !(t->req->graphql && graphql_for_now(rsp));
    /* a token with more scopes may be tried next; a refusal of another host says nothing about this one */
    return (rsp->status == 403 || rsp->status == 404 || rsp->status == 405) && rsp->err.code != GS_E_SCOPE && !t->url;
}

void gl_answer_kept(struct gl_transfer *t)
{
    struct gl_response *rsp = &t->rsp;
    rsp->outcome = GL_ANSWERED;
    rsp->err = (struct gs_err){0};
    blank_answer(t);
    if (rsp->status < 200 || rsp->status > 299)
        gl_error_fill(rsp, &rsp->err);
}
