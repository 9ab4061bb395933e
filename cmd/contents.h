/*
 * contents: what lies in a bundle, added up per group and relation; for the verbs that show it.
 *
 * contents_load() -> rows sorted by group (order of bundle_groups()) and relation name -> contents_release().
 * Strings and groups belong to the bundle.
 */
#ifndef CONTENTS_H
#define CONTENTS_H

#include "formats/bundle.h"

struct contents_row {
    const struct bundle_group *group;
    const char *relation;
    unsigned parts;
    uint64_t records, raw, stored;
};

struct contents {
    struct contents_row *rows;
    size_t n_rows;
    uint64_t records, raw, stored;
    uint64_t files, file_bytes; /* plain files: avatars, uploads */
};

int contents_load(const struct bundle *b, struct contents *out, struct gs_err *err) GS_MUST_USE;
void contents_release(struct contents *c);
/* The rows of one group: *out_n of them from the returned one on. */
const struct contents_row *contents_of(const struct contents *c, const struct bundle_group *g, size_t *out_n);

/* The group with this full path or id; NULL when there is none. */
const struct bundle_group *contents_group(const struct bundle *b, const char *path_or_id, size_t len);

/* Hexadecimal digits of a digest; `out` holds 2 * len + 1. */
void contents_hex(const uint8_t *data, size_t len, char *out);

/* How one signature of a bundle stands, as the object {"member":...,"key_id":...,"verified":...} of --json. */
void contents_json_signature(struct gs_jw *w, const struct bundle_signature *s);
/* Two lines for people about a signature that holds. */
struct cli;
void contents_print_signer(struct cli *cli, const struct bundle_signature *s);

#endif
