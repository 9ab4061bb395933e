#include "libserve/content.h"

#include "libcommon/clock.h"
#include "libcommon/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_upload(const struct bundle_member *m)
{
    return m->is_file && (strcmp(m->relation, "avatar") == 0 || strcmp(m->relation, "uploads") == 0);
}

static int by_place(const void *a, const void *b)
{
    const struct content_row *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return strcmp(x->relation, y->relation);
}

static int id_cmp(const void *a, const void *b, void *cookie)
{
    const struct bundle_group *g = cookie;
    int64_t x = g[*(const size_t *)a].id, y = g[*(const size_t *)b].id;
    return (x > y) - (x < y);
}

size_t content_group(const struct content *c, int64_t id)
{
    size_t lo = 0, hi = c->n_groups;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->groups[c->by_id[mid]].id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < c->n_groups && c->groups[c->by_id[lo]].id == id ? c->by_id[lo] : SIZE_MAX;
}

size_t content_group_path(const struct content *c, const char *path, size_t len)
{
    for (size_t i = 0; i < c->n_groups; i++)
        if (strlen(c->groups[i].full_path) == len && strncasecmp(c->groups[i].full_path, path, len) == 0)
            return i;
    return SIZE_MAX;
}

static int load_rows(struct content *c, struct gs_err *err)
{
    const struct bundle_member *m;
    size_t n = bundle_members(c->b, &m);
    c->rows = calloc(n + 1, sizeof *c->rows);
    if (!c->rows)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu members", n);
    for (size_t i = 0; i < n; i++) {
        struct content_row *last = c->n_rows ? &c->rows[c->n_rows - 1] : NULL;
        if (!m[i].relation || (m[i].is_file && !is_upload(&m[i])))
            continue;
        size_t group = content_group(c, m[i].group_id);
        const char *relation = m[i].is_file ? "uploads" : m[i].relation;
        if (group == SIZE_MAX)
            continue;
        if (!last || last->group != group || strcmp(last->relation, relation) != 0)
            c->rows[c->n_rows++] = (struct content_row){.group = group, .relation = relation};
        last = &c->rows[c->n_rows - 1];
        last->records += m[i].is_file ? 1 : m[i].records;
        last->raw += m[i].is_file ? m[i].stored : m[i].raw;
    }
    if (c->n_rows)
        qsort(c->rows, c->n_rows, sizeof *c->rows, by_place);
    /* avatar and uploads lie apart in the bundle */
    size_t to = 0;
    for (size_t i = 0; i < c->n_rows; i++) {
        if (to > 0 && by_place(&c->rows[to - 1], &c->rows[i]) == 0) {
            c->rows[to - 1].records += c->rows[i].records;
            c->rows[to - 1].raw += c->rows[i].raw;
        } else {
            c->rows[to++] = c->rows[i];
        }
    }
    c->n_rows = to;
    return 0;
}

int content_load(struct bundle *b, struct content **out, struct gs_err *err)
{
    GS_AUTO(content) c = calloc(1, sizeof *c);
    struct gs_err ignored = {0};
    int64_t made_ms = 0;
    const char *made = gs_json_str(bundle_manifest(b), "created_at");
    if (!c)
        return gs_fail(err, GS_E_NOMEM, "no memory for the content of a bundle");
    c->b = b;
    c->n_groups = bundle_groups(b, &c->groups);
    c->by_id = malloc((c->n_groups + 1) * sizeof *c->by_id);
    if (!c->by_id)
        return gs_fail(err, GS_E_NOMEM, "no memory for %zu groups", c->n_groups);
    for (size_t i = 0; i < c->n_groups; i++)
        c->by_id[i] = i;
    qsort_r(c->by_id, c->n_groups, sizeof *c->by_id, id_cmp, (void *)c->groups);
    if (made)
        GS_IGNORE(gs_time_parse(made, &made_ms, &ignored), "then it is 1970");
    c->made_s = made_ms / 1000;
    if (native_new(b, &c->native, err) || load_rows(c, err))
        return -1;
    *out = gs_steal(&c);
    return 0;
}

void content_free(struct content *c)
{
    if (!c)
        return;
    native_free(c->native);
    free(c->by_id);
    free(c->rows);
    free(c);
}

void content_rows(const struct content *c, size_t group, size_t *from, size_t *to)
{
    size_t lo = 0, hi = c->n_rows;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->rows[mid].group < group)
            lo = mid + 1;
        else
            hi = mid;
    }
    *from = *to = lo;
    while (*to < c->n_rows && c->rows[*to].group == group)
        ++*to;
}

const struct content_row *content_row(const struct content *c, size_t group, const char *relation)
{
    size_t from, to;
    content_rows(c, group, &from, &to);
    for (; from < to; from++)
        if (strcmp(c->rows[from].relation, relation) == 0)
            return &c->rows[from];
    return NULL;
}

const char *content_slug(const struct content *c, size_t group)
{
    const char *slash = strrchr(c->groups[group].full_path, '/');
    return slash ? slash + 1 : c->groups[group].full_path;
}

int content_self(const struct content *c, size_t group, struct stream **out, struct gs_err *err)
{
    const struct bundle_group *g = &c->groups[group];
    struct gs_jw w;
    gs_autobuf b;
    gs_buf_init(&b, 1 << 16);
    if (content_row(c, group, "self"))
        return stream_single(c->native, c->b, g->id, "self", "{}", out, err);
    gs_jw_init(&w, &b, 0, err);
    gs_jw_obj(&w);
    gs_jw_ki64(&w, "id", g->id);
    gs_jw_kstr(&w, "name", content_slug(c, group));
    gs_jw_kstr(&w, "path", content_slug(c, group));
    gs_jw_kstr(&w, "description", "");
    gs_jw_ki64(&w, "visibility_level", 0);
    gs_jw_key(&w, "parent_id");
    if (g->parent_id)
        gs_jw_i64(&w, g->parent_id);
    else
        gs_jw_null(&w);
    gs_jw_end(&w);
    return gs_jw_finish(&w) || stream_text(gs_buf_str(&b), b.len, out, err) ? -1 : 0;
}

/* ---- uploads ---- */

struct uploads {
    const struct content *c;
    const struct bundle_member *m;
    size_t n, at;
    int64_t group;
    bool begun;
    char folder[128]; /* the last that was given */
};

/* "./avatar/x.png" or "./<secret>/x.png" out of "groups/7/avatar/x.png" and "groups/7/uploads/<secret>/x.png" */
static const char *inside(const struct bundle_member *m)
{
    const char *s = strchr(m->path, '/');
    s = s ? strchr(s + 1, '/') : NULL;
    s = s ? s + 1 : m->path;
    return strcmp(m->relation, "uploads") == 0 && strncmp(s, "uploads/", 8) == 0 ? s + 8 : s;
}

static int next_upload(void *cookie, struct tar_item *out, bool *out_end, struct gs_err *err)
{
    struct uploads *u = cookie;
    if (!u->begun) {
        u->begun = out->folder = true;
        snprintf(out->name, sizeof out->name, "./");
        return 0;
    }
    while (u->at < u->n && (u->m[u->at].group_id != u->group || !is_upload(&u->m[u->at])))
        u->at++;
    if (u->at == u->n) {
        *out_end = true;
        return 0;
    }
    const struct bundle_member *m = &u->m[u->at];
    const char *name = inside(m), *slash = strrchr(name, '/');
    size_t len = slash ? (size_t)(slash - name) : 0;
    if (len < sizeof u->folder - 1 && (strlen(u->folder) != len || memcmp(u->folder, name, len) != 0)) {
        snprintf(u->folder, sizeof u->folder, "%.*s", (int)len, name);
        snprintf(out->name, sizeof out->name, "./%s/", u->folder);
        out->folder = true;
        return 0;
    }
    u->at++;
    snprintf(out->name, sizeof out->name, "./%s", name);
    out->size = m->stored;
    return stream_file(u->c->b, m, &out->data, err);
}

int content_uploads(const struct content *c, size_t group, struct stream **out, struct gs_err *err)
{
    struct uploads *u = calloc(1, sizeof *u);
    if (!u)
        return gs_fail(err, GS_E_NOMEM, "no memory for uploads");
    u->c = c;
    u->n = bundle_members(c->b, &u->m);
    u->group = c->groups[group].id;
    return stream_tar(next_upload, u, free, c->made_s, out, err);
}
