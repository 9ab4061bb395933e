/* Bodies of answers: words of an error, duplicates, names, pages, GraphQL. First two bytes: status and content type. */
#include "libgitlab/rest.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s, size_t cap)
{
    size_t n = strlen(s);
    if (n >= cap)
        abort();
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 32 || s[i] == 127)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 201, 400, 401, 403, 404, 409, 422, 429, 500, 502, 302};
    static const char *const types[] = {"application/json", "text/html", "text/plain; charset=utf-8", ""};
    if (size < 2)
        return 0;
    struct gs_err err = {0};
    struct gl_response rsp = {.status = statuses[data[0] % (sizeof statuses / sizeof *statuses)]};
    snprintf(rsp.content_type, sizeof rsp.content_type, "%s", types[data[1] % 4]);
    gs_buf_init(&rsp.body, 1 << 20);
    const char *body = (const char *)data + 2;
    size_t len = size - 2;
    if (gs_buf_add(&rsp.body, body, len, &err)) {
        gs_buf_release(&rsp.body);
        return 0;
    }
    char out[300];
    size_t cap = 1 + data[1] % sizeof out;
    gl_error_text(rsp.status, rsp.content_type, body, len, out, cap);
    check_text(out, cap);
    if (gl_error_fill(&rsp, &err) != -1 || err.code == GS_OK)
        abort();
    check_text(err.text, sizeof err.text);
    enum gl_dup d = gl_error_duplicate(rsp.status, body, len);
    if (d == GL_DUP_LOCK && rsp.status != 409)
        abort();
    if (gl_error_names(body, len, "") && memchr(body, '"', len) == NULL)
        abort();
    gl_error_names(body, len, "path");

    yyjson_doc *doc = NULL;
    yyjson_val *root = NULL;
    bool unknown = false;
    err = (struct gs_err){0};
    if (gl_graphql_answer(&rsp, &doc, &root, &unknown, &err) == 0) {
        if (!yyjson_is_obj(root) || unknown)
            abort();
        yyjson_doc_free(doc);
    } else if (err.code == GS_OK) {
        abort();
    }
    doc = NULL;
    if (gl_response_json(&rsp, &doc, &err) == 0)
        yyjson_doc_free(doc);
    gs_buf_release(&rsp.body);
    return 0;
}
