#include "libexport/book.h"

#include "libcommon/json.h"
#include "libexport/idset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 10)
#define MAX_CHANGES 10000 /* that are kept for reports; the ledger names all */

struct missing {
    int64_t group_id;
    char relation[64], rule[64];
    char *detail; /* NULL: none */
};

struct book {
    struct bundle_writer *w;
    book_record_fn *record;
    void *record_cookie;
    struct marks *marks;
    struct gs_buf line;
    struct book_rule_sum *rules;
    size_t n_rules, cap_rules;
    struct book_relation_sum *rels;
    size_t n_rels, cap_rels;
    uint64_t records, changed, missing, fallbacks;
    struct idset changed_at, gone; /* place() of a relation in a group; ids of groups */
    struct book_change *changes;
    size_t n_changes, cap_changes;
    unsigned pass;
    const struct book_change *settled;
    size_t n_settled;
    struct book_gap *gaps;
    size_t n_gaps, cap_gaps;
    struct missing *lost; /* what could not be read */
    struct reasons reasons;
    size_t n_lost, cap_lost;
};

/* A number for a relation in a group, for a set of them. Two that share one are as good as impossible. */
static int64_t place(int64_t group_id, const char *relation)
{
    uint64_t h = 14695981039346656037u ^ (uint64_t)group_id * 0x9e3779b97f4a7c15u;
    for (; *relation; relation++)
        h = (h ^ (unsigned char)*relation) * 1099511628211u;
    return (int64_t)(h >> 1) | 1;
}

int book_new(struct bundle_writer *w, struct book **out, struct gs_err *err)
{
    struct book *b = calloc(1, sizeof *b);
    if (!b)
        return gs_fail(err, GS_E_NOMEM, "no memory for the books");
    b->w = w;
    gs_buf_init(&b->line, LINE_MAX_BYTES);
    idset_init(&b->changed_at);
    idset_init(&b->gone);
    *out = b;
    return 0;
}

void book_free(struct book *b)
{
    if (!b)
        return;
    gs_buf_release(&b->line);
    free(b->rules);
    free(b->rels);
    idset_release(&b->changed_at);
    idset_release(&b->gone);
    marks_free(b->marks);
    free(b->changes);
    free(b->gaps);
    for (size_t i = 0; i < b->n_lost; i++)
        free(b->lost[i].detail);
    free(b->lost);
    reasons_release(&b->reasons);
    free(b);
}

void book_unwatch(struct book *b)
{
    marks_free(b->marks);
    b->marks = NULL;
}

void book_on_record(struct book *b, book_record_fn *fn, void *cookie)
{
    b->record = fn;
    b->record_cookie = cookie;
}

int book_record(struct book *b, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err)
{
    return b->record ? b->record(b->record_cookie, group, relation, json, len, err) : 0;
}

struct bundle_writer *book_writer(const struct book *b)
{
    return b->w;
}

static int post(struct book *b, struct gs_err *err)
{
    int r = bundle_writer_ledger(b->w, gs_buf_str(&b->line), b->line.len, err);
    gs_buf_reset(&b->line);
    return r;
}

int book_watch(struct book *b, struct gs_err *err)
{
    return b->marks ? 0 : marks_new(&b->marks, err);
}

struct marks *book_marks(const struct book *b)
{
    return b->marks;
}

int book_watermark(struct book *b, int64_t group_id, const char *relation, uint64_t records, int64_t highest_id,
                   int64_t newest_s, const char *seen, struct gs_err *err)
{
    return ledger_watermark_line(group_id, relation, records, highest_id, newest_s, seen, &b->line, err) ? -1 : post(b, err);
}

int book_capture(struct book *b, const struct ledger_capture *c, struct gs_err *err)
{
    return ledger_capture_line(c, &b->line, err) ? -1 : post(b, err);
}

int book_fetch(struct book *b, const struct ledger_fetch *f, struct gs_err *err)
{
    return ledger_fetch_line(f, &b->line, err) ? -1 : post(b, err);
}

static struct book_relation_sum *relation_sum(struct book *b, const char *relation, struct gs_err *err)
{
    for (size_t i = 0; i < b->n_rels; i++)
        if (strcmp(b->rels[i].relation, relation) == 0)
            return &b->rels[i];
    if (gs_array_grow((void **)&b->rels, &b->cap_rels, b->n_rels, sizeof *b->rels, err))
        return NULL;
    struct book_relation_sum *s = &b->rels[b->n_rels++];
    *s = (struct book_relation_sum){0};
    snprintf(s->relation, sizeof s->relation, "%s", relation);
    return s;
}

static int balance_line(struct book *b, int64_t group_id, const char *relation, int64_t announced, uint64_t stored,
                        uint64_t left_out, struct gs_err *err)
{
    return ledger_relation_line(group_id, relation, announced, stored, left_out, &b->line, err) ? -1 : post(b, err);
}

int book_relation(struct book *b, int64_t group_id, const char *relation, int64_t announced, uint64_t stored,
                  uint64_t left_out, uint64_t raw_bytes, struct gs_err *err)
{
    if (announced < 0 || (uint64_t)announced == stored + left_out) {
        if (balance_line(b, group_id, relation, announced, stored, left_out, err))
            return -1;
    } else {
        if (gs_array_grow((void **)&b->gaps, &b->cap_gaps, b->n_gaps, sizeof *b->gaps, err))
            return -1;
        struct book_gap *g = &b->gaps[b->n_gaps++];
        *g = (struct book_gap){
            .group_id = group_id, .announced = announced, .stored = stored, .left_out = left_out};
        snprintf(g->relation, sizeof g->relation, "%s", relation);
    }
    if (stored == 0 || strcmp(relation, "subgroups") == 0) /* groups are no records of their own */
        return 0;
    struct book_relation_sum *s = relation_sum(b, relation, err);
    if (!s)
        return -1;
    s->records += stored;
    s->groups++;
    s->raw_bytes += raw_bytes;
    b->records += stored;
    return 0;
}

static int rule_entry(struct book *b, bool lost, int64_t group_id, const char *relation, const char *rule,
                      const char *what, uint64_t count, const char *detail, struct gs_err *err)
{
    const struct ledger_rule *r = ledger_rule_find(rule);
    if (!r)
        return gs_fail(err, GS_E_INTERNAL, "the ledger has no rule '%s'", rule);
    if (ledger_rule_line(lost ? "lost" : "left_out", group_id, relation, rule, what, count, detail, &b->line, err) ||
        post(b, err))
        return -1;
    struct book_rule_sum *s = NULL;
    for (size_t i = 0; i < b->n_rules && !s; i++)
        if (b->rules[i].lost == lost && strcmp(b->rules[i].rule, rule) == 0)
            s = &b->rules[i];
    if (!s) {
        if (gs_array_grow((void **)&b->rules, &b->cap_rules, b->n_rules, sizeof *b->rules, err))
            return -1;
        s = &b->rules[b->n_rules++];
        *s = (struct book_rule_sum){.text = r->text, .lost = lost};
        snprintf(s->rule, sizeof s->rule, "%s", rule);
    }
    s->count += count;
    s->lines++;
    s->unknown += count == 0;
    return 0;
}

int book_lost(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *what, uint64_t count,
              const char *detail, struct gs_err *err)
{
    return rule_entry(b, true, group_id, relation, rule, what, count, detail, err) ||
                   (reasons_is_unread(true, rule) && reasons_unread(&b->reasons, relation, rule, count, detail, err))
               ? -1
               : 0;
}

int book_left_out(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *what,
                  uint64_t count, const char *detail, struct gs_err *err)
{
    return rule_entry(b, false, group_id, relation, rule, what, count, detail, err) ||
                   (reasons_is_unread(false, rule) && reasons_unread(&b->reasons, relation, rule, count, detail, err))
               ? -1
               : 0;
}

int book_missing(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *detail,
                 struct gs_err *err)
{
    if (!ledger_rule_find(rule))
        return gs_fail(err, GS_E_INTERNAL, "the ledger has no rule '%s'", rule);
    if (gs_array_grow((void **)&b->lost, &b->cap_lost, b->n_lost, sizeof *b->lost, err))
        return -1;
    struct missing *m = &b->lost[b->n_lost];
    *m = (struct missing){.group_id = group_id, .detail = detail ? strdup(detail) : NULL};
    if (detail && !m->detail)
        return gs_fail(err, GS_E_NOMEM, "no memory for the books");
    snprintf(m->relation, sizeof m->relation, "%s", relation);
    snprintf(m->rule, sizeof m->rule, "%s", rule);
    b->n_lost++;
    b->missing++;
    return reasons_is_unread(true, rule) ? reasons_unread(&b->reasons, relation, rule, 0, detail, err) : 0;
}

void book_incomplete(struct book *b, uint64_t records)
{
    b->missing += records;
}

int book_fallback(struct book *b, int64_t group_id, const char *relation, const char *from, const char *to,
                  const char *why, struct gs_err *err)
{
    b->fallbacks++;
    return reasons_fallback(&b->reasons, relation, from, to, why, err) ||
                   ledger_fallback_line(group_id, relation, from, to, why, &b->line, err)
               ? -1
               : post(b, err);
}

int book_changed(struct book *b, int64_t group_id, const char *relation, const char *before, const char *after,
                 struct gs_err *err)
{
    bool is_new;
    if (idset_add(&b->changed_at, place(group_id, relation), &is_new, err))
        return -1;
    if (!is_new)
        return 0;
    b->changed++;
    if (b->n_changes < MAX_CHANGES) {
        if (gs_array_grow((void **)&b->changes, &b->cap_changes, b->n_changes, sizeof *b->changes, err))
            return -1;
        struct book_change *c = &b->changes[b->n_changes++];
        *c = (struct book_change){.group_id = group_id};
        snprintf(c->relation, sizeof c->relation, "%s", relation);
        snprintf(c->before, sizeof c->before, "%s", before);
        snprintf(c->after, sizeof c->after, "%s", after);
    }
    return ledger_changed_line(group_id, relation, before, after, &b->line, err) ? -1 : post(b, err);
}

int book_pass(struct book *b, unsigned pass, const struct book_change *settled, size_t n, struct gs_err *err)
{
    b->pass = pass;
    b->settled = settled;
    b->n_settled = n;
    for (size_t i = 0; i < n; i++)
        if (ledger_settled_line(settled[i].group_id, settled[i].relation, settled[i].pass, settled[i].before,
                                settled[i].after, &b->line, err) ||
            post(b, err))
            return -1;
    return 0;
}

bool book_has_changed(const struct book *b, int64_t group_id, const char *relation)
{
    return idset_has(&b->changed_at, place(group_id, relation));
}

/* ---- what waits for the end ---- */

int book_gone(struct book *b, int64_t group_id, struct gs_err *err)
{
    bool is_new;
    return idset_add(&b->gone, group_id, &is_new, err);
}

size_t book_gaps(struct book *b, struct book_gap **out)
{
    *out = b->gaps;
    return b->n_gaps;
}

static int close_missing(struct book *b, const struct missing *m, struct gs_err *err)
{
    if (!idset_has(&b->gone, m->group_id))
        return rule_entry(b, true, m->group_id, m->relation, m->rule, NULL, 0, m->detail, err);
    b->missing--;
    reasons_take_back(&b->reasons, m->relation, m->rule, m->detail);
    return rule_entry(b, true, m->group_id, m->relation, "source-changed", NULL, 0, m->detail, err);
}

static int close_gap(struct book *b, struct book_gap *g, struct gs_err *err)
{
    uint64_t came = g->stored + g->left_out, announced = (uint64_t)g->announced;
    char before[64], after[64];
    if (g->confirmed && announced > came && !book_has_changed(b, g->group_id, g->relation)) {
        uint64_t hidden = announced - came;
        if (rule_entry(b, false, g->group_id, g->relation, "truncated-by-server", NULL, hidden, NULL, err))
            return -1;
        b->missing++;
        g->left_out += hidden;
    } else {
        snprintf(before, sizeof before, "%" PRIu64 " announced", announced);
        snprintf(after, sizeof after, "%" PRIu64 " came", came);
        if (book_changed(b, g->group_id, g->relation, before, after, err))
            return -1;
    }
    return balance_line(b, g->group_id, g->relation, g->announced, g->stored, g->left_out, err);
}

int book_close(struct book *b, struct gs_err *err)
{
    for (size_t i = 0; i < b->n_gaps; i++)
        if (close_gap(b, &b->gaps[i], err))
            return -1;
    for (size_t i = 0; i < b->n_lost; i++) {
        if (close_missing(b, &b->lost[i], err))
            return -1;
        free(b->lost[i].detail);
    }
    b->n_gaps = b->n_lost = 0;
    return 0;
}

static int by_relation(const void *a, const void *b)
{
    return strcmp(((const struct book_relation_sum *)a)->relation, ((const struct book_relation_sum *)b)->relation);
}

static int by_rule(const void *a, const void *b)
{
    const struct book_rule_sum *x = a, *y = b;
    if (x->lost != y->lost)
        return x->lost ? -1 : 1;
    return strcmp(x->rule, y->rule);
}

void book_summary(struct book *b, struct book_summary *out)
{
    if (b->n_rels > 1)
        qsort(b->rels, b->n_rels, sizeof *b->rels, by_relation);
    if (b->n_rules > 1)
        qsort(b->rules, b->n_rules, sizeof *b->rules, by_rule);
    reasons_sort(&b->reasons);
    *out = (struct book_summary){
        .rules = b->rules,
        .n_rules = b->n_rules,
        .relations = b->rels,
        .n_relations = b->n_rels,
        .records = b->records,
        .changed = b->changed,
        .changes = b->changes,
        .n_changes = b->n_changes,
        .passes = b->pass,
        .settled = b->settled,
        .n_settled = b->n_settled,
        .missing = b->missing,
        .fallbacks = b->fallbacks,
        .reasons = b->reasons.v,
        .n_reasons = b->reasons.n,
    };
}
