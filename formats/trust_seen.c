/* The memory of what was loaded: one JSON object, replaced as a whole under a lock. */
#include "formats/bundle.h"
#include "formats/trust.h"
#include "libcommon/cleanup.h"
#include "libcommon/clock.h"
#include "libcommon/io.h"
#include "libcommon/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define MAX_SEEN ((size_t)16 << 20)
#define SCHEMA "groupsnap.seen/1"

/* A bundle as it is remembered. The strings belong to its manifest or to the file's document. */
struct seen {
    const char *url, *root_path, *set_id, *created_at;
    int64_t root_id, serial;
};

static void of_bundle(const struct bundle *b, struct seen *out)
{
    yyjson_val *m = bundle_manifest(b), *root = yyjson_obj_get(m, "root");
    const char *url = gs_json_str(yyjson_obj_get(m, "source"), "url");
    *out = (struct seen){.url = url ? url : "",
                         .root_path = gs_json_str(root, "path"),
                         .set_id = bundle_set_id(b),
                         .created_at = gs_json_str(m, "created_at")};
    GS_IGNORE(!gs_json_i64(root, "id", &out->root_id), "checked when the bundle was opened");
    GS_IGNORE(!gs_json_i64(m, "serial", &out->serial), "checked when the bundle was opened");
}

static bool read_entry(yyjson_val *v, struct seen *out)
{
    *out = (struct seen){.url = gs_json_str(v, "url"),
                         .root_path = gs_json_str(v, "root_path"),
                         .set_id = gs_json_str(v, "set_id"),
                         .created_at = gs_json_str(v, "created_at")};
    return out->url && out->root_path && out->set_id && out->created_at && gs_json_i64(v, "root_id", &out->root_id) &&
           gs_json_i64(v, "serial", &out->serial);
}

static bool same_source(const struct seen *a, const struct seen *b)
{
    return a->root_id == b->root_id && strcmp(a->url, b->url) == 0;
}

/* *out_doc NULL: there is no such file. */
static int read_file(const char *path, yyjson_doc **out_doc, struct gs_err *err)
{
    gs_autobuf text;
    struct stat st;
    *out_doc = NULL;
    gs_buf_init(&text, MAX_SEEN);
    if (stat(path, &st) && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (gs_read_file(path, MAX_SEEN, &text, err))
        return -1;
    struct gs_err why = {0};
    if (gs_json_parse(gs_buf_str(&text), text.len, NULL, out_doc, &why))
        return gs_fail(err, GS_E_TRUST_STORE, "'%s': %s", path, why.text);
    yyjson_val *root = yyjson_doc_get_root(*out_doc), *v;
    const char *schema = gs_json_str(root, "schema");
    struct seen e;
    size_t i, max;
    bool ok = schema && strcmp(schema, SCHEMA) == 0 && yyjson_is_arr(yyjson_obj_get(root, "sources"));
    if (ok)
        yyjson_arr_foreach(yyjson_obj_get(root, "sources"), i, max, v) ok = ok && read_entry(v, &e);
    if (ok)
        return 0;
    yyjson_doc_free(*out_doc);
    *out_doc = NULL;
    return gs_fail(err, GS_E_TRUST_STORE, "'%s' is not of schema '" SCHEMA "'", path);
}

static bool find(yyjson_doc *doc, const struct seen *of, struct seen *out)
{
    size_t i, max;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "sources"), i, max,
                       v) if (read_entry(v, out) && same_source(out, of)) return true;
    return false;
}

int trust_seen_check(const char *path, const struct bundle *b, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct seen now, last;
    of_bundle(b, &now);
    if (read_file(path, &doc, err))
        return -1;
    if (!doc || !find(doc, &now, &last) || now.serial >= last.serial)
        return 0;
    return gs_fail(err, GS_E_ROLLBACK,
                   "a newer bundle of %s%sgroup '%s' was loaded before: serial %lld of %.19s, set %s; this one has "
                   "serial %lld of %.19s",
                   now.url, *now.url ? ", " : "", now.root_path, (long long)last.serial, last.created_at, last.set_id,
                   (long long)now.serial, now.created_at);
}

static void put_seen(struct gs_jw *w, const struct seen *s, const char *loaded_at)
{
    gs_jw_obj(w);
    gs_jw_kstr(w, "url", s->url);
    gs_jw_ki64(w, "root_id", s->root_id);
    gs_jw_kstr(w, "root_path", s->root_path);
    gs_jw_ki64(w, "serial", s->serial);
    gs_jw_kstr(w, "set_id", s->set_id);
    gs_jw_kstr(w, "created_at", s->created_at);
    gs_jw_kstr(w, "loaded_at", loaded_at);
    gs_jw_end(w);
}

static int write_file(const char *path, yyjson_doc *old, const struct seen *now, int64_t now_ms, struct gs_err *err)
{
    char time[GS_TIME_LEN];
    struct gs_jw w;
    gs_autobuf text;
    gs_buf_init(&text, MAX_SEEN);
    gs_time_format(now_ms, time);
    gs_jw_init(&w, &text, 2, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "schema", SCHEMA);
    gs_jw_key(&w, "sources");
    gs_jw_arr(&w);
    size_t i, max;
    yyjson_val *v;
    struct seen e;
    if (old)
        yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(old), "sources"), i, max, v)
        {
            if (read_entry(v, &e) && !same_source(&e, now))
                gs_jw_val(&w, v);
        }
    put_seen(&w, now, time);
    gs_jw_end(&w);
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || gs_buf_addc(&text, '\n', err))
        return -1;
    return gs_write_file(path, gs_buf_str(&text), text.len, 0600, true, err);
}

static int note_locked(const char *path, const struct seen *now, int64_t now_ms, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct seen last;
    if (read_file(path, &doc, err))
        return -1;
    if (doc && find(doc, now, &last) &&
        (last.serial > now->serial || (last.serial == now->serial && strcmp(last.set_id, now->set_id) == 0)))
        return 0;
    return write_file(path, doc, now, now_ms, err);
}

int trust_seen_note(const char *path, const struct bundle *b, int64_t now_ms, struct gs_err *err)
{
    struct seen now;
    of_bundle(b, &now);
    gs_autofree char *lock = gs_asprintf("%s.lock", path), *dir = strdup(path);
    if (!lock || !dir)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        if (gs_mkdirs(dir, 0700, err))
            return -1;
    }
    gs_autofd int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return gs_fail_sys(err, GS_E_IO, errno, "opening '%s'", lock);
    while (flock(fd, LOCK_EX))
        if (errno != EINTR)
            return gs_fail_sys(err, GS_E_IO, errno, "locking '%s'", lock);
    return note_locked(path, &now, now_ms, err);
}
