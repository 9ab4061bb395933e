/* The tables of the staging store. */
#include "libexport/staging_priv.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <zstd.h>

#define APPLICATION_ID 0x67737330 /* "gss0" */
#define SCHEMA_VERSION 1
#define PACK_FROM 512 /* bytes: a shorter body is not worth compressing */
#define BODY_MAX ((int64_t)64 << 20)

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE run(n INTEGER PRIMARY KEY, begun_ms INTEGER NOT NULL, active_ms INTEGER NOT NULL, ended_ms INTEGER,"
    " code TEXT, text TEXT);"
    /* one row per complete answer; `key` is the digest of the request */
    "CREATE TABLE answer(id INTEGER PRIMARY KEY, key BLOB NOT NULL, run INTEGER NOT NULL, grp INTEGER NOT NULL,"
    " relation TEXT NOT NULL, status INTEGER NOT NULL, type TEXT NOT NULL, link TEXT, total INTEGER NOT NULL,"
    " total_pages INTEGER NOT NULL, next_page INTEGER NOT NULL, request_id TEXT NOT NULL, date_ms INTEGER NOT NULL,"
    " tries INTEGER NOT NULL, waited_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, packed INTEGER NOT NULL,"
    " sum BLOB NOT NULL, body BLOB NOT NULL);"
    "CREATE UNIQUE INDEX answer_key ON answer(key);"
    /* holds all that is summed up, so that the bodies need not be passed by */
    "CREATE INDEX answer_tag ON answer(relation, grp, bytes, tries, waited_ms);"
    "CREATE TABLE export(grp INTEGER PRIMARY KEY, run INTEGER NOT NULL, started_ms INTEGER NOT NULL,"
    " server_ms INTEGER NOT NULL, batched INTEGER NOT NULL, note TEXT NOT NULL);"
    "CREATE TABLE file(name TEXT PRIMARY KEY, run INTEGER NOT NULL, grp INTEGER NOT NULL, relation TEXT NOT NULL,"
    " bytes INTEGER NOT NULL, digest BLOB NOT NULL, records INTEGER NOT NULL) WITHOUT ROWID;";

static const char *const queries[STG_Q_COUNT] = {
    [STG_Q_META_SET] = "INSERT INTO meta(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = ?2",
    [STG_Q_META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [STG_Q_FIND] = "SELECT status, type, link, total, total_pages, next_page, request_id, date_ms, tries, waited_ms, bytes,"
                   " packed, sum, body FROM answer WHERE key = ?1",
    [STG_Q_KEEP] = "INSERT OR REPLACE INTO answer(key, run, grp, relation, status, type, link, total, total_pages,"
                   " next_page, request_id, date_ms, tries, waited_ms, bytes, packed, sum, body)"
                   " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    [STG_Q_FORGET] = "DELETE FROM answer WHERE grp = ?1 AND (?2 IS NULL OR relation = ?2)",
    [STG_Q_FORGET_FILES] = "DELETE FROM file WHERE grp = ?1 AND (?2 IS NULL OR relation = ?2)",
    [STG_Q_FORGET_EXPORT] = "DELETE FROM export WHERE grp = ?1",
    [STG_Q_FORGET_REFUSED] = "DELETE FROM answer WHERE status > 299",
    /* labels, milestones, badges and boards are shown to every reader alike */
    [STG_Q_FORGET_ROLE] = "DELETE FROM answer WHERE relation NOT IN ('labels', 'milestones', 'badges', 'boards')",
    [STG_Q_LIST_FILES] = "SELECT name FROM file WHERE grp = ?1 AND (?2 IS NULL OR relation = ?2)",
    [STG_Q_EXPORT_GET] = "SELECT started_ms, server_ms, batched, note FROM export WHERE grp = ?1",
    [STG_Q_EXPORT_SET] = "INSERT OR REPLACE INTO export(grp, run, started_ms, server_ms, batched, note)"
                         " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [STG_Q_EXPORT_DROP] = "DELETE FROM export WHERE grp = ?1",
    [STG_Q_FILE_GET] = "SELECT bytes, digest, records FROM file WHERE name = ?1",
    [STG_Q_FILE_SET] = "INSERT OR REPLACE INTO file(name, run, grp, relation, bytes, digest, records)"
                       " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [STG_Q_FILE_DROP] = "DELETE FROM file WHERE name = ?1",
    [STG_Q_RUN_BEGIN] = "INSERT INTO run(n, begun_ms, active_ms) VALUES(?1, ?2, ?2)",
    [STG_Q_RUN_END] = "UPDATE run SET ended_ms = ?2, active_ms = ?2, code = ?3, text = ?4 WHERE n = ?1",
    [STG_Q_RUN_ACTIVE] = "UPDATE run SET active_ms = ?2 WHERE n = ?1",
    [STG_Q_BEGIN] = "BEGIN IMMEDIATE",
    [STG_Q_COMMIT] = "COMMIT",
    [STG_Q_ROLLBACK] = "ROLLBACK",
};

/* SQLite tells of a full disk, but not that a file reached the limit of the process (ulimit -f). */
static bool files_are_limited(void)
{
    struct rlimit l;
    return getrlimit(RLIMIT_FSIZE, &l) == 0 && l.rlim_cur != RLIM_INFINITY;
}

int stg_db_fail(const struct stg_db *d, const char *what, struct gs_err *err)
{
    enum gs_code code = GS_E_IO;
    int rc = sqlite3_extended_errcode(d->db), e = sqlite3_system_errno(d->db);
    switch (rc & 0xff) {
    case SQLITE_FULL: code = GS_E_DISK_FULL; break;
    case SQLITE_ERROR: /* tables that are not ours */
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH: code = GS_E_STAGING_DAMAGED; break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: code = GS_E_LOCKED; break;
    case SQLITE_NOMEM: code = GS_E_NOMEM; break;
    case SQLITE_IOERR:
        if (e == ENOSPC || e == EDQUOT || e == EFBIG || (rc == SQLITE_IOERR_WRITE && files_are_limited()))
            code = GS_E_DISK_FULL;
        break;
    default: break;
    }
    return gs_fail(err, code, "'%s': %s: %s", d->path, what, sqlite3_errmsg(d->db));
}

sqlite3_stmt *stg_stmt(struct stg_db *d, enum stg_query q, struct gs_err *err)
{
    if (!d->stmt[q] && sqlite3_prepare_v3(d->db, queries[q], -1, SQLITE_PREPARE_PERSISTENT, &d->stmt[q], NULL)) {
        stg_db_fail(d, "reading the tables", err);
        return NULL;
    }
    sqlite3_reset(d->stmt[q]);
    return d->stmt[q];
}

void stg_bind_text(sqlite3_stmt *st, int i, const char *v)
{
    if (v)
        sqlite3_bind_text(st, i, v, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, i);
}

int stg_run(struct stg_db *d, sqlite3_stmt *st, const char *what, struct gs_err *err)
{
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : stg_db_fail(d, what, err);
    sqlite3_reset(st);
    return r;
}

int stg_simple(struct stg_db *d, enum stg_query q, const char *what, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, q, err);
    return st ? stg_run(d, st, what, err) : -1;
}

int stg_column_text(sqlite3_stmt *st, int i, char **out, struct gs_err *err)
{
    const char *t = (const char *)sqlite3_column_text(st, i);
    *out = t ? strdup(t) : NULL;
    return t && !*out ? gs_fail(err, GS_E_NOMEM, "no memory for a row of the staging database") : 0;
}

int stg_meta_get(struct stg_db *d, const char *key, char **out, struct gs_err *err)
{
    *out = NULL;
    sqlite3_stmt *st = stg_stmt(d, STG_Q_META_GET, err);
    if (!st)
        return -1;
    stg_bind_text(st, 1, key);
    int rc = sqlite3_step(st);
    int r = rc == SQLITE_ROW ? stg_column_text(st, 0, out, err) : rc == SQLITE_DONE ? 0 : stg_db_fail(d, "reading", err);
    sqlite3_reset(st);
    return r;
}

int stg_meta_i64(struct stg_db *d, const char *key, int64_t *out, struct gs_err *err)
{
    gs_autofree char *text = NULL;
    *out = 0;
    if (stg_meta_get(d, key, &text, err))
        return -1;
    if (text)
        *out = strtoll(text, NULL, 10);
    return 0;
}

int stg_number(struct stg_db *d, const char *sql, int64_t *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(d->db, sql, -1, &st, NULL))
        return stg_db_fail(d, "reading", err);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : stg_db_fail(d, "reading", err);
    sqlite3_finalize(st);
    return r;
}

static int exec(struct stg_db *d, const char *sql, const char *what, struct gs_err *err)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL) ? stg_db_fail(d, what, err) : 0;
}

/* ---- opening ---- */

static int open_file(struct stg_db *d, const char *path, int flags, struct gs_err *err)
{
    *d = (struct stg_db){.path = strdup(path)};
    if (!d->path)
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging database");
    if (sqlite3_open_v2(path, &d->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL)) {
        int r = d->db ? stg_db_fail(d, "opening", err) : gs_fail(err, GS_E_NOMEM, "no memory for the staging database");
        return r;
    }
    sqlite3_busy_timeout(d->db, 60000);
    return 0;
}

int stg_db_open(struct stg_db *d, const char *path, enum stg_mode mode, struct gs_err *err)
{
    int64_t app, version;
    if (open_file(d, path, mode == STG_READ ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE, err) ||
        stg_number(d, "PRAGMA application_id", &app, err) || stg_number(d, "PRAGMA user_version", &version, err))
        return -1;
    if (app != APPLICATION_ID)
        return gs_fail(err, GS_E_STAGING_DAMAGED, "'%s' is no database of a capture", path);
    if (version > SCHEMA_VERSION)
        return gs_fail(err, GS_E_STAGING_NEWER, "'%s' has version %lld, this program knows %d", path, (long long)version,
                       SCHEMA_VERSION);
    if (mode == STG_READ)
        return exec(d, "PRAGMA cache_size=-1024", "opening", err);
    /* the checkpoints, which sync, are the syncing thread's */
    return exec(d, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-2048", "opening", err);
}

int stg_db_create(const char *path, struct gs_err *err)
{
    struct stg_db d;
    char sql[128];
    gs_autofree char *tmp = gs_asprintf("%s.new", path);
    if (!tmp)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    unlink(tmp); /* of a run that was killed; the lock is ours */
    /* made by us with tight rights first: it holds what the bundle withholds */
    gs_autofd int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "creating '%s'", path);
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT; PRAGMA journal_mode=WAL",
             APPLICATION_ID, SCHEMA_VERSION);
    int r = open_file(&d, tmp, SQLITE_OPEN_READWRITE, err) || exec(&d, "PRAGMA synchronous=OFF; BEGIN", "creating", err) ||
            exec(&d, schema, "creating", err) || exec(&d, sql, "creating", err);
    stg_db_close(&d);
    if (r == 0 && fsync(fd))
        r = gs_fail_sys(err, GS_E_IO, errno, "syncing '%s'", path);
    if (r == 0 && rename(tmp, path))
        r = gs_fail_sys(err, GS_E_IO, errno, "creating '%s'", path);
    if (r)
        unlink(tmp);
    return r ? -1 : gs_sync_parent(path, err);
}

void stg_db_close(struct stg_db *d)
{
    for (int i = 0; i < STG_Q_COUNT; i++)
        sqlite3_finalize(d->stmt[i]);
    sqlite3_close(d->db);
    ZSTD_freeCCtx(d->pack);
    ZSTD_freeDCtx(d->unpack);
    free(d->path);
    *d = (struct stg_db){0};
}

/* ---- answers ---- */

void stg_answer_sum(const struct gl_response *rsp, uint8_t out[STG_SUM_LEN])
{
    crypto_generichash_state h;
    int64_t numbers[] = {rsp->status, rsp->total, rsp->total_pages, rsp->next_page, rsp->date_ms, rsp->tries,
                         rsp->waited_ms, rsp->link != NULL, (int64_t)rsp->body.len};
    const char *texts[] = {rsp->content_type, rsp->request_id, rsp->link ? rsp->link : ""};
    crypto_generichash_init(&h, NULL, 0, STG_SUM_LEN);
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof numbers);
    for (size_t i = 0; i < GS_COUNT(texts); i++)
        crypto_generichash_update(&h, (const unsigned char *)texts[i], strlen(texts[i]) + 1);
    crypto_generichash_update(&h, (const unsigned char *)gs_buf_str(&rsp->body), rsp->body.len);
    crypto_generichash_final(&h, out, STG_SUM_LEN);
}

/* The body as it is stored: compressed when that makes it smaller, else *out NULL. */
static int pack(struct stg_db *d, const struct gs_buf *body, char **out, size_t *out_len, struct gs_err *err)
{
    *out = NULL;
    if (body->len < PACK_FROM)
        return 0;
    size_t bound = ZSTD_compressBound(body->len);
    char *p = malloc(bound);
    if (!d->pack)
        d->pack = ZSTD_createCCtx();
    if (!p || !d->pack) {
        free(p);
        return gs_fail(err, GS_E_NOMEM, "no memory for an answer");
    }
    size_t n = ZSTD_compressCCtx(d->pack, p, bound, body->data, body->len, 1);
    if (ZSTD_isError(n) || n >= body->len) {
        free(p);
        return 0;
    }
    *out = p;
    *out_len = n;
    return 0;
}

int stg_answer_write(struct stg_db *d, const struct stg_answer *a, int64_t run, struct gs_err *err)
{
    const struct gl_response *r = &a->rsp;
    gs_autofree char *packed = NULL;
    size_t len = 0;
    uint8_t sum[STG_SUM_LEN];
    sqlite3_stmt *st = stg_stmt(d, STG_Q_KEEP, err);
    if (!st || pack(d, &r->body, &packed, &len, err))
        return -1;
    stg_answer_sum(r, sum);
    sqlite3_bind_blob(st, 1, a->key, STG_KEY_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, 2, run);
    sqlite3_bind_int64(st, 3, a->tag.group);
    stg_bind_text(st, 4, a->tag.relation ? a->tag.relation : "");
    sqlite3_bind_int(st, 5, r->status);
    stg_bind_text(st, 6, r->content_type);
    stg_bind_text(st, 7, r->link);
    sqlite3_bind_int64(st, 8, r->total);
    sqlite3_bind_int64(st, 9, r->total_pages);
    sqlite3_bind_int64(st, 10, r->next_page);
    stg_bind_text(st, 11, r->request_id);
    sqlite3_bind_int64(st, 12, r->date_ms);
    sqlite3_bind_int64(st, 13, r->tries);
    sqlite3_bind_int64(st, 14, r->waited_ms);
    sqlite3_bind_int64(st, 15, (sqlite3_int64)r->body.len);
    sqlite3_bind_int(st, 16, packed != NULL);
    sqlite3_bind_blob(st, 17, sum, sizeof sum, SQLITE_STATIC);
    sqlite3_bind_blob64(st, 18, packed ? packed : gs_buf_str(&r->body), packed ? len : r->body.len, SQLITE_STATIC);
    int ret = stg_run(d, st, "keeping an answer", err);
    sqlite3_clear_bindings(st); /* they point into memory that goes away */
    return ret;
}

static int damaged(const struct stg_db *d, const char *what, struct gs_err *err)
{
    return gs_fail(err, GS_E_STAGING_DAMAGED, "'%s': %s", d->path, what);
}

static int unpack(struct stg_db *d, sqlite3_stmt *st, struct gs_buf *out, struct gs_err *err)
{
    int64_t bytes = sqlite3_column_int64(st, 10);
    const void *p = sqlite3_column_blob(st, 13);
    size_t n = (size_t)sqlite3_column_bytes(st, 13);
    if (bytes < 0 || bytes > BODY_MAX)
        return damaged(d, "a kept answer has an impossible length", err);
    gs_buf_init(out, (size_t)bytes + 1);
    if (!sqlite3_column_int(st, 11))
        return (int64_t)n == bytes ? gs_buf_add(out, p ? p : "", n, err) : damaged(d, "a kept answer is cut off", err);
    if (gs_buf_reserve(out, (size_t)bytes, err))
        return -1;
    if (!d->unpack && !(d->unpack = ZSTD_createDCtx()))
        return gs_fail(err, GS_E_NOMEM, "no memory for an answer");
    size_t got = ZSTD_decompressDCtx(d->unpack, out->data, (size_t)bytes, p, n);
    if (ZSTD_isError(got) || (int64_t)got != bytes)
        return damaged(d, "a kept answer cannot be unpacked", err);
    out->len = got;
    out->data[got] = 0;
    return 0;
}

static int read_row(struct stg_db *d, sqlite3_stmt *st, struct gl_response *out, struct gs_err *err)
{
    const char *type = (const char *)sqlite3_column_text(st, 1), *id = (const char *)sqlite3_column_text(st, 6);
    uint8_t sum[STG_SUM_LEN];
    out->status = sqlite3_column_int(st, 0);
    snprintf(out->content_type, sizeof out->content_type, "%s", type ? type : "");
    snprintf(out->request_id, sizeof out->request_id, "%s", id ? id : "");
    out->total = sqlite3_column_int64(st, 3);
    out->total_pages = sqlite3_column_int64(st, 4);
    out->next_page = sqlite3_column_int64(st, 5);
    out->date_ms = sqlite3_column_int64(st, 7);
    out->tries = (unsigned)sqlite3_column_int64(st, 8);
    out->waited_ms = sqlite3_column_int64(st, 9);
    if (stg_column_text(st, 2, &out->link, err) || unpack(d, st, &out->body, err))
        return -1;
    stg_answer_sum(out, sum);
    const void *want = sqlite3_column_blob(st, 12);
    if (sqlite3_column_bytes(st, 12) != STG_SUM_LEN || memcmp(want, sum, sizeof sum) != 0)
        return damaged(d, "a kept answer is not as it was stored", err);
    return 0;
}

int stg_answer_read(struct stg_db *d, const uint8_t key[STG_KEY_LEN], struct gl_response *out, bool *out_found,
                    struct gs_err *err)
{
    *out_found = false;
    sqlite3_stmt *st = stg_stmt(d, STG_Q_FIND, err);
    if (!st)
        return -1;
    sqlite3_bind_blob(st, 1, key, STG_KEY_LEN, SQLITE_STATIC);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW)
        r = read_row(d, st, out, err);
    else if (rc != SQLITE_DONE)
        r = stg_db_fail(d, "looking for an answer", err);
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    *out_found = rc == SQLITE_ROW && r == 0;
    return r;
}
