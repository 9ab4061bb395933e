/* A GraphQL document, checked and answered: first byte: with variables or not. What is answered must be JSON. */
#include "fuzz.h"

#include "libserve/gql.h"
#include "libserve/source_schema.h"

#include <string.h>

static int resolve(void *cookie, const char *type, const char *field, yyjson_val *parent, const struct gql_value *args, struct gs_buf *out,
                   bool *out_done, struct gs_err *err)
{
    *out_done = strcmp(type, "Query") == 0 || strcmp(field, "groupMembers") == 0;
    if (!*out_done)
        return 0;
    const struct gql_value *ids = gql_arg(args, "ids");
    gql_list_has(ids, "1");
    return gs_buf_addstr(out, "{\"id\":\"gid://gitlab/Group/1\",\"name\":\"\\u0000x\",\"nodes\":[{\"user\":{\"id\":\"1\"}},null],\"pageInfo\":{\"hasNextPage\":false}}", err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static yyjson_doc *tree, *vars;
    struct gs_err err = {0};
    GS_AUTO(gql_doc) d = NULL;
    GS_AUTO(yyjson_doc) made = NULL;
    gs_autobuf out;
    gs_buf_init(&out, (size_t)1 << 20);
    if (!tree) {
        gs_autobuf text;
        gs_buf_init(&text, (size_t)1 << 20);
        MUST(gql_introspect(&source_gql, &text, &err) == 0);
        MUST(gs_json_parse(gs_buf_str(&text), text.len, NULL, &tree, &err) == 0);
        static const char given[] = "{\"full_path\":\"a/b\",\"ids\":[\"gid://gitlab/User/1\",2],\"per_page\":500,\"cursor\":null}";
        MUST(gs_json_parse(given, sizeof given - 1, NULL, &vars, &err) == 0);
    }
    if (size < 1 || gql_parse((const char *)data + 1, size - 1, &d, &err)) {
        MUST(size < 1 || err.code == GS_E_GRAPHQL || err.code == GS_E_LIMIT);
        return 0;
    }
    struct gql_schema schema = {source_gql.types, resolve};
    struct gql_request rq = {.schema = &schema, .tree = yyjson_doc_get_root(tree), .variables = data[0] & 1 ? yyjson_doc_get_root(vars) : NULL};
    MUST(gql_run(d, &rq, &out, &err) == 0);
    MUST(gs_json_parse(gs_buf_str(&out), out.len, NULL, &made, &err) == 0 || err.code == GS_E_JSON_DEPTH);
    MUST(!made || yyjson_obj_size(yyjson_doc_get_root(made)) == 1);
    return 0;
}
