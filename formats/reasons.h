/*
 * reasons: the ledger's fallbacks, and its relations that were not read at all, added up for people: how often, and why.
 *
 * reasons_fallback(), reasons_unread() for every such line -> reasons_sort() -> .v, .n -> reasons_release(). Start from {0}. Lines whose
 * words differ in a name between single quotes or in a number of a path only, share a reason.
 */
#ifndef GS_REASONS_H
#define GS_REASONS_H

#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REASONS_MAX 256 /* reasons that are kept apart; what comes after them is counted under one */

struct reason {
    bool fallback;             /* read another way than the one first tried; false: not read at all */
    char relation[64];         /* "export": everything of the group */
    char from[32], to[32];     /* of a fallback: the ways, "relations" and "api" */
    char rule[64];             /* of what was not read: the rule of its line */
    char why[256];             /* the words of one of the lines: the first in order; "" when none says any */
    bool varies;               /* others say the same of other names */
    uint64_t entries;          /* lines of the ledger: groups, except where a line is about the whole tree */
    uint64_t records;          /* of what was not read, as far as it was counted */
};

struct reasons {
    struct reason *v;
    size_t n, cap;
};

/* Does a "lost" (or "left_out") line with this rule tell of something that was not read at all? */
bool reasons_is_unread(bool lost, const char *rule);
/* `why` may be NULL. */
int reasons_fallback(struct reasons *r, const char *relation, const char *from, const char *to, const char *why,
                     struct gs_err *err) GS_MUST_USE;
int reasons_unread(struct reasons *r, const char *relation, const char *rule, uint64_t records, const char *why,
                   struct gs_err *err) GS_MUST_USE;
/* One line of these was none in the end. */
void reasons_take_back(struct reasons *r, const char *relation, const char *rule, const char *why);
/* Fallbacks first, then by relation, rule and words. */
void reasons_sort(struct reasons *r);
void reasons_release(struct reasons *r);

#endif
