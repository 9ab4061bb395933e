/* engine_priv: what engine.c (scheduling), flight.c (one op), engine_life.c (signs of life) and run.c (helpers of the kinds) share. */
#ifndef RP_ENGINE_PRIV_H
#define RP_ENGINE_PRIV_H

#include "libcommon/work.h"
#include "libreplay/engine.h"
#include "libreplay/persona.h"
#include "libreplay/runinfo.h"

#include <stdatomic.h>

#define LANE_PREFETCH 16
#define MAX_KINDS 32

struct elane {
    struct lane l;
    uint64_t open;        /* ops that have not ended */
    uint32_t *dependents; /* lanes that wait for this one */
    uint32_t n_dependents;
    uint64_t behind;      /* steps that have to follow one another after this lane: see lane_dequeue() */
    uint32_t unmet;       /* lanes that this one waits for */
    uint32_t in_flight;
    int64_t last_pos;     /* of the op that was taken last */
    int64_t counter;      /* run->lane_next */
    int64_t stored_counter;
    bool sure;            /* one of its ops was proven absent: nothing behind it can be on the target unknown to us */
    struct op *q;         /* prefetched ops; NULL between uses */
    uint8_t q_n, q_i;
    bool queued;          /* stands in the queue of runnable lanes */
};

struct lane_turn {
    uint64_t way, seq;
    uint32_t lane;
};

struct run_loss_row {
    char *code, *detail;
};

enum flight_state { FLIGHT_STEP, FLIGHT_WIRE, FLIGHT_WAIT, FLIGHT_ANSWERED };

struct flight {
    struct run run; /* first: the helpers get from one to the other by a cast */
    const struct kind *kind;
    struct elane *lane;
    enum flight_state state;
    struct gl_request *next; /* to be submitted after the commit */
    int64_t as;              /* user of the target that `next`, or what is on the wire, is sent as; 0: the token's own */
    bool held;               /* `next` waits for a token of that user */
    struct gl_response rsp;
    bool has_rsp;
    bool is_write;           /* the request on the wire */
    bool was_sent;           /* found `sent` when the run began */
    bool acted;              /* a write was answered with success */
    bool checking;           /* the answer `kept` said 404: it is asked whether the group itself is there */
    bool checked;
    bool kept_write;
    struct gl_response kept;
    bool old_adopted, old_found; /* of an op that was done before the rebase */
    unsigned writes;         /* that left, or may have left */
    char asked[256];         /* the last request: "POST /groups/7/labels" */
    int64_t wake_ms;
    struct run_loss_row *losses;
    size_t n_losses;
    struct flight *link;
};

struct engine {
    struct state *state;
    struct bundle *bundle;
    struct gl_client *client;
    const struct gl_instance *target;
    const struct engine_opts *opts;

    struct grp *groups; /* sorted by id */
    size_t n_groups;
    struct elane *lanes; /* sorted by id */
    size_t n_lanes;
    struct lane_turn *queue; /* heap of the lanes that may go on */
    size_t queue_n;
    uint64_t queue_seq;
    size_t lanes_open;

    struct flight *flights; /* all of them */
    unsigned n_flights, jobs;
    unsigned ahead;         /* flights beyond `jobs`: stored as sent and ready to leave as soon as there is a place on the wire */
    unsigned strange;       /* writes one after the other that somebody answered who is no GitLab */
    uint64_t begun;         /* ops that this run took up */
    unsigned n_waiting;     /* flights that need no place on the wire now */
    bool closed;            /* outside the hours of the window */
    int64_t last_window_ms;
    int64_t lag_ms;         /* see run_lag() */
    int64_t server_ms, server_at_ms; /* the clock of the server, read at this monotonic time */
    int64_t newest[MAX_KINDS]; /* op of each kind (place in kinds[]) that was done last; 0: as stored */
    int64_t last_newest_ms;

    struct gs_work *committer; /* a thread for the commits; NULL with a single job: everything has its order then */
    bool committing;           /* it has the state file: nobody else may use it */
    atomic_bool commit_over;
    int commit_r;
    struct gs_err commit_err;

    struct personas *personas; /* NULL unless records are made as their authors */
    bool cut;              /* nothing new is begun */
    struct gs_err cut_err; /* why */
    struct engine_progress p;
    int64_t started_ms, last_progress_ms;
    bool epics_items;       /* epics are made as work items */
    struct run_info info; /* what readers of the state see of this run */
    int64_t last_beat_ms; /* 0: nothing was written yet */
    uint64_t beat_ended;  /* steps that had ended then */
};

/*
 * texts.c: makes the texts of an op's record (kind->texts) what they must be on the target, before its first step; what was changed or
 * means nothing there becomes losses of the op.
 */
int texts_prepare(struct run *r, const struct kind *k, struct gs_err *err) GS_MUST_USE;

struct grp *engine_grp(struct engine *e, int64_t id);

/* ---- engine.c ---- */

/* Nothing new is begun from now on, and what stands ready does not leave; the first reason is kept. */
void engine_cut(struct engine *e, const struct gs_err *why);
/* Writes down what is newest of each kind, in the transaction that is open. */
int engine_store_newest(struct engine *e, struct gs_err *err) GS_MUST_USE;

/* ---- flight.c; whatever is written goes into the transaction that is open ---- */

/* An op is taken up. Takes `op`, also on failure; NULL: no memory. It lives until flight_end() or flight_drop(). */
struct flight *flight_new(struct engine *e, struct elane *l, struct op *op);
/* Its record out of the bundle, with its texts as they must be on the target. */
int flight_load(struct engine *e, struct flight *f, struct gs_err *err) GS_MUST_USE;
/* Was it decided in an earlier run that it is made by the token's user, since its author may not? */
int flight_was_self(struct engine *e, struct flight *f, struct gs_err *err) GS_MUST_USE;
/* The next step of its kind: leaves a request in f->next, or ends the op. `f` may be gone afterwards. */
int flight_step(struct engine *e, struct flight *f, struct gs_err *err) GS_MUST_USE;
/* Takes the answer; done() of its request has come before. `f` may be gone afterwards. */
int flight_answered(struct engine *e, struct flight *f, struct gs_err *err) GS_MUST_USE;
void flight_on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp);
/* Gives the request its author; *out_ready false: it waits, or the step begins again without one. */
int flight_author(struct engine *e, struct flight *f, bool *out_ready, struct gs_err *err) GS_MUST_USE;
/* Ends the op for good, with its losses, and lets go on what waited for it. Frees `f`. */
int flight_end(struct engine *e, struct flight *f, enum op_state state, struct gs_err *err) GS_MUST_USE;
/* Gives an op back without an end: planned again when nothing can have left, else it stays `sent` and is looked up next time. */
int flight_drop(struct engine *e, struct flight *f, struct gs_err *err) GS_MUST_USE;
void flight_free(struct engine *e, struct flight *f);
void flight_turn(struct flight *f, enum flight_state s);
bool flight_writes(const struct gl_request *req);

/* ---- engine_life.c ---- */

/* Tells the caller how far the run is, ten times a second at most unless forced. */
void engine_report(struct engine *e, bool force);
/* Is it time for a sign of life again? Not before the first, which the run gives when it begins or waits. */
bool engine_beat_due(const struct engine *e);
/* Writes one into the state, in the transaction that is open. */
int engine_beat(struct engine *e, struct gs_err *err) GS_MUST_USE;
/* How the run ended, for who asks later. A state file that cannot be written to says it by its silence. */
void engine_say_end(struct engine *e, int r, const struct gs_err *why);

/* ---- lanes.c ---- */

int lanes_load(struct engine *e, struct gs_err *err) GS_MUST_USE;
void lanes_unload(struct engine *e);
/* The lane may go on, if it is not empty, waits for none and does not stand in the queue already. */
void lane_enqueue(struct engine *e, struct elane *l);
/*
 * The lane whose op is begun next: the one that the most steps follow, one after the other, so that at the end of a load there is
 * still something to do side by side. The queue must not be empty (queue_n).
 */
struct elane *lane_dequeue(struct engine *e);
/* Its last op has ended: those that wait for it may start. */
int lane_ended(struct engine *e, struct elane *first, struct gs_err *err) GS_MUST_USE;
/* The next op of the lane into *out; *out_none when there is none that may be taken now. */
int lane_take(struct engine *e, struct elane *l, struct op *out, bool *out_none, struct gs_err *err) GS_MUST_USE;

/*
 * moved.c: is the target still the one that the state file knows? Asks for every group that was made, and for what was made last
 * of each kind. GS_E_TARGET_MOVED when one of them is gone, stands below another parent or is marked for deletion; what the way to
 * the server can give. A group with another path is followed, with a warning. Nothing is asked while nothing is done.
 */
int moved_check(struct engine *e, struct gs_err *err) GS_MUST_USE;

#endif
