/* The texts of records, made what they must be on the target while a load runs. What may be changed in them is counted before: text_plan.h. */
#include "libreplay/engine_priv.h"
#include "libreplay/names.h"
#include "libreplay/text.h"

#include <stdio.h>
#include <string.h>

static int losses(struct run *r, const struct text_notes *n, struct gs_err *err)
{
    char count[24];
    snprintf(count, sizeof count, "%u", n->actions);
    if (n->actions && run_loss(r, "text-action-kept", count, err))
        return -1;
    snprintf(count, sizeof count, "%u", n->rewritten);
    if (n->rewritten && run_loss(r, "text-rewritten", count, err))
        return -1;
    return n->left && run_loss(r, "text-reference-left", gs_buf_str(&n->names), err) ? -1 : 0;
}

/* *out_changed: the text is not what it was. */
static int convert(struct run *r, const char *text, size_t len, bool actions, struct gs_buf *out, bool *out_changed, struct gs_err *err)
{
    const struct bundle *b = r->engine->bundle;
    struct names names = {.state = r->state,
                          .grp = r->grp,
                          .groups = r->engine->groups,
                          .n_groups = r->engine->n_groups,
                          .source_url = b ? gs_json_str(yyjson_obj_get(bundle_manifest(b), "source"), "url") : NULL,
                          .target_url = gl_client_url(r->engine->client)};
    struct text_notes notes = {0};
    int rc = names_convert(&names, text, len, actions, out, &notes, err) || losses(r, &notes, err) ? -1 : 0;
    *out_changed = notes.rewritten || notes.actions;
    text_notes_release(&notes);
    return rc;
}

int run_text(struct run *r, const char *text, bool actions, struct gs_buf *out, struct gs_err *err)
{
    bool changed;
    return convert(r, text, strlen(text), actions, out, &changed, err);
}

/* Puts the text into a record of its own, which takes the place of the one that was read. */
static int put(struct run *r, const char *key, const struct gs_buf *text, struct gs_err *err)
{
    GS_AUTO(yyjson_mut_doc) mut = yyjson_doc_mut_copy(r->doc, NULL);
    yyjson_mut_val *root = mut ? yyjson_mut_doc_get_root(mut) : NULL;
    yyjson_mut_val *v = root ? yyjson_mut_strncpy(mut, gs_buf_str(text), text->len) : NULL;
    yyjson_mut_val *k = v ? yyjson_mut_strcpy(mut, key) : NULL;
    yyjson_doc *doc = k && yyjson_mut_obj_replace(root, k, v) ? yyjson_mut_doc_imut_copy(mut, NULL) : NULL;
    if (!doc)
        return gs_fail(err, GS_E_NOMEM, "no memory for a record");
    yyjson_doc_free(r->doc);
    r->doc = doc;
    r->rec = yyjson_doc_get_root(doc);
    return 0;
}

int texts_prepare(struct run *r, const struct kind *k, struct gs_err *err)
{
    for (const char *const *key = k->texts; *key; key++) {
        yyjson_val *v = yyjson_obj_get(r->rec, *key);
        gs_autobuf out;
        bool changed = false;
        gs_buf_init(&out, yyjson_get_len(v) * 8 + ((size_t)1 << 20));
        if (!yyjson_is_str(v) || yyjson_get_len(v) == 0)
            continue;
        if (convert(r, yyjson_get_str(v), yyjson_get_len(v), false, &out, &changed, err) || (changed && put(r, *key, &out, err)))
            return gs_wrap(err, "%s of %s '%s'", *key, r->op.kind, r->op.key);
    }
    return 0;
}
