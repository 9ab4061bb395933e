#include "libreplay/persona.h"

#include "libcommon/clock.h"
#include "libcommon/fault.h"

#include <inttypes.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define ENDS_AFTER_DAYS 7 /* of a token that nobody takes away */
#define MAX_TRIES 3       /* at making one whose answer does not come */
#define NAME_LEN 64
#define DAY_MS ((int64_t)86400000)

/* In the table of facts: the prefix with the name of a token -> "USER ID", ID 0 as long as it is not known. */
#define FACT "impersonation/"

enum phase { WANTED, ASKED, CAME, LOST, READY, REFUSED };

struct persona {
    struct personas *all;
    int64_t user, id;
    enum phase phase;
    unsigned tries;
    char name[NAME_LEN];
    struct gs_secret token;
    struct gs_err why;
};

struct personas {
    struct state *s;
    struct gl_client *c;
    const struct gs_log *log;
    int64_t clock_offset_ms;
    char prefix[NAME_LEN / 2];
    struct persona **v;
    size_t n, cap;
    uint64_t made;
    bool came;
};

/* ---- life ---- */

int personas_new(struct state *s, struct gl_client *c, const struct gl_instance *target, const char *set_id, const struct gs_log *log,
                 struct personas **out, struct gs_err *err)
{
    struct personas *p = calloc(1, sizeof *p);
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "no memory for people");
    *p = (struct personas){.s = s, .c = c, .log = log, .clock_offset_ms = target->clock_offset_ms};
    snprintf(p->prefix, sizeof p->prefix, "groupsnap %.8s %08" PRIx32, set_id, randombytes_random());
    *out = p;
    return 0;
}

void personas_free(struct personas *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        gs_secret_release(&p->v[i]->token);
        free(p->v[i]);
    }
    free(p->v);
    free(p);
}

static int fact(struct personas *p, const struct persona *one, struct gs_err *err)
{
    char key[sizeof FACT + NAME_LEN], value[64];
    snprintf(key, sizeof key, FACT "%s", one->name);
    snprintf(value, sizeof value, "%" PRId64 " %" PRId64, one->user, one->id);
    return state_meta_set(p->s, key, value, err);
}

/* ---- asking ---- */

/* A name that no token had before, written down before it is used. */
static int want(struct personas *p, struct persona *one, struct gs_err *err)
{
    snprintf(one->name, sizeof one->name, "%s-%" PRIu64, p->prefix, ++p->made);
    one->phase = WANTED;
    one->id = 0;
    return fact(p, one, err);
}

static int find(struct personas *p, int64_t user, struct persona **out, struct gs_err *err)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i]->user == user) {
            *out = p->v[i];
            return 0;
        }
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        struct persona **v = realloc(p->v, cap * sizeof(struct persona *));
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for people");
        p->v = v;
        p->cap = cap;
    }
    struct persona *one = calloc(1, sizeof *one);
    if (!one)
        return gs_fail(err, GS_E_NOMEM, "no memory for people");
    *one = (struct persona){.all = p, .user = user};
    p->v[p->n++] = *out = one;
    return want(p, one, err);
}

int persona_ask(struct personas *p, int64_t user, struct gl_request *q, enum persona_state *out, struct gs_err *why, struct gs_err *err)
{
    struct persona *one = NULL;
    *out = PERSONA_READY;
    if (!q->graphql) {
        free(q->sudo);
        q->sudo = gs_asprintf("%" PRId64, user);
        return q->sudo ? 0 : gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    if (find(p, user, &one, err))
        return -1;
    q->token = one->phase == READY ? &one->token : NULL;
    *out = one->phase == READY ? PERSONA_READY : one->phase == REFUSED ? PERSONA_REFUSED : PERSONA_WAIT;
    if (one->phase == REFUSED)
        *why = one->why;
    return 0;
}

/* ---- making a token ---- */

/* The answer holds the token: it is wiped when it was read. */
static int read_token(struct persona *one, struct gl_response *rsp, struct gs_err *err)
{
    yyjson_doc *doc = NULL;
    int r = gl_response_json(rsp, &doc, err);
    yyjson_val *root = r ? NULL : yyjson_doc_get_root(doc), *token = yyjson_obj_get(root, "token");
    int64_t user = 0;
    if (r == 0 && (!yyjson_is_str(token) || !gs_json_i64(root, "id", &one->id)))
        r = gs_fail(err, GS_E_REMOTE, "the server's answer has no token");
    if (r == 0 && gs_json_i64(root, "user_id", &user) && user != one->user)
        r = gs_fail(err, GS_E_AUTHOR, "a token for user %" PRId64 " is one of user %" PRId64, one->user, user);
    if (r == 0)
        r = gs_secret_set(&one->token, yyjson_get_str(token), yyjson_get_len(token), err);
    if (token)
        sodium_memzero((char *)(uintptr_t)yyjson_get_str(token), yyjson_get_len(token));
    yyjson_doc_free(doc);
    if (rsp->body.data)
        sodium_memzero(rsp->body.data, rsp->body.len);
    return r;
}

static void on_token(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct persona *one = cookie;
    (void)req;
    one->all->came = true;
    one->why = (struct gs_err){0};
    if (rsp->outcome == GL_ANSWERED && rsp->err.code == GS_OK && read_token(one, rsp, &one->why) == 0) {
        one->phase = CAME;
        return;
    }
    if (one->why.code == GS_OK)
        one->why = rsp->err;
    /* a refusal is final; without an answer it may have been made, under a name that is written down */
    bool refused = rsp->outcome == GL_ANSWERED && rsp->status >= 400 && rsp->status < 500 && rsp->status != 429;
    one->phase = refused || ++one->tries >= MAX_TRIES ? REFUSED : LOST;
}

static int ask(struct personas *p, struct persona *one, struct gs_err *err)
{
    char ends[GS_TIME_LEN];
    gs_autobuf body;
    struct gs_jw w;
    gs_buf_init(&body, 4096);
    gs_time_format(gs_unix_ms() + p->clock_offset_ms + ENDS_AFTER_DAYS * DAY_MS, ends);
    ends[10] = '\0';
    gs_jw_init(&w, &body, 0, err);
    gs_jw_obj(&w);
    gs_jw_kstr(&w, "name", one->name);
    gs_jw_key(&w, "scopes");
    gs_jw_arr(&w);
    gs_jw_str(&w, "api");
    gs_jw_end(&w);
    gs_jw_kstr(&w, "expires_at", ends);
    gs_jw_end(&w);
    struct gl_request *q = gs_jw_finish(&w) ? NULL : gl_request_new(GL_POST, "/users/%" PRId64 "/impersonation_tokens", one->user);
    if (!q || !(q->body = gs_buf_steal(&body, &q->body_len))) {
        gl_request_free(q);
        return err->code ? -1 : gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    q->done = on_token;
    q->cookie = one;
    one->phase = ASKED;
    gs_fault("persona.token.before");
    return gl_submit(p->c, q, err);
}

int personas_submit(struct personas *p, struct gs_err *err)
{
    for (size_t i = 0; p && i < p->n; i++)
        if (p->v[i]->phase == WANTED && ask(p, p->v[i], err))
            return -1;
    return 0;
}

int personas_turn(struct personas *p, struct gs_err *err)
{
    if (!p || !p->came)
        return 0;
    p->came = false;
    for (size_t i = 0; i < p->n; i++) {
        struct persona *one = p->v[i];
        if (one->phase == LOST && want(p, one, err))
            return -1;
        if (one->phase != CAME)
            continue;
        if (fact(p, one, err)) /* durable before anything of this turn leaves */
            return -1;
        gs_fault("persona.token.after");
        one->phase = READY;
    }
    return 0;
}

bool personas_came(const struct personas *p)
{
    return p && p->came;
}

/* ---- taking them away ---- */

struct row {
    char name[NAME_LEN];
    int64_t user, id;
};

static int db_fail(struct state *s, struct gs_err *err)
{
    return gs_fail(err, GS_E_STATE_DAMAGED, "state file '%s': %s", state_path(s), sqlite3_errmsg(state_db(s)));
}

static int read_rows(struct state *s, struct row **out, size_t *n, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    *out = NULL;
    *n = 0;
    if (sqlite3_prepare_v2(state_db(s), "SELECT substr(key, ?1), value FROM meta WHERE key GLOB '" FACT "*'", -1, &st, NULL) != SQLITE_OK)
        return db_fail(s, err);
    sqlite3_bind_int(st, 1, (int)sizeof FACT);
    int rc, r = 0;
    while (r == 0 && (rc = sqlite3_step(st)) != SQLITE_DONE) {
        struct row *v = rc == SQLITE_ROW ? realloc(*out, (*n + 1) * sizeof *v) : NULL;
        if (!v) {
            r = rc == SQLITE_ROW ? gs_fail(err, GS_E_NOMEM, "no memory for people") : db_fail(s, err);
            break;
        }
        const char *value = (const char *)sqlite3_column_text(st, 1);
        char *end = NULL;
        *out = v;
        v += (*n)++;
        *v = (struct row){0};
        snprintf(v->name, sizeof v->name, "%s", (const char *)sqlite3_column_text(st, 0));
        v->user = value ? strtoll(value, &end, 10) : 0;
        v->id = end ? strtoll(end, NULL, 10) : 0;
    }
    sqlite3_finalize(st);
    return r;
}

static int forget(struct state *s, const struct row *row, struct gs_err *err)
{
    sqlite3_stmt *st = NULL;
    char key[sizeof FACT + NAME_LEN];
    snprintf(key, sizeof key, FACT "%s", row->name);
    if (state_begin(s, err))
        return -1;
    int rc = sqlite3_prepare_v2(state_db(s), "DELETE FROM meta WHERE key = ?1", -1, &st, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
        rc = sqlite3_step(st) == SQLITE_DONE ? SQLITE_OK : SQLITE_ERROR;
    }
    sqlite3_finalize(st);
    if (rc != SQLITE_OK) {
        int r = db_fail(s, err);
        state_rollback(s);
        return r;
    }
    return state_commit(s, err);
}

/* Tokens of that name: a proxy may have sent a request twice. */
struct search {
    const char *name;
    int64_t ids[8];
    size_t n;
};

static int on_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct search *x = cookie;
    size_t i, max;
    yyjson_val *it;
    (void)text;
    (void)len;
    (void)err;
    yyjson_arr_foreach(array, i, max, it)
    {
        const char *name = gs_json_str(it, "name");
        if (name && strcmp(name, x->name) == 0 && !gs_json_true(it, "revoked") && x->n < GS_COUNT(x->ids) && gs_json_i64(it, "id", &x->ids[x->n]))
            x->n++;
    }
    return 0;
}

static int delete_token(struct gl_client *c, int64_t user, int64_t id, struct gs_err *why)
{
    struct gl_response rsp;
    struct gl_request *q = gl_request_new(GL_DELETE, "/users/%" PRId64 "/impersonation_tokens/%" PRId64, user, id);
    if (!q)
        return gs_fail(why, GS_E_NOMEM, "out of memory");
    q->idempotent = true;
    gs_fault("persona.revoke.before");
    int r = gl_perform(c, q, &rsp, why);
    if (r && rsp.outcome == GL_ANSWERED && rsp.status == 404)
        r = 0;
    gl_response_release(&rsp);
    gs_fault("persona.revoke.after");
    return r;
}

/* 0: it is gone, or was never made. */
static int take_away(struct gl_client *c, struct row *row, struct gs_err *why)
{
    struct search x = {.name = row->name};
    struct gl_pages pages;
    gs_autofree char *path = gs_asprintf("/users/%" PRId64 "/impersonation_tokens?state=active", row->user);
    if (!path)
        return gs_fail(why, GS_E_NOMEM, "out of memory");
    if (row->id && delete_token(c, row->user, row->id, why))
        return -1;
    if (gl_list_all(c, path, on_page, &x, &pages, why))
        return why->http == 404 ? 0 : -1; /* the user is gone, and his tokens with him */
    for (size_t i = 0; i < x.n; i++)
        if (delete_token(c, row->user, x.ids[i], why))
            return -1;
    return 0;
}

int personas_revoke(struct state *s, struct gl_client *c, const struct gs_log *log, unsigned *out_left, struct gs_err *err)
{
    gs_autofree struct row *rows = NULL;
    size_t n;
    *out_left = 0;
    if (read_rows(s, &rows, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct gs_err why = {0};
        if (take_away(c, &rows[i], &why) == 0) {
            if (forget(s, &rows[i], err))
                return -1;
            continue;
        }
        ++*out_left;
        gs_logf(log, GS_LOG_WARN, "the impersonation token '%s' of user %" PRId64 " of the target is not revoked yet: %s", rows[i].name, rows[i].user,
                why.text);
    }
    return 0;
}

int personas_alive(struct state *s, unsigned *out, struct gs_err *err)
{
    gs_autofree struct row *rows = NULL;
    size_t n;
    *out = 0;
    if (read_rows(s, &rows, &n, err))
        return -1;
    *out = (unsigned)n;
    return 0;
}

/* ---- whether it holds ---- */

int persona_is(int64_t user, yyjson_val *author, struct gs_err *err)
{
    int64_t id = 0;
    const char *gid = gs_json_str(author, "id");
    if (gid)
        id = gl_gid(gid);
    else
        gs_json_i64(author, "id", &id);
    if (id == user)
        return 0;
    return gs_fail(err, GS_E_AUTHOR, "made as user %" PRId64 " of the target, it is of user %" PRId64 " there", user, id);
}

int personas_check(struct gl_client *c, const struct gl_instance *target, int64_t user, struct gs_err *err)
{
    struct gl_response rsp;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (target->is_admin != 1)
        return gs_fail(err, GS_E_FORBIDDEN, "--as-authors needs the token of an administrator of the target, and this one is of '%s'", target->username);
    if (target->scopes_known && !target->scope_sudo)
        return gs_fail(err, GS_E_SCOPE, "--as-authors needs a token with the scope sudo besides api");
    if (user == 0 || user == target->user_id)
        return 0;
    struct gl_request *q = gl_request_new(GL_GET, "/user");
    if (!q || !(q->sudo = gs_asprintf("%" PRId64, user))) {
        gl_request_free(q);
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    }
    q->live = true;
    int r = gl_perform(c, q, &rsp, err);
    if (r == 0)
        r = gl_response_json(&rsp, &doc, err) || persona_is(user, yyjson_doc_get_root(doc), err) ? -1 : 0;
    gl_response_release(&rsp);
    return r ? gs_wrap(err, "acting as another user") : 0;
}
