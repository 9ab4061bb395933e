/*
 * loss: what a load over the API cannot carry, one stable code per rule. Shown by `plan` before anything is written,
 * stored with the record it concerns, in --json, in the man page.
 */
#ifndef RP_LOSS_H
#define RP_LOSS_H

#include <stdbool.h>

struct loss_rule {
    const char *code;
    const char *relation; /* "labels", or "*" */
    bool whole;           /* the record is not loaded at all; else it is, but for a part of it */
    const char *text;     /* one sentence: what is not as at the source, and why */
};
extern const struct loss_rule loss_rules[]; /* ended by a NULL code */
const struct loss_rule *loss_find(const char *code);

#endif
