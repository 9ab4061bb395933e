/* inspect: the ledger of a bundle, added up for people; for cmd_inspect.c. */
#ifndef INSPECT_H
#define INSPECT_H

#include "formats/bundle.h"
#include "formats/reasons.h"

/* What one rule left out or lost, over all groups. */
struct inspect_rule {
    char *name, *entry; /* "secret-field", "left_out" */
    uint64_t count, lines;
};

struct inspect_ledger {
    uint64_t lines;
    /* "fetch" */
    uint64_t fetches, pages, records, bytes, retries, waits_ms;
    /* "capture": what it cost; without it the numbers are 0 */
    bool has_capture;
    uint64_t requests, repeated, kept, longest_pause_ms, passes;
    /* "relation": the balance */
    uint64_t relations, announced, unannounced, stored, left_out;
    /* "left_out", "lost" */
    struct inspect_rule *rules;
    size_t n_rules;
    uint64_t fallbacks, changed, settled;
    struct reasons reasons; /* of the fallbacks, and of what was not read at all */
    /* "watermark": relations that had not moved at the end; of these, those of which not every record was compared */
    uint64_t watched, watched_partly;
    /* lines of these as JSON array elements, each with a comma behind it */
    struct gs_buf fallback_lines, changed_lines, settled_lines;
};

int inspect_ledger_load(const struct bundle *b, struct inspect_ledger *out, struct gs_err *err) GS_MUST_USE;
void inspect_ledger_release(struct inspect_ledger *l);
int inspect_ledger_json(const struct inspect_ledger *l, struct gs_jw *w, struct gs_err *err) GS_MUST_USE;

#endif
