#include "gz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define IN_BLOCK ((size_t)128 << 10)
#define MAX_OUT ((uint64_t)25 << 30)
#define MAX_RATIO 500
#define RATIO_FROM ((uint64_t)64 << 20)
#define WINDOW_GZIP (15 + 16)

struct gs_gz {
    int fd;
    char *name;
    uint64_t max_out, total_in, total_out;
    unsigned max_ratio;
    z_stream z;
    bool begun;    /* whether it is gzip is known */
    bool raw;      /* it is none, and is given out as it is */
    bool between;  /* at the start of a member, or at the end of the file */
    bool members;  /* at least one was complete */
    bool ended, at_eof;
    unsigned char in[IN_BLOCK];
};

int gs_gz_open(int fd, const char *name, bool plain, const struct gs_gz_limits *lim, struct gs_gz **out, struct gs_err *err)
{
    struct gs_gz *g = calloc(1, sizeof *g);
    if (!g || !(g->name = strdup(name)) || inflateInit2(&g->z, WINDOW_GZIP) != Z_OK) {
        if (g)
            free(g->name);
        free(g);
        return gs_fail(err, GS_E_NOMEM, "no memory to unpack '%s'", name);
    }
    g->fd = fd;
    g->raw = plain; /* until the first bytes tell otherwise */
    g->between = true;
    g->max_out = lim && lim->max_out ? lim->max_out : MAX_OUT;
    g->max_ratio = lim && lim->max_ratio ? lim->max_ratio : MAX_RATIO;
    *out = g;
    return 0;
}

void gs_gz_close(struct gs_gz *z)
{
    if (!z)
        return;
    inflateEnd(&z->z);
    free(z->name);
    free(z);
}

/* More input behind what is left. */
static int fill(struct gs_gz *g, struct gs_err *err)
{
    if (g->z.avail_in > 0)
        memmove(g->in, g->z.next_in, g->z.avail_in);
    g->z.next_in = g->in;
    ssize_t n;
    do
        n = read(g->fd, g->in + g->z.avail_in, IN_BLOCK - g->z.avail_in);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "reading '%s'", g->name);
    g->at_eof = n == 0;
    g->z.avail_in += (unsigned)n;
    g->total_in += (uint64_t)n;
    return 0;
}

static int count(struct gs_gz *g, size_t n, struct gs_err *err)
{
    g->total_out += n;
    if (g->total_out > g->max_out)
        return gs_fail(err, GS_E_BOMB, "'%s' unpacks to more than %llu bytes", g->name, (unsigned long long)g->max_out);
    if (!g->raw && g->total_out > RATIO_FROM && g->total_out / g->max_ratio > g->total_in)
        return gs_fail(err, GS_E_BOMB, "'%s' unpacks to more than %u times its size", g->name, g->max_ratio);
    return 0;
}

/* The first two bytes tell whether it is gzip. */
static int begin(struct gs_gz *g, struct gs_err *err)
{
    while (g->z.avail_in < 2 && !g->at_eof)
        if (fill(g, err))
            return -1;
    g->begun = true;
    bool gzip = g->z.avail_in >= 2 && g->z.next_in[0] == 0x1f && g->z.next_in[1] == 0x8b;
    if (!gzip && !g->raw)
        return g->z.avail_in == 0 ? gs_fail(err, GS_E_GZIP, "'%s' is empty", g->name)
                                  : gs_fail(err, GS_E_GZIP, "'%s' is no gzip file", g->name);
    g->raw = !gzip;
    return 0;
}

static int give_raw(struct gs_gz *g, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    if (g->z.avail_in == 0 && !g->at_eof && fill(g, err))
        return -1;
    size_t n = g->z.avail_in < len ? g->z.avail_in : len;
    memcpy(buf, g->z.next_in, n);
    g->z.next_in += n;
    g->z.avail_in -= (unsigned)n;
    *out_n = n;
    return count(g, n, err);
}

/* One call of inflate(); *out_n bytes may be 0 while there is more to come. */
static int step(struct gs_gz *g, struct gs_err *err)
{
    int rc = inflate(&g->z, Z_NO_FLUSH);
    switch (rc) {
    case Z_OK:
    case Z_BUF_ERROR: /* it wants more input */
        g->between = false;
        return 0;
    case Z_STREAM_END:
        g->between = g->members = true;
        return inflateReset(&g->z) == Z_OK ? 0 : gs_fail(err, GS_E_INTERNAL, "zlib: no reset");
    case Z_MEM_ERROR:
        return gs_fail(err, GS_E_NOMEM, "no memory to unpack '%s'", g->name);
    default:
        return gs_fail(err, GS_E_GZIP, "'%s' is damaged: %s", g->name, g->z.msg ? g->z.msg : "no valid gzip data");
    }
}

int gs_gz_read(struct gs_gz *g, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    *out_n = 0;
    if (g->ended || len == 0)
        return 0;
    if (!g->begun && begin(g, err))
        return -1;
    if (g->raw)
        return give_raw(g, buf, len, out_n, err);
    if (len > UINT32_MAX)
        len = UINT32_MAX;
    g->z.next_out = buf;
    g->z.avail_out = (unsigned)len;
    while (g->z.avail_out == len) {
        if (g->z.avail_in == 0 && !g->at_eof && fill(g, err))
            return -1;
        if (g->z.avail_in == 0 && g->at_eof) {
            if (!g->between)
                return gs_fail(err, GS_E_GZIP, "'%s' ends too early", g->name);
            g->ended = true;
            return 0;
        }
        /* behind a complete member only another one may stand, or zeros that fill a block */
        if (g->between && g->members && *g->z.next_in == 0) {
            g->z.next_in++;
            g->z.avail_in--;
            continue;
        }
        if (step(g, err))
            return -1;
    }
    *out_n = len - g->z.avail_out;
    return count(g, *out_n, err);
}
