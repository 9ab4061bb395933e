#include "sign_priv.h"

#include "libcommon/clock.h"
#include "libcommon/mp.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/*
 * Signature file:
 *   "untrusted comment: " text
 *   base64 of  0  2  'ED' (Ed25519 over BLAKE2b-512 of the data; 'Ed': over the data itself, read but never written)
 *              2  8  key id
 *             10 64  signature
 *   "trusted comment: " text
 *   base64 of  0 64  signature over the 64 bytes above and the text of the trusted comment
 */
#define UNTRUSTED "untrusted comment: "
#define TRUSTED "trusted comment: "
#define SIG_LEN 74

struct sig {
    uint8_t raw[SIG_LEN];
    uint8_t global[64];
    const char *comment;
    size_t comment_len;
};

void sign_keyid_hex(const uint8_t id[SIGN_KEYID_LEN], char out[SIGN_KEYID_HEX])
{
    static const char hex[] = "0123456789ABCDEF";
    for (int i = 0; i < SIGN_KEYID_LEN; i++) {
        out[2 * i] = hex[id[SIGN_KEYID_LEN - 1 - i] >> 4];
        out[2 * i + 1] = hex[id[SIGN_KEYID_LEN - 1 - i] & 15];
    }
    out[2 * SIGN_KEYID_LEN] = 0;
}

bool sign_line(const char **p, const char *end, const char **out_line, size_t *out_len)
{
    if (*p >= end)
        return false;
    const char *nl = memchr(*p, '\n', (size_t)(end - *p));
    const char *stop = nl ? nl : end;
    *out_line = *p;
    *out_len = (size_t)(stop - *p);
    if (*out_len > 0 && (*out_line)[*out_len - 1] == '\r')
        (*out_len)--;
    *p = nl ? nl + 1 : end;
    return true;
}

bool sign_has_prefix(const char *line, size_t len, const char *prefix)
{
    size_t n = strlen(prefix);
    return len >= n && memcmp(line, prefix, n) == 0;
}

bool sign_unbase64(const char *line, size_t len, uint8_t *out, size_t want)
{
    size_t n = 0;
    const char *stop = NULL;
    return sodium_base642bin(out, want, line, len, NULL, &n, &stop, sodium_base64_VARIANT_ORIGINAL) == 0 && n == want &&
           stop == line + len;
}

static int sig_parse(const char *text, size_t len, struct sig *out, struct gs_err *err)
{
    const char *p = text, *end = text + len, *l;
    size_t n;
    if (!sign_line(&p, end, &l, &n) || !sign_has_prefix(l, n, UNTRUSTED))
        return gs_fail(err, GS_E_SIG_FORMAT, "line 1 of the signature is not an untrusted comment");
    if (!sign_line(&p, end, &l, &n) || !sign_unbase64(l, n, out->raw, SIG_LEN))
        return gs_fail(err, GS_E_SIG_FORMAT, "line 2 of the signature is not base64 of %d bytes", SIG_LEN);
    if (out->raw[0] != 'E' || (out->raw[1] != 'D' && out->raw[1] != 'd'))
        return gs_fail(err, GS_E_SIG_FORMAT, "the signature uses an unknown algorithm");
    if (!sign_line(&p, end, &l, &n) || !sign_has_prefix(l, n, TRUSTED))
        return gs_fail(err, GS_E_SIG_FORMAT, "line 3 of the signature is not a trusted comment");
    out->comment = l + strlen(TRUSTED);
    out->comment_len = n - strlen(TRUSTED);
    if (out->comment_len >= sizeof((struct sign_info *)0)->trusted_comment ||
        memchr(out->comment, 0, out->comment_len) || !mp_utf8_ok(out->comment, out->comment_len))
        return gs_fail(err, GS_E_SIG_FORMAT, "the trusted comment of the signature is too long or no text");
    if (!sign_line(&p, end, &l, &n) || !sign_unbase64(l, n, out->global, sizeof out->global))
        return gs_fail(err, GS_E_SIG_FORMAT, "line 4 of the signature is not base64 of 64 bytes");
    if (p < end)
        return gs_fail(err, GS_E_SIG_FORMAT, "there is more behind the signature");
    return 0;
}

static void info_of(const struct sig *s, struct sign_info *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->id, s->raw + 2, SIGN_KEYID_LEN);
    memcpy(out->trusted_comment, s->comment, s->comment_len);
}

int sign_peek(const char *sig, size_t sig_len, struct sign_info *out, struct gs_err *err)
{
    struct sig s;
    memset(out, 0, sizeof *out);
    if (sig_parse(sig, sig_len, &s, err))
        return -1;
    info_of(&s, out);
    return 0;
}

static bool global_ok(const struct sig *s, const uint8_t key[32])
{
    uint8_t msg[64 + sizeof((struct sign_info *)0)->trusted_comment];
    memcpy(msg, s->raw + 10, 64);
    memcpy(msg + 64, s->comment, s->comment_len);
    return crypto_sign_verify_detached(s->global, msg, 64 + s->comment_len, key) == 0;
}

static bool data_ok(const struct sig *s, const void *data, size_t len, const uint8_t key[32])
{
    if (s->raw[1] == 'd')
        return crypto_sign_verify_detached(s->raw + 10, data, len, key) == 0;
    uint8_t hash[64];
    crypto_generichash(hash, sizeof hash, data, len, NULL, 0);
    return crypto_sign_verify_detached(s->raw + 10, hash, sizeof hash, key) == 0;
}

/* The signature holds: may its key be believed? */
static int key_counts(const struct sign_trust *trust, const struct sign_pubkey *k, const char *hex, struct gs_err *err)
{
    char time[GS_TIME_LEN];
    const char *name = k->name[0] ? k->name : "no name";
    if (k->revoked_ms) {
        gs_time_format(k->revoked_ms, time);
        return gs_fail(err, GS_E_SIG_REVOKED, "signed with key %s (%s), which was revoked on %.10s: %s", hex, name, time,
                       k->reason);
    }
    if (k->expires_ms && k->expires_ms <= (trust->now_ms ? trust->now_ms : gs_unix_ms())) {
        gs_time_format(k->expires_ms, time);
        return gs_fail(err, GS_E_SIG_EXPIRED, "signed with key %s (%s), which expired on %.10s", hex, name, time);
    }
    return 0;
}

int sign_verify(const char *sig, size_t sig_len, const void *data, size_t len, const struct sign_trust *trust,
                struct sign_info *out, struct gs_err *err)
{
    struct sig s;
    char hex[SIGN_KEYID_HEX];
    bool known = false;
    memset(out, 0, sizeof *out);
    if (sig_parse(sig, sig_len, &s, err))
        return -1;
    info_of(&s, out);
    sign_keyid_hex(out->id, hex);
    for (size_t i = 0; trust && i < trust->n; i++) {
        if (memcmp(trust->keys[i].id, out->id, SIGN_KEYID_LEN) != 0)
            continue;
        known = true; /* two keys may carry one id: the id proves nothing */
        if (data_ok(&s, data, len, trust->keys[i].key) && global_ok(&s, trust->keys[i].key)) {
            out->key = &trust->keys[i];
            return key_counts(trust, out->key, hex, err);
        }
    }
    if (!known)
        return gs_fail(err, GS_E_SIG_UNKNOWN_KEY, "signed with key %s, which is not among the trusted keys", hex);
    return gs_fail(err, GS_E_SIG_INVALID, "the signature by key %s does not fit", hex);
}

static int put_base64(struct gs_buf *out, const uint8_t *data, size_t len, struct gs_err *err)
{
    char text[160];
    sodium_bin2base64(text, sizeof text, data, len, sodium_base64_VARIANT_ORIGINAL);
    return gs_buf_addf(out, err, "%s\n", text);
}

static int put_signature(struct gs_buf *out, const struct sig *s, struct gs_err *err)
{
    char hex[SIGN_KEYID_HEX];
    sign_keyid_hex(s->raw + 2, hex);
    return gs_buf_addf(out, err, UNTRUSTED "signature from groupsnap key %s\n", hex) ||
                   put_base64(out, s->raw, SIG_LEN, err) || gs_buf_addstr(out, TRUSTED, err) ||
                   gs_buf_add(out, s->comment, s->comment_len, err) || gs_buf_addc(out, '\n', err) ||
                   put_base64(out, s->global, sizeof s->global, err)
               ? -1
               : 0;
}

int sign_canonical(const char *sig, size_t sig_len, struct gs_err *err)
{
    struct sig s;
    gs_autobuf again;
    gs_buf_init(&again, 4096);
    if (sig_parse(sig, sig_len, &s, err) || put_signature(&again, &s, err))
        return -1;
    if (again.len != sig_len || memcmp(again.data, sig, sig_len) != 0)
        return gs_fail(err, GS_E_SIG_FORMAT, "the signature file is not in the form that groupsnap writes");
    return 0;
}

int sign_create(const struct sign_seckey *sk, const void *data, size_t len, const char *trusted_comment,
                struct gs_buf *out, struct gs_err *err)
{
    struct sig s = {.comment = trusted_comment, .comment_len = strlen(trusted_comment)};
    if (s.comment_len >= sizeof((struct sign_info *)0)->trusted_comment || strpbrk(trusted_comment, "\r\n") ||
        !mp_utf8_ok(trusted_comment, s.comment_len))
        return gs_fail(err, GS_E_USAGE, "a trusted comment is one line of at most 1023 bytes");
    uint8_t hash[64], msg[64 + sizeof((struct sign_info *)0)->trusted_comment];
    crypto_generichash(hash, sizeof hash, data, len, NULL, 0);
    s.raw[0] = 'E', s.raw[1] = 'D';
    memcpy(s.raw + 2, sk->id, SIGN_KEYID_LEN);
    crypto_sign_detached(s.raw + 10, NULL, hash, sizeof hash, sk->sk);
    memcpy(msg, s.raw + 10, 64);
    memcpy(msg + 64, s.comment, s.comment_len);
    crypto_sign_detached(s.global, NULL, msg, 64 + s.comment_len, sk->sk);
    return put_signature(out, &s, err);
}
