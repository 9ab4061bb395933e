/* A checked document is answered: selections are taken out of JSON, which resolvers make for the fields that need it. */
#include "libserve/gql_check.h"

#include <stdlib.h>
#include <string.h>

#define FIELD_TEXT_MAX GQL_MAX_ANSWER

/* The fields of one selection by their key in the answer, fragments opened; a key may stand there several times. */
struct flat {
    const struct gql_selection **v;
    size_t n, cap;
};

static int flatten(struct gql_run *r, const struct gql_selection *s, struct flat *out)
{
    for (; s; s = s->next) {
        bool wanted;
        if (gql_wanted(r, s->directives, &wanted))
            return -1;
        if (!wanted)
            continue;
        if (s->kind != GQL_FIELD) {
            const struct gql_fragment *f = s->kind == GQL_SPREAD ? gql_fragment(r->d, s->name) : NULL;
            if (flatten(r, f ? f->first : s->first, out))
                return -1;
            continue;
        }
        if (out->n == out->cap) {
            size_t cap = out->cap ? out->cap * 2 : 16;
            const struct gql_selection **v = realloc(out->v, cap * sizeof(const struct gql_selection *));
            if (!v)
                return gs_fail(r->err, GS_E_NOMEM, "no memory for a selection");
            out->v = v;
            out->cap = cap;
        }
        out->v[out->n++] = s;
    }
    return 0;
}

/* Several selections of one key are one: the same field, with the fields of all. */
struct sets {
    const struct gql_selection *v[64];
    size_t n;
};

static int put_value(struct gql_run *r, const struct gql_type_def *t, const struct sets *sets, yyjson_val *v, struct gs_buf *out);

static bool same_args(const struct gql_value *a, const struct gql_value *b)
{
    for (; a && b; a = a->next, b = b->next)
        if (a->kind != b->kind || (a->name && b->name && strcmp(a->name, b->name) != 0) ||
            (a->text && b->text ? strcmp(a->text, b->text) != 0 : a->text != b->text) || !same_args(a->first, b->first))
            return false;
    return !a && !b;
}

/* `__type(name:)` out of all types. */
static yyjson_val *find_type(const struct gql_run *r, const struct gql_value *args)
{
    const struct gql_value *name = gql_arg(args, "name");
    yyjson_val *types = yyjson_obj_get(yyjson_obj_get(r->rq->tree, "__schema"), "types"), *t;
    size_t i, max;
    yyjson_arr_foreach(types, i, max, t) if (name && yyjson_equals_str(yyjson_obj_get(t, "name"), name->text)) return t;
    return NULL;
}

/* A type that is named only, in the tree, is the whole type. */
static yyjson_val *whole_type(const struct gql_run *r, const struct gql_type_def *t, yyjson_val *v)
{
    const char *name = strcmp(t->name, "__Type") == 0 ? gs_json_str(v, "name") : NULL;
    if (!name || yyjson_obj_get(v, "fields"))
        return v;
    struct gql_value key = {.kind = GQL_STRING, .name = "name", .text = name};
    yyjson_val *whole = find_type(r, &key);
    return whole ? whole : v;
}

static int put_field(struct gql_run *r, const struct gql_type_def *t, const struct gql_selection *s, const struct sets *sets, yyjson_val *parent,
                     struct gs_buf *out)
{
    const struct gql_field_def *f = gql_field(r, t, s->name);
    const struct gql_type_def *inner = gql_inner(r, f->type);
    struct gql_value *args;
    bool done = false;
    if (strcmp(s->name, "__typename") == 0)
        return gs_json_quote(t->name, strlen(t->name), out, r->err);
    if (gql_fill(r, s->args, &args))
        return -1;
    if (strcmp(s->name, "__schema") == 0)
        return put_value(r, inner, sets, yyjson_obj_get(r->rq->tree, "__schema"), out);
    if (strcmp(s->name, "__type") == 0)
        return put_value(r, inner, sets, find_type(r, args), out);
    gs_autobuf text;
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_buf_init(&text, FIELD_TEXT_MAX);
    if (strncmp(t->name, "__", 2) != 0 &&
        r->rq->schema->resolve(r->rq->cookie, t->name, s->name, parent, args, &text, &done, r->err))
        return -1;
    struct gs_json_opts o = {.max_bytes = FIELD_TEXT_MAX};
    if (done && gs_json_parse(gs_buf_str(&text), text.len, &o, &doc, r->err))
        return -1;
    return put_value(r, inner, sets, done ? yyjson_doc_get_root(doc) : yyjson_obj_get(parent, s->name), out);
}

static int put_object(struct gql_run *r, const struct gql_type_def *t, const struct sets *of, yyjson_val *parent, struct gs_buf *out)
{
    struct flat all = {0};
    bool first = true;
    int ret = 0;
    parent = whole_type(r, t, parent);
    for (size_t i = 0; i < of->n && ret == 0; i++)
        ret = flatten(r, of->v[i], &all);
    if (ret == 0)
        ret = gs_buf_addc(out, '{', r->err);
    for (size_t i = 0; i < all.n && ret == 0; i++) {
        const struct gql_selection *s = all.v[i];
        struct sets sets = {.n = 0};
        if (!s)
            continue;
        for (size_t j = i; j < all.n && ret == 0; j++) {
            const struct gql_selection *o = all.v[j];
            if (!o || strcmp(o->key, s->key) != 0)
                continue;
            if (strcmp(o->name, s->name) != 0 || !same_args(o->args, s->args))
                ret = gs_fail(r->err, GS_E_GRAPHQL, "the key '%.100s' stands for two different fields", s->key);
            else if (o->first && sets.n == GS_COUNT(sets.v))
                ret = gs_fail(r->err, GS_E_GRAPHQL, "the key '%.100s' stands there too often", s->key);
            else if (o->first)
                sets.v[sets.n++] = o->first;
            all.v[j] = NULL;
        }
        if (ret == 0)
            ret = (!first && gs_buf_addc(out, ',', r->err)) || gs_json_quote(s->key, strlen(s->key), out, r->err) ||
                  gs_buf_addc(out, ':', r->err) || put_field(r, t, s, &sets, parent, out);
        first = false;
    }
    free(all.v);
    return ret || gs_buf_addc(out, '}', r->err) ? -1 : 0;
}

static int put_value(struct gql_run *r, const struct gql_type_def *t, const struct sets *sets, yyjson_val *v, struct gs_buf *out)
{
    size_t i, max;
    yyjson_val *e;
    if (!v || yyjson_is_null(v))
        return gs_buf_addstr(out, "null", r->err);
    if (yyjson_is_arr(v) && t->kind == GQL_T_OBJECT) {
        if (gs_buf_addc(out, '[', r->err))
            return -1;
        yyjson_arr_foreach(v, i, max, e)
        {
            if ((i && gs_buf_addc(out, ',', r->err)) || put_value(r, t, sets, e, out))
                return -1;
        }
        return gs_buf_addc(out, ']', r->err);
    }
    return t->kind == GQL_T_OBJECT ? put_object(r, t, sets, v, out) : gs_json_write(v, out, r->err);
}

int gql_error(const char *text, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "errors");
    gs_jw_arr(&w);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "message", text);
    gs_jw_end(&w);
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int gql_run(struct gql_doc *d, const struct gql_request *rq, struct gs_buf *out, struct gs_err *err)
{
    struct gql_run r = {.d = d, .rq = rq, .err = err};
    size_t from = out->len;
    int ret = gql_check(&r);
    if (ret == 0) {
        struct sets top = {.v = {r.op->first}, .n = 1};
        ret = gs_buf_addstr(out, "{\"data\":", err) || put_object(&r, rq->schema->types, &top, NULL, out) || gs_buf_addc(out, '}', err);
    }
    if (ret == 0)
        return 0;
    out->len = from;
    if (err->code != GS_E_GRAPHQL && err->code != GS_E_LIMIT)
        return -1;
    struct gs_err told = *err;
    gs_err_clear(err);
    return gql_error(told.text, out, err);
}
