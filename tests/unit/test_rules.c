/* Which attributes a loss explains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

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
    assert_true(rules_explain("label-archived", NULL, "archived"));
    assert_false(rules_explain("label-archived", NULL, "color"));
    assert_false(rules_explain("label-times", NULL, "title"));
    assert_false(rules_explain("no-such-code", "title", "title"));
    /* those that the loss itself names */
    assert_true(rules_explain("exists-differs", "color, description", "description"));
    assert_true(rules_explain("exists-differs", "color, description", "color"));
    assert_false(rules_explain("exists-differs", "color, description", "title"));
    assert_false(rules_explain("exists-differs", NULL, "title"));
    assert_true(rules_explain("label-changed", "color: sent '#1', got '#2'", "color"));
    assert_false(rules_explain("label-changed", "color: sent 'title', got 'title'", "title"));
    assert_true(rules_explain("exists-differs", "role 30 there", "access_level"));
    assert_true(rules_explain("group-setting-not-applied", "visibility: wanted public, got private", "visibility_level"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_known), cmocka_unit_test(test_explains)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
