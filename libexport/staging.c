/* The store of answers: opening, comparing, finding, keeping, forgetting. */
#include "libexport/staging_priv.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"
#include "libcommon/io.h"
#include "libcommon/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PROGRESS_MS 1000

/* ---- the folder ---- */

static int remove_file(const char *dir, const char *name, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s/%s", dir, name);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (unlink(path) && errno != ENOENT)
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", path);
    return 0;
}

int stg_remove(const char *dir, bool keep_lock, struct gs_err *err)
{
    /*
     * The database goes last but for its log: while it is there it tells what became of the bundle. Not the log first, without which
     * a database of a killed run may be damaged.
     */
    static const char *const names[] = {STG_DB, STG_DB "-wal", STG_DB "-shm", STG_DB "-journal", STG_DB ".new"};
    static const char *const folders[] = {STG_FILES, STG_PACK};
    for (size_t i = 0; i < GS_COUNT(folders); i++) {
        gs_autofree char *path = gs_asprintf("%s/%s", dir, folders[i]);
        if (!path)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        if (gs_remove_tree(path, err))
            return -1;
    }
    for (size_t i = 0; i < GS_COUNT(names); i++)
        if (remove_file(dir, names[i], err))
            return -1;
    if (keep_lock)
        return 0;
    if (remove_file(dir, STG_LOCK, err))
        return -1;
    if (rmdir(dir) && errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", dir);
    return 0;
}

/*
 * The folder, made or found. It holds what a bundle withholds: nobody else may own it, look into it, or lead us elsewhere.
 */
static int own_folder(const char *dir, struct gs_err *err)
{
    struct stat st;
    if (mkdir(dir, 0700) == 0)
        return 0;
    if (errno != EEXIST)
        return gs_fail_sys(err, errno == ENOENT || errno == ENOTDIR ? GS_E_NOT_FOUND : GS_E_IO, errno, "creating '%s'", dir);
    gs_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* removed by whoever had it; the caller tries again */
    if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
        return gs_fail(err, GS_E_EXISTS, "'%s' is no folder of a capture", dir);
    if (fd < 0 || fstat(fd, &st))
        return gs_fail_sys(err, GS_E_IO, errno, "'%s'", dir);
    if (st.st_uid != geteuid())
        return gs_fail(err, GS_E_EXISTS, "'%s' belongs to another user", dir);
    if ((st.st_mode & 077) && fchmod(fd, 0700))
        return gs_fail_sys(err, GS_E_IO, errno, "closing '%s' to others", dir);
    return 0;
}

/*
 * A lock of the open file, not of flock(): `snap status` may ask who holds it without taking it. Whoever locked a file that its
 * former holder removed meanwhile tries again on the new one.
 */
static int take_lock(struct staging *s, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s/" STG_LOCK, s->dir);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    for (int i = 0; i < 100; i++) {
        struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        struct stat mine, there;
        if (own_folder(s->dir, err))
            return -1;
        gs_autofd int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return gs_fail_sys(err, GS_E_IO, errno, "'%s'", path);
        if (fcntl(fd, F_OFD_SETLK, &l))
            return errno == EAGAIN || errno == EACCES ? gs_fail(err, GS_E_LOCKED, "another run works in '%s'", s->dir)
                                                      : gs_fail_sys(err, GS_E_IO, errno, "locking '%s'", path);
        if (fstat(fd, &mine) == 0 && stat(path, &there) == 0 && mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
            s->lock_fd = gs_steal_fd(&fd);
            return 0;
        }
    }
    return gs_fail(err, GS_E_LOCKED, "other runs work in '%s'", s->dir);
}

static void staging_free(struct staging *s)
{
    stg_writer_free(s->writer);
    stg_db_close(&s->read); /* the last one writes the log back into the database */
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->dir);
    free(s->pack);
    free(s->files);
    free(s->db_path);
    free(s);
}

static int open_parts(struct staging *s, bool fresh, struct gs_err *err)
{
    struct stat st;
    if (take_lock(s, err) || (fresh && stg_remove(s->dir, true, err)) || gs_remove_tree(s->pack, err))
        return -1;
    if (lstat(s->db_path, &st) && errno == ENOENT) {
        /* a log without its database belongs to nothing, and would be read into the new one */
        if (stg_remove(s->dir, true, err) || stg_db_create(s->db_path, err))
            return -1;
    }
    if (lstat(s->db_path, &st))
        return gs_fail_sys(err, GS_E_IO, errno, "'%s'", s->db_path);
    if (!S_ISREG(st.st_mode))
        return gs_fail(err, GS_E_STAGING_DAMAGED, "'%s' is no regular file", s->db_path);
    /* the writer's connections first: a reader alone cannot mend what a killed run left */
    if (stg_writer_new(s->db_path, &s->writer, err) || stg_db_open(&s->read, s->db_path, STG_WRITE, err) ||
        stg_meta_i64(&s->read, "started_ms", &s->started_ms, err) ||
        stg_number(&s->read, "SELECT coalesce(max(n), 0) + 1 FROM run", &s->run, err))
        return -1;
    if (!s->started_ms)
        s->started_ms = gs_unix_ms();
    return 0;
}

int staging_open(const char *dir, const struct staging_opts *o, struct staging **out, struct gs_err *err)
{
    struct staging *s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    s->lock_fd = -1;
    if (o->log)
        s->log = *o->log;
    s->dir = strdup(dir);
    s->pack = gs_asprintf("%s/" STG_PACK, dir);
    s->files = gs_asprintf("%s/" STG_FILES, dir);
    s->db_path = gs_asprintf("%s/" STG_DB, dir);
    int r = s->dir && s->pack && s->files && s->db_path ? open_parts(s, o->fresh, err)
                                                        : gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (r) {
        staging_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

int staging_counts(struct staging *s, uint64_t *out_answers, uint64_t *out_files, struct gs_err *err)
{
    int64_t answers, files;
    if (stg_writer_drain(s->writer, err) || stg_number(&s->read, "SELECT count(*) FROM answer", &answers, err) ||
        stg_number(&s->read, "SELECT count(*) FROM file", &files, err))
        return -1;
    *out_answers = (uint64_t)answers;
    *out_files = (uint64_t)files;
    return 0;
}

static bool nothing_kept(struct staging *s)
{
    struct gs_err e = {0};
    int64_t n = 0;
    return stg_number(&s->read,
                      "SELECT EXISTS(SELECT 1 FROM answer) OR EXISTS(SELECT 1 FROM file) OR EXISTS(SELECT 1 FROM export)", &n,
                      &e) == 0 &&
           n == 0;
}

const char *staging_pack_dir(const struct staging *s)
{
    return s->pack;
}

int64_t staging_started_ms(const struct staging *s)
{
    return s->started_ms;
}

unsigned staging_run(const struct staging *s)
{
    return (unsigned)s->run;
}

/* ---- runs ---- */

static int apply_run(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_RUN_BEGIN, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, j->run);
    sqlite3_bind_int64(st, 2, j->number);
    return stg_run(d, st, "noting the run", err);
}

/* `name` and `text` are code and words of the end; NULL: just active. */
static int apply_end(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, j->name ? STG_Q_RUN_END : STG_Q_RUN_ACTIVE, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, j->run);
    sqlite3_bind_int64(st, 2, j->number);
    if (j->name) {
        stg_bind_text(st, 3, j->name);
        stg_bind_text(st, 4, j->text);
    }
    return stg_run(d, st, "noting the end of the run", err);
}

static int apply_meta(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_META_SET, err);
    if (!st)
        return -1;
    stg_bind_text(st, 1, j->name);
    stg_bind_text(st, 2, j->text);
    return stg_run(d, st, "noting what the capture is of", err);
}

static int post_meta(struct staging *s, const char *key, const char *value, struct gs_err *err)
{
    struct stg_job *j = stg_job_new(apply_meta);
    if (!j || !(j->name = strdup(key)) || !(j->text = strdup(value))) {
        stg_job_free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    }
    j->size += strlen(value);
    return stg_writer_post(s->writer, j, err);
}

static int post_run(struct staging *s, int (*apply)(struct stg_db *, const struct stg_job *, struct gs_err *),
                    const struct gs_err *why, struct gs_err *err)
{
    struct stg_job *j = stg_job_new(apply);
    if (!j || (why && (!(j->name = strdup(gs_code_name(why->code))) || !(j->text = strdup(why->text))))) {
        stg_job_free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    }
    j->run = s->run;
    j->number = gs_unix_ms();
    return stg_writer_post(s->writer, j, err);
}

void staging_close(struct staging *s, const struct gs_err *why, bool *out_kept)
{
    struct gs_err e = {0};
    if (out_kept)
        *out_kept = false;
    if (!s)
        return;
    stg_writer_wakes(s->writer, NULL);
    if (s->begun && why)
        GS_IGNORE(post_run(s, apply_end, why, &e), "status then knows no reason");
    GS_IGNORE(stg_writer_drain(s->writer, &e), "what could not be stored is asked for again");
    bool empty = nothing_kept(s);
    if (out_kept)
        *out_kept = !empty;
    gs_autofree char *dir = s->dir;
    s->dir = NULL;
    int lock = gs_steal_fd(&s->lock_fd); /* nobody else may come in before the folder is gone */
    staging_free(s);
    if (empty && dir)
        GS_IGNORE(stg_remove(dir, false, &e), "an empty folder stays, then");
    close(lock);
}

int staging_remove(struct staging *s, struct gs_err *err)
{
    gs_autofree char *dir = s->dir;
    s->dir = NULL;
    stg_writer_wakes(s->writer, NULL);
    int lock = gs_steal_fd(&s->lock_fd);
    /* a log that goes with its database need not be written into it */
    sqlite3_db_config(s->read.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    staging_free(s);
    int r = stg_remove(dir, false, err);
    close(lock);
    return r;
}

/* ---- what the capture is of ---- */

static int same_text(struct staging *s, const char *key, const char *now, const char *what, struct gs_err *err)
{
    gs_autofree char *then = NULL;
    if (stg_meta_get(&s->read, key, &then, err))
        return -1;
    if (then && strcmp(then, now) == 0)
        return 0;
    return gs_fail(err, GS_E_STAGING_OTHER, "'%s' belongs to a capture with another %s: '%s', not '%s'", s->dir, what,
                   then ? then : "", now);
}

static int note_identity(struct staging *s, const struct staging_identity *id, struct gs_err *err)
{
    char root[24], user[24], started[24];
    snprintf(root, sizeof root, "%" PRId64, id->root_id);
    snprintf(user, sizeof user, "%" PRId64, id->user_id);
    snprintf(started, sizeof started, "%" PRId64, s->started_ms);
    /* the writer may store the first ones and be killed: the URL, by which a later run sees that there is an identity, is the last */
    const char *rows[][2] = {{"root_id", root},          {"root_path", id->root_path}, {"user_id", user},
                             {"username", id->username}, {"version", id->version},     {"tool", GS_VERSION},
                             {"started_ms", started},    {"url", id->url}};
    for (size_t i = 0; i < GS_COUNT(rows); i++)
        if (post_meta(s, rows[i][0], rows[i][1], err))
            return -1;
    return 0;
}

/* The id decides who somebody is, the name is for people. */
static int compare(struct staging *s, const struct staging_identity *id, char **out_old_version, struct gs_err *err)
{
    int64_t user, root;
    gs_autofree char *name = NULL;
    gs_autofree char *path = NULL;
    gs_autofree char *version = NULL;
    if (same_text(s, "url", id->url, "source", err) || stg_meta_i64(&s->read, "user_id", &user, err) ||
        stg_meta_i64(&s->read, "root_id", &root, err) || stg_meta_get(&s->read, "username", &name, err) ||
        stg_meta_get(&s->read, "root_path", &path, err) || stg_meta_get(&s->read, "version", &version, err))
        return -1;
    if (user != id->user_id)
        return gs_fail(err, GS_E_STAGING_OTHER,
                       "'%s' belongs to a capture with the token of another user, who may see other things: '%s', not '%s'",
                       s->dir, name ? name : "", id->username);
    if (root != id->root_id)
        return gs_fail(err, GS_E_STAGING_OTHER, "'%s' belongs to a capture of another group: '%s', not '%s'", s->dir,
                       path ? path : "", id->root_path);
    if (same_text(s, "root_path", id->root_path, "path of the group, which was moved or renamed meanwhile", err))
        return -1;
    /* the first run's version stays noted: answers of both are in the bundle, whatever runs come after */
    if (version && strcmp(version, id->version) != 0)
        *out_old_version = gs_steal(&version);
    return 0;
}

static int apply_forget_refused(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    return stg_simple(d, STG_Q_FORGET_REFUSED, "forgetting refusals", err);
}

static int apply_forget_role(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    return stg_simple(d, STG_Q_FORGET_ROLE, "forgetting what another role was shown", err);
}

static int post_simple(struct staging *s, int (*apply)(struct stg_db *, const struct stg_job *, struct gs_err *), struct gs_err *err)
{
    struct stg_job *j = stg_job_new(apply);
    return j ? stg_writer_post(s->writer, j, err) : gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
}

int staging_role(struct staging *s, const char *role, struct gs_err *err)
{
    gs_autofree char *then = NULL;
    if (stg_writer_drain(s->writer, err) || stg_meta_get(&s->read, "role", &then, err))
        return -1;
    if (then && strcmp(then, role) == 0)
        return 0;
    if (then) {
        gs_logf(&s->log, GS_LOG_INFO, "the token's user was '%s' of the group before, and is '%s' now: what not everybody is shown is read again",
                then, role);
        if (post_simple(s, apply_forget_role, err))
            return -1;
    }
    return post_meta(s, "role", role, err) || stg_writer_drain(s->writer, err) ? -1 : 0;
}

static int say_found(struct staging *s, struct gs_err *err)
{
    uint64_t answers, files;
    char since[GS_TIME_LEN];
    if (staging_counts(s, &answers, &files, err))
        return -1;
    s->find_some = answers > 0;
    if (s->begun || answers + files == 0)
        return 0;
    gs_time_format(s->started_ms, since);
    gs_logf(&s->log, GS_LOG_INFO, "continuing: the capture begun at %s; kept are answers: %" PRIu64 ", downloaded files: %" PRIu64, since,
            answers, files);
    return 0;
}

int staging_begin(struct staging *s, const struct staging_identity *id, char **out_old_version, struct gs_err *err)
{
    gs_autofree char *url = NULL;
    *out_old_version = NULL;
    if (stg_writer_drain(s->writer, err) || stg_meta_get(&s->read, "url", &url, err))
        return -1;
    int r = url ? compare(s, id, out_old_version, err) : note_identity(s, id, err);
    if (r == 0 && url && !s->begun)
        r = post_simple(s, apply_forget_refused, err);
    if (r == 0 && !s->begun)
        r = post_run(s, apply_run, NULL, err);
    if (r == 0 && url) /* else nothing can have been kept, and nothing need be waited for */
        r = say_found(s, err);
    if (r) {
        free(*out_old_version);
        *out_old_version = NULL;
        return -1;
    }
    s->begun = true;
    return 0;
}

/* ---- the end ---- */

/* What was stored survives a loss of power from here on, not only the end of the process. */
static int sync_log(const struct staging *s, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s-wal", s->db_path);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    gs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* all of it is in the database, synced */
    gs_fault("staging.note.before");
    if (fd < 0 || fsync(fd))
        return gs_fail_sys(err, GS_E_IO, errno, "syncing '%s'", path);
    if (gs_sync_parent(path, err))
        return -1;
    gs_fault("staging.note.after");
    return 0;
}

int staging_note_bundle(struct staging *s, const char *set_id, int exit_code, struct gs_err *err)
{
    char code[16];
    snprintf(code, sizeof code, "%d", exit_code);
    return post_meta(s, "bundle_exit", code, err) || post_meta(s, "bundle_set_id", set_id, err) ||
                   stg_writer_drain(s->writer, err) || sync_log(s, err)
               ? -1
               : 0;
}

int staging_noted_bundle(struct staging *s, char **out_set_id, char **out_url, char **out_root_path, int64_t *out_root_id,
                         int *out_exit_code, struct gs_err *err)
{
    int64_t code = 0;
    *out_set_id = *out_url = *out_root_path = NULL;
    if (stg_meta_get(&s->read, "bundle_set_id", out_set_id, err) || stg_meta_get(&s->read, "url", out_url, err) ||
        stg_meta_get(&s->read, "root_path", out_root_path, err) || stg_meta_i64(&s->read, "root_id", out_root_id, err) ||
        stg_meta_i64(&s->read, "bundle_exit", &code, err)) {
        free(*out_set_id);
        free(*out_url);
        free(*out_root_path);
        return -1;
    }
    *out_exit_code = (int)code;
    return 0;
}

/* ---- answers ---- */

static void request_key(const struct gl_request *r, uint8_t out[STG_KEY_LEN])
{
    crypto_generichash_state h;
    char head[64];
    const char *sudo = r->sudo ? r->sudo : "";
    crypto_generichash_init(&h, NULL, 0, STG_KEY_LEN);
    int n = snprintf(head, sizeof head, "%s %d ", gl_method_name(r->method), r->graphql);
    crypto_generichash_update(&h, (const unsigned char *)head, (size_t)n);
    crypto_generichash_update(&h, (const unsigned char *)r->path, strlen(r->path) + 1);
    crypto_generichash_update(&h, (const unsigned char *)sudo, strlen(sudo) + 1);
    if (r->body)
        crypto_generichash_update(&h, (const unsigned char *)r->body, r->body_len);
    crypto_generichash_final(&h, out, STG_KEY_LEN);
}

static int find(void *cookie, const struct gl_request *req, struct gl_response *out, bool *out_found, struct gs_err *err)
{
    struct staging *s = cookie;
    uint8_t key[STG_KEY_LEN];
    *out_found = false;
    if (!s->find_some)
        return 0;
    request_key(req, key);
    return stg_answer_read(&s->read, key, out, out_found, err);
}

static int apply_answer(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    return stg_answer_write(d, &j->answer, j->run, err);
}

static int keep(void *cookie, const struct gl_request *req, const struct gl_response *rsp, struct gs_err *err)
{
    struct staging *s = cookie;
    struct stg_job *j = stg_job_new(apply_answer);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for an answer");
    struct stg_answer *a = &j->answer;
    request_key(req, a->key);
    a->rsp = *rsp;
    a->rsp.link = rsp->link ? strdup(rsp->link) : NULL;
    gs_buf_init(&a->rsp.body, rsp->body.len + 1);
    j->run = s->run;
    j->size += rsp->body.len;
    a->tag.group = req->tag.group;
    if (req->tag.relation) {
        j->relation = strdup(req->tag.relation);
        a->tag.relation = j->relation;
    }
    if ((rsp->link && !a->rsp.link) || (req->tag.relation && !j->relation) ||
        gs_buf_add(&a->rsp.body, gs_buf_str(&rsp->body), rsp->body.len, err)) {
        stg_job_free(j);
        return err->code ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for an answer");
    }
    return stg_writer_post(s->writer, j, err);
}

static int unstored(void *cookie, unsigned *out, struct gs_err *err)
{
    struct staging *s = cookie;
    return stg_writer_unstored(s->writer, out, err);
}

struct gl_keep staging_keep(struct staging *s, struct gl_client *client)
{
    stg_writer_wakes(s->writer, client);
    return (struct gl_keep){.cookie = s, .find = find, .keep = keep, .unstored = unstored};
}

/* ---- forgetting ---- */

static int apply_forget(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    static const enum stg_query all[] = {STG_Q_FORGET, STG_Q_FORGET_FILES, STG_Q_FORGET_EXPORT};
    /* the group's export is of all its relations: whatever is asked for again, it is too old */
    for (size_t i = 0; i < GS_COUNT(all); i++) {
        sqlite3_stmt *st = stg_stmt(d, all[i], err);
        if (!st)
            return -1;
        sqlite3_bind_int64(st, 1, j->number);
        if (all[i] != STG_Q_FORGET_EXPORT)
            stg_bind_text(st, 2, j->relation);
        if (stg_run(d, st, "forgetting", err))
            return -1;
    }
    return 0;
}

/* Files whose rows are about to go. */
static int unlink_files(struct staging *s, int64_t group, const char *relation, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(&s->read, STG_Q_LIST_FILES, err);
    int rc;
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, group);
    stg_bind_text(st, 2, relation);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        gs_autofree char *path = stg_file_path(s, (const char *)sqlite3_column_text(st, 0), "");
        if (path)
            unlink(path);
    }
    int r = rc == SQLITE_DONE ? 0 : stg_db_fail(&s->read, "forgetting", err);
    sqlite3_reset(st);
    return r;
}

int staging_forget(struct staging *s, int64_t group, const char *relation, uint64_t *out_n, struct gs_err *err)
{
    uint64_t a = 0, f = 0, a2 = 0, f2 = 0;
    struct stg_job *j = stg_job_new(apply_forget);
    if (!j || (relation && !(j->relation = strdup(relation)))) {
        stg_job_free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    }
    j->number = group;
    if (staging_counts(s, &a, &f, err) || unlink_files(s, group, relation, err)) {
        stg_job_free(j);
        return -1;
    }
    if (stg_writer_post(s->writer, j, err) || staging_counts(s, &a2, &f2, err))
        return -1;
    if (out_n)
        *out_n = a + f - a2 - f2;
    return 0;
}

/* ---- exports ---- */

int staging_export_get(struct staging *s, int64_t group, struct staging_export *out, bool *out_found, struct gs_err *err)
{
    *out_found = false;
    sqlite3_stmt *st;
    if (stg_writer_drain(s->writer, err) || !(st = stg_stmt(&s->read, STG_Q_EXPORT_GET, err)))
        return -1;
    sqlite3_bind_int64(st, 1, group);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW) {
        const char *note = (const char *)sqlite3_column_text(st, 3);
        *out = (struct staging_export){.group = group, .started_ms = sqlite3_column_int64(st, 0),
                                       .server_started_ms = sqlite3_column_int64(st, 1),
                                       .batched = sqlite3_column_int(st, 2) != 0};
        snprintf(out->note, sizeof out->note, "%s", note ? note : "");
        *out_found = true;
    } else if (rc != SQLITE_DONE) {
        r = stg_db_fail(&s->read, "looking for an export", err);
    }
    sqlite3_reset(st);
    return r;
}

static int apply_export(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_EXPORT_SET, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, j->export.group);
    sqlite3_bind_int64(st, 2, j->run);
    sqlite3_bind_int64(st, 3, j->export.started_ms);
    sqlite3_bind_int64(st, 4, j->export.server_started_ms);
    sqlite3_bind_int(st, 5, j->export.batched);
    stg_bind_text(st, 6, j->export.note);
    return stg_run(d, st, "noting an export", err);
}

static int apply_export_drop(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_EXPORT_DROP, err);
    if (!st)
        return -1;
    sqlite3_bind_int64(st, 1, j->export.group);
    return stg_run(d, st, "dropping an export", err);
}

static int post_export(struct staging *s, const struct staging_export *e,
                       int (*apply)(struct stg_db *, const struct stg_job *, struct gs_err *), struct gs_err *err)
{
    struct stg_job *j = stg_job_new(apply);
    if (!j)
        return gs_fail(err, GS_E_NOMEM, "no memory for the staging store");
    j->export = *e;
    j->run = s->run;
    return stg_writer_post(s->writer, j, err);
}

int staging_export_set(struct staging *s, const struct staging_export *e, struct gs_err *err)
{
    return post_export(s, e, apply_export, err);
}

int staging_export_drop(struct staging *s, int64_t group, struct gs_err *err)
{
    struct staging_export e = {.group = group};
    return post_export(s, &e, apply_export_drop, err);
}

/* ---- progress ---- */

bool staging_progress_due(const struct staging *s)
{
    return s->begun && gs_mono_ms() - s->progress_ms >= PROGRESS_MS;
}

static int progress_text(const struct staging_progress *p, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "groups_found", (int64_t)p->groups_found);
    gs_jw_ki64(&w, "groups_done", (int64_t)p->groups_done);
    gs_jw_kbool(&w, "discovering", p->discovering);
    gs_jw_ki64(&w, "records", (int64_t)p->records);
    gs_jw_ki64(&w, "requests", (int64_t)p->http.requests);
    gs_jw_ki64(&w, "kept", (int64_t)p->http.kept);
    gs_jw_ki64(&w, "retries", (int64_t)p->http.retries);
    gs_jw_ki64(&w, "waited_ms", p->http.waited_ms);
    gs_jw_ki64(&w, "in_flight", p->http.in_flight);
    gs_jw_ki64(&w, "paused_until_ms", p->http.paused_ms > 0 ? gs_unix_ms() + p->http.paused_ms : 0);
    gs_jw_key(&w, "relations");
    gs_jw_obj(&w);
    for (size_t i = 0; i < p->n_relations; i++) {
        gs_jw_key(&w, p->relations[i].relation);
        gs_jw_arr(&w);
        gs_jw_u64(&w, p->relations[i].records);
        gs_jw_u64(&w, p->relations[i].groups);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_key(&w, "reasons");
    gs_jw_arr(&w);
    for (size_t i = 0; i < p->n_reasons; i++) {
        const struct reason *r = &p->reasons[i];
        gs_jw_obj(&w);
        gs_jw_kbool(&w, "fallback", r->fallback);
        gs_jw_kstr(&w, "relation", r->relation);
        gs_jw_kstr(&w, "from", r->from);
        gs_jw_kstr(&w, "to", r->to);
        gs_jw_kstr(&w, "rule", r->rule);
        gs_jw_kstr(&w, "why", r->why);
        gs_jw_kbool(&w, "varies", r->varies);
        gs_jw_ki64(&w, "entries", (int64_t)r->entries);
        gs_jw_ki64(&w, "records", (int64_t)r->records);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

int staging_progress(struct staging *s, const struct staging_progress *p, struct gs_err *err)
{
    gs_autobuf text;
    gs_buf_init(&text, 1 << 20);
    s->progress_ms = gs_mono_ms();
    return progress_text(p, &text, err) || post_meta(s, "progress", gs_buf_str(&text), err) ||
                   post_run(s, apply_end, NULL, err)
               ? -1
               : 0;
}
