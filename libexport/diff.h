/*
 * diff: compares the records of two bundles, group by group and relation by relation.
 *
 * Groups are matched by their path below the root, records by their natural key (formats/shape.h), equal ones are counted,
 * so that a record that stands there twice must stand there twice on the other side. What is in memory at a time is a key and
 * a digest per record of one relation of one group; records that differ are read a second time.
 */
#ifndef EXPORT_DIFF_H
#define EXPORT_DIFF_H

#include "formats/bundle.h"
#include "formats/relations.h"

enum diff_kind { DIFF_MISSING = 0, DIFF_EXTRA, DIFF_DIFFERS }; /* seen from the first bundle: not in the second, only there */

struct diff_item {
    enum diff_kind kind;
    const char *group;    /* path below the root, "" for the root itself */
    const char *relation; /* "groups" for a whole group, "avatar" and "uploads" for files */
    const char *key;      /* natural key as text */
    const char *attr;     /* of DIFF_DIFFERS */
    enum rel_class cls;   /* of the attribute: only REL_VALUE counts as a difference */
    bool unread;          /* of the other kinds: the other capture did not read this relation, so it says nothing; set aside */
    const char *a, *b;    /* canonical JSON of both values; NULL where there is none */
};

struct diff_relation {
    char relation[64];
    uint64_t a, b;        /* records */
    uint64_t equal;       /* pairs without any difference of class REL_VALUE */
    uint64_t differs, missing, extra;
    uint64_t set_aside;   /* attributes that differ and do not count, records of what the other capture did not read */
};

struct diff_opts {
    bool ignore_times;    /* times that the server sets are not even named */
    const char *const *ignore; /* attributes that are not compared: "name" or "relation.name" */
    size_t n_ignore;
    const volatile int *stop;
    /* Called for every difference, in a fixed order; -1 ends the comparison. */
    int (*item)(void *cookie, const struct diff_item *i, struct gs_err *err);
    void *cookie;
};

struct diff_result {
    struct diff_relation *relations; /* in the order of their names; freed by diff_result_release() */
    size_t n, cap;
    uint64_t differs, missing, extra, set_aside; /* sums; the first three 0: nothing differs */
};

int diff_run(struct bundle *a, struct bundle *b, const struct diff_opts *o, struct diff_result *out,
             struct gs_err *err) GS_MUST_USE;
void diff_result_release(struct diff_result *r);

#endif
