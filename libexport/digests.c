#include "libexport/digests.h"

#include "formats/shape.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define LANES 4
#define RECORD_MAX ((size_t)256 << 20)

static const char *const wanted[] = {"labels", "milestones", "badges", "members"};

struct sum {
    int64_t group;
    unsigned relation; /* place in wanted[] */
    bool other;        /* a record that content does not tell from others is among them */
    uint64_t n, lanes[LANES];
};

struct digests {
    const struct diff_hooks *hooks;
    bool second;
    struct sum *v; /* open addressing; n 0: free */
    size_t cap, used;
    struct gs_buf norm, json;
};

int digests_new(const struct diff_hooks *hooks, bool second, struct digests **out, struct gs_err *err)
{
    struct digests *d = calloc(1, sizeof *d);
    if (!d)
        return gs_fail(err, GS_E_NOMEM, "no memory for digests");
    d->hooks = hooks;
    d->second = second;
    gs_buf_init(&d->norm, RECORD_MAX);
    gs_buf_init(&d->json, RECORD_MAX);
    *out = d;
    return 0;
}

void digests_free(struct digests *d)
{
    if (!d)
        return;
    gs_buf_release(&d->norm);
    gs_buf_release(&d->json);
    free(d->v);
    free(d);
}

static int place(const char *relation)
{
    for (unsigned i = 0; i < GS_COUNT(wanted); i++)
        if (strcmp(wanted[i], relation) == 0)
            return (int)i;
    return -1;
}

bool digests_wanted(const char *relation)
{
    return place(relation) >= 0;
}

static struct sum *look(const struct digests *d, int64_t group, unsigned relation)
{
    uint64_t h = ((uint64_t)group * GS_COUNT(wanted) + relation) * 0x9e3779b97f4a7c15u;
    for (size_t i = h >> 20;; i++) {
        struct sum *s = &d->v[i & (d->cap - 1)];
        if (s->n == 0 || (s->group == group && s->relation == relation))
            return s;
    }
}

static int grow(struct digests *d, struct gs_err *err)
{
    struct sum *old = d->v;
    size_t n = d->cap;
    if (2 * (d->used + 1) <= d->cap)
        return 0;
    d->cap = n ? 2 * n : 64;
    d->v = calloc(d->cap, sizeof *d->v);
    if (!d->v) {
        d->v = old;
        d->cap = n;
        return gs_fail(err, GS_E_NOMEM, "no memory for digests");
    }
    for (size_t i = 0; i < n; i++)
        if (old[i].n)
            *look(d, old[i].group, old[i].relation) = old[i];
    free(old);
    return 0;
}

int digests_add(struct digests *d, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err)
{
    uint64_t hash[LANES];
    int at = place(relation);
    if (at < 0)
        return 0;
    gs_buf_reset(&d->norm);
    if (grow(d, err) || shape_content(relation, json, len, &d->norm, err) ||
        d->hooks->reshape(d->hooks->cookie, d->second, group, relation, &d->norm, err))
        return -1;
    struct sum *s = look(d, group, (unsigned)at);
    d->used += s->n == 0;
    s->group = group;
    s->relation = (unsigned)at;
    s->n++;
    /* an invitation by mail has no user, and its address is no content */
    s->other |= strcmp(relation, "members") == 0 && !strstr(gs_buf_str(&d->norm), "\"user\":");
    crypto_generichash((unsigned char *)hash, sizeof hash, (const unsigned char *)gs_buf_str(&d->norm), d->norm.len, NULL, 0);
    for (unsigned i = 0; i < LANES; i++)
        s->lanes[i] += hash[i];
    return 0;
}

static int add_relation(struct digests *d, struct bundle *b, int64_t group, const char *relation, const volatile int *stop, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    if (bundle_count(b, group, relation) == 0)
        return 0;
    if (bundle_cursor_open(b, group, relation, &c, err))
        return -1;
    while (!stop || !*stop) {
        const void *data;
        size_t len;
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            return 0;
        gs_buf_reset(&d->json);
        if (record_to_json(bundle_encoding(b), data, len, NULL, &d->json, err) ||
            digests_add(d, group, relation, gs_buf_str(&d->json), d->json.len, err))
            return -1;
    }
    return 0;
}

int digests_add_bundle(struct digests *d, struct bundle *b, const volatile int *stop, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < GS_COUNT(wanted); k++)
            if (add_relation(d, b, g[i].id, wanted[k], stop, err))
                return gs_wrap(err, "%s of group '%s'", wanted[k], g[i].full_path);
    return 0;
}

bool digests_same(const struct digests *a, int64_t group_a, const struct digests *b, int64_t group_b, const char *relation, uint64_t *out_n)
{
    int at = place(relation);
    if (at < 0 || a->cap == 0 || b->cap == 0)
        return false;
    const struct sum *x = look(a, group_a, (unsigned)at), *y = look(b, group_b, (unsigned)at);
    *out_n = x->n;
    return x->n > 0 && x->n == y->n && !x->other && !y->other && memcmp(x->lanes, y->lanes, sizeof x->lanes) == 0;
}
