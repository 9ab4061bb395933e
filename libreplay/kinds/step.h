/*
 * step: what the steps of all kinds share: judging an answer, the notes of a run, look-ups over pages, bodies.
 *
 * The common course of an op that creates something:
 *
 *     sure:    write -> check the answer -> second calls -> done
 *     unsure:  look up -> there: adopt -> second calls -> done
 *                      -> absent: wait, look again (a replica may lag behind) -> absent: write
 *
 * A write whose answer did not come makes the run unsure and begins with the look-up again, five times at most; the last
 * look-up decides. Absence is proven by a look-up that began run_lag() after the last write that may have acted; before
 * that step_absent() waits. Where the server says that something exists which a read does not show, step_hidden() starts
 * that time anew.
 */
#ifndef RP_STEP_H
#define RP_STEP_H

#include "libreplay/kind.h"

#define STEP_MAX_LOST 5

enum step_answer {
    ANS_NONE,    /* called without an answer */
    ANS_OK,      /* 2xx */
    ANS_LOST,    /* a write that may or may not have acted */
    ANS_REFUSED, /* 4xx: see rsp->status */
};

/* Notes of a run, in run->text; all zero at first. */
struct step_notes {
    unsigned lost;  /* writes without an answer */
    unsigned looks; /* complete look-ups that found nothing, since the last write */
    int64_t began_ms; /* when the look-up that runs was begun; 0: none */
    enum gs_code lost_code; /* of the last write without an answer */
    int64_t page;
    int64_t id, max_id, number;
    int why;   /* what the look-up is for; the kind's own */
    int flags; /* the kind's own */
    bool ours; /* what was found was made by this load */
    bool differs;
    bool waits; /* step_wait_shown() */
};
/* NULL: out of memory. */
struct step_notes *step_notes(struct run *r);

/*
 * Judges an answer. Fails with scope RETRY when a read could not be done, FATAL when the token is no longer good, ITEM
 * when too many writes were lost. `write`: what the answer belongs to.
 */
int step_judge(struct run *r, const struct gl_response *rsp, bool write, enum step_answer *out,
               struct gs_err *err) GS_MUST_USE;
/* The op is refused: what the server said, behind the text. Returns -1. */
int step_refused(const struct gl_response *rsp, struct gs_err *err, const char *fmt, ...) GS_PRINTF(3, 4);
/* The op fails without the server having said so. Returns -1. */
int step_fail(struct gs_err *err, enum gs_code code, const char *fmt, ...) GS_PRINTF(3, 4);
/* Hands a request out; NULL is GS_E_NOMEM. */
int step_send(struct run *r, int phase, struct gl_request *q, struct gl_request **out_req, enum step_result *out,
              struct gs_err *err) GS_MUST_USE;
/* The same for a write that comes to the same when it is done twice, so that it may be sent again when its answer is lost. */
int step_send_repeatable(struct run *r, int phase, struct gl_request *q, struct gl_request **out_req, enum step_result *out,
                         struct gs_err *err) GS_MUST_USE;
/*
 * A complete look-up showed nothing. *out_proven: that is so, and a write may be sent (run->unsure is over); else *out is
 * set to come back in `phase` for another look. Fails with scope ITEM when the writes were lost too often.
 */
int step_absent(struct run *r, int phase, bool *out_proven, enum step_result *out, struct gs_err *err) GS_MUST_USE;
/*
 * A look showed less than there should be: a replica may hide it. Until the time is over in which that can be, *out is set to come back in
 * `phase`; then *out_over, and what is missing is missing.
 */
int step_wait_shown(struct run *r, int phase, bool *out_over, enum step_result *out, struct gs_err *err) GS_MUST_USE;
/* The server knows of an object that reads may not show yet. */
void step_hidden(struct run *r);
/* The object was found: how long it was hidden is learned from. */
void step_seen(struct run *r);
/*
 * Something with the key of the record is there, in this group. Is it this load's (*out_ours), or was it there before
 * (adopted)? `same`: it has nothing that differs from the record. Somebody else's in a group of our own making is
 * GS_E_TAKEN, unless the load merges.
 */
int step_whose(struct run *r, yyjson_val *obj, bool same, bool *out_ours, struct gs_err *err) GS_MUST_USE;
/* Ends the op as a loss that is no failure. */
int step_lost(struct run *r, const char *code, const char *detail, enum step_result *out,
              struct gs_err *err) GS_MUST_USE;

/* Parses the body of an answer; one that is no JSON object (or array) is GS_E_REMOTE. */
int step_doc(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err) GS_MUST_USE;
int step_array(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err) GS_MUST_USE;
/*
 * What a GraphQL answer gives: the object below data.FIELD (data.group.FIELD when `of_group`), borrowed from *doc. GS_E_GRAPHQL with
 * scope ITEM and the server's words when it refuses; *out_absent then: this server, its tier, or the token's user has no such thing
 * (GitLab says the same words for all three).
 */
int step_graphql(const struct gl_response *rsp, bool of_group, const char *field, yyjson_doc **doc, yyjson_val **out, bool *out_absent,
                 struct gs_err *err) GS_MUST_USE;
/* Number in the global id of a GraphQL object; 0 when it has none. */
int64_t step_gid(yyjson_val *obj);
/* An "iid" as GraphQL (text) or a record (number) has it; 0 when there is none. */
int64_t step_iid(yyjson_val *obj);
/*
 * A connection below the group, a page after the other: step_after() gives the cursor for the variables of the next request (NULL: the
 * first page), step_next_after() takes it from an answer. The cursor is kept in run->buf. False: that was the last page.
 */
const char *step_after(const struct run *r);
int step_next_after(struct run *r, yyjson_val *connection, bool *out_more, struct gs_err *err) GS_MUST_USE;

/* Is there another page? Counts notes->page on when there is. */
bool step_next_page(struct step_notes *n, const struct gl_response *rsp);

/* Was this object (its created_at, createdAt) made after the op was sent first (when it was never: after the load began), by the server's
 * clock? */
int step_made_by_us(struct run *r, yyjson_val *obj, bool *out, struct gs_err *err) GS_MUST_USE;
/* Puts the id of an object into the op; none is GS_E_REMOTE. */
int step_take_id(struct run *r, yyjson_val *obj, struct gs_err *err) GS_MUST_USE;

/*
 * run_ref() for something that a record names by title, from the group that the naming record says it belongs to
 * (`home`), when that is the op's group or one above it; else from the op's group upwards. The same title may stand in
 * several groups of one branch.
 */
int step_ref(struct run *r, const char *kind, int64_t home, const char *title, int64_t *out_id,
             struct gs_err *err) GS_MUST_USE;

/* The same by the id at the source: of the op's group, or of one above it. */
int step_ref_id(struct run *r, const char *kind, int64_t src_id, int64_t *out_id, struct gs_err *err) GS_MUST_USE;

/* A loss with a printed detail. */
int step_loss(struct run *r, struct gs_err *err, const char *code, const char *fmt, ...) GS_MUST_USE GS_PRINTF(4, 5);

/* Text without white space at its ends, as GitLab stores titles; the caller frees. NULL: no memory. */
char *step_strip(const char *s);
/* Bytes of the first `max` code points of UTF-8 text. */
size_t step_cut(const char *s, size_t max);
/* The same string; NULL and "" are one. */
bool step_same_text(const char *a, const char *b);
/* The same date ("2025-01-02", also with a time behind it); NULL and "" are one. */
bool step_same_date(const char *a, const char *b);
/* The same moment, in any of the forms that GitLab writes; what cannot be read is equal to nothing. */
bool step_same_time(const char *a, const char *b);
/* "#ABC", "#aabbcc": the same colour. Names of colours are taken as equal to anything. */
bool step_same_color(const char *a, const char *b);
/* A record's object or string below a key; NULL when null or absent. */
yyjson_val *step_get(yyjson_val *obj, const char *key);
/* Appends "name" to a list for people: "color, description". */
int step_name(struct gs_buf *list, const char *name, struct gs_err *err) GS_MUST_USE;

#endif
