/*
 * http: one curl-multi engine per GitLab instance.
 *
 * One thread owns a struct gl_client: it submits requests, runs gl_poll() and gets each answer through the request's
 * callback, on that same thread. Connections are reused, HTTP/2 is taken where TLS offers it (not for writes, each of
 * which shall fail alone), at most `jobs` requests are on the wire; others wait in order of submission. gl_perform() is
 * the blocking form for a single request.
 *
 * What the engine guarantees:
 *  - only https (http to loopback, or with allow_http); TLS is always verified (own CA through `cacert`);
 *  - the token goes to the configured host only: a redirect to another host is followed without it (GET only, at most
 * 5);
 *  - an answer's status is judged before its body is given out; bodies are bounded (GS_E_LIMIT);
 *  - every request has a deadline; a stalled transfer ends;
 *  - when requests leave follows pace.h: the server's announced limits are kept to before it has to refuse;
 *  - retries follow retry.h: reads are tried again by the engine; a write only when it is certain that the server did
 * not act on it (no connection, 429, 409 resource lock). A write whose outcome is unknown is reported as such, never
 * repeated.
 */
#ifndef GL_HTTP_H
#define GL_HTTP_H

#include "libcommon/buf.h"
#include "libcommon/cleanup.h"
#include "libcommon/err.h"
#include "libcommon/log.h"
#include "libcommon/secret.h"

#include <stdbool.h>
#include <stdint.h>

struct gl_client;

struct gl_client_opts {
    const char *url;               /* base URL of the instance, e.g. https://gitlab.example.com[/relative/root] */
    const struct gs_secret *token; /* copied into locked memory; NULL: none */
    const char *cacert;            /* PEM file or folder of CAs in addition to the system's; NULL */
    bool allow_http;               /* also http:// to other hosts than loopback */
    unsigned jobs;                 /* requests on the wire; 0: 8 */
    unsigned rate_per_min;         /* own limit: requests that may leave in a minute, evenly spread; 0: none */
    unsigned max_tries;            /* per request; 0: 8 */
    int64_t max_retry_ms;          /* total waiting per request; 0: 600,000 */
    int64_t deadline_ms;           /* per try; 0: 60,000 */
    const struct gs_log *log;
    int64_t stall_ms;         /* an answer that began and then brings no byte for so long is given up; 0: 30,000 */
    uint64_t jitter_seed;     /* 0: random */
    const volatile int *stop; /* non-zero: nothing new is sent, reads and waits end (GS_E_STOPPED); a write on the wire gets its answer */
};

enum gl_method { GL_GET, GL_POST, GL_PUT, GL_DELETE, GL_HEAD };

/* What is known about a request whose callback runs. */
enum gl_outcome {
    GL_ANSWERED = 0, /* a complete answer with a status came: look at `status` (2xx or not) */
    GL_NOT_SENT,     /* certain: the server did not act (no connection, stopped before sending, 429 until the cap) */
    GL_UNKNOWN,      /* sent without a complete answer: it may have acted (timeout, reset, cut body, 5xx on a write) */
};

struct gl_request;

/* What an answer is about, so that a store of answers can count and forget by it. 0 and NULL: nothing particular. */
struct gl_tag {
    int64_t group;
    const char *relation; /* static, or lives as long as the request */
};

struct gl_response {
    enum gl_outcome outcome;
    int status;         /* 0 when none came */
    struct gs_buf body; /* complete body of any status; released by the engine after the callback unless stolen */
    char content_type[96];
    char request_id[48];         /* X-Request-Id */
    char *link;                  /* Link header or NULL, freed by the engine */
    int64_t total;               /* X-Total, -1 when absent */
    int64_t total_pages;         /* X-Total-Pages, -1 when absent */
    int64_t next_page;           /* X-Next-Page, 0 when absent or empty */
    int64_t ratelimit_remaining; /* RateLimit-Remaining, -1 when absent */
    int64_t date_ms;             /* Date header, 0 when absent */
    unsigned tries;              /* 1 = first try answered */
    int64_t waited_ms;           /* spent waiting between tries */
    bool ahead;                  /* given by a store that was handed it in this run */
    struct gs_err err; /* filled unless ANSWERED with 2xx: code, scope, http, request_id, the server's words */
};

/*
 * An open file that goes out as part of a form, read piece by piece while it is sent, from its beginning in each try. A stop before its last byte
 * ends the request: the form is not complete then, so that the server cannot act on it. So does a connection on which nothing goes for two
 * minutes, besides the request's deadline. Borrowed until the callback.
 */
struct gl_file {
    int fd;
    uint64_t size; /* bytes; a file that is shorter ends the request with GS_E_TRUNCATED */
    void (*sent)(void *cookie, uint64_t bytes); /* how many are handed over so far; called while gl_poll() runs; NULL */
    void *cookie;
};

/* A multipart form part (avatar). Borrowed until the callback. */
struct gl_part {
    const char *name, *filename, *content_type;
    const void *data;
    size_t len;
    const struct gl_file *file; /* instead of data; one of a form at most. NULL: none */
};

struct gl_request {
    enum gl_method method;
    char *
        path; /* below /api/v4: "/groups/7/labels?per_page=100", already encoded; or "/graphql" with `graphql`; owned */
    bool graphql;    /* POST to /api/graphql */
    bool read_only;  /* a POST that changes nothing (GraphQL query): may be repeated */
    bool idempotent; /* a PUT or DELETE that may be repeated when its outcome is unknown */
    char *body;      /* JSON text, owned; NULL: none */
    size_t body_len;
    const struct gl_part *parts; /* instead of body */
    size_t n_parts;
    struct gl_tag tag;
    bool goes_on;        /* of a list that has begun: leaves before those that begin something, so that few lists are open */
    bool live;           /* always asked of the server: neither looked for among kept answers nor kept (polls, watermarks) */
    size_t max_body;     /* bound of the answer's body; 0: 64 MiB */
    int64_t deadline_ms; /* 0: the client's */
    int64_t unmodified_since_ms; /* If-Unmodified-Since: refused with 412 when the object changed later, where the server looks; 0: none */
    char *sudo;          /* id or name of the user to act as (Sudo header), owned; NULL: the token's own user */
    const struct gs_secret *token; /* another token than the client's; lives until the callback. Where the redirect rules let it go, it goes */
    /*
     * Instead of collecting a 2xx body: `sink` gets it piece by piece (max_body 0: no bound; no decoding of gzip), and
     * `sink_restart` is called when a further try begins, so that what came so far is thrown away. -1 ends the request
     * with that error. Other bodies than those of 2xx are collected as always. The cookie is that of `done`.
     */
    int (*sink)(void *cookie, const void *data, size_t len, struct gs_err *err);
    int (*sink_restart)(void *cookie, struct gs_err *err);
    const char *accept_type; /* NULL: JSON is demanded of 2xx answers with a body (else GS_E_REMOTE); "any": anything */
    void (*done)(void *cookie, struct gl_request *req, struct gl_response *rsp);
    void *cookie;
    /* engine's own */
    void (*drop)(void *cookie); /* called instead of `done` when the request is thrown away with its client */
    size_t document_len;        /* of a GraphQL document */
    struct gl_transfer *transfer;
};

/* GS_E_URL, GS_E_HTTP_PLAIN, GS_E_NOMEM. Does not touch the network. */
int gl_client_new(const struct gl_client_opts *o, struct gl_client **out, struct gs_err *err) GS_MUST_USE;
void gl_client_free(struct gl_client *c);
GS_DEFINE_AUTO(gl_client, gl_client_free);

const char *gl_client_url(const struct gl_client *c); /* base URL without a trailing slash */
const char *gl_client_host(const struct gl_client *c);
/* SHA-256 of the server's certificate (hex) once a TLS connection was made, else "". */
const char *gl_client_tls_sha256(const struct gl_client *c);
struct gl_stats {
    uint64_t requests; /* sent, further tries and redirects included */
    uint64_t kept;     /* answers that came from the store of an earlier run instead of a request */
    uint64_t retries;
    uint64_t bytes_in, bytes_out; /* as on the wire, without TLS */
    uint64_t wire_us, tries_on_wire; /* time of all tries together from sending to the end of the answer, and how many */
    int64_t waited_ms;            /* of all requests together */
    int64_t longest_wait_ms;      /* of one request before one further try */
    unsigned in_flight, queued;
    unsigned window;      /* requests that may be on the wire now: `jobs`, less after a 429 */
    int64_t paused_ms;    /* how long no request leaves since the server wants it so; 0: none */
    int64_t rate_per_min; /* least of the own limit and those that the server announces; 0: none known */
    int64_t rate_left;    /* requests that the server's window still allows, -1: not announced */
    unsigned retrying; /* of `queued`: failed for the moment, to be tried again */
    int64_t next_try_ms; /* until the first of them is */
    enum gs_code retry_why; /* why that one failed: GS_E_UNREACHABLE, GS_E_SERVER, ... */
};
void gl_client_stats(const struct gl_client *c, struct gl_stats *out);

/*
 * Where complete answers are kept, so that a later run need not ask again. Asked for and kept are reads only (GET, and POST with
 * read_only) that are not `live` and have no sink, and of their answers only those that will be the same again: 2xx with the
 * body that GitLab sends, 403, 404 and 405. A found answer comes out of gl_poll() through the same callback as any other and
 * takes a slot until then, but no request is counted for it, and neither a full window nor a pause holds it up.
 *
 * All calls come from the thread that runs gl_poll(). An error ends the request that it was about with that error.
 */
struct gl_keep {
    void *cookie;
    /* *out_found: `out` is filled; its body and link become the engine's. `out` is an empty answer before; one
     * marked as `ahead` does not count as kept. */
    int (*find)(void *cookie, const struct gl_request *req, struct gl_response *out, bool *out_found, struct gs_err *err);
    /* Takes a copy; need not have stored it when it returns. */
    int (*keep)(void *cookie, const struct gl_request *req, const struct gl_response *rsp, struct gs_err *err);
    /* *out: how many of the things given to keep() do not survive the end of the process yet. No request leaves while they are
     * as many as may be on the wire, so that what such an end costs is bounded (with a single job: nothing that was received; else
     * at most as many answers as there are jobs, besides those on the wire). The store calls gl_client_wake() whenever there are fewer. NULL: always 0. */
    int (*unstored)(void *cookie, unsigned *out, struct gs_err *err);
};
/* NULL: none, which is how a client begins. Copied; the cookie lives until the client is freed or another store is set. Set it
 * after gl_instance_probe(), whose answers must not be old. */
void gl_client_keep(struct gl_client *c, const struct gl_keep *k);
/* Ends the waiting of a gl_poll() that runs now, or of the next one. The only call that other threads may make. */
void gl_client_wake(struct gl_client *c);

/* A request owned by the engine from gl_submit() until after its callback, then freed. `path_fmt` is printf'ed. NULL:
 * no memory. */
struct gl_request *gl_request_new(enum gl_method m, const char *path_fmt, ...) GS_PRINTF(2, 3);
void gl_request_free(struct gl_request *r);
/* Takes `r` in any case; on failure the callback is not called. */
int gl_submit(struct gl_client *c, struct gl_request *r, struct gs_err *err) GS_MUST_USE;
/* Runs transfers and callbacks; returns after at most timeout_ms, or when a callback ran. -1 only for a broken engine.
 */
int gl_poll(struct gl_client *c, int timeout_ms, struct gs_err *err) GS_MUST_USE;
/* The same for a loop that waits for more than the network: returns at any sign of it and at gl_client_wake(), and waits also when no
 * request is there. */
int gl_wait(struct gl_client *c, int timeout_ms, struct gs_err *err) GS_MUST_USE;
/* Ends what waits for its first place on the wire: certain that none of it left (GL_NOT_SENT, GS_E_STOPPED). The callbacks run out of
 * this call. */
void gl_client_withdraw(struct gl_client *c);
/*
 * After a stop, for what has to be done before the process ends all the same: the flag is no longer looked at, and each request is tried
 * once only.
 */
void gl_client_last(struct gl_client *c);
/* Number of requests submitted whose callback has not run. */
unsigned gl_pending(const struct gl_client *c);
/* How many more requests may be submitted so that all are on the wire at once. */
unsigned gl_free_slots(const struct gl_client *c);
/* The same with a few more, for reads that do not hang on each other: they are ready to leave when answers come. */
unsigned gl_room(const struct gl_client *c);
/* Takes `r`, runs the loop until its callback would run, and gives the answer to the caller, who calls
 * gl_response_release(). -1: no 2xx (err = rsp->err). */
int gl_perform(struct gl_client *c, struct gl_request *r, struct gl_response *rsp, struct gs_err *err) GS_MUST_USE;
void gl_response_release(struct gl_response *rsp);
/* The name of a method as it stands in a request. */
const char *gl_method_name(enum gl_method m);

/* Percent-encodes one path segment or query value ("a/b" -> "a%2Fb"); the caller frees. */
char *gl_encode(const char *s);

#endif
