/* text: what is sent for a text that a person wrote: the description of an epic, the body of a comment. */
#ifndef RP_TEXT_H
#define RP_TEXT_H

#include "libreplay/kind.h"

/*
 * The one place where such a text is changed before it is sent, and before what the target shows is compared with it.
 * `text`: as the record has it, NULL when it has none. `owner`: the object that holds the text, for who wrote it (author_id,
 * author) and when (created_at). *out is to be freed; NULL when nothing is to be sent. The same record always gives the same text. Today
 * every text goes as it is.
 */
int text_to_send(struct run *r, const char *text, yyjson_val *owner, char **out, struct gs_err *err) GS_MUST_USE;

#endif
