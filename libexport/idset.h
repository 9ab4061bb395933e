/*
 * idset: a set of positive ids that grows. Used to notice that a source shows one object twice while it is paged through.
 * 16 bytes per id at most; idset_init() .. idset_add() .. idset_release().
 */
#ifndef EXPORT_IDSET_H
#define EXPORT_IDSET_H

#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idset {
    int64_t *slots; /* 0: empty */
    size_t cap, n;
};

void idset_init(struct idset *s);
void idset_release(struct idset *s);
/* *out_new: it was not there before. Ids of 0 or less are always new. */
int idset_add(struct idset *s, int64_t id, bool *out_new, struct gs_err *err) GS_MUST_USE;
bool idset_has(const struct idset *s, int64_t id);

#endif
