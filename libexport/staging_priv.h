/*
 * staging_priv: what the files of the staging store share. staging_db.c knows the tables, staging_writer.c is the thread that
 * writes, staging.c the store of answers, staging_file.c downloads, staging_status.c what `snap status` reads.
 *
 * Three connections to one database (WAL): the writer's, the reader's of the calling thread, and one that syncs.
 */
#ifndef EXPORT_STAGING_PRIV_H
#define EXPORT_STAGING_PRIV_H

#include "libexport/staging.h"

#include <sqlite3.h>

#define STG_KEY_LEN 16 /* BLAKE2b of the request */
#define STG_SUM_LEN 16 /* BLAKE2b of the answer */
#define STG_DB "staging.db"
#define STG_LOCK "lock"
#define STG_FILES "files"
#define STG_PACK "pack"

/* ---- the database ---- */

enum stg_query {
    STG_Q_META_SET, STG_Q_META_GET, STG_Q_FIND, STG_Q_KEEP, STG_Q_FORGET, STG_Q_FORGET_FILES, STG_Q_FORGET_EXPORT,
    STG_Q_FORGET_REFUSED, STG_Q_FORGET_ROLE,
    STG_Q_LIST_FILES, STG_Q_EXPORT_GET, STG_Q_EXPORT_SET, STG_Q_EXPORT_DROP, STG_Q_FILE_GET, STG_Q_FILE_SET,
    STG_Q_FILE_DROP, STG_Q_RUN_BEGIN, STG_Q_RUN_END, STG_Q_RUN_ACTIVE, STG_Q_BEGIN, STG_Q_COMMIT, STG_Q_ROLLBACK,
    STG_Q_COUNT
};

struct stg_db {
    char *path;
    sqlite3 *db;
    struct ZSTD_CCtx_s *pack; /* made when needed, and used again: setting one up costs more than most answers */
    struct ZSTD_DCtx_s *unpack;
    sqlite3_stmt *stmt[STG_Q_COUNT];
};

enum stg_mode { STG_READ, STG_WRITE };
/* Opens an existing database. GS_E_STAGING_DAMAGED, GS_E_STAGING_NEWER, GS_E_NOT_FOUND. */
int stg_db_open(struct stg_db *d, const char *path, enum stg_mode mode, struct gs_err *err) GS_MUST_USE;
/* Makes one that is not there, whole or not at all. */
int stg_db_create(const char *path, struct gs_err *err) GS_MUST_USE;
void stg_db_close(struct stg_db *d);
int stg_db_fail(const struct stg_db *d, const char *what, struct gs_err *err);
/* A prepared statement, reset; NULL with `err`. */
sqlite3_stmt *stg_stmt(struct stg_db *d, enum stg_query q, struct gs_err *err) GS_MUST_USE;
/* NULL binds as NULL; the text must live until the statement has run. */
void stg_bind_text(sqlite3_stmt *st, int i, const char *v);
/* Runs a statement that gives no rows. */
int stg_run(struct stg_db *d, sqlite3_stmt *st, const char *what, struct gs_err *err) GS_MUST_USE;
int stg_simple(struct stg_db *d, enum stg_query q, const char *what, struct gs_err *err) GS_MUST_USE;
int stg_meta_get(struct stg_db *d, const char *key, char **out, struct gs_err *err) GS_MUST_USE;
int stg_meta_i64(struct stg_db *d, const char *key, int64_t *out, struct gs_err *err) GS_MUST_USE;
/* First column of the first row of a query without parameters; 0 without a row. */
int stg_number(struct stg_db *d, const char *sql, int64_t *out, struct gs_err *err) GS_MUST_USE;
int stg_column_text(sqlite3_stmt *st, int i, char **out, struct gs_err *err) GS_MUST_USE;

/* ---- an answer as it is stored ---- */

struct stg_answer {
    uint8_t key[STG_KEY_LEN];
    struct gl_tag tag;
    struct gl_response rsp;
};

/* Over everything of the answer, so that a damaged one is noticed. */
void stg_answer_sum(const struct gl_response *rsp, uint8_t out[STG_SUM_LEN]);
int stg_answer_write(struct stg_db *d, const struct stg_answer *a, int64_t run, struct gs_err *err) GS_MUST_USE;
int stg_answer_read(struct stg_db *d, const uint8_t key[STG_KEY_LEN], struct gl_response *out, bool *out_found,
                    struct gs_err *err) GS_MUST_USE;

/* ---- the writer ---- */

/* Something to write. Strings and the body are owned by the job. */
struct stg_job {
    struct stg_job *next;
    size_t size; /* of memory */
    int (*apply)(struct stg_db *d, const struct stg_job *j, struct gs_err *err);
    struct stg_answer answer;
    int64_t run;
    struct staging_export export;
    char *name, *relation, *text;
    int64_t number;
    uint64_t records, bytes;
    uint8_t digest[STAGING_DIGEST_LEN];
    int fd; /* of a file to be synced first, or -1 */
};

struct stg_writer;

int stg_writer_new(const char *db_path, struct stg_writer **out, struct gs_err *err) GS_MUST_USE;
struct stg_job *stg_job_new(int (*apply)(struct stg_db *, const struct stg_job *, struct gs_err *));
void stg_job_free(struct stg_job *j);
/* Takes the job in any case. Waits while too much waits already. */
int stg_writer_post(struct stg_writer *w, struct stg_job *j, struct gs_err *err) GS_MUST_USE;
/* Waits until everything is stored. */
int stg_writer_drain(struct stg_writer *w, struct gs_err *err) GS_MUST_USE;
/* How many jobs are not stored yet. */
int stg_writer_unstored(struct stg_writer *w, unsigned *out, struct gs_err *err) GS_MUST_USE;
/* Who is woken when something was stored; NULL: nobody. */
void stg_writer_wakes(struct stg_writer *w, struct gl_client *client);
/* Writes what waits, and ends. NULL is fine. */
void stg_writer_free(struct stg_writer *w);

/* ---- the store ---- */

struct staging {
    char *dir, *pack, *files, *db_path;
    int lock_fd;
    struct gs_log log;
    struct stg_db read;
    struct stg_writer *writer;
    bool find_some; /* there was something to find when the pass began */
    bool begun;     /* by this run */
    int64_t started_ms, run;
    int64_t progress_ms; /* when it was noted last */
};

/* Removes the known content of a staging folder, and the folder if nothing else is in it. The lock file goes last. */
int stg_remove(const char *dir, bool keep_lock, struct gs_err *err) GS_MUST_USE;
/* The file of a download. */
char *stg_file_path(const struct staging *s, const char *name, const char *suffix);

#endif
