/*
 * What the parts of the capture share.
 *
 * A group is open from group_open() until its last job has ended (cap_begin/cap_end count them). Each kind of kinds/ starts
 * its requests in start() and ends by cap_end(). Everything runs in callbacks on the capture's one thread; a failure is
 * left with cap_fail(), after which callbacks only clean up.
 */
#ifndef EXPORT_CAPTURE_PRIV_H
#define EXPORT_CAPTURE_PRIV_H

#include "libexport/capture.h"
#include "libexport/idset.h"
#include "libexport/plan.h"
#include "libexport/relations.h"
#include "libexport/sink.h"
#include "libgitlab/graphql.h"
#include "libgitlab/rest.h"

#define CAP_MAX_SOURCES 4

/* How often a source was tried: one that never worked is not asked again for every group. */
struct cap_luck {
    unsigned ok, refused;
    char why[200]; /* words of the first refusal: what the ledger says of groups for which it was not asked */
};

struct cap_user {
    int64_t id;
    const char *username, *name, *public_email, *state;
    int bot; /* 1, 0, -1 not known */
};

struct cap_emails;

struct capture {
    struct capture_opts o;
    struct gl_client *client;
    struct book *book;
    struct plan plan;
    size_t next;          /* first group of the plan that was not opened */
    unsigned open, discovering;
    size_t next_aside;    /* first group of the plan of which cap_kind_aside was not started */
    unsigned aside;       /* groups of which it runs */
    int64_t broken_discovery; /* group whose list of subgroups failed the capture; 0: none */
    size_t next_recursion; /* first group whose subgroups were not asked for */
    bool recursive;
    struct gl_pages tree; /* of all lists of groups together */
    uint64_t tree_twice;
    uint64_t done;
    uint64_t looked;      /* groups that were looked at again */
    bool looking;
    struct marks *marks;  /* of the book */
    char *watermarks;     /* JSON for the manifest */
    bool failed;
    bool kept_is_good;    /* it failed by an answer that is never kept */
    struct gs_err err;
    int64_t root_id, started_ms, finished_ms;
    char *root_path;
    const char *role;
    bool role_asked;
    struct idset users[3]; /* told to the bundle: by name at least, with e-mail address, with everything */
    struct cap_emails *emails;
    struct cap_luck luck[32]; /* by number of the source */
    struct gs_buf json;   /* scratch of one record */
    struct gl_keep store; /* the staging's */
    struct relations *rel; /* NULL: everything is read over the API */
    uint64_t kept_files;  /* downloads of an earlier run */
};

/* A group that is open. */
struct cap_group {
    struct capture *cap;
    size_t at; /* in the plan */
    int64_t id, parent_id;
    const char *full_path;
    unsigned pending;
    bool late;  /* opened once more, at the end, for cap_group_late() */
    bool aside; /* opened once more for what nothing waits for */
    struct rel_group *rel; /* its export; NULL: it has none, or all of it is read */
    unsigned exported;     /* of the kinds that unread.c asks for, a bit for each: those in its export */
    bool not_exported;     /* its export was refused, while those of other groups are read */
    bool by_export;        /* it is exported, and what is read otherwise is said to be */
    unsigned unread_way;   /* by which unread.c asks */
};

/* One relation family. */
struct cap_kind {
    const char *relation;
    /* Starts its requests; calls cap_begin() once per job. On -1 nothing of it is pending. */
    int (*start)(struct cap_group *g, struct gs_err *err);
};

extern const struct cap_kind cap_kind_self, cap_kind_labels, cap_kind_milestones, cap_kind_badges, cap_kind_boards,
    cap_kind_members, cap_kind_invitations, cap_kind_iterations, cap_kind_epics,
    cap_kind_epic_boards, cap_kind_unread;

/* The group's own record is read first; then either this starts the other kinds, or the group is lost. */
int cap_group_rest(struct cap_group *g, struct gs_err *err) GS_MUST_USE;
void cap_group_lost(struct cap_group *g);
/*
 * What is only counted, and nothing is compared with, is asked for when a request could leave and nothing else is there to be asked: while
 * the last lists come to their ends, during the look at the source, and when that ends. Not where exports are read.
 */
int cap_fill_aside(struct capture *c, struct gs_err *err) GS_MUST_USE;
bool cap_aside_left(const struct capture *c);
/*
 * Badges, which only REST shows, are read when everything else was: what they would be compared with is what is read, so that one
 * request tells both. Not where exports are read, which hold them. c->open counts those that run.
 */
int cap_group_late(struct capture *c, size_t at, struct gs_err *err) GS_MUST_USE;

void cap_fail(struct capture *c, const struct gs_err *err);
/* By an answer that is never kept: nothing of what is kept has to be doubted for it. */
void cap_fail_live(struct capture *c, const struct gs_err *err);
/* True, and the capture has failed, when the user asked for an end. */
bool cap_stopped(struct capture *c);
void cap_report(struct capture *c);
/* Finds out, once, the role of the token's user in the root group (c->role), for the manifest. Who cannot ask does not know. (capture_role.c) */
int cap_find_role(struct capture *c, struct gs_err *err) GS_MUST_USE;
void cap_begin(struct cap_group *g);
/* `g` may be gone afterwards. */
void cap_end(struct cap_group *g);
/* Is this the server's "not for you" or "not here", rather than a failure of the whole capture? */
bool cap_denied(const struct gs_err *err);
/* A relation that could not be read, for the ledger, with the server's words. */
int cap_missing(struct cap_group *g, const char *relation, const struct gs_err *why, struct gs_err *err) GS_MUST_USE;
/* The same, and no way around it. */
int cap_missing_now(struct cap_group *g, const char *relation, const struct gs_err *why, struct gs_err *err) GS_MUST_USE;
/* Where the records of a relation go: into the bundle, or to where they are joined with those of an export. */
int cap_sink(struct cap_group *g, const char *relation, struct sink **out, struct gs_err *err) GS_MUST_USE;
/* The avatar over REST. */
int cap_avatar(struct cap_group *g, const char *url, struct gs_err *err) GS_MUST_USE;
/*
 * Tells the bundle of a user. Answers come in any order and after a kill in another one, so what is kept of a user may hang on what all of
 * them know together only, never on who spoke first.
 */
int cap_user(struct capture *c, const struct cap_user *u, struct gs_err *err) GS_MUST_USE;
/* A UserCore of GraphQL; its strings are those of `u`. Who was asked for a public address and has none is known to have none: "". */
struct cap_user cap_user_graphql(yyjson_val *u);
/* Public e-mail addresses that were looked up one by one, kept for the whole run. */
struct cap_emails;
void cap_emails_free(struct cap_emails *e);
/* Writes into the books which kinds of objects this version did not ask for in any group. */
int cap_not_asked(struct capture *c, struct gs_err *err) GS_MUST_USE;
void cap_refused(struct capture *c, unsigned n, const struct gs_err *why);
/* May this source be asked, after what it answered for other groups? `n` is its number, fixed per source. */
bool cap_try(const struct capture *c, unsigned n);

/* ---- a relation that is one list, read from the first source that works ---- */

struct cap_rel;

struct cap_source {
    unsigned number;           /* of struct cap_luck */
    const char *name;          /* "graphql", "rest" */
    const char *endpoint;      /* for the ledger */
    const char *path;          /* REST: what stands behind /groups/:id; NULL: GraphQL */
    const char *document;      /* name of the GraphQL document */
    const char *connection;    /* "group.labels" */
    /* Makes the record of one element; leaves `w` alone when the element is none of this group's own (counted as left out). */
    int (*record)(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err);
    const char *loss;          /* rule that every record read this way falls under; NULL: none */
    int since_major, since_minor; /* older servers are not asked this way; 0: all versions */
    struct {
        const char *attribute;
        int major, minor;      /* servers from here on have it */
    } lacks[2];                /* what this way does not show */
};

struct cap_rel_spec {
    const char *relation;
    struct cap_source sources[CAP_MAX_SOURCES];
    unsigned n_sources;
    int (*otherwise)(struct cap_group *g, struct gs_err *err); /* when all sources were refused; NULL: the relation is missing */
    const char *otherwise_name;
};

struct cap_rel {
    struct cap_group *group;
    const struct cap_rel_spec *spec;
    unsigned source;
    struct sink *sink;
    struct idset seen;
    uint64_t twice, foreign;
    uint64_t other; /* elements that are none of this relation: announced by nobody, counted elsewhere */
    bool broke; /* we failed, not the server */
    int64_t announced; /* by another endpoint than the list itself; -1: by none */
    void *extra; /* of the kind, freed with free_extra() */
    void (*free_extra)(void *extra);
};

int cap_rel_start(struct cap_group *g, const struct cap_rel_spec *spec, struct gs_err *err) GS_MUST_USE;
/* The same with what another endpoint told before. Takes `extra` in any case. */
int cap_rel_start_with(struct cap_group *g, const struct cap_rel_spec *spec, int64_t announced, void *extra,
                       void (*free_extra)(void *extra), struct gs_err *err) GS_MUST_USE;
/* A fetch line out of what the paging says. */
int cap_fetch(struct cap_group *g, const char *relation, const char *endpoint, const struct gl_pages *p,
              struct gs_err *err) GS_MUST_USE;
/* The same for one request. */
int cap_fetch_one(struct cap_group *g, const char *relation, const char *endpoint, const struct gl_response *rsp,
                  uint64_t records, struct gs_err *err) GS_MUST_USE;
/* A list that showed a record twice has shifted while it was read. */
int cap_compare(struct cap_group *g, const char *relation, const struct gl_pages *p, uint64_t twice,
                struct gs_err *err) GS_MUST_USE;

/* ---- small helpers for records ---- */

/* Numeric id of a REST ("id": 7) or GraphQL ("gid://gitlab/Label/7") object; 0 when it has none. */
int64_t cap_id(yyjson_val *v);
/* key: value as it is in `obj` under `from` (null when absent). */
void cap_copy(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from);
/* The same, left away when absent. */
void cap_copy_known(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from);
/* First ten characters of a date or time, or null. */
void cap_copy_date(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from);
/* A label inside another record; REST (`name`) or GraphQL (`title`). */
void cap_nested_label(struct gs_jw *w, yyjson_val *label);

#endif
