/* Keys of age: their text form (Bech32), the files they stand in, and the keys that are derived from them. */
#include "age_priv.h"

#include "libcommon/clock.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define KEY_TEXT_MAX 80 /* longer than any key in its text form */
#define KEY_FILE_MAX ((size_t)64 << 10)
#define RECIPIENT_HRP "age"
#define IDENTITY_HRP "age-secret-key-"

/* ---- derivation ---- */

void age_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len, const char *info,
              uint8_t out[32])
{
    crypto_auth_hmacsha256_state st;
    uint8_t prk[32];
    static const uint8_t one = 1;
    crypto_auth_hmacsha256_init(&st, salt_len ? salt : &one, salt_len);
    crypto_auth_hmacsha256_update(&st, ikm, ikm_len);
    crypto_auth_hmacsha256_final(&st, prk);
    crypto_auth_hmacsha256_init(&st, prk, sizeof prk);
    crypto_auth_hmacsha256_update(&st, (const uint8_t *)info, strlen(info));
    crypto_auth_hmacsha256_update(&st, &one, 1);
    crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof st);
    sodium_memzero(prk, sizeof prk);
}

bool age_x25519_wrap_key(const uint8_t secret[32], const uint8_t point[32], const uint8_t share[32],
                         const uint8_t recipient[32], uint8_t out[32])
{
    uint8_t shared[32], salt[64];
    memcpy(salt, share, 32);
    memcpy(salt + 32, recipient, 32);
    bool good = crypto_scalarmult(shared, secret, point) == 0 && !sodium_is_zero(shared, sizeof shared);
    if (good)
        age_hkdf(shared, sizeof shared, salt, sizeof salt, AGE_VERSION_LINE "/X25519", out);
    sodium_memzero(shared, sizeof shared);
    return good;
}

int age_scrypt_wrap_key(const struct gs_secret *passphrase, const uint8_t salt[AGE_SALT_LEN], unsigned work_factor,
                        uint8_t out[32], struct gs_err *err)
{
    static const char label[] = AGE_VERSION_LINE "/scrypt";
    uint8_t salted[sizeof label - 1 + AGE_SALT_LEN];
    memcpy(salted, label, sizeof label - 1);
    memcpy(salted + sizeof label - 1, salt, AGE_SALT_LEN);
    if (crypto_pwhash_scryptsalsa208sha256_ll((const uint8_t *)passphrase->data, passphrase->len, salted, sizeof salted,
                                              (uint64_t)1 << work_factor, 8, 1, out, 32))
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no memory to derive a key from the passphrase (%u MiB)",
                           work_factor > 10 ? 1u << (work_factor - 10) : 1u);
    return 0;
}

/* ---- Bech32 (BIP 173, without its limit of 90 characters) ---- */

static const char bech32_digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t bech32_step(uint32_t sum, uint8_t value)
{
    static const uint32_t generator[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ value;
    for (int i = 0; i < 5; i++)
        sum ^= top >> i & 1 ? generator[i] : 0;
    return sum;
}

static uint32_t bech32_start(const char *hrp)
{
    uint32_t sum = 1;
    for (const char *p = hrp; *p; p++)
        sum = bech32_step(sum, (uint8_t)*p >> 5);
    sum = bech32_step(sum, 0);
    for (const char *p = hrp; *p; p++)
        sum = bech32_step(sum, *p & 31);
    return sum;
}

/* 32 bytes in lower case; `out` has room for strlen(hrp) + 60. */
static void bech32_encode(const char *hrp, const uint8_t key[AGE_KEY_LEN], char *out)
{
    uint32_t sum = bech32_start(hrp), acc = 0;
    unsigned bits = 0;
    size_t at = strlen(hrp);
    memcpy(out, hrp, at);
    out[at++] = '1';
    for (size_t i = 0; i < AGE_KEY_LEN || bits > 0;) {
        if (bits < 5 && i < AGE_KEY_LEN) {
            acc = acc << 8 | key[i++];
            bits += 8;
        } else if (bits < 5) {
            acc <<= 5 - bits;
            bits = 5;
        }
        bits -= 5;
        uint8_t v = acc >> bits & 31;
        acc &= (1u << bits) - 1;
        sum = bech32_step(sum, v);
        out[at++] = bech32_digits[v];
    }
    for (int i = 0; i < 6; i++)
        sum = bech32_step(sum, 0);
    sum ^= 1;
    for (int i = 5; i >= 0; i--)
        out[at++] = bech32_digits[sum >> (5 * i) & 31];
    out[at] = 0;
    sodium_memzero(&acc, sizeof acc);
}

/* The 32 bytes behind `hrp`, in lower or upper case throughout. */
static bool bech32_decode(const char *hrp, const char *s, size_t len, uint8_t out[AGE_KEY_LEN])
{
    size_t n = strlen(hrp), at = 0;
    uint32_t sum = bech32_start(hrp), acc = 0;
    unsigned bits = 0;
    bool lower = false, upper = false, good = len == n + 1 + 52 + 6;
    for (size_t i = 0; i < len && good; i++) {
        char c = s[i];
        lower |= c >= 'a' && c <= 'z';
        upper |= c >= 'A' && c <= 'Z';
        c = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        const char *digit = i <= n ? NULL : memchr(bech32_digits, c, 32);
        if (i <= n) {
            good = c == (i < n ? hrp[i] : '1');
            continue;
        }
        good = digit != NULL;
        if (!good)
            break;
        uint8_t v = (uint8_t)(digit - bech32_digits);
        sum = bech32_step(sum, v);
        if (i >= len - 6)
            continue;
        acc = (acc << 5 | v) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (uint8_t)(acc >> bits);
        }
    }
    good = good && sum == 1 && !(lower && upper) && at == AGE_KEY_LEN && (acc & ((1u << bits) - 1)) == 0;
    sodium_memzero(&acc, sizeof acc);
    return good;
}

bool age_unbase64(const char *s, size_t len, uint8_t *out, size_t cap, size_t *out_len)
{
    return sodium_base642bin(out, cap, s, len, NULL, out_len, NULL, sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0;
}

/* ---- lines of a key file ---- */

/* The next line without blanks around it, comments and empty lines left out. false: there is none. */
static bool next_line(const char **p, const char *end, const char **out, size_t *out_len, unsigned *number)
{
    while (*p < end) {
        const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *from = *p, *to = nl ? nl : end;
        *p = nl ? nl + 1 : end;
        ++*number;
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
            to--;
        if (from == to || *from == '#')
            continue;
        *out = from;
        *out_len = (size_t)(to - from);
        return true;
    }
    return false;
}

static bool begins(const char *s, size_t len, const char *with)
{
    return len >= strlen(with) && strncasecmp(s, with, strlen(with)) == 0;
}

/* ---- recipients ---- */

static int add_recipient(struct age_recipients *r, const char *s, size_t len, const char *where, struct gs_err *err)
{
    uint8_t key[AGE_KEY_LEN];
    if (begins(s, len, IDENTITY_HRP))
        return gs_fail(err, GS_E_AGE_KEY, "%s is a secret key: name the public one, age1...", where);
    if (!bech32_decode(RECIPIENT_HRP, s, len, key))
        return gs_fail(err, GS_E_AGE_KEY, "%s is no recipient age1... of an X25519 key", where);
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(r->keys[i], key, sizeof key) == 0)
            return 0;
    if (r->n == AGE_MAX_STANZAS)
        return gs_fail(err, GS_E_AGE_KEY, "more than %d recipients", AGE_MAX_STANZAS);
    uint8_t(*keys)[AGE_KEY_LEN] = realloc(r->keys, (r->n + 1) * sizeof *keys);
    if (!keys)
        return gs_fail(err, GS_E_NOMEM, "no memory for a recipient");
    r->keys = keys;
    memcpy(r->keys[r->n++], key, sizeof key);
    return 0;
}

int age_recipients_add(struct age_recipients *r, const char *what, struct gs_err *err)
{
    char where[300];
    if (begins(what, strlen(what), RECIPIENT_HRP "1") || begins(what, strlen(what), IDENTITY_HRP)) {
        bool secret = begins(what, strlen(what), IDENTITY_HRP);
        snprintf(where, sizeof where, secret ? "what was given" : "'%.80s'", what);
        return add_recipient(r, what, strlen(what), where, err);
    }
    gs_autobuf text;
    gs_buf_init(&text, KEY_FILE_MAX);
    if (gs_read_file(what, KEY_FILE_MAX, &text, err)) {
        if (err->code == GS_E_NOT_FOUND)
            gs_wrap(err, "neither a recipient age1... nor a file of them");
        return -1;
    }
    const char *p = gs_buf_str(&text), *end = p + text.len, *s;
    size_t len, before = r->n;
    unsigned number = 0, found = 0;
    for (; next_line(&p, end, &s, &len, &number); found++) {
        snprintf(where, sizeof where, "line %u of '%.200s'", number, what);
        if (add_recipient(r, s, len, where, err)) {
            sodium_memzero(text.data, text.len); /* it may be a secret key by mistake */
            r->n = before;
            return -1;
        }
    }
    return found ? 0 : gs_fail(err, GS_E_AGE_KEY, "'%.200s' holds no recipient", what);
}

void age_recipients_release(struct age_recipients *r)
{
    free(r->keys);
    *r = (struct age_recipients){0};
}

/* ---- identities ---- */

int age_identities_parse(struct age_identities *ids, const char *text, size_t len, const char *name, struct gs_err *err)
{
    const char *p = text, *end = text + len, *s;
    size_t n, at = ids->n;
    unsigned number = 0;
    struct age_identity *keys = sodium_allocarray(AGE_MAX_IDENTITIES, sizeof *keys);
    if (!keys)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for secret keys");
    if (at)
        memcpy(keys, ids->keys, at * sizeof *keys);
    while (next_line(&p, end, &s, &n, &number)) {
        int r = 0;
        if (at == AGE_MAX_IDENTITIES)
            r = gs_fail(err, GS_E_AGE_KEY, "more than %d secret keys", AGE_MAX_IDENTITIES);
        else if (!bech32_decode(IDENTITY_HRP, s, n, keys[at].secret) ||
                 crypto_scalarmult_base(keys[at].recipient, keys[at].secret))
            r = gs_fail(err, GS_E_AGE_KEY, "line %u of '%.200s' is no secret key AGE-SECRET-KEY-1...", number, name);
        if (r) {
            sodium_free(keys);
            return -1;
        }
        at++;
    }
    if (at == ids->n) {
        sodium_free(keys);
        return gs_fail(err, GS_E_AGE_KEY, "'%.200s' holds no secret key", name);
    }
    sodium_free(ids->keys);
    *ids = (struct age_identities){.keys = keys, .n = at};
    return 0;
}

/* An identity file that is itself an age file, with the passphrase that opens it. */
static int decrypt_file(struct gs_secret *text, const char *path, const struct age_passphrase *pass, struct gs_err *err)
{
    struct gs_source in, out;
    struct gs_secret plain = {0};
    struct age_open_opts o = {.name = path, .pass = pass};
    gs_source_mem(text->data, text->len, &in);
    if (age_open(&in, &o, &out, err))
        return -1;
    int r = out.size > KEY_FILE_MAX ? gs_fail(err, GS_E_AGE_KEY, "'%.200s' is too long for an identity file", path) : 0;
    if (r == 0) {
        plain.len = (size_t)out.size;
        plain.data = sodium_malloc(plain.len + 1);
        r = plain.data ? gs_source_read(&out, 0, plain.data, plain.len, err)
                       : gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    }
    gs_source_close(&out);
    if (r) {
        gs_secret_release(&plain);
        return -1;
    }
    plain.data[plain.len] = 0;
    gs_secret_release(text);
    *text = plain;
    return 0;
}

int age_identities_add(struct age_identities *ids, const char *path, const struct age_passphrase *pass,
                       struct gs_err *err)
{
    struct gs_secret text = {0};
    struct gs_source src;
    if (gs_secret_init(err) || gs_secret_read_file(&text, path, KEY_FILE_MAX, err))
        return err->code == GS_E_LIMIT ? gs_fail(err, GS_E_AGE_KEY, "'%.200s' is too long for an identity file", path)
                                       : -1;
    gs_source_mem(text.data, text.len, &src);
    bool encrypted = age_is(&src);
    gs_source_close(&src);
    int r = encrypted ? decrypt_file(&text, path, pass, err) : 0;
    if (r == 0)
        r = age_identities_parse(ids, text.data, text.len, path, err);
    gs_secret_release(&text);
    return r;
}

void age_identities_release(struct age_identities *ids)
{
    sodium_free(ids->keys);
    *ids = (struct age_identities){0};
}

int age_identity_new(int64_t unix_ms, struct gs_secret *out_file, char out_recipient[AGE_RECIPIENT_TEXT],
                     struct gs_err *err)
{
    struct made {
        uint8_t secret[AGE_KEY_LEN];
        char secret_text[KEY_TEXT_MAX], file[4 * KEY_TEXT_MAX];
    };
    char time[GS_TIME_LEN];
    uint8_t recipient[AGE_KEY_LEN];
    if (gs_secret_init(err))
        return -1;
    struct made *m = sodium_malloc(sizeof *m);
    if (!m)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    randombytes_buf(m->secret, sizeof m->secret);
    crypto_scalarmult_base(recipient, m->secret);
    bech32_encode(RECIPIENT_HRP, recipient, out_recipient);
    bech32_encode(IDENTITY_HRP, m->secret, m->secret_text);
    for (char *p = m->secret_text; *p; p++)
        *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
    gs_time_format(unix_ms, time);
    int n =
        snprintf(m->file, sizeof m->file, "# created: %s\n# public key: %s\n%s\n", time, out_recipient, m->secret_text);
    int r = gs_secret_set(out_file, m->file, (size_t)n, err);
    sodium_free(m);
    return r;
}
