#include "libexport/diff.h"

#include "formats/shape.h"
#include "libexport/idset.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX ((size_t)4 << 30)
#define RECORD_MAX ((size_t)256 << 20)
#define HASH_LEN 16

/* One bundle: its groups by relative path, its members by group. */
struct side {
    struct bundle *b;
    struct node {
        const char *path; /* below the root */
        int64_t id;
    } *groups;
    size_t n_groups;
    struct place {
        int64_t group;
        size_t member;
    } *places;
    size_t n_places;
    struct idset read; /* read_place() of each relation that the ledger says was read */
    bool books;        /* the ledger says what was read */
    bool by_api;       /* captured over REST and GraphQL alone */
};

/* One record of the relation that is compared. */
struct entry {
    size_t key, key_len; /* in struct half.keys */
    uint8_t hash[HASH_LEN];
    struct bundle_ref ref;
};

struct half {
    struct gs_buf keys;
    struct entry *v;
    size_t n, cap;
};

struct diff {
    struct side a, b;
    int64_t group_a, group_b; /* the group that is compared; 0: not there */
    const struct diff_opts *o;
    struct diff_result *r;
    struct half ha, hb;
    struct gs_buf raw, json, norm_a, norm_b, value_a, value_b;
};

/* ---- the two sides ---- */

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

static int side_open(struct side *s, struct bundle *b, struct gs_err *err)
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
        s->groups[s->n_groups++] = (struct node){i == 0 ? "" : below ? g[i].full_path + root + 1 : g[i].full_path, g[i].id};
    }
    for (size_t i = 0; i < nm; i++)
        if (m[i].group_id)
            s->places[s->n_places++] = (struct place){m[i].group_id, i};
    qsort(s->groups, s->n_groups, sizeof *s->groups, by_path);
    qsort(s->places, s->n_places, sizeof *s->places, by_group);
    return 0;
}

static void side_close(struct side *s)
{
    idset_release(&s->read);
    free(s->groups);
    free(s->places);
}

/* Members of one group: [*out_from, *out_to) of s->places. */
static void members_of(const struct side *s, int64_t group, size_t *out_from, size_t *out_to)
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

/* ---- counting and telling ---- */

static struct diff_relation *sums(struct diff *d, const char *relation, struct gs_err *err)
{
    struct diff_result *r = d->r;
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

static int tell(struct diff *d, const struct diff_item *i, struct gs_err *err)
{
    return d->o->item ? d->o->item(d->o->cookie, i, err) : 0;
}

/* Did this capture leave the relation alone? An avatar is asked for only where there is one. */
static bool unread(const struct side *other, int64_t group, const char *relation)
{
    return other->books && group > 0 && strcmp(relation, "avatar") != 0 && strcmp(relation, "groups") != 0 &&
           !idset_has(&other->read, read_place(group, relation));
}

/* A record, group or file that stands on one side only. */
static int one_sided(struct diff *d, const char *group, const char *relation, const char *key, bool extra, struct gs_err *err)
{
    struct diff_relation *s = sums(d, relation, err);
    if (!s)
        return -1;
    struct diff_item i = {.kind = extra ? DIFF_EXTRA : DIFF_MISSING, .group = group, .relation = relation, .key = key,
                          .unread = unread(extra ? &d->a : &d->b, extra ? d->group_a : d->group_b, relation)};
    if (i.unread) {
        s->set_aside++;
        d->r->set_aside++;
    } else if (extra) {
        s->extra++;
        d->r->extra++;
    } else {
        s->missing++;
        d->r->missing++;
    }
    return tell(d, &i, err);
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

/* ---- records ---- */

/* What REST shows of a group is what holds there, inherited or not; an export shows what is set in the group itself. */
static bool effective(const struct diff *d, const char *relation, const char *attr)
{
    return d->a.by_api != d->b.by_api && strcmp(relation, "self") == 0 && strcmp(attr, "emails_enabled") == 0;
}

/* The bytes of one record as stored, normalised into `out`. */
static int normalise(struct diff *d, const struct side *s, const char *relation, const void *data, size_t len,
                     struct gs_buf *out, struct gs_err *err)
{
    gs_buf_reset(&d->json);
    gs_buf_reset(out);
    return record_to_json(bundle_encoding(s->b), data, len, NULL, &d->json, err) ||
                   shape_normalise(relation, gs_buf_str(&d->json), d->json.len, out, err)
               ? -1
               : 0;
}

static int add_entry(struct diff *d, struct half *h, const char *relation, const struct gs_buf *norm,
                     const struct bundle_ref *ref, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts raw = {.max_bytes = RECORD_MAX, .raw_numbers = true};
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 64;
        struct entry *v = realloc(h->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu records", cap);
        h->v = v;
        h->cap = cap;
    }
    struct entry *e = &h->v[h->n];
    *e = (struct entry){.key = h->keys.len, .ref = *ref};
    crypto_generichash(e->hash, sizeof e->hash, (const unsigned char *)gs_buf_str(norm), norm->len, NULL, 0);
    if (gs_json_parse(gs_buf_str(norm), norm->len, &raw, &doc, err) ||
        shape_key(relation, yyjson_doc_get_root(doc), &h->keys, err))
        return -1;
    e->key_len = h->keys.len - e->key;
    if (gs_buf_addc(&h->keys, '\0', err))
        return -1;
    h->n++;
    return 0;
}

static int read_half(struct diff *d, const struct side *s, struct half *h, int64_t group, const char *relation,
                     struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    gs_buf_reset(&h->keys);
    h->n = 0;
    if (!group || bundle_count(s->b, group, relation) == 0)
        return 0;
    if (bundle_cursor_open(s->b, group, relation, &c, err))
        return -1;
    for (;;) {
        const void *data;
        size_t len;
        struct bundle_ref ref;
        if (d->o->stop && *d->o->stop)
            return gs_fail(err, GS_E_STOPPED, "stopped");
        if (bundle_cursor_next(c, &data, &len, &ref, err))
            return -1;
        if (!data)
            return 0;
        if (normalise(d, s, relation, data, len, &d->norm_a, err) || add_entry(d, h, relation, &d->norm_a, &ref, err))
            return gs_wrap(err, "record %zu of '%s' in group %lld", h->n + 1, relation, (long long)group);
    }
}

static int key_cmp(const struct half *x, const struct entry *a, const struct half *y, const struct entry *b)
{
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int c = memcmp(x->keys.data + a->key, y->keys.data + b->key, n);
    return c ? c : a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
}

static int entry_cmp(const void *a, const void *b, void *half)
{
    int c = key_cmp(half, a, half, b);
    return c ? c : memcmp(((const struct entry *)a)->hash, ((const struct entry *)b)->hash, HASH_LEN);
}

static const char *value_text(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    gs_buf_reset(out);
    return v && gs_json_canonical(v, out, err) == 0 ? gs_buf_str(out) : NULL;
}

/* One attribute that is not the same on both sides. */
static int attribute(struct diff *d, struct diff_relation *s, const char *group, const char *relation, const char *key,
                     const char *attr, yyjson_val *va, yyjson_val *vb, bool *counts, struct gs_err *err)
{
    const struct relation *r = relation_find(relation);
    const struct rel_attr *a = r ? relation_attr(r, attr) : NULL;
    /* an attribute that is not in the table is like a setting: versions differ in what they have */
    enum rel_class cls = a ? a->cls : REL_SETTING;
    if (cls == REL_SETTING && va && vb && !effective(d, relation, attr))
        cls = REL_VALUE;
    if (cls == REL_INSTANCE || ignored(d, relation, attr) ||
        (d->o->ignore_times && cls != REL_VALUE && a && a->type == REL_TIME))
        return 0;
    struct diff_item i = {.kind = DIFF_DIFFERS, .group = group, .relation = relation, .key = key, .attr = attr, .cls = cls};
    i.a = value_text(va, &d->value_a, err);
    i.b = value_text(vb, &d->value_b, err);
    if ((va && !i.a) || (vb && !i.b))
        return -1;
    if (cls == REL_VALUE) {
        *counts = true;
    } else {
        s->set_aside++;
        d->r->set_aside++;
    }
    return tell(d, &i, err);
}

static int read_again(struct diff *d, const struct side *s, const char *relation, const struct entry *e, struct gs_buf *norm,
                      yyjson_doc **out, struct gs_err *err)
{
    struct gs_json_opts raw = {.max_bytes = RECORD_MAX, .raw_numbers = true};
    gs_buf_reset(&d->raw);
    return bundle_read_ref(s->b, &e->ref, &d->raw, err) ||
                   normalise(d, s, relation, gs_buf_str(&d->raw), d->raw.len, norm, err) ||
                   gs_json_parse(gs_buf_str(norm), norm->len, &raw, out, err)
               ? -1
               : 0;
}

static int pair(struct diff *d, const char *group, const char *relation, const struct entry *x, const struct entry *y,
                struct gs_err *err)
{
    GS_AUTO(yyjson_doc) da = NULL;
    GS_AUTO(yyjson_doc) db = NULL;
    if (read_again(d, &d->a, relation, x, &d->norm_a, &da, err) || read_again(d, &d->b, relation, y, &d->norm_b, &db, err))
        return -1;
    const char *key = d->ha.keys.data + x->key;
    yyjson_val *ra = yyjson_doc_get_root(da), *rb = yyjson_doc_get_root(db), *k;
    bool counts = false;
    struct diff_relation *s = sums(d, relation, err);
    if (!s)
        return -1;
    yyjson_obj_iter it = yyjson_obj_iter_with(ra);
    while ((k = yyjson_obj_iter_next(&it))) {
        yyjson_val *va = yyjson_obj_iter_get_val(k), *vb = yyjson_obj_get(rb, yyjson_get_str(k));
        if ((!vb || !gs_json_equal(va, vb)) &&
            attribute(d, s, group, relation, key, yyjson_get_str(k), va, vb, &counts, err))
            return -1;
    }
    it = yyjson_obj_iter_with(rb);
    while ((k = yyjson_obj_iter_next(&it)))
        if (!yyjson_obj_get(ra, yyjson_get_str(k)) &&
            attribute(d, s, group, relation, key, yyjson_get_str(k), NULL, yyjson_obj_iter_get_val(k), &counts, err))
            return -1;
    s->equal += !counts;
    s->differs += counts;
    d->r->differs += counts;
    return 0;
}

/* Records with one key: equal ones are pairs; of the rest the first on both sides are, and what remains stands on one side. */
static int run_of_key(struct diff *d, const char *group, const char *relation, struct entry *x, size_t nx, struct entry *y,
                      size_t ny, struct gs_err *err)
{
    size_t i = 0, j = 0, rx = 0, ry = 0;
    uint64_t equal = 0;
    while (i < nx || j < ny) {
        int c = i == nx ? 1 : j == ny ? -1 : memcmp(x[i].hash, y[j].hash, HASH_LEN);
        if (c == 0) {
            equal++;
            i++;
            j++;
        } else if (c < 0) {
            x[rx++] = x[i++];
        } else {
            y[ry++] = y[j++];
        }
    }
    struct diff_relation *s = sums(d, relation, err);
    if (!s)
        return -1;
    s->equal += equal;
    for (i = 0; i < rx && i < ry; i++)
        if (pair(d, group, relation, &x[i], &y[i], err))
            return -1;
    for (; i < rx; i++)
        if (one_sided(d, group, relation, d->ha.keys.data + x[i].key, false, err))
            return -1;
    for (; i < ry; i++)
        if (one_sided(d, group, relation, d->hb.keys.data + y[i].key, true, err))
            return -1;
    return 0;
}

static size_t run_length(const struct half *h, size_t from)
{
    size_t n = from;
    while (n < h->n && key_cmp(h, &h->v[from], h, &h->v[n]) == 0)
        n++;
    return n - from;
}

static int compare_relation(struct diff *d, const char *path, int64_t ga, int64_t gb, const char *relation,
                            struct gs_err *err)
{
    if (read_half(d, &d->a, &d->ha, ga, relation, err) || read_half(d, &d->b, &d->hb, gb, relation, err))
        return -1;
    struct diff_relation *s = sums(d, relation, err);
    if (!s)
        return -1;
    s->a += d->ha.n;
    s->b += d->hb.n;
    if (d->ha.n > 1)
        qsort_r(d->ha.v, d->ha.n, sizeof *d->ha.v, entry_cmp, &d->ha);
    if (d->hb.n > 1)
        qsort_r(d->hb.v, d->hb.n, sizeof *d->hb.v, entry_cmp, &d->hb);
    size_t i = 0, j = 0;
    while (i < d->ha.n || j < d->hb.n) {
        int c = i == d->ha.n ? 1 : j == d->hb.n ? -1 : key_cmp(&d->ha, &d->ha.v[i], &d->hb, &d->hb.v[j]);
        size_t nx = c <= 0 ? run_length(&d->ha, i) : 0, ny = c >= 0 ? run_length(&d->hb, j) : 0;
        if (run_of_key(d, path, relation, d->ha.v + i, nx, d->hb.v + j, ny, err))
            return -1;
        i += nx;
        j += ny;
    }
    return 0;
}

/* ---- files and groups ---- */

/* What names a file inside its group: "avatar" has one, uploads are named by secret and file. */
static const char *file_name(const struct bundle_member *m)
{
    const char *s = strchr(m->path, '/'); /* groups/<id>/... */
    s = s ? strchr(s + 1, '/') : NULL;
    return !s ? m->path : strcmp(m->relation, "avatar") == 0 ? "avatar" : s + 1;
}

static const struct bundle_member *find_file(const struct side *s, size_t from, size_t to, const char *name)
{
    const struct bundle_member *m;
    bundle_members(s->b, &m);
    for (size_t i = from; i < to; i++)
        if (m[s->places[i].member].is_file && strcmp(file_name(&m[s->places[i].member]), name) == 0)
            return &m[s->places[i].member];
    return NULL;
}

static int compare_file(struct diff *d, const char *path, const struct bundle_member *x, const struct bundle_member *y,
                        struct gs_err *err)
{
    const struct bundle_member *m = x ? x : y;
    struct diff_relation *s = sums(d, m->relation, err);
    if (!s)
        return -1;
    s->a += x != NULL;
    s->b += y != NULL;
    if (!x || !y)
        return one_sided(d, path, m->relation, file_name(m), !x, err);
    if (memcmp(x->digest, y->digest, BUNDLE_DIGEST_LEN) == 0) {
        s->equal++;
        return 0;
    }
    char hex[2][2 * BUNDLE_DIGEST_LEN + 3];
    for (int i = 0; i < 2; i++) {
        hex[i][0] = '"';
        sodium_bin2hex(hex[i] + 1, 2 * BUNDLE_DIGEST_LEN + 1, i ? y->digest : x->digest, BUNDLE_DIGEST_LEN);
        memcpy(hex[i] + 1 + 2 * BUNDLE_DIGEST_LEN, "\"", 2);
    }
    s->differs++;
    d->r->differs++;
    struct diff_item i = {.kind = DIFF_DIFFERS, .group = path, .relation = m->relation, .key = file_name(m),
                          .attr = "content", .cls = REL_VALUE, .a = hex[0], .b = hex[1]};
    return tell(d, &i, err);
}

static int name_cmp(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int compare_group(struct diff *d, const char *path, int64_t ga, int64_t gb, struct gs_err *err)
{
    size_t fa, ta, fb, tb, n = 0;
    const struct bundle_member *ma, *mb;
    bundle_members(d->a.b, &ma);
    bundle_members(d->b.b, &mb);
    d->group_a = ga;
    d->group_b = gb;
    members_of(&d->a, ga, &fa, &ta);
    members_of(&d->b, gb, &fb, &tb);
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
        if ((i == 0 || strcmp(names[i], names[i - 1]) != 0) && compare_relation(d, path, ga, gb, names[i], err))
            return -1;
    for (size_t i = fa; i < ta; i++) {
        const struct bundle_member *m = &ma[d->a.places[i].member];
        if (m->is_file && compare_file(d, path, m, find_file(&d->b, fb, tb, file_name(m)), err))
            return -1;
    }
    for (size_t i = fb; i < tb; i++) {
        const struct bundle_member *m = &mb[d->b.places[i].member];
        if (m->is_file && !find_file(&d->a, fa, ta, file_name(m)) && compare_file(d, path, NULL, m, err))
            return -1;
    }
    return 0;
}

static int compare(struct diff *d, struct gs_err *err)
{
    size_t i = 0, j = 0;
    while (i < d->a.n_groups || j < d->b.n_groups) {
        const struct node *x = &d->a.groups[i], *y = &d->b.groups[j];
        int c = i == d->a.n_groups ? 1 : j == d->b.n_groups ? -1 : strcmp(x->path, y->path);
        const char *path = c <= 0 ? x->path : y->path;
        if (c != 0 && one_sided(d, path, "groups", path, c > 0, err))
            return -1;
        if (compare_group(d, path, c <= 0 ? x->id : 0, c >= 0 ? y->id : 0, err))
            return -1;
        i += c <= 0;
        j += c >= 0;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct diff_relation *)a)->relation, ((const struct diff_relation *)b)->relation);
}

int diff_run(struct bundle *a, struct bundle *b, const struct diff_opts *o, struct diff_result *out, struct gs_err *err)
{
    struct diff d = {.o = o, .r = out};
    *out = (struct diff_result){0};
    gs_buf_init(&d.ha.keys, KEYS_MAX);
    gs_buf_init(&d.hb.keys, KEYS_MAX);
    struct gs_buf *const bufs[] = {&d.raw, &d.json, &d.norm_a, &d.norm_b, &d.value_a, &d.value_b};
    for (size_t i = 0; i < GS_COUNT(bufs); i++)
        gs_buf_init(bufs[i], RECORD_MAX);
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
    return r;
}

void diff_result_release(struct diff_result *r)
{
    free(r->relations);
    *r = (struct diff_result){0};
}
