/*
 * sink: where the records of one relation of one group go on their way into a bundle.
 *
 * sink_open() -> sink_add() for each -> sink_close() writes the balance and what was withheld into the books, or
 * sink_abandon() forgets everything. Nothing is made in the staging folder before the first record comes.
 */
#ifndef EXPORT_SINK_H
#define EXPORT_SINK_H

#include "libexport/book.h"
#include "libexport/shelf.h"

struct sink;

int sink_open(struct book *b, int64_t group_id, const char *relation, struct sink **out, struct gs_err *err) GS_MUST_USE;
/* A sink that puts its records on a shelf instead, from which they are joined with others: the books hear nothing of it. */
int sink_open_shelf(struct shelf *shelf, struct sink **out, struct gs_err *err) GS_MUST_USE;
/* One record as JSON text without line end. Kept byte for byte unless it holds a secret, which is then taken out and counted. */
int sink_add(struct sink *s, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* The same for a record in which ledger_quick() or the like found nothing wrong and no secret: not looked at again. */
int sink_add_sound(struct sink *s, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* So many records are there besides those that were added, and cannot be stored: the look at the end will see them. */
void sink_lacking(struct sink *s, uint64_t n);
uint64_t sink_stored(const struct sink *s);
bool sink_is_shelf(const struct sink *s);
/* Ends the member in the bundle, so that sink_close() has only the books to write; may be called by another thread than that one's,
 * like sink_add(). */
int sink_seal(struct sink *s, struct gs_err *err) GS_MUST_USE;
/* `announced` is what the source said there is (-1: nothing); `left_out` what came and was not stored. Frees `s` in any case. */
int sink_close(struct sink *s, int64_t announced, uint64_t left_out, struct gs_err *err) GS_MUST_USE;
/* NULL is fine. */
void sink_abandon(struct sink *s);

#endif
