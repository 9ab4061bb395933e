/* One group of an undo: what is ours in it (undo_look.h) is judged, then removed. */
#include "libreplay/undo_look.h"

#include "libcommon/clock.h"
#include "libgitlab/graphql.h"
#include "libreplay/kind.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define ATTEMPTS 4         /* of a group that changes while it is looked at */
#define SETTLE_MS 1100     /* If-Unmodified-Since counts whole seconds */
#define GONE_WAIT_MS 30000 /* for deletions in the background */

/* Stored: the server deletes the group in the background. */
#define CODE_ACCEPTED "accepted"
#define PERMANENTLY "?permanently_remove=true"

/* ---- judging ---- */

static void keep(struct row *r, const char *code, const char *text)
{
    r->verdict = V_KEEP;
    r->code = code;
    snprintf(r->text, sizeof r->text, "%s", text);
}

static void leave_open(struct row *r, const struct unread *why, const char *text)
{
    r->verdict = V_UNKNOWN;
    r->why = why;
    r->code = gs_code_name(why->err.code);
    snprintf(r->text, sizeof r->text, "%s%.200s", text, why->err.text);
}

static bool is_used(const struct look *l, const struct row *r)
{
    return r->in_use || (r->kind == U_LABELS && look_has(l->used_labels, l->n_used_labels, r->target)) ||
           (r->kind == U_MILESTONES && look_has(l->used_milestones, l->n_used_milestones, r->target)) ||
           (r->kind == U_ITERATIONS && look_has(l->used_iterations, l->n_used_iterations, r->target));
}

/* With an epic its children go, in whatever group. Is there one of this load that has to stay (`held`), or, in this group, one that is
 * not removed yet? */
static int has_children(struct look *l, const struct row *r, bool held, bool *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    *out = false;
    if (r->kind != U_EPICS)
        return 0;
    if (sqlite3_prepare_v2(state_db(l->u->s),
                           held ? "SELECT 1 FROM temp.epic_held WHERE op = ?1"
                                : "SELECT 1 FROM temp.epic_tree t JOIN undo x ON x.op = t.child AND x.state <> 2 AND x.grp = ?2"
                                  " WHERE t.parent = ?1 LIMIT 1",
                           -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(l->u->s, err);
    sqlite3_bind_int64(st, 1, r->op);
    if (!held)
        sqlite3_bind_int64(st, 2, l->g->id);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW;
    sqlite3_finalize(st);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : undo_db_fail(l->u->s, err);
}

static int judge_trees(struct look *l, bool *io_clean, struct gs_err *err)
{
    for (size_t i = 0; i < l->n_rows; i++) {
        bool is;
        if (l->rows[i].verdict != V_REMOVE)
            continue;
        if (has_children(l, &l->rows[i], true, &is, err))
            return -1;
        if (is) {
            keep(&l->rows[i], "in-use", "epics that stay hang below it, and would go with it");
            *io_clean = false;
        }
    }
    return 0;
}

/* What may be said of each by itself. Is everything as this load left it? */
static bool judge(struct look *l)
{
    bool clean = true, restored = l->self && l->self->was_marked && !*l->marked_on;
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i];
        const struct unread *why = look_is_unread(l, r->kind == U_LISTS ? U_BOARDS : r->kind);
        r->verdict = V_NONE;
        if (r->state == UNDO_DONE)
            continue;
        if (!r->there && why) {
            leave_open(r, why, "");
        } else if (!r->there) {
            r->verdict = V_GONE;
            l->absent += r->state != UNDO_SENT;
        } else if (restored) {
            keep(r, "restored", "its group was marked for deletion by this undo, and somebody has restored it");
        } else if (r->differs && !(r == l->self && r->was_marked)) { /* marking gives it another path */
            keep(r, "changed", "it is no longer as this load made it");
        } else {
            r->verdict = V_REMOVE;
        }
        clean = clean && r->verdict != V_KEEP && r->verdict != V_UNKNOWN;
    }
    return clean && !look_any_unread(l);
}

/* Why the group stays. */
static void judge_self(struct look *l, struct row *self)
{
    const struct unread *why = look_any_unread(l);
    bool kept = l->foreign > 0;
    char text[sizeof self->text];
    for (size_t i = 0; i < l->n_rows && !kept; i++)
        kept = l->rows[i].verdict == V_KEEP;
    if (!kept && why) {
        leave_open(self, why, "what it holds is not known: ");
        return;
    }
    snprintf(text, sizeof text, "%s%.200s%s%s%s",
             l->foreign ? "it holds what stays: " : "something in it was changed by others",
             l->foreign_text, l->foreign > FOREIGN_NAMES ? " and more" : "",
             *l->marked_on ? "; it goes with all that when GitLab's delay is over, unless it is restored: marked on " : "", l->marked_on);
    keep(self, "foreign-content", text);
}

/* Board of a list, cadence of an iteration, when it is one of ours. */
static struct row *parent_of(struct look *l, const struct row *r)
{
    bool list = r->kind == U_LISTS;
    return (list || r->kind == U_ITERATIONS) && r->parent ? look_row(l, list ? U_BOARDS : U_CADENCES, r->parent) : NULL;
}

/* In a group that stays. */
static void judge_single(struct look *l)
{
    const struct unread *boards = look_is_unread(l, U_BOARDS);
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i];
        if (r->verdict != V_REMOVE)
            continue;
        if (r->kind == U_GROUPS)
            judge_self(l, r);
        else if ((r->kind == U_BOARDS || r->kind == U_CADENCES) && r->foreign_parts)
            keep(r, "foreign-content", r->kind == U_BOARDS ? "it has lists that this load did not make" : "it has iterations that this load did not make");
        else if (is_used(l, r))
            keep(r, "in-use", "others have come to use it");
        else if (boards && (r->kind == U_LABELS || r->kind == U_MILESTONES || r->kind == U_ITERATIONS))
            leave_open(r, boards, "boards of others may stand on it: ");
        else if (r->uses_unread)
            leave_open(r, &l->unread[UNREAD_USES], "");
    }
    /* a cadence goes with all its iterations, or not at all */
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i], *cadence = r->kind == U_ITERATIONS ? parent_of(l, r) : NULL;
        if ((r->verdict == V_KEEP || r->verdict == V_UNKNOWN) && cadence && cadence->verdict == V_REMOVE)
            keep(cadence, "foreign-content", "it has iterations that stay");
    }
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i], *parent = parent_of(l, r);
        if (r->verdict == V_REMOVE && parent && parent->verdict == V_REMOVE)
            r->verdict = V_WITH_PARENT;
    }
}

/* ---- removing ---- */

static bool by_graphql(enum undo_kind kind)
{
    return kind == U_ITERATIONS || kind == U_CADENCES || kind == U_EPIC_BOARDS;
}

/* Of a cadence with all its iterations, of one iteration, of an epic board with its lists. */
static struct gl_request *removal_by_graphql(enum undo_kind kind, int64_t id)
{
    const char *type = kind == U_CADENCES ? "Iterations::Cadence" : kind == U_ITERATIONS ? "Iteration" : "Boards::EpicBoard";
    const char *document = kind == U_CADENCES ? "iteration_cadence_destroy" : kind == U_ITERATIONS ? "iteration_delete" : "epic_board_destroy";
    gs_autofree char *vars = gs_asprintf("{\"input\":{\"id\":\"gid://gitlab/%s/%lld\"}}", type, (long long)id);
    struct gl_request *q = vars ? gl_graphql_request(gl_document(document), vars, false) : NULL;
    if (q)
        q->idempotent = true;
    return q;
}

static struct gl_request *removal(const struct look *l, const struct row *r)
{
    if (by_graphql(r->kind))
        return removal_by_graphql(r->kind, r->target);
    long long g = (long long)l->g->target_id, id = (long long)r->target;
    struct gl_request *q;
    if (r->kind == U_LISTS)
        q = gl_request_new(GL_DELETE, "/groups/%lld/boards/%lld/lists/%lld", g, (long long)r->parent, id);
    else if (r->kind == U_EPICS)
        q = gl_request_new(GL_DELETE, "/groups/%lld/epics/%lld", g, (long long)r->iid);
    else if (r->kind == U_MEMBERS)
        q = gl_request_new(GL_DELETE, "/groups/%lld/members/%lld?skip_subresources=true", g, id);
    else
        q = gl_request_new(GL_DELETE, "/groups/%lld/%s/%lld", g, undo_kinds[r->kind].kind, id);
    if (q) {
        q->idempotent = true; /* what is gone is gone: a second one is answered 404 */
        q->unmodified_since_ms = l->date_ms;
    }
    return q;
}

struct flight {
    struct row *row;
    char request[256];
    struct gs_err err;
    int status;
    unsigned tries;
    enum gl_outcome outcome;
};

/* Does this answer to a deletion say something about the server or the token, and not only about what was to be deleted? */
static bool is_of_run(enum gl_outcome outcome, int status)
{
    return status == 401 || status == 429 || status > 500 || (outcome != GL_ANSWERED && status != 500);
}

static void on_answer(void *cookie, struct gl_request *q, struct gl_response *rsp)
{
    struct flight *f = cookie;
    f->status = rsp->status;
    f->tries = rsp->tries;
    f->outcome = rsp->outcome;
    f->err = rsp->err;
    if (!by_graphql(f->row->kind) || rsp->err.code != GS_OK)
        return;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    if (gl_graphql_answer(rsp, &doc, &data, NULL, &f->err)) /* in the words of REST */
        f->status = strstr(f->err.text, "does not exist or you don't have permission") ? 404 : 422;
}

/* What became of one; -1 when it says something about the whole run. */
static int landed(struct look *l, struct flight *f, struct gs_err *err)
{
    struct row *r = f->row;
    struct undo *u = l->u;
    if (is_of_run(f->outcome, f->status)) {
        *err = f->err;
        return gs_wrap(err, "%s '%s'", undo_kinds[r->kind].kind, r->key);
    }
    if (f->status >= 200 && f->status < 300)
        return undo_set(u, r->op, UNDO_DONE, "removed", NULL, NULL, NULL, err);
    if (f->status == 404) /* of a request that was sent before, the answer was lost */
        return undo_set(u, r->op, UNDO_DONE, f->tries > 1 || r->state == UNDO_SENT ? "removed" : "was-gone", NULL, NULL, NULL, err);
    if (f->status == 412) {
        l->again = true;
        return undo_set(u, r->op, UNDO_PLANNED, "changed", "it was changed while it was looked at", &f->err, f->request,
                        err);
    }
    if (r->owner && (f->status == 403 || f->status == 400)) {
        gs_wrap(&f->err, "an Owner stays while the group has no other");
        return undo_set(u, r->op, UNDO_KEPT, "last-owner", f->err.text, &f->err, f->request, err);
    }
    return undo_set(u, r->op, UNDO_FAILED, gs_code_name(f->err.code), f->err.text, &f->err, f->request, err);
}

/* The rows stand `sent` in the state before anything leaves; their ends are stored together. */
static int remove_batch(struct look *l, struct row **rows, size_t n, struct gs_err *err)
{
    struct undo *u = l->u;
    if (u->o->dry_run) {
        for (size_t i = 0; i < n; i++)
            if (undo_set(u, rows[i]->op, UNDO_DONE, "removed", NULL, NULL, NULL, err))
                return -1;
        return 0;
    }
    gs_autofree struct flight *f = calloc(n, sizeof *f);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (undo_begin(u, err) || undo_mark_begun(u, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (undo_set(u, rows[i]->op, UNDO_SENT, NULL, NULL, NULL, NULL, err))
            return -1;
    if (undo_commit(u, err))
        return -1;
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        struct gl_request *q = removal(l, rows[i]);
        f[i].row = rows[i];
        f[i].outcome = GL_NOT_SENT;
        if (!q) {
            r = gs_fail(err, GS_E_NOMEM, "out of memory");
            break;
        }
        snprintf(f[i].request, sizeof f[i].request, "%s %s", gl_method_name(q->method), q->path);
        q->done = on_answer;
        q->cookie = &f[i];
        r = gl_submit(u->c, q, err);
    }
    while (gl_pending(u->c) > 0)
        if (gl_poll(u->c, 200, err))
            return -1; /* a broken engine: the flights must not be freed under it, but nothing runs any more */
    if (r || undo_begin(u, err))
        return -1;
    struct gs_err bad = {0};
    for (size_t i = 0; i < n; i++) {
        struct gs_err one = {0};
        if (landed(l, &f[i], &one) && bad.code == GS_OK)
            bad = one;
    }
    if (undo_commit(u, err))
        return -1;
    if (bad.code == GS_OK)
        return 0;
    *err = bad;
    return -1;
}

static int newest_first(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;
    return (x->op < y->op) - (x->op > y->op);
}

static int remove_rows(struct look *l, struct row **rows, size_t n, struct gs_err *err)
{
    qsort(rows, n, sizeof(struct row *), newest_first);
    /* of the iterations of a cadence that are not over, GitLab lets only the last one go */
    size_t at_once = n && rows[0]->kind == U_ITERATIONS ? 1 : l->u->jobs;
    for (size_t i = 0; i < n; i += at_once) {
        if (undo_stopped(l->u))
            return gs_fail(err, GS_E_STOPPED, "stopped");
        if (remove_batch(l, rows + i, n - i < at_once ? n - i : at_once, err))
            return -1;
    }
    return 0;
}

/* Epics from below, since each takes its children along. What stays keeps those above it. */
static int remove_epics(struct look *l, struct gs_err *err)
{
    gs_autofree struct row **rows = calloc(l->n_rows + 1, sizeof(struct row *));
    if (!rows)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    for (size_t n = 1; n > 0;) {
        n = 0;
        for (size_t i = 0; i < l->n_rows; i++) {
            bool has = true;
            struct row *r = &l->rows[i];
            if (r->kind != U_EPICS || r->verdict != V_REMOVE)
                continue;
            if (has_children(l, r, false, &has, err))
                return -1;
            if (!has)
                rows[n++] = r;
        }
        if (remove_rows(l, rows, n, err))
            return -1;
        for (size_t i = 0; i < n; i++)
            rows[i]->verdict = V_NONE;
    }
    return 0;
}

/* ---- before the first group: which epics have to stay, and hold those above them ---- */

static int on_epics(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct look *l = cookie;
    yyjson_arr_iter iter = yyjson_arr_iter_with(array);
    yyjson_val *it;
    int64_t id = 0;
    (void)text;
    (void)len;
    while ((it = yyjson_arr_iter_next(&iter))) {
        struct row *r = gs_json_i64(it, "id", &id) ? look_row(l, U_EPICS, id) : NULL;
        char sql[96];
        if (!r)
            continue;
        look_see(l->u, r, it);
        snprintf(sql, sizeof sql, "INSERT OR IGNORE INTO temp.epic_held VALUES(%lld)", (long long)r->op);
        if (r->differs && sqlite3_exec(state_db(l->u->s), sql, NULL, NULL, NULL) != SQLITE_OK)
            return undo_db_fail(l->u->s, err);
    }
    return 0;
}

int undo_look_at_epics(struct undo *u, const struct grp *g, struct gs_err *err)
{
    struct look l = {.u = u, .g = g};
    struct gl_pages pages;
    gs_autofree char *path =
        gs_asprintf("/groups/%lld/epics?state=all&include_ancestor_groups=false&include_descendant_groups=false", (long long)g->target_id);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    int r = look_load(&l, err);
    if (!r && gl_list_all(u->c, path, on_epics, &l, &pages, err)) {
        r = err->scope == GS_SCOPE_FATAL || err->http == 429 ? -1 : 0; /* what cannot be read is said when the group has its turn */
        if (!r)
            gs_err_clear(err);
    }
    look_release(&l);
    return r;
}

static int remove_kind(struct look *l, enum undo_kind kind, struct gs_err *err)
{
    size_t n = 0;
    gs_autofree struct row **rows = calloc(l->n_rows + 1, sizeof(struct row *));
    struct row *own = NULL; /* who takes away his own membership takes it away last */
    if (kind == U_EPICS)
        return remove_epics(l, err);
    if (!rows)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i];
        if (r->kind != kind || r->verdict != V_REMOVE)
            continue;
        if (kind == U_MEMBERS && r->target == l->u->target->user_id)
            own = r;
        else
            rows[n++] = r;
    }
    if (remove_rows(l, rows, n, err))
        return -1;
    return own ? remove_batch(l, &own, 1, err) : 0;
}

/* Fillers that a load left behind that was cut off. */
static int remove_fillers(struct look *l, struct gs_err *err)
{
    size_t n = l->u->o->dry_run ? 0 : l->n_fillers + l->n_filler_cadences + l->n_epic_fillers;
    if (n && (undo_begin(l->u, err) || undo_mark_begun(l->u, err) || undo_commit(l->u, err)))
        return -1;
    for (size_t i = 0; i < n; i++) {
        size_t cadence = i - l->n_fillers, epic = cadence - l->n_filler_cadences;
        struct row filler = i < l->n_fillers                ? (struct row){.kind = U_MILESTONES, .target = l->fillers[i]}
                            : cadence < l->n_filler_cadences ? (struct row){.kind = U_CADENCES, .target = l->filler_cadences[cadence]}
                                                            : (struct row){.kind = U_EPICS, .iid = l->epic_fillers[epic]};
        struct flight f = {.row = &filler};
        struct gl_request *q = removal(l, &filler);
        struct gl_response rsp;
        if (!q)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        q->unmodified_since_ms = 0;
        GS_IGNORE(gl_perform(l->u->c, q, &rsp, err), "looked at with the others");
        f.err = (struct gs_err){0};
        on_answer(&f, NULL, &rsp);
        gl_response_release(&rsp);
        gs_err_clear(err);
        if (f.err.code != GS_OK && !(f.outcome == GL_ANSWERED && f.status == 404)) {
            *err = f.err;
            return gs_wrap(err, "removing a filler");
        }
    }
    return 0;
}

static int store_verdicts(struct look *l, struct gs_err *err)
{
    struct undo *u = l->u;
    if (undo_begin(u, err))
        return -1;
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i];
        if (r->verdict == V_KEEP && undo_set(u, r->op, UNDO_KEPT, r->code, r->text, NULL, NULL, err))
            return -1;
        if (r->verdict == V_UNKNOWN &&
            undo_set(u, r->op, UNDO_FAILED, r->code, r->text, &r->why->err, r->why->request, err))
            return -1;
        /* of a request that left before, it cannot be told who removed it; it is gone either way */
        if (r->verdict == V_GONE &&
            undo_set(u, r->op, UNDO_DONE, r->state == UNDO_SENT ? "removed" : "was-gone", NULL, NULL, NULL, err))
            return -1;
    }
    return undo_commit(u, err);
}

static int state_of(struct look *l, int64_t op, int *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(l->u->s), "SELECT state FROM undo WHERE op = ?1", -1, &st, NULL) != SQLITE_OK)
        return undo_db_fail(l->u->s, err);
    sqlite3_bind_int64(st, 1, op);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : UNDO_FAILED;
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : undo_db_fail(l->u->s, err);
}

/* Lists go with their board, iterations with their cadence, when that went. */
static int follow_parents(struct look *l, struct gs_err *err)
{
    if (undo_begin(l->u, err))
        return -1;
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i], *parent = r->verdict == V_WITH_PARENT ? parent_of(l, r) : NULL;
        int state = UNDO_PLANNED;
        if (!parent)
            continue;
        if (state_of(l, parent->op, &state, err))
            return -1;
        if (state == UNDO_DONE && undo_set(l->u, r->op, UNDO_DONE, "removed", NULL, NULL, NULL, err))
            return -1;
        if (state == UNDO_KEPT || state == UNDO_FAILED) {
            if (undo_set(l->u, r->op, UNDO_KEPT, "in-use", r->kind == U_LISTS ? "its board stays" : "its cadence stays", NULL, NULL, err))
                return -1;
        }
    }
    return undo_commit(l->u, err);
}

/* ---- the group as a whole ---- */

static int end_group(struct look *l, enum undo_state state, const char *code, const char *text,
                     const struct gs_err *why, const char *request, struct gs_err *err)
{
    struct undo *u = l->u;
    const char *of_content = strcmp(code, "was-gone") == 0 ? code
                             : strcmp(code, "marked") == 0 ? "marked-with-group"
                                                           : "with-group";
    if (undo_begin(u, err))
        return -1;
    for (size_t i = 0; i < l->n_rows && state == UNDO_DONE; i++) {
        struct row *r = &l->rows[i];
        if (r->kind != U_GROUPS && (r->state != UNDO_DONE || r->was_marked) &&
            undo_set(u, r->op, UNDO_DONE, of_content, NULL, NULL, NULL, err))
            return -1;
    }
    if (undo_set(u, l->self->op, state, code, text, why, request, err))
        return -1;
    return undo_commit(u, err);
}

/* One DELETE of the group. *out_status 0: no answer came, which is an error of the run. */
static int send_delete(struct look *l, const char *query, bool guarded, int *out_status, struct gs_err *out_why,
                       struct gs_err *err)
{
    struct gl_response rsp;
    struct gl_request *q = gl_request_new(GL_DELETE, "/groups/%lld%s", (long long)l->g->target_id, query);
    if (!q)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    q->idempotent = true;
    if (guarded)
        q->unmodified_since_ms = l->date_ms;
    *out_why = (struct gs_err){0};
    int r = gl_perform(l->u->c, q, &rsp, out_why);
    *out_status = rsp.status;
    bool whole = is_of_run(rsp.outcome, rsp.status);
    gl_response_release(&rsp);
    if (r && whole) {
        *err = *out_why;
        return gs_wrap(err, "deleting it");
    }
    return 0;
}

static bool good(int status)
{
    return status >= 200 && status < 300;
}

/* GitLab has marked it: the second step removes it at once, where the instance allows that. */
static int remove_marked(struct look *l, struct gs_err *err)
{
    struct undo *u = l->u;
    struct gs_err why = {0};
    char text[800];
    int status = 0;
    if (!u->o->leave_marked) {
        gs_autofree char *enc = gl_encode(l->full_path);
        gs_autofree char *query = enc ? gs_asprintf(PERMANENTLY "&full_path=%s", enc) : NULL;
        if (!query)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        if (send_delete(l, query, false, &status, &why, err))
            return -1;
        if (status == 404)
            return end_group(l, UNDO_DONE, "removed", NULL, NULL, NULL, err);
        l->accepted = good(status);
        if (l->accepted)
            return end_group(l, UNDO_DONE, CODE_ACCEPTED, NULL, NULL, PERMANENTLY, err);
    }
    bool moved = strcmp(l->full_path, l->g->dst_path) != 0;
    snprintf(text, sizeof text,
             "marked for deletion on %s, GitLab removes it when the delay set on the instance is over; until then it can be restored, and "
             "%s%.200s%s%s%.200s",
             l->marked_on, moved ? "is found as '" : "its path stays taken", moved ? l->full_path : "", moved ? "'" : "",
             *why.text ? "; not removed at once: " : "", why.text);
    return end_group(l, UNDO_DONE, "marked", text, why.code ? &why : NULL, NULL, err);
}

static int remove_group(struct look *l, struct gs_err *err)
{
    struct undo *u = l->u;
    struct gs_err why = {0};
    int status = 0;
    char request[64];
    snprintf(request, sizeof request, "DELETE /groups/%lld", (long long)l->g->target_id);
    if (u->o->dry_run)
        return end_group(l, UNDO_DONE, "removed", NULL, NULL, NULL, err);
    if (undo_begin(u, err) || undo_mark_begun(u, err) || undo_set(u, l->self->op, UNDO_SENT, NULL, NULL, NULL, NULL, err) ||
        undo_commit(u, err))
        return -1;
    if (!*l->marked_on && send_delete(l, "", true, &status, &why, err))
        return -1;
    if (status == 412) {
        l->again = true;
        return 0;
    }
    bool refused = !*l->marked_on && !good(status) && status != 404;
    if (look_self(l, err))
        return -1;
    /* a first copy of the request may have done it and lost its answer: "already marked" is then what a repeated one is told */
    if (refused && !l->gone && !*l->marked_on)
        return end_group(l, UNDO_FAILED, gs_code_name(why.code), why.text, &why, request, err);
    if (l->gone)
        return end_group(l, UNDO_DONE, "removed", NULL, NULL, NULL, err);
    if (*l->marked_on)
        return remove_marked(l, err);
    /* accepted (202): it goes in the background */
    return end_group(l, UNDO_DONE, CODE_ACCEPTED, NULL, NULL, NULL, err);
}

/* ---- one group ---- */

/* The target does not show it: gone, when that can be known. */
static int absent(struct look *l, struct gs_err *err)
{
    struct undo *u = l->u;
    bool sent = l->self && l->self->state == UNDO_SENT;
    if (l->self && (sent || u->target->is_admin == 1))
        return end_group(l, UNDO_DONE, sent ? "removed" : "was-gone", NULL, NULL, NULL, err);
    if (undo_begin(u, err))
        return -1;
    for (size_t i = 0; i < l->n_rows; i++) {
        struct row *r = &l->rows[i];
        if (r->state == UNDO_DONE)
            continue;
        int rc = u->target->is_admin == 1
                     ? undo_set(u, r->op, UNDO_DONE, "was-gone", NULL, NULL, NULL, err)
                     : undo_set(u, r->op, UNDO_FAILED, gs_code_name(GS_E_GROUP_NOT_FOUND),
                                "the target does not show the group: it is gone, or the token's user may not see it",
                                NULL, NULL, err);
        if (rc)
            return -1;
    }
    return undo_commit(u, err);
}

static int singly(struct look *l, struct gs_err *err)
{
    if (look_uses(l, err))
        return -1;
    judge_single(l);
    if (store_verdicts(l, err))
        return -1;
    for (int k = 0; k < U_GROUPS; k++)
        if (remove_kind(l, (enum undo_kind)k, err))
            return -1;
    return follow_parents(l, err) || remove_fillers(l, err) ? -1 : 0;
}

static bool is_unsure(struct look *l)
{
    l->unsure = l->absent && (l->lagging || l->absent != l->absent_before);
    return l->unsure;
}

static int once(struct look *l, struct gs_err *err)
{
    if (look_load(l, err) || look_self(l, err))
        return -1;
    if (l->gone) {
        l->absent = l->self && l->self->state == UNDO_SENT ? 0 : SIZE_MAX;
        return is_unsure(l) ? 0 : absent(l, err);
    }
    if (*l->marked_on && l->self && l->self->state == UNDO_SENT)
        return remove_marked(l, err);
    if (look_lists(l, err))
        return -1;
    if (l->again)
        return 0;
    bool clean = judge(l);
    if (judge_trees(l, &clean, err))
        return -1;
    /* also of a group to be deleted as a whole: a list that hides what is ours may hide what is others' */
    if (is_unsure(l))
        return 0;
    return l->made && clean && !l->foreign ? remove_group(l, err) : singly(l, err);
}

/* What changed with every look is somebody's who is at it. */
static int give_up(struct look *l, struct gs_err *err)
{
    if (undo_begin(l->u, err))
        return -1;
    for (size_t i = 0; i < l->n_rows; i++) {
        int state = 0;
        if (state_of(l, l->rows[i].op, &state, err))
            return -1;
        if (state < UNDO_DONE &&
            undo_set(l->u, l->rows[i].op, UNDO_KEPT, "changed", "it is being changed by others", NULL, NULL, err))
            return -1;
    }
    return undo_commit(l->u, err);
}

int undo_group(struct undo *u, const struct grp *g, struct gs_err *err)
{
    size_t absent_before = 0;
    for (int i = 1;;) {
        int64_t lagging = u->since_ms + u->lag_ms - gs_mono_ms();
        struct look l = {.u = u, .g = g, .lagging = lagging > 0, .absent_before = absent_before};
        int r = once(&l, err);
        if (!r && !l.again && l.absent < absent_before)
            undo_lagged(u);
        bool again = l.again || l.unsure;
        if (!r && again && i == ATTEMPTS)
            r = give_up(&l, err);
        again = again && !r && i < ATTEMPTS;
        absent_before = l.absent;
        look_release(&l);
        if (!again)
            return r;
        i += lagging <= 0;
        if (undo_sleep(u, lagging > 0 ? lagging : l.again ? SETTLE_MS : 0, err))
            return -1;
    }
}

struct accepted {
    int64_t op, target, grp;
    bool permanently; /* else it may turn out that it is only marked */
};

static int load_accepted(struct undo *u, struct accepted **out, size_t *out_n, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    *out_n = 0;
    if (sqlite3_prepare_v2(state_db(u->s),
                           "SELECT op, target_id, grp, request IS NOT NULL FROM undo WHERE kind = 'groups' AND code = '" CODE_ACCEPTED "'", -1,
                           &st, NULL) != SQLITE_OK)
        return undo_db_fail(u->s, err);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct accepted *p = *out_n % 64 ? *out : realloc(*out, (*out_n + 64) * sizeof *p);
        if (!p) {
            r = gs_fail(err, GS_E_NOMEM, "out of memory");
            break;
        }
        *out = p;
        p[(*out_n)++] = (struct accepted){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2),
                                           sqlite3_column_int(st, 3) == 1};
    }
    if (!r && rc != SQLITE_DONE)
        r = undo_db_fail(u->s, err);
    sqlite3_finalize(st);
    return r;
}

/* It did not show yet that GitLab has only marked it. */
static int turned_out_marked(struct undo *u, struct accepted *a, struct gs_err *err)
{
    struct grp g;
    if (state_grp(u->s, a->grp, &g, err))
        return -1;
    struct look l = {.u = u, .g = &g};
    int r = look_load(&l, err) || look_self(&l, err) ? -1 : 0;
    if (!r && !l.gone && *l.marked_on)
        r = remove_marked(&l, err);
    a->permanently = l.gone || l.accepted;
    look_release(&l);
    grp_release(&g);
    return r;
}

int undo_wait_gone(struct undo *u, struct gs_err *err)
{
    int64_t until = gs_mono_ms() + GONE_WAIT_MS;
    gs_autofree struct accepted *all = NULL;
    size_t n;
    if (u->o->dry_run)
        return 0;
    if (load_accepted(u, &all, &n, err))
        return -1;
    for (size_t i = 0; i < n;) {
        struct grp g = {.target_id = all[i].target};
        struct look l = {.u = u, .g = &g};
        if (look_self(&l, err))
            return -1;
        if (l.gone) {
            if (undo_begin(u, err) || undo_set(u, all[i].op, UNDO_DONE, "removed", NULL, NULL, NULL, err) ||
                undo_commit(u, err))
                return -1;
            i++;
        } else if (*l.marked_on && !all[i].permanently) {
            if (turned_out_marked(u, &all[i], err))
                return -1;
            i += !all[i].permanently;
        } else if (undo_stopped(u) || gs_mono_ms() > until) {
            gs_logf(u->o->log, GS_LOG_WARN, "the target has accepted the deletion of '%s' and has not done it yet",
                    l.full_path);
            i++;
        } else {
            gs_sleep_ms(300);
        }
    }
    return 0;
}
