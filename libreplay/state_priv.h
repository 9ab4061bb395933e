/* state_priv: what state.c (the file: schema, opening, lock, transactions) and state_rows.c (what stands in it) share.
 */
#ifndef RP_STATE_PRIV_H
#define RP_STATE_PRIV_H

#include "libreplay/state.h"

#include <sqlite3.h>

enum query {
    Q_META_SET,
    Q_META_GET,
    Q_ADD_GRP,
    Q_GRP,
    Q_GRP_LOADED,
    Q_ADD_LANE,
    Q_LANE_NEED,
    Q_LANE_POS,
    Q_ADD_OP,
    Q_ADD_USER,
    Q_USER,
    Q_SOME_USER,
    Q_ADD_LOSS,
    Q_NEXT,
    Q_OP,
    Q_SENT,
    Q_UNSENT,
    Q_END,
    Q_WATERMARK,
    Q_FIND,
    Q_FIND_SRC,
    Q_TAKEN,
    Q_LANE_DONE,
    Q_LANE_LAST,
    Q_TARGET,
    Q_TALLY,
    Q_GRP_PATH,
    Q_COUNTER,
    Q_FILLER_SET,
    Q_FILLERS,
    Q_FILLER_AT,
    Q_FILLER_DEL,
    Q_NEWEST_SET,
    Q_FORGET_LOSSES,
    Q_ADDRESS_SET,
    Q_ADDRESS,
    Q_BEGIN,
    Q_COMMIT,
    Q_COUNT
};

struct state {
    sqlite3 *db;
    char *path;
    char *lock_path;
    int lock_fd;
    bool in_transaction;
    bool wal; /* switched on by the first transaction: who opens a state file and finds nothing to do leaves it as it is
               */
    uint64_t commits;
    sqlite3_stmt *stmt[Q_COUNT];
};

/* GS_E_DISK_FULL, GS_E_STATE_DAMAGED, GS_E_LOCKED, GS_E_NOMEM, GS_E_IO, by what SQLite says went wrong. */
int state_db_fail(struct state *s, const char *what, struct gs_err *err);
/* Statements with a text of their own, which give no rows. */
int state_exec(struct state *s, const char *sql, const char *what, struct gs_err *err) GS_MUST_USE;
/* A prepared statement, ready to be bound; NULL: failed. */
sqlite3_stmt *state_stmt(struct state *s, enum query q, struct gs_err *err);
/* Runs a statement that gives no rows (or whose single row was looked at before). */
int state_run_stmt(struct state *s, sqlite3_stmt *st, const char *what, struct gs_err *err) GS_MUST_USE;

#endif
