/* snap create: captures a group tree into a bundle. */
#include "cmd/snap/capture_status.h"
#include "cmd/snap/output.h"
#include "cmd/snap/verbs.h"
#include "cmd/snap/withhold.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libexport/capture.h"
#include "libexport/staging.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the order of the choices of --via. */
static const enum capture_via ways[] = {CAPTURE_AUTO, CAPTURE_API, CAPTURE_RELATIONS};

struct opts {
    struct cli_remote r;
    struct cli_key key;
    struct cli_seal seal;
    struct snap_output_opts out;
    const char *policy;
    int via;
    unsigned export_timeout;
    bool no_subgroups, fresh;
    unsigned until_stable;
};

static const struct cli_opt opts[] = {
    {.name = "via", .type = CLI_CHOICE, .offset = offsetof(struct opts, via), .arg = "WAY", .choices = "auto|api|relations",
     .help = "how the source is read: by GitLab's relation exports (relations), over REST and GraphQL (api), or by exports\n"
             "where they are open and over the API where they are not (auto)"},
    {.name = "export-timeout", .type = CLI_UINT, .offset = offsetof(struct opts, export_timeout), .arg = "SECONDS", .min = 1,
     .help = "give an export up that makes no progress for so long, 5400 unless told otherwise"},
    {.name = "policy", .letter = 'p', .type = CLI_STR, .offset = offsetof(struct opts, policy), .arg = "FILE",
     .help = "withhold what this policy says, as 'redact' does"},
    {.name = "no-subgroups", .type = CLI_FLAG, .offset = offsetof(struct opts, no_subgroups),
     .help = "only the group itself"},
    {.name = "fresh", .type = CLI_FLAG, .offset = offsetof(struct opts, fresh),
     .help = "throw away what a stopped capture to FILE has received, and begin anew"},
    {.name = "until-stable", .type = CLI_UINT, .offset = offsetof(struct opts, until_stable), .arg = "N", .min = 1, .max = 1000,
     .help = "when the source moved meanwhile, read what moved once more, up to N times, until nothing moves"},
    {0},
};

static const struct cli_part parts[] = {{cli_opts_remote, 0},
                                        {cli_opts_key, offsetof(struct opts, key)},
                                        {cli_opts_seal, offsetof(struct opts, seal)},
                                        {snap_output_opts_table, offsetof(struct opts, out)},
                                        {0}};

struct screen {
    struct cli *cli;
    struct staging *staging;
    const char *file;
    int64_t begun_ms;
};

/* How long it will still take, judged by the groups; "" while that cannot be said. */
static const char *time_left(const struct capture_progress *p, int64_t ms, char *out, size_t cap)
{
    out[0] = 0;
    if (!p->discovering && p->groups_done > 0 && p->groups_done < p->groups_found && ms > 2000)
        snprintf(out, cap, ", about %s left",
                 cli_span((int64_t)((double)ms / (double)p->groups_done * (double)(p->groups_found - p->groups_done))));
    return out;
}

static void add_line(void *cookie, const char *text)
{
    struct gs_err err = {0};
    GS_IGNORE(gs_buf_addf(cookie, &err, "%s\n", text), "it is only talk");
}

/* SIGUSR1: what `snap status` would say. */
static void answer_asking(struct screen *s)
{
    struct staging_status st;
    struct gs_err err = {0};
    cli_asked = 0;
    if (staging_status(s->staging, &st, &err)) {
        cli_warn(s->cli, "%s", err.text);
        return;
    }
    gs_autobuf text;
    gs_buf_init(&text, 1 << 20);
    capture_status_lines(&st, s->file, add_line, &text);
    cli_err_text(s->cli, gs_buf_str(&text));
    staging_status_release(&st);
}

static void progress(void *cookie, const struct capture_progress *p)
{
    struct screen *s = cookie;
    if (cli_asked)
        answer_asking(s);
    if (p->looking) {
        cli_progress(s->cli, "everything was read; looking for changes: %s of %s groups", cli_count(p->groups_looked),
                     cli_count(p->groups_found));
        return;
    }
    int64_t ms = gs_mono_ms() - s->begun_ms;
    uint64_t rate = ms > 0 ? p->records * 1000 / (uint64_t)ms : 0;
    char limit[64] = "", left[64];
    if (p->http.rate_per_min > 0)
        snprintf(limit, sizeof limit, ", limit %s/min", cli_count((uint64_t)p->http.rate_per_min));
    if (p->exporting > 0 || p->downloading > 0)
        cli_progress(s->cli, "%s of %s%s groups, %s records, %s/s; the source exports %u groups, %u files are coming%s",
                     cli_count(p->groups_done), cli_count(p->groups_found), p->discovering ? "+" : "", cli_count(p->records),
                     cli_count(rate), p->exporting, p->downloading, limit);
    else if (p->http.paused_ms > 0)
        cli_progress(s->cli, "%s of %s%s groups, %s records, %s requests; the server asks to wait: %s%s",
                     cli_count(p->groups_done), cli_count(p->groups_found), p->discovering ? "+" : "", cli_count(p->records),
                     cli_count(p->http.requests), cli_span(p->http.paused_ms), limit);
    else
        cli_progress(s->cli, "%s of %s%s groups, %s records, %s/s, %s requests, %s repeated, %u of %u on the way%s%s",
                     cli_count(p->groups_done), cli_count(p->groups_found), p->discovering ? "+" : "", cli_count(p->records),
                     cli_count(rate), cli_count(p->http.requests), cli_count(p->http.retries), p->http.in_flight,
                     p->http.window, limit, time_left(p, ms, left, sizeof left));
}

/* The sentence that tells how to go on, behind what went wrong. */
static void say_kept(struct gs_err *err, const char *work)
{
    char cause[sizeof err->text];
    if (err->code == GS_E_STAGING_OTHER || err->code == GS_E_STAGING_DAMAGED)
        return;
    memcpy(cause, err->text, sizeof cause);
    snprintf(err->text, sizeof err->text,
             "%.380s; what was received is kept in '%.100s': the same command continues, with --fresh it begins anew", cause,
             work);
}

/* What moved after earlier passes. */
struct moves {
    struct book_change *v;
    size_t n;
};

static int add_moves(struct moves *m, const struct book_summary *s, unsigned pass, struct gs_err *err)
{
    struct book_change *v = realloc(m->v, (m->n + s->n_changes) * sizeof *v);
    if (!v)
        return gs_fail(err, GS_E_NOMEM, "no memory for what moved");
    m->v = v;
    for (size_t i = 0; i < s->n_changes; i++) {
        m->v[m->n] = s->changes[i];
        m->v[m->n++].pass = pass;
    }
    return 0;
}

/*
 * Passes over the source until nothing moved, or as many as are allowed. Each is a whole capture, with a writer of its own; but only
 * what moved is asked for again, the other answers are kept. The last one is left in *out_c.
 */
static int capture(struct cli *cli, const struct opts *o, struct capture_opts *co, struct snap_output *out, const char *dir,
                   struct moves *moves, struct capture **out_c, struct gs_err *err)
{
    for (co->pass = 1;; co->pass++) {
        GS_AUTO(capture) c = NULL;
        struct book_summary s;
        co->settled = moves->v;
        co->n_settled = moves->n;
        if ((co->pass > 1 && snap_output_begin(out, &o->out, dir, err)) ||
            capture_new(co, out->writer, &c, err) || capture_run(c, err))
            return -1;
        capture_summary(c, &s);
        if (s.changed == 0 || co->pass > o->until_stable) {
            *out_c = gs_steal(&c);
            return 0;
        }
        cli_note(cli, "%s relations of groups moved meanwhile: reading them again (pass %u of at most %u)", cli_count(s.changed),
                 co->pass + 1, o->until_stable + 1);
        if (add_moves(moves, &s, co->pass, err) || capture_forget(c, err))
            return -1;
        capture_free(gs_steal(&c));
        bundle_writer_free(gs_steal(&out->writer));
    }
}

/* The bundle stands: whatever happens to the folder now is no failure of the capture. */
static void remove_staging(struct cli *cli, struct snap_output *out, struct staging *st)
{
    struct gs_err err = {0};
    bundle_writer_free(gs_steal(&out->writer)); /* works in a folder of it */
    if (staging_remove(st, &err))
        cli_warn(cli, "the bundle is complete, but its work folder stays: %s", err.text);
}

/* The folder for what is received, and the writer that works in it. */
struct store {
    const struct opts *o;
    struct snap_output *out; /* of what is captured */
    struct snap_output *made; /* of what is made at FILE: the same without a policy */
    struct staging_opts so;
    struct staging *staging;
    char *dir; /* the writer's */
};

static void store_release(struct store *s)
{
    free(s->dir);
}

static int open_store(void *cookie, struct gs_err *err)
{
    struct store *s = cookie;
    if (staging_open(s->out->work, &s->so, &s->staging, err))
        return -1;
    /* with a policy two bundles are made there, one after the other */
    const char *pack = staging_pack_dir(s->staging);
    s->dir = s->o->policy ? gs_asprintf("%s/all", pack) : strdup(pack);
    if (!s->dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (s->o->policy && gs_mkdir(pack, err))
        return -1;
    return snap_output_begin(s->out, &s->o->out, s->dir, err);
}

static void close_store(struct store *s, struct gs_err *err)
{
    bool kept = false;
    struct gs_err e = {0};
    bundle_writer_free(gs_steal(&s->out->writer));
    bundle_writer_free(gs_steal(&s->made->writer));
    if (s->staging && s->o->policy)
        GS_IGNORE(gs_remove_tree(staging_pack_dir(s->staging), &e), "the next run does it");
    staging_close(gs_steal(&s->staging), err, &kept);
    if (kept)
        say_kept(err, s->out->work);
}

/* What a policy leaves of the capture: the bundle of everything, in the work folder, and what is made of it. */
struct guarded {
    const struct policy *policy;
    char *path, *dir;
    struct bundle *all;
    struct snap_withheld held;
};

static void guarded_release(struct guarded *g)
{
    snap_withheld_release(&g->held);
    bundle_close(g->all);
    free(g->path);
    free(g->dir);
}

/* Packs everything into a bundle that stays in the work folder, and writes what may leave it for `out`, up to snap_output_finish(). */
static int guard(struct cli *cli, const struct opts *o, struct guarded *g, const char *pack, struct snap_output *all,
                 struct bundle_meta *meta, struct snap_output *out, struct gs_err *err)
{
    struct sign_pubkey pub;
    sign_seckey_public(all->key, &pub);
    struct sign_trust own = {.keys = &pub, .n = 1};
    struct bundle_opts bo = {.trust = &own};
    struct bundle_verify_opts vo = {.stop = &cli_stop};
    g->path = gs_asprintf("%s/all.gsnap", pack);
    g->dir = gs_asprintf("%s/part", pack);
    if (!g->path || !g->dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    all->path = g->path;
    if (snap_output_finish(cli, all, meta, err))
        return -1;
    bundle_writer_free(gs_steal(&all->writer));
    return bundle_open(g->path, &bo, &g->all, err) || bundle_verify_with(g->all, &vo, NULL, err) ||
                   snap_withhold(cli, g->all, g->policy, &o->out, g->dir, out, &g->held, err)
               ? -1
               : 0;
}

static int create(struct cli *cli, const struct opts *o, const struct policy *policy, const char *group, struct snap_output *out,
                  struct gs_err *err)
{
    /* with a policy, what is captured goes into a bundle that is not `out` */
    struct snap_output all = {.path = out->path, .work = out->work, .key = out->key, .time_ms = out->time_ms, .serial = out->serial,
                              .begun_ms = out->begun_ms, .lock_fd = -1};
    struct snap_output *into = policy ? &all : out;
    struct guarded g __attribute__((cleanup(guarded_release))) = {.policy = policy};
    GS_AUTO(capture_ahead) ahead = NULL; /* freed after the client */
    GS_AUTO(gl_client) client = NULL;
    GS_AUTO(capture) c = NULL;
    struct gl_instance instance;
    struct store store __attribute__((cleanup(store_release))) = {.o = o, .out = into, .made = out, .so = {.fresh = o->fresh, .log = &cli->log}};
    /* with a single job nothing travels together, and an answer that came before the staging is open could be lost */
    bool none = access(out->work, F_OK) != 0, together = o->r.jobs != 1;
    bool tree = !o->no_subgroups && together && (o->fresh || none);
    /* what an earlier run received is touched only when the server and the token are known to be good */
    bool beside = together && none;
    if (cli_client(cli, &o->r, true, &client, err) || capture_ask_ahead(client, group, tree, &ahead, err) ||
        gl_instance_probe_beside(client, true, beside ? open_store : NULL, &store, &instance, err) || (!beside && open_store(&store, err))) {
        close_store(&store, err);
        return cli_error(cli, err);
    }
    struct staging *staging = store.staging;
    if (out->seal)
        cli_note(cli, "until the bundle is complete, '%s' holds what is received without encryption, for this user only", out->work);
    struct screen screen = {.cli = cli, .staging = staging, .file = o->out.path, .begun_ms = gs_mono_ms()};
    struct capture_opts co = {.client = client, .instance = &instance, .group = group, .ahead = ahead, .no_subgroups = o->no_subgroups,
                              .reproducible = o->out.time != NULL, .thorough = o->until_stable > 0,
                              .jobs = o->r.jobs, .log = &cli->log, .stop = &cli_stop, .progress = progress,
                              .cookie = &screen, .staging = staging, .via = ways[o->via],
                              .export_timeout_ms = (int64_t)o->export_timeout * 1000};
    struct bundle_meta meta = {0};
    struct book_summary sums;
    struct gl_stats stats;
    struct moves moves = {0};
    int r = capture(cli, o, &co, into, store.dir, &moves, &c, err);
    if (r == 0) {
        capture_meta(c, &meta);
        capture_summary(c, &sums);
        if (policy) {
            r = guard(cli, o, &g, staging_pack_dir(staging), into, &meta, out, err);
            meta = g.held.meta.meta;
        }
    }
    if (r == 0) {
        /* so that a run which is ended before it can tidy up is known to have made the bundle */
        r = snap_output_identify(out, &meta, err) || staging_note_bundle(staging, out->file_id, snap_output_exit(&sums), err) ||
            snap_output_finish(cli, out, &meta, err);
    }
    if (r) {
        close_store(&store, err);
        free(moves.v);
        return cli_error(cli, err);
    }
    capture_summary(c, &sums);
    gl_client_stats(client, &stats);
    remove_staging(cli, out, staging);
    int rc = snap_output_report(cli, out, "create", &meta, capture_groups(c), &sums, &stats, &o->key);
    free(moves.v);
    return rc;
}

static int say_complete(struct cli *cli, const struct snap_output *out, int exit_code, struct gs_err *err)
{
    cli_note(cli, "'%s' was complete already; only its work folder had to go", out->path);
    if (!cli->common->json)
        return 0;
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 64 << 10);
    cli_json_begin(&w, &buf, "create", err);
    gs_jw_kstr(&w, "file", out->path);
    gs_jw_kbool(&w, "complete_already", true);
    gs_jw_ki64(&w, "exit", exit_code);
    return cli_json_end(cli, &w);
}

/* FILE exists: is it what this very command made, in a run that was ended in its last moments? */
static int complete_already(struct cli *cli, const struct opts *o, const char *group, struct snap_output *out,
                            const struct gs_err *exists)
{
    struct gs_err err = {0};
    bool done = false;
    int exit_code = 0;
    if (snap_output_tidy(out, o->r.url, group, &done, &exit_code, &err))
        return cli_error(cli, &err);
    if (!done)
        return cli_error(cli, exists);
    return say_complete(cli, out, exit_code, &err) ? cli_error(cli, &err) : exit_code;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    const struct opts *o = optv;
    struct gs_err err = {0};
    struct snap_output out;
    GS_AUTO(policy) policy = NULL;
    int rc;
    if (!*argv[0])
        return cli_usage(cli, "GROUP is empty: give its full path or id");
    if (o->policy && policy_load(o->policy, &policy, &err))
        return cli_error(cli, &err);
    if (snap_output_open(cli, &o->out, &o->key, &o->seal, &out, &err))
        rc = err.code == GS_E_EXISTS && !o->fresh ? complete_already(cli, o, argv[0], &out, &err) : cli_error(cli, &err);
    else
        rc = create(cli, o, policy, argv[0], &out, &err);
    snap_output_close(&out);
    return rc;
}

const struct cli_verb snap_verb_create = {
    .name = "create",
    .args = "GROUP",
    .min_args = 1,
    .max_args = 1,
    .summary = "Capture a group tree into a signed bundle",
    .text = "Reads GROUP (full path or id) with everything below it, and writes one bundle. The token needs the scopes api\n"
            "(or read_api) and read_repository; its user should be an Owner of the group, since some settings and members\n"
            "are shown to Owners only.\n"
            "\n"
            "With --via auto, GitLab's own relation exports are used where they are open: to Owners, with the scope api, when\n"
            "the source allows migration by direct transfer. They know what the API does not show (times, events, epics,\n"
            "uploads); what only REST and GraphQL know is added (settings, titles of iterations, names of users). A relation that the\n"
            "export does not have, or whose export fails, is read over the API where that is possible; the report, 'status' and\n"
            "'inspect' say of which relations, in how many groups, and why (other_ways and not_read in --json), and the ledger\n"
            "names each case. With --via relations, a relation whose export failed is missing instead (exit\n"
            "code 3), and a source that does not export at all is an error. With --via api nothing is started at the source.\n"
            "\n"
            "An export runs in the background jobs of the source, at most five groups at a time. A former export that is\n"
            "younger than three minutes is not made anew by GitLab; the capture then waits until it can be. One that stands\n"
            "still for --export-timeout is given up: with auto the API is read instead, with relations the capture stops with\n"
            "exit code 75, and the same command takes up what is here and has only the rest exported anew.\n"
            "\n"
            "What could not be read, and what is knowingly left out (secrets, kinds that are not carried), stands in the\n"
            "bundle's ledger and in the report. The exit code is 3 when a group or relation could not be read, and 4 when\n"
            "the source changed meanwhile: when everything was read, the source is looked at once more, and what appeared,\n"
            "vanished or was edited is named. With --until-stable only what moved is read once more, and looked at again,\n"
            "until nothing moves (exit code 0) or it was done N times (4). On failure nothing is left at FILE.\n"
            "\n"
            "What was received is kept in FILE.work until the bundle is complete. When the capture was stopped or failed, the\n"
            "same command continues: it asks the server only for what is missing, and makes the bundle that an unbroken\n"
            "capture would have made. --encoding, --level, --key, --jobs and the like may differ; source, group and the\n"
            "token's user may not. What was refused before is asked again, so that a right given or a setting changed meanwhile\n"
            "counts; when the user's role in GROUP is another now, all but labels, milestones, badges and boards is read again,\n"
            "since more or less of it is shown. FILE.work holds the answers as they came, for this user's eyes only. 'status' shows how\n"
            "far a capture is, and so does SIGUSR1 on stderr.\n"
            "\n"
            "With --policy FILE is the bundle that 'redact' would make of the whole one, and the whole one never leaves FILE.work. The\n"
            "table at the end is of what was captured; what of it was withheld is said below it, and stands in the ledger.\n"
            "\n"
            "With --encrypt-to or a passphrase FILE is written encrypted, in the format age v1, as 'seal' would make it of the\n"
            "bundle; it may be called FILE.age. No two encrypted files are the same, also with --time. FILE.work is NOT\n"
            "encrypted: while the capture is under way it holds answers and packed records in files of mode 0600 in a folder of\n"
            "mode 0700, and when it is done they are removed, not overwritten. Where that is too much, put FILE.work's folder on an encrypted file system or on tmpfs.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
