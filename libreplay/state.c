#include "libreplay/state_priv.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x67737230 /* "gsr0" */
#define SCHEMA_VERSION 6

/* What was asked last before an op failed, and how its object looked when this load had made it (print.h). */
#define OP_SINCE_3 "request TEXT, print INTEGER NOT NULL DEFAULT 0"

/*
 * What a run would otherwise have to count at its start, kept by the database itself, so that nobody who changes the
 * state of an op can forget it. tally: how many ops there are (state -1) and have ended as 2, 3, 4; lane.open: how many
 * of a lane have not. newest: the op of each kind that was done last. filler: objects made to use up a number, to be
 * deleted again; target_id 0 until the answer came.
 */
#define BOOKS                                                                                                          \
    "CREATE TABLE tally(state INTEGER PRIMARY KEY, n INTEGER NOT NULL);"                                               \
    "INSERT INTO tally VALUES(-1, 0), (2, 0), (3, 0), (4, 0);"                                                         \
    "CREATE TRIGGER op_added AFTER INSERT ON op BEGIN"                                                                 \
    " UPDATE tally SET n = n + 1 WHERE state = -1; END;"                                                               \
    "CREATE TRIGGER op_ended AFTER UPDATE OF state ON op WHEN old.state <> new.state AND (old.state > 1 OR new.state " \
    "> 1)"                                                                                                             \
    " BEGIN UPDATE tally SET n = n - 1 WHERE state = old.state AND state > 1;"                                         \
    " UPDATE tally SET n = n + 1 WHERE state = new.state AND state > 1;"                                               \
    " UPDATE lane SET open = open + (new.state < 2) - (old.state < 2) WHERE id = new.lane; END;"                       \
    "CREATE TABLE newest(kind TEXT PRIMARY KEY, op INTEGER NOT NULL) WITHOUT ROWID;"                                   \
    "CREATE TABLE filler(lane INTEGER NOT NULL, number INTEGER NOT NULL, target_id INTEGER NOT NULL DEFAULT 0,"        \
    " PRIMARY KEY(lane, number)) WITHOUT ROWID;"

/*
 * What people decided. decision: an op that is left out on purpose. undo: an object that this load made, and what
 * became of it when the load was taken back (undo.h).
 */
#define DECISIONS                                                                                                      \
    "TABLE decision(op INTEGER PRIMARY KEY, reason TEXT NOT NULL, user TEXT NOT NULL, at_ms INTEGER NOT NULL,"         \
    " because INTEGER NOT NULL DEFAULT 0);"
#define UNDONE                                                                                                         \
    "TABLE undo(op INTEGER PRIMARY KEY, grp INTEGER NOT NULL, kind TEXT NOT NULL, target_id INTEGER NOT NULL,"         \
    " state INTEGER NOT NULL DEFAULT 0, code TEXT, text TEXT, http INTEGER NOT NULL DEFAULT 0, request TEXT,"          \
    " request_id TEXT, at_ms INTEGER NOT NULL DEFAULT 0);"

/* By what the server finds an object of an op where it is not by its id, nor by what its record says. */
#define ADDRESSES "TABLE IF NOT EXISTS address(op INTEGER PRIMARY KEY, text TEXT NOT NULL);"

#define LOSS_OF_OP "CREATE INDEX loss_op ON loss(op) WHERE op > 0;"

/* upgrades[v]: from version v to v + 1, in one transaction with the new version number. */
static const char *const upgrades[SCHEMA_VERSION] = {
    [1] = "ALTER TABLE lane ADD COLUMN open INTEGER NOT NULL DEFAULT 0;"
          "ALTER TABLE lane ADD COLUMN counter INTEGER NOT NULL DEFAULT 0;" BOOKS
          "UPDATE lane SET open = (SELECT count(*) FROM op WHERE op.lane = lane.id AND state < 2);"
          "UPDATE tally SET n = (SELECT count(*) FROM op WHERE tally.state = -1 OR op.state = tally.state)",
    [2] = "ALTER TABLE op ADD COLUMN request TEXT; ALTER TABLE op ADD COLUMN print INTEGER NOT NULL DEFAULT 0",
    [3] = "CREATE " DECISIONS "CREATE " UNDONE,
    /* sent_at is the server's time from here on; what stands there is that of the machine which ran the load */
    [4] = LOSS_OF_OP "UPDATE op SET sent_at = NULL",
    [5] = "CREATE " ADDRESSES,
};
/* A reader changes nothing in the file: what it misses in an older version it gets beside it. */
static const char *const reader_upgrades[SCHEMA_VERSION] = {
    [1] = "CREATE TEMP TABLE tally(state INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
          "INSERT INTO temp.tally SELECT state, count(*) FROM op WHERE state > 1 GROUP BY state;"
          "INSERT INTO temp.tally SELECT -1, count(*) FROM op",
    [2] = "CREATE TEMP VIEW op AS SELECT *, NULL AS request, 0 AS print FROM main.op",
    [3] = "CREATE TEMP " DECISIONS "CREATE TEMP " UNDONE,
    [4] = "",
    [5] = "CREATE TEMP " ADDRESSES,
};

static const char schema[] =
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE grp(id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, depth INTEGER NOT NULL, src_path TEXT NOT NULL,"
    " dst_path TEXT NOT NULL, name TEXT NOT NULL, visibility TEXT NOT NULL, dst_parent INTEGER NOT NULL,"
    " target_id INTEGER NOT NULL DEFAULT 0, web_url TEXT, existed INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE lane(id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, phase INTEGER NOT NULL, ordered INTEGER NOT NULL,"
    " name TEXT NOT NULL, watermark INTEGER NOT NULL DEFAULT -1, last_pos INTEGER NOT NULL DEFAULT 0,"
    " open INTEGER NOT NULL DEFAULT 0, counter INTEGER NOT NULL DEFAULT 0);"
    "CREATE UNIQUE INDEX lane_name ON lane(grp, phase, name);"
    "CREATE TABLE lane_need(lane INTEGER NOT NULL, needs INTEGER NOT NULL, PRIMARY KEY(lane, needs)) WITHOUT ROWID;"
    "CREATE TABLE op(id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, pos INTEGER NOT NULL, grp INTEGER NOT NULL,"
    " kind TEXT NOT NULL, key TEXT NOT NULL, src_id INTEGER NOT NULL DEFAULT 0, needs INTEGER NOT NULL DEFAULT 0,"
    " ref_member INTEGER NOT NULL DEFAULT -1, ref_off INTEGER NOT NULL DEFAULT 0, ref_len INTEGER NOT NULL DEFAULT 0,"
    " arg TEXT, state INTEGER NOT NULL DEFAULT 0, target_id INTEGER NOT NULL DEFAULT 0,"
    " tries INTEGER NOT NULL DEFAULT 0, http INTEGER NOT NULL DEFAULT 0, code TEXT, text TEXT, request_id TEXT,"
    " adopted INTEGER NOT NULL DEFAULT 0, found INTEGER NOT NULL DEFAULT 0, sent_at INTEGER, ended_at "
    "INTEGER, " OP_SINCE_3 ");"
    /* what is still to do, lane by lane: an entry leaves the index when its op ends */
    "CREATE INDEX op_open ON op(lane, pos) WHERE state < 2;"
    "CREATE INDEX op_key ON op(grp, kind, key);"
    "CREATE INDEX op_bad ON op(state) WHERE state > 2;"
    "CREATE TABLE loss(id INTEGER PRIMARY KEY, op INTEGER NOT NULL, grp INTEGER NOT NULL, relation TEXT NOT NULL,"
    " key TEXT, code TEXT NOT NULL, count INTEGER NOT NULL, detail TEXT);"
    "CREATE TABLE user(src_id INTEGER PRIMARY KEY, username TEXT, public_email TEXT, target_id INTEGER NOT NULL,"
    " target_username TEXT, how TEXT NOT NULL);" BOOKS LOSS_OF_OP "CREATE " DECISIONS "CREATE " UNDONE "CREATE " ADDRESSES;

/* ---- SQLite ---- */

/* Is there no room for another file beside this one? */
static bool no_room(const char *path)
{
    gs_autofree char *probe = gs_asprintf("%s-probe", path);
    int fd = probe ? open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return errno == ENOSPC || errno == EDQUOT;
    close(fd);
    unlink(probe);
    return false;
}

int state_db_fail(struct state *s, const char *what, struct gs_err *err)
{
    int rc = sqlite3_extended_errcode(s->db);
    enum gs_code code = GS_E_IO;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        code = GS_E_DISK_FULL;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        code = GS_E_STATE_DAMAGED;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = GS_E_LOCKED;
        break;
    case SQLITE_NOMEM:
        code = GS_E_NOMEM;
        break;
    case SQLITE_CANTOPEN: /* a journal, for one: why it could not be made is not kept */
        code = no_room(s->path) ? GS_E_DISK_FULL : GS_E_IO;
        break;
    case SQLITE_IOERR: {
        int e = sqlite3_system_errno(s->db);
        code = e == ENOSPC || e == EDQUOT ? GS_E_DISK_FULL : GS_E_IO;
        break;
    }
    default:
        break;
    }
    return gs_fail(err, code, "state file '%s': %s: %s", s->path, what, sqlite3_errmsg(s->db));
}

int state_exec(struct state *s, const char *sql, const char *what, struct gs_err *err)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) ? state_db_fail(s, what, err) : 0;
}

static int query_int(struct state *s, const char *sql, int64_t *out, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL))
        return state_db_fail(s, "opening", err);
    int rc = sqlite3_step(st);
    *out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
    int r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : state_db_fail(s, "opening", err);
    sqlite3_finalize(st);
    return r;
}

/* ---- opening ---- */

/*
 * The lock is a file of its own beside the state, because SQLite's own locks come and go with its transactions. It is
 * removed by its holder; whoever locked a file that was removed meanwhile tries again on the new one.
 */
static int take_lock(struct state *s, struct gs_err *err)
{
    for (int i = 0; i < 100; i++) {
        gs_autofd int fd = open(s->lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return gs_fail_sys(err, GS_E_IO, errno, "creating '%s'", s->lock_path);
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            if (errno == EWOULDBLOCK)
                return gs_fail(err, GS_E_LOCKED, "state file '%s' is in use by another run", s->path);
            return gs_fail_sys(err, GS_E_IO, errno, "locking '%s'", s->lock_path);
        }
        struct stat a, b;
        if (fstat(fd, &a) == 0 && stat(s->lock_path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev) {
            s->lock_fd = gs_steal_fd(&fd);
            return 0;
        }
    }
    return gs_fail(err, GS_E_LOCKED, "state file '%s' is in use by another run", s->path);
}

static int open_file(struct state *s, const char *path, int flags, struct gs_err *err)
{
    if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL)) {
        if (!s->db)
            return gs_fail(err, GS_E_NOMEM, "no memory for the state file");
        return state_db_fail(s, "opening", err);
    }
    sqlite3_busy_timeout(s->db, 5000);
    return 0;
}

/* Brings an older file to this version: all of it or nothing. */
static int upgrade(struct state *s, int64_t version, bool reader, struct gs_err *err)
{
    if (version < 1)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' has no version", s->path);
    if (version == SCHEMA_VERSION)
        return 0;
    char sql[96];
    if (!reader && state_exec(s, "BEGIN IMMEDIATE", "upgrading", err))
        return -1;
    for (; version < SCHEMA_VERSION; version++)
        if (state_exec(s, reader ? reader_upgrades[version] : upgrades[version], "upgrading", err))
            return -1; /* what was begun ends with the connection */
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d; COMMIT", SCHEMA_VERSION);
    return reader ? 0 : state_exec(s, sql, "upgrading", err);
}

/*
 * A run that was killed may have left a commit half done, which somebody has to roll back before anything can be read;
 * one who only reads may not. Then the file is opened for writing for that alone: it is not touched while somebody
 * works with it.
 */
static int open_reader(struct state *s, struct gs_err *err)
{
    int64_t ignored;
    if (open_file(s, s->path, SQLITE_OPEN_READONLY, err))
        return -1;
    if (query_int(s, "PRAGMA application_id", &ignored, err) == 0)
        return 0;
    int rc = sqlite3_errcode(s->db) & 0xff;
    if (rc != SQLITE_READONLY && rc != SQLITE_CANTOPEN)
        return -1;
    sqlite3_close(s->db);
    s->db = NULL;
    gs_err_clear(err);
    return open_file(s, s->path, SQLITE_OPEN_READWRITE, err) || query_int(s, "PRAGMA application_id", &ignored, err)
               ? -1
               : 0;
}

static int open_db(struct state *s, enum state_mode mode, struct gs_err *err)
{
    if (mode == STATE_READ ? open_reader(s, err) : open_file(s, s->path, SQLITE_OPEN_READWRITE, err))
        return -1;
    int64_t app, version;
    if (query_int(s, "PRAGMA application_id", &app, err) || query_int(s, "PRAGMA user_version", &version, err))
        return -1;
    if (app != APPLICATION_ID)
        return gs_fail(err, GS_E_STATE_DAMAGED, "'%s' is not a state file of replay", s->path);
    if (version > SCHEMA_VERSION)
        return gs_fail(err, GS_E_STATE_NEWER, "state file '%s' has version %lld, this program knows %d", s->path,
                       (long long)version, SCHEMA_VERSION);
    if (mode == STATE_READ)
        return upgrade(s, version, true, err);
    return state_exec(s, "PRAGMA synchronous=FULL; PRAGMA cache_size=-8192", "opening", err)
               ? -1
               : upgrade(s, version, false, err);
}

/* The tables in a file that no other name knows yet. */
static int fill_new(struct state *s, const char *tmp, struct gs_err *err)
{
    char sql[128];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", APPLICATION_ID,
             SCHEMA_VERSION);
    int r = open_file(s, tmp, SQLITE_OPEN_READWRITE, err) ||
            state_exec(s, "PRAGMA page_size=4096; BEGIN IMMEDIATE", "creating", err) ||
            state_exec(s, schema, "creating", err) || state_exec(s, sql, "creating", err);
    sqlite3_close(s->db);
    s->db = NULL;
    return r ? -1 : 0;
}

/* A state file appears whole or not at all: whoever is killed in between leaves nothing that looks like one. */
static int create_db(struct state *s, struct gs_err *err)
{
    gs_autofree char *tmp = gs_asprintf("%s.new", s->path);
    if (!tmp)
        return gs_fail(err, GS_E_NOMEM, "no memory for the state file");
    unlink(tmp); /* left by a run that was killed; the lock is ours */
    /* made by us with tight rights first: it names people and paths */
    gs_autofd int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "creating state file '%s'", s->path);
    int r = fill_new(s, tmp, err);
    if (r == 0 && fsync(fd))
        r = gs_fail_sys(err, GS_E_IO, errno, "syncing state file '%s'", s->path);
    gs_fault("state.create.before");
    if (r == 0 && rename(tmp, s->path))
        r = gs_fail_sys(err, GS_E_IO, errno, "creating state file '%s'", s->path);
    if (r)
        unlink(tmp);
    gs_fault("state.create.after");
    return r ? r : gs_sync_parent(s->path, err);
}

int state_open(const char *path, enum state_mode mode, struct state **out, struct gs_err *err)
{
    struct stat st;
    if (mode != STATE_CREATE && stat(path, &st))
        return gs_fail_sys(err, errno == ENOENT || errno == ENOTDIR ? GS_E_NOT_FOUND : GS_E_IO, errno,
                           "opening state file '%s'", path);
    if (mode != STATE_CREATE && !S_ISREG(st.st_mode))
        return gs_fail(err, GS_E_IO, "state file '%s' is not a regular file", path);
    GS_AUTO(state) s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for the state file");
    s->lock_fd = -1;
    s->path = strdup(path);
    s->lock_path = gs_asprintf("%s.lock", path);
    if (!s->path || !s->lock_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for the state file");
    if (mode != STATE_READ && take_lock(s, err))
        return -1;
    if (mode == STATE_CREATE && lstat(path, &st) == 0) /* under the lock, so that nobody creates it meanwhile */
        return gs_fail(err, GS_E_EXISTS, "state file '%s' exists already", path);
    if (mode == STATE_CREATE && create_db(s, err))
        return -1;
    if (open_db(s, mode, err))
        return -1;
    *out = gs_steal(&s);
    return 0;
}

void state_close(struct state *s)
{
    if (!s)
        return;
    for (int i = 0; i < Q_COUNT; i++)
        sqlite3_finalize(s->stmt[i]);
    /* at rest it is one plain file, so that who only reads it leaves nothing beside it; a reader that is there now
     * prevents it */
    if (s->db && s->wal) {
        sqlite3_busy_timeout(s->db, 0);
        sqlite3_exec(s->db, "PRAGMA journal_mode=DELETE", NULL, NULL, NULL);
    }
    sqlite3_close(s->db);
    if (s->lock_fd >= 0) {
        unlink(s->lock_path);
        close(s->lock_fd);
    }
    free(s->lock_path);
    free(s->path);
    free(s);
}

const char *state_path(const struct state *s)
{
    return s->path;
}

struct sqlite3 *state_db(struct state *s)
{
    return s->db;
}

/* ---- transactions ---- */

int state_begin(struct state *s, struct gs_err *err)
{
    if (s->in_transaction)
        return gs_fail(err, GS_E_INTERNAL, "a transaction on the state file is open already");
    if (!s->wal && state_exec(s, "PRAGMA journal_mode=WAL", "opening", err))
        return -1;
    s->wal = true;
    sqlite3_stmt *st = state_stmt(s, Q_BEGIN, err);
    if (!st || state_run_stmt(s, st, "beginning a commit", err))
        return -1;
    s->in_transaction = true;
    return 0;
}

int state_commit(struct state *s, struct gs_err *err)
{
    gs_fault("state.commit.before");
    sqlite3_stmt *st = state_stmt(s, Q_COMMIT, err);
    if (!st || state_run_stmt(s, st, "committing", err)) {
        state_rollback(s);
        return -1;
    }
    s->in_transaction = false;
    s->commits++;
    gs_fault("state.commit.after");
    return 0;
}

void state_rollback(struct state *s)
{
    if (!sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s->in_transaction = false;
}

uint64_t state_commits(const struct state *s)
{
    return s->commits;
}
