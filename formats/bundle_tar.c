/*
 * The container. libarchive says what the header of a member looks like; the reader takes name and size out of a header
 * with as little interpretation as possible and then demands that the block is exactly what libarchive makes of them.
 * So a header has one form only, and nothing can hide in the fields that a tar reader skips.
 */
#include "bundle_priv.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <string.h>

#define MAX_HEADER (8 * TAR_BLOCK)

/* ---- writing ---- */

struct sink {
    struct gs_buf *out;
    struct gs_err *err;
    bool full; /* the header is complete; what libarchive writes on the way out is refused */
};

static la_ssize_t sink_write(struct archive *a, void *cookie, const void *data, size_t len)
{
    struct sink *s = cookie;
    (void)a;
    if (s->full)
        return -1;
    return gs_buf_add(s->out, data, len, s->err) ? -1 : (la_ssize_t)len;
}

/* libarchive turns names into UTF-8 from what the locale says; ours are UTF-8 in any locale. */
static pthread_once_t utf8_once = PTHREAD_ONCE_INIT;
static locale_t utf8_locale;

static void utf8_init(void)
{
    utf8_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
}

static int write_header(struct archive *a, struct archive_entry *e, const char *name, uint64_t size, struct sink *s)
{
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)size);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_uid(e, 0);
    archive_entry_set_gid(e, 0);
    archive_entry_set_mtime(e, 0, 0);
    int r = archive_write_set_format_pax_restricted(a);
    if (r == ARCHIVE_OK)
        r = archive_write_set_bytes_per_block(a, 0); /* no buffer: every write comes through at once */
    if (r == ARCHIVE_OK)
        r = archive_write_open(a, s, NULL, sink_write, NULL);
    if (r == ARCHIVE_OK)
        r = archive_write_header(a, e);
    if (r != ARCHIVE_OK) {
        const char *why = archive_error_string(a);
        return gs_fail(s->err, GS_E_INTERNAL, "no tar header for '%s': %s", name, why ? why : "unknown");
    }
    return 0;
}

int tar_make_header(const char *name, uint64_t size, struct gs_buf *out, struct gs_err *err)
{
    if (size > (uint64_t)1 << 33 || size == (uint64_t)1 << 33)
        return gs_fail(err, GS_E_LIMIT, "member '%s' of %llu bytes, limit 8 GiB", name, (unsigned long long)size);
    pthread_once(&utf8_once, utf8_init);
    locale_t old = utf8_locale ? uselocale(utf8_locale) : (locale_t)0;
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();
    struct sink s = {.out = out, .err = err};
    int r = a && e ? write_header(a, e, name, size, &s) : gs_fail(err, GS_E_NOMEM, "no memory for a tar header");
    archive_entry_free(e);
    s.full =
        true; /* the data will never come through this object: without this, freeing it would write as many zeros */
    if (a)
        archive_write_free(a);
    if (old)
        uselocale(old);
    return r;
}

/* ---- reading ---- */

static bool octal(const unsigned char *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
        v = v * 8 + (unsigned)(p[i] - '0');
    if (i == 0)
        return false;
    *out = v;
    return true;
}

static bool all_zero(const unsigned char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static size_t field_len(const unsigned char *p, size_t n)
{
    const unsigned char *nul = memchr(p, 0, n);
    return nul ? (size_t)(nul - p) : n;
}

/* The name in a ustar block: prefix, '/', name. */
static size_t ustar_name(const unsigned char *h, char *out)
{
    size_t p = field_len(h + 345, 155), n = field_len(h, 100), at = 0;
    if (p) {
        memcpy(out, h + 345, p);
        out[p] = '/';
        at = p + 1;
    }
    memcpy(out + at, h, n);
    out[at + n] = 0;
    return at + n;
}

/* The name in the body of a pax header, which holds one line: "LENGTH path=NAME\n". 0: something else. */
static size_t pax_name(const unsigned char *p, size_t len, char *out)
{
    size_t i = 0;
    while (i < len && p[i] >= '0' && p[i] <= '9')
        i++;
    if (i == 0 || i > 4 || len - i < 8 || memcmp(p + i, " path=", 6) != 0 || p[len - 1] != '\n')
        return 0;
    size_t n = len - i - 7;
    if (n >= BUNDLE_NAME_MAX || memchr(p + i + 6, 0, n))
        return 0;
    memcpy(out, p + i + 6, n);
    out[n] = 0;
    return n;
}

static int bad_type(unsigned char type, uint64_t off, struct gs_err *err)
{
    const char *what = type == '1'                  ? "a hard link"
                       : type == '2'                ? "a symbolic link"
                       : type == '3' || type == '4' ? "a device"
                       : type == '5'                ? "a folder"
                       : type == '6'                ? "a named pipe"
                                                    : "of an unknown type";
    return gs_fail(err, GS_E_MEMBER_TYPE, "the member at byte %llu is %s", (unsigned long long)off, what);
}

/* The two zero blocks, and the end of the file right behind them. */
static int check_end(const struct gs_source *src, const unsigned char *h, size_t n, uint64_t off, struct gs_err *err)
{
    if (src->size - off < TAR_END_LEN)
        return gs_fail(err, GS_E_TRUNCATED, "the file ends inside the end mark of the archive");
    if (n < TAR_END_LEN || !all_zero(h, TAR_END_LEN))
        return gs_fail(err, GS_E_NOT_CANONICAL, "the end mark at byte %llu is none", (unsigned long long)off);
    if (src->size - off > TAR_END_LEN)
        return gs_fail(err, GS_E_NOT_CANONICAL, "%llu bytes behind the end of the archive",
                       (unsigned long long)(src->size - off - TAR_END_LEN));
    return 0;
}

/* Name, size and length of the header in the `n` bytes at `h`. */
static int take_apart(const unsigned char *h, size_t n, uint64_t off, struct tar_head *out, size_t *out_len,
                      struct gs_err *err)
{
    uint64_t pax;
    size_t name_len;
    unsigned long long at = off;
    *out_len = TAR_BLOCK;
    if (memcmp(h + 257,
               "ustar\0"
               "00",
               8) != 0)
        return gs_fail(err, off ? GS_E_NOT_CANONICAL : GS_E_NOT_A_BUNDLE, "no tar header at byte %llu", at);
    if (h[156] == 'x') {
        if (!octal(h + 124, 12, &pax) || pax == 0 || pax > 2 * TAR_BLOCK)
            return gs_fail(err, GS_E_NOT_CANONICAL, "the extended header at byte %llu is not ours", at);
        size_t body = tar_padded(pax);
        *out_len = 2 * TAR_BLOCK + body;
        if (*out_len > n)
            return gs_fail(err, GS_E_TRUNCATED, "the file ends inside the header at byte %llu", at);
        name_len = pax_name(h + TAR_BLOCK, (size_t)pax, out->name);
        h += TAR_BLOCK + body;
        if (name_len == 0)
            return gs_fail(err, GS_E_NOT_CANONICAL, "the extended header at byte %llu is not ours", at);
    } else {
        name_len = ustar_name(h, out->name);
    }
    if (h[156] != '0')
        return bad_type(h[156], off, err);
    if (!bundle_name_parse(out->name, name_len, &out->parsed))
        return gs_fail(err, GS_E_MEMBER_NAME, "the member at byte %llu has a name that no bundle holds", at);
    if (!octal(h + 124, 11, &out->size))
        return gs_fail(err, GS_E_NOT_CANONICAL, "member '%s' has no plain size", out->name);
    return 0;
}

int tar_read_header(const struct gs_source *src, uint64_t pad_from, uint64_t off, struct tar_head *out,
                    struct gs_err *err)
{
    unsigned char buf[TAR_BLOCK + MAX_HEADER];
    size_t pad = (size_t)(off - pad_from), n, len;
    memset(out, 0, sizeof *out);
    if (src->size < off || src->size - off < TAR_BLOCK)
        return gs_fail(err, GS_E_TRUNCATED, "the file ends at byte %llu, where a member should begin",
                       (unsigned long long)src->size);
    n = src->size - off < MAX_HEADER ? (size_t)(src->size - off) : MAX_HEADER;
    if (gs_source_read(src, pad_from, buf, pad + n, err))
        return -1;
    if (!all_zero(buf, pad))
        return gs_fail(err, GS_E_NOT_CANONICAL, "bytes that are not zero behind the member that ends at byte %llu",
                       (unsigned long long)pad_from);
    const unsigned char *h = buf + pad;
    if (all_zero(h, TAR_BLOCK)) {
        out->end = true;
        return check_end(src, h, n, off, err);
    }
    if (take_apart(h, n, off, out, &len, err))
        return -1;
    gs_autobuf want;
    gs_buf_init(&want, MAX_HEADER);
    if (tar_make_header(out->name, out->size, &want, err))
        return -1;
    if (want.len != len || memcmp(want.data, h, len) != 0)
        return gs_fail(err, GS_E_NOT_CANONICAL, "the tar header of '%s' is not as groupsnap writes it", out->name);
    out->data_off = off + len;
    if (out->size > src->size - out->data_off || tar_padded(out->size) > src->size - out->data_off)
        return gs_fail(err, GS_E_TRUNCATED, "the file ends inside member '%s'", out->name);
    return 0;
}
