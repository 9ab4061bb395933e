/*
 * books_out: the result of a reconciliation on its way out: lines of JSON into the file of --books and to stdout with --json, CSV,
 * or a table for people.
 *
 * The file is what a receipt is about (formats/receipt.h): one object per line, the first is the head, the last the summary.
 */
#ifndef REPLAY_BOOKS_OUT_H
#define REPLAY_BOOKS_OUT_H

#include "cmd/cli.h"
#include "libbooks/readback.h"
#include "libbooks/reconcile.h"
#include "libcommon/io.h"

enum books_csv { BOOKS_CSV_NONE, BOOKS_CSV_BOOKS, BOOKS_CSV_FINDINGS };

struct books_head {
    struct bundle *bundle;
    const char *bundle_path, *state_path; /* state_path NULL: no state file was used */
    const char *target_url;
    const struct gl_instance *target;
    const struct readback *read;
    enum native_importer importer;
};

struct books_out {
    struct cli *cli;
    bool json, all;     /* all: also what a rule explains, for people */
    enum books_csv csv;
    struct gs_stage stage;
    const char *path;   /* of the file; NULL: none */
    struct gs_buf file; /* lines that are not written yet */
    uint64_t told, kept_back; /* findings for people */
    struct code_count {
        char code[64];
        const char *verdict;
        uint64_t n;
    } *codes;
    size_t n_codes;
};

/* `path` NULL: no file. Ended by books_out_close() in any case; without books_out_end() before that no file is left. */
int books_out_open(struct books_out *o, struct cli *cli, const char *path, enum books_csv csv, bool all, struct gs_err *err) GS_MUST_USE;
int books_out_head(struct books_out *o, const struct books_head *h, struct gs_err *err) GS_MUST_USE;
/* For struct reconcile_opts; the cookie is the struct books_out. */
int books_out_item(void *cookie, const struct diff_item *i, struct gs_err *err);
int books_out_row(void *cookie, const struct books_row *r, struct gs_err *err);
/* The sums, and the file is there. */
int books_out_end(struct books_out *o, const struct books_head *h, const struct reconcile_result *r, int exit_code,
                  struct gs_err *err) GS_MUST_USE;
void books_out_close(struct books_out *o);

#endif
