/*
 * kind: how one kind of object is planned and loaded. One file per relation family in kinds/; kinds.c lists them.
 *
 * Planning (plan.c drives): for every relation of every group the planner walks the records of the bundle and calls
 * relation_loader.plan_record for each, which adds ops (plan_op) and losses (plan_loss).
 *
 * Loading (engine.c drives): an op in flight is a struct run. The engine calls kind->step() first without an answer, then with the
 * answer of each request that step() asked for. step() looks at run->phase (its own numbers, 0 at first), and says with
 * its result what comes next. Before the first call the op is durably `sent`. When run->unsure is set, an earlier try may
 * have acted (the program was killed, or an answer was lost): step() must first look the object up and send a write only after
 * it has proven that the object is not there. The engine sets run->unsure and calls step() again with the answer when a write ended GL_UNKNOWN.
 *
 * step() is called on one thread and must not block.
 */
#ifndef RP_KIND_H
#define RP_KIND_H

#include "formats/bundle.h"
#include "formats/relations.h"
#include "libcommon/json.h"
#include "libgitlab/http.h"
#include "libgitlab/rest.h"
#include "libreplay/state.h"

enum step_result {
    STEP_SEND,  /* *out_req is to be sent; step() is called again with its answer */
    STEP_AGAIN, /* the same after `run->wait_ms` without a request (rsp NULL, phase as left) */
    STEP_DONE,  /* run->op.target_id is set (0 where there is none) */
    STEP_FAIL,  /* refused for good: `err` says why (the engine stores code, http, text, request id) */
    STEP_SKIP,  /* nothing to do or not possible, said with run_loss() before; not a failure */
};

struct engine;

struct run {
    struct engine *engine;
    struct state *state;
    const struct gl_instance *target;
    struct op op;
    const struct grp *grp;     /* group of the op, target_id known except for the op that creates it; owned by the engine */
    struct lane *lane;
    yyjson_doc *doc;           /* the record or op.arg, parsed; NULL when neither */
    yyjson_val *rec;
    int phase;                 /* the kind's own */
    bool unsure;               /* see above */
    bool again;                /* it was begun in an earlier run: what stands behind it in its lane may be there before it */
    bool maybe;                /* never sent by this state file, but by a newer copy of it perhaps: looked for where the
                                  server does not refuse a second one by itself */
    int64_t since_ms;          /* monotonic: what was written before may be hidden by a lagging replica until then + lag */
    int64_t was_id;            /* target id that it had before everything was to be looked up again; 0: none */
    int64_t wait_ms;
    int64_t n1, n2;            /* scratch of the kind */
    char *text;                /* scratch, freed by the engine */
    struct gs_buf buf;         /* scratch (bodies, file contents); lives as long as the run */
    struct gl_part part;       /* scratch for multipart */
    int64_t as_user;           /* run_as_author(): user of the target for the write that is sent next; 0: the token's own */
    bool no_author;            /* that was refused for this op: it is the token's user's */
    void *own;                 /* scratch of the kind, freed with free_own() by the engine */
    void (*free_own)(void *own);
    int64_t *lane_next;        /* runtime counter of an ordered lane: next iid; 0 = not known. Shared by its runs */
};

struct kind {
    const char *name;          /* of ops: "labels" */
    const char *relation;      /* for reports */
    bool ordered;              /* its lanes are ordered */
    /*
     * Does the next step. -1 with err->scope ITEM is like STEP_FAIL; RETRY stops the run and keeps the op as it is; FATAL stops.
     * `rsp` is NULL at first. A GET that was answered 404 comes here too (rsp->status): the kind decides what it means.
     */
    int (*step)(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err);
    /* Attributes of the object as the target shows it, by which a later change by somebody else is noticed (print.h). The first
     * one is always shown. NULL: the kind makes no object. */
    const char *const *seen;
    /* Where one object is asked for by its id: "labels" for /groups/G/labels/ID, "" for the group itself; NULL: nowhere. */
    const char *at;
    /* Attributes of the record that are Markdown, ended by NULL: step() finds them as they are to be on the target (text.h). */
    const char *const *texts;
    bool says_texts;           /* its step() makes a text itself what it is to be (run_text()) */
    bool ends_access;          /* after this op the token's user may not see the group any more: a 404 says nothing */
};
extern const struct kind *const kinds[]; /* ended by NULL */
const struct kind *kind_find(const char *name);

/* ---- helpers for step() ---- */

/* A loss that showed while loading. Stored with the op in the same commit as its end. */
int run_loss(struct run *r, const char *code, const char *detail, struct gs_err *err) GS_MUST_USE;
/* Target id of another record: by kind, source group and key; goes up through the ancestors when `ancestors`, to the
 * first that has such a record. 0: there is none, or it was not loaded. */
int run_ref(struct run *r, const char *kind, int64_t grp, const char *key, bool ancestors, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
/* Target id of a source user; 0: nobody. */
int run_user(struct run *r, int64_t src_user, int64_t *out_id, struct gs_err *err) GS_MUST_USE;
/*
 * The write that step() returns now with STEP_SEND is to be one of this person, when records are made as their authors and he is
 * somebody on the target (persona.h): of everything that GitLab enters the caller in (epics, comments, reactions). The engine sees to it, and
 * waits for a token where that is needed. When he may not do that there (403, 404), or there is no token, the step begins again at phase 0 and the write is
 * the token's user's, with the loss "author-no-right". To be called each time; the answer's author is to be given to run_author_is().
 */
int run_as_author(struct run *r, int64_t src_user, struct gs_err *err) GS_MUST_USE;
/* Is what this person wrote entered under his own name on the target: by run_as_author(), or since he is the token's user? The same
 * answer also in a later run of a load that was cut off. */
int run_acts_as(struct run *r, int64_t src_user, bool *out, struct gs_err *err) GS_MUST_USE;
/* Is the author that an answer shows (its object with an id) the one it was sent for? GS_E_AUTHOR with scope FATAL when not: everything
 * else would be of the wrong author too. True where it was not sent as one. */
int run_author_is(struct run *r, int64_t src_user, yyjson_val *author, struct gs_err *err) GS_MUST_USE;
/*
 * Appends to a text, as it is to be sent, who wrote it and when (attribution.h), unless that is not wanted. `author` is the object of
 * the record that names him, or NULL; `created_at` NULL where the target is told the time.
 */
int run_attribution(struct run *r, int64_t src_user, yyjson_val *author, const char *created_at, struct gs_buf *text, struct gs_err *err) GS_MUST_USE;
/* Appends what a text must be on the target (text.h); what was changed, or is not there, becomes losses of the op. `actions`: GitLab
 * carries quick actions out in it. */
int run_text(struct run *r, const char *text, bool actions, struct gs_buf *out, struct gs_err *err) GS_MUST_USE;
/* How long a read may show what was before a write, as far as is known (milliseconds; 3 s at least). */
#define LAG_MS 3000
#define LAG_MAX_MS 60000
int64_t run_lag(const struct run *r);
/* An object that a read did not show at first was there: lags of this length happen here. */
void run_lagged(struct run *r);
/* It is proven that no object of this op is on the target, so nor of those behind it in an ordered lane. */
void run_proven_absent(struct run *r);
/* Did this run make the group of the op? */
bool run_made_group(const struct run *r);
/* The group has got an Owner. */
void run_gave_owner(struct run *r);
/* Has another group of the load a record of this kind and key that is, or may be, on the target? */
int run_elsewhere(struct run *r, const char *kind, const char *key, bool *out, struct gs_err *err) GS_MUST_USE;
/* The group of this run's op or one above it, by source id; NULL when it is not in the bundle. */
const struct grp *run_grp(const struct run *r, int64_t id);
/* JSON request with path below /api/v4. The body is moved out of `body` (may be NULL). */
struct gl_request *run_request(enum gl_method m, struct gs_buf *body, const char *path_fmt, ...) GS_PRINTF(3, 4);
/* The bundle, to read plain files. */
struct bundle *run_bundle(struct run *r);
/* Numeric id of the user whose token loads. */
int64_t run_self(const struct run *r);
/* Are epics made as work items, since the target has no other way any more (or as was asked)? */
bool run_epics_items(const struct run *r);
/* What the loader was asked to do (merge into existing groups, at most so many fillers ...). */
struct load_opts {
    bool merge;
    bool keep_owner;            /* leave the token user's automatic ownership */
    unsigned max_fillers;       /* per gap; 0: 1000 */
    bool as_authors;            /* make records as their authors: persona.h */
    bool prefer_dates;          /* where only one of author and time can be kept, the time */
    bool no_attribution;        /* texts do not say who wrote them and when: attribution.h */
    enum { EPICS_AUTO, EPICS_REST, EPICS_WORK_ITEMS } epics_api; /* auto: REST as long as the target has its endpoints */
};
const struct load_opts *run_opts(const struct run *r);

/* ---- planning ---- */

struct plan;

struct relation_loader {
    const char *relation;      /* as in the bundle: "labels" */
    /* Called once per group before (rec NULL, first=true) and after (rec NULL, first=false) its records, also when it has none. */
    int (*plan_group)(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err);
    /* Once per record. `ref` is where it lies. */
    int (*plan_record)(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err);
    /* Once, when the records of all relations of all groups are planned: for what names records of other groups. NULL: nothing. */
    int (*plan_end)(struct plan *p, struct gs_err *err);
};
/* In the order of planning; ended by NULL. Relations of a bundle that are not here become losses ("relation-not-loaded"). */
extern const struct relation_loader *const relation_loaders[];

/*
 * The lane for a phase of a group, made when it is asked for first. `name` separates lanes of one phase (one per board). Needs
 * are: the group's creation (always), and what the planner knows for the phase (labels need the labels of the child groups,
 * boards need labels, milestones and members of the group and its ancestors, locks need everything of the group and below ...).
 */
int plan_lane(struct plan *p, int64_t grp, enum rel_phase phase, const char *name, bool ordered, int64_t *out, struct gs_err *err) GS_MUST_USE;
/* Adds an op; `op->lane, kind, grp` must be set; strings are copied. op->id is set. */
int plan_op(struct plan *p, struct op *op, struct gs_err *err) GS_MUST_USE;
/* count > 1: about so many records of this kind. `key` NULL: about the relation. */
int plan_loss(struct plan *p, int64_t grp, const char *relation, const char *key, const char *code, uint64_t count,
              const char *detail, struct gs_err *err) GS_MUST_USE;
/* Adds to the number of requests that the load will take (plan_op() counts one per op). */
void plan_requests(struct plan *p, uint64_t more);
struct state *plan_state(struct plan *p);
struct bundle *plan_bundle(struct plan *p);
const struct gl_instance *plan_target(struct plan *p);
/* Group by source id; NULL when it is not in the bundle. Lives as long as the plan. */
const struct grp *plan_grp(struct plan *p, int64_t id);
/* Features that the target's tier has, probed once: 1 yes, 0 no, -1 not known. */
struct target_features { int multiple_boards, scoped_boards, epics, iterations; };
const struct target_features *plan_features(struct plan *p);
const struct load_opts *plan_opts(struct plan *p);
/* As run_epics_items(). */
bool plan_epics_items(const struct plan *p);

#endif
