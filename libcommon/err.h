/*
 * err: one error object for every layer.
 *
 * The caller owns a struct gs_err, starts it with `= {0}` and passes its address as the last argument.
 * A function that can fail returns 0 or -1; `err` is filled exactly when -1 is returned. The first error
 * wins; callers on the way up add context in front with gs_wrap(). Nothing here allocates.
 *
 * Every code has a stable name (shown in brackets behind a message, in --json and in the man page), the
 * exit code of the tools and a sentence that says what to do next. They are listed once, in err_codes.h.
 */
#ifndef GS_ERR_H
#define GS_ERR_H

#include <stdarg.h>
#include <stddef.h>

#define GS_MUST_USE __attribute__((warn_unused_result))
#define GS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Drops a result on purpose; `why` is for the reader. */
#define GS_IGNORE(expr, why)                                                                                           \
    do {                                                                                                               \
        if (expr) { /* why */                                                                                          \
        }                                                                                                              \
    } while (0)

enum gs_code {
    GS_OK = 0,
#define X(id, name, exit_code, hint) id,
#include "err_codes.h"
#undef X
    GS_E_COUNT
};

/* How far the damage goes. FATAL is the zero value. */
enum gs_scope {
    GS_SCOPE_FATAL = 0, /* the whole operation ends */
    GS_SCOPE_ITEM = 1,  /* this record failed; the others go on */
    GS_SCOPE_RETRY = 2, /* the same call may succeed later */
};

struct gs_err {
    enum gs_code code;
    enum gs_scope scope;
    int sys;                 /* errno, or 0 */
    int http;                /* HTTP status, or 0 */
    char request_id[48];     /* the server's X-Request-Id, or "" */
    char text[600];          /* lower case start, no full stop, outermost context first */
};

/* Fills `err` and returns -1. */
int gs_fail(struct gs_err *err, enum gs_code code, const char *fmt, ...) GS_PRINTF(3, 4);
/* The same with errno `sys`, whose text is appended. ENOSPC/EDQUOT/EFBIG turn `code` into GS_E_DISK_FULL. */
int gs_fail_sys(struct gs_err *err, enum gs_code code, int sys, const char *fmt, ...) GS_PRINTF(4, 5);
/* Puts context in front of the text of an error that was filled already, and returns -1. */
int gs_wrap(struct gs_err *err, const char *fmt, ...) GS_PRINTF(2, 3);
/* Sets the scope and returns -1, so that `return gs_scoped(err, GS_SCOPE_ITEM)` reads well behind a failure. */
int gs_scoped(struct gs_err *err, enum gs_scope scope);
/* Makes `err` empty again, for a loop that tries once more. */
void gs_err_clear(struct gs_err *err);

/* Stable name ("sig-unknown-key"), exit code (design: fixed for ever) and what to do next. */
const char *gs_code_name(enum gs_code code);
int gs_code_exit(enum gs_code code);
const char *gs_code_hint(enum gs_code code);
/* The code with this stable name, or GS_OK when there is none. */
enum gs_code gs_code_by_name(const char *name);

#endif
