/*
 * runinfo: what a run writes about itself into the state file, at most once a second, so that another process can say
 * how it goes: who works, how fast, what it waits for, and at the end why it stopped. One fact ("run") of the state;
 * the last run's stays.
 *
 * A run that ends without a word (killed, power lost, disk full) leaves ended_ms at 0; run_info_alive() tells it from
 * one that works.
 */
#ifndef RP_RUNINFO_H
#define RP_RUNINFO_H

#include "libreplay/state.h"

#define RUN_BEAT_MS 1000
#define RUN_WAITS 24 /* waits of one run that are remembered */

struct run_info {
    int64_t pid;
    int64_t proc_start; /* of the process, in clock ticks since boot: tells it from a later one with its number; 0: not
                           known */
    char host[256], boot[40];
    char verb[16];
    int64_t begun_ms, beat_ms; /* since 1970, by the clock of that machine */
    int64_t ended_ms;          /* 0: it runs, or ended without a word */
    uint64_t ended_at_begin;   /* steps that had ended when it began */
    uint64_t requests, in_flight, window, jobs;
    double steps_per_s; /* mean of the last half minute */
    unsigned beats;     /* in that mean; not stored */
    char wait[24];      /* "rate-limit", "unreachable", "server-error" ...; "": it waits for nothing */
    int64_t wait_until_ms;
    struct run_wait {
        char why[24];
        int64_t from_ms, until_ms;
    } waits[RUN_WAITS]; /* for what and when it waited, as far as its signs of life show it */
    unsigned n_waits;
    char end_code[40]; /* of the error that ended it; "": it came to its end */
    char end_text[600];
};

/* Fills in who this process is. */
void run_info_self(struct run_info *i);
/* In the transaction of the caller. What it waits for is added to `waits`. */
int run_info_write(struct state *s, struct run_info *i, struct gs_err *err) GS_MUST_USE;
/* The last run is over, and another one begins: what it said of itself is put to that of earlier ones (fact "runs", the last hundred). In the
 * transaction of the caller. */
int run_info_keep(struct state *s, struct gs_err *err) GS_MUST_USE;
/* All runs that are remembered, the first one first. */
int run_info_each(struct state *s, int (*one)(void *cookie, const struct run_info *i, struct gs_err *err), void *cookie,
                  struct gs_err *err) GS_MUST_USE;
/* *out_found false: nothing ever ran. */
int run_info_read(struct state *s, struct run_info *out, bool *out_found, struct gs_err *err) GS_MUST_USE;
/* Is it still at work? On another machine only its last sign of life can tell. */
bool run_info_alive(const struct run_info *i);

#endif
