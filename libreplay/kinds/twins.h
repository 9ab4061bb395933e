/*
 * twins: objects without a unique name that were made twice, since something between us and the target (a proxy that tries
 * again) sent a request two times. No answer tells; the list of what is there does.
 *
 * The last op of its kind in a lane looks at the whole list once, in groups that this load made: what no op of the load stands for, but is
 * equal to something that one stands for, is removed and named in a loss ("made-twice"). In a group that was there before nothing is
 * removed, since it may be somebody else's.
 */
#ifndef RP_KINDS_TWINS_H
#define RP_KINDS_TWINS_H

#include "libreplay/kind.h"

struct twins {
    const char *const *equal; /* the attributes that make two of them equal (print.h) */
    bool (*bare)(yyjson_val *obj); /* more that a second one must be, or NULL: nothing was added to it since */
    const char *at;           /* /groups/ID/{at} lists the objects, .../{at}/ID is one; NULL: what follows says how */
    /* Asks for a page of the list; which one is kept as step.h says (notes->page, or a cursor in r->buf). NULL: `err` says why. */
    struct gl_request *(*list)(struct run *r, struct gs_err *err);
    /* The objects of an answer; ids are numbers or global ids. *out_more: there is another page. */
    int (*page)(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_array, bool *out_more, struct gs_err *err);
    struct gl_request *(*remove)(struct run *r, int64_t id, struct gs_err *err);
};

/* A kind's own phases are below; answers in one of these are for twins_step(). */
#define TWINS_PHASE 100
/* With what the kind's own step() said: STEP_DONE of the last op of its kind in a lane becomes the request for the list. Takes r->own. */
int twins_look(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err) GS_MUST_USE;
/* Takes the answer to that; STEP_DONE at the end. */
int twins_step(struct run *r, const struct twins *t, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
               struct gs_err *err) GS_MUST_USE;

#endif
