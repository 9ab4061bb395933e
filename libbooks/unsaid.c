/*
 * Settings of a group that the bundle says nothing of: they are as they are wherever nobody has set them. GitLab shows what holds, which may
 * come from the group above or from the instance; so only what is neither the usual value nor that of the group above was set there.
 */
#include "libbooks/known_priv.h"

#include "formats/shape.h"
#include "libreplay/kinds/settings.h"

#include <string.h>

static const struct gs_json_opts raw = {.raw_numbers = true};

/* The own record of a group of the target, normalised; NULL: it has none. Kept until another group is asked for. */
static int self_of(struct known *k, int64_t group, yyjson_val **out, struct gs_err *err)
{
    *out = NULL;
    if (k->above != group) {
        GS_AUTO(bundle_cursor) c = NULL;
        const void *data = NULL;
        size_t len = 0;
        gs_autobuf json, norm;
        gs_buf_init(&json, (size_t)64 << 20);
        gs_buf_init(&norm, (size_t)64 << 20);
        yyjson_doc_free(k->above_doc);
        k->above_doc = NULL;
        k->above = group;
        if (bundle_count(k->target, group, "self") == 0)
            return 0;
        if (bundle_cursor_open(k->target, group, "self", &c, err) || bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (data && (record_to_json(bundle_encoding(k->target), data, len, NULL, &json, err) ||
                     shape_normalise("self", gs_buf_str(&json), json.len, &norm, err) ||
                     gs_json_parse(gs_buf_str(&norm), norm.len, &raw, &k->above_doc, err)))
            return -1;
    }
    *out = yyjson_doc_get_root(k->above_doc);
    return 0;
}

static int64_t parent_of(const struct bundle *b, int64_t group)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(b, &g);
    for (size_t i = 0; i < n; i++)
        if (g[i].id == group)
            return g[i].parent_id;
    return 0;
}

/* Is it what holds where nobody has set it? The usual value goes through the shape, as the record did. */
static int usual(const char *attr, yyjson_val *v, bool *out, struct gs_err *err)
{
    const char *text = settings_usual(attr);
    GS_AUTO(yyjson_doc) doc = NULL;
    gs_autobuf json, norm;
    gs_buf_init(&json, 1 << 20);
    gs_buf_init(&norm, 1 << 20);
    *out = false;
    if (!text)
        return 0;
    if (gs_buf_addf(&json, err, "{\"%s\":%s}", attr, text) || shape_normalise("self", gs_buf_str(&json), json.len, &norm, err) ||
        gs_json_parse(gs_buf_str(&norm), norm.len, &raw, &doc, err))
        return -1;
    yyjson_val *want = yyjson_obj_get(yyjson_doc_get_root(doc), attr);
    *out = want && gs_json_equal(want, v);
    return 0;
}

int known_unsaid(void *cookie, const struct diff_item *i, bool *out, struct gs_err *err)
{
    struct known *k = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *above;
    bool is_usual;
    *out = false;
    if (strcmp(i->relation, "self") != 0 || !settings_usual(i->attr))
        return 0;
    int64_t parent = parent_of(k->target, i->group_b);
    if (!parent) /* what holds above the root is in no bundle */
        return 0;
    if (gs_json_parse(i->b, strlen(i->b), &raw, &doc, err) || usual(i->attr, yyjson_doc_get_root(doc), &is_usual, err) ||
        self_of(k, parent, &above, err))
        return -1;
    yyjson_val *there = yyjson_obj_get(above, i->attr);
    *out = !is_usual && !(there && gs_json_equal(there, yyjson_doc_get_root(doc)));
    return 0;
}
