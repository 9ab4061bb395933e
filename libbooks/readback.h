/*
 * readback: what stands in a group tree of a GitLab, read by the readers of the capture into a bundle of its own.
 *
 * The bundle lies in a work folder, signed by nobody who matters, until readback_close(). The source is read once: what moves meanwhile is seen or not. New kinds of objects come along as the capture
 * learns to read them.
 */
#ifndef BOOKS_READBACK_H
#define BOOKS_READBACK_H

#include "formats/bundle.h"
#include "libexport/capture.h"

struct readback_opts {
    struct gl_client *client;
    const struct gl_instance *instance;
    const char *group;         /* full path or id */
    struct capture_ahead *ahead; /* what was asked for of the group already; NULL: nothing. Lives longer than the client */
    unsigned jobs;
    const struct gs_log *log;
    volatile int *stop;
    /* Every record, as it is stored; NULL: nobody wants them */
    int (*record)(void *cookie, int64_t group, const char *relation, const char *json, size_t len, struct gs_err *err);
    void *record_cookie;
    void (*progress)(void *cookie, const struct capture_progress *p); /* may be NULL */
    void *cookie;
};

#define READBACK_PLAN "plan.state" /* a file in the folder for who needs one; goes with it */

struct readback {
    char *dir;
    int lock;
    struct bundle *target;
    int64_t began_ms, ended_ms; /* since 1970: what was read was read between */
    struct gl_stats http;
};

/* Makes the work folder, for this run alone; what an earlier run left there goes. GS_E_LOCKED. readback_close() in any case. */
int readback_open(const char *dir, struct readback *out, struct gs_err *err) GS_MUST_USE;
/* What capture_run() gives. Of a relation that the server refuses to show, the ledger of the bundle says so. */
int readback_run(struct readback *r, const struct readback_opts *o, struct gs_err *err) GS_MUST_USE;
/* Removes the folder. */
void readback_close(struct readback *r);

#endif
