/* What an error's body says, in whichever of GitLab's shapes it comes. */
#include "rest.h"

#include "libcommon/utf8.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_PARSED ((size_t)1 << 20)
#define MAX_FLATTEN_DEPTH 6

/* ---- one line for people ---- */

struct words {
    char *out;
    size_t cap, n;
    bool full;
};

static void put(struct words *w, const char *s, size_t n)
{
    if (w->full || w->n + n + 1 > w->cap) {
        w->full = true;
        return;
    }
    memcpy(w->out + w->n, s, n);
    w->n += n;
    w->out[w->n] = 0;
}

/* Blanks are squeezed and what could steer a terminal is dropped: the text comes from the other side of the wire. */
static void add(struct words *w, const char *s, size_t n)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < n && !w->full;) {
        size_t k = gs_utf8_len(p + i, n - i);
        bool control = k == 1 && (p[i] < 32 || p[i] == 127);
        bool c1 = k == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0;
        if (k == 0) {
            put(w, "?", 1);
        } else if (p[i] == ' ' || control) {
            if (w->n > 0 && w->out[w->n - 1] != ' ' && (p[i] == ' ' || isspace(p[i])))
                put(w, " ", 1);
        } else if (!c1) {
            put(w, s + i, k);
        }
        i += k ? k : 1;
    }
}

static void addz(struct words *w, const char *s)
{
    add(w, s, strlen(s));
}

static void trim(struct words *w)
{
    while (w->n > 0 && w->out[w->n - 1] == ' ')
        w->out[--w->n] = 0;
}

static void separate(struct words *w, size_t begin, const char *sep)
{
    if (w->n > begin)
        put(w, sep, strlen(sep));
}

static bool is_frame(const char *key)
{
    return strcmp(key, "base") == 0 || strcmp(key, "error") == 0 || strcmp(key, "message") == 0;
}

static void flatten(struct words *w, yyjson_val *v, unsigned depth)
{
    size_t begin = w->n, i, max;
    yyjson_val *k, *e;
    if (depth > MAX_FLATTEN_DEPTH || w->full)
        return;
    if (yyjson_is_str(v)) {
        add(w, yyjson_get_str(v), yyjson_get_len(v));
    } else if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, max, e)
        {
            separate(w, begin, ", ");
            flatten(w, e, depth + 1);
        }
    } else if (yyjson_is_obj(v)) {
        yyjson_obj_foreach(v, i, max, k, e)
        {
            separate(w, begin, "; ");
            if (!is_frame(yyjson_get_str(k))) {
                add(w, yyjson_get_str(k), yyjson_get_len(k));
                put(w, " ", 1);
            }
            flatten(w, e, depth + 1);
        }
    } else if (yyjson_is_bool(v)) {
        addz(w, yyjson_is_true(v) ? "true" : "false");
    } else if (yyjson_is_int(v)) {
        char num[24];
        snprintf(num, sizeof num, "%lld", (long long)yyjson_get_sint(v));
        addz(w, num);
    }
}

static bool filled(yyjson_val *v)
{
    return v && !yyjson_is_null(v) && !(yyjson_is_arr(v) && yyjson_arr_size(v) == 0) &&
           !(yyjson_is_obj(v) && yyjson_obj_size(v) == 0) && !(yyjson_is_str(v) && yyjson_get_len(v) == 0);
}

/* Messages of GraphQL: top-level errors (objects), else those of the mutations' payloads (strings). */
static bool graphql_words(struct words *w, yyjson_val *root)
{
    size_t begin = w->n, i, max, j, jmax;
    yyjson_val *e, *k, *errors = yyjson_obj_get(root, "errors");
    if (yyjson_is_arr(errors)) {
        yyjson_arr_foreach(errors, i, max, e)
        {
            yyjson_val *m = yyjson_is_obj(e) ? yyjson_obj_get(e, "message") : e;
            if (!filled(m))
                continue;
            separate(w, begin, "; ");
            flatten(w, m, 0);
        }
    }
    yyjson_val *data = yyjson_obj_get(root, "data");
    if (yyjson_is_obj(data)) {
        yyjson_obj_foreach(data, i, max, k, e)
        {
            yyjson_val *list = yyjson_is_obj(e) ? yyjson_obj_get(e, "errors") : NULL, *m;
            if (!yyjson_is_arr(list))
                continue;
            yyjson_arr_foreach(list, j, jmax, m)
            {
                separate(w, begin, "; ");
                flatten(w, m, 0);
            }
        }
    }
    return w->n > begin;
}

static bool object_words(struct words *w, yyjson_val *root)
{
    if (yyjson_is_true(yyjson_obj_get(root, "needs_captcha_response"))) {
        addz(w, "the server takes the text for spam and wants a captcha solved");
        return true;
    }
    if (graphql_words(w, root))
        return true;
    yyjson_val *message = yyjson_obj_get(root, "message"), *error = yyjson_obj_get(root, "error"),
               *description = yyjson_obj_get(root, "error_description");
    if (filled(description)) {
        flatten(w, description, 0);
        if (filled(error)) {
            addz(w, " (");
            flatten(w, error, 0);
            put(w, ")", 1);
        }
    } else if (filled(message)) {
        flatten(w, message, 0);
        if (filled(error) && !yyjson_equals(message, error)) {
            put(w, "; ", 2);
            flatten(w, error, 0);
        }
    } else if (filled(error)) {
        flatten(w, error, 0);
    } else if (filled(yyjson_obj_get(root, "errors"))) {
        flatten(w, yyjson_obj_get(root, "errors"), 0);
    }
    return w->n > 0;
}

static bool find_ci(const char *hay, size_t len, const char *needle, size_t *at)
{
    size_t n = strlen(needle);
    for (size_t i = 0; i + n <= len; i++)
        if (strncasecmp(hay + i, needle, n) == 0) {
            *at = i;
            return true;
        }
    return false;
}

static void html_words(struct words *w, const char *body, size_t len)
{
    size_t from, to;
    addz(w, "an HTML page");
    if (!find_ci(body, len, "<title", &from))
        return;
    const char *gt = memchr(body + from, '>', len - from);
    if (!gt)
        return;
    size_t start = (size_t)(gt + 1 - body);
    if (!find_ci(gt + 1, len - start, "</title", &to) || to == 0)
        return;
    addz(w, ": ");
    add(w, gt + 1, to);
}

static bool looks_html(const char *content_type, const char *body, size_t len)
{
    size_t at;
    if (content_type && find_ci(content_type, strlen(content_type), "html", &at))
        return true;
    while (len > 0 && isspace((unsigned char)*body)) {
        body++;
        len--;
    }
    return (len >= 5 && strncasecmp(body, "<html", 5) == 0) || (len >= 9 && strncasecmp(body, "<!doctype", 9) == 0);
}

static yyjson_doc *read_lenient(const char *body, size_t len)
{
    return len > 0 && len <= MAX_PARSED ? yyjson_read(body, len, YYJSON_READ_ALLOW_INVALID_UNICODE) : NULL;
}

void gl_error_text(int status, const char *content_type, const char *body, size_t len, char *out, size_t cap)
{
    struct words w = {.out = out, .cap = cap};
    if (cap == 0)
        return;
    out[0] = 0;
    GS_AUTO(yyjson_doc) doc = read_lenient(body, len);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (yyjson_is_obj(root) && object_words(&w, root)) {
        trim(&w);
        return;
    }
    if (yyjson_is_str(root) || yyjson_is_arr(root))
        flatten(&w, root, 0);
    else if (!doc && looks_html(content_type, body, len))
        html_words(&w, body, len);
    if (w.n == 0)
        add(&w, body, len < 4096 ? len : 4096);
    trim(&w);
    if (w.n == 0 && status)
        addz(&w, "no further words");
}

/* ---- what must not be told on ---- */

#define BLANK_MIN 8 /* shorter ones occur by chance, and no token of GitLab is so short */

void gl_blank(const char *secret, size_t secret_len, char *text, size_t len)
{
    if (!secret || secret_len < BLANK_MIN)
        return;
    for (char *p; len >= secret_len && (p = memmem(text, len, secret, secret_len));) {
        memset(p, '*', secret_len);
        len -= (size_t)(p + secret_len - text);
        text = p + secret_len;
    }
}

/* ---- duplicates ---- */

/* "Failed to save x {:path=>[...]}" and the like: the words that say that a name is in use. */
static bool says_taken(const char *text)
{
    static const char *const phrases[] = {"has already been taken", "has been taken before", "already exists",
                                          "already being used", "dates cannot overlap"};
    for (size_t i = 0; i < GS_COUNT(phrases); i++)
        if (strcasestr(text, phrases[i]))
            return true;
    return false;
}

enum gl_dup gl_error_duplicate(int status, const char *body, size_t len)
{
    char text[4096] = "";
    struct words w = {.out = text, .cap = sizeof text};
    if (status >= 200 && status < 300) {
        GS_AUTO(yyjson_doc) doc = read_lenient(body, len);
        yyjson_val *root = yyjson_doc_get_root(doc);
        return yyjson_is_obj(root) && graphql_words(&w, root) && says_taken(text) ? GL_DUP_YES : GL_DUP_NO;
    }
    gl_error_text(status, NULL, body, len, text, sizeof text);
    switch (status) {
    case 409:
        if (strcasestr(text, "resource lock"))
            return GL_DUP_LOCK;
        return says_taken(text) ? GL_DUP_YES : GL_DUP_NO;
    case 400:
    case 422:
        return says_taken(text) ? GL_DUP_YES : GL_DUP_NO;
    case 404: /* award emoji: "404 Award Emoji Name has already been taken Not Found" */
        return strcasestr(text, "already been taken") ? GL_DUP_YES : GL_DUP_NO;
    default:
        return GL_DUP_NO;
    }
}

/* ---- names of attributes ---- */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/*
 * The keys of a printed Ruby hash: {:title=>["..."]} up to Ruby 3.3, {title: ["..."]} after it, {"title" => [...]}
 * for string keys. A key is a word that `=>` or `:` follows; what stands in quotes as a value is passed over.
 */
static bool hash_names(const char *s, size_t len, const char *attr)
{
    size_t n = strlen(attr), i = 0;
    unsigned depth = 0;
    while (i < len) {
        char c = s[i];
        if (c == '{') {
            depth++;
            i++;
        } else if (c == '}') {
            depth -= depth > 0;
            i++;
        } else if (c == '"' || (depth > 0 && is_word(c))) {
            bool quoted = c == '"';
            size_t b = quoted ? i + 1 : i, e = b;
            while (e < len && (quoted ? s[e] != '"' : is_word(s[e])))
                e += quoted && s[e] == '\\' && e + 1 < len ? 2 : 1;
            i = quoted && e < len ? e + 1 : e;
            size_t a = i;
            while (a < len && s[a] == ' ')
                a++;
            bool arrow = a + 1 < len && s[a] == '=' && s[a + 1] == '>';
            bool colon = i < len && s[i] == ':';
            if (depth > 0 && (arrow || colon) && e - b == n && memcmp(s + b, attr, n) == 0)
                return true;
        } else {
            i++;
        }
    }
    return false;
}

bool gl_error_names(const char *body, size_t len, const char *attr)
{
    GS_AUTO(yyjson_doc) doc = read_lenient(body, len);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root))
        return false;
    static const char *const places[] = {"message", "error", "errors"};
    for (size_t i = 0; i < GS_COUNT(places); i++) {
        yyjson_val *m = yyjson_obj_get(root, places[i]);
        if (yyjson_is_obj(m) && yyjson_obj_get(m, attr))
            return true;
        if (yyjson_is_str(m) && hash_names(yyjson_get_str(m), yyjson_get_len(m), attr))
            return true;
    }
    return false;
}

/* ---- the error object ---- */

static bool insufficient_scope(const struct gl_response *rsp)
{
    GS_AUTO(yyjson_doc) doc = read_lenient(rsp->body.data, rsp->body.len);
    const char *error = gs_json_str(yyjson_doc_get_root(doc), "error");
    return error && strcmp(error, "insufficient_scope") == 0;
}

int gl_error_fill(const struct gl_response *rsp, struct gs_err *err)
{
    int s = rsp->status;
    enum gs_code code = GS_E_REFUSED;
    enum gs_scope scope = GS_SCOPE_ITEM;
    if (s == 401) {
        code = GS_E_TOKEN;
        scope = GS_SCOPE_FATAL;
    } else if (s == 403 && insufficient_scope(rsp)) {
        code = GS_E_SCOPE;
        scope = GS_SCOPE_FATAL;
    } else if (s == 403) {
        code = GS_E_FORBIDDEN;
    } else if (s == 409 && gl_error_duplicate(s, rsp->body.data, rsp->body.len) == GL_DUP_LOCK) {
        code = GS_E_BUSY;
    } else if (s == 429) {
        code = GS_E_RATE;
        scope = GS_SCOPE_RETRY;
    } else if (s >= 500) {
        code = GS_E_SERVER;
        scope = GS_SCOPE_RETRY;
    } else if (s == 408) {
        code = GS_E_TIMEOUT;
        scope = GS_SCOPE_RETRY;
    } else if (s < 400 || s == 407) {
        code = GS_E_REMOTE;
        scope = GS_SCOPE_FATAL;
    }
    char words[400];
    gl_error_text(s, rsp->content_type, rsp->body.data, rsp->body.len, words, sizeof words);
    gs_fail(err, code, "the server answered %d: %s", s, words);
    err->scope = scope;
    err->http = s;
    memcpy(err->request_id, rsp->request_id, sizeof err->request_id);
    return -1;
}
