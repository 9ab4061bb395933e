#include "libreplay/story.h"

#include "formats/relations.h"
#include "libreplay/kind.h"
#include "libreplay/report.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

void story_of_release(struct story_of *o)
{
    free(o->group);
    free(o->relation);
    free(o->key);
    free(o->called);
    *o = (struct story_of){0};
}

static int db_fail(struct state *s, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(s), sqlite3_errmsg(state_db(s)));
}

struct find {
    const char *what;
    struct story_of *out;
    size_t len; /* of the path that fits best so far */
};

/* Behind a path of a group: "/RELATION", and "/KEY" where it has one. */
static int try_path(struct find *f, const struct grp *g, const char *path, struct gs_err *err)
{
    size_t n = strlen(path);
    if (n <= f->len || strncmp(f->what, path, n) != 0 || f->what[n] != '/')
        return 0;
    const char *relation = f->what + n + 1;
    size_t len = strcspn(relation, "/");
    bool self = (len == 6 && strncmp(relation, "groups", 6) == 0) || (len == 4 && strncmp(relation, "self", 4) == 0);
    if (!relation_name_ok(relation, len) || (!self && relation[len] != '/'))
        return 0;
    gs_autofree char *name = strndup(relation, len);
    if (!name)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!self && !relation_find(name))
        return 0;
    story_of_release(f->out);
    f->len = n;
    const char *key = self ? "" : relation + len + 1;
    bool epic = strcmp(name, "epics") == 0;
    key += epic && *key == '&';
    *f->out = (struct story_of){g->id, strdup(g->src_path), strdup(self ? "self" : name), strdup(key), gs_asprintf("%s%s", epic ? "&" : "", key)};
    return f->out->group && f->out->relation && f->out->key && f->out->called ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

static int try_group(void *cookie, const struct report_group *g, struct gs_err *err)
{
    return try_path(cookie, &g->grp, g->grp.src_path, err) || try_path(cookie, &g->grp, g->grp.dst_path, err) ? -1 : 0;
}

int story_find(struct state *s, const char *what, struct story_of *out, struct gs_err *err)
{
    struct find f = {.what = what, .out = out};
    *out = (struct story_of){0};
    if (report_groups(s, try_group, &f, err))
        return -1;
    return f.len ? 0 : gs_fail(err, GS_E_USAGE, "'%s' is not GROUP/RELATION/KEY with a group of this load, here or there", what);
}

struct step {
    int64_t id, ended_ms;
};

/* The ids first: a step is read whole by another statement. */
static int step_ids(struct state *s, const struct story_of *o, const char *kind, struct step **v, size_t *n, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    bool self = strcmp(o->relation, "self") == 0;
    if (sqlite3_prepare_v2(state_db(s), "SELECT id, ended_at FROM op WHERE grp = ?1 AND kind = ?2 AND (?4 OR key = ?3) ORDER BY id", -1, &st, NULL))
        return db_fail(s, err);
    sqlite3_bind_int64(st, 1, o->grp);
    sqlite3_bind_text(st, 2, kind, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, o->called, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 4, self);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        struct step *more = rc == SQLITE_ROW ? realloc(*v, (*n + 1) * sizeof *more) : NULL;
        if (!more) {
            r = rc == SQLITE_ROW ? gs_fail(err, GS_E_NOMEM, "out of memory") : db_fail(s, err);
            break;
        }
        *v = more;
        more[(*n)++] = (struct step){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)};
    }
    sqlite3_finalize(st);
    return r;
}

int story_steps(struct state *s, const struct story_of *o, int (*row)(void *cookie, const struct story_step *x, struct gs_err *err), void *cookie,
                struct gs_err *err)
{
    gs_autofree struct step *v = NULL;
    size_t n = 0;
    for (size_t i = 0; kinds[i]; i++)
        if (strcmp(kinds[i]->relation, o->relation) == 0 && step_ids(s, o, kinds[i]->name, &v, &n, err))
            return -1;
    for (size_t i = 0; i < n; i++) {
        struct story_step x = {.ended_ms = v[i].ended_ms};
        if (state_op(s, v[i].id, &x.op, err))
            return -1;
        const struct kind *k = kind_find(x.op.kind);
        x.at = k ? k->at : NULL;
        int r = row(cookie, &x, err);
        op_release(&x.op);
        if (r)
            return -1;
    }
    return 0;
}

int story_losses(struct state *s, const struct story_of *o,
                 int (*row)(void *cookie, const char *code, const char *detail, struct gs_err *err), void *cookie, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    bool self = strcmp(o->relation, "self") == 0;
    if (sqlite3_prepare_v2(state_db(s),
                           "SELECT code, detail FROM loss WHERE grp = ?1 AND relation = ?2 AND (?4 OR key = ?3 OR key IS NULL OR key = '') ORDER BY id",
                           -1, &st, NULL))
        return db_fail(s, err);
    sqlite3_bind_int64(st, 1, o->grp);
    sqlite3_bind_text(st, 2, o->relation, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 3, o->called, -1, SQLITE_STATIC);
    sqlite3_bind_int(st, 4, self);
    int rc, r = 0;
    while (!r && (rc = sqlite3_step(st)) != SQLITE_DONE)
        r = rc == SQLITE_ROW ? row(cookie, (const char *)sqlite3_column_text(st, 0), (const char *)sqlite3_column_text(st, 1), err) : db_fail(s, err);
    sqlite3_finalize(st);
    return r;
}
