/*
 * Epics. The server numbers them like milestones: they are created in ascending order with fillers, across the tree all of them
 * before parents are set, since a parent may have a higher number or stand in another group. Nothing about an epic is unique: one whose
 * answer was lost is known by its title and the creation time that was sent with it.
 *
 * One that was made twice, since something before the target sent the request again, shows in a number that was left out, or in a second one
 * beside that which is found when the answer was lost. The first of the two is the record's. The other one becomes the next record, which its
 * number belongs to, by a change; or goes like a filler.
 *
 * The rest follows in stages (plan.c): parents, comments and reactions; order of children and closing; places on boards; the update
 * time last of all, since everything else moves it.
 */
#include "libreplay/kinds/epic_boards.h"
#include "libreplay/kinds/epic_items.h"
#include "libreplay/kinds/fillers.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/pending.h"
#include "libreplay/kinds/text.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, FILLER, CREATE, TYPE, TAKE_OVER };
enum { GAP_SAID = 1, FILLER_LOST = 2, MADE_TWICE = 4 };

#define TITLE_MAX 255

/* ---- the record, and what the target shows ---- */

char *epic_key(int64_t iid)
{
    return gs_asprintf("&%lld", (long long)iid);
}

static int64_t number(yyjson_val *obj, const char *key)
{
    int64_t v = 0;
    gs_json_i64(obj, key, &v);
    return v;
}

static bool same_title(const struct run *r, yyjson_val *there)
{
    gs_autofree char *want = step_strip(gs_json_str(r->rec, "title"));
    return want && step_same_text(want, gs_json_str(there, "title"));
}

static bool is_fixed(yyjson_val *rec, const char *key)
{
    return gs_json_true(rec, key);
}

/* One date is fixed and the other is not, or a fixed date is kept that is not in use. */
static bool dates_apart(yyjson_val *rec)
{
    bool start = is_fixed(rec, "start_date_is_fixed"), due = is_fixed(rec, "due_date_is_fixed");
    return start != due || (!start && (step_get(rec, "start_date_fixed") || step_get(rec, "due_date_fixed")));
}

/* ---- requests ---- */

static struct gl_request *search(struct run *r, const char *text)
{
    struct gs_err ignored = {0}; /* no memory, like NULL */
    if (run_epics_items(r))
        return items_list(r, text, &ignored);
    gs_autofree char *enc = gl_encode(text);
    return enc ? run_request(GL_GET, NULL,
                             "/groups/%lld/epics?state=all&include_ancestor_groups=false&include_descendant_groups=false"
                             "&order_by=created_at&sort=asc&per_page=100&search=%s",
                             (long long)r->grp->target_id, enc)
               : NULL;
}

/* The epics of an answer to a list, and whether a further page follows (notes->page, or the cursor in r->buf). */
static int found_page(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, bool *out_more, struct gs_err *err)
{
    if (run_epics_items(r))
        return items_answer(r, rsp, NULL, out_doc, out_more, err);
    if (step_array(rsp, out_doc, err))
        return -1;
    *out_more = step_next_page(step_notes(r), rsp);
    return 0;
}

static int found(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out, struct gs_err *err)
{
    bool more;
    int64_t page = step_notes(r)->page;
    if (found_page(r, rsp, out_doc, &more, err))
        return -1;
    step_notes(r)->page = page;
    *out = yyjson_doc_get_root(*out_doc);
    return 0;
}

/* By its number, unlike most objects; work items by their ids. */
static bool address(struct run *r, yyjson_val *obj, int64_t *out)
{
    return gs_json_i64(obj, run_epics_items(r) ? "id" : "iid", out);
}

static struct gl_request *remove_one(struct run *r, int64_t at)
{
    struct gs_err ignored = {0};
    return run_epics_items(r)
               ? items_delete(at, &ignored)
               : run_request(GL_DELETE, NULL, "/groups/%lld/epics/%lld", (long long)r->grp->target_id, (long long)at);
}

static bool removed(struct run *r, const struct gl_response *rsp)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    struct gs_err why = {0};
    if (run_epics_items(r) && rsp->status == 200 && gl_graphql_answer(rsp, &doc, &data, NULL, &why))
        return strstr(why.text, "does not exist") != NULL;
    return rsp->status < 300 || rsp->status == 404;
}

static const struct numbered numbered = {.what = "epic",
                                         .gap_loss = "epic-iid",
                                         .search = search,
                                         .found = found,
                                         .address = address,
                                         .remove = remove_one,
                                         .removed = removed};

static int list(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (n->page == 0) {
        n->page = 1;
        n->max_id = n->id = 0;
        gs_buf_reset(&r->buf);
    }
    struct gl_request *q =
        run_epics_items(r)
            ? items_list(r, NULL, err)
            : run_request(GL_GET, NULL,
                          "/groups/%lld/epics?state=all&include_ancestor_groups=false"
                          "&include_descendant_groups=false&order_by=created_at&sort=asc&per_page=100&page=%lld",
                          (long long)r->grp->target_id, (long long)n->page);
    return step_send(r, LIST, q, out_req, out, err);
}

/* The titles of the labels that are on the target, comma separated: one that is not would be made by the server. */
static int label_titles(struct run *r, bool say, struct gs_buf *out, struct gs_buf *ids, size_t *out_n, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it, *links = step_get(r->rec, "label_links");
    *out_n = 0;
    yyjson_arr_foreach(links, i, max, it)
    {
        yyjson_val *label = step_get(it, "label");
        const char *title = gs_json_str(label, "title");
        int64_t id = 0;
        if (!title)
            continue;
        if (step_ref(r, "labels", number(label, "group_id"), title, &id, err))
            return -1;
        if (!id) {
            if (say && run_loss(r, "epic-label-missing", title, err))
                return -1;
            continue;
        }
        if (gs_buf_addf(out, err, "%s%s", *out_n ? "," : "", title) || (ids && gs_buf_add(ids, &id, sizeof(id), err)))
            return -1;
        ++*out_n;
    }
    return 0;
}

/* What is written: the whole record, or a filler with nothing but a title. */
struct new_epic {
    struct run *r;
    const char *filler, *type, *text, *labels;
    struct gs_buf *ids;
    int64_t over; /* a change of one that has other attributes, so that all are said: its iid, or its id as a work item; 0: a new one */
};

static void put_ids(struct gs_jw *w, const char *key, const struct gs_buf *ids)
{
    gs_jw_key(w, key);
    gs_jw_arr(w);
    for (size_t i = 0; i < ids->len; i += sizeof(int64_t)) {
        int64_t id;
        memcpy(&id, ids->data + i, sizeof(id));
        gid_put(w, NULL, "GroupLabel", id);
    }
    gs_jw_end(w);
}

/* As a work item, which has one switch for both dates. Labels to be taken off one that is changed are in r->buf, once they are known. */
static void put_item(struct gs_jw *w, void *cookie)
{
    const struct new_epic *e = cookie;
    yyjson_val *rec = e->r->rec;
    if (e->over) {
        gid_put(w, "id", "WorkItem", e->over);
    } else {
        gs_jw_kstr(w, "namespacePath", e->r->grp->dst_path);
        gs_jw_kstr(w, "workItemTypeId", e->type);
    }
    gs_jw_kstr(w, "title", e->filler ? e->filler : gs_json_str(rec, "title"));
    if (e->filler)
        return;
    gs_jw_kbool(w, "confidential", gs_json_true(rec, "confidential"));
    if (gs_json_str(rec, "created_at") && !e->over)
        gs_jw_kstr(w, "createdAt", gs_json_str(rec, "created_at"));
    if (e->text || e->over) {
        gs_jw_key(w, "descriptionWidget");
        gs_jw_obj(w);
        gs_jw_kstr(w, "description", e->text ? e->text : "");
        gs_jw_end(w);
    }
    if (gs_json_str(rec, "color")) {
        gs_jw_key(w, "colorWidget");
        gs_jw_obj(w);
        gs_jw_kstr(w, "color", gs_json_str(rec, "color"));
        gs_jw_end(w);
    }
    if (gs_json_str(rec, "health_status")) {
        gs_jw_key(w, "healthStatusWidget");
        gs_jw_obj(w);
        gs_jw_kstr(w, "healthStatus", gs_json_str(rec, "health_status"));
        gs_jw_end(w);
    }
    bool fixed = gs_json_true(rec, "start_date_is_fixed") || gs_json_true(rec, "due_date_is_fixed");
    if (fixed || e->over) {
        gs_jw_key(w, "startAndDueDateWidget");
        gs_jw_obj(w);
        gs_jw_kbool(w, "isFixed", fixed);
        gs_jw_kstr(w, "startDate", gs_json_true(rec, "start_date_is_fixed") ? gs_json_str(rec, "start_date_fixed") : NULL);
        gs_jw_kstr(w, "dueDate", gs_json_true(rec, "due_date_is_fixed") ? gs_json_str(rec, "due_date_fixed") : NULL);
        gs_jw_end(w);
    }
    gs_jw_key(w, "labelsWidget");
    gs_jw_obj(w);
    put_ids(w, e->over ? "addLabelIds" : "labelIds", e->ids);
    if (e->over)
        put_ids(w, "removeLabelIds", &e->r->buf);
    gs_jw_end(w);
}

static void put_date(struct gs_jw *w, const struct new_epic *e, const char *date, const char *fixed)
{
    yyjson_val *rec = e->r->rec;
    if (e->over) {
        gs_jw_kstr(w, date, gs_json_str(rec, date));
        gs_jw_kbool(w, fixed, is_fixed(rec, fixed));
        return;
    }
    if (gs_json_str(rec, date))
        gs_jw_kstr(w, date, gs_json_str(rec, date));
    if (gs_json_str(rec, date) || is_fixed(rec, fixed))
        gs_jw_kbool(w, fixed, is_fixed(rec, fixed));
}

static void put_epic(struct gs_jw *w, const struct new_epic *e)
{
    yyjson_val *rec = e->r->rec;
    gs_jw_obj(w);
    gs_jw_kstr(w, "title", e->filler ? e->filler : gs_json_str(rec, "title"));
    if (!e->filler) {
        if (e->text || e->over)
            gs_jw_kstr(w, "description", e->text);
        if (gs_json_str(rec, "color"))
            gs_jw_kstr(w, "color", gs_json_str(rec, "color"));
        gs_jw_kbool(w, "confidential", gs_json_true(rec, "confidential"));
        if (gs_json_str(rec, "created_at") && !e->over)
            gs_jw_kstr(w, "created_at", gs_json_str(rec, "created_at"));
        put_date(w, e, "start_date_fixed", "start_date_is_fixed");
        put_date(w, e, "due_date_fixed", "due_date_is_fixed");
        if (*e->labels || e->over)
            gs_jw_kstr(w, "labels", e->labels);
    }
    gs_jw_end(w);
}

/* `over`: see struct new_epic. */
static int post(struct run *r, const char *filler, int64_t over, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_autobuf body, labels, ids;
    gs_autofree char *text = NULL, *type = NULL;
    size_t n_labels;
    struct gs_jw w;
    int phase = filler ? FILLER : CREATE;
    gs_buf_init(&body, (size_t)64 << 20);
    gs_buf_init(&labels, 1 << 20);
    gs_buf_init(&ids, 1 << 20);
    if (run_epics_items(r) && items_type(r, &type, err))
        return -1;
    if (run_epics_items(r) && !type)
        return step_send(r, TYPE, items_ask_type(r, err), out_req, out, err);
    if (!filler && (label_titles(r, true, &labels, &ids, &n_labels, err) ||
                    text_to_send(r, gs_json_str(r->rec, "description"), r->rec, &text, err)))
        return -1;
    if (!filler && !over && run_as_author(r, number(r->rec, "author_id"), err))
        return -1;
    struct new_epic e = {r, filler, type, text, gs_buf_str(&labels), &ids, over};
    if (run_epics_items(r) && over)
        return step_send_repeatable(r, TAKE_OVER, items_request("work_item_update", false, put_item, &e, err), out_req, out, err);
    if (run_epics_items(r))
        return step_send(r, phase, items_request("work_item_create", false, put_item, &e, err), out_req, out, err);
    gs_jw_init(&w, &body, 0, err);
    put_epic(&w, &e);
    if (gs_jw_finish(&w))
        return -1;
    if (over)
        return step_send_repeatable(
            r, TAKE_OVER, run_request(GL_PUT, &body, "/groups/%lld/epics/%lld", (long long)r->grp->target_id, (long long)over), out_req, out, err);
    return step_send(r, phase, run_request(GL_POST, &body, "/groups/%lld/epics", (long long)r->grp->target_id), out_req, out, err);
}

/* Fillers up to the number before ours, then ours. The counter of the lane must be known. */
static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    int64_t want = number(r->rec, "iid"), spare = 0;
    char filler[96];
    bool fill, said = n->flags & GAP_SAID;
    if (want < *r->lane_next && state_filler_at(r->state, r->lane->id, want, &spare, err))
        return -1;
    gs_buf_reset(&r->buf);
    if (spare)
        return post(r, NULL, spare, out_req, out, err);
    if (filler_before(r, &numbered, want, &said, filler, &fill, err))
        return -1;
    n->flags |= said ? GAP_SAID : 0;
    return post(r, fill ? filler : NULL, 0, out_req, out, err);
}

/* ---- answers ---- */

/* Its author is told: as asked for, or, of one that was made for another record, by chance. */
static int judge_author(struct run *r, yyjson_val *author, bool over, struct gs_err *err)
{
    int64_t is = 0, want = run_self(r);
    bool told = false;
    if (!author)
        return 0;
    if (!over)
        return run_author_is(r, number(r->rec, "author_id"), author, err);
    gs_json_i64(author, "id", &is);
    if (run_acts_as(r, number(r->rec, "author_id"), &told, err) || (told && run_user(r, number(r->rec, "author_id"), &want, err)))
        return -1;
    return told && want != is ? run_loss(r, "epic-author", NULL, err) : 0;
}

static int judge_created(struct run *r, yyjson_val *there, bool over, struct gs_err *err)
{
    const char *want = gs_json_str(r->rec, "created_at");
    if (!want || step_same_time(want, gs_json_str(there, "created_at")))
        return 0;
    return run_loss(r, "epic-created-at", over ? "it is the second one of an epic that was made twice" : NULL, err);
}

/* What the server made of the record, against what was sent. `over`: out of an epic that was there. */
static int compare(struct run *r, yyjson_val *there, bool over, struct gs_err *err)
{
    gs_autobuf lost, labels;
    gs_autofree char *text = NULL;
    size_t n_labels;
    gs_buf_init(&lost, 4096);
    gs_buf_init(&labels, 1 << 20);
    if (text_to_send(r, gs_json_str(r->rec, "description"), r->rec, &text, err) ||
        label_titles(r, false, &labels, NULL, &n_labels, err) ||
        judge_author(r, step_get(there, "author"), over, err))
        return -1;
    static const char *const switches[] = {"confidential", "start_date_is_fixed", "due_date_is_fixed"};
    static const char *const dates[] = {"start_date_fixed", "due_date_fixed"};
    /* a date that is there and not in use, or one switch for two that differ: said when the load was planned */
    bool apart = run_epics_items(r) && dates_apart(r->rec);
    for (size_t i = 0; i < (apart ? 1 : GS_COUNT(switches)); i++)
        if (gs_json_true(r->rec, switches[i]) != gs_json_true(there, switches[i]) && step_name(&lost, switches[i], err))
            return -1;
    for (size_t i = 0; i < GS_COUNT(dates) && !apart; i++)
        if (!step_same_date(gs_json_str(r->rec, dates[i]), gs_json_str(there, dates[i])) &&
            step_name(&lost, dates[i], err))
            return -1;
    if (!same_title(r, there) && step_name(&lost, "title", err))
        return -1;
    if (!step_same_text(text, gs_json_str(there, "description")) && step_name(&lost, "description", err))
        return -1;
    if (gs_json_str(there, "color") && !step_same_color(gs_json_str(r->rec, "color"), gs_json_str(there, "color")) &&
        step_name(&lost, "color", err))
        return -1;
    if (yyjson_arr_size(step_get(there, "labels")) != n_labels && step_name(&lost, "labels", err))
        return -1;
    if (lost.len && run_loss(r, "epic-changed", gs_buf_str(&lost), err))
        return -1;
    return judge_created(r, there, over, err);
}

/* The epic is there, with this number. */
static int take(struct run *r, yyjson_val *it, struct gs_err *err)
{
    int64_t iid = number(it, "iid"), want = number(r->rec, "iid");
    if (step_take_id(r, it, err))
        return -1;
    /* in a group of our own making nothing has a higher number than the last one that was made */
    if ((*r->lane_next || !r->grp->existed) && iid >= *r->lane_next)
        *r->lane_next = iid + 1;
    if (iid == want)
        return 0;
    char text[24];
    snprintf(text, sizeof(text), "%lld", (long long)iid);
    if (state_address_set(r->state, r->op.id, text, err))
        return -1;
    return r->op.adopted ? 0
                         : step_loss(r, err, "epic-iid-changed", "%lld at the source, %lld there", (long long)want,
                                     (long long)iid);
}

/* Is this one that the target shows the record, and free to be taken for it? */
static int fits(struct run *r, yyjson_val *it, bool *out, struct gs_err *err)
{
    int64_t id = 0;
    bool taken = false, recent = false;
    *out = false;
    if (!same_title(r, it) || !gs_json_i64(it, "id", &id))
        return 0;
    /* who is no Owner cannot say when an epic was created: then it is of now */
    if (!step_same_time(gs_json_str(r->rec, "created_at"), gs_json_str(it, "created_at")) &&
        (!r->unsure || step_made_by_us(r, it, &recent, err) || !recent))
        return err->code ? -1 : 0;
    if (state_target_taken(r->state, &r->op, id, &taken, err))
        return -1;
    *out = !taken;
    return 0;
}

/* The second one of an epic that was made twice: it uses up its number, like a filler. */
static int second(struct run *r, yyjson_val *it, struct gs_err *err)
{
    int64_t at = 0;
    step_notes(r)->differs = true;
    return address(r, it, &at) ? state_filler(r->state, r->lane->id, number(it, "iid"), at, err) : 0;
}

/*
 * Is whatever fits made by a write of this step whose answer was lost? Not where somebody else may have made it, nor where it may be of a
 * later record.
 */
static bool all_of_this_step(const struct run *r)
{
    return r->unsure && !r->maybe && !r->grp->existed;
}

/* The lowest number that such a write got, of those listed; 0: none. Work items come with the latest first. */
static int eldest(struct run *r, yyjson_val *list, int64_t *out, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(list, i, max, it)
    {
        bool fit = false;
        if (fits(r, it, &fit, err))
            return -1;
        if (fit && (!*out || number(it, "iid") < *out))
            *out = number(it, "iid");
    }
    return 0;
}

/* A filler whose answer was lost, and which was made twice, may have the record's own number. */
static int filler_in_the_way(struct run *r, yyjson_val *it, struct gs_err *err)
{
    char prefix[96];
    size_t len = (size_t)filler_prefix(r, prefix, sizeof(prefix));
    const char *title = gs_json_str(it, "title");
    int64_t at = 0, want = number(r->rec, "iid"), known = 0;
    if (number(it, "iid") != want || !title || strncmp(title, prefix, len) != 0 || !address(r, it, &at) ||
        state_filler_at(r->state, r->lane->id, want, &known, err) || known)
        return err->code ? -1 : 0;
    return state_filler(r->state, r->lane->id, want, at, err) ||
                   step_loss(r, err, "made-twice", "a filler %s, removed or used for the next record", numbered.what)
               ? -1
               : 0;
}

static int listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    bool more;
    if (found_page(r, rsp, &doc, &more, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    int64_t elder = 0;
    if (all_of_this_step(r) && !n->id && eldest(r, yyjson_doc_get_root(doc), &elder, err))
        return -1;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        bool fit = false;
        if (number(it, "iid") > n->max_id)
            n->max_id = number(it, "iid");
        bool ours = all_of_this_step(r) && (n->id || (elder && number(it, "iid") > elder));
        bool twice = n->flags & MADE_TWICE;
        if (r->unsure && filler_in_the_way(r, it, err))
            return -1;
        if ((!n->id || twice || ours) && (r->unsure || r->maybe || r->grp->existed) && fits(r, it, &fit, err))
            return -1;
        if (fit && (ours || (twice && number(it, "iid") != number(r->rec, "iid")))) {
            if (second(r, it, err))
                return -1;
            continue;
        }
        if (!fit || n->id)
            continue;
        step_seen(r);
        /* with a number that was there at the first look, it is of somebody else, or of an earlier load */
        r->op.adopted = r->grp->existed && (r->lane->watermark < 0 || number(it, "iid") <= r->lane->watermark);
        r->op.found = !r->op.adopted;
        /* a list of work items does not show all of one */
        if (take(r, it, err) || state_filler_gone(r->state, r->lane->id, number(it, "iid"), err) ||
            (r->op.found && (run_epics_items(r) ? judge_created : compare)(r, it, false, err)))
            return -1;
        n->id = r->op.target_id;
    }
    if (more)
        return list(r, out_req, out, err);
    n->page = 0;
    if (r->lane->watermark < 0) {
        r->lane->watermark = n->max_id;
        if (state_lane_watermark(r->state, r->lane->id, n->max_id, err))
            return -1;
    }
    if (n->max_id + 1 > *r->lane_next) {
        *r->lane_next = n->max_id + 1;
        if (n->flags & FILLER_LOST) /* it was made: each of them may lose its answer, not the same one again and again */
            n->lost = 0;
    }
    if (n->id) {
        *out = STEP_DONE;
        return n->differs ? step_loss(r, err, "made-twice", "epics, the second one becomes the next record, or is removed") : 0;
    }
    if (n->differs) { /* it is the only one: somebody else took the number before */
        n->differs = false;
        n->flags &= ~MADE_TWICE;
        return list(r, out_req, out, err);
    }
    bool proven = true;
    if ((r->unsure || r->maybe) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, out_req, out, err) : 0;
}

static int refused(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    if (r->phase == FILLER && filler_refused(r, err))
        return -1;
    /* without a licence, or of an edition that has no epics; the group itself is there, as the engine has seen */
    if (rsp->status == 403 || rsp->status == 404)
        return step_lost(r, "epics-not-available", rsp->err.text, out, err);
    return step_refused(rsp, err, r->phase == FILLER ? "filling the gap before number %lld" : "creating epic &%lld",
                        (long long)number(r->rec, "iid"));
}

/* The epic of an answer. *out_over: it was refused, and the op has its end. */
static int answered(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, bool *out_over, enum step_result *out,
                    struct gs_err *err)
{
    bool more;
    *out_over = false;
    if (!run_epics_items(r))
        return step_doc(rsp, out_doc, err);
    struct gs_err why = {0};
    int got = r->phase == TYPE ? items_got_type(r, rsp, &why) : items_answer(r, rsp, "workItemCreate", out_doc, &more, &why);
    *out_over = got && why.scope == GS_SCOPE_ITEM && (r->phase == TYPE || strstr(why.text, "not available") || strstr(why.text, "does not exist"));
    if (*out_over && r->phase == FILLER && filler_refused(r, err))
        return -1;
    if (*out_over)
        return step_lost(r, "epics-not-available", why.text, out, err);
    if (got)
        *err = why;
    return got;
}

/* The labels of a work item that the record does not have, into r->buf. */
static int foreign_labels(struct run *r, yyjson_val *there, struct gs_err *err)
{
    gs_autobuf titles, ids;
    size_t n, i, max;
    yyjson_val *it;
    gs_buf_init(&titles, 1 << 20);
    gs_buf_init(&ids, 1 << 20);
    gs_buf_reset(&r->buf);
    if (label_titles(r, false, &titles, &ids, &n, err))
        return -1;
    yyjson_arr_foreach(step_get(there, "label_ids"), i, max, it)
    {
        int64_t id = yyjson_get_sint(it), one;
        bool ours = false;
        for (size_t k = 0; k < ids.len && !ours; k += sizeof(one)) {
            memcpy(&one, ids.data + k, sizeof(one));
            ours = one == id;
        }
        if (!ours && gs_buf_add(&r->buf, &id, sizeof(id), err))
            return -1;
    }
    return 0;
}

static int taken_over(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    bool more, again = r->buf.len > 0;
    if (run_epics_items(r) ? items_answer(r, rsp, "workItemUpdate", &doc, &more, err) : step_doc(rsp, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (run_epics_items(r) && !again && foreign_labels(r, root, err))
        return -1;
    if (r->buf.len && !again)
        return post(r, NULL, number(root, "id"), out_req, out, err);
    *out = STEP_DONE;
    return take(r, root, err) || compare(r, root, true, err) || state_filler_gone(r->state, r->lane->id, number(root, "iid"), err) ? -1 : 0;
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(r->rec, "title"))
        return step_fail(err, GS_E_RECORD, "the epic has no title");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == FILLER || r->phase == TAKE_OVER, &a, err))
        return -1;
    if (a == ANS_LOST) {
        n->flags = r->phase == FILLER ? n->flags | FILLER_LOST : n->flags & ~FILLER_LOST;
        return list(r, out_req, out, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *root;
    bool over;
    switch (r->phase) {
    case START:
        if (*r->lane_next == 0 && r->op.pos == 1 && !r->unsure && !r->grp->existed && run_made_group(r))
            *r->lane_next = 1; /* the first epic of a group that this load has made */
        return r->unsure || r->maybe || r->grp->existed || *r->lane_next == 0 ? list(r, out_req, out, err)
                                                                            : create(r, out_req, out, err);
    case LIST_AGAIN:
        return list(r, out_req, out, err);
    case LIST:
        if (a == ANS_REFUSED)
            return rsp->status == 403 || rsp->status == 404 ? refused(r, rsp, out, err)
                                                            : step_refused(rsp, err, "looking for the epic");
        return listed(r, rsp, out_req, out, err);
    case TYPE:
        if (a == ANS_REFUSED)
            return refused(r, rsp, out, err);
        return answered(r, rsp, &doc, &over, out, err) ? -1 : over ? 0 : create(r, out_req, out, err);
    case FILLER:
        if (a == ANS_REFUSED)
            return refused(r, rsp, out, err);
        if (answered(r, rsp, &doc, &over, out, err) || over)
            return over ? 0 : -1;
        root = yyjson_doc_get_root(doc);
        return filler_made(r, &numbered, root, number(root, "iid"), err) ? -1 : create(r, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED)
            return refused(r, rsp, out, err);
        if (answered(r, rsp, &doc, &over, out, err) || over)
            return over ? 0 : -1;
        root = yyjson_doc_get_root(doc);
        if (!r->grp->existed && number(root, "iid") > *r->lane_next) { /* what got the number that was to come? */
            n->flags |= MADE_TWICE;
            r->unsure = true;
            return list(r, out_req, out, err);
        }
        *out = STEP_DONE;
        return take(r, root, err) || compare(r, root, false, err) ? -1 : 0;
    case TAKE_OVER:
        return a == ANS_REFUSED ? step_refused(rsp, err, "making an epic that was made twice epic &%lld", (long long)number(r->rec, "iid"))
                                : taken_over(r, rsp, out_req, out, err);
    default:
        return gs_fail(err, GS_E_INTERNAL, "epic in phase %d", r->phase);
    }
}

static const char *const seen[] = {"title", "description", "confidential", "color", "start_date_fixed",
                                   "start_date_is_fixed", "due_date_fixed", "due_date_is_fixed", "labels", "state", NULL};
const struct kind kind_epics = {
    .name = "epics", .relation = "epics", .ordered = true, .step = step, .seen = seen, .says_texts = true};

static int sweep(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    return fillers_sweep(r, &numbered, rsp, out_req, out, err);
}

const struct kind kind_epics_sweep = {.name = "epics.sweep", .relation = "epics", .ordered = true, .step = sweep};

/* ---- epics that others name ---- */

int epic_find(struct run *r, int64_t grp, const char *key, struct epic_at *out, bool *out_found, struct gs_err *err)
{
    struct op op = {0};
    gs_autofree char *text = NULL;
    const struct grp *g = run_grp(r, grp);
    *out_found = false;
    if (!g || state_find(r->state, "epics", grp, key, &op, out_found, err))
        return g ? -1 : 0;
    *out = (struct epic_at){.op = op.id, .group = g->target_id, .id = op.target_id, .adopted = op.adopted,
                            .iid = *key == '&' ? strtoll(key + 1, NULL, 10) : 0};
    *out_found = *out_found && op.state == OP_DONE;
    op_release(&op);
    if (!*out_found)
        return 0;
    if (state_address(r->state, out->op, &text, err))
        return -1;
    if (text)
        out->iid = strtoll(text, NULL, 10);
    return 0;
}

int epic_of(struct run *r, struct epic_at *out, struct gs_err *err)
{
    struct op op = {0};
    bool is;
    if (state_op(r->state, r->op.needs, &op, err))
        return -1;
    gs_autofree char *key = gs_steal(&op.key);
    int64_t grp = op.grp;
    op_release(&op);
    if (epic_find(r, grp, key, out, &is, err))
        return -1;
    return is ? 0 : gs_fail(err, GS_E_INTERNAL, "epic '%s' is not loaded", key);
}

int epic_seen(struct run *r, const struct epic_at *e, yyjson_val *there, struct gs_err *err)
{
    int64_t print = print_of(there, seen);
    return print ? state_op_target(r->state, e->op, e->id, print, err) : 0;
}

int epic_dependency(struct run *r, const char *what, enum step_result *out, struct gs_err *err)
{
    r->op.code = strdup(CODE_DEPENDENCY);
    r->op.text = gs_asprintf("%s was not loaded", what);
    *out = STEP_SKIP;
    return r->op.code && r->op.text ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
}

/* ---- planning ---- */

int author_is_self(struct plan *p, int64_t src_user, bool *out, struct gs_err *err)
{
    struct user_row u;
    bool found = false;
    *out = false;
    if (src_user <= 0 || state_user(plan_state(p), src_user, &u, &found, err))
        return src_user <= 0 ? 0 : -1;
    if (found) {
        const struct load_opts *o = plan_opts(p);
        *out = u.target_id && (u.target_id == plan_target(p)->user_id || (o->as_authors && !o->prefer_dates));
        user_row_release(&u);
    }
    return 0;
}

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t lane, next, epic;
    int64_t parts, states, times; /* lanes; parts: of this epic */
};

static int emit_lane(struct emit *x, enum rel_phase phase, const char *name, bool ordered, int64_t *lane,
                     struct gs_err *err)
{
    return *lane ? 0 : plan_lane(x->p, x->g->id, phase, name, ordered, lane, err);
}

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    struct op op;
    int64_t *lane = &x->lane;
    if (e->minor == 0) {
        fillers_plan_gap(x->p, x->g, e->major, &x->next);
        x->parts = 0;
        if (pending_op(e, x->g->id, x->lane, &op, err) || pending_plan(x->p, &op, &x->epic, err))
            return -1;
        return 0;
    }
    if (strcmp(e->kind, "epics.state") == 0) {
        lane = &x->states;
        if (emit_lane(x, REL_PHASE_EPIC_STATES, "closing", false, lane, err))
            return -1;
    } else if (strcmp(e->kind, "epics.times") == 0) {
        lane = &x->times;
        if (emit_lane(x, REL_PHASE_EPIC_TIMES, "times", false, lane, err))
            return -1;
    } else {
        char name[48];
        snprintf(name, sizeof(name), "parts of &%lld", (long long)e->major);
        lane = &x->parts;
        if (emit_lane(x, REL_PHASE_EPIC_PARTS, name, true, lane, err))
            return -1;
    }
    if (pending_op(e, x->g->id, *lane, &op, err))
        return -1;
    op.needs = x->epic;
    return pending_plan(x->p, &op, NULL, err);
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records)
        return 0;
    if (plan_features(p)->epics == 0)
        return plan_loss(p, g->id, "epics", NULL, "epics-not-available", records, NULL, err);
    struct emit x = {.p = p, .g = g, .next = 1};
    return plan_lane(p, g->id, REL_PHASE_EPICS, "epics", true, &x.lane, err) || pending_each(p, emit, &x, err) ||
                   fillers_plan_sweep(p, g, "epics.sweep", "filler epics", x.lane, err)
               ? -1
               : 0;
}

/* What is known to be lost of a record before anything is loaded. */
static int plan_losses(struct plan *p, const struct grp *g, const char *key, yyjson_val *rec, struct gs_err *err)
{
    bool self, closed = step_same_text(gs_json_str(rec, "state"), "closed");
    if (author_is_self(p, number(rec, "author_id"), &self, err))
        return -1;
    const struct {
        const char *code;
        bool is;
    } losses[] = {
        {"epic-author", !self},
        {"epic-closing", closed},
        {"epic-events", yyjson_arr_size(step_get(rec, "events")) + yyjson_arr_size(step_get(rec, "resource_state_events")) +
                                yyjson_arr_size(step_get(rec, "resource_label_events")) >
                            0},
        {"epic-dates-inherited", (!is_fixed(rec, "start_date_is_fixed") && step_get(rec, "start_date_sourcing_milestone_id")) ||
                                     (!is_fixed(rec, "due_date_is_fixed") && step_get(rec, "due_date_sourcing_milestone_id"))},
        {"epic-health", step_get(rec, "health_status") != NULL && !plan_epics_items(p)},
        {"epic-dates-together", plan_epics_items(p) && dates_apart(rec)},
        {"epic-updated-at", plan_epics_items(p)},
    };
    for (size_t i = 0; i < GS_COUNT(losses); i++)
        if (losses[i].is && plan_loss(p, g->id, "epics", key, losses[i].code, 1, NULL, err))
            return -1;
    return 0;
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    struct pending e = {.kind = "epics", .ref = ref};
    if (plan_features(p)->epics == 0)
        return 0;
    if (gs_json_need_i64(rec, "iid", &e.major, err))
        return -1;
    gs_json_i64(rec, "id", &e.src_id);
    gs_autofree char *key = epic_key(e.major);
    if (!key)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    e.key = key;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(step_get(rec, "label_links"), i, max, it)
    {
        if (step_get(it, "label") && labels_plan_implicit(p, g, step_get(it, "label"), err))
            return -1;
    }
    int64_t minor = 0;
    if (pending_add(p, &e, err) || plan_losses(p, g, key, rec, err) || notes_plan(p, g, &e, rec, err) ||
        awards_plan(p, g, &e, rec, &minor, err) || tree_plan_add(p, g, rec, err))
        return -1;
    struct pending end = {.kind = "epics.state", .key = key, .major = e.major, .minor = INT64_MAX - 1, .ref = ref};
    if (step_same_text(gs_json_str(rec, "state"), "closed") && pending_add(p, &end, err))
        return -1;
    end.kind = "epics.times";
    end.minor = INT64_MAX;
    return gs_json_str(rec, "updated_at") && !plan_epics_items(p) ? pending_add(p, &end, err) : 0;
}

const struct relation_loader loader_epics = {
    .relation = "epics", .plan_group = plan_group, .plan_record = plan_record, .plan_end = tree_plan_end};
