/*
 * rules: which attributes a rule of libreplay/loss.h speaks of, so that a difference there is explained by it and no other one is.
 */
#ifndef BOOKS_RULES_H
#define BOOKS_RULES_H

#include <stdbool.h>

/*
 * Does a loss of this code explain that the attribute of a record is not as at the source? `detail` is the loss's own, NULL: it has none.
 * `there` is the value on the target as plain text, NULL: it has none there; where the detail says what the load found there, something else
 * is not explained. A code that the table does not know explains nothing; tests/unit/test_rules.c sees that there is none.
 */
bool rules_explain(const char *code, const char *detail, const char *attr, const char *there);
/* Does the table know the code? */
bool rules_known(const char *code);

#endif
