/* Is the target still the one that the state file knows? */
#include "libcommon/clock.h"
#include "libreplay/engine_priv.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_NEWEST 40
#define ASK_AGAIN_MS 500

enum verdict { OPEN, GOOD, UNSEEN, MOVED };

/* A group, or an object in one. */
struct sample {
    struct samples *all;
    struct grp *g;
    const struct kind *kind;  /* NULL: the group itself */
    char *key;
    int64_t id;
    bool left;                /* the token's user gave up his role in the group: a 404 may mean just that */
    enum verdict verdict;
    char *path, *web_url;     /* of a group, as the target shows them now */
};

struct samples {
    struct engine *e;
    struct sample *v;
    size_t n, cap;
    struct gs_err moved, other; /* the first of each kind, of the round that is under way */
};

static void release(struct samples *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->v[i].key);
        free(x->v[i].path);
        free(x->v[i].web_url);
    }
    free(x->v);
}

static struct sample *add(struct samples *x, struct grp *g, int64_t id)
{
    struct sample *s = x->n < x->cap ? &x->v[x->n++] : NULL;
    if (s)
        *s = (struct sample){.all = x, .g = g, .id = id};
    return s;
}

/* ---- what is asked for ---- */

static int db_fail(struct engine *e, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(e->state), sqlite3_errmsg(state_db(e->state)));
}

/* Every group that was made; of those that were there before, only the root. To look around, roots are enough. */
static void add_groups(struct engine *e, struct samples *x)
{
    for (size_t i = 0; i < e->n_groups; i++) {
        struct grp *g = &e->groups[i];
        if (g->target_id && (g->parent == 0 || (!g->existed && !e->opts->look_only)))
            add(x, g, g->target_id);
    }
}

/* The object of each kind that was made last: the first to be gone when an older backup was put back. */
static int add_newest(struct engine *e, struct samples *x, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    int rc, r = 0;
    if (sqlite3_prepare_v2(state_db(e->state), "SELECT o.kind, o.grp, o.key, o.target_id FROM newest n JOIN op o ON o.id = n.op"
                                               " WHERE o.state = 2", -1, &st, NULL))
        return db_fail(e, err);
    while (r == 0 && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        const struct kind *k = rc == SQLITE_ROW ? kind_find((const char *)sqlite3_column_text(st, 0)) : NULL;
        struct grp *g = rc == SQLITE_ROW ? engine_grp(e, sqlite3_column_int64(st, 1)) : NULL;
        const char *key = (const char *)sqlite3_column_text(st, 2);
        int64_t id = sqlite3_column_int64(st, 3);
        struct sample *s = k && k->at && *k->at && g && g->target_id && id ? add(x, g, id) : NULL;
        if (rc != SQLITE_ROW) {
            r = db_fail(e, err);
        } else if (s) {
            s->kind = k;
            s->key = strdup(key ? key : "");
        }
    }
    sqlite3_finalize(st);
    return r;
}

/* In which private groups has the token's user given his role up, or may have? */
static int mark_left(struct engine *e, struct samples *x, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (e->target->is_admin == 1)
        return 0;
    if (sqlite3_prepare_v2(state_db(e->state), "SELECT 1 FROM op o WHERE o.kind = 'groups.owner' AND o.grp = ?1 AND o.state IN (1, 2)"
                                               " AND NOT EXISTS (SELECT 1 FROM loss WHERE op = o.id AND code = 'creator-kept-as-owner')",
                           -1, &st, NULL))
        return db_fail(e, err);
    int rc = SQLITE_DONE;
    for (size_t i = 0; i < x->n && (rc == SQLITE_ROW || rc == SQLITE_DONE); i++) {
        const struct grp *g = x->v[i].g;
        if (g->visibility && strcmp(g->visibility, "private") != 0)
            continue;
        sqlite3_bind_int64(st, 1, g->id);
        rc = sqlite3_step(st);
        x->v[i].left = rc == SQLITE_ROW;
        sqlite3_reset(st);
    }
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(e, err);
    sqlite3_finalize(st);
    return r;
}

static int collect(struct engine *e, struct samples *x, struct gs_err *err)
{
    x->e = e;
    x->cap = e->n_groups + MAX_NEWEST;
    x->v = calloc(x->cap, sizeof *x->v);
    if (!x->v)
        return gs_fail(err, GS_E_NOMEM, "no memory for samples");
    add_groups(e, x);
    return add_newest(e, x, err) || mark_left(e, x, err) ? -1 : 0;
}

/* ---- the answers ---- */

static void GS_PRINTF(2, 3) say_moved(struct sample *s, const char *fmt, ...)
{
    char what[500], how[600];
    va_list ap;
    s->verdict = MOVED;
    if (s->all->moved.code != GS_OK)
        return;
    if (s->kind)
        snprintf(what, sizeof what, "%s '%.100s' of group '%.200s' (id %lld on the target)", s->kind->name, s->key ? s->key : "",
                 s->g->dst_path, (long long)s->id);
    else
        snprintf(what, sizeof what, "group '%.300s' (id %lld on the target)", s->g->dst_path, (long long)s->id);
    va_start(ap, fmt);
    vsnprintf(how, sizeof how, fmt, ap);
    va_end(ap);
    GS_IGNORE(gs_fail(&s->all->moved, GS_E_TARGET_MOVED, "%s%s", what, how), "stored");
}

static void judge_group(struct sample *s, const struct gl_response *rsp)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_err why = {0};
    if (gl_response_json(rsp, &doc, &why)) {
        s->all->other = why;
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *path = gs_json_str(root, "full_path"), *url = gs_json_str(root, "web_url");
    const char *marked = gs_json_str(root, "marked_for_deletion_on");
    const struct grp *up = s->g->parent ? engine_grp(s->all->e, s->g->parent) : NULL;
    int64_t want = up ? up->target_id : s->g->dst_parent, got = 0;
    gs_json_i64(root, "parent_id", &got);
    if (marked) {
        say_moved(s, " is marked for deletion (since %.20s): restore it in GitLab, then run again", marked);
    } else if (!path || (want != got && !(s->g->existed && want == 0))) {
        say_moved(s, " stands below another parent now, at '%.300s': move it back, then run again", path ? path : "?");
    } else {
        s->verdict = GOOD;
        free(s->path);
        free(s->web_url);
        s->path = strdup(path);
        s->web_url = url ? strdup(url) : NULL;
    }
}

static void on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct sample *s = cookie;
    (void)req;
    if (rsp->outcome == GL_ANSWERED && rsp->status == 404 && s->left)
        s->verdict = UNSEEN;
    else if (rsp->outcome == GL_ANSWERED && rsp->status == 404)
        say_moved(s, ", which this load made, is not there any more, or is not shown to the token's user");
    else if (rsp->err.code == GS_OK && !s->kind)
        judge_group(s, rsp);
    else if (rsp->err.code == GS_OK || rsp->err.scope == GS_SCOPE_ITEM) /* one that may not be seen proves nothing */
        s->verdict = GOOD;
    else if (s->all->other.code == GS_OK)
        s->all->other = rsp->err;
}

static struct gl_request *question(const struct sample *s)
{
    if (s->kind)
        return run_request(GL_GET, NULL, "/groups/%lld/%s/%lld", (long long)s->g->target_id, s->kind->at, (long long)s->id);
    return run_request(GL_GET, NULL, "/groups/%lld?with_projects=false", (long long)s->id);
}

/* Asks for all that are not known to be there, as many at once as requests may be. */
static int ask(struct engine *e, struct samples *x, struct gs_err *err)
{
    x->moved = x->other = (struct gs_err){0};
    for (size_t i = 0; i < x->n; i++) {
        struct sample *s = &x->v[i];
        if (s->verdict == GOOD || s->verdict == UNSEEN)
            continue;
        while (gl_free_slots(e->client) == 0 && gl_pending(e->client) > 0)
            if (gl_poll(e->client, 200, err))
                return -1;
        if (x->other.code != GS_OK)
            break;
        struct gl_request *q = question(s);
        if (!q)
            return gs_fail(err, GS_E_NOMEM, "no memory for a request");
        s->verdict = OPEN;
        q->done = on_answer;
        q->cookie = s;
        e->p.requests++;
        if (gl_submit(e->client, q, err))
            return -1;
    }
    while (gl_pending(e->client) > 0)
        if (gl_poll(e->client, 200, err))
            return -1;
    return 0;
}

/* ---- what follows ---- */

/* A group that has another path now, below the same parent: the load goes on in it, and what shows its place shows the new one. */
static int follow_path(struct engine *e, struct sample *s, struct gs_err *err)
{
    struct grp *g = s->g;
    const char *old = strrchr(g->dst_path, '/'), *now = strrchr(s->path, '/');
    if (strcasecmp(old ? old : g->dst_path, now ? now : s->path) != 0 || g->parent == 0)
        gs_logf(e->opts->log, GS_LOG_WARN, "group '%s' (id %lld on the target) was given another path there: '%s'; the load goes on in it",
                g->dst_path, (long long)g->target_id, s->path);
    if (state_grp_path(e->state, g->id, s->path, err) ||
        (s->web_url && state_grp_loaded(e->state, g->id, g->target_id, s->web_url, g->existed, err)))
        return -1;
    free(g->dst_path);
    g->dst_path = gs_steal(&s->path);
    if (s->web_url) {
        free(g->web_url);
        g->web_url = gs_steal(&s->web_url);
    }
    return 0;
}

static int follow_paths(struct engine *e, struct samples *x, struct gs_err *err)
{
    size_t unseen = 0;
    if (state_begin(e->state, err))
        return -1;
    for (size_t i = 0; i < x->n; i++) {
        struct sample *s = &x->v[i];
        unseen += s->verdict == UNSEEN && !s->kind;
        if (s->path && strcasecmp(s->path, s->g->dst_path) != 0 && follow_path(e, s, err)) {
            state_rollback(e->state);
            return -1;
        }
    }
    if (unseen)
        gs_logf(e->opts->log, GS_LOG_WARN, "%zu of the groups that were made are not shown to the token's user, who has left them: "
                "whether they are still there is not known", unseen);
    return state_commit(e->state, err);
}

int moved_check(struct engine *e, struct gs_err *err)
{
    struct samples x = {0};
    if (e->p.done == 0)
        return 0;
    int r = collect(e, &x, err) || ask(e, &x, err) ? -1 : 0;
    while (r == 0 && (x.moved.code != GS_OK || x.other.code != GS_OK)) {
        /* a replica may not show yet what the run before this one has made */
        if (x.moved.code == GS_OK || (e->opts->stop && *e->opts->stop) || gs_mono_ms() - e->started_ms > e->lag_ms) {
            *err = x.moved.code != GS_OK ? x.moved : x.other;
            r = -1;
            break;
        }
        gs_sleep_ms(ASK_AGAIN_MS);
        r = ask(e, &x, err);
    }
    if (r == 0)
        r = follow_paths(e, &x, err);
    struct gs_err ignored = {0}; /* an answer must not come for a sample that is gone */
    while (gl_pending(e->client) > 0)
        if (gl_poll(e->client, 200, &ignored))
            break;
    release(&x);
    return r;
}
