/* Reading age files: the header, the file key out of it, and the chunks at any offset. */
#include "age_priv.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#define ARMOR "-----BEGIN AGE ENCRYPTED FILE-----"
#define SLOTS 16 /* chunks that are kept decrypted */
#define RUN 8    /* chunks that are read at once where whole ones are wanted */

/* ---- header ---- */

enum stanza_kind { STANZA_X25519, STANZA_SCRYPT };

/* A stanza of a kind that we know; the others say nothing to us. */
struct stanza {
    enum stanza_kind kind;
    uint8_t share[32]; /* the ephemeral point; the salt */
    uint8_t wrapped[AGE_WRAPPED_LEN];
    unsigned work_factor;
};

struct header {
    struct stanza *known;
    size_t n_known, n_all;
    size_t mac_from; /* the tag is over so many bytes ... */
    uint8_t mac[32];
    size_t len; /* ... and so many bytes are the header with its last line feed */
};

struct lines {
    const char *p, *end;
    bool cut; /* the text goes on behind what was read of it */
};

static int bad_header(struct gs_err *err, const char *what)
{
    return gs_fail(err, GS_E_AGE_HEADER, "the header of the age file %s", what);
}

static int next_line(struct lines *l, const char **out, size_t *out_len, struct gs_err *err)
{
    const char *nl = memchr(l->p, '\n', (size_t)(l->end - l->p));
    if (!nl)
        return bad_header(err, l->cut ? "is too long" : "has no end: the file was cut off, or is none");
    *out = l->p;
    *out_len = (size_t)(nl - l->p);
    l->p = nl + 1;
    return 0;
}

#define MAX_ARGS 3 /* of the stanzas that we know, with the type */

struct args {
    struct {
        const char *s;
        size_t len;
    } v[MAX_ARGS];
    unsigned n; /* may be more than MAX_ARGS */
};

/* "-> TYPE ARGUMENT...": printable ASCII, parted by single blanks. */
static int split_args(const char *s, size_t len, struct args *out, struct gs_err *err)
{
    const char *end = s + len, *from = s + 3;
    out->n = 0;
    if (len < 4 || memcmp(s, "-> ", 3) != 0)
        return bad_header(err, "has a line that is none of the format");
    for (const char *p = from;; p++) {
        if (p < end && *p >= 33 && *p <= 126)
            continue;
        if (p == from || (p < end && *p != ' '))
            return bad_header(err, "has a stanza with an invalid argument");
        if (out->n < MAX_ARGS) {
            out->v[out->n].s = from;
            out->v[out->n].len = (size_t)(p - from);
        }
        out->n++;
        if (p == end)
            return 0;
        from = p + 1;
    }
}

static bool is_type(const struct args *a, const char *type)
{
    return a->v[0].len == strlen(type) && memcmp(a->v[0].s, type, a->v[0].len) == 0;
}

/* Lines of 64 digits and one that is shorter. What does not fit into `out` is checked and dropped. */
static int read_body(struct lines *l, uint8_t *out, size_t cap, size_t *out_len, struct gs_err *err)
{
    const char *s;
    size_t len, n;
    uint8_t line[48];
    *out_len = 0;
    do {
        if (next_line(l, &s, &len, err))
            return -1;
        if (len > 64 || !age_unbase64(s, len, line, sizeof line, &n))
            return bad_header(err, "has a stanza whose body is not its canonical base64");
        if (*out_len < cap)
            memcpy(out + *out_len, line, n < cap - *out_len ? n : cap - *out_len);
        *out_len += n;
    } while (len == 64);
    return 0;
}

/* 1 to 99, without sign or leading zero; 0: something else. */
static unsigned small_number(const char *s, size_t len)
{
    if (len < 1 || len > 2 || s[0] < '1' || s[0] > '9' || (len == 2 && (s[1] < '0' || s[1] > '9')))
        return 0;
    return len == 1 ? (unsigned)(s[0] - '0') : (unsigned)(10 * (s[0] - '0') + (s[1] - '0'));
}

static int known_stanza(const struct args *a, size_t body_len, struct stanza *st, struct gs_err *err)
{
    bool scrypt = st->kind == STANZA_SCRYPT;
    size_t want = scrypt ? AGE_SALT_LEN : 32, n;
    if (a->n != (scrypt ? 3u : 2u) || !age_unbase64(a->v[1].s, a->v[1].len, st->share, sizeof st->share, &n) ||
        n != want || body_len != AGE_WRAPPED_LEN)
        return bad_header(err, scrypt ? "has a passphrase stanza of another shape"
                                      : "has an X25519 stanza of another shape");
    if (!scrypt)
        return 0;
    st->work_factor = small_number(a->v[2].s, a->v[2].len);
    if (st->work_factor == 0)
        return bad_header(err, "has a passphrase stanza without a valid work factor");
    if (st->work_factor > AGE_WORK_FACTOR_MAX)
        return gs_fail(err, GS_E_AGE_HEADER,
                       "the age file demands a work factor of %u for its passphrase, at most %d is accepted",
                       st->work_factor, AGE_WORK_FACTOR_MAX);
    return 0;
}

static int read_stanza(struct header *h, struct lines *l, const char *s, size_t len, struct gs_err *err)
{
    struct args a;
    struct stanza st = {0};
    size_t body_len;
    if (split_args(s, len, &a, err) || read_body(l, st.wrapped, sizeof st.wrapped, &body_len, err))
        return -1;
    if (h->n_all++ == AGE_MAX_STANZAS)
        return bad_header(err, "has too many stanzas");
    st.kind = is_type(&a, "scrypt") ? STANZA_SCRYPT : STANZA_X25519;
    if (st.kind == STANZA_X25519 && !is_type(&a, "X25519"))
        return 0;
    if (known_stanza(&a, body_len, &st, err))
        return -1;
    if (!h->known && !(h->known = calloc(AGE_MAX_STANZAS, sizeof *h->known)))
        return gs_fail(err, GS_E_NOMEM, "no memory for a header");
    h->known[h->n_known++] = st;
    return 0;
}

static int parse_header(const char *text, size_t len, bool cut, struct header *h, struct gs_err *err)
{
    struct lines l = {text, text + len, cut};
    const char *s;
    size_t n, mac_len;
    if (next_line(&l, &s, &n, err))
        return -1;
    if (n < strlen(AGE_INTRO) || memcmp(s, AGE_INTRO, strlen(AGE_INTRO)) != 0)
        return bad_header(err, "is none");
    if (n != strlen(AGE_VERSION_LINE) || memcmp(s, AGE_VERSION_LINE, n) != 0)
        return gs_fail(err, GS_E_SCHEMA_NEWER, "the age file is of another version than v1");
    for (;;) {
        h->mac_from = (size_t)(l.p - text) + 3;
        if (next_line(&l, &s, &n, err))
            return -1;
        if (n >= 3 && memcmp(s, "---", 3) == 0)
            break;
        if (read_stanza(h, &l, s, n, err))
            return -1;
    }
    if (n != 4 + 43 || s[3] != ' ' || !age_unbase64(s + 4, 43, h->mac, sizeof h->mac, &mac_len) ||
        mac_len != sizeof h->mac)
        return bad_header(err, "ends without a valid authentication code");
    if (h->n_all == 0)
        return bad_header(err, "names nobody who could open it");
    for (size_t i = 0; i < h->n_known; i++)
        if (h->known[i].kind == STANZA_SCRYPT && h->n_all > 1)
            return bad_header(err, "has a passphrase stanza beside others");
    h->len = (size_t)(l.p - text);
    return 0;
}

/* The text and what is in it; h->known is the caller's to free in any case. */
static int read_header(const struct gs_source *src, struct gs_buf *text, struct header *h, struct gs_err *err)
{
    size_t n = src->size < AGE_HEADER_MAX ? (size_t)src->size : AGE_HEADER_MAX;
    *h = (struct header){0};
    gs_buf_init(text, AGE_HEADER_MAX + 1);
    if (gs_buf_reserve(text, n, err) || gs_source_read(src, 0, text->data, n, err))
        return -1;
    text->len = n;
    return parse_header(text->data, n, n < src->size, h, err);
}

static bool begins(const struct gs_source *src, const char *with)
{
    char head[sizeof ARMOR];
    struct gs_err ignored = {0};
    size_t n = strlen(with);
    return src->size >= n && gs_source_read(src, 0, head, n, &ignored) == 0 && memcmp(head, with, n) == 0;
}

bool age_is(const struct gs_source *src)
{
    return begins(src, AGE_INTRO) || begins(src, ARMOR);
}

/* Over the header and the nonce of the payload. */
static void name_header(const char *header, size_t len, const uint8_t *nonce, char out[AGE_ID_LEN])
{
    crypto_generichash_state st;
    uint8_t h[32];
    crypto_generichash_init(&st, NULL, 0, sizeof h);
    crypto_generichash_update(&st, (const uint8_t *)header, len);
    crypto_generichash_update(&st, nonce, AGE_NONCE_LEN);
    crypto_generichash_final(&st, h, sizeof h);
    sodium_bin2hex(out, AGE_ID_LEN, h, sizeof h);
}

int age_file_id(const struct gs_source *src, char out[AGE_ID_LEN], struct gs_err *err)
{
    struct header h;
    gs_autobuf text;
    uint8_t nonce[AGE_NONCE_LEN];
    int r = read_header(src, &text, &h, err);
    free(h.known);
    if (r || gs_source_read(src, h.len, nonce, sizeof nonce, err))
        return -1;
    name_header(text.data, h.len, nonce, out);
    return 0;
}

void age_seal_id(const struct age_seal *s, char out[AGE_ID_LEN])
{
    name_header(s->header.data, s->header.len, s->nonce, out);
}

/* ---- the file key ---- */

/* What is worked with while a file is opened; locked memory. */
struct opening {
    uint8_t wrap_key[32], file_key[AGE_FILE_KEY_LEN], mac_key[32];
};

static bool unwrap(const struct stanza *st, struct opening *k)
{
    static const uint8_t zero[12];
    return crypto_aead_chacha20poly1305_ietf_decrypt(k->file_key, NULL, NULL, st->wrapped, sizeof st->wrapped, NULL, 0,
                                                     zero, k->wrap_key) == 0;
}

static int try_identities(const struct header *h, const struct age_identities *ids, struct opening *k,
                          struct gs_err *err)
{
    if (!ids || ids->n == 0)
        return gs_fail(err, GS_E_AGE_NO_IDENTITY, "the file is encrypted, and no identity is given");
    for (size_t i = 0; i < h->n_known; i++)
        for (size_t j = 0; j < ids->n; j++) {
            const struct age_identity *id = &ids->keys[j];
            const struct stanza *st = &h->known[i];
            if (!age_x25519_wrap_key(id->secret, st->share, st->share, id->recipient, k->wrap_key))
                return bad_header(err, "has an X25519 stanza with a point that gives no secret");
            if (unwrap(st, k))
                return 0;
        }
    return gs_fail(err, GS_E_AGE_WRONG_IDENTITY,
                   "the file is encrypted to %zu recipient%s, and none of the %zu given identit%s opens it", h->n_all,
                   h->n_all == 1 ? "" : "s", ids->n, ids->n == 1 ? "y" : "ies");
}

static int try_passphrase(const struct stanza *st, const struct age_open_opts *o, struct opening *k, struct gs_err *err)
{
    struct gs_secret pass = {0};
    if (!o->pass)
        return gs_fail(err, GS_E_AGE_PASSPHRASE, "the file is encrypted with a passphrase, and none is given");
    int r = o->pass->ask(o->pass->cookie, o->name ? o->name : "", &pass, err) ||
            age_scrypt_wrap_key(&pass, st->share, st->work_factor, k->wrap_key, err);
    gs_secret_release(&pass);
    if (r)
        return -1;
    return unwrap(st, k) ? 0 : gs_fail(err, GS_E_AGE_PASSPHRASE, "wrong passphrase for the encrypted file");
}

static int find_file_key(const struct header *h, const char *text, const struct age_open_opts *o, struct opening *k,
                         struct gs_err *err)
{
    uint8_t mac[32];
    crypto_auth_hmacsha256_state st;
    if (o->seal)
        memcpy(k->file_key, o->seal->file_key, sizeof k->file_key);
    else if (h->n_known && h->known[0].kind == STANZA_SCRYPT ? try_passphrase(&h->known[0], o, k, err)
                                                             : try_identities(h, o->ids, k, err))
        return -1;
    age_hkdf(k->file_key, sizeof k->file_key, NULL, 0, "header", k->mac_key);
    crypto_auth_hmacsha256_init(&st, k->mac_key, sizeof k->mac_key);
    crypto_auth_hmacsha256_update(&st, (const uint8_t *)text, h->mac_from);
    crypto_auth_hmacsha256_final(&st, mac);
    sodium_memzero(&st, sizeof st);
    if (sodium_memcmp(mac, h->mac, sizeof mac) != 0)
        return gs_fail(err, GS_E_AGE_MAC, "the header of the age file is not the one that was written with it");
    return 0;
}

/* ---- chunks ---- */

struct scratch {
    struct scratch *next;
    uint8_t *plain; /* AGE_CHUNK bytes */
    uint8_t stored[RUN * AGE_STORED];
};

struct reader {
    struct gs_source in;
    uint64_t from, n_chunks, size; /* where the first chunk lies; bytes of plaintext */
    uint8_t *key;                  /* locked memory */
    pthread_mutex_t lock;          /* everything below */
    struct slot {
        uint64_t chunk;
        uint64_t used; /* 0: empty */
        uint8_t *data;
    } slots[SLOTS];
    uint64_t tick;
    struct scratch *idle;
};

void age_chunk_nonce(uint64_t number, bool last, uint8_t out[12])
{
    memset(out, 0, 12);
    for (int i = 10; i > 2; i--, number >>= 8)
        out[i] = (uint8_t)number;
    out[11] = last;
}

static size_t chunk_len(const struct reader *r, uint64_t chunk)
{
    return chunk + 1 < r->n_chunks ? AGE_CHUNK : (size_t)(r->size - chunk * AGE_CHUNK);
}

static bool decrypt_chunk(const struct reader *r, uint64_t chunk, bool last, const uint8_t *stored, uint8_t *out)
{
    uint8_t nonce[12];
    age_chunk_nonce(chunk, last, nonce);
    return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, stored, chunk_len(r, chunk) + AGE_TAG_LEN, NULL,
                                                     0, nonce, r->key) == 0;
}

/* `n` chunks that follow each other, at most RUN, into `out`. */
static int read_chunks(const struct reader *r, struct scratch *s, uint64_t chunk, size_t n, uint8_t *out,
                       struct gs_err *err)
{
    size_t len = (n - 1) * AGE_STORED + chunk_len(r, chunk + n - 1) + AGE_TAG_LEN;
    if (gs_source_read(&r->in, r->from + chunk * AGE_STORED, s->stored, len, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!decrypt_chunk(r, chunk + i, chunk + i + 1 == r->n_chunks, s->stored + i * AGE_STORED, out + i * AGE_CHUNK))
            return gs_fail(err, GS_E_AGE_DAMAGED,
                           "the encrypted file was changed at byte %llu or in the 64 KiB behind it",
                           (unsigned long long)(r->from + (chunk + i) * AGE_STORED));
    }
    return 0;
}

static struct scratch *take_scratch(struct reader *r, struct gs_err *err)
{
    pthread_mutex_lock(&r->lock);
    struct scratch *s = r->idle;
    if (s)
        r->idle = s->next;
    pthread_mutex_unlock(&r->lock);
    if (s)
        return s;
    s = malloc(sizeof *s);
    if (s && !(s->plain = malloc(AGE_CHUNK))) {
        free(s);
        s = NULL;
    }
    if (!s)
        gs_fail(err, GS_E_NOMEM, "no memory to decrypt with");
    return s;
}

static void give_scratch(struct reader *r, struct scratch *s)
{
    pthread_mutex_lock(&r->lock);
    s->next = r->idle;
    r->idle = s;
    pthread_mutex_unlock(&r->lock);
}

static bool from_cache(struct reader *r, uint64_t chunk, size_t at, void *buf, size_t len)
{
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < SLOTS && !found; i++) {
        struct slot *s = &r->slots[i];
        found = s->used && s->chunk == chunk;
        if (found) {
            s->used = ++r->tick;
            memcpy(buf, s->data + at, len);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* The decrypted chunk in `s` takes the place of the one that was not used for longest. */
static void to_cache(struct reader *r, uint64_t chunk, struct scratch *s)
{
    pthread_mutex_lock(&r->lock);
    struct slot *old = &r->slots[0];
    for (size_t i = 1; i < SLOTS; i++)
        if (r->slots[i].used < old->used)
            old = &r->slots[i];
    uint8_t *p = old->data;
    *old = (struct slot){.chunk = chunk, .used = ++r->tick, .data = s->plain};
    s->plain = p;
    pthread_mutex_unlock(&r->lock);
}

/* A part of one chunk. */
static int read_part(struct reader *r, uint64_t chunk, size_t at, void *buf, size_t len, struct gs_err *err)
{
    if (from_cache(r, chunk, at, buf, len))
        return 0;
    struct scratch *s = take_scratch(r, err);
    if (!s)
        return -1;
    int rc = read_chunks(r, s, chunk, 1, s->plain, err);
    if (rc == 0) {
        memcpy(buf, s->plain + at, len);
        to_cache(r, chunk, s);
    }
    give_scratch(r, s);
    return rc;
}

static int age_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct reader *r = cookie;
    *out_n = 0;
    if (off >= r->size || len == 0)
        return 0;
    uint64_t chunk = off / AGE_CHUNK, left = r->size - off;
    size_t at = (size_t)(off % AGE_CHUNK), all = chunk_len(r, chunk);
    len = len > left ? (size_t)left : len;
    if (at > 0 || len < all) {
        *out_n = len < all - at ? len : all - at;
        return read_part(r, chunk, at, buf, *out_n, err);
    }
    /* whole chunks go straight to where they are wanted */
    size_t n = len == left ? (len + AGE_CHUNK - 1) / AGE_CHUNK : len / AGE_CHUNK;
    n = n > RUN ? RUN : n;
    struct scratch *s = take_scratch(r, err);
    if (!s)
        return -1;
    int rc = read_chunks(r, s, chunk, n, buf, err);
    give_scratch(r, s);
    *out_n = (n - 1) * AGE_CHUNK + chunk_len(r, chunk + n - 1);
    return rc;
}

static void age_close(void *cookie)
{
    struct reader *r = cookie;
    gs_source_close(&r->in);
    sodium_free(r->key);
    for (size_t i = 0; i < SLOTS; i++) {
        sodium_memzero(r->slots[i].data, AGE_CHUNK);
        free(r->slots[i].data);
    }
    for (struct scratch *s = r->idle, *next; s; s = next) {
        next = s->next;
        sodium_memzero(s->plain, AGE_CHUNK);
        free(s->plain);
        free(s);
    }
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* ---- opening ---- */

/* The last chunk says that it is the last: a file that was cut off at the end of a chunk shows here. */
static int check_end(struct reader *r, struct gs_err *err)
{
    struct scratch *s = take_scratch(r, err);
    if (!s)
        return -1;
    uint64_t last = r->n_chunks - 1;
    size_t len = chunk_len(r, last);
    int rc = gs_source_read(&r->in, r->from + last * AGE_STORED, s->stored, len + AGE_TAG_LEN, err);
    if (rc == 0 && !decrypt_chunk(r, last, true, s->stored, s->plain)) {
        rc = decrypt_chunk(r, last, false, s->stored, s->plain)
                 ? gs_fail(err, GS_E_TRUNCATED, "the encrypted file ends too early, at the end of chunk %llu",
                           (unsigned long long)last + 1)
                 : gs_fail(err, GS_E_AGE_DAMAGED,
                           "the end of the encrypted file does not hold: it was cut off, or changed");
    }
    if (rc == 0)
        to_cache(r, last, s);
    give_scratch(r, s);
    return rc;
}

static int measure(struct reader *r, uint64_t payload, struct gs_err *err)
{
    r->n_chunks = (payload + AGE_STORED - 1) / AGE_STORED;
    if (payload == 0 || payload - (r->n_chunks - 1) * AGE_STORED < AGE_TAG_LEN)
        return gs_fail(err, GS_E_TRUNCATED, "the encrypted file ends inside a chunk");
    r->size = payload - r->n_chunks * AGE_TAG_LEN;
    if (r->n_chunks > 1 && r->size == (r->n_chunks - 1) * AGE_CHUNK)
        return gs_fail(err, GS_E_AGE_DAMAGED, "the encrypted file ends with an empty chunk, which no program writes");
    return 0;
}

static int open_payload(struct reader *r, const struct age_open_opts *o, struct gs_err *err)
{
    struct header h = {0};
    gs_autobuf text;
    gs_buf_init(&text, 0);
    uint8_t nonce[AGE_NONCE_LEN];
    struct opening *k = sodium_malloc(sizeof *k);
    r->key = sodium_malloc(32);
    if (!k || !r->key) {
        sodium_free(k);
        return gs_fail_sys(err, GS_E_NOMEM, errno, "no locked memory for keys");
    }
    int rc = read_header(&r->in, &text, &h, err);
    if (rc == 0 && r->in.size - h.len < sizeof nonce)
        rc = bad_header(err, "has nothing behind it: the file was cut off");
    if (rc == 0)
        rc = gs_source_read(&r->in, h.len, nonce, sizeof nonce, err) || find_file_key(&h, text.data, o, k, err);
    if (rc == 0) {
        age_hkdf(k->file_key, sizeof k->file_key, nonce, sizeof nonce, "payload", r->key);
        r->from = h.len + sizeof nonce;
        rc = measure(r, r->in.size - r->from, err);
    }
    free(h.known);
    sodium_free(k);
    return rc ? -1 : check_end(r, err);
}

int age_open(struct gs_source *in, const struct age_open_opts *o, struct gs_source *out, struct gs_err *err)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r) {
        gs_source_close(in);
        return gs_fail(err, GS_E_NOMEM, "no memory for an encrypted file");
    }
    pthread_mutex_init(&r->lock, NULL);
    r->in = *in;
    *in = (struct gs_source){0};
    int rc = gs_secret_init(err);
    for (size_t i = 0; i < SLOTS && rc == 0; i++)
        if (!(r->slots[i].data = malloc(AGE_CHUNK)))
            rc = gs_fail(err, GS_E_NOMEM, "no memory to decrypt with");
    if (rc == 0 && begins(&r->in, ARMOR))
        rc = gs_fail(err, GS_E_AGE_ARMOR, "the age file is written as text (\"armor\")");
    if (rc || open_payload(r, o, err)) {
        age_close(r);
        return -1;
    }
    *out = (struct gs_source){.cookie = r, .size = r->size, .read_at = age_read_at, .close = age_close};
    return 0;
}
