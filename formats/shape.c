#include "shape.h"

#include "formats/relations.h"
#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

#define SCRATCH_MAX (SIZE_MAX / 4)
#define MAX_NESTING 32

enum keep { KEEP_ALL, KEEP_VALUES }; /* of a nested record, and for keys: only what is content */

/* ---- pieces of an object, sorted by key in the end ---- */

struct piece {
    const char *key;
    size_t key_len;
    size_t from, len; /* in `text` */
};

struct pieces {
    struct piece *p;
    size_t n, cap;
    struct gs_buf text;
};

static void pieces_release(struct pieces *ps)
{
    free(ps->p);
    gs_buf_release(&ps->text);
}

/* What was appended to ps->text since `from` is the value of `key`. */
static int add_piece(struct pieces *ps, const char *key, size_t key_len, size_t from, struct gs_err *err)
{
    if (ps->n == ps->cap) {
        size_t cap = ps->cap ? ps->cap * 2 : 32;
        struct piece *p = realloc(ps->p, cap * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "no memory for a record");
        ps->p = p;
        ps->cap = cap;
    }
    ps->p[ps->n++] = (struct piece){key, key_len, from, ps->text.len - from};
    return 0;
}

static int piece_cmp(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int r = memcmp(x->key, y->key, x->key_len < y->key_len ? x->key_len : y->key_len);
    return r ? r : (x->key_len > y->key_len) - (x->key_len < y->key_len);
}

static int put_pieces(struct pieces *ps, struct gs_buf *out, struct gs_err *err)
{
    if (ps->n)
        qsort(ps->p, ps->n, sizeof *ps->p, piece_cmp);
    if (gs_buf_addc(out, '{', err))
        return -1;
    for (size_t i = 0; i < ps->n; i++)
        if ((i && gs_buf_addc(out, ',', err)) || gs_json_quote(ps->p[i].key, ps->p[i].key_len, out, err) ||
            gs_buf_addc(out, ':', err) || gs_buf_add(out, ps->text.data + ps->p[i].from, ps->p[i].len, err))
            return -1;
    return gs_buf_addc(out, '}', err);
}

/* ---- values ---- */

static int put_time(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    struct gs_err ignored = {0};
    const char *s = yyjson_get_str(v);
    int64_t ms;
    char text[GS_TIME_LEN];
    if (!s || gs_time_parse(s, &ms, &ignored))
        return gs_json_canonical(v, out, err); /* a difference will show it */
    gs_time_format(ms, text);
    return gs_json_quote(text, strlen(text), out, err);
}

static int put_date(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    struct gs_err ignored = {0};
    const char *s = yyjson_get_str(v);
    int64_t ms;
    if (!s || gs_time_parse(s, &ms, &ignored))
        return gs_json_canonical(v, out, err);
    return gs_json_quote(s, 10, out, err);
}

static int put_color(yyjson_val *v, struct gs_buf *out, struct gs_err *err)
{
    const char *s = yyjson_get_str(v);
    size_t n = yyjson_get_len(v);
    char c[8] = "#";
    if (!s || s[0] != '#' || (n != 4 && n != 7))
        return gs_json_canonical(v, out, err);
    for (size_t i = 1; i < 7; i++) {
        char d = s[n == 7 ? i : (i + 1) / 2];
        c[i] = d >= 'A' && d <= 'F' ? (char)(d - 'A' + 'a') : d;
    }
    return gs_json_quote(c, 7, out, err);
}

static int put_object(const struct relation *r, yyjson_val *v, enum keep keep, unsigned depth, struct gs_buf *out,
                      struct gs_err *err);

/* ---- what older versions and the REST API call differently ---- */

struct word {
    const char *text;
    int64_t number;
};

static const struct word levels_visibility[] = {{"private", 0}, {"internal", 10}, {"public", 20}, {NULL, 0}};
static const struct word levels_project[] = {{"noone", 0},         {"no_one", 0}, {"maintainer", 1}, {"developer", 2},
                                             {"administrator", 3}, {"admin", 3},  {"owner", 4},      {NULL, 0}};
static const struct word levels_subgroup[] = {{"owner", 0}, {"maintainer", 1}, {NULL, 0}};
static const struct word states[] = {{"opened", 1}, {"closed", 2}, {"locked", 3}, {"merged", 4}, {NULL, 0}};
static const struct word list_types[] = {{"backlog", 0}, {"label", 1},     {"closed", 2},   {"assignee", 3},
                                         {"milestone", 4}, {"iteration", 5}, {NULL, 0}};
static const struct word actions[] = {{"created", 1}, {"updated", 2},   {"closed", 3},   {"reopened", 4}, {"pushed", 5},
                                      {"commented", 6}, {"merged", 7},  {"joined", 8},   {"left", 9},     {"destroyed", 10},
                                      {"expired", 11}, {"approved", 12}, {NULL, 0}};
static const struct word filters[] = {{"none", 0}, {"any", -1}, {"upcoming", -2}, {"started", -3}, {"current", -4}, {NULL, 0}};

static const struct legacy {
    const char *relation, *attr;
    const char *old;              /* key that is read when `attr` is absent (or the same key in another type) */
    const struct word *words;     /* NULL: the value as it is */
    bool to_number;               /* words become numbers; else numbers become words */
    bool negate;
    bool filter;                  /* only ids that are no ids: 0 and below */
} legacy[] = {
    {"self", "emails_enabled", "emails_disabled", NULL, false, true, false},
    {"self", "visibility_level", "visibility", levels_visibility, true, false, false},
    {"self", "project_creation_level", "project_creation_level", levels_project, true, false, false},
    {"self", "subgroup_creation_level", "subgroup_creation_level", levels_subgroup, true, false, false},
    {"labels", "title", "name", NULL, false, false, false},
    {"label", "title", "name", NULL, false, false, false},
    {"labels", "text_color", "textColor", NULL, false, false, false},
    {"epics", "state", "state", states, false, false, false},
    {"epics", "state", "state_id", states, false, false, false},
    {"epics", "due_date", "end_date", NULL, false, false, false},
    {"milestones", "state", "state_id", NULL, false, false, false},
    {"lists", "list_type", "list_type", list_types, false, false, false},
    {"lists", "user", "assignee", NULL, false, false, false},
    {"epic_lists", "list_type", "list_type", list_types, false, false, false},
    {"boards", "milestone_filter", "milestone_id", filters, false, false, true},
    {"boards", "iteration_filter", "iteration_id", filters, false, false, true},
    {"notes", "note", "body", NULL, false, false, false},
    {"notes", "internal", "confidential", NULL, false, false, false},
    {"events", "action", "action", actions, false, false, false},
    {"resource_state_events", "state", "state", states, false, false, false},
    {NULL, NULL, NULL, NULL, false, false, false},
};

/* Most names part in their first letter. */
static bool same(const char *a, const char *b)
{
    return *a == *b && strcmp(a, b) == 0;
}

/* Is this key read as another attribute, so that it is not copied by itself? */
static bool legacy_key(const struct relation *r, const char *key)
{
    for (const struct legacy *l = legacy; l->relation; l++)
        if (same(l->old, key) && same(l->relation, r->name))
            return true;
    return false;
}

static int put_word(const struct legacy *l, yyjson_val *v, bool *out_done, struct gs_buf *out, struct gs_err *err)
{
    int64_t n = 0;
    bool number = gs_json_val_i64(v, &n);
    if (l->filter && (!number || n > 0))
        return 0;
    for (const struct word *w = l->words; w->text; w++) {
        if (number ? w->number != n : !yyjson_equals_str(v, w->text))
            continue;
        *out_done = true;
        if (l->to_number)
            return gs_buf_addf(out, err, "%lld", (long long)w->number);
        return gs_json_quote(w->text, strlen(w->text), out, err);
    }
    return 0;
}

/* The attribute out of an old key. *out_done tells whether there was one. */
static int put_legacy(const struct relation *r, const struct rel_attr *a, yyjson_val *obj, bool *out_done,
                      struct gs_buf *out, struct gs_err *err)
{
    for (const struct legacy *l = legacy; l->relation && !*out_done; l++) {
        if (!same(l->attr, a->name) || !same(l->relation, r->name))
            continue;
        yyjson_val *v = yyjson_obj_get(obj, l->old);
        if (!v || yyjson_is_null(v))
            continue;
        if (l->words) {
            if (put_word(l, v, out_done, out, err))
                return -1;
        } else if (!l->negate) {
            *out_done = true;
            return gs_json_canonical(v, out, err);
        } else if (yyjson_is_bool(v)) {
            *out_done = true;
            return gs_buf_addstr(out, yyjson_get_bool(v) ? "false" : "true", err);
        }
    }
    return 0;
}

/* ---- nested records ---- */

struct element {
    char *text;
    int64_t position; /* lists: their position; comments: their time */
    size_t index;     /* in the record, where the order there means something: what has no position keeps its place */
};

static int element_cmp(const void *a, const void *b)
{
    const struct element *x = a, *y = b;
    if (x->position != y->position)
        return x->position < y->position ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return strcmp(x->text, y->text);
}

/*
 * The lists Open and Closed come and go with the board itself, and the API of some versions hides them; whether they are shown
 * is an attribute of the board. So they say nothing about a board that its other attributes do not say.
 */
static bool automatic_list(const struct relation *r, yyjson_val *v)
{
    yyjson_val *type = yyjson_obj_get(v, "list_type");
    int64_t n = -1;
    if (strcmp(r->name, "lists") != 0 && strcmp(r->name, "epic_lists") != 0)
        return false;
    if (yyjson_arr_size(yyjson_obj_get(v, "epics")) > 0) /* of epic boards: the order of what is in no other list */
        return false;
    bool number = gs_json_val_i64(type, &n);
    return yyjson_equals_str(type, "backlog") || yyjson_equals_str(type, "closed") || (number && (n == 0 || n == 2));
}

static void place_element(const struct relation *r, yyjson_val *v, size_t index, struct element *e)
{
    struct gs_err ignored = {0};
    const char *when = NULL;
    if (strcmp(r->name, "lists") == 0 || strcmp(r->name, "epic_lists") == 0) {
        e->index = index;
        if (!gs_json_i64(v, "position", &e->position))
            e->position = INT64_MAX;
        return;
    }
    if (strcmp(r->name, "notes") == 0) {
        e->index = index;
        when = gs_json_str(v, "created_at");
    } else if (strcmp(r->name, "listed_epic") == 0) {
        e->index = index; /* in the order of the board */
    } else if (strcmp(r->name, "iterations") == 0) {
        when = gs_json_str(v, "start_date");
    }
    if (when)
        GS_IGNORE(gs_time_parse(when, &e->position, &ignored), "without a time it stands first");
}

static int put_array(const struct relation *r, yyjson_val *arr, unsigned depth, struct gs_buf *out, struct gs_err *err)
{
    size_t n = 0, i, max;
    yyjson_val *v;
    struct element *e = calloc(yyjson_arr_size(arr) + 1, sizeof *e);
    if (!e)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    int f = 0;
    yyjson_arr_foreach(arr, i, max, v)
    {
        gs_autobuf text;
        gs_buf_init(&text, SCRATCH_MAX);
        if (f == 0 && automatic_list(r, v))
            continue;
        if (f == 0)
            f = put_object(r, v, KEEP_VALUES, depth, &text, err);
        if (f == 0) {
            place_element(r, v, i, &e[n]);
            e[n].text = gs_buf_steal(&text, NULL);
            if (!e[n++].text)
                f = gs_fail(err, GS_E_NOMEM, "no memory for a record");
        }
    }
    if (f == 0 && n > 1)
        qsort(e, n, sizeof *e, element_cmp);
    if (f == 0)
        f = gs_buf_addc(out, '[', err);
    for (i = 0; i < n && f == 0; i++)
        f = (i && gs_buf_addc(out, ',', err)) || gs_buf_addstr(out, e[i].text, err);
    if (f == 0)
        f = gs_buf_addc(out, ']', err);
    for (i = 0; i < n; i++)
        free(e[i].text);
    free(e);
    return f ? -1 : 0;
}

static const struct rel_nested *nested_of(const struct relation *r, const char *key)
{
    for (const struct rel_nested *n = r->nested; n && n->name; n++)
        if (strcmp(n->name, key) == 0)
            return n;
    return NULL;
}

/* ---- records ---- */

static int put_value(const struct relation *r, const struct rel_attr *a, yyjson_val *v, unsigned depth,
                     struct gs_buf *out, struct gs_err *err)
{
    const struct rel_nested *n = nested_of(r, a->name);
    const struct relation *below = n ? relation_find(n->relation) : NULL;
    if (below && n->array && yyjson_is_arr(v))
        return put_array(below, v, depth + 1, out, err);
    if (below && !n->array && yyjson_is_obj(v))
        return put_object(below, v, KEEP_VALUES, depth + 1, out, err);
    switch (a->type) {
    case REL_TIME: return put_time(v, out, err);
    case REL_DATE: return put_date(v, out, err);
    case REL_COLOR: return put_color(v, out, err);
    default: return gs_json_canonical(v, out, err);
    }
}

static int put_attr(const struct relation *r, const struct rel_attr *a, yyjson_val *obj, unsigned depth,
                    struct pieces *ps, struct gs_err *err)
{
    yyjson_val *v = yyjson_obj_get(obj, a->name);
    size_t from = ps->text.len;
    bool done = false;
    if (put_legacy(r, a, obj, &done, &ps->text, err))
        return -1;
    /* today's key wins over an old one, unless it is the same key in an old type */
    if (v && !yyjson_is_null(v) && !(done && legacy_key(r, a->name))) {
        ps->text.len = from;
        done = true;
        if (put_value(r, a, v, depth, &ps->text, err))
            return -1;
    }
    if (!done && a->absent) {
        done = true;
        if (gs_buf_addstr(&ps->text, a->absent, err))
            return -1;
    }
    return done ? add_piece(ps, a->name, strlen(a->name), from, err) : 0;
}

static bool tail_is(const char *key, size_t len, const char *tail)
{
    size_t n = strlen(tail);
    return len >= n && memcmp(key + len - n, tail, n) == 0;
}

/* Rendered forms, which every server makes anew. */
static bool rendered(const char *key, size_t len)
{
    return tail_is(key, len, "_html") || tail_is(key, len, "cached_markdown_version");
}

static int put_unknown(const struct relation *r, yyjson_val *obj, struct pieces *ps, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *k, *v;
    yyjson_obj_foreach(obj, i, max, k, v)
    {
        const char *key = yyjson_get_str(k);
        size_t from = ps->text.len, len = yyjson_get_len(k);
        if (yyjson_is_null(v) || rendered(key, len) || (r && (relation_attr(r, key) || legacy_key(r, key))))
            continue;
        if (gs_json_canonical(v, &ps->text, err) || add_piece(ps, key, len, from, err))
            return -1;
    }
    return 0;
}

/* A row that only says how to find a record again keeps nothing else of it. */
static bool is_reference(const struct relation *r)
{
    return r && r->single && r->phase == REL_PHASE_NONE && strcmp(r->name, "board_assignee") != 0;
}

static int put_object(const struct relation *r, yyjson_val *v, enum keep keep, unsigned depth, struct gs_buf *out,
                      struct gs_err *err)
{
    if (!yyjson_is_obj(v))
        return gs_json_canonical(v, out, err);
    if (depth > MAX_NESTING)
        return gs_fail(err, GS_E_JSON_DEPTH, "records nested deeper than %d", MAX_NESTING);
    struct pieces ps = {0};
    gs_buf_init(&ps.text, SCRATCH_MAX);
    int f = 0;
    for (const struct rel_attr *a = r ? r->attrs : NULL; a && a->name && f == 0; a++)
        if (a->cls != REL_INSTANCE && (keep == KEEP_ALL || a->cls == REL_VALUE || a->cls == REL_SETTING))
            f = put_attr(r, a, v, depth, &ps, err);
    if (f == 0 && !is_reference(r))
        f = put_unknown(r, v, &ps, err);
    if (f == 0)
        f = put_pieces(&ps, out, err);
    pieces_release(&ps);
    return f;
}

static int parse(const char *json, size_t len, yyjson_doc **out, struct gs_err *err)
{
    struct gs_json_opts o = {.raw_numbers = true};
    if (gs_json_parse(json, len, &o, out, err))
        return -1;
    return yyjson_is_obj(yyjson_doc_get_root(*out)) ? 0 : gs_fail(err, GS_E_RECORD, "a record is one JSON object");
}

static int shape(const char *relation, const char *json, size_t len, enum keep keep, struct gs_buf *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (parse(json, len, &doc, err))
        return -1;
    return put_object(relation_find(relation), yyjson_doc_get_root(doc), keep, 0, out, err);
}

int shape_normalise(const char *relation, const char *json, size_t len, struct gs_buf *out, struct gs_err *err)
{
    return shape(relation, json, len, KEEP_ALL, out, err);
}

int shape_content(const char *relation, const char *json, size_t len, struct gs_buf *out, struct gs_err *err)
{
    return shape(relation, json, len, KEEP_VALUES, out, err);
}

/* ---- keys ---- */

/* The content without what the server sets, for kinds that have no key. */
static int content_key(const struct relation *r, yyjson_val *rec, struct gs_buf *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf text;
    gs_buf_init(&text, SCRATCH_MAX);
    /* by way of text, so that numbers are text too */
    if (gs_json_write(rec, &text, err) || parse(gs_buf_str(&text), text.len, &doc, err))
        return -1;
    return put_object(r, yyjson_doc_get_root(doc), KEEP_VALUES, 0, out, err);
}

/* What a user is called: his name, or what else is known of him. */
static int user_key(yyjson_val *rec, struct gs_buf *out, struct gs_err *err)
{
    const char *name = gs_json_str(yyjson_obj_get(rec, "user"), "username");
    const char *mail = gs_json_str(rec, "invite_email");
    int64_t id;
    if (name)
        return gs_buf_addstr(out, name, err);
    if (mail)
        return gs_buf_addf(out, err, "invited:%s", mail);
    if (gs_json_i64(rec, "user_id", &id))
        return gs_buf_addf(out, err, "user:%lld", (long long)id);
    return gs_fail(err, GS_E_RECORD, "a member without a user");
}

static int attr_key(const struct relation *r, const char *name, yyjson_val *rec, bool plain, struct gs_buf *out,
                    struct gs_err *err)
{
    const struct rel_attr *a = relation_attr(r, name);
    yyjson_val *v = yyjson_obj_get(rec, name);
    if (!v && strcmp(name, "title") == 0)
        v = yyjson_obj_get(rec, "name"); /* labels of REST */
    if (!v || yyjson_is_null(v))
        return plain ? gs_fail(err, GS_E_RECORD, "'%s' is missing in a record of '%s'", name, r->name)
                     : gs_buf_addstr(out, "null", err);
    if (plain && yyjson_is_str(v))
        return gs_buf_add(out, yyjson_get_str(v), yyjson_get_len(v), err);
    return a && a->type == REL_DATE ? put_date(v, out, err) : gs_json_canonical(v, out, err);
}

int shape_key(const char *relation, yyjson_val *rec, struct gs_buf *out, struct gs_err *err)
{
    const struct relation *r = relation_find(relation);
    if (!yyjson_is_obj(rec))
        return gs_fail(err, GS_E_RECORD, "a record is one JSON object");
    if (r && r->single && !*r->key)
        return gs_buf_addstr(out, r->name, err);
    if (!r || !*r->key)
        return content_key(r, rec, out, err);
    if (strcmp(r->key, "user") == 0)
        return user_key(rec, out, err);
    if (!strchr(r->key, ','))
        return attr_key(r, r->key, rec, true, out, err);
    const char *p = r->key;
    char name[64], sep = '[';
    while (*p) {
        size_t n = strcspn(p, ",");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (gs_buf_addc(out, sep, err) || attr_key(r, name, rec, false, out, err))
            return -1;
        sep = ',';
        p += n + (p[n] == ',');
    }
    return gs_buf_addc(out, ']', err);
}
