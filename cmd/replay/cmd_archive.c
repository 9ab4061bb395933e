/* replay archive: a bundle as GitLab's own group export file, for its file import. */
#include "cmd/replay/books_run.h"
#include "cmd/replay/upload.h"
#include "cmd/replay/verbs.h"
#include "libserve/export_archive.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct opts {
    struct cli_remote r;
    struct cli_trust trust;
    const char *output, *into, *rename;
    unsigned level, wait, settle;
    bool upload, no_reconcile;
};

static const struct cli_opt opts[] = {
    {.name = "output", .letter = 'o', .type = CLI_STR, .offset = offsetof(struct opts, output), .arg = "EXPORT.tar.gz",
     .help = "the file to make; it must not exist (with --upload it may be left out, and no file is kept)"},
    {.name = "level", .type = CLI_UINT, .offset = offsetof(struct opts, level), .arg = "N", .min = 1, .max = 9,
     .help = "gzip level, 6 unless told otherwise"},
    {.name = "upload", .type = CLI_FLAG, .offset = offsetof(struct opts, upload),
     .help = "send the file to the file import of the target at --url, follow it as far as the API lets, and reconcile"},
    {.name = "into", .type = CLI_STR, .offset = offsetof(struct opts, into), .arg = "GROUP",
     .help = "with --upload: full path of the target's group to import below; otherwise it becomes a top-level group"},
    {.name = "rename", .type = CLI_STR, .offset = offsetof(struct opts, rename), .arg = "OLD=NEW",
     .help = "with --upload: another path segment (NEW, or NEW:Name) for the topmost group, whose full path at the source is OLD"},
    {.name = "wait", .type = CLI_UINT, .offset = offsetof(struct opts, wait), .arg = "SECONDS", .min = 1, .max = 604800,
     .help = "with --upload: how long the import is followed (3600)"},
    {.name = "settle", .type = CLI_UINT, .offset = offsetof(struct opts, settle), .arg = "SECONDS", .min = 1, .max = 86400, .hidden = true,
     .help = "with --upload: an import of which nothing has arrived for so long has ended (60)"},
    {.name = "no-reconcile", .type = CLI_FLAG, .offset = offsetof(struct opts, no_reconcile),
     .help = "with --upload: do not read back afterwards what was imported"},
    {0},
};
static const struct cli_part parts[] = {{cli_opts_remote_known, 0}, {cli_opts_trust, offsetof(struct opts, trust)}, {0}};

static void progress(void *cookie, uint64_t groups, uint64_t records)
{
    cli_progress(cookie, "%s groups, %s records", cli_count(groups), cli_count(records));
}

static int tell(struct cli *cli, const struct opts *o, const struct content *c, const struct export_archive_result *r, struct gs_err *err)
{
    const char *version = native_version(c->native);
    if (cli->common->json) {
        struct gs_jw w;
        gs_autobuf buf;
        gs_buf_init(&buf, 1 << 20);
        cli_json_begin(&w, &buf, "archive", err);
        if (o->upload)
            gs_jw_kstr(&w, "event", "file");
        gs_jw_kstr(&w, "file", o->output ? cli_valid(o->output) : NULL);
        gs_jw_kstr(&w, "root", c->n_groups ? c->groups[0].full_path : NULL);
        gs_jw_kstr(&w, "gitlab_version", *version ? version : NULL);
        gs_jw_ki64(&w, "groups", (int64_t)r->groups);
        gs_jw_ki64(&w, "records", (int64_t)r->records);
        gs_jw_ki64(&w, "bytes", (int64_t)r->bytes);
        gs_jw_ki64(&w, "files_left_out", (int64_t)r->files_left_out);
        gs_jw_ki64(&w, "groups_without_record", (int64_t)r->groups_without_record);
        return cli_json_end(cli, &w);
    }
    if (o->output)
        cli_out(cli, "wrote       '%s', %s\n", cli_safe(o->output), cli_bytes(r->bytes));
    cli_out(cli, "groups      %s, below '%s'\n", cli_count(r->groups), cli_safe(c->n_groups ? c->groups[0].full_path : ""));
    cli_out(cli, "records     %s\n", cli_count(r->records));
    cli_out(cli, "version     %s\n", *version ? cli_safe(version) : "not known");
    if (r->files_left_out)
        cli_warn(cli, "%s avatars and uploads are not in it: GitLab's group export has no place for them ('serve' carries them)",
                 cli_count(r->files_left_out));
    if (r->groups_without_record)
        cli_warn(cli, "%s groups have only their name and path: the bundle does not hold their own record",
                 cli_count(r->groups_without_record));
    return 0;
}

/* ---- what is uploaded ---- */

struct place {
    char *name, *slug;
};

static int on_self(void *cookie, yyjson_val *v, const struct bundle_ref *ref, struct gs_err *err)
{
    struct place *p = cookie;
    const char *name = gs_json_str(v, "name");
    (void)ref;
    if (name && !p->name && !(p->name = strdup(name)))
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    return 0;
}

/* Path segment and name of the group that is made: its own, or those of --rename, which the file import takes for the topmost group only. */
static int find_place(const struct opts *o, const struct content *c, struct place *out, struct gs_err *err)
{
    const char *root = c->groups[0].full_path;
    if (o->rename) {
        const char *r = o->rename, *eq = strchr(r, '='), *colon = eq ? strchr(eq, ':') : NULL;
        if (!eq || eq == r || !eq[1] || eq[1] == ':')
            return gs_fail(err, GS_E_USAGE, "--rename %s: OLD=NEW is needed", r);
        if ((size_t)(eq - r) != strlen(root) || strncmp(r, root, strlen(root)) != 0)
            return gs_fail(err, GS_E_USAGE, "--rename %s: the file import takes another path for the topmost group only, '%s'", r, root);
        out->slug = strndup(eq + 1, strcspn(eq + 1, ":"));
        if (colon && colon[1] && !(out->name = strdup(colon + 1)))
            return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    } else {
        out->slug = strdup(content_slug(c, 0));
    }
    if (!out->slug)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (!out->name && bundle_count(c->b, c->groups[0].id, "self") > 0 && bundle_each(c->b, c->groups[0].id, "self", on_self, out, err))
        return -1;
    if (!out->name && !(out->name = strdup(out->slug)))
        return gs_fail(err, GS_E_NOMEM, "no memory for a name");
    return 0;
}

/* The file as it is read by the upload: that of --output, or the one at *out_fd, which has no name and goes with the process. */
static int make_file(struct cli *cli, const struct opts *o, const struct content *c, int *out_fd, struct export_archive_result *sums,
                     struct gs_err *err)
{
    struct export_archive_opts eo = {.level = (int)o->level, .stop = &cli_stop, .progress = progress, .cookie = cli};
    if (o->output)
        return export_archive_write(c, o->output, &eo, sums, err) || (o->upload && gs_open_read(o->output, out_fd, err)) ? -1 : 0;
    return export_archive_to(c, *out_fd, "the temporary file", &eo, sums, err);
}

static int finish(struct cli *cli, const struct opts *o, struct upload *u, struct books *b, int *out_exit, struct gs_err *err)
{
    enum upload_end end;
    if (upload_follow(u, &end, err))
        return -1;
    if (end != UPLOAD_COMPLETE)
        *out_exit = 3;
    if (end == UPLOAD_NOT_YET) {
        cli_warn(cli, "not everything is there after %s, and the API does not say whether more will come: see '%s reconcile --importer file' later",
                 cli_span((int64_t)o->wait * 1000), cli->tool);
        return 0;
    }
    if (end == UPLOAD_QUIET)
        cli_warn(cli, "not everything has arrived, and nothing more does: what failed is in the target's log (importer.log, sidekiq) only");
    if (!b)
        return 0;
    if (!cli->common->json)
        cli_out(cli, "\n");
    int code = 0;
    if (books_run(b, upload_client(u), &code, err))
        return -1;
    *out_exit = code ? code : *out_exit;
    return 0;
}

static int send_file(struct cli *cli, const struct opts *o, struct content *c, const char *path, const struct place *place, int *out_exit,
                     struct gs_err *err)
{
    struct upload_opts uo = {.remote = &o->r, .into = o->into, .slug = place->slug, .name = place->name, .wait_s = o->wait, .settle_s = o->settle};
    const char *renames[] = {o->rename};
    struct session_args args = {.into = o->into, .rename = {renames, o->rename != NULL}, .on_existing = 1};
    struct books_opts bo = {.remote = &o->r, .args = &args, .file = path, .bundle = c->b, .native = {.by = NATIVE_FILE}};
    struct export_archive_result sums;
    struct books b;
    struct stat st = {0};
    bool books = !o->no_reconcile;
    gs_autofd int fd = -1;
    GS_AUTO(upload) u = NULL;
    int r = (books && books_open(&b, cli, &bo, err)) || upload_open(cli, &uo, c, &u, err) || (!o->output && gs_temp_open(&fd, err));
    if (!r && make_file(cli, o, c, &fd, &sums, err))
        r = err->code == GS_E_EXISTS || err->code == GS_E_STOPPED || err->code == GS_E_DISK_FULL ? -1 : cli_wrap_file(err, path);
    cli_progress_end(cli);
    if (!r)
        r = tell(cli, o, c, &sums, err);
    if (!r && fstat(fd, &st))
        r = gs_fail(err, GS_E_IO, "the file that was made cannot be looked at");
    if (!r)
        r = upload_send(u, fd, (uint64_t)st.st_size, err) || finish(cli, o, u, books ? &b : NULL, out_exit, err);
    if (books)
        books_close(&b); /* before the client that it borrowed */
    return r ? -1 : 0;
}

static int archive(struct cli *cli, const struct opts *o, const struct sign_trust *trust, const char *path, int *out_exit, struct gs_err *err)
{
    GS_AUTO(bundle) b = NULL;
    GS_AUTO(content) c = NULL;
    struct export_archive_result sums;
    struct place place = {0};
    int fd = -1, r;
    if (cli_bundle_open(cli, &o->trust, trust, path, &b, err))
        return -1;
    if (content_load(b, &c, err))
        return err->code == GS_E_STOPPED ? -1 : cli_wrap_file(err, path);
    if (!o->upload) {
        r = make_file(cli, o, c, &fd, &sums, err);
        cli_progress_end(cli);
        if (r && err->code != GS_E_EXISTS && err->code != GS_E_STOPPED)
            r = cli_wrap_file(err, path);
        if (!r)
            r = tell(cli, o, c, &sums, err);
    } else {
        r = c->n_groups == 0 ? gs_fail(err, GS_E_INTERNAL, "a bundle without groups")
                             : find_place(o, c, &place, err) || send_file(cli, o, c, path, &place, out_exit, err);
    }
    free(place.name);
    free(place.slug);
    content_free(gs_steal(&c)); /* before the bundle that it reads */
    return r ? -1 : 0;
}

static int run(struct cli *cli, void *optv, int argc, char **argv)
{
    struct opts *o = optv;
    struct gs_err err = {0};
    struct sign_trust trust = {0};
    int code = 0;
    if (!o->output && !o->upload)
        return cli_usage(cli, "--output FILE is needed, or --upload");
    if (o->upload && !o->r.url)
        return cli_usage(cli, "--upload needs --url");
    if (!o->upload && (o->r.url || o->r.token_file || o->r.token_command || o->r.cacert || o->r.allow_http || o->into || o->rename || o->wait ||
                       o->settle || o->no_reconcile))
        return cli_usage(cli, "--url, the options about it, --into, --rename, --wait and --no-reconcile are for --upload");
    o->wait = o->wait ? o->wait : 3600;
    o->settle = o->settle ? o->settle : 60;
    int r = cli_trust_load(&o->trust, true, &trust, &err);
    if (r == 0)
        r = archive(cli, o, &trust, argv[0], &code, &err);
    sign_trust_release(&trust);
    return r ? cli_error(cli, &err) : code;
}

const struct cli_verb replay_verb_archive = {
    .name = "archive",
    .args = "BUNDLE",
    .min_args = 1,
    .max_args = 1,
    .summary = "Make GitLab's own group export file from a bundle",
    .text =
        "Writes the .tar.gz that GitLab's group import takes (New group > Import group, or POST /groups/import): the groups with\n"
        "their settings, labels, milestones, boards, badges, members, epics and iterations, as GitLab itself would have exported\n"
        "them. What only the API told is left out of the records again, since an export does not have it. Avatars and uploads have\n"
        "no place in such a file, and no projects are in it.\n\n"
        "The file import keeps authors and times, which a load over the API cannot. 'serve' does so as well, and is what GitLab\n"
        "recommends today. The bundle is verified as it is read; the file is whole or absent, and the same bundle always gives the\n"
        "same bytes.\n\n"
        "With --upload the file goes to the target at --url, whose token is in GITLAB_TOKEN or --token-file, as POST /groups/import; it is read\n"
        "from the disk while it is sent. A path that is taken is refused before. When no answer comes, it is looked whether the group came to be\n"
        "before the file is sent again. GitLab says nothing about how a file import goes, and tells its failures to the log of the server only:\n"
        "what has arrived is counted, until everything that can be counted is there or nothing more comes, at most for --wait. Then everything is\n"
        "read back as 'reconcile --importer file' does. The exit code is 3 when something has not arrived or the books do not balance. Ctrl-C in\n"
        "the middle of the upload ends it without a group; later on the import goes on without this program.\n\n"
        "Without --output the file has no name in TMPDIR, and is gone however this ends.",
    .opts = opts,
    .more = parts,
    .opts_size = sizeof(struct opts),
    .run = run,
};
