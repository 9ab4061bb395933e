/* labels: GraphQL, which knows their times; REST where GraphQL is refused. Own labels only. */
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

static const struct cap_rel_spec spec = {
    .relation = "labels",
    .n_sources = 2,
    .sources = {{.number = 0,
                 .name = "graphql",
                 .endpoint = "graphql:group.labels",
                 .document = "group_labels",
                 .connection = "group.labels",
                 .record = from_graphql},
                {.number = 1,
                 .name = "rest",
                 .endpoint = "rest:/groups/:id/labels",
                 .path = "/labels?include_ancestor_groups=false&include_descendant_groups=false&only_group_labels=true"
                         "&with_counts=false",
                 .record = from_rest,
                 .loss = "label-times-not-readable"}},
};

static int start(struct cap_group *g, struct gs_err *err)
{
    return cap_rel_start(g, &spec, err);
}

const struct cap_kind cap_kind_labels = {.relation = "labels", .start = start};
