#include "bundle_priv.h"

#include "formats/relations.h"
#include "libcommon/mp.h"

#include <string.h>

static bool is(const char *name, size_t len, const char *what)
{
    return len == strlen(what) && memcmp(name, what, len) == 0;
}

static bool hex_run(const char *s, size_t len, bool upper)
{
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (upper ? s[i] >= 'A' && s[i] <= 'F' : s[i] >= 'a' && s[i] <= 'f')))
            return false;
    return true;
}

/* A decimal number above 0 without leading zeros, then '/'. Returns the bytes used, 0 when it is none. */
static size_t group_id(const char *s, size_t len, int64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < len && s[i] >= '0' && s[i] <= '9'; i++) {
        if (i == 19)
            return 0;
        v = v * 10 + (unsigned)(s[i] - '0');
    }
    if (i == 0 || i == len || s[i] != '/' || s[0] == '0' || v > INT64_MAX)
        return 0;
    *out = (int64_t)v;
    return i + 1;
}

/* One path segment that can be created on any disk and printed on any terminal. */
static bool file_name_ok(const char *s, size_t len)
{
    if (len == 0 || len > BUNDLE_FILE_NAME_MAX || is(s, len, ".") || is(s, len, ".."))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\')
            return false;
        if (c == 0xc2 && i + 1 < len && (unsigned char)s[i + 1] < 0xa0) /* U+0080 to U+009F */
            return false;
    }
    return mp_utf8_ok(s, len);
}

static bool parse_file(const char *s, size_t len, struct bundle_name *out)
{
    out->is_file = true;
    if (len > 7 && memcmp(s, "avatar/", 7) == 0) {
        memcpy(out->relation, "avatar", 7);
        return file_name_ok(s + 7, len - 7);
    }
    if (len < 8 || memcmp(s, "uploads/", 8) != 0)
        return false;
    memcpy(out->relation, "uploads", 8);
    s += 8, len -= 8;
    const char *slash = memchr(s, '/', len);
    size_t n = slash ? (size_t)(slash - s) : 0;
    return (n == 32 || n == 10) && hex_run(s, n, false) && file_name_ok(slash + 1, len - n - 1);
}

static bool parse_records(const char *s, size_t len, struct bundle_name *out)
{
    const char *dot = memchr(s, '.', len);
    size_t n = dot ? (size_t)(dot - s) : 0;
    if (n == 0 || n >= sizeof out->relation || !relation_name_ok(s, n))
        return false;
    memcpy(out->relation, s, n);
    s += n + 1, len -= n + 1;
    if (len > 5 && s[4] == '.' && s[0] >= '0' && s[0] <= '9') {
        for (int i = 0; i < 4; i++) {
            if (s[i] < '0' || s[i] > '9')
                return false;
            out->part = out->part * 10 + (unsigned)(s[i] - '0');
        }
        out->has_part = true;
        s += 5, len -= 5;
    }
    if (is(s, len, "ndjson.zst"))
        out->encoding = RECORD_NDJSON;
    else if (is(s, len, "msgpack.zst"))
        out->encoding = RECORD_MSGPACK;
    else
        return false;
    return true;
}

bool bundle_name_parse(const char *name, size_t len, struct bundle_name *out)
{
    static const struct {
        const char *name;
        enum bundle_name_kind kind;
    } fixed[] = {{BUNDLE_MANIFEST, NAME_MANIFEST}, {BUNDLE_MANIFEST ".minisig", NAME_SIGNATURE},
                 {BUNDLE_SUMS, NAME_SUMS},         {BUNDLE_INDEX, NAME_INDEX},
                 {BUNDLE_LEDGER, NAME_LEDGER},     {BUNDLE_USERS, NAME_USERS}};
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < GS_COUNT(fixed); i++)
        if (is(name, len, fixed[i].name)) {
            out->kind = fixed[i].kind;
            return true;
        }
    /* manifest.json.0123456789ABCDEF.minisig */
    if (len == 38 && memcmp(name, BUNDLE_MANIFEST ".", 14) == 0 && memcmp(name + 30, ".minisig", 8) == 0) {
        out->kind = NAME_SIGNATURE_MORE;
        return hex_run(name + 14, 16, true);
    }
    if (len < 8 || memcmp(name, "groups/", 7) != 0 || len >= BUNDLE_NAME_MAX)
        return false;
    out->kind = NAME_DATA;
    size_t n = group_id(name + 7, len - 7, &out->group_id);
    if (n == 0)
        return false;
    name += 7 + n, len -= 7 + n;
    if (memchr(name, '/', len))
        return parse_file(name, len, out);
    return parse_records(name, len, out);
}

static int rank(const char *name)
{
    struct bundle_name n;
    if (name[0] == 'g')
        return NAME_DATA;
    return bundle_name_parse(name, strlen(name), &n) ? (int)n.kind : NAME_DATA + 1;
}

int bundle_name_cmp(const char *a, const char *b)
{
    int d = rank(a) - rank(b);
    return d ? d : strcmp(a, b);
}
