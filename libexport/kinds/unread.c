/*
 * Kinds that few groups have: which of them do is asked for in one request per group. They are then read. What cannot be
 * asked for like that goes to the ledger, once for the tree, so that nothing is left behind in silence.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <string.h>

enum { LUCK_GRAPHQL = 9 };

/* Connections of the document group_unread, and the kinds that read them where there are some. */
static const struct {
    const char *connection, *relation;
    const struct cap_kind *kind;
} asked[] = {{"epics", "epics", &cap_kind_epics}, {"epicBoards", "epic_boards", &cap_kind_epic_boards}, {"iterationCadences", "iterations_cadences", &cap_kind_iterations}};

static const struct {
    const char *relation, *rule;
    bool enterprise;
} not_asked[] = {
    {"uploads", "relation-not-read", false},
    {"ci_variables", "ci-variables-not-carried", false},
    {"custom_emoji", "custom-emoji-not-exported", false},
    {"deploy_tokens", "deploy-tokens-not-carried", false},
    {"projects", "projects-not-carried", false},
    {"wiki", "wiki-not-carried", true},
    {"hooks", "webhooks-not-carried", true},
    {"push_rules", "push-rules-not-carried", true},
    {"saved_replies", "saved-replies-not-exported", true},
};

static const char by_export_only[] = "only a relation export gives them";

int cap_not_asked(struct capture *c, struct gs_err *err)
{
    bool enterprise = !c->o.instance || c->o.instance->enterprise != 0;
    for (size_t i = 0; i < GS_COUNT(not_asked); i++)
        if ((enterprise || !not_asked[i].enterprise) && !(c->rel && strcmp(not_asked[i].relation, "uploads") == 0) &&
            book_left_out(c->book, c->root_id, not_asked[i].relation, not_asked[i].rule, NULL, 0,
                          strcmp(not_asked[i].rule, "relation-not-read") == 0 ? by_export_only
                                                                              : "not asked for in any group of the tree", err))
            return -1;
    if (!enterprise || c->luck[LUCK_GRAPHQL].refused == 0)
        return 0;
    for (size_t i = 0; i < GS_COUNT(asked); i++)
        if (!relations_knows(c, asked[i].relation) &&
            book_left_out(c->book, c->root_id, asked[i].relation, "relation-not-read", NULL, 0,
                          "the server does not tell which groups have some", err))
            return -1;
    return 0;
}

/* There are some, and the group has no export that gives them. */
static int read_kind(struct cap_group *g, size_t i, struct gs_err *err)
{
    if (g->rel && !relations_refused(g) &&
        book_fallback(g->cap->book, g->id, asked[i].relation, "relations", "api", "the export does not have it", err))
        return -1;
    return asked[i].kind->start(g, err);
}

static int answered(struct cap_group *g, yyjson_val *data, struct gs_err *err)
{
    yyjson_val *group = yyjson_obj_get(data, "group");
    for (size_t i = 0; i < GS_COUNT(asked); i++) {
        if (!(g->exported & 1u << i) && yyjson_arr_size(yyjson_obj_get(yyjson_obj_get(group, asked[i].connection), "nodes")) > 0 &&
            read_kind(g, i, err))
            return -1;
    }
    return 0;
}

/* Nobody tells. Of a whole tree that is said once, at its end; a group without an export beside others that have one is named. */
static int not_told(struct cap_group *g, struct gs_err *err)
{
    for (size_t i = 0; g->not_exported && i < GS_COUNT(asked); i++)
        if (book_left_out(g->cap->book, g->id, asked[i].relation, "relation-not-read", NULL, 0,
                          "the group is not exported, and the server does not tell whether it has some", err))
            return -1;
    return 0;
}

static void done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct cap_group *g = cookie;
    struct capture *c = g->cap;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    int r = gl_graphql_answer(rsp, &doc, &data, &unknown, &err);
    if (r == 0) {
        c->luck[LUCK_GRAPHQL].ok++;
        r = cap_fetch_one(g, "unread", "graphql:group.epics", rsp, 0, &err) || answered(g, data, &err) ? -1 : 0;
    } else if (cap_denied(&err)) {
        do /* said once for the tree; a field that one group does not have has none */
            cap_refused(c, LUCK_GRAPHQL, &err);
        while (unknown && cap_try(c, LUCK_GRAPHQL));
        r = not_told(g, &err);
    }
    if (r)
        cap_fail(c, &err);
    cap_end(g);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct capture *c = g->cap;
    if (c->o.instance && c->o.instance->enterprise == 0)
        return 0;
    /* noted here: what is known of the export may be gone when the answer comes */
    g->exported = 0;
    g->not_exported = relations_refused(g);
    for (size_t i = 0; i < GS_COUNT(asked); i++)
        g->exported |= (unsigned)relations_told(g, asked[i].relation) << i;
    if (g->exported == (1u << GS_COUNT(asked)) - 1)
        return 0;
    if (!cap_try(c, LUCK_GRAPHQL))
        return not_told(g, err);
    gs_autobuf vars;
    gs_buf_init(&vars, 64 << 10);
    struct gs_jw w;
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", g->full_path);
    gs_jw_end(&w);
    const char *document = gl_document("group_unread");
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *r = document ? gl_graphql_request(document, gs_buf_str(&vars), true) : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = done;
    r->tag = (struct gl_tag){g->id, "unread"};
    r->cookie = g;
    cap_begin(g);
    if (gl_submit(c->client, r, err) == 0)
        return 0;
    cap_end(g);
    return -1;
}

const struct cap_kind cap_kind_unread = {.relation = "unread", .start = start};
