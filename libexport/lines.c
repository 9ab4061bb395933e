#include "libexport/lines.h"

#include "libcommon/buf.h"

#include <string.h>

#define BLOCK ((size_t)256 << 10)

struct walk {
    const struct lines_opts *o;
    size_t max_len;
    struct gs_buf b;
    size_t scanned; /* bytes of `b` that hold no line end */
    uint64_t number;
    bool skipping; /* within a line that is too long */
};

static bool blank(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (s[i] != ' ' && s[i] != '\t')
            return false;
    return true;
}

static int give(struct walk *w, const char *text, size_t len, struct gs_err *err)
{
    struct line l = {.text = text, .len = len, .number = ++w->number};
    if (l.len > 0 && text[l.len - 1] == '\r')
        l.len--;
    if (w->skipping || l.len > w->max_len) {
        l = (struct line){.number = w->number, .oversize = true};
        w->skipping = false;
        return w->o->each(w->o->cookie, &l, err);
    }
    return blank(text, l.len) ? 0 : w->o->each(w->o->cookie, &l, err);
}

/* All complete lines of the buffer, or everything when the file has ended; what is left moves to its front. */
static int take(struct walk *w, bool at_end, struct gs_err *err)
{
    struct gs_buf *b = &w->b;
    size_t off = 0;
    while (off < b->len) {
        size_t known = off == 0 ? w->scanned : 0;
        const char *from = b->data + off, *nl = memchr(from + known, '\n', b->len - off - known);
        if (!nl && !at_end)
            break;
        size_t len = nl ? (size_t)(nl - from) : b->len - off;
        off += len + (nl != NULL);
        w->scanned = 0;
        if (give(w, from, len, err))
            return -1;
    }
    memmove(b->data, b->data + off, b->len - off);
    b->len -= off;
    w->scanned = b->len;
    if (b->len > w->max_len + 1) { /* a CR may stand behind the longest line */
        w->skipping = true;
        b->len = w->scanned = 0;
    }
    return 0;
}

int lines_walk(const struct lines_opts *o, uint64_t *out_bytes, struct gs_err *err)
{
    struct walk w = {.o = o, .max_len = o->max_len ? o->max_len : LINES_MAX_LEN};
    uint64_t bytes = 0;
    size_t n = 1;
    int r = 0;
    gs_buf_init(&w.b, w.max_len + BLOCK + 2);
    while (n > 0 && r == 0) {
        if (o->stop && *o->stop) {
            r = gs_fail(err, GS_E_STOPPED, "stopped");
            break;
        }
        r = gs_buf_reserve(&w.b, BLOCK, err) || o->read(o->read_cookie, w.b.data + w.b.len, BLOCK, &n, err) ? -1 : 0;
        if (r == 0) {
            w.b.len += n;
            bytes += n;
            r = take(&w, n == 0, err);
        }
    }
    if (r == 0 && w.skipping) /* the file ended within a line that is too long */
        r = give(&w, NULL, 0, err);
    gs_buf_release(&w.b);
    if (out_bytes)
        *out_bytes = bytes;
    return r ? -1 : 0;
}
