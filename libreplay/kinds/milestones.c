/*
 * Group milestones. The server numbers them (iid): they are created in ascending order, and a gap in the numbers is
 * filled with milestones that a last op (milestones.sweep) deletes. A title may be refused because a group above or
 * below, or a project, has it: then the title gets the group's name behind it.
 */
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/fillers.h"
#include "libreplay/kinds/pending.h"

#include <stdio.h>
#include <string.h>

enum { START, LIST, LIST_AGAIN, BY_TITLE, BY_TITLE_AGAIN, FILLER, CREATE, STATE };
enum { WHY_LOST, WHY_COUNTER, WHY_MERGE, WHY_TAKEN };
enum {
    GAP_SAID = 1,
    PLAIN = 2,    /* looking for the title without its tags */
    HIDDEN = 4,   /* nothing that this load knows of explains why the title is taken: ours may be hidden by a replica */
    FILLER_LOST = 8, /* the last write without an answer was a filler */
};

#define MAX_NAMES 10 /* the title itself, and so many with something behind it */
#define TITLE_MAX 255

/* ---- titles ---- */

/* What GitLab may make of a title: tags vanish. */
static char *without_tags(const char *s)
{
    char *out = strdup(s), *o = out;
    if (!out)
        return NULL;
    while (*s) {
        const char *end = *s == '<' ? strchr(s, '>') : NULL;
        if (end)
            s = end + 1;
        else
            *o++ = *s++;
    }
    *o = 0;
    return out;
}

/* The title under which the record is made at the nth try: "T", "T (group)", "T (group) (2)" ... NULL: no memory. */
static char *title_try(const struct run *r, int64_t nth)
{
    gs_autofree char *base = step_strip(gs_json_str(r->rec, "title"));
    if (!base || nth == 0)
        return gs_steal(&base);
    const char *slash = strrchr(r->grp->dst_path, '/');
    char number[24] = "";
    if (nth > 1)
        snprintf(number, sizeof(number), " (%d)", (int)nth);
    gs_autofree char *tail = gs_asprintf(" (%s)%s", slash ? slash + 1 : r->grp->dst_path, number);
    if (!tail)
        return NULL;
    size_t tail_len = strlen(tail); /* a path and digits: one byte each */
    return gs_asprintf("%.*s%s", (int)step_cut(base, tail_len < TITLE_MAX ? TITLE_MAX - tail_len : 1), base, tail);
}

/* Is `got` the title of the nth try, as sent or with its tags taken out? Out of memory counts as no. */
static bool title_fits(const struct run *r, int64_t nth, const char *got)
{
    gs_autofree char *sent = title_try(r, nth);
    gs_autofree char *plain = sent ? without_tags(sent) : NULL;
    return got && sent && plain && (strcmp(sent, got) == 0 || strcmp(plain, got) == 0);
}

/* ---- fillers ---- */

static struct gl_request *filler_search(struct run *r, const char *text)
{
    gs_autofree char *enc = gl_encode(text);
    return enc ? run_request(GL_GET, NULL,
                             "/groups/%lld/milestones?state=all&include_ancestors=false&per_page=100&search=%s",
                             (long long)r->grp->target_id, enc)
               : NULL;
}

static int filler_found(struct run *r, const struct gl_response *rsp, yyjson_doc **out_doc, yyjson_val **out, struct gs_err *err)
{
    (void)r;
    if (step_array(rsp, out_doc, err))
        return -1;
    *out = yyjson_doc_get_root(*out_doc);
    return 0;
}

static bool filler_address(struct run *r, yyjson_val *obj, int64_t *out)
{
    (void)r;
    return gs_json_i64(obj, "id", out);
}

static struct gl_request *filler_remove(struct run *r, int64_t address)
{
    return run_request(GL_DELETE, NULL, "/groups/%lld/milestones/%lld", (long long)r->grp->target_id, (long long)address);
}

static bool filler_removed(struct run *r, const struct gl_response *rsp)
{
    (void)r;
    return rsp->status < 300 || rsp->status == 404;
}

static const struct numbered numbered = {.what = "milestone",
                                         .gap_loss = "milestone-iid",
                                         .search = filler_search,
                                         .found = filler_found,
                                         .address = filler_address,
                                         .remove = filler_remove,
                                         .removed = filler_removed};

/* ---- requests ---- */

static int64_t want_iid(const struct run *r)
{
    int64_t iid = 0;
    gs_json_i64(r->rec, "iid", &iid);
    return iid;
}

static int list(struct run *r, int why, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    n->why = why;
    if (n->page == 0) {
        n->page = 1;
        n->max_id = 0;
    }
    return step_send(r, LIST,
                     run_request(GL_GET, NULL,
                                 "/groups/%lld/milestones?state=all&include_ancestors=false&per_page=100&page=%lld",
                                 (long long)r->grp->target_id, (long long)n->page),
                     out_req, out, err);
}

static int by_title(struct run *r, int why, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    n->why = why;
    gs_autofree char *sent = title_try(r, r->n1);
    gs_autofree char *plain = sent && n->flags & PLAIN ? without_tags(sent) : NULL;
    gs_autofree char *enc = sent && (plain || !(n->flags & PLAIN)) ? gl_encode(plain ? plain : sent) : NULL;
    if (!enc)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return step_send(r, BY_TITLE,
                     run_request(GL_GET, NULL,
                                 "/groups/%lld/milestones?state=all&include_ancestors=false&per_page=100&title=%s",
                                 (long long)r->grp->target_id, enc),
                     out_req, out, err);
}

static int post(struct run *r, int phase, const char *title, bool whole, struct gl_request **out_req,
                enum step_result *out, struct gs_err *err)
{
    gs_autobuf body;
    gs_buf_init(&body, (size_t)64 << 20);
    struct gs_jw w;
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "title", title);
    static const char *const more[] = {"description", "start_date", "due_date"};
    for (size_t i = 0; whole && i < GS_COUNT(more); i++)
        if (gs_json_str(r->rec, more[i]))
            gs_jw_kstr(&w, more[i], gs_json_str(r->rec, more[i]));
    gs_jw_end(&w);
    if (gs_jw_finish(&w))
        return -1;
    return step_send(r, phase, run_request(GL_POST, &body, "/groups/%lld/milestones", (long long)r->grp->target_id),
                     out_req, out, err);
}

/* Fillers up to the number before ours, then ours. The counter of the lane must be known. */
static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    char filler[96];
    bool fill, said = n->flags & GAP_SAID;
    if (filler_before(r, &numbered, want_iid(r), &said, filler, &fill, err))
        return -1;
    n->flags |= said ? GAP_SAID : 0;
    if (fill)
        return post(r, FILLER, filler, false, out_req, out, err);
    gs_autofree char *title = title_try(r, r->n1);
    if (!title)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return post(r, CREATE, title, true, out_req, out, err);
}

/* Counter known or not, and looked up or not: the next thing to do for a record that is not there. */
static int go_on(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (*r->lane_next == 0 && r->op.pos == 1 && !r->unsure && !r->grp->existed && run_made_group(r))
        *r->lane_next = 1; /* the first milestone of a group that this load has made */
    if (*r->lane_next == 0 || r->maybe)
        return list(r, WHY_COUNTER, out_req, out, err);
    return create(r, out_req, out, err);
}

/* ---- answers ---- */

static int finish(struct run *r, yyjson_val *there, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    const char *want = gs_json_str(r->rec, "state"), *got = gs_json_str(there, "state");
    bool closed = want && strcmp(want, "closed") == 0, is_closed = got && strcmp(got, "closed") == 0;
    if (r->op.adopted || !closed || is_closed) {
        *out = STEP_DONE;
        return 0;
    }
    gs_autobuf body;
    gs_buf_init(&body, 64);
    if (gs_buf_addstr(&body, "{\"state_event\":\"close\"}", err))
        return -1;
    struct gl_request *q = run_request(GL_PUT, &body, "/groups/%lld/milestones/%lld", (long long)r->grp->target_id,
                                       (long long)r->op.target_id);
    return step_send_repeatable(r, STATE, q, out_req, out, err);
}

/* What the server made of the record, against what was sent under the nth title. */
static int compare(struct run *r, int64_t nth, yyjson_val *there, struct gs_err *err)
{
    const char *got = gs_json_str(there, "title");
    gs_autofree char *sent = title_try(r, nth);
    if (!sent)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (nth > 0 &&
        step_loss(r, err, "milestone-renamed", "'%s' is '%s' there", gs_json_str(r->rec, "title"), got ? got : ""))
        return -1;
    if (got && strcmp(sent, got) != 0 &&
        step_loss(r, err, "milestone-title-sanitised", "sent '%s', got '%s'", sent, got))
        return -1;
    int64_t iid = 0;
    gs_json_i64(there, "iid", &iid);
    if (want_iid(r) && iid != want_iid(r) &&
        step_loss(r, err, "milestone-iid-changed", "%lld at the source, %lld there", (long long)want_iid(r),
                  (long long)iid))
        return -1;
    static const char *const dates[] = {"start_date", "due_date"};
    for (size_t i = 0; i < GS_COUNT(dates); i++)
        if (!step_same_date(gs_json_str(r->rec, dates[i]), gs_json_str(there, dates[i])) &&
            step_loss(r, err, "milestone-date-dropped", "%s: sent '%s', got '%s'", dates[i],
                      gs_json_str(r->rec, dates[i]) ? gs_json_str(r->rec, dates[i]) : "",
                      gs_json_str(there, dates[i]) ? gs_json_str(there, dates[i]) : ""))
            return -1;
    return 0;
}

static int differences(struct run *r, yyjson_val *there, struct gs_err *err)
{
    gs_autobuf names;
    gs_buf_init(&names, 4096);
    if (!step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description")) &&
        step_name(&names, "description", err))
        return -1;
    if (!step_same_date(gs_json_str(r->rec, "start_date"), gs_json_str(there, "start_date")) &&
        step_name(&names, "start_date", err))
        return -1;
    if (!step_same_date(gs_json_str(r->rec, "due_date"), gs_json_str(there, "due_date")) &&
        step_name(&names, "due_date", err))
        return -1;
    if (gs_json_str(r->rec, "state") && !step_same_text(gs_json_str(r->rec, "state"), gs_json_str(there, "state")) &&
        step_name(&names, "state", err))
        return -1;
    return names.len ? run_loss(r, "exists-differs", gs_buf_str(&names), err) : 0;
}

/* Is this one that the target shows the record, and free to be taken for it? */
static int fits(struct run *r, yyjson_val *it, int64_t nth, bool *out, struct gs_err *err)
{
    *out = false;
    int64_t id = 0;
    if (!title_fits(r, nth, gs_json_str(it, "title")) || !gs_json_i64(it, "id", &id))
        return 0;
    bool taken;
    if (state_target_taken(r->state, &r->op, id, &taken, err))
        return -1;
    *out = !taken;
    return 0;
}

/* Nothing that the server would not have changed by itself differs. */
static bool same_values(struct run *r, yyjson_val *there)
{
    return step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description")) &&
           step_same_date(gs_json_str(r->rec, "start_date"), gs_json_str(there, "start_date")) &&
           step_same_date(gs_json_str(r->rec, "due_date"), gs_json_str(there, "due_date"));
}

static int adopt(struct run *r, yyjson_val *it, int64_t nth, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    bool ours;
    if (step_take_id(r, it, err) || step_whose(r, it, same_values(r, it), &ours, err))
        return -1;
    r->op.found = ours;
    r->op.adopted = !ours;
    if (ours ? compare(r, nth, it, err) : differences(r, it, err))
        return -1;
    int64_t iid = 0;
    /* in a group of our own making nothing has a higher number than the last one that was made */
    if ((*r->lane_next || !r->grp->existed) && gs_json_i64(it, "iid", &iid) && iid >= *r->lane_next)
        *r->lane_next = iid + 1;
    return finish(r, it, out_req, out, err);
}

static int listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        int64_t iid = 0;
        if (gs_json_i64(it, "iid", &iid) && iid > n->max_id)
            n->max_id = iid;
        for (int64_t nth = 0; (r->unsure || r->maybe) && nth < MAX_NAMES; nth++) {
            bool fit;
            if (fits(r, it, nth, &fit, err))
                return -1;
            if (fit)
                return adopt(r, it, nth, out_req, out, err);
        }
    }
    if (step_next_page(n, rsp))
        return list(r, n->why, out_req, out, err);
    n->page = 0;
    if (n->max_id + 1 > *r->lane_next) {
        *r->lane_next = n->max_id + 1;
        if (n->flags & FILLER_LOST) /* it was made: each of them may lose its answer, not the same one again and again */
            n->lost = 0;
    }
    bool proven = true;
    if ((n->why == WHY_LOST || r->unsure || r->maybe) && step_absent(r, LIST_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, out_req, out, err) : 0;
}

static int titled(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                  struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (step_array(rsp, &doc, err))
        return -1;
    size_t i, max;
    yyjson_val *it;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, it)
    {
        bool fit;
        if (fits(r, it, r->n1, &fit, err))
            return -1;
        if (fit)
            return adopt(r, it, r->n1, out_req, out, err);
    }
    if (!(n->flags & PLAIN) && strchr(gs_json_str(r->rec, "title"), '<')) {
        n->flags |= PLAIN;
        return by_title(r, n->why, out_req, out, err);
    }
    n->flags &= ~PLAIN;
    bool proven = true;
    if (n->flags & HIDDEN && step_absent(r, BY_TITLE_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    if (n->why == WHY_MERGE) {
        /* an earlier load may have had to rename it */
        if (r->n1++ == 0)
            return by_title(r, WHY_MERGE, out_req, out, err);
        r->n1 = 0;
        return go_on(r, out_req, out, err);
    }
    if (++r->n1 >= MAX_NAMES)
        return step_fail(err, GS_E_REFUSED, "the title is taken elsewhere in the hierarchy, and so are %d others",
                         MAX_NAMES - 1);
    return create(r, out_req, out, err);
}

/*
 * The title is taken: by another group of the load, as such trees have it, or by ours that a replica hides, or by somebody
 * else's. Only when the first is not so it is worth waiting for the replica.
 */
static int taken(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    bool elsewhere;
    if (run_elsewhere(r, "milestones", r->op.key, &elsewhere, err))
        return -1;
    n->flags = elsewhere ? n->flags & ~HIDDEN : n->flags | HIDDEN;
    step_hidden(r);
    return by_title(r, WHY_TAKEN, out_req, out, err);
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (!n)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    if (!gs_json_str(r->rec, "title"))
        return step_fail(err, GS_E_RECORD, "the milestone has no title");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == FILLER || r->phase == STATE, &a, err))
        return -1;
    if (a == ANS_LOST) {
        n->flags = r->phase == FILLER ? n->flags | FILLER_LOST : n->flags & ~FILLER_LOST;
        return list(r, WHY_LOST, out_req, out, err);
    }
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *root;
    int64_t iid = 0;
    switch (r->phase) {
    case START:
        if (r->unsure)
            return list(r, WHY_LOST, out_req, out, err);
        return r->grp->existed ? by_title(r, WHY_MERGE, out_req, out, err) : go_on(r, out_req, out, err);
    case LIST_AGAIN:
        return list(r, n->why, out_req, out, err);
    case BY_TITLE_AGAIN:
        return by_title(r, n->why, out_req, out, err);
    case LIST:
    case BY_TITLE:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "looking for the milestone");
        return r->phase == LIST ? listed(r, rsp, out_req, out, err) : titled(r, rsp, out_req, out, err);
    case FILLER:
        if (a == ANS_REFUSED) {
            /* the filler is there: a replica that lagged behind did not show it when the numbers were counted */
            if (n->id++ < 8 && (gl_error_duplicate(rsp->status, gs_buf_str(&rsp->body), rsp->body.len) == GL_DUP_YES ||
                                strstr(gs_buf_str(&rsp->body), "already being used"))) {
                step_hidden(r);
                n->why = WHY_COUNTER;
                r->phase = LIST_AGAIN;
                r->wait_ms = 400;
                *out = STEP_AGAIN;
                return 0;
            }
            if (filler_refused(r, err))
                return -1;
            return step_refused(rsp, err, "filling the gap before number %lld", (long long)want_iid(r));
        }
        if (step_doc(rsp, &doc, err))
            return -1;
        gs_json_i64(yyjson_doc_get_root(doc), "iid", &iid);
        if (filler_made(r, &numbered, yyjson_doc_get_root(doc), iid, err))
            return -1;
        return create(r, out_req, out, err);
    case CREATE:
        if (a == ANS_REFUSED) {
            const char *body = gs_buf_str(&rsp->body);
            if (gl_error_duplicate(rsp->status, body, rsp->body.len) == GL_DUP_YES ||
                strstr(body, "already being used"))
                return taken(r, out_req, out, err);
            return step_refused(rsp, err, "creating the milestone");
        }
        if (step_doc(rsp, &doc, err))
            return -1;
        root = yyjson_doc_get_root(doc);
        if (step_take_id(r, root, err))
            return -1;
        if (gs_json_i64(root, "iid", &iid))
            *r->lane_next = iid + 1;
        if (compare(r, r->n1, root, err))
            return -1;
        return finish(r, root, out_req, out, err);
    case STATE:
        if (a == ANS_REFUSED)
            return step_refused(rsp, err, "closing the milestone");
        if (step_doc(rsp, &doc, err))
            return -1;
        if (!step_same_text(gs_json_str(yyjson_doc_get_root(doc), "state"), "closed"))
            return step_fail(err, GS_E_REMOTE, "the server did not close the milestone");
        *out = STEP_DONE;
        return 0;
    default:
        return gs_fail(err, GS_E_INTERNAL, "milestone in phase %d", r->phase);
    }
}

static const char *const seen[] = {"title", "description", "state", "start_date", "due_date", NULL};
static const char *const texts[] = {"description", NULL};
const struct kind kind_milestones = {.name = "milestones", .relation = "milestones", .ordered = true, .step = step, .texts = texts, .seen = seen, .at = "milestones"};

static int sweep(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out,
                 struct gs_err *err)
{
    return fillers_sweep(r, &numbered, rsp, out_req, out, err);
}

const struct kind kind_milestones_sweep = {
    .name = "milestones.sweep", .relation = "milestones", .ordered = true, .step = sweep};

/* ---- planning ---- */

struct emit {
    struct plan *p;
    const struct grp *g;
    int64_t lane, next;
};

/* Where a group above has the title too, that one is made first and keeps it: which of the two is renamed is not left
 * to chance. */
static int wait_above(struct emit *x, const char *title, struct gs_err *err)
{
    for (const struct grp *up = x->g->parent ? plan_grp(x->p, x->g->parent) : NULL; up;
         up = up->parent ? plan_grp(x->p, up->parent) : NULL) {
        struct op op = {0};
        bool found = false;
        if (state_find(plan_state(x->p), "milestones", up->id, title, &op, &found, err))
            return -1;
        int64_t lane = op.lane;
        op_release(&op);
        if (found && state_add_lane_need(plan_state(x->p), x->lane, lane, err))
            return -1;
    }
    return 0;
}

static int emit(void *cookie, const struct pending *e, struct gs_err *err)
{
    struct emit *x = cookie;
    struct op op;
    if (wait_above(x, e->key, err) || pending_op(e, x->g->id, x->lane, &op, err) || pending_plan(x->p, &op, NULL, err))
        return -1;
    fillers_plan_gap(x->p, x->g, e->major, &x->next);
    return 0;
}

static int plan_group(struct plan *p, const struct grp *g, bool first, uint64_t records, struct gs_err *err)
{
    if (first)
        return pending_clear(p, err);
    if (!records)
        return 0;
    struct emit x = {.p = p, .g = g, .next = 1};
    if (plan_lane(p, g->id, REL_PHASE_MILESTONES, "milestones", true, &x.lane, err) || pending_each(p, emit, &x, err))
        return -1;
    if (fillers_plan_sweep(p, g, "milestones.sweep", "filler milestones", x.lane, err))
        return -1;
    return plan_loss(p, g->id, "milestones", NULL, "milestone-times", records, NULL, err);
}

static int plan_record(struct plan *p, const struct grp *g, yyjson_val *rec, const struct bundle_ref *ref,
                       struct gs_err *err)
{
    const char *title = NULL;
    char arg[48];
    if (gs_json_need_str(rec, "title", &title, err))
        return -1;
    struct pending e = {.kind = "milestones", .key = title, .ref = ref};
    gs_json_i64(rec, "iid", &e.major);
    snprintf(arg, sizeof arg, "{\"iid\":%lld}", (long long)e.major); /* what a text may name it by */
    e.arg = arg;
    gs_json_i64(rec, "id", &e.src_id);
    e.minor = e.src_id;
    if (step_same_text(gs_json_str(rec, "state"), "closed"))
        plan_requests(p, 1);
    (void)g;
    return pending_add(p, &e, err);
}

const struct relation_loader loader_milestones = {
    .relation = "milestones", .plan_group = plan_group, .plan_record = plan_record};
