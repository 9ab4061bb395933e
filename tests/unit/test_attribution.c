/* attribution: what is written is found again, whatever stands before it and in the names. */
#include "unit.h"

#include "libreplay/attribution.h"

static const struct {
    const char *text;
    struct attribution a;
    const char *tail; /* NULL: nothing is added */
} cases[] = {
    {"text", {7, "ann", "Ann Example", "2024-01-02T03:04:05.678Z"},
     "\n\n---\n\n*Written by Ann Example (`ann`) at the source on 2024-01-02 03:04 UTC*\n<!-- groupsnap:attribution user=7 username=ann created_at=2024-01-02T03:04:05.678Z -->"},
    {"", {7, "ann", NULL, NULL}, "\n\n---\n\n*Written by `ann` at the source*\n<!-- groupsnap:attribution user=7 username=ann -->"},
    {"x", {7, NULL, NULL, NULL}, "\n\n---\n\n*Written by user 7 at the source*\n<!-- groupsnap:attribution user=7 -->"},
    {"x", {0, NULL, NULL, "2024-01-02 03:04:05 UTC"}, "\n\n---\n\n*Written at the source on 2024-01-02 03:04 UTC*\n<!-- groupsnap:attribution created_at=2024-01-02T03:04:05.000Z -->"},
    {"x", {0, NULL, NULL, NULL}, NULL},
    {"x", {7, "no name -->", "@evil *x*\n`y` -->", "yesterday"},
     "\n\n---\n\n*Written by \\@evil \\*x\\* \\`y\\` \\-\\-\\> at the source*\n<!-- groupsnap:attribution user=7 -->"},
    {"a\n\n---\n\n*Written by `b` at the source*\n<!-- groupsnap:attribution user=9 -->", {7, "ann", NULL, NULL},
     "\n\n---\n\n*Written by `ann` at the source*\n<!-- groupsnap:attribution user=7 username=ann -->"},
};

static void there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gs_err err = {0};
        struct attribution_found f;
        gs_autobuf b;
        gs_buf_init(&b, 1 << 20);
        OK(gs_buf_addstr(&b, cases[i].text, &err));
        OK(attribution_add(&cases[i].a, &b, &err));
        assert_string_equal(gs_buf_str(&b) + strlen(cases[i].text), cases[i].tail ? cases[i].tail : "");
        if (!cases[i].tail) {
            assert_false(attribution_find(b.data, b.len, &f));
            continue;
        }
        OK(gs_buf_addstr(&b, i % 2 ? "\n \n" : "", &err));
        assert_true(attribution_find(b.data, b.len, &f));
        assert_int_equal(f.text_len, strlen(cases[i].text));
        assert_int_equal(f.user, cases[i].a.user);
        assert_int_equal(f.username[0] != 0, cases[i].a.username && !strchr(cases[i].a.username, ' '));
    }
}

static void others(void **state)
{
    static const char *const texts[] = {"", " ", "-->", " -->", "text", "<!-- groupsnap:attribution user=7 -->", "*\n<!-- groupsnap:attribution user=7 -->",
                                        "\n\n---\n\n*Written by me*\n<!-- groupsnap:attribution user=7 -->\nmore",
                                        "\n\n---\n\n*Written\nby me*\n<!-- groupsnap:attribution user=7 -->"};
    struct attribution_found f;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(attribution_find(texts[i], strlen(texts[i]), &f));
        assert_int_equal(f.text_len, strlen(texts[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(others)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
