/* The exports at the server: whether it gives any, how one is started, and what its status says. */
#include "libexport/relations_priv.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MAX_MS 10000
#define QUIET_MS 30000       /* so long all that is shown is final, and something that should be there is not */
#define REDO_MS (180 * 1000) /* GitLab does not export again what it finished less than that ago */
#define SLACK_MS 2000        /* the Date header has no milliseconds, and clocks differ */

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
void rel_refuse_group(struct rel_group *rg, const struct gs_err *why)
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
        rg->interval_ms = REL_POLL_MIN_MS;
        rg->next_poll_ms = gs_mono_ms() + REL_POLL_MIN_MS;
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
            rel_refuse_group(rg, &why);
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

int rel_start_export(struct rel_group *rg, struct gs_err *err)
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
    if (it->failures > 1 || rg->starts >= REL_MAX_STARTS)
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

void rel_learn(struct rel_group *rg)
{
    struct relations *r = rg->all;
    for (size_t i = 0; r->n_known < REL_MAX_ITEMS && i < rg->n_items; i++)
        if (!relations_knows(r->cap, rg->items[i].name))
            memcpy(r->known[r->n_known++], rg->items[i].name, sizeof r->known[0]);
}

int rel_settle(struct rel_group *rg, struct gs_err *err)
{
    struct relations *r = rg->all;
    if (r->n_known == 0)
        rel_learn(rg);
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
    return rel_settle(rg, err);
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
        rg->interval_ms = rg->interval_ms / 2 < REL_POLL_MIN_MS ? REL_POLL_MIN_MS : rg->interval_ms / 2;
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
        rel_refuse_group(rg, &why);
    } else {
        err = rsp->err;
        ret = gs_wrap(&err, "status of the export of '%s'", g->full_path);
    }
    if (ret)
        cap_fail_live(r->cap, &err);
    cap_end(g);
}

int rel_poll_status(struct rel_group *rg, struct gs_err *err)
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
