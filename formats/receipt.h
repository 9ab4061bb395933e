/*
 * receipt: one signed page that says what of a bundle stands on the target, for who made the bundle (receipt.md).
 *
 * A receipt is a list of lines "name: value". Built with receipt_add(), written with receipt_text(), read with receipt_parse().
 */
#ifndef GS_RECEIPT_H
#define GS_RECEIPT_H

#include "formats/sign.h"

#define RECEIPT_VERSION "1"
#define RECEIPT_MAX ((size_t)16 << 20)
#define RECEIPT_NAMED 1000 /* records that are named one by one */

struct receipt {
    struct receipt_line {
        char *name, *value;
    } *v;
    size_t n, cap;
};

void receipt_release(struct receipt *r);
/* The value is one line: a word, a number, or canonical JSON. Copied. */
int receipt_add(struct receipt *r, const char *name, const char *value, struct gs_err *err) GS_MUST_USE;
/* The same with a value that is quoted as a JSON string; NULL becomes "". */
int receipt_add_text(struct receipt *r, const char *name, const char *value, struct gs_err *err) GS_MUST_USE;
int receipt_add_u64(struct receipt *r, const char *name, uint64_t value, struct gs_err *err) GS_MUST_USE;
/* First value of this name from line `from` on; NULL: there is none. *out_at (may be NULL): its line. */
const char *receipt_get(const struct receipt *r, const char *name, size_t from, size_t *out_at);
/* A number; GS_E_RECEIPT when it is not there or is none. */
int receipt_u64(const struct receipt *r, const char *name, uint64_t *out, struct gs_err *err) GS_MUST_USE;

int receipt_text(const struct receipt *r, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* GS_E_RECEIPT, GS_E_SCHEMA_NEWER. */
int receipt_parse(const char *text, size_t len, struct receipt *out, struct gs_err *err) GS_MUST_USE;

/*
 * The short form, one line of less than 700 characters that fits a QR code: what names the bundle and the books, the numbers, and a signature
 * of its own. Appended to `out`, without a line end.
 */
int receipt_short(const struct receipt *r, const struct sign_seckey *key, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* Verifies a short form and takes it apart into the lines of a receipt that it knows. GS_E_RECEIPT, GS_E_SIG_*. */
int receipt_short_verify(const char *text, size_t len, const struct sign_trust *trust, struct sign_info *info, struct receipt *out,
                         struct gs_err *err) GS_MUST_USE;

#endif
