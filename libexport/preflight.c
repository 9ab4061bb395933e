#include "libexport/preflight.h"

#include "libcommon/clock.h"
#include "libexport/capture.h"
#include "libgitlab/graphql.h"
#include "libgitlab/relations.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Rough bytes in a bundle, for an estimate: of a record, and of the tar members of a group. */
#define BYTES_PER_RECORD 90
#define BYTES_PER_GROUP 6000
#define PER_PAGE 100

static const struct {
    const char *name, *path;
} kinds[PREFLIGHT_KINDS] = {
    [PREFLIGHT_LABELS] = {"labels", "/labels?include_ancestor_groups=false&include_descendant_groups=false"
                                    "&only_group_labels=true&per_page=1"},
    [PREFLIGHT_MILESTONES] = {"milestones", "/milestones?state=all&include_ancestors=false&per_page=1"},
    [PREFLIGHT_BADGES] = {"badges", "/badges?per_page=1"},
    [PREFLIGHT_BOARDS] = {"boards", "/boards?per_page=1"},
    [PREFLIGHT_MEMBERS] = {"members", "/members?per_page=1"},
    [PREFLIGHT_ITERATIONS] = {"iterations", "/iterations?state=all&include_ancestors=false&per_page=1"},
    [PREFLIGHT_EPICS] = {"epics", "/epics?include_descendant_groups=false&include_ancestor_groups=false&state=all&per_page=1"},
};

struct flight {
    const struct preflight_opts *o;
    struct preflight *out;
    struct one {
        int64_t id;
        char *full_path;
    } *groups;
    size_t n, cap;
    uint64_t pages; /* of lists that have more than one, in the counted groups; iterations are read where there are some */
    bool failed;
    struct gs_err err;
};

struct count {
    struct flight *f;
    unsigned kind;
};

static void fail(struct flight *f, const struct gs_err *err)
{
    if (!f->failed) {
        f->failed = true;
        f->err = *err;
    }
    if (f->o->stop)
        *f->o->stop = 1;
}

static int add_group(struct flight *f, yyjson_val *v, struct gs_err *err)
{
    int64_t id;
    const char *full_path;
    if (gs_json_need_i64(v, "id", &id, err) || gs_json_need_str(v, "full_path", &full_path, err))
        return -1;
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 64;
        struct one *groups = realloc(f->groups, cap * sizeof *groups);
        if (!groups)
            return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", cap);
        f->groups = groups;
        f->cap = cap;
    }
    f->groups[f->n] = (struct one){id, strdup(full_path)};
    if (!f->groups[f->n].full_path)
        return gs_fail(err, GS_E_NOMEM, "no memory for groups");
    f->n++;
    f->out->avatars += gs_json_str(v, "avatar_url") != NULL;
    return 0;
}

static int page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct flight *f = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    while ((v = yyjson_arr_iter_next(&it)))
        if (add_group(f, v, err))
            return -1;
    if (f->o->progress)
        f->o->progress(f->o->cookie, f->n, 0);
    return 0;
}

static bool refused(const struct gs_err *err)
{
    return err->code == GS_E_FORBIDDEN || err->http == 403 || err->http == 404;
}

/* ---- one by one ---- */

static int root(struct flight *f, struct gs_err *err)
{
    const struct preflight_opts *o = f->o;
    gs_autofree char *enc = gl_encode(o->group);
    gs_autofree char *path = enc ? gs_asprintf("/groups/%s?with_projects=false", enc) : NULL;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (gl_get(o->client, path, &doc, err)) {
        if (err->http != 404)
            return gs_wrap(err, "group '%s'", o->group);
        gs_err_clear(err);
        return gs_fail(err, GS_E_GROUP_NOT_FOUND, "group '%s' was not found on %s", o->group, gl_client_host(o->client));
    }
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (add_group(f, v, err))
        return gs_wrap(err, "group '%s'", o->group);
    f->out->root_id = f->groups[0].id;
    snprintf(f->out->root_path, sizeof f->out->root_path, "%s", f->groups[0].full_path);
    return 0;
}

static int role(struct flight *f, struct gs_err *err)
{
    const struct gl_instance *i = f->o->instance;
    int64_t level;
    if (i->is_admin == 1) {
        f->out->role = "admin";
        return 0;
    }
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/members/all/%" PRId64, f->out->root_id, i->user_id);
    GS_AUTO(yyjson_doc) doc = NULL;
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    if (gl_get(f->o->client, path, &doc, err)) {
        if (!refused(err))
            return -1;
        gs_err_clear(err);
        f->out->role = "none";
    } else if (gs_json_i64(yyjson_doc_get_root(doc), "access_level", &level)) {
        f->out->role = capture_role_name(level);
    }
    return 0;
}

/* {"fullPath": ...} */
static int of_path(const char *full_path, struct gs_buf *out, struct gs_err *err)
{
    struct gs_jw w;
    gs_jw_init(&w, out, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "fullPath", full_path);
    gs_jw_end(&w);
    return gs_jw_finish(&w);
}

/* The same of a server on which epics are work items only: without a licence a group has no such type. */
static int tier_of_items(struct flight *f, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    gs_autobuf vars;
    gs_buf_init(&vars, 64 << 10);
    if (of_path(f->out->root_path, &vars, err))
        return -1;
    if (gl_graphql(f->o->client, gl_document("work_item_type_epic"), gs_buf_str(&vars), &doc, &data, NULL, err)) {
        if (err->code != GS_E_GRAPHQL && !refused(err))
            return -1;
        gs_err_clear(err);
        return 0;
    }
    yyjson_val *types = yyjson_obj_get(yyjson_obj_get(yyjson_obj_get(data, "group"), "workItemTypes"), "nodes");
    f->out->epics_are_items = yyjson_arr_size(types) > 0;
    f->out->tier = f->out->epics_are_items ? "premium or ultimate" : "free";
    return 0;
}

/* The tier is nowhere told; epics are there from Premium on. */
static int tier(struct flight *f, struct gs_err *err)
{
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "/epics?per_page=1", f->out->root_id);
    struct gl_response rsp;
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    if (f->o->instance->enterprise == 0) {
        gl_request_free(r);
        f->out->tier = "community edition";
        return 0;
    }
    int n = gl_perform(f->o->client, r, &rsp, err);
    int status = rsp.status;
    gl_response_release(&rsp);
    if (n == 0) {
        f->out->tier = "premium or ultimate";
        return 0;
    }
    if (!refused(err))
        return -1;
    gs_err_clear(err);
    f->out->tier = status == 403 ? "free" : NULL;
    return status == 404 && gl_instance_at_least(f->o->instance, 17, 2) ? tier_of_items(f, err) : 0;
}

/* Which way --via auto would take: asked of the status of an export, which starts nothing. */
static int way(struct flight *f, struct gs_err *err)
{
    const struct gl_instance *i = f->o->instance;
    struct preflight *p = f->out;
    struct gl_response rsp;
    if (i->scopes_known && !i->scope_api) {
        snprintf(p->why, sizeof p->why, "the token lacks the scope 'api', which an export needs");
        return 0;
    }
    if (p->role && strcmp(p->role, "owner") != 0 && strcmp(p->role, "admin") != 0) {
        snprintf(p->why, sizeof p->why, "the token's user is not an Owner of the group, which an export needs");
        return 0;
    }
    struct gl_request *r = gl_export_poll(p->root_id);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    int n = gl_perform(f->o->client, r, &rsp, err);
    enum gl_export_refusal no = gl_export_refusal(&rsp, false);
    gl_response_release(&rsp);
    p->by_export = n == 0;
    if (n == 0)
        return 0;
    if (no != GL_EXPORT_OFF && no != GL_EXPORT_NOT_OWNER)
        return -1;
    snprintf(p->why, sizeof p->why, "%s",
             no == GL_EXPORT_OFF ? "the source does not export relations (its setting bulk_import_enabled is off)"
                                 : "only an Owner may export the group");
    gs_err_clear(err);
    return 0;
}

static int latency(struct flight *f, struct gs_err *err)
{
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "?with_projects=false", f->out->root_id);
    if (!path)
        return gs_fail(err, GS_E_NOMEM, "no memory for a path");
    for (int i = 0; i < 3; i++) {
        GS_AUTO(yyjson_doc) doc = NULL;
        int64_t begun = gs_mono_ms();
        if (gl_get(f->o->client, path, &doc, err))
            return -1;
        int64_t ms = gs_mono_ms() - begun;
        if (i == 0 || ms < f->out->latency_ms)
            f->out->latency_ms = ms;
    }
    return 0;
}

/* ---- counting ---- */

/* Ten epics in an answer; of each its events, of states and of labels, where REST shows them. */
static void count_epics(struct flight *f, uint64_t n)
{
    if (!f->out->by_export)
        f->pages += (n + 9) / 10 + (f->out->epics_are_items ? 0 : 2 * n);
}

static void counted(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct count *c = cookie;
    struct flight *f = c->f;
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300) {
        f->out->kinds[c->kind].known |= rsp->total >= 0;
        uint64_t n = rsp->total > 0 ? (uint64_t)rsp->total : 0;
        f->out->kinds[c->kind].count += n;
        if (c->kind == PREFLIGHT_EPICS)
            count_epics(f, n);
        else if (n > PER_PAGE)
            f->pages += (n - 1) / PER_PAGE;
        if (n > 0 && c->kind == PREFLIGHT_ITERATIONS)
            f->pages += 2; /* cadences and iterations */
    } else if (!refused(&rsp->err)) {
        fail(f, &rsp->err);
    }
    free(c);
}

static void counted_items(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct count *c = cookie;
    struct gs_err err = {0};
    GS_AUTO(yyjson_doc) doc = NULL;
    yyjson_val *data = NULL;
    int64_t n = 0;
    if (gl_graphql_answer(rsp, &doc, &data, NULL, &err)) {
        if (err.code != GS_E_GRAPHQL && !refused(&err))
            fail(c->f, &err);
    } else if (gs_json_i64(yyjson_obj_get(yyjson_obj_get(data, "group"), "workItems"), "count", &n)) {
        c->f->out->kinds[c->kind].known = true;
        c->f->out->kinds[c->kind].count += n > 0 ? (uint64_t)n : 0;
        count_epics(c->f, n > 0 ? (uint64_t)n : 0);
    }
    free(c);
}

static struct gl_request *request(const struct flight *f, const struct one *g, unsigned kind, struct gs_err *err)
{
    gs_autobuf vars;
    gs_buf_init(&vars, 64 << 10);
    if (kind != PREFLIGHT_EPICS || !f->out->epics_are_items)
        return gl_request_new(GL_GET, "/groups/%" PRId64 "%s", g->id, kinds[kind].path);
    return of_path(g->full_path, &vars, err) ? NULL : gl_graphql_request(gl_document("work_items_count"), gs_buf_str(&vars), true);
}

static int ask(struct flight *f, const struct one *g, unsigned kind, struct gs_err *err)
{
    struct count *c = calloc(1, sizeof *c);
    struct gl_request *r = c ? request(f, g, kind, err) : NULL;
    if (!r) {
        free(c);
        return err->code ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *c = (struct count){.f = f, .kind = kind};
    r->done = r->graphql ? counted_items : counted;
    r->cookie = c;
    if (gl_submit(f->o->client, r, err) == 0)
        return 0;
    free(c);
    return -1;
}

static int count_all(struct flight *f, struct gs_err *err)
{
    size_t sample = f->n < PREFLIGHT_SAMPLE ? f->n : PREFLIGHT_SAMPLE;
    bool paid = f->out->tier && strcmp(f->out->tier, "premium or ultimate") == 0;
    for (size_t i = 0; i < sample && !f->failed; i++) {
        const struct one *g = &f->groups[i * f->n / sample];
        for (unsigned k = 0; k < PREFLIGHT_KINDS; k++)
            if ((k < PREFLIGHT_ITERATIONS || paid) && ask(f, g, k, err)) {
                fail(f, err);
                break;
            }
        while (!f->failed && gl_free_slots(f->o->client) == 0)
            if (gl_poll(f->o->client, 200, err))
                fail(f, err);
        if (f->o->progress)
            f->o->progress(f->o->cookie, f->n, i + 1);
    }
    while (gl_pending(f->o->client) > 0)
        if (gl_poll(f->o->client, 200, err)) {
            fail(f, err);
            break;
        }
    if (f->failed) {
        *err = f->err;
        return -1;
    }
    f->out->counted = sample;
    for (unsigned k = 0; k < PREFLIGHT_KINDS; k++)
        f->out->kinds[k].count = f->out->kinds[k].count * f->n / sample;
    f->pages = f->pages * f->n / sample;
    return 0;
}

static void estimate(struct flight *f)
{
    struct preflight *p = f->out;
    unsigned jobs = f->o->jobs ? f->o->jobs : 8;
    for (unsigned k = 0; k < PREFLIGHT_KINDS; k++)
        p->records += p->kinds[k].count;
    p->records += 2 * f->n; /* self, namespace_settings */
    /* group, labels, milestones, badges, boards twice, members, invitations; with epics and the like asked for on EE */
    /* each group: itself, its lists, and one request of the look at the end */
    p->requests = f->n * (10 + (f->o->instance->enterprise != 0)) + f->pages + p->avatars + 2 + 2 * (f->n / PER_PAGE);
    p->duration_ms = (int64_t)(p->requests / jobs + 1) * (p->latency_ms > 0 ? p->latency_ms : 1);
    p->bytes = p->records * BYTES_PER_RECORD + f->n * BYTES_PER_GROUP;
}

int preflight_run(const struct preflight_opts *o, struct preflight *out, struct gs_err *err)
{
    *out = (struct preflight){0};
    struct flight f = {.o = o, .out = out};
    for (unsigned k = 0; k < PREFLIGHT_KINDS; k++)
        out->kinds[k].name = kinds[k].name;
    int r = root(&f, err) || role(&f, err) || tier(&f, err) || way(&f, err) || latency(&f, err) ? -1 : 0;
    if (r == 0 && !o->no_subgroups) {
        gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/descendant_groups?all_available=true&order_by=id&sort=asc",
                                             out->root_id);
        struct gl_pages pages;
        r = path ? gl_list_all(o->client, path, page, &f, &pages, err) : gs_fail(err, GS_E_NOMEM, "no memory for a path");
    }
    if (r == 0)
        r = count_all(&f, err);
    out->groups = f.n;
    if (r == 0)
        estimate(&f);
    for (size_t i = 0; i < f.n; i++)
        free(f.groups[i].full_path);
    free(f.groups);
    return r;
}
