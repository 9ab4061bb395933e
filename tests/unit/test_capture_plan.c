/* The plan of a capture, its set of ids, and its books. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libexport/capture.h"
#include "libexport/plan.h"

#include <stdlib.h>
#include <string.h>

static void test_idset(void **state)
{
    struct idset s;
    struct gs_err err = {0};
    bool is_new;
    idset_init(&s);
    assert_false(idset_has(&s, 1));
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(idset_add(&s, i * 1000003, &is_new, &err), 0);
        assert_true(is_new);
    }
    for (int64_t i = 1; i <= 5000; i++) {
        assert_int_equal(idset_add(&s, i * 1000003, &is_new, &err), 0);
        assert_false(is_new);
        assert_true(idset_has(&s, i * 1000003));
        assert_false(idset_has(&s, i * 1000003 + 1));
    }
    assert_int_equal(s.n, 5000);
    /* what has no id is never the same */
    assert_int_equal(idset_add(&s, 0, &is_new, &err), 0);
    assert_int_equal(idset_add(&s, 0, &is_new, &err), 0);
    assert_true(is_new);
    idset_release(&s);
}

static void test_order(void **state)
{
    static const struct {
        int64_t id, parent;
        const char *path;
    } rows[] = {{9, 0, "t"}, {3, 9, "t/a"}, {5, 4, "t/b/x"}, {4, 9, "t/b"}, {2, 5, "t/b/x/y"}, {3, 9, "t/a"}};
    static const int64_t want[] = {9, 3, 4, 5, 2};
    struct plan p;
    struct gs_err err = {0};
    bool is_new;
    plan_init(&p);
    for (size_t i = 0; i < GS_COUNT(rows); i++)
        assert_int_equal(plan_add(&p, rows[i].id, rows[i].parent, rows[i].path, &is_new, &err), 0);
    assert_false(is_new);
    assert_int_equal(p.n, 5);
    plan_order(&p);
    for (size_t i = 0; i < p.n; i++)
        assert_int_equal(p.v[i].id, want[i]);
    plan_release(&p);
}

static void test_roles(void **state)
{
    assert_string_equal(capture_role_name(50), "owner");
    assert_string_equal(capture_role_name(0), "none");
    assert_null(capture_role_name(51));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_idset), cmocka_unit_test(test_order), cmocka_unit_test(test_roles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
