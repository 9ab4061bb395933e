/* filter: the options by which verbs say which records they mean (report.h). */
#ifndef REPLAY_FILTER_H
#define REPLAY_FILTER_H

#include "cmd/cli.h"
#include "libreplay/report.h"

struct filter_args {
    const char *code, *relation, *group;
};
extern const struct cli_opt filter_opts[]; /* --code --relation --group */

/* `key` may be NULL. Strings stay those of the arguments. */
struct report_filter filter_of(const struct filter_args *a, const char *key);
/* "code refused, relation labels", or "all" */
const char *filter_words(const struct report_filter *f, char *out, size_t cap);

/* Who decides: the name of the user who runs this program. */
const char *filter_user(char *out, size_t cap);

#endif
