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

/* What a hook makes of a difference that would count (struct diff_hooks). */
enum diff_verdict {
    DIFF_COUNTS = 0,
    DIFF_LOST,    /* known and explained by a rule: the record was left out, or carried without this */
    DIFF_REFUSED, /* the other side refused the record, which is known by name */
    DIFF_BESIDE,  /* of an extra one: it is there for a reason of its own */
};

struct diff_item {
    enum diff_kind kind;
    const char *group;    /* path below the root, "" for the root itself */
    const char *relation; /* "groups" for a whole group, "avatar" and "uploads" for files */
    const char *key;      /* natural key as text; with hooks, of a record of the first bundle as it stands there */
    const char *key_b;    /* the key in the form that the second bundle would have it in */
    const char *attr;     /* of DIFF_DIFFERS; "parent" of a whole group that stands elsewhere in the tree */
    const char *where;    /* the attribute, or the one place inside it that differs: "lists[2].max_issue_count", "lists order" */
    enum rel_class cls;   /* of the attribute: only REL_VALUE counts as a difference */
    bool unread;          /* of the other kinds: the other capture did not read this relation, so it says nothing; set aside */
    bool with_group;      /* of the other kinds: its whole group stands on one side only, which was told before */
    const char *a, *b;    /* canonical JSON of both values; NULL where there is none */
    const char *record_a; /* of DIFF_DIFFERS, with the hook `judge`: the record of the first bundle as it was captured, as JSON; else NULL */
    int64_t group_a, group_b, id_a, id_b; /* of the group and the record on either side; 0: not there, or not known */
    /* written by the hook `judge` */
    enum diff_verdict verdict;
    const char *rule, *why; /* code and words of what explains it; live until the next call of a hook */
};

struct diff_relation {
    char relation[64];
    uint64_t a, b;        /* records */
    uint64_t equal;       /* pairs without any difference of class REL_VALUE */
    uint64_t differs, missing, extra;
    uint64_t set_aside;   /* attributes that differ and do not count, records of what the other capture did not read */
    uint64_t unread;      /* of these, records of the first bundle */
    /* records by the verdict of a hook: equal but for what a rule explains, missing by a rule, missing as refused, extra beside */
    uint64_t lost_part, lost_whole, refused, beside;
};

/*
 * What somebody knows who compares a bundle with what became of it. Any of them may be NULL. Called on the thread of diff_run(), in a
 * fixed order: counted() of a group's relation after everything that is told of it.
 */
struct diff_hooks {
    void *cookie;
    /* Adds to a record as it lies in the bundle (JSON, replaced) what is known of it besides, before its content is taken. May be NULL. */
    int (*complete)(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *json, struct gs_err *err);
    /* These four go together; without them two bundles are compared as they are. */
    /* Which group of the second bundle is this one of the first? Its id, or 0 when that is not known; *out_path: its full path there,
     * which decides when the id is 0 or not in the bundle, NULL: the path below the root decides. */
    int64_t (*twin)(void *cookie, const struct bundle_group *g, const char **out_path);
    /* Brings the content of a record (shape_content()) into the form in which both sides are alike; replaces `norm`. `second`: of the second
     * bundle. With this hook nothing but content is compared: what only a server sets is not even named. */
    int (*reshape)(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err);
    /* Id in the second bundle of a record of the first; 0: not known. For records whose key the other side does not have. */
    int64_t (*record)(void *cookie, int64_t group, const char *relation, int64_t id, const char *own_key);
    /* A setting that the first bundle says nothing of, and the second one does (i->b): is that more than what holds without saying, so
     * that it counts as a difference? NULL: it never does. */
    int (*unsaid)(void *cookie, const struct diff_item *i, bool *out, struct gs_err *err);
    /* Gives i->verdict, rule and why. */
    int (*judge)(void *cookie, struct diff_item *i, struct gs_err *err);
    /* The sums of one relation of one group. `group_a` or `group_b` 0: it is not there. */
    int (*counted)(void *cookie, const char *group, int64_t group_a, int64_t group_b, const struct diff_relation *r, struct gs_err *err);
};

struct digests;

struct diff_opts {
    bool ignore_times;    /* times that the server sets are not even named */
    const char *const *ignore; /* attributes that are not compared: "name" or "relation.name" */
    size_t n_ignore;
    const volatile int *stop;
    /* Called for every difference, in a fixed order; -1 ends the comparison. */
    int (*item)(void *cookie, const struct diff_item *i, struct gs_err *err);
    void *cookie;
    const struct diff_hooks *hooks; /* NULL: none */
    /* Sums of both bundles, made with the same hooks (libexport/digests.h): relations of which they are the same are not read. NULL: none. */
    const struct digests *sums_a, *sums_b;
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
