#include "cmd/cli_priv.h"

#include <stdio.h>
#include <string.h>

#define RING 16

size_t cli_utf8(const unsigned char *s, size_t len, uint32_t *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : (s[0] & 0xf8) == 0xf0 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    uint32_t cp = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        cp = cp << 6 | (s[i] & 0x3f);
    }
    if (cp < least[n] || cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    *out = cp;
    return n;
}

/* Controls (C0, DEL, C1), line and paragraph separators, everything that turns the direction of text, and tag
 * characters. */
bool cli_harmful(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0) || cp == 0x61c || cp == 0x200e || cp == 0x200f ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff ||
           (cp >= 0xfff9 && cp <= 0xfffb) || (cp >= 0xe0000 && cp <= 0xe007f);
}

unsigned cli_cells(uint32_t cp)
{
    if ((cp >= 0x300 && cp <= 0x36f) || (cp >= 0x200b && cp <= 0x200d) || (cp >= 0xfe00 && cp <= 0xfe0f))
        return 0;
    bool wide = (cp >= 0x1100 && cp <= 0x115f) || (cp >= 0x2e80 && cp <= 0xa4cf) || (cp >= 0xac00 && cp <= 0xd7a3) ||
                (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0xfe30 && cp <= 0xfe6f) || (cp >= 0xff00 && cp <= 0xff60) ||
                (cp >= 0xffe0 && cp <= 0xffe6) || (cp >= 0x1f300 && cp <= 0x1faff) || (cp >= 0x20000 && cp <= 0x3fffd);
    return wide ? 2 : 1;
}

unsigned cli_width(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = strlen(s);
    unsigned cells = 0;
    while (len > 0) {
        uint32_t cp;
        size_t n = cli_utf8(p, len, &cp);
        cells += n ? cli_cells(cp) : 1;
        n += n == 0;
        p += n;
        len -= n;
    }
    return cells;
}

void cli_safe_into(const char *s, size_t len, char *out, size_t cap)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t o = 0;
    while (len > 0) {
        uint32_t cp;
        char piece[16];
        size_t n = cli_utf8(p, len, &cp), k;
        if (n == 0) {
            k = (size_t)snprintf(piece, sizeof piece, "\\x%02x", p[0]);
            n = 1;
        } else if (!cli_harmful(cp)) {
            memcpy(piece, p, n);
            k = n;
        } else if (cp == '\n' || cp == '\t' || cp == '\r') {
            piece[0] = '\\';
            piece[1] = cp == '\n' ? 'n' : cp == '\t' ? 't' : 'r';
            k = 2;
        } else {
            k = (size_t)snprintf(piece, sizeof piece, cp < 0x80 ? "\\x%02x" : "\\u%04x", cp);
        }
        if (o + k + sizeof "..." > cap) {
            memcpy(out + o, "...", 3);
            o += 3;
            break;
        }
        memcpy(out + o, piece, k);
        o += k;
        p += n;
        len -= n;
    }
    out[o] = 0;
}

const char *cli_safe(const char *s)
{
    static _Thread_local char ring[RING][4096];
    static _Thread_local unsigned next;
    char *out = ring[next++ % RING];
    cli_safe_into(s ? s : "", s ? strlen(s) : 0, out, sizeof ring[0]);
    return out;
}

const char *cli_valid(const char *s)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t len = s ? strlen(s) : 0;
    while (len > 0) {
        uint32_t cp;
        size_t n = cli_utf8(p, len, &cp);
        if (n == 0)
            return cli_safe(s);
        p += n;
        len -= n;
    }
    return s;
}

static char *short_ring(void)
{
    static _Thread_local char ring[RING][48];
    static _Thread_local unsigned next;
    return ring[next++ % RING];
}

const char *cli_bytes(uint64_t n)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    char *out = short_ring();
    double v = (double)n;
    unsigned u = 0;
    /* what would be rounded up to 1024.0 belongs to the next unit */
    while (v >= (u ? 1023.95 : 1024) && u + 1 < GS_COUNT(unit)) {
        v /= 1024;
        u++;
    }
    snprintf(out, 48, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
    return out;
}

const char *cli_count(uint64_t n)
{
    char digits[24], *out = short_ring(), *o = out;
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *o++ = ',';
        *o++ = digits[i];
    }
    *o = 0;
    return out;
}

const char *cli_span(int64_t ms)
{
    char *out = short_ring();
    long long s = ms < 0 ? 0 : (ms + 500) / 1000;
    if (ms < 1000)
        snprintf(out, 48, "%dms", ms < 0 ? 0 : (int)ms);
    else if (ms < 9950)
        snprintf(out, 48, "%.1fs", (double)ms / 1000);
    else if (s < 60)
        snprintf(out, 48, "%llds", s);
    else if (s < 3600)
        snprintf(out, 48, "%lldm %02llds", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, 48, "%lldh %02lldm", s / 3600, s / 60 % 60);
    else
        snprintf(out, 48, "%lldd %02lldh", s / 86400, s / 3600 % 24);
    return out;
}
