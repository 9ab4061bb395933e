#include "libserve/source_schema.h"

#include "formats/shape.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SELF_MAX ((size_t)16 << 20)
#define PAGE_MAX 500 /* members in one answer: what the importer asks for */
#define IDS_MAX 1000 /* users in one answer, which has no pages for an importer */

/* ---- the schema ---- */

#define F(name, type) {name, type, NULL}
#define END {NULL, NULL, NULL}
#define PAGED {"after", "String"}, {"before", "String"}, {"first", "Int"}, {"last", "Int"}, {NULL, NULL}

static const struct gql_arg_def by_path[] = {{"fullPath", "ID!"}, {NULL, NULL}};
static const struct gql_arg_def users_args[] = {{"ids", "[ID!]"}, {"usernames", "[String!]"}, {"humans", "Boolean"}, PAGED};
static const struct gql_arg_def group_members_args[] = {{"relations", "[GroupMemberRelation!]"}, {"search", "String"}, PAGED};
static const struct gql_arg_def project_members_args[] = {{"relations", "[ProjectMemberRelation!]"}, {"search", "String"}, PAGED};
static const struct gql_arg_def projects_args[] = {{"includeSubgroups", "Boolean"}, {"notAimedForDeletion", "Boolean"}, {"search", "String"}, PAGED};
static const struct gql_arg_def paged_args[] = {PAGED};

static const struct gql_field_def query_fields[] = {
    {"group", "Group", by_path}, {"project", "Project", by_path}, {"users", "UserConnection", users_args}, END,
};
static const struct gql_field_def group_fields[] = {
    F("id", "ID!"), F("name", "String!"), F("path", "String!"), F("fullPath", "ID!"), F("description", "String"), F("visibility", "String"),
    F("emailsDisabled", "Boolean"), F("emailsEnabled", "Boolean"), F("lfsEnabled", "Boolean"), F("mentionsDisabled", "Boolean"),
    F("projectCreationLevel", "String"), F("requestAccessEnabled", "Boolean"), F("requireTwoFactorAuthentication", "Boolean"),
    F("shareWithGroupLock", "Boolean"), F("subgroupCreationLevel", "String"), F("twoFactorGracePeriod", "Int"),
    {"groupMembers", "GroupMemberConnection", group_members_args}, {"projects", "ProjectConnection!", projects_args}, END,
};
static const struct gql_field_def project_fields[] = {
    F("id", "ID!"), F("name", "String!"), F("path", "String!"), F("fullPath", "ID!"), F("visibility", "String"), F("createdAt", "Time"),
    F("httpUrlToRepo", "String"), {"snippets", "SnippetConnection", paged_args},
    {"projectMembers", "MemberInterfaceConnection", project_members_args}, END,
};
static const struct gql_field_def page_fields[] = {
    F("endCursor", "String"), F("hasNextPage", "Boolean!"), F("hasPreviousPage", "Boolean!"), F("startCursor", "String"), END,
};
static const struct gql_field_def user_fields[] = {
    F("id", "ID!"), F("publicEmail", "String"), F("username", "String!"), F("name", "String!"), F("type", "UserType!"), END,
};
static const struct gql_field_def member_fields[] = {
    F("id", "ID!"), F("createdAt", "Time"), F("updatedAt", "Time"), F("expiresAt", "Time"), F("accessLevel", "AccessLevel"), F("user", "UserCore"), END,
};
static const struct gql_field_def level_fields[] = {F("integerValue", "Int"), F("stringValue", "AccessLevelEnum"), END};
static const struct gql_field_def snippet_fields[] = {F("title", "String!"), F("createdAt", "Time!"), F("httpUrlToRepo", "String"), END};
#define CONNECTION(of) {F("pageInfo", "PageInfo!"), F("nodes", "[" of "]"), END}
static const struct gql_field_def group_member_list[] = CONNECTION("GroupMember"), project_member_list[] = CONNECTION("ProjectMember"),
                                  project_list[] = CONNECTION("Project"), snippet_list[] = CONNECTION("Snippet"), user_list[] = CONNECTION("UserCore");

static const char *const group_relations[] = {"DIRECT", "INHERITED", "DESCENDANTS", "SHARED_FROM_GROUPS", NULL};
static const char *const project_relations[] = {"DIRECT", "INHERITED", "DESCENDANTS", "INVITED_GROUPS", "SHARED_INTO_ANCESTORS", NULL};
static const char *const levels[] = {"NO_ACCESS", "MINIMAL_ACCESS", "GUEST", "PLANNER", "REPORTER", "DEVELOPER", "MAINTAINER", "OWNER", NULL};
static const char *const user_types[] = {"HUMAN", "GHOST", "PROJECT_BOT", "SERVICE_USER", NULL};

static const struct gql_type_def types[] = {
    {"Query", GQL_T_OBJECT, query_fields, NULL},
    {"Group", GQL_T_OBJECT, group_fields, NULL},
    {"Project", GQL_T_OBJECT, project_fields, NULL},
    {"GroupMemberConnection", GQL_T_OBJECT, group_member_list, NULL},
    {"MemberInterfaceConnection", GQL_T_OBJECT, project_member_list, NULL},
    {"ProjectConnection", GQL_T_OBJECT, project_list, NULL},
    {"SnippetConnection", GQL_T_OBJECT, snippet_list, NULL},
    {"UserConnection", GQL_T_OBJECT, user_list, NULL},
    {"PageInfo", GQL_T_OBJECT, page_fields, NULL},
    {"GroupMember", GQL_T_OBJECT, member_fields, NULL},
    {"ProjectMember", GQL_T_OBJECT, member_fields, NULL},
    {"AccessLevel", GQL_T_OBJECT, level_fields, NULL},
    {"UserCore", GQL_T_OBJECT, user_fields, NULL},
    {"Snippet", GQL_T_OBJECT, snippet_fields, NULL},
    {"GroupMemberRelation", GQL_T_ENUM, NULL, group_relations},
    {"ProjectMemberRelation", GQL_T_ENUM, NULL, project_relations},
    {"AccessLevelEnum", GQL_T_ENUM, NULL, levels},
    {"UserType", GQL_T_ENUM, NULL, user_types},
    {"Time", GQL_T_SCALAR, NULL, NULL},
    {NULL, GQL_T_SCALAR, NULL, NULL},
};

/* ---- what is known of the groups ---- */

struct source_schema {
    const struct content *c;
    const struct people *p;
    yyjson_doc **groups;
    yyjson_doc *tree; /* introspection */
};

static const char *word(yyjson_val *v, const char *const *words, size_t n)
{
    int64_t i;
    return gs_json_val_i64(v, &i) && i >= 0 && (size_t)i < n ? words[i] : NULL;
}

static void put(struct gs_jw *w, const char *key, yyjson_val *v)
{
    gs_jw_key(w, key);
    if (v)
        gs_jw_val(w, v);
    else
        gs_jw_null(w);
}

static void put_group(const struct source_schema *s, size_t at, yyjson_val *self, struct gs_jw *w)
{
    static const char *const project[] = {"noone", "maintainer", "developer", "administrator", "owner"};
    static const char *const subgroup[] = {"owner", "maintainer"};
    const struct bundle_group *g = &s->c->groups[at];
    yyjson_val *mails = yyjson_obj_get(self, "emails_enabled");
    int64_t level = 0;
    char id[48];
    snprintf(id, sizeof id, "gid://gitlab/Group/%" PRId64, g->id);
    gs_json_val_i64(yyjson_obj_get(self, "visibility_level"), &level);
    gs_jw_obj(w);
    gs_jw_ki64(w, "__at", (int64_t)at);
    gs_jw_kstr(w, "id", id);
    gs_jw_kstr(w, "name", gs_json_str(self, "name") ? gs_json_str(self, "name") : content_slug(s->c, at));
    gs_jw_kstr(w, "path", content_slug(s->c, at));
    gs_jw_kstr(w, "fullPath", g->full_path);
    put(w, "description", yyjson_obj_get(self, "description"));
    gs_jw_kstr(w, "visibility", level >= 20 ? "public" : level >= 10 ? "internal" : "private");
    gs_jw_kbool(w, "emailsDisabled", yyjson_is_bool(mails) && !yyjson_get_bool(mails));
    gs_jw_kbool(w, "emailsEnabled", !yyjson_is_bool(mails) || yyjson_get_bool(mails));
    put(w, "lfsEnabled", yyjson_obj_get(self, "lfs_enabled"));
    put(w, "mentionsDisabled", yyjson_obj_get(self, "mentions_disabled"));
    gs_jw_kstr(w, "projectCreationLevel", word(yyjson_obj_get(self, "project_creation_level"), project, GS_COUNT(project)));
    put(w, "requestAccessEnabled", yyjson_obj_get(self, "request_access_enabled"));
    put(w, "requireTwoFactorAuthentication", yyjson_obj_get(self, "require_two_factor_authentication"));
    put(w, "shareWithGroupLock", yyjson_obj_get(self, "share_with_group_lock"));
    gs_jw_kstr(w, "subgroupCreationLevel", word(yyjson_obj_get(self, "subgroup_creation_level"), subgroup, GS_COUNT(subgroup)));
    put(w, "twoFactorGracePeriod", yyjson_obj_get(self, "two_factor_grace_period"));
    gs_jw_end(w);
}

static int load_group(struct source_schema *s, size_t at, struct gs_err *err)
{
    GS_AUTO(stream) in = NULL;
    GS_AUTO(yyjson_doc) self = NULL;
    gs_autobuf record, norm, text;
    struct gs_jw w;
    size_t n = 1;
    gs_buf_init(&record, SELF_MAX);
    gs_buf_init(&norm, SELF_MAX);
    gs_buf_init(&text, SELF_MAX);
    if (content_self(s->c, at, &in, err))
        return -1;
    while (n > 0) {
        if (gs_buf_reserve(&record, 65536, err) || stream_read(in, record.data + record.len, 65536, &n, err))
            return -1;
        record.len += n;
    }
    if (shape_normalise("self", record.data, record.len, &norm, err) || gs_json_parse(gs_buf_str(&norm), norm.len, NULL, &self, err))
        return -1;
    gs_jw_init(&w, &text, 0, err);
    put_group(s, at, yyjson_doc_get_root(self), &w);
    return gs_jw_finish(&w) || gs_json_parse(gs_buf_str(&text), text.len, NULL, &s->groups[at], err) ? -1 : 0;
}

int source_schema_new(const struct content *c, const struct people *p, struct source_schema **out, struct gs_err *err)
{
    GS_AUTO(source_schema) s = calloc(1, sizeof *s);
    gs_autobuf tree;
    gs_buf_init(&tree, SELF_MAX);
    if (!s || !(s->groups = calloc(c->n_groups + 1, sizeof(yyjson_doc *))))
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", c->n_groups);
    s->c = c;
    s->p = p;
    for (size_t i = 0; i < c->n_groups; i++)
        if (load_group(s, i, err))
            return gs_wrap(err, "group '%s'", c->groups[i].full_path);
    if (gql_introspect(&source_gql, &tree, err) || gs_json_parse(gs_buf_str(&tree), tree.len, NULL, &s->tree, err))
        return -1;
    *out = gs_steal(&s);
    return 0;
}

void source_schema_free(struct source_schema *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->groups && i < s->c->n_groups; i++)
        yyjson_doc_free(s->groups[i]);
    free(s->groups);
    yyjson_doc_free(s->tree);
    free(s);
}

yyjson_val *source_schema_group(const struct source_schema *s, size_t group)
{
    return yyjson_doc_get_root(s->groups[group]);
}

/* ---- answers ---- */

struct asking {
    const struct source_schema *s;
    struct source_seen *seen;
};

static void put_page(struct gs_jw *w, const char *start, const char *end, bool more, bool before)
{
    gs_jw_key(w, "pageInfo");
    gs_jw_obj(w);
    gs_jw_kstr(w, "startCursor", start);
    gs_jw_kstr(w, "endCursor", end);
    gs_jw_kbool(w, "hasNextPage", more);
    gs_jw_kbool(w, "hasPreviousPage", before);
    gs_jw_end(w);
}

static int empty_list(struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    put_page(&w, NULL, NULL, false, false);
    gs_jw_key(&w, "nodes");
    gs_jw_raw(&w, "[]", 2);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

/* A person that no list names still has an id. */
static void put_person(struct gs_jw *w, int64_t id, const struct person *p)
{
    char gid[48], name[32];
    snprintf(gid, sizeof gid, "gid://gitlab/User/%" PRId64, id);
    snprintf(name, sizeof name, "user%" PRId64, id);
    gs_jw_obj(w);
    gs_jw_kstr(w, "id", gid);
    gs_jw_kstr(w, "publicEmail", p ? p->public_email : NULL);
    gs_jw_kstr(w, "username", p && p->username ? p->username : name);
    gs_jw_kstr(w, "name", p && p->name ? p->name : p && p->username ? p->username : name);
    gs_jw_kstr(w, "type", p && p->ghost ? "GHOST" : "HUMAN");
    gs_jw_end(w);
}

static void put_member(const struct source_schema *s, struct gs_jw *w, size_t group, const struct membership *m)
{
    char id[80];
    snprintf(id, sizeof id, "gid://gitlab/GroupMember/%" PRId64 "-%" PRId64, s->c->groups[group].id, m->user);
    gs_jw_obj(w);
    gs_jw_kstr(w, "id", id);
    gs_jw_kstr(w, "createdAt", m->created_at);
    gs_jw_kstr(w, "updatedAt", m->updated_at);
    gs_jw_kstr(w, "expiresAt", m->expires_at);
    gs_jw_key(w, "accessLevel");
    gs_jw_obj(w);
    gs_jw_ki64(w, "integerValue", m->level);
    gs_jw_kstr(w, "stringValue", m->level >= 50   ? "OWNER"
                                 : m->level >= 40 ? "MAINTAINER"
                                 : m->level >= 30 ? "DEVELOPER"
                                 : m->level >= 20 ? "REPORTER"
                                 : m->level >= 15 ? "PLANNER"
                                 : m->level >= 10 ? "GUEST"
                                 : m->level >= 5  ? "MINIMAL_ACCESS"
                                                  : "NO_ACCESS");
    gs_jw_end(w);
    gs_jw_key(w, "user");
    put_person(w, m->user, people_by_id(s->p, m->user));
    gs_jw_end(w);
}

static int64_t number(const struct gql_value *args, const char *name, int64_t otherwise)
{
    const struct gql_value *v = gql_arg(args, name);
    return v && v->text ? strtoll(v->text, NULL, 10) : otherwise;
}

/* Cursors are ids of users, since the list is in their order. */
static int members(const struct source_schema *s, size_t group, const struct gql_value *args, struct gs_buf *out, struct gs_err *err)
{
    const struct gql_value *wanted = gql_arg(args, "relations");
    struct gql_value one = {.kind = GQL_LIST, .first = (struct gql_value *)wanted}; /* one value stands for a list */
    gs_autofree struct membership *v = NULL;
    size_t n = 0, from = 0;
    const struct gql_value *list = wanted && wanted->kind != GQL_LIST ? &one : wanted;
    int64_t after = number(args, "after", 0), first = number(args, "first", 100);
    char start[24] = "", end[24] = "";
    struct gs_jw w;
    if (people_members(s->p, group, !list || gql_list_has(list, "DIRECT"), !list || gql_list_has(list, "INHERITED"), &v, &n, err))
        return -1;
    while (from < n && v[from].user <= after)
        from++;
    size_t count = first < 0 ? 0 : first > PAGE_MAX ? PAGE_MAX : (size_t)first;
    count = count < n - from ? count : n - from;
    if (count > 0) {
        snprintf(start, sizeof start, "%" PRId64, v[from].user);
        snprintf(end, sizeof end, "%" PRId64, v[from + count - 1].user);
    }
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    put_page(&w, count ? start : NULL, count ? end : NULL, from + count < n, from > 0);
    gs_jw_key(&w, "nodes");
    gs_jw_arr(&w);
    for (size_t i = from; i < from + count; i++)
        put_member(s, &w, group, &v[i]);
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int64_t id_of(const char *text)
{
    const char *slash = strrchr(text, '/');
    char *end;
    long long n = strtoll(slash ? slash + 1 : text, &end, 10);
    return *end == '\0' && n > 0 ? n : 0;
}

/* By ids or by names, all in one page: an importer that is told of more pages asks for the same one again. */
static int users(const struct source_schema *s, const struct gql_value *args, struct gs_buf *out, struct gs_err *err)
{
    const struct gql_value *ids = gql_arg(args, "ids"), *names = gql_arg(args, "usernames"), *humans = gql_arg(args, "humans");
    const struct gql_value *v = ids ? ids : names;
    bool no_humans = humans && strcmp(humans->text, "false") == 0, only_humans = humans && !no_humans;
    struct gs_jw w;
    size_t n = 0;
    v = v && v->kind == GQL_LIST ? v->first : v;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    put_page(&w, NULL, NULL, false, false);
    gs_jw_key(&w, "nodes");
    gs_jw_arr(&w);
    for (size_t i = 0; n < IDS_MAX && (ids || names ? v != NULL : i < people_count(s->p) && i < 100); i++) {
        const struct person *p = ids ? people_by_id(s->p, id_of(v->text)) : names ? people_by_name(s->p, v->text) : people_at(s->p, i);
        bool ghost = p && (p->ghost || (p->username && strncmp(p->username, "ghost", 5) == 0 && strspn(p->username + 5, "0123456789") == strlen(p->username + 5)));
        if (p && (p->username || p->name) && !(no_humans && !ghost) && !(only_humans && ghost)) {
            struct person shown = *p;
            shown.ghost = ghost;
            put_person(&w, p->id, &shown);
            n++;
        }
        v = v ? v->next : NULL;
    }
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int resolve_query(struct asking *a, const char *field, const struct gql_value *args, struct gs_buf *out, struct gs_err *err)
{
    if (strcmp(field, "users") == 0) {
        a->seen->users = true;
        return users(a->s, args, out, err);
    }
    const struct gql_value *path = gql_arg(args, "fullPath");
    size_t at = strcmp(field, "group") == 0 && path ? content_group_path(a->s->c, path->text, path->len) : SIZE_MAX;
    if (at == SIZE_MAX)
        return gs_buf_addstr(out, "null", err);
    a->seen->group = at;
    return gs_json_write(source_schema_group(a->s, at), out, err);
}

static int resolve(void *cookie, const char *type, const char *field, yyjson_val *parent, const struct gql_value *args, struct gs_buf *out,
                   bool *out_done, struct gs_err *err)
{
    struct asking *a = cookie;
    int64_t at;
    *out_done = true;
    if (strcmp(type, "Query") == 0)
        return resolve_query(a, field, args, out, err);
    if (strcmp(type, "Group") == 0 && gs_json_i64(parent, "__at", &at)) {
        if (strcmp(field, "groupMembers") == 0) {
            a->seen->members = true;
            return members(a->s, (size_t)at, args, out, err);
        }
        if (strcmp(field, "projects") == 0) {
            a->seen->projects = true;
            return empty_list(out, err);
        }
        a->seen->attributes |= strcmp(field, "visibility") == 0; /* what a group is made with, and not only found by */
    }
    *out_done = false;
    return 0;
}

const struct gql_schema source_gql = {.types = types, .resolve = resolve};

/* The parts of a request, or the reason why it is none. */
static const char *request_parts(yyjson_val *root, const char **out_query, size_t *out_len, struct gql_request *rq)
{
    yyjson_val *query = yyjson_obj_get(root, "query"), *name = yyjson_obj_get(root, "operationName"), *vars = yyjson_obj_get(root, "variables");
    if (!yyjson_is_str(query))
        return "No query string was present";
    if (name && !yyjson_is_null(name) && !yyjson_is_str(name))
        return "The operation name is no text";
    if (vars && !yyjson_is_null(vars) && !yyjson_is_obj(vars))
        return "The variables are no object";
    *out_query = yyjson_get_str(query);
    *out_len = yyjson_get_len(query);
    rq->operation = yyjson_is_str(name) && yyjson_get_len(name) ? yyjson_get_str(name) : NULL;
    rq->variables = yyjson_is_obj(vars) ? vars : NULL;
    return NULL;
}

int source_schema_answer(const struct source_schema *s, const char *body, size_t len, struct source_seen *seen, struct gs_buf *out,
                         struct gs_err *err)
{
    GS_AUTO(yyjson_doc) json = NULL;
    GS_AUTO(gql_doc) d = NULL;
    struct asking a = {.s = s, .seen = seen};
    struct gql_request rq = {.schema = &source_gql, .tree = yyjson_doc_get_root(s->tree), .cookie = &a};
    struct gs_err told = {0};
    const char *query = NULL;
    size_t query_len = 0;
    *seen = (struct source_seen){.group = SIZE_MAX};
    seen->malformed = gs_json_parse(body, len, NULL, &json, &told) != 0;
    if (seen->malformed)
        return told.code == GS_E_NOMEM ? (*err = told, -1) : gql_error("The request is no valid JSON", out, err);
    const char *why = request_parts(yyjson_doc_get_root(json), &query, &query_len, &rq);
    if (why)
        return gql_error(why, out, err);
    if (gql_parse(query, query_len, &d, &told))
        return told.code == GS_E_NOMEM ? (*err = told, -1) : gql_error(told.text, out, err);
    seen->introspection = memmem(query, query_len, "__schema", 8) != NULL;
    return gql_run(d, &rq, out, err);
}
