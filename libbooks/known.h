/*
 * known: what a state file knows of a load, as the reconciliation asks for it: which group became which, who is whom, what became of a
 * record, and which rule explains what is not as at the source.
 *
 * known_open() -> known_*() -> known_close(). Reads the state only; what it looks up often it keeps in temporary tables of SQLite, so
 * that memory does not grow with the load. Strings that are given out live until the next call. The hooks of libexport/diff.h are here too.
 */
#ifndef BOOKS_KNOWN_H
#define BOOKS_KNOWN_H

#include "libexport/diff.h"
#include "libreplay/state.h"

struct known;

/* `target` may be NULL while nothing is compared. `loaded`: the state is that of a load; else it is a plan only, made to know who is whom, and nobody can tell what was there before. */
int known_open(struct state *s, struct bundle *bundle, struct bundle *target, bool loaded, struct known **out, struct gs_err *err) GS_MUST_USE;
void known_close(struct known *k);
GS_DEFINE_AUTO(known, known_close);

/* The first group of the bundle: where it is on the target. *out_id 0: not known, or not there. */
const char *known_root(const struct known *k, int64_t *out_id);
/* A group of the bundle; NULL: there is none of this id. */
const struct grp *known_grp(const struct known *k, int64_t id);

/* Hooks; `cookie` is the struct known. */
int64_t known_twin(void *cookie, const struct bundle_group *g, const char **out_path);
int64_t known_record(void *cookie, int64_t group, const char *relation, int64_t id, const char *own_key);
/* reshape.c */
int known_reshape(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err);
/* unsaid.c */
int known_unsaid(void *cookie, const struct diff_item *i, bool *out, struct gs_err *err);
/* judge.c */
int known_judge(void *cookie, struct diff_item *i, struct gs_err *err);

#endif
