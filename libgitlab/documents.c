#include "graphql.h"

#include "libcommon/cleanup.h"

#include <string.h>

#include "gl_docs.h" /* made by the Makefile out of graphql/: gl_doc_NAME for every document */

#ifndef GL_DOCS
#define GL_DOCS(X)                                                                                                     \
    X(board_create)                                                                                                    \
    X(board_list_limits)                                                                                               \
    X(board_update)                                                                                                    \
    X(group_boards)                                                                                                    \
    X(group_boards_ce)                                                                                                 \
    X(group_labels)                                                                                                    \
    X(group_members)                                                                                                   \
    X(group_unread)                                                                                                    \
    X(label_create)
#endif

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
