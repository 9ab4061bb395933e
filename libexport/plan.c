#include "libexport/plan.h"

#include <stdlib.h>
#include <string.h>

void plan_init(struct plan *p)
{
    *p = (struct plan){0};
    idset_init(&p->ids);
}

void plan_release(struct plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->v[i].full_path);
    free(p->v);
    idset_release(&p->ids);
    *p = (struct plan){0};
}

int plan_add(struct plan *p, int64_t id, int64_t parent_id, const char *full_path, bool *out_new, struct gs_err *err)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        struct plan_group *v = realloc(p->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", cap);
        p->v = v;
        p->cap = cap;
    }
    if (idset_add(&p->ids, id, out_new, err))
        return -1;
    if (!*out_new)
        return 0;
    struct plan_group *g = &p->v[p->n];
    *g = (struct plan_group){.id = id, .parent_id = parent_id, .full_path = strdup(full_path)};
    if (!g->full_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for the path of a group");
    for (const char *s = full_path; *s; s++)
        g->depth += *s == '/';
    p->n++;
    return 0;
}

static int by_tree(const void *a, const void *b)
{
    const struct plan_group *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth < y->depth ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void plan_order(struct plan *p)
{
    if (p->n > 1)
        qsort(p->v, p->n, sizeof *p->v, by_tree);
}
