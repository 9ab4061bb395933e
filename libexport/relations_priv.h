/*
 * What the parts of a capture by relation export share: relations.c drives the groups, relations_export.c their exports at the server,
 * relations_download.c the files, relations_group.c what becomes of each relation of one group, relations_job.c turns downloaded files
 * into records on worker threads.
 */
#ifndef EXPORT_RELATIONS_PRIV_H
#define EXPORT_RELATIONS_PRIV_H

#include "libexport/archive_users.h"
#include "libexport/capture_priv.h"
#include "libcommon/work.h"
#include "libexport/relations.h"
#include "libexport/staging.h"
#include "libgitlab/relations.h"

#include <pthread.h>

/* ---- jobs ---- */

enum rel_form { REL_LINES, REL_SELF, REL_UPLOADS };

/* What a job has to say to the ledger. */
struct rel_note {
    enum { NOTE_MISSING, NOTE_LOST, NOTE_LEFT_OUT } kind;
    const char *rule;
    char what[80];
    uint64_t count;
    char detail[200];
};

/*
 * The files of one relation of one group, read by a worker thread. The event thread fills the first half, submits it, and reads
 * the second half when rel_job_run() has ended; nothing else touches it meanwhile.
 */
struct rel_job {
    struct rel_item *item;
    struct rel_job *next;
    int64_t group_id;
    const char *relation;
    enum rel_form form;
    char **paths; /* in the order of the batches */
    size_t n_paths;
    struct shelf *shelf;       /* additions; NULL: none are known */
    bool strict;               /* a line that is no record ends it: the API can give the relation */
    bool may_ask;              /* additions can still be asked for: stop when they are needed */
    const volatile int *stop;
    struct bundle_writer *writer;
    struct sink *sink;         /* NULL for uploads; owned */

    int rc;
    struct gs_err err;
    bool needs_more;           /* rc -1: nothing is stored, additions are needed */
    struct archive_users *users;
    uint64_t lines;            /* records that came, stored or not */
    uint64_t added;            /* records that only the shelf had */
    uint64_t invited;          /* invitations among the members, which are counted elsewhere */
    uint64_t left_out, bytes;  /* bytes: unpacked, of files without their tar */
    uint64_t files;            /* of uploads */
    uint64_t refused;          /* of uploads: came, and were left out */
    uint64_t alone, nested_alone; /* records to which the API added nothing, and iterations in them */
    bool avatar;
    struct idset names;
    struct rel_note *notes;
    size_t n_notes, cap_notes;
};

void rel_job_run(struct rel_job *j);
/* NULL is fine. The sink is abandoned unless it was taken. */
void rel_job_free(struct rel_job *j);

/* ---- groups ---- */

enum rel_item_phase {
    ITEM_WAIT,     /* the server is at it */
    ITEM_DOWNLOAD, /* finished there, not all files are here */
    ITEM_FETCHED,  /* all files are here */
    ITEM_JOB,      /* a worker reads them */
    ITEM_DONE,
    ITEM_FAILED,   /* the export failed, again and again; `why` says how */
    ITEM_ABSENT,   /* the export does not have it */
};

/* One relation of one group on its way. */
struct rel_item {
    struct rel_group *rg;
    char name[64];
    enum rel_item_phase phase;
    bool settled;         /* FAILED and ABSENT: what is to be done about it was done */
    int64_t updated_ms;   /* of the export that is taken */
    bool batched;
    bool open_ended;      /* how many batches there are is not told: until one is not there */
    unsigned n_batches;   /* files: n_batches when batched, else 1 */
    unsigned next_batch;  /* first file that was not asked for, from 0 */
    unsigned in_flight;
    int64_t objects;
    int64_t failed_ms;    /* updated_ms of the failure that was seen; -1: it told none */
    unsigned failures;    /* of the export at the server */
    unsigned gone;        /* downloads that were not there (any more) */
    unsigned damaged;     /* files that turned out to be damaged */
    bool asked_more;      /* the API is asked as well: struct rel_more */
    struct gs_err why;
};

enum rel_group_state { RG_QUEUED, RG_STARTING, RG_EXPORTING, RG_SETTLED };

#define REL_MAX_ITEMS 64
#define REL_POLL_MIN_MS 500
#define REL_MAX_STARTS 3

/* What the API adds to the records of an export, asked for when one turns out to need it. */
struct rel_more {
    struct shelf shelf;
    struct gs_err why; /* set when the API gave none */
};

struct rel_group {
    struct relations *all;
    struct rel_group *prev, *next;
    struct cap_group *g;
    enum rel_group_state state;
    bool asked_batched;
    unsigned starts;            /* how often the export was started, earlier runs included */
    unsigned resumed;           /* it was started by an earlier run */
    bool polling;               /* a request for the status is on its way */
    bool again;                 /* the export has to be started once more, when nothing else of it is under way */
    bool refused;               /* the group cannot be exported */
    bool decided;               /* what the export does not have is known, and asked of the API */
    struct gs_err why;
    int64_t server_start_ms;    /* what was exported before is none of ours */
    int64_t next_poll_ms, interval_ms; /* monotonic */
    int64_t progress_ms;        /* monotonic: when something last changed */
    int64_t quiet_since_ms;     /* monotonic: all that is shown is final since then; 0: it is not */
    int64_t restart_at_ms;      /* monotonic: an export that is too young to be redone is old enough then; 0: none */
    bool stalled;               /* an earlier run gave it up: when it has not moved since, it is started again */
    bool told_wait;             /* that it is waited for restart_at_ms was said */
    uint64_t signature;         /* of the last status */
    struct rel_item items[REL_MAX_ITEMS];
    size_t n_items;
    struct shelf self, members;
    struct gs_err members_why; /* set when the API gave none */
    struct rel_more boards, cadences, epic_boards;
    bool prevent_known, prevent; /* what REST says of the namespace settings */
    char *avatar_url;
};

struct rel_download {
    struct rel_item *item;
    unsigned batch; /* 0: the unbatched file */
    struct staging_file *file;
    struct gl_gzip_head head;
};

struct relations {
    struct capture *cap;
    enum capture_via via;
    struct rel_group *first, *last; /* open ones, in the order in which they were opened */
    unsigned exporting;        /* groups whose export is under way at the server */
    unsigned downloading;      /* downloads on the wire */
    bool batches_refused;      /* this server takes no `batched` */
    bool off;                  /* refused for the root: everything by the API */
    char known[REL_MAX_ITEMS][64]; /* relations that the first complete export of this server had */
    size_t n_known;
    struct gs_work *work;
    struct rel_job *ready, *ready_last; /* wait for a worker */
    unsigned working;
    pthread_mutex_t lock;
    struct rel_job *done;      /* under the lock */
    struct idset mentioned;    /* users that records mention */
};

/* relations_group.c: all on the event thread. -1 fails the capture. */

/* NULL when the group has no such relation. */
struct rel_item *rel_item(struct rel_group *rg, const char *name);
/* What the API adds to the relation of this name; NULL: nothing, or always. */
struct rel_more *rel_more(struct rel_group *rg, const char *name);
/* The relation with this name, made when it is not there; NULL: too many. */
struct rel_item *rel_item_need(struct rel_group *rg, const char *name);
/* Moves on what can move on: files to jobs, failures to the API. *out_over: nothing is left to do. */
int rel_group_step(struct rel_group *rg, bool *out_over, struct gs_err *err) GS_MUST_USE;
/* A job has ended; frees it. */
int rel_job_ended(struct rel_job *j, struct gs_err *err) GS_MUST_USE;
/* Name of a file in the staging folder. */
void rel_file_name(const struct rel_item *it, unsigned batch, char *out, size_t cap);
/* Writes what is known of an export that is settled, or was given up, into the staging folder, and finds it there again. */
int rel_group_note(struct rel_group *rg, struct gs_err *err) GS_MUST_USE;
int rel_group_recall(struct rel_group *rg, bool *out_found, struct gs_err *err) GS_MUST_USE;
int rel_group_forget(struct rel_group *rg, struct gs_err *err) GS_MUST_USE;

/* relations_export.c */

/* Starts it (again): the group is RG_STARTING until the server has said something. */
int rel_start_export(struct rel_group *rg, struct gs_err *err) GS_MUST_USE;
/* The server gives no export of this group: all of it is read over the API. */
void rel_refuse_group(struct rel_group *rg, const struct gs_err *why);
int rel_poll_status(struct rel_group *rg, struct gs_err *err) GS_MUST_USE;
/* Nothing of the export is waited for any more: what it does not have by now it will not have. */
int rel_settle(struct rel_group *rg, struct gs_err *err) GS_MUST_USE;
/* Notes which relations this export has, as what those of the other groups should have. */
void rel_learn(struct rel_group *rg);

/* relations_download.c */

/* Files of this relation have to be downloaded (again). */
void rel_download_again(struct rel_item *it);
/* Asks for files of it that are not here, as long as fewer than `max` are on the wire. */
int rel_download_more(struct rel_item *it, unsigned max, struct gs_err *err) GS_MUST_USE;

/* relations.c */
void rel_submit(struct relations *r, struct rel_job *j);

#endif
