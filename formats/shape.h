/*
 * shape: one record in today's shape, whatever generation of GitLab and whichever way of capture it came from.
 *
 * GitLab renamed and retyped attributes over the years, REST and the relation export name some of them differently, and ids
 * mean nothing on another instance. Comparison, load and reconciliation all look at records through here (records.md).
 */
#ifndef GS_SHAPE_H
#define GS_SHAPE_H

#include "libcommon/buf.h"
#include "libcommon/err.h"
#include "libcommon/json.h"

#include <stddef.h>

/*
 * Appends canonical JSON of one record of `relation` (any name; without a row in the table only the general rules hold):
 * old keys under today's names, times as "2025-01-02T03:04:05.678Z", dates as "2025-01-02", colours as "#rrggbb", absent and
 * null attributes as the table's default or not at all, attributes of class REL_INSTANCE and rendered HTML dropped. Nested
 * records keep only attributes of class REL_VALUE and are sorted where their order means nothing; lists of a board stand in
 * the order of their position, comments in the order of their time. Numbers keep their text. GS_E_JSON*, GS_E_RECORD.
 */
int shape_normalise(const char *relation, const char *json, size_t len, struct gs_buf *out,
                    struct gs_err *err) GS_MUST_USE;

/* The same with nothing but content: attributes of class REL_VALUE and REL_SETTING, and those that the table does not know. */
int shape_content(const char *relation, const char *json, size_t len, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/*
 * Appends the natural key of a record (normalised or not) as text: the one attribute's text ("bug", "12"), a JSON array when
 * the key has several attributes, the normalised content without what the server sets when the kind has no key of its own
 * (equal records have equal keys: count them). GS_E_RECORD when a key attribute is missing.
 */
int shape_key(const char *relation, yyjson_val *rec, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

#endif
