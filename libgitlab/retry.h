/*
 * retry: the pure decision whether and when a request is tried again. No clock, no randomness of its own, no I/O.
 *
 *   what came                          repeatable        not repeatable (a write)
 *   429                                again, all pause  again, all pause: the server refused before acting
 *   409 resource lock                  again             again
 *   408, 5xx but 501 and 505           again             stop: it may have acted
 *   no connection                      again             again: nothing was sent
 *   broken, timeout                    again             stop: it may have acted
 *   anything else                      stop              stop
 *
 * "Again" ends after max_tries (429: four times as many, since the server is well) and when the waiting would exceed
 * max_wait_ms. A server that never answered is tried GL_TRIES_ABSENT times within GL_WAIT_ABSENT_MS, an unknown name or
 * a failed handshake GL_TRIES_UNLIKELY times. Waits double from half a second to a minute, half of each is jitter.
 */
#ifndef GL_RETRY_H
#define GL_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#define GL_TRIES_ABSENT 5
#define GL_WAIT_ABSENT_MS 15000
#define GL_TRIES_UNLIKELY 3
#define GL_WAIT_MAX_MS 60000

enum gl_wire {                     /* how far a try came */
               GL_WIRE_ANSWERED,   /* complete answer */
               GL_WIRE_NO_CONNECT, /* name, connection or TLS failed: nothing was sent */
               GL_WIRE_BROKEN,     /* sent (partly), then reset, cut, or closed without a complete answer */
               GL_WIRE_TIMEOUT,    /* deadline or stall after sending began */
               GL_WIRE_FINAL,      /* will not change by trying again (certificate refused, body over its bound) */
};

struct gl_try {
    enum gl_wire wire;
    int status;
    bool repeatable;        /* a read, or an idempotent write */
    bool resource_lock;     /* 409 whose body says "Resource lock" */
    bool answered_before;   /* this server has answered some request of this client */
    bool unlikely;          /* with NO_CONNECT: the name is unknown or the TLS handshake failed */
    int64_t retry_after_ms; /* from Retry-After (seconds or date) or RateLimit-Reset; -1: none */
    unsigned tries;         /* so far, this one included */
    int64_t waited_ms;      /* so far */
    unsigned max_tries;
    int64_t max_wait_ms; /* total */
    uint32_t random;     /* uniform, for jitter */
};

enum gl_verdict { GL_STOP, GL_AGAIN };

struct gl_decision {
    enum gl_verdict verdict;
    int64_t wait_ms;
    bool pause_all;  /* the server asked for a pause: no request of this client leaves before */
    const char *why; /* static text for the log */
};

struct gl_decision gl_retry(const struct gl_try *t);

#endif
