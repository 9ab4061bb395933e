#include "receipt.h"

#include "libcommon/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST "groupsnap-receipt"
#define SHORT_FIRST "GSR" RECEIPT_VERSION
#define SHORT_COMMENT "groupsnap short receipt"

void receipt_release(struct receipt *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].name);
        free(r->v[i].value);
    }
    free(r->v);
    *r = (struct receipt){0};
}

static bool name_ok(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= 'a' && s[i] <= 'z') && s[i] != '-')
            return false;
    return n > 0 && n < 64;
}

static int add(struct receipt *r, const char *name, size_t name_len, const char *value, size_t len, struct gs_err *err)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 32;
        struct receipt_line *v = realloc(r->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for a receipt");
        r->v = v;
        r->cap = cap;
    }
    struct receipt_line l = {strndup(name, name_len), strndup(value, len)};
    if (!l.name || !l.value) {
        free(l.name);
        free(l.value);
        return gs_fail(err, GS_E_NOMEM, "no memory for a receipt");
    }
    r->v[r->n++] = l;
    return 0;
}

int receipt_add(struct receipt *r, const char *name, const char *value, struct gs_err *err)
{
    if (!name_ok(name, strlen(name)) || strpbrk(value, "\r\n"))
        return gs_fail(err, GS_E_INTERNAL, "a receipt has no line '%s'", name);
    return add(r, name, strlen(name), value, strlen(value), err);
}

int receipt_add_text(struct receipt *r, const char *name, const char *value, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, RECEIPT_MAX);
    return gs_json_quote(value ? value : "", value ? strlen(value) : 0, &b, err) || receipt_add(r, name, gs_buf_str(&b), err) ? -1 : 0;
}

int receipt_add_u64(struct receipt *r, const char *name, uint64_t value, struct gs_err *err)
{
    char t[24];
    snprintf(t, sizeof t, "%" PRIu64, value);
    return receipt_add(r, name, t, err);
}

const char *receipt_get(const struct receipt *r, const char *name, size_t from, size_t *out_at)
{
    for (size_t i = from; i < r->n; i++)
        if (strcmp(r->v[i].name, name) == 0) {
            if (out_at)
                *out_at = i;
            return r->v[i].value;
        }
    return NULL;
}

int receipt_u64(const struct receipt *r, const char *name, uint64_t *out, struct gs_err *err)
{
    const char *s = receipt_get(r, name, 0, NULL);
    char *end = NULL;
    errno = 0;
    if (s && *s >= '0' && *s <= '9')
        *out = strtoull(s, &end, 10);
    if (!end || *end || errno)
        return gs_fail(err, GS_E_RECEIPT, "the receipt has no number '%s'", name);
    return 0;
}

int receipt_text(const struct receipt *r, struct gs_buf *out, struct gs_err *err)
{
    if (gs_buf_addstr(out, FIRST ": " RECEIPT_VERSION "\n", err))
        return -1;
    for (size_t i = 0; i < r->n; i++)
        if (gs_buf_addf(out, err, "%s: ", r->v[i].name) || gs_buf_addstr(out, r->v[i].value, err) || gs_buf_addc(out, '\n', err))
            return -1;
    return 0;
}

int receipt_parse(const char *text, size_t len, struct receipt *out, struct gs_err *err)
{
    *out = (struct receipt){0};
    if (len > RECEIPT_MAX || len == 0 || text[len - 1] != '\n' || memchr(text, 0, len))
        return gs_fail(err, GS_E_RECEIPT, "this is no receipt");
    size_t line = 0;
    for (const char *p = text; p < text + len; line++) {
        const char *end = memchr(p, '\n', (size_t)(text + len - p));
        const char *colon = memchr(p, ':', (size_t)(end - p));
        bool good = colon && colon + 1 < end && colon[1] == ' ' && name_ok(p, (size_t)(colon - p));
        if (!good || (line == 0 && (size_t)(colon - p) != strlen(FIRST)) || (line == 0 && strncmp(p, FIRST, strlen(FIRST)) != 0)) {
            receipt_release(out);
            return gs_fail(err, GS_E_RECEIPT, "line %zu is none of a receipt", line + 1);
        }
        const char *value = colon + 2;
        size_t n = (size_t)(end - value);
        if (line == 0 && (n != strlen(RECEIPT_VERSION) || strncmp(value, RECEIPT_VERSION, n) != 0)) {
            return gs_fail(err, GS_E_SCHEMA_NEWER, "the receipt has version %.*s", n < 20 ? (int)n : 20, value);
        }
        if (line > 0 && add(out, p, (size_t)(colon - p), value, n, err)) {
            receipt_release(out);
            return -1;
        }
        p = end + 1;
    }
    return 0;
}

/* ---- the short form ---- */

/* Letter and name of what it holds, in this order. */
static const struct {
    char letter;
    const char *name;
} parts[] = {{'B', "bundle"}, {'K', "books"},   {'T', "read-until"}, {'C', "captured"}, {'L', "loaded"}, {'E', "equal"},
             {'P', "part"},   {'O', "lost"},    {'R', "refused"},    {'D', "differ"},   {'M', "missing"}, {'N', "unread"},
             {'X', "extra"},  {'Z', "balance"}};

/* The n-th line of a text, without its end. */
static const char *nth_line(const char *s, unsigned n, size_t *out_len)
{
    for (; n > 0 && s; n--)
        s = strchr(s, '\n') ? strchr(s, '\n') + 1 : NULL;
    *out_len = s ? strcspn(s, "\n") : 0;
    return s;
}

int receipt_short(const struct receipt *r, const struct sign_seckey *key, struct gs_buf *out, struct gs_err *err)
{
    gs_autobuf body, sig;
    gs_buf_init(&body, 4096);
    gs_buf_init(&sig, 4096);
    if (gs_buf_addstr(&body, SHORT_FIRST, err))
        return -1;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *v = receipt_get(r, parts[i].name, 0, NULL);
        if (!v)
            return gs_fail(err, GS_E_INTERNAL, "the receipt has no line '%s'", parts[i].name);
        if (gs_buf_addf(&body, err, " %c=%s", parts[i].letter, v))
            return -1;
    }
    size_t one, all;
    if (sign_create(key, gs_buf_str(&body), body.len, SHORT_COMMENT, &sig, err))
        return -1;
    const char *first = nth_line(gs_buf_str(&sig), 1, &one), *global = nth_line(gs_buf_str(&sig), 3, &all);
    if (!first || !global)
        return gs_fail(err, GS_E_INTERNAL, "a signature of less than four lines");
    return gs_buf_add(out, body.data, body.len, err) ||
                   gs_buf_addf(out, err, " S=%.*s G=%.*s", (int)one, first, (int)all, global)
               ? -1
               : 0;
}

/* Where " X=" begins, for a letter. */
static const char *find_part(const char *s, char letter)
{
    char key[4] = {' ', letter, '=', 0};
    return strstr(s, key);
}

int receipt_short_verify(const char *text, size_t len, const struct sign_trust *trust, struct sign_info *info, struct receipt *out,
                         struct gs_err *err)
{
    *out = (struct receipt){0};
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == ' '))
        len--;
    gs_autofree char *s = len < 4096 ? strndup(text, len) : NULL;
    const char *sig = s ? find_part(s, 'S') : NULL, *global = sig ? find_part(sig, 'G') : NULL;
    if (!global || strncmp(s, SHORT_FIRST " ", strlen(SHORT_FIRST) + 1) != 0)
        return gs_fail(err, GS_E_RECEIPT, "this is no short receipt");
    gs_autobuf minisig;
    gs_buf_init(&minisig, 8192);
    if (gs_buf_addf(&minisig, err, "untrusted comment: short receipt\n%.*s\ntrusted comment: " SHORT_COMMENT "\n%s\n",
                    (int)(global - sig - 3), sig + 3, global + 3) ||
        sign_verify(gs_buf_str(&minisig), minisig.len, s, (size_t)(sig - s), trust, info, err))
        return -1;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const char *p = find_part(s, parts[i].letter);
        size_t n = p && p < sig ? strcspn(p + 3, " ") : 0;
        if (n == 0 || add(out, parts[i].name, strlen(parts[i].name), p + 3, n, err)) {
            receipt_release(out);
            return n ? -1 : gs_fail(err, GS_E_RECEIPT, "the short receipt has no part %c", parts[i].letter);
        }
    }
    return 0;
}
