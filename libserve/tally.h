/*
 * tally: what an importer asked for, by group and by relation, and what happened, in a row, for who watches.
 *
 * A part is a relation of the export, or something that is asked otherwise: "attributes", "member-list", "badge-list", "subgroups",
 * "projects", "wiki". Threads may call all of it at once.
 */
#ifndef SERVE_TALLY_H
#define SERVE_TALLY_H

#include "libserve/content.h"

#define TALLY_MAX_PARTS 64

enum tally_what {
    TALLY_STARTED,    /* the export of a group was begun */
    TALLY_ASKED,      /* how far a relation is */
    TALLY_DOWNLOAD,   /* a file left to its last byte */
    TALLY_CUT,        /* a download that ended before */
    TALLY_FAILED,     /* a file that could not be made: the bundle is damaged */
    TALLY_ANSWERED,   /* anything that is no file */
    TALLY_REFUSED,    /* without the right token */
    TALLY_UNKNOWN,    /* what no importer asks */
    TALLY_SLOWED,     /* too many requests */
};

struct tally_event {
    enum tally_what what;
    size_t group;      /* SIZE_MAX: none */
    const char *part;  /* or NULL */
    int64_t unix_ms, ms;
    uint64_t bytes;
    unsigned batch;    /* 0: none */
    char detail[120];  /* of requests that are not known: the method and the path, without its query */
};

struct tally_cell {
    uint64_t asked, downloads, cut, bytes;
    unsigned active;
};

struct tally;

int tally_new(const struct content *c, const char *const *relations, size_t n, struct tally **out, struct gs_err *err) GS_MUST_USE;
void tally_free(struct tally *t);
GS_DEFINE_AUTO(tally, tally_free);

size_t tally_parts(const struct tally *t);
const char *tally_part(const struct tally *t, size_t i);
/* How many records the bundle has of it; 1 for what is not counted. */
uint64_t tally_records(const struct tally *t, size_t group, size_t part);
/* Is it one that an importer takes into account, so that it is worth a word when it was never asked for? */
bool tally_matters(const struct tally *t, size_t group, size_t part);

void tally_add(struct tally *t, const struct tally_event *e);
void tally_active(struct tally *t, size_t group, const char *part, int by);
void tally_cell(struct tally *t, size_t group, size_t part, struct tally_cell *out);
bool tally_group_started(struct tally *t, size_t group);
/* The oldest event that was not given out. */
bool tally_next(struct tally *t, struct tally_event *out);
/* Events that came too fast to be given out. */
uint64_t tally_dropped(struct tally *t);

struct tally_total {
    uint64_t requests, refused, unknown, slowed, failed, bytes;
    unsigned active;
};
void tally_total(struct tally *t, struct tally_total *out);

#endif
