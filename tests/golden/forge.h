/*
 * forge: takes a bundle apart, changes it, and puts it together again with every digest and signature above the change
 * made anew, so that a test reaches exactly the check it is for. Shared by the golden corpus, the unit tests and the
 * fuzzers. Failures abort: nothing here reads what somebody else wrote.
 */
#ifndef GS_FORGE_H
#define GS_FORGE_H

#include "formats/bundle_priv.h"
#include "libcommon/mp.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define FORGE_OK(call)                                                                                                 \
    do {                                                                                                               \
        struct gs_err forge_err_ = {0};                                                                                \
        struct gs_err *err = &forge_err_;                                                                              \
        if (call) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s [%s]\n", __FILE__, __LINE__, forge_err_.text, gs_code_name(forge_err_.code));   \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

struct forge_member {
    char name[BUNDLE_NAME_MAX];
    char *data;
    size_t len;
    char type;      /* of the tar header; 0: as it should be */
    uint64_t claim; /* size in the header, UINT64_MAX: the true one */
};

struct forge {
    struct forge_member m[64];
    size_t n;
};

/* A key from a seed: the same on every machine, and secret to nobody. */
static inline struct sign_seckey *forge_key(const char *seed)
{
    uint8_t s[32], pk[32], raw[158] = {0};
    char text[512];
    struct sign_seckey *sk = NULL;
    crypto_generichash(s, sizeof s, (const uint8_t *)seed, strlen(seed), NULL, 0);
    memcpy(raw, "Ed\0\0B2", 6);
    memcpy(raw + 54, s + 4, 8);
    crypto_sign_seed_keypair(pk, raw + 62, s);
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, 32);
    crypto_generichash_update(&h, (const uint8_t *)"Ed", 2);
    crypto_generichash_update(&h, raw + 54, 72);
    crypto_generichash_final(&h, raw + 126, 32);
    int n = snprintf(text, sizeof text, "untrusted comment: test key\n");
    sodium_bin2base64(text + n, sizeof text - (size_t)n, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
    FORGE_OK(sign_seckey_parse(text, strlen(text), NULL, &sk, err));
    return sk;
}

static inline struct forge_member *forge_find(struct forge *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->m[i].name, name) == 0)
            return &f->m[i];
    return NULL;
}

static inline void forge_put(struct forge_member *m, const void *data, size_t len)
{
    char *copy = malloc(len + 1);
    if (!copy)
        abort();
    if (len)
        memcpy(copy, data, len);
    copy[len] = 0;
    free(m->data);
    m->data = copy;
    m->len = len;
}

/* At position `at` (SIZE_MAX: where it belongs in the order of names). */
static inline struct forge_member *forge_add(struct forge *f, size_t at, const char *name, const void *data, size_t len)
{
    if (f->n == GS_COUNT(f->m))
        abort();
    if (at == SIZE_MAX)
        for (at = 0; at < f->n && bundle_name_cmp(f->m[at].name, name) < 0; at++)
            ;
    memmove(&f->m[at + 1], &f->m[at], (f->n - at) * sizeof f->m[0]);
    f->m[at] = (struct forge_member){.claim = UINT64_MAX};
    snprintf(f->m[at].name, sizeof f->m[at].name, "%s", name);
    forge_put(&f->m[at], data, len);
    f->n++;
    return &f->m[at];
}

static inline void forge_del(struct forge *f, const char *name)
{
    struct forge_member *m = forge_find(f, name);
    if (!m)
        abort();
    size_t at = (size_t)(m - f->m);
    free(m->data);
    memmove(&f->m[at], &f->m[at + 1], (f->n - at - 1) * sizeof f->m[0]);
    f->n--;
}

static inline void forge_release(struct forge *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->m[i].data);
    f->n = 0;
}

static inline void forge_load(struct forge *f, const void *data, size_t len)
{
    struct gs_source src;
    struct tar_head h;
    uint64_t pad = 0, off = 0;
    memset(f, 0, sizeof *f);
    gs_source_mem(data, len, &src);
    for (;;) {
        FORGE_OK(tar_read_header(&src, pad, off, &h, err));
        if (h.end)
            break;
        forge_add(f, f->n, h.name, (const char *)data + h.data_off, (size_t)h.size);
        pad = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
    gs_source_close(&src);
}

/* Replaces the first `from` in the member by `to`. */
static inline void forge_edit(struct forge *f, const char *name, const char *from, const char *to)
{
    struct forge_member *m = forge_find(f, name);
    char *at = m ? strstr(m->data, from) : NULL;
    if (!at) {
        fprintf(stderr, "forge: no '%s' in '%s'\n", from, name);
        abort();
    }
    struct gs_buf b;
    gs_buf_init(&b, (size_t)1 << 30);
    FORGE_OK(gs_buf_add(&b, m->data, (size_t)(at - m->data), err) || gs_buf_addstr(&b, to, err) ||
             gs_buf_addstr(&b, at + strlen(from), err));
    forge_put(m, b.data ? b.data : "", b.len);
    gs_buf_release(&b);
}

/* Replaces a number or string that stands behind "key": in the manifest. */
static inline void forge_manifest(struct forge *f, const char *key, const char *value)
{
    struct forge_member *m = forge_find(f, BUNDLE_MANIFEST);
    char pattern[64];
    snprintf(pattern, sizeof pattern, "\"%s\":", key);
    char *at = strstr(m->data, pattern);
    if (!at)
        abort();
    at += strlen(pattern);
    size_t n = *at == '"' ? strcspn(at + 1, "\"") + 2 : strcspn(at, ",}");
    char *old = strndup(at - strlen(pattern), strlen(pattern) + n), *new = gs_asprintf("%s%s", pattern, value);
    if (!old || !new)
        abort();
    forge_edit(f, BUNDLE_MANIFEST, old, new);
    free(old);
    free(new);
}

/* One zstd frame of `raw`. */
static inline char *forge_frame(const void *raw, size_t len, size_t *out_len)
{
    size_t cap = ZSTD_compressBound(len);
    char *out = malloc(cap);
    size_t n = out ? ZSTD_compress(out, cap, raw, len, 3) : 0;
    if (!out || ZSTD_isError(n))
        abort();
    *out_len = n;
    return out;
}

/* The raw text of a .zst member, in frames of any number; the caller frees. */
static inline char *forge_unpack(const struct forge_member *m, size_t *out_len)
{
    size_t cap = 1 << 22, len = 0;
    char *out = malloc(cap + 1);
    ZSTD_DCtx *d = ZSTD_createDCtx();
    for (size_t at = 0; at < m->len;) {
        size_t n = ZSTD_findFrameCompressedSize(m->data + at, m->len - at);
        size_t r = ZSTD_isError(n) ? n : ZSTD_decompressDCtx(d, out + len, cap - len, m->data + at, n);
        if (ZSTD_isError(r))
            abort();
        at += n;
        len += r;
    }
    ZSTD_freeDCtx(d);
    out[len] = 0;
    *out_len = len;
    return out;
}

/* Puts new raw text into the index; the manifest learns its length. */
static inline void forge_set_index(struct forge *f, const char *raw, size_t len)
{
    size_t n;
    char num[32], *z = forge_frame(raw, len, &n);
    forge_put(forge_find(f, BUNDLE_INDEX), z, n);
    free(z);
    snprintf(num, sizeof num, "%zu", len);
    forge_manifest(f, "raw", num); /* the only "raw" of a manifest is the index's */
}

static inline void forge_edit_index(struct forge *f, const char *from, const char *to)
{
    size_t len;
    struct forge t = {0};
    char *raw = forge_unpack(forge_find(f, BUNDLE_INDEX), &len);
    forge_add(&t, 0, "text", raw, len);
    forge_edit(&t, "text", from, to);
    forge_set_index(f, t.m[0].data, t.m[0].len);
    forge_release(&t);
    free(raw);
}

/* The entry of the index that describes `path`: its line, without the line feed. The caller frees. */
static inline char *forge_index_line(struct forge *f, const char *path)
{
    size_t len;
    char *raw = forge_unpack(forge_find(f, BUNDLE_INDEX), &len), *want = gs_asprintf("\"path\":\"%s\"", path);
    char *at = want ? strstr(raw, want) : NULL;
    if (!at)
        abort();
    while (at > raw && at[-1] != '\n')
        at--;
    char *line = strndup(at, strcspn(at, "\n"));
    free(raw);
    free(want);
    return line;
}

/*
 * Gives a member of records new content: one frame, described truly in the index. `frame` may be no frame at all;
 * `raw_len` and `records` are what the index will say.
 */
static inline void forge_set_records(struct forge *f, const char *path, const char *frame, size_t frame_len,
                                     size_t raw_len, uint64_t records)
{
    struct bundle_name n;
    uint8_t digest[32];
    char hex[65];
    if (!bundle_name_parse(path, strlen(path), &n))
        abort();
    char *line = forge_index_line(f, path);
    const char *relation = n.kind == NAME_LEDGER ? "ledger" : n.kind == NAME_USERS ? "users" : n.relation;
    bundle_hash(frame, frame_len, digest);
    bundle_hex(digest, hex);
    char *now =
        gs_asprintf("{\"entry\":\"member\",\"frames\":[[0,%zu,%zu,\"%s\"]],\"group\":%lld,\"part\":%u,\"path\":\"%s\","
                    "\"raw\":%zu,\"records\":%llu,\"relation\":\"%s\",\"stored\":%zu}",
                    raw_len, frame_len, hex, (long long)n.group_id, n.part, path, raw_len, (unsigned long long)records,
                    relation, frame_len);
    forge_put(forge_find(f, path), frame, frame_len);
    forge_edit_index(f, line, now);
    free(now);
    free(line);
}

static inline void forge_set_text(struct forge *f, const char *path, const char *raw, size_t len, uint64_t records)
{
    size_t n;
    char *z = forge_frame(raw, len, &n);
    forge_set_records(f, path, z, n, len, records);
    free(z);
}

/* SUMS over what is there, and its digest in the manifest. */
static inline void forge_sums(struct forge *f)
{
    struct gs_buf b;
    uint8_t digest[32];
    char hex[65];
    gs_buf_init(&b, (size_t)1 << 30);
    for (size_t i = 0; i < f->n; i++) {
        struct bundle_name n;
        if (!bundle_name_parse(f->m[i].name, strlen(f->m[i].name), &n) || n.kind < NAME_INDEX)
            continue;
        bundle_hash(f->m[i].data, f->m[i].len, digest);
        bundle_hex(digest, hex);
        FORGE_OK(gs_buf_addf(&b, err, "%s  %s\n", hex, f->m[i].name));
    }
    forge_put(forge_find(f, BUNDLE_SUMS), gs_buf_str(&b), b.len);
    gs_buf_release(&b);
}

static inline void forge_name_sums(struct forge *f)
{
    uint8_t digest[32];
    char hex[65], num[32], quoted[72];
    struct forge_member *s = forge_find(f, BUNDLE_SUMS);
    bundle_hash(s->data, s->len, digest);
    bundle_hex(digest, hex);
    snprintf(quoted, sizeof quoted, "\"%s\"", hex);
    snprintf(num, sizeof num, "%zu", s->len);
    forge_manifest(f, "blake2b256", quoted);
    forge_manifest(f, "size", num);
}

static inline void forge_sign(struct forge *f, const struct sign_seckey *sk, const char *member)
{
    struct gs_buf b;
    struct forge_member *m = forge_find(f, BUNDLE_MANIFEST);
    gs_buf_init(&b, 4096);
    FORGE_OK(sign_create(sk, m->data, m->len, "test", &b, err));
    if (!forge_find(f, member))
        forge_add(f, SIZE_MAX, member, "", 0);
    forge_put(forge_find(f, member), b.data, b.len);
    gs_buf_release(&b);
}

/* Everything above the members made anew. */
static inline void forge_seal(struct forge *f, const struct sign_seckey *sk)
{
    forge_sums(f);
    forge_name_sums(f);
    forge_sign(f, sk, BUNDLE_MANIFEST ".minisig");
}

/* Writes the checksum of a ustar block anew, after its fields were changed. */
static inline void forge_checksum(unsigned char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
    h[155] = ' ';
}

static inline void forge_pack(const struct forge *f, struct gs_buf *out)
{
    static const char zero[TAR_END_LEN];
    gs_buf_init(out, (size_t)1 << 30);
    for (size_t i = 0; i < f->n; i++) {
        const struct forge_member *m = &f->m[i];
        size_t from = out->len;
        bool odd = !mp_utf8_ok(m->name, strlen(m->name)); /* libarchive would not write it: put in by hand */
        char *name = gs_asprintf("%s", m->name);
        for (char *c = name; odd && *c; c++)
            *c = (unsigned char)*c < 0x80 ? *c : '_';
        FORGE_OK(tar_make_header(name, m->claim == UINT64_MAX ? m->len : m->claim, out, err));
        free(name);
        unsigned char *h = (unsigned char *)out->data + from;
        if (odd) {
            memcpy(h, m->name, strlen(m->name));
            forge_checksum(h);
        }
        if (m->type) {
            h[156] = (unsigned char)m->type;
            if (m->type == '1' || m->type == '2')
                snprintf((char *)h + 157, 100, "target");
            forge_checksum(h);
        }
        FORGE_OK(gs_buf_add(out, m->data, m->len, err) ||
                 gs_buf_add(out, zero, (size_t)(tar_padded(m->len) - m->len), err));
    }
    FORGE_OK(gs_buf_add(out, zero, sizeof zero, err));
}

/* ---- a small bundle to start from ---- */

struct forge_base {
    enum record_encoding encoding;
    bool files, parts;
    unsigned threads;
};

/* Two groups, a few relations; the same bytes every time. */
static inline void forge_make(const struct forge_base *o, const struct sign_seckey *sk, const char *dir,
                              const char *path)
{
    static const char *const labels[] = {
        "{\"id\":1,\"title\":\"bug\",\"color\":\"#ff0000\",\"description\":null,\"group_id\":7,\"type\":"
        "\"GroupLabel\"}",
        "{\"id\":2,\"title\":\"feature\",\"color\":\"#00ff00\",\"description\":\"a \\\"new\\\" thing\",\"group_id\":7}",
        "{\"id\":18446744073709551615,\"title\":\"odd\",\"color\":\"#0000ff\",\"weight\":0.10,\"huge\":1e400,\"zero\":-"
        "0}"};
    static const char *const users[] = {"{\"id\":1,\"username\":\"root\",\"name\":null}",
                                        "{\"id\":1,\"username\":\"root\",\"name\":\"A\"}"};
    static const char milestone[] = "{\"iid\":1,\"title\":\"v1\",\"state\":\"active\"}";
    static const char *const ledger[] = {
        "{\"announced\":3,\"entry\":\"relation\",\"group\":7,\"left_out\":0,\"relation\":\"labels\",\"stored\":3}",
        "{\"announced\":1,\"entry\":\"relation\",\"group\":12,\"left_out\":0,\"relation\":\"milestones\",\"stored\":"
        "1}"};
    struct bundle_writer_opts wo = {.encoding = o->encoding, .threads = o->threads ? o->threads : 1};
    struct bundle_meta meta = {.set_id = "00112233445566778899aabbccddeeff",
                               .serial = 1,
                               .created_at_ms = 1735689600000,
                               .source_url = "https://gitlab.example.com",
                               .source_host = "gitlab.example.com",
                               .gitlab_version = "17.8.1-ee",
                               .enterprise = 1,
                               .token_user = "root",
                               .token_role = "owner",
                               .via = "api",
                               .started_at_ms = 1735689000000,
                               .finished_at_ms = 1735689500000,
                               .root_path = "top",
                               .root_id = 7,
                               .watermarks_json = "{\"7\":{\"labels\":\"3\"}}"};
    struct bundle_writer *w;
    struct bundle_part *p;
    if (o->parts)
        wo.part_raw_max = 100, wo.frame_raw_max = 64;
    FORGE_OK(bundle_writer_new(dir, &wo, &w, err));
    FORGE_OK(bundle_writer_group(w, 12, 7, "top/sub", err) || bundle_writer_group(w, 7, 0, "top", err));
    FORGE_OK(bundle_part_open(w, 7, "labels", &p, err));
    for (size_t i = 0; i < GS_COUNT(labels); i++)
        FORGE_OK(bundle_part_add(p, labels[i], strlen(labels[i]), err));
    FORGE_OK(bundle_part_close(p, err));
    FORGE_OK(bundle_part_open(w, 12, "milestones", &p, err));
    FORGE_OK(bundle_part_add(p, milestone, strlen(milestone), err));
    FORGE_OK(bundle_part_close(p, err));
    FORGE_OK(bundle_part_open(w, 12, "boards", &p, err) || bundle_part_close(p, err));
    if (o->files) {
        char name[140] = "";
        FORGE_OK(bundle_writer_file(w, 7, "avatar", "avatar.png", "\x89PNG\r\n\x1a\n", 8, err));
        FORGE_OK(
            bundle_writer_file(w, 7, "uploads/0123456789abcdef0123456789abcdef", "sch\xc3\xb6n.txt", "text", 4, err));
        memset(name, 'n', 130);
        FORGE_OK(bundle_writer_file(w, 12, "uploads/0123456789", name, "", 0, err));
    }
    for (size_t i = 0; i < GS_COUNT(users); i++)
        FORGE_OK(bundle_writer_user(w, users[i], strlen(users[i]), err));
    for (size_t i = 0; i < GS_COUNT(ledger); i++)
        FORGE_OK(bundle_writer_ledger(w, ledger[i], strlen(ledger[i]), err));
    FORGE_OK(bundle_writer_finish(w, &meta, &sk, 1, path, true, err));
    bundle_writer_free(w);
}

#endif
