#include "libbooks/reconcile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
    const struct reconcile_opts *o;
    struct known *known;
    struct reconcile_result *out;
    int64_t last_id; /* of the target's group that was named last: rows come group by group */
    const char *last_path;
};

uint64_t books_loaded(const struct books_row *r)
{
    return r->equal + r->lost_part + r->differs;
}

uint64_t books_balance(const struct books_row *r)
{
    return r->differs + r->missing + r->unread + r->extra;
}

static void add(struct books_row *to, const struct books_row *r)
{
    to->captured += r->captured;
    to->equal += r->equal;
    to->lost_part += r->lost_part;
    to->lost_whole += r->lost_whole;
    to->refused += r->refused;
    to->differs += r->differs;
    to->missing += r->missing;
    to->unread += r->unread;
    to->extra += r->extra;
    to->beside += r->beside;
    to->set_aside += r->set_aside;
}

static struct books_row *sum_of(struct reconcile_result *r, const char *relation, struct gs_err *err)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->sums[i].relation, relation) == 0)
            return &r->sums[i];
    struct books_row *v = realloc(r->sums, (r->n + 1) * sizeof *v);
    if (!v) {
        gs_fail(err, GS_E_NOMEM, "no memory for sums");
        return NULL;
    }
    r->sums = v;
    v[r->n] = (struct books_row){0};
    snprintf(v[r->n].relation, sizeof v[r->n].relation, "%s", relation);
    return &v[r->n++];
}

static const char *target_path(struct run *x, int64_t id)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(x->o->target, &g);
    if (id == x->last_id)
        return x->last_path;
    x->last_id = id;
    x->last_path = NULL;
    for (size_t i = 0; i < n && !x->last_path; i++)
        if (g[i].id == id)
            x->last_path = g[i].full_path;
    return x->last_path;
}

static int counted(void *cookie, const char *group, int64_t group_a, int64_t group_b, const struct diff_relation *d, struct gs_err *err)
{
    struct run *x = cookie;
    const struct reconcile_opts *o = x->o;
    const struct grp *ours = group_a ? known_grp(x->known, group_a) : NULL;
    bool tree = strcmp(d->relation, "groups") == 0; /* its own record is the group; here only that it stands elsewhere counts */
    struct books_row r = {.group = ours ? ours->src_path : NULL,
                          .target_group = target_path(x, group_b),
                          .captured = d->a,
                          .equal = d->equal,
                          .lost_part = d->lost_part,
                          .lost_whole = d->lost_whole,
                          .refused = d->refused,
                          .differs = d->differs,
                          .missing = tree ? 0 : d->missing,
                          .unread = d->unread,
                          .extra = tree ? 0 : d->extra,
                          .beside = tree ? 0 : d->beside,
                          .set_aside = d->set_aside};
    snprintf(r.relation, sizeof r.relation, "%s", d->relation);
    if (tree && !d->differs)
        return 0;
    struct books_row *s = sum_of(x->out, d->relation, err);
    if (!s)
        return -1;
    add(s, &r);
    add(&x->out->total, &r);
    return o->row ? o->row(o->cookie, &r, err) : 0;
}

static int item(void *cookie, const struct diff_item *i, struct gs_err *err)
{
    struct run *x = cookie;
    bool value = i->kind != DIFF_DIFFERS || i->cls == REL_VALUE;
    if (i->with_group)
        return 0;
    x->out->findings += value && !i->unread && i->verdict == DIFF_COUNTS;
    return x->o->item ? x->o->item(x->o->cookie, i, err) : 0;
}

/* The hooks of known.h are called with what it knows, counted() with the run. */
static int64_t twin(void *cookie, const struct bundle_group *g, const char **out_path)
{
    return known_twin(((struct run *)cookie)->known, g, out_path);
}

static int64_t record(void *cookie, int64_t group, const char *relation, int64_t id, const char *own_key)
{
    return known_record(((struct run *)cookie)->known, group, relation, id, own_key);
}

static int complete(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *json, struct gs_err *err)
{
    return known_complete(((struct run *)cookie)->known, second, group, relation, json, err);
}

static int reshape(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err)
{
    return known_reshape(((struct run *)cookie)->known, second, group, relation, norm, err);
}

static int unsaid(void *cookie, const struct diff_item *i, bool *out, struct gs_err *err)
{
    return known_unsaid(((struct run *)cookie)->known, i, out, err);
}

static int judge(void *cookie, struct diff_item *i, struct gs_err *err)
{
    return known_judge(((struct run *)cookie)->known, i, err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct books_row *)a)->relation, ((const struct books_row *)b)->relation);
}

int reconcile_run(const struct reconcile_opts *o, struct reconcile_result *out, struct gs_err *err)
{
    GS_AUTO(known) k = NULL;
    struct diff_result sums = {0};
    *out = (struct reconcile_result){0};
    if (o->early ? early_end(o->early, &k, err) : known_open(o->state, o->bundle, o->target, o->loaded, &k, err))
        return -1;
    known_target(k, o->target);
    if (known_import(k, &o->native, err))
        return -1;
    struct run x = {.o = o, .known = k, .out = out};
    struct diff_hooks hooks = {.cookie = &x, .twin = twin, .complete = complete, .reshape = reshape, .record = record,
                               .unsaid = unsaid, .judge = judge, .counted = counted};
    struct diff_opts d = {.ignore = o->ignore, .n_ignore = o->n_ignore, .stop = o->stop, .item = item, .cookie = &x, .hooks = &hooks,
                           .sums_a = o->early ? early_sums(o->early, false) : NULL, .sums_b = o->early ? early_sums(o->early, true) : NULL};
    if (o->n_ignore) /* they say nothing of single attributes */
        d.sums_a = d.sums_b = NULL;
    int r = diff_run(o->bundle, o->target, &d, &sums, err);
    diff_result_release(&sums);
    out->placeholders = known_placeholders(k);
    if (out->n > 1)
        qsort(out->sums, out->n, sizeof *out->sums, by_name);
    return r;
}

void reconcile_release(struct reconcile_result *r)
{
    free(r->sums);
    *r = (struct reconcile_result){0};
}
