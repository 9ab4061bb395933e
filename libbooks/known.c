#include "libbooks/known_priv.h"

#include <stdlib.h>
#include <string.h>

static const char *const sql[KNOWN_QUERIES] = {
    [KNOWN_WHO] = "SELECT target FROM temp.known_who WHERE username = ?1",
    [KNOWN_OP] = "SELECT id, target_id, state, code, text FROM op WHERE grp = ?1 AND kind = ?2 AND key = ?3"
                 " ORDER BY src_id <> ?4 LIMIT 1",
    [KNOWN_OP_BY_ID] = "SELECT id, target_id, state, code, text FROM op WHERE grp = ?1 AND kind = ?2 AND src_id = ?3 LIMIT 1",
    [KNOWN_OURS] = "SELECT 1 FROM temp.known_ours WHERE kind = ?1 AND target_id = ?2",
    [KNOWN_LOSS] = "SELECT code, detail, op FROM temp.known_loss WHERE grp = ?1 AND relation = ?2 AND key = ?3"
                   " UNION ALL SELECT code, detail, op FROM temp.known_loss WHERE grp = ?1 AND relation = ?2 AND key = ''"
                   " UNION ALL SELECT code, detail, op FROM temp.known_loss WHERE grp = ?1 AND relation = ?2 AND key = ?5 AND ?5 <> ?3",
    [KNOWN_BAD] = "SELECT key, code, text FROM op WHERE grp = ?1 AND kind = ?2 AND key >= ?3 AND key < ?4 AND state > 2 AND code <> '" CODE_RULE "'",
    [KNOWN_THERE] = "SELECT target_username FROM user WHERE target_id = ?1 AND target_username > '' LIMIT 1",
    [KNOWN_PLAIN] = "SELECT p.username, w.target FROM temp.known_plain p LEFT JOIN temp.known_who w ON w.username = p.username WHERE p.plain = ?1",
    [KNOWN_SEE] = "INSERT OR IGNORE INTO temp.known_seen VALUES(?1, ?2)",
    [KNOWN_SEEN] = "SELECT username FROM temp.known_seen WHERE id = ?1",
    [KNOWN_CHILDREN] = "SELECT json FROM temp.known_children WHERE second = ?1 AND grp = ?2 AND iid = ?3",
    [KNOWN_NOTED] = "SELECT 1 FROM temp.known_loss WHERE grp = ?1 AND relation = ?2 AND key = ?3 AND code = ?4 LIMIT 1",
    [KNOWN_PREFIX] = "SELECT code, detail, op, key FROM temp.known_loss WHERE grp = ?1 AND relation = ?2 AND (key >= ?3 AND key < ?4 OR key = ?5)",
};

/* What is looked up by what the state has no index for. */
static const char *const tables[] = {
    "CREATE TEMP TABLE known_who(username TEXT PRIMARY KEY, target TEXT) WITHOUT ROWID",
    "INSERT OR IGNORE INTO known_who SELECT username, target_username FROM user WHERE target_id > 0 AND username > '' AND target_username > ''",
    "CREATE TEMP TABLE known_loss(grp INTEGER, relation TEXT, key TEXT, code TEXT, detail TEXT, op INTEGER)",
    "INSERT INTO known_loss SELECT grp, relation, coalesce(key, ''), code, detail, op FROM loss",
    /* an object of a kind that is left out has its losses under the step that would have made it */
    "CREATE INDEX temp.known_loss_key ON known_loss(grp, relation, key)",
    "CREATE TEMP TABLE known_ours(kind TEXT, target_id INTEGER, PRIMARY KEY(kind, target_id)) WITHOUT ROWID",
    "INSERT OR IGNORE INTO known_ours SELECT kind, target_id FROM op WHERE state = 2 AND target_id > 0",
};

int known_db_fail(struct known *k, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(k->state), sqlite3_errmsg(state_db(k->state)));
}

sqlite3_stmt *known_stmt(struct known *k, enum known_query q, struct gs_err *err)
{
    if (!k->q[q] && sqlite3_prepare_v3(state_db(k->state), sql[q], -1, SQLITE_PREPARE_PERSISTENT, &k->q[q], NULL)) {
        GS_IGNORE(known_db_fail(k, err), "NULL says it");
        return NULL;
    }
    sqlite3_reset(k->q[q]);
    sqlite3_clear_bindings(k->q[q]);
    return k->q[q];
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct grp *)a)->id, y = ((const struct grp *)b)->id;
    return (x > y) - (x < y);
}

static int read_groups(struct known *k, struct bundle *b, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    k->groups = calloc(n + 1, sizeof *k->groups);
    if (!k->groups)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", n);
    k->root = n ? g[0].id : 0;
    for (; k->n < n; k->n++)
        if (state_grp(k->state, g[k->n].id, &k->groups[k->n], err))
            return gs_wrap(err, "group '%s'", g[k->n].full_path);
    qsort(k->groups, k->n, sizeof *k->groups, by_id);
    return 0;
}

/* Does the group's own record turn mails off? */
static int reads_silent(struct bundle *b, int64_t group, bool *out, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    const void *data = NULL;
    size_t len = 0;
    *out = false;
    if (bundle_count(b, group, "self") == 0)
        return 0;
    if (bundle_cursor_open(b, group, "self", &c, err) || bundle_cursor_next(c, &data, &len, NULL, err))
        return -1;
    if (data && record_parse(bundle_encoding(b), data, len, NULL, &doc, err))
        return -1;
    yyjson_val *self = yyjson_doc_get_root(doc);
    *out = yyjson_is_false(yyjson_obj_get(self, "emails_enabled")) || gs_json_true(self, "emails_disabled");
    return 0;
}

/* GitLab shows of mails what holds, which is never more than what holds above. */
static int read_silence(struct known *k, struct bundle *b, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    k->silent = calloc(n + 1, sizeof *k->silent);
    if (!k->silent)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", n);
    for (size_t i = 0; i < n; i++) { /* parents before children */
        const struct grp *self = known_grp(k, g[i].id), *up = g[i].parent_id ? known_grp(k, g[i].parent_id) : NULL;
        if (reads_silent(b, g[i].id, &k->silent[self - k->groups], err))
            return -1;
        k->silent[self - k->groups] |= up && k->silent[up - k->groups];
    }
    return 0;
}

int known_open(struct state *s, struct bundle *bundle, struct bundle *target, bool loaded, struct known **out, struct gs_err *err)
{
    GS_AUTO(known) k = calloc(1, sizeof *k);
    if (!k)
        return gs_fail(err, GS_E_NOMEM, "no memory for a state file");
    k->state = s;
    k->bundle = bundle;
    k->target = target;
    k->loaded = loaded;
    gs_buf_init(&k->json, (size_t)256 << 20);
    for (size_t i = 0; i < GS_COUNT(tables); i++)
        if (sqlite3_exec(state_db(s), tables[i], NULL, NULL, NULL))
            return known_db_fail(k, err);
    if (state_meta_get(s, "target_url", &k->target_url, err) || read_groups(k, bundle, err) || read_silence(k, bundle, err))
        return -1;
    *out = gs_steal(&k);
    return 0;
}

int known_nothing(struct known **out, struct gs_err *err)
{
    struct known *k = calloc(1, sizeof *k);
    if (!k)
        return gs_fail(err, GS_E_NOMEM, "no memory for a state file");
    gs_buf_init(&k->json, (size_t)256 << 20);
    *out = k;
    return 0;
}

bool known_is_nobody(const char *name)
{
    size_t tail = sizeof KNOWN_NOBODY - 3, len = strlen(name); /* without %s */
    return len > tail && strcmp(name + len - tail, &KNOWN_NOBODY[2]) == 0;
}

void known_target(struct known *k, struct bundle *target)
{
    k->target = target;
}

void known_close(struct known *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < GS_COUNT(k->q); i++)
        sqlite3_finalize(k->q[i]);
    static const char *const drop[] = {"DROP TABLE IF EXISTS temp.known_who", "DROP TABLE IF EXISTS temp.known_loss",
                                       "DROP TABLE IF EXISTS temp.known_ours",  "DROP TABLE IF EXISTS temp.known_plain",
                                       "DROP TABLE IF EXISTS temp.known_seen",  "DROP TABLE IF EXISTS temp.known_child",
                                       "DROP TABLE IF EXISTS temp.known_children"};
    for (size_t i = 0; k->state && i < GS_COUNT(drop); i++)
        GS_IGNORE(sqlite3_exec(state_db(k->state), drop[i], NULL, NULL, NULL), "they go with the connection");
    for (size_t i = 0; i < k->n; i++)
        grp_release(&k->groups[i]);
    free(k->groups);
    free(k->silent);
    free(k->target_url);
    free(k->reader);
    yyjson_doc_free(k->above_doc);
    gs_buf_release(&k->json);
    free(k);
}

const struct grp *known_grp(const struct known *k, int64_t id)
{
    struct grp key = {.id = id};
    return bsearch(&key, k->groups, k->n, sizeof *k->groups, by_id);
}

int64_t known_twin(void *cookie, const struct bundle_group *b, const char **out_path)
{
    const struct grp *g = known_grp(cookie, b->id);
    *out_path = g ? g->dst_path : NULL;
    return g ? g->target_id : 0;
}

static void copy(char *out, size_t cap, const unsigned char *s)
{
    snprintf(out, cap, "%s", s ? (const char *)s : "");
}

static int read_op(struct known *k, sqlite3_stmt *st, struct known_op *out, bool *out_found, struct gs_err *err)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out_found = true;
        *out = (struct known_op){.id = sqlite3_column_int64(st, 0), .target_id = sqlite3_column_int64(st, 1),
                                 .state = sqlite3_column_int(st, 2)};
        copy(out->code, sizeof out->code, sqlite3_column_text(st, 3));
        copy(out->text, sizeof out->text, sqlite3_column_text(st, 4));
    }
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

const char *known_called(struct known *k, const char *key)
{
    struct gs_err ignored = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (*key && strspn(key, "0123456789") == strlen(key)) { /* epics are called as GitLab refers to them */
        snprintf(k->called, sizeof k->called, "&%s", key);
        return k->called;
    }
    if ((*key != '[' && *key != '{') || gs_json_parse(key, strlen(key), NULL, &doc, &ignored))
        return key;
    yyjson_val *v = yyjson_doc_get_root(doc);
    const char *name = yyjson_is_arr(v) ? yyjson_get_str(yyjson_arr_get_first(v)) : gs_json_str(v, "name");
    if (!name)
        return key;
    snprintf(k->called, sizeof k->called, "%s", name);
    return k->called;
}

static int op_by_key(struct known *k, int64_t group, const char *kind, int64_t id, const char *key, struct known_op *out, bool *out_found,
                     struct gs_err *err)
{
    sqlite3_stmt *st = known_stmt(k, KNOWN_OP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, group);
    sqlite3_bind_text(st, 2, kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, id);
    return read_op(k, st, out, out_found, err);
}

int known_op(struct known *k, int64_t group, const char *relation, int64_t id, const char *key, struct known_op *out, bool *out_found,
             struct gs_err *err)
{
    const char *kind = strcmp(relation, "self") == 0 ? "groups" : relation;
    sqlite3_stmt *st;
    *out_found = false;
    if (op_by_key(k, group, kind, id, key, out, out_found, err))
        return -1;
    /* kinds whose key is their content are known under a shorter name; a group has one step that makes it */
    bool group_itself = strcmp(kind, "groups") == 0;
    if (*out_found)
        return 0;
    if (!id && !group_itself) {
        const char *called = known_called(k, key);
        return called != key ? op_by_key(k, group, kind, 0, called, out, out_found, err) : 0;
    }
    st = known_stmt(k, KNOWN_OP_BY_ID, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, group);
    sqlite3_bind_text(st, 2, kind, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, group_itself ? group : id);
    return read_op(k, st, out, out_found, err);
}

int known_noted(struct known *k, int64_t group, const char *relation, const char *key, const char *code, bool *out, struct gs_err *err)
{
    sqlite3_stmt *st = known_stmt(k, KNOWN_NOTED, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, group);
    sqlite3_bind_text(st, 2, relation, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 4, code, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW;
    sqlite3_reset(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

int64_t known_record(void *cookie, int64_t group, const char *relation, int64_t id, const char *own_key)
{
    struct known *k = cookie;
    struct known_op op;
    struct gs_err err = {0};
    bool found;
    if (!k->loaded || known_op(k, group, relation, id, own_key, &op, &found, &err) || !found || op.state != OP_DONE)
        return 0;
    return op.target_id;
}
