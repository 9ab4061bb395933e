#include "libexport/book.h"

#include "libcommon/json.h"

#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)64 << 10)

struct book {
    struct bundle_writer *w;
    struct gs_buf line;
    struct book_rule_sum *rules;
    size_t n_rules, cap_rules;
    struct book_relation_sum *rels;
    size_t n_rels, cap_rels;
    uint64_t records, changed, missing, fallbacks;
};

int book_new(struct bundle_writer *w, struct book **out, struct gs_err *err)
{
    struct book *b = calloc(1, sizeof *b);
    if (!b)
        return gs_fail(err, GS_E_NOMEM, "no memory for the books");
    b->w = w;
    gs_buf_init(&b->line, LINE_MAX_BYTES);
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
    free(b);
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

int book_fetch(struct book *b, const struct ledger_fetch *f, struct gs_err *err)
{
    return ledger_fetch_line(f, &b->line, err) ? -1 : post(b, err);
}

static struct book_relation_sum *relation_sum(struct book *b, const char *relation, struct gs_err *err)
{
    for (size_t i = 0; i < b->n_rels; i++)
        if (strcmp(b->rels[i].relation, relation) == 0)
            return &b->rels[i];
    if (b->n_rels == b->cap_rels) {
        size_t cap = b->cap_rels ? b->cap_rels * 2 : 16;
        struct book_relation_sum *v = realloc(b->rels, cap * sizeof *v);
        if (!v) {
            gs_fail(err, GS_E_NOMEM, "no memory for the books");
            return NULL;
        }
        b->rels = v;
        b->cap_rels = cap;
    }
    struct book_relation_sum *s = &b->rels[b->n_rels++];
    *s = (struct book_relation_sum){0};
    snprintf(s->relation, sizeof s->relation, "%s", relation);
    return s;
}

int book_relation(struct book *b, int64_t group_id, const char *relation, int64_t announced, uint64_t stored,
                  uint64_t left_out, uint64_t raw_bytes, struct gs_err *err)
{
    if (ledger_relation_line(group_id, relation, announced, stored, left_out, &b->line, err) || post(b, err))
        return -1;
    if (stored == 0)
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
        if (b->n_rules == b->cap_rules) {
            size_t cap = b->cap_rules ? b->cap_rules * 2 : 16;
            struct book_rule_sum *v = realloc(b->rules, cap * sizeof *v);
            if (!v)
                return gs_fail(err, GS_E_NOMEM, "no memory for the books");
            b->rules = v;
            b->cap_rules = cap;
        }
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
    return rule_entry(b, true, group_id, relation, rule, what, count, detail, err);
}

int book_left_out(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *what,
                  uint64_t count, const char *detail, struct gs_err *err)
{
    return rule_entry(b, false, group_id, relation, rule, what, count, detail, err);
}

int book_missing(struct book *b, int64_t group_id, const char *relation, const char *rule, const char *detail,
                 struct gs_err *err)
{
    b->missing++;
    return rule_entry(b, true, group_id, relation, rule, NULL, 0, detail, err);
}

/* Keys in the order of their bytes, like all lines of the ledger. */

int book_fallback(struct book *b, int64_t group_id, const char *relation, const char *from, const char *to,
                  const char *why, struct gs_err *err)
{
    b->fallbacks++;
    struct gs_jw w;
    gs_jw_init(&w, &b->line, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "entry", "fallback");
    gs_jw_kstr(&w, "from", from);
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_kstr(&w, "to", to);
    gs_jw_kstr(&w, "why", why);
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : post(b, err);
}

int book_changed(struct book *b, int64_t group_id, const char *relation, const char *before, const char *after,
                 struct gs_err *err)
{
    b->changed++;
    struct gs_jw w;
    gs_jw_init(&w, &b->line, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "after", after);
    gs_jw_kstr(&w, "before", before);
    gs_jw_kstr(&w, "entry", "changed");
    gs_jw_ki64(&w, "group", group_id);
    gs_jw_kstr(&w, "relation", relation);
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? -1 : post(b, err);
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
    *out = (struct book_summary){
        .rules = b->rules,
        .n_rules = b->n_rules,
        .relations = b->rels,
        .n_relations = b->n_rels,
        .records = b->records,
        .changed = b->changed,
        .missing = b->missing,
        .fallbacks = b->fallbacks,
    };
}
