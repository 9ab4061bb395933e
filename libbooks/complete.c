/*
 * What a record of an epic says by ids alone, said by names that both sides know: who gave an emoji, in which group the parent is. And the order of
 * an epic's children, which no record says: of each child it is known where it stands. It is compared by the children that both sides have, and
 * where it is not the same both records get `children`, so that it is told of the parent, once.
 */
#include "libbooks/known_priv.h"

#include "libcommon/json.h"

#include <stdlib.h>
#include <string.h>

/* Groups are called by their ids in the bundle; those that it does not have by the negative id of the target. */
static const char *const tables[] = {
    "CREATE TEMP TABLE known_child(second INTEGER, parent_grp INTEGER, parent INTEGER, grp INTEGER, iid INTEGER, place INTEGER, id INTEGER,"
    " PRIMARY KEY(second, parent_grp, parent, grp, iid)) WITHOUT ROWID",
    "CREATE TEMP TABLE known_children(second INTEGER, grp INTEGER, iid INTEGER, json TEXT, PRIMARY KEY(second, grp, iid)) WITHOUT ROWID",
};

/* ---- groups and people ---- */

static const struct grp *grp_there(const struct known *k, int64_t id, const char *path)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->groups[i].target_id ? k->groups[i].target_id == id : path && strcmp(k->groups[i].dst_path, path) == 0)
            return &k->groups[i];
    return NULL;
}

static const char *path_there(const struct known *k, int64_t id)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(k->target, &g);
    for (size_t i = 0; i < n; i++)
        if (g[i].id == id)
            return g[i].full_path;
    return NULL;
}

static int64_t group_number(const struct known *k, bool second, int64_t id)
{
    const struct grp *g = second ? grp_there(k, id, path_there(k, id)) : NULL;
    return !second ? id : g ? g->id : -id;
}

/* Full path of a group of either side, there where it is; NULL: not known. */
static const char *group_path(const struct known *k, bool second, int64_t id)
{
    const struct grp *g = second ? NULL : known_grp(k, id);
    return second ? path_there(k, id) : g ? g->src_path : NULL;
}

static int user_name(struct known *k, bool second, int64_t id, char **out, struct gs_err *err)
{
    *out = NULL;
    if (!second) {
        struct user_row u;
        bool found;
        if (state_user(k->state, id, &u, &found, err))
            return -1;
        if (found && u.username)
            *out = strdup(u.username);
        bool failed = found && u.username && !*out;
        if (found)
            user_row_release(&u);
        return failed ? gs_fail(err, GS_E_NOMEM, "out of memory") : 0;
    }
    sqlite3_stmt *st = known_stmt(k, k->native.by == NATIVE_NONE ? KNOWN_THERE : KNOWN_SEEN, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st);
    const char *name = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    *out = name ? strdup(name) : gs_asprintf("user %lld there", (long long)id);
    sqlite3_reset(st);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

/* ---- the order of children ---- */

static int put_child(struct known *k, sqlite3_stmt *put, bool second, int64_t group, yyjson_val *rec, struct gs_err *err)
{
    yyjson_val *parent = yyjson_obj_get(rec, "parent");
    int64_t parent_group = 0, parent_iid = 0, iid = 0, place = 0, id = 0;
    if (!gs_json_i64(parent, "iid", &parent_iid) || !gs_json_i64(parent, "group_id", &parent_group) || !gs_json_i64(rec, "iid", &iid) ||
        !gs_json_i64(rec, "relative_position", &place))
        return 0;
    gs_json_i64(rec, "id", &id);
    sqlite3_bind_int(put, 1, second);
    sqlite3_bind_int64(put, 2, group_number(k, second, parent_group));
    sqlite3_bind_int64(put, 3, parent_iid);
    sqlite3_bind_int64(put, 4, group_number(k, second, group));
    sqlite3_bind_int64(put, 5, iid);
    sqlite3_bind_int64(put, 6, place);
    sqlite3_bind_int64(put, 7, id);
    int rc = sqlite3_step(put);
    sqlite3_reset(put);
    return rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

struct children {
    struct known *k;
    sqlite3_stmt *put;
    bool second;
    int64_t group;
};

static int on_epic(void *cookie, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err)
{
    const struct children *c = cookie;
    (void)ref;
    return put_child(c->k, c->put, c->second, c->group, rec, err);
}

static int read_side(struct known *k, sqlite3_stmt *put, bool second, struct gs_err *err)
{
    const struct bundle *b = second ? k->target : k->bundle;
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    for (size_t i = 0; i < n; i++) {
        struct children c = {k, put, second, g[i].id};
        if (bundle_each(b, g[i].id, "epics", on_epic, &c, err))
            return -1;
    }
    return 0;
}

/* The children of one parent, in their order on one side. */
static int put_children(struct known *k, bool second, int64_t group, int64_t iid, struct gs_err *err)
{
    static const char sql[] = "SELECT x.grp, x.iid FROM temp.known_child x JOIN temp.known_child y ON y.second = 1 - x.second AND y.parent_grp = x.parent_grp"
                              " AND y.parent = x.parent AND y.grp = x.grp AND y.iid = x.iid WHERE x.second = ?1 AND x.parent_grp = ?2 AND x.parent = ?3"
                              " ORDER BY x.place, x.id";
    sqlite3_stmt *st = NULL, *put = NULL;
    gs_autobuf json;
    struct gs_jw w;
    int rc = SQLITE_ERROR;
    gs_buf_init(&json, (size_t)64 << 20);
    gs_jw_init(&w, &json, 0, err);
    gs_jw_arr(&w);
    if (sqlite3_prepare_v2(state_db(k->state), sql, -1, &st, NULL) == SQLITE_OK) {
        sqlite3_bind_int(st, 1, second);
        sqlite3_bind_int64(st, 2, group);
        sqlite3_bind_int64(st, 3, iid);
        while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
            const struct grp *g = known_grp(k, sqlite3_column_int64(st, 0));
            gs_jw_obj(&w);
            gs_jw_ki64(&w, "iid", sqlite3_column_int64(st, 1));
            gs_jw_kstr(&w, "group_path", g ? g->dst_path : NULL);
            gs_jw_end(&w);
        }
    }
    sqlite3_finalize(st);
    gs_jw_end(&w);
    if (rc != SQLITE_DONE)
        return known_db_fail(k, err);
    if (gs_jw_finish(&w))
        return -1;
    rc = sqlite3_prepare_v2(state_db(k->state), "INSERT INTO temp.known_children VALUES(?1, ?2, ?3, ?4)", -1, &put, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_int(put, 1, second);
        sqlite3_bind_int64(put, 2, group);
        sqlite3_bind_int64(put, 3, iid);
        sqlite3_bind_text(put, 4, gs_buf_str(&json), -1, SQLITE_STATIC);
        rc = sqlite3_step(put);
    }
    sqlite3_finalize(put);
    if (rc != SQLITE_DONE)
        return known_db_fail(k, err);
    k->orders_differ = true;
    return 0;
}

/* Parents whose children stand in another order: found while they are read in that of the bundle. */
static int compare_orders(struct known *k, struct gs_err *err)
{
    static const char sql[] = "SELECT x.parent_grp, x.parent, y.place, y.id FROM temp.known_child x JOIN temp.known_child y ON y.second = 1"
                              " AND y.parent_grp = x.parent_grp AND y.parent = x.parent AND y.grp = x.grp AND y.iid = x.iid WHERE x.second = 0"
                              " ORDER BY x.parent_grp, x.parent, x.place, x.id";
    sqlite3_stmt *st = NULL;
    int64_t last[4] = {0};
    bool told = false;
    int rc, r = 0;
    if (sqlite3_prepare_v2(state_db(k->state), sql, -1, &st, NULL) != SQLITE_OK)
        return known_db_fail(k, err);
    while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        int64_t now[4];
        for (int i = 0; i < 4; i++)
            now[i] = sqlite3_column_int64(st, i);
        bool same = now[0] == last[0] && now[1] == last[1];
        told = told && same;
        if (same && !told && (now[2] < last[2] || (now[2] == last[2] && now[3] < last[3]))) {
            told = true;
            r = put_children(k, false, now[0], now[1], err) || put_children(k, true, now[0], now[1], err) ? -1 : 0;
        }
        memcpy(last, now, sizeof last);
    }
    sqlite3_finalize(st);
    return r || rc == SQLITE_DONE ? r : known_db_fail(k, err);
}

static int read_children(struct known *k, struct gs_err *err)
{
    sqlite3_stmt *put = NULL;
    k->children_read = true;
    for (size_t i = 0; i < GS_COUNT(tables); i++)
        if (sqlite3_exec(state_db(k->state), tables[i], NULL, NULL, NULL))
            return known_db_fail(k, err);
    if (sqlite3_prepare_v2(state_db(k->state), "INSERT OR IGNORE INTO temp.known_child VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)", -1, &put, NULL))
        return known_db_fail(k, err);
    int r = read_side(k, put, false, err) || read_side(k, put, true, err) ? -1 : 0;
    sqlite3_finalize(put);
    return r || compare_orders(k, err) ? -1 : 0;
}

/* *out to be freed; NULL: the children stand as on the other side. */
static int children_of(struct known *k, bool second, int64_t group, int64_t iid, char **out, struct gs_err *err)
{
    sqlite3_stmt *st = k->orders_differ ? known_stmt(k, KNOWN_CHILDREN, err) : NULL;
    *out = NULL;
    if (!st)
        return k->orders_differ ? -1 : 0;
    sqlite3_bind_int(st, 1, second);
    sqlite3_bind_int64(st, 2, group_number(k, second, group));
    sqlite3_bind_int64(st, 3, iid);
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && !(*out = strdup((const char *)sqlite3_column_text(st, 0))))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

/* ---- the record ---- */

struct completion {
    struct known *k;
    bool second, changed;
    yyjson_mut_doc *doc;
    struct gs_err *err;
};

static int put_str(struct completion *x, yyjson_mut_val *obj, const char *key, const char *value)
{
    x->changed = true;
    return yyjson_mut_obj_add_val(x->doc, obj, key, yyjson_mut_strcpy(x->doc, value)) ? 0 : gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
}

/* Ids stand as raw text, so that none of them loses a digit. */
static int64_t id_of(yyjson_mut_val *obj, const char *key)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(obj, key);
    return yyjson_mut_is_raw(v) ? strtoll(yyjson_mut_get_raw(v), NULL, 10) : yyjson_mut_is_int(v) ? yyjson_mut_get_sint(v) : 0;
}

static int name_givers(struct completion *x, yyjson_mut_val *holder)
{
    size_t i, max;
    yyjson_mut_val *e;
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(holder, "award_emoji"), i, max, e)
    {
        int64_t id = id_of(e, "user_id");
        gs_autofree char *name = NULL;
        if (id == 0 || yyjson_mut_is_obj(yyjson_mut_obj_get(e, "user")))
            continue;
        if (user_name(x->k, x->second, id, &name, x->err))
            return -1;
        yyjson_mut_val *user = name ? yyjson_mut_obj(x->doc) : NULL;
        if (name && (!user || put_str(x, user, "username", name) || !yyjson_mut_obj_add_val(x->doc, e, "user", user)))
            return gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
    }
    return 0;
}

static int complete(struct completion *x, yyjson_mut_val *rec, int64_t group)
{
    yyjson_mut_val *parent = yyjson_mut_obj_get(rec, "parent"), *e;
    size_t i, max;
    if (name_givers(x, rec))
        return -1;
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(rec, "notes"), i, max, e)
    {
        if (name_givers(x, e))
            return -1;
    }
    const char *path = yyjson_mut_is_obj(parent) && !yyjson_mut_obj_get(parent, "group_path") ? group_path(x->k, x->second, id_of(parent, "group_id")) : NULL;
    if (path && put_str(x, parent, "group_path", path))
        return -1;
    gs_autofree char *children = NULL;
    if (children_of(x->k, x->second, group, id_of(rec, "iid"), &children, x->err))
        return -1;
    if (!children)
        return 0;
    x->changed = true;
    yyjson_mut_val *raw = yyjson_mut_rawcpy(x->doc, children);
    return raw && yyjson_mut_obj_add_val(x->doc, rec, "children", raw) ? 0 : gs_fail(x->err, GS_E_NOMEM, "no memory for a record");
}

int known_complete(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *json, struct gs_err *err)
{
    struct known *k = cookie;
    struct gs_json_opts raw = {.max_bytes = json->len + 1, .raw_numbers = true};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (strcmp(relation, "epics") != 0)
        return 0;
    if ((!k->children_read && read_children(k, err)) || gs_json_parse(gs_buf_str(json), json->len, &raw, &doc, err))
        return -1;
    GS_AUTO(yyjson_mut_doc) m = yyjson_doc_mut_copy(doc, NULL);
    if (!m || !yyjson_mut_is_obj(yyjson_mut_doc_get_root(m)))
        return m ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a record");
    struct completion x = {.k = k, .second = second, .doc = m, .err = err};
    if (complete(&x, yyjson_mut_doc_get_root(m), group))
        return -1;
    if (!x.changed)
        return 0;
    size_t len = 0;
    gs_autofree char *text = yyjson_mut_write(m, 0, &len);
    gs_buf_reset(json);
    return text ? gs_buf_add(json, text, len, err) : gs_fail(err, GS_E_NOMEM, "no memory for a record");
}
