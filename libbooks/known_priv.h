/* What known.c, reshape.c, judge.c, parts.c, wording.c and complete.c share. */
#ifndef BOOKS_KNOWN_PRIV_H
#define BOOKS_KNOWN_PRIV_H

#include "libbooks/known.h"
#include "libbooks/native.h"

#include <sqlite3.h>

/* How a user of the source is called who is nobody on the target. */
#define KNOWN_NOBODY "%s (nobody on the target)"

enum known_query { KNOWN_WHO, KNOWN_OP, KNOWN_OP_BY_ID, KNOWN_OURS, KNOWN_LOSS, KNOWN_PREFIX, KNOWN_BAD, KNOWN_NOTED, KNOWN_THERE, KNOWN_CHILDREN,
                   KNOWN_PLAIN, KNOWN_SEE, KNOWN_SEEN, KNOWN_QUERIES };

struct known {
    struct state *state;
    struct bundle *bundle, *target;
    char *target_url;         /* NULL: the state does not say */
    bool loaded;
    struct native_import native; /* NATIVE_NONE: the load is none of GitLab's own */
    char *reader;             /* with it: username of who reads the target, which is who imported */
    uint64_t placeholders;    /* of these, how many the target's records mention */
    struct grp *groups; /* sorted by id */
    size_t n;
    bool *silent; /* by the place in `groups`: mails are off in the group, by itself or by one above it in the bundle */
    int64_t root;
    sqlite3_stmt *q[KNOWN_QUERIES];
    struct gs_buf json;      /* scratch of reshape.c */
    bool children_read, orders_differ; /* complete.c */
    int parents;             /* judge.c: does any epic of the target have a parent? 0: not looked yet; -1: no */
    int64_t above;           /* unsaid.c: group of the target whose own record is in `above_doc`; 0: none */
    yyjson_doc *above_doc;
    char code[64], text[600]; /* of the last verdict */
    char called[600];         /* known_called() */
};

/* A statement that is ready to be bound; NULL with `err`. */
sqlite3_stmt *known_stmt(struct known *k, enum known_query q, struct gs_err *err);
int known_db_fail(struct known *k, struct gs_err *err);

/*
 * What the load calls a record whose natural key is several attributes, or its whole content: by the first of them, or by its name. The key
 * itself where it is one attribute. Lives until the next call.
 */
const char *known_called(struct known *k, const char *key);

/* What the state says of the step that loads a record. */
struct known_op {
    int64_t id, target_id;
    int state; /* enum op_state */
    char code[64], text[400];
};
/* The step of a record of the bundle; by its key, and where that is not unique, by its id too. */
int known_op(struct known *k, int64_t group, const char *relation, int64_t id, const char *key, struct known_op *out, bool *out_found,
             struct gs_err *err) GS_MUST_USE;

/* Did the load note this of the record? By the key that its losses have. */
int known_noted(struct known *k, int64_t group, const char *relation, const char *key, const char *code, bool *out, struct gs_err *err) GS_MUST_USE;

/* ---- wording.c ---- */

struct wording {
    int64_t group;      /* of the bundle, that the text is in */
    bool actions;       /* the target would carry quick actions out in it */
    bool cut;           /* GitLab keeps the beginning of it only */
    yyjson_val *owner;  /* the object of the record, as captured, whose author the end of the text may name; NULL: it names nobody */
    bool named;         /* the load noted that it does */
};
/*
 * What a load makes of a text: is `there` that? *out_code: what was done to it, a code of libreplay/loss.h; NULL: it is not, so that
 * somebody changed it. Both texts as known_reshape() leaves them.
 */
int known_wording(struct known *k, const struct wording *w, const char *here, size_t len, const char *there, size_t there_len,
                  const char **out_code, struct gs_err *err) GS_MUST_USE;

/* ---- parts.c ---- */

/*
 * A difference in an array inside a record (the lists of a board, the comments of an epic): is it that the target's elements are those of the
 * bundle, in their order, but for what the load noted of one or the other? Then i->verdict is DIFF_LOST with the code of such a note.
 */
int known_parts(struct known *k, struct diff_item *i, struct gs_err *err) GS_MUST_USE;

/* Is that how KNOWN_NOBODY calls somebody? */
bool known_is_nobody(const char *name);

/* ---- native.c ---- */

/*
 * Whom a placeholder user of the target stands for: as known_reshape() calls that person. NULL in *out, which the caller frees: it is no placeholder,
 * or one of nobody the bundle knows.
 */
int known_placeholder(struct known *k, const char *username, char **out, struct gs_err *err) GS_MUST_USE;
/* The verdict on a difference after GitLab's own import. */
int known_native(struct known *k, struct diff_item *i, struct gs_err *err) GS_MUST_USE;

/* ---- judge.c ---- */

void known_say(struct known *k, struct diff_item *i, enum diff_verdict v, const char *code, const char *text);

#endif
