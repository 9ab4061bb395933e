/*
 * cli: what both tools' command lines have in common.
 *
 * A tool is a table of verbs; a verb has a table of typed options. Parsing, usage lines, --help, the OPTIONS part of the man
 * pages and shell completion all come from these tables (`snap __man`, `snap __complete`). Options are long (--name VALUE,
 * --name=VALUE), some with a one-letter form; no abbreviations; a single-valued option given twice, an unknown one, a missing
 * or an excess argument is wrong usage (exit 2).
 *
 * stdout carries the result (text, or --json: one versioned object or one object per line); stderr carries talk. An error is
 * printed as
 *     snap create: group 'a/b' was not found [group-not-found]
 *       what to do: check the group's full path, ...
 * and with --json additionally as {"error":{"code":...,"text":...,"hint":...,"exit":...}} on stdout's last line.
 *
 * A verb file (one per verb) looks like this:
 *
 *   struct opts {
 *       struct cli_remote r;       first (or struct cli_common, in a verb without network)
 *       struct cli_key key;
 *       bool deep;
 *   };
 *   static const struct cli_opt opts[] = {
 *       {.name = "deep", .type = CLI_FLAG, .offset = offsetof(struct opts, deep), .help = "look at every record"},
 *       {0},
 *   };
 *   static const struct cli_part parts[] = {{cli_opts_remote, 0}, {cli_opts_key, offsetof(struct opts, key)}, {0}};
 *   static int run(struct cli *cli, void *optv, int argc, char **argv) {...}   argv[0] is the first argument
 *   const struct cli_verb snap_verb_create = {.name = "create", .args = "GROUP", .min_args = 1, .max_args = 1, .run = run,
 *       .summary = "...", .text = "...", .opts = opts, .more = parts, .opts_size = sizeof(struct opts)};
 *
 * --json, --quiet, --verbose and --help are there by themselves.
 */
#ifndef CLI_H
#define CLI_H

#include "formats/age.h"
#include "formats/bundle.h"
#include "formats/sign.h"
#include "formats/trust.h"
#include "libcommon/buf.h"
#include "libcommon/err.h"
#include "libcommon/json.h"
#include "libcommon/log.h"
#include "libcommon/secret.h"
#include "libgitlab/http.h"
#include "libgitlab/rest.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_type {
    CLI_FLAG,   /* bool */
    CLI_STR,    /* const char * */
    CLI_LIST,   /* struct cli_list: may be repeated */
    CLI_UINT,   /* unsigned, with min and max (max 0: none) */
    CLI_SIZE,   /* uint64_t: 512, 64k, 4m, 2g (powers of 1024) */
    CLI_CHOICE, /* int: position in `choices` ("auto|relations|api") */
};

struct cli_list {
    const char **v;
    size_t n;
};

struct cli_opt {
    const char *name;     /* without dashes; NULL ends the table */
    char letter;          /* or 0 */
    enum cli_type type;
    size_t offset;        /* of the variable in the verb's option struct */
    const char *arg;      /* "FILE"; NULL for flags */
    const char *choices;  /* CLI_CHOICE */
    unsigned min, max;    /* CLI_UINT */
    const char *help;     /* one sentence, lower case start, no full stop */
    bool required;
    bool hidden;          /* advanced: in the man page, not in --help */
};

/* A shared option table, and where in the verb's option struct its own struct stands. */
struct cli_part {
    const struct cli_opt *opts; /* NULL ends the list */
    size_t at;
};

struct cli;

struct cli_verb {
    const char *name;
    const char *args;     /* "FILE [GROUP[/RELATION]]", "" */
    unsigned min_args, max_args;
    const char *summary;  /* one line */
    /* Paragraphs for --help and the man page, parted by empty lines and wrapped; a line that begins with a blank is shown as
     * it is (at most 76 columns). "%s" stands for the tool's name. May be NULL. */
    const char *text;
    const struct cli_opt *opts;        /* may be NULL */
    const struct cli_part *more;       /* shared option tables (cli_opts_remote ...); may be NULL */
    size_t opts_size;     /* of the option struct, which begins with struct cli_common */
    /* The first SIGINT, SIGTERM or SIGHUP ends the process at once; otherwise it sets cli_stop, and the verb looks at that. */
    bool ends_at_once;
    int (*run)(struct cli *cli, void *opts, int argc, char **argv); /* returns the exit code */
};

/* Every verb's option struct begins with this. */
struct cli_common {
    bool json, quiet, help;
    bool verbose;
};
extern const struct cli_opt cli_opts_common[];

/* Options of verbs that talk to a GitLab: first in the option struct, as `struct cli_remote r;`, `at` 0. */
struct cli_remote {
    struct cli_common c;
    const char *url, *token_file, *token_command, *cacert;
    bool allow_http;
    unsigned jobs, rate, max_wait;
};
extern const struct cli_opt cli_opts_remote[]; /* --url (required) --token-file --token-command --cacert --allow-http --jobs --rate */
extern const struct cli_opt cli_opts_remote_known[]; /* the same where a state file may know the URL: --url may be left out */

/* Options of verbs that open a bundle. */
struct cli_trust {
    struct cli_list trust, identity;
    const char *age_passphrase_file;
    unsigned require;
    uint64_t max_bundle, max_manifest, max_sums, max_index, max_member, max_ledger, max_record;
    unsigned max_members, max_depth, threads;
};
extern const struct cli_opt cli_opts_trust[]; /* --trust (list) --require --identity (list) --age-passphrase-file --threads and the limits --max-... */

/* Options of verbs that say whether a bundle may be loaded: is it older than what was loaded before? */
struct cli_fresh {
    bool allow_rollback;
};
extern const struct cli_opt cli_opts_fresh[]; /* --allow-rollback */

/* Options of verbs that sign. */
struct cli_key {
    const char *key, *passphrase_file;
};
extern const struct cli_opt cli_opts_key[]; /* --key (required) --passphrase-file */

/* Options of verbs that make a file which may be encrypted. */
struct cli_seal {
    struct cli_list to;
    bool passphrase;
    const char *passphrase_file;
};
extern const struct cli_opt cli_opts_seal[]; /* --encrypt-to (list) --encrypt-passphrase --age-passphrase-file */

/* What a tool is. The texts follow the rules of cli_verb.text. */
struct cli_codes;
struct cli_tool {
    const char *name, *summary;
    const struct cli_verb *const *verbs; /* ended by NULL */
    const char *description, *files, *environment, *examples, *see_also; /* of the man page */
    const struct cli_codes *codes; /* further sections of the man page; ended by a NULL title; may be NULL */
};

/* A list of stable names with what each means: what was left out, what is lost. */
struct cli_codes {
    const char *title, *intro;
    bool (*code)(size_t i, const char **out_name, const char **out_text); /* false: there is no such row */
};

struct cli {
    const char *tool;                /* "snap" as invoked */
    const struct cli_tool *about;
    const struct cli_verb *verb;     /* the running one; NULL before that */
    struct cli_common *common;
    struct gs_log log;               /* to stderr, at the level asked for; cuts through a progress line cleanly */
    bool tty;                        /* stderr is a terminal and colour/progress is wanted (NO_COLOR honoured for colour) */
    bool colour;
};

/*
 * Set by SIGINT, SIGTERM and SIGHUP, unless they were ignored when the process began. A second one ends the process at once
 * with 128+N; what comes within 0.3 s counts as the same one. Handed to gl_client_opts.stop.
 */
extern volatile int cli_stop;
extern volatile sig_atomic_t cli_signal; /* which one */

/* Set by SIGUSR1: somebody wants to know how far the verb is. It ends no verb, also one that does not look at this. */
extern volatile sig_atomic_t cli_asked;

/* The whole life of a tool: signals, parsing, dispatch, exit code. */
int cli_main(const struct cli_tool *about, int argc, char **argv);

/* Prints an error as described above and gives the exit code that belongs to it (128+N when stopped by signal N). */
int cli_error(struct cli *cli, const struct gs_err *err);
/* Wrong use that the tables cannot express (options that exclude each other): message and usage line; gives exit code 2. */
int cli_usage(struct cli *cli, const char *fmt, ...) GS_PRINTF(2, 3);
/* A line on stderr unless --quiet. Like cli_warn(), it makes control characters harmless itself. */
void cli_note(struct cli *cli, const char *fmt, ...) GS_PRINTF(2, 3);
/* The same with "warning: " in front, also with --quiet. */
void cli_warn(struct cli *cli, const char *fmt, ...) GS_PRINTF(2, 3);
/* Result on stdout; a failed write (closed pipe, full disk) is remembered and makes the exit code 1. */
void cli_out(struct cli *cli, const char *fmt, ...) GS_PRINTF(2, 3);
void cli_out_buf(struct cli *cli, const struct gs_buf *b);
/* JSON text; on a terminal, characters that could play tricks on it are written as \uXXXX, which is the same value. */
int cli_out_json(struct cli *cli, const struct gs_buf *b, struct gs_err *err) GS_MUST_USE;
/* False once a write on stdout has failed: a verb with much to print may end early. */
bool cli_out_ok(const struct cli *cli);
/* From here on cli_out() and cli_out_buf() append to `to`; NULL: to stdout again. */
void cli_out_into(struct cli *cli, struct gs_buf *to);
/* For one who prints over a long time. */
void cli_out_flush(struct cli *cli);
/* Is stdout a terminal on which text can be overwritten, and how large? */
bool cli_out_screen(const struct cli *cli, unsigned *out_rows, unsigned *out_columns);
/* A line cut to the width of the screen, so that it does not wrap. */
void cli_screen_line(const char *line, unsigned columns, char *out, size_t cap);
/* Lines that are made harmless already, on stderr, out of the way of the status line; also with --quiet. */
void cli_err_text(struct cli *cli, const char *text);
/*
 * --json: begins the object every verb prints, {"schema":"groupsnap.<what>/1", for the caller to go on with; the end adds
 * the closing brace and prints it as one line. One line per object, so that the last line may be an error.
 */
void cli_json_begin(struct gs_jw *w, struct gs_buf *buf, const char *what, struct gs_err *err);
int cli_json_end(struct cli *cli, struct gs_jw *w) GS_MUST_USE;
/*
 * Text from outside (names, server's words) for people: control characters, escape sequences, bidirectional overrides and
 * invalid UTF-8 are shown as \x1b, \u202e ... Ring of 16 buffers per thread, 4 KiB each; longer text is cut with "...".
 */
const char *cli_safe(const char *s);
/* For JSON, which escapes by itself: valid UTF-8 stays as it is, anything else becomes cli_safe(). */
const char *cli_valid(const char *s);
/* Columns that UTF-8 text takes on a terminal. */
unsigned cli_width(const char *s);
/* "12.3 MiB", "1,234", "3m 20s" into one of a ring of static buffers. */
const char *cli_bytes(uint64_t n);
const char *cli_count(uint64_t n);
const char *cli_span(int64_t ms);

/* Token (environment GITLAB_TOKEN, --token-file, --token-command) and client from the remote options. */
int cli_client(struct cli *cli, const struct cli_remote *r, bool need_token, struct gl_client **out,
               struct gs_err *err) GS_MUST_USE;

/* One status line on a terminal (nothing elsewhere), rewritten at most ten times a second; cli_progress_end() removes it. */
void cli_progress(struct cli *cli, const char *fmt, ...) GS_PRINTF(2, 3);
void cli_progress_end(struct cli *cli);

/*
 * The trusted keys: of --trust, otherwise of the trust store. None is GS_E_NO_TRUST when `need`, or with --require. What was revoked in
 * the store counts in any case. `out` is to be released by the caller in any case.
 */
int cli_trust_load(const struct cli_trust *t, bool need, struct sign_trust *out, struct gs_err *err) GS_MUST_USE;
/*
 * Opens a bundle under the options' limits and threads. `trust` without keys: not verified (a verb that may do so says it).
 * `trust` must live as long as the bundle. An encrypted file is opened with --identity or a passphrase, and read as it is decrypted.
 */
int cli_bundle_open(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path, struct bundle **out,
                    struct gs_err *err) GS_MUST_USE;
/* The same of a source that is open, which the bundle then owns, also when this fails; `path` is its name. */
int cli_bundle_open_source(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path, struct gs_source *src,
                           struct bundle **out, struct gs_err *err) GS_MUST_USE;
/* What is in an encrypted source; another one stays as it is. It is closed when this fails. */
int cli_source_decrypt(struct cli *cli, const struct cli_trust *t, const char *path, struct gs_source *src, struct gs_err *err) GS_MUST_USE;
/* The same without looking into it: a file as it is, or what is in an encrypted one, or in the volumes that `path` names one of or the
 * folder of, whose labels are verified against `trust`. */
int cli_source_open(struct cli *cli, const struct cli_trust *t, const struct sign_trust *trust, const char *path, struct gs_source *out,
                    struct gs_err *err) GS_MUST_USE;
/* Header and keys of the encrypted file that the options ask for; *out NULL: they ask for none. The caller frees it. */
int cli_seal_new(struct cli *cli, const struct cli_seal *o, struct age_seal **out, struct gs_err *err) GS_MUST_USE;
/* The folder of the trust store of who runs the tool, and the file that remembers what was loaded; NULL: there is no home. The caller
 * frees it. */
char *cli_trust_dir(void);
char *cli_seen_file(void);
/* Is a bundle whose signature holds older than one of the same source that was loaded before? GS_E_ROLLBACK, or a warning. */
int cli_fresh_check(struct cli *cli, const struct cli_fresh *f, const struct bundle *b, struct gs_err *err) GS_MUST_USE;
/* Remembers that this bundle is loaded; what prevents that is a warning. */
void cli_fresh_note(struct cli *cli, const struct bundle *b);
/* The name of what was divided, when `path` is a volume or the folder of one ("x/team.gsnap.vol03" -> "x/team.gsnap"); another name
 * stays. The caller frees it. */
char *cli_divided_name(const char *path);
/* The name of the file beside `path` that holds a signature by this key. The caller frees it. */
char *cli_beside_name(const char *path, const uint8_t id[SIGN_KEYID_LEN]);
/* Puts the file in front of an error's text unless that names it already. Returns -1. */
int cli_wrap_file(struct gs_err *err, const char *path);
/* The secret key, with its passphrase from --passphrase-file or the terminal when it has one. */
int cli_key_load(struct cli *cli, const struct cli_key *k, struct sign_seckey **out, struct gs_err *err) GS_MUST_USE;
/* Asks on the terminal; Ctrl-C there ends the process at once with the terminal as it was. */
int cli_ask_secret(struct cli *cli, const char *prompt, struct gs_secret *out, struct gs_err *err) GS_MUST_USE;

/* Asks for a new passphrase until it was typed twice alike; `empty` is the code when it cannot be had. */
int cli_ask_twice(struct cli *cli, const char *prompt, enum gs_code empty, const char *empty_text, struct gs_secret *out,
                  struct gs_err *err) GS_MUST_USE;

/*
 * Puts a question of yes or no about `about` ("load this into URL? [y/N]") to who sits at stdin, which must be a terminal:
 * GS_E_NOT_CONFIRMED. A signal there ends the process at once with 128+N, one that came before it is GS_E_STOPPED.
 */
int cli_ask_yes(struct cli *cli, const char *question, const char *about, bool *out, struct gs_err *err) GS_MUST_USE;

/* Verbs that both tools have. */
extern const struct cli_verb cli_verb_inspect, cli_verb_verify, cli_verb_cat, cli_verb_trust, cli_verb_join, cli_verb_repair;

#endif
