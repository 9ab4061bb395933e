#include "libexport/marks.h"

#include "libcommon/clock.h"
#include "libgitlab/rest.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_MAX ((size_t)64 << 20)

static const char *const relations[] = {"labels", "milestones", "members", "boards", "badges", "epics", "epic_boards", "iterations_cadences"};

enum mark_kind mark_kind_of(const char *relation)
{
    for (size_t i = 0; i < GS_COUNT(relations); i++)
        if (strcmp(relations[i], relation) == 0)
            return (enum mark_kind)i;
    return MARK_KINDS;
}

const char *mark_relation(enum mark_kind k)
{
    return k < MARK_KINDS ? relations[k] : "?";
}

/* ---- numbers over values ---- */

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

static uint64_t with_number(uint64_t h, int64_t n)
{
    return mix(h + 0x9e3779b97f4a7c15u + (uint64_t)n);
}

static uint64_t with_text(uint64_t h, const char *s, size_t len)
{
    uint64_t t = 14695981039346656037u;
    for (size_t i = 0; i < len; i++)
        t = (t ^ (unsigned char)s[i]) * 1099511628211u;
    return with_number(with_number(h, (int64_t)t), (int64_t)len);
}

/* A text value; absent and null are the same. */
static uint64_t with_value(uint64_t h, yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);
    int64_t n;
    if (yyjson_is_str(v))
        return with_text(h, yyjson_get_str(v), yyjson_get_len(v));
    if (v && gs_json_val_i64(v, &n))
        return with_number(h, n);
    return with_number(h, yyjson_is_bool(v) ? -1 - (int64_t)yyjson_is_true(v) : 0);
}

/* Seconds since 1970 of a time; 0 when there is none. */
static int64_t seconds(yyjson_val *obj, const char *key)
{
    const char *s = gs_json_str(obj, key);
    struct gs_err ignored = {0};
    int64_t ms;
    return s && gs_time_parse(s, &ms, &ignored) == 0 ? ms / 1000 : 0;
}

static int64_t id_of(yyjson_val *obj)
{
    int64_t id = 0;
    const char *gid = gs_json_str(obj, "id");
    if (gid)
        id = gl_gid(gid);
    else if (!gs_json_i64(obj, "id", &id))
        id = 0;
    return id;
}

/* ---- adding records ---- */

static void add(struct mark *m, int64_t id, int64_t highest, int64_t newest_s, uint64_t what)
{
    uint64_t h = with_number(1, id);
    m->n++;
    m->ids += h;
    m->sum += mix(h ^ what);
    if (highest > m->highest)
        m->highest = highest;
    if (newest_s > m->newest_s)
        m->newest_s = newest_s;
}

static uint64_t first_ten(uint64_t h, yyjson_val *obj, const char *key)
{
    const char *s = gs_json_str(obj, key);
    return s ? with_text(h, s, strnlen(s, 10)) : with_number(h, 0);
}

static void add_member(struct mark *m, int64_t user, int64_t level, yyjson_val *obj, const char *expires_at)
{
    if (user > 0)
        add(m, user, 0, 0, first_ten(with_number(2, level), obj, expires_at));
}

/*
 * Lists that a person has made: Open and Closed come and go by a setting of the board. A node says the type, an element of REST
 * and a record have a target, and a record also an id of it.
 */
static uint64_t lists_of(yyjson_val *lists, bool labels_only)
{
    static const char *const targets[] = {"label", "assignee", "user", "milestone", "iteration"};
    uint64_t sum = 0;
    yyjson_arr_iter it = yyjson_arr_iter_with(lists);
    yyjson_val *l;
    while ((l = yyjson_arr_iter_next(&it))) {
        const char *type = gs_json_str(l, "listType");
        bool made = false;
        for (size_t i = 0; i < (labels_only ? 1 : GS_COUNT(targets)) && !made; i++)
            made = type ? strcmp(type, targets[i]) == 0 : yyjson_is_obj(yyjson_obj_get(l, targets[i]));
        if (made)
            sum += with_value(with_number(3, id_of(l)), l, "position");
    }
    return sum;
}

/* The sum of a record that shows no updated_at. Names are those of REST, or of the record, which differ for labels only. */
static uint64_t content(enum mark_kind k, yyjson_val *v)
{
    uint64_t h = 5;
    switch (k) {
    case MARK_LABELS:
        h = with_value(h, v, yyjson_obj_get(v, "title") ? "title" : "name");
        return with_value(with_value(h, v, "color"), v, "description");
    case MARK_BADGES:
        return with_value(with_value(with_value(h, v, "name"), v, "link_url"), v, "image_url");
    case MARK_BOARDS:
        return with_number(with_value(h, v, "name"), (int64_t)lists_of(yyjson_obj_get(v, "lists"), false));
    default:
        return h;
    }
}

/* ---- planning records ---- */

static int64_t iid_of(yyjson_val *v)
{
    const char *text = gs_json_str(v, "iid");
    int64_t iid = 0;
    return text ? strtoll(text, NULL, 10) : gs_json_i64(v, "iid", &iid) ? iid : 0;
}

/* A name in the place of an id. */
static int64_t named(yyjson_val *v, const char *key)
{
    return (int64_t)(with_value(17, v, key) >> 1);
}

/* Its lists with a label: Open and Closed come and go by a setting of the board. */
static uint64_t epic_lists_of(yyjson_val *lists)
{
    uint64_t sum = 0;
    yyjson_arr_iter it = yyjson_arr_iter_with(lists);
    yyjson_val *l;
    while ((l = yyjson_arr_iter_next(&it)))
        if (yyjson_is_obj(yyjson_obj_get(l, "label")))
            sum += with_value(19, yyjson_obj_get(l, "label"), "title");
    return sum;
}

static void add_epic_board(struct mark *m, yyjson_val *v, const char *no_open, const char *no_closed, yyjson_val *lists)
{
    uint64_t h = with_number(with_value(with_value(21, v, no_open), v, no_closed), (int64_t)epic_lists_of(lists));
    add(m, named(v, "name"), 0, 0, h);
}

void mark_iteration(struct mark *m, yyjson_val *v)
{
    uint64_t h = with_number(23, iid_of(v));
    int64_t s = seconds(v, yyjson_obj_get(v, "updatedAt") ? "updatedAt" : "updated_at");
    m->ids += h;
    m->sum += mix(h ^ with_number(7, s));
    if (s > m->newest_s)
        m->newest_s = s;
}

static void add_epic(struct mark *m, yyjson_val *v, int64_t s)
{
    add(m, iid_of(v), 0, s, with_number(7, s));
}

static void record_of_plans(struct mark *m, enum mark_kind k, yyjson_val *v)
{
    int64_t s;
    switch (k) {
    case MARK_EPICS:
        s = seconds(v, "updated_at");
        m->by_content |= s == 0;
        add_epic(m, v, s);
        break;
    case MARK_EPIC_BOARDS:
        add_epic_board(m, v, "hide_backlog_list", "hide_closed_list", yyjson_obj_get(v, "epic_lists"));
        break;
    default:
        add(m, named(v, "title"), 0, 0, 0);
        yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(v, "iterations"));
        yyjson_val *i;
        while ((i = yyjson_arr_iter_next(&it)))
            mark_iteration(m, i);
        break;
    }
}

static uint64_t timed(enum mark_kind k, int64_t updated_s, yyjson_val *lists, bool labels_only)
{
    uint64_t h = with_number(7, updated_s);
    return k == MARK_BOARDS ? with_number(h, (int64_t)lists_of(lists, labels_only)) : h;
}

int mark_record(struct mark *m, enum mark_kind k, const char *json, size_t len, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = RECORD_MAX};
    int64_t user = 0, level = 0;
    if (gs_json_parse(json, len, &o, &doc, err))
        return -1;
    yyjson_val *v = yyjson_doc_get_root(doc), *asked = yyjson_obj_get(v, "requested_at");
    if (k == MARK_MEMBERS) { /* an export also holds requests for access, which no list of members shows */
        if (gs_json_i64(v, "user_id", &user) && gs_json_i64(v, "access_level", &level) &&
            (!asked || yyjson_is_null(asked)))
            add_member(m, user, level, v, "expires_at");
        return 0;
    }
    if (k >= MARK_PLANS) {
        record_of_plans(m, k, v);
        return 0;
    }
    int64_t s = k == MARK_BADGES ? 0 : seconds(v, "updated_at");
    m->by_content |= s == 0;
    m->label_lists = true;
    add(m, id_of(v), id_of(v), s, s ? timed(k, s, yyjson_obj_get(v, "lists"), true) : content(k, v));
    return 0;
}

void mark_rest(struct mark *m, enum mark_kind k, yyjson_val *v, const struct mark *like)
{
    int64_t level = 0;
    m->by_content = like->by_content;
    if (k == MARK_MEMBERS) {
        if (!gs_json_i64(v, "access_level", &level))
            level = 0;
        add_member(m, id_of(v), level, v, "expires_at");
        return;
    }
    int64_t s = k == MARK_BADGES ? 0 : seconds(v, "updated_at");
    add(m, id_of(v), id_of(v), s, s ? timed(k, s, NULL, false) : content(k, v));
}

void mark_node(struct mark *m, enum mark_kind k, yyjson_val *v, const struct mark *like)
{
    int64_t level = 0;
    if (k == MARK_MEMBERS) {
        if (!gs_json_i64(yyjson_obj_get(v, "accessLevel"), "integerValue", &level))
            level = 0;
        add_member(m, id_of(yyjson_obj_get(v, "user")), level, v, "expiresAt");
        return;
    }
    if (k == MARK_EPIC_BOARDS) {
        add_epic_board(m, v, "hideBacklogList", "hideClosedList", yyjson_obj_get(yyjson_obj_get(v, "lists"), "nodes"));
        return;
    }
    if (k == MARK_CADENCES) {
        add(m, named(v, "title"), 0, 0, 0);
        return;
    }
    int64_t s = seconds(v, "updatedAt");
    if (k == MARK_EPICS) {
        add_epic(m, v, s);
        return;
    }
    add(m, id_of(v), id_of(v), s, timed(k, s, yyjson_obj_get(yyjson_obj_get(v, "lists"), "nodes"), like->label_lists));
}

bool mark_rest_tells(enum mark_kind k, const struct mark *before)
{
    return k == MARK_MEMBERS || k == MARK_BADGES || k == MARK_MILESTONES || before->by_content;
}

/* What the server computes anew, or what belongs to other objects. */
static const char *const passing[] = {"statistics", "root_storage_statistics", "projects", "shared_projects", "_links"};

int mark_value(yyjson_val *v, uint64_t *out, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, RECORD_MAX);
    uint64_t sum = 11;
    yyjson_obj_iter it = yyjson_obj_iter_with(v);
    yyjson_val *key;
    while ((key = yyjson_obj_iter_next(&it))) {
        const char *name = yyjson_get_str(key);
        bool skip = false;
        for (size_t i = 0; i < GS_COUNT(passing); i++)
            skip |= strcmp(name, passing[i]) == 0;
        if (skip)
            continue;
        gs_buf_reset(&text);
        if (gs_json_write(yyjson_obj_iter_get_val(key), &text, err))
            return -1;
        sum += with_text(with_text(13, name, strlen(name)), gs_buf_str(&text), text.len);
    }
    *out = sum;
    return 0;
}

/* ---- the table ---- */

_Static_assert(MARK_KINDS <= 8, "a bit of slot.known for each");

struct slot {
    int64_t group; /* 0: empty */
    struct mark m[MARK_KINDS];
    uint8_t known; /* bit per kind */
};

struct marks {
    struct slot *slots;
    size_t cap, n;
};

int marks_new(struct marks **out, struct gs_err *err)
{
    *out = calloc(1, sizeof **out);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for marks");
}

void marks_free(struct marks *t)
{
    if (!t)
        return;
    free(t->slots);
    free(t);
}

static struct slot *place(struct slot *slots, size_t cap, int64_t group)
{
    size_t i = (size_t)(mix((uint64_t)group)) & (cap - 1);
    while (slots[i].group != 0 && slots[i].group != group)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

static int grow(struct marks *t, struct gs_err *err)
{
    size_t cap = t->cap ? t->cap * 2 : 64;
    struct slot *slots = calloc(cap, sizeof *slots);
    if (!slots)
        return gs_fail(err, GS_E_NOMEM, "no memory for the marks of %zu groups", cap);
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].group)
            *place(slots, cap, t->slots[i].group) = t->slots[i];
    free(t->slots);
    t->slots = slots;
    t->cap = cap;
    return 0;
}

int marks_put(struct marks *t, int64_t group, enum mark_kind k, const struct mark *m, struct gs_err *err)
{
    if (group <= 0 || k >= MARK_KINDS)
        return 0;
    if (t->n * 4 >= t->cap * 3 && grow(t, err))
        return -1;
    struct slot *s = place(t->slots, t->cap, group);
    t->n += s->group == 0;
    s->group = group;
    s->m[k] = *m;
    s->known |= (uint8_t)(1u << k);
    return 0;
}

const struct mark *marks_get(const struct marks *t, int64_t group, enum mark_kind k)
{
    if (t->cap == 0 || group <= 0)
        return NULL;
    const struct slot *s = place(t->slots, t->cap, group);
    return s->group == group && (s->known & 1u << k) ? &s->m[k] : NULL;
}

bool marks_sum(const struct marks *t, enum mark_kind k, struct mark *out)
{
    bool known = false;
    *out = (struct mark){0};
    for (size_t i = 0; i < t->cap; i++) {
        const struct mark *m = &t->slots[i].m[k];
        if (t->slots[i].group == 0 || !(t->slots[i].known & 1u << k))
            continue;
        known = true;
        out->n += m->n;
        if (m->highest > out->highest)
            out->highest = m->highest;
        if (m->newest_s > out->newest_s)
            out->newest_s = m->newest_s;
    }
    return known;
}
