/* Users mentioned by records: the quick look finds the same ones as the walk over the tree, and leaves alone what it cannot tell. */
#include "tests/golden/forge.h"
#include "unit.h"

#include "formats/ledger.h"
#include "libcommon/json_scan.h"
#include "libexport/archive_users.h"

static struct sign_seckey *key;

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    key = forge_key("test_archive_users");
    return 0;
}

static int teardown(void **state)
{
    sign_seckey_free(key);
    return unit_cleanup(state);
}

static const struct {
    const char *json;
    bool quick;
} records[] = {
    {"{\"id\":1,\"author_id\":7}", true},
    {"{\"id\":2,\"author_id\":7,\"assignee_id\":8,\"updated_by_id\":null,\"title\":\"author_id\"}", true},
    {"{\"id\":3,\"notes\":[{\"author_id\":9,\"x\":{\"merged_by_id\":10}}],\"resolved_by_id\":11}", true},
    {"{\"id\":4,\"author_id\":\"12\",\"user_id\":-13,\"closed_by_id\":1.5,\"created_by_id\":0}", true},
    {"{\"id\":5,\"last_edited_by_id\":[14],\"latest_closed_by_id\":{\"id\":15}}", true},
    {"{\"id\":6,\"author_id\" : 16 ,\"author_ids\":17,\"xauthor_id\":18,\"AUTHOR_ID\":19}", true},
    {"{\"id\":7,\"author_id\":100000000000000000000}", false},
    {"{\"id\":8,\"author_id\":20,\"author\":{\"name\":\"N\"}}", false},
    {"{\"id\":9,\"user_id\":21,\"user\":{\"id\":21,\"username\":\"u\",\"public_email\":\"u@example.com\"}}", false},
    {"{\"id\":10,\"author_id\":22,\"author\":\"text\",\"user\":null}", true},
    {"{\"id\":11,\"author_id\":23,\"private_token\":\"x\"}", false},
    {"{\"id\":12,\"author_id\":24,\"x\":1e3}", false},
    {"{\"id\":13,\"\\u0061uthor_id\":25}", false},
    {"{\"id\":14,\"author_id\":26e0}", false},
};

static void write_users(bool quick, uint8_t digest[BUNDLE_DIGEST_LEN])
{
    struct gs_err err = {0};
    struct bundle_writer *w;
    struct archive_users *u;
    struct bundle_meta m = {.set_id = "00112233445566778899aabbccddeeff", .created_at_ms = 1735689600000, .via = "archive"};
    const struct sign_seckey *k = key;
    const struct record_limits lim = {.max_bytes = 4096, .max_depth = 8};
    OK(bundle_writer_new(unit_path("stage"), NULL, &w, &err));
    OK(bundle_writer_group(w, 1, 0, "g", &err));
    OK(archive_users_new(w, &u, &err));
    for (unsigned turn = 0; turn < 2; turn++) /* the second time all are known */
        for (size_t i = 0; i < GS_COUNT(records); i++) {
            GS_AUTO(yyjson_doc) doc = NULL;
            struct gs_json_opts o = {.raw_numbers = true};
            bool done = false;
            if (quick) {
                OK(archive_users_quick(u, "epics", records[i].json, strlen(records[i].json), &lim, &done, &err));
                if (done != records[i].quick)
                    fail_msg("%s: %d", records[i].json, done);
                if (done)
                    continue;
            }
            OK(gs_json_parse(records[i].json, strlen(records[i].json), &o, &doc, &err));
            OK(archive_users_walk(u, "epics", yyjson_doc_get_root(doc), &err));
        }
    archive_users_free(u);
    OK(bundle_writer_finish(w, &m, &k, 1, unit_path("u.gsnap"), true, &err));
    bundle_writer_free(w);
    struct sign_pubkey pub;
    sign_seckey_public(key, &pub);
    struct sign_trust trust = {.keys = &pub, .n = 1};
    GS_AUTO(bundle) b = NULL;
    OK(bundle_open(unit_path("u.gsnap"), &(struct bundle_opts){.trust = &trust}, &b, &err));
    memcpy(digest, bundle_digest(b), BUNDLE_DIGEST_LEN);
}

static void test_same(void **state)
{
    (void)state;
    uint8_t a[BUNDLE_DIGEST_LEN], b[BUNDLE_DIGEST_LEN];
    write_users(false, a);
    write_users(true, b);
    assert_memory_equal(a, b, sizeof a);
}

static void test_limits(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle_writer *w;
    struct archive_users *u;
    bool done;
    const char *deep = "{\"a\":{\"a\":{\"a\":1}}}", *mate = "{\"id\":5,\"author_id\":6}";
    OK(bundle_writer_new(unit_path("stage"), NULL, &w, &err));
    OK(archive_users_new(w, &u, &err));
    OK(archive_users_quick(u, "epics", deep, strlen(deep), &(struct record_limits){100, 3}, &done, &err));
    assert_true(done);
    OK(archive_users_quick(u, "epics", deep, strlen(deep), &(struct record_limits){100, 2}, &done, &err));
    assert_false(done);
    OK(archive_users_quick(u, "epics", deep, strlen(deep), &(struct record_limits){5, 3}, &done, &err));
    assert_false(done);
    /* there the record itself is a user */
    OK(archive_users_quick(u, "user_contributions", mate, strlen(mate), &(struct record_limits){100, 3}, &done, &err));
    assert_false(done);
    archive_users_free(u);
    bundle_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same), cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
