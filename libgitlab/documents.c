#include "graphql.h"

#include "libcommon/cleanup.h"

#include <string.h>

#include "gl_docs.h" /* made by the Makefile out of graphql/: gl_doc_NAME for every document, and GL_DOCS lists them */

static const struct {
    const char *name, *text;
} documents[] = {
#define X(name) {#name, gl_doc_##name},
    GL_DOCS(X)
#undef X
};

const char *gl_document(const char *name)
{
    for (size_t i = 0; i < GS_COUNT(documents); i++)
        if (strcmp(documents[i].name, name) == 0)
            return documents[i].text;
    return NULL;
}

const char *gl_document_name(size_t i)
{
    return i < GS_COUNT(documents) ? documents[i].name : NULL;
}
