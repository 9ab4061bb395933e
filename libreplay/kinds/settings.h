/* settings: the attributes of a group that are set by PUT, and which of them are locks. */
#ifndef RP_SETTINGS_H
#define RP_SETTINGS_H

#include "libreplay/kind.h"

#define AVATAR_MAX (200 * 1024)

/* Does the record say anything that is a setting (or, `locks`, a lock that is not as it is anyway)? */
bool settings_any(yyjson_val *rec, bool locks);

/*
 * What the record of a group wants for the setting at position `i`, as JSON text in the form of the REST API; an empty
 * buffer when the record does not say. False behind the last setting.
 */
bool settings_wanted(yyjson_val *rec, size_t i, const char **out_name, bool *out_lock, struct gs_buf *out);

/* What holds of a setting that nobody has set, as JSON text in the form of the REST API; NULL: no such setting is known. */
const char *settings_usual(const char *name);

#endif
