/* gql_check: a document against a schema, before anything of it is carried out. */
#ifndef SERVE_GQL_CHECK_H
#define SERVE_GQL_CHECK_H

#include "libserve/gql.h"

/* One request on its way. */
struct gql_run {
    struct gql_doc *d;
    const struct gql_request *rq;
    const struct gql_operation *op;
    struct gql_value *values; /* of the variables that have one, by name */
    unsigned looked_at, depth;
    struct gs_err *err;       /* GS_E_GRAPHQL: told to the client */
};

/* Finds the operation, takes in the variables, and checks every selection of it. */
int gql_check(struct gql_run *r) GS_MUST_USE;

const struct gql_fragment *gql_fragment(const struct gql_doc *d, const char *name);
/* Does this selection count, as @include and @skip say? */
int gql_wanted(struct gql_run *r, const struct gql_directive *d, bool *out) GS_MUST_USE;
/* The arguments with the variables filled in; what has no value is left out. */
int gql_fill(struct gql_run *r, const struct gql_value *args, struct gql_value **out) GS_MUST_USE;
/* The field of a type, those of introspection included; NULL: there is none. */
const struct gql_field_def *gql_field(const struct gql_run *r, const struct gql_type_def *t, const char *name);
/* "User" of "[User!]!". */
const struct gql_type_def *gql_inner(const struct gql_run *r, const char *type);

#endif
