/* bundle_priv: what the files of the bundle format share: member names, tar headers, frames, and the open bundle. */
#ifndef GS_BUNDLE_PRIV_H
#define GS_BUNDLE_PRIV_H

#include "formats/bundle.h"

#include <pthread.h>
#include <sodium.h>
#include <zstd.h>

#define BUNDLE_MANIFEST "manifest.json"
#define BUNDLE_SUMS "SUMS"
#define BUNDLE_INDEX "index.ndjson.zst"
#define BUNDLE_LEDGER "ledger.ndjson.zst"
#define BUNDLE_USERS "users.ndjson.zst"
#define BUNDLE_NAME_MAX 512 /* longer than any name of the allow-list */
#define BUNDLE_FILE_NAME_MAX 255
#define BUNDLE_PARTS_MAX 10000 /* of one relation in one group: four digits */
#define BUNDLE_MAX_SIGNATURES 64

/* ---- names (bundle_name.c) ---- */

enum bundle_name_kind { /* in the order in which they stand in the tar */
                        NAME_MANIFEST,
                        NAME_SIGNATURE,
                        NAME_SIGNATURE_MORE,
                        NAME_SUMS,
                        NAME_INDEX,
                        NAME_LEDGER,
                        NAME_USERS,
                        NAME_DATA, /* everything below groups/ */
};

struct bundle_name {
    enum bundle_name_kind kind;
    bool is_file;
    int64_t group_id;
    char relation[64]; /* "labels"; "avatar" or "uploads" for plain files */
    bool has_part;
    unsigned part;
    enum record_encoding encoding;
};

/* Is this one of the names that a bundle may hold? */
bool bundle_name_parse(const char *name, size_t len, struct bundle_name *out);
/* Order in the tar: by kind, then by bytes. */
int bundle_name_cmp(const char *a, const char *b);

/* ---- tar headers (bundle_tar.c) ---- */

#define TAR_BLOCK 512
#define TAR_END_LEN 1024

/* Appends the header of a member: what libarchive writes for an ordinary file, 0644, owner 0, time 0. */
int tar_make_header(const char *name, uint64_t size, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

struct tar_head {
    bool end; /* the end of the archive: nothing else is set */
    char name[BUNDLE_NAME_MAX];
    struct bundle_name parsed;
    uint64_t size;
    uint64_t data_off;
};
/*
 * Reads the header at `off`, which must be byte for byte what tar_make_header() makes of the name and size in it; the
 * zero bytes from `pad_from` to `off` are checked on the way. At the end: exactly the end of the file.
 */
int tar_read_header(const struct gs_source *src, uint64_t pad_from, uint64_t off, struct tar_head *out,
                    struct gs_err *err) GS_MUST_USE;
static inline uint64_t tar_padded(uint64_t n)
{
    return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* ---- frames (bundle_frame.c) ---- */

struct bundle_frame {
    uint64_t raw_off; /* in the member */
    uint64_t off;     /* stored, in the member */
    uint32_t raw, stored;
    uint8_t digest[BUNDLE_DIGEST_LEN]; /* of the stored bytes */
};

void bundle_hash(const void *data, size_t len, uint8_t out[BUNDLE_DIGEST_LEN]);
void bundle_hex(const uint8_t digest[BUNDLE_DIGEST_LEN], char out[2 * BUNDLE_DIGEST_LEN + 1]);
/* Lower case only. */
bool bundle_unhex(const char *hex, size_t len, uint8_t *out, size_t out_len);

/*
 * Decompresses one frame of exactly `stored` bytes into exactly `raw` bytes at `out`. What its header says is checked
 * before. GS_E_FRAME, GS_E_BOMB (it holds more than `raw`), GS_E_LIMIT (window).
 */
int frame_decode(ZSTD_DCtx *d, const void *data, size_t stored, void *out, size_t raw, unsigned max_window_log,
                 struct gs_err *err) GS_MUST_USE;

/* ---- the open bundle ---- */

struct bundle_cache_slot {
    uint32_t frame; /* position in `frames`, UINT32_MAX: empty */
    uint64_t used;
    char *data;
};
#define BUNDLE_CACHE 4

struct bundle {
    struct gs_source src;
    struct bundle_limits lim;
    unsigned threads;
    struct gs_buf names; /* member paths, each with a NUL */
    struct gs_buf texts; /* group paths */
    struct bundle_member *members;
    size_t n_members;
    struct bundle_member books[3]; /* index, ledger, users */
    struct bundle_frame *frames;
    size_t n_frames, cap_frames;
    struct bundle_group *groups;
    size_t n_groups, cap_groups;
    struct bundle_signature *sigs;
    size_t n_sigs, n_beside; /* the last n_beside of them are not in the file */
    bool proven;
    struct gs_buf manifest_text;
    yyjson_doc *manifest;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    enum record_encoding encoding;
    uint64_t data_records;

    /* of bundle_read_ref(), under `lock` */
    pthread_mutex_t lock;
    ZSTD_DCtx *dctx;
    struct bundle_cache_slot cache[BUNDLE_CACHE];
    uint64_t tick;
};

enum { BOOK_INDEX = 0, BOOK_LEDGER = 1, BOOK_USERS = 2 };
/* Books as members of a struct bundle_ref: UINT32_MAX - book. */
const struct bundle_member *bundle_member_at(const struct bundle *b, uint32_t member);
static inline enum record_encoding bundle_member_encoding(const struct bundle *b, const struct bundle_member *m)
{
    return m->group_id ? b->encoding : RECORD_NDJSON;
}

/*
 * Reads the stored bytes of a frame and checks its digest. `member` may be NULL; else the bytes are added to this digest of
 * the member, into which all frames in front of this one went already.
 */
int bundle_read_stored(const struct bundle *b, const struct bundle_member *m, const struct bundle_frame *f, void *out,
                       crypto_generichash_state *member, struct gs_err *err) GS_MUST_USE;

/* What the manifest says, checked. The strings belong to `doc`. */
struct manifest {
    const char *set_id;
    enum record_encoding encoding;
    uint64_t groups;
    uint64_t sums_size;
    uint8_t sums_digest[BUNDLE_DIGEST_LEN];
    uint64_t index_raw;
    yyjson_val *counts;
};
int manifest_parse(const char *text, size_t len, yyjson_doc **out_doc, struct manifest *out,
                   struct gs_err *err) GS_MUST_USE;

/* Reads the index (whose stored bytes were checked) into b->groups, b->frames and b->members. */
int index_read(struct bundle *b, const struct manifest *mf, const char *stored, size_t stored_len,
               struct gs_err *err) GS_MUST_USE;

/* Is the ledger's arithmetic right, and does it agree with the index? (bundle_balance.c) */
/* Plain files of a group, avatar and uploads. */
uint64_t bundle_count_files(const struct bundle *b, int64_t group_id);
int bundle_check_books(const struct bundle *b, struct gs_err *err) GS_MUST_USE;

#endif
