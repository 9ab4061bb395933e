/* Which attributes a loss explains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libbooks/native.h"
#include "libbooks/rules.h"
#include "libreplay/loss.h"

/* A loss of a part of a record whose attributes nobody named would make a reconciliation count it as damage. */
static void test_all_known(void **state)
{
    for (const struct loss_rule *l = loss_rules; l->code; l++)
        if (!l->whole && !rules_known(l->code))
            fail_msg("'%s' is not in libbooks/rules.c", l->code);
    assert_false(rules_known("no-such-code"));
}

static void test_explains(void **state)
{
    assert_true(rules_explain("label-archived", NULL, "archived", NULL));
    assert_false(rules_explain("label-archived", NULL, "color", NULL));
    assert_false(rules_explain("label-times", NULL, "title", NULL));
    assert_false(rules_explain("no-such-code", "title", "title", NULL));
    /* those that the loss itself names */
    assert_true(rules_explain("exists-differs", "color, description", "description", NULL));
    assert_true(rules_explain("exists-differs", "color, description", "color", NULL));
    assert_false(rules_explain("exists-differs", "color, description", "title", NULL));
    assert_false(rules_explain("exists-differs", NULL, "title", NULL));
    assert_true(rules_explain("label-changed", "color: sent '#1', got '#2'", "color", "#2"));
    assert_false(rules_explain("label-changed", "color: sent 'title', got 'title'", "title", "title"));
    assert_true(rules_explain("exists-differs", "role 30 there", "access_level", NULL));
    assert_true(rules_explain("group-setting-not-applied", "visibility: wanted public, got private", "visibility_level", NULL));
    /* what the load found there, and nothing else */
    assert_false(rules_explain("label-changed", "color: sent '#1', got '#2'", "color", "#3"));
    assert_true(rules_explain("milestone-renamed", "'v1' is 'v1 (sub)' there", "title", "v1 (sub)"));
    assert_false(rules_explain("milestone-renamed", "'v1' is 'v1 (sub)' there", "title", "v1 (sub) changed"));
    assert_true(rules_explain("milestone-iid-changed", "1 at the source, 17 there", "iid", "17"));
    assert_false(rules_explain("milestone-iid-changed", "1 at the source, 17 there", "iid", "7"));
    assert_true(rules_explain("milestone-date-dropped", "due_date: sent '2024-01-02', got ''", "due_date", NULL));
    assert_false(rules_explain("milestone-date-dropped", "due_date: sent '2024-01-02', got '2024-01-03'", "due_date", NULL));
}

static void test_placeholder(void **state)
{
    static const struct {
        const char *name;
        unsigned long len; /* 0: it is none */
    } t[] = {{"ingridhalden_placeholder_1x2y3z", 12}, {"ingridhalden_placeholder_user_7", 12},
             {"a_placeholder_b_placeholder_c9", 15}, {"gitlab_migration_placeholder_0", 16},
             {"x_placeholder_user_", 0}, {"x_placeholder_", 0}, {"_placeholder_1", 0},
             {"x_placeholder_A", 0}, {"x_placeholder_1-2", 0}, {"ingrid.halden", 0}, {"", 0}};
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        unsigned long len = 0;
        assert_int_equal(native_placeholder(t[i].name, &len), t[i].len > 0);
        assert_int_equal(len, t[i].len);
    }
}

/* Each rule has a name of its own, and words; none is one of a load by this program. */
static void test_native_rules(void **state)
{
    size_t n = 0;
    for (; native_rules[n].code; n++) {
        assert_non_null(native_rules[n].text);
        assert_null(loss_find(native_rules[n].code));
        for (size_t k = 0; k < n; k++)
            assert_string_not_equal(native_rules[k].code, native_rules[n].code);
    }
    assert_true(n >= 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_known), cmocka_unit_test(test_explains), cmocka_unit_test(test_placeholder),
                                       cmocka_unit_test(test_native_rules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
