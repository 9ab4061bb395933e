#include "cmd/snap/capture_status.h"

#include "cmd/reasons.h"
#include "libcommon/clock.h"

#include <stdio.h>
#include <string.h>

struct lines {
    void (*line)(void *cookie, const char *text);
    void *cookie;
};

static void say(const struct lines *l, const char *fmt, ...) GS_PRINTF(2, 3);
static void say(const struct lines *l, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    l->line(l->cookie, text);
}

static const char *moment(int64_t unix_ms, char out[GS_TIME_LEN])
{
    gs_time_format(unix_ms, out);
    return out;
}

/* "running", "stopped", "killed": who wrote no end and holds no lock was ended from outside. */
static const char *state(const struct staging_status *st)
{
    return st->running ? "running" : st->code[0] ? "stopped" : "killed";
}

static void say_state(const struct lines *l, const struct staging_status *st)
{
    char a[GS_TIME_LEN];
    if (st->running && st->pause_ms > 0)
        say(l, "state       running; the server asks to wait: %s", cli_span(st->pause_ms));
    else if (st->running)
        say(l, "state       running, %u requests on the way", st->in_flight);
    else if (st->code[0])
        say(l, "state       stopped at %s: %s [%s]", moment(st->ended_ms, a), cli_safe(st->text ? st->text : ""),
            cli_safe(st->code));
    else
        say(l, "state       ended without a word: it was killed, or the machine went down");
}

void capture_status_lines(const struct staging_status *st, const char *file, void (*line)(void *cookie, const char *text),
                          void *cookie)
{
    struct lines l = {line, cookie};
    char a[GS_TIME_LEN], b[GS_TIME_LEN];
    say(&l, "capture     %s", cli_safe(file));
    say(&l, "of          %s on %s (GitLab %s), read by %s", cli_safe(st->root_path ? st->root_path : "?"),
        cli_safe(st->url ? st->url : "?"), cli_safe(st->version ? st->version : "?"),
        cli_safe(st->username ? st->username : "?"));
    say_state(&l, st);
    if (st->begun_ms && st->active_ms)
        say(&l, "begun       %s; last activity %s; run %u", moment(st->begun_ms, a), moment(st->active_ms, b), st->runs);
    say(&l, "groups      %s of %s%s", cli_count(st->groups_done), cli_count(st->groups_found),
        st->discovering ? "; more may be found" : "");
    say(&l, "kept        %s answers (%s), %s further tries%s%s", cli_count(st->answers), cli_bytes(st->bytes),
        cli_count(st->retries), st->files ? ", files: " : "", st->files ? cli_count(st->files) : "");
    say(&l, "this run    %s requests, %s answers kept from before, %s waited", cli_count(st->requests), cli_count(st->kept),
        cli_span(st->waited_ms));
    if (st->exports)
        say(&l, "exports     %s under way on the server", cli_count(st->exports));
    if (st->n_relations > 0)
        say(&l, "%-22s %9s %11s %9s %7s", "relation", "answers", "bytes", "records", "groups");
    for (size_t i = 0; i < st->n_relations; i++) {
        const struct staging_relation *r = &st->relations[i];
        say(&l, "%-22s %9s %11s %9s %7s", cli_safe(r->name), cli_count(r->answers + r->files),
            cli_bytes(r->bytes + r->file_bytes), cli_count(r->records), cli_count(r->groups));
    }
    reasons_lines(st->reasons.v, st->reasons.n, line, cookie);
    if (!st->running)
        say(&l, "the same 'create' command continues; with --fresh it begins anew");
}

static void ktime(struct gs_jw *w, const char *key, int64_t unix_ms)
{
    char t[GS_TIME_LEN];
    gs_jw_kstr(w, key, unix_ms ? moment(unix_ms, t) : NULL);
}

static void json_relation(struct gs_jw *w, const struct staging_relation *r)
{
    gs_jw_key(w, r->name);
    gs_jw_obj(w);
    gs_jw_ki64(w, "answers", (int64_t)r->answers);
    gs_jw_ki64(w, "bytes", (int64_t)r->bytes);
    gs_jw_ki64(w, "retries", (int64_t)r->retries);
    gs_jw_ki64(w, "waited_ms", r->waited_ms);
    gs_jw_ki64(w, "files", (int64_t)r->files);
    gs_jw_ki64(w, "file_bytes", (int64_t)r->file_bytes);
    gs_jw_ki64(w, "records", (int64_t)r->records);
    gs_jw_ki64(w, "groups", (int64_t)r->groups);
    gs_jw_end(w);
}

int capture_status_json(struct cli *cli, const struct staging_status *st, const char *file, struct gs_err *err)
{
    struct gs_jw w;
    gs_autobuf buf;
    gs_buf_init(&buf, 16 << 20);
    cli_json_begin(&w, &buf, "capture-status", err);
    gs_jw_kstr(&w, "file", file);
    gs_jw_kstr(&w, "state", state(st));
    gs_jw_kstr(&w, "url", st->url);
    gs_jw_kstr(&w, "root", st->root_path);
    gs_jw_ki64(&w, "root_id", st->root_id);
    gs_jw_kstr(&w, "user", st->username);
    gs_jw_kstr(&w, "version", st->version);
    gs_jw_ki64(&w, "runs", st->runs);
    ktime(&w, "begun_at", st->begun_ms);
    ktime(&w, "run_begun_at", st->run_begun_ms);
    ktime(&w, "active_at", st->active_ms);
    ktime(&w, "ended_at", st->ended_ms);
    gs_jw_kstr(&w, "code", st->code[0] ? st->code : NULL);
    gs_jw_kstr(&w, "text", st->text ? cli_valid(st->text) : NULL);
    gs_jw_ki64(&w, "groups_found", (int64_t)st->groups_found);
    gs_jw_ki64(&w, "groups_done", (int64_t)st->groups_done);
    gs_jw_kbool(&w, "discovering", st->discovering);
    gs_jw_ki64(&w, "answers", (int64_t)st->answers);
    gs_jw_ki64(&w, "bytes", (int64_t)st->bytes);
    gs_jw_ki64(&w, "retries", (int64_t)st->retries);
    gs_jw_ki64(&w, "files", (int64_t)st->files);
    gs_jw_ki64(&w, "file_bytes", (int64_t)st->file_bytes);
    gs_jw_ki64(&w, "exports", (int64_t)st->exports);
    gs_jw_ki64(&w, "records", (int64_t)st->records);
    gs_jw_ki64(&w, "requests", (int64_t)st->requests);
    gs_jw_ki64(&w, "kept", (int64_t)st->kept);
    gs_jw_ki64(&w, "in_flight", st->in_flight);
    gs_jw_ki64(&w, "waited_ms", st->waited_ms);
    gs_jw_ki64(&w, "pause_ms", st->pause_ms);
    gs_jw_key(&w, "relations");
    gs_jw_obj(&w);
    for (size_t i = 0; i < st->n_relations; i++)
        json_relation(&w, &st->relations[i]);
    gs_jw_end(&w);
    reasons_json(&w, st->reasons.v, st->reasons.n);
    return cli_json_end(cli, &w);
}
