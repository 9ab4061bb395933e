#include "mp.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

bool mp_utf8_ok(const char *str, size_t len)
{
    const unsigned char *s = (const unsigned char *)str;
    size_t i = 0, n = 1;
    for (; i < len && n > 0; i += n)
        n = gs_utf8_len(s + i, len - i);
    return n > 0;
}

static size_t digits(const char *s, size_t len, size_t i)
{
    while (i < len && s[i] >= '0' && s[i] <= '9')
        i++;
    return i;
}

static bool json_number(const char *s, size_t len)
{
    size_t i = len > 0 && s[0] == '-', from = i;
    i = digits(s, len, i);
    if (i == from || (s[from] == '0' && i - from > 1))
        return false;
    if (i < len && s[i] == '.') {
        from = ++i;
        i = digits(s, len, i);
        if (i == from)
            return false;
    }
    if (i < len && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < len && (s[i] == '+' || s[i] == '-'))
            i++;
        from = i;
        i = digits(s, len, i);
        if (i == from)
            return false;
    }
    return i == len;
}

bool mp_number_int(const char *s, size_t len, bool *out_negative, uint64_t *out_u, int64_t *out_i)
{
    bool neg = len > 0 && s[0] == '-';
    size_t from = neg;
    if (digits(s, len, from) != len || len == from || (s[from] == '0' && (neg || len - from > 1)))
        return false;
    uint64_t u = 0;
    for (size_t i = from; i < len; i++) {
        unsigned d = (unsigned)(s[i] - '0');
        if (u > (UINT64_MAX - d) / 10)
            return false;
        u = u * 10 + d;
    }
    if (neg && u > (uint64_t)INT64_MAX + 1)
        return false;
    *out_negative = neg;
    *out_u = u;
    *out_i = neg ? (int64_t)(0 - u) : 0;
    return true;
}

bool mp_number_ok(const char *s, size_t len)
{
    bool neg;
    uint64_t u;
    int64_t i;
    return json_number(s, len) && !mp_number_int(s, len, &neg, &u, &i);
}

/* ---- one head ---- */

static uint64_t be(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;
    while (n-- > 0)
        v = v << 8 | *p++;
    return v;
}

enum form { F_BAD, F_NIL, F_FALSE, F_TRUE, F_FIXUINT, F_FIXINT, F_UINT, F_INT, F_STR, F_EXT, F_ARRAY, F_MAP };

/* What the first byte says: the form, how many bytes of a length or number follow, and the length when it is in the
 * byte. */
static enum form form_of(unsigned char c, unsigned *out_size, uint64_t *out_n)
{
    *out_size = 0;
    *out_n = 0;
    if (c < 0x80)
        return *out_n = c, F_FIXUINT;
    if (c < 0x90)
        return *out_n = c & 15, F_MAP;
    if (c < 0xa0)
        return *out_n = c & 15, F_ARRAY;
    if (c < 0xc0)
        return *out_n = c & 31, F_STR;
    if (c >= 0xe0)
        return F_FIXINT;
    switch (c) {
    case 0xc0:
        return F_NIL;
    case 0xc2:
        return F_FALSE;
    case 0xc3:
        return F_TRUE;
    case 0xc7:
        return *out_size = 1, F_EXT;
    case 0xc8:
        return *out_size = 2, F_EXT;
    case 0xcc:
        return *out_size = 1, F_UINT;
    case 0xcd:
        return *out_size = 2, F_UINT;
    case 0xce:
        return *out_size = 4, F_UINT;
    case 0xcf:
        return *out_size = 8, F_UINT;
    case 0xd0:
        return *out_size = 1, F_INT;
    case 0xd1:
        return *out_size = 2, F_INT;
    case 0xd2:
        return *out_size = 4, F_INT;
    case 0xd3:
        return *out_size = 8, F_INT;
    case 0xd4:
        return *out_n = 1, F_EXT;
    case 0xd5:
        return *out_n = 2, F_EXT;
    case 0xd6:
        return *out_n = 4, F_EXT;
    case 0xd7:
        return *out_n = 8, F_EXT;
    case 0xd8:
        return *out_n = 16, F_EXT;
    case 0xd9:
        return *out_size = 1, F_STR;
    case 0xda:
        return *out_size = 2, F_STR;
    case 0xdb:
        return *out_size = 4, F_STR;
    case 0xdc:
        return *out_size = 2, F_ARRAY;
    case 0xdd:
        return *out_size = 4, F_ARRAY;
    case 0xde:
        return *out_size = 2, F_MAP;
    case 0xdf:
        return *out_size = 4, F_MAP;
    default:
        return F_BAD; /* binary, floats, ext32 and 0xc1: our writer makes none */
    }
}

void mp_next(const unsigned char *data, size_t *pos, struct mp_value *out)
{
    const unsigned char *p = data + *pos;
    unsigned size;
    uint64_t n;
    enum form f = form_of(*p, &size, &n);
    *out = (struct mp_value){.type = MP_NIL};
    *pos += 1 + size;
    if (size)
        n = be(p + 1, size);
    switch (f) {
    case F_FALSE:
    case F_TRUE:
        out->type = MP_BOOL;
        out->u = f == F_TRUE;
        break;
    case F_FIXUINT:
    case F_UINT:
        out->type = MP_UINT;
        out->u = n;
        break;
    case F_FIXINT:
        out->type = MP_INT;
        out->i = (int)*p - 256;
        break;
    case F_INT:
        /* the sign of a shorter form is carried up to 64 bits */
        if (size < 8 && (n >> (8 * size - 1)))
            n |= ~(uint64_t)0 << (8 * size);
        out->type = n >> 63 ? MP_INT : MP_UINT;
        out->u = n;
        memcpy(&out->i, &n, sizeof n);
        break;
    case F_STR:
    case F_EXT:
        if (f == F_EXT)
            *pos += 1; /* the extension type */
        out->type = f == F_EXT ? MP_NUMBER : MP_STR;
        out->text = (const char *)data + *pos;
        out->len = (size_t)n;
        *pos += (size_t)n;
        break;
    case F_ARRAY:
    case F_MAP:
        out->type = f == F_MAP ? MP_MAP : MP_ARRAY;
        out->u = n;
        break;
    default:
        break;
    }
}

/* ---- the walk ---- */

struct key {
    const char *s;
    size_t len;
};

struct walk {
    const unsigned char *p;
    size_t len, pos, max;
    bool at_end, more; /* more: the data ended inside the value */
    unsigned max_depth;
    struct key *keys; /* of the maps that are open, innermost last */
    size_t n_keys, cap;
    struct gs_err *err;
};

static int short_of(struct walk *w, uint64_t n)
{
    if (w->at_end && n > w->len - w->pos)
        return gs_fail(w->err, GS_E_MSGPACK, "msgpack at byte %zu announces at least %llu bytes, %zu are left", w->pos,
                       (unsigned long long)n, w->len - w->pos);
    if (n > w->max - w->pos)
        return gs_fail(w->err, GS_E_LIMIT, "a record of at least %llu bytes, limit %zu",
                       (unsigned long long)(w->pos + n), w->max);
    w->more = true;
    return -1;
}

static int need(struct walk *w, uint64_t n)
{
    return n > w->len - w->pos || n > w->max - w->pos ? short_of(w, n) : 0;
}

static int key_cmp(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int r = memcmp(x->s, y->s, x->len < y->len ? x->len : y->len);
    return r ? r : (x->len > y->len) - (x->len < y->len);
}

static int push_key(struct walk *w, const char *s, size_t len)
{
    if (w->n_keys == w->cap) {
        size_t cap = w->cap ? w->cap * 2 : 64;
        struct key *k = realloc(w->keys, cap * sizeof *k);
        if (!k)
            return gs_fail(w->err, GS_E_NOMEM, "no memory for the keys of a record");
        w->keys = k;
        w->cap = cap;
    }
    w->keys[w->n_keys++] = (struct key){s, len};
    return 0;
}

/* The keys from `from` on are one map's: none may stand twice. Drops them. */
static int check_keys(struct walk *w, size_t from)
{
    size_t n = w->n_keys - from;
    w->n_keys = from;
    if (n < 2)
        return 0;
    struct key *k = w->keys + from;
    if (n <= 16) {
        for (size_t i = 1; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (k[i].len == k[j].len && memcmp(k[i].s, k[j].s, k[i].len) == 0)
                    return gs_fail(w->err, GS_E_JSON_KEY_TWICE, "key '%.*s' stands twice in one object",
                                   (int)(k[i].len < 80 ? k[i].len : 80), k[i].s);
        return 0;
    }
    qsort(k, n, sizeof *k, key_cmp);
    for (size_t i = 1; i < n; i++)
        if (key_cmp(&k[i - 1], &k[i]) == 0)
            return gs_fail(w->err, GS_E_JSON_KEY_TWICE, "key '%.*s' stands twice in one object",
                           (int)(k[i].len < 80 ? k[i].len : 80), k[i].s);
    return 0;
}

static int walk_text(struct walk *w, uint64_t n, bool key)
{
    if (need(w, n))
        return -1;
    const char *s = (const char *)w->p + w->pos;
    if (!mp_utf8_ok(s, (size_t)n))
        return gs_fail(w->err, GS_E_JSON_UTF8, "text at byte %zu is not UTF-8", w->pos);
    w->pos += (size_t)n;
    return key ? push_key(w, s, (size_t)n) : 0;
}

static int walk_value(struct walk *w, unsigned depth, bool key)
{
    unsigned size;
    uint64_t n;
    size_t start = w->pos;
    if (need(w, 1))
        return -1;
    enum form f = form_of(w->p[w->pos], &size, &n);
    if (f == F_BAD)
        return gs_fail(w->err, GS_E_MSGPACK, "byte 0x%02x at %zu has no meaning in a record", w->p[w->pos], w->pos);
    if (key && f != F_STR)
        return gs_fail(w->err, GS_E_MSGPACK, "the key at byte %zu is no text", w->pos);
    if (need(w, 1 + (uint64_t)size + (f == F_EXT)))
        return -1;
    if (size)
        n = be(w->p + w->pos + 1, size);
    w->pos += 1 + size;
    switch (f) {
    case F_UINT:
    case F_INT:
        return 0;
    case F_STR:
        return walk_text(w, n, key);
    case F_EXT:
        if (w->p[w->pos] != MP_EXT_NUMBER)
            return gs_fail(w->err, GS_E_MSGPACK, "extension type %u at byte %zu is not known", w->p[w->pos], start);
        w->pos++;
        if (need(w, n))
            return -1;
        if (!mp_number_ok((const char *)w->p + w->pos, (size_t)n))
            return gs_fail(w->err, GS_E_MSGPACK, "the number at byte %zu is none", start);
        w->pos += (size_t)n;
        return 0;
    case F_ARRAY:
    case F_MAP: {
        if (depth >= w->max_depth)
            return gs_fail(w->err, GS_E_JSON_DEPTH, "msgpack nested deeper than %u", w->max_depth);
        /* every element takes one byte at least, every pair two: a count that cannot be true is refused here */
        if (need(w, f == F_MAP ? 2 * n : n))
            return -1;
        size_t from = w->n_keys;
        for (uint64_t i = 0; i < n; i++)
            if ((f == F_MAP && walk_value(w, depth + 1, true)) || walk_value(w, depth + 1, false))
                return -1;
        return f == F_MAP ? check_keys(w, from) : 0;
    }
    default:
        return 0;
    }
}

int mp_check(const void *data, size_t len, bool at_end, size_t max_bytes, unsigned max_depth, size_t *out_len,
             struct gs_err *err)
{
    struct walk w = {.p = data,
                     .len = len,
                     .max = max_bytes,
                     .at_end = at_end,
                     .max_depth = max_depth < MP_MAX_DEPTH ? max_depth : MP_MAX_DEPTH,
                     .err = err};
    int r = walk_value(&w, 0, false);
    free(w.keys);
    *out_len = 0;
    if (r)
        return w.more ? 0 : -1;
    *out_len = w.pos;
    return 0;
}
