/*
 * record: one JSON object in the shape of GitLab's relation export, in two encodings.
 *
 * ndjson: the object's text and a line feed. msgpack: one map per record, back to back (records.md gives the mapping of
 * numbers: integers of 64 bits are msgpack integers; every other number travels as its exact decimal text, so that the
 * way there and back gives the same JSON text for every number).
 * Both readers refuse: invalid UTF-8, one key twice, too deep, too long, anything that is not one object, trailing bytes.
 */
#ifndef GS_RECORD_H
#define GS_RECORD_H

#include "libcommon/buf.h"
#include "libcommon/err.h"
#include "libcommon/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_encoding { RECORD_NDJSON = 0, RECORD_MSGPACK = 1 };

#define RECORD_MAX_BYTES ((size_t)50 << 20) /* what GitLab's own reader accepts */
#define RECORD_MAX_DEPTH 32

struct record_limits { /* 0: the default */
    size_t max_bytes; /* of one record */
    unsigned max_depth;
};

const char *record_encoding_name(enum record_encoding e);      /* "ndjson", "msgpack" */
const char *record_encoding_ext(enum record_encoding e);       /* "ndjson", "msgpack" */
bool record_encoding_by_name(const char *name, enum record_encoding *out);

/*
 * Appends the encoding of one JSON object given as text (without line end) to `out`. For ndjson the text is checked and
 * kept byte for byte; it must not hold a raw line feed. GS_E_JSON*, GS_E_RECORD (no object), GS_E_LIMIT, GS_E_NOMEM.
 */
int record_encode(enum record_encoding e, const char *json, size_t len, const struct record_limits *lim,
                  struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/*
 * Finds where the first record of `data` ends: *out_len is its length in bytes including the line feed; 0 when the data
 * ends inside it (read more, or if `at_end`: GS_E_RECORD). Checks limits; for msgpack all structure.
 */
int record_next(enum record_encoding e, const void *data, size_t len, bool at_end, const struct record_limits *lim,
                size_t *out_len, struct gs_err *err) GS_MUST_USE;

/* Full check of one record as record_next() delimited it, without building anything that is kept. */
int record_check(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim,
                 struct gs_err *err) GS_MUST_USE;
/*
 * The length, line feed included, of the record at the beginning of `data` when a quick look shows that it is a valid one
 * and all there. 0: it cannot be said, and record_next() and record_check() decide.
 */
size_t record_quick(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim) GS_MUST_USE;

/*
 * Appends one record as JSON text without line end. ndjson: byte for byte. msgpack: compact, keys in stored order. A record
 * that was encoded from compact JSON comes back as the same bytes in both encodings.
 */
int record_to_json(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim,
                   struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* Parses one record; numbers are kept as values (big ones raw). The caller frees *out. */
int record_parse(enum record_encoding e, const void *data, size_t len, const struct record_limits *lim, yyjson_doc **out,
                 struct gs_err *err) GS_MUST_USE;

#endif
