#include "libreplay/undo_look.h"

#include "libcommon/clock.h"
#include "libgitlab/graphql.h"
#include "libreplay/kind.h"
#include "libreplay/print.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define TOUCH_MS 30000 /* a step may take a while, and ends with the changes of others in mind */

/* One list of the group while it is read. */
struct coll {
    struct look *l;
    enum undo_kind kind; /* UNDO_KINDS: something that this load never makes */
    const char *what;    /* "project" */
    const char *path; /* NULL: over GraphQL */
    bool optional; /* not every target has it, or shows it */
};

/* ---- rows ---- */

static enum undo_kind kind_of(const char *name)
{
    int k = 0;
    while (k < UNDO_KINDS - 1 && strcmp(undo_kinds[k].kind, name) != 0)
        k++;
    return (enum undo_kind)k;
}

static int row_cmp(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind)
                              : (x->target > y->target) - (x->target < y->target);
}

struct row *look_row(struct look *l, enum undo_kind kind, int64_t target)
{
    struct row key = {.kind = kind, .target = target};
    return bsearch(&key, l->rows, l->n_rows, sizeof key, row_cmp);
}

int look_load(struct look *l, struct gs_err *err)
{
    /* what hung below an epic that was removed went with it */
    if (sqlite3_exec(state_db(l->u->s),
                     "WITH RECURSIVE gone(op) AS (SELECT t.child FROM temp.epic_tree t JOIN undo x ON x.op = t.parent AND x.state = 2 AND"
                     " x.code NOT IN (" UNDO_MARKED_CODES ") UNION SELECT t.child FROM temp.epic_tree t JOIN gone ON gone.op = t.parent)"
                     " UPDATE undo SET state = 2, code = 'removed', at_ms = 0 WHERE state < 2 AND op IN gone",
                     NULL, NULL, NULL) != SQLITE_OK)
        return undo_db_fail(l->u->s, err);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(
            state_db(l->u->s),
            "SELECT u.op, u.kind, u.target_id, u.state, o.print, o.key, u.code IN (" UNDO_MARKED_CODES ", 'restored')"
            " FROM undo u JOIN op o ON o.id = u.op"
            " WHERE u.grp = ?1",
            -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(l->u->s, err);
    sqlite3_bind_int64(st, 1, l->g->id);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        if (rc != SQLITE_ROW) {
            r = undo_db_fail(l->u->s, err);
            break;
        }
        if (l->n_rows % 256 == 0) {
            struct row *p = realloc(l->rows, (l->n_rows + 256) * sizeof *p);
            if (!p) {
                r = gs_fail(err, GS_E_NOMEM, "out of memory");
                break;
            }
            l->rows = p;
        }
        const char *key = (const char *)sqlite3_column_text(st, 5);
        l->rows[l->n_rows++] = (struct row){.op = sqlite3_column_int64(st, 0),
                                            .kind = kind_of((const char *)sqlite3_column_text(st, 1)),
                                            .target = sqlite3_column_int64(st, 2),
                                            .state = (enum undo_state)sqlite3_column_int(st, 3),
                                            .print = sqlite3_column_int64(st, 4),
                                            .was_marked = sqlite3_column_int(st, 6) == 1,
                                            .key = strdup(key ? key : "")};
        if (!l->rows[l->n_rows - 1].key)
            r = gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    sqlite3_finalize(st);
    if (r)
        return r;
    qsort(l->rows, l->n_rows, sizeof *l->rows, row_cmp);
    l->self = l->g->existed ? NULL : look_row(l, U_GROUPS, l->g->target_id);
    l->made = l->self != NULL;
    l->has_iterations = false;
    for (size_t i = 0; i < l->n_rows; i++)
        l->has_iterations |= l->rows[i].kind == U_ITERATIONS || l->rows[i].kind == U_CADENCES;
    return 0;
}

void look_release(struct look *l)
{
    for (size_t i = 0; i < l->n_rows; i++)
        free(l->rows[i].key);
    free(l->rows);
    free(l->used_labels);
    free(l->used_milestones);
    free(l->used_iterations);
    free(l->fillers);
    free(l->filler_cadences);
    free(l->epic_fillers);
}

/* ---- what is there ---- */

static int push(int64_t **list, size_t *n, int64_t v, struct gs_err *err)
{
    if (*n % 64 == 0) {
        int64_t *p = realloc(*list, (*n + 64) * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        *list = p;
    }
    (*list)[(*n)++] = v;
    return 0;
}

static const char *name_of(yyjson_val *it)
{
    static const char *const keys[] = {"title", "full_path", "path_with_namespace", "name", "username", "key",
                                       "url",   "slug"};
    for (size_t i = 0; i < GS_COUNT(keys); i++)
        if (gs_json_str(it, keys[i]))
            return gs_json_str(it, keys[i]);
    return NULL;
}

static void foreign(struct look *l, const char *what, yyjson_val *it)
{
    size_t n = strlen(l->foreign_text);
    const char *name = name_of(it);
    int64_t id = 0;
    gs_json_i64(it, "id", &id);
    if (l->foreign++ >= FOREIGN_NAMES)
        return;
    if (name)
        snprintf(l->foreign_text + n, sizeof l->foreign_text - n, "%s%s '%.60s'", n ? ", " : "", what, name);
    else
        snprintf(l->foreign_text + n, sizeof l->foreign_text - n, "%s%s %lld", n ? ", " : "", what, (long long)id);
}

/* Without a fingerprint (a label made by GraphQL, a state of an older version) the name alone can be compared. */
static bool same_name(const struct row *r, yyjson_val *it)
{
    const char *name = r->kind == U_LABELS || r->kind == U_BOARDS || r->kind == U_BADGES ? gs_json_str(it, "name")
                       : r->kind == U_MILESTONES || r->kind == U_CADENCES                ? gs_json_str(it, "title")
                                                                                         : NULL;
    return !name || strcmp(name, r->key) == 0;
}

/* Was it changed well after the load took up its last step? */
static bool touched(const struct undo *u, yyjson_val *it)
{
    int64_t at;
    struct gs_err ignored = {0};
    const char *text = gs_json_str(it, "updated_at");
    return u->last_ms && text && gs_time_parse(text, &at, &ignored) == 0 && at > u->last_ms + TOUCH_MS;
}

void look_see(const struct undo *u, struct row *r, yyjson_val *it)
{
    const struct kind *k = kind_find(undo_kinds[r->kind].kind);
    r->there = true;
    r->differs = r->print && k->seen ? print_of(it, k->seen) != r->print : !same_name(r, it);
    if (r->kind == U_EPICS && touched(u, it)) /* a comment, an emoji, a label of somebody: each moves it */
        r->differs = true;
}

static int64_t count_of(yyjson_val *it, const char *key)
{
    int64_t v = 0;
    gs_json_i64(it, key, &v);
    return v;
}

/* Numeric id of a REST or GraphQL object. */
static int64_t id_of(yyjson_val *it)
{
    const char *gid = gs_json_str(it, "id");
    int64_t id = gid ? gl_gid(gid) : count_of(it, "id");
    return id > 0 ? id : 0;
}

bool look_has(const int64_t *list, size_t n, int64_t v)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == v)
            return true;
    return false;
}

/* The label, milestone and iteration that an object of others names. */
static int note_used(struct look *l, yyjson_val *obj, struct gs_err *err)
{
    int64_t id = 0;
    if (gs_json_i64(yyjson_obj_get(obj, "label"), "id", &id) && id > 0 &&
        push(&l->used_labels, &l->n_used_labels, id, err))
        return -1;
    if (gs_json_i64(yyjson_obj_get(obj, "iteration"), "id", &id) && id > 0 &&
        push(&l->used_iterations, &l->n_used_iterations, id, err))
        return -1;
    return gs_json_i64(yyjson_obj_get(obj, "milestone"), "id", &id) && id > 0
               ? push(&l->used_milestones, &l->n_used_milestones, id, err)
               : 0;
}

/* The lists of a board; those of others stand on labels and milestones that must then stay. */
static int see_lists(struct look *l, struct row *board, yyjson_val *it, struct gs_err *err)
{
    yyjson_val *lists = yyjson_obj_get(it, "lists"), *labels = yyjson_obj_get(it, "labels"), *x;
    size_t i, max;
    int64_t id = 0, board_id = 0;
    gs_json_i64(it, "id", &board_id);
    yyjson_arr_foreach(lists, i, max, x)
    {
        struct row *r = gs_json_i64(x, "id", &id) ? look_row(l, U_LISTS, id) : NULL;
        if (r) {
            look_see(l->u, r, x);
            r->parent = board_id;
            continue;
        }
        if (board) {
            board->foreign_parts++;
            foreign(l, "a list of board", it);
        }
        if (note_used(l, x, err))
            return -1;
    }
    if (board)
        return 0;
    yyjson_arr_foreach(labels, i, max, x)
    {
        if (gs_json_i64(x, "id", &id) && push(&l->used_labels, &l->n_used_labels, id, err))
            return -1;
    }
    return note_used(l, it, err);
}

/* The board that GitLab makes when somebody opens the page is nobody's. */
static bool nobodys(enum undo_kind kind, yyjson_val *it)
{
    const char *name = gs_json_str(it, "name");
    return kind == U_BOARDS && name && strcmp(name, "Development") == 0 &&
           yyjson_arr_size(yyjson_obj_get(it, "lists")) == 0;
}

/* One that this load did not make: by a cadence of ours, or to use up a number? Else it is somebody's, who keeps the cadence by it. */
static bool stray_iteration(struct look *l, yyjson_val *it)
{
    int64_t id = id_of(yyjson_obj_get(it, "iterationCadence"));
    struct row *cadence = look_row(l, U_CADENCES, id);
    if (look_has(l->filler_cadences, l->n_filler_cadences, id) || (cadence && cadence->automatic))
        return true;
    if (cadence)
        cadence->foreign_parts++;
    return false;
}

static int see_other(struct look *l, const struct coll *c, yyjson_val *it, int64_t id, struct gs_err *err)
{
    const char *title = gs_json_str(it, "title");
    char filler[64];
    snprintf(filler, sizeof filler, "groupsnap filler %s %lld-", l->u->set_id, (long long)l->g->id);
    bool is_filler = title && strncmp(title, filler, strlen(filler)) == 0;
    if (c->kind == U_MILESTONES && is_filler)
        return push(&l->fillers, &l->n_fillers, id, err);
    if (c->kind == U_CADENCES && is_filler)
        return push(&l->filler_cadences, &l->n_filler_cadences, id, err);
    if (c->kind == U_EPICS && is_filler)
        return push(&l->epic_fillers, &l->n_epic_fillers, count_of(it, "iid"), err);
    if (c->kind == U_ITERATIONS && stray_iteration(l, it))
        return 0;
    if ((c->kind == U_MEMBERS && id == l->u->loader) || nobodys(c->kind, it))
        return 0;
    foreign(l, c->what, it);
    return 0;
}

/* A subgroup of ours that was removed may be seen until the server has done it. */
static int removed_group(struct look *l, int64_t id, bool *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(l->u->s),
                           "SELECT 1 FROM undo WHERE kind = 'groups' AND target_id = ?1 AND state = 2", -1, &st,
                           NULL) != SQLITE_OK)
        return undo_db_fail(l->u->s, err);
    sqlite3_bind_int64(st, 1, id);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW;
    sqlite3_finalize(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : undo_db_fail(l->u->s, err);
}

static int on_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct coll *c = cookie;
    struct look *l = c->l;
    size_t i, max;
    yyjson_val *it;
    (void)text;
    (void)len;
    yyjson_arr_foreach(array, i, max, it)
    {
        int64_t id = id_of(it);
        bool removed = false;
        struct row *r = c->kind < U_GROUPS ? look_row(l, c->kind, id) : NULL;
        if (c->kind == U_GROUPS && removed_group(l, id, &removed, err))
            return -1;
        if (r) {
            look_see(l->u, r, it);
            gs_json_i64(it, "iid", &r->iid);
            r->owner = c->kind == U_MEMBERS && count_of(it, "access_level") >= 50;
            r->automatic = c->kind == U_CADENCES && gs_json_true(it, "automatic");
            if (c->kind == U_ITERATIONS)
                r->parent = id_of(yyjson_obj_get(it, "iterationCadence"));
            if (c->kind == U_LABELS && count_of(it, "open_issues_count") + count_of(it, "closed_issues_count") +
                                               count_of(it, "open_merge_requests_count") >
                                           0)
                r->in_use = true;
        } else if (!removed && see_other(l, c, it, id, err)) {
            return -1;
        }
        if (c->kind == U_BOARDS && see_lists(l, r, it, err))
            return -1;
    }
    return 0;
}

/* A read that failed: one that says nothing about the run leaves open what it would have shown. */
static void unread(struct look *l, size_t slot, const struct gs_err *why, const char *what, const char *path)
{
    struct unread *x = &l->unread[slot];
    struct gs_err *err = why->scope == GS_SCOPE_FATAL || why->http == 429 ? &l->err : &x->err;
    if (err->code != GS_OK)
        return;
    *err = *why;
    gs_wrap(err, "reading %s", what);
    if (err == &x->err && path)
        snprintf(x->request, sizeof x->request, "GET /groups/%lld/%s", (long long)l->g->target_id, path);
    else if (err == &x->err)
        snprintf(x->request, sizeof x->request, "POST /graphql");
}

const struct unread *look_is_unread(const struct look *l, size_t slot)
{
    return l->unread[slot].err.code == GS_OK ? NULL : &l->unread[slot];
}

const struct unread *look_any_unread(const struct look *l)
{
    for (size_t i = 0; i <= UNDO_KINDS; i++)
        if (look_is_unread(l, i))
            return &l->unread[i];
    return NULL;
}

static void on_done(void *cookie, const struct gl_pages *p, const struct gs_err *err)
{
    const struct coll *c = cookie;
    char what[64];
    (void)p;
    if (err->code == GS_OK || (c->optional && (err->http == 403 || err->http == 404 || err->http == 405)))
        return;
    snprintf(what, sizeof what, "its %ss", c->what);
    unread(c->l, c->kind, err, what, c->path);
}

/* The group itself. *l->gone when the target does not show it. */
int look_self(struct look *l, struct gs_err *err)
{
    struct gl_response rsp;
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gl_request *q = gl_request_new(GL_GET, "/groups/%lld?with_projects=false", (long long)l->g->target_id);
    if (!q)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    int r = gl_perform(l->u->c, q, &rsp, err);
    l->date_ms = rsp.date_ms;
    if (r && rsp.outcome == GL_ANSWERED && rsp.status == 404) {
        gs_err_clear(err);
        l->gone = true;
        r = 0;
    } else if (!r) {
        r = gl_response_json(&rsp, &doc, err);
    }
    gl_response_release(&rsp);
    if (r || l->gone)
        return r;
    yyjson_val *it = yyjson_doc_get_root(doc);
    const char *on = gs_json_str(it, "marked_for_deletion_on"), *path = gs_json_str(it, "full_path");
    snprintf(l->marked_on, sizeof l->marked_on, "%s", on ? on : "");
    snprintf(l->full_path, sizeof l->full_path, "%s", path ? path : "");
    if (l->self)
        look_see(l->u, l->self, it);
    return 0;
}

/* What stands below the group, all at once. The collections live until all answers are there. */
static int look_at(struct look *l, struct coll *colls, size_t n, struct gs_err *err)
{
    const char *full_path = *l->full_path ? l->full_path : l->g->dst_path;
    for (size_t i = 0; i < n; i++) {
        struct coll *c = &colls[i];
        bool cadences = c->kind == U_CADENCES;
        gs_autofree char *path = c->path ? gs_asprintf("/groups/%lld/%s", (long long)l->g->target_id, c->path) : NULL;
        if (!l->made && c->kind >= U_GROUPS)
            continue;
        if (c->path && !path) {
            gs_fail(&l->err, GS_E_NOMEM, "out of memory");
            break;
        }
        if (c->path ? gl_list(l->u->c, path, on_page, on_done, c, &l->err)
                    : gl_graphql_list(l->u->c, gl_document(cadences ? "group_cadences" : "group_iterations"), full_path,
                                      cadences ? "group.iterationCadences" : "group.iterations", on_page, on_done, c, &l->err))
            break;
    }
    while (gl_pending(l->u->c) > 0)
        if (gl_poll(l->u->c, 200, err))
            return -1;
    if (l->err.code == GS_OK)
        return 0;
    *err = l->err;
    return -1;
}

/* Iterations behind the cadences, of which it must be known which are ours. */
static int look_iterations(struct look *l, struct gs_err *err)
{
    struct coll cadences = {l, U_CADENCES, "iteration cadence", NULL, false}, iterations = {l, U_ITERATIONS, "iteration", NULL, false};
    return look_at(l, &cadences, 1, err) || look_at(l, &iterations, 1, err) ? -1 : 0;
}

int look_lists(struct look *l, struct gs_err *err)
{
    struct coll colls[] = {
        {l, U_LABELS, "label", "labels?include_ancestor_groups=false&only_group_labels=true&with_counts=true", false},
        {l, U_MILESTONES, "milestone", "milestones?state=all&include_ancestors=false", false},
        {l, U_BADGES, "badge", "badges", false},
        {l, U_BOARDS, "board", "boards", false},
        {l, U_EPICS, "epic", "epics?state=all&include_ancestor_groups=false&include_descendant_groups=false", true},
        {l, U_EPIC_BOARDS, "epic board", "epic_boards", true},
        {l, U_MEMBERS, "member", "members", false},
        /* of groups that may be deleted as a whole */
        {l, U_GROUPS, "subgroup", "subgroups?all_available=true", false},
        {l, UNDO_KINDS, "project", "projects?include_subgroups=false&with_shared=false&simple=true", false},
        {l, UNDO_KINDS, "wiki page", "wikis", true},
        {l, UNDO_KINDS, "CI variable", "variables", true},
        {l, UNDO_KINDS, "webhook", "hooks", true},
        {l, UNDO_KINDS, "package", "packages", true},
        {l, UNDO_KINDS, "deploy token", "deploy_tokens?active=true", true},
        {l, UNDO_KINDS, "iteration", "iterations?include_ancestors=false", true}, /* the last: see below */
    };
    /* of those that are ours GraphQL tells what cadence they are of */
    if (look_at(l, colls, GS_COUNT(colls) - l->has_iterations, err) || (l->has_iterations && look_iterations(l, err)))
        return -1;
    /* is it the list, or the group, or the whole server? */
    if (look_any_unread(l) && look_self(l, err))
        return -1;
    l->again = l->gone;
    return 0;
}

struct use {
    struct look *l;
    struct row *row;
};

static void on_use(void *cookie, struct gl_request *q, struct gl_response *rsp)
{
    const struct use *x = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_err why = rsp->err;
    (void)q;
    if (rsp->outcome == GL_ANSWERED && (rsp->status == 403 || rsp->status == 404))
        return; /* nothing of it may be seen */
    if (why.code == GS_OK && gl_response_json(rsp, &doc, &why) == 0) {
        x->row->in_use = x->row->in_use || yyjson_arr_size(yyjson_doc_get_root(doc)) > 0;
    } else {
        x->row->uses_unread = true;
        unread(x->l, UNREAD_USES, &why, "who uses its milestones and iterations", "milestones/...");
    }
}

/* Labels are listed with how often they are used, milestones and iterations are not. With one that is deleted, issues lose it silently. */
int look_uses(struct look *l, struct gs_err *err)
{
    static const char *const by[] = {"issues", "merge_requests"};
    gs_autofree struct use *uses = calloc(l->n_rows + 1, sizeof *uses);
    int r = 0;
    if (!uses)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < l->n_rows && !r; i++) {
        uses[i] = (struct use){l, &l->rows[i]};
        bool milestone = l->rows[i].kind == U_MILESTONES;
        if (!(milestone || l->rows[i].kind == U_ITERATIONS) || l->rows[i].verdict != V_REMOVE)
            continue;
        for (size_t k = 0; k < (milestone ? GS_COUNT(by) : 1) && !r; k++) {
            long long g = (long long)l->g->target_id, id = (long long)l->rows[i].target;
            struct gl_request *q = milestone ? gl_request_new(GL_GET, "/groups/%lld/milestones/%lld/%s?per_page=1", g, id, by[k])
                                             : gl_request_new(GL_GET, "/groups/%lld/issues?scope=all&iteration_id=%lld&per_page=1", g, id);
            if (!q) {
                r = gs_fail(err, GS_E_NOMEM, "out of memory");
                break;
            }
            q->done = on_use;
            q->cookie = &uses[i];
            r = gl_submit(l->u->c, q, err);
        }
    }
    while (gl_pending(l->u->c) > 0) {
        struct gs_err ignored = {0};
        if (gl_poll(l->u->c, 200, r ? &ignored : err))
            return -1;
    }
    if (r || l->err.code == GS_OK)
        return r;
    *err = l->err;
    return -1;
}
