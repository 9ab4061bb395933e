/*
 * attribution: the end of a text that says who wrote it at the source and when, where the target cannot be told.
 *
 *     TEXT
 *
 *     ---
 *
 *     *Written by Ann Example (`ann`) at the source on 2024-01-02 03:04 UTC*
 *     <!-- groupsnap:attribution user=7 username=ann created_at=2024-01-02T03:04:05.678Z -->
 *
 * The first line is for people, and mentions nobody; the second, which GitLab does not show, for programs. A part that is not known is
 * left out. attribution_find() takes it apart again, so that a text can be compared without it.
 */
#ifndef RP_ATTRIBUTION_H
#define RP_ATTRIBUTION_H

#include "libcommon/buf.h"
#include "libcommon/err.h"
#include "libcommon/json.h"
#include "libreplay/state.h"

#include <stdbool.h>
#include <stdint.h>

struct attribution {
    int64_t user;           /* id at the source; 0: not known */
    const char *username;   /* NULL: not known */
    const char *name;       /* for people; NULL: not known */
    const char *created_at; /* as GitLab writes times; NULL: not known, or the target has it */
};

/* Appends it to `text`. Nothing when nothing is known. */
int attribution_add(const struct attribution *a, struct gs_buf *text, struct gs_err *err) GS_MUST_USE;

/*
 * The same for what a record names: the person with this id at the source (0: not known), who the state file knows better than `author`, the
 * object of the record that names him (NULL: it does not); `created_at` NULL as above.
 */
int attribution_of(struct state *s, int64_t user, yyjson_val *author, const char *created_at, struct gs_buf *text, struct gs_err *err) GS_MUST_USE;

struct attribution_found {
    size_t text_len; /* of what stands before it */
    int64_t user;
    char username[256], created_at[32]; /* "" when not there */
};
/* Is there one at the end? White space behind it does not count, since GitLab strips it. */
bool attribution_find(const char *text, size_t len, struct attribution_found *out);

#endif
