/* Writing age files: the header, then chunks that worker threads encrypt and that are written in their order. */
#include "age_priv.h"

#include "libcommon/work.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define RUN 16 /* chunks of a job */

/* ---- header ---- */

static int add_base64(struct gs_buf *out, const uint8_t *data, size_t len, struct gs_err *err)
{
    char text[64];
    sodium_bin2base64(text, sizeof text, data, len, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    return gs_buf_addstr(out, text, err);
}

/* The file key under s->wrap_key, as the body of a stanza: 43 digits, so that one line is enough. */
static int add_wrapped(struct age_seal *s, struct gs_err *err)
{
    static const uint8_t zero[12];
    uint8_t wrapped[AGE_WRAPPED_LEN];
    crypto_aead_chacha20poly1305_ietf_encrypt(wrapped, NULL, s->file_key, sizeof s->file_key, NULL, 0, NULL, zero,
                                              s->wrap_key);
    return gs_buf_addc(&s->header, '\n', err) || add_base64(&s->header, wrapped, sizeof wrapped, err) ||
                   gs_buf_addc(&s->header, '\n', err)
               ? -1
               : 0;
}

static int add_recipient(struct age_seal *s, const uint8_t recipient[AGE_KEY_LEN], struct gs_err *err)
{
    uint8_t share[32];
    randombytes_buf(s->ephemeral, sizeof s->ephemeral);
    crypto_scalarmult_base(share, s->ephemeral);
    if (!age_x25519_wrap_key(s->ephemeral, recipient, share, recipient, s->wrap_key))
        return gs_fail(err, GS_E_AGE_KEY, "a recipient is no key that anything could be encrypted to");
    return gs_buf_addstr(&s->header, "-> X25519 ", err) || add_base64(&s->header, share, sizeof share, err) ||
                   add_wrapped(s, err)
               ? -1
               : 0;
}

static int add_passphrase(struct age_seal *s, const struct gs_secret *passphrase, unsigned work_factor,
                          struct gs_err *err)
{
    uint8_t salt[AGE_SALT_LEN];
    randombytes_buf(salt, sizeof salt);
    if (age_scrypt_wrap_key(passphrase, salt, work_factor, s->wrap_key, err))
        return -1;
    return gs_buf_addstr(&s->header, "-> scrypt ", err) || add_base64(&s->header, salt, sizeof salt, err) ||
                   gs_buf_addf(&s->header, err, " %u", work_factor) || add_wrapped(s, err)
               ? -1
               : 0;
}

static int add_mac(struct age_seal *s, struct gs_err *err)
{
    uint8_t mac[32];
    if (gs_buf_addstr(&s->header, "---", err))
        return -1;
    age_hkdf(s->file_key, sizeof s->file_key, NULL, 0, "header", s->wrap_key);
    crypto_auth_hmacsha256(mac, (const uint8_t *)s->header.data, s->header.len, s->wrap_key);
    return gs_buf_addc(&s->header, ' ', err) || add_base64(&s->header, mac, sizeof mac, err) ||
                   gs_buf_addc(&s->header, '\n', err)
               ? -1
               : 0;
}

int age_seal_new(const struct age_recipients *to, const struct gs_secret *passphrase, unsigned work_factor,
                 struct age_seal **out, struct gs_err *err)
{
    size_t n = to ? to->n : 0;
    if (gs_secret_init(err))
        return -1;
    if (passphrase ? n > 0 : n == 0)
        return gs_fail(err, GS_E_USAGE,
                       n ? "a file is encrypted either to recipients or with a passphrase" : "nobody to encrypt to");
    if (work_factor > AGE_WORK_FACTOR_MAX)
        return gs_fail(err, GS_E_USAGE, "a work factor of %u, at most %d", work_factor, AGE_WORK_FACTOR_MAX);
    struct age_seal *s = sodium_malloc(sizeof *s);
    if (!s)
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for keys");
    memset(s, 0, sizeof *s);
    gs_buf_init(&s->header, AGE_HEADER_MAX);
    randombytes_buf(s->file_key, sizeof s->file_key);
    randombytes_buf(s->nonce, sizeof s->nonce);
    int r = gs_buf_addstr(&s->header, AGE_VERSION_LINE "\n", err);
    if (r == 0 && passphrase)
        r = add_passphrase(s, passphrase, work_factor ? work_factor : AGE_WORK_FACTOR, err);
    for (size_t i = 0; i < n && r == 0; i++)
        r = add_recipient(s, to->keys[i], err);
    if (r || add_mac(s, err)) {
        age_seal_free(s);
        return -1;
    }
    age_hkdf(s->file_key, sizeof s->file_key, s->nonce, sizeof s->nonce, "payload", s->payload_key);
    *out = s;
    return 0;
}

void age_seal_free(struct age_seal *s)
{
    if (!s)
        return;
    gs_buf_release(&s->header);
    sodium_free(s);
}

/* ---- chunks ---- */

/* Up to RUN chunks, each with room for its tag behind it. */
struct job {
    struct age_writer *w;
    uint64_t first;
    size_t len; /* of plaintext */
    bool last, busy, filled, failed;
    struct gs_err err;
    struct piece { /* a chunk that is still to be read, by the thread that encrypts it */
        const struct gs_source *src;
        uint64_t off;
    } pieces[RUN];
    uint8_t data[RUN * AGE_STORED];
};

struct age_writer {
    struct age_seal *seal;
    struct gs_work *work;
    int fd;
    const char *name;
    uint64_t chunks; /* that were handed to the threads */
    pthread_mutex_t lock;
    pthread_cond_t moved; /* a job is no longer busy */
    unsigned n, at;       /* the ring of jobs, and the one that is being filled */
    struct job *jobs[];
};

static size_t job_chunks(const struct job *j)
{
    return j->len ? (j->len + AGE_CHUNK - 1) / AGE_CHUNK : 1;
}

static void encrypt(void *arg)
{
    struct job *j = arg;
    struct age_writer *w = j->w;
    size_t n = job_chunks(j);
    for (size_t i = 0; i < n && !j->failed; i++) {
        uint8_t nonce[12], *p = j->data + i * AGE_STORED;
        size_t len = i + 1 < n ? AGE_CHUNK : j->len - i * AGE_CHUNK;
        if (j->pieces[i].src)
            j->failed = gs_source_read(j->pieces[i].src, j->pieces[i].off, p, len, &j->err) != 0;
        age_chunk_nonce(j->first + i, j->last && i + 1 == n, nonce);
        crypto_aead_chacha20poly1305_ietf_encrypt(p, NULL, p, len, NULL, 0, NULL, nonce, w->seal->payload_key);
    }
    pthread_mutex_lock(&w->lock);
    j->busy = false;
    pthread_cond_signal(&w->moved);
    pthread_mutex_unlock(&w->lock);
}

/* Makes the job empty: waits until it is encrypted, and writes what is in it. */
static int empty_job(struct age_writer *w, struct job *j, struct gs_err *err)
{
    if (!j->filled)
        return 0;
    pthread_mutex_lock(&w->lock);
    while (j->busy)
        pthread_cond_wait(&w->moved, &w->lock);
    pthread_mutex_unlock(&w->lock);
    size_t len = j->len + job_chunks(j) * AGE_TAG_LEN;
    if (j->failed) {
        *err = j->err;
        return -1;
    }
    j->filled = false;
    j->len = 0;
    memset(j->pieces, 0, sizeof j->pieces);
    return gs_write_all(w->fd, j->data, len, w->name, err);
}

/* Hands what was collected to a thread; the next job of the ring is empty afterwards. */
static int submit(struct age_writer *w, bool last, struct gs_err *err)
{
    struct job *j = w->jobs[w->at];
    j->first = w->chunks;
    j->last = last;
    j->busy = j->filled = true;
    w->chunks += job_chunks(j);
    gs_work_submit(w->work, encrypt, j);
    w->at = (w->at + 1) % w->n;
    return empty_job(w, w->jobs[w->at], err);
}

int age_writer_new(struct age_seal *s, unsigned threads, int fd, const char *name, struct age_writer **out,
                   struct gs_err *err)
{
    if (s->used)
        return gs_fail(err, GS_E_INTERNAL, "a second file under the key of the first");
    s->used = true;
    struct gs_work *work = NULL;
    if (gs_work_new(threads, 16, &work, err))
        return -1;
    unsigned n = gs_work_threads(work) + 2;
    struct age_writer *w = calloc(1, sizeof *w + n * sizeof w->jobs[0]);
    if (!w) {
        gs_work_free(work);
        return gs_fail(err, GS_E_NOMEM, "no memory to encrypt with");
    }
    w->seal = s;
    w->work = work;
    w->fd = fd;
    w->name = name;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->moved, NULL);
    int r = 0;
    for (; w->n < n && r == 0; w->n++) {
        struct job *j = malloc(sizeof *j);
        w->jobs[w->n] = j;
        if (!j) {
            r = gs_fail(err, GS_E_NOMEM, "no memory to encrypt with");
            break;
        }
        memset(j, 0, offsetof(struct job, data));
        j->w = w;
    }
    if (r == 0)
        r = gs_write_all(fd, s->header.data, s->header.len, name, err) ||
            gs_write_all(fd, s->nonce, sizeof s->nonce, name, err);
    if (r) {
        age_writer_free(w);
        return -1;
    }
    *out = w;
    return 0;
}

/*
 * Where the next bytes go, with room up to the end of their chunk. A full job is handed on only now, when more comes:
 * the last chunk is known by its nonce, and is never empty behind a full one.
 */
static int room(struct age_writer *w, uint8_t **out, size_t *out_len, struct gs_err *err)
{
    if (w->jobs[w->at]->len == RUN * AGE_CHUNK && submit(w, false, err))
        return -1;
    struct job *j = w->jobs[w->at];
    size_t in_chunk = j->len % AGE_CHUNK;
    *out = j->data + j->len / AGE_CHUNK * AGE_STORED + in_chunk;
    *out_len = AGE_CHUNK - in_chunk;
    return 0;
}

int age_writer_write(struct age_writer *w, const void *data, size_t len, struct gs_err *err)
{
    const uint8_t *from = data;
    while (len > 0) {
        uint8_t *p;
        size_t n;
        if (room(w, &p, &n, err))
            return -1;
        n = n < len ? n : len;
        memcpy(p, from, n);
        w->jobs[w->at]->len += n;
        from += n;
        len -= n;
    }
    return 0;
}

int age_writer_copy(struct age_writer *w, const struct gs_source *src, uint64_t off, uint64_t len, struct gs_err *err)
{
    while (len > 0) {
        uint8_t *p;
        size_t n;
        if (room(w, &p, &n, err))
            return -1;
        struct job *j = w->jobs[w->at];
        n = n < len ? n : (size_t)len;
        if (n == AGE_CHUNK)
            j->pieces[j->len / AGE_CHUNK] = (struct piece){src, off};
        else if (gs_source_read(src, off, p, n, err))
            return -1;
        j->len += n;
        off += n;
        len -= n;
    }
    return 0;
}

int age_writer_finish(struct age_writer *w, struct gs_err *err)
{
    if (submit(w, true, err))
        return -1;
    for (unsigned i = 1; i < w->n; i++)
        if (empty_job(w, w->jobs[(w->at + i) % w->n], err))
            return -1;
    return 0;
}

void age_writer_free(struct age_writer *w)
{
    if (!w)
        return;
    gs_work_free(w->work);
    for (unsigned i = 0; i < w->n; i++) {
        if (w->jobs[i])
            sodium_memzero(w->jobs[i]->data, sizeof w->jobs[i]->data);
        free(w->jobs[i]);
    }
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->moved);
    free(w);
}
