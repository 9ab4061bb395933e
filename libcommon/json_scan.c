#include "json_scan.h"

#include "utf8.h"

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define MAX_KEYS 256 /* of all objects that are open at once */
#define MAX_NESTING 64
#define MAX_DIGITS 17 /* longer numbers are for the parser */

struct key {
    const char *s;
    uint32_t len;
};

struct scan {
    const unsigned char *p, *end;
    gs_json_key_fn *on_key;
    void *cookie;
    unsigned n_keys;
    uint64_t prints[MAX_KEYS]; /* of the keys of the open objects, the outermost first */
    struct key keys[MAX_KEYS];
};

/* ---- text ---- */

enum { PLAIN = 0, SPECIAL = 1 };

/* What ends the fast part of a string: quote, backslash, control characters, and everything that is not ASCII. */
static const unsigned char special[256] = {
    [0 ... 31] = SPECIAL, ['"'] = SPECIAL, ['\\'] = SPECIAL, [128 ... 255] = SPECIAL};

static const unsigned char *skip_plain(const unsigned char *p, const unsigned char *end)
{
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(' ');
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        /* compared as signed numbers, bytes from 128 on are less than a blank, too */
        __m128i m = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)), _mm_cmplt_epi8(v, space));
        unsigned bits = (unsigned)_mm_movemask_epi8(m);
        if (bits)
            return p + __builtin_ctz(bits);
    }
#endif
    while (p < end && special[*p] == PLAIN)
        p++;
    return p;
}

size_t gs_json_plain(const char *s, size_t len)
{
    const unsigned char *begin = (const unsigned char *)s, *end = begin + len, *p = begin;
    while ((p = skip_plain(p, end)) < end && *p >= 0x80)
        p++;
    return (size_t)(p - begin);
}

/* Four hexadecimal digits; -1 when they are none. */
static int hex4(const unsigned char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = p[i], d;
        if (c >= '0' && c <= '9')
            d = c - '0';
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            d = (c | 32) - 'a' + 10;
        else
            return -1;
        v = v * 16 + (int)d;
    }
    return v;
}

/* The escape at `p`; a half of a surrogate pair is none. 0: give up. */
static size_t escape_len(const unsigned char *p, const unsigned char *end)
{
    size_t left = (size_t)(end - p);
    if (left < 2)
        return 0;
    if (p[1] != 'u')
        return p[1] && strchr("\"\\/bfnrt", p[1]) ? 2 : 0;
    int v = left >= 6 ? hex4(p + 2) : -1;
    if (v < 0 || (v >= 0xdc00 && v <= 0xdfff))
        return 0;
    if (v < 0xd800 || v > 0xdbff)
        return 6;
    int low = left >= 12 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8) : -1;
    return low >= 0xdc00 && low <= 0xdfff ? 12 : 0;
}

/* Behind the opening quote; returns the place of the closing one, or NULL. */
static const unsigned char *string_end(const unsigned char *p, const unsigned char *end, bool *escaped)
{
    for (;;) {
        p = skip_plain(p, end);
        if (p == end)
            return NULL;
        if (*p == '"')
            return p;
        size_t n = 0;
        if (*p >= 0x80) {
            /* texts in other scripts are runs of such characters */
            while (p < end && *p >= 0x80 && (n = gs_utf8_len(p, (size_t)(end - p))) > 0)
                p += n;
            if (p < end && *p >= 0x80)
                return NULL;
            continue;
        }
        if (*p == '\\') {
            *escaped = true;
            n = escape_len(p, end);
        }
        if (n == 0)
            return NULL;
        p += n;
    }
}

/* ---- keys ---- */

/* The same for the same key; different for most others. */
static uint64_t print_of(const unsigned char *s, size_t len)
{
    uint64_t a = 0, b = 0;
    if (len >= 8) {
        memcpy(&a, s, 8);
        memcpy(&b, s + len - 8, 8);
    } else if (len >= 4) {
        uint32_t x, y;
        memcpy(&x, s, 4);
        memcpy(&y, s + len - 4, 4);
        a = x;
        b = y;
    } else if (len > 0) {
        a = (uint64_t)s[0] | (uint64_t)s[len / 2] << 8 | (uint64_t)s[len - 1] << 16;
    }
    return (a ^ (b << 23 | b >> 41)) * 0x9e3779b97f4a7c15u + len;
}

/* Notes a key of the object whose keys begin at `from`. false: it is there twice, or there are too many. */
static bool note_key(struct scan *s, unsigned from, const unsigned char *key, size_t len)
{
    if (s->n_keys == MAX_KEYS || len > UINT32_MAX)
        return false;
    uint64_t print = print_of(key, len);
    for (unsigned i = from; i < s->n_keys; i++)
        if (s->prints[i] == print && s->keys[i].len == len && memcmp(s->keys[i].s, key, len) == 0)
            return false;
    s->prints[s->n_keys] = print;
    s->keys[s->n_keys++] = (struct key){(const char *)key, (uint32_t)len};
    return true;
}

/* ---- the rest ---- */

static bool digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static const unsigned char *digits(const unsigned char *p, const unsigned char *end)
{
    while (p < end && digit(*p))
        p++;
    return p;
}

/* A number without an exponent. NULL: give up. */
static const unsigned char *number_end(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *from = p, *first = p += *p == '-';
    p = digits(p, end);
    if (p == first || (*first == '0' && p > first + 1))
        return NULL;
    if (p < end && *p == '.') {
        const unsigned char *fraction = ++p;
        p = digits(p, end);
        if (p == fraction)
            return NULL;
    }
    if (p == end || *p == 'e' || *p == 'E' || p - from > MAX_DIGITS)
        return NULL;
    return p;
}

static const unsigned char *literal_end(const unsigned char *p, const unsigned char *end, const char *word, size_t n)
{
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

static void blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r'))
        s->p++;
}

/* A string, number or word at s->p. */
static bool scalar(struct scan *s)
{
    const unsigned char *p = s->p, *to;
    bool escaped = false;
    switch (*p) {
    case '"':
        to = string_end(p + 1, s->end, &escaped);
        to = to ? to + 1 : NULL;
        break;
    case 't':
        to = literal_end(p, s->end, "true", 4);
        break;
    case 'f':
        to = literal_end(p, s->end, "false", 5);
        break;
    case 'n':
        to = literal_end(p, s->end, "null", 4);
        break;
    default:
        to = *p == '-' || digit(*p) ? number_end(p, s->end) : NULL;
    }
    if (!to)
        return false;
    s->p = to;
    return true;
}

/* A key and its colon; s->p stands behind it and behind blanks. */
static bool key_and_colon(struct scan *s, unsigned from)
{
    bool escaped = false;
    if (s->p == s->end || *s->p != '"')
        return false;
    const unsigned char *key = s->p + 1, *to = string_end(key, s->end, &escaped);
    if (!to || escaped || !note_key(s, from, key, (size_t)(to - key)))
        return false;
    s->p = to + 1;
    blanks(s);
    if (s->p == s->end || *s->p != ':')
        return false;
    s->p++;
    blanks(s);
    if (s->p == s->end)
        return false;
    return !s->on_key || !s->on_key(s->cookie, (const char *)key, (size_t)(to - key), (const char *)s->p, (size_t)(s->end - s->p));
}

struct level {
    bool array;
    unsigned keys_from;
};

/* Opens the object or array at s->p. *out_empty: it was closed at once. */
static bool open_level(struct scan *s, struct level *stack, unsigned *depth, unsigned max_depth, bool *out_empty)
{
    bool array = *s->p == '[';
    if (*depth == max_depth)
        return false;
    stack[*depth] = (struct level){array, s->n_keys};
    s->p++;
    blanks(s);
    if (s->p == s->end)
        return false;
    *out_empty = *s->p == (array ? ']' : '}');
    if (*out_empty) {
        s->p++;
        return true;
    }
    ++*depth;
    return array || key_and_colon(s, s->n_keys);
}

/* Behind a value: to the next one of the level, out of levels that end. */
static bool behind_value(struct scan *s, struct level *stack, unsigned *depth)
{
    for (;;) {
        if (*depth == 0)
            return true;
        struct level *l = &stack[*depth - 1];
        blanks(s);
        if (s->p == s->end)
            return false;
        unsigned char c = *s->p++;
        if (c == ',') {
            blanks(s);
            return l->array ? s->p < s->end : key_and_colon(s, l->keys_from);
        }
        if (c != (l->array ? ']' : '}'))
            return false;
        s->n_keys = l->keys_from;
        --*depth;
    }
}

size_t gs_json_scan(const char *text, size_t len, unsigned max_depth, gs_json_key_fn *key, void *cookie)
{
    struct scan s;
    struct level stack[MAX_NESTING];
    unsigned depth = 0;
    s.p = (const unsigned char *)text;
    s.end = s.p + len;
    s.on_key = key;
    s.cookie = cookie;
    s.n_keys = 0;
    if (len == 0 || *s.p != '{')
        return 0;
    if (max_depth > MAX_NESTING)
        max_depth = MAX_NESTING;
    do {
        bool empty = false;
        if (*s.p == '{' || *s.p == '[') {
            if (!open_level(&s, stack, &depth, max_depth, &empty))
                return 0;
            if (!empty)
                continue;
        } else if (!scalar(&s)) {
            return 0;
        }
        if (!behind_value(&s, stack, &depth))
            return 0;
    } while (depth > 0);
    return (size_t)(s.p - (const unsigned char *)text);
}

uint8_t gs_key_class(struct gs_key_cache *c, const char *key, size_t len, uint8_t (*classify)(const char *key, size_t len))
{
    if (len == 0 || len > sizeof c->slot[0].key)
        return classify(key, len);
    uint64_t h = print_of((const unsigned char *)key, len);
    size_t i = (h >> 32 ^ h) % GS_KEY_SLOTS;
    if (c->slot[i].len != len || memcmp(c->slot[i].key, key, len) != 0) {
        c->slot[i].class = classify(key, len);
        c->slot[i].len = (uint8_t)len;
        memcpy(c->slot[i].key, key, len);
    }
    return c->slot[i].class;
}
