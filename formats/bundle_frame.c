#include "bundle_priv.h"

#include <sodium.h>
#include <string.h>
#include <zstd_errors.h>

void bundle_hash(const void *data, size_t len, uint8_t out[BUNDLE_DIGEST_LEN])
{
    crypto_generichash(out, BUNDLE_DIGEST_LEN, data, len, NULL, 0);
}

void bundle_hex(const uint8_t digest[BUNDLE_DIGEST_LEN], char out[2 * BUNDLE_DIGEST_LEN + 1])
{
    sodium_bin2hex(out, 2 * BUNDLE_DIGEST_LEN + 1, digest, BUNDLE_DIGEST_LEN);
}

bool bundle_unhex(const char *hex, size_t len, uint8_t *out, size_t out_len)
{
    if (len != 2 * out_len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = hex[i];
        unsigned v;
        if (c >= '0' && c <= '9')
            v = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            v = (unsigned)(c - 'a') + 10;
        else
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | v : v << 4);
    }
    return true;
}

/*
 * The head of a zstd frame (RFC 8878, 3.1.1.1): 0 4 magic, 4 1 descriptor, then a window byte unless the descriptor
 * says "single segment". false: too short.
 */
static bool window_of(const unsigned char *p, size_t n, uint64_t content, uint64_t *out)
{
    if (n < 6)
        return false;
    if (p[4] & 0x20) {
        *out = content;
        return true;
    }
    uint64_t base = (uint64_t)1 << (10 + (p[5] >> 3));
    *out = base + base / 8 * (p[5] & 7);
    return true;
}

int frame_decode(ZSTD_DCtx *d, const void *data, size_t stored, void *out, size_t raw, unsigned max_window_log,
                 struct gs_err *err)
{
    static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    uint64_t window;
    if (stored < sizeof magic || memcmp(data, magic, sizeof magic) != 0)
        return gs_fail(err, GS_E_FRAME, "no zstd frame where one should begin");
    unsigned long long content = ZSTD_getFrameContentSize(data, stored);
    if (content == ZSTD_CONTENTSIZE_UNKNOWN || content == ZSTD_CONTENTSIZE_ERROR)
        return gs_fail(err, GS_E_FRAME, "a frame does not say how large its content is");
    if (content != raw)
        return gs_fail(err, content > raw ? GS_E_BOMB : GS_E_FRAME, "a frame holds %llu bytes where %zu are announced",
                       content, raw);
    if (!window_of(data, stored, content, &window))
        return gs_fail(err, GS_E_FRAME, "a frame is too short");
    if (window > (uint64_t)1 << max_window_log)
        return gs_fail(err, GS_E_LIMIT, "a frame demands a window of %llu bytes, limit 2^%u",
                       (unsigned long long)window, max_window_log);
    size_t len = ZSTD_findFrameCompressedSize(data, stored);
    if (ZSTD_isError(len) || len != stored)
        return gs_fail(err, GS_E_FRAME, "a frame does not end where the index says");
    size_t n = ZSTD_decompressDCtx(d, out, raw, data, stored);
    if (ZSTD_isError(n)) {
        bool bomb = ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall;
        return gs_fail(err, bomb ? GS_E_BOMB : GS_E_FRAME, "a frame cannot be decompressed: %s", ZSTD_getErrorName(n));
    }
    return n == raw ? 0 : gs_fail(err, GS_E_FRAME, "a frame gave %zu bytes instead of %zu", n, raw);
}
