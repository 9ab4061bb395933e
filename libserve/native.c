#include "libserve/native.h"

#include "libcommon/json.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES ((size_t)1 << 30)
#define MAX_NESTING 16

/* Attributes that no line of GitLab's export has, by relation. They come from REST and GraphQL (records.md). */
static const struct {
    const char *relation;
    const char *const *keys;
} added[] = {
    {"self", (const char *const[]){"full_path", "full_name", "web_url", "default_branch", "default_branch_protection_defaults",
        "shared_runners_setting", "enabled_git_access_protocol", "show_diff_preview_in_email", "math_rendering_limits_enabled",
        "lock_math_rendering_limits_enabled", "prevent_sharing_groups_outside_hierarchy", "prevent_forking_outside_group",
        "archived", "wiki_access_level", "service_access_tokens_expiration_enforced", "ip_restriction_ranges",
        "allowed_email_domains_list", "only_allow_merge_if_pipeline_succeeds", "allow_merge_on_skipped_pipeline",
        "only_allow_merge_if_all_discussions_are_resolved", "web_based_commit_signing_enabled", "duo_features_enabled",
        "lock_duo_features_enabled", "unique_project_download_limit", "unique_project_download_limit_interval_in_seconds",
        "unique_project_download_limit_allowlist", "unique_project_download_limit_alertlist",
        "auto_ban_user_on_excessive_projects_download", "custom_attributes", "marked_for_deletion_on", "ldap_cn", "ldap_access",
        "ldap_group_links", "saml_group_links", "repository_storage", "root_ancestor", "visibility", NULL}},
    {"labels", (const char *const[]){"text_color", "group_path", NULL}},
    {"label", (const char *const[]){"text_color", "group_path", NULL}},
    {"milestones", (const char *const[]){"expired", "web_url", NULL}},
    {"milestone", (const char *const[]){"group_path", NULL}},
    {"iterations_cadences", (const char *const[]){"id", "automatic", "duration_in_weeks", "iterations_in_advance", "next_run_date",
        "last_run_date", NULL}},
    {"iterations", (const char *const[]){"id", "state", "state_enum", "sequence", "web_url", NULL}},
    {"iteration", (const char *const[]){"cadence", NULL}},
    {"badges", (const char *const[]){"kind", "rendered_link_url", "rendered_image_url", NULL}},
    {"boards", (const char *const[]){"iteration", "iteration_cadence", NULL}},
    {"board_assignee", (const char *const[]){"assignee", NULL}},
    {"lists", (const char *const[]){"user", "collapsed", NULL}},
    {"epics", (const char *const[]){"author", "closed_by", "text_color", "parent_iid", "upvotes", "downvotes", "web_url", "references",
        "resource_label_events", "imported", NULL}},
    {"award_emoji", (const char *const[]){"user", "url", NULL}},
    {"resource_state_events", (const char *const[]){"user", NULL}},
    {"epic_boards", (const char *const[]){"id", "labels", NULL}},
    {"epic_lists", (const char *const[]){"id", "label_id", "epic_board_id", "epics", "collapsed", NULL}},
    {"members", (const char *const[]){"created_by", "member_role", "membership_state", "last_activity_on", "is_using_seat",
        "group_saml_identity", "two_factor_enabled", NULL}},
};

#define ADDED 32 /* rows of the table above, at most */

struct epic_place {
    int64_t id;
    struct bundle_ref ref;
};

struct native {
    struct bundle *b;
    const char *version;
    bool as_is;      /* the bundle was made from an export: every record is a line of it */
    bool old_emails; /* the source's own attribute is emails_disabled */
    const struct relation *added_to[ADDED]; /* of each row of the table */
    pthread_mutex_t lock;
    bool indexed;
    struct epic_place *epics; /* sorted by id */
    size_t n_epics, cap_epics;
};

/* ---- versions ---- */

bool native_at_least(const char *version, unsigned major, unsigned minor)
{
    char *end;
    unsigned long a = strtoul(version, &end, 10);
    unsigned long b = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
    return end != version && (a > major || (a == major && b >= minor));
}

const char *native_version(const struct native *n)
{
    return n->version;
}

int native_new(struct bundle *b, struct native **out, struct gs_err *err)
{
    struct native *n = calloc(1, sizeof *n);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "no memory for an export");
    yyjson_val *m = bundle_manifest(b);
    const char *via = gs_json_str(yyjson_obj_get(m, "capture"), "via");
    const char *version = gs_json_str(yyjson_obj_get(m, "source"), "version");
    n->b = b;
    n->version = version ? version : "";
    n->as_is = via && strcmp(via, "archive") == 0;
    n->old_emails = version && !native_at_least(version, 16, 5);
    for (size_t i = 0; i < GS_COUNT(added); i++)
        n->added_to[i] = relation_find(added[i].relation);
    pthread_mutex_init(&n->lock, NULL);
    *out = n;
    return 0;
}

void native_free(struct native *n)
{
    if (!n)
        return;
    pthread_mutex_destroy(&n->lock);
    free(n->epics);
    free(n);
}

/* ---- what to look for ---- */

static const char *const *added_to(const struct native *n, const struct relation *r)
{
    _Static_assert(GS_COUNT(added) <= ADDED, "more relations than places");
    for (size_t i = 0; i < GS_COUNT(added); i++)
        if (n->added_to[i] == r)
            return added[i].keys;
    return NULL;
}

static bool same(const char *a, const char *b)
{
    return *a == *b && strcmp(a, b) == 0;
}

static void need(struct native_lines *l, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i < l->n_needles; i++)
        if (strcmp(l->needle[i], key) == 0)
            return;
    if (l->n_needles == NATIVE_NEEDLES || len >= 64) {
        l->all = true;
        return;
    }
    l->needle[l->n_needles++] = key;
    l->lengths |= (uint64_t)1 << len;
    l->first[(unsigned char)*key] = true;
}

static void needs_of(struct native_lines *l, const struct relation *r, unsigned depth)
{
    for (const char *const *k = added_to(l->n, r); k && *k; k++)
        need(l, *k);
    if (strcmp(r->name, "notes") == 0) {
        need(l, "author");
        need(l, "internal");
    }
    if (strcmp(r->name, "self") == 0)
        need(l, "emails_enabled");
    if (strcmp(r->name, "boards") == 0)
        need(l, "milestone");
    if (strcmp(r->name, "epics") == 0)
        need(l, "parent");
    if (strcmp(r->name, "members") == 0)
        need(l, "user");
    for (const struct rel_nested *n = r->nested; n && n->name && depth < MAX_NESTING; n++)
        if (strcmp(n->relation, "user") != 0)
            needs_of(l, relation_find(n->relation), depth + 1);
}

void native_lines_init(struct native_lines *l, struct native *n, const char *relation)
{
    *l = (struct native_lines){.n = n, .relation = relation_find(relation)};
    l->as_is = n->as_is || !l->relation;
    if (!l->as_is)
        needs_of(l, l->relation, 0);
}

static bool is_needle(const struct native_lines *l, const char *key, size_t len)
{
    if (len >= 64 || !(l->lengths >> len & 1) || !l->first[(unsigned char)*key])
        return false;
    for (size_t i = 0; i < l->n_needles; i++)
        if (strncmp(l->needle[i], key, len) == 0 && l->needle[i][len] == '\0')
            return true;
    return false;
}

/* A key of this name at any depth, or text that looks like one: then the record is parsed. One way through the text: every key ends in a
 * quote and a colon. */
static bool found(const struct native_lines *l, const char *json, size_t len)
{
    const char *end = json + len, *colon = json;
    if (l->all)
        return true;
    for (; (colon = memchr(colon, ':', (size_t)(end - colon))) != NULL; colon++) {
        if (colon - json < 2 || colon[-1] != '"')
            continue;
        const char *quote = memrchr(json, '"', (size_t)(colon - 1 - json));
        if (quote && is_needle(l, quote + 1, (size_t)(colon - 1 - quote - 1)))
            return true;
    }
    return false;
}

/* ---- epics by id, for parents that the API told only the name of ---- */

static int add_epic(struct native *n, int64_t id, const struct bundle_ref *ref, struct gs_err *err)
{
    if (n->n_epics == n->cap_epics) {
        size_t cap = n->cap_epics ? n->cap_epics * 2 : 256;
        struct epic_place *v = realloc(n->epics, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu epics", cap);
        n->epics = v;
        n->cap_epics = cap;
    }
    n->epics[n->n_epics++] = (struct epic_place){.id = id, .ref = *ref};
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct epic_place *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int index_epic(void *cookie, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err)
{
    int64_t id;
    return gs_json_i64(rec, "id", &id) ? add_epic(cookie, id, ref, err) : 0;
}

/* Once, when the first parent is looked for. */
static int make_index(struct native *n, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t groups = bundle_groups(n->b, &g);
    int r = 0;
    pthread_mutex_lock(&n->lock);
    if (!n->indexed) {
        n->n_epics = 0;
        for (size_t i = 0; i < groups && r == 0; i++)
            r = bundle_each(n->b, g[i].id, "epics", index_epic, n, err);
        if (r == 0 && n->n_epics > 1)
            qsort(n->epics, n->n_epics, sizeof *n->epics, by_id);
        n->indexed = r == 0;
    }
    pthread_mutex_unlock(&n->lock);
    return r;
}

/* The epic with this id as a record; *out NULL: the bundle does not hold it. */
static int find_epic(struct native *n, int64_t id, yyjson_doc **out, struct gs_err *err)
{
    struct epic_place key = {.id = id};
    gs_autobuf b;
    gs_buf_init(&b, LINE_MAX_BYTES);
    *out = NULL;
    if (make_index(n, err))
        return -1;
    const struct epic_place *e = n->n_epics ? bsearch(&key, n->epics, n->n_epics, sizeof *n->epics, by_id) : NULL;
    if (!e)
        return 0;
    return bundle_read_ref(n->b, &e->ref, &b, err) || record_parse(bundle_encoding(n->b), b.data, b.len, NULL, out, err) ? -1 : 0;
}

/* ---- one record ---- */

struct making {
    struct native *n;
    struct gs_jw w;
    struct gs_err *err;
    int failed;
};

static bool listed(const char *const *keys, const char *key)
{
    for (; keys && *keys; keys++)
        if (same(*keys, key))
            return true;
    return false;
}

static const struct rel_nested *nested_of(const struct relation *r, const char *key)
{
    for (const struct rel_nested *n = r->nested; n && n->name; n++)
        if (same(n->name, key))
            return n;
    return NULL;
}

/* Which attribute a version has for the mails of a group. */
static bool foreign_emails(const struct native *n, const struct relation *r, const char *key)
{
    return n->old_emails && same(key, "emails_enabled") && strcmp(r->name, "self") == 0;
}

static bool lacks_emails(const struct native *n, const struct relation *r, yyjson_val *obj)
{
    return n->old_emails && strcmp(r->name, "self") == 0 && yyjson_is_bool(yyjson_obj_get(obj, "emails_enabled")) &&
           !yyjson_obj_get(obj, "emails_disabled");
}

/* One column with two names in its life. */
static bool lacks_confidential(const struct relation *r, yyjson_val *obj)
{
    return strcmp(r->name, "notes") == 0 && yyjson_is_true(yyjson_obj_get(obj, "internal")) && !yyjson_obj_get(obj, "confidential");
}

static bool differs(const struct native *n, const struct relation *r, yyjson_val *obj, unsigned depth);

static bool value_differs(const struct native *n, const struct relation *r, const struct rel_nested *in, yyjson_val *v, unsigned depth)
{
    yyjson_val *e;
    size_t i, max;
    if (yyjson_is_arr(v)) {
        const struct relation *inner = relation_find(in->relation);
        yyjson_arr_foreach(v, i, max, e) if (differs(n, inner, e, depth + 1)) return true;
        return false;
    }
    if (same(in->name, "parent"))
        return !yyjson_obj_get(v, "created_at") || differs(n, relation_find("parent"), v, MAX_NESTING);
    if (same(in->name, "author") && strcmp(r->name, "notes") == 0)
        return yyjson_obj_size(v) != 1;
    if (same(in->name, "user") && strcmp(r->name, "members") == 0)
        return yyjson_obj_get(v, "name") || yyjson_obj_get(v, "state");
    return differs(n, relation_find(in->relation), v, depth + 1);
}

/* Would put_object() write something else than what is there? */
static bool differs(const struct native *n, const struct relation *r, yyjson_val *obj, unsigned depth)
{
    if (!r || !yyjson_is_obj(obj))
        return false;
    const char *const *extra = added_to(n, r);
    yyjson_obj_iter it = yyjson_obj_iter_with(obj);
    yyjson_val *k;
    while ((k = yyjson_obj_iter_next(&it))) {
        yyjson_val *v = yyjson_obj_iter_get_val(k);
        const char *key = yyjson_get_str(k);
        if (listed(extra, key) || foreign_emails(n, r, key))
            return true;
        const struct rel_nested *in = yyjson_is_null(v) || (yyjson_is_ctn(v) && depth < MAX_NESTING) ? nested_of(r, key) : NULL;
        if (in && (yyjson_is_null(v) ? !in->array : value_differs(n, r, in, v, depth)))
            return true;
    }
    return lacks_emails(n, r, obj) || lacks_confidential(r, obj);
}

static void put_object(struct making *m, const struct relation *r, yyjson_val *obj, unsigned depth);

/* An epic's columns, without what hangs on it. */
static void put_columns(struct making *m, yyjson_val *epic)
{
    const char *const *extra = added_to(m->n, relation_find("epics"));
    yyjson_obj_iter it = yyjson_obj_iter_with(epic);
    yyjson_val *k;
    gs_jw_obj(&m->w);
    while ((k = yyjson_obj_iter_next(&it))) {
        yyjson_val *v = yyjson_obj_iter_get_val(k);
        if (yyjson_is_ctn(v) || listed(extra, yyjson_get_str(k)))
            continue;
        gs_jw_key(&m->w, yyjson_get_str(k));
        gs_jw_val(&m->w, v);
    }
    gs_jw_end(&m->w);
}

/* GitLab finds a parent by title, description and time: where the API told the title only, the parent's own record tells the rest. */
static void put_parent(struct making *m, yyjson_val *v)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t id;
    if (!yyjson_obj_get(v, "created_at") && gs_json_i64(v, "id", &id) && find_epic(m->n, id, &doc, m->err))
        m->failed = -1;
    if (doc)
        put_columns(m, yyjson_doc_get_root(doc));
    else
        put_object(m, relation_find("parent"), v, MAX_NESTING);
}

/* A comment's author is a name and nothing else. */
static void put_author(struct making *m, yyjson_val *v)
{
    gs_jw_obj(&m->w);
    gs_jw_kstr(&m->w, "name", gs_json_str(v, "name"));
    gs_jw_end(&m->w);
}

/* A member's user is an id, an address and a name to log in with. */
static void put_user(struct making *m, yyjson_val *v)
{
    yyjson_obj_iter it = yyjson_obj_iter_with(v);
    yyjson_val *k;
    gs_jw_obj(&m->w);
    while ((k = yyjson_obj_iter_next(&it))) {
        const char *key = yyjson_get_str(k);
        if (strcmp(key, "name") == 0 || strcmp(key, "state") == 0)
            continue;
        gs_jw_key(&m->w, key);
        gs_jw_val(&m->w, yyjson_obj_iter_get_val(k));
    }
    gs_jw_end(&m->w);
}

static void put_value(struct making *m, const struct relation *r, const char *key, yyjson_val *v, unsigned depth)
{
    const struct rel_nested *n = yyjson_is_ctn(v) && depth < MAX_NESTING ? nested_of(r, key) : NULL;
    yyjson_val *e;
    size_t i, max;
    if (!n) {
        gs_jw_val(&m->w, v);
    } else if (yyjson_is_arr(v)) {
        const struct relation *inner = relation_find(n->relation);
        gs_jw_arr(&m->w);
        yyjson_arr_foreach(v, i, max, e) put_object(m, inner, e, depth + 1);
        gs_jw_end(&m->w);
    } else if (strcmp(key, "parent") == 0) {
        put_parent(m, v);
    } else if (strcmp(r->name, "notes") == 0 && strcmp(key, "author") == 0) {
        put_author(m, v);
    } else if (strcmp(r->name, "members") == 0 && strcmp(key, "user") == 0) {
        put_user(m, v);
    } else {
        put_object(m, relation_find(n->relation), v, depth + 1);
    }
}

static void put_rest(struct making *m, const struct relation *r, yyjson_val *obj)
{
    if (lacks_emails(m->n, r, obj))
        gs_jw_kbool(&m->w, "emails_disabled", !yyjson_get_bool(yyjson_obj_get(obj, "emails_enabled")));
    if (lacks_confidential(r, obj))
        gs_jw_kbool(&m->w, "confidential", true);
}

static void put_object(struct making *m, const struct relation *r, yyjson_val *obj, unsigned depth)
{
    if (!r || !yyjson_is_obj(obj)) {
        gs_jw_val(&m->w, obj);
        return;
    }
    const char *const *extra = added_to(m->n, r);
    yyjson_obj_iter it = yyjson_obj_iter_with(obj);
    yyjson_val *k;
    gs_jw_obj(&m->w);
    while ((k = yyjson_obj_iter_next(&it))) {
        const char *key = yyjson_get_str(k);
        const struct rel_nested *n = yyjson_is_null(yyjson_obj_iter_get_val(k)) ? nested_of(r, key) : NULL;
        if (listed(extra, key) || foreign_emails(m->n, r, key) || (n && !n->array)) /* a reference to nothing is left out */
            continue;
        gs_jw_key(&m->w, key);
        put_value(m, r, key, yyjson_obj_iter_get_val(k), depth);
    }
    put_rest(m, r, obj);
    gs_jw_end(&m->w);
}

/* The text with what does not belong there taken out; as it was when there is nothing. */
static int make(const struct native_lines *l, const char *json, size_t len, struct gs_buf *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = LINE_MAX_BYTES, .raw_numbers = true};
    struct making m = {.n = l->n, .err = err};
    if (gs_json_parse(json, len, &o, &doc, err))
        return -1;
    if (!yyjson_is_obj(yyjson_doc_get_root(doc)))
        return gs_fail(err, GS_E_RECORD, "a record is one JSON object");
    if (!differs(l->n, l->relation, yyjson_doc_get_root(doc), 0))
        return gs_buf_add(out, json, len, err);
    gs_jw_init(&m.w, out, 0, err);
    put_object(&m, l->relation, yyjson_doc_get_root(doc), 0);
    return m.failed || gs_jw_finish(&m.w) ? -1 : 0;
}

int native_line(const struct native_lines *l, const void *record, size_t len, struct gs_buf *out, struct gs_err *err)
{
    enum record_encoding enc = bundle_encoding(l->n->b);
    if (enc == RECORD_NDJSON) {
        const char *json = record;
        while (len > 0 && (json[len - 1] == '\n' || json[len - 1] == '\r'))
            len--;
        return l->as_is || !found(l, json, len) ? gs_buf_add(out, json, len, err) : make(l, json, len, out, err);
    }
    gs_autobuf text;
    gs_buf_init(&text, LINE_MAX_BYTES);
    if (record_to_json(enc, record, len, NULL, &text, err))
        return -1;
    return l->as_is || !found(l, gs_buf_str(&text), text.len) ? gs_buf_add(out, gs_buf_str(&text), text.len, err)
                                                              : make(l, gs_buf_str(&text), text.len, out, err);
}
