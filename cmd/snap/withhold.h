/*
 * withhold: what 'redact' and 'create --policy' have in common: a verified bundle written anew without what a policy withholds.
 *
 * snap_withhold() -> snap_output_finish() with withheld.meta.meta -> snap_withheld_release(), always, before the bundle is closed.
 */
#ifndef SNAP_WITHHOLD_H
#define SNAP_WITHHOLD_H

#include "cmd/snap/output.h"
#include "libexport/redact.h"

struct snap_withheld {
    struct redact_result sums;
    struct redact_meta meta;
};

/* `dir` as that of snap_output_begin(). Encoding and level are those of `so`. */
int snap_withhold(struct cli *cli, struct bundle *b, const struct policy *p, const struct snap_output_opts *so, const char *dir,
                  struct snap_output *out, struct snap_withheld *w, struct gs_err *err) GS_MUST_USE;
void snap_withheld_release(struct snap_withheld *w);

#endif
