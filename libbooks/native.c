#include "libbooks/native.h"

#include "libbooks/known_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rule { RULE_MEMBER, RULE_NO_USER, RULE_OWNER, RULE_PERSON, RULE_TEXT, RULE_PARENT, RULE_ORDER, RULE_BOARD_LABELS, RULE_CADENCE, RULE_SETTING,
            RULE_VISIBILITY, RULE_FILES, RULE_UPLOADS, RULE_VERSION };

const struct native_rule native_rules[] = {
    [RULE_MEMBER] = {"importer-member-waits",
                     "GitLab keeps the membership of a placeholder user until the person has taken it over, and shows it nowhere before"},
    [RULE_NO_USER] = {"importer-member-no-user", "the member is found on the target by no mail address, which is how this importer looks for people"},
    [RULE_OWNER] = {"importer-owner", "who imports becomes Owner of every group that is made"},
    [RULE_PERSON] = {"importer-person", "what is by people whom the file import does not find on the target is by the user who imported"},
    [RULE_TEXT] = {"importer-author-in-text", "the importer has written the author's name into the text, as before 17.7"},
    [RULE_PARENT] = {"importer-parent", "the importer finds the parent of an epic only when it was made before, in the same group or one above it"},
    [RULE_ORDER] = {"importer-order",
                    "an importer does not carry the order of epics on epic boards, nor that of children where only the API was captured"},
    [RULE_BOARD_LABELS] = {"importer-board-labels", "an importer does not carry the labels that limit an epic board"},
    [RULE_CADENCE] = {"importer-cadence", "the importer switches automatic scheduling of iterations off"},
    [RULE_SETTING] = {"importer-setting", "the setting is not among those that this importer takes"},
    [RULE_VISIBILITY] = {"importer-visibility",
                         "an imported group has at most the visibility of the group above it, and by file import at the top is private"},
    [RULE_FILES] = {"importer-files", "avatars and uploads have no place in an export file"},
    [RULE_UPLOADS] = {"importer-uploads-unseen", "uploads are not read back: the importer says itself when it could not fetch one"},
    [RULE_VERSION] = {"importer-version", "importers of these versions do not carry this kind of object"},
    {0},
};

bool native_placeholder(const char *username, unsigned long *out_len)
{
    static const char mark[] = "_placeholder_";
    const char *at = NULL;
    for (const char *p = strstr(username, mark); p; p = strstr(p + 1, mark))
        at = p;
    if (!at || at == username)
        return false;
    const char *tail = at + sizeof mark - 1;
    if (strncmp(tail, "user_", 5) == 0 && tail[5])
        tail += 5;
    if (!*tail || strspn(tail, "0123456789abcdefghijklmnopqrstuvwxyz") != strlen(tail))
        return false;
    *out_len = (unsigned long)(at - username);
    return true;
}

/* ---- people ---- */

/* What GitLab keeps of a name at the source in that of its placeholder. The caller frees it. */
static char *plain_name(const char *s, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < len; i++)
        if (isalnum((unsigned char)s[i]))
            out[n++] = (char)tolower((unsigned char)s[i]);
    if (out)
        out[n] = '\0';
    return out;
}

/* Names at the source by what a placeholder keeps of them. Two people of whom that is the same are told apart by nothing. */
static int read_names(struct known *k, struct gs_err *err)
{
    sqlite3 *db = state_db(k->state);
    sqlite3_stmt *get = NULL, *put = NULL;
    int rc = SQLITE_ERROR;
    if (sqlite3_exec(db, "CREATE TEMP TABLE known_plain(plain TEXT PRIMARY KEY, username TEXT) WITHOUT ROWID", NULL, NULL, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT username FROM user WHERE username > '' ORDER BY src_id", -1, &get, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "INSERT OR IGNORE INTO temp.known_plain VALUES(?1, ?2)", -1, &put, NULL) == SQLITE_OK)
        while ((rc = sqlite3_step(get)) == SQLITE_ROW) {
            const char *name = (const char *)sqlite3_column_text(get, 0);
            gs_autofree char *plain = plain_name(name, strlen(name));
            sqlite3_bind_text(put, 1, plain, -1, SQLITE_TRANSIENT);
            sqlite3_bind_text(put, 2, name, -1, SQLITE_TRANSIENT);
            int did = plain ? sqlite3_step(put) : SQLITE_NOMEM;
            sqlite3_reset(put);
            if (did != SQLITE_DONE) {
                rc = did;
                break;
            }
        }
    sqlite3_finalize(get);
    sqlite3_finalize(put);
    return rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

static int on_user(void *cookie, yyjson_val *u, const struct bundle_ref *ref, struct gs_err *err)
{
    struct known *k = cookie;
    const char *name = gs_json_str(u, "username");
    int64_t id = 0;
    (void)ref;
    unsigned long len;
    if (!name || !gs_json_i64(u, "id", &id))
        return 0;
    k->placeholders += native_placeholder(name, &len);
    sqlite3_stmt *st = known_stmt(k, KNOWN_SEE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, id);
    sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    sqlite3_reset(st);
    return rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

uint64_t known_placeholders(const struct known *k)
{
    return k->placeholders;
}

int known_import(struct known *k, const struct native_import *n, struct gs_err *err)
{
    k->native = *n;
    if (n->by == NATIVE_NONE)
        return 0;
    if (sqlite3_exec(state_db(k->state), "CREATE TEMP TABLE known_seen(id INTEGER PRIMARY KEY, username TEXT)", NULL, NULL, NULL))
        return known_db_fail(k, err);
    return read_names(k, err) || state_meta_get(k->state, "target_user", &k->reader, err) ||
                   bundle_each(k->target, 0, "users", on_user, k, err)
               ? -1
               : 0;
}

int known_placeholder(struct known *k, const char *username, char **out, struct gs_err *err)
{
    unsigned long len;
    *out = NULL;
    if (k->native.by == NATIVE_NONE || !native_placeholder(username, &len))
        return 0;
    gs_autofree char *plain = plain_name(username, len);
    if (!plain)
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    sqlite3_stmt *st = known_stmt(k, KNOWN_PLAIN, err);
    if (!st)
        return -1;
    sqlite3_bind_text(st, 1, plain, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    const char *name = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    const char *there = name ? (const char *)sqlite3_column_text(st, 1) : NULL;
    bool failed = false;
    if (name) {
        *out = there ? strdup(there) : gs_asprintf(KNOWN_NOBODY, name);
        failed = !*out;
    }
    sqlite3_reset(st);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return known_db_fail(k, err);
    return failed ? gs_fail(err, GS_E_NOMEM, "no memory for a name") : 0;
}

/* ---- rules ---- */

static void explain(struct known *k, struct diff_item *i, enum diff_verdict v, enum rule r)
{
    known_say(k, i, v, native_rules[r].code, native_rules[r].text);
}

static bool among(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

/* Is this version there, and older? */
static bool older(const char *version, long major, long minor)
{
    char *end;
    long a = version ? strtol(version, &end, 10) : 0;
    if (a <= 0 || *end != '.')
        return false;
    return a < major || (a == major && strtol(end + 1, NULL, 10) < minor);
}

static bool carried_by_version(const struct native_import *n, const char *relation)
{
    long since = strcmp(relation, "epic_boards") == 0 ? 1804 : strcmp(relation, "iterations_cadences") == 0 ? 1504 : 0;
    return !since || !(older(n->source_version, since / 100, since % 100) || older(n->target_version, since / 100, since % 100));
}

/* A membership that is not there: nobody stands for this member yet, or nobody was found. */
static int missing_member(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (k->native.by == NATIVE_TRANSFER && !older(k->native.target_version, 17, 7)) {
        explain(k, i, DIFF_LOST, RULE_MEMBER);
        return 0;
    }
    sqlite3_stmt *st = known_stmt(k, KNOWN_WHO, err);
    if (!st)
        return -1;
    sqlite3_bind_text(st, 1, i->key, -1, SQLITE_STATIC);
    int rc = sqlite3_step(st);
    bool somebody = rc == SQLITE_ROW && sqlite3_column_text(st, 0);
    sqlite3_reset(st);
    if (!somebody)
        explain(k, i, DIFF_LOST, RULE_NO_USER);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : known_db_fail(k, err);
}

static int missing(struct known *k, struct diff_item *i, struct gs_err *err)
{
    bool avatar = strcmp(i->relation, "avatar") == 0, uploads = strcmp(i->relation, "uploads") == 0, file = k->native.by == NATIVE_FILE;
    if (strcmp(i->relation, "members") == 0)
        return missing_member(k, i, err);
    if (file && (avatar || uploads))
        explain(k, i, DIFF_LOST, RULE_FILES);
    else if (uploads)
        explain(k, i, DIFF_LOST, RULE_UPLOADS);
    else if (file && strcmp(i->relation, "namespace_settings") == 0)
        explain(k, i, DIFF_LOST, RULE_SETTING);
    else if (!carried_by_version(&k->native, i->relation))
        explain(k, i, DIFF_LOST, RULE_VERSION);
    return 0;
}

static bool self_or_above(const struct known *k, int64_t group, int64_t above)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(k->bundle, &g);
    for (size_t depth = 0; group && depth <= n; depth++) {
        if (group == above)
            return true;
        int64_t up = 0;
        for (size_t i = 0; i < n; i++)
            if (g[i].id == group)
                up = g[i].parent_id;
        group = up;
    }
    return false;
}

/* An epic without the parent that it had: was that one made later, or where the importer does not look? */
static void by_parent(struct known *k, struct diff_item *i, yyjson_val *record)
{
    yyjson_val *parent = yyjson_obj_get(record, "parent");
    int64_t id = 0, parent_id = 0, group = 0;
    if (i->b || !gs_json_i64(record, "id", &id) || !gs_json_i64(parent, "id", &parent_id) || !gs_json_i64(parent, "group_id", &group))
        return;
    if (!self_or_above(k, i->group_a, group) || (group == i->group_a && parent_id > id))
        explain(k, i, DIFF_LOST, RULE_PARENT);
}

/* ---- arrays without what an importer leaves ---- */

/* An emoji by somebody who is not on the target, or by the user who imported. */
static bool by_importer(const struct known *k, yyjson_mut_val *v)
{
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(yyjson_mut_obj_get(v, "user"), "username"));
    return name && ((k->reader && strcmp(name, k->reader) == 0) || known_is_nobody(name));
}

static void reduce(const struct known *k, yyjson_mut_val *v, bool people)
{
    yyjson_mut_val *key, *e;
    size_t i, n;
    if (yyjson_mut_is_arr(v)) {
        for (i = yyjson_mut_arr_size(v); i > 0; i--) {
            e = yyjson_mut_arr_remove_first(v);
            if (!people || !by_importer(k, e))
                yyjson_mut_arr_append(v, e);
        }
        yyjson_mut_arr_foreach(v, i, n, e)
        {
            reduce(k, e, people);
        }
    } else if (yyjson_mut_is_obj(v)) {
        if (!people)
            yyjson_mut_obj_remove_key(v, "epics");
        yyjson_mut_obj_foreach(v, i, n, key, e)
        {
            reduce(k, e, people);
        }
    }
}

/* The text of a value without the emoji of those people, or without the epics of lists. */
static int reduced(const struct known *k, const char *json, bool people, struct gs_buf *out, struct gs_err *err)
{
    struct gs_json_opts raw = {.raw_numbers = true, .max_bytes = (size_t)256 << 20};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(json, strlen(json), &raw, &doc, err))
        return -1;
    GS_AUTO(yyjson_mut_doc) m = yyjson_doc_mut_copy(doc, NULL);
    if (!m)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    yyjson_mut_val *root = yyjson_mut_doc_get_root(m), *e;
    reduce(k, root, people);
    if (!people) /* Open and Closed stand there only for what is in them */
        for (size_t i = yyjson_mut_is_arr(root) ? yyjson_mut_arr_size(root) : 0; i > 0; i--) {
            e = yyjson_mut_arr_remove_first(root);
            if (yyjson_mut_obj_get(e, "label"))
                yyjson_mut_arr_append(root, e);
        }
    GS_AUTO(yyjson_doc) made = yyjson_mut_doc_imut_copy(m, NULL);
    return made ? gs_json_write(yyjson_doc_get_root(made), out, err) : gs_fail(err, GS_E_NOMEM, "no memory for a record");
}

static int by_parts(struct known *k, struct diff_item *i, enum rule r, struct gs_err *err)
{
    gs_autobuf a, b;
    gs_buf_init(&a, (size_t)256 << 20);
    gs_buf_init(&b, (size_t)256 << 20);
    if (reduced(k, i->a ? i->a : "[]", r == RULE_PERSON, &a, err) || reduced(k, i->b ? i->b : "[]", r == RULE_PERSON, &b, err))
        return -1;
    if (a.len == b.len && memcmp(gs_buf_str(&a), gs_buf_str(&b), a.len) == 0)
        explain(k, i, DIFF_LOST, r);
    return 0;
}

/* "*By Ingrid on 2024-...*" in front of a text that is otherwise the same. */
static int by_author(struct known *k, struct diff_item *i, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) a = NULL;
    GS_AUTO(yyjson_doc) b = NULL;
    if (!i->b || (i->a && gs_json_parse(i->a, strlen(i->a), NULL, &a, err)) || gs_json_parse(i->b, strlen(i->b), NULL, &b, err))
        return i->b ? -1 : 0;
    const char *x = yyjson_get_str(yyjson_doc_get_root(a)), *y = yyjson_get_str(yyjson_doc_get_root(b));
    size_t n = x ? strlen(x) : 0, m = y ? strlen(y) : 0;
    if (y && m > n && strncmp(y, "*By ", 4) == 0 && memcmp(y + m - n, x ? x : "", n) == 0)
        explain(k, i, DIFF_LOST, RULE_TEXT);
    return 0;
}

/* ---- different ---- */

static const char *const settings[] = {"name", "path", "description", "visibility_level", "project_creation_level", "subgroup_creation_level",
                                       "membership_lock", "share_with_group_lock", "request_access_enabled", "lfs_enabled",
                                       "require_two_factor_authentication", "two_factor_grace_period", "mentions_disabled", "emails_enabled", NULL};
static const char *const automatic[] = {"automatic", "duration_in_weeks", "iterations_in_advance", NULL};

static void by_setting(struct known *k, struct diff_item *i)
{
    bool sharing = strcmp(i->attr, "prevent_sharing_groups_outside_hierarchy") == 0;
    if (strcmp(i->attr, "visibility_level") == 0) {
        if (i->a && i->b && strtol(i->b, NULL, 10) < strtol(i->a, NULL, 10))
            explain(k, i, DIFF_LOST, RULE_VISIBILITY);
    } else if (!among(i->attr, settings) && !(sharing && k->native.by == NATIVE_TRANSFER)) {
        explain(k, i, DIFF_LOST, RULE_SETTING);
    }
}

static int epic_differs(struct known *k, struct diff_item *i, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) own = NULL;
    struct gs_json_opts limit = {.max_bytes = (size_t)256 << 20};
    if (!i->record_a || gs_json_parse(i->record_a, strlen(i->record_a), &limit, &own, err))
        return i->record_a ? -1 : 0;
    yyjson_val *record = yyjson_doc_get_root(own);
    if (strcmp(i->attr, "parent") == 0)
        by_parent(k, i, record);
    else if (strcmp(i->attr, "children") == 0 && !yyjson_obj_get(record, "relative_position"))
        explain(k, i, DIFF_LOST, RULE_ORDER);
    else if (k->native.by == NATIVE_FILE && (strcmp(i->attr, "award_emoji") == 0 || strcmp(i->attr, "notes") == 0))
        return by_parts(k, i, RULE_PERSON, err);
    else if (strcmp(i->attr, "description") == 0)
        return by_author(k, i, err);
    return 0;
}

static bool is_reader(const struct known *k, const struct diff_item *i)
{
    return k->reader && strcmp(k->reader, i->key_b ? i->key_b : i->key) == 0;
}

static int differs(struct known *k, struct diff_item *i, struct gs_err *err)
{
    if (strcmp(i->relation, "self") == 0 || strcmp(i->relation, "namespace_settings") == 0)
        by_setting(k, i);
    else if (strcmp(i->relation, "epics") == 0)
        return epic_differs(k, i, err);
    else if (strcmp(i->relation, "epic_boards") == 0 && strcmp(i->attr, "labels") == 0 && i->b && strcmp(i->b, "[]") == 0)
        explain(k, i, DIFF_LOST, RULE_BOARD_LABELS);
    else if (strcmp(i->relation, "epic_boards") == 0 && strcmp(i->attr, "epic_lists") == 0)
        return by_parts(k, i, RULE_ORDER, err);
    else if (strcmp(i->relation, "members") == 0 && is_reader(k, i))
        explain(k, i, DIFF_LOST, RULE_OWNER);
    else if (strcmp(i->relation, "iterations_cadences") == 0 && among(i->attr, automatic))
        explain(k, i, DIFF_LOST, RULE_CADENCE);
    return 0;
}

int known_native(struct known *k, struct diff_item *i, struct gs_err *err)
{
    switch (i->kind) {
    case DIFF_MISSING:
        return missing(k, i, err);
    case DIFF_DIFFERS:
        return differs(k, i, err);
    case DIFF_EXTRA:
        if (strcmp(i->relation, "members") == 0 && is_reader(k, i))
            explain(k, i, DIFF_BESIDE, RULE_OWNER);
        return 0;
    }
    return 0;
}
