/* badges: REST, the group's own, in the order of their creation. Links and images, never the rendered ones. */
#include "libexport/capture_priv.h"

#include <string.h>

static int from_rest(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    const char *kind = gs_json_str(v, "kind");
    if (kind && strcmp(kind, "group") != 0)
        return 0;
    gs_jw_obj(w);
    cap_copy(w, "id", v, "id");
    cap_copy(w, "name", v, "name");
    cap_copy(w, "link_url", v, "link_url");
    cap_copy(w, "image_url", v, "image_url");
    gs_jw_kstr(w, "project_id", NULL);
    gs_jw_ki64(w, "group_id", rel->group->id);
    gs_jw_kstr(w, "type", "GroupBadge");
    gs_jw_end(w);
    return 0;
}

static const struct cap_rel_spec spec = {
    .relation = "badges",
    .n_sources = 1,
    .sources = {{.number = 3,
                 .name = "rest",
                 .endpoint = "rest:/groups/:id/badges",
                 .path = "/badges",
                 .record = from_rest,
                 .loss = "badge-times-not-readable"}},
};

static int start(struct cap_group *g, struct gs_err *err)
{
    return cap_rel_start(g, &spec, err);
}

const struct cap_kind cap_kind_badges = {.relation = "badges", .start = start};
