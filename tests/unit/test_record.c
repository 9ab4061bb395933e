/* Records in two encodings: the same values there and back, and everything that must be refused. Also the msgpack walk.
 */
#include "unit.h"

#include "libcommon/mp.h"

#include <msgpack.h>

static const struct record_limits small = {.max_bytes = 1000, .max_depth = 4};

static void encode(enum record_encoding e, const char *json, struct gs_buf *out)
{
    struct gs_err err = {0};
    gs_buf_init(out, 1 << 20);
    OK(record_encode(e, json, strlen(json), NULL, out, &err));
}

static void test_there_and_back(void **state)
{
    (void)state;
    static const char *const records[] = {
        "{}",
        "{\"a\":null,\"b\":true,\"c\":false}",
        "{\"n\":[0,1,-1,127,128,255,256,-32,-33,-128,-129,32767,-32768,65535,65536,4294967295,4294967296,-2147483649]}",
        "{\"n\":[9007199254740993,9223372036854775807,-9223372036854775808,18446744073709551615,18446744073709551616]}",
        "{\"n\":[-9223372036854775809]}",
        "{\"n\":[0.10,1e400,-0,1.0,1E5,0.1e-7,123456789012345678901234567890.5,-0.0,1e-400]}",
        "{\"t\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 \\\"q\\\" \\\\ \\n\\t\\u0000\\u001f\"}",
        "{\"deep\":[[[[{\"x\":[]}]]]]}",
        "{\"z\":1,\"a\":2,\"m\":{\"b\":1,\"a\":[{},[],\"\"]}}",
    };
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        for (int e = 0; e < 2; e++) {
            struct gs_err err = {0};
            gs_autobuf b, back;
            size_t n;
            encode((enum record_encoding)e, records[i], &b);
            gs_buf_init(&back, 1 << 20);
            OK(record_next((enum record_encoding)e, b.data, b.len, true, NULL, &n, &err));
            assert_int_equal(n, b.len);
            OK(record_check((enum record_encoding)e, b.data, b.len, NULL, &err));
            OK(record_to_json((enum record_encoding)e, b.data, b.len, NULL, &back, &err));
            assert_string_equal(gs_buf_str(&back), records[i]);
            GS_AUTO(yyjson_doc) d = NULL, d2 = NULL;
            OK(record_parse((enum record_encoding)e, b.data, b.len, NULL, &d, &err));
            OK(gs_json_parse(records[i], strlen(records[i]), NULL, &d2, &err));
            assert_true(gs_json_equal(yyjson_doc_get_root(d), yyjson_doc_get_root(d2)));
            /* no shorter piece is a record */
            for (size_t k = 0; k < b.len; k++) {
                struct gs_err er = {0};
                size_t m = 99;
                assert_int_equal(record_next((enum record_encoding)e, b.data, k, false, NULL, &m, &er), 0);
                assert_int_equal(m, 0);
                assert_int_equal(record_next((enum record_encoding)e, b.data, k, true, NULL, &m, &er), -1);
            }
        }
}

/* What our walk reads is what msgpack-c wrote, and msgpack-c reads what our walk accepts. */
static void test_msgpack_c_agrees(void **state)
{
    (void)state;
    gs_autobuf b;
    encode(RECORD_MSGPACK, "{\"id\":18446744073709551615,\"x\":0.10,\"l\":[1,-1,\"s\",null]}", &b);
    msgpack_unpacked u;
    size_t off = 0;
    msgpack_unpacked_init(&u);
    assert_int_equal(msgpack_unpack_next(&u, b.data, b.len, &off), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(off, b.len);
    assert_int_equal(u.data.type, MSGPACK_OBJECT_MAP);
    assert_int_equal(u.data.via.map.size, 3);
    assert_true(u.data.via.map.ptr[0].val.via.u64 == UINT64_MAX);
    assert_int_equal(u.data.via.map.ptr[1].val.type, MSGPACK_OBJECT_EXT);
    assert_int_equal(u.data.via.map.ptr[1].val.via.ext.type, MP_EXT_NUMBER);
    assert_memory_equal(u.data.via.map.ptr[1].val.via.ext.ptr, "0.10", 4);
    msgpack_unpacked_destroy(&u);
}

static void refuse(enum record_encoding e, enum gs_code want, const char *data, size_t len)
{
    struct gs_err err = {0};
    gs_autobuf out;
    yyjson_doc *d = NULL;
    gs_buf_init(&out, 1 << 20);
    FAILS(want, record_check(e, data, len, &small, &err));
    FAILS(want, record_parse(e, data, len, &small, &d, &err));
    if (e == RECORD_MSGPACK)
        FAILS(want, record_to_json(e, data, len, &small, &out, &err));
}

static void test_refused(void **state)
{
    (void)state;
#define ND(want, text) refuse(RECORD_NDJSON, want, text, sizeof(text) - 1)
#define MP(want, text) refuse(RECORD_MSGPACK, want, text, sizeof(text) - 1)
    ND(GS_E_JSON, "\n");
    ND(GS_E_JSON, "{\"a\":}\n");
    ND(GS_E_JSON, "{} {}\n");
    ND(GS_E_JSON, "{\"a\":\"\\ud800\"}\n");
    ND(GS_E_RECORD, "[]\n");
    ND(GS_E_RECORD, "1\n");
    ND(GS_E_RECORD, "{\n}\n");
    ND(GS_E_JSON_UTF8, "{\"a\":\"\xff\"}\n");
    ND(GS_E_JSON_KEY_TWICE, "{\"a\":1,\"b\":{\"x\":1,\"x\":1}}\n");
    ND(GS_E_JSON_KEY_TWICE, "{\"a\":1,\"\\u0061\":2}\n");
    ND(GS_E_JSON_DEPTH, "{\"a\":[[[[1]]]]}\n");
    MP(GS_E_RECORD, "");
    MP(GS_E_RECORD, "\x90");
    MP(GS_E_RECORD, "\x80\x80");
    MP(GS_E_MSGPACK, "\x81");
    MP(GS_E_MSGPACK, "\xdf\xff\xff\xff\xff");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xdd\xff\xff\xff\xff");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xdb\xff\xff\xff\xff");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xc1");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xca\0\0\0\0");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xc4\x01x");
    MP(GS_E_MSGPACK, "\x81\x01\x01");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xd4\x02x");
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xd4\x01"
                     "7"); /* fits an integer, so it must be one */
    MP(GS_E_MSGPACK, "\x81\xa1"
                     "a\xd5\x01"
                     "1.");
    MP(GS_E_JSON_UTF8, "\x81\xa1"
                       "a\xa2\xc0\x80");
    MP(GS_E_JSON_UTF8, "\x81\xa3\xed\xa0\x80\x01");
    MP(GS_E_JSON_KEY_TWICE, "\x82\xa1"
                            "a\x01\xa1"
                            "a\x01");
    MP(GS_E_JSON_DEPTH, "\x81\xa1"
                        "a\x91\x91\x91\x91\x01");
}

static void test_limits(void **state)
{
    (void)state;
    struct gs_err err = {0};
    size_t n;
    char big[3000];
    gs_autobuf out;
    gs_buf_init(&out, 1 << 20);
    memset(big, 'x', sizeof big);
    FAILS(GS_E_LIMIT, record_next(RECORD_NDJSON, big, sizeof big, false, &small, &n, &err));
    big[999] = '\n';
    OK(record_next(RECORD_NDJSON, big, sizeof big, false, &small, &n, &err));
    assert_int_equal(n, 1000);
    memcpy(big,
           "\x81\xa1"
           "a\xda\x0b\x00",
           6);
    FAILS(GS_E_LIMIT, record_next(RECORD_MSGPACK, big, sizeof big, false, &small, &n, &err));
    FAILS(GS_E_LIMIT, record_next(RECORD_MSGPACK, big, 10, false, &small, &n, &err)); /* before the bytes are there */
    char json[2000] = "{\"a\":\"";
    memset(json + 6, 'y', 1500);
    memcpy(json + 1506, "\"}", 3);
    FAILS(GS_E_LIMIT, record_encode(RECORD_NDJSON, json, strlen(json), &small, &out, &err));
    FAILS(GS_E_LIMIT, record_encode(RECORD_MSGPACK, json, strlen(json), &small, &out, &err));
    assert_int_equal(out.len, 0);
    FAILS(GS_E_RECORD, record_encode(RECORD_NDJSON, "{\"a\":\n1}", 8, NULL, &out, &err));
    OK(record_encode(RECORD_MSGPACK, "{\"a\":\n1}", 8, NULL, &out, &err));
    FAILS(GS_E_RECORD, record_encode(RECORD_MSGPACK, "[]", 2, NULL, &out, &err));
    FAILS(GS_E_RECORD, record_next(RECORD_NDJSON, "{}", 2, true, NULL, &n, &err));
}

/* Many keys take the sorting path. */
static void test_many_keys(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf json, b;
    gs_buf_init(&json, 1 << 20);
    OK(gs_buf_addc(&json, '{', &err));
    for (int i = 0; i < 500; i++)
        OK(gs_buf_addf(&json, &err, "%s\"k%d\":%d", i ? "," : "", i * 7 % 500, i));
    OK(gs_buf_addc(&json, '}', &err));
    encode(RECORD_MSGPACK, gs_buf_str(&json), &b);
    OK(record_check(RECORD_MSGPACK, b.data, b.len, NULL, &err));
    /* "k1" .. "k9" have two bytes: make one of them another */
    char *at = memmem(b.data, b.len, "\xa2k7", 3);
    assert_non_null(at);
    at[2] = '8';
    FAILS(GS_E_JSON_KEY_TWICE, record_check(RECORD_MSGPACK, b.data, b.len, NULL, &err));
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const good[] = {
        "0.1", "-0", "1e5", "1E+5", "1e-5", "18446744073709551616", "-9223372036854775809", "-0.0"};
    static const char *const bad[] = {"",     "-",  "1",   "-1",    "01.5",
                                      ".5",   "1.", "1e",  "1e+",   "+1",
                                      "0x10", "1 ", "NaN", "--1.5", "18446744073709551615"};
    bool neg;
    uint64_t u;
    int64_t i;
    for (size_t k = 0; k < sizeof good / sizeof *good; k++)
        assert_true(mp_number_ok(good[k], strlen(good[k])));
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_false(mp_number_ok(bad[k], strlen(bad[k])));
    assert_true(mp_number_int("-9223372036854775808", 20, &neg, &u, &i));
    assert_true(neg && i == INT64_MIN);
    assert_false(mp_number_int("00", 2, &neg, &u, &i));
    assert_false(mp_utf8_ok("\xc0\x80", 2));
    assert_false(mp_utf8_ok("\xf4\x90\x80\x80", 4));
    assert_false(mp_utf8_ok("\xe2\x82", 2));
    assert_true(mp_utf8_ok("\xf4\x8f\xbf\xbf", 4));
    enum record_encoding e;
    assert_true(record_encoding_by_name("msgpack", &e) && e == RECORD_MSGPACK);
    assert_false(record_encoding_by_name("xml", &e));
    assert_string_equal(record_encoding_name(RECORD_NDJSON), "ndjson");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_msgpack_c_agrees), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_many_keys),        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
