/* minisign's keys and signatures, also in exchange with the stock tool in both directions. */
#include "formats/trust.h"
#include "tests/golden/forge.h"
#include "unit.h"

#include <sys/stat.h>

static const char text[] = "some bytes to sign\n";

static int setup(void **state)
{
    struct gs_err err = {0};
    (void)state;
    OK(gs_secret_init(&err));
    return 0;
}

static bool have_minisign(void)
{
    return system("command -v minisign >/dev/null 2>&1") == 0;
}

static int run(const char *fmt, ...) GS_PRINTF(1, 2);
static int run(const char *fmt, ...)
{
    char cmd[4096];
    va_list ap;
    int n = snprintf(cmd, sizeof cmd, "cd '%s' && ", unit_dir());
    va_start(ap, fmt);
    vsnprintf(cmd + n, sizeof cmd - (size_t)n, fmt, ap);
    va_end(ap);
    return system(cmd);
}

static void test_sign_and_verify(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct sign_seckey *sk, *sk2;
    struct sign_pubkey pk, pk2;
    struct sign_info info;
    gs_autobuf sig;
    OK(sign_seckey_new(&sk, &pk, &err));
    OK(sign_seckey_new(&sk2, &pk2, &err));
    assert_memory_not_equal(pk.key, pk2.key, 32);
    struct sign_trust one = {.keys = &pk, .n = 1}, two = {.keys = &pk2, .n = 1}, none = {0};
    gs_buf_init(&sig, 4096);
    FAILS(GS_E_USAGE, sign_create(sk, text, sizeof text, "two\nlines", &sig, &err));
    OK(sign_create(sk, text, sizeof text, "a comment", &sig, &err));
    OK(sign_canonical(sig.data, sig.len, &err));
    OK(sign_verify(sig.data, sig.len, text, sizeof text, &one, &info, &err));
    assert_string_equal(info.trusted_comment, "a comment");
    assert_ptr_equal(info.key, &pk);
    FAILS(GS_E_SIG_UNKNOWN_KEY, sign_verify(sig.data, sig.len, text, sizeof text, &two, &info, &err));
    FAILS(GS_E_SIG_UNKNOWN_KEY, sign_verify(sig.data, sig.len, text, sizeof text, &none, &info, &err));
    FAILS(GS_E_SIG_UNKNOWN_KEY, sign_verify(sig.data, sig.len, text, sizeof text, NULL, &info, &err));
    FAILS(GS_E_SIG_INVALID, sign_verify(sig.data, sig.len, text, sizeof text - 1, &one, &info, &err));
    /* somebody else's key under our id */
    memcpy(pk2.id, pk.id, sizeof pk.id);
    FAILS(GS_E_SIG_INVALID, sign_verify(sig.data, sig.len, text, sizeof text, &two, &info, &err));
    struct sign_pubkey both[] = {pk2, pk};
    struct sign_trust t = {.keys = both, .n = 2};
    OK(sign_verify(sig.data, sig.len, text, sizeof text, &t, &info, &err));
    assert_ptr_equal(info.key, &both[1]);
    OK(sign_peek(sig.data, sig.len, &info, &err));
    /* no byte may change: the untrusted comment does not matter to sign_verify(), but it does to sign_canonical() */
    for (size_t i = 0; i < sig.len; i++) {
        struct gs_err e = {0};
        sig.data[i] ^= 2;
        assert_true(sign_canonical(sig.data, sig.len, &e) ||
                    sign_verify(sig.data, sig.len, text, sizeof text, &one, &info, &e));
        sig.data[i] ^= 2;
    }
    for (size_t n = 0; n < sig.len - 1; n++) {
        char *cut = strndup(sig.data, n);
        struct gs_err e = {0};
        assert_int_equal(sign_verify(cut, n, text, sizeof text, &one, &info, &e), -1);
        assert_int_equal(e.code, GS_E_SIG_FORMAT);
        free(cut);
    }
    sign_seckey_free(sk);
    sign_seckey_free(sk2);
    sign_seckey_free(NULL);
}

static void test_key_files(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct sign_seckey *sk, *again;
    struct sign_pubkey pk, pk2;
    struct gs_secret pass = {0}, wrong = {0};
    bool enc = true;
    struct stat st;
    OK(gs_secret_set(&pass, "correct horse", 13, &err));
    OK(gs_secret_set(&wrong, "battery", 7, &err));
    OK(sign_seckey_new(&sk, &pk, &err));
    OK(sign_seckey_write(sk, unit_path("plain.key"), NULL, false, &err));
    OK(sign_seckey_write(sk, unit_path("enc.key"), &pass, true, &err));
    FAILS(GS_E_EXISTS, sign_seckey_write(sk, unit_path("enc.key"), &pass, true, &err));
    assert_int_equal(stat(unit_path("enc.key"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    OK(sign_seckey_encrypted(unit_path("plain.key"), &enc, &err));
    assert_false(enc);
    OK(sign_seckey_encrypted(unit_path("enc.key"), &enc, &err));
    assert_true(enc);
    FAILS(GS_E_KEY_PASSPHRASE, sign_seckey_load(unit_path("enc.key"), NULL, &again, &err));
    FAILS(GS_E_KEY_PASSPHRASE, sign_seckey_load(unit_path("enc.key"), &wrong, &again, &err));
    OK(sign_seckey_load(unit_path("enc.key"), &pass, &again, &err));
    sign_seckey_public(again, &pk2);
    assert_memory_equal(pk.key, pk2.key, 32);
    sign_seckey_free(again);
    OK(sign_seckey_load(unit_path("plain.key"), NULL, &again, &err));
    sign_seckey_free(again);
    FAILS(GS_E_NOT_FOUND, sign_seckey_load(unit_path("none.key"), NULL, &again, &err));
    OK(sign_pubkey_write(&pk, unit_path("k.pub"), false, &err));
    FAILS(GS_E_EXISTS, sign_pubkey_write(&pk, unit_path("k.pub"), false, &err));
    FAILS(GS_E_KEY_FORMAT, sign_seckey_load(unit_path("k.pub"), NULL, &again, &err));
    FAILS(GS_E_KEY_FORMAT, sign_pubkey_load(unit_path("plain.key"), &pk2, &err));
    OK(sign_pubkey_load(unit_path("k.pub"), &pk2, &err));
    assert_string_equal(pk2.name, "k.pub");
    assert_memory_equal(pk.id, pk2.id, 8);
    /* a flipped byte in the key file never gives a key */
    gs_autobuf b;
    gs_buf_init(&b, 4096);
    OK(gs_read_file(unit_path("plain.key"), 4096, &b, &err));
    for (size_t i = strcspn(b.data, "\n") + 1; i < b.len - 1; i++) {
        struct gs_err e = {0};
        b.data[i] ^= 1;
        int r = sign_seckey_parse(b.data, b.len, NULL, &again, &e);
        if (r == 0) { /* salt and limits of an unencrypted key mean nothing */
            size_t at = (i - strcspn(b.data, "\n") - 1) * 3 / 4;
            assert_true(at >= 2 && at < 54);
            sign_seckey_free(again);
        }
        b.data[i] ^= 1;
    }
    sign_seckey_free(sk);
    gs_secret_release(&pass);
    gs_secret_release(&wrong);
}

/* A key whose public half is another key's would give its secret away with the first signature. */
static void test_mixed_halves(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct sign_seckey *sk = NULL;
    uint8_t raw[158] = {0}, seed[32] = {1}, pk[32], *body = raw + 54;
    char key_text[300] = "untrusted comment: x\n";
    for (int mixed = 0; mixed < 2; mixed++) {
        memcpy(raw, "Ed\0\0B2", 6);
        crypto_sign_seed_keypair(pk, body + 8, seed);
        body[8 + 32] ^= (uint8_t)mixed;
        crypto_generichash_state h;
        crypto_generichash_init(&h, NULL, 0, 32);
        crypto_generichash_update(&h, (const uint8_t *)"Ed", 2);
        crypto_generichash_update(&h, body, 72);
        crypto_generichash_final(&h, body + 72, 32);
        sodium_bin2base64(key_text + 21, sizeof key_text - 21, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
        if (mixed)
            FAILS(GS_E_KEY_FORMAT, sign_seckey_parse(key_text, strlen(key_text), NULL, &sk, &err));
        else
            OK(sign_seckey_parse(key_text, strlen(key_text), NULL, &sk, &err));
    }
    sign_seckey_free(sk);
}

static void test_trust(void **state)
{
    (void)state;
    struct gs_err err = {0};
    struct sign_trust t = {0};
    struct sign_seckey *sk;
    struct sign_pubkey pk;
    char hex[SIGN_KEYID_HEX];
    OK(gs_mkdir(unit_path("trust"), &err));
    FAILS(GS_E_NO_TRUST, sign_trust_add(&t, unit_path("trust"), &err));
    for (int i = 0; i < 3; i++) {
        char name[64];
        OK(sign_seckey_new(&sk, &pk, &err));
        snprintf(name, sizeof name, "trust/%d.pub", i);
        OK(sign_pubkey_write(&pk, unit_path(name), true, &err));
        sign_seckey_free(sk);
    }
    OK(sign_trust_add(&t, unit_path("trust"), &err));
    assert_int_equal(t.n, 3);
    OK(sign_trust_add(&t, unit_path("trust/1.pub"), &err));
    assert_int_equal(t.n, 3);
    FAILS(GS_E_NOT_FOUND, sign_trust_add(&t, unit_path("trust/none.pub"), &err));
    OK(gs_write_file(unit_path("trust/bad.pub"), "nonsense\n", 9, 0644, true, &err));
    FAILS(GS_E_KEY_FORMAT, sign_trust_add(&t, unit_path("trust"), &err));
    sign_trust_release(&t);
    const uint8_t id[8] = {1, 2, 3, 4, 5, 6, 7, 0xab};
    sign_keyid_hex(id, hex);
    assert_string_equal(hex, "AB07060504030201");
    OK(sign_pubkey_parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", 56, &pk, &err));
    sign_keyid_hex(pk.id, hex);
    assert_string_equal(hex, "E7620F1842B4E81F");
    FAILS(GS_E_KEY_FORMAT, sign_pubkey_parse("", 0, &pk, &err));
    FAILS(GS_E_KEY_FORMAT, sign_pubkey_parse("untrusted comment: x\n", 21, &pk, &err));
}

/* ---- the stock tool ---- */

static void test_minisign_reads_ours(void **state)
{
    (void)state;
    if (!have_minisign())
        skip();
    struct gs_err err = {0};
    struct sign_seckey *sk;
    struct sign_pubkey pk;
    struct gs_secret pass = {0};
    gs_autobuf sig;
    gs_buf_init(&sig, 4096);
    OK(gs_secret_set(&pass, "pass word", 9, &err));
    OK(sign_seckey_new(&sk, &pk, &err));
    OK(sign_pubkey_write(&pk, unit_path("o.pub"), true, &err));
    OK(sign_create(sk, text, sizeof text - 1, "t", &sig, &err));
    OK(gs_write_file(unit_path("o.txt"), text, sizeof text - 1, 0644, true, &err));
    OK(gs_write_file(unit_path("o.txt.minisig"), sig.data, sig.len, 0644, true, &err));
    assert_int_equal(run("minisign -Vq -p o.pub -m o.txt"), 0);
    OK(sign_seckey_write(sk, unit_path("o.key"), NULL, false, &err));
    OK(sign_seckey_write(sk, unit_path("oe.key"), &pass, true, &err));
    assert_int_equal(run("minisign -S -s o.key -x o1.sig -m o.txt </dev/null >/dev/null 2>&1"), 0);
    assert_int_equal(run("minisign -Vq -p o.pub -x o1.sig -m o.txt"), 0);
    assert_int_equal(run("echo 'pass word' | minisign -S -s oe.key -x o2.sig -m o.txt >/dev/null 2>&1"), 0);
    assert_int_equal(run("minisign -Vq -p o.pub -x o2.sig -m o.txt"), 0);
    assert_int_not_equal(run("echo 'wrong' | minisign -S -s oe.key -x o3.sig -m o.txt >/dev/null 2>&1"), 0);
    sign_seckey_free(sk);
    gs_secret_release(&pass);
}

static void verify_file(const char *sig_name, const char *key_name)
{
    struct gs_err err = {0};
    struct sign_trust t = {0};
    struct sign_info info;
    gs_autobuf sig;
    gs_buf_init(&sig, 4096);
    OK(sign_trust_add(&t, unit_path(key_name), &err));
    OK(gs_read_file(unit_path(sig_name), 4096, &sig, &err));
    OK(sign_verify(sig.data, sig.len, text, sizeof text - 1, &t, &info, &err));
    FAILS(GS_E_SIG_FORMAT, sign_canonical(sig.data, sig.len, &err));
    sign_trust_release(&t);
}

static void test_we_read_minisign(void **state)
{
    (void)state;
    if (!have_minisign())
        skip();
    struct gs_err err = {0};
    struct sign_seckey *sk;
    struct gs_secret pass = {0};
    OK(gs_write_file(unit_path("m.txt"), text, sizeof text - 1, 0644, true, &err));
    assert_int_equal(run("minisign -GW -p m.pub -s m.key >/dev/null 2>&1"), 0);
    assert_int_equal(run("minisign -S -s m.key -m m.txt -x m.sig -t 'from the stock tool' >/dev/null 2>&1"), 0);
    verify_file("m.sig", "m.pub");
    assert_int_equal(run("minisign -S -l -s m.key -m m.txt -x ml.sig >/dev/null 2>&1"),
                     0); /* legacy: not hashed first */
    verify_file("ml.sig", "m.pub");
    OK(sign_seckey_load(unit_path("m.key"), NULL, &sk, &err));
    sign_seckey_free(sk);
    /* encrypted with the tool's own, expensive limits */
    assert_int_equal(run("printf 'secret\\nsecret\\n' | minisign -G -p e.pub -s e.key >/dev/null 2>&1"), 0);
    OK(gs_secret_set(&pass, "secret", 6, &err));
    OK(sign_seckey_load(unit_path("e.key"), &pass, &sk, &err));
    struct sign_pubkey pk, want;
    sign_seckey_public(sk, &pk);
    OK(sign_pubkey_load(unit_path("e.pub"), &want, &err));
    assert_memory_equal(pk.key, want.key, 32);
    assert_memory_equal(pk.id, want.id, 8);
    sign_seckey_free(sk);
    gs_secret_release(&pass);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign_and_verify),
        cmocka_unit_test(test_key_files),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_mixed_halves),
        cmocka_unit_test(test_minisign_reads_ours),
        cmocka_unit_test(test_we_read_minisign),
    };
    return cmocka_run_group_tests(tests, setup, unit_cleanup);
}
