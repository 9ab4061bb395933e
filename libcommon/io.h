/*
 * io: files, written whole or not at all, and the seam through which readers see bytes.
 *
 * struct gs_source is what a reader reads from: a file opened once, or memory in a test. Reads are at explicit
 * offsets, so one source serves several threads.
 */
#ifndef GS_IO_H
#define GS_IO_H

#include "buf.h"
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

struct gs_source {
    void *cookie;
    uint64_t size; /* bytes, fixed when opened */
    /* Reads up to `len` bytes at `off`; *out_n is 0 only at the end. */
    int (*read_at)(void *cookie, uint64_t off, void *buf, size_t len, size_t *out_n, struct gs_err *err);
    void (*close)(void *cookie);
};

/* Opens a regular file (anything else is GS_E_IO; absent: GS_E_NOT_FOUND). `src->close` ends it. */
int gs_source_open(const char *path, struct gs_source *out, struct gs_err *err) GS_MUST_USE;
/* Reads from memory that the caller keeps until the source is closed. */
void gs_source_mem(const void *data, size_t len, struct gs_source *out);
void gs_source_close(struct gs_source *src);
/* Reads exactly `len` bytes; fewer is GS_E_TRUNCATED. */
int gs_source_read(const struct gs_source *src, uint64_t off, void *buf, size_t len, struct gs_err *err) GS_MUST_USE;

/* Writes everything, going on after EINTR and short writes. `name` is for the message. */
int gs_write_all(int fd, const void *data, size_t len, const char *name, struct gs_err *err) GS_MUST_USE;
/*
 * Opens for reading; absent is GS_E_NOT_FOUND, a folder GS_E_IO. A named pipe is opened at once, without waiting for somebody to
 * write into it: without a writer it reads as empty. *out_fd is the caller's to close.
 */
int gs_open_read(const char *path, int *out_fd, struct gs_err *err) GS_MUST_USE;
/* Reads a whole file of at most `max` bytes into `out` (which the caller has initialised). */
int gs_read_file(const char *path, size_t max, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* fsync of the folder that holds `path`, so that a rename in it is durable. */
int gs_sync_parent(const char *path, struct gs_err *err) GS_MUST_USE;
/* mkdir that accepts an existing folder. */
int gs_mkdir(const char *path, struct gs_err *err) GS_MUST_USE;
/* The same with all folders above it; those that are made have this mode. */
int gs_mkdirs(const char *path, unsigned mode, struct gs_err *err) GS_MUST_USE;
/* Removes a folder with everything in it; an absent one is fine. Does not follow links. */
int gs_remove_tree(const char *path, struct gs_err *err) GS_MUST_USE;

/*
 * A file that appears whole or not at all: written under a temporary name in the same folder, synced, renamed.
 *
 *   struct gs_stage st;
 *   gs_stage_open(&st, path, 0644, false, err) ... gs_write_all(st.fd, ...) ... gs_stage_commit(&st, err)
 *   gs_stage_release(&st)    always; removes the temporary file unless it was committed
 */
struct gs_stage {
    int fd;
    bool replace;
    char *path;
    char *tmp;
};

/* `replace` false: an existing file at `path` is GS_E_EXISTS, now and at the commit. */
int gs_stage_open(struct gs_stage *st, const char *path, unsigned mode, bool replace, struct gs_err *err) GS_MUST_USE;
int gs_stage_commit(struct gs_stage *st, struct gs_err *err) GS_MUST_USE;
void gs_stage_release(struct gs_stage *st);
/*
 * Removes temporary files that killed processes left beside `path`. Only for whoever knows (by a lock) that no other process is
 * writing that file now. Nothing there is fine.
 */
int gs_stage_sweep(const char *path, struct gs_err *err) GS_MUST_USE;
/* A file without a name in $TMPDIR (/tmp), for its owner alone: nothing is left of it once *out_fd, the caller's, is closed, however the
 * process ends. */
int gs_temp_open(int *out_fd, struct gs_err *err) GS_MUST_USE;
/* The three steps in one for content that is in memory. */
int gs_write_file(const char *path, const void *data, size_t len, unsigned mode, bool replace,
                  struct gs_err *err) GS_MUST_USE;

#endif
