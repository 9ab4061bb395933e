#include "libreplay/users.h"

#include "libreplay/users_csv.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One person of the bundle while he is looked for. */
struct person {
    struct match *m;
    struct user_row row;
    bool busy;
    unsigned n_candidates, next; /* hits of a search that are still to be looked at one by one */
    int64_t candidates[20];
    const char *why; /* the best reason so far for there being nobody */
    const struct users_csv_line *line;
};

struct match {
    const struct users_opts *o;
    struct gl_client *client;
    const struct gl_instance *target;
    struct users_csv *csv;
    bool *used; /* lines of the map that were found by a person */
    struct users_coverage *cover;
    unsigned in_flight;
    bool failed;
    struct gs_err err;
};

static int ask(struct person *p, const char *path_fmt, const char *arg, int64_t id,
               void (*done)(void *, struct gl_request *, struct gl_response *));

static void person_free(struct person *p)
{
    user_row_release(&p->row);
    free(p);
}

/* The first failure ends the matching; what is on the wire is waited for. */
static void give_up(struct person *p, const struct gs_err *why)
{
    struct match *m = p->m;
    if (!m->failed)
        m->err = *why;
    m->failed = true;
    person_free(p);
}

static void settle(struct person *p, int64_t target, const char *username, const char *how)
{
    struct match *m = p->m;
    struct gs_err err = {0};
    p->row.target_id = target;
    free(p->row.target_username);
    free(p->row.how);
    p->row.target_username = username ? strdup(username) : NULL;
    p->row.how = strdup(how);
    if (!p->row.how || (username && !p->row.target_username)) {
        GS_IGNORE(gs_fail(&err, GS_E_NOMEM, "out of memory"), "it is passed on");
        give_up(p, &err);
        return;
    }
    if (m->o->each(m->o->cookie, &p->row, &err)) {
        give_up(p, &err);
        return;
    }
    m->cover->people++;
    if (!target)
        m->cover->nobody++;
    else if (strcmp(how, "csv") == 0)
        m->cover->by_csv++;
    else if (strcmp(how, "email") == 0)
        m->cover->by_email++;
    else
        m->cover->by_username++;
    person_free(p);
}

static void by_username(struct person *p);

/* Neither the map nor an address says who it is. */
static void not_found(struct person *p, const char *why)
{
    p->why = why;
    if (p->m->o->match_username && p->row.username && *p->row.username)
        by_username(p);
    else
        settle(p, 0, NULL, why);
}

static bool active(yyjson_val *u)
{
    const char *state = gs_json_str(u, "state");
    return state && strcmp(state, "active") == 0 && !gs_json_true(u, "locked");
}

/* Is the answer usable? Takes the person's end into its own hands when not. 404 is usable: doc NULL. */
static bool answer(struct person *p, struct gl_response *rsp, bool array, yyjson_doc **out)
{
    struct gs_err err = {0};
    *out = NULL;
    p->m->in_flight--;
    if (p->m->failed) {
        person_free(p);
        return false;
    }
    if (rsp->outcome == GL_ANSWERED && rsp->status == 404 && !array)
        return true;
    if (rsp->outcome != GL_ANSWERED || rsp->status < 200 || rsp->status > 299) {
        err = rsp->err;
        if (err.code == GS_OK)
            GS_IGNORE(gs_fail(&err, GS_E_REMOTE, "the server answered %d", rsp->status), "it is passed on");
        GS_IGNORE(gs_wrap(&err, "looking for source user '%s' on the target", p->row.username ? p->row.username : "?"),
                  "it is passed on");
        give_up(p, &err);
        return false;
    }
    yyjson_doc *doc = NULL;
    if (gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, &doc, &err)) {
        give_up(p, &err);
        return false;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (array ? !yyjson_is_arr(root) : !yyjson_is_obj(root)) {
        yyjson_doc_free(doc);
        GS_IGNORE(gs_fail(&err, GS_E_REMOTE, "the server's answer about a user is of the wrong shape"),
                  "it is passed on");
        give_up(p, &err);
        return false;
    }
    *out = doc;
    return true;
}

static int ask(struct person *p, const char *path_fmt, const char *arg, int64_t id,
               void (*done)(void *, struct gl_request *, struct gl_response *))
{
    struct gs_err err = {0};
    gs_autofree char *enc = arg ? gl_encode(arg) : NULL;
    struct gl_request *q = NULL;
    if (arg && enc)
        q = gl_request_new(GL_GET, "%s%s", path_fmt, enc);
    else if (!arg)
        q = gl_request_new(GL_GET, "%s%lld", path_fmt, (long long)id);
    if (!q) {
        GS_IGNORE(gs_fail(&err, GS_E_NOMEM, "out of memory"), "it is passed on");
        give_up(p, &err);
        return -1;
    }
    q->done = done;
    q->cookie = p;
    if (gl_submit(p->m->client, q, &err)) {
        give_up(p, &err);
        return -1;
    }
    p->m->in_flight++;
    return 0;
}

/* ---- by public email ---- */

static void on_candidate(void *cookie, struct gl_request *req, struct gl_response *rsp);

/* A better reason replaces a worse one: blocked > not confirmed > not found. */
static void reason(struct person *p, const char *why)
{
    static const char *const order[] = {"none:not-found", "none:not-confirmed", "none:blocked"};
    size_t have = 0, now = 0;
    for (size_t i = 0; i < GS_COUNT(order); i++) {
        have = strcmp(p->why, order[i]) == 0 ? i : have;
        now = strcmp(why, order[i]) == 0 ? i : now;
    }
    if (now > have)
        p->why = why;
}

static void next_candidate(struct person *p)
{
    if (p->next == p->n_candidates) {
        not_found(p, p->why);
        return;
    }
    GS_IGNORE(ask(p, "/users/", NULL, p->candidates[p->next++], on_candidate), "the failure is kept in the match");
}

/* An admin sees all addresses and whether they are confirmed; others see the public one, which GitLab takes from
 * confirmed ones only. */
static bool has_address(const struct person *p, yyjson_val *u)
{
    const char *pub = gs_json_str(u, "public_email"), *email = gs_json_str(u, "email");
    return (pub && strcasecmp(pub, p->row.public_email) == 0) || (email && strcasecmp(email, p->row.public_email) == 0);
}

static void judge(struct person *p, yyjson_val *u)
{
    int64_t id = 0;
    bool admin = yyjson_obj_get(u, "confirmed_at") != NULL;
    if (!has_address(p, u) || !gs_json_i64(u, "id", &id)) {
        next_candidate(p);
    } else if (!active(u)) {
        reason(p, "none:blocked");
        next_candidate(p);
    } else if (admin && !gs_json_str(u, "confirmed_at")) {
        reason(p, "none:not-confirmed");
        next_candidate(p);
    } else {
        settle(p, id, gs_json_str(u, "username"), "email");
    }
}

static void on_candidate(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    (void)req;
    if (!answer(p, rsp, false, &doc))
        return;
    if (doc)
        judge(p, yyjson_doc_get_root(doc));
    else
        next_candidate(p);
}

static void on_emails(void *cookie, struct gl_request *req, struct gl_response *rsp);

static void on_search(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    size_t i, max;
    yyjson_val *u;
    (void)req;
    if (!answer(p, rsp, true, &doc))
        return;
    /* the search is fuzzy about names: each hit has to show the address itself */
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, u)
    {
        int64_t id = 0;
        bool full = yyjson_obj_get(u, "email") || yyjson_obj_get(u, "public_email");
        if (!gs_json_i64(u, "id", &id) || p->n_candidates == GS_COUNT(p->candidates))
            continue;
        if (full && has_address(p, u)) {
            /* the one and only: addresses are unique */
            p->n_candidates = 0;
            judge(p, u);
            return;
        }
        p->candidates[p->n_candidates++] = id;
    }
    if (p->n_candidates == 0) {
        not_found(p, p->why);
        return;
    }
    if (p->m->target->is_admin == 1) {
        /* none shows it as its main or public address: a second address of one of them */
        GS_IGNORE(ask(p, "/users/", NULL, p->candidates[0], on_emails), "the failure is kept in the match");
        return;
    }
    next_candidate(p);
}

static void on_own_emails(void *cookie, struct gl_request *req, struct gl_response *rsp);

/* Admin: the user behind the candidate, then his further addresses. */
static void on_emails(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    (void)req;
    if (!answer(p, rsp, false, &doc))
        return;
    yyjson_val *u = doc ? yyjson_doc_get_root(doc) : NULL;
    free(p->row.target_username);
    p->row.target_username = gs_json_str(u, "username") ? strdup(gs_json_str(u, "username")) : NULL;
    if (u && !active(u))
        p->row.target_id = -1; /* blocked, should the address be his */
    char path[64];
    snprintf(path, sizeof(path), "/users/%lld/emails?per_page=", (long long)p->candidates[p->next]);
    GS_IGNORE(ask(p, path, NULL, 100, on_own_emails), "the failure is kept in the match");
}

static void on_own_emails(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    size_t i, max;
    yyjson_val *e;
    (void)req;
    if (!answer(p, rsp, true, &doc))
        return;
    bool blocked = p->row.target_id == -1;
    p->row.target_id = 0;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, e)
    {
        const char *address = gs_json_str(e, "email");
        if (!address || strcasecmp(address, p->row.public_email) != 0)
            continue;
        if (blocked) {
            reason(p, "none:blocked");
        } else if (!gs_json_str(e, "confirmed_at")) {
            reason(p, "none:not-confirmed");
        } else {
            gs_autofree char *name = p->row.target_username;
            p->row.target_username = NULL;
            settle(p, p->candidates[p->next], name, "email");
            return;
        }
    }
    if (++p->next < p->n_candidates) {
        GS_IGNORE(ask(p, "/users/", NULL, p->candidates[p->next], on_emails), "the failure is kept in the match");
        return;
    }
    free(p->row.target_username);
    p->row.target_username = NULL;
    not_found(p, p->why);
}

/* ---- by username, where that is wanted ---- */

static void on_namesake(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    int64_t id = 0;
    (void)req;
    if (!answer(p, rsp, true, &doc))
        return;
    yyjson_val *u = yyjson_arr_get_first(yyjson_doc_get_root(doc));
    const char *username = gs_json_str(u, "username");
    if (u && gs_json_i64(u, "id", &id) && username && strcasecmp(username, p->row.username) == 0 && active(u))
        settle(p, id, username, "username");
    else
        settle(p, 0, NULL, p->why);
}

static void by_username(struct person *p)
{
    GS_IGNORE(ask(p, "/users?username=", p->row.username, 0, on_namesake), "the failure is kept in the match");
}

/* ---- by the map ---- */

static void map_fail(struct person *p, const char *what)
{
    struct gs_err err = {0};
    char who[300];
    if (p->line->target_username)
        snprintf(who, sizeof(who), "'%s'", p->line->target_username);
    else
        snprintf(who, sizeof(who), "%lld", (long long)p->line->target_id);
    GS_IGNORE(gs_fail(&err, GS_E_USER_MAP, "%s line %u: target user %s %s", p->m->csv->name, p->line->line, who, what),
              "it is passed on");
    give_up(p, &err);
}

static void on_mapped(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct person *p = cookie;
    GS_AUTO(yyjson_doc) doc = NULL;
    bool by_name = p->line->target_id == 0;
    (void)req;
    if (!answer(p, rsp, by_name, &doc))
        return;
    yyjson_val *u = doc ? yyjson_doc_get_root(doc) : NULL;
    if (by_name)
        u = yyjson_arr_get_first(u);
    int64_t id = 0;
    const char *username = gs_json_str(u, "username");
    if (!u || !gs_json_i64(u, "id", &id) || !username ||
        (by_name && strcasecmp(username, p->line->target_username) != 0))
        map_fail(p, "is not on the target");
    else if (!by_name && p->line->target_username && strcasecmp(username, p->line->target_username) != 0)
        map_fail(p, "has another id than the line says");
    else if (!active(u))
        map_fail(p, "is blocked or not active");
    else
        settle(p, id, username, "csv");
}

/* ---- the walk ---- */

static void begin(struct person *p)
{
    struct match *m = p->m;
    struct gs_err err = {0};
    if (m->csv && users_csv_find(m->csv, p->row.src_id, p->row.username, p->row.public_email, &p->line, &err)) {
        give_up(p, &err);
        return;
    }
    if (p->line) {
        m->used[p->line - m->csv->lines] = true;
        if (!p->line->target_id && !p->line->target_username)
            settle(p, 0, NULL, "none:csv");
        else if (p->line->target_id)
            GS_IGNORE(ask(p, "/users/", NULL, p->line->target_id, on_mapped), "the failure is kept in the match");
        else
            GS_IGNORE(ask(p, "/users?username=", p->line->target_username, 0, on_mapped),
                      "the failure is kept in the match");
        return;
    }
    if (!p->row.public_email || !*p->row.public_email) {
        not_found(p, "none:no-public-email");
        return;
    }
    GS_IGNORE(ask(p, "/users?search=", p->row.public_email, 0, on_search), "the failure is kept in the match");
}

static int person_new(struct match *m, yyjson_val *u, struct person **out, struct gs_err *err)
{
    int64_t id;
    if (gs_json_need_i64(u, "id", &id, err))
        return gs_wrap(err, "a user of the bundle");
    struct person *p = calloc(1, sizeof(*p));
    if (!p)
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    const char *name = gs_json_str(u, "username"), *email = gs_json_str(u, "public_email");
    p->m = m;
    p->why = "none:not-found";
    p->row.src_id = id;
    p->row.username = strdup(name ? name : "");
    p->row.public_email = strdup(email ? email : "");
    if (!p->row.username || !p->row.public_email) {
        person_free(p);
        return gs_fail(err, GS_E_NOMEM, "out of memory");
    }
    *out = p;
    return 0;
}

static int walk(struct match *m, struct bundle *b, struct gs_err *err)
{
    GS_AUTO(bundle_cursor) c = NULL;
    if (bundle_cursor_open(b, 0, "users", &c, err))
        return -1;
    while (!m->failed) {
        const void *data;
        size_t len;
        GS_AUTO(yyjson_doc) doc = NULL;
        struct person *p = NULL;
        if (bundle_cursor_next(c, &data, &len, NULL, err))
            return -1;
        if (!data)
            return 0;
        if (record_parse(RECORD_NDJSON, data, len, NULL, &doc, err) || person_new(m, yyjson_doc_get_root(doc), &p, err))
            return -1;
        begin(p);
        while (!m->failed && m->in_flight && gl_free_slots(m->client) == 0)
            if (gl_poll(m->client, 200, err))
                return -1;
    }
    return 0;
}

/* Lines of the map that mean nobody of this bundle: one map may serve several bundles, so this is said and no error. */
static void note_unused(struct match *m)
{
    char *out = m->cover->unused;
    size_t len = 0, cap = sizeof m->cover->unused;
    unsigned n = 0;
    for (unsigned line = 0, best; n < 20; n++, line = best) {
        best = 0;
        for (size_t i = 0; i < m->csv->n; i++)
            if (!m->used[i] && m->csv->lines[i].line > line && (!best || m->csv->lines[i].line < best))
                best = m->csv->lines[i].line;
        if (!best)
            break;
        int added = snprintf(out + len, cap - len, "%s%u", n ? ", " : "", best);
        len += added > 0 && (size_t)added < cap - len ? (size_t)added : 0;
    }
}

int users_match(struct bundle *b, struct gl_client *c, const struct gl_instance *target, const struct users_opts *o,
                struct users_coverage *out, struct gs_err *err)
{
    struct match m = {.o = o, .client = c, .target = target, .cover = out};
    *out = (struct users_coverage){0};
    GS_AUTO(users_csv) map = NULL;
    gs_autofree bool *used = NULL;
    if (o->csv) {
        if (users_csv_load(o->csv, &map, err))
            return -1;
        used = calloc(map->n + 1, sizeof(*used));
        if (!used)
            return gs_fail(err, GS_E_NOMEM, "out of memory");
        m.csv = map;
        m.used = used;
    }
    int rc = walk(&m, b, err);
    if (rc)
        m.failed = true; /* those on the wire end quietly */
    struct gs_err ignored = {0};
    while (m.in_flight && !gl_poll(c, 200, &ignored))
        continue;
    if (rc)
        return -1;
    if (m.failed) {
        *err = m.err;
        return -1;
    }
    if (map)
        note_unused(&m);
    return 0;
}
