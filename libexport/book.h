/*
 * book: the ledger of a capture while it is made, and its sums for the report at the end.
 *
 * book_new() -> book_fetch(), book_relation() ... in any order -> book_close() -> book_summary() -> book_free(). Every call writes
 * one line into the bundle's ledger at once (the writer sorts them), and adds to the sums. Two things wait for book_close(), since
 * only the end of a capture tells what they mean: what could not be read, and balances that do not add up.
 */
#ifndef EXPORT_BOOK_H
#define EXPORT_BOOK_H

#include "formats/bundle.h"
#include "formats/ledger.h"
#include "formats/reasons.h"
#include "libcommon/cleanup.h"
#include "libexport/marks.h"

struct book_rule_sum {
    char rule[64];
    const char *text;  /* of the rule, for people */
    bool lost;         /* poorer than at the source; false: left out on purpose */
    uint64_t count;    /* records or values */
    uint64_t lines;    /* entries of the ledger */
    uint64_t unknown;  /* of these, entries that could not say a number */
};

struct book_relation_sum {
    char relation[64];
    uint64_t records, groups, raw_bytes;
};

/* A relation that changed at the source while it was read. */
struct book_change {
    int64_t group_id;
    char relation[64];
    char before[96], after[160];
    unsigned pass; /* after which it was found, from 1; 0 while that is not told */
};

/* A balance that does not add up so far. */
struct book_gap {
    int64_t group_id;
    char relation[64];
    int64_t announced;
    uint64_t stored, left_out;
    bool confirmed; /* the server still announces that much, and still gives what it gave */
};

/* Valid until the book is freed. */
struct book_summary {
    const struct book_rule_sum *rules;
    size_t n_rules;
    const struct book_relation_sum *relations;
    size_t n_relations;
    uint64_t records;
    uint64_t changed;   /* relations of groups that changed at the source meanwhile */
    const struct book_change *changes; /* the first of them, in order of their discovery */
    size_t n_changes;
    unsigned passes;    /* how often the source was read; 0: no source is read twice */
    const struct book_change *settled; /* found after an earlier pass, and read again */
    size_t n_settled;
    uint64_t missing;   /* groups and relations that could not be read at all */
    uint64_t fallbacks;
    const struct reason *reasons; /* of fallbacks, and of what was not read at all */
    size_t n_reasons;
};

struct book;

int book_new(struct bundle_writer *w, struct book **out, struct gs_err *err) GS_MUST_USE;
void book_free(struct book *b);
GS_DEFINE_AUTO(book, book_free);
struct bundle_writer *book_writer(const struct book *b);

/* From here on marks are taken of all records that a look after the capture can be compared with. */
int book_watch(struct book *b, struct gs_err *err) GS_MUST_USE;
/* Every record that a sink stores is shown to this function as well. */
typedef int book_record_fn(void *cookie, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err);
void book_on_record(struct book *b, book_record_fn *fn, void *cookie);
int book_record(struct book *b, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
struct marks *book_marks(const struct book *b); /* NULL: none are taken */
void book_unwatch(struct book *b);              /* and none are needed any more */
int book_watermark(struct book *b, int64_t group_id, const char *relation, uint64_t records, int64_t highest_id,
                   int64_t newest_s, const char *seen, struct gs_err *err) GS_MUST_USE;
int book_capture(struct book *b, const struct ledger_capture *c, struct gs_err *err) GS_MUST_USE;
int book_fetch(struct book *b, const struct ledger_fetch *f, struct gs_err *err) GS_MUST_USE;
/* The balance of one relation of one group; adds to the sums of the relation. announced -1: nobody said. One that does not add
 * up waits for book_close(). */
int book_relation(struct book *b, int64_t group_id, const char *relation, int64_t announced, uint64_t stored,
                  uint64_t left_out, uint64_t raw_bytes, struct gs_err *err) GS_MUST_USE;
/* count 0: not known. `what` and `detail` may be NULL. */
int book_lost(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *what, uint64_t count,
              const char *detail, struct gs_err *err) GS_MUST_USE;
int book_left_out(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *what,
                  uint64_t count, const char *detail, struct gs_err *err) GS_MUST_USE;
/* A whole group or relation that could not be read: a loss that makes the capture incomplete (exit code 3); unless the group turns
 * out to be gone (book_gone()), which is a change of the source. */
int book_missing(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *detail,
                 struct gs_err *err) GS_MUST_USE;
/* So many records exist and are not carried, which left_out lines name: exit code 3 like book_missing(). */
void book_incomplete(struct book *b, uint64_t records);
int book_fallback(struct book *b, int64_t group_id, const char *relation, const char *from, const char *to,
                  const char *why, struct gs_err *err) GS_MUST_USE;
/* Once for each relation of each group: what is said first stands. */
int book_changed(struct book *b, int64_t group_id, const char *relation, const char *before, const char *after,
                 struct gs_err *err) GS_MUST_USE;
/* This is pass number `pass`, and these had moved after earlier ones: a line for each. The list lives as long as the book. */
int book_pass(struct book *b, unsigned pass, const struct book_change *settled, size_t n, struct gs_err *err) GS_MUST_USE;
bool book_has_changed(const struct book *b, int64_t group_id, const char *relation);
/* The group does not exist any more: that it could not be read is no loss. */
int book_gone(struct book *b, int64_t group_id, struct gs_err *err) GS_MUST_USE;
/* Balances that wait, for whoever can find out more about them. Valid until the next call of the book. */
size_t book_gaps(struct book *b, struct book_gap **out);
/* Writes what waits. A gap is confirmed (records that the server announces and does not give: a loss), or the source changed. */
int book_close(struct book *b, struct gs_err *err) GS_MUST_USE;

/* Sums so far, rules and relations in a fixed order. */
void book_summary(struct book *b, struct book_summary *out);

#endif
