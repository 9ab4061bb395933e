/* The manifest: what is parsed first once the signature over its bytes holds. */
#include "bundle_priv.h"

#include <stdio.h>
#include <string.h>

static int bad(struct gs_err *err, const char *key, const char *what)
{
    return gs_fail(err, GS_E_MANIFEST, "manifest: '%s' is %s", key, what);
}

/* "groupsnap/1". */
static int check_schema(yyjson_val *root, struct gs_err *err)
{
    const char *s = gs_json_str(root, "schema");
    if (!s || strncmp(s, "groupsnap/", 10) != 0 || !s[10] || strspn(s + 10, "0123456789") != strlen(s + 10) ||
        s[10] == '0')
        return bad(err, "schema", "no schema of groupsnap");
    if (strcmp(s, BUNDLE_SCHEMA) != 0)
        return gs_fail(err, GS_E_SCHEMA_NEWER, "the bundle has schema '%.40s', this program reads '" BUNDLE_SCHEMA "'",
                       s);
    return 0;
}

/* Names that a reader must know, or may ignore. There are none yet. */
static int check_features(yyjson_val *root, struct gs_err *err)
{
    static const char *const lists[] = {"requires", "optional"};
    for (size_t l = 0; l < GS_COUNT(lists); l++) {
        yyjson_val *list = yyjson_obj_get(root, lists[l]), *f;
        size_t i, max;
        if (!yyjson_is_arr(list))
            return bad(err, lists[l], "missing or no list");
        yyjson_arr_foreach(list, i, max, f)
        {
            if (!yyjson_is_str(f))
                return bad(err, lists[l], "no list of names");
            if (l == 0)
                return gs_fail(err, GS_E_FEATURE, "the bundle requires '%.80s', which this program does not know",
                               yyjson_get_str(f));
        }
    }
    return 0;
}

static int need_u64(yyjson_val *obj, const char *key, uint64_t *out, struct gs_err *err)
{
    int64_t v;
    if (!gs_json_i64(obj, key, &v) || v < 0)
        return bad(err, key, "missing or no count");
    *out = (uint64_t)v;
    return 0;
}

/* Fields that are only shown must be of the right type too: text or null. */
static int check_texts(yyjson_val *root, const char *object, const char *const *keys, struct gs_err *err)
{
    yyjson_val *o = yyjson_obj_get(root, object);
    if (!yyjson_is_obj(o))
        return bad(err, object, "missing or no object");
    for (; *keys; keys++) {
        yyjson_val *v = yyjson_obj_get(o, *keys);
        if (v && !yyjson_is_null(v) && !yyjson_is_str(v))
            return bad(err, *keys, "no text");
    }
    return 0;
}

static int check_shown(yyjson_val *root, struct gs_err *err)
{
    static const char *const tool[] = {"name", "version", NULL}, *const root_keys[] = {"path", NULL};
    static const char *const source[] = {"url", "host", "tls_sha256", "version", "revision", "user", "role", NULL};
    static const char *const capture[] = {"via", "started_at", "finished_at", NULL};
    int64_t id;
    if (check_texts(root, "tool", tool, err) || check_texts(root, "source", source, err) ||
        check_texts(root, "capture", capture, err) || check_texts(root, "root", root_keys, err))
        return -1;
    yyjson_val *r = yyjson_obj_get(root, "root"), *w = yyjson_obj_get(yyjson_obj_get(root, "capture"), "watermarks");
    yyjson_val *clock = yyjson_obj_get(yyjson_obj_get(root, "source"), "clock_offset_s");
    int64_t offset;
    if (clock && !yyjson_is_null(clock) && !gs_json_val_i64(clock, &offset))
        return bad(err, "clock_offset_s", "no whole number");
    yyjson_val *red = yyjson_obj_get(root, "redaction");
    static const char *const redaction[] = {"of", "of_set_id", "policy", NULL};
    if (red && !yyjson_is_null(red) && check_texts(root, "redaction", redaction, err))
        return -1;
    yyjson_val *ee = yyjson_obj_get(yyjson_obj_get(root, "source"), "enterprise");
    if (!gs_json_str(r, "path") || !gs_json_i64(r, "id", &id) || id <= 0)
        return bad(err, "root", "without path or id");
    if (w && !yyjson_is_obj(w) && !yyjson_is_null(w))
        return bad(err, "watermarks", "no object");
    if (ee && !yyjson_is_bool(ee) && !yyjson_is_null(ee))
        return bad(err, "enterprise", "neither true nor false");
    if (!gs_json_str(root, "created_at"))
        return bad(err, "created_at", "missing or no text");
    return 0;
}

static int check_counts(yyjson_val *counts, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *k, *v;
    int64_t n;
    if (!yyjson_is_obj(counts))
        return bad(err, "counts", "missing or no object");
    yyjson_obj_foreach(counts, i, max, k, v) if (!gs_json_val_i64(v, &n) || n < 0) return bad(err, "counts",
                                                                                              "not made of counts");
    return 0;
}

int manifest_parse(const char *text, size_t len, yyjson_doc **out_doc, struct manifest *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = len ? len : 1, .max_depth = 32};
    uint64_t serial;
    uint8_t id[16];
    memset(out, 0, sizeof *out);
    if (gs_json_parse(text, len, &o, &doc, err)) {
        if (err->code != GS_E_NOMEM)
            err->code = GS_E_MANIFEST;
        return gs_wrap(err, "manifest");
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(root))
        return gs_fail(err, GS_E_MANIFEST, "the manifest is no JSON object");
    if (check_schema(root, err) || check_features(root, err) || check_shown(root, err) ||
        need_u64(root, "serial", &serial, err) || need_u64(root, "groups", &out->groups, err))
        return -1;
    yyjson_val *set = yyjson_obj_get(root, "set_id");
    out->set_id = yyjson_get_str(set);
    if (!out->set_id || !bundle_unhex(out->set_id, yyjson_get_len(set), id, sizeof id))
        return bad(err, "set_id", "not 32 hex digits");
    const char *e = gs_json_str(root, "encoding");
    if (!e || !record_encoding_by_name(e, &out->encoding))
        return bad(err, "encoding", "unknown");
    out->counts = yyjson_obj_get(root, "counts");
    yyjson_val *sums = yyjson_obj_get(root, "sums"), *hex = yyjson_obj_get(sums, "blake2b256");
    if (check_counts(out->counts, err) || need_u64(sums, "size", &out->sums_size, err) ||
        need_u64(yyjson_obj_get(root, "index"), "raw", &out->index_raw, err))
        return -1;
    if (!yyjson_is_str(hex) ||
        !bundle_unhex(yyjson_get_str(hex), yyjson_get_len(hex), out->sums_digest, BUNDLE_DIGEST_LEN))
        return bad(err, "blake2b256", "no digest");
    *out_doc = gs_steal(&doc);
    return 0;
}
