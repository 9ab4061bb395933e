/* Frames to file: signatures and the tar; and one more signature for a file that is there. */
#include "bundle_writer.h"

#include "libcommon/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define COPY_CHUNK ((size_t)1 << 20)
#define GATHER ((size_t)256 << 10) /* small members reach the file together */

/* ---- the tar ---- */

/* Where the packed bytes go: into the file, or through the encryption in front of it. */
struct pack {
    int fd;
    const char *path;
    struct gs_buf gathered; /* of what goes to `fd` */
    struct age_writer *age;
    struct gs_source spool;
    char *chunk;
};

static int flush(struct pack *p, struct gs_err *err)
{
    int r = gs_write_all(p->fd, p->gathered.data, p->gathered.len, p->path, err);
    gs_buf_reset(&p->gathered);
    return r;
}

static int put(struct pack *p, const void *data, size_t len, struct gs_err *err)
{
    if (p->age)
        return age_writer_write(p->age, data, len, err);
    if (p->gathered.len + len > GATHER && flush(p, err))
        return -1;
    return len > GATHER ? gs_write_all(p->fd, data, len, p->path, err) : gs_buf_add(&p->gathered, data, len, err);
}

static int put_header(struct pack *p, const char *name, uint64_t size, struct gs_err *err)
{
    gs_autobuf head;
    gs_buf_init(&head, 16 * TAR_BLOCK);
    return tar_make_header(name, size, &head, err) || put(p, head.data, head.len, err) ? -1 : 0;
}

static int put_padding(struct pack *p, uint64_t size, struct gs_err *err)
{
    static const char zero[TAR_BLOCK];
    return put(p, zero, (size_t)(tar_padded(size) - size), err);
}

static int put_member(struct pack *p, const char *name, const void *data, size_t len, struct gs_err *err)
{
    return put_header(p, name, len, err) || put(p, data, len, err) || put_padding(p, len, err) ? -1 : 0;
}

/* Copies `len` bytes at `off` of `src`, which lives until all is written. */
static int copy_range(struct pack *p, const struct gs_source *src, uint64_t off, uint64_t len, struct gs_err *err)
{
    if (p->age)
        return age_writer_copy(p->age, src, off, len, err);
    while (len > 0) {
        size_t n = len < COPY_CHUNK ? (size_t)len : COPY_CHUNK;
        if (gs_source_read(src, off, p->chunk, n, err) || put(p, p->chunk, n, err))
            return -1;
        off += n;
        len -= n;
    }
    return 0;
}

static int spool_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    *out_n = len;
    return spool_read(cookie, off, buf, len, err);
}

struct spent {
    int spool;
    uint64_t off, len;
};

/* Gives back what the spool holds there; that takes time, too. Where it cannot be done, it lasts until the end. */
static void give_back(void *arg)
{
    struct spent *s = arg;
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    GS_IGNORE(fallocate(s->spool, mode, (off_t)s->off, (off_t)s->len), "not everywhere");
    free(s);
}

/* Moves a piece of the spool to where the file stands: a large one within the kernel where that is possible. */
static int move_spool(struct pack *p, struct bundle_writer *w, uint64_t off, uint64_t len, struct gs_err *err)
{
    struct spent *s = p->age || len < COPY_CHUNK ? NULL : malloc(sizeof *s); /* the encryption reads it later */
    uint64_t done = 0;
    if (s)
        *s = (struct spent){.spool = w->spool, .off = off, .len = len};
    if (s && flush(p, err)) {
        free(s);
        return -1;
    }
    while (s && done < len) {
        off_t from = (off_t)(off + done);
        ssize_t n = copy_file_range(w->spool, &from, p->fd, NULL, (size_t)(len - done), 0);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    if (copy_range(p, &p->spool, off + done, len - done, err)) { /* and says why, if it was an error */
        free(s);
        return -1;
    }
    if (s)
        gs_work_submit(w->work, give_back, s);
    return 0;
}

static int put_staged(struct pack *p, struct bundle_writer *w, const struct staged *m, struct gs_err *err)
{
    if (put_header(p, m->path, m->stored, err))
        return -1;
    for (size_t i = 0; i < m->n_frames;) {
        uint64_t off = m->frames[i].spool_off, len = 0;
        for (; i < m->n_frames && m->frames[i].spool_off == off + len; i++)
            len += m->frames[i].stored;
        if (move_spool(p, w, off, len, err))
            return -1;
    }
    return put_padding(p, m->stored, err);
}

/* Begins the file in st->fd; `seal` NULL: it is not encrypted. */
static int pack_begin(struct pack *p, const struct gs_stage *st, struct age_seal *seal, unsigned threads,
                      struct gs_err *err)
{
    *p = (struct pack){.fd = st->fd, .path = st->path, .chunk = malloc(COPY_CHUNK)};
    gs_buf_init(&p->gathered, GATHER);
    if (!p->chunk)
        return gs_fail(err, GS_E_NOMEM, "no memory to copy with");
    return seal ? age_writer_new(seal, threads, st->fd, st->path, &p->age, err) : 0;
}

static int pack_end(struct pack *p, struct gs_err *err)
{
    return p->age ? age_writer_finish(p->age, err) : flush(p, err);
}

static void pack_release(struct pack *p)
{
    age_writer_free(p->age);
    gs_buf_release(&p->gathered);
    free(p->chunk);
}

struct named_sig {
    char name[96];
    struct gs_buf text;
};

static int sig_cmp(const void *a, const void *b)
{
    return bundle_name_cmp(((const struct named_sig *)a)->name, ((const struct named_sig *)b)->name);
}

static int sign_manifest(const struct sign_seckey *key, bool first, const struct gs_buf *manifest, int64_t time_ms,
                         struct named_sig *out, struct gs_err *err)
{
    char time[GS_TIME_LEN], comment[128], hex[SIGN_KEYID_HEX];
    struct sign_pubkey pk;
    sign_seckey_public(key, &pk);
    sign_keyid_hex(pk.id, hex);
    gs_time_format(time_ms, time);
    snprintf(comment, sizeof comment, "file:" BUNDLE_MANIFEST "\ttime:%s\tschema:" BUNDLE_SCHEMA, time);
    if (first)
        snprintf(out->name, sizeof out->name, BUNDLE_MANIFEST ".minisig");
    else
        snprintf(out->name, sizeof out->name, BUNDLE_MANIFEST ".%s.minisig", hex);
    return sign_create(key, manifest->data, manifest->len, comment, &out->text, err);
}

static int put_all(struct bundle_writer *w, const struct gs_buf *manifest, struct named_sig *sigs, size_t n_sigs,
                   const struct gs_buf *sums, struct pack *p, struct gs_err *err)
{
    static const char zero[TAR_END_LEN];
    p->spool = (struct gs_source){.cookie = w, .size = w->spool_len, .read_at = spool_read_at};
    if (put_member(p, BUNDLE_MANIFEST, manifest->data, manifest->len, err))
        return -1;
    for (size_t i = 0; i < n_sigs; i++)
        if (put_member(p, sigs[i].name, sigs[i].text.data, sigs[i].text.len, err))
            return -1;
    if (put_member(p, BUNDLE_SUMS, sums->data, sums->len, err))
        return -1;
    for (size_t i = 0; i < w->n_members; i++)
        if (put_staged(p, w, &w->members[i], err))
            return -1;
    return put(p, zero, sizeof zero, err);
}

void bundle_writer_encrypt(struct bundle_writer *w, struct age_seal *seal)
{
    w->seal = seal;
}

static int note_made(struct bundle_writer *w, const struct gs_buf *manifest, int fd, const char *path, struct gs_err *err)
{
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "writing '%s'", path);
    w->made_size = (uint64_t)end;
    bundle_hash(manifest->data, manifest->len, w->made_digest);
    return 0;
}

void bundle_writer_made(const struct bundle_writer *w, uint64_t *out_size, uint8_t out_digest[BUNDLE_DIGEST_LEN])
{
    *out_size = w->made_size;
    memcpy(out_digest, w->made_digest, BUNDLE_DIGEST_LEN);
}

int bundle_writer_finish(struct bundle_writer *w, const struct bundle_meta *meta, const struct sign_seckey *const *keys,
                         size_t n_keys, const char *path, bool replace, struct gs_err *err)
{
    struct bundle_meta m = *meta;
    struct named_sig sigs[BUNDLE_MAX_SIGNATURES];
    gs_autobuf sums, manifest;
    uint64_t index_raw = 0;
    size_t n_sigs = 0;
    gs_buf_init(&sums, (size_t)1 << 30);
    gs_buf_init(&manifest, (size_t)16 << 20);
    if (m.created_at_ms == 0)
        m.created_at_ms = gs_unix_ms();
    if (n_keys > BUNDLE_MAX_SIGNATURES)
        return gs_fail(err, GS_E_USAGE, "more than %d keys to sign with", BUNDLE_MAX_SIGNATURES);
    gs_work_wait(w->work);
    struct gs_stage st;
    struct pack p = {0};
    if (gs_stage_open(&st, path, 0644, replace, err)) /* before the work, so that a wrong name costs nothing */
        return -1;
    int r = books_write(w, &index_raw, err) || books_sums(w, &sums, err) ||
            books_manifest(w, &m, &sums, index_raw, &manifest, err);
    for (; n_sigs < n_keys && r == 0; n_sigs++) {
        gs_buf_init(&sigs[n_sigs].text, 4096);
        r = sign_manifest(keys[n_sigs], n_sigs == 0, &manifest, m.created_at_ms, &sigs[n_sigs], err);
    }
    if (r == 0 && n_sigs > 1)
        qsort(sigs, n_sigs, sizeof *sigs, sig_cmp);
    for (size_t i = 1; i < n_sigs && r == 0; i++)
        if (strcmp(sigs[i].name, sigs[i - 1].name) == 0)
            r = gs_fail(err, GS_E_USAGE, "one key was named twice");
    if (r == 0)
        r = pack_begin(&p, &st, w->seal, w->o.threads, err) || put_all(w, &manifest, sigs, n_sigs, &sums, &p, err) ||
            pack_end(&p, err) || note_made(w, &manifest, st.fd, path, err) || gs_stage_commit(&st, err);
    pack_release(&p);
    gs_stage_release(&st);
    for (size_t i = 0; i < n_sigs; i++)
        gs_buf_release(&sigs[i].text);
    return r ? -1 : 0;
}

/* ---- one more signature ---- */

/* Where the new signature goes, and whether its name is free. */
static int find_place(const struct bundle *b, const struct named_sig *sig, uint64_t *out_off, struct gs_err *err)
{
    uint64_t pad_from = 0, off = 0;
    struct tar_head h;
    for (;;) {
        if (tar_read_header(&b->src, pad_from, off, &h, err))
            return -1;
        if (h.end || bundle_name_cmp(h.name, sig->name) > 0)
            break;
        if (strcmp(h.name, sig->name) == 0)
            return gs_fail(err, GS_E_EXISTS, "the bundle holds '%s' already", sig->name);
        pad_from = h.data_off + h.size;
        off = h.data_off + tar_padded(h.size);
    }
    *out_off = off;
    return 0;
}

/* Nobody signs twice: it would look like two. */
static int not_signed_by(const struct bundle *b, const struct sign_seckey *key, struct gs_err *err)
{
    struct sign_pubkey pk;
    char hex[SIGN_KEYID_HEX];
    sign_seckey_public(key, &pk);
    sign_keyid_hex(pk.id, hex);
    for (size_t i = 0; i < b->n_sigs; i++)
        if (memcmp(b->sigs[i].info.id, pk.id, sizeof pk.id) == 0)
            return gs_fail(err, GS_E_EXISTS, "the bundle is signed with key %s already", hex);
    return 0;
}

int bundle_sign_beside(struct bundle *b, const struct sign_seckey *key, struct gs_buf *out, struct gs_err *err)
{
    struct named_sig sig = {0};
    if (not_signed_by(b, key, err) || bundle_verify(b, false, NULL, err))
        return -1;
    gs_buf_init(&sig.text, 4096);
    int r = sign_manifest(key, true, &b->manifest_text, gs_unix_ms(), &sig, err) ||
            gs_buf_add(out, gs_buf_str(&sig.text), sig.text.len, err);
    gs_buf_release(&sig.text);
    return r ? -1 : 0;
}

static int add_signature(struct bundle *b, const char *path, const struct sign_seckey *key, struct gs_err *err)
{
    struct named_sig sig = {0};
    struct gs_stage st;
    struct pack p = {0};
    uint64_t off = 0;
    if (not_signed_by(b, key, err))
        return -1;
    gs_buf_init(&sig.text, 4096);
    if (sign_manifest(key, b->n_sigs == 0, &b->manifest_text, gs_unix_ms(), &sig, err) ||
        find_place(b, &sig, &off, err) || gs_stage_open(&st, path, 0644, true, err)) {
        gs_buf_release(&sig.text);
        return -1;
    }
    int r = pack_begin(&p, &st, NULL, 0, err) || copy_range(&p, &b->src, 0, off, err) ||
            put_member(&p, sig.name, sig.text.data, sig.text.len, err) ||
            copy_range(&p, &b->src, off, b->src.size - off, err) || pack_end(&p, err) || gs_stage_commit(&st, err);
    pack_release(&p);
    gs_stage_release(&st);
    gs_buf_release(&sig.text);
    return r ? -1 : 0;
}

int bundle_add_signature(const char *path, const struct sign_seckey *key, struct gs_err *err)
{
    struct bundle_opts o = {.no_verify = true};
    GS_AUTO(bundle) b = NULL;
    if (bundle_open(path, &o, &b, err) || bundle_verify(b, false, NULL, err))
        return -1;
    return add_signature(b, path, key, err);
}
