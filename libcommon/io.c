#include "io.h"

#include "cleanup.h"
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- sources ---- */

static int file_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    int fd = (int)(intptr_t)cookie;
    for (;;) {
        ssize_t n = pread(fd, buf, len, (off_t)off);
        if (n >= 0) {
            *out_n = (size_t)n;
            return 0;
        }
        if (errno != EINTR)
            return gs_fail_sys(err, GS_E_IO, errno, "reading at byte %llu", (unsigned long long)off);
    }
}

static void file_close(void *cookie)
{
    close((int)(intptr_t)cookie);
}

int gs_source_open(const char *path, struct gs_source *out, struct gs_err *err)
{
    /* O_NONBLOCK: a named pipe without a writer must not hang the open; it is refused below */
    gs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return gs_fail_sys(err, errno == ENOENT || errno == ENOTDIR ? GS_E_NOT_FOUND : GS_E_IO, errno, "opening '%s'",
                           path);
    struct stat st;
    if (fstat(fd, &st))
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
    if (!S_ISREG(st.st_mode))
        return gs_fail(err, GS_E_IO, "'%s' is not a regular file", path);
    *out = (struct gs_source){.cookie = (void *)(intptr_t)gs_steal_fd(&fd),
                              .size = (uint64_t)st.st_size,
                              .read_at = file_read_at,
                              .close = file_close};
    return 0;
}

struct mem {
    const unsigned char *data;
    size_t len;
};

static int mem_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    const struct mem *m = cookie;
    (void)err;
    if (off >= m->len) {
        *out_n = 0;
        return 0;
    }
    if (len > m->len - off)
        len = m->len - (size_t)off;
    memcpy(buf, m->data + off, len);
    *out_n = len;
    return 0;
}

static int empty_read_at(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    (void)cookie, (void)off, (void)buf, (void)len, (void)err;
    *out_n = 0;
    return 0;
}

void gs_source_mem(const void *data, size_t len, struct gs_source *out)
{
    struct mem *m = malloc(sizeof *m);
    *out = (struct gs_source){.cookie = m, .size = m ? len : 0, .read_at = mem_read_at, .close = free};
    if (!m) {
        out->read_at = empty_read_at;
        return;
    }
    *m = (struct mem){.data = data, .len = len};
}

void gs_source_close(struct gs_source *src)
{
    if (src && src->close)
        src->close(src->cookie);
    if (src)
        *src = (struct gs_source){0};
}

int gs_source_read(const struct gs_source *src, uint64_t off, void *buf, size_t len, struct gs_err *err)
{
    size_t got = 0;
    while (got < len) {
        size_t n = 0;
        if (src->read_at(src->cookie, off + got, (char *)buf + got, len - got, &n, err))
            return -1;
        if (n == 0)
            return gs_fail(err, GS_E_TRUNCATED, "the file ends at byte %llu, %zu bytes too early",
                           (unsigned long long)(off + got), len - got);
        got += n;
    }
    return 0;
}

/* ---- files ---- */

int gs_write_all(int fd, const void *data, size_t len, const char *name, struct gs_err *err)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return gs_fail_sys(err, GS_E_IO, errno, "writing '%s'", name);
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int gs_open_read(const char *path, int *out_fd, struct gs_err *err)
{
    gs_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return gs_fail_sys(err, errno == ENOENT || errno == ENOTDIR ? GS_E_NOT_FOUND : GS_E_IO, errno, "opening '%s'",
                           path);
    struct stat st;
    if (fstat(fd, &st))
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
    if (S_ISDIR(st.st_mode))
        return gs_fail(err, GS_E_IO, "'%s' is a folder", path);
    /* only the opening must not wait; what a writer has still to write is waited for */
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
    *out_fd = gs_steal_fd(&fd);
    return 0;
}

int gs_read_file(const char *path, size_t max, struct gs_buf *out, struct gs_err *err)
{
    gs_autofd int fd = -1;
    if (gs_open_read(path, &fd, err))
        return -1;
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return gs_fail_sys(err, GS_E_IO, errno, "reading '%s'", path);
        }
        if (n == 0)
            return 0;
        if ((size_t)n > max || out->len > max - (size_t)n)
            return gs_fail(err, GS_E_LIMIT, "'%s' is larger than %zu bytes", path, max);
        if (gs_buf_add(out, chunk, (size_t)n, err))
            return gs_wrap(err, "reading '%s'", path);
    }
}

int gs_sync_parent(const char *path, struct gs_err *err)
{
    gs_autofree char *dir = strdup(path);
    if (!dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    char *slash = strrchr(dir, '/');
    const char *name = ".";
    if (slash) {
        *(slash == dir ? slash + 1 : slash) = 0;
        name = dir;
    }
    gs_autofd int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "opening folder '%s'", name);
    /* some network file systems cannot sync a folder and say EINVAL: then the rename is as durable as they make it */
    if (fsync(fd) && errno != EINVAL)
        return gs_fail_sys(err, GS_E_IO, errno, "syncing folder '%s'", name);
    return 0;
}

int gs_mkdir(const char *path, struct gs_err *err)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return gs_fail_sys(err, GS_E_IO, errno, "creating folder '%s'", path);
}

int gs_mkdirs(const char *dir, unsigned mode, struct gs_err *err)
{
    gs_autofree char *path = strdup(dir);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    for (char *p = path + (*path != 0);; p++) {
        bool end = *p == 0;
        if (!end && *p != '/')
            continue;
        *p = 0;
        struct stat st;
        if (mkdir(path, mode) && !(errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
            return gs_fail_sys(err, GS_E_IO, errno, "creating folder '%s'", path);
        if (end)
            return 0;
        *p = '/';
    }
}

static int remove_at(int dirfd, const char *name, int depth, struct gs_err *err)
{
    if (depth > 64)
        return gs_fail(err, GS_E_IO, "folders nested too deeply below '%s'", name);
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return gs_fail_sys(err, GS_E_IO, errno, "removing '%s'", name);
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "opening folder '%s'", name);
    DIR *d = fdopendir(fd);
    if (!d) {
        int e = errno;
        close(fd);
        return gs_fail_sys(err, GS_E_IO, e, "opening folder '%s'", name);
    }
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = remove_at(fd, e->d_name, depth + 1, err);
    closedir(d);
    if (r == 0 && unlinkat(dirfd, name, AT_REMOVEDIR) && errno != ENOENT)
        r = gs_fail_sys(err, GS_E_IO, errno, "removing folder '%s'", name);
    return r;
}

int gs_remove_tree(const char *path, struct gs_err *err)
{
    return remove_at(AT_FDCWD, path, 0, err);
}

/* ---- staged files ---- */

int gs_stage_open(struct gs_stage *st, const char *path, unsigned mode, bool replace, struct gs_err *err)
{
    *st = (struct gs_stage){.fd = -1, .replace = replace};
    struct stat sb;
    if (!replace && lstat(path, &sb) == 0)
        return gs_fail(err, GS_E_EXISTS, "'%s' exists already", path);
    st->path = strdup(path);
    st->tmp = gs_asprintf("%s.tmp.%ld", path, (long)getpid());
    if (!st->path || !st->tmp) {
        gs_stage_release(st);
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    }
    if (unlink(st->tmp) && errno != ENOENT) { /* left by an earlier process with our number */
        int e = errno;
        gs_stage_release(st);
        return gs_fail_sys(err, GS_E_IO, e, "creating '%s'", path);
    }
    st->fd = open(st->tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (st->fd < 0) {
        int e = errno;
        free(st->tmp);
        st->tmp = NULL;
        gs_stage_release(st);
        return gs_fail_sys(err, GS_E_IO, e, "creating '%s'", path);
    }
    return 0;
}

int gs_stage_commit(struct gs_stage *st, struct gs_err *err)
{
    gs_fault("file.sync.before");
    if (fsync(st->fd))
        return gs_fail_sys(err, GS_E_IO, errno, "syncing '%s'", st->path);
    int fd = gs_steal_fd(&st->fd);
    if (close(fd))
        return gs_fail_sys(err, GS_E_IO, errno, "closing '%s'", st->path);
    gs_fault("file.rename.before");
    if (st->replace) {
        if (rename(st->tmp, st->path))
            return gs_fail_sys(err, GS_E_IO, errno, "renaming to '%s'", st->path);
    } else {
        /* link fails when the name was taken meanwhile, where rename would overwrite */
        if (link(st->tmp, st->path) == 0) {
            unlink(st->tmp);
        } else if (errno == EEXIST) {
            return gs_fail(err, GS_E_EXISTS, "'%s' exists already", st->path);
        } else {
            /* no hard links here (FAT, some network file systems): the check before is all there is */
            struct stat sb;
            if (lstat(st->path, &sb) == 0)
                return gs_fail(err, GS_E_EXISTS, "'%s' exists already", st->path);
            if (rename(st->tmp, st->path))
                return gs_fail_sys(err, GS_E_IO, errno, "renaming to '%s'", st->path);
        }
    }
    free(st->tmp);
    st->tmp = NULL;
    gs_fault("file.rename.after");
    if (gs_sync_parent(st->path, err))
        return -1;
    gs_fault("file.folder.synced");
    return 0;
}

void gs_stage_release(struct gs_stage *st)
{
    if (st->fd >= 0)
        close(st->fd);
    if (st->tmp)
        unlink(st->tmp);
    free(st->tmp);
    free(st->path);
    *st = (struct gs_stage){.fd = -1};
}

/* Is `name` "FILE.tmp.NUMBER"? */
static bool is_staged(const char *name, const char *file)
{
    size_t n = strlen(file);
    if (strncmp(name, file, n) != 0 || strncmp(name + n, ".tmp.", 5) != 0)
        return false;
    const char *digits = name + n + 5;
    return *digits && digits[strspn(digits, "0123456789")] == 0;
}

int gs_stage_sweep(const char *path, struct gs_err *err)
{
    gs_autofree char *folder = strdup(path);
    if (!folder)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    char *slash = strrchr(folder, '/');
    const char *file = slash ? path + (slash - folder) + 1 : path;
    if (slash)
        *(slash == folder ? slash + 1 : slash) = 0;
    DIR *d = opendir(slash ? folder : ".");
    if (!d)
        return gs_fail_sys(err, GS_E_IO, errno, "opening folder '%s'", slash ? folder : ".");
    int r = 0;
    struct dirent *e;
    while (r == 0 && (e = readdir(d)) != NULL)
        if (is_staged(e->d_name, file) && unlinkat(dirfd(d), e->d_name, 0) && errno != ENOENT)
            r = gs_fail_sys(err, GS_E_IO, errno, "removing '%s' beside '%s'", e->d_name, path);
    closedir(d);
    return r;
}

int gs_write_file(const char *path, const void *data, size_t len, unsigned mode, bool replace, struct gs_err *err)
{
    struct gs_stage st;
    if (gs_stage_open(&st, path, mode, replace, err))
        return -1;
    int r = gs_write_all(st.fd, data, len, path, err);
    if (r == 0)
        r = gs_stage_commit(&st, err);
    gs_stage_release(&st);
    return r;
}

int gs_temp_open(int *out_fd, struct gs_err *err)
{
    const char *dir = getenv("TMPDIR");
    dir = dir && *dir ? dir : "/tmp";
    *out_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
    if (*out_fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
        return gs_fail_sys(err, GS_E_IO, errno, "making a temporary file in '%s'", dir);
    gs_autofree char *path = gs_asprintf("%s/groupsnap.XXXXXX", dir); /* a file system that has no files without names */
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    *out_fd = mkostemp(path, O_CLOEXEC);
    if (*out_fd < 0 || unlink(path))
        return gs_fail_sys(err, GS_E_IO, errno, "making a temporary file in '%s'", dir);
    return 0;
}
