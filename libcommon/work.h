/*
 * work: a few worker threads behind a bounded queue.
 *
 * gs_work_new() -> gs_work_submit()... -> gs_work_wait() (all submitted jobs have ended) -> gs_work_free().
 * Jobs run in any order and report through memory that their argument names. gs_work_submit() blocks while the queue
 * is full, which is what keeps memory constant. Submit and wait belong to one thread.
 */
#ifndef GS_WORK_H
#define GS_WORK_H

#include "cleanup.h"
#include "err.h"

struct gs_work;

/* `threads` 0 means the number of cores (at most 8). `queue` is the number of jobs that may wait, at least 1. */
int gs_work_new(unsigned threads, unsigned queue, struct gs_work **out, struct gs_err *err) GS_MUST_USE;
unsigned gs_work_threads(const struct gs_work *w);
void gs_work_submit(struct gs_work *w, void (*job)(void *arg), void *arg);
void gs_work_wait(struct gs_work *w);
/* Waits for what was submitted, then ends the threads. NULL is fine. */
void gs_work_free(struct gs_work *w);

GS_DEFINE_AUTO(gs_work, gs_work_free);

#endif
