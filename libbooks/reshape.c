/*
 * The form in which a record of the bundle and one of the target are alike: text without blanks at its ends and with one kind of line
 * end, nothing instead of empty text, people by their name on the target, groups by their path there.
 */
#include "libbooks/known_priv.h"

#include "formats/shape.h"
#include "libcommon/json.h"

#include <string.h>

struct reshape {
    struct known *k;
    bool second;
    yyjson_mut_doc *doc;
    bool changed;
    struct gs_err *err;
};

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/* GitLab strips titles and names; of longer text it keeps what stands before it, and browsers send CR LF. */
static char *tidy(const char *s, size_t n, bool whole, size_t *out_n)
{
    size_t from = 0, len = 0;
    while (n > 0 && blank(s[n - 1]))
        n--;
    while (whole && from < n && blank(s[from]))
        from++;
    char *t = malloc(n - from + 1);
    for (size_t i = from; t && i < n; i++)
        if (!(s[i] == '\r' && i + 1 < n && s[i + 1] == '\n'))
            t[len++] = s[i];
    *out_n = len;
    return t;
}

/* The text of an attribute; *out_drop: it is empty, and says what nothing says. */
static int text(struct reshape *x, yyjson_mut_val *v, const struct rel_attr *a, bool *out_drop)
{
    size_t n = 0, had = yyjson_mut_get_len(v);
    gs_autofree char *t = tidy(yyjson_mut_get_str(v), had, a->type == REL_STR, &n);
    if (!t)
        return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    *out_drop = n == 0 && !(a->absent && strcmp(a->absent, "\"\"") == 0);
    if (n == had)
        return 0;
    yyjson_mut_val *s = yyjson_mut_strncpy(x->doc, t, n);
    if (!s)
        return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    x->changed = true;
    yyjson_mut_set_strn(v, yyjson_mut_get_str(s), n);
    return 0;
}

/* On the target a person has another name, mail address and id; what remains is who it is. */
static int person(struct reshape *x, yyjson_mut_val *v)
{
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(v, "username"));
    if (!name)
        return 0;
    gs_autofree char *to = NULL;
    if (known_is_nobody(name)) { /* a part of a record that was looked at before */
        to = strdup(name);
    } else if (!x->second) {
        sqlite3_stmt *st = known_stmt(x->k, KNOWN_WHO, x->err);
        if (!st)
            return -1;
        sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
        if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0))
            to = strdup((const char *)sqlite3_column_text(st, 0));
        else
            to = gs_asprintf(KNOWN_NOBODY, name);
        sqlite3_reset(st);
    } else if (known_placeholder(x->k, name, &to, x->err)) {
        return -1;
    } else if (!to) {
        to = strdup(name);
    }
    yyjson_mut_val *s = to ? yyjson_mut_strcpy(x->doc, to) : NULL;
    if (!s || !yyjson_mut_obj_clear(v) || !yyjson_mut_obj_add_val(x->doc, v, "username", s))
        return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    x->changed = true;
    return 0;
}

/* Id of the target's group that has this path now. */
static int64_t group_there(const struct known *k, const char *path)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(k->target, &g);
    for (size_t i = 0; i < n; i++)
        if (strcmp(g[i].full_path, path) == 0)
            return g[i].id;
    return 0;
}

/* The full path of a group, as it is to be on the target: one that was renamed or moved there since is told of itself. */
static int path(struct reshape *x, yyjson_mut_val *v)
{
    const char *s = yyjson_mut_get_str(v);
    int64_t id = s && x->second ? group_there(x->k, s) : 0;
    for (size_t i = 0; s && i < x->k->n; i++) {
        const struct grp *g = &x->k->groups[i];
        if ((x->second ? !id || g->target_id != id : strcmp(g->src_path, s) != 0) || strcmp(g->dst_path, s) == 0)
            continue;
        yyjson_mut_val *to = yyjson_mut_strcpy(x->doc, g->dst_path);
        if (!to)
            return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
        yyjson_mut_set_strn(v, yyjson_mut_get_str(to), yyjson_mut_get_len(to));
        x->changed = true;
        break;
    }
    return 0;
}

static int walk(struct reshape *x, const struct relation *r, yyjson_mut_val *obj, unsigned depth);

static int below(struct reshape *x, const struct rel_nested *n, yyjson_mut_val *v, unsigned depth)
{
    const struct relation *r = relation_find(n->relation);
    yyjson_mut_val *e;
    size_t i, max;
    if (!yyjson_mut_is_arr(v))
        return walk(x, r, v, depth + 1);
    /* what GitLab writes under a record by itself, it writes there as well, about what happened there */
    for (i = yyjson_mut_arr_size(v); i > 0; i--) {
        e = yyjson_mut_arr_remove_first(v);
        if (yyjson_mut_is_true(yyjson_mut_obj_get(e, "system")))
            x->changed = true;
        else
            yyjson_mut_arr_append(v, e);
    }
    yyjson_mut_arr_foreach(v, i, max, e)
    {
        if (walk(x, r, e, depth + 1))
            return -1;
    }
    return 0;
}

static int walk(struct reshape *x, const struct relation *r, yyjson_mut_val *obj, unsigned depth)
{
    if (!r || !yyjson_mut_is_obj(obj) || depth > 16)
        return 0;
    if (strcmp(r->name, "user") == 0)
        return person(x, obj);
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(obj);
    yyjson_mut_val *k;
    while ((k = yyjson_mut_obj_iter_next(&it))) {
        const char *name = yyjson_mut_get_str(k);
        yyjson_mut_val *v = yyjson_mut_obj_iter_get_val(k);
        const struct rel_attr *a = relation_attr(r, name);
        const struct rel_nested *n = r->nested;
        bool drop = false;
        while (n && n->name && strcmp(n->name, name) != 0)
            n++;
        if (n && n->name) {
            if (below(x, n, v, depth))
                return -1;
        } else if (a && yyjson_mut_is_str(v) && strcmp(name, "group_path") == 0) {
            if (path(x, v))
                return -1;
        } else if (a && yyjson_mut_is_str(v) && (a->type == REL_STR || a->type == REL_TEXT)) {
            if (text(x, v, a, &drop))
                return -1;
            if (drop) { /* and from the start, since the iterator cannot take one out: the others stay as they are now */
                yyjson_mut_obj_remove_key(obj, name);
                it = yyjson_mut_obj_iter_with(obj);
                x->changed = true;
            }
        }
    }
    return 0;
}

/* Is there anything to do? Most records are what they are on both sides, and a copy that can be changed costs more than this look. */
static bool needed(const struct reshape *x, const struct relation *r, yyjson_val *obj, unsigned depth)
{
    if (!r || !yyjson_is_obj(obj) || depth > 16)
        return false;
    if (strcmp(r->name, "user") == 0)
        return true;
    yyjson_obj_iter it = yyjson_obj_iter_with(obj);
    yyjson_val *k, *e;
    size_t i, max;
    while ((k = yyjson_obj_iter_next(&it))) {
        const char *name = yyjson_get_str(k);
        yyjson_val *v = yyjson_obj_iter_get_val(k);
        const char *s = yyjson_get_str(v);
        size_t n = yyjson_get_len(v);
        const struct rel_nested *below = yyjson_is_ctn(v) ? r->nested : NULL;
        while (below && below->name && strcmp(below->name, name) != 0)
            below++;
        if (below && below->name && yyjson_is_obj(v) && needed(x, relation_find(below->relation), v, depth + 1))
            return true;
        if (below && below->name && yyjson_is_arr(v)) {
            yyjson_arr_foreach(v, i, max, e)
            {
                if (gs_json_true(e, "system") || needed(x, relation_find(below->relation), e, depth + 1))
                    return true;
            }
        }
        if (s && (n == 0 || blank(s[0]) || blank(s[n - 1]) || memchr(s, '\r', n) || strcmp(name, "group_path") == 0))
            return true;
    }
    return false;
}

static int visibility_level(const char *v)
{
    return strcmp(v, "public") == 0 ? 20 : strcmp(v, "internal") == 0 ? 10 : 0;
}

/* A group is to have the name, path and visibility that the plan gave it. */
static int planned(struct reshape *x, int64_t group, yyjson_mut_val *obj)
{
    const struct grp *g = known_grp(x->k, group);
    if (!g)
        return 0;
    const char *slash = strrchr(g->dst_path, '/');
    yyjson_mut_obj_remove_key(obj, "name");
    yyjson_mut_obj_remove_key(obj, "path");
    yyjson_mut_obj_remove_key(obj, "visibility_level");
    x->changed = true;
    if (x->k->silent[g - x->k->groups]) {
        yyjson_mut_obj_remove_key(obj, "emails_enabled");
        if (!yyjson_mut_obj_add_bool(x->doc, obj, "emails_enabled", false))
            return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    }
    char level[8];
    snprintf(level, sizeof level, "%d", visibility_level(g->visibility));
    if (!yyjson_mut_obj_add_strcpy(x->doc, obj, "name", g->name) ||
        !yyjson_mut_obj_add_strcpy(x->doc, obj, "path", slash ? slash + 1 : g->dst_path) ||
        !yyjson_mut_obj_add_val(x->doc, obj, "visibility_level", yyjson_mut_rawcpy(x->doc, level)))
        return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    return 0;
}

int known_reshape(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err)
{
    struct known *k = cookie;
    const struct relation *r = relation_find(relation);
    struct gs_json_opts raw = {.max_bytes = norm->len + 1, .raw_numbers = true};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!r)
        return 0;
    if (gs_json_parse(gs_buf_str(norm), norm->len, &raw, &doc, err))
        return -1;
    struct reshape x = {.k = k, .second = second, .err = err};
    bool self = !second && strcmp(relation, "self") == 0;
    if (!self && !needed(&x, r, yyjson_doc_get_root(doc), 0))
        return 0;
    GS_AUTO(yyjson_mut_doc) m = yyjson_doc_mut_copy(doc, NULL);
    yyjson_mut_val *obj = yyjson_mut_doc_get_root(m);
    if (!obj)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    x.doc = m;
    if (walk(&x, r, obj, 0) || (self && planned(&x, group, obj)))
        return -1;
    if (!x.changed)
        return 0;
    GS_AUTO(yyjson_doc) made = yyjson_mut_doc_imut_copy(m, NULL);
    if (!made)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    gs_buf_reset(&k->json);
    gs_buf_reset(norm);
    /* once more through the shape: what stood in the order of its text stands in that of its new text */
    return gs_json_write(yyjson_doc_get_root(made), &k->json, err) ||
                   shape_content(relation, gs_buf_str(&k->json), k->json.len, norm, err)
               ? -1
               : 0;
}
