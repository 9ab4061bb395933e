/* What is pure in the kinds: tables that agree with each other, settings read out of records, comparing titles and colours. */
#include "unit.h"

#include "formats/relations.h"
#include "libreplay/kind.h"
#include "libreplay/kinds/settings.h"
#include "libreplay/kinds/step.h"
#include "libreplay/loss.h"

static void tables(void **state)
{
    (void)state;
    for (size_t i = 0; kinds[i]; i++) {
        assert_ptr_equal(kind_find(kinds[i]->name), kinds[i]);
        if (!relation_find(kinds[i]->relation))
            fail_msg("kind '%s': no relation '%s'", kinds[i]->name, kinds[i]->relation);
        assert_non_null(kinds[i]->step);
    }
    assert_null(kind_find("nothing"));
    for (size_t i = 0; relation_loaders[i]; i++)
        if (!relation_find(relation_loaders[i]->relation))
            fail_msg("loader of an unknown relation '%s'", relation_loaders[i]->relation);
}

static void losses(void **state)
{
    (void)state;
    for (size_t i = 0; loss_rules[i].code; i++) {
        const struct loss_rule *l = &loss_rules[i];
        assert_ptr_equal(loss_find(l->code), l); /* no code twice */
        if (strcmp(l->relation, "*") != 0 && !relation_find(l->relation))
            fail_msg("loss '%s': no relation '%s'", l->code, l->relation);
        size_t n = strlen(l->text);
        if (n < 20 || l->text[n - 1] == '.' || (l->text[0] >= 'A' && l->text[0] <= 'Z'))
            fail_msg("loss '%s': text '%s'", l->code, l->text);
    }
    assert_null(loss_find("nothing"));
}

/* What a record wants for a setting, as JSON; "" when it says nothing. */
static const char *wanted(const char *record, const char *setting)
{
    static char out[256];
    GS_AUTO(yyjson_doc) doc = yyjson_read(record, strlen(record), 0);
    gs_autobuf b;
    gs_buf_init(&b, 4096);
    const char *name;
    bool lock;
    for (size_t i = 0; settings_wanted(yyjson_doc_get_root(doc), i, &name, &lock, &b); i++)
        if (strcmp(name, setting) == 0) {
            snprintf(out, sizeof(out), "%s", gs_buf_str(&b));
            return out;
        }
    fail_msg("no setting '%s'", setting);
    return NULL;
}

static void settings(void **state)
{
    (void)state;
    assert_string_equal(wanted("{}", "lfs_enabled"), "");
    assert_string_equal(wanted("{\"lfs_enabled\":null}", "lfs_enabled"), "");
    assert_string_equal(wanted("{\"lfs_enabled\":false}", "lfs_enabled"), "false");
    assert_string_equal(wanted("{\"project_creation_level\":0}", "project_creation_level"), "\"noone\"");
    assert_string_equal(wanted("{\"project_creation_level\":4}", "project_creation_level"), "\"owner\"");
    assert_string_equal(wanted("{\"project_creation_level\":9}", "project_creation_level"), "");
    assert_string_equal(wanted("{\"project_creation_level\":\"maintainer\"}", "project_creation_level"), "\"maintainer\"");
    assert_string_equal(wanted("{\"subgroup_creation_level\":0}", "subgroup_creation_level"), "\"owner\"");
    assert_string_equal(wanted("{\"emails_disabled\":true}", "emails_enabled"), "false");
    assert_string_equal(wanted("{\"emails_disabled\":true,\"emails_enabled\":true}", "emails_enabled"), "true");
    assert_string_equal(wanted("{\"shared_runners_enabled\":true}", "shared_runners_setting"), "\"enabled\"");
    assert_string_equal(wanted("{\"shared_runners_enabled\":false}", "shared_runners_setting"), "\"disabled_and_unoverridable\"");
    assert_string_equal(wanted("{\"shared_runners_enabled\":false,\"allow_descendants_override_disabled_shared_runners\":true}",
                               "shared_runners_setting"), "\"disabled_and_overridable\"");
    assert_string_equal(wanted("{\"default_branch_name\":\"trunk\"}", "default_branch"), "\"trunk\"");
    assert_string_equal(wanted("{\"default_branch\":\"\"}", "default_branch"), "");
    assert_string_equal(wanted("{\"default_branch_protection\":1}", "default_branch_protection"), "1");
    assert_string_equal(wanted("{\"default_branch_protection\":1,\"default_branch_protection_defaults\":{\"a\":1}}", "default_branch_protection"), "");
}

static bool any(const char *record, bool locks)
{
    GS_AUTO(yyjson_doc) doc = yyjson_read(record, strlen(record), 0);
    return settings_any(yyjson_doc_get_root(doc), locks);
}

static void locks(void **state)
{
    (void)state;
    assert_false(any("{\"name\":\"x\"}", false));
    assert_true(any("{\"lfs_enabled\":true}", false));
    /* a lock that is off anyway is not worth a request */
    assert_false(any("{\"share_with_group_lock\":false,\"membership_lock\":false,\"shared_runners_enabled\":true}", true));
    assert_true(any("{\"share_with_group_lock\":true}", true));
    assert_true(any("{\"shared_runners_enabled\":false}", true));
}

static void comparing(void **state)
{
    (void)state;
    assert_true(step_same_color("#ABC", "#aabbcc"));
    assert_true(step_same_color("red", "#ff0000")); /* names are for the server to know */
    assert_false(step_same_color("#ABC", "#aabbcd"));
    assert_true(step_same_text(NULL, ""));
    assert_false(step_same_text("a", NULL));
    assert_true(step_same_date("2025-01-02T00:00:00Z", "2025-01-02"));
    assert_true(step_same_date(NULL, ""));
    assert_false(step_same_date("2025-01-02", NULL));
    assert_int_equal(step_cut("aä€b", 3), 6);
    assert_int_equal(step_cut("ab", 3), 2);
    gs_autofree char *s = step_strip(" \t a b\n");
    assert_string_equal(s, "a b");
}

static void pages(void **state)
{
    (void)state;
    struct step_notes n = {.page = 1};
    struct gl_response rsp = {.next_page = 2};
    assert_true(step_next_page(&n, &rsp));
    assert_int_equal(n.page, 2);
    assert_false(step_next_page(&n, &rsp)); /* a server that points to the page it is on */
    char link[] = "<https://x/api?page=3>; rel=\"next\"";
    rsp = (struct gl_response){.link = link};
    assert_true(step_next_page(&n, &rsp));
    assert_int_equal(n.page, 3);
    rsp.link = NULL;
    assert_false(step_next_page(&n, &rsp));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables), cmocka_unit_test(losses),    cmocka_unit_test(settings),
        cmocka_unit_test(locks),  cmocka_unit_test(comparing), cmocka_unit_test(pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
