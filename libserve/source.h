/*
 * source: a bundle as the source GitLab that another one's importer reads from: the routes and their answers, without the wire.
 *
 *   source_new(content, options) -> source_answer() for each request, from any thread -> reply_release() -> source_free()
 *
 * Nothing is kept between requests but what was seen (tally): an export is finished before it was asked for, so that an importer goes on
 * where it was when the server was away meanwhile.
 */
#ifndef SERVE_SOURCE_H
#define SERVE_SOURCE_H

#include "libserve/people.h"
#include "libserve/source_schema.h"
#include "libserve/tally.h"

struct source_opts {
    const char *version;  /* instead of the captured one; NULL: that */
    const char *url;      /* base, for the addresses in answers */
    uint64_t batch;       /* records in a batch, 0: 1000, or more where that would make many batches */
};

struct source;
/* GS_E_USAGE: the bundle does not tell a version that an importer would take, and no option does. The content outlives it. */
int source_new(const struct content *c, const struct source_opts *o, struct source **out, struct gs_err *err) GS_MUST_USE;
void source_free(struct source *s);
GS_DEFINE_AUTO(source, source_free);

const char *source_version(const struct source *s);
const char *source_url(const struct source *s);
bool source_enterprise(const struct source *s);
struct tally *source_tally(const struct source *s);

struct source_request {
    const char *method;
    const char *path;     /* as it was sent, without the query */
    /* The decoded parameter of the query, or NULL. Lives as long as the request. */
    const char *(*param)(void *cookie, const char *name);
    void *cookie;
    const char *body;
    size_t body_len;
};

struct reply {
    unsigned status;
    const char *type;     /* Content-Type */
    struct gs_buf body;
    struct stream *file;  /* instead of a body */
    bool paged;           /* the X- headers of a list: */
    unsigned page, per_page;
    uint64_t total;
    /* what is counted when the answer has left */
    struct tally_event seen;
};
void reply_release(struct reply *r);
/* Every request has an answer; GS_E_* only when it cannot be made (then 500 is the right status). */
int source_answer(struct source *s, const struct source_request *rq, struct reply *out, struct gs_err *err) GS_MUST_USE;
/* An answer of one JSON object with a message, as GitLab writes them. */
int reply_message(struct reply *out, unsigned status, const char *key, const char *text, struct gs_err *err) GS_MUST_USE;

#endif
