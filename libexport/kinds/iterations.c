/*
 * iterations: cadences with their iterations, over GraphQL, which alone knows which iteration is of which cadence, and how a cadence
 * makes them. Read of groups that have some (kinds/unread.c sees that), or beside an export, which has neither titles nor settings.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT_MAX ((size_t)256 << 20) /* bytes of all cadences and iterations of one group */

enum { LUCK_CADENCES = 14 };

/* Both are small: records are made when they come, and put together when all are there. */
struct piece {
    int64_t id, cadence, iid; /* cadence and iid: of an iteration */
    size_t off, len;
};

struct pieces {
    struct piece *v;
    size_t n, cap;
    uint64_t twice;
    struct idset seen;
};

struct job {
    struct cap_group *group;
    struct gs_buf text;
    struct pieces cadences, iterations;
    bool second; /* the list of iterations is read */
    bool broke;  /* we failed, not the server */
};

static void job_free(struct job *j)
{
    gs_buf_release(&j->text);
    idset_release(&j->cadences.seen);
    idset_release(&j->iterations.seen);
    free(j->cadences.v);
    free(j->iterations.v);
    free(j);
}

/* ---- records ---- */

static int64_t number(yyjson_val *v, const char *key)
{
    int64_t n = 0;
    const char *text = gs_json_str(v, key);
    return text ? strtoll(text, NULL, 10) : gs_json_i64(v, key, &n) ? n : 0;
}

static void put_cadence(struct gs_jw *w, const struct cap_group *g, yyjson_val *v)
{
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(v));
    cap_copy(w, "title", v, "title");
    gs_jw_ki64(w, "group_id", g->id);
    cap_copy(w, "description", v, "description");
    cap_copy(w, "active", v, "active");
    cap_copy(w, "roll_over", v, "rollOver");
    cap_copy_date(w, "start_date", v, "startDate");
    cap_copy(w, "automatic", v, "automatic");
    cap_copy(w, "duration_in_weeks", v, "durationInWeeks");
    cap_copy(w, "iterations_in_advance", v, "iterationsInAdvance");
    gs_jw_end(w);
}

static void put_iteration(struct gs_jw *w, const struct cap_group *g, yyjson_val *v)
{
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(v));
    gs_jw_ki64(w, "iid", number(v, "iid"));
    cap_copy(w, "created_at", v, "createdAt");
    cap_copy(w, "updated_at", v, "updatedAt");
    cap_copy_date(w, "start_date", v, "startDate");
    cap_copy_date(w, "due_date", v, "dueDate");
    gs_jw_ki64(w, "group_id", g->id);
    cap_copy(w, "description", v, "description");
    cap_copy(w, "title", v, "title");
    cap_copy(w, "state", v, "state");
    cap_copy(w, "sequence", v, "sequence");
    gs_jw_end(w);
}

static int add(struct job *j, struct pieces *p, yyjson_val *v, struct gs_err *err)
{
    struct piece new = {.id = cap_id(v), .off = j->text.len};
    bool is_new;
    if (!yyjson_is_obj(v) || new.id <= 0)
        return gs_fail(err, GS_E_REMOTE, "an element of a list of iterations has no id");
    if (idset_add(&p->seen, new.id, &is_new, err))
        return -1;
    if (!is_new) {
        p->twice++;
        return 0;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        struct piece *bigger = realloc(p->v, cap * sizeof *bigger);
        if (!bigger)
            return gs_fail(err, GS_E_NOMEM, "no memory for iterations");
        p->v = bigger;
        p->cap = cap;
    }
    struct gs_jw w;
    gs_jw_init(&w, &j->text, 0, err);
    if (j->second) {
        new.cadence = cap_id(yyjson_obj_get(v, "iterationCadence"));
        new.iid = number(v, "iid");
        put_iteration(&w, j->group, v);
    } else {
        put_cadence(&w, j->group, v);
    }
    if (gs_jw_finish(&w))
        return -1;
    new.len = j->text.len - new.off;
    p->v[p->n++] = new;
    return 0;
}

/* ---- putting together ---- */

static int by_id(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_cadence(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->cadence != y->cadence)
        return (x->cadence > y->cadence) - (x->cadence < y->cadence);
    return x->iid != y->iid ? (x->iid > y->iid) - (x->iid < y->iid) : by_id(a, b);
}

/* The record of one cadence; *at moves behind its iterations. */
static int put_record(struct job *j, const struct piece *c, size_t *at, struct gs_buf *out, struct gs_err *err)
{
    const struct pieces *all = &j->iterations;
    gs_buf_reset(out);
    if (gs_buf_add(out, j->text.data + c->off, c->len - 1, err) || gs_buf_addstr(out, ",\"iterations\":[", err))
        return -1;
    for (size_t first = *at; *at < all->n && all->v[*at].cadence == c->id; ++*at)
        if ((*at > first && gs_buf_addc(out, ',', err)) || gs_buf_add(out, j->text.data + all->v[*at].off, all->v[*at].len, err))
            return -1;
    return gs_buf_addstr(out, "]}", err);
}

/* Iterations of a cadence that the list before did not show: one was made meanwhile. */
static int note_strays(struct job *j, size_t strays, struct gs_err *err)
{
    char was[48], is[64];
    if (strays == 0)
        return 0;
    snprintf(was, sizeof was, "%zu cadences", j->cadences.n);
    snprintf(is, sizeof is, "%zu iterations of other cadences", strays);
    return book_changed(j->group->cap->book, j->group->id, "iterations_cadences", was, is, err);
}

static int store(struct job *j, struct sink *s, struct gs_err *err)
{
    size_t at = 0, strays = 0;
    qsort(j->cadences.v, j->cadences.n, sizeof *j->cadences.v, by_id);
    if (j->iterations.n)
        qsort(j->iterations.v, j->iterations.n, sizeof *j->iterations.v, by_cadence);
    for (size_t i = 0; i < j->cadences.n; i++) {
        struct gs_buf *out = &j->group->cap->json;
        for (; at < j->iterations.n && j->iterations.v[at].cadence < j->cadences.v[i].id; at++)
            strays++;
        if (put_record(j, &j->cadences.v[i], &at, out, err) || sink_add(s, gs_buf_str(out), out->len, err))
            return -1;
    }
    return note_strays(j, strays + (j->iterations.n - at), err);
}

static int finish(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    struct sink *s;
    if (cap_sink(g, "iterations_cadences", &s, err))
        return -1;
    if (j->cadences.n > 0 && store(j, s, err)) {
        sink_abandon(s);
        return gs_wrap(err, "iterations of group '%s'", g->full_path);
    }
    if (j->cadences.n > 0 && !sink_is_shelf(s) &&
        book_lost(g->cap->book, g->id, "iterations_cadences", "timestamps-not-readable", NULL, j->cadences.n, "of the cadence", err)) {
        sink_abandon(s);
        return -1;
    }
    return sink_close(s, -1, 0, err);
}

/* ---- requests ---- */

static int send(struct job *j, struct gs_err *err);

static int page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct job *j = cookie;
    if (j->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    j->broke = true;
    while ((v = yyjson_arr_iter_next(&it)))
        if (add(j, j->second ? &j->iterations : &j->cadences, v, err))
            return -1;
    j->broke = false;
    return 0;
}

/* *out_more: the other list is on its way. */
static int list_ended(struct job *j, const struct gl_pages *p, bool *out_more, struct gs_err *err)
{
    const struct pieces *all = j->second ? &j->iterations : &j->cadences;
    if (cap_fetch(j->group, "iterations_cadences", j->second ? "graphql:group.iterations" : "graphql:group.iterationCadences", p, err) ||
        cap_compare(j->group, "iterations_cadences", p, all->twice, err))
        return -1;
    *out_more = !j->second && j->cadences.n > 0;
    j->second = true;
    return *out_more ? send(j, err) : finish(j, err);
}

static void done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct job *j = cookie;
    struct cap_group *g = j->group;
    struct gs_err err = {0};
    bool more = false;
    int r;
    if (result->code == GS_OK) {
        g->cap->luck[LUCK_CADENCES].ok++;
        r = list_ended(j, p, &more, &err);
    } else if (!g->cap->failed && !j->broke && cap_denied(result)) {
        cap_refused(g->cap, LUCK_CADENCES, result);
        r = cap_missing(g, "iterations_cadences", result, &err);
    } else {
        err = *result;
        r = -1;
    }
    if (r)
        cap_fail(g->cap, &err);
    if (r == 0 && more)
        return;
    job_free(j);
    cap_end(g);
}

static int send(struct job *j, struct gs_err *err)
{
    struct cap_group *g = j->group;
    const char *doc = gl_document(j->second ? "group_iterations" : "group_cadences");
    struct gl_list_opts tagged = {.tag = {g->id, "iterations_cadences"}};
    if (!doc)
        return gs_fail(err, GS_E_INTERNAL, "no GraphQL document for iterations");
    return gl_graphql_list_with(g->cap->client, doc, g->full_path, j->second ? "group.iterations" : "group.iterationCadences", &tagged,
                                page, done, j, err);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    if (!cap_try(g->cap, LUCK_CADENCES)) {
        struct gs_err why = {0};
        gs_fail(&why, GS_E_GRAPHQL, "%s", g->cap->luck[LUCK_CADENCES].why);
        return cap_missing(g, "iterations_cadences", &why, err);
    }
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for iterations");
    j->group = g;
    gs_buf_init(&j->text, COLLECT_MAX);
    idset_init(&j->cadences.seen);
    idset_init(&j->iterations.seen);
    cap_begin(g);
    if (send(j, err) == 0)
        return 0;
    job_free(j);
    cap_end(g);
    return -1;
}

const struct cap_kind cap_kind_iterations = {.relation = "iterations_cadences", .start = start};
