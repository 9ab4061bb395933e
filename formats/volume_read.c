/* The file that was divided, read out of its volumes; volumes that are not there are computed from the others, byte by
 * byte. */
#include "volume_set.h"

#include <stdio.h>
#include <string.h>

#define CHUNK ((size_t)64 << 10) /* of every volume, while one is computed */
#define COPY ((size_t)1 << 20)

/* ---- shards: what the parity is about ---- */

/* Bytes of the core of a data volume, or of the parity in a parity volume, from a file that is there; zeros behind the
 * end. */
static int shard_read(const struct volume_file *f, uint64_t off, uint8_t *buf, size_t len, struct gs_err *err)
{
    bool parity = volume_is_parity(&f->head.label);
    uint64_t bytes = parity ? volume_shard(&f->head.label) : f->core;
    while (len > 0 && off < bytes) {
        uint64_t at = off, n = bytes - off;
        if (parity) { /* in members of VOLUME_SLICE_MAX, each behind its header */
            uint64_t in = off % VOLUME_SLICE_MAX;
            at = f->head.bytes + off / VOLUME_SLICE_MAX * (TAR_BLOCK + VOLUME_SLICE_MAX) + TAR_BLOCK + in;
            n = n < VOLUME_SLICE_MAX - in ? n : VOLUME_SLICE_MAX - in;
        }
        n = n < len ? n : len;
        if (gs_source_read(&f->src, at, buf, (size_t)n, err))
            return gs_wrap(err, "'%s'", f->path);
        buf += n;
        off += n;
        len -= (size_t)n;
    }
    memset(buf, 0, len);
    return 0;
}

static int prepare_lost(struct volume_set *s, unsigned number, struct gs_err *err)
{
    uint8_t row[VOLUME_MAX];
    unsigned n = 0;
    if (volume_set_enough(s, err))
        return -1;
    for (unsigned i = 1; i <= s->data + s->parity && n < s->data; i++)
        if (s->by[i])
            s->from[n++] = i;
    free(s->lost[number].tables);
    s->lost[number].tables = NULL;
    if (volume_code_row(s->data, s->parity, s->from, number, row, err))
        return -1;
    s->lost[number].tables = volume_code_tables(s->data, 1, row);
    return s->lost[number].tables ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for the parity");
}

/* The same of a volume that is not there. */
static int shard_compute(const struct volume_set *s, unsigned number, uint64_t off, uint8_t *buf, size_t len,
                         struct gs_err *err)
{
    uint8_t *in[VOLUME_MAX];
    size_t chunk = len < CHUNK ? (len ? len : 1) : CHUNK;
    gs_autofree uint8_t *mem = malloc(chunk * s->data);
    if (!mem)
        return gs_fail(err, GS_E_NOMEM, "no memory to compute a volume");
    for (unsigned i = 0; i < s->data; i++)
        in[i] = mem + chunk * i;
    while (len > 0) {
        size_t n = len < chunk ? len : chunk;
        for (unsigned i = 0; i < s->data; i++)
            if (shard_read(s->by[s->from[i]], off, in[i], n, err))
                return -1;
        volume_code_apply(s->data, 1, s->lost[number].tables, n, in, &buf);
        buf += n;
        off += n;
        len -= n;
    }
    return 0;
}

static int core_read(const struct volume_set *s, unsigned number, uint64_t off, void *buf, size_t len,
                     struct gs_err *err)
{
    return s->by[number] ? shard_read(s->by[number], off, buf, len, err) : shard_compute(s, number, off, buf, len, err);
}

/* ---- the file ---- */

struct one {
    const struct volume_set *s;
    unsigned number;
};

static int one_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    const struct one *o = cookie;
    uint64_t bytes = o->s->cores[o->number - 1];
    *out_n = off >= bytes ? 0 : bytes - off < len ? (size_t)(bytes - off) : len;
    return core_read(o->s, o->number, off, buf, *out_n, err);
}

/* Label of a data volume, also of one that is not there. */
static int label_of(struct volume_set *s, unsigned number, struct volume_head *out, struct gs_err *err)
{
    struct one one = {s, number};
    struct gs_err why = {0};
    if (s->by[number]) {
        *out = s->by[number]->head;
        return 0;
    }
    if (prepare_lost(s, number, err))
        return -1;
    struct gs_source src = {.cookie = &one, .size = s->cores[number - 1], .read_at = one_read_at};
    if (volume_head_read(&src, 0, s->trust, out, &why, err))
        return gs_wrap(err, "volume %u, computed from the others", number);
    if (out->signature != GS_OK) {
        *err = why;
        return gs_wrap(err, "volume %u, computed from the others", number);
    }
    if (out->label.number != number || strcmp(out->label.set, s->label.set) != 0)
        return gs_fail(err, GS_E_VOLUME_LABEL, "volume %u, computed from the others, is another one", number);
    return 0;
}

/* Where each byte of the file lies. The pieces of all volumes follow each other and are the whole file. */
static int make_map(struct volume_set *s, struct gs_err *err)
{
    uint64_t next = 0, end = s->label.is_bundle ? s->label.size - TAR_END_LEN : s->label.size;
    gs_autofree struct volume_head *h = malloc(sizeof *h);
    s->map = calloc((size_t)s->data * VOLUME_PIECES_MAX, sizeof *s->map);
    if (!h || !s->map)
        return gs_fail(err, GS_E_NOMEM, "no memory for a set of volumes");
    for (unsigned n = 1; n <= s->data; n++) {
        if (label_of(s, n, h, err))
            return -1;
        uint64_t off = h->bytes;
        for (size_t i = 0; i < h->label.n_pieces; i++) {
            const struct volume_piece *p = &h->label.pieces[i];
            if (p->at != next)
                return gs_fail(err, GS_E_VOLUME_LABEL, "volume %u does not go on where the one before it ends", n);
            off += p->slice ? TAR_BLOCK : 0;
            s->map[s->n_map++] = (struct volume_stretch){.at = p->at, .bytes = p->bytes, .number = n, .off = off};
            off += p->slice ? tar_padded(p->bytes) : p->bytes;
            next += p->bytes;
        }
    }
    if (s->label.is_bundle && s->label.size < TAR_END_LEN)
        end = UINT64_MAX;
    return next == end ? 0
                       : gs_fail(err, GS_E_VOLUME_LABEL, "the volumes hold %llu bytes of a file of %llu",
                                 (unsigned long long)next, (unsigned long long)s->label.size);
}

static int file_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    const struct volume_set *s = cookie;
    size_t lo = 0, hi = s->n_map;
    *out_n = 0;
    if (off >= s->label.size || len == 0)
        return 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->map[mid].at + s->map[mid].bytes > off)
            hi = mid;
        else
            lo = mid + 1;
    }
    if (lo == s->n_map) { /* the end mark of a bundle, which every volume has of its own */
        *out_n = s->label.size - off < len ? (size_t)(s->label.size - off) : len;
        memset(buf, 0, *out_n);
        return 0;
    }
    const struct volume_stretch *m = &s->map[lo];
    uint64_t left = m->at + m->bytes - off;
    *out_n = left < len ? (size_t)left : len;
    return core_read(s, m->number, m->off + (off - m->at), buf, *out_n, err);
}

static void file_close(void *cookie)
{
    volume_set_close(cookie);
}

int volume_set_source(struct volume_set *s, struct gs_source *out, struct gs_err *err)
{
    if (volume_set_enough(s, err) || make_map(s, err)) {
        volume_set_close(s);
        return -1;
    }
    *out = (struct gs_source){.cookie = s, .size = s->label.size, .read_at = file_read_at, .close = file_close};
    return 0;
}

/* ---- one volume anew ---- */

struct writer {
    struct volume_set *s;
    struct gs_stage st;
    const char *path;
    const struct volume_progress *progress;
    uint64_t done, total;
};

static int put(struct writer *w, const void *data, size_t len, struct gs_err *err)
{
    return gs_write_all(w->st.fd, data, len, w->path, err);
}

/* `bytes` of a shard from `off` on. */
static int put_shard(struct writer *w, unsigned number, uint64_t off, uint64_t bytes, char *buf, struct gs_err *err)
{
    for (uint64_t end = off + bytes; off < end;) {
        size_t n = end - off < COPY ? (size_t)(end - off) : COPY;
        if (w->progress && w->progress->stop && *w->progress->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before volume %u was written; nothing of it is left", number);
        if (core_read(w->s, number, off, buf, n, err) || put(w, buf, n, err))
            return -1;
        off += n;
        w->done += n;
        if (w->progress && w->progress->tell)
            w->progress->tell(w->progress->cookie, w->done, w->total);
    }
    return 0;
}

static int put_parity(struct writer *w, unsigned number, char *buf, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    struct volume_set *s = w->s;
    char name[VOLUME_NAME_MAX];
    if (put(w, s->heads[number].data, s->heads[number].len, err))
        return -1;
    for (uint64_t i = 0; i * VOLUME_SLICE_MAX < s->shard; i++) {
        uint64_t left = s->shard - i * VOLUME_SLICE_MAX, n = left < VOLUME_SLICE_MAX ? left : VOLUME_SLICE_MAX;
        gs_autobuf head;
        gs_buf_init(&head, 8 * TAR_BLOCK);
        volume_parity_name(number, i, name);
        if (tar_make_header(name, n, &head, err) || put(w, head.data, head.len, err) ||
            put_shard(w, number, i * VOLUME_SLICE_MAX, n, buf, err) || put(w, zero, (size_t)(tar_padded(n) - n), err))
            return -1;
    }
    return 0;
}

static int put_all(struct writer *w, unsigned number, struct gs_err *err)
{
    static const char zero[TAR_END_LEN];
    struct volume_set *s = w->s;
    gs_autofree char *buf = malloc(COPY);
    if (!buf)
        return gs_fail(err, GS_E_NOMEM, "no memory to copy with");
    w->total = number > s->data ? s->shard : s->cores ? s->cores[number - 1] : s->by[number]->core;
    if (number > s->data ? put_parity(w, number, buf, err) : put_shard(w, number, 0, w->total, buf, err))
        return -1;
    for (unsigned p = s->data + 1; p <= s->data + s->parity; p++)
        if (p != number && put(w, s->heads[p].data, s->heads[p].len, err))
            return -1;
    return put(w, zero, sizeof zero, err);
}

/* What was computed must stand every test that a volume from outside has to. */
static int check_made(const struct volume_set *s, const char *tmp, unsigned number, struct gs_err *err)
{
    gs_autofree struct volume_file *f = calloc(1, sizeof *f);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "no memory for a label");
    if (gs_source_open(tmp, &f->src, err))
        return -1;
    int r = volume_file_open(f, s->trust, err);
    if (r == 0 && f->state != VOLUME_GOOD) {
        *err = f->why;
        r = -1;
    }
    if (r == 0 && (f->head.label.number != number || strcmp(f->head.label.set, s->label.set) != 0))
        r = gs_fail(err, GS_E_VOLUME_LABEL, "it is another volume");
    if (r == 0)
        r = volume_file_walk(f, NULL, NULL, err);
    gs_source_close(&f->src);
    return r ? gs_wrap(err, "volume %u, computed from the others", number) : 0;
}

int volume_set_rebuild(struct volume_set *s, unsigned number, const char *path, const struct volume_progress *p,
                       struct gs_err *err)
{
    struct writer w = {.s = s, .path = path, .progress = p};
    if (number == 0 || number > s->data + s->parity)
        return gs_fail(err, GS_E_USAGE, "there is no volume %u: the set has %u", number, s->data + s->parity);
    if ((!s->by[number] && prepare_lost(s, number, err)) || gs_stage_open(&w.st, path, 0644, false, err))
        return -1;
    int r = put_all(&w, number, err) || check_made(s, w.st.tmp, number, err) || gs_stage_commit(&w.st, err) ? -1 : 0;
    gs_stage_release(&w.st);
    return r;
}
