/* milestones: REST, of the group itself, in every state. */
#include "libexport/capture_priv.h"

static int from_rest(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    int64_t owner = rel->group->id;
    gs_json_i64(v, "group_id", &owner);
    if (owner != rel->group->id)
        return 0;
    gs_jw_obj(w);
    cap_copy(w, "id", v, "id");
    cap_copy(w, "title", v, "title");
    gs_jw_kstr(w, "project_id", NULL);
    gs_jw_ki64(w, "group_id", rel->group->id);
    cap_copy(w, "iid", v, "iid");
    cap_copy(w, "description", v, "description");
    cap_copy(w, "due_date", v, "due_date");
    cap_copy(w, "start_date", v, "start_date");
    cap_copy(w, "state", v, "state");
    cap_copy(w, "created_at", v, "created_at");
    cap_copy(w, "updated_at", v, "updated_at");
    gs_jw_end(w);
    return 0;
}

static const struct cap_rel_spec spec = {
    .relation = "milestones",
    .n_sources = 1,
    .sources = {{.number = 2,
                 .name = "rest",
                 .endpoint = "rest:/groups/:id/milestones",
                 .path = "/milestones?state=all&include_ancestors=false",
                 .record = from_rest}},
};

static int start(struct cap_group *g, struct gs_err *err)
{
    return cap_rel_start(g, &spec, err);
}

const struct cap_kind cap_kind_milestones = {.relation = "milestones", .start = start};
