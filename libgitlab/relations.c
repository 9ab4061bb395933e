#include "libgitlab/relations.h"

#include "libcommon/clock.h"
#include "libcommon/json.h"
#include "libgitlab/rest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RELATIONS 512
#define STATUS_MAX ((size_t)64 << 20)
#define DOWNLOAD_MS (6 * 3600 * 1000) /* of one try; a stalled one ends much earlier */

/* ---- status ---- */

static bool name_ok(const char *s)
{
    size_t n = strlen(s);
    if (n == 0 || n > 63 || s[0] < 'a' || s[0] > 'z')
        return false;
    for (size_t i = 1; i < n; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '_'))
            return false;
    return true;
}

static bool read_state(yyjson_val *obj, enum gl_export_state *out)
{
    int64_t v;
    if (!gs_json_i64(obj, "status", &v) || v < GL_EXPORT_PENDING || v > GL_EXPORT_FINISHED)
        return false;
    *out = (enum gl_export_state)v;
    return true;
}

/* One line of printable text; the server prints exceptions of any kind there. */
static void read_error(yyjson_val *obj, char *out, size_t cap)
{
    const char *s = gs_json_str(obj, "error");
    size_t n = 0;
    for (; s && *s && n + 1 < cap; s++)
        out[n++] = (unsigned char)*s < 0x20 || *s == 0x7f ? ' ' : *s;
    while (n > 0 && ((unsigned char)out[n - 1] & 0xc0) == 0x80 && s && *s) /* no half character at the cut */
        n--;
    out[n] = '\0';
}

static int64_t read_count(yyjson_val *obj, const char *key)
{
    int64_t v;
    return gs_json_i64(obj, key, &v) && v >= 0 ? v : -1;
}

static int read_batches(yyjson_val *array, struct gl_export_relation *r, struct gs_err *err)
{
    size_t n = yyjson_arr_size(array);
    if (n > GL_EXPORT_MAX_BATCHES)
        return gs_fail(err, GS_E_LIMIT, "the export of '%s' has %zu batches, limit %d", r->name, n, GL_EXPORT_MAX_BATCHES);
    if (n == 0)
        return 0;
    r->batches = calloc(n, sizeof *r->batches);
    if (!r->batches)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu batches", n);
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it))) {
        struct gl_export_batch *b = &r->batches[r->n_told];
        int64_t number;
        if (!gs_json_i64(v, "batch_number", &number) || number < 1 || number > GL_EXPORT_MAX_BATCHES || !read_state(v, &b->state))
            continue;
        b->number = (unsigned)number;
        b->objects = read_count(v, "objects_count");
        read_error(v, b->error, sizeof b->error);
        r->n_told++;
    }
    return 0;
}

static int read_relation(yyjson_val *v, struct gl_export_status *out, struct gs_err *err)
{
    const char *name = gs_json_str(v, "relation"), *updated = gs_json_str(v, "updated_at");
    struct gl_export_relation r = {.objects = -1};
    if (!name || !name_ok(name) || !read_state(v, &r.state) || gl_export_find(out, name))
        return 0;
    snprintf(r.name, sizeof r.name, "%s", name);
    struct gs_err no_time = {0};
    if (updated && gs_time_parse(updated, &r.updated_ms, &no_time))
        r.updated_ms = 0;
    int64_t batches = read_count(v, "batches_count");
    r.batched = gs_json_true(v, "batched");
    if (r.batched && batches > GL_EXPORT_MAX_BATCHES)
        return gs_fail(err, GS_E_LIMIT, "the export of '%s' announces %" PRId64 " batches, limit %d", name, batches, GL_EXPORT_MAX_BATCHES);
    r.n_batches = r.batched && batches > 0 ? (unsigned)batches : 0;
    r.objects = read_count(v, "total_objects_count");
    read_error(v, r.error, sizeof r.error);
    if (r.batched && read_batches(yyjson_obj_get(v, "batches"), &r, err))
        return -1;
    out->v[out->n++] = r;
    return 0;
}

int gl_export_status_parse(const char *body, size_t len, struct gl_export_status *out, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    struct gs_json_opts o = {.max_bytes = STATUS_MAX};
    *out = (struct gl_export_status){0};
    if (gs_json_parse(body, len, &o, &doc, err)) {
        if (err->code != GS_E_NOMEM)
            err->code = GS_E_REMOTE;
        return gs_wrap(err, "status of the export");
    }
    yyjson_val *root = yyjson_doc_get_root(doc), *v;
    if (yyjson_is_null(root))
        return 0;
    if (!yyjson_is_arr(root) && !yyjson_is_obj(root))
        return gs_fail(err, GS_E_REMOTE, "the status of the export is neither a list nor an object");
    size_t n = yyjson_is_arr(root) ? yyjson_arr_size(root) : 1;
    if (n > MAX_RELATIONS)
        return gs_fail(err, GS_E_LIMIT, "the export has %zu relations, limit %d", n, MAX_RELATIONS);
    out->v = calloc(n + 1, sizeof *out->v);
    if (!out->v)
        return gs_fail(err, GS_E_NOMEM, "no memory for the status of an export");
    int r = 0;
    if (yyjson_is_obj(root)) {
        r = read_relation(root, out, err);
    } else {
        yyjson_arr_iter it = yyjson_arr_iter_with(root);
        while (r == 0 && (v = yyjson_arr_iter_next(&it)))
            r = read_relation(v, out, err);
    }
    if (r)
        gl_export_status_release(out);
    return r;
}

void gl_export_status_release(struct gl_export_status *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i].batches);
    free(s->v);
    *s = (struct gl_export_status){0};
}

const struct gl_export_relation *gl_export_find(const struct gl_export_status *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->v[i].name, name) == 0)
            return &s->v[i];
    return NULL;
}

/* ---- requests ---- */

struct gl_request *gl_export_start(int64_t group, bool batched)
{
    struct gl_request *r = gl_request_new(GL_POST, "/groups/%" PRId64 "/export_relations%s", group, batched ? "?batched=true" : "");
    if (!r)
        return NULL;
    r->live = true;
    r->read_only = true; /* it changes nothing in the group: may be repeated */
    r->accept_type = "any";
    return r;
}

struct gl_request *gl_export_poll(int64_t group)
{
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "/export_relations/status", group);
    if (r)
        r->live = true;
    return r;
}

struct gl_request *gl_export_download(int64_t group, const char *relation, unsigned batch)
{
    char more[64] = "";
    if (batch)
        snprintf(more, sizeof more, "&batched=true&batch_number=%u", batch);
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "/export_relations/download?relation=%s%s", group, relation, more);
    if (!r)
        return NULL;
    r->live = true;
    r->accept_type = "any";
    r->deadline_ms = DOWNLOAD_MS;
    return r;
}

/* ---- refusals ---- */

enum gl_export_refusal gl_export_refusal(const struct gl_response *rsp, bool download)
{
    if (rsp->outcome != GL_ANSWERED || (rsp->status >= 200 && rsp->status < 300))
        return GL_EXPORT_OTHER;
    char words[400];
    gl_error_text(rsp->status, rsp->content_type, gs_buf_str(&rsp->body), rsp->body.len, words, sizeof words);
    switch (rsp->status) {
    case 400:
        if (strcasestr(words, "export is batched"))
            return GL_EXPORT_IS_BATCHED;
        return strcasestr(words, "batch") ? GL_EXPORT_NO_BATCHES : GL_EXPORT_OTHER;
    case 403:
        return GL_EXPORT_NOT_OWNER;
    case 404:
        return download ? GL_EXPORT_GONE : GL_EXPORT_OFF;
    case 405:
        return download ? GL_EXPORT_OTHER : GL_EXPORT_OFF;
    default:
        return GL_EXPORT_OTHER;
    }
}

int gl_gzip_check(struct gl_gzip_head *h, const void *data, size_t len, struct gs_err *err)
{
    static const unsigned char magic[2] = {0x1f, 0x8b};
    const unsigned char *p = data;
    while (h->n < sizeof magic && len > 0) {
        if (*p != magic[h->n])
            return gs_fail(err, GS_E_REMOTE, "what the server sent is no gzip file");
        h->first[h->n++] = *p++;
        len--;
    }
    return 0;
}
