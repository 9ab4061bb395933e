#include "err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int exit_code;
    const char *hint;
} codes[GS_E_COUNT] = {
    [GS_OK] = {"ok", 0, ""},
#define X(id, name, exit_code, hint) [id] = {name, exit_code, hint},
#include "err_codes.h"
#undef X
};

/* Cuts an over-long text at a character, never inside one: messages may hold names in UTF-8. */
static void trim_utf8(char *text, size_t cap)
{
    size_t n = strlen(text);
    if (n + 1 < cap)
        return;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xc0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)text[n - 1] >= 0xc0)
        n--;
    text[n] = 0;
}

GS_PRINTF(4, 0)
static void fill(struct gs_err *err, enum gs_code code, int sys, const char *fmt, va_list ap)
{
    memset(err, 0, sizeof *err);
    err->code = code;
    err->sys = sys;
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    if (sys != 0) {
        size_t n = strlen(err->text);
        char why[128];
        /* the GNU strerror_r returns the text, which need not be in `why` */
        snprintf(err->text + n, sizeof err->text - n, ": %s", strerror_r(sys, why, sizeof why));
    }
    trim_utf8(err->text, sizeof err->text);
}

int gs_fail(struct gs_err *err, enum gs_code code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fill(err, code, 0, fmt, ap);
    va_end(ap);
    return -1;
}

int gs_fail_sys(struct gs_err *err, enum gs_code code, int sys, const char *fmt, ...)
{
    va_list ap;
    if (sys == ENOSPC || sys == EDQUOT || sys == EFBIG)
        code = GS_E_DISK_FULL;
    else if (sys == ENOMEM)
        code = GS_E_NOMEM;
    va_start(ap, fmt);
    fill(err, code, sys, fmt, ap);
    va_end(ap);
    return -1;
}

int gs_wrap(struct gs_err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": %s", err->text);
    memcpy(err->text, text, sizeof text);
    trim_utf8(err->text, sizeof err->text);
    return -1;
}

int gs_scoped(struct gs_err *err, enum gs_scope scope)
{
    err->scope = scope;
    return -1;
}

void gs_err_clear(struct gs_err *err)
{
    memset(err, 0, sizeof *err);
}

const char *gs_code_name(enum gs_code code)
{
    return (unsigned)code < GS_E_COUNT ? codes[code].name : "unknown";
}

int gs_code_exit(enum gs_code code)
{
    return (unsigned)code < GS_E_COUNT ? codes[code].exit_code : 1;
}

const char *gs_code_hint(enum gs_code code)
{
    return (unsigned)code < GS_E_COUNT ? codes[code].hint : "";
}

enum gs_code gs_code_by_name(const char *name)
{
    for (int i = 1; i < GS_E_COUNT; i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum gs_code)i;
    return GS_OK;
}
