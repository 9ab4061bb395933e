/*
 * log: where libraries put talk. A struct gs_log is passed down in options; NULL is allowed and silent.
 * The sink is a callback, so that a terminal, a file, JSON lines or a test can be behind it. It may be called from
 * several threads; the sink has to cope.
 */
#ifndef GS_LOG_H
#define GS_LOG_H

#include "err.h"

enum gs_level { GS_LOG_ERROR = 0, GS_LOG_WARN = 1, GS_LOG_INFO = 2, GS_LOG_DEBUG = 3 };

struct gs_log {
    enum gs_level level; /* lines above this level are not made */
    void *cookie;
    void (*line)(void *cookie, enum gs_level level, const char *text);
};

void gs_logf(const struct gs_log *log, enum gs_level level, const char *fmt, ...) GS_PRINTF(3, 4);

#endif
