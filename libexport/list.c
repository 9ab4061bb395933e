/* A relation that is one list: paged, each element made a record, from the first source that works. */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct cap_user cap_user_graphql(yyjson_val *u)
{
    yyjson_val *email = yyjson_obj_get(u, "publicEmail"), *bot = yyjson_obj_get(u, "bot");
    return (struct cap_user){.id = cap_id(u), .username = gs_json_str(u, "username"), .name = gs_json_str(u, "name"),
                             .public_email = yyjson_is_null(email) ? "" : yyjson_get_str(email), .state = gs_json_str(u, "state"),
                             .bot = yyjson_is_bool(bot) ? yyjson_get_bool(bot) : -1};
}

int64_t cap_id(yyjson_val *v)
{
    int64_t id;
    if (gs_json_i64(v, "id", &id))
        return id;
    const char *gid = gs_json_str(v, "id");
    id = gid ? gl_gid(gid) : 0;
    return id < 0 ? 0 : id;
}

void cap_copy(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from)
{
    yyjson_val *v = yyjson_obj_get(obj, from);
    gs_jw_key(w, key);
    if (v)
        gs_jw_val(w, v);
    else
        gs_jw_null(w);
}

void cap_copy_known(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from)
{
    if (yyjson_obj_get(obj, from))
        cap_copy(w, key, obj, from);
}

void cap_copy_date(struct gs_jw *w, const char *key, yyjson_val *obj, const char *from)
{
    const char *s = gs_json_str(obj, from);
    gs_jw_key(w, key);
    if (s)
        gs_jw_strn(w, s, strnlen(s, 10));
    else
        gs_jw_null(w);
}

void cap_nested_label(struct gs_jw *w, yyjson_val *label)
{
    const char *gid = gs_json_str(label, "id");
    bool project = gid && strstr(gid, "/ProjectLabel/");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(label));
    cap_copy(w, "title", label, yyjson_obj_get(label, "title") ? "title" : "name");
    cap_copy(w, "color", label, "color");
    if (!project)
        gs_jw_kstr(w, "project_id", NULL);
    cap_copy(w, "description", label, "description");
    cap_copy_known(w, "created_at", label, "createdAt");
    cap_copy_known(w, "updated_at", label, "updatedAt");
    gs_jw_kstr(w, "type", project ? "ProjectLabel" : "GroupLabel");
    gs_jw_end(w);
}

int cap_fetch(struct cap_group *g, const char *relation, const char *endpoint, const struct gl_pages *p,
              struct gs_err *err)
{
    struct ledger_fetch f = {.group_id = g->id, .relation = relation, .via = "api", .endpoint = endpoint,
                             .announced = p->announced, .pages = p->pages, .records = p->records, .bytes = p->bytes,
                             .retries = p->retries, .waits_ms = p->waited_ms > 0 ? (uint64_t)p->waited_ms : 0};
    return book_fetch(g->cap->book, &f, err);
}

int cap_fetch_one(struct cap_group *g, const char *relation, const char *endpoint, const struct gl_response *rsp,
                  uint64_t records, struct gs_err *err)
{
    struct gl_pages p = {.pages = 1, .records = records, .bytes = rsp->body.len,
                         .retries = rsp->tries > 0 ? rsp->tries - 1 : 0, .waited_ms = rsp->waited_ms,
                         .announced = rsp->total};
    return cap_fetch(g, relation, endpoint, &p, err);
}

int cap_compare(struct cap_group *g, const char *relation, const struct gl_pages *p, uint64_t twice, struct gs_err *err)
{
    char before[64] = "no number announced", after[96];
    if (twice == 0)
        return 0;
    if (p->announced >= 0)
        snprintf(before, sizeof before, "%" PRId64 " announced", p->announced);
    snprintf(after, sizeof after, "%" PRIu64 " came, %" PRIu64 " of them twice", p->records, twice);
    return book_changed(g->cap->book, g->id, relation, before, after, err);
}

static void rel_free(struct cap_rel *rel)
{
    sink_abandon(rel->sink);
    idset_release(&rel->seen);
    if (rel->free_extra)
        rel->free_extra(rel->extra);
    free(rel);
}

static int rel_record(struct cap_rel *rel, yyjson_val *v, struct gs_err *err)
{
    struct capture *c = rel->group->cap;
    const struct cap_source *src = &rel->spec->sources[rel->source];
    if (!yyjson_is_obj(v))
        return gs_fail(err, GS_E_REMOTE, "an element of the list of %s is no object", rel->spec->relation);
    bool is_new;
    if (idset_add(&rel->seen, cap_id(v), &is_new, err))
        return -1;
    if (!is_new) {
        rel->twice++;
        return 0;
    }
    struct gs_jw w;
    uint64_t other = rel->other;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    if (src->record(rel, v, &w, err) || gs_jw_finish(&w))
        return -1;
    if (c->json.len == 0) {
        rel->foreign += rel->other == other;
        return 0;
    }
    return sink_add(rel->sink, gs_buf_str(&c->json), c->json.len, err);
}

static int rel_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct cap_rel *rel = cookie;
    if (rel->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (rel_record(rel, v, err)) {
            rel->broke = true;
            return gs_wrap(err, "%s of group '%s'", rel->spec->relation, rel->group->full_path);
        }
    return 0;
}

static int rel_send(struct cap_rel *rel, struct gs_err *err);

/* Attributes that the server has by its version, and that this source does not show. */
static int lacking(struct cap_rel *rel, const struct cap_source *src, uint64_t stored, struct gs_err *err)
{
    struct cap_group *g = rel->group;
    const struct gl_instance *in = g->cap->o.instance;
    for (size_t i = 0; i < GS_COUNT(src->lacks) && src->lacks[i].attribute; i++)
        if (in && gl_instance_at_least(in, src->lacks[i].major, src->lacks[i].minor) &&
            book_lost(g->cap->book, g->id, rel->spec->relation, "attribute-not-readable", src->lacks[i].attribute, stored,
                      NULL, err))
            return -1;
    return 0;
}

static int rel_finish(struct cap_rel *rel, const struct gl_pages *pages, struct gs_err *err)
{
    struct cap_group *g = rel->group;
    struct gl_pages own = *pages, *p = &own;
    own.records -= rel->other;
    const struct cap_source *src = &rel->spec->sources[rel->source];
    uint64_t stored = sink_stored(rel->sink);
    if (cap_fetch(g, rel->spec->relation, src->endpoint, p, err) ||
        cap_compare(g, rel->spec->relation, p, rel->twice, err))
        return -1;
    bool books = !sink_is_shelf(rel->sink); /* the balance is that of the export otherwise */
    if ((books && rel->twice > 0 &&
         book_left_out(g->cap->book, g->id, rel->spec->relation, "duplicate-record", NULL, rel->twice, NULL, err)) ||
        (books && rel->foreign > 0 && book_left_out(g->cap->book, g->id, rel->spec->relation, "inherited-record", NULL, rel->foreign,
                                           NULL, err)))
        return -1;
    if (src->loss && stored > 0 && book_lost(g->cap->book, g->id, rel->spec->relation, src->loss, NULL, stored, NULL, err))
        return -1;
    if (stored > 0 && lacking(rel, src, stored, err))
        return -1;
    int64_t announced = rel->announced >= 0 ? rel->announced : p->announced;
    return sink_close(gs_steal(&rel->sink), announced, rel->foreign + rel->twice, err);
}

/* The same words for every group where a source never works, whichever came first. */
static const char *words(const struct cap_group *g, unsigned number, const struct gs_err *why)
{
    const struct cap_luck *l = &g->cap->luck[number];
    return l->ok == 0 && l->refused > 0 ? l->why : why->text;
}

/* Is the server new enough to be asked this way? Who does not know the version asks. */
static bool fits(const struct cap_group *g, const struct cap_source *src)
{
    const struct gl_instance *in = g->cap->o.instance;
    return src->since_major == 0 || !in || gl_instance_at_least(in, src->since_major, src->since_minor);
}

/*
 * The source to try after one that the server refused; n_sources when there is none. A server that did not refuse the document, but
 * to be asked over GraphQL at all, is not asked for the same list by another document.
 */
static unsigned next_source(struct cap_rel *rel, const struct gs_err *why)
{
    const struct cap_rel_spec *s = rel->spec;
    const struct cap_source *was = &s->sources[rel->source];
    unsigned i = rel->source + 1;
    for (; i < s->n_sources; i++) {
        bool same = was->connection && s->sources[i].connection && strcmp(was->connection, s->sources[i].connection) == 0;
        if (same && why->code != GS_E_GRAPHQL)
            cap_refused(rel->group->cap, s->sources[i].number, why);
        else if (!same || cap_try(rel->group->cap, s->sources[i].number))
            break;
    }
    return i;
}

/* Goes on with the next source. *out_more false: there is none, and the books say so. */
static int rel_next(struct cap_rel *rel, const struct gs_err *why, bool *out_more, struct gs_err *err)
{
    struct cap_group *g = rel->group;
    const struct cap_rel_spec *s = rel->spec;
    const struct cap_source *was = &s->sources[rel->source];
    unsigned next = next_source(rel, why);
    sink_abandon(gs_steal(&rel->sink));
    *out_more = next < s->n_sources;
    if (!*out_more && !s->otherwise)
        return cap_missing(g, s->relation, why, err);
    if (book_fallback(g->cap->book, g->id, s->relation, was->name, *out_more ? s->sources[next].name : s->otherwise_name,
                      words(g, was->number, why), err))
        return -1;
    if (!*out_more)
        return s->otherwise(g, err);
    rel->source = next;
    idset_release(&rel->seen);
    rel->twice = rel->foreign = rel->other = 0;
    return rel_send(rel, err);
}

static void rel_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct cap_rel *rel = cookie;
    struct cap_group *g = rel->group;
    struct capture *c = g->cap;
    struct gs_err err = {0};
    struct cap_luck *luck = &c->luck[rel->spec->sources[rel->source].number];
    bool more = false;
    int r = 0;
    if (result->code == GS_OK) {
        luck->ok++;
        r = rel_finish(rel, p, &err);
    } else if (!c->failed && !rel->broke && cap_denied(result)) {
        cap_refused(c, rel->spec->sources[rel->source].number, result);
        r = rel_next(rel, result, &more, &err);
    } else {
        err = *result;
        r = -1;
    }
    if (r)
        cap_fail(c, &err);
    if (r == 0 && more)
        return;
    rel_free(rel);
    cap_end(g);
}

static int rel_send(struct cap_rel *rel, struct gs_err *err)
{
    struct cap_group *g = rel->group;
    const struct cap_source *src = &rel->spec->sources[rel->source];
    if (cap_sink(g, rel->spec->relation, &rel->sink, err))
        return -1;
    struct gl_list_opts tagged = {.tag = {g->id, rel->spec->relation}, .live = g->late};
    if (!src->path) {
        const char *doc = gl_document(src->document);
        return doc ? gl_graphql_list_with(g->cap->client, doc, g->full_path, src->connection, &tagged, rel_page, rel_done, rel,
                                          err)
                   : gs_fail(err, GS_E_INTERNAL, "no GraphQL document '%s'", src->document);
    }
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "%s", g->id, src->path);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    return gl_list_with(g->cap->client, path, &tagged, rel_page, rel_done, rel, err);
}

int cap_rel_start_with(struct cap_group *g, const struct cap_rel_spec *spec, int64_t announced, void *extra,
                       void (*free_extra)(void *extra), struct gs_err *err)
{
    struct cap_rel *rel = calloc(1, sizeof *rel);
    if (!rel) {
        if (free_extra)
            free_extra(extra);
        return gs_fail(err, GS_E_NOMEM, "no memory for relation '%s'", spec->relation);
    }
    *rel = (struct cap_rel){
        .group = g, .spec = spec, .announced = announced, .extra = extra, .free_extra = free_extra};
    idset_init(&rel->seen);
    cap_begin(g);
    while (rel->source + 1 < spec->n_sources && !fits(g, &spec->sources[rel->source]))
        rel->source++;
    /* sources that never worked for other groups are passed over */
    unsigned number = spec->sources[rel->source].number;
    bool more = true;
    int r = 0;
    if (cap_try(g->cap, number)) {
        r = rel_send(rel, err);
    } else {
        struct gs_err why = {0};
        gs_fail(&why, GS_E_GRAPHQL, "%s", g->cap->luck[number].why);
        r = rel_next(rel, &why, &more, err);
    }
    if (r == 0 && more)
        return 0;
    rel_free(rel);
    cap_end(g);
    return r;
}

int cap_rel_start(struct cap_group *g, const struct cap_rel_spec *spec, struct gs_err *err)
{
    return cap_rel_start_with(g, spec, -1, NULL, NULL, err);
}
