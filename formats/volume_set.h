/* volume_set: what the files that read volumes share. */
#ifndef GS_VOLUME_SET_H
#define GS_VOLUME_SET_H

#include "formats/volume_priv.h"

struct volume_file {
    char *path;
    struct gs_source src;
    bool open, told;
    enum volume_state state;
    struct gs_err why;
    struct volume_head head; /* of a file whose label counts; else only the number */
    uint64_t core;           /* bytes in front of the labels of the parity */
};

/* A volume that is not there and can be computed. */
struct volume_lost {
    uint8_t *tables; /* NULL: not prepared */
};

/* A stretch of the file that was divided. */
struct volume_stretch {
    uint64_t at, bytes; /* in the file */
    unsigned number;
    uint64_t off; /* in the core */
};

struct volume_set {
    const struct sign_trust *trust; /* NULL: signatures are not demanded */
    struct volume_file *files;
    size_t n_files;
    struct volume_label label; /* of one of them, for what they have in common */
    unsigned data, parity;
    struct volume_file *by[VOLUME_MAX + 1]; /* by number: the good ones */
    struct volume_seen *seen;
    size_t n_seen;
    struct gs_buf heads[VOLUME_MAX + 1]; /* of the parity volumes, by number */
    uint64_t *cores;                     /* bytes of those of the data volumes; NULL: there is no parity */
    uint64_t shard;
    unsigned from[VOLUME_MAX]; /* out of which the others are computed */
    struct volume_lost lost[VOLUME_MAX + 1];
    struct volume_stretch *map;
    size_t n_map;
};

/* Label and layout of an open file into `head`, `core` and `state`; the content is not looked at. */
int volume_file_open(struct volume_file *f, const struct sign_trust *trust, struct gs_err *err) GS_MUST_USE;
/* Every byte of it. `done` is added to as it goes on; both may be NULL. GS_E_VOLUME_DAMAGED and what tar headers give.
 */
int volume_file_walk(const struct volume_file *f, const struct volume_progress *progress, uint64_t *done,
                     struct gs_err *err) GS_MUST_USE;

#endif
