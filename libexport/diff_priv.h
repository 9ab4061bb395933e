/*
 * What the parts of the comparison share: diff_side.c knows where things lie in a bundle, diff_records.c compares the records of one
 * relation of one group, diff_tell.c counts and tells, diff_where.c finds the place inside a value, diff.c walks groups and files.
 */
#ifndef EXPORT_DIFF_PRIV_H
#define EXPORT_DIFF_PRIV_H

#include "libexport/diff.h"
#include "libexport/idset.h"

#define DIFF_RECORD_MAX ((size_t)256 << 20)
#define DIFF_HASH_LEN 16

/* One bundle: its groups by relative path, its members by group. */
struct side {
    struct bundle *b;
    struct node {
        const char *path; /* below the root */
        int64_t id;
        const struct bundle_group *group;
    } *groups;
    size_t n_groups;
    struct place {
        int64_t group;
        size_t member;
    } *places;
    size_t n_places;
    struct idset read; /* each relation that the ledger says was read */
    bool books;        /* the ledger says what was read */
    bool by_api;       /* captured over REST and GraphQL alone */
};

/* One record of the relation that is compared. */
struct entry {
    size_t key, key_len; /* in struct half.keys */
    int64_t id;          /* 0: not known, or not needed */
    uint8_t hash[DIFF_HASH_LEN];
    struct bundle_ref ref;
};

struct half {
    struct gs_buf keys;
    struct entry *v;
    size_t n, cap;
};

struct diff {
    struct side a, b;
    int64_t group_a, group_b; /* the group that is compared; 0: not there */
    const char *path;
    const struct diff_opts *o;
    const struct diff_hooks *h; /* never NULL */
    struct diff_result *r;
    struct half ha, hb;
    struct entry **left_a, **left_b; /* whose key the other side does not have */
    size_t n_left_a, n_left_b;
    struct idset ids_b;              /* of all records of the second side; with hooks */
    struct diff_relation now; /* the relation of the group that is compared */
    struct gs_buf raw, json, norm_a, norm_b, value_a, value_b, key, where, own;
};

/* ---- diff_side.c ---- */

int side_open(struct side *s, struct bundle *b, struct gs_err *err) GS_MUST_USE;
void side_close(struct side *s);
/* Members of one group: [*out_from, *out_to) of s->places. */
void side_members(const struct side *s, int64_t group, size_t *out_from, size_t *out_to);
/* Did this capture leave the relation alone? An avatar is asked for only where there is one. */
bool side_unread(const struct side *s, int64_t group, const char *relation);
/* What names a file inside its group: "avatar" has one, uploads are named by secret and file. */
const char *side_file_name(const struct bundle_member *m);
const struct bundle_member *side_find_file(const struct side *s, size_t from, size_t to, const char *name);

/* ---- diff_tell.c ---- */

/* d->now is of this relation from here on; diff_relation_end() adds it up. */
void diff_relation_begin(struct diff *d, const char *relation);
int diff_relation_end(struct diff *d, struct gs_err *err) GS_MUST_USE;
/* A record, group or file that stands on one side only, with key, id and the like filled in. */
int diff_one_sided(struct diff *d, struct diff_item *i, struct gs_err *err) GS_MUST_USE;
/* What became of one pair of records. */
struct diff_pair {
    bool counts, lost;
};
/* One attribute that is not the same on both sides. */
int diff_attribute(struct diff *d, struct diff_item *i, yyjson_val *va, yyjson_val *vb, struct diff_pair *out,
                   struct gs_err *err) GS_MUST_USE;
void diff_count_pair(struct diff *d, const struct diff_pair *p);

/* ---- diff_where.c ---- */

/* The place inside an attribute of a relation where the values part, as text; the attribute itself when there is more than one. */
int diff_where(const char *attr, yyjson_val *a, yyjson_val *b, struct gs_buf *out,
               struct gs_err *err) GS_MUST_USE;

/* ---- diff_records.c ---- */

int diff_records(struct diff *d, const char *relation, struct gs_err *err) GS_MUST_USE;

#endif
