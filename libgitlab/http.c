/* The queues and the loop of the engine. Nothing in here blocks but curl_multi_poll(). */
#include "http_priv.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"

#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>

#define STOP_POLL_MS 100 /* how soon a set stop flag is noticed */
#define TROUBLE_AGAIN_MS 10000
#define STALL_CHECK_MS 100
#define DRIVE_MS 2 /* callbacks may take so long before the network is looked at again */
#define PASSED_OVER 64 /* requests that others may pass while their limit is used up */

/* ---- lists ---- */

static void list_remove(struct gl_list *l, struct gl_transfer *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        l->first = t->next;
    if (t->next)
        t->next->prev = t->prev;
    else
        l->last = t->prev;
    t->prev = t->next = NULL;
    l->n--;
}

/* Puts `t` behind `after`; NULL: at the front. */
static void list_insert(struct gl_list *l, struct gl_transfer *after, struct gl_transfer *t)
{
    t->prev = after;
    t->next = after ? after->next : l->first;
    if (t->next)
        t->next->prev = t;
    else
        l->last = t;
    if (after)
        after->next = t;
    else
        l->first = t;
    l->n++;
}

/* Behind which a further one of its kind has its place; NULL: at the front. There are few. */
static struct gl_transfer *last_going_on(const struct gl_list *l)
{
    struct gl_transfer *last = NULL;
    for (struct gl_transfer *t = l->first; t && t->req->goes_on; t = t->next)
        last = t;
    return last;
}

static void place(struct gl_transfer *t, enum gl_place where)
{
    struct gl_client *c = t->client;
    struct gl_list *lists[] = {NULL, &c->fresh, &c->queue, &c->waiting, &c->wire, &c->done};
    if (t->place != GL_PLACE_NONE)
        list_remove(lists[t->place], t);
    t->place = where;
    if (where == GL_PLACE_NONE)
        return;
    struct gl_transfer *after = lists[where]->last;
    if (where == GL_PLACE_WAITING)
        while (after && after->due_ms > t->due_ms)
            after = after->prev;
    if (where == GL_PLACE_QUEUE && t->req->goes_on)
        after = last_going_on(lists[where]);
    list_insert(lists[where], after, t);
}

/* ---- requests ---- */

const char *gl_method_name(enum gl_method m)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "HEAD"};
    return (size_t)m < GS_COUNT(names) ? names[m] : "?";
}

struct gl_request *gl_request_new(enum gl_method m, const char *path_fmt, ...)
{
    struct gl_request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->method = m;
    va_list ap;
    va_start(ap, path_fmt);
    int n = vasprintf(&r->path, path_fmt, ap);
    va_end(ap);
    if (n < 0) {
        free(r);
        return NULL;
    }
    return r;
}

static void transfer_free(struct gl_transfer *t)
{
    if (!t)
        return;
    gs_buf_release(&t->rsp.body);
    free(t->rsp.link);
    free(t->url);
    free(t->location);
    free(t->sudo_header);
    gs_secret_release(&t->own_token_header);
    free(t);
}

void gl_request_free(struct gl_request *r)
{
    if (!r)
        return;
    transfer_free(r->transfer);
    free(r->path);
    free(r->body);
    free(r->sudo);
    free(r);
}

void gl_response_release(struct gl_response *rsp)
{
    gs_buf_release(&rsp->body);
    free(rsp->link);
    rsp->link = NULL;
}

/* ---- client ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void start_curl(void)
{
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int gl_token_header(const struct gs_secret *token, struct gs_secret *out, size_t *out_at, struct gs_err *err)
{
    if (!token || !token->data || token->len == 0)
        return 0;
    for (size_t i = 0; i < token->len; i++)
        if (token->data[i] <= 32 || token->data[i] >= 127)
            return gs_fail(err, GS_E_TOKEN, "the token holds a character that no token has");
    static const char name[] = "PRIVATE-TOKEN: ";
    size_t n = sizeof name - 1 + token->len;
    char *p = sodium_malloc(n + 1);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no locked memory for the token");
    memcpy(p, name, sizeof name - 1);
    memcpy(p + sizeof name - 1, token->data, token->len);
    p[n] = 0;
    *out = (struct gs_secret){.data = p, .len = n};
    *out_at = sizeof name - 1;
    return 0;
}

static int start_engine(struct gl_client *c, struct gs_err *err)
{
    c->idle = calloc(c->jobs, sizeof *c->idle);
    c->multi = curl_multi_init();
    if (!c->idle || !c->multi)
        return gs_fail(err, GS_E_NOMEM, "no memory for an HTTP client");
    curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(c->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->jobs);
    curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->jobs + 4);
    return 0;
}

int gl_client_new(const struct gl_client_opts *o, struct gl_client **out, struct gs_err *err)
{
    pthread_once(&curl_once, start_curl);
    if (curl_started != CURLE_OK || sodium_init() < 0)
        return gs_fail(err, GS_E_INTERNAL, "a library could not be started");
    GS_AUTO(gl_client) c = calloc(1, sizeof *c);
    if (!c)
        return gs_fail(err, GS_E_NOMEM, "no memory for an HTTP client");
    c->ca.fd = -1;
    c->jobs = o->jobs ? o->jobs : 8;
    gl_pace_init(&c->pace, c->jobs, o->rate_per_min);
    c->max_tries = o->max_tries ? o->max_tries : 8;
    c->max_retry_ms = o->max_retry_ms > 0 ? o->max_retry_ms : 600000;
    c->deadline_ms = o->deadline_ms > 0 ? o->deadline_ms : 60000;
    c->stall_ms = o->stall_ms > 0 ? o->stall_ms : 30000;
    c->allow_http = o->allow_http;
    c->stop = o->stop;
    if (o->log)
        c->log = *o->log;
    c->random = o->jitter_seed;
    if (!c->random)
        randombytes_buf(&c->random, sizeof c->random);
    if (gl_url_base(o->url, &c->base, &c->origin, err))
        return -1;
    if (!c->origin.https && !c->origin.loopback && !c->allow_http)
        return gs_fail(err, GS_E_HTTP_PLAIN, "'%.200s' would send the token without TLS", c->base);
    if (gl_token_header(o->token, &c->token_header, &c->token_at, err))
        return -1;
    if (gl_ca_load(o->cacert, &c->ca, err))
        return -1;
    if (start_engine(c, err))
        return -1;
    *out = gs_steal(&c);
    return 0;
}

/* Throws a request away without its callback. */
static void drop(struct gl_transfer *t)
{
    struct gl_request *r = t->req;
    if (t->paced)
        gl_pace_gone(&t->client->pace, t->pace_number);
    gl_transfer_stop(t);
    place(t, GL_PLACE_NONE);
    if (r->drop)
        r->drop(r->cookie);
    gl_request_free(r);
}

void gl_client_free(struct gl_client *c)
{
    if (!c)
        return;
    struct gl_list *lists[] = {&c->fresh, &c->queue, &c->waiting, &c->wire, &c->done};
    for (size_t i = 0; i < GS_COUNT(lists); i++)
        while (lists[i]->first)
            drop(lists[i]->first);
    while (c->n_idle > 0)
        curl_easy_cleanup(c->idle[--c->n_idle]);
    free(c->idle);
    curl_multi_cleanup(c->multi);
    gs_secret_release(&c->token_header);
    gl_ca_release(&c->ca);
    free(c->base);
    free(c);
}

const char *gl_client_url(const struct gl_client *c)
{
    return c->base;
}

const char *gl_client_host(const struct gl_client *c)
{
    return c->origin.host;
}

const char *gl_client_tls_sha256(const struct gl_client *c)
{
    return c->tls_sha256;
}

void gl_client_stats(const struct gl_client *c, struct gl_stats *out)
{
    struct gl_pace_view v;
    gl_pace_look(&c->pace, gs_mono_ms(), &v);
    *out = c->stats;
    out->in_flight = c->wire.n;
    out->queued = c->fresh.n + c->queue.n + c->waiting.n;
    out->window = v.window;
    out->paused_ms = v.paused_ms;
    out->rate_per_min = v.rate_per_min;
    out->rate_left = v.remaining;
    const struct gl_transfer *t = c->waiting.first;
    out->retrying = c->waiting.n;
    out->retry_why = t ? t->rsp.err.code : GS_OK;
    out->next_try_ms = t && t->due_ms > gs_mono_ms() ? t->due_ms - gs_mono_ms() : 0;
}

void gl_client_keep(struct gl_client *c, const struct gl_keep *k)
{
    c->keep = k ? *k : (struct gl_keep){0};
    c->store_behind = false;
}

void gl_client_wake(struct gl_client *c)
{
    curl_multi_wakeup(c->multi);
}

void gl_client_last(struct gl_client *c)
{
    c->stop = NULL;
    c->max_tries = 1;
}

unsigned gl_pending(const struct gl_client *c)
{
    return c->fresh.n + c->queue.n + c->waiting.n + c->wire.n + c->done.n;
}

static unsigned below(const struct gl_client *c, unsigned max)
{
    unsigned n = gl_pending(c) - c->done.n;
    return n < max ? max - n : 0;
}

unsigned gl_free_slots(const struct gl_client *c)
{
    return below(c, c->pace.window);
}

unsigned gl_room(const struct gl_client *c)
{
    return below(c, c->pace.window + 1 + c->pace.window / 4);
}

/* ---- submitting ---- */

static int check_request(const struct gl_request *r, struct gs_err *err)
{
    if (!r->path || r->path[0] != '/')
        return gs_fail(err, GS_E_INTERNAL, "a request without a path");
    for (const char *p = r->path; p && *p; p++)
        if ((unsigned char)*p <= 32 || *p == 127)
            return gs_fail(err, GS_E_INTERNAL, "a request whose path is not encoded");
    for (const char *p = r->sudo; p && *p; p++)
        if ((unsigned char)*p < 32 || *p == 127)
            return gs_fail(err, GS_E_INTERNAL, "a user name with control characters");
    if (r->document_len > GL_MAX_DOCUMENT)
        return gs_fail(err, GS_E_GRAPHQL, "a GraphQL document of %zu characters, GitLab takes %d", r->document_len,
                       GL_MAX_DOCUMENT);
    return 0;
}

int gl_submit(struct gl_client *c, struct gl_request *r, struct gs_err *err)
{
    struct gl_transfer *t = NULL;
    if (check_request(r, err) || !(t = calloc(1, sizeof *t))) {
        gl_request_free(r);
        return t || err->code ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    t->client = c;
    t->req = r;
    r->transfer = t;
    t->pace_class = gl_pace_class_of(r->path, r->graphql);
    gl_answer_reset(t);
    place(t, c->keep.find && gl_request_keepable(r) ? GL_PLACE_FRESH : GL_PLACE_QUEUE);
    return 0;
}

/* ---- the loop ---- */

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static bool stopped(const struct gl_client *c)
{
    return c->stop && *c->stop;
}

/* What the message of an error begins with: the request, without its query. */
static void name_request(const struct gl_request *r, struct gs_err *err)
{
    size_t n = strcspn(r->path, "?");
    if (r->graphql)
        gs_wrap(err, "GraphQL");
    else
        gs_wrap(err, "%s %.*s", gl_method_name(r->method), (int)(n < 160 ? n : 160), r->path);
}

/* The request is over: its callback runs, and everything of it is freed. */
static void finish(struct gl_transfer *t)
{
    struct gl_request *r = t->req;
    gl_transfer_stop(t);
    place(t, GL_PLACE_NONE);
    if (t->rsp.status)
        gs_fault("http.answer.before");
    if (t->rsp.err.code)
        name_request(r, &t->rsp.err);
    if (t->give_to) {
        *t->give_to = t->rsp;
        t->rsp.body = (struct gs_buf){0};
        t->rsp.link = NULL;
        *t->finished = true;
    } else if (r->done) {
        r->done(r->cookie, r, &t->rsp);
    }
    if (t->rsp.status)
        gs_fault("http.answer.after");
    gl_request_free(r);
}

static void finish_stopped(struct gl_transfer *t)
{
    if (t->paced)
        gl_pace_gone(&t->client->pace, t->pace_number);
    t->paced = false;
    gl_answer_reset(t);
    t->rsp.outcome = GL_NOT_SENT;
    gs_fail(&t->rsp.err, GS_E_STOPPED, "stopped before an answer came");
    finish(t);
}

/* The store of answers failed: the request has none, whatever the server said. */
static void finish_broken(struct gl_transfer *t, const struct gs_err *why)
{
    gl_answer_reset(t);
    t->rsp.outcome = GL_NOT_SENT;
    t->rsp.err = *why;
    finish(t);
}

/*
 * Looks for an answer that is kept. One body at a time is in memory, since its callback runs before the next is looked for.
 * Returns the number of callbacks that ran.
 */
static unsigned look_up(struct gl_transfer *t)
{
    struct gl_client *c = t->client;
    struct gs_err e = {0};
    bool found = false;
    if (c->keep.find && c->keep.find(c->keep.cookie, t->req, &t->rsp, &found, &e)) {
        finish_broken(t, &e);
        return 1;
    }
    if (!found) {
        place(t, GL_PLACE_QUEUE);
        return 0;
    }
    c->stats.kept += !t->rsp.ahead;
    gl_answer_kept(t);
    finish(t);
    return 1;
}

/* Those that wait now, not those that their callbacks submit: the caller has other things to look at in between. */
static unsigned look_up_fresh(struct gl_client *c)
{
    unsigned ran = 0;
    for (unsigned n = c->fresh.n; n > 0 && c->fresh.first && !stopped(c); n--)
        ran += look_up(c->fresh.first);
    return ran;
}

/* May a request leave, as far as the store goes? Also true when that failed, which then is each request's end. */
static bool store_follows(struct gl_client *c, struct gs_err *err)
{
    unsigned unstored = 0;
    if (c->keep.unstored && c->keep.unstored(c->keep.cookie, &unstored, err))
        return true;
    c->store_behind = unstored >= (c->pace.window > 1 ? c->pace.window : 1);
    return !c->store_behind;
}

/* The pace learns that a try is over; `answered`: with an answer, whose headers count. */
static void leave_wire(struct gl_transfer *t, bool answered)
{
    if (!t->paced)
        return;
    t->paced = false;
    if (!answered || !t->with_token) { /* another host's limits and clock are not the instance's */
        gl_pace_gone(&t->client->pace, t->pace_number);
        return;
    }
    struct gl_pace_answer a = {.server_ms = t->rsp.date_ms,
                               .head_ms = t->head_ms,
                               .per_min = t->limit_per_min,
                               .observed = t->limit_observed,
                               .remaining = t->rsp.ratelimit_remaining,
                               .reset_s = t->reset_at_ms > 0 ? t->reset_at_ms / 1000 : -1,
                               .name = t->limit_name};
    gl_pace_answered(&t->client->pace, t->pace_number, t->pace_class, &a, gs_mono_ms());
}

static int start_try(struct gl_transfer *t, int64_t now, struct gs_err *err)
{
    struct gl_client *c = t->client;
    if (gl_transfer_start(t, err))
        return -1;
    c->stats.requests++;
    t->pace_number = gl_pace_sent(&c->pace, t->pace_class, now);
    t->paced = true;
    return 0;
}

/*
 * The request that leaves next, or NULL. *wake is when there may be one. Requests whose limit is used up are passed over
 * by those that another limit counts.
 */
static struct gl_transfer *next_to_leave(const struct gl_client *c, int64_t now, int64_t *wake)
{
    *wake = GL_PACE_NEVER;
    if (c->wire.n >= c->pace.window || c->wire.n + c->done.n >= 2 * c->pace.window)
        return NULL;
    unsigned seen = 0;
    for (struct gl_transfer *t = c->waiting.first; t && seen < PASSED_OVER; t = t->next, seen++) {
        int64_t when = gl_pace_when(&c->pace, t->pace_class, now);
        when = t->due_ms > when ? t->due_ms : when;
        if (when <= now)
            return t;
        *wake = min64(*wake, when);
    }
    seen = 0;
    for (struct gl_transfer *t = c->queue.first; t && seen < PASSED_OVER; t = t->next, seen++) {
        int64_t when = gl_pace_when(&c->pace, t->pace_class, now);
        if (when <= now)
            return t;
        *wake = min64(*wake, when);
    }
    return NULL;
}

/* Returns the number of callbacks that ran. */
static unsigned start_ready(struct gl_client *c, int64_t now)
{
    unsigned ran = 0;
    int64_t wake;
    c->store_behind = false;
    for (struct gl_transfer *t; (t = next_to_leave(c, now, &wake));) {
        struct gs_err e = {0};
        if (!store_follows(c, &e))
            break;
        if (e.code) {
            finish_broken(t, &e);
            ran++;
            continue;
        }
        t->rsp.tries++;
        place(t, GL_PLACE_WIRE);
        if (start_try(t, now, &e) == 0)
            continue;
        t->rsp.outcome = GL_NOT_SENT;
        t->rsp.err = e;
        finish(t);
        ran++;
    }
    return ran;
}

/* When a host is in trouble, all that is in flight fails alike: one line for all of it, and again after a while. */
static void tell_trouble(struct gl_transfer *t, const struct gl_decision *d, int64_t now)
{
    struct gl_client *c = t->client;
    bool known = c->trouble && strcmp(c->trouble, d->why) == 0 && now - c->trouble_ms < TROUBLE_AGAIN_MS;
    gs_logf(&c->log, known ? GS_LOG_DEBUG : GS_LOG_INFO, "%s %.*s: %s (try %u), again in %.1f s: %s", gl_method_name(t->req->method),
            (int)strcspn(t->req->path, "?"), t->req->path, d->why, t->rsp.tries, (double)d->wait_ms / 1000, t->rsp.err.text);
    if (known)
        return;
    c->trouble = d->why;
    c->trouble_ms = now;
}

/*
 * A try ended. Returns the number of callbacks that ran. An answer that the store has taken is safe before anything is done with it: its
 * callback waits until what is queued has left in its place. The callback of any other, which may note that a write was done
 * or a download complete, runs before anything else leaves; so does that of an error, which may end everything.
 */
static unsigned ended(struct gl_transfer *t, CURLcode rc, bool stalled)
{
    struct gl_client *c = t->client;
    struct gl_decision d = {0};
    int64_t now = gs_mono_ms();
    switch (gl_transfer_judge(t, rc, stalled, &d)) {
    case GL_NEXT_REDIRECT: {
        struct gs_err e = {0};
        leave_wire(t, true);
        gl_transfer_stop(t);
        if (start_try(t, now, &e) == 0)
            return 0;
        t->rsp.outcome = GL_NOT_SENT;
        t->rsp.err = e;
        break;
    }
    case GL_NEXT_AGAIN: {
        tell_trouble(t, &d, now);
        if (d.pause_all)
            gl_pace_refused(&c->pace, d.wait_ms, now);
        leave_wire(t, t->head_done);
        gl_transfer_stop(t);
        free(t->url);
        t->url = NULL;
        t->redirects = 0;
        t->due_ms = now + d.wait_ms;
        t->rsp.waited_ms += d.wait_ms;
        c->stats.waited_ms += d.wait_ms;
        if (d.wait_ms > c->stats.longest_wait_ms)
            c->stats.longest_wait_ms = d.wait_ms;
        c->stats.retries++;
        place(t, GL_PLACE_WAITING);
        return 0;
    }
    case GL_NEXT_DONE:
        if (t->rsp.err.code == GS_OK)
            gl_pace_went_well(&c->pace);
        break;
    }
    leave_wire(t, t->head_done);
    struct gs_err e = {0};
    bool kept = c->keep.keep && gl_request_keepable(t->req) && gl_answer_keepable(t);
    if (kept && c->keep.keep(c->keep.cookie, t->req, &t->rsp, &e)) {
        finish_broken(t, &e);
        return 1;
    }
    if (!kept || t->rsp.err.code) {
        c->one_failed = c->one_failed || t->rsp.err.code;
        finish(t);
        return 1;
    }
    gl_transfer_stop(t);
    place(t, GL_PLACE_DONE);
    return 0;
}

/* An answer that began and does not go on. Before its first byte the deadline alone counts: a server may think long. */
static unsigned check_stalls(struct gl_client *c, int64_t now)
{
    unsigned ran = 0;
    if (now - c->last_stall_check < STALL_CHECK_MS)
        return 0;
    c->last_stall_check = now;
    for (struct gl_transfer *t = c->wire.first, *next; t; t = next) {
        next = t->next;
        if (t->rsp.status != 0 && now - t->last_byte_ms > c->stall_ms)
            ran += ended(t, CURLE_OPERATION_TIMEDOUT, true);
    }
    return ran;
}

/* After a stop: only a write on the wire is waited for, since nobody else can tell whether it was done. */
static unsigned end_all_but_writes(struct gl_client *c)
{
    unsigned ran = 0;
    for (struct gl_transfer *t = c->wire.first, *next; t; t = next) {
        next = t->next;
        if (!gl_request_writes(t->req)) {
            finish_stopped(t);
            ran++;
        }
    }
    struct gl_list *lists[] = {&c->waiting, &c->queue, &c->fresh};
    for (size_t i = 0; i < GS_COUNT(lists);)
        if (lists[i]->first) {
            finish_stopped(lists[i]->first);
            ran++;
            i = 0;
        } else {
            i++;
        }
    return ran;
}

void gl_client_withdraw(struct gl_client *c)
{
    for (struct gl_transfer *t = c->queue.first, *next; t; t = next) {
        next = t->next;
        if (!t->give_to)
            finish_stopped(t);
    }
}

static unsigned reap(struct gl_client *c)
{
    unsigned ran = 0;
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));) {
        if (m->msg != CURLMSG_DONE)
            continue;
        char *p = NULL;
        CURLcode rc = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &p);
        ran += ended((struct gl_transfer *)(void *)p, rc, false);
    }
    return ran;
}

/* How long the loop may sleep. */
static int64_t sleep_ms(const struct gl_client *c, int64_t now, int64_t until)
{
    int64_t wait = until - now;
    if (c->stop)
        wait = min64(wait, STOP_POLL_MS);
    if (c->wire.n > 0)
        wait = min64(wait, c->stall_ms < 2000 ? STALL_CHECK_MS : 1000);
    if (c->fresh.n + c->done.n > 0)
        return 0;
    int64_t wake = GL_PACE_NEVER;
    if (!c->store_behind && next_to_leave(c, now, &wake))
        return 0;
    if (wake != GL_PACE_NEVER)
        wait = min64(wait, wake - now);
    return wait > 0 ? wait : 0;
}

static int perform(struct gl_client *c, struct gs_err *err)
{
    int running = 0;
    CURLMcode rc = curl_multi_perform(c->multi, &running);
    return rc == CURLM_OK ? 0 : gs_fail(err, GS_E_INTERNAL, "libcurl: %s", curl_multi_strerror(rc));
}

/* What can be done without waiting: requests leave, answers are taken in, and for those further ones leave. */
static int drive(struct gl_client *c, unsigned *ran, struct gs_err *err)
{
    c->one_failed = false;
    *ran += stopped(c) ? end_all_but_writes(c) : look_up_fresh(c) + start_ready(c, gs_mono_ms());
    if (perform(c, err))
        return -1;
    *ran += reap(c);
    c->driven_ms = gs_mono_ms();
    *ran += check_stalls(c, c->driven_ms);
    /* after one that failed the caller has its turn first: it may want nothing else to leave */
    if (c->done.n + *ran == 0 || c->queue.n == 0 || c->one_failed || stopped(c))
        return 0;
    *ran += start_ready(c, c->driven_ms);
    return perform(c, err);
}

/* Callbacks of the answers that are there now. Those that come meanwhile have their turn after the caller's. */
static int run_done(struct gl_client *c, unsigned *ran, struct gs_err *err)
{
    for (unsigned n = c->done.n; n > 0 && c->done.first; n--) {
        finish(c->done.first);
        ++*ran;
        if (gs_mono_ms() - c->driven_ms >= DRIVE_MS && drive(c, ran, err))
            return -1;
    }
    return 0;
}

/* `once`: waits a single time, for the network, a wake-up or the timeout, also when no request is there. */
static int poll_once(struct gl_client *c, int timeout_ms, bool once, struct gs_err *err)
{
    int64_t now = gs_mono_ms(), until = now + (timeout_ms > 0 ? timeout_ms : 0);
    for (bool waited = false;; waited = true) {
        unsigned ran = 0;
        if (drive(c, &ran, err) || run_done(c, &ran, err))
            return -1;
        now = gs_mono_ms();
        if (ran > 0 || (once ? waited : gl_pending(c) == 0) || now >= until)
            return 0;
        int64_t wait = sleep_ms(c, now, until);
        if (wait > 0) {
            CURLMcode rc = curl_multi_poll(c->multi, NULL, 0, (int)wait, NULL);
            if (rc != CURLM_OK)
                return gs_fail(err, GS_E_INTERNAL, "libcurl: %s", curl_multi_strerror(rc));
            now = gs_mono_ms();
        }
    }
}

static int poll(struct gl_client *c, int timeout_ms, bool once, struct gs_err *err)
{
    if (c->polling)
        return gs_fail(err, GS_E_INTERNAL, "the HTTP engine was run out of one of its own callbacks");
    c->polling = true;
    int r = poll_once(c, timeout_ms, once, err);
    c->polling = false;
    return r;
}

int gl_poll(struct gl_client *c, int timeout_ms, struct gs_err *err)
{
    return poll(c, timeout_ms, false, err);
}

int gl_wait(struct gl_client *c, int timeout_ms, struct gs_err *err)
{
    return poll(c, timeout_ms, true, err);
}

int gl_perform(struct gl_client *c, struct gl_request *r, struct gl_response *rsp, struct gs_err *err)
{
    bool finished = false;
    *rsp = (struct gl_response){.outcome = GL_NOT_SENT, .total = -1, .total_pages = -1, .ratelimit_remaining = -1};
    if (c->polling) {
        gl_request_free(r);
        return gs_fail(err, GS_E_INTERNAL, "a blocking request was made in a callback of the HTTP engine");
    }
    if (gl_submit(c, r, err))
        return -1;
    r->transfer->give_to = rsp;
    r->transfer->finished = &finished;
    while (!finished)
        if (gl_poll(c, 1000, err)) {
            if (!finished)
                drop(r->transfer);
            return -1;
        }
    if (rsp->err.code) {
        *err = rsp->err;
        return -1;
    }
    return 0;
}
