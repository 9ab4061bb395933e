/*
 * capture: reads a group tree into a bundle that is being written: by GitLab's relation exports, over REST and GraphQL, or both.
 *
 * capture_new() -> capture_run() -> capture_summary(), capture_meta() -> the caller finishes the bundle -> capture_free().
 * When everything was read, the source is looked at once more (watch.h): what moved meanwhile is in the books.
 *
 * All calls come from one thread; the client must be used by nobody else meanwhile. Pages are turned into records as they come,
 * downloaded exports by worker threads (relations.h). What is in memory grows with the number of groups (about 500 bytes each), with
 * the number of ids of each list that is open, and with the members and boards of a group that is exported, which are joined.
 */
#ifndef EXPORT_CAPTURE_H
#define EXPORT_CAPTURE_H

#include "formats/bundle.h"
#include "libexport/ahead.h"
#include "libexport/book.h"
#include "libexport/staging.h"
#include "libgitlab/rest.h"

enum capture_via { CAPTURE_AUTO, CAPTURE_API, CAPTURE_RELATIONS };

struct capture_progress {
    uint64_t groups_found, groups_done, records;
    bool discovering;
    bool looking;         /* everything was read; the source is looked at once more */
    uint64_t groups_looked;
    unsigned exporting, downloading; /* groups whose export the source is making; files on their way */
    struct gl_stats http;
};

struct capture_opts {
    struct gl_client *client;
    const struct gl_instance *instance;
    const char *group;        /* full path or id */
    struct capture_ahead *ahead; /* what was asked for of the group already; NULL: nothing. Used once: by the first pass */
    bool no_subgroups;
    unsigned pass;            /* number of this pass over the source, 0: the first */
    const struct book_change *settled; /* what had moved after earlier passes; lives as long as the capture */
    size_t n_settled;
    bool thorough;            /* the look at the end follows long lists to their end */
    bool once;                /* the source is not looked at again, and what is not carried is not counted */
    bool reproducible;        /* the same records give the same bytes: what the capture cost is not in its ledger */
    unsigned jobs;            /* as the client's; bounds the groups that are open at a time. 0: 8 */
    enum capture_via via;     /* relation exports where they are open (auto), never, or only */
    int64_t export_timeout_ms; /* an export without progress for so long is given up; 0: 90 minutes */
    const struct gs_log *log;
    volatile int *stop;       /* the client's; set by capture_run() itself when it fails, so that requests on the way end. Or NULL */
    void (*progress)(void *cookie, const struct capture_progress *p); /* may be NULL; called at every turn of the loop */
    void *cookie;
    /* Every record, as it is stored, on the thread of capture_run(); one that is given up later came as well. NULL: nobody wants them. */
    int (*record)(void *cookie, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err);
    void *record_cookie;
    struct staging *staging;  /* where answers are kept and found; NULL: nowhere, and nothing is read by export. Lives longer than
                               * the capture */
};

struct capture;

int capture_new(const struct capture_opts *o, struct bundle_writer *w, struct capture **out, struct gs_err *err) GS_MUST_USE;
/*
 * With `staging`, the answers that an earlier run received are not asked for again, and the bundle is the one that an unbroken run
 * would have made. Sets the client's gl_keep meanwhile.
 *
 * GS_E_GROUP_NOT_FOUND, GS_E_FORBIDDEN, GS_E_TOKEN, GS_E_STOPPED, GS_E_DISK_FULL, GS_E_SERVER, GS_E_STAGING_OTHER ...
 * What a single group or relation refuses is no failure: it is in the books.
 */
int capture_run(struct capture *c, struct gs_err *err) GS_MUST_USE;
/* Forgets the kept answers of all that moved, so that the next pass reads it again, and everything else from what is kept. */
int capture_forget(struct capture *c, struct gs_err *err) GS_MUST_USE;
void capture_summary(struct capture *c, struct book_summary *out);
/* Fills what the capture knows of the manifest; strings live as long as the capture, its client and instance. */
void capture_meta(const struct capture *c, struct bundle_meta *out);
uint64_t capture_groups(const struct capture *c);
void capture_free(struct capture *c);
GS_DEFINE_AUTO(capture, capture_free);

/* "owner", "maintainer" ... of an access level; "none" for 0, "level N" is not given out: NULL when unknown. */
const char *capture_role_name(int64_t access_level);

#endif
