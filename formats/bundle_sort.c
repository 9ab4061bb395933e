#include "bundle_sort.h"

#include "bundle_writer.h"

#include <string.h>

#define READ_CHUNK ((size_t)64 << 10)

void sorter_init(struct sorter *s, struct bundle_writer *w, size_t max_memory)
{
    *s = (struct sorter){.w = w, .max = max_memory};
    gs_buf_init(&s->bytes, SIZE_MAX / 4);
}

void sorter_release(struct sorter *s)
{
    gs_buf_release(&s->bytes);
    free(s->at);
    free(s->runs);
    s->at = NULL;
    s->runs = NULL;
}

static uint32_t length_at(const char *p)
{
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return n;
}

static int compare(const char *a, const char *b)
{
    uint32_t x = length_at(a), y = length_at(b);
    int r = memcmp(a + 4, b + 4, x < y ? x : y);
    return r ? r : (x > y) - (x < y);
}

static int compare_at(const void *a, const void *b, void *bytes)
{
    return compare((const char *)bytes + *(const size_t *)a, (const char *)bytes + *(const size_t *)b);
}

static void sort_memory(struct sorter *s)
{
    if (s->n > 1)
        qsort_r(s->at, s->n, sizeof *s->at, compare_at, s->bytes.data);
}

static int spill(struct sorter *s, struct gs_err *err)
{
    gs_autobuf run;
    gs_buf_init(&run, SIZE_MAX / 4);
    if (gs_buf_reserve(&run, s->bytes.len, err) ||
        gs_array_grow((void **)&s->runs, &s->cap_runs, s->n_runs, sizeof *s->runs, err))
        return -1;
    sort_memory(s);
    for (size_t i = 0; i < s->n; i++) {
        const char *p = s->bytes.data + s->at[i];
        if (gs_buf_add(&run, p, 4 + (size_t)length_at(p), err))
            return -1;
    }
    struct sorter_run *r = &s->runs[s->n_runs];
    r->len = run.len;
    if (spool_write(s->w, run.data, run.len, &r->off, err))
        return -1;
    s->n_runs++;
    s->n = 0;
    gs_buf_reset(&s->bytes);
    return 0;
}

int sorter_add(struct sorter *s, const void *data, size_t len, struct gs_err *err)
{
    uint32_t n = (uint32_t)len;
    if (len > UINT32_MAX / 2)
        return gs_fail(err, GS_E_LIMIT, "a line of %zu bytes", len);
    if (s->n > 0 && s->bytes.len + len > s->max && spill(s, err))
        return -1;
    if (gs_array_grow((void **)&s->at, &s->cap, s->n, sizeof *s->at, err) || gs_buf_reserve(&s->bytes, len + 4, err))
        return -1;
    s->at[s->n++] = s->bytes.len;
    GS_IGNORE(gs_buf_add(&s->bytes, &n, 4, err) || gs_buf_add(&s->bytes, data, len, err), "there is room");
    return 0;
}

/* ---- merging ---- */

struct source {
    uint64_t off, end; /* of what was not read yet */
    struct gs_buf buf;
    size_t pos;
};

/* Makes sure that a whole string stands at buf[pos], unless the run has ended. */
static int fill(struct bundle_writer *w, struct source *q, struct gs_err *err)
{
    for (;;) {
        size_t have = q->buf.len - q->pos;
        if ((have >= 4 && have - 4 >= length_at(q->buf.data + q->pos)) || q->off == q->end)
            return 0;
        if (have)
            memmove(q->buf.data, q->buf.data + q->pos, have);
        q->buf.len = have;
        q->pos = 0;
        size_t n = q->end - q->off < READ_CHUNK ? (size_t)(q->end - q->off) : READ_CHUNK;
        if (gs_buf_reserve(&q->buf, n, err) || spool_read(w, q->off, q->buf.data + have, n, err))
            return -1;
        q->buf.len += n;
        q->off += n;
    }
}

static int merge(struct sorter *s, struct source *q,
                 int (*one)(void *cookie, const char *data, size_t len, struct gs_err *err), void *cookie,
                 struct gs_err *err)
{
    for (;;) {
        struct source *least = NULL;
        for (size_t i = 0; i < s->n_runs; i++) {
            if (fill(s->w, &q[i], err))
                return -1;
            if (q[i].pos < q[i].buf.len &&
                (!least || compare(q[i].buf.data + q[i].pos, least->buf.data + least->pos) < 0))
                least = &q[i];
        }
        if (!least)
            return 0;
        const char *p = least->buf.data + least->pos;
        size_t n = length_at(p);
        if (one(cookie, p + 4, n, err))
            return -1;
        least->pos += 4 + n;
    }
}

int sorter_each(struct sorter *s, int (*one)(void *cookie, const char *data, size_t len, struct gs_err *err),
                void *cookie, struct gs_err *err)
{
    if (s->n_runs == 0) {
        sort_memory(s);
        for (size_t i = 0; i < s->n; i++) {
            const char *p = s->bytes.data + s->at[i];
            if (one(cookie, p + 4, length_at(p), err))
                return -1;
        }
        return 0;
    }
    if (s->n > 0 && spill(s, err))
        return -1;
    gs_buf_release(&s->bytes); /* all of it is in the spool */
    struct source *q = calloc(s->n_runs, sizeof *q);
    if (!q)
        return gs_fail(err, GS_E_NOMEM, "no memory to merge %zu runs", s->n_runs);
    for (size_t i = 0; i < s->n_runs; i++) {
        q[i] = (struct source){.off = s->runs[i].off, .end = s->runs[i].off + s->runs[i].len};
        gs_buf_init(&q[i].buf, SIZE_MAX / 4);
    }
    int r = merge(s, q, one, cookie, err);
    for (size_t i = 0; i < s->n_runs; i++)
        gs_buf_release(&q[i].buf);
    free(q);
    return r;
}
