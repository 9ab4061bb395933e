/* cli_priv: what the files cli*.c share among themselves; verbs use cli.h. */
#ifndef CLI_PRIV_H
#define CLI_PRIV_H

#include "cmd/cli.h"

#include <termios.h>

/* Walks all options of a verb: its own, its shared tables, the common ones. Start with {.verb = v}. */
struct cli_walk {
    const struct cli_verb *verb;
    unsigned table, row;
    const struct cli_opt *opt;
    size_t at;       /* of the variable in the verb's option struct */
    unsigned number; /* 1 for the first */
};
bool cli_walk(struct cli_walk *w);

/* cli_parse.c */
struct cli_parsed {
    void *opts;
    char **args; /* without the options */
    int n_args;
};
#define CLI_MAX_OPTS 64
/* Fills `out` (released in any case by cli_parsed_release()), or reports wrong use and returns -1. */
int cli_parse(struct cli *cli, int argc, char **argv, struct cli_parsed *out) GS_MUST_USE;
void cli_parsed_release(const struct cli_verb *v, struct cli_parsed *p);
/* The candidate most like `word`, or NULL when none is near. */
const char *cli_nearest(const char *word, const char *const *candidates, size_t n);
/* Prints message, hint (NULL: see --help) and usage line; with --json among the arguments the error object, too. Gives 2. */
int cli_wrong_use(struct cli *cli, const char *hint, const char *fmt, ...) GS_PRINTF(3, 4);

/* cli_help.c */
void cli_help_tool(struct cli *cli);
void cli_help_verb(struct cli *cli, const struct cli_verb *v);
/* "snap create --url URL [options] GROUP", into `out`. */
void cli_usage_text(const char *tool, const struct cli_verb *v, char *out, size_t cap);
/* Calls `line` for every paragraph or verbatim line of a text, with the tool's name put in. */
enum cli_block { CLI_PARAGRAPH, CLI_VERBATIM };
int cli_each_block(const char *text, const char *tool, int (*block)(void *cookie, enum cli_block kind, const char *s),
                   void *cookie) GS_MUST_USE;
/* "-o, --output FILE", with three blanks less when no letters stand in the list. */
void cli_opt_head(const struct cli_opt *o, char *out, size_t cap);

/* cli_man.c, cli_complete.c */
int cli_man(struct cli *cli, const char *name);
int cli_complete(struct cli *cli, const char *shell, const char *name);

/* cli_io.c: the terminal and both output streams */
void cli_io_start(struct cli *cli);
/* Flushes stdout; turns a failed write into the exit code. */
int cli_io_finish(struct cli *cli, int rc);
/* What a signal handler may do before it ends the process. */
void cli_io_signal_safe_restore(void);
void cli_io_signal_safe_say(const char *text);
/* From here to the second call a signal ends the process after giving the terminal back its settings. */
void cli_io_prompting(const struct termios *saved);
bool cli_io_is_prompting(void);
/* One whole line on stderr, made harmless, with `head` in front of it as it is. */
void cli_io_line(struct cli *cli, const char *head, const char *text);
/* ANSI sequence or "" without colour. */
const char *cli_colour(const struct cli *cli, const char *seq);
#define CLI_RED "\033[1;31m"
#define CLI_YELLOW "\033[1;33m"
#define CLI_PLAIN "\033[0m"

/* cli_text.c: like cli_safe(), into memory of the caller. */
void cli_safe_into(const char *s, size_t len, char *out, size_t cap);
/* Decodes one UTF-8 character; 0 bytes: invalid. */
size_t cli_utf8(const unsigned char *s, size_t len, uint32_t *out);
bool cli_harmful(uint32_t cp);
unsigned cli_cells(uint32_t cp);
/* Prints the error object of --json. */
void cli_json_error(struct cli *cli, const char *code, const char *text, const char *hint, int exit_code,
                    const struct gs_err *err);

#endif
