#include "libexport/archive_walk.h"

#include "libcommon/cleanup.h"
#include "libcommon/gz.h"
#include "libcommon/io.h"
#include "libexport/idset.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_TOTAL ((uint64_t)25 << 30)
#define MAX_ENTRIES 4000000u
#define MAX_DEPTH 8 /* folders in a folder; the deepest file of an export lies in the third */
#define READ_BLOCK ((size_t)256 << 10)

struct walk {
    const char *path;
    uint64_t total, entries, max_total, max_entries;
    struct idset names; /* hashes */
    walk_fn each;
    void *cookie;
    /* what is no plain file is told to it and passed over; NULL: it is an error */
    int (*refused)(void *cookie, const char *name, const char *why, struct gs_err *err);
};

static int count_bytes(struct walk *w, size_t n, struct gs_err *err)
{
    w->total += n;
    if (w->total > w->max_total)
        return gs_fail(err, GS_E_BOMB, "'%s' unpacks to more than %llu bytes", w->path, (unsigned long long)w->max_total);
    return 0;
}

static bool name_ok(const char *s)
{
    if (*s == '/' || *s == '\0' || strlen(s) > 1024)
        return false;
    while (*s) {
        size_t n = strcspn(s, "/");
        if (n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f || s[i] == '\\')
                return false;
        s += n;
        s += *s == '/';
    }
    return true;
}

/* Counts the entry and checks its name; 63 bits of hash tell names apart. */
static int check_entry(struct walk *w, const char *name, struct gs_err *err)
{
    if (++w->entries > w->max_entries)
        return gs_fail(err, GS_E_LIMIT, "'%s' holds more than %llu files", w->path, (unsigned long long)w->max_entries);
    if (!name_ok(name))
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds a file with the name '%.200s', which no export has", w->path, name);
    uint64_t h = 0xcbf29ce484222325u;
    for (const char *s = name; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= h >> 29;
    bool is_new;
    if (idset_add(&w->names, (int64_t)((h & INT64_MAX) | 1), &is_new, err))
        return -1;
    return is_new ? 0 : gs_fail(err, GS_E_ARCHIVE, "'%s' holds '%.200s' twice", w->path, name);
}

/* ---- tar ---- */

struct tar_cookie {
    struct walk *w;
    struct archive *a;
};

static int tar_error(struct walk *w, struct archive *a, struct gs_err *err)
{
    const char *why = archive_error_string(a);
    return gs_fail(err, GS_E_ARCHIVE, "'%s' cannot be unpacked: %s", w->path, why ? why : "damaged");
}

static int tar_read(struct walk_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct tar_cookie *t = f->cookie;
    la_ssize_t n = archive_read_data(t->a, buf, len);
    if (n < 0)
        return tar_error(t->w, t->a, err);
    *out_n = (size_t)n;
    return count_bytes(t->w, (size_t)n, err);
}

static int tar_entry(struct walk *w, struct archive *a, struct archive_entry *e, struct gs_err *err)
{
    const char *name = archive_entry_pathname(e);
    if (!name)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds a file without a name", w->path);
    while (strncmp(name, "./", 2) == 0)
        name += 2;
    bool folder = archive_entry_filetype(e) == AE_IFDIR, link = archive_entry_hardlink(e) || archive_entry_symlink(e);
    if (folder && !link && (*name == '\0' || strcmp(name, ".") == 0))
        return 0;
    if (w->refused && folder && !link)
        return 0;
    if (w->refused && (link || archive_entry_filetype(e) != AE_IFREG))
        return w->refused(w->cookie, name, link ? "a link" : "no file", err);
    if (w->refused && !name_ok(name))
        return w->refused(w->cookie, name, "its name", err);
    if (link)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds a link: '%.200s'", w->path, name);
    if (folder)
        return check_entry(w, name, err);
    if (archive_entry_filetype(e) != AE_IFREG)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds something that is no file: '%.200s'", w->path, name);
    if (archive_entry_size(e) < 0 || (uint64_t)archive_entry_size(e) > w->max_total)
        return gs_fail(err, GS_E_BOMB, "'%s': '%.200s' claims a size beyond the limit", w->path, name);
    if (w->refused ? ++w->entries > w->max_entries && gs_fail(err, GS_E_LIMIT, "'%s' holds too many files", w->path)
                   : check_entry(w, name, err))
        return -1;
    struct tar_cookie t = {.w = w, .a = a};
    struct walk_file f = {.name = name, .size = (uint64_t)archive_entry_size(e), .read = tar_read, .cookie = &t};
    if (w->each(w->cookie, &f, err))
        return -1;
    /* what was not read counts too: passing over it unpacks it as well */
    char scrap[16384];
    size_t n = 1;
    while (n > 0)
        if (tar_read(&f, scrap, sizeof scrap, &n, err))
            return -1;
    return 0;
}

/* What libarchive reads: unpacked by ourselves, since it does not compare gzip's checksums. */
struct unpacked {
    struct gs_gz *z;
    struct gs_err err;
    char block[READ_BLOCK];
};

static la_ssize_t unpack(struct archive *a, void *cookie, const void **out)
{
    struct unpacked *u = cookie;
    size_t n;
    *out = u->block;
    if (gs_gz_read(u->z, u->block, sizeof u->block, &n, &u->err) == 0)
        return (la_ssize_t)n;
    archive_set_error(a, EIO, "%s", u->err.text);
    return -1;
}

/* The tar may end before the file does: what stands behind it is read as well, so that all of it was checked. */
static int read_rest(struct unpacked *u, struct gs_err *err)
{
    size_t n = 1;
    while (n > 0)
        if (gs_gz_read(u->z, u->block, sizeof u->block, &n, err))
            return -1;
    return 0;
}

static int walk_entries(struct walk *w, struct archive *a, struct unpacked *u, struct gs_err *err)
{
    archive_read_support_format_tar(a);
    archive_read_support_format_gnutar(a);
    archive_read_support_format_empty(a);
    if (archive_read_open(a, u, NULL, unpack, NULL) != ARCHIVE_OK)
        return u->err.code ? -1 : gs_fail(err, GS_E_ARCHIVE, "'%s' is no .tar or .tar.gz: %s", w->path, archive_error_string(a));
    for (;;) {
        struct archive_entry *e;
        int s = archive_read_next_header(a, &e);
        if (s == ARCHIVE_EOF)
            return read_rest(u, err);
        if (s == ARCHIVE_OK || s == ARCHIVE_WARN ? tar_entry(w, a, e, err) : tar_error(w, a, err))
            return -1;
    }
}

static int walk_tar(struct walk *w, int fd, bool plain, struct gs_err *err)
{
    struct gs_gz_limits lim = {.max_out = w->max_total};
    struct archive *a = archive_read_new();
    gs_autofree struct unpacked *u = calloc(1, sizeof *u);
    GS_AUTO(gs_gz) z = NULL;
    int r = -1;
    if (!a || !u)
        gs_fail(err, GS_E_NOMEM, "no memory to unpack '%s'", w->path);
    else if (gs_gz_open(fd, w->path, plain, &lim, &z, err) == 0) {
        u->z = z;
        r = walk_entries(w, a, u, err);
        if (r && u->err.code) /* why libarchive got no more */
            *err = u->err;
    }
    archive_read_free(a);
    return r;
}

/* ---- folder ---- */

struct folder_cookie {
    struct walk *w;
    int fd;
};

static int folder_read(struct walk_file *f, void *buf, size_t len, size_t *out_n, struct gs_err *err)
{
    struct folder_cookie *c = f->cookie;
    ssize_t n;
    do
        n = read(c->fd, buf, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "reading '%s/%s'", c->w->path, f->name);
    *out_n = (size_t)n;
    return count_bytes(c->w, (size_t)n, err);
}

static int walk_folder(struct walk *w, int dir_fd, const char *prefix, unsigned depth, struct gs_err *err);

static int folder_entry(struct walk *w, int dir_fd, const char *prefix, const char *base, unsigned depth, struct gs_err *err)
{
    gs_autofree char *name = gs_asprintf("%s%s%s", prefix, *prefix ? "/" : "", base);
    if (!name)
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    gs_autofd int fd = openat(dir_fd, base, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (fd < 0 && errno == ELOOP)
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds a link: '%s'", w->path, name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s/%s'", w->path, name);
    if (check_entry(w, name, err))
        return -1;
    if (S_ISDIR(st.st_mode))
        return walk_folder(w, gs_steal_fd(&fd), name, depth + 1, err);
    if (!S_ISREG(st.st_mode))
        return gs_fail(err, GS_E_ARCHIVE, "'%s' holds something that is no file: '%s'", w->path, name);
    struct folder_cookie c = {.w = w, .fd = fd};
    struct walk_file f = {.name = name, .size = (uint64_t)st.st_size, .read = folder_read, .cookie = &c};
    return w->each(w->cookie, &f, err);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_dots(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

/* Takes `dir_fd`. Names in byte order, so that the same folder gives the same course. */
static int walk_folder(struct walk *w, int dir_fd, const char *prefix, unsigned depth, struct gs_err *err)
{
    gs_autofd int fd = dir_fd;
    struct dirent **names = NULL;
    if (depth > MAX_DEPTH)
        return gs_fail(err, GS_E_ARCHIVE, "'%s/%s' lies deeper than any export", w->path, prefix);
    int n = scandirat(fd, ".", &names, not_dots, by_name);
    if (n < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "reading folder '%s/%s'", w->path, prefix);
    int r = 0;
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = folder_entry(w, fd, prefix, names[i]->d_name, depth, err);
        free(names[i]);
    }
    free(names);
    return r;
}

/* Damage of the packing is damage of the archive. */
static int as_archive(int r, struct gs_err *err)
{
    if (r && err->code == GS_E_GZIP)
        err->code = GS_E_ARCHIVE;
    return r;
}

static int walk_begin(struct walk *w, const char *path, const struct walk_limits *lim, walk_fn each, void *cookie, int *out_fd,
                      struct gs_err *err)
{
    *w = (struct walk){.path = path, .each = each, .cookie = cookie, .max_total = MAX_TOTAL, .max_entries = MAX_ENTRIES};
    if (lim && lim->max_total)
        w->max_total = lim->max_total;
    if (lim && lim->max_entries)
        w->max_entries = lim->max_entries;
    idset_init(&w->names);
    *out_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang it */
    if (*out_fd >= 0)
        return 0;
    return errno == ENOENT ? gs_fail(err, GS_E_NOT_FOUND, "'%s' is not there", path)
                           : gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
}

int archive_walk_uploads(const char *path, const char *name, walk_fn each,
                         int (*refused)(void *cookie, const char *name, const char *why, struct gs_err *err), void *cookie,
                         struct gs_err *err)
{
    struct walk w;
    gs_autofd int fd = -1;
    if (walk_begin(&w, path, NULL, each, cookie, &fd, err))
        return -1;
    w.path = name;
    w.refused = refused;
    int r = as_archive(walk_tar(&w, fd, false, err), err);
    idset_release(&w.names);
    return r;
}

int archive_walk(const char *path, const struct walk_limits *lim, walk_fn each, void *cookie, struct gs_err *err)
{
    struct walk w;
    gs_autofd int fd = -1;
    struct stat st;
    if (walk_begin(&w, path, lim, each, cookie, &fd, err))
        return -1;
    int r;
    if (fstat(fd, &st) < 0)
        r = gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", path);
    else if (S_ISDIR(st.st_mode))
        r = walk_folder(&w, gs_steal_fd(&fd), "", 0, err);
    else if (S_ISREG(st.st_mode))
        r = as_archive(walk_tar(&w, fd, true, err), err);
    else
        r = gs_fail(err, GS_E_IO, "'%s' is neither a file nor a folder", path);
    idset_release(&w.names);
    return r;
}
