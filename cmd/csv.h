/*
 * csv: rows for spreadsheets, as RFC 4180 has them. A field that a spreadsheet would take for a formula gets an apostrophe in front:
 * names come from outside.
 */
#ifndef CMD_CSV_H
#define CMD_CSV_H

#include "cmd/cli.h"

/* Appends one row; NULL is an empty field. */
int csv_line(struct gs_buf *to, const char *const *fields, size_t n, struct gs_err *err) GS_MUST_USE;
/* One row on stdout. */
int csv_row(struct cli *cli, const char *const *fields, size_t n, struct gs_err *err) GS_MUST_USE;
#define CSV_ROW(cli, err, ...) \
    csv_row(cli, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), err)
/* A number as a field; one of a ring of 16 static buffers. */
const char *csv_number(uint64_t n);

#endif
