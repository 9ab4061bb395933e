/* bundle_writer: private to the two halves of the writer, bundle_part.c (records to frames) and bundle_pack.c (frames
 * to file). */
#ifndef GS_BUNDLE_WRITER_H
#define GS_BUNDLE_WRITER_H

#include "formats/bundle_priv.h"
#include "formats/bundle_sort.h"

/*
 * One member as it lies in the spool: its frames follow each other in the member, not in the spool. A plain file is one
 * piece without a frame.
 */
struct staged {
    char *path; /* in the tar */
    char *relation;
    int64_t group_id;
    bool is_file;
    bool packed; /* path and relation lie behind the frames, in one block with them */
    unsigned part;
    uint64_t records, raw, stored;
    uint8_t digest[BUNDLE_DIGEST_LEN];
    struct staged_frame {
        uint64_t spool_off;
        uint32_t raw, stored;
        uint8_t digest[BUNDLE_DIGEST_LEN];
    } * frames;
    size_t n_frames, cap_frames;
};

void staged_release(struct staged *s);

struct writer_user {
    int64_t id;
    char *json; /* canonical */
};

struct writer_group {
    int64_t id, parent_id;
    char *full_path;
};

struct block_pool {
    char *block[16];
    unsigned n;
};

struct bundle_writer {
    char *dir;
    int spool;
    struct bundle_writer_opts o;
    struct gs_work *work;
    struct age_seal *seal; /* the caller's; NULL: the file is not encrypted */
    size_t block; /* bytes of a block: holds a full frame, compressed or not */

    pthread_mutex_t lock; /* everything below */
    pthread_cond_t freed; /* a token came back */
    unsigned tokens;      /* frames that may still be handed to the worker threads: what bounds memory */
    uint64_t spool_len;
    ZSTD_CCtx **cctx;
    size_t n_cctx, cap_cctx;
    struct block_pool raw_blocks, out_blocks;
    struct staged *members;
    size_t n_members, cap_members;
    struct writer_group *groups;
    size_t n_groups, cap_groups;
    struct writer_user *users; /* open addressing by id; json NULL: empty */
    size_t n_users, cap_users;

    pthread_mutex_t ledger_lock; /* the ledger may write to the spool, which takes `lock` */
    struct sorter ledger;

    uint64_t made_size; /* of the file, when it is there */
    uint8_t made_digest[BUNDLE_DIGEST_LEN];
};

/* A book ("ledger.ndjson.zst") as a member: always ndjson, one part, there even without any record. */
int part_open_book(struct bundle_writer *w, const char *path, const char *relation, struct bundle_part **out,
                   struct gs_err *err) GS_MUST_USE;
/* Appends bytes to the spool. */
int spool_write(struct bundle_writer *w, const void *data, size_t len, uint64_t *out_off,
                struct gs_err *err) GS_MUST_USE;
int spool_read(struct bundle_writer *w, uint64_t off, void *buf, size_t len, struct gs_err *err) GS_MUST_USE;
/* Moves the content of `s` into the writer. */
int writer_take_member(struct bundle_writer *w, struct staged *s, struct gs_err *err) GS_MUST_USE;

/* bundle_books.c: adds the three books to w->members and sorts them; SUMS over these; the manifest. */
int books_write(struct bundle_writer *w, uint64_t *out_index_raw, struct gs_err *err) GS_MUST_USE;
int books_sums(const struct bundle_writer *w, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
int books_manifest(const struct bundle_writer *w, const struct bundle_meta *m, const struct gs_buf *sums,
                   uint64_t index_raw, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

#endif
