/*
 * relations: the part of a capture that reads GitLab's relation exports.
 *
 * relations_new() -> relations_begin() asks for the export of the root, which shows whether this way is open -> for every group
 * relations_group(), relations_tick() at every turn of the loop -> relations_free(). The event thread starts exports, polls them
 * and downloads; two worker threads unpack and store, and wake it up. Downloaded files lie in the staging folder, so that a later
 * run does not ask for them again, and goes on polling an export that this one has started.
 */
#ifndef EXPORT_RELATIONS_H
#define EXPORT_RELATIONS_H

#include "libcommon/cleanup.h"
#include "libcommon/json.h"

struct cap_group;
struct capture;
struct relations;
struct sink;

int relations_new(struct capture *c, struct relations **out, struct gs_err *err) GS_MUST_USE;
/* Ends the worker threads. NULL is fine. */
void relations_free(struct relations *r);
/* *out_open: groups are to be read by export. Not open and 0: by the API (auto only; the books say why). GS_E_EXPORT_OFF, GS_E_FORBIDDEN,
 * GS_E_SCOPE ... when only exports will do. */
int relations_begin(struct relations *r, bool *out_open, struct gs_err *err) GS_MUST_USE;

/* A group whose own record came over REST: `self` in the shape of the export; `answer` the answer itself. Holds the group open until
 * all of its relations are stored. */
int relations_group(struct relations *r, struct cap_group *g, const char *self, size_t len, yyjson_val *answer,
                    struct gs_err *err) GS_MUST_USE;
/* Moves everything on. *out_wait_ms: when to come again at the latest. */
int relations_tick(struct relations *r, int64_t *out_wait_ms, struct gs_err *err) GS_MUST_USE;
/* The capture has failed: lets go of all groups, once their workers have ended. */
void relations_abandon(struct relations *r);
/* At the end: looks up the users whom records mention by id only. */
int relations_users(struct capture *c, struct gs_err *err) GS_MUST_USE;

/* Where records of the API go: onto a shelf when they are to be joined with the export's. NULL: into the bundle as always. */
struct shelf *relations_shelf(struct cap_group *g, const char *relation);
/* The API gave none of what was to be joined. False: nothing of this was to be joined. */
bool relations_no_addition(struct cap_group *g, const char *relation, const struct gs_err *why);
/* Did the group's export tell of this relation, so that nobody else has to? */
bool relations_told(const struct cap_group *g, const char *relation);
/* The same for the source as a whole. */
bool relations_knows(const struct capture *c, const char *relation);
/* Was the export of this group refused, or given up as a whole? */
bool relations_refused(const struct cap_group *g);

struct relations_progress {
    unsigned queued, exporting, downloading, reading;
};
void relations_progress(const struct relations *r, struct relations_progress *out);

#endif
