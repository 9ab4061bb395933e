/* A capture by export: which group is at what, a few at a time; worker threads; what the rest of the capture asks. */
#include "libexport/relations_priv.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EXPORTING 5      /* groups at once: what GitLab allows itself */
#define WORKERS 2

/* ---- life ---- */

int relations_new(struct capture *c, struct relations **out, struct gs_err *err)
{
    struct relations *r = calloc(1, sizeof *r);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for exports");
    r->cap = c;
    r->via = c->o.via;
    pthread_mutex_init(&r->lock, NULL);
    idset_init(&r->mentioned);
    if (gs_work_new(WORKERS, WORKERS * 2, &r->work, err)) {
        relations_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void relations_free(struct relations *r)
{
    if (!r)
        return;
    relations_abandon(r);
    gs_work_free(r->work);
    idset_release(&r->mentioned);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static void group_free(struct rel_group *rg)
{
    struct relations *r = rg->all;
    if (rg->state == RG_STARTING || rg->state == RG_EXPORTING)
        r->exporting--;
    *(rg->prev ? &rg->prev->next : &r->first) = rg->next;
    *(rg->next ? &rg->next->prev : &r->last) = rg->prev;
    rg->g->rel = NULL;
    shelf_release(&rg->self);
    shelf_release(&rg->members);
    shelf_release(&rg->boards.shelf);
    shelf_release(&rg->cadences.shelf);
    shelf_release(&rg->epic_boards.shelf);
    free(rg->avatar_url);
    free(rg);
}

void relations_abandon(struct relations *r)
{
    if (r->work)
        gs_work_wait(r->work);
    while (r->ready) {
        struct rel_job *j = r->ready;
        r->ready = j->next;
        rel_job_free(j);
    }
    while (r->done) {
        struct rel_job *j = r->done;
        r->done = j->next;
        rel_job_free(j);
    }
    r->working = 0;
    while (r->first) {
        struct cap_group *g = r->first->g;
        group_free(r->first);
        cap_end(g);
    }
}

/* ---- workers ---- */

static void work(void *arg)
{
    struct rel_job *j = arg;
    struct relations *r = j->item->rg->all;
    rel_job_run(j);
    pthread_mutex_lock(&r->lock);
    j->next = r->done;
    r->done = j;
    pthread_mutex_unlock(&r->lock);
    gl_client_wake(r->cap->client);
}

void rel_submit(struct relations *r, struct rel_job *j)
{
    j->next = NULL;
    if (r->ready)
        r->ready_last->next = j;
    else
        r->ready = j;
    r->ready_last = j;
}

static int reap(struct relations *r, struct gs_err *err)
{
    pthread_mutex_lock(&r->lock);
    struct rel_job *j = r->done;
    r->done = NULL;
    pthread_mutex_unlock(&r->lock);
    int ret = 0;
    while (j) {
        struct rel_job *next = j->next;
        r->working--;
        if (ret == 0)
            ret = rel_job_ended(j, err);
        else
            rel_job_free(j);
        j = next;
    }
    while (r->ready && r->working < WORKERS) {
        j = r->ready;
        r->ready = j->next;
        r->working++;
        gs_work_submit(r->work, work, j);
    }
    return ret;
}

/* ---- the groups ---- */

int relations_group(struct relations *r, struct cap_group *g, const char *self, size_t len, yyjson_val *answer, struct gs_err *err)
{
    struct rel_group *rg = calloc(1, sizeof *rg);
    struct staging_export e;
    bool found = false;
    if (!rg)
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    rg->all = r;
    rg->g = g;
    shelf_init(&rg->self, "id");
    shelf_init(&rg->members, "user_id");
    shelf_init(&rg->boards.shelf, "id");
    shelf_init(&rg->cadences.shelf, "iterations.iid");
    shelf_init(&rg->epic_boards.shelf, "name");
    rg->prev = r->last;
    *(r->last ? &r->last->next : &r->first) = rg;
    r->last = rg;
    g->rel = rg;
    const char *avatar = gs_json_str(answer, "avatar_url");
    yyjson_val *prevent = yyjson_obj_get(answer, "prevent_sharing_groups_outside_hierarchy");
    rg->prevent_known = yyjson_is_bool(prevent);
    rg->prevent = yyjson_is_true(prevent);
    if (avatar && !(rg->avatar_url = strdup(avatar))) {
        group_free(rg);
        return gs_fail(err, GS_E_NOMEM, "no memory for a group");
    }
    if (shelf_add(&rg->self, self, len, err) || rel_group_recall(rg, &found, err) ||
        (!found && staging_export_get(r->cap->o.staging, g->id, &e, &found, err))) {
        group_free(rg);
        return -1;
    }
    shelf_finish(&rg->self, 1, 0);
    cap_begin(g);
    if (rg->state == RG_SETTLED) {
        if (r->n_known == 0)
            rel_learn(rg);
    } else if (found) {
        rg->state = RG_EXPORTING;
        rg->starts = !rg->stalled;
        rg->resumed = staging_run(r->cap->o.staging) > 1;
        if (!rg->stalled) {
            rg->asked_batched = e.batched;
            rg->server_start_ms = e.server_started_ms;
        }
        rg->interval_ms = REL_POLL_MIN_MS;
        rg->next_poll_ms = gs_mono_ms() + (rg->resumed ? 0 : REL_POLL_MIN_MS);
        rg->progress_ms = gs_mono_ms();
        r->exporting++;
    }
    return 0;
}

/* Nothing moved for too long: what is not there has failed. */
static int give_up(struct rel_group *rg, struct gs_err *err)
{
    struct relations *r = rg->all;
    struct gs_err why = {0};
    gs_fail(&why, GS_E_EXPORT_TIMEOUT, "the export of '%s' made no progress for %" PRId64 " s", rg->g->full_path,
            r->cap->o.export_timeout_ms / 1000);
    if (r->via != CAPTURE_AUTO) { /* what is here stays for the next run, which begins with what is not */
        rg->stalled = true;
        if (rel_group_note(rg, err))
            return -1;
        *err = why;
        return -1;
    }
    if (rg->n_items == 0) {
        rel_refuse_group(rg, &why);
        return 0;
    }
    for (size_t i = 0; i < rg->n_items; i++)
        if (rg->items[i].phase == ITEM_WAIT) {
            rg->items[i].phase = ITEM_FAILED;
            rg->items[i].why = why;
        }
    rg->again = false;
    return rel_settle(rg, err);
}

/* Everything that is not waited for is here: the export may be started again without harm to it. */
static bool idle(const struct rel_group *rg)
{
    for (size_t i = 0; i < rg->n_items; i++)
        if (rg->items[i].phase == ITEM_DOWNLOAD)
            return false;
    return !rg->polling;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int tick_exporting(struct rel_group *rg, int64_t now, int64_t *wait, struct gs_err *err)
{
    int64_t timeout = rg->all->cap->o.export_timeout_ms;
    if (rg->again && idle(rg)) {
        if (rg->starts >= REL_MAX_STARTS)
            rg->again = false;
        else
            return rel_start_export(rg, err);
    }
    if (rg->restart_at_ms && now >= rg->restart_at_ms && idle(rg)) {
        rg->restart_at_ms = 0;
        rg->starts--; /* this one was none */
        return rel_start_export(rg, err);
    }
    if (timeout > 0 && now - rg->progress_ms > timeout)
        return give_up(rg, err);
    if (!rg->polling && now >= rg->next_poll_ms)
        return rel_poll_status(rg, err);
    if (!rg->polling)
        *wait = min64(*wait, rg->next_poll_ms - now);
    if (rg->restart_at_ms)
        *wait = min64(*wait, rg->restart_at_ms > now ? rg->restart_at_ms - now : 0);
    return 0;
}

int relations_tick(struct relations *r, int64_t *out_wait_ms, struct gs_err *err)
{
    int64_t now = gs_mono_ms();
    unsigned max = r->cap->o.jobs > 3 ? r->cap->o.jobs - 2 : 1;
    *out_wait_ms = 200;
    if (reap(r, err))
        return -1;
    for (struct rel_group *rg = r->first, *next; rg; rg = next) {
        bool over = false;
        next = rg->next;
        if (rg->state == RG_QUEUED && r->exporting < MAX_EXPORTING && rel_start_export(rg, err))
            return -1;
        if (rg->state == RG_EXPORTING && tick_exporting(rg, now, out_wait_ms, err))
            return -1;
        for (size_t i = 0; i < rg->n_items; i++)
            if (rg->items[i].phase == ITEM_DOWNLOAD && rel_download_more(&rg->items[i], max, err))
                return -1;
        if (rel_group_step(rg, &over, err))
            return -1;
        if (over && !rg->polling) {
            struct cap_group *g = rg->g;
            group_free(rg);
            cap_end(g);
            *out_wait_ms = 0;
        }
    }
    if (reap(r, err)) /* what the steps made ready */
        return -1;
    if (*out_wait_ms < 0)
        *out_wait_ms = 0;
    return 0;
}

/* ---- what others ask ---- */

bool relations_knows(const struct capture *c, const char *relation)
{
    for (size_t i = 0; c->rel && i < c->rel->n_known; i++)
        if (strcmp(c->rel->known[i], relation) == 0)
            return true;
    return false;
}

bool relations_told(const struct cap_group *g, const char *relation)
{
    const struct rel_item *it = g->rel ? rel_item(g->rel, relation) : NULL;
    return it && it->phase != ITEM_ABSENT;
}

bool relations_refused(const struct cap_group *g)
{
    return g->rel && g->rel->refused;
}

struct shelf *relations_shelf(struct cap_group *g, const char *relation)
{
    if (!g->rel)
        return NULL;
    if (strcmp(relation, "members") == 0)
        return &g->rel->members;
    const struct rel_item *it = rel_item(g->rel, relation);
    return it && it->asked_more ? &rel_more(g->rel, relation)->shelf : NULL;
}

bool relations_no_addition(struct cap_group *g, const char *relation, const struct gs_err *why)
{
    struct shelf *s = relations_shelf(g, relation);
    if (!s)
        return false;
    shelf_reset(s);
    shelf_finish(s, -1, 0);
    *(s == &g->rel->members ? &g->rel->members_why : &rel_more(g->rel, relation)->why) = *why;
    return true;
}

void relations_progress(const struct relations *r, struct relations_progress *out)
{
    *out = (struct relations_progress){.exporting = r->exporting, .downloading = r->downloading, .reading = r->working};
    for (const struct rel_group *rg = r->first; rg; rg = rg->next)
        out->queued += rg->state == RG_QUEUED;
}
