/*
 * How a file is divided. A bundle: its members as they are, one after the other, never cut where they hold records; a
 * plain file that is larger than a volume is cut into slices. Any other file: slices.
 */
#include "volume_plan.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

#define LABEL_ROOM ((uint64_t)4 << 10) /* for the label of a data volume: more than it can need */
#define SIGNATURE_ROOM ((uint64_t)1 << 10)
#define COPY ((size_t)1 << 20)

struct planner {
    struct volume_plan *p;
    const struct volume_progress *progress;
    uint64_t room; /* bytes of the core of a volume */
    uint64_t sums; /* of the volume that is being filled */
    uint64_t payload;
    size_t member; /* of the bundle, for its digest */
    struct slice {
        struct planner *f;
        size_t volume, line; /* where its digest goes in SUMS */
        uint64_t at, bytes;
        struct gs_err err;
    } * slices;
    size_t n_slices, cap_slices;
    uint64_t done;    /* bytes of them that were read, by all threads */
    unsigned pending; /* slices that are not through */
};

/* ---- sizes ---- */

static uint64_t line_bytes(const char *name)
{
    return 2 * BUNDLE_DIGEST_LEN + 2 + strlen(name) + 1;
}

static uint64_t head_room(uint64_t sums)
{
    return 3 * TAR_BLOCK + LABEL_ROOM + SIGNATURE_ROOM + tar_padded(sums);
}

/* What a parity volume of `n` data volumes has more than the longest core, and every volume has of the labels of the
 * parity. */
static uint64_t parity_room(uint64_t limit, size_t n, unsigned parity)
{
    uint64_t chunks = limit / VOLUME_SLICE_MAX + 1,
             sums = tar_padded(chunks * (2 * BUNDLE_DIGEST_LEN + 3 + VOLUME_NAME_MAX));
    uint64_t head = 3 * TAR_BLOCK + tar_padded(2048 + 96 * n) + SIGNATURE_ROOM + sums;
    return parity ? head * (parity + 1) + chunks * TAR_BLOCK + TAR_BLOCK : 0;
}

/* ---- filling ---- */

static int new_volume(struct planner *f, struct gs_err *err)
{
    struct volume_plan *p = f->p;
    struct volume_image *v = realloc(p->v, (p->n + 1) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for a plan of volumes");
    p->v = v;
    if (p->n + p->parity >= VOLUME_MAX)
        return gs_fail(err, GS_E_VOLUME_SIZE, "the file would need more than %u volumes of %llu bytes",
                       VOLUME_MAX - p->parity, (unsigned long long)p->limit);
    v += p->n++;
    memset(v, 0, sizeof *v);
    gs_buf_init(&v->sums, VOLUME_SUMS_MAX);
    gs_buf_init(&v->mem, VOLUME_SUMS_MAX);
    f->sums = f->payload = 0;
    return 0;
}

static struct volume_image *last_volume(struct planner *f)
{
    return &f->p->v[f->p->n - 1];
}

/* May so many bytes of payload and of SUMS be added to the volume? */
static bool fits(const struct planner *f, uint64_t sums, uint64_t payload)
{
    return head_room(f->sums + sums) + f->payload + payload <= f->room;
}

static int add_line(struct planner *f, const char *name, const uint8_t digest[BUNDLE_DIGEST_LEN], struct gs_err *err)
{
    struct volume_image *v = last_volume(f);
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    bundle_hex(digest, hex);
    return gs_buf_addf(&v->sums, err, "%s  %s\n", hex, name);
}

/* Name of the first and of the last member, cut where a character begins. */
static void note_name(struct volume_label *l, const char *name)
{
    size_t n = strlen(name);
    if (n >= sizeof l->last)
        for (n = sizeof l->last - 1; n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80;)
            n--;
    memcpy(l->last, name, n);
    l->last[n] = 0;
    if (l->members++ == 0)
        memcpy(l->first, l->last, sizeof l->first);
}

static int add_piece(struct planner *f, uint64_t at, uint64_t bytes, bool slice, struct gs_err *err)
{
    struct volume_label *l = &last_volume(f)->label;
    struct volume_piece *before = l->n_pieces ? &l->pieces[l->n_pieces - 1] : NULL;
    if (!slice && before && !before->slice) {
        before->bytes += bytes;
        return 0;
    }
    if (l->n_pieces == VOLUME_PIECES_MAX)
        return gs_fail(err, GS_E_VOLUME_SIZE, "a volume would hold more than %d pieces", VOLUME_PIECES_MAX);
    l->pieces[l->n_pieces++] = (struct volume_piece){at, bytes, slice};
    return 0;
}

static int digest_of(struct planner *f, uint64_t at, uint64_t bytes, uint8_t out[BUNDLE_DIGEST_LEN], struct gs_err *err)
{
    crypto_generichash_state h;
    gs_autofree char *buf = malloc(COPY);
    if (!buf)
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    crypto_generichash_init(&h, NULL, 0, BUNDLE_DIGEST_LEN);
    for (uint64_t done = 0; done < bytes;) {
        size_t n = bytes - done < COPY ? (size_t)(bytes - done) : COPY;
        if (f->progress->stop && *f->progress->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before the file was divided");
        if (gs_source_read(&f->p->file, at + done, buf, n, err))
            return -1;
        crypto_generichash_update(&h, (const uint8_t *)buf, n);
        done += n;
        __atomic_add_fetch(&f->done, n, __ATOMIC_RELAXED);
    }
    crypto_generichash_final(&h, out, BUNDLE_DIGEST_LEN);
    return 0;
}

/* The digest of a slice is put into SUMS when all is divided. */
static int note_slice(struct planner *f, uint64_t at, uint64_t bytes, struct gs_err *err)
{
    if (f->n_slices == f->cap_slices) {
        size_t cap = f->cap_slices ? f->cap_slices * 2 : 16;
        struct slice *s = realloc(f->slices, cap * sizeof *s);
        if (!s)
            return gs_fail(err, GS_E_NOMEM, "no memory for a plan of volumes");
        f->slices = s;
        f->cap_slices = cap;
    }
    f->slices[f->n_slices++] =
        (struct slice){.volume = f->p->n - 1, .line = last_volume(f)->sums.len, .at = at, .bytes = bytes};
    return 0;
}

static void slice_job(void *arg)
{
    struct slice *s = arg;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    if (digest_of(s->f, s->at, s->bytes, digest, &s->err) == 0) {
        bundle_hex(digest, hex);
        memcpy(s->f->p->v[s->volume].sums.data + s->line, hex, sizeof hex - 1);
    }
    __atomic_sub_fetch(&s->f->pending, 1, __ATOMIC_RELEASE);
}

static int digest_slices(struct planner *f, struct gs_work *work, struct gs_err *err)
{
    uint64_t all = 0;
    f->pending = (unsigned)f->n_slices;
    for (size_t i = 0; i < f->n_slices; i++) {
        f->slices[i].f = f;
        all += f->slices[i].bytes;
        gs_work_submit(work, slice_job, &f->slices[i]);
    }
    while (f->progress->tell && __atomic_load_n(&f->pending, __ATOMIC_ACQUIRE)) {
        f->progress->tell(f->progress->cookie, __atomic_load_n(&f->done, __ATOMIC_RELAXED), all);
        gs_sleep_ms(10);
    }
    gs_work_wait(work);
    for (size_t i = 0; i < f->n_slices; i++)
        if (f->slices[i].err.code) {
            *err = f->slices[i].err;
            return -1;
        }
    return 0;
}

/* Cuts [at, at + bytes) wherever a volume is full, but at whole blocks. */
static int add_slices(struct planner *f, uint64_t at, uint64_t bytes, struct gs_err *err)
{
    char name[VOLUME_NAME_MAX];
    static const uint8_t digest[BUNDLE_DIGEST_LEN]; /* later */
    while (bytes > 0) {
        volume_slice_name(at, name);
        uint64_t used = head_room(f->sums + line_bytes(name)) + f->payload + TAR_BLOCK;
        uint64_t n = used + TAR_BLOCK <= f->room ? (f->room - used) / TAR_BLOCK * TAR_BLOCK : 0;
        if (n > VOLUME_SLICE_MAX)
            n = VOLUME_SLICE_MAX;
        if (n > bytes)
            n = bytes;
        if (n == 0) {
            if (f->payload == 0)
                return gs_fail(err, GS_E_VOLUME_SIZE, "volumes of %llu bytes hold nothing besides their labels",
                               (unsigned long long)f->p->limit);
            if (new_volume(f, err))
                return -1;
            continue;
        }
        if (note_slice(f, at, n, err) || add_line(f, name, digest, err) || add_piece(f, at, n, true, err))
            return -1;
        note_name(&last_volume(f)->label, name);
        f->sums += line_bytes(name);
        f->payload += TAR_BLOCK + tar_padded(n);
        at += n;
        bytes -= n;
    }
    return 0;
}

/* The digest of a member: as the bundle's own SUMS says, or of what stands above it. */
static int member_digest(struct planner *f, const struct tar_head *h, uint8_t out[BUNDLE_DIGEST_LEN],
                         struct gs_err *err)
{
    const struct bundle *b = f->p->b;
    const struct bundle_member *m = NULL;
    switch (h->parsed.kind) {
    case NAME_INDEX:
        m = &b->books[BOOK_INDEX];
        break;
    case NAME_LEDGER:
        m = &b->books[BOOK_LEDGER];
        break;
    case NAME_USERS:
        m = &b->books[BOOK_USERS];
        break;
    case NAME_DATA:
        m = &b->members[f->member++];
        break;
    default:
        return digest_of(f, h->data_off, h->size, out, err);
    }
    memcpy(out, m->digest, BUNDLE_DIGEST_LEN);
    return strcmp(m->path, h->name) == 0 ? 0 : gs_fail(err, GS_E_INTERNAL, "'%s' is not where it was", h->name);
}

static int add_member(struct planner *f, const struct tar_head *h, uint64_t at, struct gs_err *err)
{
    uint8_t digest[BUNDLE_DIGEST_LEN];
    uint64_t bytes = h->data_off - at + tar_padded(h->size), line = line_bytes(h->name);
    if (!fits(f, line, bytes)) {
        if (head_room(line) + bytes > f->room) {
            if (!h->parsed.is_file)
                return gs_fail(err, GS_E_VOLUME_SIZE,
                               "'%s' has %llu bytes and is not cut: volumes of at least %llu bytes are needed", h->name,
                               (unsigned long long)h->size,
                               (unsigned long long)(f->p->limit + head_room(line) + bytes - f->room));
            f->member++;
            return add_slices(f, at, bytes, err);
        }
        if (new_volume(f, err))
            return -1;
    }
    if (member_digest(f, h, digest, err) || add_line(f, h->name, digest, err) || add_piece(f, at, bytes, false, err))
        return -1;
    note_name(&last_volume(f)->label, h->name);
    f->sums += line;
    f->payload += bytes;
    return 0;
}

static int fill(struct planner *f, struct gs_err *err)
{
    uint64_t pad_from = 0, off = 0;
    if (new_volume(f, err))
        return -1;
    if (!f->p->b)
        return add_slices(f, 0, f->p->file.size, err);
    for (;;) {
        struct tar_head h;
        if (tar_read_header(&f->p->file, pad_from, off, &h, err))
            return -1;
        if (h.end)
            return 0;
        if (add_member(f, &h, off, err))
            return -1;
        pad_from = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
}

static void drop_volumes(struct volume_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        gs_buf_release(&p->v[i].sums);
        gs_buf_release(&p->v[i].mem);
        free(p->v[i].segs);
    }
    free(p->v);
    p->v = NULL;
    p->n = 0;
}

void volume_plan_release(struct volume_plan *p)
{
    drop_volumes(p);
}

int volume_plan_make(struct volume_plan *p, struct gs_work *work, const struct volume_progress *progress,
                     struct gs_err *err)
{
    /* the room that the parity needs depends on how many volumes there are, and the other way round */
    size_t guess = (size_t)(p->file.size / p->limit) + 1;
    if (p->file.size == 0)
        return gs_fail(err, GS_E_USAGE, "an empty file is not divided");
    for (;;) {
        uint64_t taken = TAR_END_LEN + parity_room(p->limit, guess, p->parity);
        struct planner f = {.p = p, .progress = progress, .room = taken < p->limit ? p->limit - taken : 0};
        int r = fill(&f, err);
        bool done = r || p->n <= guess;
        if (r == 0 && done)
            r = digest_slices(&f, work, err);
        free(f.slices);
        if (done)
            return r ? -1 : 0;
        guess = p->n;
        drop_volumes(p);
    }
}

/* ---- images ---- */

static int add_seg(struct volume_image *v, int kind, uint64_t from, uint64_t bytes, struct gs_err *err)
{
    if (bytes == 0)
        return 0;
    if (v->n_segs == v->cap_segs) {
        size_t cap = v->cap_segs ? v->cap_segs * 2 : 8;
        struct volume_seg *s = realloc(v->segs, cap * sizeof *s);
        if (!s)
            return gs_fail(err, GS_E_NOMEM, "no memory for a plan of volumes");
        v->segs = s;
        v->cap_segs = cap;
    }
    v->segs[v->n_segs++] = (struct volume_seg){.at = v->bytes, .bytes = bytes, .kind = kind, .from = from};
    v->bytes += bytes;
    return 0;
}

static int make_image(struct volume_image *v, struct gs_err *err)
{
    char name[VOLUME_NAME_MAX];
    size_t head = v->mem.len;
    if (add_seg(v, SEG_MEM, 0, head, err))
        return -1;
    for (size_t i = 0; i < v->label.n_pieces; i++) {
        const struct volume_piece *p = &v->label.pieces[i];
        size_t from = v->mem.len;
        volume_slice_name(p->at, name);
        if (p->slice &&
            (tar_make_header(name, p->bytes, &v->mem, err) || add_seg(v, SEG_MEM, from, v->mem.len - from, err)))
            return -1;
        if (add_seg(v, SEG_FILE, p->at, p->bytes, err) ||
            (p->slice && add_seg(v, SEG_ZERO, 0, tar_padded(p->bytes) - p->bytes, err)))
            return -1;
    }
    return 0;
}

/* 128 bits over everything that decides which bytes the set has. */
static void set_id(const struct volume_plan *p, const struct sign_seckey *key, char out[VOLUME_SET_HEX])
{
    static const char digit[] = "0123456789abcdef";
    crypto_generichash_state h;
    struct sign_pubkey pub;
    char text[160];
    uint8_t id[16];
    sign_seckey_public(key, &pub);
    crypto_generichash_init(&h, NULL, 0, sizeof id);
    int n = snprintf(text, sizeof text, VOLUME_SCHEMA "\n%llu %zu %u %llu\n", (unsigned long long)p->limit, p->n,
                     p->parity, (unsigned long long)p->file.size);
    crypto_generichash_update(&h, (const uint8_t *)text, (size_t)n);
    crypto_generichash_update(&h, pub.id, sizeof pub.id);
    crypto_generichash_update(&h, pub.key, sizeof pub.key);
    for (size_t i = 0; i < p->n; i++)
        crypto_generichash_update(&h, (const uint8_t *)gs_buf_str(&p->v[i].sums), p->v[i].sums.len);
    crypto_generichash_final(&h, id, sizeof id);
    for (size_t i = 0; i < sizeof id; i++) {
        out[2 * i] = digit[id[i] >> 4];
        out[2 * i + 1] = digit[id[i] & 15];
    }
    out[2 * sizeof id] = 0;
}

/* Text of the manifest, unless it is too long to be shown. */
static void of_manifest(const char *s, char *out, size_t cap)
{
    out[0] = 0;
    if (s && strlen(s) < cap)
        memcpy(out, s, strlen(s) + 1);
}

int volume_plan_heads(struct volume_plan *p, const struct sign_seckey *key, char set[VOLUME_SET_HEX],
                      struct gs_err *err)
{
    set_id(p, key, set);
    for (size_t i = 0; i < p->n; i++) {
        struct volume_image *v = &p->v[i];
        struct volume_label *l = &v->label;
        memcpy(l->set, set, VOLUME_SET_HEX);
        l->number = (unsigned)i + 1;
        l->data = (unsigned)p->n;
        l->parity = p->parity;
        l->limit = p->limit;
        l->size = p->file.size;
        l->is_bundle = p->b != NULL;
        if (p->b) {
            yyjson_val *m = bundle_manifest(p->b);
            of_manifest(gs_json_str(yyjson_obj_get(m, "root"), "path"), l->root, sizeof l->root);
            of_manifest(gs_json_str(m, "created_at"), l->created_at, sizeof l->created_at);
            bundle_hex(bundle_digest(p->b), l->digest);
        }
        l->sums_bytes = v->sums.len;
        bundle_hash(v->sums.data, v->sums.len, l->sums_digest);
        if (volume_head_write(l, &v->sums, key, &v->mem, err))
            return -1;
        if (v->mem.len > head_room(v->sums.len))
            return gs_fail(err, GS_E_INTERNAL, "the label of volume %u has %zu bytes", l->number, v->mem.len);
        if (make_image(v, err))
            return -1;
    }
    return 0;
}

int volume_image_read(const struct volume_plan *p, const struct volume_image *v, uint64_t off, void *buf, size_t len,
                      struct gs_err *err)
{
    char *out = buf;
    size_t i = 0, hi = v->n_segs;
    while (i < hi) { /* the first that ends behind `off` */
        size_t mid = i + (hi - i) / 2;
        if (v->segs[mid].at + v->segs[mid].bytes > off)
            hi = mid;
        else
            i = mid + 1;
    }
    for (; len > 0 && i < v->n_segs; i++) {
        const struct volume_seg *s = &v->segs[i];
        uint64_t skip = off - s->at;
        size_t n = s->bytes - skip < len ? (size_t)(s->bytes - skip) : len;
        if (s->kind == SEG_MEM)
            memcpy(out, v->mem.data + s->from + skip, n);
        else if (s->kind == SEG_ZERO)
            memset(out, 0, n);
        else if (gs_source_read(&p->file, s->from + skip, out, n, err))
            return -1;
        out += n;
        off += n;
        len -= n;
    }
    memset(out, 0, len);
    return 0;
}
