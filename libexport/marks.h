/*
 * marks: what is remembered of the records of a relation, in constant memory, so that a second look at the source tells whether it
 * moved meanwhile: how many, the highest id, the newest time of change, and two sums that do not depend on the order: one over
 * the ids, one over what changes when a record is edited.
 *
 * That is its updated_at (in whole seconds, as GraphQL shows it) where the capture saw one, else its content. Relations that are
 * looked at again are those of enum mark_kind; a group itself is a number over all that the list of groups shows of it.
 *
 * One table holds the marks of a whole capture, about 450 bytes for each group: marks_put() -> marks_get(), marks_sum().
 */
#ifndef EXPORT_MARKS_H
#define EXPORT_MARKS_H

#include "libcommon/cleanup.h"
#include "libcommon/err.h"
#include "libcommon/json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The last three are planning records. An export shows no ids of them, so that epics and iterations are told apart by iid, boards and
 * cadences by name; they have no highest id.
 */
enum mark_kind {
    MARK_LABELS, MARK_MILESTONES, MARK_MEMBERS, MARK_BOARDS, MARK_BADGES,
    MARK_EPICS, MARK_EPIC_BOARDS, MARK_CADENCES, MARK_KINDS
};
#define MARK_PLANS MARK_EPICS /* the first of them */

struct mark {
    uint64_t n;
    int64_t highest;  /* id; 0 for members, whose ids are those of users */
    int64_t newest_s; /* updated_at in seconds since 1970, 0: none was seen */
    uint64_t ids;     /* sum over the ids */
    uint64_t sum;     /* sum over ids and what changes with an edit */
    uint64_t lacking; /* records that are there and were left out: number alone can be compared */
    bool by_content;  /* `sum` is over contents, since a record showed no updated_at */
    bool label_lists; /* of boards: lists of labels alone are in `sum`; an export also holds lists that the licence hides elsewhere */
};

/* "labels" ...; MARK_KINDS when the relation is not looked at again. */
enum mark_kind mark_kind_of(const char *relation);
const char *mark_relation(enum mark_kind k);

/* Adds a record as it is stored. Text that is no JSON object is GS_E_JSON. */
int mark_record(struct mark *m, enum mark_kind k, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
/* Adds an element of a REST list, or a node of the GraphQL documents that ask for marks; `like`, the mark that it is to be compared with,
 * tells what its sum is made of, and may be `m` itself. */
void mark_rest(struct mark *m, enum mark_kind k, yyjson_val *element, const struct mark *like);
void mark_node(struct mark *m, enum mark_kind k, yyjson_val *node, const struct mark *like);
/* Adds an iteration, which belongs to some cadence of its group: to the sums, not to the number. */
void mark_iteration(struct mark *m, yyjson_val *record_or_node);
/* May the sums of the two be compared at all, when the second look came over REST? */
bool mark_rest_tells(enum mark_kind k, const struct mark *before);

/* A number over a JSON value, the order of keys apart; keys that say nothing about the object itself are passed over. */
int mark_value(yyjson_val *v, uint64_t *out, struct gs_err *err) GS_MUST_USE;

struct marks;
int marks_new(struct marks **out, struct gs_err *err) GS_MUST_USE;
void marks_free(struct marks *t);
GS_DEFINE_AUTO(marks, marks_free);
int marks_put(struct marks *t, int64_t group, enum mark_kind k, const struct mark *m, struct gs_err *err) GS_MUST_USE;
/* NULL: the relation of this group was not read. */
const struct mark *marks_get(const struct marks *t, int64_t group, enum mark_kind k);
/* Over all groups: numbers added, highest and newest of all. False: it was read of none. */
bool marks_sum(const struct marks *t, enum mark_kind k, struct mark *out);

#endif
