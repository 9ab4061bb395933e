/* epic_boards: what the kinds of epic boards share: their boards, and the requests about them, all of GraphQL. */
#ifndef RP_EPIC_BOARDS_H
#define RP_EPIC_BOARDS_H

#include "libreplay/kinds/step.h"

/* Asks for the boards of a group with their lists, from a cursor in r->buf on (empty: from the first). */
int epic_boards_list(struct run *r, int phase, struct gl_request **out_req, enum step_result *out,
                     struct gs_err *err) GS_MUST_USE;
/* The answer to that: *out_nodes the boards; *out_more: there are further ones, and the cursor is in r->buf. */
int epic_boards_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_nodes,
                     bool *out_more, struct gs_err *err) GS_MUST_USE;
/* A mutation by the name of its document, with the input that `put` writes. */
struct gl_request *epic_boards_mutation(const char *document, void (*put)(struct gs_jw *w, void *cookie), void *cookie,
                                        struct gs_err *err);
/* Judges an answer to a mutation: *out_doc and *out the object `field.object`. GS_E_GRAPHQL: refused, scope ITEM. */
int epic_boards_answer(const struct gl_response *rsp, const char *field, const char *object, yyjson_doc **out_doc,
                       yyjson_val **out, struct gs_err *err) GS_MUST_USE;
/* "gid://gitlab/Boards::EpicBoard/7" */
void gid_put(struct gs_jw *w, const char *key, const char *type, int64_t id);
int64_t gid_of(yyjson_val *obj); /* 0: it has none */
/* Target id of the board that this op needs. */
int epic_board_of(struct run *r, int64_t *out_id, bool *out_adopted, struct gs_err *err) GS_MUST_USE;

#endif
