#include "volume_priv.h"

#include <stdio.h>
#include <string.h>

/* ---- names ---- */

void volume_part_name(unsigned number, enum volume_part part, char out[VOLUME_NAME_MAX])
{
    static const char *const parts[] = {"label.json", "label.json.minisig", "SUMS"};
    snprintf(out, VOLUME_NAME_MAX, "volumes/%03u/%s", number, parts[part]);
}

void volume_slice_name(uint64_t at, char out[VOLUME_NAME_MAX])
{
    snprintf(out, VOLUME_NAME_MAX, "volumes/slice.%016llu", (unsigned long long)at);
}

void volume_parity_name(unsigned number, uint64_t index, char out[VOLUME_NAME_MAX])
{
    snprintf(out, VOLUME_NAME_MAX, "volumes/%03u/parity.%04llu", number, (unsigned long long)index);
}

/* The number in "volumes/003/label.json"; 0: it is another name. */
static unsigned label_number(const char *name)
{
    char again[VOLUME_NAME_MAX];
    unsigned n = 0;
    if (strncmp(name, "volumes/", 8) != 0)
        return 0;
    for (int i = 8; i < 11; i++) {
        if (name[i] < '0' || name[i] > '9')
            return 0;
        n = n * 10 + (unsigned)(name[i] - '0');
    }
    volume_part_name(n, VOLUME_LABEL, again);
    return n <= VOLUME_MAX && strcmp(again, name) == 0 ? n : 0;
}

bool volume_is(const struct gs_source *src)
{
    char head[TAR_BLOCK];
    struct gs_err err = {0};
    if (src->size < sizeof head || gs_source_read(src, 0, head, sizeof head, &err))
        return false;
    head[99] = 0;
    return label_number(head) > 0;
}

uint64_t volume_shard(const struct volume_label *parity)
{
    uint64_t most = 0;
    for (unsigned i = 0; i < parity->data; i++)
        if (parity->cores[i] > most)
            most = parity->cores[i];
    return most;
}

/* ---- members ---- */

int volume_member_put(const char *name, const void *data, size_t len, struct gs_buf *out, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    return tar_make_header(name, len, out, err) || gs_buf_add(out, data, len, err) ||
                   gs_buf_add(out, zero, (size_t)(tar_padded(len) - len), err)
               ? -1
               : 0;
}

/* The size in a header block. */
static bool header_size(const unsigned char *h, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 124; i < 135; i++) {
        if (h[i] < '0' || h[i] > '7')
            return false;
        v = v * 8 + (unsigned)(h[i] - '0');
    }
    *out = v;
    return true;
}

int volume_member_at(const struct gs_source *src, uint64_t at, const char *name, uint64_t *out_size, struct gs_err *err)
{
    unsigned char h[TAR_BLOCK];
    gs_autobuf want;
    gs_buf_init(&want, 8 * TAR_BLOCK);
    if (at > src->size || src->size - at < TAR_BLOCK)
        return gs_fail(err, GS_E_TRUNCATED, "the volume ends where '%s' should be", name);
    if (gs_source_read(src, at, h, sizeof h, err))
        return -1;
    if (!header_size(h, out_size) || tar_make_header(name, *out_size, &want, err) || want.len != sizeof h ||
        memcmp(want.data, h, sizeof h) != 0) {
        gs_err_clear(err);
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "there is no '%s' at byte %llu", name, (unsigned long long)at);
    }
    if (tar_padded(*out_size) > src->size - at - TAR_BLOCK)
        return gs_fail(err, GS_E_TRUNCATED, "the volume ends inside '%s'", name);
    return 0;
}

/* ---- writing a label ---- */

static void put_u64(struct gs_jw *w, const char *key, uint64_t v)
{
    gs_jw_key(w, key);
    gs_jw_u64(w, v);
}

static void put_digest(struct gs_jw *w, const uint8_t digest[BUNDLE_DIGEST_LEN])
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    bundle_hex(digest, hex);
    gs_jw_str(w, hex);
}

static void put_text(struct gs_jw *w, const char *key, const char *s)
{
    gs_jw_kstr(w, key, *s ? s : NULL);
}

static void put_body(const struct volume_label *l, struct gs_jw *w)
{
    if (volume_is_parity(l)) {
        gs_jw_key(w, "cores");
        gs_jw_arr(w);
        for (unsigned i = 0; i < l->data; i++)
            gs_jw_u64(w, l->cores[i]);
        gs_jw_end(w);
        return;
    }
    gs_jw_key(w, "contents");
    gs_jw_obj(w);
    put_text(w, "first", l->first);
    put_text(w, "last", l->last);
    put_u64(w, "members", l->members);
    gs_jw_key(w, "pieces");
    gs_jw_arr(w);
    for (size_t i = 0; i < l->n_pieces; i++) {
        gs_jw_arr(w);
        gs_jw_u64(w, l->pieces[i].at);
        gs_jw_u64(w, l->pieces[i].bytes);
        gs_jw_str(w, l->pieces[i].slice ? "slice" : "members");
        gs_jw_end(w);
    }
    gs_jw_end(w);
    gs_jw_end(w);
}

int volume_label_write(const struct volume_label *l, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w); /* the keys in the order of their bytes */
    put_body(l, &w);
    put_u64(&w, "data", l->data);
    gs_jw_key(&w, "file");
    gs_jw_obj(&w);
    put_text(&w, "created_at", l->created_at);
    put_text(&w, "digest", l->digest);
    gs_jw_kstr(&w, "kind", l->is_bundle ? "bundle" : "other");
    put_text(&w, "root", l->root);
    put_u64(&w, "size", l->size);
    gs_jw_end(&w);
    put_u64(&w, "limit", l->limit);
    put_u64(&w, "parity", l->parity);
    gs_jw_kstr(&w, "schema", VOLUME_SCHEMA);
    gs_jw_kstr(&w, "set", l->set);
    gs_jw_key(&w, "sums");
    gs_jw_obj(&w);
    gs_jw_key(&w, "blake2b256");
    put_digest(&w, l->sums_digest);
    put_u64(&w, "size", l->sums_bytes);
    gs_jw_end(&w);
    put_u64(&w, "volume", l->number);
    gs_jw_end(&w);
    return gs_jw_finish(&w) || gs_buf_addc(out, '\n', err) ? -1 : 0;
}

int volume_head_write(const struct volume_label *l, const struct gs_buf *sums, const struct sign_seckey *key,
                      struct gs_buf *out, struct gs_err *err)
{
    char name[VOLUME_NAME_MAX], comment[160];
    gs_autobuf label, sig;
    gs_buf_init(&label, VOLUME_LABEL_MAX);
    gs_buf_init(&sig, VOLUME_SIGNATURE_MAX);
    /* no time in it: the same volume is signed alike at any time */
    snprintf(comment, sizeof comment, "file:label.json\tset:%s\tvolume:%u of %u\tschema:" VOLUME_SCHEMA, l->set,
             l->number, l->data + l->parity);
    if (volume_label_write(l, &label, err) || sign_create(key, label.data, label.len, comment, &sig, err))
        return -1;
    volume_part_name(l->number, VOLUME_LABEL, name);
    if (volume_member_put(name, label.data, label.len, out, err))
        return -1;
    volume_part_name(l->number, VOLUME_SIGNATURE, name);
    if (volume_member_put(name, sig.data, sig.len, out, err))
        return -1;
    volume_part_name(l->number, VOLUME_SUMS, name);
    return volume_member_put(name, gs_buf_str(sums), sums->len, out, err);
}

/* ---- reading a label ---- */

static int bad(struct gs_err *err, const char *what)
{
    return gs_fail(err, GS_E_VOLUME_LABEL, "the label of the volume: %s", what);
}

static bool get_u64(yyjson_val *o, const char *key, uint64_t most, uint64_t *out)
{
    int64_t v;
    if (!gs_json_i64(o, key, &v) || v < 0 || (uint64_t)v > most)
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool get_digest(yyjson_val *v, uint8_t out[BUNDLE_DIGEST_LEN])
{
    return yyjson_is_str(v) && bundle_unhex(yyjson_get_str(v), yyjson_get_len(v), out, BUNDLE_DIGEST_LEN);
}

/* A text that fits, or null. */
static bool get_text(yyjson_val *o, const char *key, char *out, size_t cap)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    out[0] = 0;
    if (!v || yyjson_is_null(v))
        return true;
    if (!yyjson_is_str(v) || yyjson_get_len(v) >= cap || strlen(yyjson_get_str(v)) != yyjson_get_len(v))
        return false;
    memcpy(out, yyjson_get_str(v), yyjson_get_len(v) + 1);
    return true;
}

static bool get_pieces(yyjson_val *list, struct volume_label *l)
{
    size_t i, max;
    yyjson_val *v;
    uint64_t next = 0;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0 || yyjson_arr_size(list) > VOLUME_PIECES_MAX)
        return false;
    yyjson_arr_foreach(list, i, max, v)
    {
        int64_t at, bytes;
        const char *kind = yyjson_get_str(yyjson_arr_get(v, 2));
        if (yyjson_arr_size(v) != 3 || !gs_json_val_i64(yyjson_arr_get(v, 0), &at) ||
            !gs_json_val_i64(yyjson_arr_get(v, 1), &bytes) || !kind || at < 0 || bytes <= 0)
            return false;
        bool slice = strcmp(kind, "slice") == 0;
        if ((!slice && strcmp(kind, "members") != 0) || (slice && (uint64_t)bytes > VOLUME_SLICE_MAX) ||
            (uint64_t)at > l->size || (uint64_t)bytes > l->size - (uint64_t)at || (i && (uint64_t)at != next))
            return false;
        l->pieces[l->n_pieces++] = (struct volume_piece){(uint64_t)at, (uint64_t)bytes, slice};
        next = (uint64_t)at + (uint64_t)bytes;
    }
    return true;
}

static bool get_cores(yyjson_val *list, struct volume_label *l)
{
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) != l->data)
        return false;
    yyjson_arr_foreach(list, i, max, v)
    {
        int64_t bytes;
        if (!gs_json_val_i64(v, &bytes) || bytes <= 0 || bytes > (int64_t)1 << 50)
            return false;
        l->cores[i] = (uint64_t)bytes;
    }
    return true;
}

static int get_contents(yyjson_val *root, struct volume_label *l, struct gs_err *err)
{
    if (volume_is_parity(l))
        return get_cores(yyjson_obj_get(root, "cores"), l) ? 0 : bad(err, "'cores' is not what it should be");
    yyjson_val *c = yyjson_obj_get(root, "contents");
    if (!get_text(c, "first", l->first, sizeof l->first) || !get_text(c, "last", l->last, sizeof l->last) ||
        !get_u64(c, "members", UINT32_MAX, &l->members) || !get_pieces(yyjson_obj_get(c, "pieces"), l))
        return bad(err, "'contents' is not what it should be");
    return 0;
}

static int get_all(yyjson_val *root, struct volume_label *l, struct gs_err *err)
{
    uint64_t number, data, parity;
    uint8_t id[16];
    yyjson_val *file = yyjson_obj_get(root, "file"), *sums = yyjson_obj_get(root, "sums"),
               *set = yyjson_obj_get(root, "set");
    const char *schema = gs_json_str(root, "schema"), *kind = gs_json_str(file, "kind");
    if (!schema || strncmp(schema, "groupsnap-volume/", 17) != 0)
        return bad(err, "no schema");
    if (strcmp(schema, VOLUME_SCHEMA) != 0)
        return gs_fail(err, GS_E_SCHEMA_NEWER, "the volume has schema '%.40s', this program reads '" VOLUME_SCHEMA "'",
                       schema);
    if (!yyjson_is_str(set) || !bundle_unhex(yyjson_get_str(set), yyjson_get_len(set), id, sizeof id))
        return bad(err, "'set' is not 32 hex digits");
    memcpy(l->set, yyjson_get_str(set), VOLUME_SET_HEX);
    if (!get_u64(root, "volume", VOLUME_MAX, &number) || !get_u64(root, "data", VOLUME_MAX, &data) ||
        !get_u64(root, "parity", VOLUME_MAX, &parity) || number == 0 || data == 0 || data + parity > VOLUME_MAX ||
        number > data + parity)
        return bad(err, "numbers that cannot be");
    l->number = (unsigned)number, l->data = (unsigned)data, l->parity = (unsigned)parity;
    if (!get_u64(root, "limit", INT64_MAX, &l->limit) || !get_u64(file, "size", (uint64_t)1 << 50, &l->size) || !kind ||
        (strcmp(kind, "bundle") != 0 && strcmp(kind, "other") != 0) ||
        !get_text(file, "root", l->root, sizeof l->root) ||
        !get_text(file, "created_at", l->created_at, sizeof l->created_at) ||
        !get_text(file, "digest", l->digest, sizeof l->digest))
        return bad(err, "'file' is not what it should be");
    l->is_bundle = kind[0] == 'b';
    if (!get_u64(sums, "size", VOLUME_SUMS_MAX, &l->sums_bytes) ||
        !get_digest(yyjson_obj_get(sums, "blake2b256"), l->sums_digest))
        return bad(err, "'sums' is not what it should be");
    return get_contents(root, l, err);
}

int volume_label_parse(const char *text, size_t len, struct volume_label *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = VOLUME_LABEL_MAX, .max_depth = 8};
    struct gs_err why = {0};
    gs_autobuf again;
    memset(out, 0, sizeof *out);
    gs_buf_init(&again, VOLUME_LABEL_MAX);
    if (gs_json_parse(text, len, &o, &doc, &why))
        return bad(err, why.text);
    if (get_all(yyjson_doc_get_root(doc), out, err) || volume_label_write(out, &again, err))
        return -1;
    /* one form only, so that the volume can be made anew byte for byte */
    return again.len == len && memcmp(again.data, text, len) == 0 ? 0 : bad(err, "it is not as this program writes it");
}

/* A small member, whole. */
static int read_part(const struct gs_source *src, uint64_t at, unsigned number, enum volume_part part, size_t max,
                     struct gs_buf *out, uint64_t *out_next, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    char name[VOLUME_NAME_MAX], pad[TAR_BLOCK];
    uint64_t size;
    volume_part_name(number, part, name);
    gs_buf_init(out, max + 1);
    if (volume_member_at(src, at, name, &size, err))
        return -1;
    if (size > max)
        return gs_fail(err, GS_E_VOLUME_LABEL, "'%s' has %llu bytes, limit %zu", name, (unsigned long long)size, max);
    size_t n_pad = (size_t)(tar_padded(size) - size);
    if (gs_buf_reserve(out, (size_t)size + 1, err) ||
        gs_source_read(src, at + TAR_BLOCK, out->data, (size_t)size, err) ||
        gs_source_read(src, at + TAR_BLOCK + size, pad, n_pad, err))
        return -1;
    out->len = (size_t)size;
    out->data[out->len] = 0;
    if (memcmp(pad, zero, n_pad) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "bytes that are not zero behind '%s'", name);
    *out_next = at + TAR_BLOCK + tar_padded(size);
    return 0;
}

int volume_head_read(const struct gs_source *src, uint64_t at, const struct sign_trust *trust, struct volume_head *out,
                     struct gs_err *out_why, struct gs_err *err)
{
    char first[TAR_BLOCK];
    uint8_t digest[BUNDLE_DIGEST_LEN];
    uint64_t next, sums_at;
    gs_autobuf label, sig, sums;
    gs_buf_init(&label, 0);
    gs_buf_init(&sig, 0);
    gs_buf_init(&sums, 0);
    memset(out, 0, sizeof *out);
    if (at > src->size || src->size - at < sizeof first)
        return gs_fail(err, GS_E_TRUNCATED, "the volume ends where its label should be");
    if (gs_source_read(src, at, first, sizeof first, err))
        return -1;
    first[99] = 0;
    unsigned number = label_number(first);
    if (!number)
        return gs_fail(err, GS_E_NOT_A_BUNDLE, "there is no label of a volume at byte %llu", (unsigned long long)at);
    if (read_part(src, at, number, VOLUME_LABEL, VOLUME_LABEL_MAX, &label, &next, err) ||
        read_part(src, next, number, VOLUME_SIGNATURE, VOLUME_SIGNATURE_MAX, &sig, &next, err) ||
        sign_canonical(gs_buf_str(&sig), sig.len, err))
        return -1;
    if (trust && sign_verify(gs_buf_str(&sig), sig.len, label.data, label.len, trust, &out->signer, out_why))
        out->signature = out_why->code;
    out->label.number = number;
    if (out->signature != GS_OK) /* then nothing of it is looked at */
        return 0;
    if (volume_label_parse(gs_buf_str(&label), label.len, &out->label, err))
        return -1;
    if (out->label.number != number)
        return bad(err, "it is that of another volume");
    sums_at = next + TAR_BLOCK;
    if (read_part(src, next, number, VOLUME_SUMS, VOLUME_SUMS_MAX, &sums, &next, err))
        return -1;
    bundle_hash(sums.data, sums.len, digest);
    if (sums.len != out->label.sums_bytes || memcmp(digest, out->label.sums_digest, sizeof digest) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "the list of digests is not what the label says");
    out->bytes = next - at;
    out->sums_at = sums_at;
    return 0;
}
