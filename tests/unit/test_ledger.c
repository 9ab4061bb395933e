/* Ledger lines, and the withholding of secrets. */
#include "unit.h"

#include "formats/ledger.h"
#include "formats/reasons.h"

static char seen[1000];

static void note(void *cookie, const char *path)
{
    size_t n = strlen(seen);
    assert_ptr_equal(cookie, seen);
    snprintf(seen + n, sizeof seen - n, "%s;", path);
}

static void withhold(const char *json, const char *want, const char *paths)
{
    struct gs_err err = {0};
    gs_autobuf out;
    bool changed = true;
    gs_buf_init(&out, 1 << 16);
    seen[0] = 0;
    OK(ledger_withhold(json, strlen(json), note, seen, &changed, &out, &err));
    assert_int_equal(changed, want != NULL);
    assert_string_equal(gs_buf_str(&out), want ? want : "");
    assert_string_equal(seen, paths);
}

static void test_withhold(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf out;
    bool changed;
    withhold("{\"a\":1, \"x\":[{\"title\":\"token\"}]}", NULL, "");
    withhold("{\"runners_token\":\"x\",\"a\":0.10}", "{\"a\":0.10}", "runners_token;");
    withhold("{\"runners_token\":null,\"token\":\"\",\"password\":true}", NULL, "");
    withhold("{\"z\":{\"user\":{\"private_token\":\"x\",\"n\":1e400}},\"l\":[[{\"secret\":[\"a\"]}]]}",
             "{\"z\":{\"user\":{\"n\":1e400}},\"l\":[[{}]]}", "z.user.private_token;l.secret;");
    withhold("{\"token\":{\"expires_at\":null}}", NULL, "");
    withhold("{\"a\\u0000b\":1,\"saml_discovery_token\":\"q\"}", "{\"a\\u0000b\":1}", "saml_discovery_token;");
    gs_buf_init(&out, 1 << 16);
    FAILS(GS_E_JSON, ledger_withhold("{", 1, NULL, NULL, &changed, &out, &err));
}

static void test_secret_keys(void **state)
{
    (void)state;
    static const char *const yes[] = {"runners_token",
                                      "runners_token_encrypted",
                                      "saml_discovery_token",
                                      "invite_token",
                                      "token",
                                      "private_token",
                                      "PRIVATE-TOKEN",
                                      "client_secret",
                                      "password",
                                      "encrypted_password",
                                      "encrypted_anything",
                                      "hook_token",
                                      "incoming_email_token",
                                      "feedToken",
                                      "accessToken",
                                      "runnersToken",
                                      "webhook_secret",
                                      "otp_secret",
                                      "api_key",
                                      "ssh_private_key",
                                      "token_digest",
                                      "secret_token",
                                      "key_encrypted",
                                      "otp_backup_secrets"};
    static const char *const no[] = {"token_expires_at",
                                     "service_access_tokens_expiration_enforced",
                                     "title",
                                     "description",
                                     "key",
                                     "public_key",
                                     "runner_token_expiration_interval",
                                     "subgroup_runner_token_expiration_interval",
                                     "tokenizer",
                                     "secretary",
                                     "password_automatically_set",
                                     "two_factor_grace_period",
                                     "secret_push_protection_enabled",
                                     "note",
                                     "personal_access_token_id",
                                     "keep",
                                     "author",
                                     "tokens_count",
                                     "access_level"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!ledger_secret_key(yes[i], strlen(yes[i])))
            fail_msg("'%s' is a secret", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (ledger_secret_key(no[i], strlen(no[i])))
            fail_msg("'%s' is no secret", no[i]);
}

static void test_lines(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf out;
    gs_buf_init(&out, 1 << 16);
    struct ledger_fetch f = {.group_id = 7,
                             .relation = "labels",
                             .via = "api",
                             .endpoint = "rest:/groups/:id/labels",
                             .announced = -1,
                             .pages = 1,
                             .records = 2,
                             .bytes = 3};
    OK(ledger_fetch_line(&f, &out, &err));
    assert_string_equal(gs_buf_str(&out),
                        "{\"announced\":null,\"bytes\":3,\"endpoint\":\"rest:/groups/:id/"
                        "labels\",\"entry\":\"fetch\",\"group\":7,\"pages\":1,"
                        "\"records\":2,\"relation\":\"labels\",\"retries\":0,\"via\":\"api\",\"waits_ms\":0}");
    gs_buf_reset(&out);
    OK(ledger_relation_line(7, "labels", 12, 11, 1, &out, &err));
    assert_string_equal(
        gs_buf_str(&out),
        "{\"announced\":12,\"entry\":\"relation\",\"group\":7,\"left_out\":1,\"relation\":\"labels\",\"stored\":11}");
    gs_buf_reset(&out);
    OK(ledger_rule_line("lost", 7, "labels", "label-times-not-readable", NULL, 3, "d\"", &out, &err));
    assert_string_equal(gs_buf_str(&out), "{\"count\":3,\"detail\":\"d\\\"\",\"entry\":\"lost\",\"group\":7,"
                                          "\"relation\":\"labels\",\"rule\":\"label-times-not-readable\"}");
    gs_buf_reset(&out);
    OK(ledger_rule_line("left_out", 7, "self", "secret-field", "runners_token", 1, NULL, &out, &err));
    OK(ledger_fallback_line(7, "labels", "graphql", "rest", "403", &out, &err));
    OK(ledger_changed_line(7, "labels", "1", "2", &out, &err));
    gs_buf_reset(&out);
    /* a name in Latin-1, and one that was cut off within a character, are told all the same */
    OK(ledger_rule_line("left_out", 7, "uploads", "file-name", "caf\xe9.txt", 1, "\xc3\xa9 \xe2\x82", &out, &err));
    OK(ledger_fallback_line(7, "labels", "graphql", "rest", "\xed\xa0\x80", &out, &err));
    assert_string_equal(gs_buf_str(&out), "{\"count\":1,\"detail\":\"\xc3\xa9 ?\?\",\"entry\":\"left_out\",\"group\":7,"
                                          "\"relation\":\"uploads\",\"rule\":\"file-name\",\"what\":\"caf?.txt\"}"
                                          "{\"entry\":\"fallback\",\"from\":\"graphql\",\"group\":7,\"relation\":\"labels\","
                                          "\"to\":\"rest\",\"why\":\"??\?\"}");
    gs_buf_reset(&out);
    OK(ledger_watermark_line(7, "members", 2, 0, 0, "all", &out, &err));
    OK(ledger_watermark_line(7, "labels", 2, 9, 1714557600, "number", &out, &err));
    assert_string_equal(gs_buf_str(&out),
                        "{\"entry\":\"watermark\",\"group\":7,\"highest_id\":null,\"newest\":null,\"records\":2,"
                        "\"relation\":\"members\",\"seen\":\"all\"}"
                        "{\"entry\":\"watermark\",\"group\":7,\"highest_id\":9,\"newest\":\"2024-05-01T10:00:00.000Z\",\"records\":2,"
                        "\"relation\":\"labels\",\"seen\":\"number\"}");
    gs_buf_reset(&out);
    OK(ledger_settled_line(7, "labels", 1, "1", "2", &out, &err));
    struct ledger_capture c = {.requests = 9, .repeated = 2, .kept = 1, .longest_pause_ms = 5, .passes = 3};
    OK(ledger_capture_line(&c, &out, &err));
    assert_string_equal(gs_buf_str(&out), "{\"after\":\"2\",\"before\":\"1\",\"entry\":\"settled\",\"group\":7,\"pass\":1,\"relation\":\"labels\"}"
                                          "{\"entry\":\"capture\",\"group\":0,\"kept\":1,\"longest_pause_ms\":5,\"passes\":3,"
                                          "\"relation\":\"\",\"repeated\":2,\"requests\":9}");
    FAILS(GS_E_INTERNAL, ledger_rule_line("lost", 7, "labels", "no-such-rule", NULL, 3, NULL, &out, &err));
    FAILS(GS_E_INTERNAL, ledger_rule_line("gone", 7, "labels", "forbidden", NULL, 3, NULL, &out, &err));
    for (const struct ledger_rule *r = ledger_rules; r->name; r++) {
        assert_ptr_equal(ledger_rule_find(r->name), r); /* no name twice */
        assert_true(r->text && r->text[0]);
    }
    assert_null(ledger_rule_find("x"));
}

static void test_reasons(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct reasons r = {0};
    char name[32], lengthy[400];
    /* names between quotes and numbers of paths make no reason of their own, other numbers do */
    OK(reasons_unread(&r, "labels", "forbidden", 2, "GET /groups/12/labels: the server answered 403", &err));
    OK(reasons_unread(&r, "labels", "forbidden", 3, "GET /groups/7/labels: the server answered 403", &err));
    OK(reasons_unread(&r, "labels", "forbidden", 0, "GET /groups/7/labels: the server answered 404", &err));
    OK(reasons_fallback(&r, "labels", "relations", "api", "export of 'a b' failed", &err));
    OK(reasons_fallback(&r, "labels", "relations", "api", "export of '' failed", &err));
    OK(reasons_fallback(&r, "labels", "relations", "api", "export of 'failed", &err));
    OK(reasons_fallback(&r, "labels", "graphql", "rest", "export of 'a b' failed", &err));
    reasons_sort(&r);
    assert_int_equal(r.n, 5);
    assert_true(r.v[0].fallback && r.v[2].fallback && !r.v[3].fallback);
    assert_string_equal(r.v[0].why, "export of '' failed");
    assert_int_equal(r.v[0].entries, 2);
    assert_true(r.v[0].varies);
    assert_string_equal(r.v[3].why, "GET /groups/12/labels: the server answered 403");
    assert_int_equal(r.v[3].entries, 2);
    assert_int_equal(r.v[3].records, 5);
    assert_int_equal(r.v[4].entries, 1);
    assert_false(r.v[4].varies);
    /* what was none in the end */
    reasons_take_back(&r, "labels", "forbidden", "GET /groups/9/labels: the server answered 403");
    reasons_take_back(&r, "labels", "forbidden", "GET /groups/9/labels: the server answered 404");
    reasons_take_back(&r, "boards", "forbidden", "GET /groups/9/labels: the server answered 404");
    reasons_sort(&r);
    assert_int_equal(r.n, 4);
    assert_int_equal(r.v[3].entries, 1);
    /* words end with a whole character */
    memset(lengthy, 'x', sizeof lengthy);
    memcpy(lengthy + 254, "\xc3\xa9", 2);
    lengthy[399] = 0;
    OK(reasons_unread(&r, "badges", "forbidden", 0, lengthy, &err));
    assert_int_equal(strlen(r.v[4].why), 254);
    memcpy(lengthy + 253, "\xc3\xa9x", 3);
    OK(reasons_unread(&r, "badges", "forbidden", 0, lengthy, &err));
    assert_int_equal(strlen(r.v[5].why), 255);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "error %d", i);
        OK(reasons_unread(&r, "badges", "forbidden", 1, name, &err));
    }
    assert_int_equal(r.n, REASONS_MAX);
    assert_int_equal(r.v[r.n - 1].entries, 1000 - (REASONS_MAX - 6) + 1);
    reasons_release(&r);
    assert_true(reasons_is_unread(true, "group-not-visible") && !reasons_is_unread(false, "group-not-visible"));
    assert_true(reasons_is_unread(false, "relation-not-read") && !reasons_is_unread(true, "secret-field"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reasons), cmocka_unit_test(test_withhold), cmocka_unit_test(test_secret_keys),
                                       cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
