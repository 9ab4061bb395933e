/*
 * known: what a state file knows of a load, as the reconciliation asks for it: which group became which, who is whom, what became of a
 * record, and which rule explains what is not as at the source.
 *
 * known_open() -> known_*() -> known_close(). Reads the state only; what it looks up often it keeps in temporary tables of SQLite, so
 * that memory does not grow with the load. Strings that are given out live until the next call. The hooks of libexport/diff.h are here too.
 */
#ifndef BOOKS_KNOWN_H
#define BOOKS_KNOWN_H

#include "libbooks/native.h"
#include "libexport/diff.h"
#include "libreplay/state.h"

struct known;

/* `target` may be NULL while nothing is compared. `loaded`: the state is that of a load; else it is a plan only, made to know who is whom, and nobody can tell what was there before. */
int known_open(struct state *s, struct bundle *bundle, struct bundle *target, bool loaded, struct known **out, struct gs_err *err) GS_MUST_USE;
void known_close(struct known *k);
/* Of no load: for records of the target, where who is whom is not asked. */
int known_nothing(struct known **out, struct gs_err *err) GS_MUST_USE;
/* When the target is there. */
void known_target(struct known *k, struct bundle *target);
/* After that: what is there was made by one of GitLab's own importers (native.h), not by a load of this program. The strings live as long as `k`. */
int known_import(struct known *k, const struct native_import *n, struct gs_err *err) GS_MUST_USE;
/* With it: how many placeholder users what is there mentions. */
uint64_t known_placeholders(const struct known *k);
GS_DEFINE_AUTO(known, known_close);

/* A group of the bundle; NULL: there is none of this id. */
const struct grp *known_grp(const struct known *k, int64_t id);

/* Hooks; `cookie` is the struct known. */
int64_t known_twin(void *cookie, const struct bundle_group *g, const char **out_path);
int64_t known_record(void *cookie, int64_t group, const char *relation, int64_t id, const char *own_key);
/* complete.c */
int known_complete(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *json, struct gs_err *err);
/* reshape.c */
int known_reshape(void *cookie, bool second, int64_t group, const char *relation, struct gs_buf *norm, struct gs_err *err);
/* unsaid.c */
int known_unsaid(void *cookie, const struct diff_item *i, bool *out, struct gs_err *err);
/* judge.c */
int known_judge(void *cookie, struct diff_item *i, struct gs_err *err);

#endif
