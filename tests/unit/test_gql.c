/* GraphQL: documents parsed, checked against a schema, and answered. */
#include "unit.h"

#include "libserve/gql.h"

static const struct gql_arg_def path_arg[] = {{"path", "ID!"}, {NULL, NULL}};
static const struct gql_arg_def list_args[] = {{"kinds", "[Kind!]"}, {"first", "Int"}, {"after", "String"}, {NULL, NULL}};
static const struct gql_field_def query_fields[] = {{"group", "Group", path_arg}, {"echo", "String", list_args}, {NULL, NULL, NULL}};
static const struct gql_field_def group_fields[] = {
    {"id", "ID!", NULL}, {"name", "String", NULL}, {"closed", "Boolean", NULL}, {"parent", "Group", NULL}, {"items", "[Item]", list_args}, {NULL, NULL, NULL}};
static const struct gql_field_def item_fields[] = {{"n", "Int", NULL}, {"owner", "Group", NULL}, {NULL, NULL, NULL}};
static const char *const kinds[] = {"OLD", "NEW", NULL};
static const struct gql_type_def types[] = {
    {"Query", GQL_T_OBJECT, query_fields, NULL}, {"Group", GQL_T_OBJECT, group_fields, NULL}, {"Item", GQL_T_OBJECT, item_fields, NULL},
    {"Kind", GQL_T_ENUM, NULL, kinds},           {NULL, GQL_T_SCALAR, NULL, NULL},
};

/* echo gives back its arguments; a group is made of its path; a list has as many items as `first` says. */
static int resolve(void *cookie, const char *type, const char *field, yyjson_val *parent, const struct gql_value *args, struct gs_buf *out,
                   bool *out_done, struct gs_err *err)
{
    *out_done = true;
    if (strcmp(field, "echo") == 0) {
        const struct gql_value *first = gql_arg(args, "first"), *after = gql_arg(args, "after");
        return gs_buf_addf(out, err, "\"%s|%s|%s%s\"", first ? first->text : "-", after ? after->text : "-",
                           gql_list_has(gql_arg(args, "kinds"), "OLD") ? "old" : "", gql_list_has(gql_arg(args, "kinds"), "NEW") ? "new" : "");
    }
    if (strcmp(type, "Query") == 0)
        return gs_buf_addf(out, err, "{\"id\":\"%s\",\"name\":null,\"closed\":true,\"parent\":{\"id\":\"up\"}}", gql_arg(args, "path")->text);
    if (strcmp(field, "items") == 0) {
        const struct gql_value *first = gql_arg(args, "first");
        return gs_buf_addstr(out, first && strcmp(first->text, "2") == 0 ? "[{\"n\":1},{\"n\":2}]" : "[]", err);
    }
    *out_done = false;
    return 0;
}

static const struct gql_schema schema = {types, resolve};

/* The answer to a document; of errors only the first message. */
static const char *answer(const char *text, const char *operation, const char *variables)
{
    static char out[1 << 16];
    struct gs_err err = {0};
    GS_AUTO(gql_doc) d = NULL;
    GS_AUTO(yyjson_doc) vars = NULL;
    GS_AUTO(yyjson_doc) tree = NULL;
    gs_autobuf b, shown;
    gs_buf_init(&b, GQL_MAX_ANSWER);
    gs_buf_init(&shown, 1 << 20);
    if (gql_parse(text, strlen(text), &d, &err)) {
        snprintf(out, sizeof out, "syntax: %s", err.text);
        return out;
    }
    OK(gql_introspect(&schema, &shown, &err));
    OK(gs_json_parse(gs_buf_str(&shown), shown.len, NULL, &tree, &err));
    if (variables)
        OK(gs_json_parse(variables, strlen(variables), NULL, &vars, &err));
    struct gql_request rq = {.schema = &schema, .tree = yyjson_doc_get_root(tree), .operation = operation,
                             .variables = vars ? yyjson_doc_get_root(vars) : NULL};
    OK(gql_run(d, &rq, &b, &err));
    snprintf(out, sizeof out, "%s", gs_buf_str(&b));
    return out;
}

#define IS(doc, want) assert_string_equal(answer(doc, NULL, NULL), want)
#define WRONG(doc, part) assert_non_null(strstr(answer(doc, NULL, NULL), "{\"errors\":[{\"message\":\"" part))
#define SYNTAX(doc, part) assert_non_null(strstr(answer(doc, NULL, NULL), "syntax: " part))

static void test_selections(void **state)
{
    IS("{ group(path: \"a/b\") { id } }", "{\"data\":{\"group\":{\"id\":\"a/b\"}}}");
    IS("query Q { g: group(path: 7) { number: id up: parent { id } name closed __typename } }",
       "{\"data\":{\"g\":{\"number\":\"7\",\"up\":{\"id\":\"up\"},\"name\":null,\"closed\":true,\"__typename\":\"Group\"}}}");
    IS("{ group(path: \"x\") { items(first: 2) { n owner { id } } } }", "{\"data\":{\"group\":{\"items\":[{\"n\":1,\"owner\":null},{\"n\":2,\"owner\":null}]}}}");
    IS("# a comment\n{ group(path: \"\"\"x\"\"\") { ...F ... on Group { closed } ... { id } } } fragment F on Group { id name }",
       "{\"data\":{\"group\":{\"id\":\"x\",\"name\":null,\"closed\":true}}}");
    IS("{ group(path: \"x\") { parent { id } } group(path: \"x\") { parent { name } closed } }",
       "{\"data\":{\"group\":{\"parent\":{\"id\":\"up\",\"name\":null},\"closed\":true}}}");
    IS("{ echo(kinds: [OLD NEW], first: 3, after: \"\\u00e9\") @include(if: true) x: echo @skip(if: true) }", "{\"data\":{\"echo\":\"3|\u00e9|oldnew\"}}");
}

static void test_variables(void **state)
{
    const char *doc = "query($p: ID!, $n: Int = 2, $k: [Kind!]) { group(path: $p) { items(first: $n) { n } } echo(kinds: $k, first: $n) }";
    assert_string_equal(answer(doc, NULL, "{\"p\":\"a\",\"k\":[\"NEW\"]}"),
                        "{\"data\":{\"group\":{\"items\":[{\"n\":1},{\"n\":2}]},\"echo\":\"2|-|new\"}}");
    assert_string_equal(answer(doc, NULL, "{\"p\":5,\"n\":null,\"unused\":{}}"), "{\"data\":{\"group\":{\"items\":[]},\"echo\":\"-|-|\"}}");
    assert_string_equal(answer("query($k: Kind) { echo(kinds: [$k]) }", NULL, "{\"k\":\"OLD\"}"), "{\"data\":{\"echo\":\"-|-|old\"}}");
    assert_non_null(strstr(answer(doc, NULL, "{}"), "no value is given: variable 'p'"));
    assert_non_null(strstr(answer(doc, NULL, "{\"p\":\"a\",\"n\":\"2\"}"), "no value for this type: variable 'n'"));
    assert_non_null(strstr(answer(doc, NULL, "{\"p\":\"a\",\"k\":[\"ODD\"]}"), "no value for this type: variable 'k'"));
    assert_non_null(strstr(answer("query($s: String!) { group(path: $s) { id } }", NULL, "{\"s\":\"a\"}"), "of another type: variable 's'"));
    assert_string_equal(answer("query A { a: echo } query B { b: echo }", "B", NULL), "{\"data\":{\"b\":\"-|-|\"}}");
    assert_non_null(strstr(answer("query A { a: echo } query B { b: echo }", NULL, NULL), "an operation name is needed"));
    assert_non_null(strstr(answer("query A { a: echo }", "C", NULL), "no such operation: 'C'"));
}

static void test_wrong_documents(void **state)
{
    WRONG("{ group(path: \"x\") { nonsense } }", "no such field: 'nonsense' on 'Group'");
    WRONG("{ group { id } }", "an argument is missing: 'path'");
    WRONG("{ group(path: null) { id } }", "no value for this argument: 'path'");
    WRONG("{ group(path: \"x\", more: 1) { id } }", "no such argument: 'more'");
    WRONG("{ group(path: \"x\") }", "a field of which fields must be selected: 'group'");
    WRONG("{ group(path: \"x\") { id { x } } }", "a field without fields of its own: 'id'");
    WRONG("{ echo(first: 3000000000) }", "no value for this argument: 'first'");
    WRONG("{ echo(kinds: [OLD, \"NEW\"]) }", "no value for this argument: 'kinds'");
    WRONG("{ group(path: $p) { id } }", "not declared: variable 'p'");
    WRONG("{ ...F } fragment F on Query { echo ...F }", "a fragment that spreads itself: 'F'");
    WRONG("{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }", "a fragment that spreads itself: 'F'");
    WRONG("{ ...Gone }", "no such fragment: 'Gone'");
    WRONG("{ ... on Group { id } }", "a fragment of another type: 'Group'");
    WRONG("{ a: group(path: \"x\") { id } a: group(path: \"y\") { id } }", "the key 'a' stands for two different fields");
    WRONG("{ echo @deprecated }", "no such directive: 'deprecated'");
    WRONG("mutation { echo }", "nothing can be changed here: 'mutation'");
    WRONG("fragment F on Query { echo }", "no operation in the document");
}

static void test_syntax(void **state)
{
    SYNTAX("", "an empty document at [1, 1]");
    SYNTAX("{ group(path: \"x\" { id } }", "expected a name at [1, 19]");
    SYNTAX("{\n  echo(after: \"open\n) }", "a string without an end at [2, 15]");
    SYNTAX("{ echo(after: \"\\ud800\") }", "half a surrogate pair");
    SYNTAX("{ echo(after: \"\\x\") }", "an unknown escape");
    SYNTAX("{ echo(first: 01) }", "a wrong number");
    SYNTAX("{ echo(first: 1 first: 2) }", "one name twice");
    SYNTAX("query($a: Int $a: Int) { echo }", "one variable twice");
    SYNTAX("{ }", "an empty selection");
    SYNTAX("{ echo ? }", "an unexpected character");
    SYNTAX("{ echo .. }", "an unexpected '.'");
    SYNTAX("type Query { a: Int }", "expected a query or a fragment");
    char deep[2000];
    size_t n = 0;
    for (int i = 0; i < 300; i++)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "{a");
    SYNTAX(deep, "nested too deeply");
    n = (size_t)snprintf(deep, sizeof deep, "{echo(after:");
    for (int i = 0; i < 300; i++)
        deep[n++] = '[';
    deep[n] = '\0';
    SYNTAX(deep, "nested too deeply");
}

/* Fragments in fragments, each twice: 2^20 fields out of a short document. */
static void test_blow_up(void **state)
{
    char doc[4096];
    size_t n = (size_t)snprintf(doc, sizeof doc, "{ ...F0 }");
    for (int i = 0; i < 20; i++)
        n += (size_t)snprintf(doc + n, sizeof doc - n, " fragment F%d on Query { a%d: echo ...F%d ...F%d }", i, i, i + 1, i + 1);
    snprintf(doc + n, sizeof doc - n, " fragment F20 on Query { z: echo }");
    WRONG(doc, "the document ");
}

static void test_introspection(void **state)
{
    IS("{ __schema { queryType { name } mutationType { name } } }", "{\"data\":{\"__schema\":{\"queryType\":{\"name\":\"Query\"},\"mutationType\":null}}}");
    IS("{ __type(name: \"Kind\") { kind enumValues { name } fields { name } } }",
       "{\"data\":{\"__type\":{\"kind\":\"ENUM\",\"enumValues\":[{\"name\":\"OLD\"},{\"name\":\"NEW\"}],\"fields\":null}}}");
    IS("{ __type(name: \"Nobody\") { kind } }", "{\"data\":{\"__type\":null}}");
    IS("{ __type(name: \"Query\") { fields { name args { name type { kind ofType { name } } } } } }",
       "{\"data\":{\"__type\":{\"fields\":[{\"name\":\"group\",\"args\":[{\"name\":\"path\",\"type\":{\"kind\":\"NON_NULL\",\"ofType\":{\"name\":\"ID\"}}}]},"
       "{\"name\":\"echo\",\"args\":[{\"name\":\"kinds\",\"type\":{\"kind\":\"LIST\",\"ofType\":{\"name\":null}}},{\"name\":\"first\",\"type\":{\"kind\":"
       "\"SCALAR\",\"ofType\":null}},{\"name\":\"after\",\"type\":{\"kind\":\"SCALAR\",\"ofType\":null}}]}]}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selections), cmocka_unit_test(test_variables), cmocka_unit_test(test_wrong_documents),
        cmocka_unit_test(test_syntax),     cmocka_unit_test(test_blow_up),   cmocka_unit_test(test_introspection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
