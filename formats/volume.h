/*
 * volume: one file in several, each of which fits a medium, can be checked alone, and of which some may be lost
 * (volume.md).
 *
 * Writing:  volume_split() writes all volumes of a file or some of them; the same file, limit, parity and key give the
 * same bytes. Reading:  volume_set_open() over files in any order and under any names -> volume_set_verify() looks at
 * every byte (not needed to read) -> volume_set_source() is the file again, also while volumes are missing that the
 * parity makes up for; or volume_set_rebuild() writes one of them anew.
 */
#ifndef GS_VOLUME_H
#define GS_VOLUME_H

#include "formats/bundle.h"
#include "formats/sign.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"
#include "libcommon/io.h"

#include <stdbool.h>
#include <stdint.h>

#define VOLUME_MAX 255    /* of a set, parity included */
#define VOLUME_SET_HEX 33 /* 32 digits and a NUL */
#define VOLUME_LIMIT_MIN ((uint64_t)16 << 10)

struct volume_progress {
    const volatile int *stop;                                  /* non-zero: ends soon with GS_E_STOPPED; NULL */
    void (*tell)(void *cookie, uint64_t done, uint64_t total); /* bytes; NULL */
    void *cookie;
};

/* ------------------------------------------------------------------ writing */

struct volume_split_opts {
    uint64_t limit;  /* most bytes of one volume */
    unsigned parity; /* how many volumes may be lost */
    const struct sign_seckey *key;
    const bool *only; /* by number; NULL: all. Of numbers that the set does not have GS_E_USAGE */
    const char *base; /* BASE.vol01 ... are written; none of those to be written may exist (GS_E_EXISTS) */
    unsigned threads; /* 0: number of cores */
    struct volume_progress progress;
};

struct volume_split_result {
    char set[VOLUME_SET_HEX];
    unsigned data, parity;
    uint64_t bytes[VOLUME_MAX + 1]; /* by number, of those that were written; else 0 */
};

/*
 * Divides a bundle, whose bytes the caller has verified; or, with `b` NULL, any other file. All volumes appear whole or
 * not at all. GS_E_VOLUME_SIZE: a member that is not cut does not fit, or there would be more volumes than a set can
 * have.
 */
int volume_split(const struct bundle *b, const struct gs_source *other, const struct volume_split_opts *o,
                 struct volume_split_result *out, struct gs_err *err) GS_MUST_USE;
/* BASE.vol<number>, as many digits as `of` has, two at least; to be freed. NULL: no memory. */
char *volume_file_name(const char *base, unsigned number, unsigned of);

/* ------------------------------------------------------------------ reading */

/* Does the file begin like a volume? */
bool volume_is(const struct gs_source *src);

enum volume_state {
    VOLUME_GOOD, /* as far as it was looked at */
    VOLUME_MISSING,
    VOLUME_DAMAGED,
    VOLUME_UNTRUSTED, /* its label was not signed by a key that is trusted */
    VOLUME_OTHER_SET,
    VOLUME_TWICE, /* another copy of a volume that is there */
    VOLUME_NONE,  /* not a volume */
};
const char *volume_state_name(enum volume_state s);

struct volume_seen {
    const char *path; /* NULL: missing */
    unsigned number;  /* 0: not known */
    enum volume_state state;
    uint64_t bytes;
    char set[VOLUME_SET_HEX];
    struct gs_err why; /* code GS_OK when there is nothing to say */
    bool parity;
    uint64_t members;
    char first[160], last[160]; /* names of what it holds, cut */
};

struct volume_about {
    char set[VOLUME_SET_HEX];
    unsigned data, parity;
    bool is_bundle;                             /* and not another file */
    uint64_t size;                              /* of the file that was divided */
    char root[256], created_at[32], digest[65]; /* of the bundle; "" when not known */
};

struct volume_set;

/*
 * The volumes in these files. Their labels are verified against `trust` unless that is NULL, without keys or lenient.
 * Which set is meant is decided by most of them. Files that are of no use are no error: volume_set_seen() tells.
 * GS_E_NOT_A_BUNDLE: none of them is a volume; or what is wrong with the only one.
 */
int volume_set_open(const char *const *paths, size_t n, const struct sign_trust *trust, struct volume_set **out,
                    struct gs_err *err) GS_MUST_USE;
void volume_set_close(struct volume_set *s);
GS_DEFINE_AUTO(volume_set, volume_set_close);

void volume_set_about(const struct volume_set *s, struct volume_about *out);
/* Every volume of the set by number, also those that are missing, then all other files. */
size_t volume_set_seen(const struct volume_set *s, const struct volume_seen **out);
/* Every byte of the volumes that are there, on all cores: what is damaged counts as missing from now on. GS_E_STOPPED,
 * GS_E_IO ... */
int volume_set_verify(struct volume_set *s, unsigned threads, const struct volume_progress *p,
                      struct gs_err *err) GS_MUST_USE;
/* Are there enough of them? GS_E_VOLUME_MISSING (22) naming those that lack; GS_E_VOLUME_DAMAGED (20) or the code of
 * the signature (21) when none is missing. */
int volume_set_enough(const struct volume_set *s, struct gs_err *err) GS_MUST_USE;
/* The file that was divided, at any offset and for several threads; it owns the set, also when this fails. */
int volume_set_source(struct volume_set *s, struct gs_source *out, struct gs_err *err) GS_MUST_USE;
/* Writes volume `number` anew at `path`, which must not exist: the same bytes as the first time. */
int volume_set_rebuild(struct volume_set *s, unsigned number, const char *path, const struct volume_progress *p,
                       struct gs_err *err) GS_MUST_USE;

#endif
