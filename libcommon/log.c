#include "log.h"

#include <stdio.h>

void gs_logf(const struct gs_log *log, enum gs_level level, const char *fmt, ...)
{
    if (!log || !log->line || level > log->level)
        return;
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log->line(log->cookie, level, text);
}
