/* Is the target still the one that the state file knows? */
#include "libcommon/clock.h"
#include "libreplay/engine_priv.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_SAMPLES 40
#define ASK_AGAIN_MS 500

struct sample {
    char path[160];
    char what[400];
    char full_path[1100]; /* where a group must stand; "": anywhere */
    bool asked, good;
    struct gs_err err;    /* why it is not */
};

struct samples {
    struct sample *v;
    size_t n;
};

static struct sample *add(struct samples *x)
{
    return x->n < MAX_SAMPLES ? &x->v[x->n++] : NULL;
}

static void add_roots(struct engine *e, struct samples *x)
{
    for (size_t i = 0; i < e->n_groups; i++) {
        const struct grp *g = &e->groups[i];
        struct sample *s = g->parent == 0 && g->target_id ? add(x) : NULL;
        if (!s)
            continue;
        snprintf(s->path, sizeof s->path, "/groups/%lld?with_projects=false", (long long)g->target_id);
        snprintf(s->what, sizeof s->what, "group '%.300s' (id %lld on the target)", g->dst_path, (long long)g->target_id);
        snprintf(s->full_path, sizeof s->full_path, "%s", g->dst_path);
    }
}

/* The object of one kind that was made last: the first to be gone when an older backup was put back. */
static void add_newest(struct engine *e, struct samples *x, const char *kind, int64_t grp, const char *key, int64_t id)
{
    const struct kind *k = kind_find(kind);
    const struct grp *g = engine_grp(e, grp);
    if (!k || !k->at || !g || !g->target_id || !id)
        return;
    struct sample *s = add(x);
    if (!s)
        return;
    if (*k->at)
        snprintf(s->path, sizeof s->path, "/groups/%lld/%s/%lld", (long long)g->target_id, k->at, (long long)id);
    else
        snprintf(s->path, sizeof s->path, "/groups/%lld?with_projects=false", (long long)id);
    snprintf(s->what, sizeof s->what, "%s '%.100s' of group '%.200s' (id %lld on the target)", k->name, key ? key : "",
             g->dst_path, (long long)id);
}

static int collect(struct engine *e, struct samples *x, struct gs_err *err)
{
    add_roots(e, x);
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(e->state), "SELECT o.kind, o.grp, o.key, o.target_id FROM newest n JOIN op o ON o.id = n.op"
                                               " WHERE o.state = 2", -1, &st, NULL))
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(e->state), sqlite3_errmsg(state_db(e->state)));
    while (sqlite3_step(st) == SQLITE_ROW)
        add_newest(e, x, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1),
                   (const char *)sqlite3_column_text(st, 2), sqlite3_column_int64(st, 3));
    sqlite3_finalize(st);
    return 0;
}

static void judge_group(struct sample *s, const struct gl_response *rsp)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gl_response_json(rsp, &doc, &s->err))
        return;
    const char *path = gs_json_str(yyjson_doc_get_root(doc), "full_path");
    if (!path || strcasecmp(path, s->full_path) != 0)
        GS_IGNORE(gs_fail(&s->err, GS_E_TARGET_MOVED, "%s stands at '%s' now", s->what, path ? path : "?"), "stored");
    else if (gs_json_str(yyjson_doc_get_root(doc), "marked_for_deletion_on"))
        GS_IGNORE(gs_fail(&s->err, GS_E_TARGET_MOVED, "%s is marked for deletion", s->what), "stored");
    else
        s->good = true;
}

static void on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct sample *s = cookie;
    (void)req;
    s->err = (struct gs_err){0};
    if (rsp->outcome == GL_ANSWERED && rsp->status == 404)
        GS_IGNORE(gs_fail(&s->err, GS_E_TARGET_MOVED, "%s, which this load made, is not there any more", s->what), "stored");
    else if (rsp->err.code == GS_OK && s->full_path[0])
        judge_group(s, rsp);
    else if (rsp->err.code == GS_OK || rsp->err.scope == GS_SCOPE_ITEM) /* one that may not be seen proves nothing */
        s->good = true;
    else
        s->err = rsp->err;
}

/* Asks for all that are not known to be there, together. *out_bad: how many are still not. */
static int ask(struct engine *e, struct samples *x, size_t *out_bad, struct gs_err *err)
{
    int r = 0;
    for (size_t i = 0; i < x->n && !r; i++) {
        struct sample *s = &x->v[i];
        if (s->good)
            continue;
        struct gl_request *q = run_request(GL_GET, NULL, "%s", s->path);
        if (!q) {
            r = gs_fail(err, GS_E_NOMEM, "no memory for a request");
            break;
        }
        q->done = on_answer;
        q->cookie = s;
        r = gl_submit(e->client, q, err);
    }
    /* those that left answer into the samples, which do not live longer than this check */
    while (gl_pending(e->client) > 0) {
        struct gs_err ignored = {0};
        if (gl_poll(e->client, 200, r ? &ignored : err))
            return -1;
    }
    if (r)
        return -1;
    *out_bad = 0;
    for (size_t i = 0; i < x->n; i++)
        *out_bad += !x->v[i].good;
    return 0;
}

int moved_check(struct engine *e, struct gs_err *err)
{
    if (e->p.done == 0 || e->p.done + e->p.failed + e->p.skipped >= e->p.ops)
        return 0;
    gs_autofree struct sample *v = calloc(MAX_SAMPLES, sizeof *v);
    struct samples x = {.v = v};
    size_t bad = 0;
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for samples");
    if (collect(e, &x, err) || ask(e, &x, &bad, err))
        return -1;
    for (;;) {
        const struct sample *s = NULL;
        for (size_t i = 0; i < x.n && bad; i++)
            if (!x.v[i].good && (!s || s->err.code == GS_E_TARGET_MOVED))
                s = &x.v[i];
        if (!s)
            return 0;
        /* a replica may not show yet what the run before this one has made */
        if (s->err.code != GS_E_TARGET_MOVED || (e->opts->stop && *e->opts->stop) || gs_mono_ms() - e->started_ms > e->lag_ms) {
            *err = s->err;
            return -1;
        }
        gs_sleep_ms(ASK_AGAIN_MS);
        if (ask(e, &x, &bad, err))
            return -1;
    }
}
