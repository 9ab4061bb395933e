/*
 * reasons: what was read another way than first tried, and what was not read at all, as it is shown: at the end of a capture, while it
 * runs, and of a bundle.
 */
#ifndef CMD_REASONS_H
#define CMD_REASONS_H

#include "formats/reasons.h"
#include "libcommon/json.h"

/* The keys "other_ways" and "not_read" of the open object. */
void reasons_json(struct gs_jw *w, const struct reason *v, size_t n);
/* A heading and a line per reason, for each of both that there is. */
void reasons_lines(const struct reason *v, size_t n, void (*line)(void *cookie, const char *text), void *cookie);

#endif
