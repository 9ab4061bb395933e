/*
 * source_schema: what GitLab's importer asks of its source over GraphQL, answered from a bundle: groups with their settings and members,
 * users. There are no projects in a bundle, and the answers say so.
 */
#ifndef SERVE_SOURCE_SCHEMA_H
#define SERVE_SOURCE_SCHEMA_H

#include "libserve/gql.h"
#include "libserve/people.h"

struct source_schema;

int source_schema_new(const struct content *c, const struct people *p, struct source_schema **out, struct gs_err *err) GS_MUST_USE;
void source_schema_free(struct source_schema *s);
GS_DEFINE_AUTO(source_schema, source_schema_free);

extern const struct gql_schema source_gql;

/* What a request was about, for who watches. */
struct source_seen {
    size_t group;  /* SIZE_MAX: none */
    bool attributes, members, projects, users, introspection;
    bool malformed; /* it was no JSON */
};
/*
 * Answers the body of a POST: {"query":..., "operationName":..., "variables":...}. Whatever is wrong with it is told in the answer.
 * Threads may call it at once. GS_E_NOMEM, and what reading the bundle gives.
 */
int source_schema_answer(const struct source_schema *s, const char *body, size_t len, struct source_seen *seen, struct gs_buf *out,
                         struct gs_err *err) GS_MUST_USE;
/* The settings of a group as GraphQL names them. */
yyjson_val *source_schema_group(const struct source_schema *s, size_t group);

#endif
