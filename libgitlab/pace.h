/*
 * pace: the pure decision when a request may leave and how many may be on the wire. No clock, no I/O, no memory of its
 * own: times are milliseconds of one steady clock that the caller names, `server_ms` is Unix time by the server's clock.
 *
 * What is kept to, all of it at once:
 *  - at most `jobs` requests on the wire; half of them after a refusal (429), one more for every round that went well;
 *  - no request before the end of a pause that the server asked for (Retry-After);
 *  - the own limit, `rate_per_min`, evenly spread;
 *  - what the RateLimit-* headers announce. Each RateLimit-Name is a limit of its own, since GitLab counts kinds of
 *    requests apart; which limit counts a request is learned from the answers to requests of the same class. Requests on
 *    the wire are taken as not yet counted. One thirty-second part of every limit is left to others, and what remains is
 *    spread evenly over the rest of the window once less than a quarter of the limit is there.
 */
#ifndef GL_PACE_H
#define GL_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GL_PACE_LIMITS 8
#define GL_PACE_CLASSES 64
#define GL_PACE_NAME 64
#define GL_PACE_NEVER INT64_MAX

/* One limit of the server, as the answers show it. */
struct gl_pace_limit {
    char name[GL_PACE_NAME]; /* RateLimit-Name; "" is one, too */
    int64_t per_min;         /* RateLimit-Limit */
    int64_t quota;           /* requests per window */
    int64_t remaining;       /* the least that an answer of this window said */
    int64_t reset_s;         /* RateLimit-Reset, Unix time: names the window */
    int64_t last_sent_ms;
    uint64_t answers;
    unsigned on_wire;
};

struct gl_pace_class {
    uint32_t class;
    int8_t limit;
    bool known;
};

/* Read only for others; gl_pace_view() tells what people want to know. */
struct gl_pace {
    unsigned jobs, window, credit, on_wire, on_wire_unknown;
    int64_t pause_until;
    uint64_t rate_per_min;
    int64_t own_next_us;
    int64_t server_ahead_ms; /* the server's clock less ours, at least */
    bool server_known;
    struct gl_pace_limit limits[GL_PACE_LIMITS];
    unsigned n_limits;
    struct gl_pace_class classes[GL_PACE_CLASSES];
    unsigned next_class;
};

/* What an answer said; fields of headers that it did not have are -1 (`server_ms`: 0). */
struct gl_pace_answer {
    int64_t server_ms; /* Date */
    int64_t head_ms;   /* when that header came, by our clock */
    int64_t per_min, observed, remaining, reset_s;
    const char *name; /* NULL: none */
};

struct gl_pace_view {
    unsigned window;      /* requests that may be on the wire */
    int64_t paused_ms;    /* how long no request leaves, by the server's wish or for want of anything left; 0: none */
    int64_t rate_per_min; /* the least of all limits in force, own and announced; 0: none known */
    int64_t remaining;    /* of the announced limit with the least left; -1: none known */
};

/* `jobs` at least 1; `rate_per_min` 0: no limit of our own. */
void gl_pace_init(struct gl_pace *p, unsigned jobs, unsigned rate_per_min);

/* Requests of one class are counted by the same limit: the path without its query, without numbers and encoded names. */
uint32_t gl_pace_class_of(const char *path, bool graphql);

/*
 * When may the next request of this class leave? `now` or less: now. GL_PACE_NEVER: not before an answer came. The
 * decision holds until the next call of one of the functions below.
 */
int64_t gl_pace_when(const struct gl_pace *p, uint32_t class, int64_t now_ms);
/* It leaves. Returns the number under which gl_pace_answered() or gl_pace_gone() must be told of its end. */
int gl_pace_sent(struct gl_pace *p, uint32_t class, int64_t now_ms);
/* A complete answer came, whatever its status. */
void gl_pace_answered(struct gl_pace *p, int number, uint32_t class, const struct gl_pace_answer *a, int64_t now_ms);
/* It ended without an answer. */
void gl_pace_gone(struct gl_pace *p, int number);
/* The server refused (429) or asked for a pause: nobody leaves for `wait_ms`. */
void gl_pace_refused(struct gl_pace *p, int64_t wait_ms, int64_t now_ms);
/* A request succeeded: the window may grow again. */
void gl_pace_went_well(struct gl_pace *p);

void gl_pace_look(const struct gl_pace *p, int64_t now_ms, struct gl_pace_view *out);

#endif
