/*
 * Kinds that few groups have: which of them do is asked for in one request per group. They are then read. What cannot be
 * asked for like that goes to the ledger, once for the tree, so that nothing is left behind in silence. Where epics and their boards are gone from
 * GraphQL, epics are work items, and nothing tells of the boards.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <string.h>

/* The kinds that are read where there are some. */
static const struct {
    const char *relation;
    const struct cap_kind *kind;
} asked[] = {{"epics", &cap_kind_epics}, {"epic_boards", &cap_kind_epic_boards}, {"iterations_cadences", &cap_kind_iterations}};

/* Documents that ask, and their connections, one for each kind; NULL: it does not tell. */
enum { AS_EPICS, AS_ITEMS };
static const struct {
    unsigned number; /* of the luck */
    const char *document, *endpoint, *connections[GS_COUNT(asked)];
} ways[] = {
    [AS_EPICS] = {9, "group_unread", "graphql:group.epics", {"epics", "epicBoards", "iterationCadences"}},
    [AS_ITEMS] = {18, "work_items_some", "graphql:group.workItems", {"workItems", NULL, "iterationCadences"}},
};

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
    bool items = c->luck[ways[AS_ITEMS].number].ok > 0;
    if (!enterprise || c->luck[ways[AS_EPICS].number].refused == 0)
        return 0;
    for (size_t i = 0; i < GS_COUNT(asked); i++)
        if (!relations_knows(c, asked[i].relation) && !(items && ways[AS_ITEMS].connections[i]) &&
            book_left_out(c->book, c->root_id, asked[i].relation, "relation-not-read", NULL, 0,
                          items ? "the API of this server shows none any more" : "the server does not tell which groups have some", err))
            return -1;
    return 0;
}

/* There are some, and the group has no export that gives them. */
static int read_kind(struct cap_group *g, size_t i, struct gs_err *err)
{
    if (g->by_export &&
        book_fallback(g->cap->book, g->id, asked[i].relation, "relations", "api", "the export does not have it", err))
        return -1;
    return asked[i].kind->start(g, err);
}

/* There are none: what the look at the end compares with. */
static int none(struct cap_group *g, const char *relation, struct gs_err *err)
{
    return g->cap->marks ? marks_put(g->cap->marks, g->id, mark_kind_of(relation), &(struct mark){0}, err) : 0;
}

static int ask(struct cap_group *g, struct gs_err *err);

/* Nobody tells of kinds of which `way` does not either. Of a whole tree that is said once, at its end; a group without an export beside others that
 * have one is named. */
static int not_told(struct cap_group *g, int way, struct gs_err *err)
{
    for (size_t i = 0; g->not_exported && i < GS_COUNT(asked); i++)
        if (!(way >= 0 && ways[way].connections[i]) &&
            book_left_out(g->cap->book, g->id, asked[i].relation, "relation-not-read", NULL, 0,
                          "the group is not exported, and the server does not tell whether it has some", err))
            return -1;
    return 0;
}

static int answered(struct cap_group *g, yyjson_val *data, struct gs_err *err)
{
    yyjson_val *group = yyjson_obj_get(data, "group");
    for (size_t i = 0; i < GS_COUNT(asked); i++) {
        const char *connection = ways[g->unread_way].connections[i];
        if (!connection || (g->exported & 1u << i))
            continue;
        yyjson_val *nodes = yyjson_obj_get(yyjson_obj_get(group, connection), "nodes");
        if (yyjson_arr_size(nodes) > 0 ? read_kind(g, i, err) : yyjson_is_arr(nodes) ? none(g, asked[i].relation, err) : 0)
            return -1;
    }
    return g->unread_way == AS_ITEMS ? not_told(g, AS_ITEMS, err) : 0;
}

/* May the server know epics as work items? */
static bool may_be_items(const struct capture *c)
{
    return cap_try(c, ways[AS_ITEMS].number) && (!c->o.instance || gl_instance_at_least(c->o.instance, 17, 2));
}

static void done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct cap_group *g = cookie;
    struct capture *c = g->cap;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    bool unknown = false;
    unsigned number = ways[g->unread_way].number;
    int r = gl_graphql_answer(rsp, &doc, &data, &unknown, &err);
    if (r == 0) {
        c->luck[number].ok++;
        r = cap_fetch_one(g, "unread", ways[g->unread_way].endpoint, rsp, 0, &err) || answered(g, data, &err) ? -1 : 0;
    } else if (cap_denied(&err)) {
        do /* said once for the tree; a field that one group does not have has none */
            cap_refused(c, number, &err);
        while (unknown && cap_try(c, number));
        gs_err_clear(&err);
        if (g->unread_way == AS_EPICS && unknown && may_be_items(c)) {
            g->unread_way = AS_ITEMS;
            r = ask(g, &err);
        } else {
            r = not_told(g, -1, &err);
        }
    }
    if (r)
        cap_fail(c, &err);
    cap_end(g);
}

static int ask(struct cap_group *g, struct gs_err *err)
{
    gs_autobuf vars;
    gs_buf_init(&vars, 64 << 10);
    struct gs_jw w;
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", g->full_path);
    gs_jw_end(&w);
    const char *document = gl_document(ways[g->unread_way].document);
    if (gs_jw_finish(&w))
        return -1;
    struct gl_request *r = document ? gl_graphql_request(document, gs_buf_str(&vars), true) : NULL;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = done;
    r->tag = (struct gl_tag){g->id, "unread"};
    r->cookie = g;
    cap_begin(g);
    if (gl_submit(g->cap->client, r, err) == 0)
        return 0;
    cap_end(g);
    return -1;
}

static int start(struct cap_group *g, struct gs_err *err)
{
    struct capture *c = g->cap;
    if (c->o.instance && c->o.instance->enterprise == 0)
        return 0;
    /* noted here: what is known of the export may be gone when the answer comes */
    g->exported = 0;
    g->not_exported = relations_refused(g);
    g->by_export = g->rel && !g->not_exported;
    for (size_t i = 0; i < GS_COUNT(asked); i++)
        g->exported |= (unsigned)relations_told(g, asked[i].relation) << i;
    if (g->exported == (1u << GS_COUNT(asked)) - 1)
        return 0;
    g->unread_way = cap_try(c, ways[AS_EPICS].number) ? AS_EPICS : AS_ITEMS;
    return g->unread_way == AS_EPICS || may_be_items(c) ? ask(g, err) : not_told(g, -1, err);
}

const struct cap_kind cap_kind_unread = {.relation = "unread", .start = start};
