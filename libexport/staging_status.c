/* What `snap status` reads: sums over the tables, and what the run noted of itself. */
#include "libexport/staging_status.h"

#include "libexport/staging_priv.h"

#include "libcommon/clock.h"
#include "libcommon/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static struct staging_relation *relation(struct staging_status *st, const char *name, struct gs_err *err)
{
    for (size_t i = 0; i < st->n_relations; i++)
        if (strcmp(st->relations[i].name, name) == 0)
            return &st->relations[i];
    struct staging_relation *v = realloc(st->relations, (st->n_relations + 1) * sizeof *v);
    if (!v) {
        gs_fail(err, GS_E_NOMEM, "no memory for the status");
        return NULL;
    }
    st->relations = v;
    v = &v[st->n_relations++];
    *v = (struct staging_relation){0};
    snprintf(v->name, sizeof v->name, "%s", name);
    return v;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct staging_relation *)a)->name, ((const struct staging_relation *)b)->name);
}

/* ---- sums ---- */

typedef int (*row_fn)(struct staging_status *st, sqlite3_stmt *row, struct gs_err *err);

static int each_row(struct stg_db *d, const char *sql, row_fn fn, struct staging_status *st, struct gs_err *err)
{
    sqlite3_stmt *q = NULL;
    int rc, r = 0;
    if (sqlite3_prepare_v2(d->db, sql, -1, &q, NULL))
        return stg_db_fail(d, "reading the tables", err);
    while (r == 0 && (rc = sqlite3_step(q)) != SQLITE_DONE)
        r = rc == SQLITE_ROW ? fn(st, q, err) : stg_db_fail(d, "reading", err);
    sqlite3_finalize(q);
    return r;
}

static const char *name_of(sqlite3_stmt *row)
{
    const char *s = (const char *)sqlite3_column_text(row, 0);
    return s && *s ? s : "role"; /* the only request that is about nothing that is carried */
}

static int answer_row(struct staging_status *st, sqlite3_stmt *row, struct gs_err *err)
{
    struct staging_relation *r = relation(st, name_of(row), err);
    if (!r)
        return -1;
    r->answers = (uint64_t)sqlite3_column_int64(row, 1);
    r->bytes = (uint64_t)sqlite3_column_int64(row, 2);
    r->retries = (uint64_t)sqlite3_column_int64(row, 3);
    r->waited_ms = sqlite3_column_int64(row, 4);
    st->answers += r->answers;
    st->bytes += r->bytes;
    st->retries += r->retries;
    return 0;
}

static int file_row(struct staging_status *st, sqlite3_stmt *row, struct gs_err *err)
{
    struct staging_relation *r = relation(st, name_of(row), err);
    if (!r)
        return -1;
    r->files = (uint64_t)sqlite3_column_int64(row, 1);
    r->file_bytes = (uint64_t)sqlite3_column_int64(row, 2);
    st->files += r->files;
    st->file_bytes += r->file_bytes;
    return 0;
}

static int run_row(struct staging_status *st, sqlite3_stmt *row, struct gs_err *err)
{
    const char *code = (const char *)sqlite3_column_text(row, 4);
    st->runs = (unsigned)sqlite3_column_int64(row, 0);
    st->run_begun_ms = sqlite3_column_int64(row, 1);
    st->active_ms = sqlite3_column_int64(row, 2);
    st->ended_ms = sqlite3_column_int64(row, 3);
    snprintf(st->code, sizeof st->code, "%s", code ? code : "");
    return stg_column_text(row, 5, &st->text, err);
}

/* ---- what the run told ---- */

static uint64_t count(yyjson_val *obj, const char *key)
{
    int64_t n = 0;
    return gs_json_i64(obj, key, &n) && n > 0 ? (uint64_t)n : 0;
}

static const char *text(yyjson_val *obj, const char *key)
{
    const char *s = gs_json_str(obj, key);
    return s ? s : "";
}

static int told_reason(struct reasons *all, yyjson_val *v, struct gs_err *err)
{
    size_t n = all->n;
    if (gs_json_true(v, "fallback") ? reasons_fallback(all, text(v, "relation"), text(v, "from"), text(v, "to"), text(v, "why"), err)
                                    : reasons_unread(all, text(v, "relation"), text(v, "rule"), count(v, "records"), text(v, "why"), err))
        return -1;
    if (all->n > n) {
        all->v[n].varies = gs_json_true(v, "varies");
        all->v[n].entries = count(v, "entries");
    }
    return 0;
}

static int told(struct staging_status *st, const char *text, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!text)
        return 0;
    if (gs_json_parse(text, strlen(text), NULL, &doc, err))
        return gs_wrap(err, "the progress noted in the staging database");
    yyjson_val *v = yyjson_doc_get_root(doc), *k, *row;
    st->groups_found = count(v, "groups_found");
    st->groups_done = count(v, "groups_done");
    st->discovering = gs_json_true(v, "discovering");
    st->records = count(v, "records");
    st->requests = count(v, "requests");
    st->kept = count(v, "kept");
    st->in_flight = (unsigned)count(v, "in_flight");
    st->waited_ms = (int64_t)count(v, "waited_ms");
    int64_t until = (int64_t)count(v, "paused_until_ms"), now = gs_unix_ms();
    st->pause_ms = until > now ? until - now : 0;
    size_t i, max;
    yyjson_obj_foreach(yyjson_obj_get(v, "relations"), i, max, k, row)
    {
        int64_t records = 0, groups = 0;
        struct staging_relation *r = relation(st, yyjson_get_str(k), err);
        if (!r)
            return -1;
        if (gs_json_val_i64(yyjson_arr_get(row, 0), &records) && gs_json_val_i64(yyjson_arr_get(row, 1), &groups)) {
            r->records = (uint64_t)records;
            r->groups = (uint64_t)groups;
        }
    }
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(v, "reasons"));
    while ((row = yyjson_arr_iter_next(&it)))
        if (told_reason(&st->reasons, row, err))
            return -1;
    return 0;
}

static int collect(struct stg_db *d, struct staging_status *st, struct gs_err *err)
{
    gs_autofree char *progress = NULL;
    int64_t exports;
    if (stg_meta_get(d, "url", &st->url, err) || stg_meta_get(d, "root_path", &st->root_path, err) ||
        stg_meta_get(d, "username", &st->username, err) || stg_meta_get(d, "version", &st->version, err) ||
        stg_meta_i64(d, "root_id", &st->root_id, err) || stg_meta_i64(d, "started_ms", &st->begun_ms, err) ||
        stg_meta_get(d, "progress", &progress, err) || stg_number(d, "SELECT count(*) FROM export", &exports, err))
        return -1;
    st->exports = (uint64_t)exports;
    if (each_row(d,
                 "SELECT relation, count(*), sum(bytes), sum(max(tries - 1, 0)), sum(waited_ms) FROM answer GROUP BY relation",
                 answer_row, st, err) ||
        each_row(d, "SELECT relation, count(*), sum(bytes) FROM file GROUP BY relation", file_row, st, err) ||
        each_row(d, "SELECT n, begun_ms, active_ms, ended_ms, code, text FROM run ORDER BY n DESC LIMIT 1", run_row, st, err) ||
        told(st, progress, err))
        return -1;
    if (st->n_relations > 1)
        qsort(st->relations, st->n_relations, sizeof *st->relations, by_name);
    return 0;
}

/* ---- from outside and from inside ---- */

static int is_locked(const char *dir, bool *out, struct gs_err *err)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    gs_autofree char *path = gs_asprintf("%s/" STG_LOCK, dir);
    *out = false;
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    gs_autofd int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : gs_fail_sys(err, GS_E_IO, errno, "'%s'", path);
    if (fcntl(fd, F_OFD_GETLK, &l))
        return gs_fail_sys(err, GS_E_IO, errno, "asking who has locked '%s'", path);
    *out = l.l_type != F_UNLCK;
    return 0;
}

/* One moment for all the sums. */
static int in_one_view(struct stg_db *d, struct staging_status *st, struct gs_err *err)
{
    if (sqlite3_exec(d->db, "BEGIN", NULL, NULL, NULL))
        return stg_db_fail(d, "reading", err);
    int r = collect(d, st, err);
    sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL);
    return r;
}

int staging_status_read(const char *dir, struct staging_status *out, struct gs_err *err)
{
    struct stat sb;
    struct stg_db d = {0};
    *out = (struct staging_status){0};
    gs_autofree char *path = gs_asprintf("%s/" STG_DB, dir);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (lstat(path, &sb))
        return errno == ENOENT || errno == ENOTDIR ? gs_fail(err, GS_E_NOT_FOUND, "no capture is under way in '%s'", dir)
                                                   : gs_fail_sys(err, GS_E_IO, errno, "'%s'", path);
    int r = is_locked(dir, &out->running, err);
    if (r == 0)
        r = stg_db_open(&d, path, STG_READ, err) || in_one_view(&d, out, err);
    stg_db_close(&d);
    if (r)
        staging_status_release(out);
    return r ? -1 : 0;
}

int staging_status(struct staging *s, struct staging_status *out, struct gs_err *err)
{
    *out = (struct staging_status){.running = true};
    if (stg_writer_drain(s->writer, err) == 0 && in_one_view(&s->read, out, err) == 0)
        return 0;
    staging_status_release(out);
    return -1;
}

void staging_status_release(struct staging_status *st)
{
    free(st->url);
    free(st->root_path);
    free(st->username);
    free(st->version);
    free(st->text);
    free(st->relations);
    reasons_release(&st->reasons);
    *st = (struct staging_status){0};
}
