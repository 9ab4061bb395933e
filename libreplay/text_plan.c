#include "libreplay/text_plan.h"

#include "formats/record.h"
#include "libcommon/json.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 << 20)

/* Relations whose records hold Markdown, and the ops that send it. Quick actions are carried out in descriptions and comments of epics only. */
enum { BY_GROUP, BY_TITLE, BY_ID, BY_IID };
static const struct {
    const char *relation, *kind;
    int by;
    bool actions;
} holders[] = {
    {"self", "groups", BY_GROUP, false},          {"labels", "labels", BY_TITLE, false}, {"milestones", "milestones", BY_TITLE, false},
    {"iterations_cadences", "iterations_cadences", BY_ID, false}, {"epics", "epics", BY_IID, true},
};

struct walk {
    struct names n;
    struct bundle *b;
};

static int64_t number(yyjson_val *v, const char *key)
{
    int64_t n = 0;
    return gs_json_i64(v, key, &n) ? n : 0;
}

static int tell(const struct walk *w, const struct op *op, const char *relation, const char *code, const char *detail, struct gs_err *err)
{
    struct loss_row row = {.op = op->id, .grp = w->n.grp->id, .relation = relation, .key = op->key, .code = code, .count = 1, .detail = detail};
    return state_add_loss(w->n.state, &row, err);
}

/* The losses of one text; `op` sends it. */
static int judge(const struct walk *w, const struct op *op, const char *relation, const char *text, bool actions, struct gs_err *err)
{
    struct text_notes notes = {0};
    gs_autobuf out;
    char count[24];
    gs_buf_init(&out, TEXT_MAX);
    int r = names_convert(&w->n, text, strlen(text), actions, &out, &notes, err);
    if (r == 0 && notes.actions) {
        snprintf(count, sizeof count, "%u", notes.actions);
        r = tell(w, op, relation, "text-action-kept", count, err);
    }
    if (r == 0 && notes.rewritten) {
        snprintf(count, sizeof count, "%u", notes.rewritten);
        r = tell(w, op, relation, "text-rewritten", count, err);
    }
    if (r == 0 && notes.left)
        r = tell(w, op, relation, "text-reference-left", gs_buf_str(&notes.names), err);
    text_notes_release(&notes);
    return r;
}

/* Most texts name nothing: then the op is not looked for. */
static const char *of_interest(yyjson_val *rec, const char *key)
{
    const char *text = gs_json_str(rec, key);
    return text && strpbrk(text, "&%~@*[/") ? text : NULL;
}

/* By the key of its op, or by its id at the source where keys are not unique. */
static int one(const struct walk *w, const char *kind, const char *relation, const char *key, int64_t id, const char *text, bool actions, struct gs_err *err)
{
    struct op op = {0};
    bool found = false;
    if (key ? state_find(w->n.state, kind, w->n.grp->id, key, &op, &found, err) : state_find_src(w->n.state, kind, w->n.grp->id, id, &op, &found, err))
        return -1;
    int r = found ? judge(w, &op, relation, text, actions, err) : 0; /* the target's tier has no such objects */
    op_release(&op);
    return r;
}

static int comments(const struct walk *w, yyjson_val *rec, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(rec, "notes"));
    yyjson_val *note;
    while ((note = yyjson_arr_iter_next(&it))) {
        const char *text = gs_json_true(note, "system") ? NULL : of_interest(note, "note");
        gs_autofree char *key = text ? gs_asprintf("&%lld note %lld", (long long)number(rec, "iid"), (long long)number(note, "id")) : NULL;
        if (text && (!key ? gs_fail(err, GS_E_NOMEM, "out of memory") : one(w, "notes", "notes", key, 0, text, true, err)))
            return -1;
    }
    return 0;
}

static int iterations(const struct walk *w, yyjson_val *rec, struct gs_err *err)
{
    yyjson_arr_iter it = yyjson_arr_iter_with(yyjson_obj_get(rec, "iterations"));
    yyjson_val *x;
    while ((x = yyjson_arr_iter_next(&it))) {
        const char *text = number(x, "id") ? of_interest(x, "description") : NULL;
        if (text && one(w, "iterations", "iterations", NULL, number(x, "id"), text, false, err))
            return -1;
    }
    return 0;
}

static int record(const struct walk *w, size_t i, yyjson_val *rec, struct gs_err *err)
{
    const char *text = of_interest(rec, "description");
    char iid[32];
    snprintf(iid, sizeof iid, "&%lld", (long long)number(rec, "iid"));
    const char *key = holders[i].by == BY_GROUP   ? w->n.grp->src_path
                      : holders[i].by == BY_TITLE ? gs_json_str(rec, "title")
                      : holders[i].by == BY_IID   ? iid
                                                  : NULL;
    if (text && (key || number(rec, "id")) && one(w, holders[i].kind, holders[i].relation, key, number(rec, "id"), text, holders[i].actions, err))
        return -1;
    if (holders[i].by == BY_IID)
        return comments(w, rec, err);
    return holders[i].by == BY_ID ? iterations(w, rec, err) : 0;
}

struct texts_of {
    const struct walk *w;
    size_t holder;
};

static int on_record(void *cookie, yyjson_val *rec, const struct bundle_ref *ref, struct gs_err *err)
{
    const struct texts_of *t = cookie;
    (void)ref;
    return record(t->w, t->holder, rec, err);
}

static int relation(const struct walk *w, size_t i, struct gs_err *err)
{
    struct texts_of t = {w, i};
    if (bundle_each(w->b, w->n.grp->id, holders[i].relation, on_record, &t, err))
        return gs_wrap(err, "texts of %s of group '%s'", holders[i].relation, w->n.grp->src_path);
    return 0;
}

int text_plan(const struct names *names, struct bundle *b, struct gs_err *err)
{
    struct walk w = {.n = *names, .b = b};
    for (size_t g = 0; g < names->n_groups; g++) {
        w.n.grp = &names->groups[g];
        for (size_t i = 0; i < GS_COUNT(holders); i++)
            if (relation(&w, i, err))
                return -1;
    }
    return 0;
}
