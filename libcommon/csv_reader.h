/*
 * csv_reader: records of a CSV text (RFC 4180 with strict quoting; CR LF or LF, an UTF-8 BOM allowed). What is wrong is said with the line and
 * the code that the reader was given.
 */
#ifndef GS_CSV_READER_H
#define GS_CSV_READER_H

#include "libcommon/buf.h"
#include "libcommon/err.h"

#define CSV_COLUMNS_MAX 16

struct csv_reader {
    const char *name, *p, *end;
    enum gs_code code;
    unsigned line;      /* of the record that is being read */
    unsigned next_line; /* behind what was read */
    struct gs_buf field[CSV_COLUMNS_MAX];
    unsigned n;
};

/* The text must live as long as the reader. `name` is for messages. */
void csv_reader_init(struct csv_reader *r, const char *name, const char *text, size_t len, enum gs_code code);
void csv_reader_release(struct csv_reader *r);
/* The next record in r->field[0 .. r->n - 1]; r->n is 0 at the end. Empty lines are passed over. */
int csv_reader_next(struct csv_reader *r, struct gs_err *err) GS_MUST_USE;

#endif
