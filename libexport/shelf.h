/*
 * shelf: records of one relation of one group that wait to be joined with what the export tells of the same objects.
 *
 * The export holds the columns of a table; REST and GraphQL know more of some objects (names of users, settings). Both are made
 * records of the same shape, and shelf_join() puts behind the export's keys those that only the other knows. A record to which
 * nothing is added stays as it was, byte for byte.
 */
#ifndef EXPORT_SHELF_H
#define EXPORT_SHELF_H

#include "libcommon/buf.h"
#include "libcommon/json.h"

struct shelf {
    /* Attribute that tells objects apart: "id", "user_id"; "iterations.iid": the least of that of the objects in an array, for which
     * the title stands in where it is empty; "name": a text. */
    const char *key;
    struct gs_buf text;
    struct shelf_row {
        int64_t id;
        size_t off, len;
        bool taken;
    } *rows;
    size_t n, cap;
    size_t *index; /* positions by id, made when first looked for */
    /* told by whoever filled it */
    bool ready;
    int64_t announced;
    uint64_t left_out;
};

void shelf_init(struct shelf *s, const char *key);
void shelf_release(struct shelf *s);
/* Forgets the records. */
void shelf_reset(struct shelf *s);
/* GS_E_LIMIT beyond 256 MiB, GS_E_JSON*. */
int shelf_add(struct shelf *s, const char *json, size_t len, struct gs_err *err) GS_MUST_USE;
void shelf_finish(struct shelf *s, int64_t announced, uint64_t left_out);

/*
 * Appends to `out` the record `base` (`len` bytes at `json`) with what the shelf's record of the same id adds; *out_changed false:
 * nothing, and `out` is untouched. `only`: names of the keys that may be added, at any depth, ended by NULL; NULL: all. Objects in
 * arrays are paired by "id", or by "iid" where `base` has no ids. Keys that are there keep their value, whatever the shelf says. The shelf's record is marked as taken.
 */
int shelf_join(struct shelf *s, yyjson_val *base, const char *const *only, struct gs_buf *out, bool *out_changed,
               struct gs_err *err) GS_MUST_USE;

#endif
