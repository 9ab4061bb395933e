/* Which keys count: stores, ends, revoked keys; and the memory of what was loaded. */
#include "formats/trust.h"
#include "tests/golden/forge.h"
#include "unit.h"

static struct sign_seckey *alice, *bob;
static struct sign_pubkey alice_pub, bob_pub;
static const char text[] = "some bytes";

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    alice = forge_key("alice");
    bob = forge_key("bob");
    sign_seckey_public(alice, &alice_pub);
    sign_seckey_public(bob, &bob_pub);
    return 0;
}

static int teardown(void **state)
{
    sign_seckey_free(alice);
    sign_seckey_free(bob);
    return unit_cleanup(state);
}

static enum gs_code verify(const struct sign_seckey *by, const struct sign_trust *t, const struct sign_pubkey **out_key)
{
    struct gs_err err = {0};
    struct sign_info info;
    gs_autobuf sig;
    gs_buf_init(&sig, 4096);
    OK(sign_create(by, text, sizeof text, "c", &sig, &err));
    int r = sign_verify(sig.data, sig.len, text, sizeof text, t, &info, &err);
    *out_key = info.key;
    return r ? err.code : GS_OK;
}

static struct trust_key key_of(const char *name, const struct sign_pubkey *pub)
{
    struct trust_key k = {.pub = *pub, .added_ms = 1000};
    snprintf(k.name, sizeof k.name, "%s", name);
    return k;
}

static void test_ends(void **state)
{
    (void)state;
    struct sign_pubkey k = alice_pub;
    const struct sign_pubkey *by;
    struct sign_trust t = {.keys = &k, .n = 1, .now_ms = 5000};
    assert_int_equal(verify(alice, &t, &by), GS_OK);
    k.expires_ms = 5001;
    assert_int_equal(verify(alice, &t, &by), GS_OK);
    k.expires_ms = 5000; /* from then on */
    assert_int_equal(verify(alice, &t, &by), GS_E_SIG_EXPIRED);
    assert_ptr_equal(by, &k);
    k.expires_ms = 0;
    k.revoked_ms = 9000; /* a clock that was set back changes nothing */
    assert_int_equal(verify(alice, &t, &by), GS_E_SIG_REVOKED);
    assert_int_equal(verify(bob, &t, &by), GS_E_SIG_UNKNOWN_KEY);
    assert_null(by);
    t.now_ms = 0;
    k.revoked_ms = 0;
    k.expires_ms = 1;
    assert_int_equal(verify(alice, &t, &by), GS_E_SIG_EXPIRED); /* by the clock */
}

static void test_store(void **state)
{
    (void)state;
    struct gs_err err = {0};
    char dir[512], other[512];
    struct trust_store s;
    const struct sign_pubkey *by;
    snprintf(dir, sizeof dir, "%s", unit_path("a/b/store"));
    snprintf(other, sizeof other, "%s", unit_path("other"));
    assert_true(trust_name_ok("a") && trust_name_ok("Alice_2.key-x"));
    assert_false(trust_name_ok("") || trust_name_ok(".a") || trust_name_ok("-a") || trust_name_ok("a/b") ||
                 trust_name_ok("a b"));
    OK(trust_store_load(dir, &s, &err));
    assert_int_equal(s.n, 0);
    struct trust_key a = key_of("alice", &alice_pub), b = key_of("bob", &bob_pub), x = key_of("alice", &bob_pub),
                     y = key_of("eve", &alice_pub);
    OK(trust_store_put(dir, &a, &err));
    FAILS(GS_E_EXISTS, trust_store_put(dir, &x, &err));
    FAILS(GS_E_EXISTS, trust_store_put(dir, &y, &err));
    OK(trust_store_put(dir, &b, &err));
    a.pub.expires_ms = 86400000;
    OK(trust_store_put(dir, &a, &err)); /* its end is changed */
    OK(trust_store_load(dir, &s, &err));
    assert_int_equal(s.n, 2);
    assert_int_equal(trust_store_find(&s, "alice")->pub.expires_ms, 86400000);
    assert_int_equal(trust_store_find(&s, "bob")->pub.expires_ms, 0);
    assert_null(trust_store_find(&s, "eve"));
    trust_store_release(&s);
    FAILS(GS_E_TRUST_NAME, trust_store_revoke(dir, "eve", "r", 1, &err));
    OK(trust_store_revoke(dir, "bob", "lost", 2000, &err));
    FAILS(GS_E_EXISTS, trust_store_revoke(dir, "bob", "again", 3000, &err));
    FAILS(GS_E_SIG_REVOKED, trust_store_put(dir, &b, &err));
    FAILS(GS_E_SIG_REVOKED, trust_store_put(dir, &x, &err));
    struct sign_trust t = {0};
    OK(sign_trust_add(&t, dir, &err));
    assert_int_equal(t.n, 2);
    assert_int_equal(verify(bob, &t, &by), GS_E_SIG_REVOKED);
    assert_string_equal(by->reason, "lost");
    sign_trust_release(&t);
    /* another copy of the key, under another id, is revoked with it, whichever comes first */
    OK(gs_mkdir(other, &err));
    struct sign_pubkey twin = bob_pub;
    twin.id[0] ^= 1;
    char file[600];
    snprintf(file, sizeof file, "%s/twin.pub", other);
    OK(sign_pubkey_write(&twin, file, false, &err));
    for (int order = 0; order < 2; order++) {
        OK(order ? sign_trust_add(&t, other, &err) : sign_trust_add_revoked(&t, dir, &err));
        OK(order ? sign_trust_add_revoked(&t, dir, &err) : sign_trust_add(&t, other, &err));
        assert_int_equal(t.n, 2); /* alice was not revoked */
        for (size_t i = 0; i < t.n; i++)
            assert_int_equal(t.keys[i].revoked_ms, 2000);
        sign_trust_release(&t);
    }
    OK(sign_trust_add_revoked(&t, unit_path("absent"), &err));
    assert_int_equal(t.n, 0);
    FAILS(GS_E_USAGE, trust_store_remove(dir, "bob", false, &err));
    OK(trust_store_remove(dir, "bob", true, &err));
    FAILS(GS_E_TRUST_NAME, trust_store_remove(dir, "bob", true, &err));
    OK(trust_store_remove(dir, "alice", false, &err));
    assert_int_equal(rmdir(dir), 0); /* nothing is left in it */
}

static void test_bad_notes(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"schema\":\"groupsnap.trust-key/2\"}",
                                      "{\"schema\":\"groupsnap.trust-key/1\",\"expires_at\":\"never\"}",
                                      "{\"schema\":\"groupsnap.trust-key/1\",\"expires_at\":5}",
                                      "{\"schema\":\"groupsnap.trust-key/1\",\"revoked_at\":\"2025-01-01\"}"};
    struct gs_err err = {0};
    char dir[512], note[600];
    struct trust_store s;
    struct sign_trust t = {0};
    snprintf(dir, sizeof dir, "%s", unit_path("bad"));
    snprintf(note, sizeof note, "%s/alice.trust", dir);
    struct trust_key a = key_of("alice", &alice_pub);
    OK(trust_store_put(dir, &a, &err));
    for (size_t i = 0; i < GS_COUNT(bad); i++) {
        OK(gs_write_file(note, bad[i], strlen(bad[i]), 0644, true, &err));
        FAILS(GS_E_TRUST_STORE, sign_trust_add(&t, dir, &err));
        FAILS(GS_E_TRUST_STORE, trust_store_load(dir, &s, &err));
        trust_store_release(&s);
        sign_trust_release(&t);
    }
    assert_int_equal(unlink(note), 0); /* then the key is believed for good */
    OK(sign_trust_add(&t, dir, &err));
    assert_int_equal(t.n, 1);
    sign_trust_release(&t);
}

/* A bundle of which only the manifest is asked. */
static void with_manifest(struct bundle *b, const char *url, int root, int serial)
{
    char json[400];
    struct gs_err err = {0};
    snprintf(json, sizeof json,
             "{\"created_at\":\"2025-01-02T03:04:05.000Z\",\"root\":{\"id\":%d,\"path\":\"top\"},\"serial\":%d,\"set_"
             "id\":\"s%d\",\"source\":{\"url\":%s}}",
             root, serial, serial, url);
    yyjson_doc_free(b->manifest);
    OK(gs_json_parse(json, strlen(json), NULL, &b->manifest, &err));
}

static void test_seen(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct bundle b = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", unit_path("state/deep/seen.json"));
    with_manifest(&b, "\"https://a\"", 7, 10);
    OK(trust_seen_check(path, &b, &err));
    OK(trust_seen_note(path, &b, 1000, &err));
    OK(trust_seen_check(path, &b, &err));
    with_manifest(&b, "\"https://a\"", 7, 9);
    FAILS(GS_E_ROLLBACK, trust_seen_check(path, &b, &err));
    OK(trust_seen_note(path, &b, 1000, &err)); /* which an older one does not change */
    FAILS(GS_E_ROLLBACK, trust_seen_check(path, &b, &err));
    /* other sources have a memory of their own */
    with_manifest(&b, "\"https://b\"", 7, 1);
    OK(trust_seen_check(path, &b, &err));
    OK(trust_seen_note(path, &b, 1000, &err));
    with_manifest(&b, "\"https://a\"", 8, 1);
    OK(trust_seen_check(path, &b, &err));
    with_manifest(&b, "null", 7, 5);
    OK(trust_seen_note(path, &b, 1000, &err));
    with_manifest(&b, "null", 7, 4);
    FAILS(GS_E_ROLLBACK, trust_seen_check(path, &b, &err));
    with_manifest(&b, "\"https://a\"", 7, 11);
    OK(trust_seen_note(path, &b, 2000, &err));
    with_manifest(&b, "\"https://a\"", 7, 10);
    FAILS(GS_E_ROLLBACK, trust_seen_check(path, &b, &err));
    with_manifest(&b, "\"https://b\"", 7, 0);
    FAILS(GS_E_ROLLBACK, trust_seen_check(path, &b, &err));
    OK(gs_write_file(path, "{}", 2, 0600, true, &err));
    FAILS(GS_E_TRUST_STORE, trust_seen_check(path, &b, &err));
    FAILS(GS_E_TRUST_STORE, trust_seen_note(path, &b, 1, &err));
    yyjson_doc_free(b.manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_store),
        cmocka_unit_test(test_bad_notes),
        cmocka_unit_test(test_seen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
