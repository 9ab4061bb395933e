#include "libreplay/runinfo.h"

#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libcommon/json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define KEY "run"
#define KEY_EARLIER "runs"
#define RUNS_KEPT 100
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

static void note_wait(struct run_info *i)
{
    struct run_wait *last = i->n_waits ? &i->waits[i->n_waits - 1] : NULL;
    if (!i->wait[0])
        return;
    if (last && strcmp(last->why, i->wait) == 0 && i->beat_ms - last->until_ms <= 3 * RUN_BEAT_MS) {
        last->until_ms = i->beat_ms;
    } else if (i->n_waits < RUN_WAITS) {
        struct run_wait *w = &i->waits[i->n_waits++];
        *w = (struct run_wait){.from_ms = i->beat_ms, .until_ms = i->beat_ms};
        memcpy(w->why, i->wait, sizeof w->why);
    }
}

int run_info_write(struct state *s, struct run_info *i, struct gs_err *err)
{
    note_wait(i);
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
    gs_jw_key(&w, "waits");
    gs_jw_arr(&w);
    for (unsigned k = 0; k < i->n_waits; k++) {
        gs_jw_obj(&w);
        gs_jw_kstr(&w, "why", i->waits[k].why);
        gs_jw_ki64(&w, "from_ms", i->waits[k].from_ms);
        gs_jw_ki64(&w, "until_ms", i->waits[k].until_ms);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
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

static void take_waits(yyjson_val *v, struct run_info *out)
{
    size_t i, max;
    yyjson_val *o;
    yyjson_arr_foreach(v, i, max, o)
    {
        if (out->n_waits == RUN_WAITS)
            break;
        struct run_wait *w = &out->waits[out->n_waits++];
        take_text(o, "why", w->why, sizeof w->why);
        w->from_ms = (int64_t)take_count(o, "from_ms");
        w->until_ms = (int64_t)take_count(o, "until_ms");
    }
}

static void take(yyjson_val *o, struct run_info *out)
{
    *out = (struct run_info){0};
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
    take_waits(yyjson_obj_get(o, "waits"), out);
}

/* A fact that is JSON; *out NULL: it is not there. */
static int read_fact(struct state *s, const char *key, yyjson_doc **out, struct gs_err *err)
{
    gs_autofree char *text = NULL;
    *out = NULL;
    if (state_meta_get(s, key, &text, err))
        return -1;
    if (!text || gs_json_parse(text, strlen(text), NULL, out, err) == 0)
        return 0;
    gs_wrap(err, "state file '%s': what it says about its runs", state_path(s));
    err->code = GS_E_STATE_DAMAGED;
    return -1;
}

int run_info_read(struct state *s, struct run_info *out, bool *out_found, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    *out = (struct run_info){0};
    *out_found = false;
    if (read_fact(s, KEY, &doc, err))
        return -1;
    *out_found = doc != NULL;
    if (doc)
        take(yyjson_doc_get_root(doc), out);
    return 0;
}

int run_info_keep(struct state *s, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) last = NULL;
    GS_AUTO(yyjson_doc) earlier = NULL;
    if (read_fact(s, KEY, &last, err) || read_fact(s, KEY_EARLIER, &earlier, err))
        return -1;
    if (!last)
        return 0;
    gs_autobuf b;
    struct gs_jw w;
    gs_buf_init(&b, 1 << 20);
    gs_jw_init(&w, &b, 0, err);
    gs_jw_arr(&w);
    yyjson_val *v, *all = yyjson_doc_get_root(earlier);
    size_t i, max, n = yyjson_arr_size(all);
    yyjson_arr_foreach(all, i, max, v)
    {
        if (n - i < RUNS_KEPT)
            gs_jw_val(&w, v);
    }
    gs_jw_val(&w, yyjson_doc_get_root(last));
    gs_jw_end(&w);
    return gs_jw_finish(&w) || state_meta_set(s, KEY_EARLIER, gs_buf_str(&b), err) ? -1 : 0;
}

int run_info_each(struct state *s, int (*one)(void *cookie, const struct run_info *i, struct gs_err *err), void *cookie,
                  struct gs_err *err)
{
    GS_AUTO(yyjson_doc) earlier = NULL;
    struct run_info info;
    bool found;
    if (read_fact(s, KEY_EARLIER, &earlier, err))
        return -1;
    yyjson_val *v, *all = yyjson_doc_get_root(earlier);
    size_t i, max;
    yyjson_arr_foreach(all, i, max, v)
    {
        take(v, &info);
        if (one(cookie, &info, err))
            return -1;
    }
    if (run_info_read(s, &info, &found, err))
        return -1;
    return found ? one(cookie, &info, err) : 0;
}
