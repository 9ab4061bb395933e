/*
 * staging_status: how far a running or stopped capture is, out of its staging folder alone.
 *
 * Nothing is changed and no lock is taken, so that it may be asked at any time. What the run itself tells (groups, records, the
 * current wait) is at most a second old while it runs.
 */
#ifndef EXPORT_STAGING_STATUS_H
#define EXPORT_STAGING_STATUS_H

#include "formats/reasons.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct staging;

struct staging_relation {
    char name[64];
    uint64_t answers, bytes, retries; /* kept; bytes of the bodies; further tries that these answers took */
    uint64_t files, file_bytes;       /* downloads that are finished */
    uint64_t records, groups;         /* stored by the last run so far */
    int64_t waited_ms;                /* between the tries of these answers */
};

struct staging_status {
    bool running;
    char *url, *root_path, *username, *version; /* NULL: not known yet */
    int64_t root_id;
    int64_t begun_ms, active_ms; /* of the first run; of the last sign of life. Milliseconds since 1970, 0: none */
    int64_t run_begun_ms;        /* of the last run */
    unsigned runs;
    uint64_t answers, bytes, retries, files, file_bytes, exports;
    /* of the last run, as it told */
    uint64_t groups_found, groups_done, records, requests, kept;
    bool discovering;
    unsigned in_flight;
    int64_t waited_ms;
    int64_t pause_ms; /* how long a running capture still has to wait because the server asked for it */
    /* why the last run ended; "" while it runs, and when it was killed */
    int64_t ended_ms;
    char code[48];
    char *text;
    struct staging_relation *relations; /* by name */
    size_t n_relations;
    struct reasons reasons; /* of the last run so far: fallbacks, and what was not read at all */
};

/* GS_E_NOT_FOUND when there is no capture in `dir`; GS_E_STAGING_DAMAGED, GS_E_STAGING_NEWER. Release `out` only on success. */
int staging_status_read(const char *dir, struct staging_status *out, struct gs_err *err) GS_MUST_USE;
/* The same of an open store, by its own thread. */
int staging_status(struct staging *s, struct staging_status *out, struct gs_err *err) GS_MUST_USE;
void staging_status_release(struct staging_status *st);

#endif
