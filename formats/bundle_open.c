/* Opening: tar headers, signature, manifest, SUMS, index, in this order, each only when the one before holds. */
#include "bundle_priv.h"

#include <stdio.h>
#include <string.h>

static void default_limits(struct bundle_limits *l)
{
#define DEFAULT(field, value) l->field = l->field ? l->field : (value)
    DEFAULT(max_bundle, (uint64_t)1 << 40);
    DEFAULT(max_manifest, (size_t)16 << 20);
    DEFAULT(max_signature, (size_t)4 << 10);
    DEFAULT(max_sums, (size_t)1 << 30);
    DEFAULT(max_index_raw, (size_t)2 << 30);
    DEFAULT(max_members, 4000000);
    DEFAULT(max_member_raw, (uint64_t)1 << 30);
    DEFAULT(max_ledger_raw, (uint64_t)1 << 30);
    DEFAULT(max_window_log, 23);
    if (l->max_window_log > 30)
        l->max_window_log = 30;
#undef DEFAULT
}

/* ---- tar headers ---- */

struct entry {
    size_t name; /* in b->names */
    uint64_t off, size;
    enum bundle_name_kind kind;
};

struct scan {
    struct entry *e;
    size_t n, cap;
};

static const char *entry_name(const struct bundle *b, const struct entry *e)
{
    return b->names.data + e->name;
}

static int wrong_order(const struct bundle *b, const struct scan *s, const char *name, struct gs_err *err)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(entry_name(b, &s->e[i]), name) == 0)
            return gs_fail(err, GS_E_MEMBER_TWICE, "member '%s' stands twice in the bundle", name);
    return gs_fail(err, GS_E_MEMBER_ORDER, "member '%s' stands behind '%s'", name, entry_name(b, &s->e[s->n - 1]));
}

static int add_entry(struct bundle *b, struct scan *s, const struct tar_head *h, struct gs_err *err)
{
    if (s->n && bundle_name_cmp(entry_name(b, &s->e[s->n - 1]), h->name) >= 0)
        return wrong_order(b, s, h->name, err);
    if (s->n == 0 && h->parsed.kind != NAME_MANIFEST)
        return gs_fail(err, GS_E_MEMBER_MISSING, "the bundle does not begin with " BUNDLE_MANIFEST);
    if (s->n >= b->lim.max_members)
        return gs_fail(err, GS_E_LIMIT, "more than %llu members (max_members)", (unsigned long long)b->lim.max_members);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 32;
        struct entry *e = realloc(s->e, cap * sizeof *e);
        if (!e)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu members", cap);
        s->e = e;
        s->cap = cap;
    }
    s->e[s->n] = (struct entry){.name = b->names.len, .off = h->data_off, .size = h->size, .kind = h->parsed.kind};
    if (gs_buf_add(&b->names, h->name, strlen(h->name) + 1, err))
        return -1;
    s->n++;
    return 0;
}

/* A file too short for a header: part of a bundle, or nothing of the kind. */
static int too_short(const struct bundle *b, struct gs_err *err)
{
    char head[sizeof BUNDLE_MANIFEST - 1];
    size_t n = b->src.size < sizeof head ? (size_t)b->src.size : sizeof head;
    if (gs_source_read(&b->src, 0, head, n, err))
        return -1;
    if (n == 0 || memcmp(head, BUNDLE_MANIFEST, n) != 0)
        return gs_fail(err, GS_E_NOT_A_BUNDLE, n ? "the file is no tar" : "the file is empty");
    return gs_fail(err, GS_E_TRUNCATED, "the file ends after %llu bytes", (unsigned long long)b->src.size);
}

static int scan_tar(struct bundle *b, struct scan *s, struct gs_err *err)
{
    uint64_t pad_from = 0, off = 0;
    struct tar_head h;
    if (b->src.size > b->lim.max_bundle)
        return gs_fail(err, GS_E_LIMIT, "the file has %llu bytes, limit %llu (max_bundle)",
                       (unsigned long long)b->src.size, (unsigned long long)b->lim.max_bundle);
    if (b->src.size < TAR_BLOCK)
        return too_short(b, err);
    for (;;) {
        if (tar_read_header(&b->src, pad_from, off, &h, err))
            return -1;
        if (h.end)
            return s->n ? 0 : gs_fail(err, GS_E_NOT_A_BUNDLE, "the file is an empty tar");
        if (add_entry(b, s, &h, err))
            return -1;
        pad_from = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
}

/* A small member, whole. */
static int read_entry(const struct bundle *b, const struct entry *e, size_t max, const char *limit, struct gs_buf *out,
                      struct gs_err *err)
{
    if (e->size > max)
        return gs_fail(err, GS_E_LIMIT, "'%s' has %llu bytes, limit %zu (%s)", entry_name(b, e),
                       (unsigned long long)e->size, max, limit);
    gs_buf_init(out, max);
    if (gs_buf_reserve(out, (size_t)e->size, err) || gs_source_read(&b->src, e->off, out->data, (size_t)e->size, err))
        return -1;
    out->len = (size_t)e->size;
    out->data[out->len] = 0;
    return 0;
}

/* ---- signatures ---- */

/* One signature over the manifest. `out->result` says how it stands; `err` is filled when it does not hold, and -1 is a failure to look. */
static int check_text(struct bundle *b, const char *text, size_t len, bool canonical, const struct sign_trust *trust,
                      struct bundle_signature *out, struct gs_err *err)
{
    int r = (canonical && sign_canonical(text, len, err)) ||
            sign_verify(text, len, b->manifest_text.data, b->manifest_text.len, trust, &out->info, err);
    out->result = r ? err->code : GS_OK;
    return 0;
}

static int check_member(struct bundle *b, const struct entry *e, const struct sign_trust *trust,
                        struct bundle_signature *out, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, 0);
    char hex[SIGN_KEYID_HEX];
    const char *name = entry_name(b, e);
    snprintf(out->member, sizeof out->member, "%s", name);
    if (read_entry(b, e, b->lim.max_signature, "max_signature", &text, err) ||
        check_text(b, gs_buf_str(&text), text.len, true, trust, out, err))
        return -1;
    if (e->kind == NAME_SIGNATURE_MORE && out->result != GS_E_SIG_FORMAT) {
        sign_keyid_hex(out->info.id, hex);
        if (memcmp(name + strlen(BUNDLE_MANIFEST "."), hex, SIGN_KEYID_HEX - 1) != 0) {
            out->result = GS_E_SIG_FORMAT;
            gs_err_clear(err);
            gs_fail(err, GS_E_SIG_FORMAT, "it was made with key %s", hex);
        }
    }
    return 0;
}

static int check_beside(struct bundle *b, const struct bundle_beside *s, const struct sign_trust *trust,
                        struct bundle_signature *out, struct gs_err *err)
{
    out->beside = true;
    snprintf(out->member, sizeof out->member, "%s", s->name);
    if (s->len > b->lim.max_signature)
        return gs_fail(err, GS_E_LIMIT, "'%s' has %zu bytes, limit %zu (max_signature)", s->name, s->len, b->lim.max_signature);
    return check_text(b, s->text, s->len, false, trust, out, err);
}

/* How many different keys made the signatures that hold? One key under two ids is one. */
static unsigned distinct_signers(const struct bundle *b)
{
    unsigned n = 0;
    for (size_t i = 0; i < b->n_sigs; i++) {
        bool again = b->sigs[i].result != GS_OK;
        for (size_t k = 0; k < i && !again; k++)
            again = b->sigs[k].result == GS_OK &&
                    memcmp(b->sigs[k].info.key->key, b->sigs[i].info.key->key, sizeof b->sigs[i].info.key->key) == 0;
        n += !again;
    }
    return n;
}

/* What is told when no signature counts: a key that was revoked says more than one that nobody knows. */
static unsigned weight(enum gs_code code)
{
    return code == GS_E_SIG_REVOKED ? 3 : code == GS_E_SIG_EXPIRED ? 2 : code == GS_OK ? 0 : 1;
}

static int judge_signatures(struct bundle *b, const struct bundle_opts *o, const struct gs_err *worst, struct gs_err *err)
{
    unsigned need = o->require ? o->require : 1, good = distinct_signers(b);
    char hex[SIGN_KEYID_HEX];
    b->proven = good >= need;
    if (o->no_verify || b->proven)
        return 0;
    if (b->n_sigs == 0)
        return gs_fail(err, GS_E_SIG_MISSING, "the bundle is not signed");
    if (need == 1) {
        *err = *worst;
        return -1;
    }
    const struct bundle_signature *one = NULL;
    for (size_t i = 0; i < b->n_sigs && !one; i++)
        one = b->sigs[i].result == GS_OK ? &b->sigs[i] : NULL;
    if (one)
        sign_keyid_hex(one->info.id, hex);
    return gs_fail(err, GS_E_SIG_TOO_FEW, "signatures by %u different trusted keys are required, and %u %s there%s%s%s%s", need, good,
                   good == 1 ? "is" : "are", one ? ": key " : "", one ? hex : "", worst->code ? "; another is " : "",
                   worst->code ? worst->text : "");
}

/*
 * A signature that is malformed, or that a trusted key did not make although it carries that key's id, ends everything:
 * no honest program writes one. Signatures by keys that we do not know, or believe no longer, are only reported when there are
 * enough others.
 */
static int check_signatures(struct bundle *b, const struct scan *s, const struct bundle_opts *o, struct gs_err *err)
{
    struct gs_err worst = {0};
    size_t members = 0;
    while (members + 1 < s->n && (s->e[members + 1].kind == NAME_SIGNATURE || s->e[members + 1].kind == NAME_SIGNATURE_MORE))
        members++;
    for (size_t i = 0; i < members + o->n_beside; i++) {
        struct gs_err why = {0};
        if (b->n_sigs == BUNDLE_MAX_SIGNATURES)
            return gs_fail(err, GS_E_LIMIT, "more than %d signatures", BUNDLE_MAX_SIGNATURES);
        struct bundle_signature *sig = &b->sigs[b->n_sigs];
        if (i < members ? check_member(b, &s->e[i + 1], o->trust, sig, &why)
                        : check_beside(b, &o->beside[i - members], o->trust, sig, &why)) {
            *err = why;
            return -1;
        }
        b->n_sigs++;
        b->n_beside += i >= members;
        if (!o->no_verify && (sig->result == GS_E_SIG_FORMAT || sig->result == GS_E_SIG_INVALID)) {
            *err = why;
            return gs_wrap(err, "'%s'", sig->member);
        }
        if (weight(sig->result) > weight(worst.code))
            worst = why;
    }
    return judge_signatures(b, o, &worst, err);
}

/* ---- SUMS ---- */

static struct bundle_member *book_at(struct bundle *b, enum bundle_name_kind kind)
{
    return kind == NAME_INDEX    ? &b->books[BOOK_INDEX]
           : kind == NAME_LEDGER ? &b->books[BOOK_LEDGER]
                                 : &b->books[BOOK_USERS];
}

/* One line: 64 hex digits, two blanks, the name. *p moves behind it. */
static int sums_line(const char **p, const char *end, uint8_t digest[BUNDLE_DIGEST_LEN], const char **out_name,
                     size_t *out_len, unsigned long long line, struct gs_err *err)
{
    struct bundle_name n;
    const char *nl = memchr(*p, '\n', (size_t)(end - *p)), *s = *p;
    if (!nl || nl - s < 67 || !bundle_unhex(s, 64, digest, BUNDLE_DIGEST_LEN) || s[64] != ' ' || s[65] != ' ')
        return gs_fail(err, GS_E_SUMS, "line %llu of SUMS is not a digest and a name", line);
    *out_name = s + 66;
    *out_len = (size_t)(nl - *out_name);
    if (!bundle_name_parse(*out_name, *out_len, &n) || n.kind < NAME_INDEX)
        return gs_fail(err, GS_E_SUMS, "line %llu of SUMS names what it may not name", line);
    *p = nl + 1;
    return 0;
}

/* The members below SUMS against its lines: both stand in the same order, so one walk finds what is missing and what is
 * too much. */
static int match_sums(struct bundle *b, const struct scan *s, size_t from, const struct gs_buf *sums,
                      struct gs_err *err)
{
    const char *p = gs_buf_str(sums), *end = p + sums->len, *name = NULL;
    size_t len = 0, i = from;
    char prev[BUNDLE_NAME_MAX] = "", cur[BUNDLE_NAME_MAX];
    uint8_t digest[BUNDLE_DIGEST_LEN];
    for (unsigned long long line = 1; p < end; line++, i++) {
        if (sums_line(&p, end, digest, &name, &len, line, err))
            return -1;
        memcpy(cur, name, len);
        cur[len] = 0;
        if (prev[0] && bundle_name_cmp(prev, cur) >= 0)
            return gs_fail(err, GS_E_SUMS, "line %llu of SUMS is out of order", line);
        memcpy(prev, cur, len + 1);
        int d = i < s->n ? bundle_name_cmp(entry_name(b, &s->e[i]), cur) : 1;
        if (d < 0)
            return gs_fail(err, GS_E_MEMBER_EXTRA, "member '%s' is not in SUMS", entry_name(b, &s->e[i]));
        if (d > 0)
            return gs_fail(err, GS_E_MEMBER_MISSING, "member '%s' is in SUMS and not in the file", cur);
        const struct entry *e = &s->e[i];
        struct bundle_member *m = e->kind == NAME_DATA ? &b->members[b->n_members++] : book_at(b, e->kind);
        *m = (struct bundle_member){.path = entry_name(b, e), .offset = e->off, .stored = e->size, .relation = ""};
        memcpy(m->digest, digest, sizeof digest);
    }
    if (i < s->n)
        return gs_fail(err, GS_E_MEMBER_EXTRA, "member '%s' is not in SUMS", entry_name(b, &s->e[i]));
    return 0;
}

static int open_sums(struct bundle *b, const struct scan *s, const struct manifest *mf, struct gs_err *err)
{
    static const char *const books[] = {BUNDLE_INDEX, BUNDLE_LEDGER, BUNDLE_USERS};
    size_t at = 1 + b->n_sigs - b->n_beside;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    if (at >= s->n || s->e[at].kind != NAME_SUMS)
        return gs_fail(err, GS_E_MEMBER_MISSING, "the bundle has no " BUNDLE_SUMS);
    gs_autobuf sums;
    gs_buf_init(&sums, 0);
    if (read_entry(b, &s->e[at], b->lim.max_sums, "max_sums", &sums, err))
        return -1;
    bundle_hash(sums.data, sums.len, digest);
    if (sums.len != mf->sums_size || memcmp(digest, mf->sums_digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_DIGEST, BUNDLE_SUMS " is not what the manifest says");
    b->members = calloc(s->n, sizeof *b->members);
    if (!b->members)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu members", s->n);
    if (match_sums(b, s, at + 1, &sums, err))
        return -1;
    for (size_t i = 0; i < GS_COUNT(books); i++)
        if (!b->books[i].path)
            return gs_fail(err, GS_E_MEMBER_MISSING, "the bundle has no '%s'", books[i]);
    return 0;
}

/* ---- all of it ---- */

static int open_index(struct bundle *b, const struct manifest *mf, struct gs_err *err)
{
    const struct bundle_member *m = &b->books[BOOK_INDEX];
    uint8_t digest[BUNDLE_DIGEST_LEN];
    gs_autobuf stored;
    gs_buf_init(&stored, b->lim.max_index_raw);
    if (m->stored > b->lim.max_index_raw || mf->index_raw > b->lim.max_index_raw)
        return gs_fail(err, GS_E_LIMIT, "the index has %llu bytes, limit %zu (max_index_raw)",
                       (unsigned long long)(m->stored > mf->index_raw ? m->stored : mf->index_raw),
                       b->lim.max_index_raw);
    if (gs_buf_reserve(&stored, (size_t)m->stored, err) ||
        gs_source_read(&b->src, m->offset, stored.data, (size_t)m->stored, err))
        return -1;
    bundle_hash(stored.data, (size_t)m->stored, digest);
    if (memcmp(digest, m->digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_DIGEST, "'%s' is not what SUMS says", m->path);
    return index_read(b, mf, stored.data, (size_t)m->stored, err);
}

static int open_all(struct bundle *b, const struct bundle_opts *o, struct scan *s, struct gs_err *err)
{
    struct manifest mf;
    if (scan_tar(b, s, err) || read_entry(b, &s->e[0], b->lim.max_manifest, "max_manifest", &b->manifest_text, err))
        return -1;
    bundle_hash(b->manifest_text.data, b->manifest_text.len, b->digest);
    if (check_signatures(b, s, o, err) ||
        manifest_parse(b->manifest_text.data, b->manifest_text.len, &b->manifest, &mf, err))
        return -1;
    b->encoding = mf.encoding;
    return open_sums(b, s, &mf, err) || open_index(b, &mf, err) ? -1 : 0;
}

int bundle_open_source(struct gs_source *src, const struct bundle_opts *o, struct bundle **out, struct gs_err *err)
{
    struct scan s = {0};
    struct bundle *b = calloc(1, sizeof *b);
    if (!b) {
        gs_source_close(src);
        return gs_fail(err, GS_E_NOMEM, "no memory for a bundle");
    }
    pthread_mutex_init(&b->lock, NULL);
    for (size_t i = 0; i < BUNDLE_CACHE; i++)
        b->cache[i].frame = UINT32_MAX;
    b->src = *src;
    *src = (struct gs_source){0};
    b->lim = o->limits;
    default_limits(&b->lim);
    b->threads = o->threads;
    gs_buf_init(&b->names, SIZE_MAX / 2);
    gs_buf_init(&b->texts, SIZE_MAX / 2);
    gs_buf_init(&b->manifest_text, 0);
    b->sigs = calloc(BUNDLE_MAX_SIGNATURES, sizeof *b->sigs);
    int r = gs_secret_init(err);
    if (r == 0 && !b->sigs)
        r = gs_fail(err, GS_E_NOMEM, "no memory for a bundle");
    if (r == 0 && !o->no_verify && (!o->trust || o->trust->n == 0))
        r = gs_fail(err, GS_E_NO_TRUST, "no trusted key was named");
    if (r == 0)
        r = open_all(b, o, &s, err);
    free(s.e);
    if (r) {
        bundle_close(b);
        return -1;
    }
    *out = b;
    return 0;
}

int bundle_open(const char *path, const struct bundle_opts *o, struct bundle **out, struct gs_err *err)
{
    struct gs_source src;
    if (gs_source_open(path, &src, err))
        return -1;
    if (age_is(&src)) {
        gs_source_close(&src);
        return gs_fail(err, GS_E_AGE_ENCRYPTED, "'%s' is encrypted", path);
    }
    return bundle_open_source(&src, o, out, err) ? gs_wrap(err, "'%s'", path) : 0;
}

void bundle_close(struct bundle *b)
{
    if (!b)
        return;
    gs_source_close(&b->src);
    yyjson_doc_free(b->manifest);
    gs_buf_release(&b->manifest_text);
    gs_buf_release(&b->names);
    gs_buf_release(&b->texts);
    free(b->members);
    free(b->frames);
    free(b->groups);
    free(b->sigs);
    ZSTD_freeDCtx(b->dctx);
    for (size_t i = 0; i < BUNDLE_CACHE; i++)
        free(b->cache[i].data);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

/* ---- what an open bundle tells ---- */

yyjson_val *bundle_manifest(const struct bundle *b)
{
    return yyjson_doc_get_root(b->manifest);
}

const char *bundle_set_id(const struct bundle *b)
{
    return gs_json_str(bundle_manifest(b), "set_id");
}

const uint8_t *bundle_digest(const struct bundle *b)
{
    return b->digest;
}

enum record_encoding bundle_encoding(const struct bundle *b)
{
    return b->encoding;
}

uint64_t bundle_size(const struct bundle *b)
{
    return b->src.size;
}

size_t bundle_signatures(const struct bundle *b, const struct bundle_signature **out)
{
    *out = b->sigs;
    return b->n_sigs;
}

bool bundle_proven(const struct bundle *b)
{
    return b->proven;
}

size_t bundle_groups(const struct bundle *b, const struct bundle_group **out)
{
    *out = b->groups;
    return b->n_groups;
}

size_t bundle_members(const struct bundle *b, const struct bundle_member **out)
{
    *out = b->members;
    return b->n_members;
}
