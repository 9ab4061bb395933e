#include "cmd/replay/books_run.h"

#include "libreplay/report.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void progress(void *cookie, const struct capture_progress *p)
{
    cli_progress(cookie, "reading the target: %s of %s%s groups, %s records, %s requests", cli_count(p->groups_done),
                 cli_count(p->groups_found), p->discovering ? "+" : "", cli_count(p->records), cli_count(p->http.requests));
}

/* The state of the load. *out_loaded: it loaded something. */
static int open_state(struct session *s, const struct books_opts *o, bool *out_used, bool *out_loaded, struct gs_err *err)
{
    struct state_tally t;
    *out_loaded = false;
    *out_used = !o->no_state && !o->bundle && access(s->state_path, F_OK) == 0;
    if (*out_used) {
        if (state_open(s->state_path, STATE_READ, &s->state, err) ||
            plan_check(s->state, s->bundle, gl_client_url(s->client), 0, NULL, err) || state_tally(s->state, &t, err))
            return -1;
        *out_loaded = t.done > 0;
        return 0;
    }
    return o->args->state && !o->no_state ? gs_fail(err, GS_E_NOT_FOUND, "state file '%s' is not there", o->args->state) : 0;
}

/* Without it a plan of one, made only to know which group is which and who is whom. */
static int make_plan(struct session *s, const char *work, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("%s/" READBACK_PLAN, work);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return session_state(s, path, err) || session_plan(s, err) ? -1 : 0;
}

/* By its id the root is found also where somebody renamed it. */
static int find_root(struct session *s, char **out, struct gs_err *err)
{
    const struct bundle_group *g;
    struct grp root = {0};
    if (bundle_groups(s->bundle, &g) == 0 || state_grp(s->state, g[0].id, &root, err))
        return err->code ? -1 : gs_fail(err, GS_E_INTERNAL, "a bundle without groups");
    *out = root.target_id ? gs_asprintf("%lld", (long long)root.target_id) : root.dst_path ? strdup(root.dst_path) : NULL;
    grp_release(&root);
    return *out ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a path");
}

#define EARLY 5 /* requests that leave first: three ask who the target is, then the root and its tree */

/* The state file knows which groups are there: some of them are asked for at once, as many as there are places on the wire. */
static int ask_groups(struct session *s, unsigned jobs, struct capture_ahead *ahead, struct gs_err *err)
{
    const struct bundle_group *g;
    size_t n = bundle_groups(s->bundle, &g), found = 0;
    size_t max = jobs > EARLY ? jobs - EARLY : 0;
    gs_autofree int64_t *ids = calloc(max + 1, sizeof *ids);
    if (!ids)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", max);
    for (size_t i = 1; i < n && found < max; i++) {
        struct grp one = {0};
        if (state_grp(s->state, g[i].id, &one, err))
            return -1;
        ids[found] = one.target_id;
        found += one.target_id != 0;
        grp_release(&one);
    }
    return capture_ask_groups(ahead, s->client, ids, found, err);
}

/*
 * Asks the target who it is, and finds the root there. What a state file says of the root is enough to ask for it and its tree at the same
 * time; with a single job nothing travels together.
 */
static int find_target(struct session *s, const struct books_opts *o, const char *work, bool used, struct capture_ahead **ahead, char **out_root,
                       struct gs_err *err)
{
    if (used)
        return find_root(s, out_root, err) || capture_ask_ahead(s->client, *out_root, o->remote->jobs != 1, ahead, err) ||
                       ask_groups(s, o->remote->jobs, *ahead, err) || session_probe(s, true, err)
                   ? -1
                   : 0;
    return session_probe(s, true, err) || make_plan(s, work, err) || find_root(s, out_root, err) ? -1 : 0;
}

static int missing_there(struct gs_err *err, bool native)
{
    return gs_wrap(err, native ? "reading back what was imported"
                               : "reading back what was loaded (who loaded leaves the groups at the end: give a token of one who sees them)");
}

int books_run(struct books *b, struct gl_client *client, int *out_exit, struct gs_err *err)
{
    struct cli *cli = b->cli;
    const struct books_opts *o = b->o;
    struct session *s = &b->s;
    bool used, loaded;
    gs_autofree char *root = NULL;
    struct reconcile_result res = {0};
    if (o->bundle)
        s->client = client;
    if (open_state(s, o, &used, &loaded, err) || find_target(s, o, b->read.dir, used, &b->ahead, &root, err))
        return -1;
    GS_AUTO(early) early = NULL;
    if (early_start(s->state, s->bundle, loaded, &early, err))
        return -1;
    struct readback_opts ro = {.record = early_record, .record_cookie = early, .client = s->client, .instance = &s->target, .group = root,
                               .ahead = b->ahead, .jobs = o->remote->jobs, .log = &cli->log, .stop = &cli_stop, .progress = progress, .cookie = cli};
    int r = readback_run(&b->read, &ro, err);
    early_wait(early);
    cli_progress_end(cli);
    if (r && err->code == GS_E_GROUP_NOT_FOUND)
        return missing_there(err, o->native.by != NATIVE_NONE);
    if (r)
        return gs_wrap(err, "reading back group '%s'", root);
    struct books_head h = {.bundle = s->bundle, .bundle_path = s->bundle_path, .state_path = used ? s->state_path : NULL,
                           .target_url = gl_client_url(s->client), .target = &s->target, .read = &b->read, .importer = o->native.by};
    struct reconcile_opts co = {.state = s->state, .loaded = loaded, .native = o->native, .bundle = s->bundle, .target = b->read.target,
                                .early = early, .ignore = o->ignore.v, .n_ignore = o->ignore.n, .stop = &cli_stop,
                                .item = books_out_item, .row = books_out_row, .cookie = &b->out};
    co.native.target_version = s->target.version;
    if (!co.native.source_version)
        co.native.source_version = gs_json_str(yyjson_obj_get(bundle_manifest(s->bundle), "source"), "version");
    r = books_out_head(&b->out, &h, err) || report_begin(s->state, err); /* reading the target may have taken its time */
    if (!r) {
        r = reconcile_run(&co, &res, err);
        report_end(s->state);
    }
    *out_exit = books_balance(&res.total) ? 3 : 0;
    if (!r)
        r = books_out_end(&b->out, &h, &res, *out_exit, err);
    reconcile_release(&res);
    return r ? -1 : 0;
}

int books_open(struct books *b, struct cli *cli, const struct books_opts *o, struct gs_err *err)
{
    *b = (struct books){.cli = cli, .o = o, .read = {.lock = -1}, .out = {.stage = {.fd = -1}}};
    if (o->bundle ? session_borrow(&b->s, cli, o->args, o->bundle, o->file, err)
                  : session_files(&b->s, cli, o->remote, o->trust, o->args, o->file, err))
        return -1;
    gs_autofree char *work = o->work ? strdup(o->work) : gs_asprintf("%s.reconcile", b->s.state_path);
    if (!work)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return readback_open(work, &b->read, err) || books_out_open(&b->out, cli, o->books, o->csv, o->all, err) ? -1 : 0;
}

void books_close(struct books *b)
{
    books_out_close(&b->out);
    session_close(&b->s);
    capture_ahead_free(b->ahead);
    readback_close(&b->read);
    b->ahead = NULL;
}
