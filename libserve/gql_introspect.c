/* A schema as introspection shows it, and the types of introspection itself. */
#include "libserve/gql.h"

#include <string.h>

#define F(name, type) {name, type, NULL}
#define END {NULL, NULL, NULL}

static const struct gql_arg_def deprecated[] = {{"includeDeprecated", "Boolean"}, {NULL, NULL}};

static const struct gql_field_def schema_fields[] = {
    F("description", "String"), F("types", "[__Type!]!"), F("queryType", "__Type!"), F("mutationType", "__Type"),
    F("subscriptionType", "__Type"), F("directives", "[__Directive!]!"), END,
};
static const struct gql_field_def type_fields[] = {
    F("kind", "__TypeKind!"), F("name", "String"), F("description", "String"), F("specifiedByURL", "String"), F("specifiedByUrl", "String"),
    {"fields", "[__Field!]", deprecated}, F("interfaces", "[__Type!]"), F("possibleTypes", "[__Type!]"),
    {"enumValues", "[__EnumValue!]", deprecated}, {"inputFields", "[__InputValue!]", deprecated}, F("ofType", "__Type"),
    F("isOneOf", "Boolean"), END,
};
static const struct gql_field_def field_fields[] = {
    F("name", "String!"), F("description", "String"), {"args", "[__InputValue!]!", deprecated}, F("type", "__Type!"),
    F("isDeprecated", "Boolean!"), F("deprecationReason", "String"), END,
};
static const struct gql_field_def input_fields[] = {
    F("name", "String!"), F("description", "String"), F("type", "__Type!"), F("defaultValue", "String"), F("isDeprecated", "Boolean!"),
    F("deprecationReason", "String"), END,
};
static const struct gql_field_def enum_fields[] = {
    F("name", "String!"), F("description", "String"), F("isDeprecated", "Boolean!"), F("deprecationReason", "String"), END,
};
static const struct gql_field_def directive_fields[] = {
    F("name", "String!"), F("description", "String"), F("locations", "[__DirectiveLocation!]!"), {"args", "[__InputValue!]!", deprecated},
    F("isRepeatable", "Boolean!"), F("onOperation", "Boolean!"), F("onFragment", "Boolean!"), F("onField", "Boolean!"), END,
};
static const char *const kinds[] = {"SCALAR", "OBJECT", "INTERFACE", "UNION", "ENUM", "INPUT_OBJECT", "LIST", "NON_NULL", NULL};
static const char *const locations[] = {"FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT", "QUERY", NULL};

const struct gql_type_def gql_own_types[] = {
    {"Boolean", GQL_T_SCALAR, NULL, NULL},
    {"Float", GQL_T_SCALAR, NULL, NULL},
    {"ID", GQL_T_SCALAR, NULL, NULL},
    {"Int", GQL_T_SCALAR, NULL, NULL},
    {"String", GQL_T_SCALAR, NULL, NULL},
    {"__Schema", GQL_T_OBJECT, schema_fields, NULL},
    {"__Type", GQL_T_OBJECT, type_fields, NULL},
    {"__Field", GQL_T_OBJECT, field_fields, NULL},
    {"__InputValue", GQL_T_OBJECT, input_fields, NULL},
    {"__EnumValue", GQL_T_OBJECT, enum_fields, NULL},
    {"__Directive", GQL_T_OBJECT, directive_fields, NULL},
    {"__TypeKind", GQL_T_ENUM, NULL, kinds},
    {"__DirectiveLocation", GQL_T_ENUM, NULL, locations},
    {NULL, GQL_T_SCALAR, NULL, NULL},
};

const struct gql_type_def *gql_type(const struct gql_schema *s, const char *name, size_t len)
{
    for (const struct gql_type_def *t = s->types; t->name; t++)
        if (strlen(t->name) == len && memcmp(t->name, name, len) == 0)
            return t;
    for (const struct gql_type_def *t = gql_own_types; t->name; t++)
        if (strlen(t->name) == len && memcmp(t->name, name, len) == 0)
            return t;
    return NULL;
}

/* "[ID!]!" as NON_NULL of LIST of NON_NULL of ID. */
static void put_type(struct gs_jw *w, const struct gql_schema *s, const char *type, size_t len)
{
    bool non_null = len > 0 && type[len - 1] == '!', list = !non_null && len > 1 && type[0] == '[';
    gs_jw_obj(w);
    if (non_null || list) {
        gs_jw_kstr(w, "kind", non_null ? "NON_NULL" : "LIST");
        gs_jw_kstr(w, "name", NULL);
        gs_jw_key(w, "ofType");
        put_type(w, s, non_null ? type : type + 1, non_null ? len - 1 : len - 2);
    } else {
        const struct gql_type_def *t = gql_type(s, type, len);
        gs_jw_kstr(w, "kind", !t || t->kind == GQL_T_SCALAR ? "SCALAR" : t->kind == GQL_T_ENUM ? "ENUM" : "OBJECT");
        gs_jw_key(w, "name");
        gs_jw_strn(w, type, len);
        gs_jw_kstr(w, "ofType", NULL);
    }
    gs_jw_end(w);
}

static void put_args(struct gs_jw *w, const struct gql_schema *s, const struct gql_arg_def *a)
{
    gs_jw_key(w, "args");
    gs_jw_arr(w);
    for (; a && a->name; a++) {
        gs_jw_obj(w);
        gs_jw_kstr(w, "name", a->name);
        gs_jw_kstr(w, "description", NULL);
        gs_jw_key(w, "type");
        put_type(w, s, a->type, strlen(a->type));
        gs_jw_kstr(w, "defaultValue", NULL);
        gs_jw_kbool(w, "isDeprecated", false);
        gs_jw_kstr(w, "deprecationReason", NULL);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

static void put_fields(struct gs_jw *w, const struct gql_schema *s, const struct gql_type_def *t)
{
    gs_jw_key(w, "fields");
    gs_jw_arr(w);
    for (const struct gql_field_def *f = t->fields; f && f->name; f++) {
        gs_jw_obj(w);
        gs_jw_kstr(w, "name", f->name);
        gs_jw_kstr(w, "description", NULL);
        put_args(w, s, f->args);
        gs_jw_key(w, "type");
        put_type(w, s, f->type, strlen(f->type));
        gs_jw_kbool(w, "isDeprecated", false);
        gs_jw_kstr(w, "deprecationReason", NULL);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

static void put_values(struct gs_jw *w, const struct gql_type_def *t)
{
    gs_jw_key(w, "enumValues");
    gs_jw_arr(w);
    for (const char *const *v = t->values; *v; v++) {
        gs_jw_obj(w);
        gs_jw_kstr(w, "name", *v);
        gs_jw_kstr(w, "description", NULL);
        gs_jw_kbool(w, "isDeprecated", false);
        gs_jw_kstr(w, "deprecationReason", NULL);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

static void put_def(struct gs_jw *w, const struct gql_schema *s, const struct gql_type_def *t)
{
    gs_jw_obj(w);
    gs_jw_kstr(w, "kind", t->kind == GQL_T_SCALAR ? "SCALAR" : t->kind == GQL_T_ENUM ? "ENUM" : "OBJECT");
    gs_jw_kstr(w, "name", t->name);
    gs_jw_kstr(w, "description", NULL);
    gs_jw_kstr(w, "specifiedByURL", NULL);
    if (t->kind == GQL_T_OBJECT)
        put_fields(w, s, t);
    else
        gs_jw_kstr(w, "fields", NULL);
    gs_jw_key(w, "interfaces");
    if (t->kind == GQL_T_OBJECT)
        gs_jw_raw(w, "[]", 2);
    else
        gs_jw_null(w);
    gs_jw_kstr(w, "possibleTypes", NULL);
    if (t->kind == GQL_T_ENUM)
        put_values(w, t);
    else
        gs_jw_kstr(w, "enumValues", NULL);
    gs_jw_kstr(w, "inputFields", NULL);
    gs_jw_kstr(w, "ofType", NULL);
    gs_jw_end(w);
}

static void put_directive(struct gs_jw *w, const struct gql_schema *s, const char *name)
{
    static const struct gql_arg_def condition[] = {{"if", "Boolean!"}, {NULL, NULL}};
    gs_jw_obj(w);
    gs_jw_kstr(w, "name", name);
    gs_jw_kstr(w, "description", NULL);
    gs_jw_key(w, "locations");
    gs_jw_arr(w);
    for (size_t i = 0; i < 3; i++)
        gs_jw_str(w, locations[i]);
    gs_jw_end(w);
    put_args(w, s, condition);
    gs_jw_kbool(w, "isRepeatable", false);
    gs_jw_kbool(w, "onOperation", false);
    gs_jw_kbool(w, "onFragment", true);
    gs_jw_kbool(w, "onField", true);
    gs_jw_end(w);
}

int gql_introspect(const struct gql_schema *s, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "__schema");
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "description", NULL);
    gs_jw_key(&w, "queryType");
    put_def(&w, s, &s->types[0]);
    gs_jw_kstr(&w, "mutationType", NULL);
    gs_jw_kstr(&w, "subscriptionType", NULL);
    gs_jw_key(&w, "types");
    gs_jw_arr(&w);
    for (const struct gql_type_def *t = s->types; t->name; t++)
        put_def(&w, s, t);
    for (const struct gql_type_def *t = gql_own_types; t->name; t++)
        put_def(&w, s, t);
    gs_jw_end(&w);
    gs_jw_key(&w, "directives");
    gs_jw_arr(&w);
    put_directive(&w, s, "include");
    put_directive(&w, s, "skip");
    gs_jw_end(&w);
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}
