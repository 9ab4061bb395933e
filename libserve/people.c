#include "libserve/people.h"

#include "libcommon/json.h"

#include <stdlib.h>
#include <string.h>

struct people {
    const struct content *c;
    struct person *v; /* by id */
    size_t n, cap;
    size_t *by_name;
    struct membership *members; /* by group */
    size_t n_members, cap_members;
    size_t *first; /* of each group; one more than groups */
    struct block {
        struct block *next;
        size_t used;
        char data[1 << 16];
    } *texts;
};

static int keep(struct people *p, const char *s, const char **out, struct gs_err *err)
{
    size_t n = s ? strlen(s) + 1 : 0;
    *out = NULL;
    if (!s)
        return 0;
    if (n > sizeof p->texts->data)
        return gs_fail(err, GS_E_LIMIT, "a text of %zu bytes about a user", n);
    if (!p->texts || sizeof p->texts->data - p->texts->used < n) {
        struct block *b = malloc(sizeof *b);
        if (!b)
            return gs_fail(err, GS_E_NOMEM, "no memory for users");
        b->next = p->texts;
        b->used = 0;
        p->texts = b;
    }
    char *to = p->texts->data + p->texts->used;
    memcpy(to, s, n);
    p->texts->used += n;
    *out = to;
    return 0;
}

/* What the list of users lacks, the membership tells. */
static int add_person(struct people *p, yyjson_val *u, struct gs_err *err)
{
    struct person one = {.id = 0};
    const char *kind = gs_json_str(u, "kind");
    if (!gs_json_i64(u, "id", &one.id) || one.id <= 0)
        return 0;
    one.ghost = kind && strcmp(kind, "ghost") == 0;
    if (keep(p, gs_json_str(u, "username"), &one.username, err) || keep(p, gs_json_str(u, "name"), &one.name, err) ||
        keep(p, gs_json_str(u, "public_email"), &one.public_email, err) || gs_array_grow((void **)&p->v, &p->cap, p->n, sizeof *p->v, err))
        return -1;
    p->v[p->n++] = one;
    return 0;
}

static int on_user(void *cookie, yyjson_val *u, const struct bundle_ref *ref, struct gs_err *err)
{
    (void)ref;
    return add_person(cookie, u, err);
}

static int on_member(void *cookie, yyjson_val *v, const struct bundle_ref *ref, struct gs_err *err)
{
    struct people *p = cookie;
    (void)ref;
    struct membership m = {.direct = true};
    yyjson_val *user = yyjson_obj_get(v, "user");
    if ((!gs_json_i64(v, "user_id", &m.user) && !gs_json_i64(user, "id", &m.user)) || m.user <= 0 ||
        !gs_json_i64(v, "access_level", &m.level) || gs_json_str(v, "requested_at"))
        return 0; /* an invitation, or somebody who asked to be let in */
    if (keep(p, gs_json_str(v, "created_at"), &m.created_at, err) || keep(p, gs_json_str(v, "updated_at"), &m.updated_at, err) ||
        keep(p, gs_json_str(v, "expires_at"), &m.expires_at, err) || (yyjson_is_obj(user) && add_person(p, user, err)) ||
        gs_array_grow((void **)&p->members, &p->cap_members, p->n_members, sizeof *p->members, err))
        return -1;
    p->members[p->n_members++] = m;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const struct person *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_name(const void *a, const void *b, void *cookie)
{
    const struct person *v = cookie, *x = &v[*(const size_t *)a], *y = &v[*(const size_t *)b];
    return strcmp(x->username ? x->username : "", y->username ? y->username : "");
}

static void merge(struct people *p)
{
    size_t to = 0;
    if (p->n)
        qsort(p->v, p->n, sizeof *p->v, by_id);
    for (size_t i = 0; i < p->n; i++) {
        struct person *x = to > 0 && p->v[to - 1].id == p->v[i].id ? &p->v[to - 1] : NULL;
        if (!x) {
            p->v[to++] = p->v[i];
            continue;
        }
        x->username = x->username ? x->username : p->v[i].username;
        x->name = x->name ? x->name : p->v[i].name;
        x->public_email = x->public_email ? x->public_email : p->v[i].public_email;
        x->ghost |= p->v[i].ghost;
    }
    p->n = to;
}

int people_load(const struct content *c, struct people **out, struct gs_err *err)
{
    GS_AUTO(people) p = calloc(1, sizeof *p);
    if (!p || !(p->first = calloc(c->n_groups + 1, sizeof *p->first)))
        return gs_fail(err, GS_E_NOMEM, "no memory for users");
    p->c = c;
    if (bundle_each(p->c->b, 0, "users", on_user, p, err))
        return gs_wrap(err, "users");
    for (size_t i = 0; i < c->n_groups; i++) {
        if (bundle_each(p->c->b, p->c->groups[i].id, "members", on_member, p, err))
            return gs_wrap(err, "members of group '%s'", c->groups[i].full_path);
        p->first[i + 1] = p->n_members;
    }
    merge(p);
    p->by_name = malloc((p->n + 1) * sizeof *p->by_name);
    if (!p->by_name)
        return gs_fail(err, GS_E_NOMEM, "no memory for users");
    for (size_t i = 0; i < p->n; i++)
        p->by_name[i] = i;
    qsort_r(p->by_name, p->n, sizeof *p->by_name, by_name, p->v);
    *out = gs_steal(&p);
    return 0;
}

void people_free(struct people *p)
{
    if (!p)
        return;
    for (struct block *b = p->texts, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(p->v);
    free(p->by_name);
    free(p->members);
    free(p->first);
    free(p);
}

const struct person *people_by_id(const struct people *p, int64_t id)
{
    struct person key = {.id = id};
    return p->n ? bsearch(&key, p->v, p->n, sizeof *p->v, by_id) : NULL;
}

const struct person *people_by_name(const struct people *p, const char *username)
{
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const char *name = p->v[p->by_name[mid]].username;
        if (strcmp(name ? name : "", username) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    const struct person *x = lo < p->n ? &p->v[p->by_name[lo]] : NULL;
    return x && x->username && strcmp(x->username, username) == 0 ? x : NULL;
}

size_t people_count(const struct people *p)
{
    return p->n;
}

const struct person *people_at(const struct people *p, size_t i)
{
    return &p->v[i];
}

/* The highest level first; of two alike the direct one. */
static int by_user(const void *a, const void *b)
{
    const struct membership *x = a, *y = b;
    if (x->user != y->user)
        return x->user < y->user ? -1 : 1;
    if (x->level != y->level)
        return x->level > y->level ? -1 : 1;
    return (int)y->direct - (int)x->direct;
}

static int append(const struct people *p, size_t group, bool direct, struct membership **v, size_t *n, struct gs_err *err)
{
    size_t more = p->first[group + 1] - p->first[group];
    struct membership *bigger = realloc(*v, (*n + more + 1) * sizeof *bigger);
    if (!bigger)
        return gs_fail(err, GS_E_NOMEM, "no memory for members");
    *v = bigger;
    for (size_t i = 0; i < more; i++) {
        bigger[*n] = p->members[p->first[group] + i];
        bigger[(*n)++].direct = direct;
    }
    return 0;
}

int people_members(const struct people *p, size_t group, bool direct, bool inherited, struct membership **out, size_t *out_n,
                   struct gs_err *err)
{
    gs_autofree struct membership *v = NULL;
    size_t n = 0, to = 0;
    if (direct && append(p, group, true, &v, &n, err))
        return -1;
    for (size_t at = group, steps = 0; inherited && steps < p->c->n_groups; steps++) {
        int64_t parent = p->c->groups[at].parent_id;
        at = parent ? content_group(p->c, parent) : SIZE_MAX;
        if (at == SIZE_MAX)
            break;
        if (append(p, at, false, &v, &n, err))
            return -1;
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_user);
    for (size_t i = 0; i < n; i++)
        if (to == 0 || v[to - 1].user != v[i].user)
            v[to++] = v[i];
    *out = gs_steal(&v);
    *out_n = to;
    return 0;
}
