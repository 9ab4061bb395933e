/* The exports of the groups: started a few at a time, polled, downloaded; worker threads; the way that is taken. */
#include "libexport/relations_priv.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_EXPORTING 5      /* groups at once: what GitLab allows itself */
#define POLL_MIN_MS 500
#define POLL_MAX_MS 10000
#define QUIET_MS 30000       /* so long all that is shown is final, and something that should be there is not */
#define REDO_MS (180 * 1000) /* GitLab does not export again what it finished less than that ago */
#define SLACK_MS 2000        /* the Date header has no milliseconds, and clocks differ */
#define DOWNLOAD_MAX ((uint64_t)5 << 30) /* GitLab's own limit of one file */
#define WORKERS 2
#define MAX_STARTS 3

/* What an export of that version should hold; what is missing otherwise is waited for, once. */
static const struct {
    const char *name;
    int major, minor;
    bool enterprise;
} expected[] = {
    {"self", 14, 0, false},        {"labels", 14, 0, false}, {"milestones", 14, 0, false},
    {"boards", 14, 0, false},      {"badges", 14, 0, false}, {"uploads", 14, 0, false},
    {"epics", 14, 0, true},        {"iterations_cadences", 15, 4, true}, {"epic_boards", 18, 4, true},
};

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

/* ---- starting an export ---- */

static int64_t server_now(const struct relations *r)
{
    return gs_unix_ms() + (r->cap->o.instance ? r->cap->o.instance->clock_offset_ms : 0);
}

static bool want_batches(const struct relations *r)
{
    return !r->batches_refused && r->cap->o.instance && gl_instance_at_least(r->cap->o.instance, 16, 2);
}

/* Notes that the export runs. `sent_ms`: the server's time when we asked, as far as we know it. */
static int note_start(struct relations *r, int64_t group, int64_t sent_ms, const struct gl_response *rsp, bool batched,
                      unsigned starts, int64_t *out_server_ms, struct gs_err *err)
{
    struct staging_export e = {.group = group, .started_ms = gs_unix_ms(), .batched = batched};
    e.server_started_ms = (rsp->date_ms > 0 && rsp->date_ms < sent_ms ? rsp->date_ms : sent_ms) - SLACK_MS;
    snprintf(e.note, sizeof e.note, "{\"starts\":%u}", starts);
    *out_server_ms = e.server_started_ms;
    return staging_export_set(r->cap->o.staging, &e, err);
}

/* The way is closed: in what words. */
static int closed(const struct gl_response *rsp, const char *path, struct gs_err *err)
{
    switch (gl_export_refusal(rsp, false)) {
    case GL_EXPORT_OFF:
        gs_fail(err, GS_E_EXPORT_OFF, "the source does not export relations (its setting bulk_import_enabled is off): %s", rsp->err.text);
        break;
    case GL_EXPORT_NOT_OWNER:
        gs_fail(err, rsp->err.code == GS_E_SCOPE ? GS_E_SCOPE : GS_E_FORBIDDEN,
                rsp->err.code == GS_E_SCOPE ? "the token may not start an export of '%s': %s" : "only an Owner may export '%s': %s", path,
                rsp->err.text);
        break;
    default:
        *err = rsp->err;
        gs_wrap(err, "export of '%s'", path);
        return -1;
    }
    err->http = rsp->status;
    return -1;
}

/* Did the server accept it? A page of a proxy is no answer of GitLab's, whatever its status. */
static bool accepted(const struct gl_response *rsp, struct gs_err *err)
{
    if (rsp->outcome != GL_ANSWERED || rsp->status < 200 || rsp->status > 299)
        return false;
    if (strncasecmp(rsp->content_type, "text/html", 9) != 0)
        return true;
    gs_fail(err, GS_E_REMOTE, "the server answered the start of an export with %d and an HTML page", rsp->status);
    err->http = rsp->status;
    return false;
}

/* "Later", rather than "no": the whole capture waits for that. */
static bool for_now(int status)
{
    return status == 502 || status == 503 || status == 504;
}

/* One POST, and a second one in the other form when the server does not like batches. */
static int start_root(struct relations *r, struct gs_err *err)
{
    struct capture *c = r->cap;
    for (int i = 0; i < 2; i++) {
        bool batched = want_batches(r);
        struct gl_request *req = gl_export_start(c->root_id, batched);
        struct gl_response rsp;
        struct gs_err why = {0};
        int64_t sent = server_now(r), server;
        if (!req)
            return gs_fail(err, GS_E_NOMEM, "no memory for a request");
        req->tag = (struct gl_tag){c->root_id, "export"};
        int n = gl_perform(c->client, req, &rsp, &why);
        if (n == 0 && accepted(&rsp, err)) {
            n = note_start(r, c->root_id, sent, &rsp, batched, 1, &server, err);
            gl_response_release(&rsp);
            return n;
        }
        if (n == 0) /* not accepted: err says it */
            ;
        else if (rsp.outcome != GL_ANSWERED)
            *err = why;
        else if (batched && rsp.status == 400)
            r->batches_refused = true;
        else
            closed(&rsp, c->root_path, err);
        gl_response_release(&rsp);
        if (err->code)
            return -1;
    }
    return gs_fail(err, GS_E_REMOTE, "the server refuses to export '%s' in any form", c->root_path);
}

static const char *no_need_to_try(const struct capture *c)
{
    if (c->o.instance && c->o.instance->scopes_known && !c->o.instance->scope_api)
        return "the token lacks the scope 'api', which an export needs";
    if (c->role && strcmp(c->role, "owner") != 0 && strcmp(c->role, "admin") != 0)
        return "the token's user is not an Owner of the group, which an export needs";
    return NULL;
}

int relations_begin(struct relations *r, bool *out_open, struct gs_err *err)
{
    struct capture *c = r->cap;
    struct staging_export e;
    struct staging_file_info kept = {0};
    char name[64];
    bool found = false;
    *out_open = true;
    snprintf(name, sizeof name, "%" PRId64 ".export.json", c->root_id);
    if (staging_export_get(c->o.staging, c->root_id, &e, &found, err) ||
        (!found && staging_file_have(c->o.staging, name, &kept, &found, err)))
        return -1;
    staging_file_info_release(&kept);
    if (found)
        return 0;
    struct gs_err why = {0};
    const char *no = no_need_to_try(c);
    if (no)
        gs_fail(&why, c->o.instance && c->o.instance->scopes_known && !c->o.instance->scope_api ? GS_E_SCOPE : GS_E_FORBIDDEN, "%s", no);
    else if (start_root(r, &why) == 0)
        return 0;
    bool refused = why.code == GS_E_EXPORT_OFF || why.code == GS_E_FORBIDDEN || why.code == GS_E_SCOPE || why.code == GS_E_REFUSED ||
                   (why.code == GS_E_REMOTE && why.http == 0) || (why.http >= 400 && !for_now(why.http));
    if (r->via != CAPTURE_AUTO || !refused || why.code == GS_E_TOKEN || why.code == GS_E_RATE) {
        *err = why;
        return -1;
    }
    *out_open = false;
    r->off = true;
    gs_logf(c->o.log, GS_LOG_INFO, "no relation exports, all is read over the API: %s", why.text);
    return book_fallback(c->book, c->root_id, "export", "relations", "api", why.text, err);
}

/* The whole group cannot be exported. */
static void refuse_group(struct rel_group *rg, const struct gs_err *why)
{
    gs_logf(rg->all->cap->o.log, GS_LOG_WARN, "group '%s' is not exported: %s", rg->g->full_path, why->text);
    rg->refused = true;
    rg->why = *why;
    rg->all->exporting--;
    rg->state = RG_SETTLED;
}

static void start_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct rel_group *rg = cookie;
    struct relations *r = rg->all;
    struct cap_group *g = rg->g;
    struct gs_err err = {0};
    int ret = 0;
    if (accepted(rsp, &err)) {
        rg->starts++;
        rg->state = RG_EXPORTING;
        rg->again = false;
        rg->interval_ms = POLL_MIN_MS;
        rg->next_poll_ms = gs_mono_ms() + POLL_MIN_MS;
        rg->progress_ms = gs_mono_ms();
        rg->quiet_since_ms = rg->restart_at_ms = 0;
        ret = note_start(r, g->id, rg->server_start_ms, rsp, rg->asked_batched, rg->starts, &rg->server_start_ms, &err);
    } else if (err.code) {
        ret = gs_wrap(&err, "group '%s'", g->full_path);
    } else if (rsp->outcome != GL_ANSWERED || rsp->err.code == GS_E_TOKEN || rsp->err.code == GS_E_RATE || for_now(rsp->status)) {
        err = rsp->err;
        ret = gs_wrap(&err, "start of the export of '%s'", g->full_path);
    } else if (rsp->status == 400 && rg->asked_batched) {
        r->batches_refused = true;
        rg->state = RG_QUEUED;
        r->exporting--;
    } else {
        struct gs_err why = {0};
        closed(rsp, g->full_path, &why);
        if (rg->starts == 0 && rg->n_items == 0) {
            refuse_group(rg, &why);
        } else { /* some of it was shown before, and is here or on its way: what is missing has failed */
            rg->state = RG_EXPORTING;
            rg->again = false;
            for (size_t i = 0; i < rg->n_items; i++)
                if (rg->items[i].phase == ITEM_WAIT) {
                    rg->items[i].phase = ITEM_FAILED;
                    if (rg->items[i].why.code == GS_OK)
                        rg->items[i].why = why;
                }
        }
    }
    if (ret)
        cap_fail_live(r->cap, &err);
    cap_end(g);
}

static int start_export(struct rel_group *rg, struct gs_err *err)
{
    struct relations *r = rg->all;
    rg->asked_batched = want_batches(r);
    struct gl_request *req = gl_export_start(rg->g->id, rg->asked_batched);
    if (!req)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    req->tag = (struct gl_tag){rg->g->id, "export"};
    req->done = start_done;
    req->cookie = rg;
    if (rg->state == RG_QUEUED)
        r->exporting++;
    rg->state = RG_STARTING;
    rg->server_start_ms = server_now(r);
    cap_begin(rg->g);
    if (gl_submit(r->cap->client, req, err) == 0)
        return 0;
    cap_end(rg->g);
    return -1;
}

/* ---- status ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8)
        h = (h ^ (v & 255)) * 1099511628211u;
    return h;
}

static uint64_t sign(const struct gl_export_status *s)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < s->n; i++) {
        const struct gl_export_relation *x = &s->v[i];
        for (const char *c = x->name; *c; c++)
            h = mix(h, (unsigned char)*c);
        h = mix(mix(mix(h, (uint64_t)x->state), (uint64_t)x->updated_ms), x->n_told);
        for (size_t k = 0; k < x->n_told; k++)
            h = mix(h, (uint64_t)x->batches[k].state);
    }
    return h;
}

static const struct gl_export_batch *failed_batch(const struct gl_export_relation *x)
{
    for (size_t i = 0; i < x->n_told; i++)
        if (x->batches[i].state == GL_EXPORT_FAILED)
            return &x->batches[i];
    return NULL;
}

/* It failed at the server: once more, and then for good. */
static void item_failed_there(struct rel_group *rg, struct rel_item *it, const struct gl_export_relation *x, const char *why)
{
    int64_t when = x->updated_ms ? x->updated_ms : -1;
    if (it->failures > 0 && it->failed_ms == when && when != -1)
        return; /* the failure that was seen already */
    it->failures++;
    it->failed_ms = when;
    gs_err_clear(&it->why);
    gs_fail(&it->why, GS_E_EXPORT_FAILED, "the export failed at the source: %s", *why ? why : "without a reason");
    if (it->failures > 1 || rg->starts >= MAX_STARTS)
        it->phase = ITEM_FAILED;
    else
        rg->again = true;
}

/* An export that is older than our request: when will it be redone? */
static void item_old(struct rel_group *rg, const struct gl_export_relation *x)
{
    struct relations *r = rg->all;
    if (rg->server_start_ms - x->updated_ms >= REDO_MS)
        return; /* the server will come to it */
    int64_t at = gs_mono_ms() + (x->updated_ms + REDO_MS + SLACK_MS - server_now(r));
    if (!rg->told_wait)
        gs_logf(r->cap->o.log, GS_LOG_INFO, "'%s' was exported a moment before; waiting %" PRId64 " s until it can be exported anew",
                rg->g->full_path, (at - gs_mono_ms() + 999) / 1000);
    rg->told_wait = true;
    if (at > rg->restart_at_ms)
        rg->restart_at_ms = at;
}

/* Left over from when the server was of the other edition: this one makes it no more. */
static bool of_another_edition(const struct relations *r, const char *name)
{
    const struct gl_instance *v = r->cap->o.instance;
    for (size_t i = 0; i < GS_COUNT(expected); i++)
        if (v && v->enterprise == 0 && expected[i].enterprise && strcmp(expected[i].name, name) == 0)
            return true;
    return false;
}

static int look_at(struct rel_group *rg, const struct gl_export_relation *x, struct gs_err *err)
{
    if (x->updated_ms > 0 && x->updated_ms < rg->server_start_ms && of_another_edition(rg->all, x->name))
        return 0;
    struct rel_item *it = rel_item_need(rg, x->name);
    if (!it)
        return gs_fail(err, GS_E_LIMIT, "the export of '%s' has more than %d relations", rg->g->full_path, REL_MAX_ITEMS);
    if (it->phase != ITEM_WAIT)
        return 0;
    bool old = x->updated_ms > 0 && x->updated_ms < rg->server_start_ms;
    const struct gl_export_batch *bad = failed_batch(x);
    if (x->state == GL_EXPORT_FINISHED && old)
        item_old(rg, x);
    if (old || x->state == GL_EXPORT_STARTED || x->state == GL_EXPORT_PENDING)
        return 0;
    if (x->state == GL_EXPORT_FAILED || bad) {
        item_failed_there(rg, it, x, x->error[0] || !bad ? x->error : bad->error);
        return 0;
    }
    it->phase = ITEM_DOWNLOAD;
    it->updated_ms = x->updated_ms;
    it->batched = x->batched;
    it->n_batches = x->batched ? x->n_batches : 1;
    it->open_ended = false;
    it->next_batch = 0;
    it->objects = x->objects;
    return 0;
}

static bool is_expected(const struct relations *r, size_t i)
{
    const struct gl_instance *v = r->cap->o.instance;
    return v && gl_instance_at_least(v, expected[i].major, expected[i].minor) && (!expected[i].enterprise || v->enterprise == 1);
}

static bool something_missing(struct rel_group *rg)
{
    const struct relations *r = rg->all;
    if (r->n_known > 0) {
        for (size_t i = 0; i < r->n_known; i++)
            if (!rel_item(rg, r->known[i]))
                return true;
        return false;
    }
    for (size_t i = 0; i < GS_COUNT(expected); i++)
        if (is_expected(r, i) && !rel_item(rg, expected[i].name))
            return true;
    return false;
}

static void learn(struct rel_group *rg)
{
    struct relations *r = rg->all;
    for (size_t i = 0; r->n_known < REL_MAX_ITEMS && i < rg->n_items; i++)
        if (!relations_knows(r->cap, rg->items[i].name))
            memcpy(r->known[r->n_known++], rg->items[i].name, sizeof r->known[0]);
}

static int settle(struct rel_group *rg, struct gs_err *err)
{
    struct relations *r = rg->all;
    if (r->n_known == 0)
        learn(rg);
    rg->state = RG_SETTLED;
    r->exporting--;
    return rel_group_note(rg, err);
}

/* All that is shown is final: is that all there will be? */
static int maybe_settle(struct rel_group *rg, struct gs_err *err)
{
    int64_t now = gs_mono_ms();
    bool waiting = rg->n_items == 0 || rg->again;
    for (size_t i = 0; i < rg->n_items; i++)
        waiting |= rg->items[i].phase == ITEM_WAIT;
    if (waiting) {
        rg->quiet_since_ms = 0;
        return 0;
    }
    if (rg->quiet_since_ms == 0)
        rg->quiet_since_ms = now;
    if (something_missing(rg) && now - rg->quiet_since_ms < QUIET_MS)
        return 0;
    return settle(rg, err);
}

static int look_at_status(struct rel_group *rg, const struct gl_response *rsp, struct gs_err *err)
{
    struct gl_export_status s;
    if (gl_export_status_parse(gs_buf_str(&rsp->body), rsp->body.len, &s, err))
        return gs_wrap(err, "group '%s'", rg->g->full_path);
    uint64_t signature = sign(&s);
    int64_t now = gs_mono_ms();
    if (signature != rg->signature) {
        rg->signature = signature;
        rg->progress_ms = now;
        rg->interval_ms = rg->interval_ms / 2 < POLL_MIN_MS ? POLL_MIN_MS : rg->interval_ms / 2;
    } else {
        rg->interval_ms = rg->interval_ms * 3 / 2 > POLL_MAX_MS ? POLL_MAX_MS : rg->interval_ms * 3 / 2;
    }
    rg->next_poll_ms = now + rg->interval_ms;
    rg->restart_at_ms = 0;
    int r = 0;
    /* an export of an earlier run that the server does not know any more */
    if (s.n == 0 && rg->resumed && server_now(rg->all) - rg->server_start_ms > 60000)
        rg->again = true;
    for (size_t i = 0; i < s.n && r == 0; i++)
        r = look_at(rg, &s.v[i], err);
    gl_export_status_release(&s);
    rg->again |= rg->stalled && rg->n_items == 0;
    for (size_t i = 0; rg->stalled && i < rg->n_items; i++)
        rg->again |= rg->items[i].phase == ITEM_WAIT;
    rg->stalled = false;
    return r ? r : maybe_settle(rg, err);
}

static void poll_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct rel_group *rg = cookie;
    struct relations *r = rg->all;
    struct cap_group *g = rg->g;
    struct gs_err err = {0};
    int ret = 0;
    rg->polling = false;
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300 && rsp->err.code == GS_OK) {
        ret = look_at_status(rg, rsp, &err);
    } else if (rsp->outcome == GL_ANSWERED && (rsp->status == 404 || rsp->status == 403) && rg->n_items == 0) {
        struct gs_err why = {0};
        closed(rsp, g->full_path, &why);
        refuse_group(rg, &why);
    } else {
        err = rsp->err;
        ret = gs_wrap(&err, "status of the export of '%s'", g->full_path);
    }
    if (ret)
        cap_fail_live(r->cap, &err);
    cap_end(g);
}

static int poll_status(struct rel_group *rg, struct gs_err *err)
{
    struct gl_request *req = gl_export_poll(rg->g->id);
    if (!req)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    req->tag = (struct gl_tag){rg->g->id, "export"};
    req->done = poll_done;
    req->cookie = rg;
    rg->polling = true;
    cap_begin(rg->g);
    if (gl_submit(rg->all->cap->client, req, err) == 0)
        return 0;
    rg->polling = false;
    cap_end(rg->g);
    return -1;
}

/* ---- downloads ---- */

static int on_data(void *cookie, const void *data, size_t len, struct gs_err *err)
{
    struct rel_download *d = cookie;
    if (gl_gzip_check(&d->head, data, len, err))
        return -1;
    if (staging_file_size(d->file) + len > DOWNLOAD_MAX)
        return gs_fail(err, GS_E_LIMIT, "the export of '%s' is larger than 5 GiB", d->item->name);
    return staging_file_write(d->file, data, len, err);
}

static int on_restart(void *cookie, struct gs_err *err)
{
    struct rel_download *d = cookie;
    d->head = (struct gl_gzip_head){0};
    return staging_file_restart(d->file, err);
}

void rel_download_again(struct rel_item *it)
{
    it->phase = ITEM_DOWNLOAD;
    it->next_batch = 0;
}

/* Back to the server: the file is not there, or is another one now. */
static int file_gone(struct rel_item *it, const struct gs_err *why, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    struct relations *r = rg->all;
    it->why = *why;
    if (++it->gone > 3) {
        it->phase = ITEM_FAILED;
        return 0;
    }
    it->phase = ITEM_WAIT;
    it->next_batch = 0;
    if (rg->state == RG_SETTLED) {
        rg->state = RG_EXPORTING;
        r->exporting++;
        if (rel_group_forget(rg, err))
            return -1;
    }
    rg->next_poll_ms = gs_mono_ms() + POLL_MIN_MS;
    rg->interval_ms = POLL_MIN_MS;
    rg->progress_ms = gs_mono_ms();
    /* the second time it is no other run that exports just now: the file has expired or was lost */
    if (it->gone == 2)
        rg->again = true;
    return 0;
}

static int download_refused(struct rel_download *d, const struct gl_response *rsp, struct gs_err *err)
{
    struct rel_item *it = d->item;
    switch (gl_export_refusal(rsp, true)) {
    case GL_EXPORT_IS_BATCHED:
        it->batched = it->open_ended = true;
        it->next_batch = 0;
        it->n_batches = 1;
        return 0;
    case GL_EXPORT_NO_BATCHES:
        if (!it->batched)
            break;
        it->batched = it->open_ended = false;
        it->next_batch = 0;
        it->n_batches = 1;
        return 0;
    case GL_EXPORT_GONE:
        if (it->open_ended && d->batch > 1) { /* there are no more */
            it->n_batches = d->batch - 1;
            it->open_ended = false;
            return 0;
        }
        return file_gone(it, &rsp->err, err);
    default:
        break;
    }
    it->why = rsp->err;
    it->phase = ITEM_FAILED;
    return 0;
}

static int downloaded(struct rel_download *d, const struct gl_response *rsp, struct gs_err *err)
{
    struct rel_item *it = d->item;
    struct gl_tag tag = {it->rg->g->id, it->name};
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300 && rsp->err.code == GS_OK) {
        if (it->open_ended)
            it->n_batches++;
        return staging_file_commit(gs_steal(&d->file), tag, 0, NULL, err);
    }
    if (it->phase != ITEM_DOWNLOAD || it->next_batch == 0)
        return 0; /* another file of it was refused before, and what was asked for then is no matter any more */
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 400 && rsp->err.code != GS_E_TOKEN && rsp->err.code != GS_E_RATE)
        return download_refused(d, rsp, err);
    /* an answer that began and never came whole, or is no gzip: that of this file, not of the server */
    bool ours = rsp->err.code == GS_E_DISK_FULL || rsp->err.code == GS_E_IO || rsp->err.code == GS_E_NOMEM ||
                rsp->err.code == GS_E_STOPPED || rsp->err.code == GS_E_TOKEN || rsp->err.code == GS_E_RATE;
    if (!ours && rsp->status >= 200 && rsp->status < 300) {
        it->why = rsp->err;
        it->phase = ITEM_FAILED;
        return 0;
    }
    *err = rsp->err;
    return -1;
}

static void download_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct rel_download *d = cookie;
    struct rel_item *it = d->item;
    struct capture *c = it->rg->all->cap;
    struct cap_group *g = it->rg->g;
    struct gs_err err = {0};
    it->in_flight--;
    it->rg->all->downloading--;
    if (!c->failed && downloaded(d, rsp, &err))
        cap_fail_live(c, &err);
    staging_file_abandon(d->file);
    free(d);
    cap_end(g);
}

static int download(struct rel_item *it, unsigned batch, struct gs_err *err)
{
    struct rel_group *rg = it->rg;
    struct relations *r = rg->all;
    char name[200];
    struct gl_request *req = gl_export_download(rg->g->id, it->name, batch);
    struct rel_download *d = calloc(1, sizeof *d);
    rel_file_name(it, batch, name, sizeof name);
    if (!req || !d || staging_file_begin(r->cap->o.staging, name, &d->file, err)) {
        if (!req || !d)
            gs_fail(err, GS_E_NOMEM, "no memory for a request");
        gl_request_free(req);
        free(d);
        return -1;
    }
    d->item = it;
    d->batch = batch;
    req->tag = (struct gl_tag){rg->g->id, it->name};
    req->sink = on_data;
    req->sink_restart = on_restart;
    req->done = download_done;
    req->cookie = d;
    it->in_flight++;
    r->downloading++;
    cap_begin(rg->g);
    if (gl_submit(r->cap->client, req, err) == 0)
        return 0;
    it->in_flight--;
    r->downloading--;
    cap_end(rg->g);
    staging_file_abandon(d->file);
    free(d);
    return -1;
}

/* Asks for files that are not here, as many as may be on the wire. */
static int download_more(struct rel_item *it, unsigned max, struct gs_err *err)
{
    struct relations *r = it->rg->all;
    /* it begins anew: answers to what was asked for before must not be taken for the new ones, nor be written into the same file */
    if (it->next_batch == 0 && it->in_flight > 0)
        return 0;
    while (it->phase == ITEM_DOWNLOAD && it->next_batch < it->n_batches) {
        unsigned batch = it->batched ? it->next_batch + 1 : 0;
        struct staging_file_info info = {0};
        char name[200];
        bool have = false;
        rel_file_name(it, batch, name, sizeof name);
        if (staging_file_have(r->cap->o.staging, name, &info, &have, err))
            return -1;
        staging_file_info_release(&info);
        if (have) {
            r->cap->kept_files++;
            it->n_batches += it->open_ended;
        } else if (r->downloading >= max) {
            return 0;
        } else if (download(it, batch, err)) {
            return -1;
        }
        it->next_batch++;
        if (it->open_ended && !have)
            break; /* one after the other */
    }
    if (it->phase == ITEM_DOWNLOAD && it->in_flight == 0 && it->next_batch >= it->n_batches)
        it->phase = ITEM_FETCHED;
    return 0;
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
            learn(rg);
    } else if (found) {
        rg->state = RG_EXPORTING;
        rg->starts = !rg->stalled;
        rg->resumed = staging_run(r->cap->o.staging) > 1;
        if (!rg->stalled) {
            rg->asked_batched = e.batched;
            rg->server_start_ms = e.server_started_ms;
        }
        rg->interval_ms = POLL_MIN_MS;
        rg->next_poll_ms = gs_mono_ms() + (rg->resumed ? 0 : POLL_MIN_MS);
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
        refuse_group(rg, &why);
        return 0;
    }
    for (size_t i = 0; i < rg->n_items; i++)
        if (rg->items[i].phase == ITEM_WAIT) {
            rg->items[i].phase = ITEM_FAILED;
            rg->items[i].why = why;
        }
    rg->again = false;
    return settle(rg, err);
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
        if (rg->starts >= MAX_STARTS)
            rg->again = false;
        else
            return start_export(rg, err);
    }
    if (rg->restart_at_ms && now >= rg->restart_at_ms && idle(rg)) {
        rg->restart_at_ms = 0;
        rg->starts--; /* this one was none */
        return start_export(rg, err);
    }
    if (timeout > 0 && now - rg->progress_ms > timeout)
        return give_up(rg, err);
    if (!rg->polling && now >= rg->next_poll_ms)
        return poll_status(rg, err);
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
        if (rg->state == RG_QUEUED && r->exporting < MAX_EXPORTING && start_export(rg, err))
            return -1;
        if (rg->state == RG_EXPORTING && tick_exporting(rg, now, out_wait_ms, err))
            return -1;
        for (size_t i = 0; i < rg->n_items; i++)
            if (rg->items[i].phase == ITEM_DOWNLOAD && download_more(&rg->items[i], max, err))
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
