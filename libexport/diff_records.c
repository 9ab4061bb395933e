/* The records of one relation of one group on both sides: by their keys, and where the keys part, by what a hook knows or by likeness. */
#include "libexport/diff_priv.h"

#include "formats/shape.h"
#include "libexport/digests.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ALIKE_MAX 64 /* records on either side that are looked at one by one for likeness */

static const struct gs_json_opts raw_json = {.max_bytes = DIFF_RECORD_MAX, .raw_numbers = true};

/* ---- reading ---- */

/* The bytes of one record as stored, normalised into `out`; d->json keeps them as JSON. */
static int normalise(struct diff *d, const struct side *s, int64_t group, const void *data, size_t len, struct gs_buf *out,
                     struct gs_err *err)
{
    const char *relation = d->now.relation;
    gs_buf_reset(&d->json);
    gs_buf_reset(out);
    if (record_to_json(bundle_encoding(s->b), data, len, NULL, &d->json, err) ||
        (d->h->complete && d->h->complete(d->h->cookie, s == &d->b, group, relation, &d->json, err)) ||
        (d->h->reshape ? shape_content : shape_normalise)(relation, gs_buf_str(&d->json), d->json.len, out, err))
        return -1;
    return d->h->reshape ? d->h->reshape(d->h->cookie, s == &d->b, group, relation, out, err) : 0;
}

/* What content alone does not tell, out of the record in d->json: its id, 0 when it has none; and its key, where that is no content (of an
 * invitation by mail). */
static int read_whole(const struct diff *d, struct entry *e, struct gs_buf *keys, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    /* it stands first in what captures write */
    bool has_key = keys->len > e->key;
    if (has_key && strncmp(gs_buf_str(&d->json), "{\"id\":", 6) == 0) {
        e->id = strtoll(gs_buf_str(&d->json) + 6, NULL, 10);
        return 0;
    }
    if (gs_json_parse(gs_buf_str(&d->json), d->json.len, &raw_json, &doc, err))
        return -1;
    GS_IGNORE(gs_json_i64(yyjson_doc_get_root(doc), "id", &e->id), "0: it has none");
    return has_key ? 0 : shape_key(d->now.relation, yyjson_doc_get_root(doc), keys, err);
}

static int add_entry(struct diff *d, struct half *h, const struct gs_buf *norm, const struct bundle_ref *ref, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
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
    if (gs_json_parse(gs_buf_str(norm), norm->len, &raw_json, &doc, err))
        return -1;
    if (shape_key(d->now.relation, yyjson_doc_get_root(doc), &h->keys, err)) {
        if (!d->h->reshape)
            return -1;
        h->keys.len = e->key;
        gs_err_clear(err);
    }
    if (d->h->reshape && read_whole(d, e, &h->keys, err))
        return -1;
    e->key_len = h->keys.len - e->key;
    if (gs_buf_addc(&h->keys, '\0', err))
        return -1;
    h->n++;
    return 0;
}

static int read_half(struct diff *d, const struct side *s, struct half *h, int64_t group, struct gs_err *err)
{
    const char *relation = d->now.relation;
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
        if (normalise(d, s, group, data, len, &d->norm_a, err) || add_entry(d, h, &d->norm_a, &ref, err))
            return gs_wrap(err, "record %zu of '%s' in group %lld", h->n + 1, relation, (long long)group);
    }
}

static int read_again(struct diff *d, const struct side *s, const struct entry *e, struct gs_buf *norm, yyjson_doc **out,
                      struct gs_err *err)
{
    gs_buf_reset(&d->raw);
    return bundle_read_ref(s->b, &e->ref, &d->raw, err) ||
                   normalise(d, s, s == &d->b ? d->group_b : d->group_a, gs_buf_str(&d->raw), d->raw.len, norm, err) ||
                   gs_json_parse(gs_buf_str(norm), norm->len, &raw_json, out, err)
               ? -1
               : 0;
}

/* The key by which people know the record: with hooks, as it stands in the first bundle itself. d->json is that record. */
static int own_key(struct diff *d, const struct entry *e, const char **out, struct gs_err *err)
{
    *out = d->ha.keys.data + e->key;
    if (!d->h->reshape)
        return 0;
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_buf_reset(&d->key);
    if (gs_json_parse(gs_buf_str(&d->json), d->json.len, &raw_json, &doc, err) ||
        shape_key(d->now.relation, yyjson_doc_get_root(doc), &d->key, err))
        return -1;
    *out = gs_buf_str(&d->key);
    return 0;
}

/* ---- order ---- */

static int key_cmp(const struct half *x, const struct entry *a, const struct half *y, const struct entry *b)
{
    size_t n = a->key_len < b->key_len ? a->key_len : b->key_len;
    int c = memcmp(x->keys.data + a->key, y->keys.data + b->key, n);
    return c ? c : a->key_len < b->key_len ? -1 : a->key_len > b->key_len;
}

static int entry_cmp(const void *a, const void *b, void *half)
{
    int c = key_cmp(half, a, half, b);
    return c ? c : memcmp(((const struct entry *)a)->hash, ((const struct entry *)b)->hash, DIFF_HASH_LEN);
}

static size_t run_length(const struct half *h, size_t from)
{
    size_t n = from;
    while (n < h->n && key_cmp(h, &h->v[from], h, &h->v[n]) == 0)
        n++;
    return n - from;
}

/* ---- pairs ---- */

static int pair(struct diff *d, const struct entry *x, const struct entry *y, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) da = NULL;
    GS_AUTO(yyjson_doc) db = NULL;
    struct diff_item item = {.kind = DIFF_DIFFERS, .key_b = d->hb.keys.data + y->key, .id_a = x->id, .id_b = y->id};
    gs_buf_reset(&d->own);
    if (read_again(d, &d->a, x, &d->norm_a, &da, err) || own_key(d, x, &item.key, err) ||
        (d->h->judge && gs_buf_add(&d->own, d->json.data, d->json.len, err)) || read_again(d, &d->b, y, &d->norm_b, &db, err))
        return -1;
    item.record_a = d->h->judge ? gs_buf_str(&d->own) : NULL;
    yyjson_val *ra = yyjson_doc_get_root(da), *rb = yyjson_doc_get_root(db), *k;
    struct diff_pair p = {false, false};
    yyjson_obj_iter it = yyjson_obj_iter_with(ra);
    while ((k = yyjson_obj_iter_next(&it))) {
        struct diff_item i = item;
        yyjson_val *va = yyjson_obj_iter_get_val(k), *vb = yyjson_obj_get(rb, i.attr = yyjson_get_str(k));
        if ((!vb || !gs_json_equal(va, vb)) && diff_attribute(d, &i, va, vb, &p, err))
            return -1;
    }
    it = yyjson_obj_iter_with(rb);
    while ((k = yyjson_obj_iter_next(&it))) {
        struct diff_item i = item;
        if (!yyjson_obj_get(ra, i.attr = yyjson_get_str(k)) &&
            diff_attribute(d, &i, NULL, yyjson_obj_iter_get_val(k), &p, err))
            return -1;
    }
    diff_count_pair(d, &p);
    return 0;
}

/* A record of which a group has one at most, and which says nothing but what holds without it. */
static bool says_nothing(const struct relation *r, yyjson_val *rec)
{
    if (!r || !r->single)
        return false;
    yyjson_obj_iter it = yyjson_obj_iter_with(rec);
    yyjson_val *k;
    while ((k = yyjson_obj_iter_next(&it))) {
        const struct rel_attr *a = relation_attr(r, yyjson_get_str(k));
        yyjson_val *v = yyjson_obj_iter_get_val(k);
        bool usual = a && a->absent && yyjson_is_bool(v) && strcmp(a->absent, yyjson_get_bool(v) ? "true" : "false") == 0;
        if (!usual && (!a || a->cls == REL_VALUE))
            return false;
    }
    return true;
}

static int alone(struct diff *d, const struct entry *e, bool extra, struct gs_err *err)
{
    struct diff_item i = {.kind = extra ? DIFF_EXTRA : DIFF_MISSING, .key = (extra ? d->hb : d->ha).keys.data + e->key};
    i.key_b = i.key;
    *(extra ? &i.id_b : &i.id_a) = e->id;
    if (d->h->reshape) {
        GS_AUTO(yyjson_doc) doc = NULL;
        if (read_again(d, extra ? &d->b : &d->a, e, &d->norm_a, &doc, err) || (!extra && own_key(d, e, &i.key, err)))
            return -1;
        if (d->group_a && d->group_b && says_nothing(relation_find(d->now.relation), yyjson_doc_get_root(doc))) {
            d->now.equal += !extra;
            return 0;
        }
    }
    return diff_one_sided(d, &i, err);
}

/* Which entry of the other side is this one, by what the hook knows? -1: it is not among them; *out_gone: nor anywhere else there. */
static int by_id(struct diff *d, const struct entry *x, struct entry *const *y, size_t ny, int64_t *out_at, bool *out_gone,
                 struct gs_err *err)
{
    *out_at = -1;
    *out_gone = false;
    if (!d->h->record)
        return 0;
    GS_AUTO(yyjson_doc) doc = NULL;
    const char *key;
    if (read_again(d, &d->a, x, &d->norm_a, &doc, err) || own_key(d, x, &key, err))
        return -1;
    int64_t id = d->h->record(d->h->cookie, d->group_a, d->now.relation, x->id, key);
    for (size_t i = 0; id && i < ny; i++)
        if (y[i] && y[i]->id == id) {
            *out_at = (int64_t)i;
            return 0;
        }
    *out_gone = id && !idset_has(&d->ids_b, id);
    return 0;
}

/* Those that the hook knows: paired, and taken out of both lists (NULL). One whose twin is gone stays alone; not so one whose twin is as
 * good as another, which was taken for it. */
static int pair_known(struct diff *d, struct entry **x, size_t nx, struct entry **y, size_t ny, bool *gone, struct gs_err *err)
{
    for (size_t i = 0; i < nx && d->h->record; i++) {
        int64_t at;
        if (by_id(d, x[i], y, ny, &at, &gone[i], err))
            return -1;
        if (at < 0)
            continue;
        if (pair(d, x[i], y[at], err))
            return -1;
        x[i] = y[at] = NULL;
        gone[i] = false;
    }
    return 0;
}

/* ---- likeness ---- */

/* How many attributes of two records are the same, out of how many that either has; what the table takes for absent says nothing. */
static void likeness(const struct relation *r, yyjson_val *a, yyjson_val *b, unsigned *out_same, unsigned *out_of)
{
    *out_same = *out_of = 0;
    for (int second = 0; second < 2; second++) {
        yyjson_obj_iter it = yyjson_obj_iter_with(second ? b : a);
        yyjson_val *k;
        while ((k = yyjson_obj_iter_next(&it))) {
            const char *name = yyjson_get_str(k);
            const struct rel_attr *attr = r ? relation_attr(r, name) : NULL;
            yyjson_val *x = yyjson_obj_get(a, name), *y = yyjson_obj_get(b, name);
            if ((second && x) || (attr && (attr->cls != REL_VALUE || attr->absent)))
                continue;
            ++*out_of;
            *out_same += x && y && gs_json_equal(x, y);
        }
    }
}

/* The record of the other side that is most like this one in more than half of what they say; -1: none is. */
static int most_alike(struct diff *d, const struct entry *x, struct entry *const *y, size_t ny, int64_t *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) da = NULL;
    unsigned best = 0;
    *out = -1;
    if (read_again(d, &d->a, x, &d->norm_a, &da, err))
        return -1;
    for (size_t i = 0; i < ny; i++) {
        GS_AUTO(yyjson_doc) db = NULL;
        unsigned same, of;
        if (!y[i])
            continue;
        if (read_again(d, &d->b, y[i], &d->norm_b, &db, err))
            return -1;
        likeness(relation_find(d->now.relation), yyjson_doc_get_root(da), yyjson_doc_get_root(db), &same, &of);
        if (2 * same > of && same > best) {
            best = same;
            *out = (int64_t)i;
        }
    }
    return 0;
}

/* ---- what is left when keys were compared ---- */

static int settle(struct diff *d, struct entry **x, size_t nx, struct entry **y, size_t ny, struct gs_err *err)
{
    gs_autofree bool *gone = calloc(nx + 1, sizeof *gone);
    if (!gone)
        return gs_fail(err, GS_E_NOMEM, "no memory for a comparison");
    if (pair_known(d, x, nx, y, ny, gone, err))
        return -1;
    for (size_t i = 0; i < nx && nx <= ALIKE_MAX && ny <= ALIKE_MAX; i++) {
        int64_t at;
        if (!x[i] || gone[i])
            continue;
        if (most_alike(d, x[i], y, ny, &at, err) || (at >= 0 && pair(d, x[i], y[at], err)))
            return -1;
        if (at >= 0)
            x[i] = y[at] = NULL;
    }
    for (size_t i = 0; i < nx; i++)
        if (x[i] && alone(d, x[i], false, err))
            return -1;
    for (size_t i = 0; i < ny; i++)
        if (y[i] && alone(d, y[i], true, err))
            return -1;
    return 0;
}

/* Without hooks it is told at once; with them it may yet find its twin under another key. */
static int leave(struct diff *d, struct entry *e, bool extra, struct gs_err *err)
{
    if (!d->h->record)
        return alone(d, e, extra, err);
    if (extra)
        d->left_b[d->n_left_b++] = e;
    else
        d->left_a[d->n_left_a++] = e;
    return 0;
}

/* Records with one key: equal ones are pairs; of the rest those that the hook knows, then the first on both sides. */
static int run_of_key(struct diff *d, struct entry *x, size_t nx, struct entry *y, size_t ny, struct gs_err *err)
{
    size_t i = 0, j = 0, rx = 0, ry = 0;
    while (i < nx || j < ny) {
        int c = i == nx ? 1 : j == ny ? -1 : memcmp(x[i].hash, y[j].hash, DIFF_HASH_LEN);
        if (c == 0) {
            d->now.equal++;
            i++;
            j++;
        } else if (c < 0) {
            x[rx++] = x[i++];
        } else {
            y[ry++] = y[j++];
        }
    }
    if (rx > 1 || ry > 1) {
        /* several of one key: who is whom is known, or guessed by their order */
        for (i = 0; i < rx && d->h->record; i++) {
            struct entry *one = &x[i];
            int64_t at = -1;
            bool gone;
            for (j = 0; j < ry && at < 0; j++) {
                struct entry *other = &y[j];
                if (by_id(d, one, &other, 1, &at, &gone, err))
                    return -1;
            }
            if (at < 0)
                continue;
            if (pair(d, one, &y[j - 1], err))
                return -1;
            x[i--] = x[--rx];
            y[j - 1] = y[--ry];
        }
    }
    for (i = 0; i < rx && i < ry; i++)
        if (pair(d, &x[i], &y[i], err))
            return -1;
    for (size_t k = i; k < rx; k++)
        if (leave(d, &x[k], false, err))
            return -1;
    for (size_t k = i; k < ry; k++)
        if (leave(d, &y[k], true, err))
            return -1;
    return 0;
}

static int make_lists(struct diff *d, struct gs_err *err)
{
    d->n_left_a = d->n_left_b = 0;
    if (!d->h->record)
        return 0;
    free(d->left_a);
    free(d->left_b);
    d->left_a = malloc((d->ha.n + 1) * sizeof *d->left_a);
    d->left_b = malloc((d->hb.n + 1) * sizeof *d->left_b);
    if (!d->left_a || !d->left_b)
        return gs_fail(err, GS_E_NOMEM, "no memory for a comparison");
    idset_release(&d->ids_b);
    idset_init(&d->ids_b);
    for (size_t i = 0; i < d->hb.n; i++) {
        bool is_new;
        if (idset_add(&d->ids_b, d->hb.v[i].id, &is_new, err))
            return -1;
    }
    return 0;
}

int diff_records(struct diff *d, const char *relation, struct gs_err *err)
{
    uint64_t n;
    diff_relation_begin(d, relation);
    if (d->o->sums_a && d->o->sums_b && d->group_a && d->group_b &&
        digests_same(d->o->sums_a, d->group_a, d->o->sums_b, d->group_b, relation, &n) && bundle_count(d->a.b, d->group_a, relation) == n &&
        bundle_count(d->b.b, d->group_b, relation) == n) {
        d->now.a = d->now.b = d->now.equal = n;
        return diff_relation_end(d, err);
    }
    if (read_half(d, &d->a, &d->ha, d->group_a, err) || read_half(d, &d->b, &d->hb, d->group_b, err) || make_lists(d, err))
        return -1;
    d->now.a = d->ha.n;
    d->now.b = d->hb.n;
    if (d->ha.n > 1)
        qsort_r(d->ha.v, d->ha.n, sizeof *d->ha.v, entry_cmp, &d->ha);
    if (d->hb.n > 1)
        qsort_r(d->hb.v, d->hb.n, sizeof *d->hb.v, entry_cmp, &d->hb);
    size_t i = 0, j = 0;
    while (i < d->ha.n || j < d->hb.n) {
        int c = i == d->ha.n ? 1 : j == d->hb.n ? -1 : key_cmp(&d->ha, &d->ha.v[i], &d->hb, &d->hb.v[j]);
        size_t nx = c <= 0 ? run_length(&d->ha, i) : 0, ny = c >= 0 ? run_length(&d->hb, j) : 0;
        if (run_of_key(d, d->ha.v + i, nx, d->hb.v + j, ny, err))
            return -1;
        i += nx;
        j += ny;
    }
    if (settle(d, d->left_a, d->n_left_a, d->left_b, d->n_left_b, err))
        return -1;
    return diff_relation_end(d, err);
}
