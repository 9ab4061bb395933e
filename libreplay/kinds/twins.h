/*
 * twins: objects without a unique name that were made twice, since something between us and the target (a proxy that tries
 * again) sent a request two times. No answer tells; the list of the group does.
 *
 * The last op of a lane looks at the whole list once, in groups that this load made: what no op of the load stands for, but is equal
 * to something that one stands for, is removed and named in a loss ("made-twice"). In a group that was there before nothing is
 * removed, since it may be somebody else's.
 */
#ifndef RP_KINDS_TWINS_H
#define RP_KINDS_TWINS_H

#include "libreplay/kind.h"

struct twins {
    const char *at;           /* /groups/ID/{at} lists the objects, .../{at}/ID is one */
    const char *const *equal; /* the attributes that make two of them equal (print.h) */
    bool (*bare)(yyjson_val *obj); /* more that a second one must be, or NULL: nothing was added to it since */
};

/* A kind's own phases are below; answers in one of these are for twins_step(). */
#define TWINS_PHASE 100
/* With what the kind's own step() said: STEP_DONE of the last op of a lane becomes the request for the list. */
int twins_look(struct run *r, const struct twins *t, struct gl_request **out_req, enum step_result *out, struct gs_err *err) GS_MUST_USE;
/* Takes the answer to that; STEP_DONE at the end. */
int twins_step(struct run *r, const struct twins *t, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
               struct gs_err *err) GS_MUST_USE;

#endif
