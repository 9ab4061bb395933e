/*
 * keyfile: minisign's key files.
 *
 * Public key, base64 of 42 bytes:   0  2 'Ed'    2  8 key id   10 32 Ed25519 public key
 * Secret key, base64 of 158 bytes:  0  2 'Ed'    2  2 'Sc' (scrypt) or two zero bytes (not encrypted)    4  2 'B2'
 *                                   6 32 salt   38  8 opslimit   46  8 memlimit   (numbers little endian)
 *                                  54  8 key id   62 64 secret key  126 32 BLAKE2b-256 over 'Ed', key id and secret key
 * Without encryption minisign leaves the checksum zero; we write it, and read both.
 * With 'Sc' the last 104 bytes are XORed with as many bytes of scrypt(passphrase, salt, opslimit, memlimit).
 */
#include "sign_priv.h"

#include "libcommon/io.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define UNTRUSTED "untrusted comment: "
#define PUB_LEN 42
#define SEC_LEN 158
#define SEC_HEAD 54
#define SEC_BODY 104
#define MAX_KEY_FILE 4096
/* What a hostile key file may make us spend: twice what minisign itself uses (1 GiB). */
#define MAX_MEMLIMIT ((uint64_t)2 << 30)

/* ---- public keys ---- */

int sign_pubkey_parse(const char *text, size_t len, struct sign_pubkey *out, struct gs_err *err)
{
    const char *p = text, *end = text + len, *l, *rest;
    size_t n, rest_len;
    uint8_t raw[PUB_LEN];
    memset(out, 0, sizeof *out);
    if (!sign_line(&p, end, &l, &n))
        return gs_fail(err, GS_E_KEY_FORMAT, "no public key");
    if (sign_has_prefix(l, n, UNTRUSTED) && !sign_line(&p, end, &l, &n))
        return gs_fail(err, GS_E_KEY_FORMAT, "no public key behind the comment");
    if (!sign_unbase64(l, n, raw, sizeof raw))
        return gs_fail(err, GS_E_KEY_FORMAT, "a public key is base64 of %d bytes", PUB_LEN);
    while (sign_line(&p, end, &rest, &rest_len))
        if (rest_len > 0)
            return gs_fail(err, GS_E_KEY_FORMAT, "there is more behind the public key");
    if (raw[0] != 'E' || raw[1] != 'd')
        return gs_fail(err, GS_E_KEY_FORMAT, "the public key uses an unknown algorithm");
    memcpy(out->id, raw + 2, SIGN_KEYID_LEN);
    memcpy(out->key, raw + 10, 32);
    return 0;
}

static void set_name(struct sign_pubkey *pk, const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(pk->name, sizeof pk->name, "%s", slash ? slash + 1 : path);
}

int sign_pubkey_load(const char *path, struct sign_pubkey *out, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, MAX_KEY_FILE);
    if (gs_read_file(path, MAX_KEY_FILE, &text, err)) {
        if (err->code == GS_E_LIMIT)
            return gs_fail(err, GS_E_KEY_FORMAT, "'%s' is too long for a public key", path);
        return -1;
    }
    if (sign_pubkey_parse(gs_buf_str(&text), text.len, out, err))
        return gs_wrap(err, "'%s'", path);
    set_name(out, path);
    return 0;
}

void sign_pubkey_text(const struct sign_pubkey *pk, char out[SIGN_PUBKEY_TEXT])
{
    uint8_t raw[PUB_LEN] = {'E', 'd'};
    memcpy(raw + 2, pk->id, SIGN_KEYID_LEN);
    memcpy(raw + 10, pk->key, 32);
    sodium_bin2base64(out, SIGN_PUBKEY_TEXT, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
}

int sign_pubkey_write(const struct sign_pubkey *pk, const char *path, bool replace, struct gs_err *err)
{
    char b64[SIGN_PUBKEY_TEXT], hex[SIGN_KEYID_HEX], text[256];
    sign_pubkey_text(pk, b64);
    sign_keyid_hex(pk->id, hex);
    int n = snprintf(text, sizeof text, UNTRUSTED "minisign public key %s\n%s\n", hex, b64);
    return gs_write_file(path, text, (size_t)n, 0644, replace, err);
}

/* ---- secret keys ---- */

static struct sign_seckey *seckey_alloc(struct gs_err *err)
{
    struct sign_seckey *sk = sodium_malloc(sizeof *sk);
    if (!sk)
        gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    return sk;
}

void sign_seckey_free(struct sign_seckey *sk)
{
    sodium_free(sk);
}

void sign_seckey_public(const struct sign_seckey *sk, struct sign_pubkey *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, sk->id, SIGN_KEYID_LEN);
    memcpy(out->key, sk->sk + 32, 32);
}

int sign_seckey_new(struct sign_seckey **out, struct sign_pubkey *out_pub, struct gs_err *err)
{
    struct sign_seckey *sk = seckey_alloc(err);
    if (!sk)
        return -1;
    uint8_t pk[32];
    crypto_sign_keypair(pk, sk->sk);
    randombytes_buf(sk->id, sizeof sk->id);
    sign_seckey_public(sk, out_pub);
    *out = sk;
    return 0;
}

static uint64_t le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static void put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static void checksum(const uint8_t body[SEC_BODY], uint8_t out[32])
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, 32);
    crypto_generichash_update(&h, (const uint8_t *)"Ed", 2);
    crypto_generichash_update(&h, body, SIGN_KEYID_LEN + 64);
    crypto_generichash_final(&h, out, 32);
    sodium_memzero(&h, sizeof h);
}

/* Encrypts or decrypts the body in place. `stream` is locked memory of SEC_BODY bytes. */
static int crypt_body(uint8_t *body, uint8_t *stream, const uint8_t *salt, uint64_t ops, uint64_t mem,
                      const struct gs_secret *passphrase, struct gs_err *err)
{
    if (crypto_pwhash_scryptsalsa208sha256(stream, SEC_BODY, passphrase->data ? passphrase->data : "", passphrase->len,
                                           salt, ops, (size_t)mem))
        return gs_fail(err, GS_E_NOMEM, "no memory to derive the key from the passphrase (%llu MiB)",
                       (unsigned long long)(mem >> 20));
    for (int i = 0; i < SEC_BODY; i++)
        body[i] ^= stream[i];
    return 0;
}

/* Decodes into locked memory of SEC_LEN bytes. */
static int seckey_decode(const char *text, size_t len, uint8_t *raw, struct gs_err *err)
{
    const char *p = text, *end = text + len, *l;
    size_t n;
    if (!sign_line(&p, end, &l, &n) || !sign_has_prefix(l, n, UNTRUSTED) || !sign_line(&p, end, &l, &n) ||
        !sign_unbase64(l, n, raw, SEC_LEN))
        return gs_fail(err, GS_E_KEY_FORMAT, "a secret key is a comment line and base64 of %d bytes", SEC_LEN);
    if (memcmp(raw, "Ed", 2) != 0 || memcmp(raw + 4, "B2", 2) != 0)
        return gs_fail(err, GS_E_KEY_FORMAT, "the secret key uses an unknown algorithm");
    if (memcmp(raw + 2, "Sc", 2) != 0 && memcmp(raw + 2, "\0\0", 2) != 0)
        return gs_fail(err, GS_E_KEY_FORMAT, "the secret key is encrypted in an unknown way");
    return 0;
}

static int seckey_open(uint8_t *raw, const struct gs_secret *passphrase, struct sign_seckey **out, struct gs_err *err)
{
    bool encrypted = raw[2] == 'S';
    uint8_t *body = raw + SEC_HEAD, sum[32];
    uint64_t ops = le64(raw + 38), mem = le64(raw + 46);
    if (encrypted && !passphrase)
        return gs_fail(err, GS_E_KEY_PASSPHRASE, "the secret key is encrypted, and there is no passphrase");
    if (encrypted && (mem > MAX_MEMLIMIT || ops > (uint64_t)1 << 32))
        return gs_fail(err, GS_E_KEY_FORMAT, "the secret key demands %llu MiB to be decrypted",
                       (unsigned long long)(mem >> 20));
    if (encrypted) {
        uint8_t *stream = sodium_malloc(SEC_BODY);
        if (!stream)
            return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
        int r = crypt_body(body, stream, raw + 6, ops, mem, passphrase, err);
        sodium_free(stream);
        if (r)
            return -1;
    }
    checksum(body, sum);
    /* minisign leaves the checksum of an unencrypted key zero */
    bool none = !encrypted && sodium_is_zero(body + 72, sizeof sum);
    if (!none && sodium_memcmp(sum, body + 72, sizeof sum) != 0)
        return encrypted ? gs_fail(err, GS_E_KEY_PASSPHRASE, "wrong passphrase for the secret key")
                         : gs_fail(err, GS_E_KEY_FORMAT, "the checksum of the secret key is wrong");
    struct sign_seckey *sk = seckey_alloc(err);
    if (!sk)
        return -1;
    memcpy(sk->id, body, SIGN_KEYID_LEN);
    /* the second half must be the public key of the first, or signatures would give the secret away */
    uint8_t pk[32];
    crypto_sign_seed_keypair(pk, sk->sk, body + SIGN_KEYID_LEN);
    if (sodium_memcmp(sk->sk, body + SIGN_KEYID_LEN, sizeof sk->sk) != 0) {
        sign_seckey_free(sk);
        return gs_fail(err, GS_E_KEY_FORMAT, "the secret key does not fit its public key");
    }
    *out = sk;
    return 0;
}

int sign_seckey_parse(const char *text, size_t len, const struct gs_secret *passphrase, struct sign_seckey **out,
                      struct gs_err *err)
{
    uint8_t *raw = sodium_malloc(SEC_LEN);
    if (!raw)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    int r = seckey_decode(text, len, raw, err) || seckey_open(raw, passphrase, out, err) ? -1 : 0;
    sodium_free(raw);
    return r;
}

/* The text of a key file in locked memory. */
static int load_text(const char *path, struct gs_secret *out, struct gs_err *err)
{
    int r = gs_secret_read_file(out, path, MAX_KEY_FILE, err);
    if (r && err->code == GS_E_LIMIT)
        r = gs_fail(err, GS_E_KEY_FORMAT, "'%s' is too long for a secret key", path);
    return r;
}

int sign_seckey_load(const char *path, const struct gs_secret *passphrase, struct sign_seckey **out, struct gs_err *err)
{
    struct gs_secret text = {0};
    if (load_text(path, &text, err))
        return -1;
    int r = sign_seckey_parse(text.data, text.len, passphrase, out, err);
    gs_secret_release(&text);
    return r ? gs_wrap(err, "'%s'", path) : 0;
}

int sign_seckey_encrypted(const char *path, bool *out, struct gs_err *err)
{
    struct gs_secret text = {0};
    if (load_text(path, &text, err))
        return -1;
    uint8_t *raw = sodium_malloc(SEC_LEN);
    int r = raw ? seckey_decode(text.data, text.len, raw, err)
                : gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    if (r == 0)
        *out = raw[2] == 'S';
    sodium_free(raw);
    gs_secret_release(&text);
    return r ? gs_wrap(err, "'%s'", path) : 0;
}

/* Fills the 158 bytes; `stream` as in crypt_body(). */
static int seckey_encode(const struct sign_seckey *sk, const struct gs_secret *passphrase, bool light, uint8_t *raw,
                         uint8_t *stream, struct gs_err *err)
{
    uint8_t *body = raw + SEC_HEAD;
    memset(raw, 0, SEC_LEN);
    memcpy(raw, "Ed\0\0B2", 6);
    memcpy(body, sk->id, SIGN_KEYID_LEN);
    memcpy(body + SIGN_KEYID_LEN, sk->sk, 64);
    checksum(body, body + 72);
    if (!passphrase)
        return 0;
    uint64_t ops =
        light ? crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN : crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE;
    uint64_t mem =
        light ? crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN : crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE;
    memcpy(raw + 2, "Sc", 2);
    randombytes_buf(raw + 6, 32);
    put_le64(raw + 38, ops);
    put_le64(raw + 46, mem);
    return crypt_body(body, stream, raw + 6, ops, mem, passphrase, err);
}

int sign_seckey_write(const struct sign_seckey *sk, const char *path, const struct gs_secret *passphrase, bool light,
                      struct gs_err *err)
{
    size_t b64 = sodium_base64_ENCODED_LEN(SEC_LEN, sodium_base64_VARIANT_ORIGINAL);
    static const char head[] = UNTRUSTED "minisign encrypted secret key\n";
    static const char plain_head[] = UNTRUSTED "minisign secret key\n";
    uint8_t *mem = sodium_malloc(SEC_LEN + SEC_BODY);
    char *text = sodium_malloc(sizeof head + b64 + 2);
    int r;
    if (!mem || !text) {
        r = gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for a secret key");
    } else {
        r = seckey_encode(sk, passphrase, light, mem, mem + SEC_LEN, err);
        if (r == 0) {
            const char *h = passphrase ? head : plain_head;
            size_t n = strlen(h);
            memcpy(text, h, n);
            sodium_bin2base64(text + n, b64, mem, SEC_LEN, sodium_base64_VARIANT_ORIGINAL);
            n += b64 - 1;
            text[n++] = '\n';
            r = gs_write_file(path, text, n, 0600, false, err);
        }
    }
    sodium_free(mem);
    sodium_free(text);
    return r;
}
