/*
 * age: files encrypted in the public format age v1 (c2sp.org/age; age.md says what of it is used), which the stock
 * `age` reads and writes, too.
 *
 * Reading:  age_is() -> age_open() turns the source of the encrypted file into a source of what is in it, at any offset
 * and for several threads at once. No byte of a chunk of 64 KiB is given out before the chunk's tag was checked; that
 * the file has its end is checked when it is opened. Writing:  age_seal_new() makes header and keys of one file ->
 * age_writer_new(), _write() ..., _finish().
 *
 * Secret keys and what is derived from them lie in locked memory that is wiped when released.
 */
#ifndef GS_AGE_H
#define GS_AGE_H

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"
#include "libcommon/io.h"
#include "libcommon/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGE_KEY_LEN 32
#define AGE_CHUNK ((size_t)64 << 10) /* of plaintext; what is stored has 16 bytes more */
#define AGE_RECIPIENT_TEXT 63        /* "age1..." and a NUL */
#define AGE_HEADER_MAX ((size_t)256 << 10)
#define AGE_MAX_STANZAS 512
#define AGE_MAX_IDENTITIES 128
#define AGE_WORK_FACTOR 18     /* scrypt's log2(N) when writing, as stock age: 256 MiB */
#define AGE_WORK_FACTOR_MAX 20 /* most that a file may demand: 1 GiB */
#define AGE_ID_LEN 65

/* ---- recipients: to whom a file is encrypted ---- */

struct age_recipients {
    uint8_t (*keys)[AGE_KEY_LEN]; /* X25519 public keys */
    size_t n;
};
/*
 * `what` is a recipient ("age1...") or a file of them, one a line, where empty lines and lines that begin with '#' do
 * not count. GS_E_AGE_KEY (the line is named by its number), GS_E_NOT_FOUND. The same key twice is taken once.
 */
int age_recipients_add(struct age_recipients *r, const char *what, struct gs_err *err) GS_MUST_USE;
void age_recipients_release(struct age_recipients *r);

/* ---- identities: the secret keys ---- */

/* How a passphrase is come by, when one is needed; `file` is what it opens. The caller releases *out. */
struct age_passphrase {
    int (*ask)(void *cookie, const char *file, struct gs_secret *out, struct gs_err *err);
    void *cookie;
};

struct age_identities {
    struct age_identity *keys; /* locked memory */
    size_t n;
};
/*
 * An identity file as age-keygen and age_identity_new() write it: comments and one or more lines "AGE-SECRET-KEY-1...";
 * or such a file that was encrypted with a passphrase (`pass` NULL: GS_E_AGE_PASSPHRASE). GS_E_AGE_KEY, GS_E_NOT_FOUND.
 */
int age_identities_add(struct age_identities *ids, const char *path, const struct age_passphrase *pass,
                       struct gs_err *err) GS_MUST_USE;
/* The same from text in memory; `name` is for messages. */
int age_identities_parse(struct age_identities *ids, const char *text, size_t len, const char *name,
                         struct gs_err *err) GS_MUST_USE;
void age_identities_release(struct age_identities *ids);

/* Draws a key: the text of its identity file, dated `unix_ms`, and its recipient. */
int age_identity_new(int64_t unix_ms, struct gs_secret *out_file, char out_recipient[AGE_RECIPIENT_TEXT],
                     struct gs_err *err) GS_MUST_USE;

/* ---- reading ---- */

struct age_seal;

struct age_open_opts {
    const char *name;                  /* of the file, for messages and prompts; NULL */
    const struct age_identities *ids;  /* NULL or empty: none */
    const struct age_passphrase *pass; /* asked only for a file that was encrypted with a passphrase; NULL */
    const struct age_seal *seal;       /* of a file that was just written: opens it without any of these; NULL */
};

/* Does the file begin like an age file, in binary or as text ("armor")? */
bool age_is(const struct gs_source *src);
/*
 * `in` belongs to the result afterwards, and is closed when this fails. GS_E_AGE_NO_IDENTITY, GS_E_AGE_WRONG_IDENTITY,
 * GS_E_AGE_PASSPHRASE (none, or a wrong one), GS_E_AGE_HEADER, GS_E_AGE_MAC, GS_E_AGE_DAMAGED, GS_E_TRUNCATED,
 * GS_E_AGE_ARMOR, GS_E_SCHEMA_NEWER. Reading from *out: GS_E_AGE_DAMAGED. *out must be closed.
 */
int age_open(struct gs_source *in, const struct age_open_opts *o, struct gs_source *out,
             struct gs_err *err) GS_MUST_USE;
/* Names an age file by its header, which no other file has; to be compared with age_seal_id(). */
int age_file_id(const struct gs_source *src, char out[AGE_ID_LEN], struct gs_err *err) GS_MUST_USE;

/* ---- writing ---- */

/*
 * The header of one file to come, with its keys: for every recipient, or for whoever knows the passphrase (`passphrase`
 * not NULL, and then no recipients: the format allows no mixture). `work_factor` 0: AGE_WORK_FACTOR. GS_E_USAGE.
 */
int age_seal_new(const struct age_recipients *to, const struct gs_secret *passphrase, unsigned work_factor,
                 struct age_seal **out, struct gs_err *err) GS_MUST_USE;
void age_seal_id(const struct age_seal *s, char out[AGE_ID_LEN]);
void age_seal_free(struct age_seal *s);
GS_DEFINE_AUTO(age_seal, age_seal_free);

struct age_writer;
/*
 * Writes to `fd`, of which `name` is the file's name for messages; both stay the caller's. A seal makes one file only
 * (GS_E_INTERNAL otherwise) and must live as long as the writer. `threads` 0: the number of cores, at most 8.
 */
int age_writer_new(struct age_seal *s, unsigned threads, int fd, const char *name, struct age_writer **out,
                   struct gs_err *err) GS_MUST_USE;
int age_writer_write(struct age_writer *w, const void *data, size_t len, struct gs_err *err) GS_MUST_USE;
/* The same for a part of a source, which is read by the threads that encrypt it and must live until the end of the file
 * is written. */
int age_writer_copy(struct age_writer *w, const struct gs_source *src, uint64_t off, uint64_t len,
                    struct gs_err *err) GS_MUST_USE;
/* The end of the file: without it no reader accepts what was written. The caller syncs. */
int age_writer_finish(struct age_writer *w, struct gs_err *err) GS_MUST_USE;
void age_writer_free(struct age_writer *w);
GS_DEFINE_AUTO(age_writer, age_writer_free);

#endif
