/* Counting what is alike and what is not, and telling it. */
#include "libexport/diff_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void diff_relation_begin(struct diff *d, const char *relation)
{
    d->now = (struct diff_relation){0};
    snprintf(d->now.relation, sizeof d->now.relation, "%s", relation);
}

static struct diff_relation *sums(struct diff_result *r, const char *relation, struct gs_err *err)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->relations[i].relation, relation) == 0)
            return &r->relations[i];
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct diff_relation *v = realloc(r->relations, cap * sizeof *v);
        if (!v) {
            gs_fail(err, GS_E_NOMEM, "no memory for sums");
            return NULL;
        }
        r->relations = v;
        r->cap = cap;
    }
    struct diff_relation *s = &r->relations[r->n++];
    *s = (struct diff_relation){0};
    snprintf(s->relation, sizeof s->relation, "%s", relation);
    return s;
}

int diff_relation_end(struct diff *d, struct gs_err *err)
{
    const struct diff_relation *n = &d->now;
    struct diff_result *r = d->r;
    struct diff_relation *s = sums(r, n->relation, err);
    if (!s)
        return -1;
    s->a += n->a;
    s->b += n->b;
    s->equal += n->equal;
    s->differs += n->differs;
    s->missing += n->missing;
    s->extra += n->extra;
    s->set_aside += n->set_aside;
    s->unread += n->unread;
    s->lost_part += n->lost_part;
    s->lost_whole += n->lost_whole;
    s->refused += n->refused;
    s->beside += n->beside;
    r->differs += n->differs;
    r->missing += n->missing;
    r->extra += n->extra;
    r->set_aside += n->set_aside;
    return d->h->counted ? d->h->counted(d->h->cookie, d->path, d->group_a, d->group_b, n, err) : 0;
}

static int judge(struct diff *d, struct diff_item *i, struct gs_err *err)
{
    i->verdict = DIFF_COUNTS;
    return d->h->judge ? d->h->judge(d->h->cookie, i, err) : 0;
}

static int tell(struct diff *d, struct diff_item *i, struct gs_err *err)
{
    i->group = d->path;
    i->group_a = d->group_a;
    i->group_b = d->group_b;
    return d->o->item ? d->o->item(d->o->cookie, i, err) : 0;
}

int diff_one_sided(struct diff *d, struct diff_item *i, struct gs_err *err)
{
    struct diff_relation *s = &d->now;
    bool extra = i->kind == DIFF_EXTRA;
    i->group = d->path;
    i->group_a = d->group_a;
    i->group_b = d->group_b;
    i->relation = s->relation;
    i->with_group = strcmp(s->relation, "groups") != 0 && (d->group_a == 0 || d->group_b == 0);
    if (judge(d, i, err))
        return -1;
    i->unread = i->verdict == DIFF_COUNTS &&
                side_unread(extra ? &d->a : &d->b, extra ? d->group_a : d->group_b, s->relation);
    if (i->unread) {
        s->set_aside++;
        s->unread += !extra;
    } else if (extra) {
        *(i->verdict == DIFF_COUNTS ? &s->extra : &s->beside) += 1;
    } else {
        *(i->verdict == DIFF_LOST ? &s->lost_whole : i->verdict == DIFF_REFUSED ? &s->refused : &s->missing) += 1;
    }
    return tell(d, i, err);
}

static bool ignored(const struct diff *d, const char *relation, const char *attr)
{
    size_t n = strlen(relation);
    for (size_t i = 0; i < d->o->n_ignore; i++) {
        const char *s = d->o->ignore[i];
        if (strcmp(s, attr) == 0 || (strncmp(s, relation, n) == 0 && s[n] == '.' && strcmp(s + n + 1, attr) == 0))
            return true;
    }
    return false;
}

/*
 * What REST shows of a group is what holds there, inherited or not; an export shows what is set in the group itself. A hook that brings
 * records into one form has seen to that.
 */
static bool effective(const struct diff *d, const char *relation, const char *attr)
{
    return !d->h->reshape && d->a.by_api != d->b.by_api && strcmp(relation, "self") == 0 && strcmp(attr, "emails_enabled") == 0;
}

static const char *value_text(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    gs_buf_reset(out);
    return v && gs_json_canonical(v, out, err) == 0 ? gs_buf_str(out) : NULL;
}

int diff_attribute(struct diff *d, struct diff_item *i, yyjson_val *va, yyjson_val *vb, struct diff_pair *out, struct gs_err *err)
{
    const char *relation = d->now.relation;
    const struct relation *r = relation_find(relation);
    const struct rel_attr *a = r ? relation_attr(r, i->attr) : NULL;
    /* an attribute that is not in the table is like a setting: versions differ in what they have */
    i->cls = a ? a->cls : REL_SETTING;
    if (i->cls == REL_SETTING && va && vb && !effective(d, relation, i->attr))
        i->cls = REL_VALUE;
    if (i->cls == REL_INSTANCE || ignored(d, relation, i->attr) ||
        (d->o->ignore_times && i->cls != REL_VALUE && a && a->type == REL_TIME))
        return 0;
    i->relation = relation;
    i->group = d->path;
    i->group_a = d->group_a;
    i->group_b = d->group_b;
    i->a = value_text(va, &d->value_a, err);
    i->b = value_text(vb, &d->value_b, err);
    gs_buf_reset(&d->where);
    if ((va && !i->a) || (vb && !i->b) || diff_where(i->attr, va, vb, &d->where, err))
        return -1;
    i->where = gs_buf_str(&d->where);
    i->verdict = DIFF_COUNTS;
    bool counts = i->cls == REL_VALUE;
    if (i->cls == REL_SETTING && a && !va && vb && d->h->unsaid && d->h->unsaid(d->h->cookie, i, &counts, err))
        return -1;
    if (counts) {
        i->cls = REL_VALUE;
        if (judge(d, i, err))
            return -1;
        *(i->verdict == DIFF_COUNTS ? &out->counts : &out->lost) = true;
    } else {
        d->now.set_aside++;
    }
    return tell(d, i, err);
}

void diff_count_pair(struct diff *d, const struct diff_pair *p)
{
    *(p->counts ? &d->now.differs : p->lost ? &d->now.lost_part : &d->now.equal) += 1;
}
