/*
 * members: direct ones, over GraphQL, which knows the public e-mail address of each. Over REST that takes a look-up per user;
 * addresses are kept for the whole run, so that each user is looked up once. REST is asked in any case: it announces how many
 * there are, which GraphQL does not, and names the custom role of each.
 *
 * invitations: pending ones are counted, not carried.
 */
#include "libexport/capture_priv.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COLLECT_MAX ((size_t)256 << 20)
#define LOOKUPS 4 /* of one group at a time */

enum { LUCK_GRAPHQL = 7, LUCK_REST = 8 };

static void put_member(struct gs_jw *w, const struct cap_group *g, const struct cap_user *u)
{
    gs_jw_ki64(w, "source_id", g->id);
    gs_jw_kstr(w, "source_type", "Namespace");
    gs_jw_ki64(w, "user_id", u->id);
}

static void put_user(struct gs_jw *w, const struct cap_user *u)
{
    gs_jw_key(w, "user");
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", u->id);
    gs_jw_kstr(w, "public_email", u->public_email);
    gs_jw_kstr(w, "username", u->username);
    gs_jw_kstr(w, "name", u->name);
    gs_jw_kstr(w, "state", u->state);
    gs_jw_end(w);
}

static int put_created_by(struct capture *c, struct gs_jw *w, yyjson_val *by, struct gs_err *err)
{
    struct cap_user u = cap_user_graphql(by); /* over REST without an address */
    gs_jw_key(w, "created_by_id");
    if (u.id > 0)
        gs_jw_i64(w, u.id);
    else
        gs_jw_null(w);
    return cap_user(c, &u, err);
}

/* ---- custom roles: few members have one, so that a list serves ---- */

struct roles {
    struct cap_group *group;
    struct idset seen;
    struct role {
        int64_t user;
        char *json;
    } *v;
    size_t n, cap;
    bool broke; /* we failed, not the server */
};

static void roles_free(void *cookie)
{
    struct roles *r = cookie;
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        free(r->v[i].json);
    free(r->v);
    idset_release(&r->seen);
    free(r);
}

static int roles_add(struct roles *r, int64_t user, yyjson_val *role, struct gs_err *err)
{
    gs_autobuf b;
    gs_buf_init(&b, 1 << 20);
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 8;
        struct role *v = realloc(r->v, cap * sizeof *v);
        if (!v)
            return gs_fail(err, GS_E_NOMEM, "no memory for roles");
        r->v = v;
        r->cap = cap;
    }
    if (gs_json_write(role, &b, err))
        return -1;
    char *json = strdup(gs_buf_str(&b));
    if (!json)
        return gs_fail(err, GS_E_NOMEM, "no memory for roles");
    r->v[r->n++] = (struct role){.user = user, .json = json};
    return 0;
}

/* Nothing where REST was not read or shows none: absent and null mean the same. */
static void put_role(const struct roles *r, int64_t user, struct gs_jw *w)
{
    for (size_t i = 0; r && i < r->n; i++) {
        if (r->v[i].user != user)
            continue;
        gs_jw_key(w, "member_role");
        gs_jw_raw(w, r->v[i].json, strlen(r->v[i].json));
        break;
    }
}

/* ---- GraphQL ---- */

static int from_graphql(struct cap_rel *rel, yyjson_val *v, struct gs_jw *w, struct gs_err *err)
{
    yyjson_val *user = yyjson_obj_get(v, "user");
    struct cap_user u = cap_user_graphql(user);
    if (u.id <= 0) { /* an invitation that nobody has accepted yet: of the relation "invitations" */
        rel->other++;
        return 0;
    }
    gs_jw_obj(w);
    gs_jw_ki64(w, "id", cap_id(v));
    cap_copy(w, "access_level", yyjson_obj_get(v, "accessLevel"), "integerValue");
    put_member(w, rel->group, &u);
    cap_copy(w, "created_at", v, "createdAt");
    cap_copy(w, "updated_at", v, "updatedAt");
    if (put_created_by(rel->group->cap, w, yyjson_obj_get(v, "createdBy"), err))
        return -1;
    cap_copy_date(w, "expires_at", v, "expiresAt");
    put_role(rel->extra, u.id, w);
    put_user(w, &u);
    gs_jw_end(w);
    return cap_user(rel->group->cap, &u, err);
}

/* ---- REST ---- */

/* id -> public e-mail address ("" when there is none). */
struct cap_emails {
    struct email {
        int64_t id;
        char *address;
    } *slots;
    size_t cap, n;
};

void cap_emails_free(struct cap_emails *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->cap; i++)
        free(e->slots[i].address);
    free(e->slots);
    free(e);
}

static struct email *email_place(struct cap_emails *e, int64_t id)
{
    size_t i = (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15u) >> 32) & (e->cap - 1);
    while (e->slots[i].id != 0 && e->slots[i].id != id)
        i = (i + 1) & (e->cap - 1);
    return &e->slots[i];
}

static const char *email_get(const struct capture *c, int64_t id)
{
    return c->emails ? email_place(c->emails, id)->address : NULL;
}

static int email_put(struct capture *c, int64_t id, const char *address, struct gs_err *err)
{
    if (!c->emails)
        c->emails = calloc(1, sizeof *c->emails);
    struct cap_emails *e = c->emails;
    if (e && e->n * 4 >= e->cap * 3) {
        struct cap_emails bigger = {.cap = e->cap ? e->cap * 2 : 64, .n = e->n};
        bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
        if (bigger.slots) {
            for (size_t i = 0; i < e->cap; i++)
                if (e->slots[i].id)
                    *email_place(&bigger, e->slots[i].id) = e->slots[i];
            free(e->slots);
            *e = bigger;
        }
    }
    char *copy = strdup(address);
    if (!e || e->n == e->cap || !copy) {
        free(copy);
        if (e && e->cap == 0)
            c->emails = NULL, free(e);
        return gs_fail(err, GS_E_NOMEM, "no memory for users");
    }
    struct email *at = email_place(e, id);
    e->n += at->id == 0;
    free(at->address);
    *at = (struct email){.id = id, .address = copy};
    return 0;
}

struct rest_members {
    struct cap_group *group;
    struct gs_buf text; /* elements of the list, one JSON text behind the other */
    struct row {
        size_t off, len;
        int64_t user;
    } *rows;
    size_t n, cap, next; /* next: first row whose user was not looked up */
    unsigned in_flight;
    uint64_t looked_up, unreadable, bytes, retries, twice;
    int64_t waited_ms, announced;
    struct idset seen;
    bool broke;
};

static void rest_free(struct rest_members *m)
{
    gs_buf_release(&m->text);
    idset_release(&m->seen);
    free(m->rows);
    free(m);
}

static int rest_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct rest_members *m = cookie;
    if (m->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    m->broke = true;
    while ((v = yyjson_arr_iter_next(&it))) {
        bool is_new;
        if (idset_add(&m->seen, cap_id(v), &is_new, err))
            return -1;
        if (!is_new) {
            m->twice++;
            continue;
        }
        if (m->n == m->cap) {
            size_t cap = m->cap ? m->cap * 2 : 32;
            struct row *rows = realloc(m->rows, cap * sizeof *rows);
            if (!rows)
                return gs_fail(err, GS_E_NOMEM, "no memory for members");
            m->rows = rows;
            m->cap = cap;
        }
        size_t off = m->text.len;
        if (gs_json_write(v, &m->text, err))
            return -1;
        m->rows[m->n++] = (struct row){.off = off, .len = m->text.len - off, .user = cap_id(v)};
    }
    m->broke = false;
    return 0;
}

static int rest_row(struct rest_members *m, const struct row *row, struct sink *s, struct gs_err *err)
{
    struct capture *c = m->group->cap;
    GS_AUTO(yyjson_doc) doc = NULL;
    if (gs_json_parse(m->text.data + row->off, row->len, NULL, &doc, err))
        return -1;
    yyjson_val *v = yyjson_doc_get_root(doc);
    const char *email = email_get(c, row->user);
    struct cap_user u = {.id = row->user, .username = gs_json_str(v, "username"), .name = gs_json_str(v, "name"),
                         .public_email = email && strcmp(email, "?") == 0 ? NULL : email, .state = gs_json_str(v, "state"),
                         .bot = -1};
    struct gs_jw w;
    gs_buf_reset(&c->json);
    gs_jw_init(&w, &c->json, 0, err);
    gs_jw_obj(&w);
    cap_copy(&w, "access_level", v, "access_level");
    put_member(&w, m->group, &u);
    cap_copy(&w, "created_at", v, "created_at");
    if (put_created_by(c, &w, yyjson_obj_get(v, "created_by"), err))
        return -1;
    cap_copy_date(&w, "expires_at", v, "expires_at");
    cap_copy_known(&w, "override", v, "override");
    cap_copy_known(&w, "member_role", v, "member_role");
    cap_copy_known(&w, "membership_state", v, "membership_state");
    put_user(&w, &u);
    gs_jw_end(&w);
    if (gs_jw_finish(&w) || sink_add(s, gs_buf_str(&c->json), c->json.len, err))
        return -1;
    return cap_user(c, &u, err);
}

static int rest_store(struct rest_members *m, struct gs_err *err)
{
    struct cap_group *g = m->group;
    struct book *b = g->cap->book;
    struct sink *s;
    struct gl_pages lookups = {.pages = m->looked_up, .records = m->looked_up - m->unreadable, .bytes = m->bytes,
                               .retries = m->retries, .waited_ms = m->waited_ms, .announced = -1};
    if ((m->looked_up > 0 && cap_fetch(g, "members", "rest:/users/:id", &lookups, err)) ||
        (m->unreadable > 0 && book_lost(b, g->id, "members", "member-email-not-readable", "user.public_email", m->unreadable,
                                        NULL, err)) ||
        cap_sink(g, "members", &s, err))
        return -1;
    if (m->twice > 0 && !sink_is_shelf(s) && book_left_out(b, g->id, "members", "duplicate-record", NULL, m->twice, NULL, err)) {
        sink_abandon(s);
        return -1;
    }
    for (size_t i = 0; i < m->n; i++)
        if (rest_row(m, &m->rows[i], s, err)) {
            sink_abandon(s);
            return gs_wrap(err, "members of group '%s'", g->full_path);
        }
    return sink_close(s, m->announced, m->twice, err);
}

static int lookups(struct rest_members *m, struct gs_err *err);

struct lookup {
    struct rest_members *m;
    int64_t user;
};

static void lookup_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct lookup *l = cookie;
    struct rest_members *m = l->m;
    struct gs_err err = {0};
    int r = 0;
    m->in_flight--;
    m->looked_up++;
    m->bytes += rsp->body.len;
    m->retries += rsp->tries > 0 ? rsp->tries - 1 : 0;
    m->waited_ms += rsp->waited_ms;
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300) {
        GS_AUTO(yyjson_doc) doc = NULL;
        r = gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, &doc, &err);
        const char *email = r ? NULL : gs_json_str(yyjson_doc_get_root(doc), "public_email");
        if (r == 0)
            r = email_put(m->group->cap, l->user, email ? email : "", &err);
    } else if (cap_denied(&rsp->err)) {
        m->unreadable++;
        r = email_put(m->group->cap, l->user, "?", &err);
    } else {
        err = rsp->err;
        r = -1;
    }
    free(l);
    if (r)
        cap_fail(m->group->cap, &err);
    if (lookups(m, &err))
        cap_fail(m->group->cap, &err);
}

/* Sends look-ups for users that are not known; when all have come, stores and ends (then `m` is gone). */
static int lookups(struct rest_members *m, struct gs_err *err)
{
    struct cap_group *g = m->group;
    int r = 0;
    while (!g->cap->failed && r == 0 && m->next < m->n && m->in_flight < LOOKUPS) {
        int64_t user = m->rows[m->next++].user;
        if (user <= 0 || email_get(g->cap, user))
            continue;
        struct lookup *l = calloc(1, sizeof *l);
        struct gl_request *req = l ? gl_request_new(GL_GET, "/users/%" PRId64, user) : NULL;
        if (!req) {
            free(l);
            r = gs_fail(err, GS_E_NOMEM, "no memory for a request");
            break;
        }
        *l = (struct lookup){.m = m, .user = user};
        req->done = lookup_done;
        req->cookie = l;
        req->tag = (struct gl_tag){g->id, "members"};
        r = gl_submit(g->cap->client, req, err);
        if (r)
            free(l);
        else
            m->in_flight++;
    }
    if (m->in_flight > 0 && r == 0)
        return 0;
    if (m->in_flight > 0) {
        cap_fail(g->cap, err); /* the answers that are still to come end it */
        return 0;
    }
    if (r == 0 && !g->cap->failed)
        r = rest_store(m, err);
    rest_free(m);
    if (r)
        cap_fail(g->cap, err);
    cap_end(g);
    return 0;
}

static void rest_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct rest_members *m = cookie;
    struct cap_group *g = m->group;
    struct gs_err err = {0};
    int r = 0;
    if (result->code == GS_OK) {
        m->announced = p->announced;
        r = cap_fetch(g, "members", "rest:/groups/:id/members", p, &err) || cap_compare(g, "members", p, m->twice, &err);
        if (r == 0) {
            if (lookups(m, &err))
                cap_fail(g->cap, &err);
            return;
        }
    } else if (!g->cap->failed && !m->broke && cap_denied(result)) {
        r = cap_missing(g, "members", result, &err);
    } else {
        err = *result;
        r = -1;
    }
    if (r)
        cap_fail(g->cap, &err);
    rest_free(m);
    cap_end(g);
}

static int rest_start(struct cap_group *g, struct gs_err *err)
{
    struct rest_members *m = calloc(1, sizeof *m);
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/members", g->id);
    if (!m || !path) {
        free(m);
        return gs_fail(err, GS_E_NOMEM, "no memory for members");
    }
    m->group = g;
    gs_buf_init(&m->text, COLLECT_MAX);
    idset_init(&m->seen);
    cap_begin(g);
    struct gl_list_opts tagged = {.tag = {g->id, "members"}};
    if (gl_list_with(g->cap->client, path, &tagged, rest_page, rest_done, m, err) == 0)
        return 0;
    rest_free(m);
    cap_end(g);
    return -1;
}

static const struct cap_rel_spec spec = {
    .relation = "members",
    .n_sources = 1,
    .sources = {{.number = LUCK_GRAPHQL,
                 .name = "graphql",
                 .endpoint = "graphql:group.groupMembers",
                 .document = "group_members",
                 .connection = "group.groupMembers",
                 .record = from_graphql}},
    .otherwise = rest_start,
    .otherwise_name = "rest",
};

static int roles_page(void *cookie, yyjson_val *array, const char *text, size_t len, struct gs_err *err)
{
    struct roles *r = cookie;
    yyjson_arr_iter it = yyjson_arr_iter_with(array);
    yyjson_val *v;
    if (r->group->cap->failed)
        return gs_fail(err, GS_E_STOPPED, "another part of the capture failed");
    while ((v = yyjson_arr_iter_next(&it))) {
        yyjson_val *role = yyjson_obj_get(v, "member_role");
        bool is_new = true;
        if (yyjson_is_obj(role) && (idset_add(&r->seen, cap_id(v), &is_new, err) || (is_new && roles_add(r, cap_id(v), role, err)))) {
            r->broke = true;
            return -1;
        }
    }
    return 0;
}

/* How many members there are, or -1; then the members themselves. */
static int roles_result(struct roles *r, const struct gl_pages *p, const struct gs_err *result, struct gs_err *err)
{
    struct cap_group *g = r->group;
    const struct gl_instance *in = g->cap->o.instance;
    int64_t announced = -1;
    int n = 0;
    if (result->code == GS_OK) {
        announced = p->announced;
        n = cap_fetch(g, "members", "rest:/groups/:id/members", p, err);
    } else if (g->cap->failed || r->broke || !cap_denied(result)) {
        *err = *result;
        n = -1;
    } else if (in && in->enterprise == 1 && gl_instance_at_least(in, 15, 9)) {
        n = book_lost(g->cap->book, g->id, "members", "attribute-not-readable", "member_role", 0, result->text, err);
    }
    if (n) {
        roles_free(r);
        return -1;
    }
    return cap_rel_start_with(g, &spec, announced, r, roles_free, err);
}

static void roles_done(void *cookie, const struct gl_pages *p, const struct gs_err *result)
{
    struct roles *r = cookie;
    struct cap_group *g = r->group;
    struct gs_err err = {0};
    if (roles_result(r, p, result, &err))
        cap_fail(g->cap, &err);
    cap_end(g);
}

static int start(struct cap_group *g, struct gs_err *err)
{
    if (!cap_try(g->cap, LUCK_GRAPHQL)) /* everything comes over REST then */
        return cap_rel_start(g, &spec, err);
    struct roles *r = calloc(1, sizeof *r);
    gs_autofree char *path = gs_asprintf("/groups/%" PRId64 "/members", g->id);
    if (!r || !path) {
        free(r);
        return gs_fail(err, GS_E_NOMEM, "no memory for members");
    }
    r->group = g;
    idset_init(&r->seen);
    cap_begin(g);
    struct gl_list_opts tagged = {.tag = {g->id, "members"}};
    if (gl_list_with(g->cap->client, path, &tagged, roles_page, roles_done, r, err) == 0)
        return 0;
    roles_free(r);
    cap_end(g);
    return -1;
}

const struct cap_kind cap_kind_members = {.relation = "members", .start = start};

/* ---- pending invitations ---- */

static const char not_readable[] = "not readable: number unknown";

static void invitations_done(void *cookie, struct gl_request *req, struct gl_response *rsp)
{
    struct cap_group *g = cookie;
    struct capture *c = g->cap;
    struct cap_luck *luck = &c->luck[LUCK_REST];
    struct gs_err err = {0};
    int r = 0;
    if (rsp->outcome == GL_ANSWERED && rsp->status >= 200 && rsp->status < 300) {
        luck->ok++;
        GS_AUTO(yyjson_doc) doc = NULL;
        r = gs_json_parse(gs_buf_str(&rsp->body), rsp->body.len, NULL, &doc, &err);
        size_t n = r ? 0 : yyjson_arr_size(yyjson_doc_get_root(doc));
        uint64_t total = rsp->total > 0 ? (uint64_t)rsp->total : n;
        if (r == 0)
            r = cap_fetch_one(g, "invitations", "rest:/groups/:id/invitations", rsp, n, &err);
        if (r == 0 && total > 0)
            r = book_left_out(c->book, g->id, "invitations", "pending-invitation", NULL, total, NULL, &err);
    } else if (cap_denied(&rsp->err)) {
        cap_refused(c, LUCK_REST, &rsp->err);
        r = book_left_out(c->book, g->id, "invitations", "pending-invitation", NULL, 0, not_readable, &err);
    } else {
        err = rsp->err;
        r = -1;
    }
    if (r)
        cap_fail(c, &err);
    cap_end(g);
}

static int invitations_start(struct cap_group *g, struct gs_err *err)
{
    if (!cap_try(g->cap, LUCK_REST))
        return book_left_out(g->cap->book, g->id, "invitations", "pending-invitation", NULL, 0,
                             not_readable, err);
    struct gl_request *r = gl_request_new(GL_GET, "/groups/%" PRId64 "/invitations?per_page=1", g->id);
    if (!r)
        return gs_fail(err, GS_E_NOMEM, "no memory for a request");
    r->done = invitations_done;
    r->tag = (struct gl_tag){g->id, "invitations"};
    r->cookie = g;
    cap_begin(g);
    if (gl_submit(g->cap->client, r, err) == 0)
        return 0;
    cap_end(g);
    return -1;
}

const struct cap_kind cap_kind_invitations = {.relation = "invitations", .start = invitations_start};
