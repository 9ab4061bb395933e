/*
 * redact: a bundle written anew without what a policy withholds.
 *
 * redact_run() over an open bundle whose bytes were verified, into a new writer -> redact_meta() for its manifest. What
 * is not withheld stays as it is, records byte for byte; what is withheld stands in the ledger (ledger.md). The same
 * bundle and policy give the same result.
 */
#ifndef EXPORT_REDACT_H
#define EXPORT_REDACT_H

#include "formats/bundle.h"
#include "formats/policy.h"

struct redact_result {
    uint64_t records, values, files; /* withheld */
    uint64_t kept_records, kept_files;
};

struct redact_opts {
    const struct policy *policy;
    const volatile int *stop; /* NULL */
    void (*progress)(void *cookie, uint64_t records);
    void *cookie;
};

int redact_run(struct bundle *b, const struct redact_opts *o, struct bundle_writer *w, struct redact_result *out,
               struct gs_err *err) GS_MUST_USE;

/* What the new manifest says; the strings belong to `b` and to this. */
struct redact_meta {
    struct bundle_meta meta;
    struct gs_buf redaction, watermarks;
    char set_id[33];
};
int redact_meta(const struct bundle *b, const struct policy *p, const struct redact_result *r, struct redact_meta *out,
                struct gs_err *err) GS_MUST_USE;
void redact_meta_release(struct redact_meta *m);

#endif
