/* What known.c, reshape.c and judge.c share. */
#ifndef BOOKS_KNOWN_PRIV_H
#define BOOKS_KNOWN_PRIV_H

#include "libbooks/known.h"

#include <sqlite3.h>

enum known_query { KNOWN_WHO, KNOWN_OP, KNOWN_OP_BY_ID, KNOWN_OURS, KNOWN_LOSS, KNOWN_PREFIX, KNOWN_QUERIES };

struct known {
    struct state *state;
    struct bundle *target;
    bool loaded;
    struct grp *groups; /* sorted by id */
    size_t n;
    bool *silent; /* by the place in `groups`: mails are off in the group, by itself or by one above it in the bundle */
    int64_t root;
    sqlite3_stmt *q[KNOWN_QUERIES];
    struct gs_buf json;      /* scratch of reshape.c */
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

#endif
