/*
 * users_csv: the user map. RFC 4180 with strict quoting, CRLF or LF, an UTF-8 BOM allowed; every error names the line.
 *
 * The header line names the columns: one or more of source_id, source_username, source_email, and target_id or
 * target_username. In a line, the first source column that is not empty says who is meant. An empty target leaves this
 * person out on purpose.
 */
#ifndef RP_USERS_CSV_H
#define RP_USERS_CSV_H

#include "libcommon/cleanup.h"
#include "libcommon/err.h"

#include <stdint.h>

struct users_csv_line {
    unsigned line;
    int64_t source_id; /* 0: not given */
    char *source_username, *source_email;
    int64_t target_id;     /* 0: not given */
    char *target_username; /* NULL: not given */
};

struct users_csv {
    char *name; /* of the file */
    struct users_csv_line *lines;
    size_t n;
};

/* GS_E_USER_MAP, GS_E_NOT_FOUND, GS_E_IO, GS_E_LIMIT (64 MiB). */
int users_csv_load(const char *path, struct users_csv **out, struct gs_err *err) GS_MUST_USE;
/* The same from memory; `name` is for messages. */
int users_csv_parse(const char *name, const char *text, size_t len, struct users_csv **out,
                    struct gs_err *err) GS_MUST_USE;
void users_csv_free(struct users_csv *c);
GS_DEFINE_AUTO(users_csv, users_csv_free);

/* The line about a source user; *out NULL when there is none. Two lines about one user are GS_E_USER_MAP. */
int users_csv_find(const struct users_csv *c, int64_t id, const char *username, const char *email,
                   const struct users_csv_line **out, struct gs_err *err) GS_MUST_USE;

#endif
