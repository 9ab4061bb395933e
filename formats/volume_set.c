/* Reading volumes: which files are what, and the file that was divided out of those that are there. */
#include "volume_set.h"

#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

/* ---- one file ---- */

/* Zero bytes up to the end of the file, exactly so many. */
static int check_end(const struct gs_source *src, uint64_t at, struct gs_err *err)
{
    static const char zero[TAR_END_LEN];
    char end[TAR_END_LEN];
    if (at > src->size || src->size - at < TAR_END_LEN)
        return gs_fail(err, GS_E_TRUNCATED, "the volume ends before its end mark");
    if (gs_source_read(src, at, end, sizeof end, err))
        return -1;
    if (memcmp(end, zero, sizeof end) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "the end mark at byte %llu is none", (unsigned long long)at);
    if (src->size - at > TAR_END_LEN)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "%llu bytes behind the end of the volume",
                       (unsigned long long)(src->size - at - TAR_END_LEN));
    return 0;
}

/* Bytes of `shard` bytes of parity with the headers of their members. */
static uint64_t parity_bytes(uint64_t shard)
{
    return (shard + VOLUME_SLICE_MAX - 1) / VOLUME_SLICE_MAX * TAR_BLOCK + tar_padded(shard);
}

static uint64_t payload_bytes(const struct volume_label *l)
{
    uint64_t n = 0;
    if (volume_is_parity(l))
        return parity_bytes(volume_shard(l));
    for (size_t i = 0; i < l->n_pieces; i++)
        n += l->pieces[i].slice ? TAR_BLOCK + tar_padded(l->pieces[i].bytes) : l->pieces[i].bytes;
    return n;
}

int volume_file_open(struct volume_file *f, const struct sign_trust *trust, struct gs_err *err)
{
    struct gs_err why = {0};
    if (volume_head_read(&f->src, 0, trust, &f->head, &why, err))
        return -1;
    f->state = VOLUME_GOOD;
    if (f->head.signature != GS_OK) {
        f->state = VOLUME_UNTRUSTED;
        f->why = why;
        return 0;
    }
    const struct volume_label *l = &f->head.label;
    f->core = f->head.bytes + payload_bytes(l);
    uint64_t at = f->core;
    gs_autofree struct volume_head *h = malloc(sizeof *h);
    if (!h)
        return gs_fail(err, GS_E_NOMEM, "no memory for a label");
    for (unsigned n = l->data + 1; n <= l->data + l->parity; n++) {
        if (n == l->number)
            continue;
        if (volume_head_read(&f->src, at, trust, h, &why, err))
            return gs_wrap(err, "the label of volume %u in it", n);
        if (h->signature != GS_OK) {
            *err = why;
            return gs_wrap(err, "the label of volume %u in it", n);
        }
        if (h->label.number != n || strcmp(h->label.set, l->set) != 0 || h->label.data != l->data ||
            h->label.parity != l->parity)
            return gs_fail(err, GS_E_VOLUME_LABEL, "the label of volume %u in it is that of another one", n);
        at += h->bytes;
    }
    return check_end(&f->src, at, err);
}

/* ---- every byte of one file ---- */

struct walk {
    const struct volume_file *f;
    const char *p, *end; /* lines of SUMS that are left */
    uint64_t at;
    char *buf;
    const struct volume_progress *progress;
    uint64_t *done; /* of all volumes */
};
#define WALK ((size_t)1 << 20)

/* The next line must name this member, and the bytes at `from` must be what it says. */
static int walk_member(struct walk *w, const char *name, uint64_t from, uint64_t size, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    uint8_t want[BUNDLE_DIGEST_LEN], got[BUNDLE_DIGEST_LEN];
    crypto_generichash_state h;
    const char *nl = memchr(w->p, '\n', (size_t)(w->end - w->p));
    size_t len = strlen(name);
    if (!nl || (size_t)(nl - w->p) != 66 + len || !bundle_unhex(w->p, 64, want, sizeof want) || w->p[64] != ' ' ||
        w->p[65] != ' ' || memcmp(w->p + 66, name, len) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "'%s' is not what its list of digests names there", name);
    w->p = nl + 1;
    crypto_generichash_init(&h, NULL, 0, sizeof got);
    for (uint64_t done = 0; done < size;) {
        size_t n = size - done < WALK ? (size_t)(size - done) : WALK;
        if (w->progress && w->progress->stop && *w->progress->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before all volumes were checked");
        if (gs_source_read(&w->f->src, from + done, w->buf, n, err))
            return -1;
        crypto_generichash_update(&h, (const uint8_t *)w->buf, n);
        done += n;
        if (w->done)
            __atomic_add_fetch(w->done, n, __ATOMIC_RELAXED);
    }
    crypto_generichash_final(&h, got, sizeof got);
    if (memcmp(got, want, sizeof got) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "'%s' is not what was written", name);
    size_t pad = (size_t)(tar_padded(size) - size);
    if (gs_source_read(&w->f->src, from + size, w->buf, pad, err))
        return -1;
    if (memcmp(w->buf, zero, pad) != 0)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "bytes that are not zero behind '%s'", name);
    w->at = from + tar_padded(size);
    return 0;
}

/* A member of ours, of which name and size are known. */
static int walk_own(struct walk *w, const char *name, uint64_t bytes, struct gs_err *err)
{
    uint64_t size;
    if (volume_member_at(&w->f->src, w->at, name, &size, err))
        return -1;
    if (size != bytes)
        return gs_fail(err, GS_E_VOLUME_DAMAGED, "'%s' has another size than the label says", name);
    return walk_member(w, name, w->at + TAR_BLOCK, size, err);
}

/* Members of the bundle as they are. */
static int walk_run(struct walk *w, uint64_t bytes, struct gs_err *err)
{
    uint64_t end = w->at + bytes;
    while (w->at < end) {
        struct tar_head h;
        if (tar_read_header(&w->f->src, w->at, w->at, &h, err))
            return -1;
        if (h.end || h.data_off > end || tar_padded(h.size) > end - h.data_off)
            return gs_fail(err, GS_E_VOLUME_DAMAGED, "the members end elsewhere than the label says");
        if (walk_member(w, h.name, h.data_off, h.size, err))
            return -1;
    }
    return 0;
}

static int walk_all(struct walk *w, struct gs_err *err)
{
    const struct volume_label *l = &w->f->head.label;
    char name[VOLUME_NAME_MAX];
    uint64_t shard = volume_is_parity(l) ? volume_shard(l) : 0;
    for (size_t i = 0; i < l->n_pieces; i++) {
        volume_slice_name(l->pieces[i].at, name);
        if (l->pieces[i].slice ? walk_own(w, name, l->pieces[i].bytes, err) : walk_run(w, l->pieces[i].bytes, err))
            return -1;
    }
    for (uint64_t i = 0; i * VOLUME_SLICE_MAX < shard; i++) {
        uint64_t left = shard - i * VOLUME_SLICE_MAX;
        volume_parity_name(l->number, i, name);
        if (walk_own(w, name, left < VOLUME_SLICE_MAX ? left : VOLUME_SLICE_MAX, err))
            return -1;
    }
    return w->p == w->end ? 0 : gs_fail(err, GS_E_VOLUME_DAMAGED, "its list of digests names more than is in it");
}

int volume_file_walk(const struct volume_file *f, const struct volume_progress *progress, uint64_t *done,
                     struct gs_err *err)
{
    gs_autobuf sums;
    gs_autofree char *buf = malloc(WALK + TAR_BLOCK);
    size_t n = (size_t)f->head.label.sums_bytes;
    gs_buf_init(&sums, VOLUME_SUMS_MAX + 1);
    if (!buf)
        return gs_fail(err, GS_E_NOMEM, "no memory to read with");
    if (gs_buf_reserve(&sums, n + 1, err) || gs_source_read(&f->src, f->head.sums_at, sums.data, n, err))
        return -1;
    struct walk w = {.f = f,
                     .p = sums.data,
                     .end = sums.data + n,
                     .at = f->head.bytes,
                     .buf = buf,
                     .progress = progress,
                     .done = done};
    return walk_all(&w, err);
}

/* ---- the set ---- */

static const struct {
    enum volume_state state;
    const char *name;
} state_names[] = {{VOLUME_GOOD, "good"},           {VOLUME_MISSING, "missing"},     {VOLUME_DAMAGED, "damaged"},
                   {VOLUME_UNTRUSTED, "untrusted"}, {VOLUME_OTHER_SET, "other-set"}, {VOLUME_TWICE, "twice"},
                   {VOLUME_NONE, "no-volume"}};

const char *volume_state_name(enum volume_state s)
{
    return state_names[s].name;
}

static int open_one(struct volume_file *f, const char *path, const struct sign_trust *trust, struct gs_err *err)
{
    f->path = strdup(path);
    if (!f->path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (gs_source_open(path, &f->src, &f->why)) {
        f->state = VOLUME_NONE;
        return 0;
    }
    f->open = true;
    if (!volume_is(&f->src)) {
        f->state = VOLUME_NONE;
        gs_fail(&f->why, GS_E_NOT_A_BUNDLE, "'%s' is not a volume", path);
        return 0;
    }
    struct gs_err why = {0};
    if (volume_file_open(f, trust, &why)) {
        if (why.code == GS_E_NOMEM) {
            *err = why;
            return -1;
        }
        f->state = VOLUME_DAMAGED;
        f->why = why;
    }
    return 0;
}

/* The set that most of the good files belong to; among equals the first. */
static struct volume_file *choose(struct volume_set *s)
{
    struct volume_file *best = NULL;
    size_t most = 0;
    for (size_t i = 0; i < s->n_files; i++) {
        size_t n = 0;
        for (size_t k = 0; k < s->n_files && s->files[i].state == VOLUME_GOOD; k++)
            n +=
                s->files[k].state == VOLUME_GOOD && strcmp(s->files[k].head.label.set, s->files[i].head.label.set) == 0;
        if (n > most) {
            most = n;
            best = &s->files[i];
        }
    }
    return best;
}

static void sort_files(struct volume_set *s, const struct volume_label *of)
{
    for (size_t i = 0; i < s->n_files; i++) {
        struct volume_file *f = &s->files[i];
        const struct volume_label *l = &f->head.label;
        if (f->state != VOLUME_GOOD)
            continue;
        if (strcmp(l->set, of->set) != 0 || l->data != of->data || l->parity != of->parity || l->size != of->size)
            f->state = VOLUME_OTHER_SET;
        else if (s->by[l->number])
            f->state = VOLUME_TWICE;
        else
            s->by[l->number] = f;
    }
}

/* The heads of the parity volumes, which stand in every volume. */
static int take_heads(struct volume_set *s, struct gs_err *err)
{
    for (unsigned n = 1; n <= s->data + s->parity && s->parity; n++) {
        const struct volume_file *f = s->by[n];
        uint64_t at = f ? f->core : 0;
        for (unsigned p = s->data + 1; f && p <= s->data + s->parity; p++) {
            struct gs_err why = {0};
            gs_autofree struct volume_head *h = malloc(sizeof *h);
            if (!h)
                return gs_fail(err, GS_E_NOMEM, "no memory for a label");
            uint64_t from = p == n ? 0 : at;
            if (volume_head_read(&f->src, from, NULL, h, &why, err)) /* it was when the file was opened */
                return -1;
            at += p == n ? 0 : h->bytes;
            struct gs_buf *raw = &s->heads[p];
            if (raw->len)
                continue;
            gs_buf_init(raw, (size_t)64 << 20);
            if (gs_buf_reserve(raw, (size_t)h->bytes, err) ||
                gs_source_read(&f->src, from, raw->data, (size_t)h->bytes, err))
                return -1;
            raw->len = (size_t)h->bytes;
            s->cores = s->cores ? s->cores : malloc(sizeof h->label.cores);
            if (!s->cores)
                return gs_fail(err, GS_E_NOMEM, "no memory for a label");
            memcpy(s->cores, h->label.cores, sizeof h->label.cores);
            s->shard = volume_shard(&h->label);
        }
    }
    return 0;
}

/* What the file list tells, made anew after each look. */
static int tell(struct volume_set *s, struct gs_err *err)
{
    unsigned of = s->data + s->parity;
    struct volume_seen *v = realloc(s->seen, (of + s->n_files) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for a list of volumes");
    s->seen = v;
    s->n_seen = 0;
    memset(v, 0, (of + s->n_files) * sizeof *v);
    for (unsigned n = 1; n <= of; n++) {
        struct volume_seen *e = &v[s->n_seen++];
        *e = (struct volume_seen){.number = n, .state = VOLUME_MISSING, .parity = n > s->data};
        memcpy(e->set, s->label.set, sizeof e->set);
        for (size_t i = 0; i < s->n_files; i++) { /* the good one, or else one that is not */
            struct volume_file *f = &s->files[i];
            f->told = f == s->by[n] ? true : f->told;
            if (f == s->by[n] || (!s->by[n] && e->state == VOLUME_MISSING && f->head.label.number == n &&
                                  (f->state == VOLUME_DAMAGED || f->state == VOLUME_UNTRUSTED))) {
                f->told = true;
                e->path = f->path;
                e->state = f->state;
                e->why = f->why;
                e->bytes = f->open ? f->src.size : 0;
                e->members = f->head.label.members;
                memcpy(e->first, f->head.label.first, sizeof e->first);
                memcpy(e->last, f->head.label.last, sizeof e->last);
            }
        }
    }
    for (size_t i = 0; i < s->n_files; i++) {
        struct volume_file *f = &s->files[i];
        bool again = f->told;
        f->told = false;
        if (again)
            continue;
        struct volume_seen *e = &v[s->n_seen++];
        *e = (struct volume_seen){.path = f->path,
                                  .number = f->head.label.number,
                                  .state = f->state,
                                  .why = f->why,
                                  .bytes = f->open ? f->src.size : 0};
        memcpy(e->set, f->head.label.set, sizeof e->set);
    }
    return 0;
}

int volume_set_open(const char *const *paths, size_t n, const struct sign_trust *trust, struct volume_set **out,
                    struct gs_err *err)
{
    GS_AUTO(volume_set) s = calloc(1, sizeof *s);
    if (s)
        s->files = calloc(n + 1, sizeof *s->files);
    if (!s || !s->files)
        return gs_fail(err, GS_E_NOMEM, "no memory for a set of volumes");
    s->trust = trust && trust->n && !trust->lenient ? trust : NULL;
    for (size_t i = 0; i < n; i++) {
        s->n_files++;
        if (open_one(&s->files[i], paths[i], s->trust, err))
            return -1;
    }
    const struct volume_file *first = choose(s);
    if (!first) {
        for (size_t i = 0; i < n; i++)
            if (s->files[i].state != VOLUME_NONE) {
                *err = s->files[i].why;
                return gs_wrap(err, "'%s'", paths[i]);
            }
        return gs_fail(err, GS_E_NOT_A_BUNDLE, "none of %zu files is a volume", n);
    }
    s->label = first->head.label;
    s->data = s->label.data;
    s->parity = s->label.parity;
    sort_files(s, &s->label);
    if (take_heads(s, err) || tell(s, err))
        return -1;
    *out = gs_steal(&s);
    return 0;
}

void volume_set_close(struct volume_set *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_files; i++) {
        if (s->files[i].open)
            gs_source_close(&s->files[i].src);
        free(s->files[i].path);
    }
    for (unsigned i = 0; i <= VOLUME_MAX; i++) {
        gs_buf_release(&s->heads[i]);
        free(s->lost[i].tables);
    }
    free(s->files);
    free(s->seen);
    free(s->cores);
    free(s->map);
    free(s);
}

void volume_set_about(const struct volume_set *s, struct volume_about *out)
{
    const struct volume_label *l = &s->label;
    memset(out, 0, sizeof *out);
    memcpy(out->set, l->set, sizeof out->set);
    out->data = s->data;
    out->parity = s->parity;
    out->is_bundle = l->is_bundle;
    out->size = l->size;
    memcpy(out->root, l->root, sizeof out->root);
    memcpy(out->created_at, l->created_at, sizeof out->created_at);
    memcpy(out->digest, l->digest, sizeof out->digest);
}

size_t volume_set_seen(const struct volume_set *s, const struct volume_seen **out)
{
    *out = s->seen;
    return s->n_seen;
}

/* ---- all bytes of all files ---- */

struct check {
    struct volume_file *f;
    const struct volume_progress *progress;
    uint64_t *done;
    unsigned *pending;
    struct gs_err fatal;
};

static void check_job(void *arg)
{
    struct check *c = arg;
    struct gs_err err = {0};
    if (volume_file_walk(c->f, c->progress, c->done, &err)) {
        if (err.code == GS_E_STOPPED || err.code == GS_E_NOMEM) {
            c->fatal = err;
        } else { /* an input error as well: a scratched disc */
            c->f->state = VOLUME_DAMAGED;
            c->f->why = err;
        }
    }
    __atomic_sub_fetch(c->pending, 1, __ATOMIC_RELEASE);
}

static int check_files(struct volume_set *s, struct gs_work *work, const struct volume_progress *p, bool again,
                       struct gs_err *err)
{
    uint64_t done = 0, total = 0;
    unsigned pending = 0;
    gs_autofree struct check *c = calloc(s->n_files + 1, sizeof *c);
    if (!c)
        return gs_fail(err, GS_E_NOMEM, "no memory to check volumes");
    for (size_t i = 0; i < s->n_files; i++) {
        struct volume_file *f = &s->files[i];
        if (f->state != (again ? VOLUME_TWICE : VOLUME_GOOD) || (again && s->by[f->head.label.number]))
            continue;
        total += f->src.size;
        c[i] = (struct check){.f = f, .progress = p, .done = &done, .pending = &pending};
        if (again)
            f->state = VOLUME_GOOD;
        __atomic_add_fetch(&pending, 1, __ATOMIC_RELAXED);
        gs_work_submit(work, check_job, &c[i]);
    }
    while (p && p->tell && __atomic_load_n(&pending, __ATOMIC_ACQUIRE)) {
        gs_sleep_ms(50);
        p->tell(p->cookie, __atomic_load_n(&done, __ATOMIC_RELAXED), total);
    }
    gs_work_wait(work);
    for (size_t i = 0; i < s->n_files; i++) {
        if (c[i].fatal.code) {
            *err = c[i].fatal;
            return -1;
        }
        struct volume_file *f = c[i].f;
        if (f && f->state == VOLUME_DAMAGED && s->by[f->head.label.number] == f)
            s->by[f->head.label.number] = NULL;
        if (f && again && f->state == VOLUME_GOOD) {
            struct volume_file **place = &s->by[f->head.label.number];
            f->state = *place ? VOLUME_TWICE : VOLUME_GOOD;
            *place = *place ? *place : f;
        }
    }
    return 0;
}

int volume_set_verify(struct volume_set *s, unsigned threads, const struct volume_progress *p, struct gs_err *err)
{
    struct gs_work *work = NULL;
    if (gs_work_new(threads, (unsigned)s->n_files, &work, err))
        return -1;
    /* a second copy counts only where the first is damaged */
    int r = check_files(s, work, p, false, err) || check_files(s, work, p, true, err) || tell(s, err) ? -1 : 0;
    gs_work_free(work);
    return r;
}

int volume_set_enough(const struct volume_set *s, struct gs_err *err)
{
    unsigned good = 0, lost = 0;
    char names[400] = "";
    size_t at = 0;
    enum gs_code code = GS_E_VOLUME_DAMAGED;
    for (unsigned i = 0; i < s->data + s->parity; i++) {
        const struct volume_seen *e = &s->seen[i];
        if (e->state == VOLUME_GOOD) {
            good++;
            continue;
        }
        if (e->state == VOLUME_MISSING)
            code = GS_E_VOLUME_MISSING;
        else if (e->state == VOLUME_UNTRUSTED && code == GS_E_VOLUME_DAMAGED)
            code = e->why.code;
        if (at < sizeof names - 40)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%u %s", lost ? ", " : "", e->number,
                                   volume_state_name(e->state));
        else if (names[at - 1] != '.')
            at += (size_t)snprintf(names + at, sizeof names - at, " ...");
        lost++;
    }
    if (good >= s->data)
        return 0;
    return gs_fail(err, code, "%u of %u volumes are of use, %u are needed: %s", good, s->data + s->parity, s->data,
                   names);
}
