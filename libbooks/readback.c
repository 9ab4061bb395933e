#include "libbooks/readback.h"

#include "libcommon/clock.h"
#include "libcommon/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The folder, for this run alone. */
static int take_folder(const char *dir, int *out_fd, struct gs_err *err)
{
    if (mkdir(dir, 0700) && errno != EEXIST)
        return gs_fail_sys(err, GS_E_IO, errno, "making '%s'", dir);
    gs_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", dir);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return errno == EWOULDBLOCK ? gs_fail(err, GS_E_LOCKED, "another run works in '%s'", dir)
                                    : gs_fail_sys(err, GS_E_IO, errno, "locking '%s'", dir);
    *out_fd = gs_steal_fd(&fd);
    return 0;
}

/* A signature is part of the format; the key is of this moment, and nobody has it. */
static int finish(struct bundle_writer *w, const struct bundle_meta *meta, const char *file, struct gs_err *err)
{
    GS_AUTO(sign_seckey) key = NULL;
    struct sign_pubkey pub;
    if (sign_seckey_new(&key, &pub, err))
        return -1;
    const struct sign_seckey *keys[] = {key};
    return bundle_writer_finish(w, meta, keys, 1, file, true, err);
}

static int read_target(const struct readback_opts *o, const char *work, const char *file, struct readback *out, struct gs_err *err)
{
    GS_AUTO(bundle_writer) w = NULL;
    GS_AUTO(capture) c = NULL;
    struct bundle_meta meta = {0};
    /* read back at once and thrown away: small is worth less than fast */
    struct bundle_writer_opts wo = {.encoding = RECORD_NDJSON, .level = 1};
    struct capture_opts co = {.client = o->client, .instance = o->instance, .group = o->group, .once = true, .reproducible = true,
                              .jobs = o->jobs, .via = CAPTURE_API, .ahead = o->ahead, .record = o->record, .record_cookie = o->record_cookie, .log = o->log, .stop = o->stop, .progress = o->progress,
                              .cookie = o->cookie};
    if (bundle_writer_new(work, &wo, &w, err) || capture_new(&co, w, &c, err) || capture_run(c, err))
        return -1;
    capture_meta(c, &meta);
    struct bundle_opts look = {.no_verify = true};
    if (finish(w, &meta, file, err) || bundle_open(file, &look, &out->target, err))
        return -1;
    out->began_ms = meta.started_at_ms;
    out->ended_ms = meta.finished_at_ms;
    gl_client_stats(o->client, &out->http);
    return 0;
}

/* What lies in the folder; it stays itself, since its lock is on it. */
static int sweep(const char *dir, struct gs_err *err)
{
    static const char *const parts[] = {"work", "target.gsnap", READBACK_PLAN, READBACK_PLAN "-wal", READBACK_PLAN "-shm"};
    for (size_t i = 0; i < GS_COUNT(parts); i++) {
        gs_autofree char *one = gs_asprintf("%s/%s", dir, parts[i]);
        if (!one)
            return gs_fail(err, GS_E_NOMEM, "no memory for a path");
        if (gs_remove_tree(one, err))
            return -1;
    }
    return 0;
}

int readback_open(const char *dir, struct readback *out, struct gs_err *err)
{
    *out = (struct readback){.lock = -1};
    if (take_folder(dir, &out->lock, err))
        return -1;
    out->dir = strdup(dir);
    if (!out->dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return sweep(dir, err);
}

int readback_run(struct readback *r, const struct readback_opts *o, struct gs_err *err)
{
    gs_autofree char *work = gs_asprintf("%s/work", r->dir);
    gs_autofree char *file = gs_asprintf("%s/target.gsnap", r->dir);
    if (!work || !file)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return read_target(o, work, file, r, err);
}

void readback_close(struct readback *r)
{
    struct gs_err ignored = {0};
    bundle_close(r->target);
    if (r->dir)
        GS_IGNORE(gs_remove_tree(r->dir, &ignored), "what is left there is only in the way of the next run, which removes it");
    if (r->lock >= 0)
        close(r->lock);
    free(r->dir);
    *r = (struct readback){.lock = -1};
}
