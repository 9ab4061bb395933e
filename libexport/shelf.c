#include "libexport/shelf.h"

#include <stdlib.h>
#include <string.h>

#define SHELF_MAX ((size_t)256 << 20)

void shelf_init(struct shelf *s, const char *key)
{
    *s = (struct shelf){.key = key, .announced = -1};
    gs_buf_init(&s->text, SHELF_MAX);
}

void shelf_release(struct shelf *s)
{
    gs_buf_release(&s->text);
    free(s->rows);
    free(s->index);
    s->rows = NULL;
    s->index = NULL;
    s->n = s->cap = 0;
}

void shelf_reset(struct shelf *s)
{
    gs_buf_reset(&s->text);
    free(s->index);
    s->index = NULL;
    s->n = 0;
    s->ready = false;
    s->announced = -1;
    s->left_out = 0;
}

void shelf_finish(struct shelf *s, int64_t announced, uint64_t left_out)
{
    s->ready = true;
    s->announced = announced;
    s->left_out = left_out;
}

/* A number for a text that is no number of an object. */
static int64_t text_key(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return (int64_t)((h | (uint64_t)1 << 62) & INT64_MAX);
}

/* 0: it is paired with nothing. */
static int64_t key_of(const struct shelf *s, yyjson_val *v)
{
    const char *dot = strchr(s->key, '.'), *title = gs_json_str(v, dot ? "title" : s->key);
    int64_t id = 0, least = 0;
    yyjson_val *element;
    if (!dot)
        return title ? text_key(title) : gs_json_i64(v, s->key, &id) ? id : 0;
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_getn(v, s->key, (size_t)(dot - s->key)));
    while ((element = yyjson_arr_iter_next(&it)))
        if (gs_json_i64(element, dot + 1, &id) && (least == 0 || id < least))
            least = id;
    return least || !title ? least : text_key(title);
}

int shelf_add(struct shelf *s, const char *json, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(json, len, NULL, &doc, err))
        return -1;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct shelf_row *v = realloc(s->rows, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for a shelf");
        s->rows = v;
        s->cap = cap;
    }
    size_t off = s->text.len;
    if (gs_buf_add(&s->text, json, len, err))
        return -1;
    s->rows[s->n++] = (struct shelf_row){.id = key_of(s, yyjson_doc_get_root(doc)), .off = off, .len = len};
    return 0;
}

static int by_id(const void *a, const void *b, void *rows)
{
    const struct shelf_row *x = &((struct shelf_row *)rows)[*(const size_t *)a], *y = &((struct shelf_row *)rows)[*(const size_t *)b];
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->off < y->off ? -1 : x->off > y->off;
}

/* Positions of the rows, sorted by id; the rows themselves keep the order in which they came. */
static int make_index(struct shelf *s, struct gs_err *err)
{
    size_t *index = malloc((s->n + 1) * sizeof *index);
    if (!index)
        return gs_fail(err, GS_E_NOMEM, "no memory for a shelf");
    for (size_t i = 0; i < s->n; i++)
        index[i] = i;
    qsort_r(index, s->n, sizeof *index, by_id, s->rows);
    free(s->index);
    s->index = index;
    return 0;
}

static struct shelf_row *find(const struct shelf *s, int64_t id)
{
    size_t lo = 0, hi = id > 0 ? s->n : 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->rows[s->index[mid]].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo < s->n && s->rows[s->index[lo]].id == id && s->rows[s->index[lo]].taken && lo + 1 < s->n &&
           s->rows[s->index[lo + 1]].id == id) /* namesakes: one after the other */
        lo++;
    return id > 0 && lo < s->n && s->rows[s->index[lo]].id == id ? &s->rows[s->index[lo]] : NULL;
}

/* ---- joining ---- */

struct joiner {
    const char *const *only;
    uint64_t added;
};

static bool allowed(const struct joiner *j, const char *key)
{
    for (size_t i = 0; j->only && j->only[i]; i++)
        if (strcmp(j->only[i], key) == 0)
            return true;
    return !j->only;
}

static void join(struct joiner *j, yyjson_val *base, yyjson_val *more, struct gs_jw *w);

static bool same_text(yyjson_val *a, yyjson_val *b, const char *key)
{
    const char *x = gs_json_str(a, key), *y = gs_json_str(b, key);
    return strcmp(x ? x : "", y ? y : "") == 0;
}

/* Lists of a board that have no ids: one for each label, and one open and closed. */
static yyjson_val *same_list(yyjson_val *array, yyjson_val *element)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (same_text(v, element, "list_type") &&
            same_text(yyjson_obj_get(v, "label"), yyjson_obj_get(element, "label"), "title"))
            return v;
    return NULL;
}

static yyjson_val *same_id(yyjson_val *array, yyjson_val *element)
{
    int64_t id, other;
    yyjson_val *v;
    const char *key = yyjson_obj_get(element, "id") ? "id" : "iid";
    if (!gs_json_i64(element, key, &id))
        return gs_json_str(element, "list_type") ? same_list(array, element) : NULL;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    while ((v = yyjson_arr_iter_next(&it)))
        if (gs_json_i64(v, key, &other) && other == id)
            return v;
    return NULL;
}

static void join_array(struct joiner *j, yyjson_val *base, yyjson_val *more, struct gs_jw *w)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(base);
    yyjson_val *v;
    gs_jw_arr(w);
    while ((v = yyjson_arr_iter_next(&it)))
        join(j, v, same_id(more, v), w);
    gs_jw_end(w);
}

static void join_object(struct joiner *j, yyjson_val *base, yyjson_val *more, struct gs_jw *w)
{
    yyjson_val *k;
    yyjson_obj_iter it = yyjson_obj_iter_with(base);
    gs_jw_obj(w);
    while ((k = yyjson_obj_iter_next(&it))) {
        gs_jw_key(w, yyjson_get_str(k));
        join(j, yyjson_obj_iter_get_val(k), yyjson_obj_getn(more, yyjson_get_str(k), yyjson_get_len(k)), w);
    }
    it = yyjson_obj_iter_with(more);
    while ((k = yyjson_obj_iter_next(&it))) {
        if (yyjson_obj_getn(base, yyjson_get_str(k), yyjson_get_len(k)) || !allowed(j, yyjson_get_str(k)))
            continue;
        gs_jw_key(w, yyjson_get_str(k));
        gs_jw_val(w, yyjson_obj_iter_get_val(k));
        j->added++;
    }
    gs_jw_end(w);
}

static void join(struct joiner *j, yyjson_val *base, yyjson_val *more, struct gs_jw *w)
{
    if (yyjson_is_obj(base) && yyjson_is_obj(more))
        join_object(j, base, more, w);
    else if (yyjson_is_arr(base) && yyjson_is_arr(more))
        join_array(j, base, more, w);
    else
        gs_jw_val(w, base);
}

int shelf_join(struct shelf *s, yyjson_val *base, const char *const *only, struct gs_buf *out, bool *out_changed,
               struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts raw = {.max_bytes = SHELF_MAX, .raw_numbers = true};
    struct joiner j = {.only = only};
    size_t from = out->len;
    *out_changed = false;
    if (s->n == 0 || (!s->index && make_index(s, err)))
        return s->n == 0 ? 0 : -1;
    struct shelf_row *row = find(s, key_of(s, base));
    if (!row)
        return 0;
    row->taken = true;
    if (gs_json_parse(s->text.data + row->off, row->len, &raw, &doc, err))
        return -1;
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    join(&j, base, yyjson_doc_get_root(doc), &w);
    if (gs_jw_finish(&w))
        return -1;
    *out_changed = j.added > 0;
    if (!*out_changed) {
        out->len = from;
        out->data[from] = '\0';
    }
    return 0;
}
