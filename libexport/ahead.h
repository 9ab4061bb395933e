/*
 * ahead: what a capture asks before it knows anything of the server, so that these answers travel with those of gl_instance_probe():
 * the root group by its path, and the list of all groups below it; and where somebody knows which groups are there, some of these.
 *
 *   capture_ask_ahead() -> gl_instance_probe() -> capture_new() with opts.ahead -> capture_run() -> the client is freed -> ahead_free()
 *
 * The capture asks for both by the root's id. It finds these answers as the ones to its own requests, and they are kept as such, so
 * that a later run finds them in its store like all others.
 */
#ifndef EXPORT_AHEAD_H
#define EXPORT_AHEAD_H

#include "libgitlab/rest.h"

struct capture_ahead;

/*
 * Submits the requests; `tree`: also the one for the list of groups, which a capture that is continued has kept. Nothing of it fails
 * later: an answer that cannot be used is asked for again by the capture, and fails there. *out lives longer than the client.
 */
int capture_ask_ahead(struct gl_client *client, const char *group, bool tree, struct capture_ahead **out, struct gs_err *err) GS_MUST_USE;
/* The same for the own records of these groups; `n` as many as may be on the wire besides. */
int capture_ask_groups(struct capture_ahead *a, struct gl_client *client, const int64_t *ids, size_t n, struct gs_err *err) GS_MUST_USE;
void capture_ahead_free(struct capture_ahead *a);
GS_DEFINE_AUTO(capture_ahead, capture_ahead_free);

/* Path of the request for a group by its path or id, and for the groups below; the caller frees, NULL: no memory. */
char *ahead_root_path(const char *encoded);
char *ahead_tree_path(const char *encoded, bool below);

/* Waits for the answers. The root's: borrowed until ahead_find() gave it away; NULL: it was none with 2xx. */
int ahead_root(struct capture_ahead *a, struct gl_client *client, const struct gl_response **out, struct gs_err *err) GS_MUST_USE;
/* The id by which the capture asks from now on. */
void ahead_is(struct capture_ahead *a, int64_t root_id);
/* Is there an answer to this request? Then it is moved to `out`, once. */
bool ahead_find(struct capture_ahead *a, const struct gl_request *req, struct gl_response *out);

#endif
