#include "cmd/snap/output.h"

#include "cmd/reasons.h"

#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libexport/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

const struct cli_opt snap_output_opts_table[] = {
    {.name = "output", .letter = 'o', .type = CLI_STR, .offset = offsetof(struct snap_output_opts, path), .arg = "FILE",
     .required = true, .help = "the bundle to make; it must not exist"},
    {.name = "encoding", .type = CLI_CHOICE, .offset = offsetof(struct snap_output_opts, encoding), .arg = "NAME",
     .choices = "ndjson|msgpack", .help = "how records are written: readable lines, or a binary form"},
    {.name = "level", .type = CLI_UINT, .offset = offsetof(struct snap_output_opts, level), .arg = "N", .min = 1, .max = 19,
     .help = "zstd level, 3 unless told otherwise"},
    {.name = "serial", .type = CLI_STR, .offset = offsetof(struct snap_output_opts, serial), .arg = "N",
     .help = "serial number in the manifest, for those who number their transfers"},
    {.name = "time", .type = CLI_STR, .offset = offsetof(struct snap_output_opts, time), .arg = "TIME",
     .help = "time in the manifest (2025-01-02T03:04:05Z), so that the same records give the same bytes"},
    {0},
};

#define ENCRYPTED "age:" /* in front of the id of an encrypted file */
#define MAX_NAMED 10 /* changes that the report names */

static int parse_serial(const char *s, uint64_t *out, struct gs_err *err)
{
    char *end;
    if (!s)
        return 0;
    errno = 0;
    unsigned long long v = strtoull(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || errno || v == 0 || v > INT64_MAX)
        return gs_fail(err, GS_E_USAGE, "--serial: '%s' is no number from 1 on", s);
    *out = v;
    return 0;
}

/* Whoever holds the lock makes this file. The lock file goes away with its holder. */
static int take_lock(struct snap_output *out, struct gs_err *err)
{
    for (int i = 0; i < 100; i++) {
        gs_autofd int fd = open(out->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        struct stat mine, there;
        if (fd < 0)
            return gs_fail_sys(err, errno == ENOENT ? GS_E_NOT_FOUND : GS_E_IO, errno, "making '%s' beside '%s'", out->lock_path,
                               out->path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? gs_fail(err, GS_E_LOCKED, "another run is making '%s'", out->path)
                                        : gs_fail_sys(err, GS_E_IO, errno, "locking '%s'", out->lock_path);
        /* its holder may have removed it between our open and our lock */
        if (fstat(fd, &mine) == 0 && stat(out->lock_path, &there) == 0 && mine.st_ino == there.st_ino &&
            mine.st_dev == there.st_dev) {
            out->lock_fd = gs_steal_fd(&fd);
            return 0;
        }
    }
    return gs_fail(err, GS_E_LOCKED, "other runs are making '%s'", out->path);
}

static int check_absent(const char *path, struct gs_err *err)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        return gs_fail(err, GS_E_EXISTS, "'%s' exists", path);
    return errno == ENOENT ? 0 : gs_fail_sys(err, errno == ENOTDIR ? GS_E_NOT_FOUND : GS_E_IO, errno, "'%s'", path);
}

int snap_output_open(struct cli *cli, const struct snap_output_opts *o, const struct cli_key *key, const struct cli_seal *seal,
                     struct snap_output *out, struct gs_err *err)
{
    *out = (struct snap_output){.path = o->path, .lock_fd = -1, .begun_ms = gs_mono_ms()};
    if (parse_serial(o->serial, &out->serial, err))
        return -1;
    if (o->time && gs_time_parse(o->time, &out->time_ms, err)) {
        gs_err_clear(err);
        return gs_fail(err, GS_E_USAGE, "--time: '%s' is no time such as 2025-01-02T03:04:05Z", o->time);
    }
    out->work = gs_asprintf("%s.work", o->path);
    out->lock_path = gs_asprintf("%s.lock", o->path);
    if (!out->work || !out->lock_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (check_absent(o->path, err) || cli_key_load(cli, key, &out->key, err) || cli_seal_new(cli, seal, &out->seal, err))
        return -1;
    /* again under the lock: another run may just have finished */
    return take_lock(out, err) || check_absent(o->path, err) || gs_stage_sweep(o->path, err) ? -1 : 0;
}

/* What a capture has received is not thrown away by a command that has nothing to do with it. */
static int check_no_capture(const struct snap_output *out, struct gs_err *err)
{
    struct stat st;
    gs_autofree char *db = gs_asprintf("%s/staging.db", out->work);
    if (!db)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (lstat(db, &st))
        return 0;
    return gs_fail(err, GS_E_EXISTS, "'%s' keeps what a stopped capture received: go on with 'snap create -o %s', or remove it",
                   out->work, out->path);
}

int snap_output_begin(struct snap_output *out, const struct snap_output_opts *o, const char *dir, struct gs_err *err)
{
    struct bundle_writer_opts w = {.encoding = o->encoding ? RECORD_MSGPACK : RECORD_NDJSON, .level = (int)o->level};
    if (!dir && check_no_capture(out, err))
        return -1;
    dir = dir ? dir : out->work;
    if (gs_remove_tree(dir, err)) /* of a run that was killed */
        return -1;
    if (bundle_writer_new(dir, &w, &out->writer, err))
        return -1;
    bundle_writer_encrypt(out->writer, out->seal);
    return 0;
}

/* Source and group as they were typed, against what the capture noted. */
static bool same_source(const char *url, const char *group, const char *noted_url, const char *root_path, int64_t root_id)
{
    char id[24];
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    snprintf(id, sizeof id, "%" PRId64, root_id);
    return strlen(noted_url) == n && strncmp(noted_url, url, n) == 0 && (strcmp(group, root_path) == 0 || strcmp(group, id) == 0);
}

/* Is this the file that was noted: a bundle with this set id, or the encrypted file with this header? */
static bool is_noted(const char *path, const char *noted)
{
    struct gs_source src;
    struct gs_err e = {0};
    if (gs_source_open(path, &src, &e))
        return false;
    if (strncmp(noted, ENCRYPTED, strlen(ENCRYPTED)) == 0) {
        char id[AGE_ID_LEN];
        bool same = age_is(&src) && age_file_id(&src, id, &e) == 0 && strcmp(id, noted + strlen(ENCRYPTED)) == 0;
        gs_source_close(&src);
        return same;
    }
    GS_AUTO(bundle) b = NULL;
    struct bundle_opts look = {.no_verify = true};
    return bundle_open_source(&src, &look, &b, &e) == 0 && bundle_set_id(b) && strcmp(bundle_set_id(b), noted) == 0;
}

int snap_output_tidy(struct snap_output *out, const char *url, const char *group, bool *out_done, int *out_exit,
                     struct gs_err *err)
{
    struct staging *s = NULL;
    struct staging_opts so = {0};
    struct stat st;
    gs_autofree char *db = gs_asprintf("%s/staging.db", out->work);
    gs_autofree char *noted_id = NULL;
    gs_autofree char *noted_url = NULL;
    gs_autofree char *root_path = NULL;
    int64_t root_id = 0;
    *out_done = false;
    if (!db)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (lstat(out->work, &st))
        return 0;
    bool noted = lstat(db, &st) == 0;
    if (take_lock(out, err) || staging_open(out->work, &so, &s, err))
        return -1;
    if (!noted) { /* nothing is kept: closing removes what is left of the folder */
        staging_close(s, NULL, NULL);
        return 0;
    }
    if (staging_noted_bundle(s, &noted_id, &noted_url, &root_path, &root_id, out_exit, err)) {
        staging_close(s, NULL, NULL);
        return -1;
    }
    if (!noted_id || !noted_url || !root_path || !same_source(url, group, noted_url, root_path, root_id) ||
        !is_noted(out->path, noted_id)) {
        staging_close(s, NULL, NULL);
        return 0;
    }
    *out_done = true;
    return staging_remove(s, err);
}

int snap_output_identify(struct snap_output *out, const struct bundle_meta *meta, struct gs_err *err)
{
    uint8_t h[16];
    char id[AGE_ID_LEN];
    randombytes_buf(h, sizeof h);
    if (out->time_ms && !meta->set_id) {
        /* the id must not be random then: it follows from what the bundle is about */
        gs_autofree char *of = gs_asprintf("%s\n%s\n%" PRId64 "\n%" PRId64 "\n%" PRIu64, meta->source_url ? meta->source_url : "",
                                           meta->root_path ? meta->root_path : "", meta->root_id, out->time_ms, out->serial);
        if (!of)
            return gs_fail(err, GS_E_NOMEM, "no memory for an id");
        crypto_generichash(h, sizeof h, (const unsigned char *)of, strlen(of), NULL, 0);
    }
    sodium_bin2hex(out->set_id, sizeof out->set_id, h, sizeof h);
    if (meta->set_id)
        snprintf(out->set_id, sizeof out->set_id, "%s", meta->set_id);
    if (out->seal)
        age_seal_id(out->seal, id);
    snprintf(out->file_id, sizeof out->file_id, "%s%s", out->seal ? ENCRYPTED : "", out->seal ? id : out->set_id);
    return 0;
}

int snap_output_finish(struct cli *cli, struct snap_output *out, struct bundle_meta *meta, struct gs_err *err)
{
    const struct sign_seckey *keys[] = {out->key};
    meta->serial = out->serial;
    if (out->time_ms) {
        meta->created_at_ms = meta->started_at_ms = meta->finished_at_ms = out->time_ms;
        meta->clock_known = false; /* against which clock? */
    }
    if (!out->set_id[0] && snap_output_identify(out, meta, err))
        return -1;
    meta->set_id = out->set_id;
    cli_progress(cli, "packing and signing %s ...", out->path);
    malloc_trim(0); /* frames are large; what lies between what is still needed of reading does not serve them */
    if (bundle_writer_finish(out->writer, meta, keys, 1, out->path, false, err))
        return gs_wrap(err, "'%s'", out->path);
    cli_progress_end(cli);
    uint8_t digest[BUNDLE_DIGEST_LEN];
    bundle_writer_made(out->writer, &out->size, digest);
    sodium_bin2hex(out->digest, sizeof out->digest, digest, sizeof digest);
    return 0;
}

int snap_output_exit(const struct book_summary *s)
{
    return s->missing ? 3 : s->changed ? 4 : 0;
}

static void json_changes(struct gs_jw *w, const struct book_change *v, size_t n)
{
    gs_jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        gs_jw_obj(w);
        gs_jw_ki64(w, "group", v[i].group_id);
        gs_jw_kstr(w, "relation", v[i].relation);
        gs_jw_kstr(w, "before", v[i].before);
        gs_jw_kstr(w, "after", v[i].after);
        if (v[i].pass)
            gs_jw_ki64(w, "pass", v[i].pass);
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

void snap_output_json_withheld(const struct snap_output *out, struct gs_jw *w)
{
    if (!out->withheld)
        return;
    gs_jw_key(w, "withheld");
    gs_jw_obj(w);
    gs_jw_ki64(w, "records", (int64_t)out->withheld->records);
    gs_jw_ki64(w, "values", (int64_t)out->withheld->values);
    gs_jw_ki64(w, "files", (int64_t)out->withheld->files);
    gs_jw_end(w);
}

static int report_json(struct cli *cli, const struct snap_output *out, const char *what, const struct bundle_meta *meta,
                       uint64_t groups, const struct book_summary *s, const struct gl_stats *stats, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 16 << 20);
    cli_json_begin(&w, &buf, what, err);
    gs_jw_kstr(&w, "file", out->path);
    gs_jw_ki64(&w, "size", (int64_t)out->size);
    gs_jw_kstr(&w, "digest", out->digest);
    gs_jw_kbool(&w, "encrypted", out->seal != NULL);
    gs_jw_kstr(&w, "root", meta->root_path);
    gs_jw_ki64(&w, "groups", (int64_t)groups);
    gs_jw_ki64(&w, "records", (int64_t)s->records);
    gs_jw_key(&w, "relations");
    gs_jw_obj(&w);
    for (size_t i = 0; i < s->n_relations; i++)
        gs_jw_ki64(&w, s->relations[i].relation, (int64_t)s->relations[i].records);
    gs_jw_end(&w);
    for (int lost = 1; lost >= 0; lost--) {
        gs_jw_key(&w, lost ? "lost" : "left_out");
        gs_jw_arr(&w);
        for (size_t i = 0; i < s->n_rules; i++) {
            const struct book_rule_sum *r = &s->rules[i];
            if (r->lost != lost)
                continue;
            gs_jw_obj(&w);
            gs_jw_kstr(&w, "rule", r->rule);
            gs_jw_ki64(&w, "count", (int64_t)r->count);
            gs_jw_ki64(&w, "entries", (int64_t)r->lines);
            gs_jw_ki64(&w, "unknown", (int64_t)r->unknown);
            gs_jw_kstr(&w, "text", r->text);
            gs_jw_end(&w);
        }
        gs_jw_end(&w);
    }
    snap_output_json_withheld(out, &w);
    gs_jw_ki64(&w, "changed", (int64_t)s->changed);
    gs_jw_key(&w, "changes");
    json_changes(&w, s->changes, s->n_changes);
    if (s->passes)
        gs_jw_ki64(&w, "passes", s->passes);
    gs_jw_key(&w, "settled");
    json_changes(&w, s->settled, s->n_settled);
    gs_jw_ki64(&w, "missing", (int64_t)s->missing);
    gs_jw_ki64(&w, "fallbacks", (int64_t)s->fallbacks);
    reasons_json(&w, s->reasons, s->n_reasons);
    if (stats) {
        gs_jw_ki64(&w, "requests", (int64_t)stats->requests);
        gs_jw_ki64(&w, "retries", (int64_t)stats->retries);
        gs_jw_ki64(&w, "kept", (int64_t)stats->kept);
        gs_jw_ki64(&w, "bytes_in", (int64_t)stats->bytes_in);
    }
    gs_jw_ki64(&w, "duration_ms", gs_mono_ms() - out->begun_ms);
    gs_jw_ki64(&w, "exit", snap_output_exit(s));
    return cli_json_end(cli, &w);
}

static void print_line(void *cookie, const char *text)
{
    cli_out(cookie, "%s\n", text);
}

static void report_rules(struct cli *cli, const struct book_summary *s, bool lost)
{
    bool any = false;
    for (size_t i = 0; i < s->n_rules; i++) {
        const struct book_rule_sum *r = &s->rules[i];
        if (r->lost != lost || reasons_is_unread(lost, r->rule)) /* these stand with their reasons */
            continue;
        if (!any)
            cli_out(cli, "%s\n", lost ? "\nPoorer than at the source:" : "\nKnowingly left out:");
        any = true;
        if (r->count > 0)
            cli_out(cli, "  %9s  %s: %s\n", cli_count(r->count), r->rule, r->text);
        else
            cli_out(cli, "  %9s  %s: %s\n", "-", r->rule, r->text);
    }
}

/* What moved, the first few by name, and what to do. */
static void warn_changed(struct cli *cli, const struct book_summary *s)
{
    size_t shown = s->n_changes < MAX_NAMED ? s->n_changes : MAX_NAMED;
    cli_warn(cli, "the source changed while it was read, in %s relations of groups:", cli_count(s->changed));
    for (size_t i = 0; i < shown; i++) {
        const struct book_change *c = &s->changes[i];
        cli_warn(cli, "  %s of group %lld: %s, then %s", cli_safe(c->relation), (long long)c->group_id, cli_safe(c->before),
                 cli_safe(c->after));
    }
    if (s->changed > shown)
        cli_warn(cli, "  and %s more: %s cat FILE ledger", cli_count(s->changed - shown), cli->tool);
    cli_warn(cli, s->n_settled ? "the source does not come to rest: capture again when it is quiet, or allow more with --until-stable"
                               : "capture again with --until-stable 3, which reads what moved once more, or when it is quiet");
}

int snap_output_report(struct cli *cli, struct snap_output *out, const char *what, const struct bundle_meta *meta,
                       uint64_t groups, const struct book_summary *s, const struct gl_stats *stats,
                       const struct cli_key *key)
{
    struct gs_err err = {0};
    if (cli->common->json)
        return report_json(cli, out, what, meta, groups, s, stats, &err) ? cli_error(cli, &err) : snap_output_exit(s);
    cli_out(cli, "%-22s %12s %9s\n", "relation", "records", "groups");
    for (size_t i = 0; i < s->n_relations; i++)
        cli_out(cli, "%-22s %12s %9s\n", s->relations[i].relation, cli_count(s->relations[i].records),
                cli_count(s->relations[i].groups));
    cli_out(cli, "%-22s %12s %9s\n", "total", cli_count(s->records), cli_count(groups));
    if (s->n_reasons)
        cli_out(cli, "\n");
    reasons_lines(s->reasons, s->n_reasons, print_line, cli);
    report_rules(cli, s, true);
    report_rules(cli, s, false);
    if (out->withheld)
        cli_out(cli, "\nWithheld by the policy, of what is counted above: %s records, %s parts of records, %s files\n",
                cli_count(out->withheld->records), cli_count(out->withheld->values), cli_count(out->withheld->files));
    cli_out(cli, "\n%s  %s in %s", cli_safe(out->path), cli_bytes(out->size), cli_span(gs_mono_ms() - out->begun_ms));
    if (stats)
        cli_out(cli, ", %s requests (%s repeated)", cli_count(stats->requests), cli_count(stats->retries));
    if (stats && stats->kept > 0)
        cli_out(cli, ", %s answers kept from before", cli_count(stats->kept));
    cli_out(cli, "%s\ndigest %s\n", out->seal ? ", encrypted" : "", out->digest);
    if (s->missing)
        cli_warn(cli, "%s groups or relations could not be read; the ledger names each: %s cat %s ledger",
                 cli_count(s->missing), cli->tool, out->path);
    if (s->n_settled && !s->changed)
        cli_note(cli, "the source was read %u times: %s relations of groups had moved, and were read again until nothing moved", s->passes,
                 cli_count(s->n_settled));
    if (s->changed)
        warn_changed(cli, s);
    cli_note(cli, "next: %s verify %s --trust %s.pub%s, then carry %s and %s.pub to the target", cli->tool, out->path, key->key,
             out->seal ? " (and --identity or the passphrase)" : "", out->path, key->key);
    return snap_output_exit(s);
}

void snap_output_close(struct snap_output *out)
{
    bundle_writer_free(out->writer);
    sign_seckey_free(out->key);
    age_seal_free(out->seal);
    if (out->lock_fd >= 0) {
        unlink(out->lock_path);
        close(out->lock_fd);
    }
    free(out->work);
    free(out->lock_path);
}
