#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t now(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t gs_mono_ms(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t gs_unix_ms(void)
{
    return now(CLOCK_REALTIME);
}

void gs_sleep_ms(int64_t ms)
{
    if (ms <= 0)
        return;
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar; March is month 0 so that leap days come last. */
static int64_t days_of(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

void gs_time_format(int64_t unix_ms, char out[GS_TIME_LEN])
{
    int64_t ms = unix_ms % 1000, secs = unix_ms / 1000;
    if (ms < 0) {
        ms += 1000;
        secs -= 1;
    }
    time_t t = (time_t)secs;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
        snprintf(out, GS_TIME_LEN, "0000-01-01T00:00:00.000Z");
        return;
    }
    char b[96];
    snprintf(b, sizeof b, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, (int)ms);
    memcpy(out, b, GS_TIME_LEN - 1);
    out[GS_TIME_LEN - 1] = 0;
}

static int digits(const char **p, int n, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9')
            return -1;
        v = v * 10 + (c - '0');
    }
    *p += n;
    *out = v;
    return 0;
}

static int literal(const char **p, char c)
{
    if (**p != c)
        return -1;
    (*p)++;
    return 0;
}

static int month_days(int y, int m)
{
    static const int len[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return len[m - 1] + (m == 2 && ((y % 4 == 0 && y % 100 != 0) || y % 400 == 0));
}

static int zone(const char **p, int *out_minutes)
{
    *out_minutes = 0;
    if (strcmp(*p, "Z") == 0 || strcmp(*p, " UTC") == 0) {
        *p += strlen(*p);
        return 0;
    }
    char sign = **p;
    int h, m;
    if (sign != '+' && sign != '-')
        return -1;
    (*p)++;
    if (digits(p, 2, &h))
        return -1;
    if (**p == ':')
        (*p)++;
    if (digits(p, 2, &m) || h > 23 || m > 59)
        return -1;
    *out_minutes = (sign == '-' ? -1 : 1) * (h * 60 + m);
    return 0;
}

int gs_time_parse(const char *s, int64_t *out_unix_ms, struct gs_err *err)
{
    const char *p = s;
    int y, mo, d, h = 0, mi = 0, sec = 0, ms = 0, off = 0;
    if (digits(&p, 4, &y) || literal(&p, '-') || digits(&p, 2, &mo) || literal(&p, '-') || digits(&p, 2, &d))
        goto bad;
    if (mo < 1 || mo > 12 || d < 1 || d > month_days(y, mo))
        goto bad;
    if (*p) {
        if (*p != 'T' && *p != ' ')
            goto bad;
        p++;
        if (digits(&p, 2, &h) || literal(&p, ':') || digits(&p, 2, &mi) || literal(&p, ':') || digits(&p, 2, &sec))
            goto bad;
        if (h > 23 || mi > 59 || sec > 60)
            goto bad;
        if (*p == '.') {
            int scale = 100;
            p++;
            if (*p < '0' || *p > '9')
                goto bad;
            for (; *p >= '0' && *p <= '9'; p++) {
                ms += (*p - '0') * scale;
                scale /= 10;
            }
        }
        if (zone(&p, &off) || *p)
            goto bad;
    }
    *out_unix_ms = ((days_of(y, mo, d) * 24 + h) * 60 + mi - off) * 60000 + (int64_t)sec * 1000 + ms;
    return 0;
bad:
    return gs_fail(err, GS_E_RECORD, "'%.40s' is not a time that GitLab writes", s);
}
