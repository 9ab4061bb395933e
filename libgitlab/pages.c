/*
 * REST lists, page by page. Pages come to the caller in order; several may be on the wire at once:
 *
 *   - the page behind the delivered one is asked for by the server's own Link as soon as that is known;
 *   - when the link counts pages (page=N), further ones are asked for ahead of it by number, into free slots of the
 *     client only. With X-Total-Pages as far as that says, without it in a run that grows with the pages delivered;
 *   - the list ends at the page that has no next link, whatever was announced, so it may have grown or shrunk
 * meanwhile.
 */
#include "http_priv.h"
#include "rest.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WINDOW 64                          /* pages asked for or waiting to be delivered */
#define MAX_AHEAD_BYTES ((size_t)24 << 20) /* of pages that wait to be delivered */
#define MAX_PAGES 10000000

enum slot_state { SLOT_FREE, SLOT_ASKED, SLOT_READY };

struct slot {
    enum slot_state state;
    struct gl_response *rsp; /* when ready; its body and link are the slot's own. Not in the slot: lists are many, and most have one page */
};

struct listing {
    unsigned refs; /* the list itself while it runs, and one for every request on its way */
    struct gl_client *client;
    char *path; /* without query */
    gl_page_fn page;
    gl_pages_done_fn done;
    void *cookie;
    struct gl_pages stats;
    bool ended;
    struct gl_tag tag;
    bool live;

    uint64_t at;    /* next page to deliver, counted from 0 */
    uint64_t asked; /* pages asked for */
    size_t ahead_bytes;
    /* pages by number */
    bool numbered;
    bool sequential;            /* never ahead of the link */
    int64_t first_no;           /* number of page 0 */
    int64_t last_no;            /* as announced, -1 */
    char *before_no, *after_no; /* the query around the number */
    /* links seen */
    uint64_t *seen;
    size_t n_seen, cap_seen;

    struct slot slots[WINDOW];
};

struct ticket {
    struct listing *l;
    uint64_t index;
};

static void slot_clear(struct slot *s)
{
    if (s->rsp)
        gl_response_release(s->rsp);
    free(s->rsp);
    *s = (struct slot){.state = SLOT_FREE};
}

static void unref(struct listing *l)
{
    if (--l->refs > 0)
        return;
    for (size_t i = 0; i < WINDOW; i++)
        slot_clear(&l->slots[i]);
    free(l->path);
    free(l->before_no);
    free(l->after_no);
    free(l->seen);
    free(l);
}

static void end(struct listing *l, const struct gs_err *err)
{
    static const struct gs_err none;
    if (l->ended)
        return;
    l->ended = true;
    if (l->done)
        l->done(l->cookie, &l->stats, err ? err : &none);
    unref(l);
}

/* ---- the next link ---- */

static uint64_t hash(const char *s)
{
    uint64_t h = 14695981039346656037u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h ? h : 1;
}

/* Notes a query; *out_known tells that it was asked for before. */
static int note_seen(struct listing *l, const char *query, bool *out_known, struct gs_err *err)
{
    if (2 * (l->n_seen + 1) > l->cap_seen) {
        size_t cap = l->cap_seen ? l->cap_seen * 2 : 64;
        uint64_t *t = calloc(cap, sizeof *t);
        if (!t)
            return gs_fail(err, GS_E_NOMEM, "no memory for a list of pages");
        for (size_t i = 0; i < l->cap_seen; i++)
            if (l->seen[i]) {
                size_t k = l->seen[i] & (cap - 1);
                while (t[k])
                    k = (k + 1) & (cap - 1);
                t[k] = l->seen[i];
            }
        free(l->seen);
        l->seen = t;
        l->cap_seen = cap;
    }
    uint64_t h = hash(query);
    size_t k = h & (l->cap_seen - 1);
    while (l->seen[k] && l->seen[k] != h)
        k = (k + 1) & (l->cap_seen - 1);
    *out_known = l->seen[k] == h;
    l->n_seen += !*out_known;
    l->seen[k] = h;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The next character of a path with %XX resolved; advances *p. */
static int path_char(const char **p, const char *end)
{
    const char *s = *p;
    if (end - s >= 3 && s[0] == '%' && hex_digit(s[1]) >= 0 && hex_digit(s[2]) >= 0) {
        *p = s + 3;
        return hex_digit(s[1]) * 16 + hex_digit(s[2]);
    }
    *p = s + 1;
    return (unsigned char)*s;
}

static bool same_path(const char *a, const char *a_end, const char *b, const char *b_end)
{
    while (a < a_end && b < b_end)
        if (path_char(&a, a_end) != path_char(&b, b_end))
            return false;
    return a == a_end && b == b_end;
}

/*
 * The query of the next link. Only it is taken from the server: host and path stay our own, so neither the token nor
 * the list goes anywhere else. The path must be that of this list; a host that differs is common behind tunnels and
 * proxies.
 */
static int link_query(const struct listing *l, const char *url, char **out, struct gs_err *err)
{
    const char *p = strstr(url, "://");
    p = p ? strchr(p + 3, '/') : url;
    const char *end = p ? p + strcspn(p, "?#") : NULL, *api = p ? strstr(p, "/api/v4/") : NULL;
    if (!api || api >= end || !same_path(api + strlen("/api/v4"), end, l->path, l->path + strlen(l->path)))
        return gs_fail(err, GS_E_REMOTE, "the next page of %s lies elsewhere: %.200s", l->path, url);
    *out = *end == '?' ? strndup(end + 1, strcspn(end + 1, "#")) : strdup("");
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a link");
}

/* The value of `name` in a query; NULL when absent. */
static const char *query_value(const char *query, const char *name, size_t *len)
{
    size_t n = strlen(name);
    for (const char *p = query; *p; p += *p == '&') {
        size_t k = strcspn(p, "&");
        if (k > n && strncmp(p, name, n) == 0 && p[n] == '=') {
            *len = k - n - 1;
            return p + n + 1;
        }
        p += k;
    }
    return NULL;
}

static int64_t page_number(const char *query, const char **begin, size_t *len)
{
    int64_t n = 0;
    const char *v = query_value(query, "page", len);
    if (!v || *len == 0 || *len > 12)
        return -1;
    for (size_t i = 0; i < *len; i++) {
        if (!isdigit((unsigned char)v[i]))
            return -1;
        n = n * 10 + (v[i] - '0');
    }
    *begin = v;
    return n;
}

/* ---- asking ---- */

static void on_page(void *cookie, struct gl_request *req, struct gl_response *rsp);

static void on_drop(void *cookie)
{
    struct ticket *t = cookie;
    if (!t->l->ended) { /* the client goes away: `done` may not be called any more */
        t->l->ended = true;
        unref(t->l);
    }
    unref(t->l);
    free(t);
}

/* `goes_on`: the page that the next one to be delivered leads to, rather than one ahead of it. */
static int ask(struct listing *l, const char *query, bool goes_on, struct gs_err *err)
{
    struct ticket *t = malloc(sizeof *t);
    struct gl_request *r = t ? gl_request_new(GL_GET, "%s%s%s", l->path, *query ? "?" : "", query) : NULL;
    if (!r) {
        free(t);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *t = (struct ticket){.l = l, .index = l->asked};
    r->done = on_page;
    r->drop = on_drop;
    r->cookie = t;
    r->tag = l->tag;
    r->live = l->live;
    r->goes_on = goes_on;
    if (gl_submit(l->client, r, err)) {
        free(t);
        return -1;
    }
    l->slots[l->asked % WINDOW].state = SLOT_ASKED;
    l->asked++;
    l->refs++;
    return 0;
}

static int ask_number(struct listing *l, int64_t no, struct gs_err *err)
{
    gs_autofree char *query = gs_asprintf("%s%lld%s", l->before_no, (long long)no, l->after_no);
    return query ? ask(l, query, false, err) : gs_fail(err, GS_E_NOMEM, "no memory for a request");
}

/* Learns from the first next link whether pages are counted, and how the query goes on. */
static int learn_numbers(struct listing *l, const char *query, const struct gl_response *rsp, struct gs_err *err)
{
    const char *v = NULL;
    size_t n = 0, k = 0;
    int64_t no = page_number(query, &v, &n);
    if (no < 1 || query_value(query, "cursor", &k) || query_value(query, "id_after", &k) ||
        strstr(query, "pagination=keyset"))
        return 0;
    free(l->before_no);
    free(l->after_no);
    l->before_no = strndup(query, (size_t)(v - query));
    l->after_no = strdup(v + n);
    if (!l->before_no || !l->after_no)
        return gs_fail(err, GS_E_NOMEM, "no memory for a link");
    l->numbered = true;
    l->first_no = no - 1;
    l->last_no = rsp->total_pages;
    return 0;
}

/* Asks for pages ahead of the link, into slots that nobody else uses. */
static int ask_ahead(struct listing *l, struct gs_err *err)
{
    uint64_t run = l->at < WINDOW ? l->at : WINDOW;
    if (!l->numbered || l->sequential)
        return 0;
    while (gl_free_slots(l->client) > 0 && l->asked - l->at < WINDOW && l->ahead_bytes < MAX_AHEAD_BYTES) {
        int64_t no = l->first_no + (int64_t)l->asked;
        if (l->last_no >= 0 ? no > l->last_no : l->asked - l->at >= run)
            return 0;
        if (ask_number(l, no, err))
            return -1;
    }
    return 0;
}

/* ---- delivering ---- */

/* *out: the query of the next page, NULL at the end of the list. */
static int next_query(struct listing *l, const struct gl_response *rsp, char **out, struct gs_err *err)
{
    gs_autofree char *url = NULL;
    gs_autofree char *query = NULL;
    *out = NULL;
    if (rsp->link) {
        if (gl_link_next(rsp->link, &url, err))
            return -1;
        if (!url)
            return 0;
        if (link_query(l, url, &query, err))
            return -1;
    } else if (rsp->next_page > 0 && l->before_no) {
        query = gs_asprintf("%s%lld%s", l->before_no, (long long)rsp->next_page, l->after_no);
    } else {
        return 0;
    }
    if (!query)
        return gs_fail(err, GS_E_NOMEM, "no memory for a link");
    bool known;
    if (note_seen(l, query, &known, err))
        return -1;
    if (known)
        return gs_fail(err, GS_E_REMOTE, "the pages of %s go round in a circle", l->path);
    const char *v;
    size_t n;
    if (l->numbered && page_number(query, &v, &n) != l->first_no + (int64_t)l->at + 1)
        return gs_fail(err, GS_E_REMOTE, "the pages of %s are not counted up: page %lld is followed by '%.100s'",
                       l->path, (long long)l->first_no + (long long)l->at, query);
    *out = gs_steal(&query);
    return 0;
}

static int give_page(struct listing *l, const struct gl_response *rsp, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    l->stats.retries += rsp->tries > 0 ? rsp->tries - 1 : 0;
    l->stats.waited_ms += rsp->waited_ms;
    if (rsp->err.code) {
        *err = rsp->err;
        if (rsp->status == 405 && strcasestr(err->text, "offset"))
            gs_wrap(err, "the list is longer than the server gives out by page numbers");
        return -1;
    }
    if (gl_response_json(rsp, &doc, err))
        return gs_wrap(err, "GET %s", l->path);
    yyjson_val *array = yyjson_doc_get_root(doc);
    if (!yyjson_is_arr(array))
        return gs_fail(err, GS_E_REMOTE, "GET %s: the server's answer is no list", l->path);
    if (l->at == 0)
        l->stats.announced = rsp->total;
    if (l->stats.pages >= MAX_PAGES)
        return gs_fail(err, GS_E_LIMIT, "GET %s: more than %d pages", l->path, MAX_PAGES);
    l->stats.pages++;
    l->stats.records += yyjson_arr_size(array);
    l->stats.bytes += rsp->body.len;
    return l->page(l->cookie, array, gs_buf_str(&rsp->body), rsp->body.len, err);
}

/* One page that is there: to the caller, then what it says about the next one. */
static int deliver(struct listing *l, struct gl_response *rsp, bool *out_last, struct gs_err *err)
{
    gs_autofree char *query = NULL;
    *out_last = false;
    /* asked for before the page is given out: parsing and storing it take time in which the next one can travel */
    if (!rsp->err.code && next_query(l, rsp, &query, err))
        return -1;
    if (!rsp->err.code && query) {
        if (l->at == 0 && learn_numbers(l, query, rsp, err))
            return -1;
        if (l->asked == l->at + 1 && ask(l, query, true, err))
            return -1;
    }
    if (give_page(l, rsp, err))
        return -1;
    *out_last = !query;
    return 0;
}

static void deliver_ready(struct listing *l)
{
    struct gs_err err = {0};
    while (!l->ended && l->asked > l->at && l->slots[l->at % WINDOW].state == SLOT_READY) {
        struct slot *s = &l->slots[l->at % WINDOW];
        bool last = false;
        l->ahead_bytes -= s->rsp->body.len;
        int r = deliver(l, s->rsp, &last, &err);
        slot_clear(s);
        l->at++;
        if (r || last) {
            end(l, r ? &err : NULL);
            return;
        }
    }
    if (!l->ended && ask_ahead(l, &err))
        end(l, &err);
}

static void on_page(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct ticket *t = cookie;
    struct listing *l = t->l;
    (void)req;
    struct slot *s = &l->slots[t->index % WINDOW];
    struct gs_err err = {0};
    if (!l->ended && !(s->rsp = malloc(sizeof *s->rsp))) {
        gs_fail(&err, GS_E_NOMEM, "no memory for a page of a list");
        end(l, &err);
    } else if (!l->ended) {
        s->state = SLOT_READY;
        *s->rsp = *rsp;
        rsp->body = (struct gs_buf){0}; /* moved */
        rsp->link = NULL;
        l->ahead_bytes += s->rsp->body.len;
        deliver_ready(l);
    }
    free(t);
    unref(l);
}

/* ---- starting ---- */

static int start(struct gl_client *c, const char *path, const struct gl_list_opts *o, gl_page_fn page,
                 gl_pages_done_fn done, void *cookie, struct listing **out, struct gs_err *err)
{
    struct listing *l = calloc(1, sizeof *l);
    size_t n = strcspn(path, "?"), k;
    const char *query = path[n] ? path + n + 1 : "";
    gs_autofree char *full =
        query_value(query, "per_page", &k) ? strdup(query) : gs_asprintf("%s%sper_page=100", query, *query ? "&" : "");
    if (!l || !full) {
        free(l);
        return gs_fail(err, GS_E_NOMEM, "no memory for a list");
    }
    *l = (struct listing){.refs = 1, .client = c, .page = page, .done = done, .cookie = cookie, .last_no = -1};
    l->stats.announced = -1;
    if (o) {
        l->sequential = o->sequential;
        l->tag = o->tag;
        l->live = o->live;
    }
    bool known;
    int r = (l->path = strndup(path, n)) ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a list");
    /* X-Next-Page alone: where the number would go */
    if (r == 0 && !query_value(query, "page", &k)) {
        l->before_no = gs_asprintf("%s&page=", full);
        l->after_no = strdup("");
        if (!l->before_no || !l->after_no)
            r = gs_fail(err, GS_E_NOMEM, "no memory for a list");
    }
    if (r == 0)
        r = note_seen(l, full, &known, err);
    if (r == 0)
        r = ask(l, full, false, err);
    if (r) {
        l->done = NULL;
        end(l, NULL);
        return -1;
    }
    *out = l;
    return 0;
}

int gl_list_with(struct gl_client *c, const char *path, const struct gl_list_opts *o, gl_page_fn page,
                 gl_pages_done_fn done, void *cookie, struct gs_err *err)
{
    struct listing *l;
    return start(c, path, o, page, done, cookie, &l, err);
}

int gl_list(struct gl_client *c, const char *path, gl_page_fn page, gl_pages_done_fn done, void *cookie,
            struct gs_err *err)
{
    return gl_list_with(c, path, NULL, page, done, cookie, err);
}

struct waiter {
    gl_page_fn page;
    void *cookie;
    struct gl_pages stats;
    struct gs_err err;
    bool finished;
};

static int waiter_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct waiter *w = cookie;
    return w->page(w->cookie, array, text, len, err);
}

static void waiter_done(void *cookie, const struct gl_pages *p, const struct gs_err *err)
{
    struct waiter *w = cookie;
    w->stats = *p;
    w->err = *err;
    w->finished = true;
}

int gl_list_all(struct gl_client *c, const char *path, gl_page_fn page, void *cookie, struct gl_pages *out,
                struct gs_err *err)
{
    struct waiter w = {.page = page, .cookie = cookie};
    struct listing *l;
    if (start(c, path, NULL, waiter_page, waiter_done, &w, &l, err))
        return -1;
    while (!w.finished)
        if (gl_poll(c, 1000, err)) {
            if (!w.finished) {
                l->done = NULL;
                end(l, NULL);
            }
            return -1;
        }
    if (out)
        *out = w.stats;
    if (w.err.code) {
        *err = w.err;
        return -1;
    }
    return 0;
}
