/*
 * json: strict reading over yyjson, canonical writing, and a small stream writer for output.
 *
 * gs_json_parse() refuses what GitLab never writes and what two readers could understand differently: bytes behind the
 * value, invalid UTF-8, one key twice in an object, deep nesting. The tree belongs to the yyjson_doc, freed with
 * yyjson_doc_free() (or GS_AUTO(yyjson_doc)). Strings may hold NUL (\u0000): use unsafe_yyjson_get_len() where it matters.
 */
#ifndef GS_JSON_H
#define GS_JSON_H

#include "buf.h"
#include "cleanup.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

static inline void gs_auto_yyjson_doc(yyjson_doc **p)
{
    yyjson_doc_free(*p);
}
static inline void gs_auto_yyjson_mut_doc(yyjson_mut_doc **p)
{
    yyjson_mut_doc_free(*p);
}
typedef yyjson_doc *gs_auto_ptr_yyjson_doc;
typedef yyjson_mut_doc *gs_auto_ptr_yyjson_mut_doc;

#define GS_JSON_MAX_DEPTH 64

struct gs_json_opts {
    size_t max_bytes;   /* 0: 64 MiB */
    unsigned max_depth; /* 0: GS_JSON_MAX_DEPTH */
    bool raw_numbers;   /* keep the text of every number (yyjson type RAW) instead of a value */
};

/* GS_E_JSON, GS_E_JSON_UTF8, GS_E_JSON_KEY_TWICE, GS_E_JSON_DEPTH, GS_E_LIMIT, GS_E_NOMEM. `o` may be NULL. */
int gs_json_parse(const char *data, size_t len, const struct gs_json_opts *o, yyjson_doc **out,
                  struct gs_err *err) GS_MUST_USE;

/* Appends `v`: keys sorted by bytes, no blanks, shortest escapes, non-ASCII as it is. No line end. */
int gs_json_canonical(yyjson_val *v, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* Appends `v` with the keys in their order, otherwise like gs_json_canonical(). Numbers read raw keep their text. */
int gs_json_write(yyjson_val *v, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* Appends one quoted and escaped string. */
int gs_json_quote(const char *s, size_t len, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* Same JSON value: order of keys does not matter, numbers by value (text when raw), strings by bytes. */
bool gs_json_equal(yyjson_val *a, yyjson_val *b);

/* Lenient access: NULL / false when `obj` is NULL, no object, or the key is absent or of another type. */
const char *gs_json_str(yyjson_val *obj, const char *key);
bool gs_json_i64(yyjson_val *obj, const char *key, int64_t *out);
bool gs_json_true(yyjson_val *obj, const char *key);
/* An integer out of a value, also when it was read raw. */
bool gs_json_val_i64(yyjson_val *v, int64_t *out);
/* Demanding access: GS_E_RECORD naming the key. */
int gs_json_need_str(yyjson_val *obj, const char *key, const char **out, struct gs_err *err) GS_MUST_USE;
int gs_json_need_i64(yyjson_val *obj, const char *key, int64_t *out, struct gs_err *err) GS_MUST_USE;

/*
 * Stream writer. Calls follow the structure (obj/key/value/end); the first error sticks and is returned by
 * gs_jw_finish(). Compact by default; `indent` > 0 pretty-prints.
 */
struct gs_jw {
    struct gs_buf *out;
    struct gs_err *err;
    int indent;
    int failed;
    unsigned depth;
    unsigned char first[GS_JSON_MAX_DEPTH]; /* 1: nothing written yet at this depth */
    unsigned char array[GS_JSON_MAX_DEPTH];
    unsigned char after_key;
};

void gs_jw_init(struct gs_jw *w, struct gs_buf *out, int indent, struct gs_err *err);
void gs_jw_obj(struct gs_jw *w);
void gs_jw_arr(struct gs_jw *w);
void gs_jw_end(struct gs_jw *w);
void gs_jw_key(struct gs_jw *w, const char *key);
void gs_jw_str(struct gs_jw *w, const char *s); /* NULL writes null */
void gs_jw_strn(struct gs_jw *w, const char *s, size_t n);
void gs_jw_i64(struct gs_jw *w, int64_t v);
void gs_jw_u64(struct gs_jw *w, uint64_t v);
void gs_jw_dbl(struct gs_jw *w, double v); /* two decimals */
void gs_jw_bool(struct gs_jw *w, bool v);
void gs_jw_null(struct gs_jw *w);
void gs_jw_raw(struct gs_jw *w, const char *json, size_t n); /* a complete JSON value */
void gs_jw_val(struct gs_jw *w, yyjson_val *v);
/* key and value in one */
void gs_jw_kstr(struct gs_jw *w, const char *key, const char *s);
void gs_jw_ki64(struct gs_jw *w, const char *key, int64_t v);
void gs_jw_kbool(struct gs_jw *w, const char *key, bool v);
int gs_jw_finish(struct gs_jw *w) GS_MUST_USE;

#endif
