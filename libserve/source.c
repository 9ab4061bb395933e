#include "libserve/source.h"

#include "libcommon/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define JSON "application/json"
#define GZIP "application/gzip"
#define BATCH 1000
#define BATCHES_MAX 200   /* a batch is found by reading those before it */

/* In the order of GitLab's own export. */
static const struct {
    const char *name;
    unsigned major, minor;
    bool enterprise;
} exported[] = {
    {"milestones", 14, 0, false},  {"badges", 14, 0, false},             {"labels", 14, 0, false},
    {"boards", 14, 0, false},      {"members", 14, 0, false},            {"namespace_settings", 15, 0, false},
    {"epics", 14, 0, true},        {"epic_boards", 18, 4, true},         {"iterations_cadences", 15, 4, true},
    {"uploads", 14, 0, false},     {"self", 14, 0, false},
};

struct source {
    const struct content *c;
    struct source_opts o;
    char *version, *revision, *url;
    bool enterprise;
    struct people *people;
    struct source_schema *schema;
    struct tally *tally;
    const char *relations[TALLY_MAX_PARTS];
    size_t n_relations;
    char made_at[GS_TIME_LEN];
    atomic_bool *batched; /* of each group, as it was asked for last */
};

/* ---- life ---- */

static bool knows(const struct source *s, const char *relation)
{
    for (size_t i = 0; i < s->n_relations; i++)
        if (strcmp(s->relations[i], relation) == 0)
            return true;
    return false;
}

/* What this version and edition exports, and what the bundle holds besides of which an importer may know. */
static void list_relations(struct source *s)
{
    for (size_t i = 0; i < GS_COUNT(exported); i++)
        if (native_at_least(s->version, exported[i].major, exported[i].minor) && (s->enterprise || !exported[i].enterprise))
            s->relations[s->n_relations++] = exported[i].name;
    for (size_t i = 0; i < s->c->n_rows; i++) {
        const char *name = s->c->rows[i].relation;
        bool listed = false;
        for (size_t j = 0; j < GS_COUNT(exported); j++)
            listed |= strcmp(exported[j].name, name) == 0;
        if (!listed && !knows(s, name) && s->n_relations < TALLY_MAX_PARTS - 8)
            s->relations[s->n_relations++] = name;
    }
}

static int version(struct source *s, struct gs_err *err)
{
    yyjson_val *src = yyjson_obj_get(bundle_manifest(s->c->b), "source"), *ee = yyjson_obj_get(src, "enterprise");
    const char *v = s->o.version ? s->o.version : gs_json_str(src, "version"), *revision = gs_json_str(src, "revision");
    unsigned parts[3];
    if (!v)
        return gs_fail(err, GS_E_USAGE, "the bundle does not say which version of GitLab it is from: give one with --source-version");
    if (sscanf(v, "%u.%u.%u", &parts[0], &parts[1], &parts[2]) != 3)
        return gs_fail(err, GS_E_USAGE, "'%.60s' is no version such as 17.8.1-ee: give one with --source-version", v);
    if (parts[0] < 14)
        return gs_fail(err, GS_E_USAGE, "GitLab takes nothing from a source older than 14.0, and this is %.60s: give a newer one with --source-version", v);
    s->version = strdup(v);
    s->revision = strdup(revision ? revision : "0000000");
    size_t n = strlen(v);
    s->enterprise = !s->o.version && yyjson_is_bool(ee) ? yyjson_get_bool(ee) : n > 3 && strcmp(v + n - 3, "-ee") == 0;
    return s->version && s->revision ? 0 : gs_fail(err, GS_E_NOMEM, "no memory for a version");
}

int source_new(const struct content *c, const struct source_opts *o, struct source **out, struct gs_err *err)
{
    GS_AUTO(source) s = calloc(1, sizeof *s);
    if (!s)
        return gs_fail(err, GS_E_NOMEM, "no memory for a source");
    s->c = c;
    s->o = *o;
    gs_time_format(gs_unix_ms(), s->made_at);
    s->url = strdup(o->url ? o->url : "");
    s->batched = calloc(c->n_groups + 1, sizeof *s->batched);
    if (!s->url || !s->batched)
        return gs_fail(err, GS_E_NOMEM, "no memory for a source");
    if (version(s, err) || people_load(c, &s->people, err) || source_schema_new(c, s->people, &s->schema, err))
        return -1;
    list_relations(s);
    if (tally_new(c, s->relations, s->n_relations, &s->tally, err))
        return -1;
    *out = gs_steal(&s);
    return 0;
}

void source_free(struct source *s)
{
    if (!s)
        return;
    tally_free(s->tally);
    source_schema_free(s->schema);
    people_free(s->people);
    free(s->version);
    free(s->revision);
    free(s->url);
    free(s->batched);
    free(s);
}

const char *source_version(const struct source *s)
{
    return s->version;
}

const char *source_url(const struct source *s)
{
    return s->url;
}

bool source_enterprise(const struct source *s)
{
    return s->enterprise;
}

struct tally *source_tally(const struct source *s)
{
    return s->tally;
}

/* ---- answers ---- */

void reply_release(struct reply *r)
{
    gs_buf_release(&r->body);
    stream_close(gs_steal(&r->file));
}

int reply_message(struct reply *out, unsigned status, const char *key, const char *text, struct gs_err *err)
{
    struct gs_jw w;
    out->status = status;
    out->type = JSON;
    gs_buf_reset(&out->body);
    gs_jw_init(&w, &out->body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, key, text);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

struct asked {
    struct source *s;
    const struct source_request *rq;
    struct reply *out;
    size_t group;
    struct gs_err *err;
};

static const char *param(const struct asked *a, const char *name)
{
    return a->rq->param(a->rq->cookie, name);
}

static int begin(struct asked *a, struct gs_jw *w)
{
    a->out->status = 200;
    a->out->type = JSON;
    gs_jw_init(w, &a->out->body, 0, a->err);
    return 0;
}

static void seen(struct asked *a, enum tally_what what, const char *part)
{
    a->out->seen.what = what;
    a->out->seen.group = a->group;
    a->out->seen.part = part;
}

/* A whole number from 1 on; `otherwise` when it is not there. False: it is something else. */
static bool number(const char *text, unsigned otherwise, unsigned max, unsigned *out)
{
    char *end;
    *out = otherwise;
    if (!text || !*text)
        return true;
    unsigned long n = strtoul(text, &end, 10);
    if (*end || text[0] < '0' || text[0] > '9' || n < 1 || strlen(text) > 9)
        return false;
    *out = n > max ? max : (unsigned)n;
    return true;
}

/* The page that was asked for of a list of `total`: elements [*from, *to). */
static int page(struct asked *a, uint64_t total, uint64_t *from, uint64_t *to)
{
    struct reply *r = a->out;
    if (!number(param(a, "page"), 1, 1000000, &r->page) || !number(param(a, "per_page"), 20, 100, &r->per_page))
        return reply_message(r, 400, "error", "page and per_page are whole numbers from 1 on", a->err) ? -1 : 1;
    r->paged = true;
    r->total = total;
    *from = (uint64_t)(r->page - 1) * r->per_page;
    *from = *from < total ? *from : total;
    *to = *from + r->per_page < total ? *from + r->per_page : total;
    return 0;
}

/* The answer is such a list, which is begun: of `total`, those `from` to `to` follow. 1 and -1 as above. */
static int begin_page(struct asked *a, struct gs_jw *w, uint64_t total, uint64_t *from, uint64_t *to)
{
    int r = page(a, total, from, to);
    if (r)
        return r;
    begin(a, w);
    gs_jw_arr(w);
    return 0;
}

/* ---- the instance ---- */

static int answer_version(struct asked *a)
{
    struct gs_jw w;
    bool metadata = strcmp(a->rq->path, "/api/v4/metadata") == 0;
    begin(a, &w);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "version", a->s->version);
    gs_jw_kstr(&w, "revision", a->s->revision);
    if (metadata) {
        gs_jw_key(&w, "kas");
        gs_jw_obj(&w);
        gs_jw_kbool(&w, "enabled", false);
        gs_jw_kstr(&w, "externalUrl", NULL);
        gs_jw_kstr(&w, "version", NULL);
        gs_jw_end(&w);
    }
    gs_jw_kbool(&w, "enterprise", a->s->enterprise);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int answer_token(struct asked *a)
{
    struct gs_jw w;
    begin(a, &w);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", 1);
    gs_jw_kstr(&w, "name", "groupsnap");
    gs_jw_kbool(&w, "revoked", false);
    gs_jw_kstr(&w, "created_at", a->s->made_at);
    gs_jw_key(&w, "scopes");
    gs_jw_raw(&w, "[\"api\"]", 7);
    gs_jw_ki64(&w, "user_id", 1);
    gs_jw_kstr(&w, "last_used_at", a->s->made_at);
    gs_jw_kbool(&w, "active", true);
    gs_jw_kstr(&w, "expires_at", NULL);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

/* ---- groups ---- */

static void put_group(const struct asked *a, struct gs_jw *w, size_t at)
{
    const struct bundle_group *g = &a->s->c->groups[at];
    yyjson_val *v = source_schema_group(a->s->schema, at);
    gs_autofree char *url = gs_asprintf("%s/groups/%s", a->s->url, g->full_path);
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", g->id);
    gs_jw_kstr(w, "web_url", url);
    gs_jw_kstr(w, "name", gs_json_str(v, "name"));
    gs_jw_kstr(w, "path", content_slug(a->s->c, at));
    gs_jw_kstr(w, "description", gs_json_str(v, "description"));
    gs_jw_kstr(w, "visibility", gs_json_str(v, "visibility"));
    gs_jw_kstr(w, "avatar_url", NULL);
    gs_jw_kstr(w, "full_name", gs_json_str(v, "name"));
    gs_jw_kstr(w, "full_path", g->full_path);
    gs_jw_key(w, "parent_id");
    if (g->parent_id)
        gs_jw_i64(w, g->parent_id);
    else
        gs_jw_null(w);
    gs_jw_end(w);
}

/* The groups of `parent` (0: the root), those whose name or path holds `search`. */
static int answer_groups(struct asked *a, int64_t parent, const char *search)
{
    const struct content *c = a->s->c;
    uint64_t total = 0, from, to, i = 0;
    struct gs_jw w;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < c->n_groups; at++) {
            const char *name = gs_json_str(source_schema_group(a->s->schema, at), "name");
            bool mine = parent ? c->groups[at].parent_id == parent : at == 0;
            if (!mine || (search && *search && !strcasestr(c->groups[at].full_path, search) && !(name && strcasestr(name, search))))
                continue;
            if (pass == 0)
                total++;
            else if (i >= from && i < to)
                put_group(a, &w, at);
            i += (uint64_t)pass;
        }
        if (pass == 0) {
            int r = begin_page(a, &w, total, &from, &to);
            if (r)
                return r < 0 ? -1 : 0;
        }
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int answer_badges(struct asked *a)
{
    const struct content *c = a->s->c;
    int64_t group = c->groups[a->group].id;
    const struct content_row *row = content_row(c, a->group, "badges");
    uint64_t from, to;
    GS_AUTO(bundle_cursor) cur = NULL;
    struct gs_jw w;
    int r = page(a, row ? row->records : 0, &from, &to);
    if (r || bundle_cursor_open(c->b, group, "badges", &cur, a->err))
        return r > 0 ? 0 : -1;
    begin(a, &w);
    gs_jw_arr(&w);
    for (uint64_t i = 0; i < to; i++) {
        GS_AUTO(yyjson_doc) doc = NULL;
        const void *data;
        size_t len;
        if (bundle_cursor_next(cur, &data, &len, NULL, a->err))
            return -1;
        if (!data)
            break;
        if (i < from)
            continue;
        if (record_parse(bundle_encoding(c->b), data, len, NULL, &doc, a->err))
            return -1;
        yyjson_val *v = yyjson_doc_get_root(doc);
        int64_t id = (int64_t)i + 1;
        gs_json_i64(v, "id", &id);
        gs_jw_obj(&w);
        gs_jw_ki64(&w, "id", id);
        gs_jw_kstr(&w, "name", gs_json_str(v, "name"));
        gs_jw_kstr(&w, "link_url", gs_json_str(v, "link_url"));
        gs_jw_kstr(&w, "image_url", gs_json_str(v, "image_url"));
        gs_jw_kstr(&w, "rendered_link_url", gs_json_str(v, "link_url"));
        gs_jw_kstr(&w, "rendered_image_url", gs_json_str(v, "image_url"));
        gs_jw_kstr(&w, "kind", "group");
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

/* GraphQL tells the importers; this is how anybody else lists them. */
static int list_members(struct asked *a, bool inherited)
{
    gs_autofree struct membership *v = NULL;
    struct gs_jw w;
    uint64_t from, to;
    size_t n;
    if (people_members(a->s->people, a->group, true, inherited, &v, &n, a->err))
        return -1;
    int r = begin_page(a, &w, n, &from, &to);
    if (r)
        return r < 0 ? -1 : 0;
    for (uint64_t i = from; i < to && i < n; i++) {
        const struct person *who = people_by_id(a->s->people, v[i].user);
        gs_jw_obj(&w);
        gs_jw_ki64(&w, "id", v[i].user);
        gs_jw_kstr(&w, "username", who ? who->username : NULL);
        gs_jw_kstr(&w, "name", who ? who->name : NULL);
        gs_jw_kstr(&w, "state", "active");
        gs_jw_ki64(&w, "access_level", v[i].level);
        gs_jw_kstr(&w, "created_at", v[i].created_at);
        gs_jw_kstr(&w, "expires_at", v[i].expires_at);
        gs_jw_end(&w);
    }
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int answer_members(struct asked *a)
{
    return list_members(a, false);
}

static int answer_all_members(struct asked *a)
{
    return list_members(a, true);
}

/* ---- exports ---- */

static uint64_t records(const struct source *s, size_t group, const char *relation)
{
    const struct content_row *r = content_row(s->c, group, relation);
    return r ? r->records : 0;
}

static bool single(const char *relation)
{
    const struct relation *r = relation_find(relation);
    return r && r->single;
}

static uint64_t batch_size(const struct source *s, uint64_t n)
{
    uint64_t size = s->o.batch ? s->o.batch : BATCH;
    return n > size * BATCHES_MAX ? (n + BATCHES_MAX - 1) / BATCHES_MAX : size;
}

/* Uploads are one file, whatever was asked for: the tar cannot be divided without looking at all of it. */
static bool in_batches(const struct source *s, const char *relation)
{
    return !single(relation) && strcmp(relation, "uploads") != 0 && native_at_least(s->version, 16, 2);
}

static void put_status(const struct asked *a, struct gs_jw *w, const char *relation)
{
    const struct source *s = a->s;
    uint64_t n = strcmp(relation, "self") == 0 ? 1 : records(s, a->group, relation), size = batch_size(s, n), count = (n + size - 1) / size;
    bool batched = s->batched[a->group] && in_batches(s, relation);
    gs_jw_obj(w);
    gs_jw_kstr(w, "relation", relation);
    gs_jw_ki64(w, "status", 1);
    gs_jw_kstr(w, "error", NULL);
    gs_jw_kstr(w, "updated_at", s->made_at);
    if (native_at_least(s->version, 16, 2)) {
        gs_jw_kbool(w, "batched", batched);
        gs_jw_ki64(w, "batches_count", batched ? (int64_t)count : 0);
    }
    if (native_at_least(s->version, 16, 8))
        gs_jw_ki64(w, "total_objects_count", (int64_t)n);
    if (batched) {
        gs_jw_key(w, "batches");
        gs_jw_arr(w);
        for (uint64_t i = 0; i < count; i++) {
            gs_jw_obj(w);
            gs_jw_ki64(w, "status", 1);
            gs_jw_ki64(w, "batch_number", (int64_t)i + 1);
            gs_jw_ki64(w, "objects_count", (int64_t)(i + 1 < count ? size : n - i * size));
            gs_jw_kstr(w, "error", NULL);
            gs_jw_kstr(w, "updated_at", s->made_at);
            gs_jw_end(w);
        }
        gs_jw_end(w);
    }
    gs_jw_end(w);
}

/* With `relation` one object, without it all of them: that is what importers of all generations understand. */
static int answer_status(struct asked *a)
{
    const char *relation = param(a, "relation");
    struct gs_jw w;
    if (relation && !knows(a->s, relation))
        return reply_message(a->out, 404, "message", "404 Export not found", a->err);
    begin(a, &w);
    if (relation) {
        for (size_t i = 0; i < a->s->n_relations; i++)
            if (strcmp(a->s->relations[i], relation) == 0)
                seen(a, TALLY_ASKED, a->s->relations[i]);
        put_status(a, &w, relation);
        return gs_jw_finish(&w);
    }
    seen(a, TALLY_ASKED, NULL);
    gs_jw_arr(&w);
    for (size_t i = 0; i < a->s->n_relations; i++)
        put_status(a, &w, a->s->relations[i]);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int answer_start(struct asked *a)
{
    const char *batched = param(a, "batched");
    a->s->batched[a->group] = batched && strcmp(batched, "true") == 0;
    seen(a, TALLY_STARTED, NULL);
    return reply_message(a->out, 202, "message", "202 Accepted", a->err);
}

/* A relation without records is an empty file all the same: an importer takes a file that is not there for a failure. */
static int open_file(const struct asked *a, const char *relation, uint64_t from, uint64_t count, struct stream **out)
{
    const struct content *c = a->s->c;
    int64_t id = c->groups[a->group].id;
    struct stream *in;
    int r = strcmp(relation, "uploads") == 0 ? content_uploads(c, a->group, &in, a->err)
            : strcmp(relation, "self") == 0  ? content_self(c, a->group, &in, a->err)
            : single(relation)               ? stream_single(c->native, c->b, id, relation, NULL, &in, a->err)
                                             : stream_lines(c->native, c->b, id, relation, from, count, &in, a->err);
    return r || stream_gzip_fast(in, out, a->err) ? -1 : 0;
}

static int answer_download(struct asked *a)
{
    const char *relation = param(a, "relation"), *batched = param(a, "batched"), *batch = param(a, "batch_number"), *name = NULL;
    unsigned n = 0;
    if (!relation)
        return reply_message(a->out, 400, "error", "relation is missing", a->err);
    for (size_t i = 0; i < a->s->n_relations; i++)
        if (strcmp(a->s->relations[i], relation) == 0)
            name = a->s->relations[i];
    if (!name)
        return reply_message(a->out, 404, "message", "404 Export not found", a->err);
    bool by_batch = batched && strcmp(batched, "true") == 0;
    if (by_batch != (batch != NULL))
        return reply_message(a->out, 400, "error", "batched, batch_number are missing, at least one parameter must be provided", a->err);
    if (by_batch && !in_batches(a->s, name))
        return reply_message(a->out, 400, "message", "400 Bad request - Export is not batched", a->err);
    uint64_t all = records(a->s, a->group, name), size = batch_size(a->s, all), from = 0, count = UINT64_MAX;
    if (by_batch) {
        if (!number(batch, 1, UINT32_MAX, &n))
            return reply_message(a->out, 400, "error", "batch_number is invalid", a->err);
        from = (uint64_t)(n - 1) * size;
        count = size;
        if (from >= all)
            return reply_message(a->out, 404, "message", "404 Batch not found", a->err);
    }
    seen(a, TALLY_DOWNLOAD, name);
    a->out->seen.batch = n;
    a->out->status = 200;
    a->out->type = GZIP;
    return open_file(a, name, from, count, &a->out->file);
}

/* ---- routes ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A segment of the path, decoded; false: it is none. */
static bool decode(const char *s, size_t len, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (c == '%') {
            int high = i + 2 < len ? hex(s[i + 1]) : -1, low = high >= 0 ? hex(s[i + 2]) : -1;
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || n + 1 >= cap)
            return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0;
}

static size_t group_of(const struct source *s, const char *id)
{
    size_t at = SIZE_MAX;
    if (strspn(id, "0123456789") == strlen(id) && strlen(id) < 19)
        at = content_group(s->c, strtoll(id, NULL, 10));
    return at != SIZE_MAX ? at : content_group_path(s->c, id, strlen(id));
}

static int answer_graphql(struct asked *a)
{
    struct source_seen what;
    a->out->type = JSON;
    if (source_schema_answer(a->s->schema, a->rq->body ? a->rq->body : "", a->rq->body_len, &what, &a->out->body, a->err))
        return -1;
    a->group = what.group;
    a->out->status = what.malformed ? 400 : 200;
    seen(a, TALLY_ANSWERED, what.members ? "member-list" : what.projects ? "projects" : what.attributes ? "attributes" : NULL);
    snprintf(a->out->seen.detail, sizeof a->out->seen.detail, "graphql%s", what.introspection ? " introspection" : what.users ? " users" : "");
    return 0;
}

static int none(struct asked *a)
{
    struct gs_jw w;
    uint64_t from, to;
    int r = begin_page(a, &w, 0, &from, &to);
    if (r)
        return r < 0 ? -1 : 0;
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

static int answer_subgroups(struct asked *a)
{
    return answer_groups(a, a->s->c->groups[a->group].id, param(a, "search"));
}

static const struct {
    const char *tail, *method;
    int (*answer)(struct asked *a);
    const char *part;
} of_group[] = {
    {"/export_relations", "POST", answer_start, NULL},          {"/export_relations/status", "GET", answer_status, NULL},
    {"/export_relations/download", "GET", answer_download, NULL}, {"/badges", "GET", answer_badges, "badge-list"},
    {"/subgroups", "GET", answer_subgroups, "subgroups"},       {"/wikis", "GET", none, "wiki"},
    {"/members", "GET", answer_members, NULL},                    {"/members/all", "GET", answer_all_members, NULL},
};

static const struct {
    const char *path, *method;
    int (*answer)(struct asked *a);
} of_instance[] = {
    {"/api/v4/version", "GET", answer_version},
    {"/api/v4/metadata", "GET", answer_version},
    {"/api/v4/personal_access_tokens/self", "GET", answer_token},
    {"/api/graphql", "POST", answer_graphql},
};

static bool method_is(const char *method, const char *want)
{
    return strcmp(method, want) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(want, "GET") == 0);
}

static int unknown(struct asked *a, unsigned status)
{
    seen(a, TALLY_UNKNOWN, NULL);
    snprintf(a->out->seen.detail, sizeof a->out->seen.detail, "%.10s %.100s", a->rq->method, a->rq->path);
    return reply_message(a->out, status, "error", status == 405 ? "405 Not Allowed" : "404 Not Found", a->err);
}

static int answer_group(struct asked *a, const char *rest)
{
    char id[1100];
    const char *tail = strchr(rest, '/');
    bool known = false;
    if (!tail || !decode(rest, (size_t)(tail - rest), id, sizeof id))
        return unknown(a, 404);
    for (size_t i = 0; i < GS_COUNT(of_group); i++) {
        if (strcmp(of_group[i].tail, tail) != 0)
            continue;
        known = true;
        if (!method_is(a->rq->method, of_group[i].method))
            continue;
        a->group = group_of(a->s, id);
        if (a->group == SIZE_MAX)
            return reply_message(a->out, 404, "message", "404 Group Not Found", a->err);
        seen(a, TALLY_ANSWERED, of_group[i].part);
        return of_group[i].answer(a);
    }
    return unknown(a, known ? 405 : 404);
}

int source_answer(struct source *s, const struct source_request *rq, struct reply *out, struct gs_err *err)
{
    struct asked a = {.s = s, .rq = rq, .out = out, .group = SIZE_MAX, .err = err};
    *out = (struct reply){.type = JSON, .seen = {.what = TALLY_ANSWERED, .group = SIZE_MAX}};
    gs_buf_init(&out->body, (size_t)16 << 20);
    for (size_t i = 0; i < GS_COUNT(of_instance); i++)
        if (strcmp(of_instance[i].path, rq->path) == 0)
            return method_is(rq->method, of_instance[i].method) ? of_instance[i].answer(&a) : unknown(&a, 405);
    if (strcmp(rq->path, "/api/v4/groups") == 0)
        return method_is(rq->method, "GET") ? answer_groups(&a, 0, param(&a, "search")) : unknown(&a, 405);
    return strncmp(rq->path, "/api/v4/groups/", 15) == 0 ? answer_group(&a, rq->path + 15) : unknown(&a, 404);
}
