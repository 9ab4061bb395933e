/*
 * output: what the verbs that make a bundle have in common: the place it goes to, its key, the lock, the staging folder, and
 * the report at the end.
 *
 * snap_output_open() before anything that costs time -> records go to out.writer -> snap_output_finish() ->
 * snap_output_report(); snap_output_close() always. Nothing is left behind on failure.
 */
#ifndef SNAP_OUTPUT_H
#define SNAP_OUTPUT_H

#include "cmd/cli.h"
#include "libexport/book.h"
#include "libexport/redact.h"

/* Options of these verbs besides --key. */
struct snap_output_opts {
    const char *path, *time, *serial;
    int encoding; /* position in "ndjson|msgpack" */
    unsigned level;
};
extern const struct cli_opt snap_output_opts_table[];

struct snap_output {
    const char *path;
    char *work, *lock_path;
    int lock_fd;
    struct sign_seckey *key;
    struct age_seal *seal; /* NULL: not encrypted */
    struct bundle_writer *writer;
    int64_t time_ms;  /* of --time; 0: now */
    uint64_t serial;
    int64_t begun_ms;
    const struct redact_result *withheld; /* by a policy; NULL: there was none */
    char set_id[33];
    char file_id[80]; /* by which a later run knows the file again: the set id, or the id of an encrypted file's header */
    /* after snap_output_finish() */
    uint64_t size;
    char digest[65];
};

int snap_output_open(struct cli *cli, const struct snap_output_opts *o, const struct cli_key *key, const struct cli_seal *seal,
                     struct snap_output *out, struct gs_err *err) GS_MUST_USE;
/*
 * The folder in which the bundle is collected, once it is certain that there is something to write. `dir` NULL: FILE.work itself, which
 * must not keep a capture then (GS_E_EXISTS).
 */
int snap_output_begin(struct snap_output *out, const struct snap_output_opts *o, const char *dir,
                      struct gs_err *err) GS_MUST_USE;
/* The exit code that a capture with these sums earns. */
int snap_output_exit(const struct book_summary *s);
/*
 * After snap_output_open() failed with GS_E_EXISTS: is FILE the bundle of the capture that FILE.work keeps, of this source and group,
 * whose run was ended before it could tidy up? Then this does it, and *out_exit is the exit code of that capture.
 */
int snap_output_tidy(struct snap_output *out, const char *url, const char *group, bool *out_done, int *out_exit,
                     struct gs_err *err) GS_MUST_USE;
/*
 * The ids of the bundle and its file, in out->set_id and out->file_id; that of the bundle is meta->set_id where there is one.
 * snap_output_finish() does it where it was not done before.
 */
int snap_output_identify(struct snap_output *out, const struct bundle_meta *meta, struct gs_err *err) GS_MUST_USE;
/* Packs and signs. Sets the times and ids of `meta` that the options fix. */
int snap_output_finish(struct cli *cli, struct snap_output *out, struct bundle_meta *meta, struct gs_err *err) GS_MUST_USE;
/* What was carried and what was not; gives the exit code. `stats` may be NULL (no network). */
int snap_output_report(struct cli *cli, struct snap_output *out, const char *what, const struct bundle_meta *meta,
                       uint64_t groups, const struct book_summary *s, const struct gl_stats *stats,
                       const struct cli_key *key);
/* "withheld" of the verbs that know a policy; nothing where there was none. */
void snap_output_json_withheld(const struct snap_output *out, struct gs_jw *w);
void snap_output_close(struct snap_output *out);

#endif
