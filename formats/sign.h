/*
 * sign: minisign keys and signatures (format facts: minisign's manual page; algorithm 'ED', Ed25519 over BLAKE2b-512).
 *
 * Public key file: comment line, base64 of 'Ed' + key id (8) + key (32). Signature file: untrusted comment, base64 of
 * 'ED' + key id + signature (64), trusted comment, base64 of the global signature (64) over signature + trusted comment.
 * Secret key file: see keyfile.c. All of it crosses with the stock tool in both directions.
 */
#ifndef GS_SIGN_H
#define GS_SIGN_H

#include "libcommon/cleanup.h"
#include "libcommon/buf.h"
#include "libcommon/err.h"
#include "libcommon/secret.h"

#include <stdbool.h>
#include <stdint.h>

#define SIGN_KEYID_LEN 8
#define SIGN_KEYID_HEX 17 /* 16 digits as minisign prints them (most significant byte first), and a NUL */

struct sign_pubkey {
    uint8_t id[SIGN_KEYID_LEN];
    uint8_t key[32];
    char name[128]; /* file name it came from, for messages; "" when unknown */
    int64_t expires_ms; /* from then on it verifies nothing; 0: never (trust.h) */
    int64_t revoked_ms; /* since then it verifies nothing; 0: it was not revoked */
    char reason[256];   /* why */
};

struct sign_seckey; /* locked memory */

void sign_keyid_hex(const uint8_t id[SIGN_KEYID_LEN], char out[SIGN_KEYID_HEX]);

/* Public keys, from the text of a file or the bare base64 line. GS_E_KEY_FORMAT. */
int sign_pubkey_parse(const char *text, size_t len, struct sign_pubkey *out, struct gs_err *err) GS_MUST_USE;
int sign_pubkey_load(const char *path, struct sign_pubkey *out, struct gs_err *err) GS_MUST_USE;
#define SIGN_PUBKEY_TEXT 57 /* the base64 line, and a NUL */
void sign_pubkey_text(const struct sign_pubkey *pk, char out[SIGN_PUBKEY_TEXT]);
int sign_pubkey_write(const struct sign_pubkey *pk, const char *path, bool replace, struct gs_err *err) GS_MUST_USE;

/* A set of trusted keys; trust.h fills it. Keys that were revoked are in it, so that what they signed is told from what nobody knows. */
struct sign_trust {
    struct sign_pubkey *keys;
    size_t n;
    bool lenient;   /* the keys are those of the default store, and nobody asked for a proof: signatures are told of, not demanded */
    int64_t now_ms; /* against which keys expire, 0: the clock (tests) */
};

/* Secret keys. `passphrase` NULL: the key must be unencrypted, else GS_E_KEY_PASSPHRASE (wrong passphrase: the same). */
int sign_seckey_new(struct sign_seckey **out, struct sign_pubkey *out_pub, struct gs_err *err) GS_MUST_USE;
int sign_seckey_parse(const char *text, size_t len, const struct gs_secret *passphrase, struct sign_seckey **out,
                      struct gs_err *err) GS_MUST_USE;
int sign_seckey_load(const char *path, const struct gs_secret *passphrase, struct sign_seckey **out,
                     struct gs_err *err) GS_MUST_USE;
/* Does the file hold an encrypted key, so that a passphrase must be asked for? */
int sign_seckey_encrypted(const char *path, bool *out, struct gs_err *err) GS_MUST_USE;
/* Mode 0600, never over an existing file. `passphrase` NULL writes it unencrypted. `light` lowers the scrypt cost (tests). */
int sign_seckey_write(const struct sign_seckey *sk, const char *path, const struct gs_secret *passphrase, bool light,
                      struct gs_err *err) GS_MUST_USE;
void sign_seckey_public(const struct sign_seckey *sk, struct sign_pubkey *out);
void sign_seckey_free(struct sign_seckey *sk);
GS_DEFINE_AUTO(sign_seckey, sign_seckey_free);

/* Appends the text of a .minisig for `data`. `trusted_comment`: one line. */
int sign_create(const struct sign_seckey *sk, const void *data, size_t len, const char *trusted_comment,
                struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

struct sign_info {
    uint8_t id[SIGN_KEYID_LEN];
    char trusted_comment[1024];
    /* The key that made it, beyond doubt, also when it was revoked or has expired; owned by the trust set. */
    const struct sign_pubkey *key;
};
/* Reads key id and comment without verifying anything (for messages only). GS_E_SIG_FORMAT. */
int sign_peek(const char *sig, size_t sig_len, struct sign_info *out, struct gs_err *err) GS_MUST_USE;
/*
 * Verifies one signature text. GS_E_SIG_FORMAT, GS_E_SIG_UNKNOWN_KEY (no trusted key has this id; the text names the id),
 * GS_E_SIG_INVALID, GS_E_SIG_REVOKED and GS_E_SIG_EXPIRED (the signature holds, its key counts no more). Key ids choose the
 * key to try and prove nothing.
 */
int sign_verify(const char *sig, size_t sig_len, const void *data, size_t len, const struct sign_trust *trust,
                struct sign_info *out, struct gs_err *err) GS_MUST_USE;
/*
 * Is every byte of this signature file what sign_create() writes, so that no part of it (the untrusted comment, line ends)
 * could differ unnoticed? Bundles hold only such. GS_E_SIG_FORMAT.
 */
int sign_canonical(const char *sig, size_t sig_len, struct gs_err *err) GS_MUST_USE;

#endif
