/* The files of exports: downloaded, a few at a time, and what a file that is not there means. */
#include "libexport/relations_priv.h"

#include "libcommon/clock.h"

#include <string.h>

#define DOWNLOAD_MAX ((uint64_t)5 << 30) /* GitLab's own limit of one file */

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
    rg->next_poll_ms = gs_mono_ms() + REL_POLL_MIN_MS;
    rg->interval_ms = REL_POLL_MIN_MS;
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

int rel_download_more(struct rel_item *it, unsigned max, struct gs_err *err)
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
