/* The walk over groups, their relations and their files. */
#include "libexport/diff_priv.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX ((size_t)4 << 30)

/* ---- files ---- */

static int compare_file(struct diff *d, const struct bundle_member *x, const struct bundle_member *y, struct gs_err *err)
{
    const struct bundle_member *m = x ? x : y;
    struct diff_item i = {.key = side_file_name(m)};
    diff_relation_begin(d, m->relation);
    d->now.a = x != NULL;
    d->now.b = y != NULL;
    if (!x || !y) {
        i.kind = x ? DIFF_MISSING : DIFF_EXTRA;
        return diff_one_sided(d, &i, err) || diff_relation_end(d, err) ? -1 : 0;
    }
    struct diff_pair p = {false, false};
    if (memcmp(x->digest, y->digest, BUNDLE_DIGEST_LEN) != 0) {
        char hex[2][2 * BUNDLE_DIGEST_LEN + 3];
        GS_AUTO(yyjson_doc) va = NULL;
        GS_AUTO(yyjson_doc) vb = NULL;
        for (int k = 0; k < 2; k++) {
            hex[k][0] = '"';
            sodium_bin2hex(hex[k] + 1, 2 * BUNDLE_DIGEST_LEN + 1, k ? y->digest : x->digest, BUNDLE_DIGEST_LEN);
            memcpy(hex[k] + 1 + 2 * BUNDLE_DIGEST_LEN, "\"", 2);
        }
        i.kind = DIFF_DIFFERS;
        i.attr = "content";
        if (gs_json_parse(hex[0], strlen(hex[0]), NULL, &va, err) || gs_json_parse(hex[1], strlen(hex[1]), NULL, &vb, err) ||
            diff_attribute(d, &i, yyjson_doc_get_root(va), yyjson_doc_get_root(vb), &p, err))
            return -1;
    }
    diff_count_pair(d, &p);
    return diff_relation_end(d, err);
}

static int compare_files(struct diff *d, size_t fa, size_t ta, size_t fb, size_t tb, struct gs_err *err)
{
    const struct bundle_member *ma, *mb;
    bundle_members(d->a.b, &ma);
    bundle_members(d->b.b, &mb);
    for (size_t i = fa; i < ta; i++) {
        const struct bundle_member *m = &ma[d->a.places[i].member];
        if (m->is_file && compare_file(d, m, side_find_file(&d->b, fb, tb, side_file_name(m)), err))
            return -1;
    }
    for (size_t i = fb; i < tb; i++) {
        const struct bundle_member *m = &mb[d->b.places[i].member];
        if (m->is_file && !side_find_file(&d->a, fa, ta, side_file_name(m)) && compare_file(d, NULL, m, err))
            return -1;
    }
    return 0;
}

/* ---- one group ---- */

static int name_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_group(struct diff *d, struct gs_err *err)
{
    size_t fa, ta, fb, tb, n = 0;
    const struct bundle_member *ma, *mb;
    bundle_members(d->a.b, &ma);
    bundle_members(d->b.b, &mb);
    side_members(&d->a, d->group_a, &fa, &ta);
    side_members(&d->b, d->group_b, &fb, &tb);
    gs_autofree const char **names = malloc((ta - fa + tb - fb + 1) * sizeof *names);
    if (!names)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    for (size_t i = fa; i < ta; i++)
        if (!ma[d->a.places[i].member].is_file)
            names[n++] = ma[d->a.places[i].member].relation;
    for (size_t i = fb; i < tb; i++)
        if (!mb[d->b.places[i].member].is_file)
            names[n++] = mb[d->b.places[i].member].relation;
    qsort(names, n, sizeof *names, name_cmp);
    for (size_t i = 0; i < n; i++)
        if ((i == 0 || strcmp(names[i], names[i - 1]) != 0) && diff_records(d, names[i], err))
            return -1;
    return compare_files(d, fa, ta, fb, tb, err);
}

/* ---- the tree ---- */

/* A group of either side, and the one of the other side that it is compared with. */
struct couple {
    const char *path;             /* below the root: of the first bundle where it is there */
    const struct bundle_group *a, *b;
    const char *want; /* full path that `a` has on the other side, as a hook knows it; NULL: it knows none */
};

static int couple_cmp(const void *a, const void *b)
{
    const struct couple *x = a, *y = b;
    int c = strcmp(x->path, y->path);
    return c ? c : (x->a == NULL) - (y->a == NULL);
}

static const struct node *node_by_id(const struct side *s, int64_t id)
{
    for (size_t i = 0; id && i < s->n_groups; i++)
        if (s->groups[i].id == id)
            return &s->groups[i];
    return NULL;
}

static const struct node *node_by_path(const struct side *s, const char *path, bool full)
{
    if (!full) {
        size_t lo = 0, hi = s->n_groups;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            int c = strcmp(s->groups[mid].path, path);
            if (c == 0)
                return &s->groups[mid];
            *(c < 0 ? &lo : &hi) = c < 0 ? mid + 1 : mid;
        }
        return NULL;
    }
    for (size_t i = 0; i < s->n_groups; i++)
        if (strcasecmp(s->groups[i].group->full_path, path) == 0)
            return &s->groups[i];
    return NULL;
}

/* Every group of either side once, in the order of their paths. */
static int couple_groups(struct diff *d, struct couple *v, size_t *out_n, struct gs_err *err)
{
    size_t n = 0;
    gs_autofree bool *used = calloc(d->b.n_groups + 1, sizeof *used);
    if (!used)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", d->b.n_groups);
    for (size_t i = 0; i < d->a.n_groups; i++) {
        const struct node *x = &d->a.groups[i], *y = NULL;
        const char *want = NULL;
        if (d->h->twin)
            y = node_by_id(&d->b, d->h->twin(d->h->cookie, x->group, &want));
        if (!y && want)
            y = node_by_path(&d->b, want, true);
        if (!y && !want)
            y = node_by_path(&d->b, x->path, false);
        if (y && used[y - d->b.groups])
            y = NULL;
        if (y)
            used[y - d->b.groups] = true;
        v[n++] = (struct couple){x->path, x->group, y ? y->group : NULL, want};
    }
    for (size_t i = 0; i < d->b.n_groups; i++)
        if (!used[i])
            v[n++] = (struct couple){d->b.groups[i].path, NULL, d->b.groups[i].group, NULL};
    qsort(v, n, sizeof *v, couple_cmp);
    *out_n = n;
    return 0;
}

/* Does the group stand below another parent than that of its twin? */
static bool moved(const struct couple *v, size_t n, const struct couple *c)
{
    if (!c->a->parent_id || !c->b->parent_id) { /* the root: what stands above it is in no bundle */
        const char *slash = strrchr(c->want ? c->want : "", '/'), *there = strrchr(c->b->full_path, '/');
        size_t len = slash ? (size_t)(slash - c->want) : 0;
        return c->want && (len != (there ? (size_t)(there - c->b->full_path) : 0) || strncasecmp(c->want, c->b->full_path, len) != 0);
    }
    for (size_t i = 0; i < n; i++)
        if (v[i].a && v[i].a->id == c->a->parent_id)
            return !v[i].b || v[i].b->id != c->b->parent_id;
    return false;
}

static int tell_moved(struct diff *d, const struct couple *c, struct gs_err *err)
{
    GS_AUTO(yyjson_mut_doc) doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *pair = doc ? yyjson_mut_arr(doc) : NULL;
    yyjson_mut_arr_add_str(doc, pair, c->want ? c->want : c->a->full_path);
    yyjson_mut_arr_add_str(doc, pair, c->b->full_path);
    GS_AUTO(yyjson_doc) both = pair ? yyjson_mut_val_imut_copy(pair, NULL) : NULL;
    if (!both)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    yyjson_val *v = yyjson_doc_get_root(both);
    struct diff_item i = {.kind = DIFF_DIFFERS, .key = c->path, .attr = "parent", .id_a = c->a->id, .id_b = c->b->id};
    struct diff_pair p = {false, false};
    if (diff_attribute(d, &i, yyjson_arr_get(v, 0), yyjson_arr_get(v, 1), &p, err))
        return -1;
    d->now.differs += p.counts;
    return 0;
}

static int compare(struct diff *d, struct gs_err *err)
{
    size_t n = 0;
    gs_autofree struct couple *v = malloc((d->a.n_groups + d->b.n_groups + 1) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", d->a.n_groups + d->b.n_groups);
    if (couple_groups(d, v, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        d->path = v[i].path;
        d->group_a = v[i].a ? v[i].a->id : 0;
        d->group_b = v[i].b ? v[i].b->id : 0;
        diff_relation_begin(d, "groups");
        if (!v[i].a || !v[i].b) {
            struct diff_item one = {.kind = v[i].a ? DIFF_MISSING : DIFF_EXTRA, .key = v[i].path};
            if (diff_one_sided(d, &one, err) || diff_relation_end(d, err))
                return -1;
        } else if (d->h->twin && moved(v, n, &v[i])) {
            if (tell_moved(d, &v[i], err) || diff_relation_end(d, err))
                return -1;
        }
        if (compare_group(d, err))
            return -1;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct diff_relation *)a)->relation, ((const struct diff_relation *)b)->relation);
}

int diff_run(struct bundle *a, struct bundle *b, const struct diff_opts *o, struct diff_result *out, struct gs_err *err)
{
    static const struct diff_hooks none;
    struct diff d = {.o = o, .h = o->hooks ? o->hooks : &none, .r = out};
    *out = (struct diff_result){0};
    gs_buf_init(&d.ha.keys, KEYS_MAX);
    gs_buf_init(&d.hb.keys, KEYS_MAX);
    struct gs_buf *const bufs[] = {&d.raw, &d.json, &d.norm_a, &d.norm_b, &d.value_a, &d.value_b, &d.key, &d.where, &d.own};
    for (size_t i = 0; i < GS_COUNT(bufs); i++)
        gs_buf_init(bufs[i], DIFF_RECORD_MAX);
    idset_init(&d.ids_b);
    int r = side_open(&d.a, a, err) || side_open(&d.b, b, err) || compare(&d, err) ? -1 : 0;
    if (out->n > 1)
        qsort(out->relations, out->n, sizeof *out->relations, by_name);
    side_close(&d.a);
    side_close(&d.b);
    for (size_t i = 0; i < GS_COUNT(bufs); i++)
        gs_buf_release(bufs[i]);
    gs_buf_release(&d.ha.keys);
    gs_buf_release(&d.hb.keys);
    free(d.ha.v);
    free(d.hb.v);
    free(d.left_a);
    free(d.left_b);
    idset_release(&d.ids_b);
    return r;
}

void diff_result_release(struct diff_result *r)
{
    free(r->relations);
    *r = (struct diff_result){0};
}
