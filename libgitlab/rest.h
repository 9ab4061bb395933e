/*
 * rest: what GitLab's REST and GraphQL answers look like: errors, pages, token, version.
 */
#ifndef GL_REST_H
#define GL_REST_H

#include "libcommon/json.h"
#include "libgitlab/http.h"

/*
 * Overwrites every occurrence of a secret of at least eight characters in `text` with asterisks, which keeps the length
 * and the shape of JSON. The client does this with its own token in every answer that is words and not a record.
 */
void gl_blank(const char *secret, size_t secret_len, char *text, size_t len);
/*
 * Words of an error body in any of the shapes that GitLab gives (message string, message object, error,
 * error_description, nested error, status/message, plain text, HTML, captcha, GraphQL errors): one line for people in
 * `out`, bounded. Never fails: unknown shapes give the first printable bytes.
 */
void gl_error_text(int status, const char *content_type, const char *body, size_t len, char *out, size_t cap);

enum gl_dup { GL_DUP_NO = 0, GL_DUP_YES, GL_DUP_LOCK };
/* Does this answer say that the object (or its name) exists already? LOCK: a transient 409. Sections (c) of the API
 * facts. */
enum gl_dup gl_error_duplicate(int status, const char *body, size_t len);
/* Is `attr` named in the error's message object or in the Ruby hash printed inside a message string? */
bool gl_error_names(const char *body, size_t len, const char *attr);

/* Fills err->code, scope, http, request_id and text from a non-2xx answer. Returns -1. */
int gl_error_fill(const struct gl_response *rsp, struct gs_err *err);

/* Parses the answer's body. What is no JSON is GS_E_REMOTE, unlike gs_json_parse() says. */
int gl_response_json(const struct gl_response *rsp, yyjson_doc **out, struct gs_err *err) GS_MUST_USE;

/* rel="next" of a Link header into *out (full URL, to be freed), or NULL when there is none. GS_E_REMOTE when
 * malformed. */
int gl_link_next(const char *link, char **out, struct gs_err *err) GS_MUST_USE;

/*
 * Pages of a REST list, streamed: `page` is called for every page in order with the parsed array (valid during the call
 * only). Follows Link rel=next (its query only: host and path stay those of the instance), else X-Next-Page.
 * per_page=100 is added. Loops (a next link seen before) are GS_E_REMOTE. `done` is called once at the end, err->code
 * GS_OK on success. Pages that the server counts are fetched ahead, several at once, into free slots of the client;
 * they still come in order.
 */
struct gl_pages {
    uint64_t pages, records, bytes, retries;
    int64_t waited_ms;
    int64_t announced; /* X-Total, or `count` of a GraphQL connection whose document asks for it, of the first page; -1 */
};
typedef int (*gl_page_fn)(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err);
typedef void (*gl_pages_done_fn)(void *cookie, const struct gl_pages *p, const struct gs_err *err);
/* Asynchronous; `path` with its own query allowed. */
int gl_list(struct gl_client *c, const char *path, gl_page_fn page, gl_pages_done_fn done, void *cookie,
            struct gs_err *err) GS_MUST_USE;
struct gl_list_opts {
    bool sequential;   /* one page after the other, as the links say */
    struct gl_tag tag; /* of its requests; the string lives as long as the list */
    bool live;         /* of its requests, see struct gl_request */
    const char *variables; /* more of them for a GraphQL list, as members of an object: "\"iid\":\"7\""; copied */
};
int gl_list_with(struct gl_client *c, const char *path, const struct gl_list_opts *o, gl_page_fn page,
                 gl_pages_done_fn done, void *cookie, struct gs_err *err) GS_MUST_USE;
/* Blocking. */
int gl_list_all(struct gl_client *c, const char *path, gl_page_fn page, void *cookie, struct gl_pages *out,
                struct gs_err *err) GS_MUST_USE;
/* Blocking GET of one JSON object. */
int gl_get(struct gl_client *c, const char *path, yyjson_doc **out, struct gs_err *err) GS_MUST_USE;

/*
 * GraphQL. `variables_json` is a JSON object. A 200 with top-level errors[] or with payload errors[] is GS_E_GRAPHQL
 * with the words (scope ITEM); errors that name an unknown field or argument set *out_unknown_field, so that a caller
 * can fall back.
 */
struct gl_request *gl_graphql_request(const char *document, const char *variables_json, bool read_only);
/* Judges an answer: *out_doc holds the whole response, *out_data its data object. */
int gl_graphql_answer(const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out_data,
                      bool *out_unknown_field, struct gs_err *err) GS_MUST_USE;
/* Blocking. */
int gl_graphql(struct gl_client *c, const char *document, const char *variables_json, yyjson_doc **out_doc,
               yyjson_val **out_data, bool *out_unknown_field, struct gs_err *err) GS_MUST_USE;
/* Streams a connection: `conn_path` names it below data ("group.labels"), through a list in the first element that has the next name
 * ("workItem.widgets.notes"); the document takes $fullPath, if it wants, and $after. */
int gl_graphql_list(struct gl_client *c, const char *document, const char *full_path, const char *conn_path,
                    gl_page_fn page, gl_pages_done_fn done, void *cookie, struct gs_err *err) GS_MUST_USE;
int gl_graphql_list_with(struct gl_client *c, const char *document, const char *full_path, const char *conn_path,
                         const struct gl_list_opts *o, gl_page_fn page, gl_pages_done_fn done, void *cookie,
                         struct gs_err *err) GS_MUST_USE;
/* Number behind the last slash of "gid://gitlab/GroupLabel/12"; -1 when it is none. */
int64_t gl_gid(const char *gid);

/* What the instance and the token are (version/metadata, user, personal_access_tokens/self). */
struct gl_instance {
    char version[48]; /* "17.8.1-ee" */
    char revision[48];
    int major, minor;
    int enterprise; /* 1, 0, -1 unknown */
    int64_t user_id;
    char username[256];
    int is_admin;         /* 1, 0, -1 unknown */
    int can_create_group; /* 1, 0, -1 */
    bool scopes_known;
    bool scope_api, scope_read_api, scope_read_repository, scope_sudo;
    char token_expires_at[16]; /* "" when never or unknown */
    int64_t clock_offset_ms;   /* server minus us, from the Date header */
    bool clock_known;
};
/* GS_E_TOKEN, GS_E_SCOPE (neither api nor, when `read_only`, read_api), GS_E_TOO_OLD, GS_E_UNREACHABLE, ... */
int gl_instance_probe(struct gl_client *c, bool read_only, struct gl_instance *out, struct gs_err *err) GS_MUST_USE;
/* The same; `work` is done once, while the answers are waited for. When it fails, so does the probe. */
int gl_instance_probe_beside(struct gl_client *c, bool read_only, int (*work)(void *cookie, struct gs_err *err), void *cookie,
                             struct gl_instance *out, struct gs_err *err) GS_MUST_USE;
/* Is the instance at least this version? */
bool gl_instance_at_least(const struct gl_instance *i, int major, int minor);

#endif
