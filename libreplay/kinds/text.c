#include "libreplay/kinds/text.h"

#include "libreplay/kinds/step.h"

#include <string.h>

int text_to_send(struct run *r, const char *text, yyjson_val *owner, char **out, struct gs_err *err)
{
    yyjson_val *author = step_get(owner, "author");
    int64_t user = 0;
    bool told = false;
    gs_autobuf b;
    gs_buf_init(&b, (size_t)64 << 20);
    *out = NULL;
    if (!gs_json_i64(owner, "author_id", &user))
        gs_json_i64(author, "id", &user);
    if ((text && run_text(r, text, true, &b, err)) || run_acts_as(r, user, &told, err))
        return -1;
    size_t len = b.len;
    if (!told && run_attribution(r, user, author, gs_json_str(owner, "created_at"), &b, err))
        return -1;
    if (b.len > len && run_loss(r, "author-in-text", NULL, err))
        return -1;
    if (!text && b.len == 0)
        return 0;
    *out = strdup(gs_buf_str(&b));
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}
