/*
 * native: what GitLab's own importers do not carry, so that a comparison of their work with the bundle says of each difference whether it is
 * nobody's fault. The counterpart of libreplay/loss.h, for loads that this program did not do: nothing was noted, so that each rule looks at the
 * records and explains exactly what such an importer leaves, and nothing else.
 */
#ifndef BOOKS_NATIVE_H
#define BOOKS_NATIVE_H

#include <stdbool.h>

enum native_importer {
    NATIVE_NONE,
    NATIVE_TRANSFER, /* direct transfer, from a source or from `replay serve` */
    NATIVE_FILE,     /* the import of a group export file */
};

/* What is known of an import. */
struct native_import {
    enum native_importer by;
    /* "18.5.0-ee": of the source as the importer saw it, and of the target; the older one decides what an importer asks for. NULL: not known, and
     * then nothing is explained by them. */
    const char *source_version, *target_version;
};

struct native_rule {
    const char *code, *text;
};
extern const struct native_rule native_rules[]; /* ended by a NULL code */

/*
 * Is `username` that of a placeholder user, which GitLab makes for a user of the source? ("ingridhalden_placeholder_1x2y3z", and as it was called
 * before, "ingridhalden_placeholder_user_7".) *out_len: of what stands before that: the letters and digits of the name at the source.
 */
bool native_placeholder(const char *username, unsigned long *out_len);

#endif
