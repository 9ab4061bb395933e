/*
 * mp: reading msgpack that somebody else wrote.
 *
 * mp_check() walks the bytes once before anything is built from them: nesting, element counts against the bytes that
 * are there, keys that stand twice, invalid UTF-8. It accepts what JSON can say: nil, booleans, integers of 64 bits,
 * strings, arrays, maps with string keys, and one extension type, MP_EXT_NUMBER, whose payload is the text of a JSON
 * number. mp_next() then takes the checked bytes apart, value by value, without any memory of its own.
 */
#ifndef GS_MP_H
#define GS_MP_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MP_EXT_NUMBER 1   /* a number that no integer of 64 bits can hold exactly, as its decimal text */
#define MP_MAX_DEPTH 1024 /* whatever a caller allows: the walk is recursive */

/*
 * Checks the first value of `data`. *out_len is its length; 0 when the data ends inside it (an error if `at_end`).
 * A value that would be longer than `max_bytes` or nested deeper than `max_depth` is refused as soon as that is known.
 * GS_E_MSGPACK, GS_E_JSON_UTF8, GS_E_JSON_KEY_TWICE, GS_E_JSON_DEPTH, GS_E_LIMIT, GS_E_NOMEM.
 */
int mp_check(const void *data, size_t len, bool at_end, size_t max_bytes, unsigned max_depth, size_t *out_len,
             struct gs_err *err) GS_MUST_USE;

enum mp_type { MP_NIL, MP_BOOL, MP_UINT, MP_INT, MP_STR, MP_NUMBER, MP_ARRAY, MP_MAP };

struct mp_value {
    enum mp_type type;
    uint64_t u;       /* MP_UINT, MP_BOOL (0 or 1), and the number of elements of MP_ARRAY and MP_MAP */
    int64_t i;        /* MP_INT: always below 0 */
    const char *text; /* MP_STR and MP_NUMBER: points into the data */
    size_t len;
};

/* Reads the head of the value at data[*pos] and moves *pos behind it (and behind its text). Only for checked data. */
void mp_next(const unsigned char *data, size_t *pos, struct mp_value *out);

/* Is this valid UTF-8 (no surrogates, no overlong forms, at most U+10FFFF)? */
bool mp_utf8_ok(const char *s, size_t len);
/* Is this the text of a JSON number, and one that MP_UINT and MP_INT do not hold? */
bool mp_number_ok(const char *s, size_t len);
/* A JSON number's text as an integer: *out_negative tells which of the two is set. false: no integer of 64 bits, or
 * "-0". */
bool mp_number_int(const char *s, size_t len, bool *out_negative, uint64_t *out_u, int64_t *out_i);

#endif
