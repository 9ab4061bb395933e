/*
 * bundle: the file that crosses the air gap, schema groupsnap/1 (bundle.md is the specification).
 *
 * Writing:  bundle_writer_new(dir) -> for each relation of each group, any order: bundle_part_open() .. _add() .. _close()
 *           -> bundle_writer_user(), _ledger(), _file() -> bundle_writer_finish(): signs and packs into one file.
 *           Until then everything lies compressed in the staging folder.
 * Reading:  bundle_open(): limits, signature, manifest, SUMS and index, in this order; then any member at any offset.
 *           Nothing but tar headers is looked at before the signature holds. A struct bundle may be read by several
 *           threads at once through readers of their own (bundle_cursor); bundle_read_ref() locks.
 */
#ifndef GS_BUNDLE_H
#define GS_BUNDLE_H

#include "formats/age.h"
#include "formats/record.h"
#include "formats/sign.h"
#include "libcommon/err.h"
#include "libcommon/io.h"
#include "libcommon/json.h"
#include "libcommon/work.h"

#include <stdbool.h>
#include <stdint.h>

#define BUNDLE_SCHEMA "groupsnap/1"
#define BUNDLE_DIGEST_LEN 32
#define BUNDLE_PART_RAW_MAX ((uint64_t)64 << 20)
#define BUNDLE_FRAME_RAW_MAX ((size_t)4 << 20)

/* ------------------------------------------------------------------ writing */

/* What the manifest says besides counts and digests. Strings are copied. NULL / 0: not known. */
struct bundle_meta {
    const char *set_id;       /* 32 hex digits; NULL: drawn at random */
    uint64_t serial;          /* 0: created_at in seconds */
    int64_t created_at_ms;    /* 0: now. Fixed in tests, so that bytes repeat */
    const char *source_url, *source_host, *tls_sha256, *gitlab_version, *gitlab_revision;
    int enterprise;           /* 1 yes, 0 no, -1 not known */
    const char *token_user, *token_role;
    bool clock_known;         /* is the next one? */
    int64_t clock_offset_ms;  /* the source's clock less that of the capturing machine */
    const char *via;          /* "api", "relations", "archive" */
    int64_t started_at_ms, finished_at_ms;
    const char *root_path;    /* full path of the root group on the source */
    int64_t root_id;
    const char *watermarks_json; /* a JSON object, or NULL */
    const char *redaction_json;  /* the same, of a bundle that was redacted (policy.h) */
};

struct bundle_writer_opts {
    enum record_encoding encoding;
    int level;                /* zstd, 0: 3 */
    unsigned threads;         /* 0: number of cores */
    uint64_t part_raw_max;    /* 0: BUNDLE_PART_RAW_MAX (tests use less) */
    size_t frame_raw_max;     /* 0: BUNDLE_FRAME_RAW_MAX */
    struct record_limits record;
};

struct bundle_writer;
struct bundle_part;

/* `dir` is the staging folder; it is created when absent, and removed with its content by bundle_writer_free(). */
int bundle_writer_new(const char *dir, const struct bundle_writer_opts *o, struct bundle_writer **out,
                      struct gs_err *err) GS_MUST_USE;
/* Records of one relation of one group; `name` is validated by relation_name_ok(). One thread per part; several open parts are fine. */
int bundle_part_open(struct bundle_writer *w, int64_t group_id, const char *relation, struct bundle_part **out,
                     struct gs_err *err) GS_MUST_USE;
/* One record as JSON text; kept byte for byte in ndjson. A new part file is begun when one is full. */
int bundle_part_add(struct bundle_part *p, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* The same for a record that is known to be one valid object on one line within the part's limits: not looked at again. */
int bundle_part_add_sound(struct bundle_part *p, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* The limits of a record in this part, defaults filled in. */
void bundle_part_limits(const struct bundle_part *p, struct record_limits *out);
/* Ends it: members with no records are not written. Frees `p` in any case. */
int bundle_part_close(struct bundle_part *p, struct gs_err *err) GS_MUST_USE;
/* Frees `p` and forgets what it wrote (a relation that failed). NULL is fine. */
void bundle_part_abandon(struct bundle_part *p);
/* A plain file: groups/<id>/<kind>/<file>, kind "avatar" or "uploads/<secret>". `name` is checked against the allow-list. */
int bundle_writer_file(struct bundle_writer *w, int64_t group_id, const char *kind, const char *name, const void *data,
                       size_t len, struct gs_err *err) GS_MUST_USE;
/* The same for a file of unknown length that comes piece by piece; *out_n 0 is its end. Thread-safe. GS_E_LIMIT beyond BUNDLE_FILE_MAX,
 * and what `read` gives; nothing is stored then. */
#define BUNDLE_FILE_MAX ((uint64_t)1 << 30)
struct bundle_stream {
    int (*read)(void *cookie, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void *cookie;
};
int bundle_writer_stream(struct bundle_writer *w, int64_t group_id, const char *kind, const char *name,
                         const struct bundle_stream *in, struct gs_err *err) GS_MUST_USE;
/* Tells the writer of a group (tree order is kept for inspect --tree); full_path as on the source. parent_id 0: root. */
int bundle_writer_group(struct bundle_writer *w, int64_t id, int64_t parent_id, const char *full_path, struct gs_err *err) GS_MUST_USE;
/* One user that some record refers to (JSON object with id, username, name, public_email, state, kind). Same id again: merged, known fields win over null. */
int bundle_writer_user(struct bundle_writer *w, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* One line of the ledger (ledger.h makes them). Written in the order of its canonical sort key, so that order of arrival does not matter. */
int bundle_writer_ledger(struct bundle_writer *w, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;

/*
 * Writes members index, users, ledger, SUMS and manifest, signs with each key and packs everything at `path`
 * (temp + fsync + rename; an existing file is GS_E_EXISTS unless `replace`). Only bundle_writer_made() (after success) and
 * bundle_writer_free() may follow, whatever comes of it: what is in the file is given back in the staging folder.
 */
int bundle_writer_finish(struct bundle_writer *w, const struct bundle_meta *meta, const struct sign_seckey *const *keys,
                         size_t n_keys, const char *path, bool replace, struct gs_err *err) GS_MUST_USE;
/* The file is encrypted as it is packed (age.h); the caller keeps `seal`, which must outlive bundle_writer_finish(). */
void bundle_writer_encrypt(struct bundle_writer *w, struct age_seal *seal);
/* The bytes of the file, encrypted or not, and the BLAKE2b-256 of its manifest.json, which names the bundle. */
void bundle_writer_made(const struct bundle_writer *w, uint64_t *out_size, uint8_t out_digest[BUNDLE_DIGEST_LEN]);
void bundle_writer_free(struct bundle_writer *w);
GS_DEFINE_AUTO(bundle_writer, bundle_writer_free);

/* Adds a signature to an existing bundle, whose signature by a trusted key need not be there: content is checked against SUMS first. */
int bundle_add_signature(const char *path, const struct sign_seckey *key, struct gs_err *err) GS_MUST_USE;
/*
 * The same without touching the file, for one that cannot be changed (encrypted, in volumes, on a disc): appends the text of a
 * signature of the manifest to `out`, to be kept in a file beside it (struct bundle_beside).
 */
struct bundle;
int bundle_sign_beside(struct bundle *b, const struct sign_seckey *key, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

/* ------------------------------------------------------------------ reading */

struct bundle_limits { /* 0: the default in brackets (bundle.md) */
    uint64_t max_bundle;        /* [1 TiB] */
    size_t max_manifest;        /* [16 MiB] */
    size_t max_signature;       /* [4 KiB] */
    size_t max_sums;            /* [1 GiB] */
    size_t max_index_raw;       /* [2 GiB] */
    uint64_t max_members;       /* [4,000,000] */
    uint64_t max_member_raw;    /* [1 GiB] */
    uint64_t max_ledger_raw;    /* [1 GiB] */
    unsigned max_window_log;    /* [23: 8 MiB] */
    struct record_limits record;
};

/* A signature of the manifest that is not in the bundle but in a file of its own, by any program. */
struct bundle_beside {
    const char *name, *text; /* of the file; its content */
    size_t len;
};

struct bundle_opts {
    const struct sign_trust *trust; /* NULL: only allowed with `no_verify` */
    unsigned require;           /* signatures by so many different trusted keys are demanded, 0: one */
    const struct bundle_beside *beside;
    size_t n_beside;
    bool no_verify;             /* inspect and cat of a bundle of unknown origin: signature is reported, not demanded */
    unsigned threads;           /* of bundle_verify(), 0: number of cores */
    struct bundle_limits limits;
};

struct bundle_signature {
    char member[96];
    struct sign_info info;
    bool beside;                /* `member` is a file beside the bundle */
    enum gs_code result;        /* GS_OK, GS_E_SIG_UNKNOWN_KEY, GS_E_SIG_REVOKED, GS_E_SIG_EXPIRED, GS_E_SIG_INVALID, GS_E_SIG_FORMAT */
};

struct bundle_member {          /* one line of the index, or a plain file */
    const char *path;           /* in the tar */
    int64_t group_id;
    const char *relation;       /* "labels"; for plain files "avatar" or "uploads" */
    bool is_file;
    unsigned part;              /* 0 for the first */
    uint64_t records;
    uint64_t raw, stored;       /* bytes */
    uint64_t offset;            /* of the stored bytes in the bundle file */
    uint8_t digest[BUNDLE_DIGEST_LEN]; /* BLAKE2b-256 of the stored bytes, from SUMS */
    uint32_t first_frame, n_frames;
};

struct bundle_group {
    int64_t id, parent_id;      /* parent 0: root */
    const char *full_path;
};

struct bundle;

/* GS_E_NOT_FOUND, GS_E_AGE_ENCRYPTED (age_open() and bundle_open_source() are the way then), GS_E_NOT_A_BUNDLE, GS_E_TRUNCATED, GS_E_MEMBER_*, GS_E_SIG_*, GS_E_SCHEMA_NEWER, GS_E_FEATURE, GS_E_MANIFEST, GS_E_SUMS, GS_E_INDEX, GS_E_LIMIT ... */
int bundle_open(const char *path, const struct bundle_opts *o, struct bundle **out, struct gs_err *err) GS_MUST_USE;
/* The same over any source, which the bundle then owns (also when this fails). */
int bundle_open_source(struct gs_source *src, const struct bundle_opts *o, struct bundle **out, struct gs_err *err) GS_MUST_USE;
void bundle_close(struct bundle *b);
GS_DEFINE_AUTO(bundle, bundle_close);

yyjson_val *bundle_manifest(const struct bundle *b);             /* root of the manifest */
const char *bundle_set_id(const struct bundle *b);
const uint8_t *bundle_digest(const struct bundle *b);            /* BLAKE2b-256 of manifest.json: names this bundle */
enum record_encoding bundle_encoding(const struct bundle *b);
uint64_t bundle_size(const struct bundle *b);
size_t bundle_signatures(const struct bundle *b, const struct bundle_signature **out);
bool bundle_proven(const struct bundle *b);                      /* signed by as many different trusted keys as are demanded */
size_t bundle_groups(const struct bundle *b, const struct bundle_group **out);   /* root first, parents before children */
size_t bundle_members(const struct bundle *b, const struct bundle_member **out); /* sorted by path */
/* Records of a relation in a group, over all parts; 0 when there are none. */
uint64_t bundle_count(const struct bundle *b, int64_t group_id, const char *relation);

/* One record where it lies. */
struct bundle_ref {
    uint32_t member;            /* position in bundle_members() */
    uint64_t off;               /* raw offset in the member */
    uint32_t len;               /* raw bytes */
};

/* Walks the records of one relation of one group over all its parts, checking frame digests on the way. */
struct bundle_cursor;
int bundle_cursor_open(const struct bundle *b, int64_t group_id, const char *relation, struct bundle_cursor **out,
                       struct gs_err *err) GS_MUST_USE;
/* *out_data NULL at the end. The bytes (as stored: ndjson with its line feed) live until the next call. `ref` may be NULL. */
int bundle_cursor_next(struct bundle_cursor *c, const void **out_data, size_t *out_len, struct bundle_ref *ref,
                       struct gs_err *err) GS_MUST_USE;
void bundle_cursor_close(struct bundle_cursor *c);
GS_DEFINE_AUTO(bundle_cursor, bundle_cursor_close);
/* The same over "users" and "ledger" (group_id 0) and "index". */
/* Every record of a relation in a group, or of the users (group_id 0), parsed; `rec` lives during the call. Ends early when `fn` returns -1. */
typedef int bundle_record_fn(void *cookie, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err);
int bundle_each(const struct bundle *b, int64_t group_id, const char *relation, bundle_record_fn *fn, void *cookie, struct gs_err *err) GS_MUST_USE;

/* Reads one record again by its place; keeps a few frames in memory. Appends the stored bytes (bundle_encoding()) to `out`. */
int bundle_read_ref(struct bundle *b, const struct bundle_ref *ref, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* A plain file member, whole. Absent: GS_E_MEMBER_MISSING. */
int bundle_read_file(const struct bundle *b, const char *path, size_t max, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/*
 * The same piece by piece, for files of any size. The bytes are compared with SUMS at the end: *out_n is 0 only there, and only when
 * they were right (GS_E_DIGEST otherwise). `m` is a plain file of this bundle, which outlives the reader.
 */
struct bundle_file;
int bundle_file_open(const struct bundle *b, const struct bundle_member *m, struct bundle_file **out, struct gs_err *err) GS_MUST_USE;
int bundle_file_read(struct bundle_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err) GS_MUST_USE;
void bundle_file_close(struct bundle_file *f);
/* First plain file member of this group and kind ("avatar"), or NULL. */
const struct bundle_member *bundle_find_file(const struct bundle *b, int64_t group_id, const char *kind);

struct bundle_verify_result {
    uint64_t members, bytes, records, raw_bytes;
    double seconds;
};
struct bundle_verify_opts {
    bool deep;                 /* every frame decompressed, every record checked and counted, the ledger's books added up */
    const volatile int *stop;  /* non-zero: ends soon with GS_E_STOPPED; NULL */
    /* Called by the caller's own thread every tenth of a second, with stored bytes; NULL. */
    void (*progress)(void *cookie, uint64_t done, uint64_t total);
    void *cookie;
    uint64_t job_raw;          /* raw bytes that are worth a job of their own, 0: 4 MiB (tests use less) */
};
/*
 * Every stored byte against SUMS, on worker threads. What is wrong with a bundle is reported of the first member in the file
 * that has something wrong, whatever the number of threads. GS_E_DIGEST, GS_E_FRAME, GS_E_BOMB, GS_E_JSON*, GS_E_RECORD,
 * GS_E_LIMIT, GS_E_COUNT_MISMATCH, GS_E_TRUNCATED, GS_E_IO, GS_E_NOMEM, GS_E_STOPPED.
 */
int bundle_verify_with(struct bundle *b, const struct bundle_verify_opts *o, struct bundle_verify_result *out,
                       struct gs_err *err) GS_MUST_USE;
/* The same without the hooks. */
int bundle_verify(struct bundle *b, bool deep, struct bundle_verify_result *out, struct gs_err *err) GS_MUST_USE;

#endif
