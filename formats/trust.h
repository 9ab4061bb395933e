/*
 * trust: which keys are believed, until when, and which no longer; and which bundle of each source was loaded last
 * (trust.md).
 *
 * A trust store is a folder: NAME.pub is a public key in minisign's format, which the stock tool can use as it is, and
 * NAME.trust beside it says since when it is there, when it expires, and whether it was revoked and why. A key without
 * NAME.trust is believed for good. Whatever is said about a key holds for its 32 bytes, whichever file or id it comes
 * under.
 */
#ifndef GS_TRUST_H
#define GS_TRUST_H

#include "formats/sign.h"
#include "libcommon/buf.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stdint.h>

struct bundle;

/* ---- filling a set of keys ---- */

/*
 * `path_or_dir` is a public key, or a folder whose *.pub files are all taken (none: GS_E_NO_TRUST). What stands in a
 * NAME.trust beside a key counts. The same key again is taken once: revoked and the earlier end win. GS_E_KEY_FORMAT,
 * GS_E_TRUST_STORE.
 */
int sign_trust_add(struct sign_trust *t, const char *path_or_dir, struct gs_err *err) GS_MUST_USE;
/* The keys that were revoked in this folder only: what was revoked there counts also for a key that is named in another
 * way. An absent folder is fine. */
int sign_trust_add_revoked(struct sign_trust *t, const char *dir, struct gs_err *err) GS_MUST_USE;
void sign_trust_release(struct sign_trust *t);

/* ---- the store ---- */

#define TRUST_NAME_MAX 64

struct trust_key {
    char name[TRUST_NAME_MAX + 1];
    struct sign_pubkey pub;
    int64_t added_ms; /* 0: not known */
};

struct trust_store {
    struct trust_key *keys; /* by name */
    size_t n;
};

/* 1 to 64 letters, digits, '.', '_' and '-', of which the first is a letter or digit. */
bool trust_name_ok(const char *name);
/* An absent folder is an empty store. GS_E_TRUST_STORE, GS_E_KEY_FORMAT. */
int trust_store_load(const char *dir, struct trust_store *out, struct gs_err *err) GS_MUST_USE;
void trust_store_release(struct trust_store *s);
/* The key with this name, or NULL. */
const struct trust_key *trust_store_find(const struct trust_store *s, const char *name);

/*
 * Writes `k` under its name, durably; the folder is made (mode 0700) when it is absent. What limits the key is there
 * before the key is. GS_E_EXISTS: another key has the name, or the key stands there under another one. The same key
 * under the same name: its end is changed, unless it was revoked (GS_E_SIG_REVOKED).
 */
int trust_store_put(const char *dir, const struct trust_key *k, struct gs_err *err) GS_MUST_USE;
/* From now on the key verifies nothing. GS_E_TRUST_NAME: there is none of that name; GS_E_EXISTS: it was revoked
 * before. */
int trust_store_revoke(const char *dir, const char *name, const char *reason, int64_t now_ms,
                       struct gs_err *err) GS_MUST_USE;
/* Forgets a key. One that was revoked only with `revoked_too`, since it would be unknown afterwards (GS_E_USAGE).
 * GS_E_TRUST_NAME. */
int trust_store_remove(const char *dir, const char *name, bool revoked_too, struct gs_err *err) GS_MUST_USE;

/* ---- what was loaded last (trust_seen.c) ---- */

/*
 * `path` is the file that remembers, of every source (URL and root group), the newest bundle that was loaded.
 * GS_E_ROLLBACK: this one is older. An absent file remembers nothing. GS_E_TRUST_STORE. The bundle's signature must
 * hold.
 */
int trust_seen_check(const char *path, const struct bundle *b, struct gs_err *err) GS_MUST_USE;
/* Remembers the bundle unless a newer one is remembered; durable when it returns. The folder is made when it is absent.
 */
int trust_seen_note(const char *path, const struct bundle *b, int64_t now_ms, struct gs_err *err) GS_MUST_USE;

#endif
