/* What a policy takes out of a text, and what it leaves. */
#include "formats/policy.h"
#include "unit.h"

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    return 0;
}

static void seen(void *cookie, const char *name)
{
    (void)name;
    ++*(unsigned *)cookie;
}

static void becomes(const struct policy *p, const char *text, const char *want)
{
    struct gs_err err = {0};
    bool changed;
    unsigned n = 0;
    gs_autobuf out;
    gs_buf_init(&out, 1 << 26);
    OK(policy_text(p, text, strlen(text), seen, &n, &changed, &out, &err));
    assert_int_equal(changed, want != NULL);
    assert_int_equal(n > 0, want != NULL);
    if (want)
        assert_string_equal(gs_buf_str(&out), want);
}

static void test_text(void **state)
{
    (void)state;
    static const char all[] = "{\"schema\":\"groupsnap.policy/"
                              "1\",\"emails\":true,\"text\":{\"patterns\":{\"ip\":\"10[.][0-9]+[.][0-9]+[.][0-9]+\","
                              "\"longer\":\"glpat-[^ ]* and more\"}}}";
    static const char none[] = "{\"schema\":\"groupsnap.policy/1\",\"text\":{\"secrets\":false}}";
    static const char few[] = "{\"schema\":\"groupsnap.policy/1\"}";
    struct gs_err err = {0};
    GS_AUTO(policy) p = NULL;
    GS_AUTO(policy) q = NULL;
    GS_AUTO(policy) f = NULL;
    OK(policy_parse(all, strlen(all), &p, &err));
    OK(policy_parse(none, strlen(none), &q, &err));
    OK(policy_parse(few, strlen(few), &f, &err));
    static const char *const kept[] = {"",
                                       "plain",
                                       "@alice @bob/c",
                                       "a@b",
                                       "x@host",
                                       "glpat-short",
                                       "AKIA",
                                       "AKIA1234",
                                       "eyJ.eyJ",
                                       "-----BEGIN CERTIFICATE-----",
                                       "10.0.0",
                                       "mail a@ b.org"};
    for (size_t i = 0; i < GS_COUNT(kept); i++)
        becomes(p, kept[i], NULL);
    becomes(p, "a@b.de", "[withheld: email]");
    becomes(p, "<a.b+c@d-e.example.org>, x", "<[withheld: email]>, x");
    becomes(p, "to a@b.de.", "to [withheld: email].");
    becomes(p, "a@b.de c@d.fr", "[withheld: email] [withheld: email]");
    becomes(p, "x glpat-ABCDEFGHIJKLMNOPQRST y", "x [withheld: gitlab-token] y");
    becomes(p, "glpat-ABCDEFGHIJKLMNOPQRST.01.abcdef", "[withheld: gitlab-token]");
    becomes(p, "glpat-ABCDEFGHIJKLMNOPQRST and more", "[withheld: longer]"); /* of two that begin together the longer */
    becomes(p, "10.1.2.3, 10.4.5.6", "[withheld: ip], [withheld: ip]");
    becomes(p, "AKIAAKIAABCDEFGHIJKLMNOP", "[withheld: aws-key]"); /* no rest of it is left */
    becomes(p, "a -----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY----- b a@b.de",
            "a [withheld: private-key] b [withheld: email]");
    becomes(p, "-----BEGIN OPENSSH PRIVATE KEY-----\ncut off", "[withheld: private-key]");
    becomes(f, "ghp_abcdefghijklmnopqrstuvwxyz0123456789 a@b.de", "[withheld: github-token] a@b.de");
    becomes(q, "ghp_abcdefghijklmnopqrstuvwxyz0123456789 a@b.de", NULL);
    assert_true(policy_withholds_key(p, "public_email") && !policy_withholds_key(p, "emails_enabled") &&
                !policy_withholds_key(f, "email"));
}

/* A text that is nothing but what is withheld must not take the square of its length. */
static void test_long_text(void **state)
{
    (void)state;
    static const char all[] = "{\"schema\":\"groupsnap.policy/1\",\"emails\":true}";
    struct gs_err err = {0};
    GS_AUTO(policy) p = NULL;
    gs_autobuf text, out;
    bool changed;
    unsigned n = 0;
    gs_buf_init(&text, 1 << 24);
    gs_buf_init(&out, 1 << 26);
    OK(policy_parse(all, strlen(all), &p, &err));
    for (unsigned i = 0; i < 100000; i++)
        OK(gs_buf_addstr(&text, "a@b.de,", &err));
    OK(policy_text(p, text.data, text.len, seen, &n, &changed, &out, &err));
    assert_int_equal(n, 100000);
    assert_int_equal(out.len, 100000 * strlen("[withheld: email],"));
    n = 0;
    gs_buf_reset(&out);
    memset(text.data, '@', text.len); /* and none at all */
    OK(policy_text(p, text.data, text.len, seen, &n, &changed, &out, &err));
    assert_false(changed);
}

static void test_files(void **state)
{
    (void)state;
    static const char text[] =
        "{\"schema\":\"groupsnap.policy/"
        "1\",\"attachments\":{\"larger_than\":100,\"types\":[\"exe\",\"tar.gz\"]},\"relations\":[\"badges\"]}";
    struct gs_err err = {0};
    GS_AUTO(policy) p = NULL;
    OK(policy_parse(text, strlen(text), &p, &err));
    assert_true(policy_withholds_file(p, "a.EXE", 1) && policy_withholds_file(p, "x.tar.gz", 1) &&
                policy_withholds_file(p, "a.txt", 101));
    assert_false(policy_withholds_file(p, "exe", 1) || policy_withholds_file(p, "aexe", 1) ||
                 policy_withholds_file(p, "a.exe.txt", 100) || policy_withholds_file(p, "a.gz", 1));
    assert_true(policy_withholds_relation(p, "badges") && !policy_withholds_relation(p, "badge"));
    assert_false(policy_withholds_confidential(p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_long_text),
                                       cmocka_unit_test(test_files)};
    return cmocka_run_group_tests(tests, setup, unit_cleanup);
}
