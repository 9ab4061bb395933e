/*
 * policy: what a guard lets through: which records, files, addresses and texts are withheld (policy.md).
 *
 * policy_parse() -> the questions below -> policy_free(). Every answer depends on the policy and the data alone.
 */
#ifndef GS_POLICY_H
#define GS_POLICY_H

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_MAX ((size_t)256 << 10)
#define POLICY_DIGEST_LEN 32

struct policy;

/* GS_E_POLICY: not JSON, not of this schema, an unknown key, a pattern that is none, costs too much or fits the empty
 * text. */
int policy_parse(const char *text, size_t len, struct policy **out, struct gs_err *err) GS_MUST_USE;
int policy_load(const char *path, struct policy **out, struct gs_err *err) GS_MUST_USE;
void policy_free(struct policy *p);
GS_DEFINE_AUTO(policy, policy_free);

/* BLAKE2b-256 of the policy's text. */
const uint8_t *policy_digest(const struct policy *p);
bool policy_withholds_relation(const struct policy *p, const char *relation);
/* `name` is the file's own name, without folders. */
bool policy_withholds_file(const struct policy *p, const char *name, uint64_t bytes);
bool policy_withholds_confidential(const struct policy *p);
/* Is the value of this key an e-mail address that is withheld? */
bool policy_withholds_key(const struct policy *p, const char *key);

/*
 * Appends `s`, whose `len` bytes are followed by a zero byte, to `out` with "[withheld: NAME]" in place of every stretch that is withheld, and calls `seen` for each;
 * when there is none, nothing is appended and *out_changed is false.
 */
int policy_text(const struct policy *p, const char *s, size_t len, void (*seen)(void *cookie, const char *name),
                void *cookie, bool *out_changed, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

#endif
