/* Two bundles made here, compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "libcommon/cleanup.h"
#include "libcommon/io.h"
#include "libcommon/secret.h"
#include "libexport/diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    int64_t group;
    const char *relation, *json;
};

static char dir[64];

static int set_up(void **state)
{
    struct gs_err err = {0};
    snprintf(dir, sizeof dir, "/tmp/test_diff.XXXXXX");
    return gs_secret_init(&err) || !mkdtemp(dir) ? -1 : 0;
}

static int tear_down(void **state)
{
    struct gs_err err = {0};
    return gs_remove_tree(dir, &err);
}

/* Rows of one group and relation stand together. `base`: groups have the ids base+1 (root) and base+2 (root/sub). */
static struct bundle *make(const char *root, int64_t base, const struct row *rows, size_t n, enum record_encoding e,
                           const char *avatar)
{
    char work[96], file[96], sub[64];
    struct gs_err err = {0};
    GS_AUTO(bundle_writer) w = NULL;
    GS_AUTO(sign_seckey) key = NULL;
    struct sign_pubkey pub;
    struct bundle *b = NULL;
    struct bundle_part *p = NULL;
    snprintf(work, sizeof work, "%s/work", dir);
    snprintf(file, sizeof file, "%s/%s-%d.gsnap", dir, root, rand());
    snprintf(sub, sizeof sub, "%s/sub", root);
    assert_int_equal(bundle_writer_new(work, &(struct bundle_writer_opts){.threads = 1, .encoding = e}, &w, &err), 0);
    assert_int_equal(bundle_writer_group(w, base + 1, 0, root, &err), 0);
    assert_int_equal(bundle_writer_group(w, base + 2, base + 1, sub, &err), 0);
    for (size_t i = 0; i < n; i++) {
        if (!p)
            assert_int_equal(bundle_part_open(w, base + rows[i].group, rows[i].relation, &p, &err), 0);
        assert_int_equal(bundle_part_add(p, rows[i].json, strlen(rows[i].json), &err), 0);
        if (i + 1 == n || rows[i + 1].group != rows[i].group || strcmp(rows[i + 1].relation, rows[i].relation) != 0) {
            assert_int_equal(bundle_part_close(p, &err), 0);
            p = NULL;
        }
    }
    if (avatar)
        assert_int_equal(bundle_writer_file(w, base + 1, "avatar", "a.png", avatar, strlen(avatar), &err), 0);
    assert_int_equal(sign_seckey_new(&key, &pub, &err), 0);
    const struct sign_seckey *keys[] = {key};
    struct bundle_meta meta = {.via = "api", .root_path = root, .root_id = base + 1, .enterprise = -1};
    if (bundle_writer_finish(w, &meta, keys, 1, file, false, &err) ||
        bundle_open(file, &(struct bundle_opts){.no_verify = true}, &b, &err))
        fail_msg("%s", err.text);
    return b;
}

static int note(void *cookie, const struct diff_item *i, struct gs_err *err)
{
    static const char *const kinds[] = {"missing", "extra", "differs"};
    return gs_buf_addf(cookie, err, "%s%s %s %s %s%s%s%s%s%s\n", i->kind == DIFF_DIFFERS && i->cls != REL_VALUE ? "aside " : "",
                       kinds[i->kind], *i->group ? i->group : ".", i->relation, i->key, i->attr ? " " : "",
                       i->attr ? i->attr : "", i->a ? " " : "", i->a ? i->a : "", i->kind == DIFF_DIFFERS ? " ->" : "") ||
                   (i->b && (gs_buf_addf(cookie, err, "   %s\n", i->b)))
               ? -1
               : 0;
}

static void check(struct bundle *a, struct bundle *b, const struct diff_opts *more, const char *want,
                  struct diff_result *out)
{
    struct gs_err err = {0};
    gs_autobuf text;
    gs_buf_init(&text, 1 << 20);
    struct diff_opts o = more ? *more : (struct diff_opts){0};
    o.item = note;
    o.cookie = &text;
    if (diff_run(a, b, &o, out, &err))
        fail_msg("%s", err.text);
    assert_string_equal(gs_buf_str(&text), want);
}

#define T1 "\"created_at\":\"2020-01-01T00:00:00.000Z\""
#define T2 "\"created_at\":\"2021-01-01T00:00:00.000Z\""

static void test_same(void **state)
{
    /* other ids, other order, other spelling, other encoding, another name of the root */
    static const struct row x[] = {
        {1, "badges", "{\"id\":1,\"link_url\":\"http://l\",\"image_url\":\"http://i\",\"name\":\"n\"}"},
        {1, "badges", "{\"id\":2,\"link_url\":\"http://l\",\"image_url\":\"http://i\",\"name\":\"n\"}"},
        {2, "labels", "{\"id\":1,\"title\":\"a\",\"color\":\"#ABCDEF\",\"group_id\":2," T1 "}"},
        {2, "labels", "{\"id\":2,\"title\":\"b\",\"color\":\"#abc\",\"description\":null}"},
        {2, "strange", "{\"a\":[1,2.50]}"},
    };
    static const struct row y[] = {
        {1, "badges", "{\"id\":12,\"image_url\":\"http://i\",\"name\":\"n\",\"link_url\":\"http://l\"}"},
        {1, "badges", "{\"id\":11,\"link_url\":\"http://l\",\"image_url\":\"http://i\",\"name\":\"n\"}"},
        {2, "labels", "{\"id\":12,\"title\":\"b\",\"color\":\"#aabbcc\"}"},
        {2, "labels", "{\"id\":11,\"title\":\"a\",\"color\":\"#abcdef\",\"group_id\":7,\"created_at\":\"2020-01-01 00:00:00 UTC\"}"},
        {2, "strange", "{\"a\":[1,2.50]}"},
    };
    GS_AUTO(bundle) a = make("one", 0, x, GS_COUNT(x), RECORD_NDJSON, "png");
    GS_AUTO(bundle) b = make("two", 100, y, GS_COUNT(y), RECORD_MSGPACK, "png");
    struct diff_result r;
    check(a, b, NULL, "", &r);
    assert_int_equal(r.differs + r.missing + r.extra + r.set_aside, 0);
    assert_int_equal(r.n, 4);
    assert_string_equal(r.relations[0].relation, "avatar");
    assert_string_equal(r.relations[1].relation, "badges");
    assert_int_equal(r.relations[1].equal, 2);
    diff_result_release(&r);
}

static void test_differs(void **state)
{
    static const struct row x[] = {
        {1, "badges", "{\"link_url\":\"http://l\",\"image_url\":\"http://i\"}"},
        {1, "badges", "{\"link_url\":\"http://l\",\"image_url\":\"http://i\"}"},
        {2, "labels", "{\"title\":\"a\",\"color\":\"#112233\",\"description\":\"x\"," T1 "}"},
        {2, "labels", "{\"title\":\"gone\",\"color\":\"#112233\"}"},
        {2, "labels", "{\"title\":\"t\",\"color\":\"#112233\"," T1 "}"},
    };
    static const struct row y[] = {
        {1, "badges", "{\"link_url\":\"http://l\",\"image_url\":\"http://i\"}"},
        {2, "labels", "{\"title\":\"a\",\"color\":\"#112234\"," T2 "}"},
        {2, "labels", "{\"title\":\"new\",\"color\":\"#112233\"}"},
        {2, "labels", "{\"title\":\"t\",\"color\":\"#112233\"," T2 "}"},
        {2, "milestones", "{\"title\":\"m\",\"iid\":1}"},
    };
    GS_AUTO(bundle) a = make("one", 0, x, GS_COUNT(x), RECORD_NDJSON, "png");
    GS_AUTO(bundle) b = make("one", 100, y, GS_COUNT(y), RECORD_NDJSON, NULL);
    struct diff_result r;
    static const struct diff_opts no_times = {.ignore_times = true};
    check(a, b, &no_times,
          "missing . badges {\"image_url\":\"http://i\",\"link_url\":\"http://l\"}\n"
          "missing . avatar avatar\n"
          "differs sub labels a color \"#112233\" ->\n   \"#112234\"\n"
          "differs sub labels a description \"x\" ->\n"
          "missing sub labels gone\n"
          "extra sub labels new\n"
          "extra sub milestones m\n",
          &r);
    assert_int_equal(r.differs, 1);
    assert_int_equal(r.missing, 3);
    assert_int_equal(r.extra, 2);
    assert_int_equal(r.set_aside, 0);
    diff_result_release(&r);
    static const char *const ignore[] = {"labels.color", "description"};
    struct diff_opts o = {.ignore = ignore, .n_ignore = 2};
    struct gs_err err = {0};
    assert_int_equal(diff_run(a, b, &o, &r, &err), 0);
    assert_int_equal(r.differs, 0);
    assert_int_equal(r.set_aside, 2); /* created_at of two labels */
    diff_result_release(&r);
}

static int stop_there(void *cookie, const struct diff_item *i, struct gs_err *err)
{
    return gs_fail(err, GS_E_IO, "enough");
}

static void test_end_early(void **state)
{
    static const struct row x[] = {{1, "labels", "{\"title\":\"a\",\"color\":\"#112233\"}"}};
    GS_AUTO(bundle) a = make("one", 0, x, 1, RECORD_NDJSON, NULL);
    GS_AUTO(bundle) b = make("one", 0, x, 0, RECORD_NDJSON, NULL);
    struct diff_opts o = {.item = stop_there};
    struct diff_result r;
    struct gs_err err = {0};
    assert_int_equal(diff_run(a, b, &o, &r, &err), -1);
    assert_int_equal(err.code, GS_E_IO);
    diff_result_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_differs),
                                       cmocka_unit_test(test_end_early)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
