/* Key and signature files that somebody else wrote. */
#include "fuzz.h"
#include "tests/golden/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sign_seckey *key;
    static struct sign_pubkey pub;
    static const char text[] = "text";
    const char *s = (const char *)data;
    struct gs_err err = {0};
    struct sign_pubkey pk;
    struct sign_info info;
    struct sign_seckey *sk = NULL;
    if (!key) {
        if (gs_secret_init(&err))
            abort();
        key = forge_key("fuzz");
        sign_seckey_public(key, &pub);
    }
    struct sign_trust trust = {.keys = &pub, .n = 1};
    if (sign_peek(s, size, &info, &err) == 0) {
        MUST(strlen(info.trusted_comment) < sizeof info.trusted_comment);
        if (sign_verify(s, size, text, sizeof text - 1, &trust, &info, &err) == 0)
            MUST(info.key == &pub);
        else
            MUST(gs_code_exit(err.code) == 21);
    } else {
        MUST(err.code == GS_E_SIG_FORMAT);
        MUST(sign_canonical(s, size, &err) != 0);
    }
    if (sign_pubkey_parse(s, size, &pk, &err) != 0)
        MUST(err.code == GS_E_KEY_FORMAT);
    if (sign_seckey_parse(s, size, NULL, &sk, &err) == 0) {
        struct gs_buf sig;
        sign_seckey_public(sk, &pk);
        struct sign_trust own = {.keys = &pk, .n = 1};
        gs_buf_init(&sig, 4096);
        MUST(sign_create(sk, text, sizeof text - 1, "c", &sig, &err) == 0);
        MUST(sign_verify(sig.data, sig.len, text, sizeof text - 1, &own, &info, &err) == 0);
        gs_buf_release(&sig);
    }
    sign_seckey_free(sk);
    return 0;
}
