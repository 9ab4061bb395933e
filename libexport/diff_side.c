#include "libexport/diff_priv.h"

#include <stdlib.h>
#include <string.h>

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct node *)a)->path, ((const struct node *)b)->path);
}

static int by_group(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return x->member < y->member ? -1 : x->member > y->member;
}

static int64_t read_place(int64_t group, const char *relation)
{
    uint64_t h = 14695981039346656037u ^ (uint64_t)group * 0x9e3779b97f4a7c15u;
    for (; *relation; relation++)
        h = (h ^ (unsigned char)*relation) * 1099511628211u;
    return (int64_t)(h >> 1) | 1;
}

/* Which relations of which groups were read: those with a balance, and those that were fetched. */
static int read_books(struct side *s, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    const void *data;
    size_t len;
    bool is_new;
    if (bundle_cursor_open(s->b, 0, "ledger", &c, err))
        return -1;
    for (;;) {
        GS_AUTO(yyjson_doc) doc = NULL;
        int64_t group;
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            return 0;
        if (gs_json_parse(data, len, NULL, &doc, err))
            return gs_wrap(err, "ledger");
        yyjson_val *v = yyjson_doc_get_root(doc);
        const char *entry = gs_json_str(v, "entry"), *relation = gs_json_str(v, "relation");
        if (!entry || !relation || !gs_json_i64(v, "group", &group) ||
            (strcmp(entry, "relation") != 0 && strcmp(entry, "fetch") != 0))
            continue;
        s->books |= strcmp(entry, "relation") == 0;
        if (idset_add(&s->read, read_place(group, relation), &is_new, err))
            return -1;
    }
}

int side_open(struct side *s, struct bundle *b, struct gs_err *err)
{
    const struct bundle_group *g;
    const struct bundle_member *m;
    size_t n = bundle_groups(b, &g), nm = bundle_members(b, &m);
    s->b = b;
    idset_init(&s->read);
    const char *via = gs_json_str(yyjson_obj_get(bundle_manifest(b), "capture"), "via");
    s->by_api = via && strcmp(via, "api") == 0;
    if (read_books(s, err))
        return -1;
    s->groups = calloc(n + 1, sizeof *s->groups);
    s->places = calloc(nm + 1, sizeof *s->places);
    if (!s->groups || !s->places)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", n);
    size_t root = n ? strlen(g[0].full_path) : 0;
    for (size_t i = 0; i < n; i++) {
        bool below = strncmp(g[i].full_path, g[0].full_path, root) == 0 && (g[i].full_path[root] == '/' || i == 0);
        s->groups[s->n_groups++] = (struct node){i == 0 ? "" : below ? g[i].full_path + root + 1 : g[i].full_path, g[i].id, &g[i]};
    }
    for (size_t i = 0; i < nm; i++)
        if (m[i].group_id)
            s->places[s->n_places++] = (struct place){m[i].group_id, i};
    qsort(s->groups, s->n_groups, sizeof *s->groups, by_path);
    qsort(s->places, s->n_places, sizeof *s->places, by_group);
    return 0;
}

void side_close(struct side *s)
{
    idset_release(&s->read);
    free(s->groups);
    free(s->places);
}

void side_members(const struct side *s, int64_t group, size_t *out_from, size_t *out_to)
{
    size_t lo = 0, hi = s->n_places;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->places[mid].group < group)
            lo = mid + 1;
        else
            hi = mid;
    }
    *out_from = lo;
    while (lo < s->n_places && s->places[lo].group == group)
        lo++;
    *out_to = lo;
}

bool side_unread(const struct side *s, int64_t group, const char *relation)
{
    return s->books && group > 0 && strcmp(relation, "avatar") != 0 && strcmp(relation, "groups") != 0 &&
           !idset_has(&s->read, read_place(group, relation));
}

const char *side_file_name(const struct bundle_member *m)
{
    const char *s = strchr(m->path, '/'); /* groups/<id>/... */
    s = s ? strchr(s + 1, '/') : NULL;
    return !s ? m->path : strcmp(m->relation, "avatar") == 0 ? "avatar" : s + 1;
}

const struct bundle_member *side_find_file(const struct side *s, size_t from, size_t to, const char *name)
{
    const struct bundle_member *m;
    bundle_members(s->b, &m);
    for (size_t i = from; i < to; i++)
        if (m[s->places[i].member].is_file && strcmp(side_file_name(&m[s->places[i].member]), name) == 0)
            return &m[s->places[i].member];
    return NULL;
}
