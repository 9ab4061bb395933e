/* Error bodies, duplicates, links, and what an error becomes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libgitlab/rest.h"

#include <stdio.h>
#include <string.h>

#define JSON "application/json"

static void test_error_text(void **state)
{
    static const struct {
        int status;
        const char *type, *body, *want;
    } rows[] = {
        /* the twelve shapes */
        {404, JSON, "{\"message\":\"404 Group Not Found\"}", "404 Group Not Found"},
        {400, JSON, "{\"message\":{\"name\":[\"has already been taken\"]}}", "name has already been taken"},
        {400, JSON, "{\"message\":\"Failed to save group {:path=>[\\\"has already been taken\\\"]}\"}",
         "Failed to save group {:path=>[\"has already been taken\"]}"},
        {400, JSON, "{\"error\":\"name is missing, path is missing\"}", "name is missing, path is missing"},
        {400, JSON, "{\"message\":{\"error\":\"Label not found\"}}", "Label not found"},
        {401, JSON, "{\"error\":\"invalid_token\",\"error_description\":\"Token is expired.\"}",
         "Token is expired. (invalid_token)"},
        {400, JSON, "{\"status\":\"error\",\"message\":{\"jane\":\"is not valid\"}}", "jane is not valid"},
        {404, JSON, "{\"error\":\"404 Not Found\"}", "404 Not Found"},
        {400, JSON, "{\"message\":\"400 (Bad request) \\\"title\\\" not given\"}",
         "400 (Bad request) \"title\" not given"},
        {429, "text/plain", "Retry later\n", "Retry later"},
        {409, JSON, "{\"needs_captcha_response\":true,\"spam_log_id\":1}",
         "the server takes the text for spam and wants a captcha solved"},
        {200, JSON, "{\"errors\":[{\"message\":\"Field 'x'\"},{\"message\":\"b\"}]}", "Field 'x'; b"},
        /* further ones */
        {200, JSON, "{\"data\":{\"labelCreate\":{\"label\":null,\"errors\":[\"Title is bad\"]}}}", "Title is bad"},
        {400, JSON, "{\"message\":{\"title\":[\"is bad\",\"is long\"],\"base\":[\"no\"]}}",
         "title is bad, is long; no"},
        {400, JSON, "{\"message\":null,\"error\":\"x\"}", "x"},
        {400, JSON, "{\"message\":\"a\",\"error\":\"b\"}", "a; b"},
        {400, JSON, "{\"message\":\"a\",\"error\":\"a\"}", "a"},
        {400, JSON, "{\"errors\":{\"a\":7}}", "a 7"},
        {400, JSON, "{\"errors\":[\"x\",\"y\"]}", "x; y"},
        {400, JSON, "\"words\"", "words"},
        {400, JSON, "{\"code\":5}", "{\"code\":5}"},
        {500, JSON, "", "no further words"},
        {500, NULL, "", "no further words"},
        {502, "text/html", "<html>\n<head><title>502 Bad\n Gateway</title>", "an HTML page: 502 Bad Gateway"},
        {502, NULL, "  <!DOCTYPE html><TITLE lang=en>Login</TITLE>", "an HTML page: Login"},
        {502, "text/html", "<html><title>", "an HTML page"},
        {400, "text/plain", "a\x1b[31mred\x07\tb\r\n  c", "a[31mred b c"},
        {400, "text/plain",
         "\xc2\x9b"
         "1m \xff\xfe caf\xc3\xa9",
         "1m ?? caf\xc3\xa9"},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        char out[256];
        gl_error_text(rows[i].status, rows[i].type, rows[i].body, strlen(rows[i].body), out, sizeof out);
        assert_string_equal(out, rows[i].want);
    }
}

static void test_error_text_bounded(void **state)
{
    static const char body[] = "{\"message\":\"\xc3\xa4\xc3\xa4\xc3\xa4\"}";
    for (size_t cap = 1; cap < 12; cap++) {
        char out[16];
        memset(out, 'X', sizeof out);
        gl_error_text(400, JSON, body, sizeof body - 1, out, cap);
        assert_true(strlen(out) < cap);
        assert_int_equal(strlen(out) % 2, 0); /* never half a character */
        assert_int_equal(out[cap], 'X');
    }
    gl_error_text(400, JSON, NULL, 0, (char[1]){0}, 1);
    gl_error_text(400, JSON, NULL, 0, NULL, 0);
}

static void test_duplicate(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum gl_dup want;
    } rows[] = {
        {409, "{\"message\":\"Label already exists\"}", GL_DUP_YES},
        {409, "{\"message\":\"Member already exists\"}", GL_DUP_YES},
        {409, "{\"message\":\"409 Conflict: Resource lock\"}", GL_DUP_LOCK},
        {409, "{\"message\":\"409 Conflict\"}", GL_DUP_NO},
        {400,
         "{\"message\":\"Failed to create milestone {:title=>[\\\"already being used for another group or project "
         "milestone.\\\"]}\"}",
         GL_DUP_YES},
        {400,
         "{\"message\":\"Failed to create milestone {title: [\\\"already being used for another group or project "
         "milestone.\\\"]}\"}",
         GL_DUP_YES},
        {400, "{\"message\":\"Failed to save group {:path=>[\\\"has already been taken\\\"]}\"}", GL_DUP_YES},
        {400, "{\"message\":\"Failed to save group {path: [\\\"has already been taken\\\"]}\"}", GL_DUP_YES},
        {400, "{\"message\":{\"path\":[\"has been taken before. Please use another one\"]}}", GL_DUP_YES},
        {400, "{\"message\":{\"error\":\"Label has already been taken\"}}", GL_DUP_YES},
        {400, "{\"message\":{\"error\":\"Label not found\"}}", GL_DUP_NO},
        {404, "{\"message\":\"404 Award Emoji Name has already been taken Not Found\"}", GL_DUP_YES},
        {404, "{\"message\":\"404 Group Not Found\"}", GL_DUP_NO},
        {404, "{\"message\":\"404 already exists\"}", GL_DUP_NO},
        {422, "{\"message\":\"Push rule already exists\"}", GL_DUP_YES},
        {200, "{\"data\":{\"labelCreate\":{\"errors\":[\"Title has already been taken\"]}}}", GL_DUP_YES},
        {200,
         "{\"data\":{\"iterationCreate\":{\"errors\":[\"Dates cannot overlap with other existing Iterations within "
         "this "
         "iterations cadence\"]}}}",
         GL_DUP_YES},
        {201, "{\"id\":1,\"title\":\"has already been taken\"}", GL_DUP_NO},
        {500, "{\"message\":\"has already been taken\"}", GL_DUP_NO},
        {403, "{\"message\":\"already exists\"}", GL_DUP_NO},
        {400, "", GL_DUP_NO},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++)
        assert_int_equal(gl_error_duplicate(rows[i].status, rows[i].body, strlen(rows[i].body)), rows[i].want);
}

static void test_names(void **state)
{
    static const struct {
        const char *body, *attr;
        bool want;
    } rows[] = {
        {"{\"message\":{\"path\":[\"x\"],\"name\":[\"y\"]}}", "name", true},
        {"{\"message\":{\"path\":[\"x\"]}}", "name", false},
        {"{\"message\":\"Failed {:path=>[\\\"has\\\"], :name=>[\\\"x\\\"]}\"}", "path", true},
        {"{\"message\":\"Failed {:path=>[\\\"has\\\"], :name=>[\\\"x\\\"]}\"}", "name", true},
        {"{\"message\":\"Failed {:path=>[\\\"name: x\\\"]}\"}", "name", false},
        {"{\"message\":\"Failed {:path=>[\\\":name=>x\\\"]}\"}", "name", false},
        {"{\"message\":\"Failed {path: [\\\"has\\\"], name: [\\\"x\\\"]}\"}", "name", true},
        {"{\"message\":\"Failed {pathname: [\\\"has\\\"]}\"}", "name", false},
        {"{\"message\":\"Failed {pathname: [\\\"has\\\"]}\"}", "path", false},
        {"{\"message\":\"Failed {\\\"path\\\" => [\\\"has\\\"]}\"}", "path", true},
        {"{\"message\":\"Failed to save path: no\"}", "path", false},
        {"{\"message\":\"x {:a=>[\\\"quote \\\\\\\" in\\\"], :b=>[]}\"}", "b", true},
        {"{\"message\":\"x {:a=>[\\\"open\"}", "b", false},
        {"{\"status\":\"error\",\"message\":{\"jane\":\"no\"}}", "jane", true},
        {"[]", "x", false},
        {"", "x", false},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++)
        assert_int_equal(gl_error_names(rows[i].body, strlen(rows[i].body), rows[i].attr), rows[i].want);
}

static void test_fill(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum gs_code code;
        enum gs_scope scope;
    } rows[] = {
        {400, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {401, "{\"message\":\"401 Unauthorized\"}", GS_E_TOKEN, GS_SCOPE_FATAL},
        {403, "{\"message\":\"403 Forbidden\"}", GS_E_FORBIDDEN, GS_SCOPE_ITEM},
        {403, "{\"error\":\"insufficient_scope\",\"scope\":\"api\"}", GS_E_SCOPE, GS_SCOPE_FATAL},
        {404, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {405, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {407, "", GS_E_REMOTE, GS_SCOPE_FATAL},
        {408, "", GS_E_TIMEOUT, GS_SCOPE_RETRY},
        {409, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {412, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {422, "{}", GS_E_REFUSED, GS_SCOPE_ITEM},
        {429, "Retry later", GS_E_RATE, GS_SCOPE_RETRY},
        {500, "", GS_E_SERVER, GS_SCOPE_RETRY},
        {503, "", GS_E_SERVER, GS_SCOPE_RETRY},
        {304, "", GS_E_REMOTE, GS_SCOPE_FATAL},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gl_response rsp = {.status = rows[i].status, .request_id = "01H"};
        struct gs_err err = {0};
        gs_buf_init(&rsp.body, 4096);
        assert_int_equal(gs_buf_addstr(&rsp.body, rows[i].body, &err), 0);
        assert_int_equal(gl_error_fill(&rsp, &err), -1);
        assert_int_equal(err.code, rows[i].code);
        assert_int_equal(err.scope, rows[i].scope);
        assert_int_equal(err.http, rows[i].status);
        assert_string_equal(err.request_id, "01H");
        gs_buf_release(&rsp.body);
    }
}

static void test_link(void **state)
{
    static const struct {
        const char *link, *want; /* NULL: none; "!": malformed */
    } rows[] = {
        {NULL, NULL},
        {"", NULL},
        {"<https://h/a?page=2>; rel=\"next\"", "https://h/a?page=2"},
        {"<https://h/1>; rel=\"prev\", <https://h/2>; rel=\"next\", <https://h/3>; rel=\"last\"", "https://h/2"},
        {"<https://h/1>; rel=\"first\", <https://h/3>; rel=\"last\"", NULL},
        {"<a,b;c>;rel=next", "a,b;c"},
        {"<a>; title=\"x, \\\"; rel=next\"; rel=last, <b>; REL=\"x NEXT\"", "b"},
        {"<a>; rel=prev; rel=next", NULL}, /* the first one counts */
        {"<a>; rel", NULL},
        {"<a>", NULL},
        {" , <a>; rel=next , ", "a"},
        {"<a>; rel=nextish", NULL},
        {"<a; rel=next", "!"},
        {"a>; rel=next", "!"},
        {"<>; rel=next", "!"},
        {"<a b>; rel=next", "!"},
        {"<a>; rel=\"next", "!"},
        {"<a> rel=next", "!"},
        {"<a>; rel=prev <b>; rel=next", "!"},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        struct gs_err err = {0};
        char *out = NULL;
        int r = gl_link_next(rows[i].link, &out, &err);
        if (rows[i].want && strcmp(rows[i].want, "!") == 0) {
            assert_int_equal(r, -1);
            assert_int_equal(err.code, GS_E_REMOTE);
        } else {
            assert_int_equal(r, 0);
            if (rows[i].want)
                assert_string_equal(out, rows[i].want);
            else
                assert_null(out);
        }
        free(out);
    }
}

static void test_blank(void **state)
{
    static const struct {
        const char *secret, *text, *want;
    } rows[] = {
        {"glpat-secret", "{\"a\":\"glpat-secret\"}", "{\"a\":\"************\"}"},
        {"glpat-secret", "glpat-secretglpat-secret", "************************"},
        {"glpat-secret", "glpat-secre", "glpat-secre"},
        {"glpat-secret", "", ""},
        {"aaaaaaaa", "aaaaaaaaa", "********a"},
        {"short", "short", "short"},
    };
    for (size_t i = 0; i < GS_COUNT(rows); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", rows[i].text);
        gl_blank(rows[i].secret, strlen(rows[i].secret), text, strlen(text));
        assert_string_equal(text, rows[i].want);
    }
    gl_blank(NULL, 0, NULL, 0);
}

static void test_version(void **state)
{
    struct gl_instance i = {.major = 16, .minor = 11};
    assert_true(gl_instance_at_least(&i, 15, 12));
    assert_true(gl_instance_at_least(&i, 16, 11));
    assert_false(gl_instance_at_least(&i, 16, 12));
    assert_false(gl_instance_at_least(&i, 17, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_text), cmocka_unit_test(test_error_text_bounded),
        cmocka_unit_test(test_duplicate),  cmocka_unit_test(test_names),
        cmocka_unit_test(test_fill),       cmocka_unit_test(test_link),
        cmocka_unit_test(test_version),    cmocka_unit_test(test_blank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
