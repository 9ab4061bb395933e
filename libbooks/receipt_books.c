#include "libbooks/receipt_books.h"

#include "libcommon/json.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)1 << 30)

/* How often a rule explains something of a relation. */
struct loss {
    char relation[64], code[64], as[16]; /* as: "lost", "part" */
    uint64_t n;
};

struct reading {
    struct receipt *out;
    struct receipt named;
    uint64_t not_named;
    struct loss *losses;
    size_t n_losses;
    yyjson_doc *end; /* the summary; nothing may follow it */
    uint64_t lines;
};

static bool is(yyjson_val *v, const char *what)
{
    const char *s = gs_json_str(v, "schema");
    size_t n = strlen(what);
    return s && strncmp(s, "groupsnap.", 10) == 0 && strncmp(s + 10, what, n) == 0 && strcmp(s + 10 + n, "/1") == 0;
}

static const char *text(yyjson_val *v, const char *key)
{
    const char *s = gs_json_str(v, key);
    return s ? s : "";
}

static int count_loss(struct reading *r, yyjson_val *v, const char *as, struct gs_err *err)
{
    const char *relation = text(v, "relation"), *code = text(v, "rule");
    for (size_t i = 0; i < r->n_losses; i++)
        if (strcmp(r->losses[i].relation, relation) == 0 && strcmp(r->losses[i].code, code) == 0 && strcmp(r->losses[i].as, as) == 0) {
            r->losses[i].n++;
            return 0;
        }
    struct loss *l = realloc(r->losses, (r->n_losses + 1) * sizeof *l);
    if (!l)
        return gs_fail(err, GS_E_NOMEM, "no memory for a receipt");
    r->losses = l;
    l = &l[r->n_losses++];
    *l = (struct loss){.n = 1};
    snprintf(l->relation, sizeof l->relation, "%s", relation);
    snprintf(l->code, sizeof l->code, "%s", code);
    snprintf(l->as, sizeof l->as, "%s", as);
    return 0;
}

/* A record that did not arrive, or not as it was, and that no rule explains. */
static int name_it(struct reading *r, yyjson_val *v, struct gs_err *err)
{
    static const char *const keys[] = {"finding", "counts_as", "group", "relation", "key", "where", "rule", "why"};
    struct gs_jw w;
    gs_autobuf b;
    if (r->named.n >= RECEIPT_NAMED) {
        r->not_named++;
        return 0;
    }
    gs_buf_init(&b, 1 << 20);
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    for (size_t i = 0; i < GS_COUNT(keys); i++)
        if (gs_json_str(v, keys[i])) {
            const char *s = gs_json_str(v, keys[i]);
            gs_jw_key(&w, keys[i]);
            gs_jw_strn(&w, s, strlen(s) < 2000 ? strlen(s) : 2000);
        }
    gs_jw_end(&w);
    return gs_jw_finish(&w) || receipt_add(&r->named, "named", gs_buf_str(&b), err) ? -1 : 0;
}

static int finding(struct reading *r, yyjson_val *v, struct gs_err *err)
{
    const char *as = text(v, "counts_as");
    if (strcmp(as, "lost") == 0)
        return count_loss(r, v, strcmp(text(v, "finding"), "missing") == 0 ? "lost" : "part", err);
    if (strcmp(as, "fault") == 0 || strcmp(as, "refused") == 0 || strcmp(as, "unread") == 0)
        return name_it(r, v, err);
    return 0;
}

static int one_line(struct reading *r, const char *s, size_t n, const char *path, struct gs_err *err)
{
    struct gs_json_opts o = {.max_bytes = LINE_MAX_BYTES};
    GS_AUTO(yyjson_doc) doc = NULL;
    r->lines++;
    if (gs_json_parse(s, n, &o, &doc, err)) {
        gs_err_clear(err);
        return gs_fail(err, GS_E_BOOKS, "'%s': line %llu is no line of books", path, (unsigned long long)r->lines);
    }
    yyjson_val *v = yyjson_doc_get_root(doc);
    bool head = is(v, "reconcile-head"), item = is(v, "reconcile-finding"), row = is(v, "reconcile-books"), end = is(v, "reconcile");
    if (r->end || head != (r->lines == 1) || !(head || item || row || end))
        return gs_fail(err, GS_E_BOOKS, "'%s': line %llu does not belong there", path, (unsigned long long)r->lines);
    if (end)
        r->end = gs_steal(&doc);
    return item ? finding(r, v, err) : 0;
}

/* ---- the page ---- */

static uint64_t number(yyjson_val *v, const char *key)
{
    int64_t n = 0;
    return gs_json_i64(v, key, &n) && n > 0 ? (uint64_t)n : 0;
}

/* Names in the receipt, and in the books. */
static const char *const numbers[][2] = {
    {"captured", "captured"}, {"loaded", "loaded"}, {"equal", "equal"},     {"part", "lost_part"}, {"lost", "lost_whole"}, {"refused", "refused"},
    {"differ", "differs"},    {"missing", "missing"}, {"unread", "unread"}, {"extra", "extra"},    {"balance", "balance"}};

static int relation_line(struct receipt *out, yyjson_val *v, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, 4096);
    if (gs_buf_addstr(&b, text(v, "relation"), err))
        return -1;
    for (size_t i = 0; i < GS_COUNT(numbers); i++)
        if (gs_buf_addf(&b, err, " %s=%llu", numbers[i][0], (unsigned long long)number(v, numbers[i][1])))
            return -1;
    return receipt_add(out, "relation", gs_buf_str(&b), err);
}

static int signer_lines(struct receipt *out, yyjson_val *signers, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach(signers, i, max, v)
    {
        if (receipt_add(out, "bundle-signer", text(v, "key"), err))
            return -1;
    }
    return 0;
}

static int page(struct reading *r, const char *digest, struct gs_err *err)
{
    yyjson_val *end = yyjson_doc_get_root(r->end), *b = yyjson_obj_get(end, "bundle"), *t = yyjson_obj_get(end, "target"),
               *total = yyjson_obj_get(end, "total"), *v;
    struct receipt *o = r->out;
    size_t i, max;
    if (receipt_add(o, "bundle", text(b, "digest"), err) || receipt_add(o, "set", text(b, "set_id"), err) ||
        receipt_add_u64(o, "serial", number(b, "serial"), err) || receipt_add_text(o, "source", text(b, "source"), err) ||
        signer_lines(o, yyjson_obj_get(b, "signers"), err) || receipt_add_text(o, "target", text(t, "url"), err) ||
        receipt_add_text(o, "target-version", text(t, "version"), err) || receipt_add_text(o, "read-by", text(t, "read_by"), err) ||
        receipt_add(o, "read-from", text(t, "read_from"), err) || receipt_add(o, "read-until", text(t, "read_until"), err) ||
        receipt_add(o, "state-used", gs_json_true(end, "state_used") ? "yes" : "no", err) ||
        receipt_add_text(o, "tool", text(end, "tool_version"), err) || receipt_add(o, "books", digest, err) ||
        receipt_add_u64(o, "books-lines", r->lines, err))
        return -1;
    for (i = 0; i < GS_COUNT(numbers); i++)
        if (receipt_add_u64(o, numbers[i][0], number(total, numbers[i][1]), err))
            return -1;
    yyjson_arr_foreach(yyjson_obj_get(end, "relations"), i, max, v)
    {
        if (relation_line(o, v, err))
            return -1;
    }
    for (i = 0; i < r->n_losses; i++) {
        gs_autofree char *s = gs_asprintf("%s %s %s %llu", r->losses[i].relation, r->losses[i].as, r->losses[i].code,
                                          (unsigned long long)r->losses[i].n);
        if (!s || receipt_add(o, "rule", s, err))
            return s ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for a receipt");
    }
    for (i = 0; i < r->named.n; i++)
        if (receipt_add(o, "named", r->named.v[i].value, err))
            return -1;
    return receipt_add_u64(o, "not-named", r->not_named, err);
}

static int read_all(struct reading *r, FILE *f, const char *path, struct gs_err *err)
{
    crypto_generichash_state h;
    uint8_t digest[32];
    char hex[2 * sizeof digest + 1];
    gs_autofree char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    crypto_generichash_init(&h, NULL, 0, sizeof digest);
    while ((n = getline(&line, &cap, f)) > 0) {
        if (line[n - 1] != '\n')
            return gs_fail(err, GS_E_BOOKS, "'%s' is cut off", path);
        crypto_generichash_update(&h, (const unsigned char *)line, (size_t)n);
        if (one_line(r, line, (size_t)n - 1, path, err))
            return -1;
    }
    if (ferror(f))
        return gs_fail_sys(err, GS_E_IO, errno, "reading '%s'", path);
    if (!r->end)
        return gs_fail(err, GS_E_BOOKS, "'%s' is cut off: it has no summary at its end", path);
    crypto_generichash_final(&h, digest, sizeof digest);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    return page(r, hex, err);
}

int receipt_from_books(const char *path, struct receipt *out, struct gs_err *err)
{
    struct reading r = {.out = out};
    *out = (struct receipt){0};
    FILE *f = fopen(path, "re");
    if (!f)
        return gs_fail_sys(err, errno == ENOENT ? GS_E_NOT_FOUND : GS_E_IO, errno, "opening '%s'", path);
    int rc = read_all(&r, f, path, err);
    fclose(f);
    receipt_release(&r.named);
    free(r.losses);
    yyjson_doc_free(r.end);
    if (rc)
        receipt_release(out);
    return rc;
}
