/*
 * bundle_sort: byte strings put into order with little memory. What does not fit is sorted in runs, the runs lie in the
 * writer's spool, and sorter_each() merges them.
 */
#ifndef GS_BUNDLE_SORT_H
#define GS_BUNDLE_SORT_H

#include "libcommon/buf.h"

struct bundle_writer;

struct sorter {
    struct bundle_writer *w; /* whose spool takes the runs */
    size_t max;              /* bytes in memory before a run is written */
    struct gs_buf bytes;     /* every string behind its length (4 bytes, native) */
    size_t *at;              /* where each begins in `bytes` */
    size_t n, cap;
    struct sorter_run {
        uint64_t off, len; /* in the spool */
    } * runs;
    size_t n_runs, cap_runs;
};

void sorter_init(struct sorter *s, struct bundle_writer *w, size_t max_memory);
void sorter_release(struct sorter *s);
int sorter_add(struct sorter *s, const void *data, size_t len, struct gs_err *err) GS_MUST_USE;
/* Calls `one` for every string in the order of bytes (equal ones as often as they were added). Ends at the first
 * failure. */
int sorter_each(struct sorter *s, int (*one)(void *cookie, const char *data, size_t len, struct gs_err *err),
                void *cookie, struct gs_err *err) GS_MUST_USE;

#endif
