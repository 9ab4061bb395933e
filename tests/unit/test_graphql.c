/* GraphQL requests and answers, and the documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libgitlab/graphql.h"
#include "libgitlab/rest.h"

#include <dirent.h>
#include <string.h>

static void test_gid(void **state)
{
    assert_int_equal(gl_gid("gid://gitlab/GroupLabel/12"), 12);
    assert_int_equal(gl_gid("gid://gitlab/WorkItems::Type/9007199254740993"), 9007199254740993);
    assert_int_equal(gl_gid("gid://gitlab/GroupLabel/"), -1);
    assert_int_equal(gl_gid("gid://gitlab/GroupLabel/1x"), -1);
    assert_int_equal(gl_gid("gid://gitlab/GroupLabel/99999999999999999999"), -1);
    assert_int_equal(gl_gid("gid:///"), -1);
    assert_int_equal(gl_gid("gid://7"), -1);
    assert_int_equal(gl_gid("/12"), -1);
    assert_int_equal(gl_gid("12"), -1);
    assert_int_equal(gl_gid(""), -1);
    assert_int_equal(gl_gid(NULL), -1);
}

static void test_request(void **state)
{
    struct gl_request *r = gl_graphql_request("query {\n\t\"x\"\n}", "{\"a\":1}", true);
    assert_non_null(r);
    assert_true(r->graphql && r->read_only && r->method == GL_POST);
    assert_string_equal(r->body, "{\"query\":\"query {\\n\\t\\\"x\\\"\\n}\",\"variables\":{\"a\":1}}");
    assert_int_equal(r->body_len, strlen(r->body));
    gl_request_free(r);
    r = gl_graphql_request("mutation {x}", NULL, false);
    assert_non_null(r);
    assert_false(r->read_only);
    assert_string_equal(r->body, "{\"query\":\"mutation {x}\",\"variables\":{}}");
    gl_request_free(r);
}

static void test_answer(void **state)
{
    static const struct {
        const char *body;
        enum gs_code code;
        bool unknown;
        const char *words;
    } rows[] = {
        {"{\"data\":{\"group\":null}}", GS_OK, false, NULL},
        {"{\"data\":{\"labelCreate\":{\"errors\":[]}}}", GS_OK, false, NULL},
        {"{\"data\":{\"labelCreate\":{\"errors\":[\"Title is bad\"]}}}", GS_E_GRAPHQL, false, "Title is bad"},
        {"{\"errors\":[{\"message\":\"Field 'archived' doesn't exist on type 'Label'\"}]}", GS_E_GRAPHQL, true,
         "archived"},
        {"{\"errors\":[{\"message\":\"x\",\"extensions\":{\"code\":\"undefinedField\"}}]}", GS_E_GRAPHQL, true, "x"},
        {"{\"errors\":[{\"message\":\"x\",\"extensions\":{\"code\":\"argumentNotAccepted\"}}]}", GS_E_GRAPHQL, true,
         "x"},
        {"{\"errors\":[{\"message\":\"InputObject 'I' doesn't accept argument 'a'\"}]}", GS_E_GRAPHQL, true,
         "argument 'a'"},
        {"{\"errors\":[{\"message\":\"WorkItemID isn't a defined input type (on $id)\"}]}", GS_E_GRAPHQL, true,
         "WorkItemID"},
        {"{\"errors\":[{\"message\":\"No permission\"}],\"data\":{\"a\":1}}", GS_E_GRAPHQL, false, "No permission"},
        {"{\"errors\":[\"odd\"]}", GS_E_GRAPHQL, false, "odd"},
        {"{\"data\":null}", GS_E_REMOTE, false, NULL},
        {"[]", GS_E_REMOTE, false, NULL},
        {"{", GS_E_REMOTE, false, NULL},
        {"", GS_E_REMOTE, false, NULL},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gl_response rsp = {.status = 200};
        struct gs_err err = {0};
        yyjson_doc *doc = NULL;
        yyjson_val *data = NULL;
        bool unknown = true;
        gs_buf_init(&rsp.body, 4096);
        assert_int_equal(gs_buf_addstr(&rsp.body, rows[i].body, &err), 0);
        int r = gl_graphql_answer(&rsp, &doc, &data, &unknown, &err);
        assert_int_equal(r, rows[i].code ? -1 : 0);
        assert_int_equal(err.code, rows[i].code);
        assert_int_equal(unknown, rows[i].unknown);
        if (rows[i].words)
            assert_non_null(strstr(err.text, rows[i].words));
        if (rows[i].code == GS_E_GRAPHQL)
            assert_int_equal(err.scope, GS_SCOPE_ITEM);
        if (r == 0)
            assert_true(yyjson_is_obj(data));
        yyjson_doc_free(doc);
        gs_buf_release(&rsp.body);
    }
}

/* Every file in graphql/ is known by its name, fits GitLab's bound, and asks for what its variables promise. */
static void test_documents(void **state)
{
    DIR *d = opendir("libgitlab/graphql");
    size_t files = 0, known = 0;
    if (!d)
        skip();
    for (struct dirent *e; (e = readdir(d));) {
        char name[128];
        size_t n = strlen(e->d_name);
        if (n < 9 || n >= sizeof name || strcmp(e->d_name + n - 8, ".graphql") != 0)
            continue;
        memcpy(name, e->d_name, n - 8);
        name[n - 8] = 0;
        files++;
        if (!gl_document(name))
            fail_msg("no document '%s'", name);
    }
    closedir(d);
    while (gl_document_name(known)) {
        const char *text = gl_document(gl_document_name(known++));
        assert_in_range(strlen(text), 20, 10000);
        assert_null(strstr(text, "after: $after") && !strstr(text, "pageInfo { hasNextPage endCursor }") ? text : NULL);
    }
    assert_int_equal(files, known);
    assert_null(gl_document("no such document"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gid),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
