/*
 * utf8: where a character of UTF-8 ends, and whether it is one: shortest form, no surrogates, nothing beyond U+10FFFF.
 */
#ifndef GS_UTF8_H
#define GS_UTF8_H

#include <stddef.h>

/* Bytes of the character at `s`, of which `left` bytes are there (at least one); 0 when it is none. */
static inline size_t gs_utf8_len(const unsigned char *s, size_t left)
{
    unsigned char c = s[0];
    if (c < 0x80)
        return 1;
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((c == 0xe0 && s[1] < 0xa0) || (c == 0xed && s[1] > 0x9f) || (c == 0xf0 && s[1] < 0x90) || (c == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

#endif
