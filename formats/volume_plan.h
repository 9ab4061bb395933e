/* volume_plan: how a file is divided, and each volume as it will be. Private to the volume format. */
#ifndef GS_VOLUME_PLAN_H
#define GS_VOLUME_PLAN_H

#include "formats/volume_priv.h"

/* A stretch of a volume: bytes of `mem`, of the file, or zeros. */
struct volume_seg {
    uint64_t at, bytes; /* in the volume */
    enum { SEG_MEM, SEG_FILE, SEG_ZERO } kind;
    uint64_t from; /* in `mem` or in the file */
};

/* The core of a data volume: all of it but the labels of the parity and the end mark. */
struct volume_image {
    struct volume_label label;
    struct gs_buf sums, mem;
    uint64_t payload; /* bytes behind the head */
    struct volume_seg *segs;
    size_t n_segs, cap_segs;
    uint64_t bytes;
};

struct volume_plan {
    struct gs_source file;  /* not owned */
    const struct bundle *b; /* NULL: another file */
    uint64_t limit;
    unsigned parity;
    struct volume_image *v; /* data volumes */
    size_t n;
};

/* Divides and computes the digests that are not known; the heads are not made yet. GS_E_VOLUME_SIZE, GS_E_IO. */
int volume_plan_make(struct volume_plan *p, struct gs_work *work, const struct volume_progress *progress,
                     struct gs_err *err) GS_MUST_USE;
/* Set id and heads: now every byte of every core is known. */
int volume_plan_heads(struct volume_plan *p, const struct sign_seckey *key, char set[VOLUME_SET_HEX],
                      struct gs_err *err) GS_MUST_USE;
/* Bytes of a core; behind its end zeros. */
int volume_image_read(const struct volume_plan *p, const struct volume_image *v, uint64_t off, void *buf, size_t len,
                      struct gs_err *err) GS_MUST_USE;
void volume_plan_release(struct volume_plan *p);

#endif
