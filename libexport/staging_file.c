/* Downloads that come piece by piece: a file without its final name, then one with it, then a row that says so. */
#include "libexport/staging_priv.h"

#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES 200

struct staging_file {
    struct staging *s;
    char *name, *tmp, *path;
    int fd;
    uint64_t size;
    crypto_generichash_state hash;
};

static int check_name(const char *name, struct gs_err *err)
{
    size_t n = strlen(name);
    bool ok = n > 0 && n <= NAME_MAX_BYTES && name[0] != '.';
    for (size_t i = 0; i < n && ok; i++)
        ok = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') || (name[i] >= '0' && name[i] <= '9') ||
             name[i] == '.' || name[i] == '_' || name[i] == '-';
    return ok ? 0 : gs_fail(err, GS_E_INTERNAL, "'%.200s' is no name for a downloaded file", name);
}

char *stg_file_path(const struct staging *s, const char *name, const char *suffix)
{
    return gs_asprintf("%s/%s%s", s->files, name, suffix);
}

int staging_file_begin(struct staging *s, const char *name, struct staging_file **out, struct gs_err *err)
{
    if (check_name(name, err) || gs_mkdir(s->files, err))
        return -1;
    struct staging_file *f = calloc(1, sizeof *f);
    if (!f)
        return gs_fail(err, GS_E_NOMEM, "no memory for a download");
    *f = (struct staging_file){.s = s, .fd = -1, .name = strdup(name), .tmp = stg_file_path(s, name, ".part"),
                               .path = stg_file_path(s, name, "")};
    int r = f->name && f->tmp && f->path ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (r == 0) {
        f->fd = open(f->tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (f->fd < 0)
            r = gs_fail_sys(err, GS_E_IO, errno, "creating '%s'", f->tmp);
    }
    if (r) {
        staging_file_abandon(f);
        return -1;
    }
    crypto_generichash_init(&f->hash, NULL, 0, STAGING_DIGEST_LEN);
    *out = f;
    return 0;
}

int staging_file_write(struct staging_file *f, const void *data, size_t len, struct gs_err *err)
{
    if (gs_write_all(f->fd, data, len, f->tmp, err))
        return -1;
    crypto_generichash_update(&f->hash, data, len);
    f->size += len;
    return 0;
}

int staging_file_restart(struct staging_file *f, struct gs_err *err)
{
    if (ftruncate(f->fd, 0) || lseek(f->fd, 0, SEEK_SET) < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "emptying '%s'", f->tmp);
    crypto_generichash_init(&f->hash, NULL, 0, STAGING_DIGEST_LEN);
    f->size = 0;
    return 0;
}

uint64_t staging_file_size(const struct staging_file *f)
{
    return f->size;
}

static void file_free(struct staging_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    free(f->name);
    free(f->tmp);
    free(f->path);
    free(f);
}

void staging_file_abandon(struct staging_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        unlink(f->tmp);
    file_free(f);
}

void staging_file_info_release(struct staging_file_info *i)
{
    free(i->path);
    *i = (struct staging_file_info){0};
}

static int apply_file(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_FILE_SET, err);
    if (!st)
        return -1;
    stg_bind_text(st, 1, j->name);
    sqlite3_bind_int64(st, 2, j->run);
    sqlite3_bind_int64(st, 3, j->number);
    stg_bind_text(st, 4, j->relation);
    sqlite3_bind_int64(st, 5, (sqlite3_int64)j->bytes);
    sqlite3_bind_blob(st, 6, j->digest, sizeof j->digest, SQLITE_STATIC);
    sqlite3_bind_int64(st, 7, (sqlite3_int64)j->records);
    return stg_run(d, st, "noting a file", err);
}

static int apply_file_drop(struct stg_db *d, const struct stg_job *j, struct gs_err *err)
{
    sqlite3_stmt *st = stg_stmt(d, STG_Q_FILE_DROP, err);
    if (!st)
        return -1;
    stg_bind_text(st, 1, j->name);
    return stg_run(d, st, "dropping a file", err);
}

/* What the writer needs to know; the open file goes with it, to be synced there. */
static struct stg_job *file_job(struct staging_file *f, struct gl_tag tag, uint64_t records)
{
    struct stg_job *j = stg_job_new(apply_file);
    if (!j)
        return NULL;
    j->name = strdup(f->name);
    j->relation = strdup(tag.relation ? tag.relation : "");
    j->number = tag.group;
    j->run = f->s->run;
    j->bytes = f->size;
    j->records = records;
    crypto_generichash_final(&f->hash, j->digest, sizeof j->digest);
    if (j->name && j->relation)
        return j;
    stg_job_free(j);
    return NULL;
}

int staging_file_commit(struct staging_file *f, struct gl_tag tag, uint64_t records, struct staging_file_info *out,
                        struct gs_err *err)
{
    struct stg_job *j = file_job(f, tag, records);
    if (!j) {
        staging_file_abandon(f);
        return gs_fail(err, GS_E_NOMEM, "no memory for a download");
    }
    struct staging_file_info info = {.size = f->size, .records = records, .path = out ? strdup(f->path) : NULL};
    memcpy(info.digest, j->digest, sizeof info.digest);
    if ((out && !info.path) || rename(f->tmp, f->path)) {
        int e = errno;
        stg_job_free(j);
        free(info.path);
        gs_fail_sys(err, GS_E_IO, e, "naming '%s'", f->path);
        staging_file_abandon(f);
        return -1;
    }
    j->fd = gs_steal_fd(&f->fd);
    int r = stg_writer_post(f->s->writer, j, err);
    file_free(f);
    if (r || !out)
        free(info.path);
    else
        *out = info;
    return r;
}

int staging_file_have(struct staging *s, const char *name, struct staging_file_info *out, bool *out_found,
                      struct gs_err *err)
{
    *out_found = false;
    *out = (struct staging_file_info){0};
    sqlite3_stmt *st;
    if (check_name(name, err) || stg_writer_drain(s->writer, err) || !(st = stg_stmt(&s->read, STG_Q_FILE_GET, err)))
        return -1;
    stg_bind_text(st, 1, name);
    int rc = sqlite3_step(st), r = 0;
    if (rc == SQLITE_ROW && sqlite3_column_bytes(st, 1) == STAGING_DIGEST_LEN) {
        out->size = (uint64_t)sqlite3_column_int64(st, 0);
        memcpy(out->digest, sqlite3_column_blob(st, 1), STAGING_DIGEST_LEN);
        out->records = (uint64_t)sqlite3_column_int64(st, 2);
        *out_found = true;
    } else if (rc != SQLITE_DONE) {
        r = stg_db_fail(&s->read, "looking for a file", err);
    }
    sqlite3_reset(st);
    if (!*out_found)
        return r;
    struct stat sb;
    out->path = stg_file_path(s, name, "");
    if (!out->path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (lstat(out->path, &sb) || !S_ISREG(sb.st_mode) || (uint64_t)sb.st_size != out->size) {
        *out_found = false;
        staging_file_info_release(out);
    }
    return 0;
}

int staging_file_drop(struct staging *s, const char *name, struct gs_err *err)
{
    struct stg_job *j = NULL;
    gs_autofree char *path = NULL;
    if (check_name(name, err))
        return -1;
    path = stg_file_path(s, name, "");
    j = stg_job_new(apply_file_drop);
    if (!path || !j || !(j->name = strdup(name))) {
        stg_job_free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    }
    /* the row first: a row without its file is no file, a file without its row is written over */
    if (stg_writer_post(s->writer, j, err))
        return -1;
    if (unlink(path) && errno != ENOENT)
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", path);
    return 0;
}
