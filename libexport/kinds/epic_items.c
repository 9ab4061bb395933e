#include "libexport/kinds/epic_items.h"
#include "libexport/capture_priv.h"

#include <string.h>

/* The widget that has this attribute. */
static yyjson_val *widget(yyjson_val *item, const char *key)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(item, "widgets"));
    yyjson_val *w;
    while ((w = yyjson_arr_iter_next(&it)))
        if (yyjson_obj_get(w, key))
            return w;
    return NULL;
}

static void put_as_is(struct gs_jw *w, yyjson_val *item, const char *key)
{
    cap_copy(w, key, widget(item, key), key);
}

/*
 * One switch tells of both dates whether they are fixed. One that comes from a child or a milestone is not, whatever it says; of one that
 * is not there it is taken at its word, since what the epic shows is the same then.
 */
static void put_date(struct gs_jw *w, yyjson_val *dates, const char *name, bool *out_unsure)
{
    char fixed_name[32], is_fixed_name[32], milestone[40], item[40];
    snprintf(fixed_name, sizeof fixed_name, "%sFixed", name);
    snprintf(is_fixed_name, sizeof is_fixed_name, "%sIsFixed", name);
    snprintf(milestone, sizeof milestone, "%sSourcingMilestone", name);
    snprintf(item, sizeof item, "%sSourcingWorkItem", name);
    bool from_others = yyjson_is_obj(yyjson_obj_get(dates, milestone)) || yyjson_is_obj(yyjson_obj_get(dates, item));
    bool fixed = gs_json_true(dates, "isFixed") && !from_others;
    const char *date = gs_json_str(dates, name);
    cap_copy(w, name, dates, name);
    gs_jw_kstr(w, fixed_name, fixed ? date : NULL);
    gs_jw_kbool(w, is_fixed_name, fixed);
    *out_unsure = fixed && !date;
}

static void put_parent(struct gs_jw *w, yyjson_val *up)
{
    gs_jw_key(w, "parent");
    if (!yyjson_is_obj(up)) {
        gs_jw_null(w);
        return;
    }
    gs_jw_obj(w);
    cap_copy(w, "id", up, "id");
    cap_copy(w, "iid", up, "iid");
    cap_copy(w, "title", up, "title");
    cap_copy(w, "group", up, "namespace");
    gs_jw_end(w);
}

int epic_item_shape(yyjson_val *item, struct gs_buf *out, struct epic_item *facts, struct gs_err *err)
{
    static const char *const own[] = {"id", "iid", "title", "confidential", "createdAt", "updatedAt", "closedAt", "author"};
    static const char *const of_widgets[] = {"description", "color", "healthStatus", "labels", "awardEmoji", "notes"};
    yyjson_val *dates = widget(item, "isFixed"), *up = yyjson_obj_get(widget(item, "parent"), "parent");
    const char *state = gs_json_str(item, "state");
    struct gs_jw w;
    *facts = (struct epic_item){.parent = cap_id(up), .closed = state && strcmp(state, "CLOSED") == 0, .unfixed = !gs_json_true(dates, "isFixed")};
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    for (size_t i = 0; i < GS_COUNT(own); i++)
        cap_copy(&w, own[i], item, own[i]);
    gs_jw_kstr(&w, "state", facts->closed ? "closed" : "opened");
    for (size_t i = 0; i < GS_COUNT(of_widgets); i++)
        put_as_is(&w, item, of_widgets[i]);
    put_date(&w, dates, "startDate", &facts->start_unsure);
    put_date(&w, dates, "dueDate", &facts->due_unsure);
    put_parent(&w, up);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}
