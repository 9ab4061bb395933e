/* What the instance and the token are, found out with three or four requests. */
#include "rest.h"

#include "libcommon/clock.h"

#include <string.h>

#define MIN_MAJOR 14
#define TURNS_TO_LEAVE 4 /* of the engine, until what was submitted has been sent where nothing need be waited for */

/* What is asked for in any case, all at once. */
enum { EARLY_TOKEN, EARLY_VERSION, EARLY_USER, N_EARLY };
static const char *const early_paths[N_EARLY] = {"/personal_access_tokens/self", "/metadata", "/user"};

struct early {
    unsigned refs; /* one of the probe, and one of each request on its way */
    bool came[N_EARLY];
    struct gl_response rsp[N_EARLY];
};

struct early_job {
    struct early *e;
    unsigned i;
};

struct probe {
    struct gl_client *client;
    struct gl_instance *out;
    struct early *early;
    bool clock_known;
};

static void early_unref(struct early *e)
{
    if (!e || --e->refs > 0)
        return;
    for (size_t i = 0; i < N_EARLY; i++)
        gl_response_release(&e->rsp[i]);
    free(e);
}

static void early_dropped(void *cookie)
{
    struct early_job *j = cookie;
    early_unref(j->e);
    free(j);
}

static void early_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct early_job *j = cookie;
    (void)req;
    j->e->came[j->i] = true;
    j->e->rsp[j->i] = *rsp;
    rsp->body = (struct gs_buf){0}; /* moved */
    rsp->link = NULL;
    early_dropped(j);
}

static int early_ask(struct probe *p, unsigned i, struct gs_err *err)
{
    struct early_job *j = malloc(sizeof *j);
    struct gl_request *r = j ? gl_request_new(GL_GET, "%s", early_paths[i]) : NULL;
    if (!r) {
        free(j);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    *j = (struct early_job){.e = p->early, .i = i};
    r->done = early_done;
    r->drop = early_dropped;
    r->cookie = j;
    p->early->refs++;
    if (gl_submit(p->client, r, err) == 0)
        return 0;
    early_dropped(j);
    return -1;
}

/* The answer to the request that was sent early, or else one that is sent now. */
static int answer_to(struct probe *p, const char *path, struct gl_response *rsp, struct gs_err *err)
{
    struct early *e = p->early;
    for (unsigned i = 0; i < N_EARLY; i++) {
        if (strcmp(path, early_paths[i]) != 0)
            continue;
        *rsp = (struct gl_response){.outcome = GL_NOT_SENT};
        while (!e->came[i])
            if (gl_poll(p->client, 1000, err))
                return -1;
        *rsp = e->rsp[i];
        e->rsp[i] = (struct gl_response){0}; /* moved */
        if (rsp->err.code == GS_OK)
            return 0;
        *err = rsp->err;
        return -1;
    }
    struct gl_request *r = gl_request_new(GL_GET, "%s", path);
    *rsp = (struct gl_response){.outcome = GL_NOT_SENT};
    return r ? gl_perform(p->client, r, rsp, err) : gs_fail(err, GS_E_NOMEM, "no memory for a request");
}

/*
 * One GET of an object. *out is NULL when the server answers `tolerated` (a status), which older versions do for what
 * they do not have.
 */
static int get_object(struct probe *p, const char *path, int tolerated, yyjson_doc **out, struct gs_err *err)
{
    struct gl_response rsp;
    *out = NULL;
    int64_t before = gs_unix_ms();
    int n = answer_to(p, path, &rsp, err);
    if (rsp.date_ms && !p->clock_known) { /* the header has whole seconds: half of one is as good a guess as any */
        p->out->clock_offset_ms = rsp.date_ms + 500 - (before + (gs_unix_ms() - before) / 2);
        p->clock_known = p->out->clock_known = true;
    }
    if (n && rsp.outcome == GL_ANSWERED && rsp.status == tolerated) {
        gs_err_clear(err);
        n = 0;
    } else if (n == 0) {
        n = gl_response_json(&rsp, out, err);
        if (n == 0 && !yyjson_is_obj(yyjson_doc_get_root(*out)))
            n = gs_fail(err, GS_E_REMOTE, "the server's answer is no JSON object");
        if (n) {
            yyjson_doc_free(*out);
            *out = NULL;
            gs_wrap(err, "GET %s", path);
        }
    }
    gl_response_release(&rsp);
    return n;
}

static void copy_text(char *out, size_t cap, const char *s)
{
    snprintf(out, cap, "%s", s ? s : "");
}

static int tristate(yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);
    return yyjson_is_bool(v) ? yyjson_is_true(v) : -1;
}

static void read_scopes(struct gl_instance *o, yyjson_val *scopes)
{
    size_t i, max;
    yyjson_val *v;
    if (!yyjson_is_arr(scopes))
        return;
    o->scopes_known = true;
    yyjson_arr_foreach(scopes, i, max, v)
    {
        const char *s = yyjson_get_str(v);
        if (!s)
            continue;
        o->scope_api |= strcmp(s, "api") == 0;
        o->scope_read_api |= strcmp(s, "read_api") == 0;
        o->scope_read_repository |= strcmp(s, "read_repository") == 0;
        o->scope_sudo |= strcmp(s, "sudo") == 0;
    }
}

/* The token's own record: since 15.5, and for tokens that are neither OAuth nor of a CI job. */
static int probe_token(struct probe *p, bool read_only, struct gs_err *err)
{
    struct gl_instance *o = p->out;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (get_object(p, "/personal_access_tokens/self", 404, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!root)
        return 0;
    read_scopes(o, yyjson_obj_get(root, "scopes"));
    copy_text(o->token_expires_at, sizeof o->token_expires_at, gs_json_str(root, "expires_at"));
    if (gs_json_true(root, "revoked") || tristate(root, "active") == 0)
        return gs_fail(err, GS_E_TOKEN, "the token is %s%s", gs_json_true(root, "revoked") ? "revoked" : "not active",
                       o->token_expires_at[0] ? " or expired" : "");
    if (o->scopes_known && !o->scope_api && !(read_only && o->scope_read_api))
        return gs_fail(err, GS_E_SCOPE, "the token lacks the scope 'api'%s", read_only ? " or 'read_api'" : "");
    return 0;
}

static int parse_version(struct gl_instance *o, yyjson_val *root, struct gs_err *err)
{
    const char *v = gs_json_str(root, "version");
    if (!v || sscanf(v, "%9d.%9d", &o->major, &o->minor) != 2)
        return gs_fail(err, GS_E_REMOTE, "the server does not tell its version");
    copy_text(o->version, sizeof o->version, v);
    copy_text(o->revision, sizeof o->revision, gs_json_str(root, "revision"));
    o->enterprise = tristate(root, "enterprise");
    if (o->enterprise < 0 && strstr(v, "-ee"))
        o->enterprise = 1;
    else if (o->enterprise < 0 && !strchr(v, '-')) /* a pre-release shows neither */
        o->enterprise = 0;
    return 0;
}

static int probe_version(struct probe *p, struct gs_err *err)
{
    GS_AUTO(yyjson_doc) doc = NULL;
    GS_AUTO(yyjson_doc) old = NULL;
    if (get_object(p, "/metadata", 404, &doc, err))
        return -1;
    if (!doc && get_object(p, "/version", 0, &old, err))
        return -1;
    if (parse_version(p->out, yyjson_doc_get_root(doc ? doc : old), err))
        return -1;
    if (p->out->major < MIN_MAJOR)
        return gs_fail(err, GS_E_TOO_OLD, "'%s' is GitLab %s", gl_client_host(p->client), p->out->version);
    return 0;
}

static int probe_user(struct probe *p, struct gs_err *err)
{
    struct gl_instance *o = p->out;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (get_object(p, "/user", 0, &doc, err))
        return -1;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (!gs_json_i64(root, "id", &o->user_id) || !gs_json_str(root, "username"))
        return gs_fail(err, GS_E_REMOTE, "the server does not tell whose token this is");
    copy_text(o->username, sizeof o->username, gs_json_str(root, "username"));
    o->is_admin = tristate(root, "is_admin"); /* shown to admins only: absent says nothing on old versions */
    o->can_create_group = tristate(root, "can_create_group");
    return 0;
}

/* `work`, while the requests are on their way. */
static int probe_beside(struct gl_client *c, int (*work)(void *, struct gs_err *), void *cookie, struct gs_err *err)
{
    for (int i = 0; i < TURNS_TO_LEAVE && work; i++)
        if (gl_poll(c, 0, err))
            return -1;
    return work ? work(cookie, err) : 0;
}

int gl_instance_probe(struct gl_client *c, bool read_only, struct gl_instance *out, struct gs_err *err)
{
    return gl_instance_probe_beside(c, read_only, NULL, NULL, out, err);
}

int gl_instance_probe_beside(struct gl_client *c, bool read_only, int (*work)(void *cookie, struct gs_err *err), void *cookie,
                             struct gl_instance *out, struct gs_err *err)
{
    *out = (struct gl_instance){.enterprise = -1, .is_admin = -1, .can_create_group = -1};
    struct probe p = {.client = c, .out = out, .early = calloc(1, sizeof *p.early)};
    if (!p.early)
        return gs_fail(err, GS_E_NOMEM, "no memory for a probe");
    p.early->refs = 1;
    int r = 0;
    for (unsigned i = 0; i < N_EARLY && r == 0; i++)
        r = early_ask(&p, i, err);
    if (r == 0)
        r = probe_beside(c, work, cookie, err) || probe_token(&p, read_only, err) || probe_version(&p, err) || probe_user(&p, err) ? -1 : 0;
    early_unref(p.early);
    return r;
}

bool gl_instance_at_least(const struct gl_instance *i, int major, int minor)
{
    return i->major > major || (i->major == major && i->minor >= minor);
}
