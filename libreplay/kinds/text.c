#include "libreplay/kinds/text.h"

#include <string.h>

int text_to_send(struct run *r, const char *text, yyjson_val *owner, char **out, struct gs_err *err)
{
    (void)r;
    (void)owner;
    *out = text ? strdup(text) : NULL;
    return *out || !text ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}
