/*
 * disk: a disk that loses what was not synced, fills up or fails. Loaded in front of a tool (LD_PRELOAD), it stands between the
 * program, SQLite included, and the file system.
 *
 * GROUPSNAP_FAULT_DISK is a list of words with commas between them:
 *   log=FILE          writes "number operation path" for every operation that changes a disk, counted from 1
 *   cut=N             power fails at operation N, which is not done any more
 *   lose              SIGKILL that the program sends to itself (fault points) is a power failure too
 *   seed=S            after a power failure a part of what was not synced is there nevertheless: sectors of 512 bytes, lengths of
 *                     files, the first so many changes of folders. Without it, or 0: nothing of it
 *   kill=N            SIGKILL at operation N, and nothing is lost
 *   full=N[+K]        writes fail with ENOSPC from operation N on (K of them)
 *   eio=N             the first sync from operation N on fails with EIO
 *   readonly          nothing may be opened for writing or made: EROFS
 * GROUPSNAP_FAULT_DISK_ROOT is the folder whose regular files are meant, GROUPSNAP_FAULT_DISK_ATTIC another one on the same file
 * system where removed files wait until their removal is durable.
 *
 * The rules are those of POSIX at their strictest: contents are durable after fsync of the file, a name (new, renamed, removed) after
 * fsync of its folder. Shared memory of SQLite ("-shm") is not a matter of durability and left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SECTOR 512
#define MAX_FILES 4096

/* A sector as it was at the last sync. */
struct old {
    struct old *next;
    uint64_t no;
    unsigned len; /* what of it lay before the end of the file */
    unsigned char data[SECTOR];
};

struct file {
    dev_t dev;
    ino_t ino;
    int fd; /* ours, never closed: that would end the program's locks */
    bool dirty;
    uint64_t old_size;
    struct old *olds;
};

/* A change of a folder that is not durable. */
struct change {
    struct change *prev;
    enum { MADE, MADE_FOLDER, REMOVED, REMOVED_FOLDER, RENAMED, LINKED } what;
    char *path, *to;  /* to: the new name of a rename */
    char *attic;      /* where the removed or overwritten file waits; NULL: there was none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct file files[MAX_FILES];
static unsigned n_files;
static struct change *changes; /* the last one first */
static unsigned long done, cut_at, kill_at, full_at, full_left, eio_at, attic_no;
static bool active, lose, readonly, eio_over;
static uint64_t seed;
static int log_fd = -1;
static char root[PATH_MAX], attic[PATH_MAX];

static int (*r_open)(const char *, int, ...), (*r_openat)(int, const char *, int, ...);
static ssize_t (*r_write)(int, const void *, size_t), (*r_pwrite)(int, const void *, size_t, off_t);
static int (*r_ftruncate)(int, off_t), (*r_fsync)(int), (*r_fdatasync)(int);
static int (*r_rename)(const char *, const char *), (*r_link)(const char *, const char *), (*r_unlink)(const char *);
static int (*r_unlinkat)(int, const char *, int), (*r_mkdir)(const char *, mode_t), (*r_rmdir)(const char *), (*r_raise)(int);

static void die(const char *why)
{
    dprintf(2, "disk: %s\n", why);
    abort();
}

static unsigned long number(const char *s)
{
    char *end;
    unsigned long n = strtoul(s, &end, 10);
    if (end == s || (*end && *end != '+'))
        die("a number was expected");
    return n;
}

static void word(char *w)
{
    char *v = strchr(w, '=');
    if (v)
        *v++ = 0;
    if (strcmp(w, "lose") == 0 && !v)
        lose = true;
    else if (strcmp(w, "readonly") == 0 && !v)
        readonly = true;
    else if (!v)
        die("unknown word");
    else if (strcmp(w, "log") == 0)
        log_fd = r_open(v, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    else if (strcmp(w, "cut") == 0)
        cut_at = number(v);
    else if (strcmp(w, "seed") == 0)
        seed = number(v);
    else if (strcmp(w, "kill") == 0)
        kill_at = number(v);
    else if (strcmp(w, "eio") == 0)
        eio_at = number(v);
    else if (strcmp(w, "full") == 0)
        full_at = number(v), full_left = strchr(v, '+') ? number(strchr(v, '+') + 1) : ULONG_MAX;
    else
        die("unknown word");
}

#define REAL(name) (*(void **)&r_##name = dlsym(RTLD_NEXT, #name))

static void start(void)
{
    REAL(open), REAL(openat), REAL(write), REAL(pwrite), REAL(ftruncate), REAL(fsync), REAL(fdatasync), REAL(rename), REAL(link);
    REAL(unlink), REAL(unlinkat), REAL(mkdir), REAL(rmdir), REAL(raise);
    const char *spec = getenv("GROUPSNAP_FAULT_DISK"), *r = getenv("GROUPSNAP_FAULT_DISK_ROOT"), *a = getenv("GROUPSNAP_FAULT_DISK_ATTIC");
    if (!spec || !*spec)
        return;
    if (!r || !a || !realpath(r, root) || !realpath(a, attic))
        die("no GROUPSNAP_FAULT_DISK_ROOT or _ATTIC");
    char *copy = strdup(spec), *rest = copy, *w;
    while ((w = strsep(&rest, ",")))
        word(w);
    free(copy);
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
        rl.rlim_cur = rl.rlim_max;
        setrlimit(RLIMIT_NOFILE, &rl);
    }
    active = true;
}

static bool below_root(const char *path)
{
    size_t n = strlen(root), m = strlen(path);
    return strncmp(path, root, n) == 0 && path[n] == '/' && !(m > 4 && strcmp(path + m - 4, "-shm") == 0);
}

/* The absolute name without links in it; false when it is none of ours. */
static bool resolve(int dirfd, const char *path, char out[PATH_MAX])
{
    char full[PATH_MAX], base[PATH_MAX], link[64];
    if (!active)
        return false;
    if (path[0] == '/') {
        snprintf(full, sizeof full, "%s", path);
    } else {
        snprintf(link, sizeof link, dirfd == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dirfd);
        ssize_t n = readlink(link, base, sizeof base - 1);
        if (n < 0)
            return false;
        base[n] = 0;
        if (snprintf(full, sizeof full, "%s/%s", base, path) >= (int)sizeof full)
            return false;
    }
    char *slash = strrchr(full, '/'), folder[PATH_MAX];
    const char *leaf = slash + 1;
    if (slash == full)
        return false;
    *slash = 0;
    if (!realpath(full, folder) || snprintf(out, PATH_MAX, "%s/%s", folder, leaf) >= PATH_MAX)
        return false;
    return below_root(out);
}

static bool resolve_fd(int fd, char out[PATH_MAX])
{
    char link[64];
    if (!active)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n <= 0)
        return false;
    out[n] = 0;
    struct stat st;
    return below_root(out) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* ---- the power failure ---- */

static uint64_t draw(uint64_t *s)
{
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void lose_contents(struct file *f, uint64_t *rnd)
{
    struct stat st;
    if (!f->dirty || fstat(f->fd, &st))
        return;
    for (struct old *o = f->olds; o; o = o->next) {
        if (seed && draw(rnd) % 2)
            continue; /* this sector had reached the disk */
        unsigned char was[SECTOR] = {0};
        memcpy(was, o->data, o->len);
        uint64_t at = o->no * SECTOR, end = f->old_size > (uint64_t)st.st_size ? f->old_size : (uint64_t)st.st_size;
        size_t n = at >= end ? 0 : end - at < SECTOR ? (size_t)(end - at) : SECTOR;
        if (n && r_pwrite(f->fd, was, n, (off_t)at) < 0)
            die("cannot take a write back");
    }
    uint64_t size = seed && draw(rnd) % 2 ? (uint64_t)st.st_size : f->old_size;
    if (r_ftruncate(f->fd, (off_t)size))
        die("cannot take a length back");
}

static void remove_all(const char *path)
{
    char command[PATH_MAX + 32];
    /* a folder that was never durable goes with everything in it; names here are the campaign's own */
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    unsetenv("LD_PRELOAD");
    if (system(command))
        die("cannot take a folder back");
}

static void take_back(const struct change *c)
{
    switch (c->what) {
    case MADE:
    case LINKED: r_unlink(c->path); break;
    case MADE_FOLDER: remove_all(c->path); break;
    case REMOVED: r_rename(c->attic, c->path); break;
    case REMOVED_FOLDER: r_mkdir(c->path, 0777); break;
    case RENAMED:
        r_rename(c->to, c->path);
        if (c->attic)
            r_rename(c->attic, c->to);
        break;
    }
}

static void power_fails(void)
{
    uint64_t rnd = seed;
    for (unsigned i = 0; i < n_files; i++)
        lose_contents(&files[i], &rnd);
    unsigned n = 0;
    for (struct change *c = changes; c; c = c->prev)
        n++;
    /* a journal of the file system keeps their order: the first ones are there */
    unsigned gone = seed && n ? (unsigned)(draw(&rnd) % (n + 1)) : n;
    for (struct change *c = changes; c && gone > 0; c = c->prev, gone--)
        take_back(c);
    syscall(SYS_kill, getpid(), SIGKILL);
}

/* ---- bookkeeping; the lock is held ---- */

/* One more operation on the disk. The caller does it unless this returns an error number. */
static int operation(const char *what, const char *path)
{
    done++;
    if (log_fd >= 0)
        dprintf(log_fd, "%lu %s %s\n", done, what, path + strlen(root) + 1);
    if (done == cut_at)
        power_fails();
    if (done == kill_at)
        syscall(SYS_kill, getpid(), SIGKILL);
    bool grows = strcmp(what, "write") == 0 || strcmp(what, "create") == 0 || strcmp(what, "mkdir") == 0;
    if (full_at && done >= full_at && full_left > 0 && grows) {
        full_left -= full_left != ULONG_MAX;
        return ENOSPC;
    }
    if (eio_at && done >= eio_at && !eio_over && strcmp(what, "sync") == 0) {
        eio_over = true;
        return EIO;
    }
    return 0;
}

static struct file *file_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st))
        die("fstat");
    for (unsigned i = 0; i < n_files; i++)
        if (files[i].ino == st.st_ino && files[i].dev == st.st_dev)
            return &files[i];
    if (n_files == MAX_FILES)
        die("too many files");
    struct file *f = &files[n_files];
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int own = r_open(name, O_RDWR | O_CLOEXEC);
    if (own < 0)
        die("cannot open a file a second time");
    *f = (struct file){.dev = st.st_dev, .ino = st.st_ino, .fd = own};
    n_files++;
    return f;
}

static void begin_dirty(struct file *f)
{
    struct stat st;
    if (f->dirty)
        return;
    if (fstat(f->fd, &st))
        die("fstat");
    f->dirty = true;
    f->old_size = (uint64_t)st.st_size;
}

static void remember(struct file *f, uint64_t no)
{
    for (struct old *o = f->olds; o; o = o->next)
        if (o->no == no)
            return;
    struct old *o = calloc(1, sizeof *o);
    if (!o)
        die("no memory");
    ssize_t n = pread(f->fd, o->data, SECTOR, (off_t)(no * SECTOR));
    if (n < 0)
        die("cannot read what is overwritten");
    uint64_t at = no * SECTOR;
    /* what was written beyond the durable end meanwhile does not count */
    uint64_t durable = f->old_size <= at ? 0 : f->old_size - at;
    o->len = (uint64_t)n < durable ? (unsigned)n : (unsigned)durable;
    o->no = no;
    o->next = f->olds;
    f->olds = o;
}

static void before_write(int fd, uint64_t off, uint64_t len)
{
    struct file *f = file_of(fd);
    begin_dirty(f);
    for (uint64_t no = off / SECTOR; len && no <= (off + len - 1) / SECTOR; no++)
        remember(f, no);
}

static void contents_durable(int fd)
{
    struct file *f = file_of(fd);
    f->dirty = false;
    while (f->olds) {
        struct old *o = f->olds;
        f->olds = o->next;
        free(o);
    }
}

static bool in_folder(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

static void folder_durable(const char *folder)
{
    for (struct change **p = &changes; *p;) {
        struct change *c = *p;
        if (!in_folder(c->path, folder) && !(c->to && in_folder(c->to, folder))) {
            p = &c->prev;
            continue;
        }
        *p = c->prev;
        if (c->attic)
            r_unlink(c->attic);
        free(c->path);
        free(c->to);
        free(c->attic);
        free(c);
    }
}

static struct change *changed(int what, const char *path, const char *to)
{
    struct change *c = calloc(1, sizeof *c);
    if (!c)
        die("no memory");
    c->what = what;
    c->path = strdup(path);
    c->to = to ? strdup(to) : NULL;
    c->prev = changes;
    changes = c;
    return c;
}

static char *attic_name(void)
{
    char *p = NULL;
    if (asprintf(&p, "%s/%d.%lu", attic, (int)getpid(), ++attic_no) < 0)
        die("no memory");
    return p;
}

/* ---- what the program calls ---- */

static void enter(void)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
}

static int leave(int r)
{
    int e = errno;
    pthread_mutex_unlock(&lock);
    errno = e;
    return r;
}

static int refuse(int e)
{
    errno = e;
    return -1;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    struct stat st;
    enter();
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!writes || (flags & O_TMPFILE) == O_TMPFILE || !resolve(dirfd, path, full))
        return leave(r_openat(dirfd, path, flags, mode));
    if (readonly)
        return leave(refuse(EROFS));
    bool there = lstat(full, &st) == 0;
    int e = !there && (flags & O_CREAT) ? operation("create", full) : 0;
    if (e)
        return leave(refuse(e));
    int fd = r_openat(dirfd, path, flags & ~O_TRUNC, mode);
    if (fd < 0)
        return leave(-1);
    if (!there)
        changed(MADE, full, NULL);
    if (there && (flags & O_TRUNC) && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        operation("truncate", full);
        before_write(fd, 0, (uint64_t)st.st_size);
        if (r_ftruncate(fd, 0))
            die("cannot cut a file");
    }
    return leave(fd);
}

static mode_t mode_of(int flags, va_list ap)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? (mode_t)va_arg(ap, int) : 0;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode_t mode = mode_of(flags, ap);                                                                              \
        va_end(ap);                                                                                                    \
        return open_any(AT_FDCWD, path, flags, mode);                                                                  \
    }
#define OPENAT(name)                                                                                                   \
    int name(int dirfd, const char *path, int flags, ...)                                                              \
    {                                                                                                                  \
        va_list ap;                                                                                                    \
        va_start(ap, flags);                                                                                           \
        mode_t mode = mode_of(flags, ap);                                                                              \
        va_end(ap);                                                                                                    \
        return open_any(dirfd, path, flags, mode);                                                                     \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t len)
{
    char full[PATH_MAX];
    enter();
    int e = 0;
    if (resolve_fd(fd, full)) {
        off_t at = fcntl(fd, F_GETFL) & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
        e = operation("write", full);
        if (!e)
            before_write(fd, (uint64_t)at, len);
    }
    ssize_t n = e ? refuse(e) : r_write(fd, data, len);
    leave(0);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t off)
{
    char full[PATH_MAX];
    enter();
    int e = 0;
    if (resolve_fd(fd, full)) {
        e = operation("write", full);
        if (!e)
            before_write(fd, (uint64_t)off, len);
    }
    ssize_t n = e ? refuse(e) : r_pwrite(fd, data, len, off);
    leave(0);
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off_t off)
{
    return pwrite(fd, data, len, off);
}

/* Refused, so that whoever can copy in this way reads and writes instead. */
ssize_t copy_file_range(int from, off_t *from_off, int to, off_t *to_off, size_t len, unsigned flags)
{
    (void)from, (void)from_off, (void)to, (void)to_off, (void)len, (void)flags;
    errno = ENOSYS;
    return -1;
}

int ftruncate(int fd, off_t len)
{
    char full[PATH_MAX];
    struct stat st;
    enter();
    if (resolve_fd(fd, full) && fstat(fd, &st) == 0) {
        operation("truncate", full);
        if (len < st.st_size)
            before_write(fd, (uint64_t)len, (uint64_t)(st.st_size - len));
        else
            begin_dirty(file_of(fd));
    }
    return leave(r_ftruncate(fd, len));
}

int ftruncate64(int fd, off_t len)
{
    return ftruncate(fd, len);
}

static int sync_any(int fd, int (*real)(int))
{
    char full[PATH_MAX];
    struct stat st;
    enter();
    if (!active || fstat(fd, &st))
        return leave(real(fd));
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, full, sizeof full - 1);
    full[n > 0 ? n : 0] = 0;
    bool folder = S_ISDIR(st.st_mode), ours = below_root(full) || strcmp(full, root) == 0;
    if (!ours || (!folder && !S_ISREG(st.st_mode)))
        return leave(real(fd));
    int e = operation("sync", strcmp(full, root) == 0 ? strcat(full, "/.") : full);
    if (e)
        return leave(refuse(e));
    if (folder) {
        full[n] = 0;
        folder_durable(full);
    } else {
        contents_durable(fd);
    }
    return leave(0); /* the real one would only cost time: nothing of this is on a disk */
}

int fsync(int fd)
{
    pthread_once(&once, start);
    return sync_any(fd, r_fsync);
}

int fdatasync(int fd)
{
    pthread_once(&once, start);
    return sync_any(fd, r_fdatasync);
}

int rename(const char *from, const char *to)
{
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    enter();
    if (!resolve(AT_FDCWD, from, a) || !resolve(AT_FDCWD, to, b))
        return leave(r_rename(from, to));
    if (readonly)
        return leave(refuse(EROFS));
    int e = operation("rename", b);
    if (e)
        return leave(refuse(e));
    char *kept = NULL;
    if (lstat(b, &st) == 0 && S_ISREG(st.st_mode)) {
        kept = attic_name();
        if (r_link(b, kept))
            die("cannot keep what is overwritten");
    }
    if (r_rename(a, b)) {
        free(kept);
        return leave(-1);
    }
    changed(RENAMED, a, b)->attic = kept;
    return leave(0);
}

int link(const char *from, const char *to)
{
    char b[PATH_MAX];
    enter();
    if (!resolve(AT_FDCWD, to, b))
        return leave(r_link(from, to));
    if (readonly)
        return leave(refuse(EROFS));
    int e = operation("link", b);
    if (e || r_link(from, to))
        return leave(e ? refuse(e) : -1);
    changed(LINKED, b, NULL);
    return leave(0);
}

static int unlink_any(int dirfd, const char *path, int flags)
{
    char full[PATH_MAX];
    struct stat st;
    enter();
    if (!resolve(dirfd, path, full) || lstat(full, &st))
        return leave(r_unlinkat(dirfd, path, flags));
    if (readonly)
        return leave(refuse(EROFS));
    if (flags & AT_REMOVEDIR) {
        operation("rmdir", full);
        if (r_unlinkat(dirfd, path, flags))
            return leave(-1);
        changed(REMOVED_FOLDER, full, NULL);
        return leave(0);
    }
    if (S_ISDIR(st.st_mode))
        return leave(refuse(EISDIR));
    operation("unlink", full);
    char *kept = attic_name();
    if (r_rename(full, kept)) {
        free(kept);
        return leave(-1);
    }
    changed(REMOVED, full, NULL)->attic = kept;
    return leave(0);
}

int unlink(const char *path)
{
    return unlink_any(AT_FDCWD, path, 0);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    return unlink_any(dirfd, path, flags);
}

int rmdir(const char *path)
{
    return unlink_any(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];
    enter();
    if (!resolve(AT_FDCWD, path, full))
        return leave(r_mkdir(path, mode));
    if (readonly)
        return leave(refuse(EROFS));
    int e = operation("mkdir", full);
    if (e || r_mkdir(path, mode))
        return leave(e ? refuse(e) : -1);
    changed(MADE_FOLDER, full, NULL);
    return leave(0);
}

int raise(int sig)
{
    enter();
    if (active && lose && sig == SIGKILL)
        power_fails();
    leave(0);
    return r_raise(sig);
}
