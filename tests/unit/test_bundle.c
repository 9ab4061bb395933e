/* Writer and reader of bundles: round trips, every byte flipped, every cut, the same bytes whatever the thread count.
 */
#include "tests/golden/forge.h"
#include "unit.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct sign_seckey *key, *other;
static struct sign_pubkey pub;
static struct sign_trust trust = {.keys = &pub, .n = 1};
static const struct bundle_opts verify_opts = {.trust = &trust, .threads = 2};

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    key = forge_key("test_bundle");
    other = forge_key("somebody else");
    sign_seckey_public(key, &pub);
    return 0;
}

static int teardown(void **state)
{
    sign_seckey_free(key);
    sign_seckey_free(other);
    return unit_cleanup(state);
}

static void make(const struct forge_base *o, struct gs_buf *out)
{
    struct gs_err err = {0};
    forge_make(o, key, unit_path("stage"), unit_path("b.gsnap"));
    gs_buf_init(out, (size_t)1 << 26);
    OK(gs_read_file(unit_path("b.gsnap"), (size_t)1 << 26, out, &err));
}

static int check_mem(const void *data, size_t len, struct gs_err *err)
{
    struct gs_source src;
    GS_AUTO(bundle) b = NULL;
    gs_source_mem(data, len, &src);
    if (bundle_open_source(&src, &verify_opts, &b, err))
        return -1;
    return bundle_verify(b, false, NULL, err);
}

/* ---- users: answers tell more or less of one, in any order ---- */

static void test_users_in_any_order(void **state)
{
    (void)state;
    static const char *const told[] = {
        "{\"id\":1,\"kind\":null,\"name\":null,\"public_email\":null,\"username\":null}",
        "{\"id\":1,\"kind\":\"human\",\"name\":\"A\",\"public_email\":null,\"username\":\"a\"}",
        "{\"id\":1,\"kind\":null,\"name\":\"A\",\"public_email\":\"\",\"username\":\"a\"}",
        "{\"id\":1,\"name\":\"B\"}",
    };
    static const char want[] = "{\"id\":1,\"kind\":\"human\",\"name\":\"B\",\"public_email\":\"\",\"username\":\"a\"}\n";
    struct gs_err err = {0};
    struct bundle_writer_opts o = {0};
    struct bundle_meta m = {.created_at_ms = 1735689600000, .via = "api"};
    const struct sign_seckey *k = key;
    for (unsigned order = 0; order < 256; order++) {
        unsigned at[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
        if ((1u << at[0] | 1u << at[1] | 1u << at[2] | 1u << at[3]) != 15)
            continue;
        struct bundle_writer *w;
        GS_AUTO(bundle) b = NULL;
        GS_AUTO(bundle_cursor) c = NULL;
        const void *rec;
        size_t len;
        OK(bundle_writer_new(unit_path("stage"), &o, &w, &err));
        OK(bundle_writer_group(w, 5, 0, "g", &err));
        for (int i = 0; i < 4; i++)
            OK(bundle_writer_user(w, told[at[i]], strlen(told[at[i]]), &err));
        OK(bundle_writer_finish(w, &m, &k, 1, unit_path("users.gsnap"), true, &err));
        bundle_writer_free(w);
        OK(bundle_open(unit_path("users.gsnap"), &verify_opts, &b, &err));
        OK(bundle_cursor_open(b, 0, "users", &c, &err));
        OK(bundle_cursor_next(c, &rec, &len, NULL, &err));
        assert_int_equal(len, strlen(want));
        assert_memory_equal(rec, want, len);
        assert_int_equal(unlink(unit_path("users.gsnap")), 0);
    }
}

/* ---- there and back ---- */

static void round_trip(enum record_encoding e, size_t frame, uint64_t part, unsigned threads)
{
    struct gs_err err = {0};
    struct bundle_writer_opts o = {.encoding = e, .frame_raw_max = frame, .part_raw_max = part, .threads = threads};
    struct bundle_meta m = {.created_at_ms = 1735689600000, .via = "api"};
    struct bundle_writer *w;
    struct bundle_part *p;
    char rec[20000];
    const struct sign_seckey *k = key;
    OK(bundle_writer_new(unit_path("stage"), &o, &w, &err));
    OK(bundle_writer_group(w, 5, 0, "g", &err));
    OK(bundle_part_open(w, 5, "labels", &p, &err));
    for (int i = 0; i < 700; i++) {
        int n =
            snprintf(rec, sizeof rec, "{\"id\":%d,\"title\":\"%0*d\",\"x\":0.10}", i, i == 350 ? 15000 : i % 90 + 1, i);
        OK((i % 2 ? bundle_part_add_sound : bundle_part_add)(p, rec, (size_t)n, &err));
    }
    OK(bundle_part_close(p, &err));
    uint64_t made;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    OK(bundle_writer_finish(w, &m, &k, 1, unit_path("rt.gsnap"), true, &err));
    bundle_writer_made(w, &made, digest);
    bundle_writer_free(w);
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(bundle_cursor) c = NULL;
    struct bundle_verify_result r;
    OK(bundle_open(unit_path("rt.gsnap"), &verify_opts, &b, &err));
    assert_int_equal(made, bundle_size(b));
    assert_memory_equal(digest, bundle_digest(b), sizeof digest);
    OK(bundle_verify(b, true, &r, &err));
    assert_int_equal(r.records, 700);
    struct bundle_verify_result by_frames;
    OK(bundle_verify_with(b, &(struct bundle_verify_opts){.deep = true, .job_raw = 1}, &by_frames, &err));
    assert_int_equal(by_frames.records, 700);
    assert_int_equal(by_frames.members, r.members);
    assert_int_equal(by_frames.bytes, r.bytes);
    assert_int_equal(by_frames.raw_bytes, r.raw_bytes);
    assert_int_equal(bundle_count(b, 5, "labels"), 700);
    assert_int_equal(bundle_count(b, 5, "label"), 0);
    OK(bundle_cursor_open(b, 5, "labels", &c, &err));
    for (int i = 0;; i++) {
        const void *data;
        size_t len;
        struct bundle_ref ref;
        OK(bundle_cursor_next(c, &data, &len, &ref, &err));
        if (!data) {
            assert_int_equal(i, 700);
            break;
        }
        gs_autobuf json, again;
        gs_buf_init(&json, 1 << 20);
        gs_buf_init(&again, 1 << 20);
        OK(record_to_json(e, data, len, NULL, &json, &err));
        snprintf(rec, sizeof rec, "{\"id\":%d,\"title\":\"%0*d\",\"x\":0.10}", i, i == 350 ? 15000 : i % 90 + 1, i);
        assert_string_equal(gs_buf_str(&json), rec);
        OK(bundle_read_ref(b, &ref, &again, &err));
        assert_int_equal(again.len, len);
        assert_memory_equal(again.data, data, len);
    }
    struct bundle_ref bad = {.member = 0, .off = 1u << 30, .len = 1};
    gs_autobuf out;
    gs_buf_init(&out, 100);
    FAILS(GS_E_INDEX, bundle_read_ref(b, &bad, &out, &err));
    bad = (struct bundle_ref){.member = 99999};
    FAILS(GS_E_INDEX, bundle_read_ref(b, &bad, &out, &err));
}

static void test_round_trip(void **state)
{
    (void)state;
    for (int e = RECORD_NDJSON; e <= RECORD_MSGPACK; e++) {
        round_trip((enum record_encoding)e, 0, 0, 2);
        round_trip((enum record_encoding)e, 512, 4096, 3);
        round_trip((enum record_encoding)e, 64, 1, 1);
    }
}

static void test_contents(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf data, out;
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(bundle_cursor) c = NULL;
    const struct bundle_group *g;
    const struct bundle_member *m;
    const struct bundle_signature *s;
    const void *rec;
    size_t len;
    make(&(struct forge_base){.files = true}, &data);
    gs_buf_init(&out, 1 << 20);
    OK(bundle_open(unit_path("b.gsnap"), &verify_opts, &b, &err));
    assert_string_equal(bundle_set_id(b), "00112233445566778899aabbccddeeff");
    assert_int_equal(bundle_encoding(b), RECORD_NDJSON);
    assert_int_equal(bundle_size(b), data.len);
    assert_string_equal(gs_json_str(bundle_manifest(b), "schema"), "groupsnap/1");
    assert_int_equal(bundle_groups(b, &g), 2);
    assert_string_equal(g[0].full_path, "top");
    assert_int_equal(g[1].parent_id, 7);
    assert_int_equal(bundle_signatures(b, &s), 1);
    assert_int_equal(s[0].result, GS_OK);
    assert_ptr_equal(s[0].info.key, &pub);
    assert_int_equal(bundle_members(b, &m), 5);
    for (size_t i = 1; i < 5; i++)
        assert_true(strcmp(m[i - 1].path, m[i].path) < 0);
    assert_null(bundle_find_file(b, 12, "avatar"));
    const struct bundle_member *a = bundle_find_file(b, 7, "avatar");
    assert_non_null(a);
    OK(bundle_read_file(b, a->path, 100, &out, &err));
    assert_int_equal(out.len, 8);
    FAILS(GS_E_LIMIT, bundle_read_file(b, a->path, 3, &out, &err));
    FAILS(GS_E_MEMBER_MISSING, bundle_read_file(b, "groups/7/avatar/none.png", 100, &out, &err));
    /* users: the known name won over null, whatever came first */
    OK(bundle_cursor_open(b, 0, "users", &c, &err));
    OK(bundle_cursor_next(c, &rec, &len, NULL, &err));
    assert_int_equal(len, strlen("{\"id\":1,\"name\":\"A\",\"username\":\"root\"}\n"));
    assert_memory_equal(rec, "{\"id\":1,\"name\":\"A\",\"username\":\"root\"}\n", len);
    OK(bundle_cursor_next(c, &rec, &len, NULL, &err));
    assert_null(rec);
    for (int i = 0; i < 3; i++) {
        static const char *const books[] = {"index", "ledger", "nothing"};
        static const size_t want[] = {9, 2, 0};
        GS_AUTO(bundle_cursor) k = NULL;
        size_t n = 0;
        OK(bundle_cursor_open(b, 0, books[i], &k, &err));
        for (;; n++) {
            OK(bundle_cursor_next(k, &rec, &len, NULL, &err));
            if (!rec)
                break;
        }
        assert_int_equal(n, want[i]);
    }
}

static void test_writer_refuses(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle_writer *w;
    struct bundle_part *p;
    struct bundle_meta m = {.via = "api"};
    struct bundle_writer_opts o = {.record = {.max_bytes = 100}};
    OK(bundle_writer_new(unit_path("stage"), &o, &w, &err));
    FAILS(GS_E_MEMBER_NAME, bundle_part_open(w, 0, "labels", &p, &err));
    FAILS(GS_E_MEMBER_NAME, bundle_part_open(w, 7, "../x", &p, &err));
    FAILS(GS_E_MEMBER_NAME, bundle_writer_file(w, 7, "avatar", "..", "x", 1, &err));
    FAILS(GS_E_MEMBER_NAME, bundle_writer_file(w, 7, "avatar", "a/b", "x", 1, &err));
    FAILS(GS_E_MEMBER_NAME, bundle_writer_file(w, 7, "uploads/nohex", "a", "x", 1, &err));
    FAILS(GS_E_RECORD, bundle_writer_group(w, 0, 0, "top", &err));
    FAILS(GS_E_RECORD, bundle_writer_user(w, "{\"name\":\"x\"}", 12, &err));
    FAILS(GS_E_RECORD, bundle_writer_ledger(w, "{\"group\":1}", 11, &err));
    FAILS(GS_E_INTERNAL, bundle_writer_finish(w, &m, NULL, 0, unit_path("none.gsnap"), true, &err));
    OK(bundle_writer_group(w, 7, 0, "top", &err));
    OK(bundle_part_open(w, 7, "labels", &p, &err));
    FAILS(GS_E_RECORD, bundle_part_add(p, "[1]", 3, &err));
    FAILS(GS_E_RECORD, bundle_part_add(p, "{\"a\":\n1}", 8, &err));
    FAILS(GS_E_JSON_KEY_TWICE, bundle_part_add(p, "{\"a\":1,\"a\":2}", 13, &err));
    char big[200] = "{\"a\":\"";
    memset(big + 6, 'x', 150);
    memcpy(big + 156, "\"}", 3);
    FAILS(GS_E_LIMIT, bundle_part_add(p, big, strlen(big), &err));
    OK(bundle_part_add(p, "{\"id\":1}", 8, &err));
    bundle_part_abandon(p);
    bundle_part_abandon(NULL);
    OK(bundle_part_open(w, 8, "labels", &p, &err));
    OK(bundle_part_add(p, "{\"id\":1}", 8, &err));
    OK(bundle_part_close(p, &err));
    FAILS(GS_E_INTERNAL, bundle_writer_finish(w, &m, NULL, 0, unit_path("none.gsnap"), true, &err));
    bundle_writer_free(w);
    bundle_writer_free(NULL);
    assert_int_not_equal(access(unit_path("stage"), F_OK), 0);
    assert_int_not_equal(access(unit_path("none.gsnap"), F_OK), 0);
    /* an abandoned part leaves no trace, an existing file is not overwritten */
    OK(bundle_writer_new(unit_path("stage"), NULL, &w, &err));
    OK(bundle_writer_group(w, 7, 0, "top", &err));
    OK(gs_write_file(unit_path("there.gsnap"), "x", 1, 0644, true, &err));
    FAILS(GS_E_EXISTS, bundle_writer_finish(w, &m, NULL, 0, unit_path("there.gsnap"), false, &err));
    bundle_writer_free(w);
}

/* ---- the same bytes ---- */

static void test_reproducible(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        gs_autobuf first;
        struct forge_base o = {.encoding = (enum record_encoding)e, .files = true, .parts = true, .threads = 1};
        make(&o, &first);
        for (unsigned t = 2; t < 6; t++) {
            gs_autobuf again;
            o.threads = t;
            make(&o, &again);
            assert_int_equal(first.len, again.len);
            assert_memory_equal(first.data, again.data, first.len);
        }
    }
}

/* ---- damage ---- */

static void test_every_byte_flipped(void **state)
{
    (void)state;
    gs_autobuf data;
    make(&(struct forge_base){.files = true}, &data);
    struct gs_err ok = {0};
    assert_int_equal(check_mem(data.data, data.len, &ok), 0);
    for (size_t i = 0; i < data.len; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            struct gs_err err = {0};
            data.data[i] ^= (char)(1 << bit);
            if (check_mem(data.data, data.len, &err) == 0)
                fail_msg("byte %zu bit %d flipped, and nobody noticed", i, bit);
            int e = gs_code_exit(err.code);
            if (e < 20 || e > 22)
                fail_msg("byte %zu bit %d: %s [%s], exit %d", i, bit, err.text, gs_code_name(err.code), e);
            data.data[i] ^= (char)(1 << bit);
        }
}

static void test_every_cut(void **state)
{
    (void)state;
    gs_autobuf data;
    make(&(struct forge_base){.parts = true}, &data);
    for (size_t n = 0; n < data.len; n += n % 512 == 0 || n % 512 == 511 ? 1 : n % 512 == 1 ? 510 : 511) {
        struct gs_err err = {0};
        if (check_mem(data.data, n, &err) == 0)
            fail_msg("cut at %zu, and nobody noticed", n);
        int e = gs_code_exit(err.code);
        if (e != 20 && e != 22)
            fail_msg("cut at %zu: %s [%s]", n, err.text, gs_code_name(err.code));
    }
}

/* What is in the file changes after it was opened: the digest of the frame notices. */
static void test_changed_under_our_hands(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf data;
    make(&(struct forge_base){0}, &data);
    struct gs_source src;
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(bundle_cursor) c = NULL;
    const struct bundle_member *m;
    const void *rec;
    size_t len;
    gs_source_mem(data.data, data.len, &src);
    OK(bundle_open_source(&src, &verify_opts, &b, &err));
    bundle_members(b, &m);
    data.data[m[1].offset + 25] ^= 1;
    OK(bundle_cursor_open(b, 7, "labels", &c, &err));
    FAILS(GS_E_DIGEST, bundle_cursor_next(c, &rec, &len, NULL, &err));
    FAILS(GS_E_DIGEST, bundle_verify(b, false, NULL, &err));
    FAILS(GS_E_DIGEST, bundle_verify(b, true, NULL, &err));
}

/* ---- trust ---- */

static void test_signatures(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf data;
    make(&(struct forge_base){0}, &data);
    const char *path = unit_path("b.gsnap");
    struct bundle_opts o = {0};
    struct bundle *b = NULL;
    const struct bundle_signature *s;
    FAILS(GS_E_NO_TRUST, bundle_open(path, &o, &b, &err));
    o.no_verify = true;
    OK(bundle_open(path, &o, &b, &err));
    assert_int_equal(bundle_signatures(b, &s), 1);
    assert_int_equal(s[0].result, GS_E_SIG_UNKNOWN_KEY);
    bundle_close(b);
    struct sign_pubkey opub;
    sign_seckey_public(other, &opub);
    struct sign_trust ot = {.keys = &opub, .n = 1};
    o = (struct bundle_opts){.trust = &ot};
    FAILS(GS_E_SIG_UNKNOWN_KEY, bundle_open(path, &o, &b, &err));
    OK(bundle_add_signature(path, other, &err));
    FAILS(GS_E_EXISTS, bundle_add_signature(path, other, &err));
    OK(bundle_open(path, &o, &b, &err));
    assert_int_equal(bundle_signatures(b, &s), 2);
    assert_int_equal(s[0].result, GS_E_SIG_UNKNOWN_KEY);
    assert_int_equal(s[1].result, GS_OK);
    assert_non_null(strstr(s[1].member, "manifest.json."));
    bundle_close(b);
    OK(bundle_open(path, &verify_opts, &b, &err));
    OK(bundle_verify(b, true, NULL, &err));
    bundle_close(b);
    FAILS(GS_E_NOT_FOUND, bundle_open(unit_path("nothing"), &verify_opts, &b, &err));
    FAILS(GS_E_IO, bundle_open(unit_dir(), &verify_opts, &b, &err));
    /* an unsigned bundle gets its first signature later */
    struct forge f;
    gs_autobuf unsigned_data;
    forge_load(&f, data.data, data.len);
    forge_del(&f, "manifest.json.minisig");
    forge_pack(&f, &unsigned_data);
    forge_release(&f);
    OK(gs_write_file(path, unsigned_data.data, unsigned_data.len, 0644, true, &err));
    FAILS(GS_E_SIG_MISSING, bundle_open(path, &verify_opts, &b, &err));
    OK(bundle_add_signature(path, key, &err));
    OK(bundle_open(path, &verify_opts, &b, &err));
    bundle_close(b);
    /* damage is not signed */
    data.data[data.len - TAR_END_LEN - 512] ^= 1;
    OK(gs_write_file(path, data.data, data.len, 0644, true, &err));
    FAILS(GS_E_DIGEST, bundle_add_signature(path, other, &err));
}

/* ---- limits ---- */

static void test_limits(void **state)
{
    (void)state;
    struct gs_err err = {0};
    gs_autobuf data;
    make(&(struct forge_base){.parts = true}, &data);
    const struct bundle_limits cases[] = {{.max_bundle = 1000},  {.max_manifest = 10},   {.max_signature = 10},
                                          {.max_sums = 10},      {.max_index_raw = 100}, {.max_members = 3},
                                          {.max_member_raw = 9}, {.max_ledger_raw = 9}};
    for (size_t i = 0; i < GS_COUNT(cases); i++) {
        struct bundle_opts o = {.trust = &trust, .limits = cases[i]};
        struct gs_source src;
        struct bundle *b;
        gs_source_mem(data.data, data.len, &src);
        FAILS(GS_E_LIMIT, bundle_open_source(&src, &o, &b, &err));
    }
    struct bundle_opts o = {.trust = &trust, .limits = {.record = {.max_bytes = 20}}};
    struct gs_source src;
    GS_AUTO(bundle) b = NULL;
    gs_source_mem(data.data, data.len, &src);
    OK(bundle_open_source(&src, &o, &b, &err));
    FAILS(GS_E_LIMIT, bundle_verify(b, true, NULL, &err));
}

/* ---- names ---- */

static void test_names(void **state)
{
    (void)state;
    static const char *const good[] = {"manifest.json",
                                       "manifest.json.minisig",
                                       "manifest.json.0123456789ABCDEF.minisig",
                                       "SUMS",
                                       "index.ndjson.zst",
                                       "ledger.ndjson.zst",
                                       "users.ndjson.zst",
                                       "groups/1/labels.ndjson.zst",
                                       "groups/9223372036854775807/epic_boards.0009.msgpack.zst",
                                       "groups/1/avatar/.hidden",
                                       "groups/1/avatar/-x",
                                       "groups/1/avatar/a b.png",
                                       "groups/1/uploads/0123456789abcdef0123456789abcdef/\xc3\xa4.png",
                                       "groups/1/uploads/0123456789/x",
                                       "groups/1/avatar/labels.ndjson.zst"};
    static const char *const bad[] = {"",
                                      "manifest.json/",
                                      "./SUMS",
                                      "/SUMS",
                                      "groups",
                                      "groups/",
                                      "groups/1",
                                      "groups/1/",
                                      "groups/1/labels",
                                      "groups/1/labels.ndjson",
                                      "groups/1/labels.ndjson.zst/",
                                      "groups/01/labels.ndjson.zst",
                                      "groups/0/labels.ndjson.zst",
                                      "groups/-1/labels.ndjson.zst",
                                      "groups/9223372036854775808/labels.ndjson.zst",
                                      "groups/1/labels.1.ndjson.zst",
                                      "groups/1/labels.00000.ndjson.zst",
                                      "groups/1/labels.abcd.ndjson.zst",
                                      "groups/1/.ndjson.zst",
                                      "groups/1/9a.ndjson.zst",
                                      "groups/1/La.ndjson.zst",
                                      "groups/1/avatar/",
                                      "groups/1/avatar/.",
                                      "groups/1/avatar/..",
                                      "groups/1/avatar/a/b",
                                      "groups/1/avatar/a\\b",
                                      "groups/1/avatar/a\nb",
                                      "groups/1/avatar/\x7f",
                                      "groups/1/avatar/\xc2\x85",
                                      "groups/1/avatar/\xff",
                                      "groups/1/avatar/\xed\xa0\x80",
                                      "groups/1/uploads/x",
                                      "groups/1/uploads/0123456789ABCDEF0123456789ABCDEF/x",
                                      "groups/1/uploads/012345678/x",
                                      "groups/1/other/x",
                                      "manifest.json.0123456789abcdef.minisig",
                                      "manifest.json.012345678.minisig"};
    struct bundle_name n;
    for (size_t i = 0; i < GS_COUNT(good); i++)
        if (!bundle_name_parse(good[i], strlen(good[i]), &n))
            fail_msg("'%s' was refused", good[i]);
    for (size_t i = 0; i < GS_COUNT(bad); i++)
        if (bundle_name_parse(bad[i], strlen(bad[i]), &n))
            fail_msg("'%s' was accepted", bad[i]);
    assert_true(bundle_name_parse("groups/12/labels.0003.ndjson.zst", 32, &n));
    assert_int_equal(n.group_id, 12);
    assert_int_equal(n.part, 3);
    assert_string_equal(n.relation, "labels");
    assert_false(bundle_name_parse("groups/1/avatar/a\0b", 19, &n));
}

/* A header is what libarchive makes, in any locale, and comes back as it went. */
static void test_headers(void **state)
{
    (void)state;
    struct gs_err err = {0};
    char name[400] = "groups/7/uploads/0123456789abcdef0123456789abcdef/";
    size_t base = strlen(name);
    for (size_t n = 1; n <= 255; n++) {
        for (int utf8 = 0; utf8 < 2; utf8++) {
            gs_autobuf h;
            struct gs_source src;
            struct tar_head t;
            static const char zero[TAR_BLOCK * 2];
            memset(name + base, 'x', n);
            if (utf8 && n > 1)
                memcpy(name + base, "\xc3\xa9", 2);
            name[base + n] = 0;
            gs_buf_init(&h, 8192);
            OK(tar_make_header(name, 5, &h, &err));
            assert_int_equal(h.len % TAR_BLOCK, 0);
            size_t len = h.len;
            OK(gs_buf_add(&h, zero, TAR_BLOCK, &err));
            gs_source_mem(h.data, h.len, &src);
            OK(tar_read_header(&src, 0, 0, &t, &err));
            assert_string_equal(t.name, name);
            assert_int_equal(t.size, 5);
            assert_int_equal(t.data_off, len);
            gs_source_close(&src);
        }
    }
    gs_autobuf h;
    gs_buf_init(&h, 8192);
    FAILS(GS_E_LIMIT, tar_make_header("SUMS", (uint64_t)1 << 33, &h, &err));
    OK(tar_make_header("SUMS", ((uint64_t)1 << 33) - 1, &h, &err));
}

/* ---- stock tools ---- */

static void test_stock_tools(void **state)
{
    (void)state;
    if (system("command -v minisign b2sum zstd tar >/dev/null 2>&1"))
        skip();
    struct gs_err err = {0};
    gs_autobuf data;
    make(&(struct forge_base){.files = true, .parts = true}, &data);
    OK(sign_pubkey_write(&pub, unit_path("b.pub"), true, &err));
    char *cmd = gs_asprintf(
        "cd '%s' && mkdir out && tar xf b.gsnap -C out && cd out && minisign -Vq -p ../b.pub -m manifest.json && "
        "b2sum -l 256 --quiet --strict -c SUMS && for f in *.zst groups/*/*.zst; do zstd -dqc $f >/dev/null || exit 1; "
        "done",
        unit_dir());
    assert_int_equal(system(cmd), 0);
    free(cmd);
}

/* ---- many threads at once ---- */

struct feeder {
    struct bundle_writer *w;
    int64_t group;
};

static void *feed(void *arg)
{
    const struct feeder *f = arg;
    struct bundle_part *p;
    char rec[100];
    FORGE_OK(bundle_part_open(f->w, f->group, "labels", &p, err));
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(rec, sizeof rec, "{\"id\":%d,\"group\":%" PRId64 "}", i, f->group);
        FORGE_OK(bundle_part_add(p, rec, (size_t)n, err));
    }
    FORGE_OK(bundle_part_close(p, err));
    return NULL;
}

static void test_parallel_parts(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle_writer_opts o = {.threads = 2, .frame_raw_max = 40000};
    struct bundle_meta m = {.via = "api"};
    struct bundle_writer *w;
    struct feeder f[8];
    pthread_t t[8];
    const struct sign_seckey *k = key;
    OK(bundle_writer_new(unit_path("stage"), &o, &w, &err));
    for (int i = 0; i < 8; i++) {
        char path[20];
        snprintf(path, sizeof path, i ? "g/%d" : "g", i);
        OK(bundle_writer_group(w, i + 1, i ? 1 : 0, path, &err));
        f[i] = (struct feeder){w, i + 1};
        assert_int_equal(pthread_create(&t[i], NULL, feed, &f[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    OK(bundle_writer_finish(w, &m, &k, 1, unit_path("p.gsnap"), true, &err));
    bundle_writer_free(w);
    GS_AUTO(bundle) b = NULL;
    struct bundle_verify_result r;
    OK(bundle_open(unit_path("p.gsnap"), &verify_opts, &b, &err));
    OK(bundle_verify(b, true, &r, &err));
    assert_int_equal(r.records, 24000);
}

/* Pieces of more than a MiB go into the file in another way than small ones. */
static void test_large_pieces(void **state)
{
    (void)state;
    enum { LEN = 3 << 20 };
    struct gs_err err = {0};
    struct bundle_meta m = {.via = "api"};
    struct bundle_writer *w;
    const struct sign_seckey *k = key;
    gs_autofree unsigned char *noise = malloc(LEN);
    assert_non_null(noise);
    randombytes_buf(noise, LEN);
    OK(bundle_writer_new(unit_path("stage"), NULL, &w, &err));
    OK(bundle_writer_group(w, 1, 0, "g", &err));
    OK(bundle_writer_file(w, 1, "avatar", "large.png", noise, LEN, &err));
    OK(bundle_writer_file(w, 1, "uploads/0123456789abcdef0123456789abcdef", "small.png", noise, 1000, &err));
    OK(bundle_writer_file(w, 1, "uploads/1123456789abcdef0123456789abcdef", "odd.png", noise + 1, LEN - 1, &err));
    OK(bundle_writer_finish(w, &m, &k, 1, unit_path("large.gsnap"), true, &err));
    bundle_writer_free(w);
    GS_AUTO(bundle) b = NULL;
    gs_autobuf out;
    gs_buf_init(&out, LEN + 1);
    OK(bundle_open(unit_path("large.gsnap"), &verify_opts, &b, &err));
    OK(bundle_verify(b, false, NULL, &err));
    OK(bundle_read_file(b, "groups/1/uploads/1123456789abcdef0123456789abcdef/odd.png", LEN, &out, &err));
    assert_int_equal(out.len, LEN - 1);
    assert_memory_equal(out.data, noise + 1, LEN - 1);
}

/* A byte flipped in any frame of a large member is found whoever looks at it, with the same words; a stop ends it. */
static void test_verify_by_frames(void **state)
{
    (void)state;
    struct gs_err err = {0}, first = {0};
    gs_autobuf data;
    gs_buf_init(&data, 1 << 24);
    round_trip(RECORD_NDJSON, 1000, 8000, 3);
    OK(gs_read_file(unit_path("rt.gsnap"), 1 << 24, &data, &err));
    struct gs_source src;
    GS_AUTO(bundle) b = NULL;
    const struct bundle_member *m;
    gs_source_mem(data.data, data.len, &src);
    OK(bundle_open_source(&src, &verify_opts, &b, &err));
    size_t n = bundle_members(b, &m);
    for (size_t i = 0; i < n; i++)
        for (uint64_t at = m[i].offset; at < m[i].offset + m[i].stored; at += 97) {
            data.data[at] ^= 4;
            first = (struct gs_err){0};
            assert_int_equal(bundle_verify(b, true, NULL, &first), -1);
            assert_int_equal(first.code, GS_E_DIGEST);
            for (uint64_t job = 1; job < 100000; job *= 300) {
                err = (struct gs_err){0};
                assert_int_equal(bundle_verify_with(b, &(struct bundle_verify_opts){.deep = true, .job_raw = job}, NULL, &err), -1);
                assert_string_equal(err.text, first.text);
            }
            data.data[at] ^= 4;
        }
    const volatile int stop = 1;
    FAILS(GS_E_STOPPED, bundle_verify_with(b, &(struct bundle_verify_opts){.deep = true, .stop = &stop}, NULL, &err));
    OK(bundle_verify(b, true, NULL, &err));
}

/* More ledger lines than are kept in memory come out in the same order as few. */
static void test_large_ledger(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle_meta m = {.via = "api", .created_at_ms = 1735689600000, .set_id = "00112233445566778899aabbccddeeff"};
    const struct sign_seckey *k = key;
    struct gs_buf files[2];
    for (int turn = 0; turn < 2; turn++) {
        struct bundle_writer *w;
        OK(bundle_writer_new(unit_path("stage"), NULL, &w, &err));
        OK(bundle_writer_group(w, 1, 0, "g", &err));
        for (int i = 0; i < 50000; i++) {
            char line[300];
            int at = turn ? 49999 - i : (int)((unsigned)i * 7919u % 50000u);
            int n = snprintf(line, sizeof line, "{\"entry\":\"%s\",\"group\":%d,\"relation\":\"r%d\",\"x\":\"%0*d\"}",
                             at % 3 ? "fetch" : "lost", at % 300 - 5, at % 7, at % 100 + 20, at);
            OK(bundle_writer_ledger(w, line, (size_t)n, &err));
        }
        OK(bundle_writer_finish(w, &m, &k, 1, unit_path("ledger.gsnap"), true, &err));
        bundle_writer_free(w);
        gs_buf_init(&files[turn], 1 << 26);
        OK(gs_read_file(unit_path("ledger.gsnap"), 1 << 26, &files[turn], &err));
    }
    assert_int_equal(files[0].len, files[1].len);
    assert_memory_equal(files[0].data, files[1].data, files[0].len);
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(bundle_cursor) c = NULL;
    OK(bundle_open(unit_path("ledger.gsnap"), &verify_opts, &b, &err));
    OK(bundle_cursor_open(b, 0, "ledger", &c, &err));
    int64_t last = INT64_MIN;
    int n = 0;
    for (;; n++) {
        const void *data;
        size_t len;
        OK(bundle_cursor_next(c, &data, &len, NULL, &err));
        if (!data)
            break;
        GS_AUTO(yyjson_doc) d = NULL;
        int64_t group;
        OK(record_parse(RECORD_NDJSON, data, len, NULL, &d, &err));
        OK(gs_json_need_i64(yyjson_doc_get_root(d), "group", &group, &err));
        assert_true(group >= last);
        last = group;
    }
    assert_int_equal(n, 50000);
    gs_buf_release(&files[0]);
    gs_buf_release(&files[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_users_in_any_order),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_reproducible),
        cmocka_unit_test(test_every_byte_flipped),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_changed_under_our_hands),
        cmocka_unit_test(test_signatures),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_stock_tools),
        cmocka_unit_test(test_parallel_parts),
        cmocka_unit_test(test_large_pieces), cmocka_unit_test(test_verify_by_frames), cmocka_unit_test(test_large_ledger),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
