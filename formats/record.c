#include "record.h"

#include "libcommon/json_scan.h"
#include "libcommon/mp.h"

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <string.h>

static size_t max_bytes(const struct record_limits *lim)
{
    return lim && lim->max_bytes ? lim->max_bytes : RECORD_MAX_BYTES;
}

static unsigned max_depth(const struct record_limits *lim)
{
    return lim && lim->max_depth ? lim->max_depth : RECORD_MAX_DEPTH;
}

const char *record_encoding_name(enum record_encoding e)
{
    return e == RECORD_MSGPACK ? "msgpack" : "ndjson";
}

const char *record_encoding_ext(enum record_encoding e)
{
    return record_encoding_name(e);
}

bool record_encoding_by_name(const char *name, enum record_encoding *out)
{
    for (int e = RECORD_NDJSON; e <= RECORD_MSGPACK; e++)
        if (strcmp(name, record_encoding_name((enum record_encoding)e)) == 0) {
            *out = (enum record_encoding)e;
            return true;
        }
    return false;
}

/* ---- JSON text ---- */

static int parse_object(const char *json, size_t len, const struct record_limits *lim, bool raw, yyjson_doc **out,
                        struct gs_err *err)
{
    struct gs_json_opts o = {.max_bytes = max_bytes(lim), .max_depth = max_depth(lim), .raw_numbers = raw};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(json, len, &o, &doc, err))
        return -1;
    if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
        return gs_fail(err, GS_E_RECORD, "a record is one JSON object");
    *out = gs_steal(&doc);
    return 0;
}

/* Is it one valid object? A quick look mostly says so; what it leaves open, the parser decides. */
static int check_ndjson(const char *json, size_t len, const struct record_limits *lim, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (len > 0 && len <= max_bytes(lim) && gs_json_scan(json, len, max_depth(lim), NULL, NULL) == len)
        return 0;
    return parse_object(json, len, lim, false, &doc, err);
}

static int check_one_line(const void *data, size_t len, struct gs_err *err)
{
    return memchr(data, '\n', len) ? gs_fail(err, GS_E_RECORD, "a record of ndjson must stand on one line") : 0;
}

/* ---- JSON to msgpack ---- */

struct sink {
    struct gs_buf *out;
    struct gs_err *err;
};

static int sink_write(void *cookie, const char *data, size_t len)
{
    struct sink *s = cookie;
    return gs_buf_add(s->out, data, len, s->err);
}

static int pack_number(msgpack_packer *pk, const char *s, size_t len, struct gs_err *err)
{
    bool neg;
    uint64_t u;
    int64_t i;
    if (mp_number_int(s, len, &neg, &u, &i))
        return neg ? msgpack_pack_int64(pk, i) : msgpack_pack_uint64(pk, u);
    if (len > UINT16_MAX)
        return gs_fail(err, GS_E_LIMIT, "a number of %zu digits, limit 65535", len);
    return msgpack_pack_ext(pk, len, MP_EXT_NUMBER) || msgpack_pack_ext_body(pk, s, len);
}

static int pack_text(msgpack_packer *pk, yyjson_val *v, struct gs_err *err)
{
    size_t n = unsafe_yyjson_get_len(v);
    if (n > UINT32_MAX)
        return gs_fail(err, GS_E_LIMIT, "a text of %zu bytes", n);
    return msgpack_pack_str(pk, n) || msgpack_pack_str_body(pk, unsafe_yyjson_get_str(v), n);
}

static int pack_value(msgpack_packer *pk, yyjson_val *v, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *k, *e;
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_NULL:
        return msgpack_pack_nil(pk);
    case YYJSON_TYPE_BOOL:
        return yyjson_get_bool(v) ? msgpack_pack_true(pk) : msgpack_pack_false(pk);
    case YYJSON_TYPE_RAW:
        return pack_number(pk, yyjson_get_raw(v), unsafe_yyjson_get_len(v), err);
    case YYJSON_TYPE_STR:
        return pack_text(pk, v, err);
    case YYJSON_TYPE_ARR:
        if (yyjson_arr_size(v) > UINT32_MAX)
            return gs_fail(err, GS_E_LIMIT, "an array of %zu elements", yyjson_arr_size(v));
        if (msgpack_pack_array(pk, yyjson_arr_size(v)))
            return -1;
        yyjson_arr_foreach(v, i, max, e) if (pack_value(pk, e, err)) return -1;
        return 0;
    case YYJSON_TYPE_OBJ:
        if (yyjson_obj_size(v) > UINT32_MAX)
            return gs_fail(err, GS_E_LIMIT, "an object of %zu keys", yyjson_obj_size(v));
        if (msgpack_pack_map(pk, yyjson_obj_size(v)))
            return -1;
        yyjson_obj_foreach(v, i, max, k, e) if (pack_text(pk, k, err) || pack_value(pk, e, err)) return -1;
        return 0;
    default:
        return gs_fail(err, GS_E_INTERNAL, "a JSON value without a type");
    }
}

static int encode_msgpack(const char *json, size_t len, const struct record_limits *lim, struct gs_buf *out,
                          struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (parse_object(json, len, lim, true, &doc, err))
        return -1;
    struct sink s = {out, err};
    msgpack_packer pk;
    msgpack_packer_init(&pk, &s, sink_write);
    size_t from = out->len;
    if (pack_value(&pk, yyjson_doc_get_root(doc), err)) {
        out->len = from;
        return -1;
    }
    if (out->len - from > max_bytes(lim)) {
        gs_fail(err, GS_E_LIMIT, "a record of %zu bytes, limit %zu", out->len - from, max_bytes(lim));
        out->len = from;
        return -1;
    }
    return 0;
}

int record_encode(enum record_encoding e, const char *json, size_t len, const struct record_limits *lim,
                  struct gs_buf *out, struct gs_err *err)
{
    if (e == RECORD_MSGPACK)
        return encode_msgpack(json, len, lim, out, err);
    if (check_ndjson(json, len, lim, err) || check_one_line(json, len, err))
        return -1;
    if (gs_buf_reserve(out, len + 1, err))
        return -1;
    GS_IGNORE(gs_buf_add(out, json, len, err) || gs_buf_addc(out, '\n', err), "there is room");
    return 0;
}

/* ---- reading ---- */

int record_next(enum record_encoding e, const void *data, size_t len, bool at_end, const struct record_limits *lim,
                size_t *out_len, struct gs_err *err)
{
    size_t max = max_bytes(lim);
    *out_len = 0;
    if (e == RECORD_MSGPACK) {
        if (len == 0)
            return at_end ? gs_fail(err, GS_E_RECORD, "no record where one should begin") : 0;
        unsigned char c = *(const unsigned char *)data;
        if ((c & 0xf0) != 0x80 && c != 0xde && c != 0xdf)
            return gs_fail(err, GS_E_RECORD, "a record is one msgpack map, not 0x%02x", c);
        return mp_check(data, len, at_end, max, max_depth(lim), out_len, err);
    }
    const char *nl = memchr(data, '\n', len < max + 1 ? len : max + 1);
    if (nl) {
        *out_len = (size_t)(nl - (const char *)data) + 1;
        return 0;
    }
    if (len > max)
        return gs_fail(err, GS_E_LIMIT, "a record longer than %zu bytes", max);
    return at_end ? gs_fail(err, GS_E_RECORD, "the last record does not end with a line feed") : 0;
}

/* Without the line feed. */
static size_t body_len(const void *data, size_t len)
{
    return len > 0 && ((const char *)data)[len - 1] == '\n' ? len - 1 : len;
}

/* Exactly one record: nothing behind it. */
static int check_msgpack(const void *data, size_t len, const struct record_limits *lim, struct gs_err *err)
{
    size_t n;
    if (record_next(RECORD_MSGPACK, data, len, true, lim, &n, err))
        return -1;
    return n == len ? 0 : gs_fail(err, GS_E_RECORD, "%zu bytes behind the record", len - n);
}

int record_check(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim,
                 struct gs_err *err)
{
    if (e == RECORD_MSGPACK)
        return check_msgpack(data, len, lim, err);
    size_t n = body_len(data, len);
    return check_one_line(data, n, err) || check_ndjson(data, n, lim, err) ? -1 : 0;
}

size_t record_quick(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim)
{
    if (e != RECORD_NDJSON)
        return 0;
    size_t n = gs_json_scan(data, len, max_depth(lim), NULL, NULL);
    return n > 0 && n <= max_bytes(lim) && n < len && ((const char *)data)[n] == '\n' ? n + 1 : 0;
}

static int json_value(const unsigned char *data, size_t *pos, struct gs_buf *out, struct gs_err *err)
{
    struct mp_value v;
    mp_next(data, pos, &v);
    char sep;
    switch (v.type) {
    case MP_NIL:
        return gs_buf_addstr(out, "null", err);
    case MP_BOOL:
        return gs_buf_addstr(out, v.u ? "true" : "false", err);
    case MP_UINT:
        return gs_buf_addf(out, err, "%" PRIu64, v.u);
    case MP_INT:
        return gs_buf_addf(out, err, "%" PRId64, v.i);
    case MP_STR:
        return gs_json_quote(v.text, v.len, out, err);
    case MP_NUMBER:
        return gs_buf_add(out, v.text, v.len, err);
    case MP_ARRAY:
        sep = '[';
        for (uint64_t i = 0; i < v.u; i++, sep = ',')
            if (gs_buf_addc(out, sep, err) || json_value(data, pos, out, err))
                return -1;
        return gs_buf_addstr(out, v.u ? "]" : "[]", err);
    case MP_MAP:
        sep = '{';
        for (uint64_t i = 0; i < v.u; i++, sep = ',')
            if (gs_buf_addc(out, sep, err) || json_value(data, pos, out, err) || gs_buf_addc(out, ':', err) ||
                json_value(data, pos, out, err))
                return -1;
        return gs_buf_addstr(out, v.u ? "}" : "{}", err);
    }
    return gs_fail(err, GS_E_INTERNAL, "a msgpack value without a type");
}

int record_to_json(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim,
                   struct gs_buf *out, struct gs_err *err)
{
    if (e == RECORD_NDJSON) {
        size_t n = body_len(data, len);
        return check_one_line(data, n, err) || gs_buf_add(out, data, n, err) ? -1 : 0;
    }
    if (check_msgpack(data, len, lim, err))
        return -1;
    size_t pos = 0, from = out->len;
    if (json_value(data, &pos, out, err)) {
        out->len = from;
        return -1;
    }
    return 0;
}

int record_parse(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim,
                 yyjson_doc **out, struct gs_err *err)
{
    if (e == RECORD_NDJSON) {
        size_t n = body_len(data, len);
        return check_one_line(data, n, err) || parse_object(data, n, lim, false, out, err) ? -1 : 0;
    }
    /* the text is longer than the msgpack: escapes take up to six bytes for one */
    gs_autobuf json;
    gs_buf_init(&json, max_bytes(lim) > SIZE_MAX / 8 ? SIZE_MAX / 2 : max_bytes(lim) * 6 + 64);
    if (record_to_json(e, data, len, lim, &json, err))
        return -1;
    struct gs_json_opts o = {.max_bytes = json.len + 1, .max_depth = max_depth(lim)};
    return gs_json_parse(gs_buf_str(&json), json.len, &o, out, err);
}
