/*
 * Iterations. The server numbers them per group, over all cadences: they are made in ascending order, and a gap in the numbers is filled
 * with iterations in a cadence of its own, which a last op (iterations.sweep) removes with all of them. Those of one cadence do not overlap,
 * so that the dates find a lost one again.
 */
#include "libreplay/kinds/iterations.h"

#include "libcommon/clock.h"
#include "libgitlab/graphql.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/step.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <string.h>

enum {
    START,
    FIND,         /* by cadence and dates */
    FIND_AGAIN,
    COUNT,        /* the highest number of the group */
    HOME,         /* the cadence of the fillers, by its title */
    HOME_AGAIN,
    HOME_CREATE,
    FILLER,
    FILLER_FIND,  /* by its number */
    FILLER_AGAIN,
    MANUAL,       /* a cadence of ours that makes its iterations itself by now */
    CREATE,
};
enum { GAP_SAID = 1, THERE_BEFORE = 2 /* the cadence */, TAKEN = 4 /* the server says that the dates are */, MADE_MANUAL = 8, MUST_COUNT = 16 /* the number is one of an earlier run */ };

#define HOME_NUMBER 1 /* the row of the fillers' cadence in the table of fillers */
#define DAY_MS ((int64_t)86400000)
#define FILLER_LAST 95000 /* beyond that the dates of fillers would be further ahead than GitLab lets them */

static const char *const seen[] = {"title", "description", "startDate", "dueDate", NULL};

/* run->n1: the cadence on the target; run->n2: the cadence of the fillers, 0 as long as it is not known. */

void iterations_filler_title(struct run *r, char *out, size_t cap)
{
    snprintf(out, cap, "groupsnap filler %.8s %lld-", bundle_set_id(run_bundle(r)), (long long)r->op.grp);
}

/* ---- requests ---- */

struct question {
    int64_t iid, cadence; /* 0: any */
    const char *start, *due;
};

static struct gl_request *question(struct run *r, const struct question *q, struct gs_err *err)
{
    gs_autobuf vars;
    struct gs_jw w;
    char text[24];
    gs_buf_init(&vars, 64 << 10);
    gs_jw_init(&w, &vars, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", r->grp->dst_path);
    gs_jw_kstr(&w, "after", step_after(r));
    if (q->iid) {
        snprintf(text, sizeof text, "%lld", (long long)q->iid);
        gs_jw_kstr(&w, "iid", text);
    }
    if (q->cadence) {
        char gid[96];
        snprintf(gid, sizeof gid, "gid://gitlab/" GID_CADENCE "/%lld", (long long)q->cadence);
        gs_jw_key(&w, "cadences");
        gs_jw_arr(&w);
        gs_jw_str(&w, gid);
        gs_jw_end(&w);
    }
    if (q->start) {
        gs_jw_key(&w, "timeframe");
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "start", q->start);
        gs_jw_kstr(&w, "end", q->due);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w) ? NULL : gl_graphql_request(gl_document("group_iterations"), gs_buf_str(&vars), true);
}

static int find(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct question q = {.cadence = r->n1, .start = gs_json_str(r->rec, "start_date"), .due = gs_json_str(r->rec, "due_date")};
    return step_send(r, FIND, question(r, &q, err), out_req, out, err);
}

static int count(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, COUNT, question(r, &(struct question){0}, err), out_req, out, err);
}

static int find_filler(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    return step_send(r, FILLER_FIND, question(r, &(struct question){.iid = *r->lane_next}, err), out_req, out, err);
}

static int fill(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    static const char *const texts[][2] = {{"description", "description"}, {"start_date", "startDate"}, {"due_date", "dueDate"}};
    const char *title = gs_json_str(r->rec, "title");
    gs_autofree char *plain = title ? step_strip(title) : NULL;
    if (title && !plain)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    gs_jw_kstr(w, "groupPath", r->grp->dst_path);
    iterations_put_gid(w, "iterationsCadenceId", GID_CADENCE, r->n1);
    if (plain && *plain)
        gs_jw_kstr(w, "title", plain);
    for (size_t i = 0; i < GS_COUNT(texts); i++)
        if (gs_json_str(r->rec, texts[i][0]))
            gs_jw_kstr(w, texts[i][1], gs_json_str(r->rec, texts[i][0]));
    return 0;
}

static int fill_filler(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    char start[GS_TIME_LEN], due[GS_TIME_LEN];
    int64_t at = 2 * *r->lane_next * DAY_MS;
    (void)err;
    gs_time_format(at, start);
    gs_time_format(at + DAY_MS, due);
    start[10] = due[10] = '\0';
    gs_jw_kstr(w, "groupPath", r->grp->dst_path);
    iterations_put_gid(w, "iterationsCadenceId", GID_CADENCE, r->n2);
    gs_jw_kstr(w, "startDate", start);
    gs_jw_kstr(w, "dueDate", due);
    return 0;
}

static int fill_home(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    char title[96];
    (void)err;
    iterations_filler_title(r, title, sizeof title);
    gs_jw_kstr(w, "groupPath", r->grp->dst_path);
    gs_jw_kstr(w, "title", title);
    gs_jw_kbool(w, "automatic", false);
    gs_jw_kbool(w, "active", false);
    return 0;
}

static int fill_manual(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    (void)err;
    iterations_put_gid(w, "id", GID_CADENCE, r->n1);
    gs_jw_kbool(w, "automatic", false);
    return 0;
}

/* ---- filling gaps ---- */

/* The cadence of the fillers is written down before it is sent, so that it is not forgotten. */
static int filler(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    int64_t number = 0;
    if (!r->n2 && state_filler_next(r->state, r->lane->id, &number, &r->n2, err))
        return -1;
    if (r->n2)
        return step_send(r, FILLER, iterations_mutation(r, "iteration_create", fill_filler, err), out_req, out, err);
    if (number) /* its answer was lost */
        return step_send(r, HOME, cadences_request(r, err), out_req, out, err);
    if (state_filler(r->state, r->lane->id, HOME_NUMBER, 0, err))
        return -1;
    return step_send(r, HOME_CREATE, iterations_mutation(r, "iteration_cadence_create", fill_home, err), out_req, out, err);
}

/* Fillers up to the number before ours, then ours. The counter of the lane must be known. */
static int create(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    int64_t want = step_iid(r->rec), next = *r->lane_next;
    unsigned most = run_opts(r)->max_fillers ? run_opts(r)->max_fillers : ITERATIONS_MAX_FILLERS;
    bool fillable = want - next <= (int64_t)most - n->number && want < FILLER_LAST;
    if (want > next && fillable)
        return filler(r, out_req, out, err);
    if (want > next && !(n->flags & GAP_SAID) &&
        step_loss(r, err, "iteration-iid", "number %lld: %lld numbers would have to be filled", (long long)want, (long long)(want - next)))
        return -1;
    n->flags |= GAP_SAID;
    return step_send(r, CREATE, iterations_mutation(r, "iteration_create", fill, err), out_req, out, err);
}

static int home_is(struct run *r, int64_t id, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    r->n2 = id;
    r->unsure = false; /* as of a filler */
    return state_filler(r->state, r->lane->id, HOME_NUMBER, id, err) || create(r, out_req, out, err) ? -1 : 0;
}

static int home_listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *it;
    bool absent = false, more = false, proven = true;
    char title[96];
    size_t i, max;
    if (step_graphql(rsp, true, "iterationCadences", &doc, &connection, &absent, err))
        return gs_wrap(err, "looking for the cadence of fillers");
    iterations_filler_title(r, title, sizeof title);
    yyjson_arr_foreach(step_get(connection, "nodes"), i, max, it)
    {
        if (step_gid(it) && step_same_text(title, gs_json_str(it, "title")))
            return home_is(r, step_gid(it), out_req, out, err);
    }
    if (step_next_after(r, connection, &more, err))
        return -1;
    if (more)
        return step_send(r, HOME, cadences_request(r, err), out_req, out, err);
    if (step_absent(r, HOME_AGAIN, &proven, out, err))
        return -1;
    return proven ? step_send(r, HOME_CREATE, iterations_mutation(r, "iteration_cadence_create", fill_home, err), out_req, out, err) : 0;
}

/* A filler has used the number up. */
static int used_up(struct run *r, int64_t iid, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    n->number++;
    n->lost = 0; /* each of them may lose its answer, not the same one again and again */
    r->unsure = false; /* that was about the filler: ours was not sent since it was proven absent */
    *r->lane_next = iid + 1;
    return create(r, out_req, out, err);
}

static int filler_made(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    struct gs_err why = {0};
    if (step_graphql(rsp, false, "iterationCreate", &doc, &payload, &absent, &why)) {
        if (!strstr(why.text, "overlap")) {
            *err = why;
            return gs_wrap(err, "filling the gap before number %lld", (long long)step_iid(r->rec));
        }
        step_hidden(r); /* it is there: a first copy of the request made it, or a replica hides it */
        return find_filler(r, out_req, out, err);
    }
    int64_t iid = step_iid(step_get(payload, "iteration"));
    if (iid < *r->lane_next)
        return step_fail(err, GS_E_REMOTE, "the server gave a filler no usable number");
    return used_up(r, iid, out_req, out, err);
}

static int filler_found(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *it;
    bool absent = false, proven = true;
    size_t i, max;
    if (step_graphql(rsp, true, "iterations", &doc, &connection, &absent, err))
        return gs_wrap(err, "looking for a filler iteration");
    yyjson_arr_foreach(step_get(connection, "nodes"), i, max, it)
    {
        if (step_iid(it) == *r->lane_next) {
            step_seen(r);
            return used_up(r, *r->lane_next, out_req, out, err);
        }
    }
    if (step_absent(r, FILLER_AGAIN, &proven, out, err))
        return -1;
    return proven ? create(r, out_req, out, err) : 0;
}

/* ---- the iteration itself ---- */

/* Counter known or not, and looked up or not: the next thing to do for a record that is not there. */
static int go_on(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (*r->lane_next == 0 && !r->unsure && !r->grp->existed && run_made_group(r))
        *r->lane_next = 1; /* the first iteration of a group that this load has made */
    bool known = *r->lane_next && !(step_notes(r)->flags & MUST_COUNT);
    return known ? create(r, out_req, out, err) : count(r, out_req, out, err);
}

static int counted(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *it;
    bool absent = false, more = false;
    size_t i, max;
    if (step_graphql(rsp, true, "iterations", &doc, &connection, &absent, err))
        return gs_wrap(err, "looking for the iterations of the group");
    yyjson_arr_foreach(step_get(connection, "nodes"), i, max, it)
    {
        if (step_iid(it) > n->max_id)
            n->max_id = step_iid(it);
    }
    if (step_next_after(r, connection, &more, err))
        return -1;
    if (more)
        return count(r, out_req, out, err);
    n->flags &= ~MUST_COUNT;
    if (n->max_id >= *r->lane_next)
        *r->lane_next = n->max_id + 1;
    return create(r, out_req, out, err);
}

static int differences(struct run *r, yyjson_val *there, struct gs_buf *names, struct gs_err *err)
{
    const char *title = gs_json_str(r->rec, "title");
    gs_autofree char *plain = step_strip(title ? title : "");
    if (!plain)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    return (!step_same_text(plain, gs_json_str(there, "title")) && step_name(names, "title", err)) ||
                   (!step_same_text(gs_json_str(r->rec, "description"), gs_json_str(there, "description")) && step_name(names, "description", err)) ||
                   (!step_same_date(gs_json_str(r->rec, "start_date"), gs_json_str(there, "startDate")) && step_name(names, "start_date", err)) ||
                   (!step_same_date(gs_json_str(r->rec, "due_date"), gs_json_str(there, "dueDate")) && step_name(names, "due_date", err))
               ? -1
               : 0;
}

/* The state follows from the dates and the day. */
static int compare_state(struct run *r, yyjson_val *there, struct gs_err *err)
{
    const char *got = gs_json_str(there, "state"), *want = gs_json_str(r->rec, "state");
    if (want && strcmp(want, "started") == 0) /* GitLab before 14.6 */
        want = "current";
    if (!want || !got || strcmp(want, got) == 0)
        return 0;
    return step_loss(r, err, "iteration-state", "%s at the source, %s there", want, got);
}

static int take(struct run *r, yyjson_val *there, enum step_result *out, struct gs_err *err)
{
    gs_autobuf names;
    gs_buf_init(&names, 4096);
    int64_t iid = step_iid(there), want = step_iid(r->rec);
    r->op.target_id = step_gid(there);
    if (!r->op.target_id)
        return step_fail(err, GS_E_REMOTE, "the server's answer has no iteration");
    r->op.print = print_of(there, seen);
    /* in a group of our own making nothing has a higher number than the last one that was made */
    if ((*r->lane_next || !r->grp->existed) && iid >= *r->lane_next)
        *r->lane_next = iid + 1;
    if (differences(r, there, &names, err) ||
        (names.len && run_loss(r, r->op.adopted ? "exists-differs" : "iteration-changed", gs_buf_str(&names), err)) ||
        (want && iid != want &&
         step_loss(r, err, "iteration-iid-changed", "%lld at the source, %lld there", (long long)want, (long long)iid)) ||
        compare_state(r, there, err))
        return -1;
    *out = STEP_DONE;
    return 0;
}

/* One with the same dates is in the cadence. Whose is it? */
static int adopt(struct run *r, yyjson_val *it, enum step_result *out, struct gs_err *err)
{
    gs_autobuf names;
    gs_buf_init(&names, 4096);
    bool ours = r->unsure || r->maybe;
    step_seen(r);
    if (step_notes(r)->flags & THERE_BEFORE) {
        ours = false;
        if (r->unsure && step_made_by_us(r, it, &ours, err))
            return -1;
    } else if (!ours) { /* nobody else should be in a cadence of our own making */
        if (differences(r, it, &names, err))
            return -1;
        if (names.len && !run_opts(r)->merge)
            return step_fail(err, GS_E_TAKEN, "an iteration from %s to %s is there already, with other values", gs_json_str(r->rec, "start_date"),
                             gs_json_str(r->rec, "due_date"));
        ours = names.len == 0;
    }
    r->op.found = ours;
    r->op.adopted = !ours;
    return take(r, it, out, err);
}

static int found(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *it;
    bool absent = false, more = false, proven = true;
    size_t i, max;
    if (step_graphql(rsp, true, "iterations", &doc, &connection, &absent, err))
        return gs_wrap(err, "looking for the iteration");
    yyjson_arr_foreach(step_get(connection, "nodes"), i, max, it)
    {
        bool taken = true;
        if (!step_same_date(gs_json_str(r->rec, "start_date"), gs_json_str(it, "startDate")) ||
            !step_same_date(gs_json_str(r->rec, "due_date"), gs_json_str(it, "dueDate")))
            continue;
        if (step_gid(it) && state_target_taken(r->state, &r->op, step_gid(it), &taken, err))
            return -1;
        if (!taken)
            return adopt(r, it, out, err);
    }
    if (step_next_after(r, connection, &more, err))
        return -1;
    if (more)
        return find(r, out_req, out, err);
    if ((r->unsure || r->maybe || n->flags & TAKEN) && step_absent(r, FIND_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    if (n->flags & TAKEN)
        return step_fail(err, GS_E_TAKEN, "the cadence has another iteration at that time, or with that title");
    return go_on(r, out_req, out, err);
}

/* The server does not make it, and says why. */
static int refused(struct run *r, const struct gs_err *why, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct step_notes *n = step_notes(r);
    if (strstr(why->text, "automatic scheduling") || strstr(why->text, "cannot be created for cadence")) {
        if (n->flags & (THERE_BEFORE | MADE_MANUAL))
            return step_lost(r, "iteration-cadence-automatic", why->text, out, err);
        n->flags |= MADE_MANUAL; /* ours: its automation is turned on again behind this one */
        struct gl_request *q = iterations_mutation(r, "iteration_cadence_update", fill_manual, err);
        return step_send_repeatable(r, MANUAL, q, out_req, out, err);
    }
    if ((strstr(why->text, "overlap") || strstr(why->text, "already being used")) && !(n->flags & TAKEN)) {
        n->flags |= TAKEN;
        step_hidden(r);
        return find(r, out_req, out, err);
    }
    *err = *why;
    return gs_wrap(err, "creating the iteration");
}

static int created(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    struct gs_err why = {0};
    if (step_graphql(rsp, false, "iterationCreate", &doc, &payload, &absent, &why))
        return why.scope == GS_SCOPE_ITEM ? refused(r, &why, out_req, out, err) : (*err = why, -1);
    return take(r, step_get(payload, "iteration"), out, err);
}

static int start(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct op cadence;
    if (!gs_json_str(r->rec, "start_date") || !gs_json_str(r->rec, "due_date"))
        return step_fail(err, GS_E_RECORD, "the iteration has no dates");
    if (state_op(r->state, r->op.needs, &cadence, err))
        return -1;
    r->n1 = cadence.target_id;
    if (cadence.adopted)
        step_notes(r)->flags |= THERE_BEFORE;
    /* an earlier run may have made one, or fillers, after the number was stored */
    if (r->again || r->maybe || r->unsure)
        step_notes(r)->flags |= MUST_COUNT;
    op_release(&cadence);
    return r->unsure || r->maybe || step_notes(r)->flags & THERE_BEFORE ? find(r, out_req, out, err) : go_on(r, out_req, out, err);
}

static int home_made(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    if (step_graphql(rsp, false, "iterationCadenceCreate", &doc, &payload, &absent, err))
        return gs_wrap(err, "creating the cadence of fillers");
    int64_t id = step_gid(step_get(payload, "iterationCadence"));
    return id ? home_is(r, id, out_req, out, err) : step_fail(err, GS_E_REMOTE, "the server's answer has no cadence");
}

static int made_manual(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    if (step_graphql(rsp, false, "iterationCadenceUpdate", &doc, &payload, &absent, err))
        return gs_wrap(err, "turning the automation of the cadence off");
    return count(r, out_req, out, err); /* it has made some by itself */
}

/* A write whose answer did not come. */
static int lost(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    gs_buf_reset(&r->buf);
    switch (r->phase) {
    case HOME_CREATE:
        return step_send(r, HOME, cadences_request(r, err), out_req, out, err);
    case FILLER:
        return find_filler(r, out_req, out, err);
    default: /* of MANUAL: the refusal comes once more when it was not done */
        step_notes(r)->flags &= r->phase == MANUAL ? ~MADE_MANUAL : ~0;
        return find(r, out_req, out, err);
    }
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == CREATE || r->phase == FILLER || r->phase == HOME_CREATE || r->phase == MANUAL, &a, err))
        return -1;
    if (a == ANS_LOST)
        return lost(r, out_req, out, err);
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "asking for the iteration, or creating it");
    switch (r->phase) {
    case START: return start(r, out_req, out, err);
    case FIND: return found(r, rsp, out_req, out, err);
    case FIND_AGAIN: return find(r, out_req, out, err);
    case COUNT: return counted(r, rsp, out_req, out, err);
    case HOME: return home_listed(r, rsp, out_req, out, err);
    case HOME_AGAIN: return step_send(r, HOME, cadences_request(r, err), out_req, out, err);
    case HOME_CREATE: return home_made(r, rsp, out_req, out, err);
    case FILLER: return filler_made(r, rsp, out_req, out, err);
    case FILLER_FIND: return filler_found(r, rsp, out_req, out, err);
    case FILLER_AGAIN: return find_filler(r, out_req, out, err);
    case MANUAL: return made_manual(r, rsp, out_req, out, err);
    case CREATE: return created(r, rsp, out_req, out, err);
    default: return gs_fail(err, GS_E_INTERNAL, "iteration in phase %d", r->phase);
    }
}

static const char *const texts[] = {"description", NULL};
const struct kind kind_iterations = {.name = "iterations", .relation = "iterations", .ordered = true, .step = step, .texts = texts, .seen = seen};

/* ---- taking away the fillers, and cadences that were made twice (twins.h) ---- */

enum { SWEEP_START, SWEEP_LIST, SWEEP_LIST_AGAIN, SWEEP_DESTROY, SWEEP_TWIN };
enum { IS_TWIN = 1 /* run->n2 is one */ };

static int fill_destroy(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    (void)err;
    iterations_put_gid(w, "id", GID_CADENCE, r->n2);
    return 0;
}

static int sweep_destroy(struct run *r, int64_t id, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    r->n2 = id;
    struct gl_request *q = iterations_mutation(r, "iteration_cadence_destroy", fill_destroy, err);
    return step_send_repeatable(r, SWEEP_DESTROY, q, out_req, out, err);
}

static int sweep_begin(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    int64_t number = 0, id = 0;
    r->since_ms = gs_mono_ms(); /* the lane's last write was just before, if this run made any */
    if (state_filler_next(r->state, r->lane->id, &number, &id, err))
        return -1;
    step_notes(r)->number = number && !id; /* one whose answer never came */
    if (id)
        return sweep_destroy(r, id, out_req, out, err);
    return step_send(r, SWEEP_LIST, cadences_request(r, err), out_req, out, err);
}

/* Does an op of this load stand for the cadence? */
static int is_ours(struct run *r, int64_t id, bool *out, struct gs_err *err)
{
    struct op like = r->op;
    like.kind = (char *)(uintptr_t)"iterations_cadences";
    return state_target_taken(r->state, &like, id, out, err);
}

/*
 * One that no op stands for, equal to one that an op does, in a group of our own making: something sent a request twice. Those that were
 * looked at have no higher id than run->n1. GitLab lists them by title, so that the two stand together. 0: there is none.
 */
static int find_twin(struct run *r, yyjson_val *nodes, int64_t *out, struct gs_err *err)
{
    static const char *const equal[] = {"title", "description", "active", NULL};
    size_t i, max, k, more;
    yyjson_val *it, *other;
    *out = 0;
    yyjson_arr_foreach(nodes, i, max, it)
    {
        int64_t id = step_gid(it), print = print_of(it, equal);
        bool ours = true, twin = false;
        if (r->grp->existed || id <= r->n1 || (*out && id > *out))
            continue;
        if (is_ours(r, id, &ours, err))
            return -1;
        yyjson_arr_foreach(nodes, k, more, other)
        {
            if (ours || twin || k == i || print_of(other, equal) != print)
                continue;
            if (is_ours(r, step_gid(other), &twin, err))
                return -1;
        }
        if (twin)
            *out = id;
    }
    return 0;
}

/* What was made twice is empty: iterations go to the one that this load knows of. */
static int twin_listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL;
    bool absent = false;
    if (step_graphql(rsp, true, "iterations", &doc, &connection, &absent, err))
        return gs_wrap(err, "looking into a cadence");
    if (yyjson_arr_size(step_get(connection, "nodes")))
        return step_send(r, SWEEP_LIST, cadences_request(r, err), out_req, out, err);
    step_notes(r)->flags = IS_TWIN;
    return sweep_destroy(r, r->n1, out_req, out, err);
}

/* Others by that title: an earlier run may have forgotten one. */
static int sweep_listed(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *connection = NULL, *it;
    bool absent = false, more = false, proven = true;
    int64_t twin = 0;
    char title[96];
    size_t i, max;
    struct gs_err why = {0};
    if (step_graphql(rsp, true, "iterationCadences", &doc, &connection, &absent, &why)) {
        *out = STEP_DONE; /* a target that shows none has none */
        *err = absent ? *err : why;
        return absent ? 0 : gs_wrap(err, "looking for the cadence of fillers");
    }
    iterations_filler_title(r, title, sizeof title);
    step_notes(r)->flags = 0;
    yyjson_arr_foreach(step_get(connection, "nodes"), i, max, it)
    {
        /* what was destroyed may still be shown */
        if (step_gid(it) && step_gid(it) != r->n2 && step_same_text(title, gs_json_str(it, "title")))
            return sweep_destroy(r, step_gid(it), out_req, out, err);
    }
    if (find_twin(r, step_get(connection, "nodes"), &twin, err))
        return -1;
    if (twin) {
        gs_buf_reset(&r->buf);
        r->n1 = twin;
        return step_send(r, SWEEP_TWIN, question(r, &(struct question){.cadence = twin}, err), out_req, out, err);
    }
    if (step_next_after(r, connection, &more, err))
        return -1;
    if (more)
        return step_send(r, SWEEP_LIST, cadences_request(r, err), out_req, out, err);
    if (step_notes(r)->number && step_absent(r, SWEEP_LIST_AGAIN, &proven, out, err))
        return -1;
    if (!proven)
        return 0;
    *out = STEP_DONE;
    return state_filler_gone(r->state, r->lane->id, -1, err);
}

static int swept(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    struct gs_err why = {0};
    if (step_graphql(rsp, false, "iterationCadenceDestroy", &doc, &payload, &absent, &why) && !absent) { /* absent: it is gone */
        *err = why;
        return gs_wrap(err, "removing the cadence of fillers");
    }
    gs_buf_reset(&r->buf);
    step_notes(r)->began_ms = 0;
    if (step_notes(r)->flags & IS_TWIN) {
        if (step_loss(r, err, "made-twice", "iteration cadence %lld, removed", (long long)r->n2))
            return -1;
    } else {
        step_notes(r)->number = 0;
        if (state_filler(r->state, r->lane->id, HOME_NUMBER, r->n2, err))
            return -1;
    }
    return step_send(r, SWEEP_LIST, cadences_request(r, err), out_req, out, err);
}

static int sweep(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    if (!step_notes(r))
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == SWEEP_DESTROY, &a, err))
        return -1;
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "removing the cadence of fillers");
    if (a == ANS_LOST)
        return sweep_destroy(r, r->n2, out_req, out, err);
    switch (r->phase) {
    case SWEEP_START: return sweep_begin(r, out_req, out, err);
    case SWEEP_LIST: return sweep_listed(r, rsp, out_req, out, err);
    case SWEEP_LIST_AGAIN: return step_send(r, SWEEP_LIST, cadences_request(r, err), out_req, out, err);
    case SWEEP_DESTROY: return swept(r, rsp, out_req, out, err);
    case SWEEP_TWIN: return twin_listed(r, rsp, out_req, out, err);
    default: return gs_fail(err, GS_E_INTERNAL, "sweeping in phase %d", r->phase);
    }
}

const struct kind kind_iterations_sweep = {.name = "iterations.sweep", .relation = "iterations", .ordered = true, .step = sweep};
