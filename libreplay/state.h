/*
 * state: the file that makes a load resumable. Plan, journal, id map and books in one SQLite database (WAL,
 * synchronous=FULL: a commit that returned survives power loss).
 *
 * An operation (op) is one thing to do on the target: a group to create, a label, a milestone brought to its final
 * state. Ops stand in lanes; an ordered lane works its ops off one after the other, an unordered one many at once. A lane
 * starts when every lane it needs has ended. States of an op:
 *
 *     planned -> sent -> done | failed | skipped
 *
 * `sent` is durable before the first request of the op leaves and means "may have happened"; `done` with the target's id is
 * durable before anything that depends on it starts. An op found `sent` at the start is looked up before it is sent again.
 *
 * One run at a time: state_open() with STATE_WRITE takes a lock (GS_E_LOCKED); readers (status) need none.
 */
#ifndef RP_STATE_H
#define RP_STATE_H

#include "libcommon/cleanup.h"
#include "libcommon/buf.h"
#include "libcommon/err.h"

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;
struct state;

/* Stored: do not renumber. */
enum op_state { OP_PLANNED = 0, OP_SENT = 1, OP_DONE = 2, OP_FAILED = 3, OP_SKIPPED = 4 };
const char *op_state_name(enum op_state s);

/* Codes of skipped ops: left out by a rule (loss.h), for want of something that failed, by a person's decision. Never rename one. */
#define CODE_RULE "lost-by-rule"
#define CODE_DEPENDENCY "dependency-failed"
#define CODE_DECIDED "skipped-by-decision"

enum state_mode { STATE_READ, STATE_WRITE, STATE_CREATE };

/* Strings of an op are owned by it; op_release() frees them. */
struct op {
    int64_t id;
    int64_t lane;
    int64_t pos;              /* order in the lane */
    int64_t grp;              /* source group id */
    char *kind;               /* "labels", "groups.settings": finds the struct kind */
    char *key;                /* natural key, for people and for look-ups inside the state */
    int64_t src_id;           /* the record's id at the source, 0: none */
    int64_t needs;            /* op that must be done before, or 0; if it is not, this op is skipped */
    int64_t ref_member;       /* record in the bundle (bundle_ref), -1: none */
    uint64_t ref_off;
    uint32_t ref_len;
    char *arg;                /* small JSON for ops without a record, or NULL */
    enum op_state state;
    int64_t target_id;        /* 0: not known */
    unsigned tries;           /* writes that were sent for it */
    int http;                 /* of the answer that decided */
    char *code, *text, *request_id; /* why it failed or was skipped */
    char *request;            /* what was asked last before it failed: "POST /groups/7/labels", or NULL */
    int64_t print;            /* print.h: how the object looked when this load had made it; 0: not known */
    bool adopted;             /* was there already (merge, or found after a lost answer: `found`) */
    bool found;
    int64_t sent_at;          /* when it was sent first, by the clock of the server; 0: never, or not known */
};
void op_release(struct op *op);

struct lane {
    int64_t id, grp;
    int phase;
    bool ordered;
    char *name;
    int64_t watermark;        /* largest id in the collection before our first create; -1: not taken */
};

struct grp {                  /* a group of the bundle and where it goes; the last two are not stored */
    int64_t id, parent;       /* source ids; parent 0: the root */
    int depth;
    char *src_path;           /* full path on the source */
    char *dst_path;           /* full path on the target */
    char *name;               /* as it will be on the target */
    char *visibility;         /* as it will be on the target */
    int64_t dst_parent;       /* target id of the parent when that is no group of this bundle (--into), else 0 */
    int64_t target_id;        /* 0: not there yet */
    char *web_url;
    bool existed;             /* merged into, not made by us */
    int64_t made_ms;          /* when this run made it, monotonic; 0: it did not */
    int64_t owner_ms;         /* when this run gave it an Owner last, monotonic; 0: it did not */
};
void grp_release(struct grp *g);

struct user_row {
    int64_t src_id;
    char *username, *public_email;
    int64_t target_id;        /* 0: nobody */
    char *target_username;
    char *how;                /* "csv", "email", "username", "none:<reason code>" */
};
void user_row_release(struct user_row *u);

struct loss_row {
    int64_t op, grp;          /* 0: none */
    const char *relation, *key; /* key NULL: about the relation as a whole */
    const char *code;         /* loss.h */
    uint64_t count;
    const char *detail;
};

/* GS_E_LOCKED, GS_E_STATE_DAMAGED, GS_E_STATE_NEWER, GS_E_NOT_FOUND, GS_E_IO. STATE_CREATE: GS_E_EXISTS when there. */
int state_open(const char *path, enum state_mode mode, struct state **out, struct gs_err *err) GS_MUST_USE;
void state_close(struct state *s);
GS_DEFINE_AUTO(state, state_close);
const char *state_path(const struct state *s);
struct sqlite3 *state_db(struct state *s); /* for reports, which are queries */

/* Nested begins are an error. The engine groups everything that happens in one turn into one commit. */
int state_begin(struct state *s, struct gs_err *err) GS_MUST_USE;
int state_commit(struct state *s, struct gs_err *err) GS_MUST_USE;
void state_rollback(struct state *s);
uint64_t state_commits(const struct state *s);

/* Facts about this load: "bundle_digest", "set_id", "bundle_path", "target_url", "options", "target_version" ... */
int state_meta_set(struct state *s, const char *key, const char *value, struct gs_err *err) GS_MUST_USE;
/* *out NULL when absent; the caller frees. */
int state_meta_get(struct state *s, const char *key, char **out, struct gs_err *err) GS_MUST_USE;

int state_add_grp(struct state *s, const struct grp *g, struct gs_err *err) GS_MUST_USE;
int state_grp(struct state *s, int64_t id, struct grp *out, struct gs_err *err) GS_MUST_USE;
int state_grp_loaded(struct state *s, int64_t id, int64_t target_id, const char *web_url, bool existed, struct gs_err *err) GS_MUST_USE;
int state_add_lane(struct state *s, const struct lane *l, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
int state_add_lane_need(struct state *s, int64_t lane, int64_t needs, struct gs_err *err) GS_MUST_USE;
/* `op->id` and `pos` are given out: behind the last op of its lane. */
int state_add_op(struct state *s, struct op *op, struct gs_err *err) GS_MUST_USE;
int state_add_user(struct state *s, const struct user_row *u, struct gs_err *err) GS_MUST_USE;
int state_user(struct state *s, int64_t src_id, struct user_row *out, bool *out_found, struct gs_err *err) GS_MUST_USE;
/* Some user of the target whom the bundle knows, but not this one; 0: there is none. */
int state_some_user(struct state *s, int64_t but, int64_t *out, struct gs_err *err) GS_MUST_USE;
int state_add_loss(struct state *s, const struct loss_row *l, struct gs_err *err) GS_MUST_USE;

/* Up to `max` ops of this lane that are planned (or sent) and stand behind `after_pos`, in order. */
int state_next_ops(struct state *s, int64_t lane, int64_t after_pos, struct op *out, size_t max, size_t *out_n, struct gs_err *err) GS_MUST_USE;
int state_op(struct state *s, int64_t id, struct op *out, struct gs_err *err) GS_MUST_USE;
/* `server_ms`: now, by the clock of the server; the first one is kept. */
int state_op_sent(struct state *s, int64_t id, int64_t server_ms, struct gs_err *err) GS_MUST_USE;
/* Back to planned: certain that nothing left. */
int state_op_unsent(struct state *s, int64_t id, struct gs_err *err) GS_MUST_USE;
/* Of an op that stays `sent`: what is known of its object. */
int state_op_target(struct state *s, int64_t id, int64_t target_id, int64_t print, struct gs_err *err) GS_MUST_USE;
/* Ends an op with op->state, target_id, tries, http, code, text, request_id, adopted, found. */
int state_op_end(struct state *s, const struct op *op, struct gs_err *err) GS_MUST_USE;
int state_lane_watermark(struct state *s, int64_t lane, int64_t watermark, struct gs_err *err) GS_MUST_USE;
/* The op of this kind with this key in this group; found: its state and target id. For references between records. */
int state_find(struct state *s, const char *kind, int64_t grp, const char *key, struct op *out, bool *out_found, struct gs_err *err) GS_MUST_USE;
/* The same by the record's id at the source. */
int state_find_src(struct state *s, const char *kind, int64_t grp, int64_t src_id, struct op *out, bool *out_found, struct gs_err *err) GS_MUST_USE;
/* How many ops there are and have ended, without counting them. */
struct state_tally { uint64_t ops, done, failed, skipped; };
int state_tally(struct state *s, struct state_tally *out, struct gs_err *err) GS_MUST_USE;
/* Does no op of its kind that is still to be done stand behind this one in its lane? */
int state_lane_last(struct state *s, const struct op *op, bool *out, struct gs_err *err) GS_MUST_USE;
/* How many ops of this one's kind and lane are done that stand before it, and behind it: those are there when it is loaded later than
 * its turn. *out_maybe: those behind it that were done before everything was to be looked up again. */
int state_lane_done(struct state *s, const struct op *op, int64_t *out_before, int64_t *out_behind, int64_t *out_maybe,
                    struct gs_err *err) GS_MUST_USE;
/* Is this target id that of another op of the same kind and group (so that equal objects are adopted once each)? */
int state_target_taken(struct state *s, const struct op *op, int64_t target_id, bool *out, struct gs_err *err) GS_MUST_USE;
/* The group stands at another path on the target than was planned. */
int state_grp_path(struct state *s, int64_t id, const char *dst_path, struct gs_err *err) GS_MUST_USE;
/* The number that the next object of an ordered lane will get; 0: not known. */
int state_lane_counter(struct state *s, int64_t lane, int64_t counter, struct gs_err *err) GS_MUST_USE;
/* An object that only uses up a number: written down before it is sent (target_id 0), and again with the id of the answer. */
int state_filler(struct state *s, int64_t lane, int64_t number, int64_t target_id, struct gs_err *err) GS_MUST_USE;
/* One that is to be deleted, those with an id first; number and id 0: there is none. */
int state_filler_next(struct state *s, int64_t lane, int64_t *out_number, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
/* The id of the one that uses up this number; 0: there is none, or it is not known. */
int state_filler_at(struct state *s, int64_t lane, int64_t number, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
/* It is deleted, or something else by now; number -1: all of the lane. */
int state_filler_gone(struct state *s, int64_t lane, int64_t number, struct gs_err *err) GS_MUST_USE;
/* By what the server finds the object of an op, where that is not its id and does not follow from the record: the number of an epic that
 * got another one, the discussion of a comment. */
int state_address_set(struct state *s, int64_t op, const char *text, struct gs_err *err) GS_MUST_USE;
/* *out NULL when none is stored; the caller frees. */
int state_address(struct state *s, int64_t op, char **out, struct gs_err *err) GS_MUST_USE;
/* The op of its kind that was done last: a sample of what must be there when a load goes on (table newest). */
int state_newest(struct state *s, const char *kind, int64_t op, struct gs_err *err) GS_MUST_USE;
/* The losses that showed while this op was loaded. */
int state_forget_losses(struct state *s, int64_t op, struct gs_err *err) GS_MUST_USE;
/* Everything done is to be looked up again before the load goes on: the target is not what it was. What failed with
 * GS_E_REF_GONE is taken up as well. One transaction. */
int state_rebase(struct state *s, struct gs_err *err) GS_MUST_USE;

#endif
