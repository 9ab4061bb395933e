/* One try on the wire: how a request becomes a curl transfer, and what curl calls while it runs. */
#include "http_priv.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <strings.h>
#include <unistd.h>

/*
 * Headers that every request has. Lists are linked backwards from these shared ends; nodes that differ from request to
 * request stand in the transfer. curl reads the lists and never writes to them.
 */
static char h_expect[] = "Expect:"; /* nobody waits for "100 Continue" */
static char h_accept_json[] = "Accept: application/json";
static char h_accept_any[] = "Accept: */*";
static char h_json[] = "Content-Type: application/json";
static struct curl_slist expect_node = {h_expect, NULL};
static struct curl_slist accept_json_node = {h_accept_json, &expect_node};
static struct curl_slist accept_any_node = {h_accept_any, &expect_node};

#define MAX_RESERVED ((size_t)1 << 20) /* on the mere word of a Content-Length */

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    gl_answer_header(arg, data, size * n);
    return size * n;
}

/* Only now is it known where the body goes: the status came first. */
static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct gl_transfer *t = arg;
    struct gl_request *r = t->req;
    size_t len = size * n;
    t->last_byte_ms = gs_mono_ms();
    t->body_bytes += len;
    bool ok = t->rsp.status >= 200 && t->rsp.status < 300;
    if (ok && r->sink) {
        if (r->max_body && t->body_bytes > r->max_body) {
            gs_fail(&t->cb_err, GS_E_LIMIT, "the answer is longer than %zu bytes", r->max_body);
            return CURL_WRITEFUNC_ERROR;
        }
        t->sunk = true;
        return r->sink(r->cookie, data, len, &t->cb_err) ? CURL_WRITEFUNC_ERROR : len;
    }
    struct gs_err e = {0};
    if (t->rsp.body.len == 0 && t->length > len && t->length <= t->rsp.body.max && t->length <= MAX_RESERVED)
        GS_IGNORE(gs_buf_reserve(&t->rsp.body, t->length, &e), "it grows as it comes, then");
    if (gs_buf_add(&t->rsp.body, data, len, &e) == 0)
        return len;
    if (e.code != GS_E_LIMIT || ok) {
        if (e.code == GS_E_LIMIT)
            gs_fail(&t->cb_err, GS_E_LIMIT, "the answer is longer than %zu bytes", t->rsp.body.max);
        else
            t->cb_err = e;
        return CURL_WRITEFUNC_ERROR;
    }
    /* of an error's body the beginning is enough; a flood of it is not waited for */
    return t->body_bytes > GL_MAX_BODY ? CURL_WRITEFUNC_ERROR : len;
}

/*
 * curl sends a request again by itself when a reused connection died before the first byte of the answer. A server may
 * have acted on the first copy, so for a write that must not happen.
 */
static int on_prereq(void *arg, char *ip, char *local_ip, int port, int local_port)
{
    struct gl_transfer *t = arg;
    if (t->sends > 0 && gl_request_writes(t->req)) {
        t->resent = true;
        return CURL_PREREQFUNC_ABORT;
    }
    t->sends++;
    return CURL_PREREQFUNC_OK;
}

static size_t read_file(char *to, size_t size, size_t n, void *arg)
{
    struct gl_transfer *t = arg;
    const struct gl_client *c = t->client;
    uint64_t left = t->file->size - t->file_at;
    size_t want = size * n < left ? size * n : (size_t)left;
    if (want == 0)
        return 0;
    if (c->stop && *c->stop) {
        gs_fail(&t->cb_err, GS_E_STOPPED, "stopped while a file was being sent");
        return CURL_READFUNC_ABORT;
    }
    ssize_t got = pread(t->file->fd, to, want, (off_t)t->file_at);
    if (got <= 0) {
        if (got < 0)
            gs_fail_sys(&t->cb_err, GS_E_IO, errno, "reading the file that is being sent");
        else
            gs_fail(&t->cb_err, GS_E_TRUNCATED, "the file that is being sent became shorter");
        return CURL_READFUNC_ABORT;
    }
    t->file_at += (uint64_t)got;
    if (t->file->sent)
        t->file->sent(t->file->cookie, t->file_at);
    return (size_t)got;
}

static int seek_file(void *arg, curl_off_t at, int origin)
{
    struct gl_transfer *t = arg;
    if (origin != SEEK_SET || at < 0 || (uint64_t)at > t->file->size)
        return CURL_SEEKFUNC_FAIL;
    t->file_at = (uint64_t)at;
    return CURL_SEEKFUNC_OK;
}

/* curl asks now and then also while the server takes nothing. */
static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
    struct gl_transfer *t = arg;
    const struct gl_client *c = t->client;
    (void)down_all, (void)down, (void)up_all, (void)up;
    if (!t->file || !c->stop || !*c->stop || t->file_at >= t->file->size)
        return 0;
    gs_fail(&t->cb_err, GS_E_STOPPED, "stopped while a file was being sent");
    return 1;
}

static CURLcode add_content(struct gl_transfer *t, curl_mimepart *m, const struct gl_part *p)
{
    if (!p->file)
        return curl_mime_data(m, p->data ? p->data : "", p->len);
    t->file = p->file;
    t->file_at = 0;
    return curl_mime_data_cb(m, (curl_off_t)p->file->size, read_file, seek_file, NULL, t);
}

static int add_parts(struct gl_transfer *t, struct gs_err *err)
{
    struct gl_request *r = t->req;
    t->file = NULL;
    t->mime = curl_mime_init(t->easy);
    if (!t->mime)
        return gs_fail(err, GS_E_NOMEM, "no memory for a form");
    for (size_t i = 0; i < r->n_parts; i++) {
        const struct gl_part *p = &r->parts[i];
        curl_mimepart *m = curl_mime_addpart(t->mime);
        if (!m || curl_mime_name(m, p->name) || add_content(t, m, p) || (p->filename && curl_mime_filename(m, p->filename)) ||
            (p->content_type && curl_mime_type(m, p->content_type)))
            return gs_fail(err, GS_E_NOMEM, "no memory for a form");
    }
    return 0;
}

/* HTTP's form of a time, which is English in every locale. */
static void since_header(int64_t ms, char *out, size_t cap)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t at = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&at, &tm);
    snprintf(out, cap, "If-Unmodified-Since: %s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* The list of headers of this try, out of the nodes in `t` and the shared ends. */
static int set_headers(struct gl_transfer *t, struct curl_slist **out, struct gs_err *err)
{
    struct gl_request *r = t->req;
    struct curl_slist *list = r->accept_type || r->sink ? &accept_any_node : &accept_json_node;
    if (r->body && r->n_parts == 0) {
        t->type_node = (struct curl_slist){h_json, list};
        list = &t->type_node;
    }
    if (r->unmodified_since_ms > 0) {
        since_header(r->unmodified_since_ms, t->since_header, sizeof t->since_header);
        t->since_node = (struct curl_slist){t->since_header, list};
        list = &t->since_node;
    }
    size_t at;
    if (r->token && !t->own_token_header.data && gl_token_header(r->token, &t->own_token_header, &at, err))
        return -1;
    if (t->with_token && (r->token || t->client->token_header.data)) {
        t->token_node = (struct curl_slist){r->token ? t->own_token_header.data : t->client->token_header.data, list};
        list = &t->token_node;
    }
    if (t->with_token && r->sudo) {
        if (!t->sudo_header)
            t->sudo_header = gs_asprintf("Sudo: %s", r->sudo);
        if (!t->sudo_header)
            return gs_fail(err, GS_E_NOMEM, "no memory for a header");
        t->sudo_node = (struct curl_slist){t->sudo_header, list};
        list = &t->sudo_node;
    }
    *out = list;
    return 0;
}

#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        CURLcode rc_ = curl_easy_setopt(h, option, value);                                                             \
        if (rc_ != CURLE_OK)                                                                                           \
            return gs_fail(err, rc_ == CURLE_OUT_OF_MEMORY ? GS_E_NOMEM : GS_E_INTERNAL,                               \
                           "libcurl refuses " #option ": %s", curl_easy_strerror(rc_));                                \
    } while (0)

static int set_method(struct gl_transfer *t, CURL *h, struct gs_err *err)
{
    struct gl_request *r = t->req;
    if (r->n_parts > 0) {
        if (add_parts(t, err))
            return -1;
        SET(CURLOPT_MIMEPOST, t->mime);
        if (t->file) {
            SET(CURLOPT_NOPROGRESS, 0L);
            SET(CURLOPT_XFERINFOFUNCTION, on_progress);
            SET(CURLOPT_XFERINFODATA, t);
            SET(CURLOPT_LOW_SPEED_LIMIT, 1L); /* nothing at all goes either way */
            SET(CURLOPT_LOW_SPEED_TIME, GL_FILE_STALL_S);
        }
    } else if (r->body || r->method == GL_POST || r->method == GL_PUT) {
        SET(CURLOPT_POSTFIELDS, r->body ? r->body : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(r->body ? r->body_len : 0));
    }
    switch (r->method) {
    case GL_GET:
        if (r->body || r->n_parts)
            SET(CURLOPT_CUSTOMREQUEST, "GET");
        break;
    case GL_HEAD:
        SET(CURLOPT_NOBODY, 1L);
        break;
    case GL_POST:
        break;
    case GL_PUT:
        SET(CURLOPT_CUSTOMREQUEST, "PUT");
        break;
    case GL_DELETE:
        SET(CURLOPT_CUSTOMREQUEST, "DELETE");
        break;
    }
    return 0;
}

#ifdef GS_FAULTS
/* How long the body of the request is, as far as curl knows already. */
static uint64_t body_length(struct gl_transfer *t)
{
    if (t->req->n_parts == 0)
        return t->req->body ? t->req->body_len : 0;
    curl_off_t n = -1;
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_UPLOAD_T, &n);
    return n < 0 ? UINT64_MAX : (uint64_t)n;
}

/* curl reports what it has handed to the kernel: with the last byte of the request its work can be done, whatever becomes of us. */
static int on_sent(CURL *h, curl_infotype type, char *data, size_t size, void *arg)
{
    struct gl_transfer *t = arg;
    (void)h, (void)data;
    if (type == CURLINFO_HEADER_OUT)
        t->head_sent = true;
    else if (type == CURLINFO_DATA_OUT)
        t->body_sent += size;
    else
        return 0;
    if (t->all_sent || !t->head_sent || t->body_sent < body_length(t))
        return 0;
    t->all_sent = true;
    gs_fault("http.send.after");
    return 0;
}
#endif

static int set_up(struct gl_transfer *t, struct gs_err *err)
{
    struct gl_client *c = t->client;
    struct gl_request *r = t->req;
    CURL *h = t->easy;
    struct gl_origin origin = c->origin;
    gs_autofree char *own = NULL;
    if (t->url) {
        char *same = NULL;
        if (gl_url_resolve(t->url, t->url, &same, &origin, err))
            return -1;
        free(same);
    } else {
        own = gs_asprintf("%s/api/%s%s", c->base, r->graphql ? "graphql" : "v4", r->graphql ? "" : r->path);
        if (!own)
            return gs_fail(err, GS_E_NOMEM, "no memory for a URL");
    }
    t->with_token = gl_origin_equal(&origin, &c->origin);

    SET(CURLOPT_URL, t->url ? t->url : own);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PROTOCOLS_STR, origin.https ? "https" : "http");
    /*
     * A write that may not be repeated has a connection to itself: on a shared one, one reset or one GOAWAY (nginx
     * sends it after every thousand requests) would leave the outcome of all of them unknown at once.
     */
    bool shared = origin.https && gl_request_repeatable(r);
    SET(CURLOPT_HTTP_VERSION, (long)(shared ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_PIPEWAIT, shared ? 1L : 0L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_MAXAGE_CONN,
        50L); /* below the usual keep-alive of servers: do not send into a connection that closes */
    int64_t deadline = r->deadline_ms ? r->deadline_ms : c->deadline_ms;
    SET(CURLOPT_TIMEOUT_MS, (long)deadline);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(deadline < GL_CONNECT_MS ? deadline : GL_CONNECT_MS));
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (c->ca.path) {
        SET(CURLOPT_CAINFO, c->ca.path);
        SET(CURLOPT_CAPATH, NULL);
    } else if (c->ca.pem) {
        struct curl_blob blob = {.data = c->ca.pem, .len = c->ca.pem_len, .flags = CURL_BLOB_NOCOPY};
        SET(CURLOPT_CAINFO_BLOB, &blob);
    }
    if (origin.https && c->tls_sha256[0] == 0)
        SET(CURLOPT_CERTINFO, 1L);
    if (origin.loopback)
        SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_USERAGENT, "groupsnap/" GS_VERSION);
    if (!r->sink)
        SET(CURLOPT_ACCEPT_ENCODING, "gzip");
    SET(CURLOPT_ERRORBUFFER, t->errbuf);
    SET(CURLOPT_PRIVATE, t);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, t);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, t);
    SET(CURLOPT_PREREQFUNCTION, on_prereq);
    SET(CURLOPT_PREREQDATA, t);
#ifdef GS_FAULTS
    t->head_sent = t->all_sent = false;
    t->body_sent = 0;
    SET(CURLOPT_VERBOSE, 1L);
    SET(CURLOPT_DEBUGFUNCTION, on_sent);
    SET(CURLOPT_DEBUGDATA, t);
#endif
    struct curl_slist *headers = NULL;
    if (set_headers(t, &headers, err))
        return -1;
    SET(CURLOPT_HTTPHEADER, headers);
    return set_method(t, h, err);
}

int gl_transfer_start(struct gl_transfer *t, struct gs_err *err)
{
    struct gl_client *c = t->client;
    gl_answer_reset(t);
    if (t->sunk) {
        t->sunk = false;
        if (t->req->sink_restart && t->req->sink_restart(t->req->cookie, err))
            return -1;
    }
    t->easy = c->n_idle > 0 ? c->idle[--c->n_idle] : curl_easy_init();
    if (!t->easy)
        return gs_fail(err, GS_E_NOMEM, "no memory for a transfer");
    t->last_byte_ms = gs_mono_ms();
    if (set_up(t, err) == 0) {
        gs_fault("http.send.before");
        CURLMcode rc = curl_multi_add_handle(c->multi, t->easy);
        if (rc == CURLM_OK)
            return 0;
        gs_fail(err, GS_E_INTERNAL, "libcurl cannot start a transfer: %s", curl_multi_strerror(rc));
    }
    gl_transfer_stop(t);
    return -1;
}

void gl_transfer_stop(struct gl_transfer *t)
{
    struct gl_client *c = t->client;
    if (!t->easy)
        return;
    curl_multi_remove_handle(c->multi, t->easy); /* one that was never added is left alone */
    curl_easy_reset(t->easy);
    curl_mime_free(t->mime);
    t->mime = NULL;
    if (c->n_idle < c->jobs)
        c->idle[c->n_idle++] = t->easy;
    else
        curl_easy_cleanup(t->easy);
    t->easy = NULL;
}
