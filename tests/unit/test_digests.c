/* digests: relations that hold the same are known by their sums, whatever the order; nothing else is. */
#include "unit.h"

#include "libexport/digests.h"

/* As if the second side called a title in capitals what the first one does not. */
static int reshape(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err)
{
    (void)cookie, (void)group, (void)relation, (void)err;
    char *p = second ? strstr(norm->data, "\"BUG\"") : NULL;
    if (p)
        memcpy(p, "\"bug\"", 5);
    return 0;
}

static struct digests *make(bool second, int64_t group, const char *relation, const char *const *records)
{
    static const struct diff_hooks hooks = {.reshape = reshape};
    struct digests *d = NULL;
    struct gs_err err = {0};
    OK(digests_new(&hooks, second, &d, &err));
    for (; *records; records++)
        OK(digests_add(d, group, relation, *records, strlen(*records), &err));
    return d;
}

static bool same(const char *relation, const char *const *a, const char *const *b, uint64_t *out_n)
{
    struct digests *x = make(false, 1, relation, a), *y = make(true, 70, relation, b);
    bool is = digests_same(x, 1, y, 70, relation, out_n);
    digests_free(x);
    digests_free(y);
    return is;
}
#define SAME(relation, a, b) same(relation, (const char *const[]){a, NULL}, (const char *const[]){b, NULL}, &n)
#define L(...) __VA_ARGS__

static void test_sums(void **state)
{
    uint64_t n = 0;
    (void)state;
    assert_true(SAME("labels", L("{\"id\":1,\"title\":\"bug\",\"color\":\"#ff0000\"}", "{\"id\":2,\"title\":\"x\"}"),
                     L("{\"id\":9,\"title\":\"x\"}", "{\"id\":8,\"title\":\"BUG\",\"color\":\"#F00\"}")));
    assert_int_equal(n, 2);
    assert_false(SAME("labels", L("{\"title\":\"bug\",\"color\":\"#ff0000\"}"), L("{\"title\":\"bug\",\"color\":\"#ff0001\"}")));
    assert_false(SAME("labels", L("{\"title\":\"a\"}", "{\"title\":\"b\"}"), L("{\"title\":\"a\"}", "{\"title\":\"a\"}")));
    assert_false(SAME("badges", L("{\"name\":\"a\"}"), L("{\"name\":\"a\"}", "{\"name\":\"a\"}")));
    assert_true(SAME("badges", L("{\"name\":\"a\"}", "{\"name\":\"a\"}"), L("{\"name\":\"a\"}", "{\"name\":\"a\"}")));
    /* who was invited by mail is told apart by the address, which is no content */
    assert_true(SAME("members", L("{\"access_level\":30,\"user\":{\"username\":\"ann\"}}"), L("{\"access_level\":30,\"user\":{\"username\":\"ann\"}}")));
    assert_false(SAME("members", L("{\"access_level\":30,\"invite_email\":\"a@x.example\"}"), L("{\"access_level\":30,\"invite_email\":\"b@x.example\"}")));
    /* what is compared by more than its content is not summed up */
    assert_false(SAME("epics", L("{\"iid\":1}"), L("{\"iid\":1}")));
    assert_false(digests_wanted("boards"));
}

static void test_groups(void **state)
{
    static const char *const one[] = {"{\"title\":\"a\"}", NULL};
    struct digests *x = make(false, 1, "labels", one), *y = make(true, 1, "labels", one), *none = make(true, 1, "milestones", one);
    struct gs_err err = {0};
    uint64_t n;
    (void)state;
    for (int64_t g = 2; g < 5000; g++) { /* the table grows */
        OK(digests_add(x, g, "labels", one[0], strlen(one[0]), &err));
        OK(digests_add(y, g + (g == 77), "labels", one[0], strlen(one[0]), &err));
    }
    for (int64_t g = 1; g < 5000; g++)
        if (digests_same(x, g, y, g, "labels", &n) != (g != 77 && g != 78))
            fail_msg("group %d", (int)g);
    assert_false(digests_same(x, 1, y, 6000, "labels", &n));
    assert_false(digests_same(x, 1, none, 1, "labels", &n));
    digests_free(x);
    digests_free(y);
    digests_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sums), cmocka_unit_test(test_groups)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
