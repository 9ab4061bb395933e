/*
 * gql: GraphQL queries, parsed and carried out (October 2021 edition: operations, variables, arguments, aliases, fragments,
 * @include and @skip, __typename, introspection).
 *
 *   gql_parse(text) -> gql_run(doc, schema, ...): checks the whole document against the schema, then answers it -> gql_doc_free()
 *
 * What is wrong with a document is told in the answer ({"errors":[...]}), as the protocol has it; only want of memory is a failure.
 * Mutations and subscriptions are not there. A struct gql_schema is read only and serves all threads.
 */
#ifndef SERVE_GQL_H
#define SERVE_GQL_H

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"
#include "libcommon/json.h"

#include <stdbool.h>
#include <stddef.h>

#define GQL_MAX_DOCUMENT ((size_t)128 << 10)
#define GQL_MAX_DEPTH 24       /* of selections, values and types in each other */
#define GQL_MAX_FIELDS 20000   /* looked at in one document, fragments counted as often as they are used */
#define GQL_MAX_ANSWER ((size_t)4 << 20)

/* ---- documents ---- */

enum gql_kind { GQL_NULL, GQL_INT, GQL_FLOAT, GQL_STRING, GQL_BOOL, GQL_ENUM, GQL_LIST, GQL_OBJECT, GQL_VARIABLE };

struct gql_value {
    enum gql_kind kind;
    const char *name;        /* of the argument or of the field of an input object; or NULL */
    const char *text;        /* of scalars, enums and variables ("true" and "false" too) */
    size_t len;
    struct gql_value *first; /* of lists and objects */
    struct gql_value *next;
};

struct gql_directive {
    const char *name;
    struct gql_value *args;
    struct gql_directive *next;
};

struct gql_selection {
    enum { GQL_FIELD, GQL_SPREAD, GQL_INLINE } kind;
    const char *name;        /* field, or fragment */
    const char *key;         /* of a field in the answer: its alias or its name */
    const char *on;          /* of an inline fragment; may be NULL */
    struct gql_value *args;
    struct gql_directive *directives;
    struct gql_selection *first;
    struct gql_selection *next;
};

struct gql_variable {
    const char *name, *type; /* "[ID!]!", without blanks */
    struct gql_value *preset; /* or NULL */
    struct gql_variable *next;
};

struct gql_operation {
    const char *kind;        /* "query", "mutation", "subscription" */
    const char *name;        /* or NULL */
    struct gql_variable *variables;
    struct gql_selection *first;
    struct gql_operation *next;
};

struct gql_fragment {
    const char *name, *on;
    struct gql_selection *first;
    struct gql_fragment *next;
    bool open;               /* being looked at: a spread of it now would have no end */
};

struct gql_arena {
    struct gql_block *blocks;
    size_t total;
};

struct gql_doc {
    struct gql_arena arena;
    struct gql_operation *operations;
    struct gql_fragment *fragments;
};

/* GS_E_GRAPHQL with line and column when the text is no document, GS_E_LIMIT, GS_E_NOMEM. */
int gql_parse(const char *text, size_t len, struct gql_doc **out, struct gs_err *err) GS_MUST_USE;
void gql_doc_free(struct gql_doc *d);
GS_DEFINE_AUTO(gql_doc, gql_doc_free);

/* Zeroed memory that lives as long as the document; NULL: none left. */
void *gql_alloc(struct gql_arena *a, size_t n);

/* ---- schema ---- */

struct gql_arg_def {
    const char *name, *type; /* a NULL name ends the list */
};
struct gql_field_def {
    const char *name, *type;
    const struct gql_arg_def *args; /* may be NULL */
};
struct gql_type_def {
    const char *name;
    enum { GQL_T_OBJECT, GQL_T_ENUM, GQL_T_SCALAR } kind;
    const struct gql_field_def *fields; /* of objects; a NULL name ends it */
    const char *const *values;          /* of enums; ends with NULL */
};

/*
 * Appends the JSON value of a field to `out`, whose objects are then selected from by name; *out_done false: the field is the member
 * of that name in `parent` (NULL for the root). `args` were checked against the schema, variables are filled in.
 */
typedef int (*gql_resolve)(void *cookie, const char *type, const char *field, yyjson_val *parent, const struct gql_value *args,
                           struct gs_buf *out, bool *out_done, struct gs_err *err);

struct gql_schema {
    const struct gql_type_def *types; /* a NULL name ends it; the first is the query root */
    gql_resolve resolve;
};

const struct gql_type_def *gql_type(const struct gql_schema *s, const char *name, size_t len);
/* The types of introspection (__Schema ...) and those that every schema has (String ...). */
extern const struct gql_type_def gql_own_types[];

/* The argument of this name, or NULL when it is absent or null. */
const struct gql_value *gql_arg(const struct gql_value *args, const char *name);
/* Is this text (of a string, id or enum) among the elements of the list? */
bool gql_list_has(const struct gql_value *list, const char *text);

/* The whole schema as introspection shows it: a JSON object with the member __schema. */
int gql_introspect(const struct gql_schema *s, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/*
 * Appends the answer to a request. `operation` may be NULL, `variables` too. Invalid documents are answered with errors. `tree` is the
 * parsed text of gql_introspect(). GS_E_NOMEM, and what `resolve` fails with.
 */
struct gql_request {
    const struct gql_schema *schema;
    yyjson_val *tree;
    void *cookie;        /* of resolve() */
    const char *operation;
    yyjson_val *variables;
};
int gql_run(struct gql_doc *d, const struct gql_request *rq, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* The answer that is nothing but one error. */
int gql_error(const char *text, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

#endif
