#include "libreplay/runinfo.h"

#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libcommon/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KEY "run"
#define SILENT_MS 15000 /* a run on another machine that said nothing for so long is taken for dead */

/* ---- processes ---- */

static bool read_small(const char *path, char *out, size_t cap)
{
    struct gs_err ignored = {0};
    gs_autobuf b;
    gs_buf_init(&b, 8192);
    out[0] = 0;
    if (gs_read_file(path, 8192, &b, &ignored))
        return false;
    snprintf(out, cap, "%.*s", (int)strcspn(gs_buf_str(&b), "\n"), gs_buf_str(&b));
    return true;
}

/* When the process began: field 22 of /proc/PID/stat, counted behind the name, which may hold anything. 0: not to be
 * found out. */
static int64_t started(int64_t pid)
{
    char path[64], line[4096];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    if (!read_small(path, line, sizeof line))
        return 0;
    const char *p = strrchr(line, ')');
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoll(p, NULL, 10) : 0;
}

void run_info_self(struct run_info *i)
{
    i->pid = getpid();
    i->proc_start = started(i->pid);
    if (gethostname(i->host, sizeof i->host))
        i->host[0] = 0;
    i->host[sizeof i->host - 1] = 0;
    read_small("/proc/sys/kernel/random/boot_id", i->boot, sizeof i->boot);
}

bool run_info_alive(const struct run_info *i)
{
    struct run_info me = {0};
    if (i->ended_ms)
        return false;
    run_info_self(&me);
    bool here = strcmp(me.host, i->host) == 0 && i->proc_start != 0 && me.proc_start != 0;
    if (!here)
        return gs_unix_ms() - i->beat_ms < SILENT_MS;
    return strcmp(me.boot, i->boot) == 0 && started(i->pid) == i->proc_start;
}

/* ---- the fact ---- */

int run_info_write(struct state *s, const struct run_info *i, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, 64 << 10);
    struct gs_jw w;
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "pid", i->pid);
    gs_jw_ki64(&w, "proc_start", i->proc_start);
    gs_jw_kstr(&w, "host", i->host);
    gs_jw_kstr(&w, "boot", i->boot);
    gs_jw_kstr(&w, "verb", i->verb);
    gs_jw_ki64(&w, "begun_ms", i->begun_ms);
    gs_jw_ki64(&w, "beat_ms", i->beat_ms);
    gs_jw_ki64(&w, "ended_ms", i->ended_ms);
    gs_jw_ki64(&w, "ended_at_begin", (int64_t)i->ended_at_begin);
    gs_jw_ki64(&w, "requests", (int64_t)i->requests);
    gs_jw_ki64(&w, "in_flight", (int64_t)i->in_flight);
    gs_jw_ki64(&w, "window", (int64_t)i->window);
    gs_jw_ki64(&w, "jobs", (int64_t)i->jobs);
    gs_jw_ki64(&w, "steps_per_1000s", (int64_t)(i->steps_per_s * 1000));
    gs_jw_kstr(&w, "wait", i->wait);
    gs_jw_ki64(&w, "wait_until_ms", i->wait_until_ms);
    gs_jw_kstr(&w, "end_code", i->end_code);
    gs_jw_kstr(&w, "end_text", i->end_text);
    gs_jw_end(&w);
    return gs_jw_finish(&w) || state_meta_set(s, KEY, gs_buf_str(&b), err) ? -1 : 0;
}

static void take_text(yyjson_val *o, const char *key, char *out, size_t cap)
{
    const char *v = gs_json_str(o, key);
    snprintf(out, cap, "%s", v ? v : "");
}

static uint64_t take_count(yyjson_val *o, const char *key)
{
    int64_t v = 0;
    return gs_json_i64(o, key, &v) && v > 0 ? (uint64_t)v : 0;
}

int run_info_read(struct state *s, struct run_info *out, bool *out_found, struct gs_err *err)
{
    gs_autofree char *text = NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    *out = (struct run_info){0};
    *out_found = false;
    if (state_meta_get(s, KEY, &text, err))
        return -1;
    if (!text)
        return 0;
    if (gs_json_parse(text, strlen(text), NULL, &doc, err)) {
        gs_wrap(err, "state file '%s': what it says about the last run", state_path(s));
        err->code = GS_E_STATE_DAMAGED;
        return -1;
    }
    yyjson_val *o = yyjson_doc_get_root(doc);
    out->pid = (int64_t)take_count(o, "pid");
    out->proc_start = (int64_t)take_count(o, "proc_start");
    take_text(o, "host", out->host, sizeof out->host);
    take_text(o, "boot", out->boot, sizeof out->boot);
    take_text(o, "verb", out->verb, sizeof out->verb);
    out->begun_ms = (int64_t)take_count(o, "begun_ms");
    out->beat_ms = (int64_t)take_count(o, "beat_ms");
    out->ended_ms = (int64_t)take_count(o, "ended_ms");
    out->ended_at_begin = take_count(o, "ended_at_begin");
    out->requests = take_count(o, "requests");
    out->in_flight = take_count(o, "in_flight");
    out->window = take_count(o, "window");
    out->jobs = take_count(o, "jobs");
    out->steps_per_s = (double)take_count(o, "steps_per_1000s") / 1000;
    take_text(o, "wait", out->wait, sizeof out->wait);
    out->wait_until_ms = (int64_t)take_count(o, "wait_until_ms");
    take_text(o, "end_code", out->end_code, sizeof out->end_code);
    take_text(o, "end_text", out->end_text, sizeof out->end_text);
    *out_found = true;
    return 0;
}
