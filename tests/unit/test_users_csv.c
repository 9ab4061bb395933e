/* The user map: what is read, and which line an error names. */
#include "unit.h"

#include "libreplay/users_csv.h"

static struct gs_err err;

static struct users_csv *parse(const char *text)
{
    struct users_csv *c = NULL;
    struct gs_err e = {0};
    if (users_csv_parse("map.csv", text, strlen(text), &c, &e))
        fail_msg("%s", e.text);
    return c;
}

static void fails(const char *text, size_t len, const char *part)
{
    struct users_csv *c = NULL;
    struct gs_err e = {0};
    assert_int_equal(users_csv_parse("map.csv", text, len, &c, &e), -1);
    assert_int_equal(e.code, GS_E_USER_MAP);
    if (!strstr(e.text, part))
        fail_msg("'%s' is not in '%s'", part, e.text);
}

#define FAILS_AT(text, part) fails(text, sizeof(text) - 1, part)

static void reads(void **state)
{
    (void)state;
    GS_AUTO(users_csv) c = parse("\xef\xbb\xbf" "Source_Username , target_username\r\nann,\"b,\"\"x\"\"\"\r\n\r\ncarl,\r\ndora, d \n");
    const struct users_csv_line *l;
    assert_int_equal(c->n, 3);
    OK(users_csv_find(c, 7, "ann", NULL, &l, &err));
    assert_non_null(l);
    assert_string_equal(l->target_username, "b,\"x\"");
    assert_int_equal(l->line, 2);
    OK(users_csv_find(c, 0, "CARL", NULL, &l, &err));
    assert_non_null(l);
    assert_null(l->target_username);
    assert_int_equal(l->line, 4);
    OK(users_csv_find(c, 0, "dora", NULL, &l, &err));
    assert_string_equal(l->target_username, "d");
    OK(users_csv_find(c, 0, "eve", "eve@x", &l, &err));
    assert_null(l);
}

static void by_any_column(void **state)
{
    (void)state;
    GS_AUTO(users_csv) c = parse("source_id,source_username,source_email,target_id,target_username\n"
                                 "5,,,50,\n,ann,,,a\n,,C@x.org,,c\n6,six,,,s");
    const struct users_csv_line *l;
    OK(users_csv_find(c, 5, "zed", NULL, &l, &err));
    assert_int_equal(l->target_id, 50);
    OK(users_csv_find(c, 9, "ann", NULL, &l, &err));
    assert_string_equal(l->target_username, "a");
    OK(users_csv_find(c, 9, "x", "c@X.org", &l, &err));
    assert_string_equal(l->target_username, "c");
    /* a line is about the first column that it fills */
    OK(users_csv_find(c, 10, "six", NULL, &l, &err));
    assert_null(l);
    /* one user, two lines */
    FAILS(GS_E_USER_MAP, users_csv_find(c, 5, "ann", NULL, &l, &err));
}

static void many(void **state)
{
    (void)state;
    size_t cap = 1 << 20, at = 0;
    gs_autofree char *text = malloc(cap);
    at += (size_t)snprintf(text, cap, "source_username,target_username\n");
    for (int i = 4999; i >= 0; i--)
        at += (size_t)snprintf(text + at, cap - at, "user%d,there%d\n", i, i);
    GS_AUTO(users_csv) c = NULL;
    const struct users_csv_line *l;
    OK(users_csv_parse("map.csv", text, at, &c, &err));
    assert_int_equal(c->n, 5000);
    for (int i = 0; i < 5000; i += 7) {
        char name[32], want[32];
        snprintf(name, sizeof(name), "user%d", i);
        snprintf(want, sizeof(want), "there%d", i);
        OK(users_csv_find(c, 0, name, NULL, &l, &err));
        assert_non_null(l);
        assert_string_equal(l->target_username, want);
    }
}

static void refuses(void **state)
{
    (void)state;
#define HEAD "source_username,target_username\n"
    FAILS_AT("", "empty");
    FAILS_AT("a,b\n", "line 1: unknown column 'a'");
    FAILS_AT("target_username\n", "line 1: no column source_username");
    FAILS_AT("source_username\n", "line 1: no column target_username");
    FAILS_AT("source_username,source_username,target_id\n", "line 1: column 'source_username' twice");
    FAILS_AT(HEAD "a\n", "line 2: 1 columns");
    FAILS_AT(HEAD "a,b\nc,d,e\n", "line 3: 3 columns");
    FAILS_AT(HEAD "a,\"b\n", "line 2: a quote is not closed");
    FAILS_AT(HEAD "a,\"b\"c\n", "line 2: text behind");
    FAILS_AT(HEAD "a,b\"c\n", "line 2: a quote in a field");
    FAILS_AT(HEAD "a,b\rc,d\n", "line 2: a carriage return");
    FAILS_AT(HEAD ",b\n", "line 2: no source user");
    FAILS_AT(HEAD "a,b\n\"x\ny\",d\nA,c\n", "line 5: this source user stands in line 2");
    FAILS_AT(HEAD "a\0b,c\n", "line 2: a NUL byte");
    FAILS_AT("source_id,target_id\nx,1\n", "line 2: source_id 'x' is no id");
    FAILS_AT("source_id,target_id\n1,-4\n", "line 2: target_id '-4' is no id");
    FAILS_AT("source_id,target_id\n1,99999999999999999999\n", "line 2: target_id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(by_any_column),
        cmocka_unit_test(many),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
