/* Writing volumes: all data volumes side by side, the parity computed on the way, the labels of the parity at last. */
#include "volume_plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MEMORY ((size_t)24 << 20) /* for the stripes */
#define STRIPE_MAX ((size_t)1 << 20)
#define STRIPE_MIN ((size_t)4 << 10)

struct out_file {
    bool wanted;
    char *path;
    struct gs_stage st;
    uint64_t at;                   /* where the next byte goes */
    crypto_generichash_state hash; /* of a core, or of a member of the parity */
    struct gs_buf sums, head;      /* of a parity volume */
    uint64_t member_left, member;  /* of the parity: bytes that the tar member still takes, and its number */
};

struct split {
    struct volume_plan plan;
    const struct volume_split_opts *o;
    struct volume_split_result *res;
    unsigned n, k;
    uint64_t shard;
    struct out_file f[VOLUME_MAX]; /* data volumes, then the parity */
    uint64_t cores[VOLUME_MAX];
    uint8_t *tables, *memory;
    struct gs_work *work;
    size_t stripe;
};

char *volume_file_name(const char *base, unsigned number, unsigned of)
{
    return gs_asprintf("%s.vol%0*u", base, of > 99 ? 3 : 2, number);
}

static int write_at(struct out_file *f, const void *data, size_t len, struct gs_err *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = pwrite(f->st.fd, p, len, (off_t)f->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return gs_fail_sys(err, GS_E_IO, errno, "writing '%s'", f->path);
        p += n;
        len -= (size_t)n;
        f->at += (uint64_t)n;
    }
    return 0;
}

static int open_files(struct split *s, struct gs_err *err)
{
    struct stat st;
    unsigned of = s->n + s->k;
    for (unsigned i = 0; s->o->only && i < VOLUME_MAX; i++)
        if (s->o->only[i + 1] && i >= of)
            return gs_fail(err, GS_E_USAGE, "there is no volume %u: the set has %u", i + 1, of);
    for (unsigned i = 0; i < of; i++) {
        struct out_file *f = &s->f[i];
        f->st.fd = -1;
        gs_buf_init(&f->sums, VOLUME_SUMS_MAX);
        gs_buf_init(&f->head, VOLUME_SUMS_MAX);
        f->wanted = !s->o->only || s->o->only[i + 1];
        f->path = volume_file_name(s->o->base, i + 1, of);
        if (!f->path)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        if (f->wanted && lstat(f->path, &st) == 0) /* before any is begun */
            return gs_fail(err, GS_E_EXISTS, "'%s' exists already", f->path);
    }
    for (unsigned i = 0; i < of; i++)
        if (s->f[i].wanted && gs_stage_open(&s->f[i].st, s->f[i].path, 0644, false, err))
            return -1;
    return 0;
}

/* ---- the parity ---- */

static int parity_label(struct split *s, unsigned i, const struct sign_seckey *key, struct gs_err *err)
{
    struct out_file *f = &s->f[i];
    struct volume_label l = s->plan.v[0].label;
    l.number = i + 1;
    l.members = 0;
    l.first[0] = l.last[0] = 0;
    l.n_pieces = 0;
    memcpy(l.cores, s->cores, sizeof l.cores);
    l.sums_bytes = f->sums.len;
    bundle_hash(f->sums.data, f->sums.len, l.sums_digest);
    gs_buf_reset(&f->head);
    return volume_head_write(&l, &f->sums, key, &f->head, err);
}

static uint64_t member_size(const struct split *s, uint64_t index)
{
    uint64_t left = s->shard - index * VOLUME_SLICE_MAX;
    return left < VOLUME_SLICE_MAX ? left : VOLUME_SLICE_MAX;
}

/* The head has its length already when its digests are not known yet; it is written last. */
static int begin_parity(struct split *s, struct gs_err *err)
{
    static const uint8_t none[BUNDLE_DIGEST_LEN];
    char name[VOLUME_NAME_MAX], hex[2 * BUNDLE_DIGEST_LEN + 1];
    bundle_hex(none, hex);
    for (unsigned i = 0; i < s->n; i++)
        s->cores[i] = s->plan.v[i].bytes;
    for (unsigned i = s->n; i < s->n + s->k; i++) {
        for (uint64_t m = 0; m * VOLUME_SLICE_MAX < s->shard; m++) {
            volume_parity_name(i + 1, m, name);
            if (gs_buf_addf(&s->f[i].sums, err, "%s  %s\n", hex, name))
                return -1;
        }
        if (parity_label(s, i, s->o->key, err))
            return -1;
        s->f[i].at = s->f[i].head.len;
        gs_buf_reset(&s->f[i].sums);
    }
    return 0;
}

/* Bytes of the parity into volume `i`, with the headers of its members. */
static int put_parity(struct split *s, unsigned i, const uint8_t *data, size_t len, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    struct out_file *f = &s->f[i];
    char name[VOLUME_NAME_MAX], hex[2 * BUNDLE_DIGEST_LEN + 1];
    uint8_t digest[BUNDLE_DIGEST_LEN];
    while (len > 0) {
        volume_parity_name(i + 1, f->member, name);
        if (f->member_left == 0) {
            gs_autobuf head;
            gs_buf_init(&head, 8 * TAR_BLOCK);
            f->member_left = member_size(s, f->member);
            crypto_generichash_init(&f->hash, NULL, 0, BUNDLE_DIGEST_LEN);
            if (tar_make_header(name, f->member_left, &head, err) ||
                (f->wanted && write_at(f, head.data, head.len, err)))
                return -1;
        }
        size_t n = f->member_left < len ? (size_t)f->member_left : len;
        crypto_generichash_update(&f->hash, data, n);
        if (f->wanted && write_at(f, data, n, err))
            return -1;
        data += n;
        len -= n;
        f->member_left -= n;
        if (f->member_left > 0)
            continue;
        uint64_t size = member_size(s, f->member++);
        crypto_generichash_final(&f->hash, digest, sizeof digest);
        bundle_hex(digest, hex);
        if (gs_buf_addf(&f->sums, err, "%s  %s\n", hex, name) ||
            (f->wanted && write_at(f, zero, (size_t)(tar_padded(size) - size), err)))
            return -1;
    }
    return 0;
}

/* ---- all at once ---- */

/* One step of a stripe that a thread does on its own. */
struct job {
    struct split *s;
    unsigned i; /* the volume, or which part of the stripe */
    uint64_t off;
    size_t len;
    uint8_t **in, **out;
    struct gs_err err;
    int r;
};

static void read_job(void *arg)
{
    struct job *j = arg;
    const struct volume_image *v = &j->s->plan.v[j->i];
    struct out_file *f = &j->s->f[j->i];
    size_t n = j->off >= v->bytes ? 0 : v->bytes - j->off < j->len ? (size_t)(v->bytes - j->off) : j->len;
    j->r = volume_image_read(&j->s->plan, v, j->off, j->in[j->i], j->len, &j->err) ||
           (f->wanted && write_at(f, j->in[j->i], n, &j->err));
}

/* A part of the stripe of all volumes. */
static void code_job(void *arg)
{
    struct job *j = arg;
    uint8_t *in[VOLUME_MAX], *out[VOLUME_MAX];
    for (unsigned i = 0; i < j->s->n; i++)
        in[i] = j->in[i] + j->off;
    for (unsigned i = 0; i < j->s->k; i++)
        out[i] = j->out[i] + j->off;
    volume_code_apply(j->s->n, j->s->k, j->s->tables, j->len, in, out);
}

static void parity_job(void *arg)
{
    struct job *j = arg;
    j->r = put_parity(j->s, j->s->n + j->i, j->out[j->i], j->len, &j->err);
}

static int run_jobs(struct split *s, struct job *jobs, unsigned n, void (*job)(void *arg), struct gs_err *err)
{
    for (unsigned i = 0; i < n; i++)
        gs_work_submit(s->work, job, &jobs[i]);
    gs_work_wait(s->work);
    for (unsigned i = 0; i < n; i++)
        if (jobs[i].r) {
            *err = jobs[i].err;
            return -1;
        }
    return 0;
}

static int one_stripe(struct split *s, struct job *jobs, uint64_t off, size_t len, uint8_t **in, uint8_t **out,
                      struct gs_err *err)
{
    unsigned n = 0, parts = gs_work_threads(s->work);
    for (unsigned i = 0; i < s->n; i++)
        if (s->k || s->f[i].wanted)
            jobs[n++] = (struct job){.s = s, .i = i, .off = off, .len = len, .in = in};
    if (run_jobs(s, jobs, n, read_job, err))
        return -1;
    if (s->k == 0)
        return 0;
    size_t part = (len / parts + 63) / 64 * 64;
    n = 0;
    for (size_t at = 0; at < len; at += part)
        jobs[n++] = (struct job){.s = s, .off = at, .len = len - at < part ? len - at : part, .in = in, .out = out};
    if (run_jobs(s, jobs, n, code_job, err))
        return -1;
    for (unsigned i = 0; i < s->k; i++)
        jobs[i] = (struct job){.s = s, .i = i, .len = len, .out = out};
    return run_jobs(s, jobs, s->k, parity_job, err);
}

static int stripes(struct split *s, struct gs_err *err)
{
    uint8_t *in[VOLUME_MAX], *out[VOLUME_MAX];
    const struct volume_progress *p = &s->o->progress;
    gs_autofree struct job *jobs = calloc(VOLUME_MAX + 64, sizeof *jobs);
    if (!jobs)
        return gs_fail(err, GS_E_NOMEM, "no memory for volumes");
    for (unsigned i = 0; i < s->n + s->k; i++)
        *(i < s->n ? &in[i] : &out[i - s->n]) = s->memory + (size_t)i * s->stripe;
    for (uint64_t off = 0; off < s->shard; off += s->stripe) {
        size_t len = s->shard - off < s->stripe ? (size_t)(s->shard - off) : s->stripe;
        if (p->stop && *p->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped before the volumes were written; nothing of them is left");
        if (one_stripe(s, jobs, off, len, in, out, err))
            return -1;
        if (p->tell)
            p->tell(p->cookie, off + len, s->shard);
    }
    return 0;
}

/* Heads of the parity volumes where they belong; the same heads at the end of all others; the end mark. */
static int finish(struct split *s, struct gs_err *err)
{
    static const char zero[TAR_END_LEN];
    for (unsigned i = s->n; i < s->n + s->k; i++) {
        struct out_file *f = &s->f[i];
        size_t before = f->head.len;
        uint64_t end = f->at;
        if (parity_label(s, i, s->o->key, err))
            return -1;
        if (f->head.len != before)
            return gs_fail(err, GS_E_INTERNAL, "the label of volume %u has another length than was planned", i + 1);
        f->at = 0;
        if (f->wanted && write_at(f, f->head.data, f->head.len, err))
            return -1;
        f->at = end;
    }
    for (unsigned i = 0; i < s->n + s->k; i++) {
        struct out_file *f = &s->f[i];
        for (unsigned j = s->n; f->wanted && j < s->n + s->k; j++)
            if (j != i && write_at(f, s->f[j].head.data, s->f[j].head.len, err))
                return -1;
        if (f->wanted && write_at(f, zero, sizeof zero, err))
            return -1;
        if (f->wanted && f->at > s->o->limit)
            return gs_fail(err, GS_E_INTERNAL, "volume %u would have %llu bytes", i + 1, (unsigned long long)f->at);
        s->res->bytes[i + 1] = f->wanted ? f->at : 0;
    }
    return 0;
}

static int commit(struct split *s, struct gs_err *err)
{
    unsigned i = 0, of = s->n + s->k;
    for (; i < of; i++)
        if (s->f[i].wanted && gs_stage_commit(&s->f[i].st, err))
            break;
    if (i == of)
        return 0;
    while (i-- > 0) /* all or none */
        if (s->f[i].wanted)
            unlink(s->f[i].path);
    return -1;
}

static int prepare(struct split *s, struct gs_err *err)
{
    uint8_t rows[VOLUME_MAX * VOLUME_MAX];
    for (unsigned i = 0; i < s->n; i++)
        if (s->plan.v[i].bytes > s->shard)
            s->shard = s->plan.v[i].bytes;
    s->stripe = MEMORY / (s->n + s->k) / STRIPE_MIN * STRIPE_MIN;
    s->stripe = s->stripe > STRIPE_MAX ? STRIPE_MAX : s->stripe;
    s->memory = malloc(s->stripe * (s->n + s->k));
    if (!s->memory)
        return gs_fail(err, GS_E_NOMEM, "no memory for volumes");
    if (s->k == 0)
        return 0;
    if (volume_code_parity(s->n, s->k, rows, err))
        return -1;
    s->tables = volume_code_tables(s->n, s->k, rows);
    return s->tables ? begin_parity(s, err) : gs_fail(err, GS_E_NOMEM, "no memory for the parity");
}

int volume_split(const struct bundle *b, const struct gs_source *other, const struct volume_split_opts *o,
                 struct volume_split_result *out, struct gs_err *err)
{
    if (o->limit < VOLUME_LIMIT_MIN || o->parity >= VOLUME_MAX)
        return gs_fail(err, GS_E_VOLUME_SIZE, "volumes have at least %llu bytes, and a set at most %d of them",
                       (unsigned long long)VOLUME_LIMIT_MIN, VOLUME_MAX);
    struct split *s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for volumes");
    memset(out, 0, sizeof *out);
    s->o = o;
    s->res = out;
    s->plan = (struct volume_plan){.file = b ? b->src : *other, .b = b, .limit = o->limit, .parity = o->parity};
    int r = gs_work_new(o->threads, VOLUME_MAX, &s->work, err) ||
                    volume_plan_make(&s->plan, s->work, &o->progress, err) ||
                    volume_plan_heads(&s->plan, o->key, out->set, err)
                ? -1
                : 0;
    if (r == 0) {
        s->n = out->data = (unsigned)s->plan.n;
        s->k = out->parity = o->parity;
        r = open_files(s, err) || prepare(s, err) || stripes(s, err) || finish(s, err) || commit(s, err) ? -1 : 0;
        for (unsigned i = 0; i < s->n + s->k && s->f[i].path; i++) {
            gs_stage_release(&s->f[i].st);
            gs_buf_release(&s->f[i].sums);
            gs_buf_release(&s->f[i].head);
            free(s->f[i].path);
        }
    }
    gs_work_free(s->work);
    volume_plan_release(&s->plan);
    free(s->tables);
    free(s->memory);
    free(s);
    return r;
}
