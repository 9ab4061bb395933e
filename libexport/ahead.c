#include "libexport/ahead.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ROOT, TREE, N };

struct capture_ahead {
    struct asked {
        bool waited_for;
        int64_t id;             /* of one of `groups` */
        struct gl_response rsp; /* status 0: none, or given away */
    } asked[N];
    struct asked *groups;
    size_t n_groups;
    int64_t root_id; /* 0: not known yet */
};

char *ahead_root_path(const char *encoded)
{
    return gs_asprintf("/groups/%s?with_projects=false", encoded);
}

char *ahead_tree_path(const char *encoded, bool below)
{
    return gs_asprintf("/groups/%s/%s?all_available=true&order_by=id&sort=asc", encoded, below ? "subgroups" : "descendant_groups");
}

static void on_drop(void *cookie)
{
    ((struct asked *)cookie)->waited_for = false;
}

static void on_answer(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct asked *a = cookie;
    (void)req;
    a->waited_for = false;
    if (rsp->err.code || rsp->status < 200 || rsp->status > 299)
        return;
    a->rsp = *rsp;
    rsp->body = (struct gs_buf){0}; /* moved */
    rsp->link = NULL;
}

static int ask(struct gl_client *client, struct asked *a, char *path, const char *more, struct gs_err *err)
{
    gs_autofree char *own = path;
    struct gl_request *r = own ? gl_request_new(GL_GET, "%s%s", own, more) : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = on_answer;
    r->drop = on_drop;
    r->cookie = a;
    a->waited_for = true;
    if (gl_submit(client, r, err) == 0)
        return 0;
    a->waited_for = false;
    return -1;
}

int capture_ask_ahead(struct gl_client *client, const char *group, bool tree, struct capture_ahead **out, struct gs_err *err)
{
    gs_autofree char *enc = gl_encode(group);
    struct capture_ahead *a = calloc(1, sizeof *a);
    *out = a; /* also on failure: a request may be on its way */
    if (!enc || !a)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    return ask(client, &a->asked[ROOT], ahead_root_path(enc), "", err) ||
                   (tree && ask(client, &a->asked[TREE], ahead_tree_path(enc, false), "&per_page=100", err))
               ? -1
               : 0;
}

int capture_ask_groups(struct capture_ahead *a, struct gl_client *client, const int64_t *ids, size_t n, struct gs_err *err)
{
    a->groups = calloc(n + 1, sizeof *a->groups);
    if (!a->groups)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    for (; a->n_groups < n; a->n_groups++) {
        char id[24];
        snprintf(id, sizeof id, "%" PRId64, ids[a->n_groups]);
        a->groups[a->n_groups].id = ids[a->n_groups];
        if (ask(client, &a->groups[a->n_groups], ahead_root_path(id), "", err))
            return -1;
    }
    return 0;
}

void capture_ahead_free(struct capture_ahead *a)
{
    for (size_t i = 0; a && i < N; i++)
        gl_response_release(&a->asked[i].rsp);
    for (size_t i = 0; a && i < a->n_groups; i++)
        gl_response_release(&a->groups[i].rsp);
    if (a)
        free(a->groups);
    free(a);
}

static bool waits(const struct capture_ahead *a)
{
    bool w = a->asked[ROOT].waited_for || a->asked[TREE].waited_for;
    for (size_t i = 0; i < a->n_groups && !w; i++)
        w = a->groups[i].waited_for;
    return w;
}

int ahead_root(struct capture_ahead *a, struct gl_client *client, const struct gl_response **out, struct gs_err *err)
{
    *out = NULL;
    while (waits(a))
        if (gl_poll(client, 1000, err))
            return -1;
    if (a->asked[ROOT].rsp.status)
        *out = &a->asked[ROOT].rsp;
    return 0;
}

/*
 * The links of the list name the root by its path: they are made to name its id. False: they look like nothing that is known, and the
 * list is asked for anew.
 */
static bool name_by_id(struct gl_response *rsp, int64_t root_id)
{
    static const char before[] = "/api/v4/groups/", behind[] = "/descendant_groups?";
    struct gs_err e = {0};
    gs_autobuf b;
    gs_buf_init(&b, (size_t)1 << 20);
    const char *p = rsp->link;
    for (const char *at; p && (at = strstr(p, before));) {
        at += strlen(before);
        const char *end = at + strcspn(at, "/?#>");
        if (strncmp(end, behind, strlen(behind)) != 0 || gs_buf_add(&b, p, (size_t)(at - p), &e) || gs_buf_addf(&b, &e, "%" PRId64, root_id))
            return false;
        p = end;
    }
    if (!p)
        return true;
    if (b.len == 0 || gs_buf_addstr(&b, p, &e))
        return false;
    char *link = strdup(gs_buf_str(&b));
    if (!link)
        return false;
    free(rsp->link);
    rsp->link = link;
    return true;
}

void ahead_is(struct capture_ahead *a, int64_t root_id)
{
    a->root_id = root_id;
    if (!name_by_id(&a->asked[TREE].rsp, root_id))
        gl_response_release(&a->asked[TREE].rsp), a->asked[TREE].rsp.status = 0;
}

bool ahead_find(struct capture_ahead *a, const struct gl_request *req, struct gl_response *out)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRId64, a->root_id);
    gs_autofree char *root = ahead_root_path(id);
    gs_autofree char *tree = ahead_tree_path(id, false);
    size_t n = tree ? strlen(tree) : 0;
    struct asked *at = NULL;
    if (a->root_id == 0 || req->method != GL_GET || !root || !tree)
        return false;
    if (strcmp(req->path, root) == 0)
        at = &a->asked[ROOT];
    else if (strncmp(req->path, tree, n) == 0 && strcmp(req->path + n, "&per_page=100") == 0)
        at = &a->asked[TREE];
    int64_t group = 0;
    if (!at && a->n_groups && strncmp(req->path, "/groups/", 8) == 0)
        group = strtoll(req->path + 8, NULL, 10);
    for (size_t i = 0; group && i < a->n_groups && !at; i++) {
        snprintf(id, sizeof id, "%" PRId64, group);
        gs_autofree char *own = a->groups[i].id == group ? ahead_root_path(id) : NULL;
        at = own && strcmp(req->path, own) == 0 ? &a->groups[i] : NULL;
    }
    if (!at || at->rsp.status == 0)
        return false;
    *out = at->rsp;
    out->ahead = true;
    at->rsp = (struct gl_response){0};
    return true;
}
