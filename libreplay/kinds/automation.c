/* Turns the automation of a cadence on, once all its iterations are there: from then on the server makes them. */
#include "libreplay/kinds/iterations.h"

#include "libcommon/clock.h"
#include "libgitlab/graphql.h"
#include "libreplay/kinds/kinds.h"
#include "libreplay/kinds/step.h"
#include "libreplay/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { START, UPDATE };

#define DAY_MS ((int64_t)86400000)

/* ---- when it may begin ---- */

struct span {
    int64_t start, due, iid;
};

static int days(yyjson_val *obj, const char *key, int64_t *out, struct gs_err *err)
{
    const char *s = NULL;
    int64_t ms;
    if (gs_json_need_str(obj, key, &s, err) || gs_time_parse(s, &ms, err))
        return -1;
    *out = ms >= 0 ? ms / DAY_MS : -((DAY_MS - 1 - ms) / DAY_MS);
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->start > y->start) - (x->start < y->start);
}

static int read_spans(yyjson_val *all, struct span **out, size_t *n, struct gs_err *err)
{
    size_t i, max;
    yyjson_val *it;
    gs_autofree struct span *v = calloc(yyjson_arr_size(all) + 1, sizeof *v);
    *n = 0;
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for iterations");
    yyjson_arr_foreach(all, i, max, it)
    {
        v[*n].iid = step_iid(it);
        if (days(it, "start_date", &v[*n].start, err) || days(it, "due_date", &v[*n].due, err))
            return -1;
        ++*n;
    }
    qsort(v, *n, sizeof *v, by_start);
    *out = gs_steal(&v);
    return 0;
}

int automation_plan(yyjson_val *cadence, int64_t today, struct automation *out, struct gs_err *err)
{
    gs_autofree struct span *v = NULL;
    size_t n = 0, ahead = 0;
    int64_t weeks = 0, own = INT64_MIN, held = INT64_MIN;
    *out = (struct automation){0};
    if (gs_json_need_i64(cadence, "duration_in_weeks", &weeks, err) || read_spans(step_get(cadence, "iterations"), &v, &n, err))
        return -1;
    if (weeks < 1 || weeks > 52)
        return gs_fail(err, GS_E_RECORD, "iterations of %lld weeks", (long long)weeks);
    if (gs_json_str(cadence, "start_date") && days(cadence, "start_date", &own, err))
        return -1;
    for (; ahead < n && v[ahead].start <= today; ahead++)
        held = v[ahead].due > held ? v[ahead].due : held;
    int64_t length = 7 * weeks, first = today - length + 1; /* the earliest that makes none that is over */
    if (ahead < n && v[ahead].start > held)
        out->start = v[ahead].start;
    else if (own > held && own >= first)
        out->start = own;
    else if (held == INT64_MIN)
        out->start = today;
    else
        out->start = held + 1 >= first ? held + 1 : held + 1 + (first - held - 1 + length - 1) / length * length;
    int64_t at = out->start;
    for (size_t i = ahead; i < n && !out->moves; i++, at += length) {
        out->moves = v[i].start != at || v[i].due != at + length - 1;
        out->moves_iid = out->moves ? v[i].iid : 0;
    }
    return 0;
}

/* ---- the op ---- */

static void date_of(int64_t day, char out[GS_TIME_LEN])
{
    gs_time_format(day * DAY_MS, out);
    out[10] = '\0';
}

/* run->n1: the cadence on the target; run->n2: the day on which it begins. */
static int fill(struct run *r, struct gs_jw *w, struct gs_err *err)
{
    int64_t weeks = 0, ahead = 0;
    char start[GS_TIME_LEN];
    (void)err;
    date_of(r->n2, start);
    gs_json_i64(r->rec, "duration_in_weeks", &weeks);
    iterations_put_gid(w, "id", GID_CADENCE, r->n1);
    gs_jw_kbool(w, "automatic", true);
    gs_jw_kstr(w, "startDate", start);
    gs_jw_ki64(w, "durationInWeeks", weeks);
    if (gs_json_i64(r->rec, "iterations_in_advance", &ahead))
        gs_jw_ki64(w, "iterationsInAdvance", ahead);
    gs_jw_kbool(w, "rollOver", gs_json_true(r->rec, "roll_over"));
    return 0;
}

static int begin(struct run *r, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    struct op cadence;
    struct automation a;
    char start[GS_TIME_LEN];
    if (state_op(r->state, r->op.needs, &cadence, err))
        return -1;
    bool adopted = cadence.adopted;
    r->n1 = cadence.target_id;
    op_release(&cadence);
    *out = STEP_DONE;
    if (adopted) /* how it makes its iterations is not ours to change; that it differs was said */
        return 0;
    if (automation_plan(r->rec, (gs_unix_ms() + r->target->clock_offset_ms) / DAY_MS, &a, err))
        return gs_scoped(err, GS_SCOPE_ITEM);
    r->n2 = a.start;
    date_of(a.start, start);
    if (!step_same_date(gs_json_str(r->rec, "start_date"), start) &&
        step_loss(r, err, "cadence-start-date", "%.10s at the source, %s there", gs_json_str(r->rec, "start_date") ? gs_json_str(r->rec, "start_date") : "none", start))
        return -1;
    if (a.moves && step_loss(r, err, "iterations-moved", "from number %lld on", (long long)a.moves_iid))
        return -1;
    struct gl_request *q = iterations_mutation(r, "iteration_cadence_update", fill, err);
    return step_send_repeatable(r, UPDATE, q, out_req, out, err);
}

static int updated(struct run *r, const struct gl_response *rsp, enum step_result *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *payload = NULL;
    bool absent = false;
    if (step_graphql(rsp, false, "iterationCadenceUpdate", &doc, &payload, &absent, err))
        return gs_wrap(err, "turning the automation of the cadence on");
    yyjson_val *cadence = step_get(payload, "iterationCadence");
    int64_t want = 0, got = 0;
    gs_json_i64(r->rec, "duration_in_weeks", &want);
    if (!gs_json_true(cadence, "automatic") || !gs_json_i64(cadence, "durationInWeeks", &got) || got != want)
        return step_fail(err, GS_E_REMOTE, "the server did not turn the automation of the cadence on");
    *out = STEP_DONE;
    /* as it is now it is ours: what undo compares with */
    return state_op_target(r->state, r->op.needs, r->n1, print_of(cadence, cadence_seen), err);
}

static int step(struct run *r, const struct gl_response *rsp, struct gl_request **out_req, enum step_result *out, struct gs_err *err)
{
    enum step_answer a;
    if (step_judge(r, rsp, r->phase == UPDATE, &a, err))
        return -1;
    if (r->phase == START || a == ANS_LOST) /* it says what is to be, so it may be said again */
        return begin(r, out_req, out, err);
    if (a == ANS_REFUSED)
        return step_refused(rsp, err, "turning the automation of the cadence on");
    return updated(r, rsp, out, err);
}

const struct kind kind_cadences_automation = {
    .name = "iterations_cadences.automation", .relation = "iterations_cadences", .ordered = true, .step = step};
