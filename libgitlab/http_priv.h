/*
 * http_priv: what the files of the HTTP engine share. http.c holds the queues and the loop, transfer.c one try on the
 * wire, answer.c what an answer means, tls.c certificates.
 */
#ifndef GL_HTTP_PRIV_H
#define GL_HTTP_PRIV_H

#include "http.h"
#include "pace.h"
#include "retry.h"
#include "url.h"

#include <curl/curl.h>

#define GL_MAX_REDIRECTS 5
#define GL_MAX_BODY ((size_t)64 << 20)
#define GL_MAX_ERROR_BODY ((size_t)1 << 20)
#define GL_MAX_LINK ((size_t)64 << 10)
#define GL_MAX_DOCUMENT 10000 /* characters that GitLab takes in one GraphQL document */
#define GL_CONNECT_MS 10000
#define GL_FILE_STALL_S 120L

enum gl_place { GL_PLACE_NONE, GL_PLACE_FRESH, GL_PLACE_QUEUE, GL_PLACE_WAITING, GL_PLACE_WIRE, GL_PLACE_DONE };

/* Where libcurl finds the CAs. */
struct gl_ca {
    char *path; /* file; NULL: libcurl's own default */
    int fd;     /* memory file behind `path`, or -1 */
    char *pem;  /* the text itself, where there are no memory files */
    size_t pem_len;
};

/* A request on its way: in exactly one of the client's lists. */
struct gl_transfer {
    struct gl_transfer *prev, *next;
    enum gl_place place;
    struct gl_client *client;
    struct gl_request *req;
    struct gl_response rsp;
    struct gl_response *give_to; /* gl_perform() takes the answer instead of a callback */
    bool *finished;
    int64_t due_ms; /* while waiting */
    uint32_t pace_class;
    int pace_number; /* while on the wire */
    bool paced;      /* the pace counts it as on the wire */
    unsigned redirects;
    char *url;       /* where a redirect leads to; NULL: the request's own */
    bool with_token; /* the try goes to the configured host */

    /* of the try that runs */
    CURL *easy;
    curl_mime *mime;
    struct curl_slist token_node, sudo_node, type_node, since_node;
    char *sudo_header;
    struct gs_secret own_token_header; /* of a request with a token of its own */
    char since_header[64];
    unsigned sends; /* how often curl was about to send the request */
    bool resent;    /* curl wanted to send a write once more, and was not allowed to */
    bool head_done; /* the answer's headers are complete */
    bool sunk;      /* something went to the sink in an earlier or in this try */
    int64_t last_byte_ms;
    uint64_t body_bytes;
    size_t length; /* Content-Length, 0 unknown */
    char *location;
    int64_t retry_after_s; /* -1 none */
    int64_t retry_at_ms;   /* date form, 0 none */
    int64_t reset_at_ms;   /* RateLimit-Reset, 0 none */
    int64_t limit_per_min, limit_observed; /* RateLimit-Limit and -Observed, -1 none */
    char limit_name[GL_PACE_NAME];         /* RateLimit-Name */
    int64_t head_ms;                       /* when Date came */
    struct gs_err cb_err;  /* why a callback of ours ended the try */
    char errbuf[CURL_ERROR_SIZE];
    const struct gl_file *file; /* that is being sent; NULL: none */
    uint64_t file_at;
#ifdef GS_FAULTS
    bool head_sent, all_sent; /* watched in order to end the program just then */
    uint64_t body_sent;
#endif
};

struct gl_list {
    struct gl_transfer *first, *last;
    unsigned n;
};

struct gl_client {
    char *base;
    struct gl_origin origin;
    bool allow_http;
    unsigned jobs, max_tries;
    int64_t max_retry_ms, deadline_ms, stall_ms;
    struct gs_log log;
    const volatile int *stop;
    struct gs_secret token_header; /* "PRIVATE-TOKEN: ..." */
    size_t token_at;               /* where the token itself begins in it */
    struct gl_ca ca;
    char tls_sha256[65];

    CURLM *multi;
    CURL **idle; /* easy handles without work */
    unsigned n_idle;
    /* fresh: not yet looked for among kept answers; waiting: by due time; done: answered and kept, the callback is still to run */
    struct gl_list fresh, queue, waiting, wire, done;
    int64_t driven_ms; /* when the network was looked at last */
    struct gl_keep keep;
    bool store_behind; /* too much is not stored yet for a further request */
    bool one_failed;   /* among what ended since the loop went round last */
    struct gl_pace pace;
    int64_t last_stall_check;
    const char *trouble; /* why the last try that was told of failed; static text, NULL: none */
    int64_t trouble_ms;
    bool polling;
    bool answered_before;
    uint64_t random;
    struct gl_stats stats;
};

/* transfer.c. Starting: GS_E_NOMEM, GS_E_INTERNAL; a redirect's target may be refused with GS_E_HTTP_PLAIN. */
int gl_transfer_start(struct gl_transfer *t, struct gs_err *err) GS_MUST_USE;
/* Takes the easy handle off the wire and back to the idle ones. */
void gl_transfer_stop(struct gl_transfer *t);

/* answer.c */
enum gl_next { GL_NEXT_DONE, GL_NEXT_AGAIN, GL_NEXT_REDIRECT };
/* Judges the ended try and fills t->rsp; with AGAIN, *out tells when. */
enum gl_next gl_transfer_judge(struct gl_transfer *t, CURLcode rc, bool stalled, struct gl_decision *out);
/* The header of an answer, one line. */
void gl_answer_header(struct gl_transfer *t, const char *line, size_t len);
/* Forgets what a former try left in the response. */
void gl_answer_reset(struct gl_transfer *t);
bool gl_request_repeatable(const struct gl_request *r);
bool gl_request_writes(const struct gl_request *r);
/* May the answer to this request come from a store, and go to it? */
bool gl_request_keepable(const struct gl_request *r);
/* Will this answer be the same again, so that it is worth keeping? */
bool gl_answer_keepable(const struct gl_transfer *t);
/* Makes an answer that came out of a store what it was when it came from the wire. */
void gl_answer_kept(struct gl_transfer *t);

/* tls.c */
/* The system's CAs, and with `path` those of that file or folder as well. */
int gl_ca_load(const char *path, struct gl_ca *out, struct gs_err *err) GS_MUST_USE;
void gl_ca_release(struct gl_ca *ca);
/* SHA-256 of the first certificate in PEM text; false when there is none. */
bool gl_pem_sha256(const char *pem, char out_hex[65]);

/* "PRIVATE-TOKEN: ..." in locked memory; *out_at: where the token begins in it. Left empty without a token. */
int gl_token_header(const struct gs_secret *token, struct gs_secret *out, size_t *out_at, struct gs_err *err) GS_MUST_USE;

#endif
