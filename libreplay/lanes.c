/* What a run knows of the groups and lanes of its state file: which lane may start, and which of those that may goes first. */
#include "libreplay/engine_priv.h"

#include <sqlite3.h>
#include <string.h>

static int grp_cmp(const void *a, const void *b)
{
    int64_t x = ((const struct grp *)a)->id, y = ((const struct grp *)b)->id;
    return (x > y) - (x < y);
}

struct grp *engine_grp(struct engine *e, int64_t id)
{
    struct grp key = {.id = id};
    return bsearch(&key, e->groups, e->n_groups, sizeof key, grp_cmp);
}

static struct elane *find_lane(struct engine *e, int64_t id)
{
    size_t lo = 0, hi = e->n_lanes;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e->lanes[mid].l.id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < e->n_lanes && e->lanes[lo].l.id == id ? &e->lanes[lo] : NULL;
}

static int db_err(struct engine *e, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(e->state), sqlite3_errmsg(state_db(e->state)));
}

/* Runs a query and calls `row` for each of its rows. */
static int each_row(struct engine *e, const char *sql, int (*row)(struct engine *, sqlite3_stmt *, struct gs_err *),
                    struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(state_db(e->state), sql, -1, &st, NULL))
        return db_err(e, err);
    int rc, r = 0;
    while (r == 0 && (rc = sqlite3_step(st)) != SQLITE_DONE)
        r = rc == SQLITE_ROW ? row(e, st, err) : db_err(e, err);
    sqlite3_finalize(st);
    return r;
}

static int load_group(struct engine *e, sqlite3_stmt *st, struct gs_err *err)
{
    if (state_grp(e->state, sqlite3_column_int64(st, 0), &e->groups[e->n_groups], err))
        return -1;
    e->n_groups++;
    return 0;
}

static int load_lane(struct engine *e, sqlite3_stmt *st, struct gs_err *err)
{
    struct elane *l = &e->lanes[e->n_lanes];
    *l = (struct elane){.l = {.id = sqlite3_column_int64(st, 0), .grp = sqlite3_column_int64(st, 1),
                              .phase = sqlite3_column_int(st, 2), .ordered = sqlite3_column_int(st, 3),
                              .watermark = sqlite3_column_int64(st, 5)},
                         .open = (uint64_t)sqlite3_column_int64(st, 6), .counter = sqlite3_column_int64(st, 7),
                         .stored_counter = sqlite3_column_int64(st, 7)};
    l->l.name = strdup((const char *)sqlite3_column_text(st, 4));
    if (!l->l.name)
        return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
    e->n_lanes++;
    return 0;
}

static int load_need(struct engine *e, sqlite3_stmt *st, struct gs_err *err)
{
    struct elane *l = find_lane(e, sqlite3_column_int64(st, 0)), *needs = find_lane(e, sqlite3_column_int64(st, 1));
    if (!l || !needs)
        return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s' has needs without a lane", state_path(e->state));
    if (needs->n_dependents % 8 == 0) {
        uint32_t *p = realloc(needs->dependents, (needs->n_dependents + 8) * sizeof *p);
        if (!p)
            return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
        needs->dependents = p;
    }
    needs->dependents[needs->n_dependents++] = (uint32_t)(l - e->lanes);
    l->unmet++;
    return 0;
}

static int load_counts(struct engine *e, sqlite3_stmt *st, struct gs_err *err)
{
    e->groups = calloc((size_t)sqlite3_column_int64(st, 0) + 1, sizeof *e->groups);
    e->lanes = calloc((size_t)sqlite3_column_int64(st, 1) + 1, sizeof *e->lanes);
    e->queue = calloc((size_t)sqlite3_column_int64(st, 1) + 1, sizeof *e->queue);
    return e->groups && e->lanes && e->queue ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for lanes");
}

/* ---- the lanes that may go on, the longest way first ---- */

/* Steps that have to follow one another from here on, until the end of the load. */
static uint64_t way(const struct engine *e, const struct elane *l)
{
    return l->behind + (l->l.ordered ? l->open : 1 + l->open / e->jobs);
}

/* Of lanes with equally long ways, the one that has waited longest. */
static bool before(const struct lane_turn *a, const struct lane_turn *b)
{
    return a->way != b->way ? a->way > b->way : a->seq < b->seq;
}

void lane_enqueue(struct engine *e, struct elane *l)
{
    if (l->queued || l->unmet > 0 || l->open == 0)
        return;
    struct lane_turn t = {.way = way(e, l), .seq = e->queue_seq++, .lane = (uint32_t)(l - e->lanes)};
    size_t i = e->queue_n++;
    for (; i > 0 && before(&t, &e->queue[(i - 1) / 2]); i = (i - 1) / 2)
        e->queue[i] = e->queue[(i - 1) / 2];
    e->queue[i] = t;
    l->queued = true;
}

struct elane *lane_dequeue(struct engine *e)
{
    struct elane *l = &e->lanes[e->queue[0].lane];
    struct lane_turn t = e->queue[--e->queue_n];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < e->queue_n; i = k) {
        if (k + 1 < e->queue_n && before(&e->queue[k + 1], &e->queue[k]))
            k++;
        if (!before(&e->queue[k], &t))
            break;
        e->queue[i] = e->queue[k];
    }
    e->queue[i] = t;
    l->queued = false;
    return l;
}

/* How long the way is behind each lane: from the last lanes to the first. Lanes that wait for each other keep 0. */
static int measure_ways(struct engine *e, struct gs_err *err)
{
    gs_autofree uint32_t *order = malloc((e->n_lanes + 1) * sizeof *order), *unmet = malloc((e->n_lanes + 1) * sizeof *unmet);
    if (!order || !unmet)
        return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
    size_t n = 0;
    for (size_t i = 0; i < e->n_lanes; i++) {
        unmet[i] = e->lanes[i].unmet;
        if (unmet[i] == 0)
            order[n++] = (uint32_t)i;
    }
    for (size_t i = 0; i < n; i++) {
        const struct elane *l = &e->lanes[order[i]];
        for (uint32_t k = 0; k < l->n_dependents; k++)
            if (--unmet[l->dependents[k]] == 0)
                order[n++] = l->dependents[k];
    }
    while (n > 0) {
        struct elane *l = &e->lanes[order[--n]];
        for (uint32_t k = 0; k < l->n_dependents; k++) {
            const struct elane *d = &e->lanes[l->dependents[k]];
            uint64_t w = d->open > 0 ? way(e, d) : d->behind;
            if (w > l->behind)
                l->behind = w;
        }
    }
    return 0;
}

/*
 * A lane without open ops has ended: those that wait for it may start. Ended lanes end others that are empty, so this walks with a
 * stack of its own; a tree of groups can be deep.
 */
int lane_ended(struct engine *e, struct elane *first, struct gs_err *err)
{
    size_t n = 1, cap = 64;
    struct elane **stack = malloc(cap * sizeof *stack);
    if (!stack)
        return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
    stack[0] = first;
    while (n > 0) {
        struct elane *l = stack[--n];
        e->lanes_open--;
        free(l->q);
        l->q = NULL;
        for (uint32_t i = 0; i < l->n_dependents; i++) {
            struct elane *d = &e->lanes[l->dependents[i]];
            if (--d->unmet > 0)
                continue;
            if (d->open > 0) {
                lane_enqueue(e, d);
                continue;
            }
            if (n == cap) {
                struct elane **p = realloc(stack, 2 * cap * sizeof *p);
                if (!p) {
                    free(stack);
                    return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
                }
                stack = p;
                cap *= 2;
            }
            stack[n++] = d;
        }
    }
    free(stack);
    return 0;
}

int lanes_load(struct engine *e, struct gs_err *err)
{
    if (each_row(e, "SELECT (SELECT count(*) FROM grp), (SELECT count(*) FROM lane)", load_counts, err) ||
        each_row(e, "SELECT id FROM grp ORDER BY id", load_group, err) ||
        each_row(e, "SELECT id, grp, phase, ordered, name, watermark, open, counter FROM lane ORDER BY id", load_lane, err) ||
        each_row(e, "SELECT lane, needs FROM lane_need", load_need, err))
        return -1;
    struct state_tally t;
    if (state_tally(e->state, &t, err))
        return -1;
    e->p.ops = t.ops;
    e->p.done = t.done;
    e->p.failed = t.failed;
    e->p.skipped = t.skipped;
    e->lanes_open = e->n_lanes;
    if (measure_ways(e, err))
        return -1;
    /* those without needs start it all; lane_ended() must not be called for one twice, so remember who was free at first */
    gs_autofree uint8_t *start = calloc(e->n_lanes + 1, 1);
    if (!start)
        return gs_fail(err, GS_E_NOMEM, "no memory for lanes");
    for (size_t i = 0; i < e->n_lanes; i++)
        start[i] = e->lanes[i].unmet == 0;
    for (size_t i = 0; i < e->n_lanes; i++) {
        if (!start[i])
            continue;
        if (e->lanes[i].open > 0)
            lane_enqueue(e, &e->lanes[i]);
        else if (lane_ended(e, &e->lanes[i], err))
            return -1;
    }
    return 0;
}

void lanes_unload(struct engine *e)
{
    for (size_t i = 0; i < e->n_groups; i++)
        grp_release(&e->groups[i]);
    for (size_t i = 0; i < e->n_lanes; i++) {
        struct elane *l = &e->lanes[i];
        for (; l->q && l->q_i < l->q_n; l->q_i++)
            op_release(&l->q[l->q_i]);
        free(l->q);
        free(l->dependents);
        free(l->l.name);
    }
    free(e->groups);
    free(e->lanes);
    free(e->queue);
}

/* The next op of the lane into *out; *out_none when there is none that may be taken now. */
int lane_take(struct engine *e, struct elane *l, struct op *out, bool *out_none, struct gs_err *err)
{
    *out_none = false;
    if (l->q && l->q_i == l->q_n) {
        free(l->q);
        l->q = NULL;
    }
    if (!l->q) {
        size_t n = 0;
        l->q = calloc(LANE_PREFETCH, sizeof *l->q);
        if (!l->q)
            return gs_fail(err, GS_E_NOMEM, "no memory for ops");
        l->q_i = l->q_n = 0;
        if (state_next_ops(e->state, l->l.id, l->last_pos, l->q, LANE_PREFETCH, &n, err))
            return -1;
        l->q_n = (uint8_t)n;
    }
    if (l->q_n == 0) {
        free(l->q);
        l->q = NULL;
        *out_none = true;
        return 0;
    }
    *out = l->q[l->q_i];
    l->q[l->q_i++] = (struct op){0};
    l->last_pos = out->pos;
    return 0;
}

