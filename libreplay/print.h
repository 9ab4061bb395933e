/*
 * print: a fingerprint of an object as the target shows it, so that it can be told later whether somebody changed it.
 *
 * It covers the attributes that the kind names (kind.h, `seen`), and "milestone.id" or "labels[].id" below them. What
 * is absent, null, false, 0, an empty text or an empty array are one, since answers differ in what they leave out.
 */
#ifndef RP_PRINT_H
#define RP_PRINT_H

#include "libcommon/json.h"
#include "libgitlab/http.h"

/* Never 0, except when there is no memory or `obj` does not hold the first attribute. */
int64_t print_of(yyjson_val *obj, const char *const *fields);
/* The print of the object with this id out of an answer that is the object or an array with it. Leaves *io alone when
 * it is not in there. */
void print_answer(const struct gl_response *rsp, int64_t id, const char *const *fields, int64_t *io);

#endif
