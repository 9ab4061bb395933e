/* The text of a GraphQL document into a tree. */
#include "libserve/gql.h"

#include "libcommon/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)16 << 10)
#define ARENA_MAX ((size_t)16 << 20)

struct gql_block {
    struct gql_block *next;
    size_t used, size;
    max_align_t data[];
};

void *gql_alloc(struct gql_arena *a, size_t n)
{
    n = (n + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct gql_block *b = a->blocks;
    if (!b || b->size - b->used < n) {
        size_t size = n > BLOCK ? n : BLOCK;
        if (a->total + size > ARENA_MAX || !(b = malloc(sizeof *b + size)))
            return NULL;
        *b = (struct gql_block){.next = a->blocks, .size = size};
        a->blocks = b;
        a->total += size;
    }
    void *p = (char *)b->data + b->used;
    b->used += n;
    memset(p, 0, n);
    return p;
}

void gql_doc_free(struct gql_doc *d)
{
    if (!d)
        return;
    for (struct gql_block *b = d->arena.blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(d);
}

/* ---- tokens ---- */

enum token { T_END, T_PUNCT, T_NAME, T_INT, T_FLOAT, T_STRING };

struct parser {
    struct gql_doc *d;
    const char *text, *p, *end;
    struct gs_err *err;
    unsigned depth;
    /* the token that comes next */
    enum token token;
    const char *at; /* where it begins */
    const char *s;  /* its text; of a string, what it says */
    size_t len;
    char punct;     /* '.' stands for "..." */
};

static int bad(struct parser *ps, const char *what)
{
    size_t line = 1, column = 1;
    for (const char *p = ps->text; p < ps->at; p++) {
        column++;
        if (*p == '\n') {
            line++;
            column = 1;
        }
    }
    return gs_fail(ps->err, GS_E_GRAPHQL, "%s at [%zu, %zu]", what, line, column);
}

static int no_memory(struct parser *ps)
{
    return gs_fail(ps->err, GS_E_LIMIT, "the document is too large");
}

static bool name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static void skip_ignored(struct parser *ps)
{
    while (ps->p < ps->end) {
        char c = *ps->p;
        if (c == '#') {
            while (ps->p < ps->end && *ps->p != '\n' && *ps->p != '\r')
                ps->p++;
        } else if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == ',') {
            ps->p++;
        } else if (ps->end - ps->p >= 3 && memcmp(ps->p, "\xef\xbb\xbf", 3) == 0) {
            ps->p += 3;
        } else {
            break;
        }
    }
}

static int hex4(const char *p, const char *end, unsigned *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        char c = p + i < end ? p[i] : 'x';
        unsigned v = digit(c) ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10 : 99;
        if (v == 99)
            return -1;
        *out = *out * 16 + v;
    }
    return 0;
}

static size_t put_utf8(unsigned c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Behind a backslash and 'u'; surrogates come in pairs. */
static int unicode_escape(struct parser *ps, char *out, size_t *n)
{
    unsigned c, low;
    if (hex4(ps->p, ps->end, &c))
        return bad(ps, "a wrong \\u escape");
    ps->p += 4;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (ps->end - ps->p < 6 || ps->p[0] != '\\' || ps->p[1] != 'u' || hex4(ps->p + 2, ps->end, &low) || low < 0xdc00 || low > 0xdfff)
            return bad(ps, "half a surrogate pair");
        ps->p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c <= 0xdfff) {
        return bad(ps, "half a surrogate pair");
    }
    *n += put_utf8(c, out + *n);
    return 0;
}

static int read_string(struct parser *ps)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *q = ps->p + 1;
    while (q < ps->end && *q != '"' && *q != '\n')
        q += *q == '\\' && q + 1 < ps->end ? 2 : 1;
    char *out = gql_alloc(&ps->d->arena, (size_t)(q - ps->p) + 1); /* no escape is shorter than what it says */
    size_t n = 0;
    if (!out)
        return no_memory(ps);
    ps->p++;
    for (;;) {
        if (ps->p == ps->end || *ps->p == '\n' || *ps->p == '\r')
            return bad(ps, "a string without an end");
        char c = *ps->p++;
        if (c == '"')
            break;
        if (c != '\\') {
            out[n++] = c;
            continue;
        }
        char e = ps->p < ps->end ? *ps->p++ : '\0';
        const char *f = e ? strchr(from, e) : NULL;
        if (e == 'u') {
            if (unicode_escape(ps, out, &n))
                return -1;
        } else if (f) {
            out[n++] = to[f - from];
        } else {
            return bad(ps, "an unknown escape");
        }
    }
    ps->s = out;
    ps->len = n;
    return 0;
}

/* A block string is given out as it stands: nothing that is asked here has indented text. */
static int read_block_string(struct parser *ps)
{
    ps->s = ps->p += 3;
    while (ps->end - ps->p >= 3 && memcmp(ps->p, "\"\"\"", 3) != 0)
        ps->p += ps->end - ps->p >= 4 && memcmp(ps->p, "\\\"\"\"", 4) == 0 ? 4 : 1;
    if (ps->end - ps->p < 3)
        return bad(ps, "a string without an end");
    ps->len = (size_t)(ps->p - ps->s);
    ps->p += 3;
    return 0;
}

static int read_number(struct parser *ps)
{
    const char *p = ps->p;
    ps->token = T_INT;
    p += *p == '-';
    if (p == ps->end || !digit(*p) || (*p == '0' && p + 1 < ps->end && digit(p[1])))
        return bad(ps, "a wrong number");
    while (p < ps->end && digit(*p))
        p++;
    if (p < ps->end && *p == '.') {
        ps->token = T_FLOAT;
        if (++p == ps->end || !digit(*p))
            return bad(ps, "a wrong number");
        while (p < ps->end && digit(*p))
            p++;
    }
    if (p < ps->end && (*p == 'e' || *p == 'E')) {
        ps->token = T_FLOAT;
        p++;
        p += p < ps->end && (*p == '+' || *p == '-');
        if (p == ps->end || !digit(*p))
            return bad(ps, "a wrong number");
        while (p < ps->end && digit(*p))
            p++;
    }
    if (p < ps->end && (name_start(*p) || *p == '.'))
        return bad(ps, "a wrong number");
    ps->s = ps->p;
    ps->len = (size_t)(p - ps->p);
    ps->p = p;
    return 0;
}

static int advance(struct parser *ps)
{
    skip_ignored(ps);
    ps->at = ps->p;
    ps->punct = '\0';
    ps->s = ps->p;
    ps->len = 0;
    ps->token = T_END;
    if (ps->p == ps->end)
        return 0;
    char c = *ps->p;
    if (name_start(c)) {
        ps->token = T_NAME;
        while (ps->p < ps->end && (name_start(*ps->p) || digit(*ps->p)))
            ps->p++;
        ps->len = (size_t)(ps->p - ps->s);
        return 0;
    }
    if (digit(c) || c == '-')
        return read_number(ps);
    if (c == '"') {
        ps->token = T_STRING;
        return ps->end - ps->p >= 3 && memcmp(ps->p, "\"\"\"", 3) == 0 ? read_block_string(ps) : read_string(ps);
    }
    ps->token = T_PUNCT;
    if (c == '.') {
        if (ps->end - ps->p < 3 || memcmp(ps->p, "...", 3) != 0)
            return bad(ps, "an unexpected '.'");
        ps->p += 2;
    } else if (c == '\0' || !strchr("!$&()[]{}:=@|", c)) {
        return bad(ps, "an unexpected character");
    }
    ps->p++;
    ps->punct = c;
    return 0;
}

static bool is(const struct parser *ps, char punct)
{
    return ps->token == T_PUNCT && ps->punct == punct;
}

static bool is_word(const struct parser *ps, const char *word)
{
    return ps->token == T_NAME && strlen(word) == ps->len && memcmp(ps->s, word, ps->len) == 0;
}

static int expect(struct parser *ps, char punct)
{
    char what[24];
    if (is(ps, punct))
        return advance(ps);
    snprintf(what, sizeof what, "expected '%c'", punct);
    return bad(ps, what);
}

static int copy(struct parser *ps, const char *s, size_t len, const char **out)
{
    char *t = gql_alloc(&ps->d->arena, len + 1);
    if (!t)
        return no_memory(ps);
    memcpy(t, s, len);
    *out = t;
    return 0;
}

static int name(struct parser *ps, const char **out)
{
    if (ps->token != T_NAME)
        return bad(ps, "expected a name");
    return copy(ps, ps->s, ps->len, out) || advance(ps) ? -1 : 0;
}

static int deeper(struct parser *ps)
{
    return ++ps->depth > GQL_MAX_DEPTH ? bad(ps, "nested too deeply") : 0;
}

#define NEW(ps, var)                                                                                                               \
    do {                                                                                                                           \
        (var) = gql_alloc(&(ps)->d->arena, sizeof *(var));                                                                         \
        if (!(var))                                                                                                                \
            return no_memory(ps);                                                                                                  \
    } while (0)

/* ---- values ---- */

static int value(struct parser *ps, bool fixed, struct gql_value **out);

static int list_value(struct parser *ps, bool fixed, struct gql_value *v)
{
    struct gql_value **tail = &v->first;
    v->kind = GQL_LIST;
    if (advance(ps))
        return -1;
    while (!is(ps, ']')) {
        if (value(ps, fixed, tail))
            return -1;
        tail = &(*tail)->next;
    }
    return advance(ps);
}

/* Fields of an input object up to '}', or arguments up to ')'. */
static int named_values(struct parser *ps, char close, bool fixed, struct gql_value **first)
{
    struct gql_value **tail = first;
    if (advance(ps))
        return -1;
    while (!is(ps, close)) {
        const char *key;
        if (name(ps, &key) || expect(ps, ':') || value(ps, fixed, tail))
            return -1;
        for (struct gql_value *v = *first; v != *tail; v = v->next)
            if (strcmp(v->name, key) == 0)
                return bad(ps, "one name twice");
        (*tail)->name = key;
        tail = &(*tail)->next;
    }
    return advance(ps);
}

static int scalar(struct parser *ps, enum gql_kind kind, struct gql_value *v)
{
    v->kind = kind;
    v->len = ps->len;
    for (size_t at = 0, n; kind == GQL_STRING && at < ps->len; at += n) {
        n = gs_utf8_len((const unsigned char *)ps->s + at, ps->len - at);
        if (n == 0)
            return bad(ps, "a string that is no UTF-8");
    }
    return copy(ps, ps->s, ps->len, &v->text) || advance(ps) ? -1 : 0;
}

static int value(struct parser *ps, bool fixed, struct gql_value **out)
{
    struct gql_value *v;
    NEW(ps, v);
    *out = v;
    if (deeper(ps))
        return -1;
    int r;
    if (is(ps, '$')) {
        if (fixed)
            return bad(ps, "a variable where none may stand");
        v->kind = GQL_VARIABLE;
        r = advance(ps) || name(ps, &v->text) ? -1 : 0;
    } else if (is(ps, '[')) {
        r = list_value(ps, fixed, v);
    } else if (is(ps, '{')) {
        v->kind = GQL_OBJECT;
        r = named_values(ps, '}', fixed, &v->first);
    } else if (ps->token == T_INT || ps->token == T_FLOAT || ps->token == T_STRING) {
        r = scalar(ps, ps->token == T_INT ? GQL_INT : ps->token == T_FLOAT ? GQL_FLOAT : GQL_STRING, v);
    } else if (ps->token == T_NAME) {
        r = scalar(ps, is_word(ps, "true") || is_word(ps, "false") ? GQL_BOOL : is_word(ps, "null") ? GQL_NULL : GQL_ENUM, v);
    } else {
        r = bad(ps, "expected a value");
    }
    ps->depth--;
    return r;
}

static int arguments(struct parser *ps, struct gql_value **out)
{
    return is(ps, '(') ? named_values(ps, ')', false, out) : 0;
}

/* ---- selections ---- */

static int directives(struct parser *ps, struct gql_directive **tail)
{
    while (is(ps, '@')) {
        struct gql_directive *d;
        NEW(ps, d);
        if (advance(ps) || name(ps, &d->name) || arguments(ps, &d->args))
            return -1;
        *tail = d;
        tail = &d->next;
    }
    return 0;
}

static int selections(struct parser *ps, struct gql_selection **tail);

static int spread(struct parser *ps, struct gql_selection *s)
{
    s->kind = GQL_INLINE;
    if (advance(ps))
        return -1;
    if (is_word(ps, "on")) {
        if (advance(ps) || name(ps, &s->on))
            return -1;
    } else if (ps->token == T_NAME) {
        s->kind = GQL_SPREAD;
        return name(ps, &s->name) || directives(ps, &s->directives) ? -1 : 0;
    }
    return directives(ps, &s->directives) || selections(ps, &s->first) ? -1 : 0;
}

static int field(struct parser *ps, struct gql_selection *s)
{
    if (name(ps, &s->name))
        return -1;
    s->key = s->name;
    if (is(ps, ':') && (advance(ps) || name(ps, &s->name)))
        return -1;
    if (arguments(ps, &s->args) || directives(ps, &s->directives))
        return -1;
    return is(ps, '{') ? selections(ps, &s->first) : 0;
}

static int selections(struct parser *ps, struct gql_selection **tail)
{
    if (deeper(ps) || expect(ps, '{'))
        return -1;
    if (is(ps, '}'))
        return bad(ps, "an empty selection");
    while (!is(ps, '}')) {
        struct gql_selection *s;
        NEW(ps, s);
        if (is(ps, '.') ? spread(ps, s) : field(ps, s))
            return -1;
        *tail = s;
        tail = &s->next;
    }
    ps->depth--;
    return advance(ps);
}

/* ---- definitions ---- */

static int type_text(struct parser *ps, struct gs_buf *out)
{
    if (deeper(ps))
        return -1;
    if (is(ps, '[')) {
        if (gs_buf_addc(out, '[', ps->err) || advance(ps) || type_text(ps, out) || expect(ps, ']') || gs_buf_addc(out, ']', ps->err))
            return -1;
    } else {
        if (ps->token != T_NAME)
            return bad(ps, "expected a type");
        if (gs_buf_add(out, ps->s, ps->len, ps->err) || advance(ps))
            return -1;
    }
    ps->depth--;
    if (!is(ps, '!'))
        return 0;
    return gs_buf_addc(out, '!', ps->err) || advance(ps) ? -1 : 0;
}

static int variables(struct parser *ps, struct gql_variable **tail)
{
    if (!is(ps, '('))
        return 0;
    if (advance(ps))
        return -1;
    struct gql_variable *first = NULL, **all = tail;
    while (!is(ps, ')')) {
        struct gql_variable *v;
        struct gql_directive *ignored = NULL;
        gs_autobuf type;
        gs_buf_init(&type, 1024);
        NEW(ps, v);
        if (expect(ps, '$') || name(ps, &v->name) || expect(ps, ':') || type_text(ps, &type) ||
            copy(ps, gs_buf_str(&type), type.len, &v->type) || (is(ps, '=') && (advance(ps) || value(ps, true, &v->preset))) ||
            directives(ps, &ignored))
            return -1;
        for (struct gql_variable *o = first; o; o = o->next)
            if (strcmp(o->name, v->name) == 0)
                return bad(ps, "one variable twice");
        *tail = v;
        tail = &v->next;
        first = *all;
    }
    return advance(ps);
}

static int operation(struct parser *ps, struct gql_operation *op)
{
    struct gql_directive *ignored = NULL;
    op->kind = "query";
    if (!is(ps, '{') &&
        (name(ps, &op->kind) || (ps->token == T_NAME && name(ps, &op->name)) || variables(ps, &op->variables) || directives(ps, &ignored)))
        return -1;
    return selections(ps, &op->first);
}

static int fragment(struct parser *ps, struct gql_fragment *f)
{
    struct gql_directive *ignored = NULL;
    if (advance(ps))
        return -1;
    if (is_word(ps, "on"))
        return bad(ps, "a fragment without a name");
    if (name(ps, &f->name))
        return -1;
    if (!is_word(ps, "on"))
        return bad(ps, "expected 'on'");
    return advance(ps) || name(ps, &f->on) || directives(ps, &ignored) || selections(ps, &f->first) ? -1 : 0;
}

static int document(struct parser *ps)
{
    struct gql_operation **ops = &ps->d->operations;
    struct gql_fragment **frags = &ps->d->fragments;
    if (advance(ps))
        return -1;
    if (ps->token == T_END)
        return bad(ps, "an empty document");
    while (ps->token != T_END) {
        if (is_word(ps, "fragment")) {
            NEW(ps, *frags);
            if (fragment(ps, *frags))
                return -1;
            frags = &(*frags)->next;
        } else if (is(ps, '{') || is_word(ps, "query") || is_word(ps, "mutation") || is_word(ps, "subscription")) {
            NEW(ps, *ops);
            if (operation(ps, *ops))
                return -1;
            ops = &(*ops)->next;
        } else {
            return bad(ps, "expected a query or a fragment");
        }
    }
    return 0;
}

int gql_parse(const char *text, size_t len, struct gql_doc **out, struct gs_err *err)
{
    if (len > GQL_MAX_DOCUMENT)
        return gs_fail(err, GS_E_LIMIT, "a document of %zu bytes, limit %zu", len, GQL_MAX_DOCUMENT);
    GS_AUTO(gql_doc) d = calloc(1, sizeof *d);
    /* NUL behind it, so that a look ahead is harmless */
    gs_autofree char *copied = malloc(len + 1);
    if (!d || !copied)
        return gs_fail(err, GS_E_NOMEM, "no memory for a document");
    memcpy(copied, text, len);
    copied[len] = '\0';
    struct parser ps = {.d = d, .text = copied, .p = copied, .end = copied + len, .at = copied, .err = err};
    if (document(&ps))
        return -1;
    *out = gs_steal(&d);
    return 0;
}
