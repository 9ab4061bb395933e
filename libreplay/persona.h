/*
 * persona: acts as other users of the target, with an administrator's token (API facts, sections 4 and 9).
 *
 * REST takes a Sudo header. GraphQL does not: it takes a token of that user, which an administrator makes and takes away again. Such a
 * token is written down in the state file, by a name that no other has, before the request that makes it leaves; its id before it is used first; it itself is
 * never on a disk. It ends by itself after some days. personas_revoke() takes away all that are written down: at the end of a run, and
 * at the beginning of the next one what a run left that was killed.
 *
 * The state file is used inside of the caller's transactions, except by personas_revoke():
 *
 *     persona_ask() (in a transaction) -> commit -> personas_submit() -> gl_poll() -> personas_turn() (in a transaction) -> commit -> use
 *
 * Whoever is not allowed to do something must be expected to be refused, and every answer is to be looked at: persona_is().
 */
#ifndef RP_PERSONA_H
#define RP_PERSONA_H

#include "libcommon/log.h"
#include "libgitlab/rest.h"
#include "libreplay/state.h"

struct personas;

enum persona_state {
    PERSONA_WAIT,    /* its token is being made: ask again later */
    PERSONA_READY,
    PERSONA_REFUSED, /* there is none to be had: see `why` */
};

/* `set_id`: of the bundle. The clock offset of `target` tells how long tokens last. Everything is borrowed. */
int personas_new(struct state *s, struct gl_client *c, const struct gl_instance *target, const char *set_id, const struct gs_log *log,
                 struct personas **out, struct gs_err *err) GS_MUST_USE;
/* Nothing of it may be on the wire. NULL is fine. */
void personas_free(struct personas *p);
GS_DEFINE_AUTO(personas, personas_free);

/*
 * May this token do that at all: GS_E_SCOPE, GS_E_FORBIDDEN with what is missing. Asks the target who it is as `user` (0: not asked),
 * so that a proxy which drops the header is found before anything is made: GS_E_AUTHOR.
 */
int personas_check(struct gl_client *c, const struct gl_instance *target, int64_t user, struct gs_err *err) GS_MUST_USE;

/* Makes `q` one of this user of the target. PERSONA_READY at once for REST. `why` is filled when refused. */
int persona_ask(struct personas *p, int64_t user, struct gl_request *q, enum persona_state *out, struct gs_err *why, struct gs_err *err) GS_MUST_USE;
/* Sends what is to be sent; after the commit. */
int personas_submit(struct personas *p, struct gs_err *err) GS_MUST_USE;
/* Takes in what came. In a transaction. */
int personas_turn(struct personas *p, struct gs_err *err) GS_MUST_USE;
/* Is something to be taken in? */
bool personas_came(const struct personas *p);

/*
 * Takes away every token that the state file knows of. *out_left: how many could not be, which stay written down; why is in the log.
 * Blocking; -1 only for the state file.
 */
int personas_revoke(struct state *s, struct gl_client *c, const struct gs_log *log, unsigned *out_left, struct gs_err *err) GS_MUST_USE;
/* How many are written down. */
int personas_alive(struct state *s, unsigned *out, struct gs_err *err) GS_MUST_USE;

/* Is the author of an answer (an object with the id of REST or GraphQL) this user? GS_E_AUTHOR when not. */
int persona_is(int64_t user, yyjson_val *author, struct gs_err *err) GS_MUST_USE;

#endif
