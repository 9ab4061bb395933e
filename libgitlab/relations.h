/*
 * relations: GitLab's relation export API (/groups/:id/export_relations): start, status, download.
 *
 * The server makes one file per relation in background jobs; the caller starts them, asks for the status until a relation is
 * finished, and downloads it. In batched form (GitLab 16.2) a relation comes as several files.
 */
#ifndef GL_RELATIONS_H
#define GL_RELATIONS_H

#include "libgitlab/http.h"

#define GL_EXPORT_MAX_BATCHES 1000000 /* of one relation */

enum gl_export_state { GL_EXPORT_PENDING = -2, GL_EXPORT_FAILED = -1, GL_EXPORT_STARTED = 0, GL_EXPORT_FINISHED = 1 };

struct gl_export_batch {
    unsigned number; /* from 1 */
    enum gl_export_state state;
    int64_t objects; /* -1: the server did not say */
    char error[160];
};

struct gl_export_relation {
    char name[64];
    enum gl_export_state state;
    int64_t updated_ms; /* 0: the server did not say */
    bool batched;
    unsigned n_batches; /* as announced, 0 when not batched */
    int64_t objects;    /* announced records of all batches together, -1: the server did not say */
    char error[160];    /* why it failed, in the server's words */
    struct gl_export_batch *batches; /* those of which the answer tells */
    size_t n_told;
};

struct gl_export_status {
    struct gl_export_relation *v;
    size_t n;
};

/*
 * Reads an answer of the status endpoint: an array, one object (of servers asked about one relation), or null. What has no name or
 * no known state is passed over; a name that no bundle could hold as well. GS_E_REMOTE for other JSON, GS_E_LIMIT.
 */
int gl_export_status_parse(const char *body, size_t len, struct gl_export_status *out, struct gs_err *err) GS_MUST_USE;
void gl_export_status_release(struct gl_export_status *s);
/* NULL when it is not told of. */
const struct gl_export_relation *gl_export_find(const struct gl_export_status *s, const char *name);

/*
 * Requests; NULL: no memory. Starting again what was started is harmless, so it is repeated like a read. All are `live`.
 */
struct gl_request *gl_export_start(int64_t group, bool batched);
struct gl_request *gl_export_poll(int64_t group);
/* `batch` 0: the unbatched file. The caller sets sink, sink_restart, done and cookie. */
struct gl_request *gl_export_download(int64_t group, const char *relation, unsigned batch);

/* What a refusal of one of the three means. */
enum gl_export_refusal {
    GL_EXPORT_OTHER = 0,   /* nothing particular: look at the error */
    GL_EXPORT_OFF,         /* 404 at start or status: the instance does not offer it (or the group is gone) */
    GL_EXPORT_NOT_OWNER,   /* 403, also for a token without the scope `api` */
    GL_EXPORT_NO_BATCHES,  /* the server does not know or want the parameter `batched`, or the export is not batched */
    GL_EXPORT_IS_BATCHED,  /* the unbatched file was asked of a batched export */
    GL_EXPORT_GONE,        /* 404 at download: the file expired, or the export is another one now */
};
enum gl_export_refusal gl_export_refusal(const struct gl_response *rsp, bool download);

/*
 * A judge of downloaded bytes: content type and first bytes are those of a gzip file. `started` keeps how much of it came; call it
 * with every piece. GS_E_REMOTE for an HTML page or anything else that is no gzip.
 */
struct gl_gzip_head {
    unsigned char first[2];
    unsigned n;
};
int gl_gzip_check(struct gl_gzip_head *h, const void *data, size_t len, struct gs_err *err) GS_MUST_USE;

#endif
