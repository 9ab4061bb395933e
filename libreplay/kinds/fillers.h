/*
 * fillers: keeping the numbers (iid) of kinds that the server numbers by itself. Their records are created in ascending
 * order, a gap in the numbers is filled with objects made for that, and a last op of the lane takes these away again. iids are not
 * given out twice (gitlab-api facts, section 0.6), so that the gap stays.
 */
#ifndef RP_FILLERS_H
#define RP_FILLERS_H

#include "libreplay/kinds/step.h"

#define FILLERS_MAX 1000 /* in one gap, unless the load says otherwise */

/* What differs between the kinds. `address` is the number by which the server finds an object to delete. */
struct numbered {
    const char *what;     /* "milestone" */
    const char *gap_loss; /* a gap with more numbers than may be filled */
    /* Asks for objects with this text in their titles, up to 100. */
    struct gl_request *(*search)(struct run *r, const char *text);
    /* The objects of an answer to that, each with a title. */
    int (*found)(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out, struct gs_err *err);
    bool (*address)(struct run *r, yyjson_val *obj, int64_t *out);
    struct gl_request *(*remove)(struct run *r, int64_t address);
    /* Did it answer that this is done, or that there was nothing to do? */
    bool (*removed)(struct run *r, const struct gl_response *rsp);
};

/* So many numbers may be filled in one gap. */
int64_t fillers_max(const struct load_opts *o);
/* What the titles of this group's fillers begin with. Returns the length. */
int filler_prefix(struct run *r, char *out, size_t cap);
/*
 * Before the record with number `want` is created, *r->lane_next being known: must a filler be made first? Then its title
 * is in `title`, it is written down, and counted in notes->number. A gap that is too wide is a loss, said once (`said`).
 */
int filler_before(struct run *r, const struct numbered *k, int64_t want, bool *said, char title[96], bool *out,
                  struct gs_err *err) GS_MUST_USE;
/* A filler was made: `obj` is what the server says of it, `iid` its number. *r->lane_next goes on. */
int filler_made(struct run *r, const struct numbered *k, yyjson_val *obj, int64_t iid, struct gs_err *err) GS_MUST_USE;

/* None was made: it was refused. */
int filler_refused(struct run *r, struct gs_err *err) GS_MUST_USE;

/* step() of the op that takes the fillers of its lane away. */
int fillers_sweep(struct run *r, const struct numbered *k, const struct gl_response *rsp, struct gl_request **out_req,
                  enum step_result *out, struct gs_err *err) GS_MUST_USE;
/* Plans that op; "milestones" has "milestones.sweep". */
int fillers_plan_sweep(struct plan *p, const struct grp *g, const char *kind, const char *what, int64_t lane,
                       struct gs_err *err) GS_MUST_USE;
/* Requests that fillers between the number expected next and this record's will take. *next goes on. */
void fillers_plan_gap(struct plan *p, const struct grp *g, int64_t iid, int64_t *next);

#endif
