/*
 * engine: works a state file off against the target. See state.h for the states and kind.h for the steps.
 */
#ifndef RP_ENGINE_H
#define RP_ENGINE_H

#include "formats/bundle.h"
#include "libgitlab/rest.h"
#include "libreplay/kind.h"
#include "libreplay/state.h"

struct engine_progress {
    uint64_t ops, done, failed, skipped, found, in_flight, requests;
    int64_t elapsed_ms, paused_ms;
    int64_t closed_ms;   /* until the hours of the run begin; 0: they are */
    const char *group;   /* path of a group that is being worked on */
    const char *relation;
};

struct engine_opts {
    struct load_opts load;
    const char *verb;               /* which command runs, for who asks the state file; NULL: "apply" */
    const struct gs_log *log;
    const volatile int *stop;       /* non-zero: finish what is in flight, start nothing, GS_E_STOPPED */
    void (*progress)(void *cookie, const struct engine_progress *p); /* a few times a second */
    void *cookie;
    bool look_only;                 /* only steps found `sent`, and nothing is written: what is there gets its id, what is proven absent
                                       is planned again */
    uint64_t stop_after;            /* ops that this run takes up and brings to their end; 0: all */
    /* Local time of day, minutes since midnight: outside of it nothing new is begun, and the run waits. Equal: always. The window
     * may span midnight. */
    unsigned window_from, window_to;
};

struct engine_result { struct engine_progress p; uint64_t commits; };

/*
 * Returns 0 when every op has ended (failed ones included: see out->p.failed), -1 when the run was cut short: GS_E_STOPPED,
 * GS_E_UNREACHABLE, GS_E_RATE, GS_E_TOKEN, GS_E_DISK_FULL ... The state is good for going on in any case.
 */
int engine_run(struct state *s, struct bundle *b, struct gl_client *c, const struct gl_instance *target,
               const struct engine_opts *o, struct engine_result *out, struct gs_err *err) GS_MUST_USE;

#endif
