/*
 * epic_items: epics as work items, for targets whose REST endpoints of epics are gone (work-items facts). Answers are turned into the form
 * that REST gives, so that the kinds of epics read one form only.
 */
#ifndef RP_EPIC_ITEMS_H
#define RP_EPIC_ITEMS_H

#include "libreplay/kinds/epics.h"

/* A document with variables that `put` writes; reads may be repeated at will. NULL: no memory. */
struct gl_request *items_request(const char *document, bool read_only, void (*put)(struct gs_jw *w, void *cookie), void *cookie,
                                 struct gs_err *err);
/* Own epics of the run's group, from the cursor in r->buf on; `search` may be NULL. */
struct gl_request *items_list(struct run *r, const char *search, struct gs_err *err);
/* The type of work items that epics are, as global id, or NULL when it is to be asked for. *out is to be freed. */
int items_type(struct run *r, char **out, struct gs_err *err) GS_MUST_USE;
struct gl_request *items_ask_type(struct run *r, struct gs_err *err);
/* The answer to that; GS_E_GRAPHQL: the group may have no epics. */
int items_got_type(struct run *r, const struct gl_response *rsp, struct gs_err *err) GS_MUST_USE;
struct gl_request *items_delete(int64_t id, struct gs_err *err);
/*
 * The object of an answer in REST's form: `field` names the mutation ("workItemCreate"), NULL a list, whose cursor is left in r->buf
 * (*out_more). GS_E_GRAPHQL with scope ITEM: refused.
 */
int items_answer(struct run *r, const struct gl_response *rsp, const char *field, yyjson_doc **out, bool *out_more,
                 struct gs_err *err) GS_MUST_USE;
/* Discussions of an epic in REST's form, from the cursor in r->buf on; and its children. */
struct gl_request *items_read(struct run *r, const char *document, int64_t id, struct gs_err *err);
int items_discussions(struct run *r, const struct gl_response *rsp, yyjson_doc **out, bool *out_more,
                      struct gs_err *err) GS_MUST_USE;
/* Appends to a JSON array that grows in `all`, whose text is "[{...},...": the children of one page. */
int items_children(struct run *r, const struct gl_response *rsp, struct gs_buf *all, bool *out_more, struct gs_err *err) GS_MUST_USE;

#endif
