/* age_priv: what the files of the age format share: keys, key derivation, header and chunks. */
#ifndef GS_AGE_PRIV_H
#define GS_AGE_PRIV_H

#include "formats/age.h"

#define AGE_FILE_KEY_LEN 16
#define AGE_TAG_LEN 16
#define AGE_NONCE_LEN 16
#define AGE_SALT_LEN 16
#define AGE_WRAPPED_LEN (AGE_FILE_KEY_LEN + AGE_TAG_LEN)
#define AGE_STORED (AGE_CHUNK + AGE_TAG_LEN)
#define AGE_INTRO "age-encryption.org/"
#define AGE_VERSION_LINE AGE_INTRO "v1"

struct age_identity {
    uint8_t secret[AGE_KEY_LEN];
    uint8_t recipient[AGE_KEY_LEN];
};

/* ---- age_key.c ---- */

/* HKDF-SHA-256 of 32 bytes. */
void age_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len, const char *info,
              uint8_t out[32]);

/*
 * The key that wraps the file key for an X25519 recipient, out of one's own secret and the other's public point.
 * `share` is the sender's ephemeral point. false: the point is one of the few that give no secret.
 */
bool age_x25519_wrap_key(const uint8_t secret[32], const uint8_t point[32], const uint8_t share[32],
                         const uint8_t recipient[32], uint8_t out[32]) GS_MUST_USE;
int age_scrypt_wrap_key(const struct gs_secret *passphrase, const uint8_t salt[AGE_SALT_LEN], unsigned work_factor,
                        uint8_t out[32], struct gs_err *err) GS_MUST_USE;

/* Base64 without padding in its one canonical form. */
bool age_unbase64(const char *s, size_t len, uint8_t *out, size_t cap, size_t *out_len) GS_MUST_USE;

/* ---- chunks (age.c) ---- */

/* The nonce of a chunk: its number, and whether it is the last. */
void age_chunk_nonce(uint64_t number, bool last, uint8_t out[12]);

/* ---- age_write.c ---- */

struct age_seal {
    uint8_t file_key[AGE_FILE_KEY_LEN], payload_key[32], wrap_key[32], ephemeral[32];
    uint8_t nonce[AGE_NONCE_LEN];
    struct gs_buf header;
    bool used;
};

#endif
