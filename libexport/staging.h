/*
 * staging: what a capture has received so far, kept on disk, so that the same capture begun again asks only for the rest.
 *
 * A capture is a function of the answers that it gets. The staging folder (FILE.work) keeps each complete answer in a database
 * (staging.db: SQLite, WAL), and each downloaded file beside it (files/). A run that finds the folder walks the same way, gets
 * these answers without the network, and makes the same bundle.
 *
 *   staging_open() -> staging_begin() (is it of the same capture?) -> staging_keep() given to the client, the calls below
 *   -> staging_close(); staging_remove() instead once the bundle is safe.
 *
 * What survives: an answer or file that was handed over is stored by a thread of its own within milliseconds, and then
 * survives the end of the process; no request leaves before all that came is stored (gl_keep.settled). Against loss of power it
 * is made safe every second or 8 MiB. All calls come from one thread, the one that runs the client.
 *
 * Once the thread fails (GS_E_DISK_FULL, GS_E_IO), every later call fails with its error. What was stored stays usable.
 */
#ifndef EXPORT_STAGING_H
#define EXPORT_STAGING_H

#include "libcommon/cleanup.h"
#include "libexport/book.h"
#include "libgitlab/http.h"

#include <stdbool.h>
#include <stdint.h>

struct staging;

struct staging_opts {
    bool fresh; /* throw away what an earlier run kept */
    const struct gs_log *log; /* may be NULL */
};

/*
 * Opens or makes the folder `dir` (0700; the files in it 0600: answers are kept as they came, with what the bundle withholds).
 * GS_E_LOCKED, GS_E_STAGING_DAMAGED, GS_E_STAGING_NEWER, GS_E_DISK_FULL, GS_E_IO.
 */
int staging_open(const char *dir, const struct staging_opts *o, struct staging **out, struct gs_err *err) GS_MUST_USE;
/* Stores what is still on its way, notes `why` the run ends (NULL: it says nothing about that), and closes. A folder in which nothing
 * was kept is removed; *out_kept (may be NULL) tells whether it is still there. The client that was given to staging_keep() must
 * still live. NULL is fine. */
void staging_close(struct staging *s, const struct gs_err *why, bool *out_kept);
/* Closes, and removes the folder with everything in it. */
int staging_remove(struct staging *s, struct gs_err *err) GS_MUST_USE;
/* The folder in which the bundle writer works ("FILE.work/pack"), empty at every start. Lives as long as `s`. */
const char *staging_pack_dir(const struct staging *s);

/* What a capture is of. All strings are needed. */
struct staging_identity {
    const char *url;
    int64_t root_id;
    const char *root_path;
    int64_t user_id;
    const char *username;
    const char *version; /* of the GitLab */
};

/*
 * Begins a pass over the source: notes the identity, or compares it with that of the run that began the capture; another URL,
 * root, or user is GS_E_STAGING_OTHER. Another version is none: *out_old_version then holds the former one (the caller frees;
 * NULL otherwise). Says in the log what was found. Refusals (HTTP 403, 404, 405) that an earlier run met are forgotten: the right may
 * have been given since, or the setting changed. Every pass of one run begins like this; what was handed over before is found.
 */
int staging_begin(struct staging *s, const struct staging_identity *id, char **out_old_version, struct gs_err *err) GS_MUST_USE;
/*
 * Notes the role of the token's user in the root group ("": not known), asked of the server in this run, before answers are found. When
 * an earlier run noted another, what is shown to some roles only is forgotten.
 */
int staging_role(struct staging *s, const char *role, struct gs_err *err) GS_MUST_USE;
/* The store of answers to give to gl_client_keep(). `client` is woken up; NULL: none. */
struct gl_keep staging_keep(struct staging *s, struct gl_client *client);
/* What is kept: complete answers, finished files. Waits until all is stored. */
int staging_counts(struct staging *s, uint64_t *out_answers, uint64_t *out_files, struct gs_err *err) GS_MUST_USE;
/* Notes that the bundle with this set id is about to get its name, and the exit code that its capture earned. */
int staging_note_bundle(struct staging *s, const char *set_id, int exit_code, struct gs_err *err) GS_MUST_USE;
/* What was noted, and of which source and group; *out_set_id NULL: nothing. The caller frees the texts. */
int staging_noted_bundle(struct staging *s, char **out_set_id, char **out_url, char **out_root_path, int64_t *out_root_id,
                         int *out_exit_code, struct gs_err *err) GS_MUST_USE;
/* When the first run began (milliseconds since 1970), and the number of this run, from 1. */
int64_t staging_started_ms(const struct staging *s);
unsigned staging_run(const struct staging *s);

/*
 * Forgets the answers, exports and files that carry this tag, so that they are asked for again; relation NULL: all of the group.
 * *out_n: how many (may be NULL).
 */
int staging_forget(struct staging *s, int64_t group, const char *relation, uint64_t *out_n, struct gs_err *err) GS_MUST_USE;

/* How far the run is, for `snap status`. */
struct staging_progress {
    uint64_t groups_found, groups_done, records;
    bool discovering;
    struct gl_stats http;
    const struct book_relation_sum *relations;
    size_t n_relations;
    const struct reason *reasons; /* as in the summary of the book */
    size_t n_reasons;
};
/* Is it time for staging_progress()? Once a second it is. */
bool staging_progress_due(const struct staging *s);
int staging_progress(struct staging *s, const struct staging_progress *p, struct gs_err *err) GS_MUST_USE;

/* ---- exports that were started on the server ---- */

struct staging_export {
    int64_t group;
    int64_t started_ms;        /* by our clock */
    int64_t server_started_ms; /* by the server's, 0: not known */
    bool batched;
    char note[256]; /* whatever else the caller wants to know again, such as a small JSON object */
};

int staging_export_get(struct staging *s, int64_t group, struct staging_export *out, bool *out_found,
                       struct gs_err *err) GS_MUST_USE;
/* Replaces what was noted for the group. Stored like an answer. */
int staging_export_set(struct staging *s, const struct staging_export *e, struct gs_err *err) GS_MUST_USE;
/* The export is over or expired. An absent one is fine. */
int staging_export_drop(struct staging *s, int64_t group, struct gs_err *err) GS_MUST_USE;

/* ---- files that were downloaded ---- */

#define STAGING_DIGEST_LEN 32

/*
 * A file that comes piece by piece:
 *
 *   staging_file_begin(s, "7-labels.gz", &f) -> staging_file_write(f, ...) ... -> staging_file_commit(f, tag)
 *   staging_file_restart(f) when it begins anew; staging_file_abandon(f) instead of commit
 *
 * A name is made of letters, digits, '.', '_' and '-', does not begin with a dot, and has at most 200 bytes.
 */
struct staging_file;

int staging_file_begin(struct staging *s, const char *name, struct staging_file **out, struct gs_err *err) GS_MUST_USE;
int staging_file_write(struct staging_file *f, const void *data, size_t len, struct gs_err *err) GS_MUST_USE;
int staging_file_restart(struct staging_file *f, struct gs_err *err) GS_MUST_USE;
uint64_t staging_file_size(const struct staging_file *f);

/* What is known of a file that is there. */
struct staging_file_info {
    char *path; /* owned: staging_file_info_release() */
    uint64_t size;
    uint8_t digest[STAGING_DIGEST_LEN]; /* BLAKE2b-256 of the content */
    uint64_t records;                   /* as told to commit */
};
void staging_file_info_release(struct staging_file_info *i);

/* Gives the file its name, where it replaces an older one, and notes it. `records` is for `snap status`, 0: not known. Frees `f` in
 * any case. `out` may be NULL. */
int staging_file_commit(struct staging_file *f, struct gl_tag tag, uint64_t records, struct staging_file_info *out,
                        struct gs_err *err) GS_MUST_USE;
/* NULL is fine. */
void staging_file_abandon(struct staging_file *f);
/* Is there a finished file of this name? One that is not as long as it was is not. */
int staging_file_have(struct staging *s, const char *name, struct staging_file_info *out, bool *out_found,
                      struct gs_err *err) GS_MUST_USE;
int staging_file_drop(struct staging *s, const char *name, struct gs_err *err) GS_MUST_USE;

#endif
