#include "json.h"
#include "json_scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FEW_KEYS 16
#define DEFAULT_MAX_BYTES ((size_t)64 << 20)

/* ---- reading ---- */

/*
 * Nesting is measured on the text, before a tree is built: one pass that knows strings. Returns false when deeper than
 * `max`. Text that is not JSON may be measured wrongly, and is refused by the parser afterwards.
 */
static bool depth_ok(const char *s, size_t len, unsigned max)
{
    unsigned depth = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '"') {
            /* a quote ends the text unless an odd number of backslashes stands before it */
            size_t slashes;
            do {
                const char *q = memchr(s + i + 1, '"', len - i - 1);
                if (!q)
                    return true;
                size_t end = (size_t)(q - s);
                for (slashes = 0; end - slashes - 1 > i && s[end - slashes - 1] == '\\';)
                    slashes++;
                i = end;
            } while (slashes % 2);
        } else if (c == '{' || c == '[') {
            if (++depth > max)
                return false;
        } else if (c == '}' || c == ']') {
            if (depth > 0)
                depth--;
        }
    }
    return true;
}

static int key_cmp(const void *a, const void *b)
{
    yyjson_val *x = *(yyjson_val *const *)a, *y = *(yyjson_val *const *)b;
    size_t nx = unsafe_yyjson_get_len(x), ny = unsafe_yyjson_get_len(y);
    int r = memcmp(unsafe_yyjson_get_str(x), unsafe_yyjson_get_str(y), nx < ny ? nx : ny);
    return r ? r : (nx > ny) - (nx < ny);
}

/* Keys of `obj` sorted by bytes, in `small` when they fit, else in memory that *heap owns. NULL: out of memory. */
static yyjson_val **sorted_keys(yyjson_val *obj, yyjson_val **small, size_t small_n, yyjson_val ***heap)
{
    size_t n = yyjson_obj_size(obj), i, max;
    yyjson_val *k, *v, **keys = small;
    *heap = NULL;
    if (n > small_n) {
        keys = *heap = malloc(n * sizeof *keys);
        if (!keys)
            return NULL;
    }
    yyjson_obj_foreach(obj, i, max, k, v) keys[i] = k;
    if (n <= 16) { /* insertion sort: most objects are small and often nearly sorted */
        for (size_t a = 1; a < n; a++)
            for (size_t b = a; b > 0 && key_cmp(&keys[b - 1], &keys[b]) > 0; b--) {
                yyjson_val *t = keys[b];
                keys[b] = keys[b - 1];
                keys[b - 1] = t;
            }
    } else {
        qsort(keys, n, sizeof *keys, key_cmp);
    }
    return keys;
}

static bool same_key(yyjson_val *x, yyjson_val *y)
{
    size_t n = unsafe_yyjson_get_len(x);
    return n == unsafe_yyjson_get_len(y) && memcmp(unsafe_yyjson_get_str(x), unsafe_yyjson_get_str(y), n) == 0;
}

static int key_twice(yyjson_val *k, struct gs_err *err)
{
    return gs_fail(err, GS_E_JSON_KEY_TWICE, "key '%.80s' stands twice in one object", unsafe_yyjson_get_str(k));
}

/* A few keys are compared each with each: lengths differ mostly, so this is cheaper than sorting. */
static int check_few(yyjson_val *obj, struct gs_err *err)
{
    yyjson_val *keys[FEW_KEYS], *k, *v;
    size_t i, max;
    yyjson_obj_foreach(obj, i, max, k, v)
    {
        for (size_t j = 0; j < i; j++)
            if (same_key(keys[j], k))
                return key_twice(k, err);
        keys[i] = k;
    }
    return 0;
}

/* yyjson lays all values out in one array in document order, so every object is met by walking it once. */
static int check_keys(yyjson_doc *doc, struct gs_err *err)
{
    yyjson_val *v = yyjson_doc_get_root(doc);
    size_t count = yyjson_doc_get_val_count(doc);
    for (size_t i = 0; i < count; i++, v++) {
        size_t n = unsafe_yyjson_is_obj(v) ? yyjson_obj_size(v) : 0;
        if (n < 2)
            continue;
        if (n <= FEW_KEYS) {
            if (check_few(v, err))
                return -1;
            continue;
        }
        yyjson_val *small[128], **heap;
        yyjson_val **keys = sorted_keys(v, small, GS_COUNT(small), &heap);
        if (!keys)
            return gs_fail(err, GS_E_NOMEM, "no memory for an object of %zu keys", n);
        int r = 0;
        for (size_t k = 1; k < n && r == 0; k++)
            if (key_cmp(&keys[k - 1], &keys[k]) == 0)
                r = key_twice(keys[k], err);
        free(heap);
        if (r)
            return -1;
    }
    return 0;
}

int gs_json_parse(const char *data, size_t len, const struct gs_json_opts *o, yyjson_doc **out, struct gs_err *err)
{
    size_t max = o && o->max_bytes ? o->max_bytes : DEFAULT_MAX_BYTES;
    unsigned depth = o && o->max_depth ? o->max_depth : GS_JSON_MAX_DEPTH;
    if (len > max)
        return gs_fail(err, GS_E_LIMIT, "JSON text of %zu bytes, limit %zu", len, max);
    if (len == 0)
        return gs_fail(err, GS_E_JSON, "no JSON at all");
    if (!depth_ok(data, len, depth))
        return gs_fail(err, GS_E_JSON_DEPTH, "JSON nested deeper than %u", depth);
    yyjson_read_err re;
    yyjson_read_flag flags = o && o->raw_numbers ? YYJSON_READ_NUMBER_AS_RAW : YYJSON_READ_BIGNUM_AS_RAW;
    GS_AUTO(yyjson_doc) doc = yyjson_read_opts((char *)(uintptr_t)data, len, flags, NULL, &re);
    if (!doc) {
        if (re.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
            return gs_fail(err, GS_E_NOMEM, "no memory for JSON of %zu bytes", len);
        bool utf8 = re.code == YYJSON_READ_ERROR_INVALID_STRING && re.msg && strstr(re.msg, "UTF-8");
        return gs_fail(err, utf8 ? GS_E_JSON_UTF8 : GS_E_JSON, "at byte %zu: %s", re.pos, re.msg ? re.msg : "invalid");
    }
    if (check_keys(doc, err))
        return -1;
    *out = gs_steal(&doc);
    return 0;
}

/* ---- writing ---- */

int gs_json_quote(const char *s, size_t len, struct gs_buf *out, struct gs_err *err)
{
    static const char hex[] = "0123456789abcdef";
    if (gs_buf_reserve(out, len + 2, err) || gs_buf_addc(out, '"', err))
        return -1;
    size_t from = 0;
    for (size_t i = gs_json_plain(s, len); i < len; i += 1 + gs_json_plain(s + i + 1, len - i - 1)) {
        unsigned char c = (unsigned char)s[i];
        char esc[7] = {'\\', 0};
        size_t n = 2;
        switch (c) {
        case '"':
        case '\\': esc[1] = (char)c; break;
        case '\b': esc[1] = 'b'; break;
        case '\f': esc[1] = 'f'; break;
        case '\n': esc[1] = 'n'; break;
        case '\r': esc[1] = 'r'; break;
        case '\t': esc[1] = 't'; break;
        default:
            esc[1] = 'u', esc[2] = esc[3] = '0', esc[4] = hex[c >> 4], esc[5] = hex[c & 15];
            n = 6;
        }
        if (gs_buf_add(out, s + from, i - from, err) || gs_buf_add(out, esc, n, err))
            return -1;
        from = i + 1;
    }
    return gs_buf_add(out, s + from, len - from, err) || gs_buf_addc(out, '"', err) ? -1 : 0;
}

static int write_scalar(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    char num[40];
    int n;
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_NULL: return gs_buf_addstr(out, "null", err);
    case YYJSON_TYPE_BOOL: return gs_buf_addstr(out, yyjson_get_bool(v) ? "true" : "false", err);
    case YYJSON_TYPE_RAW: return gs_buf_add(out, yyjson_get_raw(v), unsafe_yyjson_get_len(v), err);
    case YYJSON_TYPE_STR: return gs_json_quote(unsafe_yyjson_get_str(v), unsafe_yyjson_get_len(v), out, err);
    case YYJSON_TYPE_NUM:
        if (yyjson_is_uint(v))
            n = snprintf(num, sizeof num, "%" PRIu64, yyjson_get_uint(v));
        else if (yyjson_is_sint(v))
            n = snprintf(num, sizeof num, "%" PRId64, yyjson_get_sint(v));
        else
            n = snprintf(num, sizeof num, "%.17g", yyjson_get_real(v));
        return gs_buf_add(out, num, (size_t)n, err);
    default: return gs_fail(err, GS_E_INTERNAL, "a JSON value without a type");
    }
}

static int write_val(yyjson_val *v, bool sort, struct gs_buf *out, struct gs_err *err)
{
    if (yyjson_is_arr(v)) {
        yyjson_arr_iter it = yyjson_arr_iter_with(v);
        yyjson_val *e;
        char sep = '[';
        if (yyjson_arr_size(v) == 0)
            return gs_buf_addstr(out, "[]", err);
        while ((e = yyjson_arr_iter_next(&it))) {
            if (gs_buf_addc(out, sep, err) || write_val(e, sort, out, err))
                return -1;
            sep = ',';
        }
        return gs_buf_addc(out, ']', err);
    }
    if (!yyjson_is_obj(v))
        return write_scalar(v, out, err);
    size_t n = yyjson_obj_size(v);
    if (n == 0)
        return gs_buf_addstr(out, "{}", err);
    yyjson_val *small[64], **heap = NULL, **keys = NULL;
    if (sort) {
        keys = sorted_keys(v, small, GS_COUNT(small), &heap);
        if (!keys)
            return gs_fail(err, GS_E_NOMEM, "no memory for an object of %zu keys", n);
    }
    yyjson_obj_iter it = yyjson_obj_iter_with(v);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        yyjson_val *k = sort ? keys[i] : yyjson_obj_iter_next(&it);
        r = gs_buf_addc(out, i ? ',' : '{', err) || write_scalar(k, out, err) || gs_buf_addc(out, ':', err) ||
            write_val(yyjson_obj_iter_get_val(k), sort, out, err);
    }
    free(heap);
    return r ? -1 : gs_buf_addc(out, '}', err);
}

int gs_json_canonical(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    return write_val(v, true, out, err);
}

int gs_json_write(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    return write_val(v, false, out, err);
}

bool gs_json_equal(yyjson_val *a, yyjson_val *b)
{
    if (yyjson_is_raw(a) && yyjson_is_raw(b)) {
        size_t n = unsafe_yyjson_get_len(a);
        return n == unsafe_yyjson_get_len(b) && memcmp(yyjson_get_raw(a), yyjson_get_raw(b), n) == 0;
    }
    return yyjson_equals(a, b);
}

/* ---- access ---- */

const char *gs_json_str(yyjson_val *obj, const char *key)
{
    return yyjson_get_str(yyjson_obj_get(obj, key));
}

bool gs_json_val_i64(yyjson_val *v, int64_t *out)
{
    if (yyjson_is_sint(v)) {
        *out = yyjson_get_sint(v);
        return true;
    }
    if (yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX) {
        *out = (int64_t)yyjson_get_uint(v);
        return true;
    }
    if (!yyjson_is_raw(v))
        return false;
    const char *s = yyjson_get_raw(v);
    size_t n = unsafe_yyjson_get_len(v), i = s[0] == '-';
    if (n == i)
        return false;
    uint64_t u = 0;
    for (; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || u > (UINT64_MAX - 9) / 10)
            return false;
        u = u * 10 + (unsigned)(s[i] - '0');
    }
    if (u > (uint64_t)INT64_MAX)
        return false;
    *out = s[0] == '-' ? -(int64_t)u : (int64_t)u;
    return true;
}

bool gs_json_i64(yyjson_val *obj, const char *key, int64_t *out)
{
    return gs_json_val_i64(yyjson_obj_get(obj, key), out);
}

bool gs_json_true(yyjson_val *obj, const char *key)
{
    return yyjson_is_true(yyjson_obj_get(obj, key));
}

int gs_json_need_str(yyjson_val *obj, const char *key, const char **out, struct gs_err *err)
{
    *out = gs_json_str(obj, key);
    return *out ? 0 : gs_fail(err, GS_E_RECORD, "'%s' is missing or no text", key);
}

int gs_json_need_i64(yyjson_val *obj, const char *key, int64_t *out, struct gs_err *err)
{
    return gs_json_i64(obj, key, out) ? 0 : gs_fail(err, GS_E_RECORD, "'%s' is missing or no whole number", key);
}

/* ---- stream writer ---- */

void gs_jw_init(struct gs_jw *w, struct gs_buf *out, int indent, struct gs_err *err)
{
    *w = (struct gs_jw){.out = out, .err = err, .indent = indent};
    w->first[0] = 1;
}

static void newline(struct gs_jw *w)
{
    if (w->indent <= 0 || w->failed)
        return;
    w->failed = gs_buf_addc(w->out, '\n', w->err);
    for (unsigned i = 0; i < w->depth * (unsigned)w->indent && !w->failed; i++)
        w->failed = gs_buf_addc(w->out, ' ', w->err);
}

/* What stands before any value: a comma between elements, nothing behind a key or at the start. */
static void before(struct gs_jw *w)
{
    if (w->failed)
        return;
    if (w->after_key) {
        w->after_key = 0;
        return;
    }
    if (!w->first[w->depth])
        w->failed = gs_buf_addc(w->out, ',', w->err);
    w->first[w->depth] = 0;
    if (w->depth > 0)
        newline(w);
}

static void open_level(struct gs_jw *w, bool array)
{
    before(w);
    if (w->failed)
        return;
    if (w->depth + 1 >= GS_JSON_MAX_DEPTH) {
        w->failed = gs_fail(w->err, GS_E_INTERNAL, "output nested too deeply");
        return;
    }
    w->failed = gs_buf_addc(w->out, array ? '[' : '{', w->err);
    w->depth++;
    w->first[w->depth] = 1;
    w->array[w->depth] = array;
}

void gs_jw_obj(struct gs_jw *w)
{
    open_level(w, false);
}

void gs_jw_arr(struct gs_jw *w)
{
    open_level(w, true);
}

void gs_jw_end(struct gs_jw *w)
{
    if (w->failed || w->depth == 0)
        return;
    bool empty = w->first[w->depth], array = w->array[w->depth];
    w->depth--;
    if (!empty)
        newline(w);
    if (!w->failed)
        w->failed = gs_buf_addc(w->out, array ? ']' : '}', w->err);
}

void gs_jw_key(struct gs_jw *w, const char *key)
{
    before(w);
    if (w->failed)
        return;
    w->failed = gs_json_quote(key, strlen(key), w->out, w->err) || gs_buf_addstr(w->out, w->indent > 0 ? ": " : ":", w->err);
    w->after_key = 1;
}

void gs_jw_strn(struct gs_jw *w, const char *s, size_t n)
{
    before(w);
    if (!w->failed)
        w->failed = gs_json_quote(s, n, w->out, w->err);
}

void gs_jw_raw(struct gs_jw *w, const char *json, size_t n)
{
    before(w);
    if (!w->failed)
        w->failed = gs_buf_add(w->out, json, n, w->err);
}

void gs_jw_str(struct gs_jw *w, const char *s)
{
    if (s)
        gs_jw_strn(w, s, strlen(s));
    else
        gs_jw_null(w);
}

void gs_jw_i64(struct gs_jw *w, int64_t v)
{
    char t[24];
    gs_jw_raw(w, t, (size_t)snprintf(t, sizeof t, "%" PRId64, v));
}

void gs_jw_u64(struct gs_jw *w, uint64_t v)
{
    char t[24];
    gs_jw_raw(w, t, (size_t)snprintf(t, sizeof t, "%" PRIu64, v));
}

void gs_jw_dbl(struct gs_jw *w, double v)
{
    char t[64];
    gs_jw_raw(w, t, (size_t)snprintf(t, sizeof t, "%.2f", v));
}

void gs_jw_bool(struct gs_jw *w, bool v)
{
    gs_jw_raw(w, v ? "true" : "false", v ? 4 : 5);
}

void gs_jw_null(struct gs_jw *w)
{
    gs_jw_raw(w, "null", 4);
}

void gs_jw_val(struct gs_jw *w, yyjson_val *v)
{
    before(w);
    if (!w->failed)
        w->failed = gs_json_write(v, w->out, w->err);
}

void gs_jw_kstr(struct gs_jw *w, const char *key, const char *s)
{
    gs_jw_key(w, key);
    gs_jw_str(w, s);
}

void gs_jw_ki64(struct gs_jw *w, const char *key, int64_t v)
{
    gs_jw_key(w, key);
    gs_jw_i64(w, v);
}

void gs_jw_kbool(struct gs_jw *w, const char *key, bool v)
{
    gs_jw_key(w, key);
    gs_jw_bool(w, v);
}

int gs_jw_finish(struct gs_jw *w)
{
    return w->failed ? -1 : 0;
}
