/* volume_priv: what the files of the volume format share: the label, the layout of a volume, and the codes of the
 * parity. */
#ifndef GS_VOLUME_PRIV_H
#define GS_VOLUME_PRIV_H

#include "formats/bundle_priv.h"
#include "formats/volume.h"

#define VOLUME_SCHEMA "groupsnap-volume/1"
#define VOLUME_NAME_MAX 64
#define VOLUME_LABEL_MAX ((size_t)1 << 20)
#define VOLUME_SIGNATURE_MAX ((size_t)4096)
#define VOLUME_SUMS_MAX ((size_t)1 << 30)
#define VOLUME_SLICE_MAX ((uint64_t)1 << 32) /* of a member that is cut, and of the parity, in one tar member */
#define VOLUME_PIECES_MAX 24

/* ---- names in the tar of a volume (volume_label.c) ---- */

enum volume_part { VOLUME_LABEL, VOLUME_SIGNATURE, VOLUME_SUMS };
void volume_part_name(unsigned number, enum volume_part part, char out[VOLUME_NAME_MAX]);
void volume_slice_name(uint64_t at, char out[VOLUME_NAME_MAX]);
void volume_parity_name(unsigned number, uint64_t index, char out[VOLUME_NAME_MAX]);

/* ---- the label ---- */

struct volume_piece {
    uint64_t at, bytes; /* in the file that was divided */
    bool slice;         /* in a tar member of its own, not members as they are */
};

struct volume_label {
    char set[VOLUME_SET_HEX];
    unsigned number, data, parity;
    uint64_t limit, size;
    bool is_bundle;
    char root[256], created_at[32], digest[65];
    uint64_t members;
    char first[160], last[160];
    uint64_t sums_bytes;
    uint8_t sums_digest[BUNDLE_DIGEST_LEN];
    struct volume_piece pieces[VOLUME_PIECES_MAX]; /* of a data volume */
    size_t n_pieces;
    uint64_t cores[VOLUME_MAX]; /* of a parity volume: bytes of those of all data volumes */
};

static inline bool volume_is_parity(const struct volume_label *l)
{
    return l->number > l->data;
}
/* The longest core: what a parity volume holds. */
uint64_t volume_shard(const struct volume_label *parity);

int volume_label_write(const struct volume_label *l, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* GS_E_VOLUME_LABEL, GS_E_SCHEMA_NEWER. */
int volume_label_parse(const char *text, size_t len, struct volume_label *out, struct gs_err *err) GS_MUST_USE;

/* Label, signature and SUMS as tar members. */
int volume_head_write(const struct volume_label *l, const struct gs_buf *sums, const struct sign_seckey *key,
                      struct gs_buf *out, struct gs_err *err) GS_MUST_USE;

struct volume_head {
    struct volume_label label;
    uint64_t bytes;   /* of the three members, padded */
    uint64_t sums_at; /* of the text of SUMS in the volume */
    struct sign_info signer;
    enum gs_code signature; /* GS_OK, or why it does not count */
};
/*
 * The three members at `at`, of which the name of the first says the number. SUMS is checked against the label, and the
 * label against `trust` (NULL: not asked). A signature that does not count is told in `signature` and `out_why`, and is
 * no failure. GS_E_VOLUME_LABEL, GS_E_VOLUME_DAMAGED, GS_E_SIG_FORMAT, GS_E_TRUNCATED.
 */
int volume_head_read(const struct gs_source *src, uint64_t at, const struct sign_trust *trust, struct volume_head *out,
                     struct gs_err *out_why, struct gs_err *err) GS_MUST_USE;

/* A tar member at `at`, of which only this name is allowed: its header must be ours. *out_size: of its content, behind
 * 512 bytes. */
int volume_member_at(const struct gs_source *src, uint64_t at, const char *name, uint64_t *out_size,
                     struct gs_err *err) GS_MUST_USE;
int volume_member_put(const char *name, const void *data, size_t len, struct gs_buf *out,
                      struct gs_err *err) GS_MUST_USE;

/* ---- Reed-Solomon (volume_code.c) ---- */

/* Coefficients of the volumes in `from` (n of them, numbers from 1, as many as there are data volumes) that add up to
 * volume `want`. GS_E_INTERNAL when they are not enough, which cannot be. */
int volume_code_row(unsigned data, unsigned parity, const unsigned *from, unsigned want, uint8_t *row,
                    struct gs_err *err) GS_MUST_USE;
/* Tables of `rows` such rows; to be freed. */
uint8_t *volume_code_tables(unsigned data, unsigned rows, const uint8_t *row);
void volume_code_apply(unsigned data, unsigned rows, const uint8_t *tables, size_t len, uint8_t **in, uint8_t **out);
/* The rows of all parity volumes. */
int volume_code_parity(unsigned data, unsigned parity, uint8_t *rows, struct gs_err *err) GS_MUST_USE;

#endif
