/* Whatever the quick look accepts, the parser accepts; and it does accept what GitLab writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libcommon/json.h"
#include "libcommon/json_scan.h"

#include <stdio.h>
#include <string.h>

#define DEPTH 8

static const char *const plain[] = {
    "{}",
    "{\"a\":1}",
    "{\"id\":1000001,\"iid\":-1,\"x\":0,\"y\":-0,\"z\":0.25,\"w\":12.5}",
    "{\"t\":true,\"f\":false,\"n\":null,\"e\":\"\",\"o\":{},\"l\":[],\"m\":[[],{},[{}]]}",
    "{\"title\":\"a \\\"quoted\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00e9 \\ud83d\\ude00\",\"k\":\"\x7f\"}",
    "{\"\":1,\" \":2,\"aaaaaaaaaaaaaaaa1\":3,\"aaaaaaaaaaaaaaaa2\":4,\"abcdefgh\":5,\"hgfedcba\":6}",
    "{\"de\":\"\xc3\xbc\xc3\x9f\",\"gr\":\"\xcf\x80\xcf\x81\",\"jp\":\"\xe6\x97\xa5\xe6\x9c\xac\",\"emoji\":\"\xf0\x9f\x98\x80\",\"edge\":\"\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xc2\x80\xe0\xa0\x80\"}",
    "{ \"a\" : [ 1 , 2 ,\t3 ] ,\r\"b\" : { \"a\" : { \"a\" : 1 } } }",
    "{\"a\":{\"b\":1,\"c\":{\"b\":2}},\"b\":[{\"b\":1},{\"b\":2}],\"c\":\"0123456789abcdef0123456789abcdef\"}",
    "{\"1\":[[[[[[[7]]]]]]]}",
};

/* Not accepted at once; what the parser says is in the second column. */
static const struct {
    const char *text;
    bool valid;
} odd[] = {
    {"", false},
    {"[]", true},
    {"1", true},
    {"{", false},
    {"{\"a\"", false},
    {"{\"a\":", false},
    {"{\"a\":1", false},
    {"{\"a\":1,", false},
    {"{\"a\":1,}", false},
    {"{,}", false},
    {"{\"a\":[1,]}", false},
    {"{\"a\":[1 2]}", false},
    {"{\"a\" 1}", false},
    {"{a:1}", false},
    {"{\"a\":1]", false},
    {"{\"a\":[1}", false},
    {"{\"a\":01}", false},
    {"{\"a\":-}", false},
    {"{\"a\":1.}", false},
    {"{\"a\":.5}", false},
    {"{\"a\":+1}", false},
    {"{\"a\":1e5}", true},
    {"{\"a\":1E+5}", true},
    {"{\"a\":123456789012345678901234567890}", true},
    {"{\"a\":tru}", false},
    {"{\"a\":nul}", false},
    {"{\"a\":truex}", false},
    {"{\"a\":\"\\x\"}", false},
    {"{\"a\":\"\\u12g4\"}", false},
    {"{\"a\":\"\\ud800\"}", false},
    {"{\"a\":\"\\udc00\"}", false},
    {"{\"a\":\"\\ud800\\u0041\"}", false},
    {"{\"a\":\"\x01\"}", false},
    {"{\"a\":\"\xc3\"}", false},
    {"{\"a\":\"\xc0\x80\"}", false},
    {"{\"a\":\"\xe0\x9f\xbf\"}", false},
    {"{\"a\":\"\xed\xa0\x80\"}", false},
    {"{\"a\":\"\xf0\x8f\xbf\xbf\"}", false},
    {"{\"a\":\"\xf4\x90\x80\x80\"}", false},
    {"{\"a\":\"\xff\"}", false},
    {"{\"a\":1,\"a\":2}", false},
    {"{\"abcdefghijkl\":1,\"x\":2,\"abcdefghijkl\":2}", false},
    {"{\"b\":{\"a\":1,\"a\":2}}", false},
    {"{\"a\":{},\"b\":{\"c\":1},\"a\":2}", false},
    {"{\"a\":1,\"\\u0061\":2}", false},
    {"{\"\\u0061\":2}", true},
    {"{\"1\":[[[[[[[[7]]]]]]]]}", false}, /* too deep */
    {" {}", true},
    {"{\"a\":1,\n\"b\":2}", true},
};

static bool parser_takes(const char *text, size_t len)
{
    struct gs_err err = {0};
    struct gs_json_opts o = {.max_depth = DEPTH};
    GS_AUTO(yyjson_doc) doc = NULL;
    return gs_json_parse(text, len, &o, &doc, &err) == 0;
}

static void test_accepted(void **state)
{
    for (size_t i = 0; i < GS_COUNT(plain); i++) {
        size_t n = strlen(plain[i]);
        assert_true(parser_takes(plain[i], n));
        assert_int_equal(gs_json_scan(plain[i], n, DEPTH, NULL, NULL), n);
        /* what stands behind is not looked at, and what is cut off is not taken */
        gs_autofree char *more = gs_asprintf("%s\n{", plain[i]);
        assert_int_equal(gs_json_scan(more, n + 2, DEPTH, NULL, NULL), n);
        for (size_t k = 0; k < n; k++) {
            char *cut = malloc(k ? k : 1); /* of its own, so that a sanitizer sees a look beyond it */
            memcpy(cut, plain[i], k);
            assert_int_equal(gs_json_scan(cut, k, DEPTH, NULL, NULL), 0);
            free(cut);
        }
    }
}

static void test_given_up(void **state)
{
    for (size_t i = 0; i < GS_COUNT(odd); i++) {
        size_t n = strlen(odd[i].text);
        assert_int_equal(gs_json_scan(odd[i].text, n, DEPTH, NULL, NULL), 0);
        assert_int_equal(parser_takes(odd[i].text, n), odd[i].valid);
    }
    assert_int_equal(gs_json_scan("{\"a\":\"\0\"}", 9, DEPTH, NULL, NULL), 0);
}

/* Every byte of the sound texts changed, and pairs of bytes at random. */
static void test_changed(void **state)
{
    uint64_t x = 88172645463325252u;
    unsigned accepted = 0;
    for (size_t i = 0; i < GS_COUNT(plain); i++) {
        size_t n = strlen(plain[i]);
        gs_autofree char *s = strdup(plain[i]);
        for (size_t k = 0; k < n; k++) {
            for (int c = 0; c < 256; c++) {
                s[k] = (char)c;
                size_t got = gs_json_scan(s, n, DEPTH, NULL, NULL);
                assert_true(got == 0 || parser_takes(s, got));
                accepted += got > 0;
            }
            s[k] = plain[i][k];
        }
        for (int k = 0; k < 40000; k++) {
            static const char likely[] = "\"\"\\{}[],:0123456789-.eEtrufalsn u\x80\xc3\xe0\xed\xf0\xf4\xbf";
            for (int j = 0; j < 3; j++) {
                x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                s[x % n] = likely[(x >> 32) % (sizeof likely - 1)];
            }
            size_t got = gs_json_scan(s, n, DEPTH, NULL, NULL);
            assert_true(got == 0 || parser_takes(s, got));
            accepted += got > 0;
            if (k % 4 == 3)
                memcpy(s, plain[i], n);
        }
    }
    assert_true(accepted > 1000);
}

static void test_many_keys(void **state)
{
    for (unsigned n = 250; n < 260; n++) {
        gs_autobuf b;
        struct gs_err err = {0};
        gs_buf_init(&b, 1 << 20);
        for (unsigned i = 0; i < n; i++)
            assert_int_equal(gs_buf_addf(&b, &err, "%c\"key%u\":%u", i ? ',' : '{', i, i), 0);
        assert_int_equal(gs_buf_addc(&b, '}', &err), 0);
        assert_int_equal(gs_json_scan(b.data, b.len, DEPTH, NULL, NULL), n <= 256 ? b.len : 0);
    }
}

static bool no_token(void *cookie, const char *key, size_t len, const char *value, size_t left)
{
    ++*(unsigned *)cookie;
    assert_true(left > 0 && (*value == '{' || *value == '[' || *value == '"' || *value == '1'));
    return len == 5 && memcmp(key, "token", 5) == 0;
}

static void test_keys_asked(void **state)
{
    unsigned asked = 0;
    static const char good[] = "{\"a\":{\"b\":[{\"c\":\"token\"}]}}", bad[] = "{\"a\":{\"b\":[{\"token\":1}]}}";
    assert_int_equal(gs_json_scan(good, sizeof good - 1, DEPTH, no_token, &asked), sizeof good - 1);
    assert_int_equal(asked, 3);
    assert_int_equal(gs_json_scan(bad, sizeof bad - 1, DEPTH, no_token, &asked), 0);
}

static uint8_t first_and_length(const char *key, size_t len)
{
    return (uint8_t)((len ? (unsigned char)key[0] : 0) * 7 + len);
}

/* More keys than there are slots, long and short ones, in changing order: always the right class. */
static void test_key_cache(void **state)
{
    static struct gs_key_cache c;
    char key[64];
    for (unsigned turn = 0; turn < 5; turn++)
        for (unsigned i = 0; i < 3000; i++) {
            unsigned k = i * (turn + 1) % 3000;
            int n = snprintf(key, sizeof key, "%c%0*u", 'a' + k % 26, (int)(k % 40), k);
            assert_int_equal(gs_key_class(&c, key, (size_t)n, first_and_length), first_and_length(key, (size_t)n));
        }
    assert_int_equal(gs_key_class(&c, "", 0, first_and_length), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_given_up),   cmocka_unit_test(test_changed),
        cmocka_unit_test(test_many_keys), cmocka_unit_test(test_keys_asked), cmocka_unit_test(test_key_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
