#include "libserve/gql_check.h"

#include <stdlib.h>
#include <string.h>

static int wrong(struct gql_run *r, const char *fmt, const char *a, const char *b)
{
    char text[400];
    snprintf(text, sizeof text, "%s '%.100s'%s%s%.100s%s", fmt, a, b ? " " : "", b ? "on '" : "", b ? b : "", b ? "'" : "");
    return gs_fail(r->err, GS_E_GRAPHQL, "%s", text);
}

static int no_memory(struct gql_run *r)
{
    return gs_fail(r->err, GS_E_GRAPHQL, "the request is too large");
}

const struct gql_fragment *gql_fragment(const struct gql_doc *d, const char *name)
{
    for (const struct gql_fragment *f = d->fragments; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

const struct gql_type_def *gql_inner(const struct gql_run *r, const char *type)
{
    type += strspn(type, "[");
    return gql_type(r->rq->schema, type, strcspn(type, "!]"));
}

const struct gql_field_def *gql_field(const struct gql_run *r, const struct gql_type_def *t, const char *name)
{
    static const struct gql_arg_def type_args[] = {{"name", "String!"}, {NULL, NULL}};
    static const struct gql_field_def typename_field = {"__typename", "String!", NULL}, schema_field = {"__schema", "__Schema!", NULL},
                                      type_field = {"__type", "__Type", type_args};
    for (const struct gql_field_def *f = t->fields; f && f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    if (strcmp(name, "__typename") == 0)
        return &typename_field;
    if (t == r->rq->schema->types && strcmp(name, "__schema") == 0)
        return &schema_field;
    return t == r->rq->schema->types && strcmp(name, "__type") == 0 ? &type_field : NULL;
}

const struct gql_value *gql_arg(const struct gql_value *args, const char *name)
{
    for (; args; args = args->next)
        if (args->name && strcmp(args->name, name) == 0)
            return args->kind == GQL_NULL ? NULL : args;
    return NULL;
}

bool gql_list_has(const struct gql_value *list, const char *text)
{
    for (const struct gql_value *v = list ? list->first : NULL; v; v = v->next)
        if (v->text && strcmp(v->text, text) == 0)
            return true;
    return false;
}

/* ---- values ---- */

/* Is the text a whole number of 32 bits? */
static bool int32(const struct gql_value *v)
{
    char *end;
    if (v->kind != GQL_INT || v->len > 11)
        return false;
    long long n = strtoll(v->text, &end, 10);
    return *end == '\0' && n >= INT32_MIN && n <= INT32_MAX;
}

static bool scalar_fits(const struct gql_type_def *t, const struct gql_value *v, bool from_json)
{
    if (t->kind == GQL_T_ENUM) {
        if (v->kind != GQL_ENUM && !(from_json && v->kind == GQL_STRING))
            return false;
        for (const char *const *e = t->values; *e; e++)
            if (strcmp(*e, v->text) == 0)
                return true;
        return false;
    }
    if (strcmp(t->name, "Int") == 0)
        return int32(v);
    if (strcmp(t->name, "Boolean") == 0)
        return v->kind == GQL_BOOL;
    if (strcmp(t->name, "Float") == 0)
        return v->kind == GQL_INT || v->kind == GQL_FLOAT;
    if (strcmp(t->name, "ID") == 0)
        return v->kind == GQL_STRING || v->kind == GQL_INT;
    return v->kind == GQL_STRING;
}

/* Does a value fit a type "[ID!]!"? One value stands for a list of one. */
static bool fits(const struct gql_run *r, const char *type, size_t len, const struct gql_value *v, bool from_json)
{
    if (len > 0 && type[len - 1] == '!')
        return v->kind != GQL_NULL && fits(r, type, len - 1, v, from_json);
    if (v->kind == GQL_NULL || v->kind == GQL_VARIABLE)
        return true;
    if (len > 1 && type[0] == '[') {
        if (v->kind != GQL_LIST)
            return fits(r, type + 1, len - 2, v, from_json);
        for (const struct gql_value *e = v->first; e; e = e->next)
            if (!fits(r, type + 1, len - 2, e, from_json))
                return false;
        return true;
    }
    const struct gql_type_def *t = gql_type(r->rq->schema, type, len);
    return t && t->kind != GQL_T_OBJECT && v->kind != GQL_LIST && v->kind != GQL_OBJECT && scalar_fits(t, v, from_json);
}

/* ---- variables ---- */

static int from_json(struct gql_run *r, yyjson_val *j, unsigned depth, struct gql_value **out)
{
    struct gql_value *v = gql_alloc(&r->d->arena, sizeof *v);
    char number[40];
    const char *text = "";
    size_t i, max, len = 0;
    yyjson_val *e;
    if (!v || depth > GQL_MAX_DEPTH)
        return no_memory(r);
    *out = v;
    if (yyjson_is_arr(j)) {
        struct gql_value **tail = &v->first;
        v->kind = GQL_LIST;
        yyjson_arr_foreach(j, i, max, e)
        {
            if (from_json(r, e, depth + 1, tail))
                return -1;
            tail = &(*tail)->next;
        }
        return 0;
    }
    if (yyjson_is_str(j)) {
        v->kind = GQL_STRING;
        text = yyjson_get_str(j);
        len = yyjson_get_len(j);
    } else if (yyjson_is_bool(j)) {
        v->kind = GQL_BOOL;
        text = yyjson_get_bool(j) ? "true" : "false";
        len = strlen(text);
    } else if (yyjson_is_num(j)) {
        v->kind = yyjson_is_int(j) ? GQL_INT : GQL_FLOAT;
        len = (size_t)(yyjson_is_uint(j)  ? snprintf(number, sizeof number, "%llu", (unsigned long long)yyjson_get_uint(j))
                       : yyjson_is_int(j) ? snprintf(number, sizeof number, "%lld", (long long)yyjson_get_sint(j))
                                          : snprintf(number, sizeof number, "%.17g", yyjson_get_real(j)));
        text = number;
    } else if (yyjson_is_obj(j)) {
        v->kind = GQL_OBJECT; /* no type takes one */
        return 0;
    }
    char *copy = gql_alloc(&r->d->arena, len + 1);
    if (!copy)
        return no_memory(r);
    memcpy(copy, text, len);
    v->text = copy;
    v->len = len;
    return 0;
}

static int take_variables(struct gql_run *r)
{
    struct gql_value **tail = &r->values;
    for (const struct gql_variable *d = r->op->variables; d; d = d->next) {
        yyjson_val *j = yyjson_obj_get(r->rq->variables, d->name);
        const struct gql_type_def *t = gql_inner(r, d->type);
        size_t len = strlen(d->type);
        if (!t || t->kind == GQL_T_OBJECT)
            return wrong(r, "no input type:", d->type, NULL);
        if (j) {
            if (from_json(r, j, 0, tail))
                return -1;
            if (!fits(r, d->type, len, *tail, true))
                return wrong(r, "no value for this type: variable", d->name, NULL);
        } else if (d->preset) {
            *tail = gql_alloc(&r->d->arena, sizeof **tail);
            if (!*tail)
                return no_memory(r);
            **tail = *d->preset;
            (*tail)->next = NULL;
            if (!fits(r, d->type, len, *tail, false))
                return wrong(r, "no value for this type: variable", d->name, NULL);
        } else if (d->type[len - 1] == '!') {
            return wrong(r, "no value is given: variable", d->name, NULL);
        } else {
            continue;
        }
        (*tail)->name = d->name;
        tail = &(*tail)->next;
    }
    return 0;
}

static const struct gql_value *variable(const struct gql_run *r, const char *name)
{
    for (const struct gql_value *v = r->values; v; v = v->next)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static const struct gql_variable *declared(const struct gql_run *r, const char *name)
{
    for (const struct gql_variable *v = r->op->variables; v; v = v->next)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static int fill_value(struct gql_run *r, const struct gql_value *v, struct gql_value **out)
{
    const struct gql_value *from = v->kind == GQL_VARIABLE ? variable(r, v->text) : v;
    *out = NULL;
    if (!from)
        return 0;
    struct gql_value *to = gql_alloc(&r->d->arena, sizeof *to), **tail = to ? &to->first : NULL;
    if (!to)
        return no_memory(r);
    *to = *from;
    to->name = v->name;
    to->next = to->first = NULL;
    for (const struct gql_value *e = from->first; e; e = e->next) {
        if (fill_value(r, e, tail))
            return -1;
        if (*tail)
            tail = &(*tail)->next;
    }
    *out = to;
    return 0;
}

int gql_fill(struct gql_run *r, const struct gql_value *args, struct gql_value **out)
{
    struct gql_value **tail = out;
    *out = NULL;
    for (; args; args = args->next) {
        if (fill_value(r, args, tail))
            return -1;
        if (*tail)
            tail = &(*tail)->next;
    }
    return 0;
}

/* ---- directives and arguments ---- */

int gql_wanted(struct gql_run *r, const struct gql_directive *d, bool *out)
{
    *out = true;
    for (; d; d = d->next) {
        struct gql_value *v;
        if (gql_fill(r, d->args, &v))
            return -1;
        bool yes = v && v->kind == GQL_BOOL && strcmp(v->text, "true") == 0;
        if (strcmp(d->name, "include") == 0 ? !yes : yes)
            *out = false;
    }
    return 0;
}

/* Is a variable of one type of use where another is asked for? The base type must be the same. */
static bool variable_fits(const struct gql_run *r, const char *has, const char *wants)
{
    return gql_inner(r, has) == gql_inner(r, wants) && (has[0] != '[' || wants[0] == '[');
}

static int check_variables_in(struct gql_run *r, const struct gql_value *v, const char *type)
{
    if (v->kind == GQL_VARIABLE) {
        const struct gql_variable *d = declared(r, v->text);
        if (!d)
            return wrong(r, "not declared: variable", v->text, NULL);
        return variable_fits(r, d->type, type) ? 0 : wrong(r, "of another type: variable", v->text, NULL);
    }
    for (const struct gql_value *e = v->first; e; e = e->next)
        if (check_variables_in(r, e, type))
            return -1;
    return 0;
}

static int check_args(struct gql_run *r, const struct gql_value *args, const struct gql_arg_def *defs, const char *of)
{
    for (const struct gql_value *v = args; v; v = v->next) {
        const struct gql_arg_def *d = defs;
        while (d && d->name && strcmp(d->name, v->name) != 0)
            d++;
        if (!d || !d->name)
            return wrong(r, "no such argument:", v->name, of);
        if (!fits(r, d->type, strlen(d->type), v, false))
            return wrong(r, "no value for this argument:", v->name, of);
        if (check_variables_in(r, v, d->type))
            return -1;
    }
    for (const struct gql_arg_def *d = defs; d && d->name; d++) {
        const struct gql_value *v = args;
        while (v && strcmp(v->name, d->name) != 0)
            v = v->next;
        bool needed = d->type[strlen(d->type) - 1] == '!';
        if (needed && (!v || (v->kind == GQL_VARIABLE && !variable(r, v->text))))
            return wrong(r, "an argument is missing:", d->name, of);
    }
    return 0;
}

static int check_directives(struct gql_run *r, const struct gql_directive *d)
{
    static const struct gql_arg_def condition[] = {{"if", "Boolean!"}, {NULL, NULL}};
    for (; d; d = d->next) {
        if (strcmp(d->name, "include") != 0 && strcmp(d->name, "skip") != 0)
            return wrong(r, "no such directive:", d->name, NULL);
        if (check_args(r, d->args, condition, d->name))
            return -1;
    }
    return 0;
}

/* ---- selections ---- */

static int check_selections(struct gql_run *r, const struct gql_selection *s, const struct gql_type_def *t);

static int check_field(struct gql_run *r, const struct gql_selection *s, const struct gql_type_def *t)
{
    const struct gql_field_def *f = gql_field(r, t, s->name);
    if (!f)
        return wrong(r, "no such field:", s->name, t->name);
    const struct gql_type_def *inner = gql_inner(r, f->type);
    if (check_args(r, s->args, f->args, s->name))
        return -1;
    if (!inner || (inner->kind == GQL_T_OBJECT) != (s->first != NULL))
        return wrong(r, s->first ? "a field without fields of its own:" : "a field of which fields must be selected:", s->name, t->name);
    return s->first ? check_selections(r, s->first, inner) : 0;
}

static int check_spread(struct gql_run *r, const struct gql_selection *s, const struct gql_type_def *t)
{
    const char *on = s->on;
    const struct gql_selection *first = s->first;
    struct gql_fragment *f = NULL;
    if (s->kind == GQL_SPREAD) {
        f = (struct gql_fragment *)gql_fragment(r->d, s->name);
        if (!f)
            return wrong(r, "no such fragment:", s->name, NULL);
        if (f->open)
            return wrong(r, "a fragment that spreads itself:", s->name, NULL);
        on = f->on;
        first = f->first;
    }
    /* there are no interfaces, so that a fragment fits one type only */
    if (on && strcmp(on, t->name) != 0)
        return wrong(r, "a fragment of another type:", on, t->name);
    if (f)
        f->open = true;
    int ret = check_selections(r, first, t);
    if (f)
        f->open = false;
    return ret;
}

static int check_selections(struct gql_run *r, const struct gql_selection *s, const struct gql_type_def *t)
{
    if (++r->depth > 2 * GQL_MAX_DEPTH)
        return gs_fail(r->err, GS_E_GRAPHQL, "the document is nested too deeply");
    for (; s; s = s->next) {
        if (++r->looked_at > GQL_MAX_FIELDS)
            return gs_fail(r->err, GS_E_GRAPHQL, "the document has more than %d fields", GQL_MAX_FIELDS);
        if (check_directives(r, s->directives) || (s->kind == GQL_FIELD ? check_field(r, s, t) : check_spread(r, s, t)))
            return -1;
    }
    r->depth--;
    return 0;
}

static int find_operation(struct gql_run *r)
{
    for (const struct gql_operation *op = r->d->operations; op; op = op->next) {
        if (r->rq->operation && (!op->name || strcmp(op->name, r->rq->operation) != 0))
            continue;
        if (r->op)
            return gs_fail(r->err, GS_E_GRAPHQL, "an operation name is needed");
        r->op = op;
    }
    if (!r->op)
        return r->rq->operation ? wrong(r, "no such operation:", r->rq->operation, NULL)
                                : gs_fail(r->err, GS_E_GRAPHQL, "no operation in the document");
    return strcmp(r->op->kind, "query") == 0 ? 0 : wrong(r, "nothing can be changed here:", r->op->kind, NULL);
}

int gql_check(struct gql_run *r)
{
    for (struct gql_fragment *f = r->d->fragments; f; f = f->next)
        f->open = false;
    return find_operation(r) || take_variables(r) || check_selections(r, r->op->first, r->rq->schema->types) ? -1 : 0;
}
