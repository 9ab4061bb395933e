/* The common layer: err, buf, json, clock, io, work. */
#include "unit.h"

#include "libcommon/clock.h"
#include "libcommon/mp.h"
#include "libcommon/work.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

/* ---- err ---- */

static void test_err(void **state)
{
    (void)state;
    struct gs_err e = {0};
    assert_int_equal(gs_fail(&e, GS_E_LIMIT, "cause %d", 7), -1);
    assert_int_equal(gs_wrap(&e, "inner"), -1);
    assert_int_equal(gs_wrap(&e, "outer '%s'", "x"), -1);
    assert_string_equal(e.text, "outer 'x': inner: cause 7");
    assert_int_equal(e.code, GS_E_LIMIT);
    assert_int_equal(e.scope, GS_SCOPE_FATAL);
    assert_int_equal(gs_scoped(&e, GS_SCOPE_ITEM), -1);
    assert_int_equal(e.scope, GS_SCOPE_ITEM);
    gs_fail_sys(&e, GS_E_IO, ENOENT, "opening");
    assert_int_equal(e.sys, ENOENT);
    assert_non_null(strstr(e.text, "opening: "));
    gs_fail_sys(&e, GS_E_IO, ENOSPC, "writing");
    assert_int_equal(e.code, GS_E_DISK_FULL);
    gs_fail_sys(&e, GS_E_IO, EDQUOT, "writing");
    assert_int_equal(e.code, GS_E_DISK_FULL);
    gs_fail_sys(&e, GS_E_IO, ENOMEM, "writing");
    assert_int_equal(e.code, GS_E_NOMEM);
    gs_err_clear(&e);
    assert_int_equal(e.code, GS_OK);
    for (int c = 1; c < GS_E_COUNT; c++) {
        assert_int_equal(gs_code_by_name(gs_code_name((enum gs_code)c)), c); /* no name twice */
        assert_true(gs_code_exit((enum gs_code)c) > 0);
        assert_true(gs_code_hint((enum gs_code)c)[0] != 0);
    }
    assert_int_equal(gs_code_by_name("nothing"), GS_OK);
    assert_string_equal(gs_code_name(GS_E_COUNT), "unknown");
    /* an over-long text is cut between characters */
    char longer[900];
    for (size_t i = 0; i + 1 < sizeof longer; i += 2)
        memcpy(longer + i, "\xc3\xa4", 2);
    longer[sizeof longer - 1] = 0;
    for (int pad = 0; pad < 2; pad++) {
        gs_fail(&e, GS_E_IO, "%s%s", pad ? "x" : "", longer);
        size_t n = strlen(e.text);
        assert_true(n < sizeof e.text && n > 590);
        assert_int_equal((unsigned char)e.text[n - 1], 0xa4);
    }
    for (int pad = 0; pad < 3; pad++) {
        for (size_t i = 0; i + 3 < sizeof longer; i += 3)
            memcpy(longer + i, "\xe2\x82\xac", 4);
        gs_fail(&e, GS_E_IO, "%.*s%s", pad, "xx", longer);
        assert_true(mp_utf8_ok(e.text, strlen(e.text)));
    }
    for (int i = 0; i < 100; i++)
        gs_wrap(&e, "again and again");
    assert_true(strlen(e.text) < sizeof e.text);
}

/* ---- buf ---- */

static void test_buf(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct gs_buf b;
    gs_buf_init(&b, 10);
    assert_string_equal(gs_buf_str(&b), "");
    OK(gs_buf_addstr(&b, "12345", &err));
    OK(gs_buf_addf(&b, &err, "%d", 678));
    FAILS(GS_E_LIMIT, gs_buf_addstr(&b, "abc", &err));
    assert_string_equal(gs_buf_str(&b), "12345678");
    FAILS(GS_E_LIMIT, gs_buf_addf(&b, &err, "%s", "abc"));
    FAILS(GS_E_LIMIT, gs_buf_reserve(&b, SIZE_MAX, &err));
    OK(gs_buf_add(&b, "\0", 1, &err));
    assert_int_equal(b.len, 9);
    OK(gs_buf_addc(&b, 'x', &err));
    assert_int_equal(b.data[10], 0);
    size_t n;
    char *p = gs_buf_steal(&b, &n);
    assert_int_equal(n, 10);
    free(p);
    assert_int_equal(b.len, 0);
    p = gs_buf_steal(&b, &n);
    assert_string_equal(p, "");
    free(p);
    OK(gs_buf_addstr(&b, "abc", &err));
    gs_buf_reset(&b);
    assert_string_equal(gs_buf_str(&b), "");
    gs_buf_release(&b);
    gs_buf_release(&b);
    p = gs_asprintf("%s-%d", "a", 1);
    assert_string_equal(p, "a-1");
    free(p);
}

/* ---- json ---- */

static void parse_fails(enum gs_code code, const char *text, size_t len)
{
    struct gs_err err = {0};
    yyjson_doc *d = NULL;
    FAILS(code, gs_json_parse(text, len, NULL, &d, &err));
}

static void test_json_strict(void **state)
{
    (void)state;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) d = NULL;
    static const struct {
        enum gs_code code;
        const char *text;
    } bad[] = {{GS_E_JSON, ""},
               {GS_E_JSON, "{"},
               {GS_E_JSON, "{}x"},
               {GS_E_JSON, "{'a':1}"},
               {GS_E_JSON, "{\"a\":01}"},
               {GS_E_JSON, "[1,]"},
               {GS_E_JSON, "nul"},
               {GS_E_JSON, "\"\\ud800\""},
               {GS_E_JSON, "NaN"},
               {GS_E_JSON, "/**/{}"},
               {GS_E_JSON_UTF8, "\"\xff\""},
               {GS_E_JSON_UTF8, "\"\xc0\x80\""},
               {GS_E_JSON_KEY_TWICE, "{\"a\":1,\"a\":1}"},
               {GS_E_JSON_KEY_TWICE, "[{\"a\":{\"b\":1,\"c\":2,\"b\":3}}]"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        parse_fails(bad[i].code, bad[i].text, strlen(bad[i].text));
    char deep[200];
    memset(deep, '[', 100);
    memset(deep + 100, ']', 100);
    parse_fails(GS_E_JSON_DEPTH, deep, 200);
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    OK(gs_json_parse(deep, 128, NULL, &d, &err));
    yyjson_doc_free(d);
    d = NULL;
    OK(gs_json_parse("{\"s\":\"[[[[\\\"[[[\"}", 17, &(struct gs_json_opts){.max_depth = 1}, &d, &err));
    yyjson_doc *none = NULL;
    FAILS(GS_E_LIMIT, gs_json_parse("[1234567]", 9, &(struct gs_json_opts){.max_bytes = 8}, &none, &err));
}

static void rewrite(const char *text, bool raw, const char *canonical, const char *written)
{
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) d = NULL;
    gs_autobuf out;
    gs_buf_init(&out, 1 << 16);
    OK(gs_json_parse(text, strlen(text), &(struct gs_json_opts){.raw_numbers = raw}, &d, &err));
    OK(gs_json_canonical(yyjson_doc_get_root(d), &out, &err));
    assert_string_equal(gs_buf_str(&out), canonical);
    gs_buf_reset(&out);
    OK(gs_json_write(yyjson_doc_get_root(d), &out, &err));
    assert_string_equal(gs_buf_str(&out), written);
}

static void test_json_write(void **state)
{
    (void)state;
    rewrite("{ \"b\" : 1, \"a\" : [ 1.50, {} , [] ] }", true, "{\"a\":[1.50,{},[]],\"b\":1}",
            "{\"b\":1,\"a\":[1.50,{},[]]}");
    rewrite("[18446744073709551615,-9223372036854775808,123456789012345678901234567890]", false,
            "[18446744073709551615,-9223372036854775808,123456789012345678901234567890]",
            "[18446744073709551615,-9223372036854775808,123456789012345678901234567890]");
    rewrite("\"\\u00e4\\/\\b\\f\\n\\r\\t\\u0001\\\"\"", false, "\"\xc3\xa4/\\b\\f\\n\\r\\t\\u0001\\\"\"",
            "\"\xc3\xa4/\\b\\f\\n\\r\\t\\u0001\\\"\"");
    rewrite("{\"ab\":1,\"a\":2,\"a\\u0000\":3}", false, "{\"a\":2,\"a\\u0000\":3,\"ab\":1}",
            "{\"ab\":1,\"a\":2,\"a\\u0000\":3}");
}

static void test_json_access(void **state)
{
    (void)state;
    struct gs_err err = {0};
    for (int raw = 0; raw < 2; raw++) {
        GS_AUTO(yyjson_doc) d = NULL, e = NULL;
        static const char text[] =
            "{\"s\":\"t\",\"i\":-5,\"big\":18446744073709551615,\"min\":-9223372036854775807,\"d\":1.5,\"t\":true}";
        const char *s;
        int64_t i;
        OK(gs_json_parse(text, strlen(text), &(struct gs_json_opts){.raw_numbers = raw}, &d, &err));
        yyjson_val *r = yyjson_doc_get_root(d);
        assert_string_equal(gs_json_str(r, "s"), "t");
        assert_null(gs_json_str(r, "i"));
        assert_null(gs_json_str(NULL, "i"));
        assert_true(gs_json_i64(r, "i", &i) && i == -5);
        assert_true(gs_json_i64(r, "min", &i) && i == -INT64_MAX);
        assert_false(gs_json_i64(r, "big", &i));
        assert_false(gs_json_i64(r, "d", &i));
        assert_true(gs_json_true(r, "t"));
        assert_false(gs_json_true(r, "s"));
        FAILS(GS_E_RECORD, gs_json_need_str(r, "none", &s, &err));
        FAILS(GS_E_RECORD, gs_json_need_i64(r, "s", &i, &err));
        static const char other[] =
            "{\"t\":true,\"d\":1.5,\"big\":18446744073709551615,\"min\":-9223372036854775807,\"i\":-5,\"s\":\"t\"}";
        OK(gs_json_parse(other, strlen(other), &(struct gs_json_opts){.raw_numbers = raw}, &e, &err));
        assert_true(gs_json_equal(r, yyjson_doc_get_root(e)));
    }
}

static void test_json_stream(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf out;
    struct gs_jw w;
    gs_buf_init(&out, 1000);
    gs_jw_init(&w, &out, 0, &err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "a", "x\"y");
    gs_jw_kstr(&w, "n", NULL);
    gs_jw_key(&w, "l");
    gs_jw_arr(&w);
    gs_jw_i64(&w, -1);
    gs_jw_u64(&w, UINT64_MAX);
    gs_jw_bool(&w, false);
    gs_jw_obj(&w);
    gs_jw_end(&w);
    gs_jw_end(&w);
    gs_jw_kbool(&w, "b", true);
    gs_jw_end(&w);
    OK(gs_jw_finish(&w));
    assert_string_equal(gs_buf_str(&out),
                        "{\"a\":\"x\\\"y\",\"n\":null,\"l\":[-1,18446744073709551615,false,{}],\"b\":true}");
    struct gs_buf tiny;
    gs_buf_init(&tiny, 3);
    gs_jw_init(&w, &tiny, 2, &err);
    gs_jw_arr(&w);
    gs_jw_str(&w, "long");
    gs_jw_end(&w);
    FAILS(GS_E_LIMIT, (gs_fail(&err, GS_E_LIMIT, "kept"), gs_jw_finish(&w)));
    gs_buf_release(&tiny);
}

/* ---- clock ---- */

static void test_clock(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } good[] = {{"2025-01-02", "2025-01-02T00:00:00.000Z"},
                {"2025-01-02T03:04:05Z", "2025-01-02T03:04:05.000Z"},
                {"2025-01-02T03:04:05.678Z", "2025-01-02T03:04:05.678Z"},
                {"2025-01-02T03:04:05.678999Z", "2025-01-02T03:04:05.678Z"},
                {"2025-01-02T03:04:05.6+02:30", "2025-01-02T00:34:05.600Z"},
                {"2024-12-31T23:30:00-0130", "2025-01-01T01:00:00.000Z"},
                {"2019-11-20 17:01:53 UTC", "2019-11-20T17:01:53.000Z"},
                {"2024-02-29", "2024-02-29T00:00:00.000Z"},
                {"1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"},
                {"0001-01-01", "0001-01-01T00:00:00.000Z"},
                {"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"}};
    static const char *const bad[] = {"",
                                      "2025",
                                      "2025-13-01",
                                      "2025-02-29",
                                      "2025-00-10",
                                      "2025-01-02T25:00:00Z",
                                      "2025-01-02T03:04:05",
                                      "2025-01-02T03:04:05.Z",
                                      "2025-01-02T03:04Z",
                                      "2025-01-02 03:04:05",
                                      "2025-1-2",
                                      "2025-01-02T03:04:05Zx",
                                      "2025-01-02T03:04:05+25:00",
                                      "tomorrow"};
    char t[GS_TIME_LEN];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct gs_err err = {0};
        int64_t ms;
        OK(gs_time_parse(good[i].in, &ms, &err));
        gs_time_format(ms, t);
        assert_string_equal(t, good[i].out);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct gs_err err = {0};
        int64_t ms;
        FAILS(GS_E_RECORD, gs_time_parse(bad[i], &ms, &err));
    }
    gs_time_format(INT64_MAX, t);
    assert_int_equal(strlen(t), 24);
    int64_t a = gs_mono_ms();
    gs_sleep_ms(-1);
    gs_sleep_ms(15);
    assert_true(gs_mono_ms() - a >= 14);
    assert_true(gs_unix_ms() > 1700000000000);
}

/* ---- io ---- */

static size_t count_files(const char *dir)
{
    char cmd[600], line[32] = "";
    snprintf(cmd, sizeof cmd, "ls -A '%s' | wc -l", dir);
    FILE *p = popen(cmd, "r");
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof line, p));
    pclose(p);
    return (size_t)strtoul(line, NULL, 10);
}

static void test_stage(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct gs_stage st;
    gs_autobuf b;
    gs_buf_init(&b, 100);
    OK(gs_mkdir(unit_path("io"), &err));
    OK(gs_mkdir(unit_path("io"), &err));
    const char *path = unit_path("io/f");
    OK(gs_stage_open(&st, path, 0600, false, &err));
    OK(gs_write_all(st.fd, "abc", 3, path, &err));
    assert_int_not_equal(access(path, F_OK), 0);
    gs_stage_release(&st);
    assert_int_equal(count_files(unit_path("io")), 0); /* nothing is left of what was not committed */
    OK(gs_write_file(path, "one", 3, 0600, false, &err));
    FAILS(GS_E_EXISTS, gs_write_file(path, "two", 3, 0600, false, &err));
    OK(gs_stage_open(&st, unit_path("io/g"), 0644, false, &err));
    OK(gs_write_file(unit_path("io/g"), "first", 5, 0600, false, &err));
    FAILS(GS_E_EXISTS, gs_stage_commit(&st, &err)); /* taken meanwhile */
    gs_stage_release(&st);
    OK(gs_write_file(path, "three", 5, 0600, true, &err));
    OK(gs_read_file(path, 100, &b, &err));
    assert_string_equal(gs_buf_str(&b), "three");
    FAILS(GS_E_LIMIT, gs_read_file(path, 4, &b, &err));
    FAILS(GS_E_NOT_FOUND, gs_read_file(unit_path("io/none"), 4, &b, &err));
    FAILS(GS_E_IO, gs_write_file(unit_path("none/f"), "x", 1, 0600, true, &err));
    assert_int_equal(count_files(unit_path("io")), 2);
    /* what killed processes left goes, and nothing else */
    static const char *const names[] = {"io/f.tmp.17", "io/f.tmp.", "io/f.tmp.x1", "io/ff.tmp.18", "io/f.tmp.19.old"};
    for (size_t i = 0; i < GS_COUNT(names); i++)
        OK(gs_write_file(unit_path(names[i]), "x", 1, 0600, true, &err));
    OK(gs_stage_sweep(unit_path("io/f"), &err));
    assert_int_equal(count_files(unit_path("io")), 2 + 4);
    assert_int_not_equal(access(unit_path("io/f.tmp.17"), F_OK), 0);
    FAILS(GS_E_IO, gs_stage_sweep(unit_path("none/f"), &err));
    assert_int_equal(symlink("/etc", unit_path("io/link")), 0);
    OK(gs_mkdir(unit_path("io/sub"), &err));
    OK(gs_write_file(unit_path("io/sub/x"), "x", 1, 0600, true, &err));
    OK(gs_remove_tree(unit_path("io"), &err));
    OK(gs_remove_tree(unit_path("io"), &err));
    assert_int_equal(access("/etc/passwd", F_OK), 0);
}

static void test_source(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct gs_source s;
    char buf[8];
    gs_source_mem("0123456789", 10, &s);
    OK(gs_source_read(&s, 7, buf, 3, &err));
    assert_memory_equal(buf, "789", 3);
    FAILS(GS_E_TRUNCATED, gs_source_read(&s, 7, buf, 4, &err));
    FAILS(GS_E_TRUNCATED, gs_source_read(&s, 99, buf, 1, &err));
    OK(gs_source_read(&s, 10, buf, 0, &err));
    gs_source_close(&s);
    gs_source_close(&s);
    OK(gs_write_file(unit_path("s"), "hello", 5, 0600, true, &err));
    OK(gs_source_open(unit_path("s"), &s, &err));
    assert_int_equal(s.size, 5);
    OK(gs_source_read(&s, 1, buf, 4, &err));
    assert_memory_equal(buf, "ello", 4);
    gs_source_close(&s);
    FAILS(GS_E_NOT_FOUND, gs_source_open(unit_path("none"), &s, &err));
    FAILS(GS_E_IO, gs_source_open(unit_dir(), &s, &err));
    assert_int_equal(mkfifo(unit_path("fifo"), 0600), 0);
    FAILS(GS_E_IO, gs_source_open(unit_path("fifo"), &s, &err)); /* and it does not hang */
}

/* ---- work ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned done, at_once, most;

static void job(void *arg)
{
    pthread_mutex_lock(&lock);
    if (++at_once > most)
        most = at_once;
    pthread_mutex_unlock(&lock);
    gs_sleep_ms(1);
    pthread_mutex_lock(&lock);
    at_once--;
    done += *(unsigned *)arg;
    pthread_mutex_unlock(&lock);
}

static void test_work(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct gs_work *w;
    unsigned one = 1;
    for (unsigned threads = 1; threads <= 4; threads++) {
        done = most = 0;
        OK(gs_work_new(threads, 3, &w, &err));
        assert_int_equal(gs_work_threads(w), threads);
        gs_work_wait(w);
        for (int i = 0; i < 50; i++)
            gs_work_submit(w, job, &one);
        gs_work_wait(w);
        assert_int_equal(done, 50);
        assert_true(most <= threads);
        for (int i = 0; i < 20; i++)
            gs_work_submit(w, job, &one);
        gs_work_free(w); /* what was submitted is still done */
        assert_int_equal(done, 70);
    }
    gs_work_free(NULL);
    OK(gs_work_new(0, 0, &w, &err));
    assert_true(gs_work_threads(w) >= 1);
    gs_work_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err),        cmocka_unit_test(test_buf),         cmocka_unit_test(test_json_strict),
        cmocka_unit_test(test_json_write), cmocka_unit_test(test_json_access), cmocka_unit_test(test_json_stream),
        cmocka_unit_test(test_clock),      cmocka_unit_test(test_stage),       cmocka_unit_test(test_source),
        cmocka_unit_test(test_work),
    };
    return cmocka_run_group_tests(tests, NULL, unit_cleanup);
}
