/* clock: monotonic and wall time, and the time forms that GitLab writes. All in milliseconds. */
#ifndef GS_CLOCK_H
#define GS_CLOCK_H

#include "err.h"

#include <stdint.h>

#define GS_TIME_LEN 25 /* "2025-01-02T03:04:05.678Z" and a NUL */

int64_t gs_mono_ms(void);
/* Milliseconds since 1970-01-01T00:00:00Z. */
int64_t gs_unix_ms(void);
/* Sleeps, or returns early when a signal comes in. */
void gs_sleep_ms(int64_t ms);

/* Writes "2025-01-02T03:04:05.678Z". Years 0000 to 9999. */
void gs_time_format(int64_t unix_ms, char out[GS_TIME_LEN]);
/*
 * Reads "2025-01-02", "2025-01-02T03:04:05[.frac](Z|+hh:mm|-hh:mm)" and "2025-01-02 03:04:05 UTC" (old exports).
 * Anything else is GS_E_RECORD.
 */
int gs_time_parse(const char *s, int64_t *out_unix_ms, struct gs_err *err) GS_MUST_USE;

#endif
