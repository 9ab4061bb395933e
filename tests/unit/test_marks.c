/* Marks: the same records give the same mark whatever API showed them; an edit, a loss, a swap gives another. */
#include "unit.h"

#include "libexport/marks.h"

static struct mark of(enum mark_kind k, size_t n, const char *const *records)
{
    struct mark m = {0};
    struct gs_err err = {0};
    for (size_t i = 0; i < n; i++)
        OK(mark_record(&m, k, records[i], strlen(records[i]), &err));
    return m;
}
#define OF(k, ...) of(k, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), (const char *[]){__VA_ARGS__})

static struct mark seen(enum mark_kind k, bool rest, const struct mark *like, const char *array)
{
    struct mark m = {0};
    GS_AUTO(yyjson_doc) doc = yyjson_read(array, strlen(array), 0);
    assert_non_null(doc);
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (rest)
            mark_rest(&m, k, v, like);
        else
            mark_node(&m, k, v, like);
    return m;
}

static bool same(const struct mark *a, const struct mark *b)
{
    return a->n == b->n && a->ids == b->ids && a->sum == b->sum && a->highest == b->highest && a->newest_s == b->newest_s;
}

#define L1 "{\"id\":1,\"title\":\"a\",\"color\":\"#fff\",\"description\":null,\"updated_at\":\"2024-05-01T10:00:00.123Z\"}"
#define L2 "{\"id\":2,\"title\":\"b\",\"color\":\"#000\",\"description\":\"x\",\"updated_at\":\"2024-05-02T12:00:00.000+02:00\"}"

static void test_labels(void **state)
{
    (void)state;
    struct mark m = OF(MARK_LABELS, L1, L2), turned = OF(MARK_LABELS, L2, L1);
    assert_true(same(&m, &turned)); /* the order is nothing */
    assert_int_equal(m.n, 2);
    assert_int_equal(m.highest, 2);
    assert_false(m.by_content);
    /* GraphQL shows whole seconds in another zone */
    struct mark g = seen(MARK_LABELS, false, &m,
                         "[{\"id\":\"gid://gitlab/GroupLabel/2\",\"updatedAt\":\"2024-05-02T10:00:00Z\"},"
                         "{\"id\":\"gid://gitlab/GroupLabel/1\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]");
    assert_true(same(&m, &g));
    struct mark edited = seen(MARK_LABELS, false, &m,
                              "[{\"id\":\"gid://gitlab/GroupLabel/2\",\"updatedAt\":\"2024-05-02T10:00:01Z\"},"
                              "{\"id\":\"gid://gitlab/GroupLabel/1\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]");
    assert_true(edited.ids == m.ids && edited.sum != m.sum);
    struct mark other = seen(MARK_LABELS, false, &m,
                             "[{\"id\":\"gid://gitlab/GroupLabel/3\",\"updatedAt\":\"2024-05-02T10:00:00Z\"},"
                             "{\"id\":\"gid://gitlab/GroupLabel/1\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]");
    assert_true(other.n == m.n && other.ids != m.ids);
    /* two times that change places */
    struct mark swapped = seen(MARK_LABELS, false, &m,
                               "[{\"id\":\"gid://gitlab/GroupLabel/1\",\"updatedAt\":\"2024-05-02T10:00:00Z\"},"
                               "{\"id\":\"gid://gitlab/GroupLabel/2\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]");
    assert_true(swapped.ids == m.ids && swapped.sum != m.sum);
}

static void test_contents(void **state)
{
    (void)state;
    struct mark m = OF(MARK_LABELS, "{\"id\":1,\"title\":\"a\",\"color\":\"#fff\",\"description\":null}");
    assert_true(m.by_content && mark_rest_tells(MARK_LABELS, &m));
    struct mark r = seen(MARK_LABELS, true, &m, "[{\"id\":1,\"name\":\"a\",\"color\":\"#fff\",\"subscribed\":true}]");
    assert_true(same(&m, &r));
    r = seen(MARK_LABELS, true, &m, "[{\"id\":1,\"name\":\"a\",\"color\":\"#fff\",\"description\":\"new\"}]");
    assert_true(m.ids == r.ids && m.sum != r.sum);
    struct mark timed = OF(MARK_LABELS, L1);
    assert_false(mark_rest_tells(MARK_LABELS, &timed));
    struct mark b = OF(MARK_BADGES, "{\"id\":4,\"name\":\"n\",\"link_url\":\"https://a\",\"image_url\":\"https://i\",\"type\":\"GroupBadge\"}");
    struct mark br = seen(MARK_BADGES, true, &b, "[{\"id\":4,\"name\":\"n\",\"link_url\":\"https://a\",\"image_url\":\"https://i\",\"kind\":\"group\"}]");
    assert_true(same(&b, &br));
    br = seen(MARK_BADGES, true, &b, "[{\"id\":4,\"name\":\"n\",\"link_url\":\"https://b\",\"image_url\":\"https://i\"}]");
    assert_true(b.ids == br.ids && b.sum != br.sum);
}

static void test_members(void **state)
{
    (void)state;
    struct mark m = OF(MARK_MEMBERS, "{\"id\":90,\"user_id\":7,\"access_level\":30,\"expires_at\":\"2030-01-01\"}",
                       "{\"id\":91,\"user_id\":8,\"access_level\":50,\"expires_at\":null}",
                       "{\"id\":92,\"user_id\":9,\"access_level\":30,\"requested_at\":\"2024-01-01T00:00:00Z\"}",
                       "{\"id\":93,\"user_id\":null,\"invite_email\":\"a@b\",\"access_level\":30}");
    assert_int_equal(m.n, 2);
    struct mark g = seen(MARK_MEMBERS, false, &m,
                         "[{\"user\":{\"id\":\"gid://gitlab/User/8\"},\"accessLevel\":{\"integerValue\":50},\"expiresAt\":null},"
                         "{\"user\":{\"id\":\"gid://gitlab/User/7\"},\"accessLevel\":{\"integerValue\":30},\"expiresAt\":\"2030-01-01T00:00:00Z\"},"
                         "{\"user\":null,\"accessLevel\":{\"integerValue\":30},\"expiresAt\":null}]");
    struct mark r = seen(MARK_MEMBERS, true, &m,
                         "[{\"id\":7,\"access_level\":30,\"expires_at\":\"2030-01-01\"},{\"id\":8,\"access_level\":50,\"expires_at\":null}]");
    assert_true(same(&m, &g) && same(&m, &r));
    r = seen(MARK_MEMBERS, true, &m,
             "[{\"id\":7,\"access_level\":40,\"expires_at\":\"2030-01-01\"},{\"id\":8,\"access_level\":50,\"expires_at\":null}]");
    assert_true(m.ids == r.ids && m.sum != r.sum);
}

static void test_boards(void **state)
{
    (void)state;
    /* as an export writes it: Open and Closed, and a list that a licence may hide, count for nothing */
    struct mark m = OF(MARK_BOARDS,
                       "{\"id\":5,\"name\":\"b\",\"updated_at\":\"2024-05-01T10:00:00.000Z\",\"lists\":["
                       "{\"id\":50,\"list_type\":\"backlog\",\"position\":null},{\"id\":51,\"list_type\":\"label\",\"position\":0,\"label\":{\"title\":\"x\"}},"
                       "{\"id\":52,\"list_type\":\"assignee\",\"position\":1,\"user_id\":7,\"user\":{\"id\":7}}]}");
    static const char node[] = "[{\"id\":\"gid://gitlab/Board/5\",\"updatedAt\":\"2024-05-01T10:00:00Z\",\"lists\":{\"nodes\":["
                               "{\"id\":\"gid://gitlab/List/50\",\"listType\":\"backlog\",\"position\":null},"
                               "{\"id\":\"gid://gitlab/List/51\",\"listType\":\"label\",\"position\":0}]}}]";
    struct mark g = seen(MARK_BOARDS, false, &m, node);
    assert_true(same(&m, &g));
    static const char moved[] = "[{\"id\":\"gid://gitlab/Board/5\",\"updatedAt\":\"2024-05-01T10:00:00Z\",\"lists\":{\"nodes\":["
                                "{\"id\":\"gid://gitlab/List/51\",\"listType\":\"label\",\"position\":1}]}}]";
    g = seen(MARK_BOARDS, false, &m, moved);
    assert_true(m.ids == g.ids && m.sum != g.sum);
    /* as GraphQL showed it: every list that a person made */
    struct mark whole = {0}, a = seen(MARK_BOARDS, false, &whole,
                                      "[{\"id\":\"gid://gitlab/Board/5\",\"updatedAt\":\"2024-05-01T10:00:00Z\",\"lists\":{\"nodes\":["
                                      "{\"id\":\"gid://gitlab/List/52\",\"listType\":\"assignee\",\"position\":1}]}}]"),
                b = seen(MARK_BOARDS, false, &whole,
                         "[{\"id\":\"gid://gitlab/Board/5\",\"updatedAt\":\"2024-05-01T10:00:00Z\",\"lists\":{\"nodes\":[]}}]");
    assert_true(a.sum != b.sum);
}

/* Planning records of an export, which shows no ids of them, and of the API, are the same. */
static void test_plans(void **state)
{
    (void)state;
    struct mark m = OF(MARK_EPICS,
                       "{\"iid\":1,\"updated_at\":\"2024-05-01T10:00:00.123Z\"}", "{\"id\":9,\"iid\":4,"
                       "\"updated_at\":\"2024-05-02T10:00:00.000Z\"}");
    struct mark g = seen(MARK_EPICS, false, &m,
                         "[{\"iid\":\"4\",\"updatedAt\":\"2024-05-02T10:00:00Z\"},{\"iid\":\"1\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]");
    assert_true(same(&m, &g) && m.n == 2 && m.highest == 0 && !m.by_content);
    g = seen(MARK_EPICS, false, &m,
             "[{\"iid\":\"4\",\"updatedAt\":\"2024-05-02T10:00:00Z\"},{\"iid\":\"1\",\"updatedAt\":\"2024-05-01T10:00:01Z\"}]");
    assert_true(g.ids == m.ids && g.sum != m.sum);
    m = OF(MARK_EPICS, "{\"iid\":1}");
    assert_true(m.by_content);

    m = OF(MARK_EPIC_BOARDS,
           "{\"name\":\"b\",\"hide_backlog_list\":false,\"hide_closed_list\":true,"
           "\"epic_lists\":[{\"list_type\":\"backlog\"},{\"label\":{\"title\":\"x\"}}]}");
    g = seen(MARK_EPIC_BOARDS, false, &m,
             "[{\"name\":\"b\",\"hideBacklogList\":false,\"hideClosedList\":true,"
             "\"lists\":{\"nodes\":[{\"label\":{\"title\":\"x\"}},{\"label\":null}]}}]");
    assert_true(same(&m, &g));
    g = seen(MARK_EPIC_BOARDS, false, &m,
             "[{\"name\":\"b\",\"hideBacklogList\":false,\"hideClosedList\":true,\"lists\":{\"nodes\":[{\"label\":{\"title\":\"y\"}}]}}]");
    assert_true(g.ids == m.ids && g.sum != m.sum);
    g = seen(MARK_EPIC_BOARDS, false, &m,
             "[{\"name\":\"c\",\"hideBacklogList\":false,\"hideClosedList\":true,\"lists\":{\"nodes\":[{\"label\":{\"title\":\"x\"}}]}}]");
    assert_true(g.n == m.n && g.ids != m.ids);

    /* iterations come in a list of their own */
    m = OF(MARK_CADENCES,
           "{\"title\":\"c\",\"iterations\":[{\"iid\":2,\"updated_at\":\"2024-05-01T10:00:00Z\"},{\"iid\":3,"
           "\"updated_at\":\"2024-05-03T10:00:00Z\"}]}");
    g = seen(MARK_CADENCES, false, &m, "[{\"title\":\"c\"}]");
    assert_true(g.n == 1 && !same(&m, &g));
    static const char list[] = "[{\"iid\":\"3\",\"updatedAt\":\"2024-05-03T10:00:00Z\"},{\"iid\":\"2\",\"updatedAt\":\"2024-05-01T10:00:00Z\"}]";
    GS_AUTO(yyjson_doc) doc = yyjson_read(list, sizeof list - 1, 0);
    assert_non_null(doc);
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    for (yyjson_val *v; (v = yyjson_arr_iter_next(&it));)
        mark_iteration(&g, v);
    assert_true(same(&m, &g) && m.newest_s > 0);
}

static void test_value(void **state)
{
    (void)state;
    struct gs_err err = {0};
    static const char *const text[] = {"{\"a\":1,\"b\":\"x\",\"statistics\":{\"n\":1}}", "{\"b\":\"x\",\"statistics\":{\"n\":2},\"a\":1}",
                                       "{\"a\":\"x\",\"b\":1}"};
    uint64_t h[3];
    for (size_t i = 0; i < 3; i++) {
        GS_AUTO(yyjson_doc) doc = yyjson_read(text[i], strlen(text[i]), 0);
        OK(mark_value(yyjson_doc_get_root(doc), &h[i], &err));
    }
    assert_true(h[0] == h[1] && h[0] != h[2]);
}

static void test_table(void **state)
{
    (void)state;
    struct gs_err err = {0};
    GS_AUTO(marks) t = NULL;
    struct mark sum;
    OK(marks_new(&t, &err));
    assert_null(marks_get(t, 1, MARK_LABELS));
    for (int64_t g = 1; g <= 3000; g++)
        OK(marks_put(t, g, MARK_LABELS, &(struct mark){.n = 2, .highest = g, .newest_s = 5000 - g}, &err));
    OK(marks_put(t, 7, MARK_BADGES, &(struct mark){.n = 9}, &err));
    for (int64_t g = 1; g <= 3000; g++)
        assert_int_equal(marks_get(t, g, MARK_LABELS)->highest, g);
    assert_null(marks_get(t, 8, MARK_BADGES));
    marks_sum(t, MARK_LABELS, &sum);
    assert_true(sum.n == 6000 && sum.highest == 3000 && sum.newest_s == 4999);
    assert_int_equal(mark_kind_of("milestones"), MARK_MILESTONES);
    assert_true(marks_sum(t, MARK_BADGES, &sum) && !marks_sum(t, MARK_EPICS, &sum) && sum.n == 0);
    assert_int_equal(mark_kind_of("epics"), MARK_EPICS);
    assert_int_equal(mark_kind_of("uploads"), MARK_KINDS);
    assert_string_equal(mark_relation(MARK_BOARDS), "boards");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_labels),  cmocka_unit_test(test_contents), cmocka_unit_test(test_members),
                                       cmocka_unit_test(test_boards),  cmocka_unit_test(test_value),    cmocka_unit_test(test_table),
                                       cmocka_unit_test(test_plans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
