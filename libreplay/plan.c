#include "libreplay/plan.h"

#include "libcommon/clock.h"
#include "libgitlab/graphql.h"
#include "libreplay/loss.h"
#include "libreplay/persona.h"
#include "libreplay/text_plan.h"
#include "libreplay/users.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Everything of a group and of the groups below it, but for locks and ownership: an empty lane that others wait for. */
#define PHASE_ALL 95

struct plan {
    struct state *state;
    struct bundle *bundle;
    struct gl_client *client;
    const struct gl_instance *target;
    const struct plan_opts *opts;
    struct grp *groups; /* parents before children */
    size_t n_groups;
    struct grp **by_id; /* sorted by id */
    struct target_features features;
    bool epics_items;
    uint64_t requests, ops;
    sqlite3_stmt *find_lane;
};

/* ---- what kinds ask for ---- */

static int by_id_cmp(const void *a, const void *b)
{
    int64_t x = (*(struct grp *const *)a)->id, y = (*(struct grp *const *)b)->id;
    return (x > y) - (x < y);
}

static struct grp *find_grp(const struct plan *p, int64_t id)
{
    struct grp key = {.id = id}, *kp = &key;
    struct grp **g = bsearch(&kp, p->by_id, p->n_groups, sizeof *p->by_id, by_id_cmp);
    return g ? *g : NULL;
}

const struct grp *plan_grp(struct plan *p, int64_t id)
{
    return find_grp(p, id);
}

struct state *plan_state(struct plan *p)
{
    return p->state;
}

struct bundle *plan_bundle(struct plan *p)
{
    return p->bundle;
}

const struct gl_instance *plan_target(struct plan *p)
{
    return p->target;
}

const struct target_features *plan_features(struct plan *p)
{
    return &p->features;
}

const struct load_opts *plan_opts(struct plan *p)
{
    return &p->opts->load;
}

bool plan_epics_items(const struct plan *p)
{
    return p->epics_items;
}

void plan_requests(struct plan *p, uint64_t more)
{
    p->requests += more;
}

int plan_lane(struct plan *p, int64_t grp, enum rel_phase phase, const char *name, bool ordered, int64_t *out,
              struct gs_err *err)
{
    sqlite3 *db = state_db(p->state);
    if (!p->find_lane && sqlite3_prepare_v3(db, "SELECT id FROM lane WHERE grp = ?1 AND phase = ?2 AND name = ?3", -1,
                                            SQLITE_PREPARE_PERSISTENT, &p->find_lane, NULL))
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file: %s", sqlite3_errmsg(db));
    sqlite3_bind_int64(p->find_lane, 1, grp);
    sqlite3_bind_int(p->find_lane, 2, phase);
    sqlite3_bind_text(p->find_lane, 3, name ? name : "", -1, SQLITE_STATIC);
    int rc = sqlite3_step(p->find_lane);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(p->find_lane, 0);
    sqlite3_reset(p->find_lane);
    if (rc == SQLITE_ROW)
        return 0;
    if (rc != SQLITE_DONE)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file: %s", sqlite3_errmsg(db));
    /* in a group that we make ourselves nothing was there before us */
    const struct grp *g = find_grp(p, grp);
    struct lane l = {.grp = grp, .phase = (int)phase, .ordered = ordered, .name = (char *)(uintptr_t)(name ? name : ""),
                     .watermark = g && g->existed ? -1 : 0};
    return state_add_lane(p->state, &l, out, err);
}

int plan_op(struct plan *p, struct op *op, struct gs_err *err)
{
    if (!kind_find(op->kind))
        return gs_fail(err, GS_E_INTERNAL, "no kind '%s'", op->kind);
    p->requests++;
    p->ops++;
    if (p->opts->progress && p->ops % 500 == 0)
        p->opts->progress(p->opts->cookie, "planning", p->ops);
    return state_add_op(p->state, op, err);
}

int plan_loss(struct plan *p, int64_t grp, const char *relation, const char *key, const char *code, uint64_t count,
              const char *detail, struct gs_err *err)
{
    if (!loss_find(code))
        return gs_fail(err, GS_E_INTERNAL, "no loss code '%s'", code);
    if (count == 0)
        return 0;
    struct loss_row row = {.grp = grp, .relation = relation, .key = key, .code = code, .count = count, .detail = detail};
    return state_add_loss(p->state, &row, err);
}

/* ---- groups ---- */

static const char *visibility_name(yyjson_val *self)
{
    int64_t level;
    const char *s = gs_json_str(self, "visibility");
    if (s && (strcmp(s, "private") == 0 || strcmp(s, "internal") == 0 || strcmp(s, "public") == 0))
        return s;
    if (!gs_json_i64(self, "visibility_level", &level))
        return "private";
    return level >= 20 ? "public" : level >= 10 ? "internal" : "private";
}

static int visibility_rank(const char *v)
{
    return strcmp(v, "public") == 0 ? 20 : strcmp(v, "internal") == 0 ? 10 : 0;
}

static const char *last_segment(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Name, path and visibility out of the group's own record; a bundle without one falls back on the last segment of the path. */
static int read_self(struct plan *p, struct grp *g, char **out_slug, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    const void *data = NULL;
    size_t len = 0;
    if (bundle_cursor_open(p->bundle, g->id, "self", &c, err) || bundle_cursor_next(c, &data, &len, NULL, err))
        return gs_wrap(err, "group '%s'", g->src_path);
    if (data && record_parse(bundle_encoding(p->bundle), data, len, NULL, &doc, err))
        return gs_wrap(err, "group '%s'", g->src_path);
    yyjson_val *self = doc ? yyjson_doc_get_root(doc) : NULL;
    const char *path = gs_json_str(self, "path"), *name = gs_json_str(self, "name");
    if (!path || !*path)
        path = last_segment(g->src_path);
    *out_slug = strdup(path);
    g->name = strdup(name && *name ? name : path);
    g->visibility = strdup(visibility_name(self));
    return *out_slug && g->name && g->visibility ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for groups");
}

/* Does the rename "OLD=..." name this group? OLD is the full path on the source, or the path below the root group. */
static bool rename_names(const struct plan *p, const char *rename, const struct grp *g)
{
    const char *root = p->groups[0].src_path, *below = NULL, *eq = strchr(rename, '=');
    size_t root_len = strlen(root), n = eq ? (size_t)(eq - rename) : 0;
    if (strncmp(g->src_path, root, root_len) == 0 && g->src_path[root_len] == '/')
        below = g->src_path + root_len + 1;
    return (strlen(g->src_path) == n && strncmp(rename, g->src_path, n) == 0) ||
           (below && strlen(below) == n && strncmp(rename, below, n) == 0);
}

static const char *find_rename(const struct plan *p, const struct grp *g)
{
    for (size_t i = 0; i < p->opts->n_rename; i++)
        if (rename_names(p, p->opts->rename[i], g))
            return strchr(p->opts->rename[i], '=') + 1;
    return NULL;
}

/*
 * What every GitLab demands of a path segment (gitlab-api facts, section 1 d): 2 to 255 of letters, digits, '_', '.', '-'; not a '-'
 * at the start; not a '.', '.git' or '.atom' at the end.
 */
static bool slug_ok(const char *s, size_t n)
{
    if (n < 2 || n > 255 || s[0] == '-' || s[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", s[i]))
            return false;
    return !(n >= 4 && strncasecmp(s + n - 4, ".git", 4) == 0) && !(n >= 5 && strncasecmp(s + n - 5, ".atom", 5) == 0);
}

/* Everything about the renames that can be said without the target. */
static int check_renames(struct plan *p, struct gs_err *err)
{
    for (size_t i = 0; i < p->opts->n_rename; i++) {
        const char *r = p->opts->rename[i], *eq = strchr(r, '=');
        if (!eq || eq == r)
            return gs_fail(err, GS_E_USAGE, "--rename %s: OLD=NEW is needed", r);
        const struct grp *g = NULL;
        for (size_t k = 0; k < p->n_groups && !g; k++)
            if (rename_names(p, r, &p->groups[k]))
                g = &p->groups[k];
        if (!g)
            return gs_fail(err, GS_E_USAGE, "--rename %s: no group of the bundle has the path '%.*s'", r, (int)(eq - r), r);
        for (size_t k = 0; k < i; k++)
            if (rename_names(p, p->opts->rename[k], g))
                return gs_fail(err, GS_E_USAGE, "--rename %s: group '%s' is renamed twice", r, g->src_path);
        size_t n = strcspn(eq + 1, ":");
        if (!slug_ok(eq + 1, n))
            return gs_fail(err, GS_E_USAGE, "--rename %s: GitLab takes no group path '%.*s'", r, (int)n, eq + 1);
    }
    return 0;
}

static int rename_group(struct grp *g, const char *to, char **slug, struct gs_err *err)
{
    const char *colon = strchr(to, ':');
    free(*slug);
    *slug = strndup(to, strcspn(to, ":"));
    if (colon && colon[1]) {
        free(g->name);
        g->name = strdup(colon + 1);
    }
    return *slug && g->name ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for groups");
}

struct parent {
    int64_t id;
    char *full_path, *visibility;
};

static void parent_release(struct parent *p)
{
    free(p->full_path);
    free(p->visibility);
}

/* Looks a group up on the target by its full path. *out->id 0: not there (or not to be seen). */
static int look_up(struct plan *p, const char *path, struct parent *out, char **out_url, struct gs_err *err)
{
    gs_autofree char *enc = gl_encode(path);
    gs_autofree char *url = enc ? gs_asprintf("/groups/%s?with_projects=false", enc) : NULL;
    if (!url)
        return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    *out = (struct parent){0};
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gl_get(p->client, url, &doc, err)) {
        if (err->http != 404)
            return gs_wrap(err, "looking for group '%s' on the target", path);
        gs_err_clear(err);
        return 0;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *full = gs_json_str(root, "full_path"), *vis = gs_json_str(root, "visibility");
    if (!gs_json_i64(root, "id", &out->id) || !full)
        return gs_fail(err, GS_E_REMOTE, "group '%s': the target's answer has no id or full_path", path);
    out->full_path = strdup(full);
    out->visibility = strdup(vis ? vis : "private");
    if (out_url) {
        const char *web = gs_json_str(root, "web_url");
        *out_url = strdup(web ? web : "");
    }
    if (!out->full_path || !out->visibility || (out_url && !*out_url)) {
        parent_release(out);
        return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    }
    return 0;
}

/* Where does this group go, how visible is it there, and is it there already? */
static int place_group(struct plan *p, struct grp *g, const struct parent *into, struct gs_err *err)
{
    gs_autofree char *slug = NULL;
    struct grp *parent = g->parent ? find_grp(p, g->parent) : NULL;
    if (read_self(p, g, &slug, err))
        return -1;
    const char *to = find_rename(p, g);
    if (to && rename_group(g, to, &slug, err))
        return -1;
    const char *above = parent ? parent->dst_path : into->full_path;
    g->dst_path = above ? gs_asprintf("%s/%s", above, slug) : strdup(slug);
    if (!g->dst_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    g->dst_parent = parent ? 0 : into->id;
    const char *limit = parent ? parent->visibility : into->visibility;
    if (limit && visibility_rank(g->visibility) > visibility_rank(limit)) {
        char detail[64];
        snprintf(detail, sizeof detail, "%s -> %s", g->visibility, limit);
        if (plan_loss(p, g->id, "self", g->src_path, "visibility-lowered", 1, detail, err))
            return -1;
        free(g->visibility);
        g->visibility = strdup(limit);
        if (!g->visibility)
            return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    }
    /* nothing can be there below a group that is not there */
    if (parent && !parent->existed)
        return 0;
    struct parent there;
    char *url = NULL;
    if (look_up(p, g->dst_path, &there, &url, err))
        return -1;
    if (there.id) {
        g->existed = true;
        g->target_id = there.id;
        free(g->visibility);
        g->visibility = gs_steal(&there.visibility);
        g->web_url = url;
    }
    parent_release(&there);
    if (g->existed && !p->opts->load.merge)
        return gs_fail(err, GS_E_TARGET_TAKEN, "group '%s' exists on the target already", g->dst_path);
    return 0;
}

/* Groups of one source have paths of their own; only a rename can bring two together. */
static int no_namesake(const struct plan *p, const struct grp *g, struct gs_err *err)
{
    if (p->opts->n_rename == 0)
        return 0;
    bool renamed = find_rename(p, g) != NULL;
    for (const struct grp *o = p->groups; o < g; o++)
        if (o->parent == g->parent && strcasecmp(o->dst_path, g->dst_path) == 0 && (renamed || find_rename(p, o)))
            return gs_fail(err, GS_E_USAGE, "groups '%s' and '%s' would both become '%s': see --rename", o->src_path, g->src_path,
                           g->dst_path);
    return 0;
}

static int place_groups(struct plan *p, struct gs_err *err)
{
    const struct bundle_group *bg;
    p->n_groups = bundle_groups(p->bundle, &bg);
    if (p->n_groups == 0)
        return gs_fail(err, GS_E_RECORD, "the bundle holds no group");
    p->groups = calloc(p->n_groups, sizeof *p->groups);
    p->by_id = calloc(p->n_groups, sizeof *p->by_id);
    if (!p->groups || !p->by_id)
        return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    for (size_t i = 0; i < p->n_groups; i++) {
        struct grp *g = &p->groups[i];
        *g = (struct grp){.id = bg[i].id, .parent = bg[i].parent_id, .src_path = strdup(bg[i].full_path)};
        if (!g->src_path)
            return gs_fail(err, GS_E_NOMEM, "no memory for groups");
        p->by_id[i] = g;
    }
    qsort(p->by_id, p->n_groups, sizeof *p->by_id, by_id_cmp);
    struct parent into __attribute__((cleanup(parent_release))) = {0};
    if (check_renames(p, err))
        return -1;
    if (p->opts->into) {
        size_t n = strlen(p->opts->into);
        if (n == 0 || p->opts->into[0] == '/' || p->opts->into[n - 1] == '/')
            return gs_fail(err, GS_E_USAGE, "--into '%s': the full path of a group is needed, without a slash at its ends",
                           p->opts->into);
        if (look_up(p, p->opts->into, &into, NULL, err))
            return -1;
        if (!into.id)
            return gs_fail(err, GS_E_GROUP_NOT_FOUND, "--into: group '%s' is not on the target", p->opts->into);
    }
    for (size_t i = 0; i < p->n_groups; i++) {
        struct grp *g = &p->groups[i];
        struct grp *parent = g->parent ? find_grp(p, g->parent) : NULL;
        if (g->parent && !parent)
            return gs_fail(err, GS_E_RECORD, "group '%s' has parent %lld, which the bundle does not hold", g->src_path,
                           (long long)g->parent);
        g->depth = parent ? parent->depth + 1 : 0;
        if (place_group(p, g, &into, err) || no_namesake(p, g, err) || state_add_grp(p->state, g, err))
            return -1;
    }
    return 0;
}

/* ---- features ---- */

/* Of a group without a licence for epics there is no type of work item for them. */
static int probe_items(struct plan *p, const char *path, struct gs_err *err)
{
    gs_autobuf vars;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    struct gs_jw w;
    gs_buf_init(&vars, 1 << 16);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", path);
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    if (gl_graphql(p->client, gl_document("work_item_type_epic"), gs_buf_str(&vars), &doc, &data, NULL, err)) {
        if (err->code != GS_E_GRAPHQL)
            return gs_wrap(err, "asking what the target's tier offers");
        gs_err_clear(err);
        return 0;
    }
    yyjson_val *types = yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(data, "group"), "workItemTypes"), "nodes");
    int has = yyjson_arr_size(types) > 0;
    p->features = (struct target_features){has, has, has, has};
    return 0;
}

/*
 * What the target's tier offers cannot be asked, only probed: epics answer 403 where they are not licensed (gitlab-api facts, section 10,
 * Version). A group to ask about is needed; without one the tier is not known. That the endpoints of epics are gone is known from
 * any group, there or not: it is the answer to a route that does not exist (section 10, error bodies, 8).
 */
static int probe_features(struct plan *p, struct gs_err *err)
{
    p->features = (struct target_features){-1, -1, -1, -1};
    p->epics_items = p->opts->load.epics_api == EPICS_WORK_ITEMS;
    if (p->target->enterprise == 0) {
        p->features = (struct target_features){0, 0, 0, 0};
        return 0;
    }
    const struct grp *root = &p->groups[0];
    int64_t id = root->target_id ? root->target_id : root->dst_parent;
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%lld/epics?per_page=1", (long long)id);
    struct gl_response rsp;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    int n = gl_perform(p->client, r, &rsp, err); /* a list, which gl_get() would not take */
    bool no_route = rsp.outcome == GL_ANSWERED && rsp.status == 404 && strstr(gs_buf_str(&rsp.body), "\"error\"");
    gl_response_release(&rsp);
    if (n && err->http != 403 && err->http != 404)
        return gs_wrap(err, "asking what the target's tier offers");
    if (n == 0 && id)
        p->features = (struct target_features){1, 1, 1, 1};
    else if (n && err->http == 403)
        p->features = (struct target_features){0, 0, 0, 0};
    gs_err_clear(err);
    if (no_route && p->opts->load.epics_api == EPICS_AUTO)
        p->epics_items = gl_instance_at_least(p->target, 17, 2);
    if (!p->epics_items || !id)
        return 0;
    gs_autofree char *above = root->target_id ? NULL : strdup(root->dst_path);
    char *slash = above ? strrchr(above, '/') : NULL;
    if (slash)
        *slash = 0;
    return probe_items(p, above ? above : root->dst_path, err);
}

/* ---- records ---- */

static int plan_relation(struct plan *p, const struct relation_loader *l, const struct grp *g, struct gs_err *err)
{
    uint64_t records = bundle_count(p->bundle, g->id, l->relation);
    if (l->plan_group && l->plan_group(p, g, true, records, err))
        return -1;
    if (records > 0) {
        GS_AUTO(bundle_cursor) c = NULL;
        if (bundle_cursor_open(p->bundle, g->id, l->relation, &c, err))
            return -1;
        for (;;) {
            const void *data;
            size_t len;
            struct bundle_ref ref;
            GS_AUTO(yyjson_doc) doc = NULL;
            if (bundle_cursor_next(c, &data, &len, &ref, err))
                return -1;
            if (!data)
                break;
            if (record_parse(bundle_encoding(p->bundle), data, len, NULL, &doc, err) ||
                l->plan_record(p, g, yyjson_doc_get_root(doc), &ref, err))
                return -1;
        }
    }
    return l->plan_group ? l->plan_group(p, g, false, records, err) : 0;
}

static bool has_loader(const char *relation)
{
    for (const struct relation_loader *const *l = relation_loaders; *l; l++)
        if (strcmp((*l)->relation, relation) == 0)
            return true;
    return strcmp(relation, "avatar") == 0; /* a file, loaded with the group itself */
}

/* What the bundle holds and no loader knows is said, with how much of it there is. */
static int plan_unknown(struct plan *p, struct gs_err *err)
{
    const struct bundle_member *m;
    size_t n = bundle_members(p->bundle, &m);
    for (size_t i = 0; i < n; i++)
        if (m[i].group_id != 0 && !has_loader(m[i].relation) &&
            plan_loss(p, m[i].group_id, m[i].relation, NULL, "relation-not-loaded", m[i].is_file ? 1 : m[i].records, NULL, err))
            return -1;
    return 0;
}

static int plan_records(struct plan *p, struct gs_err *err)
{
    for (const struct relation_loader *const *l = relation_loaders; *l; l++)
        for (size_t i = 0; i < p->n_groups; i++)
            if (plan_relation(p, *l, &p->groups[i], err))
                return gs_wrap(err, "planning %s of group '%s'", (*l)->relation, p->groups[i].src_path);
    for (const struct relation_loader *const *l = relation_loaders; *l; l++)
        if ((*l)->plan_end && (*l)->plan_end(p, err))
            return gs_wrap(err, "planning %s", (*l)->relation);
    return plan_unknown(p, err);
}

/* ---- what waits for what ---- */

static int exec(struct plan *p, const char *sql, struct gs_err *err)
{
    sqlite3 *db = state_db(p->state);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL))
        return gs_fail(err, sqlite3_errcode(db) == SQLITE_FULL ? GS_E_DISK_FULL : GS_E_STATE_DAMAGED,
                       "state file '%s': %s", state_path(p->state), sqlite3_errmsg(db));
    return 0;
}

/*
 * Needs between lanes, once all of them are known:
 *   a group's creation          after its parent's
 *   everything else of a group  after its creation
 *   settings                    after the parent's settings: what a group shows may be inherited, and is compared
 *   labels                      after the labels of the child groups: a child's label whose title the parent has too is
 *                               refused once the parent's exists (gitlab-api facts, section 2)
 *   members                     after the parent's members, so that the inherited level is known to the server
 *   epics and their boards      after the labels of the group and of the groups above; then in stages, each after the one before in
 *                               all groups, since epics have parents, and boards epics, of other groups; places on boards after
 *                               the boards of the group, with their lists
 *   boards                      after labels, milestones, iterations and members of the group and of the groups above
 *   "all" of a group            after everything in it and "all" of its children
 *   locks                       after "all" and the locks of the children; ownership after the locks and the children's ownership
 *   an op that needs another    after that one's lane
 */
static int plan_needs(struct plan *p, struct gs_err *err)
{
    for (size_t i = 0; i < p->n_groups; i++) {
        int64_t lane;
        if (plan_lane(p, p->groups[i].id, PHASE_ALL, "all", false, &lane, err))
            return -1;
    }
    /* empty lanes of the root, between the stages of the epics */
    for (int phase = REL_PHASE_EPICS + 1; phase < REL_PHASE_EPIC_TIMES; phase += phase == 75 ? 8 : 2) {
        int64_t lane;
        if (plan_lane(p, p->groups[0].id, (enum rel_phase)phase, "stage", false, &lane, err))
            return -1;
    }
    static const char *const steps[] = {
        "CREATE TEMP TABLE stage(before INTEGER, barrier INTEGER, behind INTEGER)",
        "INSERT INTO stage VALUES(70, 71, 72), (72, 73, 74), (74, 75, 82), (82, 83, 84)",
        "CREATE TEMP TABLE creation(grp INTEGER PRIMARY KEY, lane INTEGER)",
        "INSERT OR IGNORE INTO creation SELECT grp, lane FROM op WHERE kind = 'groups'",
        "INSERT OR IGNORE INTO lane_need SELECT c.lane, pc.lane FROM creation c JOIN grp g ON g.id = c.grp"
        " JOIN creation pc ON pc.grp = g.parent",
        "INSERT OR IGNORE INTO lane_need SELECT l.id, c.lane FROM lane l JOIN creation c ON c.grp = l.grp WHERE l.id <> c.lane",
        /* labels and members along the tree, also over groups that have none: their lanes are looked for further away */
        "CREATE TEMP TABLE above(grp INTEGER, up INTEGER, PRIMARY KEY(grp, up)) WITHOUT ROWID",
        "INSERT INTO above WITH RECURSIVE a(grp, up) AS (SELECT id, parent FROM grp WHERE parent <> 0"
        " UNION ALL SELECT a.grp, g.parent FROM a JOIN grp g ON g.id = a.up WHERE g.parent <> 0) SELECT grp, up FROM a",
        "INSERT OR IGNORE INTO lane_need SELECT u.id, l.id FROM lane l JOIN above ON above.grp = l.grp"
        " JOIN lane u ON u.grp = above.up AND u.phase = l.phase WHERE l.phase = 20",
        "INSERT OR IGNORE INTO lane_need SELECT l.id, u.id FROM lane l JOIN above ON above.grp = l.grp"
        " JOIN lane u ON u.grp = above.up AND u.phase = l.phase AND u.name = l.name"
        " WHERE l.phase = 90 OR (l.phase = 10 AND l.name <> 'create')",
        "INSERT OR IGNORE INTO lane_need SELECT b.id, l.id FROM lane b JOIN lane l ON l.grp = b.grp"
        " WHERE b.phase = 60 AND l.phase IN (20, 30, 40, 90)",
        "INSERT OR IGNORE INTO lane_need SELECT b.id, l.id FROM lane b JOIN above ON above.grp = b.grp"
        " JOIN lane l ON l.grp = above.up WHERE b.phase = 60 AND l.phase IN (20, 30, 40, 90)",
        "INSERT OR IGNORE INTO lane_need SELECT e.id, l.id FROM lane e JOIN lane l ON l.grp = e.grp AND l.phase = 20"
        " WHERE e.phase IN (70, 80)",
        "INSERT OR IGNORE INTO lane_need SELECT e.id, l.id FROM lane e JOIN above ON above.grp = e.grp"
        " JOIN lane l ON l.grp = above.up AND l.phase = 20 WHERE e.phase IN (70, 80)",
        "INSERT OR IGNORE INTO lane_need SELECT b.id, l.id FROM lane b JOIN lane l ON l.phase IN (SELECT before FROM stage WHERE"
        " barrier = b.phase) OR (l.phase < b.phase AND l.phase IN (SELECT barrier FROM stage))"
        " WHERE b.phase IN (SELECT barrier FROM stage)",
        "INSERT OR IGNORE INTO lane_need SELECT l.id, b.id FROM stage s JOIN lane l ON l.phase = s.behind JOIN lane b ON b.phase ="
        " s.barrier",
        "INSERT OR IGNORE INTO lane_need SELECT p.id, b.id FROM lane p JOIN lane b ON b.grp = p.grp AND b.phase = 80"
        " WHERE p.phase = 82",
        "INSERT OR IGNORE INTO lane_need SELECT a.id, l.id FROM lane a JOIN lane l ON l.grp = a.grp"
        " WHERE a.phase = 95 AND l.phase < 95",
        "INSERT OR IGNORE INTO lane_need SELECT pa.id, a.id FROM lane a JOIN grp g ON g.id = a.grp"
        " JOIN lane pa ON pa.grp = g.parent AND pa.phase = 95 WHERE a.phase = 95",
        "INSERT OR IGNORE INTO lane_need SELECT k.id, a.id FROM lane k JOIN lane a ON a.grp = k.grp AND a.phase = 95"
        " WHERE k.phase = 100",
        "INSERT OR IGNORE INTO lane_need SELECT u.id, k.id FROM lane k JOIN above ON above.grp = k.grp"
        " JOIN lane u ON u.grp = above.up AND u.phase = 100 AND u.name = k.name WHERE k.phase = 100",
        "INSERT OR IGNORE INTO lane_need SELECT o.id, k.id FROM lane o JOIN lane k ON k.grp = o.grp AND k.phase = 100"
        " WHERE o.phase = 100 AND o.name = 'owner' AND k.name <> 'owner'",
        "INSERT OR IGNORE INTO lane_need SELECT DISTINCT o.lane, n.lane FROM op o JOIN op n ON n.id = o.needs"
        " WHERE o.needs <> 0 AND o.lane <> n.lane",
    };
    /* whoever writes an epic or a comment himself must be a member by then */
    static const char *const authors[] = {
        "INSERT OR IGNORE INTO lane_need SELECT e.id, m.id FROM lane e JOIN lane m ON m.grp = e.grp AND m.phase = 90 WHERE e.phase IN (70, 80)",
        "INSERT OR IGNORE INTO lane_need SELECT e.id, m.id FROM lane e JOIN above ON above.grp = e.grp"
        " JOIN lane m ON m.grp = above.up AND m.phase = 90 WHERE e.phase IN (70, 80)",
    };
    for (size_t i = 0; i < GS_COUNT(steps); i++)
        if (exec(p, steps[i], err))
            return -1;
    for (size_t i = 0; p->opts->load.as_authors && i < GS_COUNT(authors); i++)
        if (exec(p, authors[i], err))
            return -1;
    return exec(p, "DROP TABLE creation; DROP TABLE above; DROP TABLE stage", err);
}

/* ---- facts ---- */

static void digest_hex(const struct bundle *b, char out[2 * BUNDLE_DIGEST_LEN + 1])
{
    const uint8_t *d = bundle_digest(b);
    for (int i = 0; i < BUNDLE_DIGEST_LEN; i++)
        snprintf(out + 2 * i, 3, "%02x", d[i]);
}

/* The options that decide what is done, as one line: a state file goes on only with the same. */
static int options_text(const struct plan_opts *o, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    if (o->load.epics_api != EPICS_AUTO)
        gs_jw_kstr(&w, "epics_api", o->load.epics_api == EPICS_REST ? "rest" : "work-items");
    gs_jw_kstr(&w, "into", o->into);
    gs_jw_kbool(&w, "keep_owner", o->load.keep_owner);
    gs_jw_ki64(&w, "max_fillers", o->load.max_fillers);
    gs_jw_kbool(&w, "merge", o->load.merge);
    gs_jw_key(&w, "rename");
    gs_jw_arr(&w);
    for (size_t i = 0; i < o->n_rename; i++)
        gs_jw_str(&w, o->rename[i]);
    gs_jw_end(&w);
    gs_jw_kstr(&w, "user_map", o->user_map);
    /* later options stand there only when they were given, so that older state files go on */
    static const struct {
        const char *name;
        size_t at;
    } later[] = {{"match_username", offsetof(struct plan_opts, match_username)},
                 {"as_authors", offsetof(struct plan_opts, load.as_authors)},
                 {"prefer_dates", offsetof(struct plan_opts, load.prefer_dates)},
                 {"no_attribution", offsetof(struct plan_opts, load.no_attribution)}};
    for (size_t i = 0; i < GS_COUNT(later); i++)
        if (*(const bool *)((const char *)o + later[i].at))
            gs_jw_kbool(&w, later[i].name, true);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int meta_i64(struct state *s, const char *key, int64_t v, struct gs_err *err)
{
    char t[24];
    snprintf(t, sizeof t, "%lld", (long long)v);
    return state_meta_set(s, key, t, err);
}

static int write_facts(struct plan *p, const struct users_coverage *u, struct gs_err *err)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    gs_autobuf options;
    gs_buf_init(&options, 1 << 20);
    digest_hex(p->bundle, hex);
    if (options_text(p->opts, &options, err))
        return -1;
    struct state *s = p->state;
    return state_meta_set(s, "bundle_digest", hex, err) || state_meta_set(s, "set_id", bundle_set_id(p->bundle), err) ||
                   state_meta_set(s, "target_url", gl_client_url(p->client), err) ||
                   state_meta_set(s, "target_version", p->target->version, err) ||
                   state_meta_set(s, "target_user", p->target->username, err) ||
                   meta_i64(s, "target_user_id", p->target->user_id, err) ||
                   state_meta_set(s, "options", gs_buf_str(&options), err) ||
                   state_meta_set(s, "epics_api", p->epics_items ? "work-items" : "rest", err) ||
                   state_meta_set(s, "tool_version", GS_VERSION, err) ||
                   meta_i64(s, "started_at_ms", gs_unix_ms() + p->target->clock_offset_ms, err) ||
                   meta_i64(s, "requests", (int64_t)p->requests, err) || meta_i64(s, "people", (int64_t)u->people, err) ||
                   meta_i64(s, "people_by_csv", (int64_t)u->by_csv, err) ||
                   meta_i64(s, "people_by_email", (int64_t)u->by_email, err) ||
                   (u->unused[0] && state_meta_set(s, "user_map_unused", u->unused, err)) ||
                   meta_i64(s, "people_nobody", (int64_t)u->nobody, err)
               ? -1
               : 0;
}

static int store_user(void *cookie, const struct user_row *u, struct gs_err *err)
{
    return state_add_user(cookie, u, err);
}

static const struct grp *name_group(void *cookie, int64_t id)
{
    return find_grp(cookie, id);
}

static int plan_texts(struct plan *p, struct gs_err *err)
{
    struct names n = {.state = p->state,
                      .groups = p->groups,
                      .n_groups = p->n_groups,
                      .by_id = name_group,
                      .cookie = p,
                      .source_url = gs_json_str(yyjson_obj_get(bundle_manifest(p->bundle), "source"), "url"),
                      .target_url = gl_client_url(p->client)};
    return text_plan(&n, p->bundle, err) ? gs_wrap(err, "planning texts") : 0;
}

static int plan_all(struct plan *p, struct gs_err *err)
{
    struct users_coverage coverage = {0};
    struct users_opts people = {.csv = p->opts->user_map, .match_username = p->opts->match_username, .each = store_user, .cookie = p->state};
    if ((p->opts->load.as_authors && personas_check(p->client, p->target, 0, err)) || place_groups(p, err) || probe_features(p, err) ||
        users_match(p->bundle, p->client, p->target, &people, &coverage, err) ||
        plan_records(p, err) || plan_texts(p, err) || plan_needs(p, err))
        return -1;
    if (coverage.nobody > 0 &&
        plan_loss(p, 0, "users", NULL, "user-unmatched", coverage.nobody, NULL, err))
        return -1;
    return write_facts(p, &coverage, err);
}

int plan_make(struct state *s, struct bundle *b, struct gl_client *c, const struct gl_instance *target,
              const struct plan_opts *o, struct gs_err *err)
{
    struct plan p = {.state = s, .bundle = b, .client = c, .target = target, .opts = o};
    int r = state_begin(s, err);
    if (r == 0) {
        r = plan_all(&p, err);
        sqlite3_finalize(p.find_lane);
        if (r == 0)
            r = state_commit(s, err);
        else
            state_rollback(s);
    }
    for (size_t i = 0; p.groups && i < p.n_groups; i++)
        grp_release(&p.groups[i]);
    free(p.groups);
    free(p.by_id);
    return r;
}

int plan_still(struct state *s, const struct bundle *b, struct gl_client *c, const struct gl_instance *target, struct gs_err *err)
{
    gs_autofree char *version = NULL;
    const struct bundle_group *bg;
    struct grp root;
    struct plan p = {.client = c};
    struct parent there __attribute__((cleanup(parent_release))) = {0};
    if (state_meta_get(s, "target_version", &version, err))
        return -1;
    if (version && *version && strcmp(version, target->version) != 0)
        return gs_fail(err, GS_E_TARGET_MOVED, "the target was GitLab %s when the plan was made, and is %s: plan anew", version, target->version);
    if (bundle_groups(b, &bg) == 0 || state_grp(s, bg[0].id, &root, err))
        return -1;
    int r = look_up(&p, root.dst_path, &there, NULL, err);
    if (!r && !root.existed && there.id)
        r = gs_fail(err, GS_E_TARGET_MOVED, "group '%s' was not on the target when the plan was made, and is there: plan anew", root.dst_path);
    else if (!r && root.existed && there.id != root.target_id)
        r = gs_fail(err, GS_E_TARGET_MOVED, "group '%s' is %s since the plan was made: plan anew", root.dst_path, there.id ? "another one" : "gone");
    grp_release(&root);
    return r;
}

static int same(struct state *s, const char *key, const char *want, const char *what, struct gs_err *err)
{
    gs_autofree char *have = NULL;
    if (state_meta_get(s, key, &have, err))
        return -1;
    if (have && strcmp(have, want) == 0)
        return 0;
    if (!have)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' holds no finished plan", state_path(s));
    return gs_fail(err, GS_E_STATE_OTHER, "state file '%s' belongs to another %s: %s there, %s here", state_path(s), what,
                   have, want);
}

/* Says whose token is needed: the load is his, with all that he alone may see and take back. */
static int same_user(struct state *s, int64_t user, struct gs_err *err)
{
    gs_autofree char *id = NULL, *name = NULL;
    if (state_meta_get(s, "target_user_id", &id, err) || state_meta_get(s, "target_user", &name, err))
        return -1;
    if (id && strtoll(id, NULL, 10) == user)
        return 0;
    if (!id)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' holds no finished plan", state_path(s));
    return gs_fail(err, GS_E_STATE_USER,
                   "the load of state file '%s' was begun by user '%s' (%s) of the target, and this token is of user %lld",
                   state_path(s), name ? name : "?", id, (long long)user);
}

int plan_check(struct state *s, struct bundle *b, const char *target_url, int64_t user, const struct plan_opts *o,
               struct gs_err *err)
{
    char hex[2 * BUNDLE_DIGEST_LEN + 1];
    digest_hex(b, hex);
    if (same(s, "bundle_digest", hex, "bundle", err) || (target_url && same(s, "target_url", target_url, "target", err)) ||
        (user && same_user(s, user, err)))
        return -1;
    if (!o)
        return 0;
    gs_autobuf options;
    gs_autofree char *have = NULL;
    gs_buf_init(&options, 1 << 20);
    if (options_text(o, &options, err) || state_meta_get(s, "options", &have, err))
        return -1;
    if (have && strcmp(have, gs_buf_str(&options)) == 0)
        return 0;
    return gs_fail(err, GS_E_STATE_OPTIONS, "state file '%s' was planned with other options than those given now", state_path(s));
}
