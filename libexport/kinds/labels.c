/*
 * labels: GraphQL, which knows their times; REST where GraphQL is refused. Own labels only. The newest document that the server's
 * version understands is asked first, since a server refuses a whole document for one field that it does not know.
 */
#include "libexport/capture_priv.h"

static int from_graphql(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(v));
    cap_copy(w, "title", v, "title");
    cap_copy(w, "color", v, "color");
    gs_jw_kstr(w, "project_id", NULL);
    gs_jw_ki64(w, "group_id", rel->group->id);
    cap_copy(w, "created_at", v, "createdAt");
    cap_copy(w, "updated_at", v, "updatedAt");
    gs_jw_kbool(w, "template", false);
    cap_copy(w, "description", v, "description");
    gs_jw_kstr(w, "type", "GroupLabel");
    cap_copy(w, "text_color", v, "textColor");
    cap_copy_known(w, "lock_on_merge", v, "lockOnMerge");
    cap_copy_known(w, "archived", v, "archived");
    gs_jw_end(w);
    return 0;
}

static int from_rest(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(v));
    cap_copy(w, "title", v, "name");
    cap_copy(w, "color", v, "color");
    gs_jw_kstr(w, "project_id", NULL);
    gs_jw_ki64(w, "group_id", rel->group->id);
    gs_jw_kbool(w, "template", false);
    cap_copy(w, "description", v, "description");
    gs_jw_kstr(w, "type", "GroupLabel");
    cap_copy(w, "text_color", v, "text_color");
    cap_copy_known(w, "archived", v, "archived");
    gs_jw_end(w);
    return 0;
}

#define GRAPHQL .endpoint = "graphql:group.labels", .connection = "group.labels", .record = from_graphql
#define LOCK_ON_MERGE {"lock_on_merge", 16, 4}
#define ARCHIVED {"archived", 18, 10}

static const struct cap_rel_spec spec = {
    .relation = "labels",
    .n_sources = 4,
    .sources = {{.number = 10, .name = "graphql:group_labels_18", GRAPHQL, .document = "group_labels_18", .since_major = 18, .since_minor = 10},
                {.number = 11, .name = "graphql:group_labels_16", GRAPHQL, .document = "group_labels_16", .since_major = 16, .since_minor = 4, .lacks = {ARCHIVED}},
                {.number = 0, .name = "graphql", GRAPHQL, .document = "group_labels", .lacks = {LOCK_ON_MERGE, ARCHIVED}},
                {.number = 1,
                 .name = "rest",
                 .endpoint = "rest:/groups/:id/labels",
                 .path = "/labels?include_ancestor_groups=false&include_descendant_groups=false&only_group_labels=true"
                         "&with_counts=false",
                 .record = from_rest,
                 .loss = "label-times-not-readable",
                 .lacks = {LOCK_ON_MERGE}}},
};

static int start(struct cap_group *g, struct gs_err *err)
{
    return cap_rel_start(g, &spec, err);
}

const struct cap_kind cap_kind_labels = {.relation = "labels", .start = start};
