/*
 * graphql: the documents that the project sends. Each stands in libgitlab/graphql/NAME.graphql and is known by NAME.
 */
#ifndef GL_GRAPHQL_H
#define GL_GRAPHQL_H

#include <stddef.h>

/* The text of a document; NULL when there is none of that name. */
const char *gl_document(const char *name);
/* For tests that walk all of them: the name of the i-th document in order of names, NULL behind the last. */
const char *gl_document_name(size_t i);

#endif
