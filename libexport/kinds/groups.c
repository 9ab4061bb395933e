/* self, namespace_settings and the avatar: GET /groups/:id and /groups/:id/avatar. */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define AVATAR_MAX ((size_t)5 << 20)

/* ---- the group's own record ---- */

static const struct {
    const char *text;
    int level;
} project_levels[] = {{"noone", 0}, {"maintainer", 1}, {"developer", 2}, {"administrator", 3}, {"owner", 4}},
  subgroup_levels[] = {{"owner", 0}, {"maintainer", 1}},
  visibilities[] = {{"private", 0}, {"internal", 10}, {"public", 20}};

#define LEVEL(w, key, obj, from, table) put_level(w, key, yyjson_obj_get(obj, from), table, GS_COUNT(table))

/* A level that the answer names by a word and the export by a number. A word that is not known stays a word. */
static void put_level(struct gs_jw *w, const char *key, yyjson_val *v, const void *table, size_t n)
{
    const struct {
        const char *text;
        int level;
    } *t = table;
    const char *s = yyjson_get_str(v);
    for (size_t i = 0; s && i < n; i++)
        if (strcmp(t[i].text, s) == 0) {
            gs_jw_ki64(w, key, t[i].level);
            return;
        }
    gs_jw_key(w, key);
    if (v)
        gs_jw_val(w, v);
    else
        gs_jw_null(w);
}

/* Columns of the export that have the same name in the answer, in the export's order. */
static const char *const columns[] = {
    "membership_lock",
    "share_with_group_lock",
    "request_access_enabled",
    "lfs_enabled",
    "require_two_factor_authentication",
    "two_factor_grace_period",
    "mentions_disabled",
    "auto_devops_enabled",
    "max_artifacts_size",
    "default_branch_protection",
    "file_template_project_id",
};

/* Written by name below, or told by something else in the record, or not about the group's settings. */
static const char *const taken[] = {
    "id", "name", "path", "description", "avatar_url", "visibility", "parent_id", "project_creation_level",
    "subgroup_creation_level", "emails_enabled", "emails_disabled", "created_at", "full_path", "web_url",
    /* computed or lists of other objects */
    "full_name", "projects", "shared_projects", "shared_with_groups", "statistics", "_links", "root_storage_statistics",
};

static bool in(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(yyjson_get_str(*(yyjson_val *const *)a), yyjson_get_str(*(yyjson_val *const *)b));
}

/* Everything else that the answer holds, sorted by name: settings of newer versions, of the Enterprise Edition ... */
static int put_others(struct gs_jw *w, yyjson_val *g, struct gs_err *err)
{
    size_t n = 0;
    gs_autofree yyjson_val **keys = malloc((yyjson_obj_size(g) + 1) * sizeof *keys);
    if (!keys)
        return gs_fail(err, GS_E_NOMEM, "no memory for the settings of a group");
    yyjson_obj_iter it = yyjson_obj_iter_with(g);
    yyjson_val *k;
    while ((k = yyjson_obj_iter_next(&it)))
        if (!in(yyjson_get_str(k), columns, GS_COUNT(columns)) && !in(yyjson_get_str(k), taken, GS_COUNT(taken)))
            keys[n++] = k;
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 0; i < n; i++)
        cap_copy(w, yyjson_get_str(keys[i]), g, yyjson_get_str(keys[i]));
    return 0;
}

static int self_record(struct cap_group *grp, yyjson_val *g, struct gs_jw *w, struct gs_err *err)
{
    gs_jw_obj(w);
    cap_copy(w, "id", g, "id");
    cap_copy(w, "name", g, "name");
    cap_copy(w, "path", g, "path");
    cap_copy(w, "description", g, "description");
    gs_jw_key(w, "avatar");
    gs_jw_obj(w);
    cap_copy(w, "url", g, "avatar_url");
    gs_jw_end(w);
    LEVEL(w, "visibility_level", g, "visibility", visibilities);
    cap_copy(w, "parent_id", g, "parent_id");
    LEVEL(w, "project_creation_level", g, "project_creation_level", project_levels);
    LEVEL(w, "subgroup_creation_level", g, "subgroup_creation_level", subgroup_levels);
    /* older servers know only the opposite */
    yyjson_val *disabled = yyjson_obj_get(g, "emails_disabled");
    gs_jw_key(w, "emails_enabled");
    if (yyjson_obj_get(g, "emails_enabled"))
        gs_jw_val(w, yyjson_obj_get(g, "emails_enabled"));
    else if (disabled)
        gs_jw_bool(w, !yyjson_is_true(disabled));
    else
        gs_jw_null(w);
    for (size_t i = 0; i < GS_COUNT(columns); i++)
        cap_copy_known(w, columns[i], g, columns[i]);
    cap_copy(w, "created_at", g, "created_at");
    cap_copy(w, "full_path", g, "full_path");
    cap_copy(w, "web_url", g, "web_url");
    if (put_others(w, g, err))
        return -1;
    gs_jw_end(w);
    return gs_jw_finish(w);
}

static int store_one(struct cap_group *g, const char *relation, struct gs_err *err)
{
    struct sink *s;
    if (sink_open(g->cap->book, g->id, relation, &s, err))
        return -1;
    if (sink_add(s, gs_buf_str(&g->cap->json), g->cap->json.len, err)) {
        sink_abandon(s);
        return -1;
    }
    return sink_close(s, 1, 0, err);
}

static int store_prevent(struct cap_group *g, yyjson_val *v, struct gs_err *err)
{
    struct capture *c = g->cap;
    struct gs_jw w;
    yyjson_val *prevent = yyjson_obj_get(v, "prevent_sharing_groups_outside_hierarchy");
    if (!prevent)
        return 0;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    gs_jw_obj(&w);
    gs_jw_key(&w, "prevent_sharing_groups_outside_hierarchy");
    gs_jw_val(&w, prevent);
    gs_jw_end(&w);
    return gs_jw_finish(&w) || store_one(g, "namespace_settings", err) ? -1 : 0;
}

/* Into the bundle; or, when the group is exported, to be joined with what the export says. */
static int store_self(struct cap_group *g, yyjson_val *v, struct gs_err *err)
{
    struct capture *c = g->cap;
    struct gs_jw w;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    if (self_record(g, v, &w, err))
        return -1;
    if (c->rel ? relations_group(c->rel, g, gs_buf_str(&c->json), c->json.len, v, err)
               : store_one(g, "self", err) || store_prevent(g, v, err))
        return -1;
    size_t shares = yyjson_arr_size(yyjson_obj_get(v, "shared_with_groups"));
    if (shares > 0 && book_left_out(c->book, g->id, "group_shares", "shares-not-carried", NULL, shares, NULL, err))
        return -1;
    return 0;
}

/* ---- avatar ---- */

struct avatar {
    struct cap_group *group;
    char name[128];
};

static const char *sniff(const char *d, size_t n)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *ext;
    } t[] = {
        {"\x89PNG\r\n\x1a\n", 8, "png"}, {"\xff\xd8\xff", 3, "jpg"}, {"GIF87a", 6, "gif"}, {"GIF89a", 6, "gif"},
        {"BM", 2, "bmp"},                {"II*\0", 4, "tiff"},       {"MM\0*", 4, "tiff"}, {"\0\0\1\0", 4, "ico"},
    };
    for (size_t i = 0; i < GS_COUNT(t); i++)
        if (n >= t[i].len && memcmp(d, t[i].magic, t[i].len) == 0)
            return t[i].ext;
    return n >= 12 && memcmp(d, "RIFF", 4) == 0 && memcmp(d + 8, "WEBP", 4) == 0 ? "webp" : NULL;
}

/* Does the name end in an extension that says the same as the content? */
static bool extension_fits(const char *name, const char *ext)
{
    const char *dot = strrchr(name, '.');
    if (!dot || dot == name)
        return false;
    return strcasecmp(dot + 1, ext) == 0 || (strcmp(ext, "jpg") == 0 && strcasecmp(dot + 1, "jpeg") == 0) ||
           (strcmp(ext, "tiff") == 0 && strcasecmp(dot + 1, "tif") == 0);
}

/* The last segment of the URL, as far as it is a plain file name. */
static void avatar_name(const char *url, char *out, size_t cap)
{
    const char *s = strrchr(url, '/');
    size_t n = 0;
    for (s = s ? s + 1 : url; *s && *s != '?' && *s != '#' && n + 1 < cap; s++) {
        char ch = *s;
        bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
                     (n > 0 && (ch == '.' || ch == '-')) || ch == '_';
        out[n++] = plain ? ch : '_';
    }
    out[n] = '\0';
    if (n == 0)
        snprintf(out, cap, "avatar");
}

static int avatar_result(struct avatar *a, struct gl_response *rsp, struct gs_err *err)
{
    struct cap_group *g = a->group;
    struct book *b = g->cap->book;
    if (rsp->outcome != GL_ANSWERED || rsp->status < 200 || rsp->status > 299) {
        if (rsp->status == 404)
            return cap_fetch_one(g, "avatar", "rest:/groups/:id/avatar", rsp, 0, err);
        if (rsp->err.code == GS_E_LIMIT || cap_denied(&rsp->err))
            return book_missing(b, g->id, "avatar", "avatar-not-readable", rsp->err.text, err);
        *err = rsp->err;
        return gs_wrap(err, "avatar of group '%s'", g->full_path);
    }
    const char *ext = sniff(gs_buf_str(&rsp->body), rsp->body.len);
    if (!ext)
        return book_missing(b, g->id, "avatar", "avatar-not-readable", "the answer is no image", err);
    char name[sizeof a->name + 8];
    if (extension_fits(a->name, ext))
        snprintf(name, sizeof name, "%s", a->name);
    else
        snprintf(name, sizeof name, "%s.%s", a->name, ext);
    if (cap_fetch_one(g, "avatar", "rest:/groups/:id/avatar", rsp, 1, err))
        return -1;
    return bundle_writer_file(book_writer(b), g->id, "avatar", name, gs_buf_str(&rsp->body), rsp->body.len, err);
}

static void avatar_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct avatar *a = cookie;
    struct cap_group *g = a->group;
    struct gs_err err = {0};
    if (avatar_result(a, rsp, &err))
        cap_fail(g->cap, &err);
    free(a);
    cap_end(g);
}

int cap_avatar(struct cap_group *g, const char *url, struct gs_err *err)
{
    struct avatar *a = calloc(1, sizeof *a);
    struct gl_request *r = a ? gl_request_new(GL_GET, "/groups/%" PRId64 "/avatar", g->id) : NULL;
    if (!r) {
        free(a);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    a->group = g;
    avatar_name(url, a->name, sizeof a->name);
    r->accept_type = "any";
    r->max_body = AVATAR_MAX;
    r->done = avatar_done;
    r->tag = (struct gl_tag){g->id, "avatar"};
    r->cookie = a;
    cap_begin(g);
    if (gl_submit(g->cap->client, r, err) == 0)
        return 0;
    free(a);
    cap_end(g);
    return -1;
}

/* ---- the request ---- */

static int self_result(struct cap_group *g, struct gl_response *rsp, struct gs_err *err)
{
    struct capture *c = g->cap;
    if (rsp->outcome != GL_ANSWERED || rsp->status < 200 || rsp->status > 299) {
        if (!cap_denied(&rsp->err)) {
            *err = rsp->err;
            return gs_wrap(err, "group '%s'", g->full_path);
        }
        if (g->id == c->root_id) {
            *err = rsp->err;
            return gs_wrap(err, "group '%s'", g->full_path);
        }
        cap_group_lost(g);
        gs_logf(c->o.log, GS_LOG_WARN, "group '%s' cannot be read: %s", g->full_path, rsp->err.text);
        return book_missing(c->book, g->id, "self", "group-not-visible", rsp->err.text, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts raw = {.raw_numbers = true};
    if (gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, &raw, &doc, err))
        return gs_wrap(err, "answer about group '%s'", g->full_path);
    yyjson_val *v = yyjson_doc_get_root(doc);
    int64_t id;
    if (gs_json_need_i64(v, "id", &id, err))
        return gs_wrap(err, "answer about group '%s'", g->full_path);
    if (id == c->root_id && mark_value(v, &c->plan.v[g->at].mark, err)) /* no list shows it */
        return -1;
    if (id != g->id)
        return gs_fail(err, GS_E_REMOTE, "asked for group %" PRId64 " the server told about group %" PRId64, g->id, id);
    if (cap_fetch_one(g, "self", "rest:/groups/:id", rsp, 1, err) || store_self(g, v, err))
        return -1;
    const char *avatar = gs_json_str(v, "avatar_url");
    if (avatar && !g->rel && cap_avatar(g, avatar, err))
        return -1;
    return cap_group_rest(g, err);
}

static void self_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct cap_group *g = cookie;
    struct gs_err err = {0};
    if (self_result(g, rsp, &err))
        cap_fail(g->cap, &err);
    cap_end(g);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "?with_projects=false", g->id);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = self_done;
    r->tag = (struct gl_tag){g->id, "self"};
    r->cookie = g;
    cap_begin(g);
    if (gl_submit(g->cap->client, r, err) == 0)
        return 0;
    cap_end(g);
    return -1;
}

const struct cap_kind cap_kind_self = {.relation = "self", .start = start};
