/* The relation table, and records of all generations brought into today's shape. */
#include "unit.h"

#include "formats/relations.h"
#include "formats/shape.h"

static void shape(const char *relation, const char *json, const char *want)
{
    struct gs_err err = {0};
    gs_autobuf out, again;
    gs_buf_init(&out, 1 << 20);
    gs_buf_init(&again, 1 << 20);
    OK(shape_normalise(relation, json, strlen(json), &out, &err));
    if (want)
        assert_string_equal(gs_buf_str(&out), want);
    OK(shape_normalise(relation, gs_buf_str(&out), out.len, &again, &err));
    assert_string_equal(gs_buf_str(&out), gs_buf_str(&again));
}

static void same(const char *relation, const char *a, const char *b)
{
    struct gs_err err = {0};
    gs_autobuf x, y;
    gs_buf_init(&x, 1 << 20);
    gs_buf_init(&y, 1 << 20);
    OK(shape_normalise(relation, a, strlen(a), &x, &err));
    OK(shape_normalise(relation, b, strlen(b), &y, &err));
    assert_string_equal(gs_buf_str(&x), gs_buf_str(&y));
}

static void test_labels(void **state)
{
    (void)state;
    shape("labels",
          "{\"id\":1,\"title\":\"bug\",\"color\":\"#F0A\",\"group_id\":7,\"created_at\":\"2019-11-20 17:01:53 "
          "UTC\",\"description_html\":\"<p>\"}",
          "{\"archived\":false,\"color\":\"#ff00aa\",\"created_at\":\"2019-11-20T17:01:53.000Z\",\"lock_on_merge\":"
          "false,\"title\":\"bug\"}");
    same("labels", "{\"title\":\"x\",\"color\":\"#AABBCC\",\"textColor\":\"#fff\"}",
         "{\"id\":9,\"name\":\"x\",\"color\":\"#aabbcc\",\"text_color\":\"#fff\",\"description\":null}");
    same("labels", "{\"title\":\"x\",\"updated_at\":\"2025-01-01T01:00:00.5+01:00\"}",
         "{\"title\":\"x\",\"updated_at\":\"2025-01-01T00:00:00.500Z\"}");
    shape("labels", "{\"title\":\"x\",\"color\":\"red\",\"created_at\":\"yesterday\",\"own\":1e400}",
          "{\"archived\":false,\"color\":\"red\",\"created_at\":\"yesterday\",\"lock_on_merge\":false,\"own\":1e400,"
          "\"title\":\"x\"}");
}

static void test_group(void **state)
{
    (void)state;
    same("self",
         "{\"name\":\"g\",\"visibility\":\"internal\",\"project_creation_level\":\"developer\",\"subgroup_creation_"
         "level\":\"owner\",\"emails_disabled\":true}",
         "{\"name\":\"g\",\"visibility_level\":10,\"project_creation_level\":2,\"subgroup_creation_level\":0,\"emails_"
         "enabled\":false,\"id\":4,\"parent_id\":3}");
    same("self", "{\"emails_disabled\":null,\"description\":null}", "{\"description\":\"\"}");
    same("self", "{\"emails_enabled\":false,\"emails_disabled\":false}", "{\"emails_enabled\":false}");
}

static void test_epics(void **state)
{
    (void)state;
    same("epics", "{\"iid\":1,\"state_id\":2}", "{\"iid\":1,\"state\":\"closed\"}");
    same("epics", "{\"iid\":1,\"state_id\":\"opened\"}", "{\"iid\":1}");
    same("epics", "{\"iid\":1,\"state_id\":1,\"color\":\"#1068BF\"}",
         "{\"iid\":1,\"state\":\"opened\",\"confidential\":false}");
    /* the order of labels means nothing, that of comments does */
    same("epics",
         "{\"iid\":1,\"label_links\":[{\"label\":{\"title\":\"b\",\"id\":3}},{\"id\":1,\"label\":{\"title\":\"a\"}}]}",
         "{\"iid\":1,\"label_links\":[{\"label\":{\"title\":\"a\"}},{\"label\":{\"title\":\"b\"}}]}");
    shape("epics",
          "{\"iid\":1,\"notes\":[{\"id\":2,\"note\":\"a\",\"created_at\":\"2025-01-02T00:00:00Z\"},{\"body\":\"b\","
          "\"created_at\":\"2025-01-01T00:00:00Z\"}]}",
          "{\"award_emoji\":[],\"color\":\"#1068bf\",\"confidential\":false,\"due_date_is_fixed\":false,\"iid\":1,"
          "\"label_links\":[],"
          "\"notes\":[{\"award_emoji\":[],\"internal\":false,\"note\":\"b\",\"system\":false},{\"award_emoji\":[],"
          "\"internal\":false,\"note\":\"a\",\"system\":false}],"
          "\"start_date_is_fixed\":false,\"state\":\"opened\"}");
    /* of the parent only what finds it again */
    same("epics", "{\"iid\":2,\"parent\":{\"id\":5,\"iid\":1,\"title\":\"p\",\"description\":\"long\"}}",
         "{\"iid\":2,\"parent\":{\"iid\":1}}");
}

static void test_boards(void **state)
{
    (void)state;
    same("boards",
         "{\"name\":\"b\",\"milestone_id\":-2,\"lists\":[{\"list_type\":2},{\"list_type\":1,\"position\":5,\"label\":{"
         "\"title\":\"y\"}},{\"list_type\":1,\"position\":2,\"label\":{\"title\":\"x\",\"id\":1}},{\"list_type\":0}]}",
         "{\"name\":\"b\",\"milestone_filter\":\"upcoming\",\"lists\":[{\"list_type\":\"backlog\"},{\"list_type\":"
         "\"label\",\"label\":{\"title\":\"x\"},\"position\":0},{\"list_type\":\"label\",\"label\":{\"title\":\"y\"},"
         "\"position\":1},{\"list_type\":\"closed\"}]}");
    same("boards", "{\"name\":\"b\",\"milestone_id\":12}", "{\"name\":\"b\"}");
}

static void key(const char *relation, const char *json, const char *want)
{
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) d = NULL;
    gs_autobuf out;
    gs_buf_init(&out, 1 << 20);
    OK(gs_json_parse(json, strlen(json), NULL, &d, &err));
    OK(shape_key(relation, yyjson_doc_get_root(d), &out, &err));
    assert_string_equal(gs_buf_str(&out), want);
}

static void test_keys(void **state)
{
    (void)state;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) d = NULL;
    gs_autobuf out;
    gs_buf_init(&out, 1 << 20);
    key("self", "{}", "self");
    key("labels", "{\"title\":\"a b\"}", "a b");
    key("labels", "{\"name\":\"a\"}", "a");
    key("epics", "{\"iid\":12}", "12");
    key("members", "{\"user\":{\"username\":\"u\"}}", "u");
    key("members", "{\"user_id\":4}", "user:4");
    key("members", "{\"invite_email\":\"a@b\"}", "invited:a@b");
    key("iterations_cadences", "{\"title\":\"W\",\"start_date\":\"2025-01-06T00:00:00Z\"}", "W");
    key("iterations", "{\"due_date\":\"2025-01-06\"}", "[null,\"2025-01-06\"]");
    key("badges", "{\"id\":4,\"name\":\"n\",\"link_url\":\"l\",\"created_at\":\"x\"}",
        "{\"link_url\":\"l\",\"name\":\"n\"}");
    key("unknown", "{\"b\":0.5,\"a\":1}", "{\"a\":1,\"b\":0.5}");
    OK(gs_json_parse("{}", 2, NULL, &d, &err));
    FAILS(GS_E_RECORD, shape_key("labels", yyjson_doc_get_root(d), &out, &err));
    FAILS(GS_E_RECORD, shape_key("members", yyjson_doc_get_root(d), &out, &err));
    FAILS(GS_E_RECORD, shape_normalise("labels", "[]", 2, &out, &err));
    FAILS(GS_E_JSON, shape_normalise("labels", "{", 1, &out, &err));
}

static void test_table(void **state)
{
    (void)state;
    bool nested_seen = false;
    int last = 0;
    for (const struct relation *r = relations; r->name; r++) {
        assert_ptr_equal(relation_find(r->name), r);
        assert_true(relation_name_ok(r->name, strlen(r->name)));
        assert_non_null(r->title);
        assert_non_null(r->since);
        for (const struct rel_attr *a = r->attrs; a->name; a++) {
            assert_ptr_equal(relation_attr(r, a->name), a); /* none twice */
            if (a->absent) {
                GS_AUTO(yyjson_doc) d = NULL;
                struct gs_err err = {0};
                OK(gs_json_parse(a->absent, strlen(a->absent), NULL, &d, &err));
            }
        }
        for (const struct rel_nested *n = r->nested; n && n->name; n++) {
            assert_non_null(relation_find(n->relation));
            assert_non_null(relation_attr(r, n->name));
        }
        nested_seen = nested_seen || strcmp(r->name, "lists") == 0;
        if (!nested_seen && r->phase != REL_PHASE_NONE && r->phase != REL_PHASE_LOCKS) {
            assert_true((int)r->phase > last);
            last = r->phase;
        }
    }
    assert_null(relation_find("nothing"));
    assert_false(relation_name_ok("", 0));
    assert_false(relation_name_ok("A", 1));
    assert_false(relation_name_ok("1a", 2));
    assert_false(relation_name_ok("a.b", 3));
    char name[65];
    memset(name, 'a', 64);
    assert_true(relation_name_ok(name, 63));
    assert_false(relation_name_ok(name, 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_labels), cmocka_unit_test(test_group),
                                       cmocka_unit_test(test_epics),  cmocka_unit_test(test_boards),
                                       cmocka_unit_test(test_keys),   cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
